//! Members who come and go while the node runs.

use std::println;

use super::*;
use crate::handshake::{Options, Responder};

fn member(n: u8) -> MemberConfig {
    MemberConfig::new(RustCrypto.public_key(&key(n)))
}

fn peer(n: u8) -> PeerId {
    PeerId::from_public_key(&RustCrypto.public_key(&key(n)))
}

fn peers(node: &Node) -> Vec<PeerId> {
    let mut members: Vec<_> = node.members().collect();
    members.sort_by_key(|member| member.position);
    members.iter().map(|member| member.peer_id).collect()
}

#[test]
fn members_come_go_and_stay() {
    let mut config = config();
    config.member_room = 5;
    let mut node = node(config);
    let now = Instant::ZERO;
    settle(&mut node, now);
    let mut members = [member(5), member(3), member(1), member(2), member(6)];
    members[0].hints.push("10.0.0.5:1".parse().unwrap());
    members[4].hints.push("10.0.0.6:1".parse().unwrap());
    let info = allocation_counter::measure(|| node.set_members(now, &members).unwrap());
    assert_eq!(info.count_total, 0, "the places were taken at the start");
    assert_eq!(peers(&node), [peer(5), peer(3), peer(2), peer(6)]);
    let (actions, _) = drain(&mut node, now);
    let told = |notice: Notice| actions.iter().any(|a| matches!(a, Action::Notify(n) if *n == notice));
    assert!(told(Notice::MemberRemoved { peer: peer(4) }), "{actions:?}");
    for (n, added) in [(5, true), (6, true), (2, false), (3, false)] {
        assert_eq!(told(Notice::MemberAdded { peer: peer(n) }), added);
        let dialled =
            |a: &Action| matches!(a, Action::Notify(Notice::Dialling { peer: p, .. }) if *p == peer(n));
        assert_eq!(actions.iter().any(dialled), added, "{n}: {actions:?}");
    }
    assert_eq!(node.request(now, Command::Ping(peer(4))), Err(RequestError::NotAMember));
    assert_eq!(node.request(now, Command::Ping(peer(6))), Err(RequestError::NotConnected));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut node = node(config());
    let now = Instant::ZERO;
    settle(&mut node, now);
    let before = peers(&node);
    for (members, error) in [
        (vec![member(2), member(3)], ClusterError::NotAMember),
        (vec![member(1), member(2), member(2)], ClusterError::Duplicate(1, 2)),
        ((1..=5).map(member).collect(), ClusterError::NoRoom(4)),
        (vec![member(1); 257], ClusterError::TooMany),
    ] {
        let refused = node.request(now, Command::SetMembers(members));
        assert_eq!(refused, Err(RequestError::Members(error)));
        println!("{error}");
    }
    assert_eq!(peers(&node), before);
    assert!(drain(&mut node, now).0.is_empty());
}

/// A dial to one that is removed is given up, and its place serves the next.
#[test]
fn who_is_removed_is_cut_off() {
    let mut config = config();
    config.members[1].hints.push("10.0.0.2:1".parse().unwrap());
    let mut node = node(config);
    let now = Instant::ZERO;
    settle(&mut node, now);
    let dial = node.conns.iter().next().unwrap().id;
    for _ in 0..100 {
        node.set_members(now, &[member(1), member(3), member(4)]).unwrap();
        node.set_members(now, &[member(1), member(3), member(4), member(5)]).unwrap();
    }
    let (actions, _) = drain(&mut node, now);
    assert!(actions.iter().any(|a| matches!(a, Action::Close { conn } if *conn == dial)), "{actions:?}");
    assert_eq!(peers(&node), [peer(3), peer(4), peer(5)]);
    assert_eq!(node.connections(), 0);
}

/// What is known of one that stays remains: only a newer record replaces the one there is.
#[test]
fn one_that_stays_keeps_what_is_known_of_it() {
    let record = |seq, port| {
        let mut builder = Builder::new();
        builder.set_ip4(Some([10, 0, 0, 2].into())).unwrap().set_tcp4(Some(port)).unwrap();
        builder.sign(seq, &Identity::new(RustCrypto, key(2))).unwrap()
    };
    let mut config = config();
    config.members[1].stored_record = Some(record(7, 7));
    let mut node = node(config);
    let now = Instant::ZERO;
    settle(&mut node, now);
    for (seq, known) in [(6, 7), (8, 8)] {
        let mut members: Vec<_> = (1..=4).map(member).collect();
        members[1].lock_record = Some(record(seq, seq as u16));
        node.set_members(now, &members).unwrap();
        assert_eq!(node.members().next().unwrap().record.unwrap().seq(), known);
    }
}

/// An address without a name is dialled while somebody is missing, and again after a pause.
#[test]
fn an_address_is_tried_for_anyone() {
    let mut config = config();
    let address: SocketAddr = "10.0.0.9:9".parse().unwrap();
    config.addresses.push(address);
    let mut node = node(config);
    let mut now = Instant::ZERO;
    settle(&mut node, now);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let conn = node.conns.iter().next().map(|conn| (conn.id, conn.remote, conn.member));
        let Some((conn, remote, None)) = conn else { panic!("{conn:?}") };
        assert_eq!(remote, address);
        node.handle_event(now, Event::DialFailed(conn, DialError::Refused));
        let (actions, _) = drain(&mut node, now);
        let failed =
            Notice::AnyoneFailed { conn, endpoint: address, reason: Failure::Dial(DialError::Refused) };
        assert!(actions.iter().any(|a| matches!(a, Action::Notify(n) if *n == failed)), "{actions:?}");
        let before = now;
        while node.connections() == 0 {
            now = drain(&mut node, now).1.unwrap();
            node.handle_timeout(now);
            drain(&mut node, now);
        }
        pauses.push(now.since(before));
    }
    assert!(pauses[7] <= crate::limits::DIAL_BACKOFF_MAX && pauses[7] > pauses[0], "{pauses:?}");
}

/// Whoever answers at such an address is asked for its name before it is shown ours: a member gets on, a
/// stranger does not.
#[test]
fn who_answers_at_an_address_is_known_before_our_identity_is_shown() {
    for (n, welcome) in [(9, false), (2, true)] {
        let mut config = config();
        config.addresses.push("10.0.0.9:9".parse().unwrap());
        let mut node = node(config);
        let now = Instant::ZERO;
        settle(&mut node, now);
        let conn = node.conns.iter().next().unwrap().id;
        let identity = Identity::new(RustCrypto, key(n));
        let mut rng = Seed::new([n; 32]).stream("whoever");
        let static_key = StaticKey::new(&identity, &mut rng);
        let mut whoever = Responder::new(&static_key, &mut rng, Options::default());
        node.handle_event(now, Event::Connected(conn));
        let (mut said, mut reason) = (0, None);
        let mut buf = [0; MIN_BUFFER];
        loop {
            match node.poll(now, &mut buf) {
                Action::Write { len, .. } => {
                    said += len;
                    node.handle_event(now, Event::Writable(conn));
                    if !whoever.is_finished() {
                        let _ = whoever.handle_bytes(&identity, &mut buf[..len]).unwrap();
                    }
                    let n = whoever.poll_write(&identity, &mut buf);
                    assert_eq!(node.handle_bytes(now, conn, &mut buf[..n]), n);
                }
                Action::Notify(Notice::AnyoneFailed { reason: why, .. }) => reason = Some(why),
                Action::Wait(_) => break,
                _ => {}
            }
        }
        assert_eq!(whoever.is_finished(), welcome);
        assert_eq!(said == 28 + 2 + 32, !welcome, "the lines and message 1, nothing else");
        assert_eq!(reason, (!welcome).then_some(Failure::NotAMember(identity.peer_id())));
        assert_eq!(node.connections(), usize::from(welcome));
    }
}
