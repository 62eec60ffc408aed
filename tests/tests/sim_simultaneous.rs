//! Two nodes that dial each other at the same moment end in exactly one channel (rule C4).

use coracle_sim::{Choices, Faults, Link, MILLISECOND, SECOND};
use coracle_tests::cluster::Cluster;

#[test]
fn simultaneous_dials_end_in_one_channel() {
    let (mut slowest, mut both) = (0, 0);
    for seed in 0..150 {
        let mut choices = Choices::from_seed(seed);
        let mut draw = choices.lane("test.delay", 0);
        let mut link = || Link {
            latency: draw.between(1, 120) * MILLISECOND,
            jitter: draw.between(0, 1) * draw.between(0, 200) * MILLISECOND,
            ..Faults::none().link
        };
        let (there, back) = (link(), link());
        let mut faults = Faults::none();
        faults.streams.split = if seed % 2 == 0 { 0 } else { 500_000 };
        let mut cluster = Cluster::new(choices, faults, 2);
        let (a, b) = (cluster.nodes[0], cluster.nodes[1]);
        cluster.sim.set_link(a, b, there);
        cluster.sim.set_link(b, a, back);
        let took = cluster.expect_mesh(20 * SECOND);
        slowest = slowest.max(took);
        both += u32::from(cluster.sim.counters().dials > 1);
        cluster.expect_calm(30 * SECOND);
    }
    println!(
        "{both} of 150 dialled each other; the slowest had its one channel after {} ms",
        slowest / MILLISECOND
    );
    assert!(both > 100);
}
