//! A run, written out: how many operators, which faults with which rates, what happens when, and by when the
//! mesh must be full again.
//!
//! Purpose: a [`Plan`] is explicit, so that its JSON form, committed as a trace file, goes on meaning the same
//! story when the code changes a little: it names incidents and times, not draws. What remains to be drawn (which
//! packet is lost at that rate) follows from its seed. Times are virtual milliseconds from the start, rates are
//! parts per million.

mod draw;
mod incident;
mod lies;
mod rates;
pub mod scenarios;

use serde::{Deserialize, Serialize};

pub use incident::{Incident, What};
pub use lies::{Liar, Lie};
pub use rates::{Rate, Rates};

/// The form of plans that this code writes, and the only one it reads.
pub const VERSION: u32 = 1;
/// Most operators of a plan.
pub const MAX_OPERATORS: u8 = 40;
/// Longest plan in virtual milliseconds: a day.
const MAX_TIME_MS: u64 = 86_400_000;
/// A NAT keeps streams longer than the pause between two pings inside them, or no channel could stay.
pub const STREAM_IDLE_MS: u64 = 12_000;
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
    /// Operators whose clock is not like the others'.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clocks: Vec<OffClock>,
    /// Who lies: members, of whom rules C2 and E7 allow fewer than a quorum, and strangers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub liars: Vec<Liar>,
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
    /// After how long without traffic it forgets a mapping; 0: as the simulator has it, two minutes. Streams are
    /// given [`STREAM_IDLE_MS`] at least.
    #[serde(default, skip_serializing_if = "is_default")]
    pub idle_ms: u64,
    /// How many mappings it has room for; 0: as many as the simulator has, some thousands.
    #[serde(default, skip_serializing_if = "is_default")]
    pub room: u16,
}

/// An operator's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffClock {
    /// Whose.
    pub operator: u8,
    /// How far it is ahead at the start.
    pub ahead_ms: u64,
    /// Microseconds that it gains (or loses) a second.
    pub drift_ppm: i32,
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
    /// An operator that there is not has a clock of its own.
    #[error("operator {operator} has a clock of its own, where there are {operators} (counted from 0)")]
    Clock {
        /// The operator.
        operator: u8,
        /// How many there are.
        operators: u8,
    },
    /// An operator that there is not lies, or there are too many strangers.
    #[error("liar {liar} is an operator that there is not, or a stranger too many")]
    Liar {
        /// Its place in the list, from 0.
        liar: usize,
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
            clocks: Vec::new(),
            liars: Vec::new(),
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

    /// Whether there is a valid way between any two honest operators at the end, as rule C2 asks for.
    ///
    /// Who lies is too few for a quorum, also of those who are left while others are removed, and counts as no way.
    /// Of two operators at least one can be reached. There is a bootnode that all know, or an operator that can
    /// be reached and never moves. And those who do not notice that they moved, where more than their own dialling
    /// is needed, have enough members who stayed to tell them: the quorum of votes. Who moves and had a second
    /// process with its key cannot be reached by its record: two processes do not race upwards (rule E5), and what
    /// the others hold for the newest may be that of the one that is gone.
    #[must_use]
    pub fn leaves_a_way(&self) -> bool {
        let natted = |operator: u8| self.nats.iter().find(|nat| nat.operator == operator);
        let moves = |operator: u8| {
            self.incidents.iter().any(|incident| match incident.what {
                What::Move { operator: mover } => mover == operator,
                What::MoveAll => true,
                _ => false,
            })
        };
        // Of a key that two processes had, the others may hold the record of the one that is gone.
        let twin = |operator: u8| {
            let of = |what: &What| matches!(what, What::Twin { operator: whose, .. } if *whose == operator);
            self.incidents.iter().any(|incident| of(&incident.what))
        };
        let hidden = |operator: u8| {
            natted(operator).is_some_and(|nat| !nat.forwarded) || (twin(operator) && moves(operator))
        };
        let count =
            |which: &dyn Fn(u8) -> bool| (0..self.operators).filter(|o| !self.lies(*o) && which(*o)).count();
        let hiding = count(&hidden);
        let staying = count(&|operator| !moves(operator) && !hidden(operator));
        let unaware = count(&|operator| moves(operator) && (self.unseen_moves || natted(operator).is_some()));
        let quorum = self.least_quorum();
        let told = unaware == 0 || (unaware == 1 && hiding == 0) || staying >= quorum;
        self.liars_are_few() && hiding < 2 && (self.bootnode || staying > 0) && told
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
        let apart =
            self.nats.iter().map(|nat| nat.idle_ms).chain(self.clocks.iter().map(|clock| clock.ahead_ms));
        let delays = [self.faults.jitter_ms, self.faults.disk_ms, self.faults.disk_jitter_ms];
        if let Some(time) =
            times.into_iter().chain(delays).chain(ends).chain(apart).find(|time| *time > MAX_TIME_MS)
        {
            return Err(BadPlan::Time(time));
        }
        if let Some(nat) = self.nats.iter().find(|nat| nat.operator >= self.operators) {
            return Err(BadPlan::Nat { operator: nat.operator, operators: self.operators });
        }
        if let Some(clock) = self.clocks.iter().find(|clock| clock.operator >= self.operators) {
            return Err(BadPlan::Clock { operator: clock.operator, operators: self.operators });
        }
        let strangers = self.liars.iter().filter(|liar| liar.operator.is_none()).count();
        let unknown = |liar: &Liar| liar.operator.is_some_and(|operator| operator >= self.operators);
        if let Some(liar) =
            self.liars.iter().position(|liar| unknown(liar) || strangers > usize::from(MAX_OPERATORS))
        {
            return Err(BadPlan::Liar { liar });
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
