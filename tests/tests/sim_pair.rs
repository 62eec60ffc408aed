//! Two real nodes in the simulator: handshake, records, ping, with and without faults on the way.

use coracle_sim::{Choices, Faults, MILLISECOND, SECOND};
use coracle_tests::cluster::Cluster;

#[test]
fn two_nodes_find_each_other() {
    let mut cluster = Cluster::new(Choices::from_seed(1), Faults::none(), 2);
    let took = cluster.expect_mesh(5 * SECOND);
    println!("mesh of two after {} ms", took / MILLISECOND);
    cluster.expect_calm(120 * SECOND);
}
