//! Chaos first, then heal, then a deadline (rules C2 and C4), and the proof that a run can be had again.

use coracle_sim::{Choices, Faults, MILLISECOND, Nanos, Recording, SECOND, TraceHash};
use coracle_tests::cluster::{Cluster, home};

/// How long things go wrong.
const CHAOS: Nanos = 60 * SECOND;
/// By when the mesh must be full again.
const DEADLINE: Nanos = 120 * SECOND;

/// So many members, drawn faults, drawn moves; then heal. Answers when the mesh was full.
fn campaign(mut choices: Choices, members: u8) -> (Nanos, Cluster) {
    let faults = Faults::drawn(&mut choices);
    let mut cluster = Cluster::new(choices, faults, members);
    let mut next_home = 100;
    while cluster.sim.now() < CHAOS {
        cluster.run(5 * SECOND);
        for position in 0..u64::from(members) {
            if cluster.sim.choices().lane("test.move", position).chance(60_000) {
                cluster.move_to(position as usize, home(next_home));
                next_home += 1;
            }
        }
    }
    cluster.heal();
    let took = cluster.expect_mesh(DEADLINE);
    (took, cluster)
}

#[test]
fn after_chaos_the_mesh_heals() {
    let mut times: Vec<Nanos> = Vec::new();
    for seed in 0..20 {
        let (took, mut cluster) = campaign(Choices::from_seed(seed), 4);
        let seen = *cluster.sim.counters();
        println!(
            "seed {seed}: mesh {} ms after the end of chaos ({} crashes, {} moves, {} cuts, {} lost, {} broken)",
            took / MILLISECOND,
            seen.crashes,
            seen.moves,
            seen.partitions,
            seen.datagrams_lost,
            seen.streams_broken,
        );
        cluster.expect_calm(40 * SECOND);
        times.push(took);
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1] / MILLISECOND;
    println!("healed after: median {} ms, 90 % {} ms, most {} ms", at(50), at(90), at(100));
}

#[test]
fn after_chaos_larger_meshes_heal() {
    for (members, seed) in [(7, 1), (10, 3)] {
        let (took, mut cluster) = campaign(Choices::from_seed(seed), members);
        println!("{members} members, seed {seed}: mesh {} ms after the end of chaos", took / MILLISECOND);
        cluster.expect_calm(40 * SECOND);
    }
}

#[test]
fn a_partition_heals() {
    for seed in 0..5 {
        let mut cluster = Cluster::new(Choices::from_seed(seed), Faults::none(), 4);
        cluster.expect_mesh(10 * SECOND);
        let cut = [cluster.nodes[0], cluster.nodes[3]];
        cluster.sim.partition(&cut);
        cluster.run(90 * SECOND);
        assert!(cluster.gap().is_some(), "a channel through a partition");
        cluster.heal();
        let took = cluster.expect_mesh(DEADLINE);
        println!("seed {seed}: mesh {} ms after the partition", took / MILLISECOND);
        cluster.expect_calm(40 * SECOND);
    }
}

/// Both parts of a partition move meanwhile, each member but one: that one is the way back.
#[test]
fn moves_during_a_partition_heal_through_the_one_that_stayed() {
    for seed in 0..5 {
        let mut cluster = Cluster::new(Choices::from_seed(seed), Faults::none(), 4);
        cluster.expect_mesh(10 * SECOND);
        let cut = [cluster.nodes[0], cluster.nodes[3]];
        cluster.sim.partition(&cut);
        cluster.run(20 * SECOND);
        for position in 1..4 {
            cluster.move_to(position, home(100 + position as u8));
        }
        cluster.run(40 * SECOND);
        cluster.heal();
        let took = cluster.expect_mesh(DEADLINE);
        println!("seed {seed}: mesh {} ms after the partition", took / MILLISECOND);
        cluster.expect_calm(40 * SECOND);
    }
}

#[test]
fn the_same_seed_and_the_same_recording_give_the_same_run() {
    let run = |choices: Choices| -> (TraceHash, u64, Vec<u8>) {
        let (_, cluster) = campaign(choices, 4);
        (cluster.sim.trace_hash(), cluster.sim.steps(), cluster.sim.recording().to_bytes())
    };
    let (hash, steps, recorded) = run(Choices::from_seed(5));
    assert_eq!(run(Choices::from_seed(5)).0, hash, "the same seed, another run");
    assert_ne!(run(Choices::from_seed(6)).0, hash, "another seed, the same run");
    let recording = Recording::from_bytes(&recorded).unwrap();
    assert_eq!(run(Choices::from_recording(recording)).0, hash, "the recording gives another run");
    println!("{steps} steps, hash {hash}, recorded in {} bytes", recorded.len());
}
