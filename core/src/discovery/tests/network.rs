//! Several nodes: lookups, checks, moves, junk.

use core::time::Duration;
use std::{collections::BTreeSet, vec, vec::Vec};

use proptest::prelude::*;

use super::net::{Fate, Net, endpoint, identity, record};
use crate::{
    crypto::RustCrypto,
    discovery::{
        Config, Event, RecordSource, Target,
        packet::{self, Auth},
    },
    id::NodeId,
    limits::MAX_PACKET_SIZE,
    record::Record,
    rng::Seed,
};

/// `n` nodes of which each knows only the first.
fn bootstrapped(n: u8) -> Net {
    let mut net = Net::of(n);
    let boot = net.nodes[0].record();
    for node in &mut net.nodes[1..] {
        node.discovery.add_record(net.now, &boot, false).unwrap();
    }
    net
}

/// Looks `target` up from node `i`.
fn found(net: &mut Net, i: usize, target: NodeId) -> Option<Record> {
    net.events(i);
    let id = net.nodes[i].discovery.lookup(net.now, target).unwrap();
    for _ in 0..100 {
        net.run_ms(100);
        let done = net.nodes[i].events.iter().find_map(|event| match event {
            Event::LookupDone { lookup, found, .. } if *lookup == id => Some(found.clone()),
            _ => None,
        });
        if let Some(found) = done {
            return found;
        }
    }
    panic!("the lookup did not end");
}

#[test]
fn ten_nodes_find_each_other_through_one() {
    let mut net = bootstrapped(10);
    net.run_ms(5_000);
    for i in 0..10 {
        for j in (0..10).filter(|j| *j != i) {
            let (id, wanted) = (net.nodes[j].id(), net.nodes[j].record());
            assert_eq!(found(&mut net, i, id), Some(wanted), "{i} looked for {j}");
        }
    }
    // Everybody was verified by somebody, and what was said about it is in the events.
    assert!(net.nodes.iter().all(|node| node.discovery.nodes().filter(|n| n.verified).count() >= 9));
}

#[test]
fn lookups_end_where_nobody_is() {
    let mut net = Net::of(1);
    assert_eq!(found(&mut net, 0, NodeId([9; 32])), None);
    let dead = record(&identity(50), 1, endpoint(50, 1));
    net.nodes[0].discovery.add_record(net.now, &dead, false).unwrap();
    assert_eq!(found(&mut net, 0, NodeId([9; 32])), None);
    // It goes on trying the only one it knows, more and more slowly.
    net.events(0);
    let before = net.log.len();
    net.run_ms(600_000);
    let tries = net.log.len() - before;
    assert!((60..600).contains(&tries), "{tries} packets in ten minutes");
    assert!(net.events(0).iter().all(|event| matches!(event, Event::Unreachable { .. })));
}

#[test]
fn a_node_that_moved_is_found_through_the_others() {
    let mut net = bootstrapped(10);
    let records: Vec<_> = net.nodes.iter().map(|node| node.record()).collect();
    // Node 4 and node 7 are members for each other; node 4 is down while node 7 moves.
    let now = net.now;
    net.nodes[4].discovery.add_record(now, &records[7], true).unwrap();
    net.nodes[7].discovery.add_record(now, &records[4], true).unwrap();
    net.run_ms(5_000);
    let moved = endpoint(7, 7777);
    let newer = record(&net.nodes[7].identity, 2, moved);
    let four = net.nodes[4].endpoint;
    net.nodes[4].endpoint = endpoint(200, 1);
    net.nodes[7].endpoint = moved;
    net.nodes[7].discovery.set_local_record(net.now, &newer);
    net.run_ms(5_000);
    net.nodes[4].endpoint = four;
    assert_eq!(net.nodes[4].discovery.record(&newer.node_id()).unwrap().seq(), 1);
    assert_eq!(found(&mut net, 4, newer.node_id()), Some(newer.clone()));
    let events = net.events(4);
    assert!(events.iter().any(|event| matches!(
        event,
        Event::RecordSeen { record, source: RecordSource::Relayed(_) } if *record == newer
    )));
    // And then it is reached there.
    let ping = net.nodes[4].discovery.ping(net.now, newer.node_id()).unwrap();
    net.run_ms(2_000);
    assert!(net.ponged(4, ping));
    assert_eq!(net.nodes[4].discovery.node(&newer.node_id()).unwrap().endpoint, Some(moved));
}

#[test]
fn after_a_change_members_learn_it_at_once() {
    let mut net = Net::of(4);
    let records: Vec<_> = net.nodes.iter().map(|node| node.record()).collect();
    for i in 0..4 {
        for j in (0..4).filter(|j| *j != i) {
            net.nodes[i].discovery.add_record(net.now, &records[j], true).unwrap();
        }
    }
    net.run_ms(3_000);
    let newer = record(&net.nodes[0].identity, 2, endpoint(0, 5555));
    net.nodes[0].endpoint = endpoint(0, 5555);
    net.nodes[0].discovery.set_local_record(net.now, &newer);
    let seen = |net: &Net, i: usize| {
        let node = net.nodes[i].discovery.node(&newer.node_id()).unwrap();
        (node.record.seq(), node.verified)
    };
    let mut before = [false; 4];
    for _ in 0..200 {
        net.run_ms(1);
        (1..4).for_each(|i| before[i] |= seen(&net, i) == (2, false));
    }
    assert_eq!(before, [false, true, true, true], "known, but not relayed before it answers there");
    assert!((1..4).all(|i| seen(&net, i) == (2, true)));
    // A change that keeps the endpoint is learned the same way.
    let newest = record(&net.nodes[0].identity, 3, endpoint(0, 5555));
    net.nodes[0].discovery.set_local_record(net.now, &newest);
    net.run_ms(60);
    for i in 1..4 {
        let node = net.nodes[i].discovery.node(&newer.node_id()).unwrap();
        assert_eq!((node.record.seq(), node.verified), (3, true));
    }
}

#[test]
fn a_check_of_the_old_place_says_nothing_of_the_new_one() {
    let mut net = Net::of(2);
    let records: Vec<_> = net.nodes.iter().map(|node| node.record()).collect();
    net.nodes[0].discovery.add_record(net.now, &records[1], true).unwrap();
    net.nodes[1].discovery.add_record(net.now, &records[0], true).unwrap();
    net.run_ms(3_000);
    // It is gone, and while it is asked where it was, it comes back elsewhere.
    let newer = record(&net.nodes[0].identity, 2, endpoint(0, 5555));
    let id = newer.node_id();
    net.nodes[0].endpoint = endpoint(0, 5555);
    net.nodes[1].discovery.check(net.now, &id);
    net.run_ms(300);
    net.nodes[0].discovery.set_local_record(net.now, &newer);
    net.run_ms(200);
    for _ in 0..100 {
        let node = net.nodes[1].discovery.node(&id).unwrap();
        assert_eq!((node.record.seq(), node.verified), (2, true));
        net.run_ms(100);
    }
}

#[test]
fn a_member_without_an_address_is_met_when_it_comes() {
    // Charon's locks hold records without any endpoint.
    let mut net = Net::of(2);
    let bare = crate::record::Builder::new().sign(0, &identity(1)).unwrap();
    net.nodes[0].discovery.add_record(net.now, &bare, true).unwrap();
    net.run_ms(5_000);
    assert!(net.log.is_empty());
    // At a known address it can be asked all the same.
    let at = net.nodes[1].endpoint;
    let ping = net.nodes[0].discovery.ping(net.now, Target::from(bare.node_id()).at(at)).unwrap();
    net.run_ms(200);
    assert!(net.ponged(0, ping));
    // Its PONG named a newer record, which was fetched where it is now.
    let known = net.nodes[0].discovery.node(&bare.node_id()).unwrap();
    assert_eq!((known.record.seq(), known.member), (1, true));
}

#[test]
fn bystanders_are_pinged_and_then_relayed() {
    let mut net = Net::of(1);
    for n in 1..6 {
        // Five nodes on one loopback address.
        net.add(n, endpoint(1, 9000 + u16::from(n)), Config::default());
    }
    let boot = net.nodes[0].record();
    for i in 1..6 {
        net.ping(i, 0);
    }
    net.run_ms(60_000);
    let distances: Vec<_> = (1..6).map(|i| boot.node_id().log_distance(&net.nodes[i].id())).collect();
    let distances: BTreeSet<_> = distances.into_iter().collect();
    let distances: Vec<_> = distances.into_iter().collect();
    let request = net.nodes[1].discovery.find_node(net.now, &boot, &distances).unwrap();
    net.run_ms(100);
    let from = boot.node_id();
    // The asker itself included.
    assert!(net.events(1).contains(&Event::Nodes { request, from, count: 5 }));
}

#[test]
fn the_dead_leave_and_members_stay() {
    let mut net = bootstrapped(6);
    net.run_ms(5_000);
    let member = net.nodes[5].record();
    net.nodes[1].discovery.add_record(net.now, &member, true).unwrap();
    net.run_ms(1_500);
    for i in [4, 5] {
        net.stop(i);
    }
    net.run(Duration::from_secs(1_200));
    let (gone, kept) = (net.nodes[4].id(), net.nodes[5].id());
    for i in 0..4 {
        assert!(net.nodes[i].discovery.node(&gone).is_none_or(|node| !node.verified), "node {i}");
    }
    assert!(net.nodes[1].discovery.node(&kept).is_some_and(|node| !node.verified));
    assert!(net.events(1).iter().any(|e| matches!(e, Event::Unreachable { id, .. } if *id == kept)));
    // When the member comes back it is noticed.
    net.add(5, endpoint(5, 9000), Config::default());
    net.run(Duration::from_secs(90));
    assert!(net.nodes[1].discovery.node(&kept).unwrap().verified);
}

/// Nothing arrives until the first has given the second up, which still knows it and its session.
fn given_up(member: bool) -> Net {
    let mut net = bootstrapped(2);
    net.run_ms(5_000);
    let other = net.nodes[1].record();
    if member {
        net.nodes[0].discovery.add_record(net.now, &other, true).unwrap();
    }
    let verified =
        |net: &Net| net.nodes[0].discovery.node(&other.node_id()).is_some_and(|node| node.verified);
    assert!(verified(&net));
    net.rule = std::boxed::Box::new(|_| Fate::Drop);
    for _ in 0..1_000 {
        net.run_ms(1_000);
        if !verified(&net) {
            net.rule = std::boxed::Box::new(|_| Fate::Deliver);
            return net;
        }
    }
    panic!("it is never given up");
}

#[test]
fn a_stranger_that_was_forgotten_comes_back_by_a_ping() {
    let mut net = given_up(false);
    let id = net.nodes[1].id();
    assert!(net.nodes[0].discovery.node(&id).is_none());
    let zero = (net.nodes[0].id(), net.nodes[0].endpoint);
    assert!(net.nodes[1].discovery.has_session(&zero.0, zero.1), "it would go on in the old session");
    let ping = net.ping(1, 0);
    net.run_ms(500);
    assert!(net.ponged(1, ping));
    net.run_ms(5_000);
    assert!(net.nodes[0].discovery.node(&id).unwrap().verified);
}

#[test]
fn a_member_keeps_its_session_through_any_silence() {
    let net = given_up(true);
    assert!(net.nodes[0].discovery.has_session(&net.nodes[1].id(), net.nodes[1].endpoint));
}

/// Only silence does that. Who sends junk in a stranger's name, also while the stranger is checked, ends nothing.
#[test]
fn junk_makes_no_stranger_forgotten() {
    let mut net = bootstrapped(2);
    net.run_ms(5_000);
    let (to, node) = (net.nodes[0].endpoint, net.nodes[0].id());
    let (from, id) = (net.nodes[1].endpoint, net.nodes[1].id());
    let established = net.nodes[0].counters().sessions_established;
    for n in 0..100 {
        net.nodes[0].discovery.check(net.now, &id);
        for delay in [0, 5, 10] {
            let mut buf = [0; MAX_PACKET_SIZE];
            let draft =
                packet::begin(&[n; 16], &[n + delay; 12], &Auth::Message { src: id }, &mut buf).unwrap();
            let len = packet::seal_random(&RustCrypto, &node, &draft, 44, &mut buf).unwrap();
            net.send(from, to, buf[..len].to_vec());
            net.run_ms(delay.into());
        }
        net.run_ms(100);
    }
    assert!(net.nodes[0].counters().undecryptable >= 300);
    assert!(net.nodes[0].discovery.node(&id).unwrap().verified);
    assert!(net.nodes[0].discovery.has_session(&id, from));
    assert_eq!(net.nodes[0].counters().sessions_established, established);
}

#[test]
fn a_prefix_fills_only_a_part_of_the_table() {
    let mut net = Net::of(1);
    let table = &mut net.nodes[0].discovery.table;
    let mut rng = Seed::new([1; 32]).stream("x");
    for n in 0..200 {
        let at = core::net::SocketAddr::from(([203, 0, 113 + 1, n], 9000));
        let source = RecordSource::Handshake;
        table.offer(&record(&identity(n), 1, at), source, at, net.now, &mut rng);
    }
    assert!(table.len() <= 10, "{}", table.len());
    for n in 200..250 {
        let at = endpoint(n, 9000);
        table.offer(&record(&identity(n), 1, at), RecordSource::Handshake, at, net.now, &mut rng);
    }
    assert!(table.len() > 30, "loopback is exempt: {}", table.len());
}

#[test]
fn loss_and_noise_only_slow_things_down() {
    let mut net = bootstrapped(8);
    let mut rng = Seed::new([77; 32]).stream("loss");
    net.rule = std::boxed::Box::new(move |_| match rng.below(10) {
        0 | 1 => Fate::Drop,
        2 => Fate::Twice,
        _ => Fate::Deliver,
    });
    net.run_ms(60_000);
    net.rule = std::boxed::Box::new(|_| Fate::Deliver);
    for i in 0..8 {
        for j in (0..8).filter(|j| *j != i) {
            let (id, wanted) = (net.nodes[j].id(), net.nodes[j].record());
            assert_eq!(found(&mut net, i, id), Some(wanted), "{i} looked for {j}");
        }
    }
}

#[test]
fn the_same_seeds_give_the_same_packets() {
    let run = || {
        let mut net = bootstrapped(6);
        net.run_ms(30_000);
        net.log
    };
    assert!(run() == run());
}

/// One thing that may happen to a node.
#[derive(Clone, Debug)]
enum Step {
    Junk { from: u8, bytes: Vec<u8> },
    Masked { from: u8, flag: u8, tail: Vec<u8> },
    Bent { packet: usize, at: usize, with: u8, from: Option<u8> },
    Replay { packet: usize },
    Run { ms: u64 },
    Command { what: u8, other: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..400);
    prop_oneof![
        (0u8..3, bytes()).prop_map(|(from, bytes)| Step::Junk { from, bytes }),
        (0u8..3, 0u8..4, bytes()).prop_map(|(from, flag, tail)| Step::Masked { from, flag, tail }),
        (any::<usize>(), any::<usize>(), 1u8.., prop::option::of(0u8..3))
            .prop_map(|(packet, at, with, from)| Step::Bent { packet, at, with, from }),
        any::<usize>().prop_map(|packet| Step::Replay { packet }),
        (0u64..3000).prop_map(|ms| Step::Run { ms }),
        (0u8..6, 0u8..3).prop_map(|(what, other)| Step::Command { what, other }),
    ]
}

/// Tiny pools, so that all of them overflow.
fn tiny() -> Config {
    Config {
        nodes: 4,
        sessions: 2,
        challenges: 2,
        requests: 8,
        responses: 2,
        lookups: 1,
        talks: 1,
        events: 2,
        ..Config::default()
    }
}

fn happen(net: &mut Net, step: Step) {
    let to = net.nodes[0].endpoint;
    match step {
        Step::Junk { from, bytes } => net.send(endpoint(from, 9000), to, bytes),
        Step::Masked { from, flag, tail } => {
            // A packet whose header unmasks properly and says anything.
            let mut bytes = vec![0; 39];
            bytes[16..22].copy_from_slice(b"discv5");
            bytes[23] = 1;
            bytes[24] = flag;
            let authdata = (tail.len() / 2) as u16;
            bytes[37..39].copy_from_slice(&authdata.to_be_bytes());
            bytes.extend(tail);
            let end = bytes.len().min(39 + usize::from(authdata));
            crate::crypto::Crypto::aes_ctr(
                &RustCrypto,
                net.nodes[0].identity.mask(),
                &[0; 16],
                0,
                &mut bytes[16..end],
            );
            net.send(endpoint(from, 9000), to, bytes);
        }
        Step::Bent { packet, at, with, from } => {
            let to_us: Vec<_> = net.log.iter().filter(|l| l.2 == to && !l.3.is_empty()).collect();
            if to_us.is_empty() {
                return;
            }
            let (_, source, _, bytes) = to_us[packet % to_us.len()];
            let (mut source, mut bytes) = (*source, bytes.clone());
            let at = at % bytes.len();
            bytes[at] ^= with;
            if let Some(from) = from {
                source = endpoint(from, 9000);
            }
            net.send(source, to, bytes);
        }
        Step::Replay { packet } => {
            if !net.log.is_empty() {
                let (_, from, to, bytes) = net.log[packet % net.log.len()].clone();
                net.send(from, to, bytes);
            }
        }
        Step::Run { ms } => net.run_ms(ms),
        Step::Command { what, other } => {
            let (now, other) = (net.now, net.nodes[usize::from(other)].record());
            let node = &mut net.nodes[0].discovery;
            // Refusals are part of the game.
            let _ = match what {
                0 => node.ping(now, &other).map(drop),
                1 => node.find_node(now, &other, &[0, 256, 255]).map(drop),
                2 => node.talk(now, &other, b"t", b"hello").map(drop),
                3 => node.lookup(now, other.node_id()).map(drop),
                4 => node.add_record(now, &other, true),
                _ => {
                    node.remove(now, &other.node_id());
                    Ok(())
                }
            };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever comes, nothing panics, nothing grows, and afterwards an honest peer gets its answer.
    #[test]
    fn anything_may_come(steps in prop::collection::vec(step(), 1..60)) {
        let mut net = Net::new();
        for n in 0..3 {
            net.add(n, endpoint(n, 9000), if n == 0 { tiny() } else { Config::default() });
            net.nodes[usize::from(n)].discovery.accept_talk(b"t");
        }
        for step in steps {
            happen(&mut net, step);
        }
        net.run_ms(30_000);
        let ping = net.ping(1, 0);
        net.run_ms(3_000);
        prop_assert!(net.ponged(1, ping));
        let node = &net.nodes[0].discovery;
        prop_assert!(node.node_count() <= 4 && node.session_count() <= 2 && node.challenge_count() <= 2);
    }

    #[test]
    fn any_bytes_are_a_packet_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..1400)) {
        let local = NodeId([1; 32]);
        if let Ok(packet) = packet::decode(&RustCrypto, &local, &mut bytes) {
            prop_assert!(packet.header.len() >= 39);
        }
    }

    #[test]
    fn packets_round_trip(
        iv: [u8; 16],
        nonce: [u8; 12],
        src: [u8; 32],
        dest: [u8; 32],
        message in prop::collection::vec(any::<u8>(), 0..800),
        record in prop::collection::vec(any::<u8>(), 0..300),
        handshake: bool,
    ) {
        let mut buf = [0; MAX_PACKET_SIZE];
        let (src, dest) = (NodeId(src), NodeId(dest));
        let ephemeral = [3; 33];
        let signature = crate::crypto::Signature([4; 64]);
        let auth = if handshake {
            Auth::Handshake { src, signature, ephemeral: &ephemeral, record: &record }
        } else {
            Auth::Message { src }
        };
        let key = crate::crypto::Crypto::aes_gcm_key(&RustCrypto, &crate::crypto::Secret::new([9; 16]));
        let draft = packet::begin(&iv, &nonce, &auth, &mut buf).unwrap();
        buf[draft.message()][..message.len()].copy_from_slice(&message);
        let len = packet::seal(&RustCrypto, &dest, &key, &draft, message.len(), &mut buf).unwrap();
        let packet = packet::decode(&RustCrypto, &dest, &mut buf[..len]).unwrap();
        prop_assert_eq!(packet.nonce, nonce);
        prop_assert_eq!(packet.auth, auth);
        prop_assert_eq!(packet.message.len(), message.len() + 16);
        // For nobody else.
        let mut other = dest;
        other.0[0] ^= 1;
        let len = packet::seal(&RustCrypto, &dest, &key, &draft, 0, &mut buf).unwrap();
        prop_assert!(packet::decode(&RustCrypto, &other, &mut buf[..len]).is_err());
    }
}
