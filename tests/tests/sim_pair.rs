//! Two real nodes in the simulator: handshake, records, ping, with and without faults on the way.

use coracle_core::cluster::MemberConfig;
use coracle_core::cluster::Origin;
use coracle_core::crypto::Crypto as _;
use coracle_core::crypto::{RustCrypto, SecretKey};
use coracle_sim::{Choices, Faults, MILLISECOND, SECOND};
use coracle_tests::cluster::{Cluster, home, lock_record, secret};

#[test]
fn two_nodes_find_each_other() {
    let mut cluster = Cluster::new(Choices::from_seed(1), Faults::none(), 2);
    let took = cluster.expect_mesh(5 * SECOND);
    println!("mesh of two after {} ms", took / MILLISECOND);
    cluster.expect_calm(120 * SECOND);
}

#[test]
fn two_nodes_find_each_other_on_bad_links() {
    for seed in 0..10 {
        let mut faults = Faults::none();
        faults.link.jitter = 80 * MILLISECOND;
        faults.link.loss = 200_000;
        faults.link.duplicate = 100_000;
        faults.link.reorder = 200_000;
        faults.link.reorder_by = SECOND;
        faults.streams.split = 500_000;
        let mut cluster = Cluster::new(Choices::from_seed(seed), faults, 2);
        let took = cluster.expect_mesh(30 * SECOND);
        println!("seed {seed}: mesh of two after {} ms", took / MILLISECOND);
        cluster.expect_calm(60 * SECOND);
        for (here, there) in [(0, 1), (1, 0)] {
            let peer = cluster.peer(there);
            let node = cluster.member(here).unwrap().node();
            let id = node.members().find(|member| member.peer_id == peer).unwrap().node_id;
            let seen = node.discovery().node(&id).unwrap();
            assert!(seen.verified, "discv5 has no answer of {there} at {here}");
        }
    }
}

/// The lock has no addresses for one of them, and an old one for the other: it moves its record itself, and
/// the other learns it, although it is dialled and has nothing to dial.
#[test]
fn a_record_newer_than_the_lock_is_exchanged() {
    let bare = |position| {
        let secret = SecretKey::from_bytes(&secret(position)).unwrap();
        MemberConfig::new(RustCrypto.public_key(&secret))
    };
    let mut cluster = Cluster::with(Choices::from_seed(3), Faults::none(), 2, |position, setup| {
        if position == 0 {
            setup.members[1] = bare(1);
        } else {
            setup.lock_record = Some(coracle_tests::cluster::record(secret(1), home(9), 5));
        }
    });
    cluster.expect_mesh(5 * SECOND);
    cluster.run(30 * SECOND);
    let published = cluster.member(1).unwrap().node().record().unwrap().clone();
    assert!(published.seq() > 5);
    let member = cluster.member(0).unwrap();
    let known = member.view(&cluster.peer(1)).unwrap().record.unwrap();
    assert_eq!(known.as_bytes(), published.as_bytes());
    assert_eq!(member.view(&cluster.peer(1)).unwrap().channel.unwrap().origin, Origin::Inbound);
    assert_ne!(lock_record(1).seq(), published.seq());
}
