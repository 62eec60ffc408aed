//! Who is no member never has a channel, whoever dials whom (rules C1 and N3, seen from outside).

use coracle_core::cluster::Origin;
use coracle_core::handshake::HandshakeError;
use coracle_core::node::{Failure, Notice};
use coracle_sim::{Choices, Faults, SECOND};
use coracle_tests::cluster::{Cluster, Order, home, record, secret};
use coracle_tests::sim_node::{PORT, Seen, Setup};

/// A stranger believes itself a member, dials all the others, and sits at the old address of one that moved,
/// where the others dial it.
#[test]
fn a_stranger_has_no_channel() {
    let mut cluster = Cluster::new(Choices::from_seed(1), Faults::none(), 4);
    cluster.expect_mesh(10 * SECOND);
    cluster.move_to(2, home(102));
    let mut members = cluster.members.clone();
    let own = record([77; 32], home(2), 1);
    members.push(coracle_core::cluster::MemberConfig::from_lock(own.clone()));
    let stranger = cluster.add(home(2), Setup::new([77; 32], members, None));
    cluster.sim.crash(cluster.nodes[0]);
    cluster.run(SECOND);
    // The one that starts again knows the old address only.
    cluster.sim.restart(cluster.nodes[0]);
    cluster.expect_mesh(60 * SECOND);
    cluster.run(60 * SECOND);
    assert_eq!(cluster.gap(), None);
    let book = cluster.book();
    let refused = |notice: &Notice| matches!(notice, Notice::Refused { reason: Failure::NotAMember(peer), .. } if *peer == own.peer_id());
    for node in &cluster.nodes {
        assert!(
            book.notices.iter().any(|(_, at, notice)| at == node && refused(notice)),
            "{node} was never dialled by the stranger"
        );
    }
    let wrong = |notice: &Notice| {
        matches!(
            notice,
            Notice::DialFailed { reason: Failure::Handshake(HandshakeError::WrongPeer { .. }), .. }
        )
    };
    assert!(
        book.notices.iter().any(|(_, at, notice)| *at != stranger && wrong(notice)),
        "nobody dialled the stranger"
    );
}

/// A key of nobody's and the node's own: the handshake is right, and not a byte follows it.
#[test]
fn strangers_and_our_own_key_are_refused_before_any_data() {
    for (name, key) in [("a stranger", [77; 32]), ("its own key", secret(0))] {
        let mut cluster = Cluster::new(Choices::from_seed(2), Faults::none(), 2);
        let intruder = cluster.add_intruder(home(66), key);
        cluster.sim.command(intruder, Order::Dial((home(0), PORT).into()));
        cluster.run(20 * SECOND);
        let book = cluster.book();
        let seen: Vec<&Seen> = book.intruders.iter().map(|(_, seen)| seen).collect();
        assert!(matches!(seen[..], [Seen::IntruderFinished, Seen::IntruderClosed]), "{name}: {seen:?}");
        let refused = |notice: &Notice| {
            let Notice::Refused { reason, .. } = notice else { return false };
            matches!(reason, Failure::NotAMember(_) | Failure::Handshake(HandshakeError::OwnKey))
        };
        assert!(book.notices.iter().any(|(_, node, notice)| *node == cluster.nodes[0] && refused(notice)));
        assert_eq!(cluster.gap(), None);
    }
}

/// A member's entry with another's record, and with another's address as a hint, leads to no wrong channel.
#[test]
fn a_members_key_with_a_wrong_record_leads_nowhere() {
    let mut cluster = Cluster::with(Choices::from_seed(3), Faults::none(), 3, |position, setup| {
        if position == 0 {
            setup.members[1].lock_record = setup.members[2].lock_record.clone();
            setup.members[1].hints = vec![(home(2), PORT).into()];
        }
    });
    cluster.expect_mesh(30 * SECOND);
    cluster.expect_calm(30 * SECOND);
    let book = cluster.book();
    let (node, peer) = (cluster.nodes[0], cluster.peer(1));
    assert!(book.notices.iter().any(|(_, at, notice)| *at == node
        && matches!(notice, Notice::DialFailed { peer: dialled, origin: Origin::Hint,
            reason: Failure::Handshake(HandshakeError::WrongPeer { .. }), .. } if *dialled == peer)));
}
