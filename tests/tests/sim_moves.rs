//! Operators that move to other addresses and keep their keys: the mesh heals by itself.

use coracle_core::cluster::Origin;
use coracle_sim::{Choices, Faults, MILLISECOND, SECOND};
use coracle_tests::cluster::{Cluster, home};

#[test]
fn four_nodes_form_a_mesh() {
    for seed in 0..5 {
        let mut cluster = Cluster::new(Choices::from_seed(seed), Faults::none(), 4);
        let took = cluster.expect_mesh(10 * SECOND);
        println!("seed {seed}: mesh of four after {} ms", took / MILLISECOND);
        cluster.expect_calm(60 * SECOND);
    }
}

/// Two of four move at once. Neither knows where the other is: the two that stayed tell them.
#[test]
fn two_of_four_move_at_once() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(Choices::from_seed(seed), Faults::none(), 4);
        cluster.expect_mesh(10 * SECOND);
        cluster.expect_calm(30 * SECOND);
        let before = cluster.book().ups.len();
        cluster.move_to(2, home(102));
        cluster.move_to(3, home(103));
        let moved_at = cluster.sim.now();
        cluster.run(SECOND);
        let took = cluster.expect_mesh(10 * SECOND);
        println!("seed {seed}: two of four moved, mesh again after {} ms", took / MILLISECOND);
        cluster.expect_calm(60 * SECOND);
        let book = cluster.book();
        let (two, three) = (cluster.peer(2), cluster.peer(3));
        let between: Vec<_> = book.ups[before..]
            .iter()
            .filter(|up| up.at > moved_at)
            .filter(|up| {
                (up.node == cluster.nodes[2] && up.peer == three)
                    || (up.node == cluster.nodes[3] && up.peer == two)
            })
            .collect();
        assert!(
            between.iter().any(|up| matches!(up.origin, Origin::Discovered | Origin::Exchanged)),
            "seed {seed}: found otherwise than by discv5 or the exchange of records: {between:?}"
        );
        for position in [2, 3] {
            let record = cluster.member(position).unwrap().node().record().unwrap();
            assert_eq!(record.tcp_endpoints().next().unwrap().ip(), home(100 + position as u8));
            assert_eq!(record.seq(), 2, "one move, one number (E6)");
        }
    }
}

/// The host of those that move sees nothing of it, as behind a NAT: what the others see of them tells them.
#[test]
fn a_move_that_only_others_see() {
    for seed in 0..5 {
        let mut cluster = Cluster::with(Choices::from_seed(seed), Faults::none(), 4, |_, setup| {
            setup.notices_moves = false;
        });
        cluster.expect_mesh(10 * SECOND);
        cluster.expect_calm(30 * SECOND);
        cluster.move_to(2, home(102));
        cluster.move_to(3, home(103));
        cluster.run(SECOND);
        let took = cluster.expect_mesh(10 * SECOND);
        println!("seed {seed}: two of four moved unseen, mesh again after {} ms", took / MILLISECOND);
        cluster.expect_calm(60 * SECOND);
        for position in [2, 3] {
            let record = cluster.member(position).unwrap().node().record().unwrap();
            assert_eq!(record.tcp_endpoints().next().unwrap().ip(), home(100 + position as u8));
            assert_eq!(record.seq(), 2, "one move, one number (E6)");
        }
    }
}
