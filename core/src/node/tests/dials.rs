//! Many members at once: a few dials at a time, and everybody's turn comes.

use std::collections::BTreeSet;

use super::*;
use crate::limits::{DIAL_HANGS, HANDSHAKE_TIMEOUT, MAX_DIALS_AT_ONCE};

/// A node with so many other members, each with a known address.
fn node_of(others: u8) -> Node {
    let mut config = config();
    config.members = (1..=others + 1).map(|n| MemberConfig::new(RustCrypto.public_key(&key(n)))).collect();
    for (n, member) in (1..).zip(&mut config.members).skip(1) {
        member.hints.push(SocketAddr::from(([10, 0, 0, n], 3610)));
    }
    node(config)
}

/// The dials among all that it does now.
fn dials(node: &mut Node, now: Instant) -> Vec<(ConnId, SocketAddr)> {
    let (actions, deadline) = drain(node, now);
    assert!(deadline.is_none_or(|at| at > now), "the timer spins");
    actions
        .iter()
        .filter_map(|a| if let Action::Dial { conn, to } = a { Some((*conn, *to)) } else { None })
        .collect()
}

fn started(others: u8) -> (Node, Vec<(ConnId, SocketAddr)>) {
    let mut node = node_of(others);
    let (actions, _) = drain(&mut node, Instant::ZERO);
    for action in &actions {
        if let Action::Store { id, item: StoreItem::Own(_) } = action {
            node.handle_event(Instant::ZERO, Event::Stored(*id));
        }
    }
    let first = dials(&mut node, Instant::ZERO);
    (node, first)
}

#[test]
fn a_large_cluster_is_dialled_a_few_at_a_time() {
    let (mut node, mut under_way) = started(63);
    let mut dialled: BTreeSet<_> = under_way.iter().map(|(_, to)| *to).collect();
    assert_eq!(dialled.len(), MAX_DIALS_AT_ONCE);
    for (conn, _) in &under_way {
        node.handle_event(Instant::ZERO, Event::Connected(*conn));
    }
    // Handshakes under way count until they end, however long they take.
    let later = Instant::ZERO + HANDSHAKE_TIMEOUT / 2;
    node.handle_timeout(later);
    assert_eq!(dials(&mut node, later), []);
    while let Some((conn, _)) = under_way.pop() {
        node.handle_event(later, Event::Closed(conn));
        let next = dials(&mut node, later);
        assert!(next.len() <= 1, "one for one: {next:?}");
        for (conn, to) in next {
            dialled.insert(to);
            node.handle_event(later, Event::Connected(conn));
            under_way.insert(0, (conn, to));
            assert!(under_way.len() <= MAX_DIALS_AT_ONCE);
        }
        if dialled.len() == 63 {
            return;
        }
    }
    panic!("{} of 63 were dialled", dialled.len());
}

#[test]
fn dials_that_hang_hold_nobody_up() {
    let (mut node, first) = started(40);
    let mut dialled: BTreeSet<_> = first.iter().map(|(_, to)| *to).collect();
    for round in 1..=2 {
        let now = Instant::ZERO + DIAL_HANGS * round;
        node.handle_timeout(now);
        dialled.extend(dials(&mut node, now).iter().map(|(_, to)| *to));
    }
    assert_eq!(dialled.len(), 40);
}
