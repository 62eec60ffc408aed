//! A run, written out: how many operators, which faults with which rates, what happens when, and by when the
//! mesh must be full again.
//!
//! Purpose: a [`Plan`] is explicit, so that its JSON form, committed as a trace file, goes on meaning the same
//! story when the code changes a little: it names incidents and times, not draws. What remains to be drawn (which
//! packet is lost at that rate) follows from its seed. Times are virtual milliseconds from the start, rates are
//! parts per million.

mod draw;
pub mod scenarios;

use std::fmt;

use coracle_sim::{DiskFaults, Faults, Link, MILLISECOND, StreamFaults};
use serde::{Deserialize, Serialize};

/// The form of plans that this code writes, and the only one it reads.
pub const VERSION: u32 = 1;
/// Most operators of a plan.
pub const MAX_OPERATORS: u8 = 40;
/// Longest plan in virtual milliseconds: a day.
const MAX_TIME_MS: u64 = 86_400_000;
/// Bytes that may wait before a narrow link.
const QUEUE: u64 = 4_096;
/// How long a mesh may take after everything is healed (rule C2).
pub const DEADLINE_MS: u64 = 120_000;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The form: [`VERSION`].
    pub version: u32,
    /// Where it comes from, for people: a scenario's name, or `seed`.
    pub name: String,
    /// What everything that is not written here is drawn from.
    pub seed: u64,
    /// Members of the cluster, each with its node.
    pub operators: u8,
    /// Whether hosts do not notice that their address changed (as behind a NAT).
    #[serde(default, skip_serializing_if = "is_default")]
    pub unseen_moves: bool,
    /// Whether there is a bootnode that everybody knows and that never moves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bootnode: bool,
    /// Whether a pair that stays apart at the end is right, as long as both nodes say so (rule C5).
    #[serde(default, skip_serializing_if = "is_default")]
    pub may_stay_apart: bool,
    /// Operators behind a NAT.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nats: Vec<BehindNat>,
    /// What goes wrong by itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub faults: Rates,
    /// If given, only these of the faults that the rates bring, counted from 0 in the order in which they come.
    #[serde(default, skip_serializing_if = "is_default")]
    pub only_faults: Option<Vec<u64>>,
    /// What happens when, besides.
    #[serde(default, skip_serializing_if = "is_default")]
    pub incidents: Vec<Incident>,
    /// When all faults end, and every node that is down is started.
    pub heal_ms: u64,
    /// How long the mesh may take from then on.
    pub deadline_ms: u64,
    /// How long nothing may happen to any channel after that.
    pub calm_ms: u64,
}

/// An operator behind a NAT, whose outside address is the operator's in the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BehindNat {
    /// Who.
    pub operator: u8,
    /// What kind of NAT.
    pub kind: NatKind,
    /// Whether the node's port is forwarded, so that others can reach it.
    pub forwarded: bool,
}

/// How a NAT chooses its ports, and what it lets in (RFC 4787).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    /// One port for all destinations; everybody may answer.
    FullCone,
    /// One port for all destinations; the hosts that were sent to may answer.
    Restricted,
    /// One port for all destinations; only the endpoints that were sent to may answer.
    PortRestricted,
    /// Another port for every destination.
    Symmetric,
}

/// Rates and delays. `0` everywhere is a quiet network with 10 ms on every way and 1 ms to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// When they begin.
    #[serde(skip_serializing_if = "is_default")]
    pub from_ms: u64,
    /// When they end; 0: with the healing.
    #[serde(skip_serializing_if = "is_default")]
    pub until_ms: u64,
    /// Added to the 10 ms on every way.
    #[serde(skip_serializing_if = "is_default")]
    pub latency_ms: u64,
    /// Up to this much more, drawn for each packet.
    #[serde(skip_serializing_if = "is_default")]
    pub jitter_ms: u64,
    /// Datagrams lost.
    #[serde(skip_serializing_if = "is_default")]
    pub loss: u32,
    /// Datagrams doubled.
    #[serde(skip_serializing_if = "is_default")]
    pub duplicate: u32,
    /// Datagrams held back, so that others overtake them.
    #[serde(skip_serializing_if = "is_default")]
    pub reorder: u32,
    /// Datagrams changed.
    #[serde(skip_serializing_if = "is_default")]
    pub corrupt: u32,
    /// Stream segments split.
    #[serde(skip_serializing_if = "is_default")]
    pub split: u32,
    /// Stream segments at which the stream breaks.
    #[serde(skip_serializing_if = "is_default")]
    pub broken: u32,
    /// Stream ends that are not told that their peer is gone.
    #[serde(skip_serializing_if = "is_default")]
    pub silent: u32,
    /// Stream segments at which the stream stalls, for 5 s at most.
    #[serde(skip_serializing_if = "is_default")]
    pub stall: u32,
    /// KiB that leave in a second on every way; 0: any number.
    #[serde(skip_serializing_if = "is_default")]
    pub bandwidth_kib: u64,
    /// Added to the 1 ms until a write is durable.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_ms: u64,
    /// Up to this much more, drawn for each write.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_jitter_ms: u64,
    /// Writes that fail.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_fail: u32,
    /// Unfinished writes that a crash loses.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_lose: u32,
    /// Crashes at which a later unfinished write may survive an earlier one.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_reorder: u32,
}

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// An operator moves to an address that nobody had before; if it is behind a NAT, the NAT gets the address.
    Move {
        /// Who.
        operator: u8,
    },
    /// All operators move at one moment.
    MoveAll,
    /// An operator's node crashes.
    Crash {
        /// Who.
        operator: u8,
        /// For how long.
        down_ms: u64,
    },
    /// An operator's node crashes in the midst of a write.
    CrashAtWrite {
        /// Who.
        operator: u8,
        /// Which write, counted from 1 at this moment.
        write: u64,
        /// When it is started again, counted from this moment (later again, if it crashes only then).
        down_ms: u64,
    },
    /// An operator's node crashes, and its database is lost.
    LoseDatabase {
        /// Who.
        operator: u8,
        /// For how long it is down.
        down_ms: u64,
    },
    /// These operators are cut off from all others.
    Partition {
        /// Who.
        operators: Vec<u8>,
        /// For how long.
        for_ms: u64,
    },
    /// Nothing passes from one operator to another. The other direction stays as it is.
    Cut {
        /// From whom.
        from: u8,
        /// To whom.
        to: u8,
        /// For how long.
        for_ms: u64,
    },
    /// The NAT of an operator loses its mappings.
    RebootNat {
        /// Whose.
        operator: u8,
    },
    /// An operator's clock jumps ahead.
    JumpClock {
        /// Whose.
        operator: u8,
        /// By how much.
        by_ms: u64,
    },
    /// Somebody who is no member dials an operator.
    Intrude {
        /// Whom.
        operator: u8,
        /// With the operator's own key, not one of nobody's.
        own_key: bool,
    },
}

/// A plan that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum BadPlan {
    /// It is no JSON, or has fields that are not known.
    #[error("not a plan: {0}")]
    Json(#[from] serde_json::Error),
    /// It was written by another version.
    #[error("a plan of version {0}, where this program reads {VERSION}")]
    Version(u32),
    /// The number of operators.
    #[error("{0} operators, where 1 to {MAX_OPERATORS} are possible")]
    Operators(u8),
    /// An incident names an operator that there is not.
    #[error("incident {incident} names operator {operator}, where there are {operators} (counted from 0)")]
    Operator {
        /// Its place in the list, from 0.
        incident: usize,
        /// The operator.
        operator: u8,
        /// How many there are.
        operators: u8,
    },
    /// An operator that there is not is behind a NAT.
    #[error("operator {operator} is behind a NAT, where there are {operators} (counted from 0)")]
    Nat {
        /// The operator.
        operator: u8,
        /// How many there are.
        operators: u8,
    },
    /// A time is longer than a day.
    #[error("a time of {0} ms: longer than a day")]
    Time(u64),
}

impl Plan {
    /// A quiet run: nothing goes wrong, and the mesh is there within the deadline.
    #[must_use]
    pub fn quiet(name: &str, seed: u64, operators: u8) -> Self {
        Self {
            version: VERSION,
            name: name.to_owned(),
            seed,
            operators,
            unseen_moves: false,
            bootnode: false,
            nats: Vec::new(),
            may_stay_apart: false,
            faults: Rates::default(),
            only_faults: None,
            incidents: Vec::new(),
            heal_ms: 0,
            deadline_ms: DEADLINE_MS,
            calm_ms: 15_000,
        }
    }

    /// The same with one more incident.
    #[must_use]
    pub fn with(mut self, at_ms: u64, what: What) -> Self {
        self.incidents.push(Incident { at_ms, what });
        self
    }

    /// Whether there is a valid way between any two operators at the end, as rule C2 asks for.
    ///
    /// Of two operators at least one can be reached. There is a bootnode that all know, or an operator that can
    /// be reached and never moves. And those who do not notice that they moved, where more than their own dialling
    /// is needed, have enough members who stayed to tell them: the quorum of votes.
    #[must_use]
    pub fn leaves_a_way(&self) -> bool {
        let natted = |operator: u8| self.nats.iter().find(|nat| nat.operator == operator);
        let hidden = |operator: u8| natted(operator).is_some_and(|nat| !nat.forwarded);
        let moves = |operator: u8| {
            self.incidents.iter().any(|incident| match incident.what {
                What::Move { operator: mover } => mover == operator,
                What::MoveAll => true,
                _ => false,
            })
        };
        let count =
            |which: &dyn Fn(u8) -> bool| (0..self.operators).filter(|operator| which(*operator)).count();
        let hiding = count(&hidden);
        let staying = count(&|operator| !moves(operator) && !hidden(operator));
        let unaware = count(&|operator| moves(operator) && (self.unseen_moves || natted(operator).is_some()));
        let quorum = (usize::from(self.operators.saturating_sub(1)) / 3 + 1).max(2);
        let told = unaware == 0 || (unaware == 1 && hiding == 0) || staying >= quorum;
        hiding < 2 && (self.bootnode || staying > 0) && told
    }

    /// Reads the JSON form, and checks that the plan can be carried out.
    ///
    /// # Errors
    ///
    /// [`BadPlan`], with what is wrong.
    pub fn from_json(text: &str) -> Result<Self, BadPlan> {
        let plan: Self = serde_json::from_str(text)?;
        plan.check()?;
        Ok(plan)
    }

    /// The JSON form, on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    fn check(&self) -> Result<(), BadPlan> {
        if self.version != VERSION {
            return Err(BadPlan::Version(self.version));
        }
        if !(1..=MAX_OPERATORS).contains(&self.operators) {
            return Err(BadPlan::Operators(self.operators));
        }
        let ends = self.incidents.iter().map(|incident| incident.at_ms.saturating_add(incident.what.lasts()));
        let times = [self.heal_ms, self.deadline_ms, self.calm_ms, self.faults.latency_ms];
        let delays = [self.faults.jitter_ms, self.faults.disk_ms, self.faults.disk_jitter_ms];
        if let Some(time) = times.into_iter().chain(delays).chain(ends).find(|time| *time > MAX_TIME_MS) {
            return Err(BadPlan::Time(time));
        }
        if let Some(nat) = self.nats.iter().find(|nat| nat.operator >= self.operators) {
            return Err(BadPlan::Nat { operator: nat.operator, operators: self.operators });
        }
        for (incident, Incident { what, .. }) in self.incidents.iter().enumerate() {
            if let Some(operator) = what.operators().into_iter().find(|operator| *operator >= self.operators)
            {
                return Err(BadPlan::Operator { incident, operator, operators: self.operators });
            }
        }
        Ok(())
    }
}

impl What {
    /// The operators it is about, where it names any.
    #[must_use]
    pub fn operators(&self) -> Vec<u8> {
        match self {
            Self::MoveAll => Vec::new(),
            Self::Move { operator }
            | Self::Crash { operator, .. }
            | Self::CrashAtWrite { operator, .. }
            | Self::LoseDatabase { operator, .. }
            | Self::RebootNat { operator }
            | Self::JumpClock { operator, .. }
            | Self::Intrude { operator, .. } => vec![*operator],
            Self::Partition { operators, .. } => operators.clone(),
            Self::Cut { from, to, .. } => vec![*from, *to],
        }
    }

    /// How long it lasts, in milliseconds; 0 for what has no end.
    #[must_use]
    pub const fn lasts(&self) -> u64 {
        match self {
            Self::Crash { down_ms, .. }
            | Self::CrashAtWrite { down_ms, .. }
            | Self::LoseDatabase { down_ms, .. } => *down_ms,
            Self::Partition { for_ms, .. } | Self::Cut { for_ms, .. } => *for_ms,
            Self::Move { .. }
            | Self::MoveAll
            | Self::RebootNat { .. }
            | Self::JumpClock { .. }
            | Self::Intrude { .. } => 0,
        }
    }

    /// The same with another length, where it has one.
    pub(crate) const fn set_length(&mut self, ms: u64) {
        match self {
            Self::Crash { down_ms: length, .. }
            | Self::CrashAtWrite { down_ms: length, .. }
            | Self::LoseDatabase { down_ms: length, .. }
            | Self::Partition { for_ms: length, .. }
            | Self::Cut { for_ms: length, .. } => *length = ms,
            Self::Move { .. }
            | Self::MoveAll
            | Self::RebootNat { .. }
            | Self::JumpClock { .. }
            | Self::Intrude { .. } => {}
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Move { operator } => write!(f, "operator {operator} moves"),
            Self::MoveAll => f.write_str("all operators move"),
            Self::Crash { operator, .. } => write!(f, "operator {operator} crashes"),
            Self::CrashAtWrite { operator, write, .. } => {
                write!(f, "operator {operator} is to crash at write {write} from now")
            }
            Self::LoseDatabase { operator, .. } => write!(f, "operator {operator} loses its database"),
            Self::Partition { operators, .. } => write!(f, "operators {operators:?} are cut off"),
            Self::Cut { from, to, .. } => write!(f, "nothing passes from {from} to {to}"),
            Self::RebootNat { operator } => write!(f, "the NAT of operator {operator} forgets everything"),
            Self::JumpClock { operator, by_ms } => {
                write!(f, "the clock of operator {operator} jumps {by_ms} ms ahead")
            }
            Self::Intrude { operator, own_key: false } => write!(f, "a stranger dials operator {operator}"),
            Self::Intrude { operator, own_key: true } => {
                write!(f, "somebody with its own key dials operator {operator}")
            }
        }
    }
}

impl Rates {
    /// As the simulator takes them.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let none = Faults::none();
        Faults {
            link: Link {
                latency: none.link.latency + self.latency_ms * MILLISECOND,
                jitter: self.jitter_ms * MILLISECOND,
                loss: self.loss,
                duplicate: self.duplicate,
                reorder: self.reorder,
                reorder_by: 2_000 * MILLISECOND,
                corrupt: self.corrupt,
                bandwidth: self.bandwidth_kib * 1_024,
                queue: QUEUE,
            },
            streams: StreamFaults {
                split: self.split,
                broken: self.broken,
                silent: self.silent,
                stall: self.stall,
                stall_for: 5_000 * MILLISECOND,
            },
            disk: DiskFaults {
                latency: none.disk.latency + self.disk_ms * MILLISECOND,
                jitter: self.disk_jitter_ms * MILLISECOND,
                fail: self.disk_fail,
                lose: self.disk_lose,
                reorder: self.disk_reorder,
                ..none.disk
            },
            chaos: none.chaos,
        }
    }

    /// Every rate and delay by its name, to be looked through and switched off one by one.
    pub fn each(&mut self) -> [(&'static str, Rate<'_>); 16] {
        [
            ("loss", Rate::Ppm(&mut self.loss)),
            ("duplicate", Rate::Ppm(&mut self.duplicate)),
            ("reorder", Rate::Ppm(&mut self.reorder)),
            ("corrupt", Rate::Ppm(&mut self.corrupt)),
            ("split", Rate::Ppm(&mut self.split)),
            ("broken", Rate::Ppm(&mut self.broken)),
            ("silent", Rate::Ppm(&mut self.silent)),
            ("disk-fail", Rate::Ppm(&mut self.disk_fail)),
            ("disk-lose", Rate::Ppm(&mut self.disk_lose)),
            ("latency", Rate::Ms(&mut self.latency_ms)),
            ("jitter", Rate::Ms(&mut self.jitter_ms)),
            ("disk", Rate::Ms(&mut self.disk_ms)),
            ("disk-jitter", Rate::Ms(&mut self.disk_jitter_ms)),
            ("stall", Rate::Ppm(&mut self.stall)),
            ("disk-reorder", Rate::Ppm(&mut self.disk_reorder)),
            ("bandwidth", Rate::KiB(&mut self.bandwidth_kib)),
        ]
    }
}

/// One of the numbers in [`Rates`].
#[derive(Debug)]
pub enum Rate<'a> {
    /// Parts per million.
    Ppm(&'a mut u32),
    /// Milliseconds.
    Ms(&'a mut u64),
    /// KiB a second; 0 is no bound.
    KiB(&'a mut u64),
}

impl Rate<'_> {
    /// Whether it is switched off.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        match self {
            Self::Ppm(rate) => **rate == 0,
            Self::Ms(number) | Self::KiB(number) => **number == 0,
        }
    }

    /// Switches it off.
    pub const fn switch_off(&mut self) {
        match self {
            Self::Ppm(rate) => **rate = 0,
            Self::Ms(number) | Self::KiB(number) => **number = 0,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_same_after_json() {
        for seed in 0..50 {
            let plan = Plan::drawn(seed);
            assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan, "seed {seed}");
        }
    }

    #[test]
    fn plans_that_cannot_be_carried_out_are_refused_with_the_reason() {
        let refused = |plan: &Plan| Plan::from_json(&plan.to_json()).unwrap_err().to_string();
        let plan = Plan::quiet("test", 1, 3);
        assert!(refused(&Plan { version: 9, ..plan.clone() }).contains("version 9"));
        assert!(refused(&Plan { operators: 0, ..plan.clone() }).contains("0 operators"));
        assert!(refused(&Plan { calm_ms: u64::MAX, ..plan.clone() }).contains("longer than a day"));
        let named = plan.clone().with(1, What::Move { operator: 3 });
        assert!(refused(&named).contains("names operator 3"));
        let late = plan.with(u64::MAX, What::Crash { operator: 0, down_ms: 7 });
        assert!(refused(&late).contains("longer than a day"));
        assert!(Plan::from_json("{\"version\":1}").is_err());
    }
}
