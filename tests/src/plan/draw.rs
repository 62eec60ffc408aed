//! Plans drawn from a seed: each switches some faults off entirely and draws the rates of the others.

use coracle_sim::{Choices, MILLION};

use super::{BehindNat, Incident, NatKind, OffClock, Plan, Rate, What};

/// How long a drawn plan lets things go wrong.
const CHAOS_MS: u64 = 45_000;

/// The narrowest link, in KiB a second.
const LEAST_KIB: u64 = 1;

/// The most that is drawn for each of [`Rates::each`](super::Rates::each).
const MOST: [(&str, u64); 17] = [
    ("loss", 250_000),
    ("duplicate", 100_000),
    ("reorder", 200_000),
    ("corrupt", 50_000),
    ("split", 900_000),
    ("broken", 5_000),
    ("silent", 900_000),
    ("disk-fail", 100_000),
    ("disk-lose", 1_000_000),
    ("latency", 80),
    ("jitter", 60),
    ("disk", 20),
    ("disk-jitter", 200),
    ("stall", 20_000),
    ("disk-reorder", 1_000_000),
    ("bandwidth", 15),
    ("disk-tear", 1_000_000),
];

impl Plan {
    /// The plan of this seed: mostly four operators, sometimes two, three, seven or ten.
    ///
    /// It leaves a valid way between any two operators: see [`Plan::leaves_a_way`].
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut choices = Choices::from_seed(seed);
        let operators = match choices.lane("plan.operators", 0).choose(20) {
            0 => 2,
            1 | 2 => 3,
            3..=5 => 7,
            6 => 10,
            _ => 4,
        };
        Self::drawn_for("seed", seed, operators)
    }

    /// The plan of this seed for so many operators.
    #[must_use]
    pub fn drawn_for(name: &str, seed: u64, operators: u8) -> Self {
        let mut choices = Choices::from_seed(seed);
        let mut plan = Self::quiet(name, seed, operators);
        plan.heal_ms = CHAOS_MS;
        plan.bootnode = choices.lane("plan.bootnode", 0).chance(MILLION / 2);
        plan.unseen_moves = choices.lane("plan.unseen", 0).chance(MILLION / 5);
        if choices.lane("plan.nats", 0).chance(MILLION / 4) {
            plan.nats = nats(&mut choices, operators);
        }
        if choices.lane("plan.clocks", 0).chance(MILLION / 4) {
            plan.clocks = (0..operators).filter_map(|operator| clock(&mut choices, operator)).collect();
        }
        plan.draw_liars(&mut choices);
        for (number, (name, rate)) in (0_u64..).zip(plan.faults.each()) {
            if !choices.lane("plan.fault", number).chance(MILLION / 2) {
                continue;
            }
            let most = MOST.iter().find(|most| most.0 == name).map_or(0, |most| most.1);
            let drawn = choices.lane("plan.rate", number).between(1, most);
            match rate {
                Rate::Ppm(rate) => *rate = u32::try_from(drawn).unwrap_or(MILLION),
                Rate::Ms(ms) => *ms = drawn,
                Rate::KiB(kib) => *kib = LEAST_KIB + drawn,
            }
        }
        for kind in 0..KINDS {
            if kind == NATS && plan.nats.is_empty() {
                continue;
            }
            if choices.lane("plan.kind", kind).chance(MILLION / 2) {
                // More operators, more incidents; and sometimes many.
                let most = u64::from(operators) + choices.lane("plan.many", kind).choose(6);
                let count = choices.lane("plan.count", kind).between(1, most);
                for _ in 0..count {
                    let incident = plan.incident(&mut choices, kind);
                    plan.incidents.push(incident);
                }
            }
        }
        plan.keep_liars_few();
        while !plan.leaves_a_way() {
            let moves = |incident: &Incident| matches!(incident.what, What::Move { .. });
            let Some(last) = plan.incidents.iter().rposition(moves) else { break };
            plan.incidents.remove(last);
        }
        plan.incidents.sort_by_key(|incident| incident.at_ms);
        plan
    }

    fn incident(&self, choices: &mut Choices, kind: u64) -> Incident {
        let mut draw = choices.lane("plan.incident", kind);
        let at_ms = draw.between(0, CHAOS_MS - 1);
        let operator = draw.choose(u64::from(self.operators)).to_le_bytes()[0];
        let other = draw.choose(u64::from(self.operators)).to_le_bytes()[0];
        // Somebody has to be where the others know it is.
        let mover = if self.bootnode { operator } else { operator.max(1).min(self.operators - 1) };
        let for_ms = draw.between(1, 30_000);
        let down_ms = draw.between(1, 20_000);
        let what = match kind {
            0 => What::Move { operator: mover },
            1 => What::Crash { operator, down_ms },
            2 => What::CrashAtWrite { operator, write: draw.between(1, 12), down_ms },
            3 => What::Partition { operators: (0..=operator.min(other)).collect(), for_ms },
            4 => What::Cut { from: operator, to: other, for_ms },
            5 => What::Intrude { operator, own_key: draw.chance(MILLION / 2) },
            6 => {
                // Right, a little behind, or never set.
                let behind = draw.between(1, 3_600_000);
                let clock_behind_ms = [0, behind, u64::MAX][usize::from(draw.choose(3).to_le_bytes()[0])];
                What::LoseDatabase { operator, down_ms, clock_behind_ms }
            }
            7 => What::JumpClock { operator, by_ms: draw.between(1, 600_000) },
            8 => What::RebootNat { operator },
            9 => What::Twin { operator, for_ms },
            _ => What::Remove { operator, for_ms: for_ms.max(LEAST_REMOVED_MS) },
        };
        Incident { at_ms, what }
    }
}

/// About every third operator behind a NAT; all but one of them can be reached all the same, so that there is a
/// way between any two. Operator 0 is never behind one.
fn nats(choices: &mut Choices, operators: u8) -> Vec<BehindNat> {
    let mut nats: Vec<BehindNat> = Vec::new();
    for operator in 1..operators {
        let mut draw = choices.lane("plan.nat", u64::from(operator));
        if !draw.chance(MILLION / 3) {
            continue;
        }
        let kind = match draw.choose(4) {
            0 => NatKind::FullCone,
            1 => NatKind::Restricted,
            2 => NatKind::PortRestricted,
            _ => NatKind::Symmetric,
        };
        let forwarded = draw.chance(MILLION / 2) || nats.iter().any(|nat| !nat.forwarded);
        // Some forget quickly, and some have hardly more room than a full mesh takes.
        let mut hurry = choices.lane("plan.nat_room", u64::from(operator));
        let idle_ms = if hurry.chance(MILLION / 2) { hurry.between(2_000, 20_000) } else { 0 };
        // A stream to everybody, and a mapping for all datagrams or one for those of each.
        let datagrams = if kind == NatKind::Symmetric { operators } else { 1 };
        let enough = u16::from(operators) + u16::from(datagrams) + 1;
        let spare = u16::from(hurry.choose(2).to_le_bytes()[0]);
        let room = if idle_ms > 0 && hurry.chance(MILLION / 4 * 3) { enough + spare } else { 0 };
        nats.push(BehindNat { operator, kind, forwarded, idle_ms, room });
    }
    nats
}

/// In a quarter of the plans, every second clock is off: a little, as clocks are, or grossly.
fn clock(choices: &mut Choices, operator: u8) -> Option<OffClock> {
    let mut draw = choices.lane("plan.clock", u64::from(operator));
    if !draw.chance(MILLION / 2) {
        return None;
    }
    let most = if draw.chance(MILLION / 2) { 500 } else { 50_000 };
    let by = i32::try_from(draw.between(0, most)).unwrap_or(0);
    let drift_ppm = if draw.chance(MILLION / 2) { by } else { -by };
    Some(OffClock { operator, ahead_ms: draw.between(0, 600_000), drift_ppm })
}

/// Whoever is removed stays away for longer than a write of what was known of it takes.
const LEAST_REMOVED_MS: u64 = 5_000;
/// Kinds of incident that are drawn.
const KINDS: u64 = 11;
/// The one that is about NATs.
const NATS: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_and_each_kind_is_on_in_some_plans_and_off_in_others() {
        let plans: Vec<Plan> = (0..64).map(Plan::drawn).collect();
        for (number, (name, _)) in MOST.iter().enumerate() {
            let off = plans.iter().filter(|plan| (*plan).clone().faults.each()[number].1.is_off()).count();
            assert!((10..54).contains(&off), "{name} is off in {off} of 64");
        }
        let kinds =
            |plan: &Plan| plan.incidents.iter().map(|i| std::mem::discriminant(&i.what)).collect::<Vec<_>>();
        let all: Vec<_> = plans.iter().flat_map(kinds).collect();
        let mut distinct = all.clone();
        distinct.dedup();
        for kind in distinct {
            let with = plans.iter().filter(|plan| kinds(plan).contains(&kind)).count();
            // NATs are in every fourth plan.
            assert!((3..54).contains(&with), "{kind:?} is in {with} of 64");
        }
        assert!(plans.iter().any(|plan| plan.incidents.is_empty() || plan.faults.loss == 0));
    }

    #[test]
    fn somebody_stays_where_the_others_know_it_is() {
        for seed in 0..500 {
            let plan = Plan::drawn(seed);
            assert!(plan.leaves_a_way(), "seed {seed}");
        }
    }
}
