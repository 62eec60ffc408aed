//! Crashes in the midst of every write: nothing that was published is taken back, and the mesh heals.
//!
//! The observers of the harness check E1 to E3 and C3 after every event of these runs.

use coracle_sim::{Choices, Faults, MILLION, MILLISECOND, SECOND};
use coracle_tests::cluster::{Cluster, home};

/// The member that crashes.
const VICTIM: usize = 2;

/// A short life with many writes at the victim: everybody moves, and once it moves while it is down. Crashes
/// it in the midst of its `write`-th write, its start's not counted. Answers how many crashes that made, beside the planned one.
fn life(seed: u64, write: u64, lose: u32) -> u64 {
    let mut faults = Faults::none();
    faults.disk.latency = 20 * MILLISECOND;
    faults.disk.lose = lose;
    let mut cluster = Cluster::new(Choices::from_seed(seed), faults, 3);
    let victim = cluster.nodes[VICTIM];
    let written = cluster.sim.writes(victim);
    cluster.sim.crash_at_write(victim, written + write);
    for turn in 0..12 {
        cluster.run(1500 * MILLISECOND);
        // The victim every second time, and the others in turn.
        let mover = if turn % 2 == 0 { VICTIM } else { usize::from(turn) / 2 % 2 };
        cluster.move_to(mover, home(100 + turn));
        cluster.run(500 * MILLISECOND);
        cluster.sim.restart(victim);
    }
    cluster.run(SECOND);
    cluster.sim.restart(victim);
    cluster.run(SECOND);
    cluster.sim.crash(victim);
    cluster.move_to(VICTIM, home(122));
    cluster.run(100 * MILLISECOND);
    cluster.sim.restart(victim);
    cluster.run(100 * MILLISECOND);
    cluster.sim.restart(victim);
    // It may meet its crash point only now.
    cluster.run(2 * SECOND);
    cluster.heal();
    cluster.expect_mesh(120 * SECOND);
    let record = cluster.member(VICTIM).unwrap().node().record().unwrap().clone();
    assert_eq!(record.tcp_endpoints().next().unwrap().ip(), home(122));
    cluster.sim.counters().crashes - 1
}

/// Tries every crash point of that life.
fn every_crash_point(seed: u64, lose: u32) {
    let mut points = 0;
    for write in 1.. {
        if life(seed, write, lose) == 0 {
            break;
        }
        points = write;
    }
    println!("seed {seed}: {points} writes, a crash in the midst of each");
    assert!(points >= 16, "too few writes to prove anything: {points}");
}

#[test]
fn a_crash_in_the_midst_of_every_write_that_loses_it() {
    every_crash_point(1, MILLION);
}

#[test]
fn a_crash_in_the_midst_of_every_write_that_keeps_it() {
    every_crash_point(2, 0);
}

#[test]
fn a_crash_in_the_midst_of_every_write_by_lot() {
    every_crash_point(3, MILLION / 2);
}

/// Crashes at any time, again and again, on a slow disk that also fails.
#[test]
fn crashes_at_any_time() {
    for seed in 0..4 {
        let mut faults = Faults::none();
        faults.disk.jitter = 300 * MILLISECOND;
        faults.disk.lose = MILLION / 2;
        faults.disk.fail = 200_000;
        let mut cluster = Cluster::new(Choices::from_seed(seed), faults, 4);
        for turn in 0..12_u64 {
            let mut draw = cluster.sim.choices().lane("test.crash", turn);
            let (whom, when) = (draw.choose(4) as usize, draw.between(0, 2 * SECOND));
            let to = home(100 + turn as u8);
            cluster.run(when);
            cluster.sim.crash(cluster.nodes[whom]);
            if turn % 3 == 0 {
                cluster.move_to(whom, to);
            }
            let node = cluster.nodes[(whom + 1) % 4];
            cluster.sim.restart(node);
        }
        cluster.heal();
        let took = cluster.expect_mesh(120 * SECOND);
        println!("seed {seed}: mesh {} ms after 12 crashes", took / MILLISECOND);
        cluster.expect_calm(30 * SECOND);
    }
}
