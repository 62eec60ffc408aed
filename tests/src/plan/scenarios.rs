//! Plans with names: the stories that everybody asks about first.

use coracle_sim::{Choices, MILLION};

use super::{BehindNat, Liar, Lie, NatKind, Plan, What};

/// A family of plans with a name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    /// How many seeds show all of it.
    pub seeds: u64,
    /// Its plan for a seed.
    pub plan: fn(u64) -> Plan,
}

/// All of them.
pub const ALL: [Scenario; 21] = [
    Scenario {
        name: "quiet",
        about: "four operators meet, and nothing goes wrong",
        seeds: 5,
        plan: |seed| Plan::quiet("quiet", seed, 4),
    },
    Scenario {
        name: "moves",
        about: "two of four move at once and find each other through the two that stayed",
        seeds: 20,
        plan: moves,
    },
    Scenario {
        name: "moves-unseen",
        about: "the same, and the hosts that move see nothing of it: the others tell them",
        seeds: 20,
        plan: |seed| Plan { unseen_moves: true, name: "moves-unseen".into(), ..moves(seed) },
    },
    Scenario {
        name: "all-move",
        about: "all four move at once and find each other through a bootnode",
        seeds: 20,
        plan: |seed| Plan { bootnode: true, ..all_move("all-move", seed) },
    },
    Scenario {
        name: "all-move-alone",
        about: "all four move at once without a bootnode: each says that it cannot reach the others",
        seeds: 10,
        plan: |seed| Plan { may_stay_apart: true, ..all_move("all-move-alone", seed) },
    },
    Scenario {
        name: "crash-at-every-write",
        about: "one of three crashes in the midst of each of its writes, which is lost (even seeds) or kept",
        seeds: 60,
        plan: crash_at_write,
    },
    Scenario {
        name: "partition",
        about: "two and two are cut apart for a minute, and all but one move meanwhile",
        seeds: 20,
        plan: partition,
    },
    Scenario {
        name: "simultaneous-dial",
        about: "two operators dial each other at the same moment and end in one channel",
        seeds: 150,
        plan: simultaneous_dial,
    },
    Scenario {
        name: "nat",
        about: "one of four is behind a NAT that nobody can reach, one behind one with a forwarded port; it reboots",
        seeds: 20,
        plan: nat,
    },
    Scenario {
        name: "intruders",
        about: "strangers, and somebody with the operator's own key, dial all the time",
        seeds: 10,
        plan: intruders,
    },
    Scenario {
        name: "lost-database",
        about: "operators move, and lose their databases one after the other",
        seeds: 20,
        plan: lost_database,
    },
    Scenario {
        name: "lost-database-1970",
        about: "the same, and the clocks of those who lost it were never set: the others tell them their numbers",
        seeds: 20,
        plan: lost_database_1970,
    },
    Scenario {
        name: "lost-number",
        about: "one moves twice and loses its database and its clock: it signs what it said last under an older number, \
                and adopts the record that the others show it",
        seeds: 20,
        plan: lost_number,
    },
    Scenario {
        name: "twins",
        about: "a second process with the key of one of four, elsewhere, for a minute",
        seeds: 20,
        plan: twins,
    },
    Scenario {
        name: "membership",
        about: "one of four is removed, moves meanwhile, and comes back; then another",
        seeds: 20,
        plan: membership,
    },
    Scenario {
        name: "nat-full",
        about: "NATs that forget after five seconds, with room for hardly more than a mesh, and links that are narrow",
        seeds: 20,
        plan: nat_full,
    },
    Scenario {
        name: "liars",
        about: "one of four and two strangers lie about everything, while two others move and see nothing of it",
        seeds: 40,
        plan: |seed| liars("liars", seed, 4),
    },
    Scenario {
        name: "liars-10",
        about: "the same with three liars of ten",
        seeds: 20,
        plan: |seed| liars("liars-10", seed, 10),
    },
    Scenario {
        name: "chaos",
        about: "four operators and everything at once, as drawn for the seed",
        seeds: 100,
        plan: |seed| Plan::drawn_for("chaos", seed, 4),
    },
    Scenario {
        name: "chaos-7",
        about: "the same with seven operators",
        seeds: 40,
        plan: |seed| Plan::drawn_for("chaos-7", seed, 7),
    },
    Scenario {
        name: "chaos-10",
        about: "the same with ten operators",
        seeds: 20,
        plan: |seed| Plan::drawn_for("chaos-10", seed, 10),
    },
];

/// The scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

fn moves(seed: u64) -> Plan {
    let plan = Plan::quiet("moves", seed, 4);
    let plan = plan.with(10_000, What::Move { operator: 2 }).with(10_000, What::Move { operator: 3 });
    Plan { heal_ms: 11_000, ..plan }
}

fn all_move(name: &str, seed: u64) -> Plan {
    Plan { heal_ms: 21_000, ..Plan::quiet(name, seed, 4).with(20_000, What::MoveAll) }
}

/// A short life with many writes at operator 2, and a crash in the midst of one of them.
fn crash_at_write(seed: u64) -> Plan {
    let mut plan = Plan::quiet("crash-at-every-write", seed, 3);
    plan.faults.disk_ms = 20;
    plan.faults.disk_lose = if seed.is_multiple_of(2) { MILLION } else { 0 };
    let write = seed / 2 + 1;
    plan = plan.with(0, What::CrashAtWrite { operator: 2, write, down_ms: 25_000 });
    for turn in 0..12 {
        let mover = if turn % 2 == 0 { 2 } else { u8::try_from(turn / 2 % 2).unwrap_or(0) };
        plan = plan.with(1_500 + 2_000 * turn, What::Move { operator: mover });
        plan = plan.with(2_000 + 2_000 * turn, What::Crash { operator: 2, down_ms: 1 });
    }
    Plan { heal_ms: 27_000, ..plan }
}

fn partition(seed: u64) -> Plan {
    let mut plan = Plan::quiet("partition", seed, 4);
    plan = plan.with(10_000, What::Partition { operators: vec![0, 3], for_ms: 60_000 });
    for operator in 1..4 {
        plan = plan.with(30_000, What::Move { operator });
    }
    Plan { heal_ms: 71_000, ..plan }
}

fn simultaneous_dial(seed: u64) -> Plan {
    let mut choices = Choices::from_seed(seed);
    let mut draw = choices.lane("plan.delay", 0);
    let mut plan = Plan::quiet("simultaneous-dial", seed, 2);
    plan.faults.latency_ms = draw.between(0, 110);
    plan.faults.jitter_ms = draw.between(0, 1) * draw.between(0, 200);
    plan.faults.split = if seed.is_multiple_of(2) { 0 } else { MILLION / 2 };
    // Delays last; nothing is to be healed.
    Plan { calm_ms: 30_000, heal_ms: 3_000, ..plan }
}

fn nat(seed: u64) -> Plan {
    let kinds = [NatKind::FullCone, NatKind::Restricted, NatKind::PortRestricted, NatKind::Symmetric];
    let kind = |turn: u64| kinds[usize::try_from((seed / turn) % 4).unwrap_or(0)];
    let nats = vec![
        BehindNat { operator: 2, kind: kind(1), forwarded: false, idle_ms: 0, room: 0 },
        BehindNat { operator: 3, kind: kind(4), forwarded: true, idle_ms: 0, room: 0 },
    ];
    let plan = Plan { nats, ..Plan::quiet("nat", seed, 4) };
    let plan = plan.with(20_000, What::RebootNat { operator: 2 }).with(30_000, What::Move { operator: 3 });
    Plan { heal_ms: 31_000, ..plan }
}

fn intruders(seed: u64) -> Plan {
    let mut plan = Plan::quiet("intruders", seed, 3);
    for turn in 0..20 {
        let operator = u8::try_from(turn % 3).unwrap_or(0);
        plan = plan.with(500 * turn, What::Intrude { operator, own_key: turn % 2 == 0 });
    }
    Plan { heal_ms: 10_000, ..plan }
}

fn lost_database(seed: u64) -> Plan {
    let mut plan = Plan::quiet("lost-database", seed, 4);
    for operator in 1..4 {
        let at = 10_000 * u64::from(operator);
        plan = plan.with(at, What::Move { operator });
        plan = plan.with(at + 4_000, What::LoseDatabase { operator, down_ms: 1_000, clock_behind_ms: 0 });
    }
    Plan { heal_ms: 36_000, ..plan }
}

fn lost_database_1970(seed: u64) -> Plan {
    let mut plan = Plan { name: "lost-database-1970".into(), ..lost_database(seed) };
    for incident in &mut plan.incidents {
        if let What::LoseDatabase { clock_behind_ms, .. } = &mut incident.what {
            *clock_behind_ms = u64::MAX;
        }
    }
    // One comes back where it was, and signs the same record again; two come back elsewhere, with a number used.
    plan.with(24_500, What::Move { operator: 2 }).with(34_500, What::Move { operator: 3 })
}

fn lost_number(seed: u64) -> Plan {
    let operator = u8::try_from(seed % 4).unwrap_or(0);
    let plan = Plan::quiet("lost-number", seed, 4);
    let plan = plan.with(8_000, What::Move { operator }).with(16_000, What::Move { operator });
    let lost = What::LoseDatabase { operator, down_ms: 1_000, clock_behind_ms: u64::MAX };
    Plan { heal_ms: 26_000, ..plan.with(24_000, lost) }
}

fn twins(seed: u64) -> Plan {
    let operator = u8::try_from(seed % 4).unwrap_or(0);
    let plan = Plan::quiet("twins", seed, 4).with(10_000, What::Move { operator });
    let plan = plan.with(20_000, What::Twin { operator, for_ms: 60_000 });
    Plan { heal_ms: 81_000, ..plan }
}

fn membership(seed: u64) -> Plan {
    let plan = Plan::quiet("membership", seed, 4);
    let plan = plan.with(10_000, What::Remove { operator: 3, for_ms: 30_000 });
    let plan = plan.with(20_000, What::Move { operator: 3 });
    let plan = plan.with(50_000, What::Remove { operator: 1, for_ms: 10_000 });
    Plan { heal_ms: 61_000, ..plan }
}

/// As many liars as the cluster bears, the last ones, and two strangers; operators 1 and 2 move and are told by the
/// others, one of them crashes.
fn liars(name: &str, seed: u64, operators: u8) -> Plan {
    let mut plan = Plan { unseen_moves: true, bootnode: true, ..Plan::quiet(name, seed, operators) };
    let members = (operators - (operators - 1) / 3..operators).map(Some);
    let liar = |operator| Liar { operator, lies: Lie::ALL.to_vec() };
    plan.liars = members.chain([None, None]).map(liar).collect();
    plan.faults.loss = 50_000;
    let plan = plan
        .with(10_000, What::Move { operator: 1 })
        .with(20_000, What::Crash { operator: 1, down_ms: 3_000 });
    let plan = plan.with(30_000, What::Move { operator: 2 });
    Plan { heal_ms: 31_000, ..plan }
}

fn nat_full(seed: u64) -> Plan {
    let kind = if seed.is_multiple_of(2) { NatKind::Symmetric } else { NatKind::PortRestricted };
    let behind = |operator, forwarded| BehindNat { operator, kind, forwarded, idle_ms: 5_000, room: 9 };
    let mut plan = Plan::quiet("nat-full", seed, 4);
    plan.nats = vec![behind(2, false), behind(3, true)];
    plan.faults.bandwidth_kib = 2;
    for turn in 0..6 {
        plan = plan.with(8_000 + 4_000 * turn, What::Cut { from: 2, to: 0, for_ms: 3_000 });
        plan = plan.with(9_000 + 4_000 * turn, What::Crash { operator: 2, down_ms: 200 });
    }
    Plan { heal_ms: 40_000, ..plan }
}
