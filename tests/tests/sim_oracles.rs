//! The observers notice what they are there for: a fault planted into a driver is found, by the right rule.

use coracle_core::cluster::MemberConfig;
use coracle_sim::{Choices, Faults, SECOND};
use coracle_tests::cluster::{Cluster, home, record, secret};
use coracle_tests::plan::{Liar, Lie, Plan, What};
use coracle_tests::run::{Options, run};
use coracle_tests::sim_node::{Plant, Setup};

/// A life in which node 1 has this fault: what the observers say.
fn complaint(plant: Plant) -> String {
    let mut cluster = Cluster::with(Choices::from_seed(1), Faults::none(), 3, |position, setup| {
        setup.plant = (position == 1).then_some(plant);
    });
    for turn in 0..4 {
        cluster.move_to(0, home(100 + turn));
        cluster.move_to(1, home(110 + turn));
        if let Err(failure) = cluster.sim.run_for(10 * SECOND) {
            return failure.message;
        }
        cluster.sim.crash(cluster.nodes[1]);
        cluster.sim.restart(cluster.nodes[1]);
        if let Err(failure) = cluster.sim.run_for(10 * SECOND) {
            return failure.message;
        }
    }
    panic!("nobody noticed {plant:?}");
}

#[test]
fn planted_faults_are_noticed() {
    for (plant, rule) in [
        (Plant::OwnRecordNotWritten, "E3"),
        (Plant::OwnRecordForgotten, "C3"),
        (Plant::OldEntriesWritten, "C3"),
    ] {
        let message = complaint(plant);
        println!("{plant:?}: {message}");
        assert!(message.starts_with(rule), "{plant:?}: {message}");
    }
}

/// As many liars as a quorum has move an honest member's address, and that is noticed; one fewer does not.
#[test]
fn a_quorum_of_liars_is_noticed() {
    let lying = |liars: u8| {
        let liar = |operator| Liar { operator: Some(operator), lies: vec![Lie::Votes] };
        let plan = Plan { liars: (2..2 + liars).map(liar).collect(), ..Plan::quiet("votes", 1, 4) };
        let plan = plan.with(5_000, What::Move { operator: 0 });
        run(&Plan { unseen_moves: true, heal_ms: 20_000, ..plan }, Options::default())
    };
    let broken = lying(2).broken.expect("two of four are a quorum");
    assert_eq!(broken.invariant, "E7", "{broken}");
    let outvoted = lying(1);
    assert!(outvoted.broken.is_none(), "{}", outvoted.broken.unwrap());
    assert!(outvoted.seen.lies[0] > 0, "it told no lie");
}

/// Two processes with one key know nothing of each other's numbers.
#[test]
fn a_number_used_twice_or_lowered_is_noticed() {
    for (moves, rule) in [(1, "E2"), (2, "E1")] {
        let mut cluster = Cluster::new(Choices::from_seed(1), Faults::none(), 2);
        for turn in 0..moves {
            cluster.move_to(1, home(100 + turn));
            cluster.run(SECOND);
        }
        let lock_record = cluster.members[1].lock_record.clone();
        let mut twin = Setup::new(secret(1), cluster.members.clone(), lock_record);
        twin.plant = Some(Plant::OwnRecordForgotten);
        cluster.add(home(66), twin);
        let failure = cluster.sim.run_for(SECOND).unwrap_err();
        println!("{}", failure.message);
        assert!(failure.message.starts_with(rule), "{}", failure.message);
    }
}

/// A node that takes a stranger for a member, as one with a broken admission would.
#[test]
fn a_channel_with_a_stranger_is_noticed() {
    let own = record([77; 32], home(66), 1);
    let stranger = MemberConfig::from_lock(own);
    let mut cluster = Cluster::with(Choices::from_seed(1), Faults::none(), 2, |position, setup| {
        if position == 0 {
            setup.members.push(stranger.clone());
        }
    });
    let mut members = cluster.members.clone();
    members.push(stranger.clone());
    cluster.add(home(66), Setup::new([77; 32], members, None));
    let failure = cluster.sim.run_for(10 * SECOND).unwrap_err();
    assert!(failure.message.starts_with("C1"), "{}", failure.message);
}
