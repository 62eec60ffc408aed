//! What members tell each other inside their channels. (Without discv5 altogether: the tests of the node in
//! `coracle-core`, whose network in memory has no datagrams.)

use coracle_core::cluster::Origin;
use coracle_core::node::Notice;
use coracle_sim::{Choices, Faults, MILLISECOND, SECOND};
use coracle_tests::cluster::{Cluster, home, secret};
use coracle_tests::sim_node::Setup;

/// Three of four members lose their disks and come back elsewhere, each knowing the lock file and nothing
/// else. The fourth, where the lock says, gives each the records of the others.
#[test]
fn one_survivor_gives_a_whole_cluster_its_addresses_back() {
    for seed in 0..4 {
        let faults = Faults::none();
        let mut cluster = Cluster::new(Choices::from_seed(seed), faults, 4);
        cluster.expect_mesh(30 * SECOND);
        for position in 1..4_u8 {
            let at = usize::from(position);
            cluster.sim.crash(cluster.nodes[at]);
            let lock_record = cluster.members[at].lock_record.clone();
            let setup = Setup::new(secret(position), cluster.members.clone(), lock_record);
            cluster.nodes[at] = cluster.add(home(100 + position), setup);
        }
        cluster.doubt();
        let took = cluster.expect_mesh(60 * SECOND);
        let told = cluster
            .book()
            .notices
            .iter()
            .any(|(_, _, notice)| matches!(notice, Notice::Dialling { origin: Origin::Exchanged, .. }));
        println!("seed {seed}: a full mesh again after {} ms", took / MILLISECOND);
        assert!(told, "seed {seed}: nobody dialled where a member had told it to");
        cluster.expect_calm(10 * SECOND);
    }
}
