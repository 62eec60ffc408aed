//! What others try (the attack table of the design), and what each attempt brings them: counts.

use core::{net::SocketAddr, time::Duration};
use std::{boxed::Box, collections::BTreeMap, vec::Vec};

use super::{
    messages::{Hand, asked, encoded, find_node, nodes, opened},
    net::{Fate, Net, endpoint, identity, record},
};
use crate::{
    crypto::{RustCrypto, Signature},
    discovery::{
        Config, Event, Target,
        budget::CHECKS,
        message::{Message, WireId},
        packet::{self, Auth},
        requests::{Ask, Contact, Origin},
    },
    id::NodeId,
    limits::{
        BEGUN_BYTES_PER_PREFIX, BEGUN_BYTES_PER_PREFIX_RESERVED, CHALLENGES_PER_PREFIX,
        CHALLENGES_PER_PREFIX_RESERVED, CHALLENGES_PER_PREFIX_SECOND, MAX_CHALLENGE_CHECKS, MAX_PACKET_SIZE,
        RECENT_NONCES,
    },
    record::Record,
};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// An ordinary packet of `src` for `dest` that decrypts under no key.
fn junk(src: NodeId, dest: NodeId, n: u32, len: usize) -> Vec<u8> {
    let mut buf = [0; MAX_PACKET_SIZE];
    let mut nonce = [7; 12];
    nonce[..4].copy_from_slice(&n.to_be_bytes());
    let draft = packet::begin(&[n as u8; 16], &nonce, &Auth::Message { src }, &mut buf).unwrap();
    let len = packet::seal_random(&RustCrypto, &dest, &draft, len, &mut buf).unwrap();
    buf[..len].to_vec()
}

/// A handshake packet of `src` for `dest` with a made-up signature.
fn forged(src: &Record, dest: NodeId, n: u8, with_record: bool) -> Vec<u8> {
    let mut buf = [0; MAX_PACKET_SIZE];
    let auth = Auth::Handshake {
        src: src.node_id(),
        signature: Signature([n + 1; 64]),
        ephemeral: &src.public_key().compressed(),
        record: if with_record { src.as_bytes() } else { &[] },
    };
    let draft = packet::begin(&[0; 16], &[n; 12], &auth, &mut buf).unwrap();
    let len = packet::seal_random(&RustCrypto, &dest, &draft, 20, &mut buf).unwrap();
    buf[..len].to_vec()
}

/// Bytes that a node sent to each endpoint and got from it, since `from` in the log.
fn ledger(net: &Net, node: usize, from: usize) -> BTreeMap<SocketAddr, (usize, usize)> {
    let own = net.nodes[node].endpoint;
    let mut ledger = BTreeMap::<_, (usize, usize)>::new();
    for (_, from, to, bytes) in &net.log[from..] {
        if *to == own {
            ledger.entry(*from).or_default().0 += bytes.len();
        } else if *from == own {
            ledger.entry(*to).or_default().1 += bytes.len();
        }
    }
    ledger
}

// --- Amplification ---

#[test]
fn unverified_endpoints_get_no_more_than_they_sent_and_prefixes_little() {
    let mut net = Net::of(1);
    let dest = net.nodes[0].id();
    for n in 0..3_000_u32 {
        // 250 sources of each of two networks, as the forger writes them, for five seconds.
        let source = SocketAddr::from(([9, 9, (n % 2) as u8, (n % 250) as u8], 30_000));
        let mut id = [3; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        net.send(source, net.nodes[0].endpoint, junk(NodeId(id), dest, n, n as usize % 200));
        if n % 600 == 599 {
            net.run_ms(1_000);
        }
    }
    net.run_ms(1_000);
    let ledger = ledger(&net, 0, 0);
    assert_eq!(ledger.len(), 250);
    assert!(ledger.values().all(|(came, went)| went <= came), "{ledger:?}");
    let sent = net.nodes[0].counters().sent;
    let most = CHALLENGES_PER_PREFIX - CHALLENGES_PER_PREFIX_RESERVED + 6 * CHALLENGES_PER_PREFIX_SECOND;
    assert!(sent <= u64::from(2 * most) && sent > 100, "{sent} WHOAREYOUs to two networks");
    assert_eq!(net.nodes[0].counters().challenge_budget, 3_000 - sent);
}

#[test]
fn a_flood_from_its_network_does_not_shut_a_member_out() {
    let mut net = Net::new();
    net.add(0, endpoint(0, 9000), Config::default());
    net.add(1, at("9.9.9.9:9000"), Config::default());
    let (node, member) = (net.nodes[0].record(), net.nodes[1].record());
    net.nodes[0].discovery.add_record(net.now, &member, true).unwrap();
    let key = net.nodes[0].discovery.table.key_at(0).unwrap();
    net.nodes[0].discovery.table.check_later(key, net.now + Duration::from_secs(90));
    for n in 0..2_000_u32 {
        let source = SocketAddr::from(([9, 9, 9, (n % 250) as u8], 1));
        net.send(source, net.nodes[0].endpoint, junk(NodeId([n as u8; 32]), node.node_id(), n, 44));
    }
    net.run_ms(20);
    assert!(net.nodes[0].counters().challenge_budget > 1_900);
    let ping = net.nodes[1].discovery.ping(net.now, &node).unwrap();
    net.run_ms(100);
    assert!(net.ponged(1, ping));
}

#[test]
fn what_we_begin_to_one_network_has_a_budget() {
    let mut net = Net::of(1);
    let member = record(&identity(200), 1, at("9.9.9.200:9000"));
    net.nodes[0].discovery.add_record(net.now, &member, true).unwrap();
    for n in 0..120 {
        let contact =
            Contact::new(identity(n).node_id(), SocketAddr::from(([9, 9, 9, n], 1)), *member.public_key());
        let begun = net.nodes[0].discovery.begin_request(contact, Ask::Ping, Origin::Check);
        if begun.is_none() {
            net.run_ms(1);
        }
    }
    net.flush();
    let sent: usize = net.log.iter().map(|(.., bytes)| bytes.len()).sum();
    let most = BEGUN_BYTES_PER_PREFIX - BEGUN_BYTES_PER_PREFIX_RESERVED;
    assert!(sent <= most as usize + 3 && sent > most as usize / 2, "{sent} bytes");
    assert!(net.nodes[0].counters().begun_budget > 20);
    // A member there is asked all the same.
    let before = net.log.len();
    net.nodes[0].discovery.ping(net.now, member.node_id()).unwrap();
    net.flush();
    assert_eq!(net.log.len(), before + 1);
}

// --- Floods ---

#[test]
fn an_established_peer_is_served_during_a_flood() {
    let mut net = Net::of(2);
    net.ping(0, 1);
    net.run_ms(3_000);
    let (dest, to) = (net.nodes[1].id(), net.nodes[1].endpoint);
    let established = net.nodes[1].counters().sessions_established;
    let mut answered = 0;
    for turn in 0..20_u32 {
        for n in 0..300 {
            let n = turn * 300 + n;
            let source = SocketAddr::from(([20 + (n % 64) as u8, (n >> 6) as u8, (n >> 14) as u8, 9], 9));
            net.send(source, to, junk(NodeId([n as u8; 32]), dest, n, 44));
        }
        let ping = net.ping(0, 1);
        net.run_ms(100);
        answered += usize::from(net.ponged(0, ping));
    }
    assert_eq!(answered, 20);
    let node = &net.nodes[1];
    assert_eq!(node.counters().sessions_established, established);
    assert!(node.discovery.challenge_count() <= Config::default().challenges);
    assert!(node.counters().undecryptable >= 6_000);
}

// --- Signature checks ---

/// A member whose every handshake races `forgeries` of somebody who sees none of its packets; which
/// try of its PING came through, by time.
fn raced(forgeries: u8, until_ms: u64) -> (Net, bool) {
    let mut net = Net::of(2);
    let member = net.nodes[0].record();
    net.nodes[1].discovery.add_record(net.now, &member, true).unwrap();
    let key = net.nodes[1].discovery.table.key_at(0).unwrap();
    net.nodes[1].discovery.table.check_later(key, net.now + Duration::from_secs(90));
    // Nothing opens a session from the other side.
    net.nodes[1].discovery.own_lookup_at = None;
    let (dest, from, to) = (net.nodes[1].id(), net.nodes[0].endpoint, net.nodes[1].endpoint);
    let ping = net.ping(0, 1);
    net.run_ms(12);
    for n in 0..forgeries {
        net.send(from, to, forged(&member, dest, n, false));
    }
    net.run_ms(until_ms - 12);
    let ponged = net.ponged(0, ping);
    (net, ponged)
}

#[test]
fn forgeries_below_the_limit_do_not_stop_a_member_and_above_not_its_next_try() {
    let (_, ponged) = raced(MAX_CHALLENGE_CHECKS - 1, 100);
    assert!(ponged, "the only challenge still has a check left");
    let (mut net, ponged) = raced(200, 100);
    assert!(!ponged, "the first challenge is used up");
    assert_eq!(net.nodes[1].counters().signature_checks, u64::from(MAX_CHALLENGE_CHECKS));
    assert!(net.nodes[1].counters().handshake_checks_used_up >= 196);
    net.run_ms(1_200);
    assert!(net.nodes[0].events.iter().any(|e| matches!(e, Event::Pong { .. })), "the second is its own");
    assert_eq!(net.nodes[1].counters().challenge_replaced, 1);
}

#[test]
fn whoever_holds_both_challenges_does_not_keep_them() {
    let mut net = Net::of(2);
    let (src, dest) = (net.nodes[0].id(), net.nodes[1].id());
    let (from, to) = (net.nodes[0].endpoint, net.nodes[1].endpoint);
    // Two packets a second and more, in its name, from its endpoint, for as long as it takes.
    for n in 0..3 {
        net.send(from, to, junk(src, dest, n, 44));
        net.run_ms(505);
    }
    assert_eq!(net.nodes[1].discovery.challenge_count(), 2);
    net.run_ms(505);
    let ping = net.ping(0, 1);
    for n in 10..40 {
        net.run_ms(50);
        net.send(from, to, junk(src, dest, n, 44));
    }
    net.run_ms(100);
    assert!(net.ponged(0, ping));
    assert!(net.nodes[1].counters().challenge_replaced > 0);
}

#[test]
fn garbage_is_told_from_a_record_before_a_signature_is_checked() {
    let mut net = Net::of(1);
    let (dest, to) = (net.nodes[0].id(), net.nodes[0].endpoint);
    let liar = record(&identity(9), 1, endpoint(9, 9000));
    net.send(endpoint(9, 9000), to, junk(liar.node_id(), dest, 1, 44));
    net.run_ms(20);
    for n in 0..100 {
        let mut bytes = forged(&liar, dest, n, true);
        // The record's own list header, which is masked like all of the header.
        bytes[16 + 23 + 34 + 64 + 33] ^= 0x55;
        net.send(endpoint(9, 9000), to, bytes);
    }
    net.run_ms(20);
    let counters = net.nodes[0].counters();
    assert_eq!((counters.handshake_record, counters.signature_checks), (100, 0));
    // The honest owner's only try still counts.
    net.send(endpoint(9, 9000), to, forged(&liar, dest, 200, true));
    net.run_ms(20);
    assert_eq!(net.nodes[0].counters().signature_checks, 2);
}

#[test]
fn when_strangers_used_the_signature_checks_up_members_have_some_left() {
    let mut net = Net::of(3);
    let (node, member) = (net.nodes[0].record(), net.nodes[1].record());
    net.nodes[0].discovery.add_record(net.now, &member, true).unwrap();
    let key = net.nodes[0].discovery.table.key_at(0).unwrap();
    net.nodes[0].discovery.table.check_later(key, net.now + Duration::from_secs(90));
    net.run_ms(100);
    let pings = [1, 2].map(|i| net.nodes[i].discovery.ping(net.now, &node).unwrap());
    net.rule = Box::new(|_| Fate::Deliver);
    for _ in 0..30 {
        let now = net.now;
        while net.nodes[0].discovery.checks.spend(CHECKS, 1, false, now) {}
        net.run_ms(1);
    }
    assert!(net.ponged(1, pings[0]) && !net.ponged(2, pings[1]));
    assert!(net.nodes[0].counters().signature_budget > 0);
    net.run_ms(1_500);
    assert!(net.ponged(2, pings[1]), "and with time there are more");
}

#[test]
fn known_records_cost_no_signature_check() {
    let (mut net, mut hand) = opened();
    let peer = hand.identity.node_id();
    let others: Vec<_> = (40..70).map(|n| record(&identity(n), 1, endpoint(n, 9000))).collect();
    let far: Vec<_> = others.iter().filter(|r| peer.log_distance(&r.node_id()) == 256).take(4).collect();
    let mut costs = Vec::new();
    for _ in 0..3 {
        let before = net.nodes[0].counters().signature_checks;
        let (request, id) = asked(&mut net, &mut hand, &[256]);
        hand.say(&mut net, &nodes(id, 1, &far));
        assert!(net.events(0).contains(&Event::Nodes { request, from: peer, count: 4 }));
        costs.push(net.nodes[0].counters().signature_checks - before);
        // Not even the table need remember them.
        for record in &far {
            net.nodes[0].discovery.remove(net.now, &record.node_id());
        }
    }
    assert_eq!(costs, [4, 0, 0]);
    // One bit apart is another record; and what failed once is not known either.
    let mut bent = nodes(WireId::default(), 1, &far[..1]);
    *bent.last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        let before = net.nodes[0].counters().signature_checks;
        let (_, id) = asked(&mut net, &mut hand, &[256]);
        let mut message = nodes(id, 1, &far[..1]);
        *message.last_mut().unwrap() ^= 1;
        hand.say(&mut net, &message);
        assert_eq!(net.nodes[0].counters().signature_checks - before, 1);
    }
    assert_eq!(net.nodes[0].counters().record_invalid, 2);
}

// --- Being aimed at a victim ---

#[test]
fn nobody_is_pinged_because_a_stranger_names_them() {
    let victim = endpoint(66, 6666);
    let mut net = Net::of(1);
    let mut hand = Hand::new(20);
    hand.record = record(&hand.identity, 1, victim);
    let id = hand.wire_id();
    hand.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
    net.run_ms(30_000);
    assert!(!net.log.iter().any(|(_, _, to, _)| *to == victim));
    assert_eq!((net.nodes[0].counters().record_unproven, net.nodes[0].discovery.node_count()), (1, 0));
    assert!(net.nodes[0].counters().sessions_established == 1, "but it is answered");

    // Nor when one that is known moves its record there.
    let (mut net, mut hand) = opened();
    net.run_ms(2_000);
    let newer = record(&hand.identity, 2, victim);
    let before = net.log.len();
    hand.say(&mut net, &encoded(&Message::Ping { id, enr_seq: 2 }));
    let heard = hand.heard(&net, before);
    let mut messages = heard.iter().map(|heard| Message::decode(heard).unwrap());
    let asked = messages.find(|m| matches!(m, Message::FindNode { .. })).unwrap().id();
    hand.say(&mut net, &nodes(asked, 1, &[&newer]));
    assert_eq!(net.nodes[0].discovery.record(&newer.node_id()).unwrap().seq(), 2);
    net.nodes[0].discovery.check_all(net.now);
    net.nodes[0].discovery.check(net.now, &newer.node_id());
    net.run_ms(600_000);
    assert!(!net.log.iter().any(|(_, _, to, _)| *to == victim));
    // When it speaks from there, it is.
    hand.at = victim;
    hand.record = newer;
    hand.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 2 }));
    let before = net.log.len();
    net.run_ms(2_000);
    assert!(net.log[before..].iter().any(|(_, _, to, _)| *to == victim));
}

// --- Replays ---

#[test]
fn a_replayed_trace_proves_nothing_and_brings_no_more_than_it_costs() {
    let mut net = Net::of(2);
    net.nodes[1].discovery.accept_talk(b"t");
    let to = net.nodes[1].record();
    for n in 0..30_u8 {
        net.nodes[0].discovery.talk(net.now, &to, b"t", &[n]).unwrap();
        net.ping(0, 1);
        net.nodes[0].discovery.find_node(net.now, &to, &[0, 256]).unwrap();
        net.run_ms(400);
    }
    net.run_ms(5_000);
    let (asked, established) = (net.events(1), net.nodes[1].counters().sessions_established);
    assert_eq!(asked.iter().filter(|e| matches!(e, Event::TalkRequest { .. })).count(), 30);
    let (own, other) = (net.nodes[1].endpoint, net.nodes[0].endpoint);
    let trace: Vec<_> = net.log.iter().filter(|l| l.2 == own).map(|l| l.3.clone()).collect();
    assert!(trace.len() > RECENT_NONCES, "{} packets", trace.len());
    // The peer is gone; somebody sends all that it ever sent, three times.
    net.stop(0);
    let before = net.log.len();
    for _ in 0..3 {
        for bytes in &trace {
            net.send(other, own, bytes.clone());
        }
        net.run_ms(50);
    }
    let (came, went) = ledger(&net, 1, before)[&other];
    // What was saved up before comes on top, 4 KiB at most, and the session forgets some of so many.
    assert!(came > 20_000 && went <= came + 8_192, "{went} bytes for {came}");
    let events = net.events(1);
    let nothing = |event: &Event| {
        !matches!(event, Event::TalkRequest { .. } | Event::Vote { .. } | Event::Reachable { .. })
    };
    assert!(events.iter().all(nothing), "{events:?}");
    assert_eq!(net.nodes[1].counters().sessions_established, established);
    assert!(net.nodes[1].counters().repeated_talk >= 30);
}

#[test]
fn one_packet_again_and_again_is_answered_for_the_bytes_it_brings() {
    let (mut net, mut hand) = opened();
    net.run_ms(2_000);
    let bytes = hand.sealed(&net, &find_node(hand.wire_id(), &[0]));
    let before = net.log.len();
    for _ in 0..400 {
        net.send(hand.at, net.nodes[0].endpoint, bytes.clone());
    }
    net.run_ms(20);
    let (came, went) = ledger(&net, 0, before)[&hand.at];
    // What was saved up before, at most 4 KiB, and then byte for byte.
    assert!(went <= came + 4_096 && went > came / 2, "{went} bytes for {came}");
    assert!(net.nodes[0].counters().repeated_budget > 50);
}

// --- Lookups ---

#[test]
fn one_network_does_not_capture_a_lookup() {
    // Every answer names forty nodes of one /24, nearer to the target than anybody.
    let mut net = Net::of(1);
    let mut hand = Hand::new(20);
    hand.at = at("8.8.8.8:9000");
    hand.record = record(&hand.identity, 1, hand.at);
    let id = hand.wire_id();
    hand.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
    net.nodes[0].discovery.add_record(net.now, &hand.record, false).unwrap();
    let peer = hand.identity.node_id();
    let sybils: Vec<_> = (40..200)
        .map(|n| record(&identity(n), 1, SocketAddr::from(([9, 9, 9, n], 9000))))
        .filter(|r| peer.log_distance(&r.node_id()) == 256)
        .take(16)
        .collect();
    assert_eq!(sybils.len(), 16);
    // A target at distance 256, so that it is asked for.
    let target = sybils[0].node_id();
    net.run_ms(1);
    let before = net.log.len();
    net.nodes[0].discovery.lookup(net.now, target).unwrap();
    net.run_ms(1);
    let heard = hand.heard(&net, before);
    let mut messages = heard.iter().map(|heard| Message::decode(heard).unwrap());
    let asked = messages.rfind(|m| matches!(m, Message::FindNode { .. })).unwrap().id();
    for part in sybils.chunks(4) {
        let records: Vec<_> = part.iter().collect();
        hand.say(&mut net, &nodes(asked, 4, &records));
    }
    net.run_ms(25_000);
    let mut contacted: Vec<_> = net.log[before..].iter().map(|(_, _, to, _)| *to).collect();
    contacted.retain(|to| matches!(to.ip(), core::net::IpAddr::V4(ip) if ip.octets()[..3] == [9, 9, 9]));
    contacted.sort();
    contacted.dedup();
    // Four candidates, the target itself, and those few of the table that are checked.
    assert!(contacted.len() <= 4 + 1 + 10, "{contacted:?}");
    assert!(net.nodes[0].counters().lookup_prefix_limit >= 10);
}

// --- The driver's side ---

#[test]
fn a_request_that_ended_is_not_begun_again_by_a_challenge() {
    // Two requests; the first is challenged, and begins a handshake. Then a challenge and the answer
    // for the second come in one breath, before anybody polls.
    let (mut net, mut hand) = opened();
    net.run_ms(2_000);
    let to = hand.record.clone();
    let before = net.log.len();
    let pings = [0, 1].map(|_| net.nodes[0].discovery.ping(net.now, &to).unwrap());
    net.run_ms(1);
    let ids: Vec<_> =
        hand.heard(&net, before).iter().map(|heard| Message::decode(heard).unwrap().id()).collect();
    let mut challenges: Vec<_> = hand
        .received(&net, before)
        .into_iter()
        .map(|mut bytes| {
            let nonce = packet::decode(&RustCrypto, &hand.identity.node_id(), &mut bytes).unwrap().nonce;
            let data = packet::whoareyou(&[1; 16], &nonce, &[1; 16], 0);
            let mut challenge = [0; 63];
            packet::seal_whoareyou(&RustCrypto, &net.nodes[0].id(), &data, &mut challenge).unwrap();
            challenge
        })
        .collect();
    assert_eq!((ids.len(), challenges.len()), (2, 2));
    let pong = Message::Pong { id: ids[1], enr_seq: 1, ip: [127, 0, 0, 1].into(), port: 9000 };
    let mut pong = hand.sealed(&net, &encoded(&pong));
    let now = net.now;
    let node = &mut net.nodes[0];
    node.discovery.handle_datagram(&node.identity, now, hand.at, &mut challenges[0]);
    net.flush();
    let node = &mut net.nodes[0];
    node.discovery.handle_datagram(&node.identity, now, hand.at, &mut challenges[1]);
    node.discovery.handle_datagram(&node.identity, now, hand.at, &mut pong);
    net.run_ms(8_000);
    let ended = |e: &&Event| match e {
        Event::Pong { request, .. } | Event::RequestFailed { request, .. } => *request == pings[1],
        _ => false,
    };
    assert_eq!(net.nodes[0].events.iter().filter(ended).count(), 1);
    assert!(net.ponged(0, pings[1]));
}

#[test]
fn a_buffer_too_small_loses_nothing() {
    let mut net = Net::of(2);
    let ping = net.ping(0, 1);
    let (now, node) = (net.now, &mut net.nodes[0]);
    for size in [0, 63, 200, MAX_PACKET_SIZE - 1] {
        assert_eq!(node.discovery.poll_transmit(&node.identity, now, &mut std::vec![0; size]), None);
    }
    assert_eq!(node.counters().encode_failed, 4);
    net.run_ms(100);
    assert!(net.ponged(0, ping));
}

#[test]
fn both_begin_at_once_over_a_slow_and_lossy_path() {
    for lost in 0..10 {
        let mut net = Net::of(2);
        net.latency = Duration::from_millis(300);
        net.rule = Box::new(move |p| if p.count == lost { Fate::Drop } else { Fate::Deliver });
        let pings = [net.ping(0, 1), net.ping(1, 0)];
        // Two round trips and one timeout, the second.
        net.run_ms(2 * 600 + 1_250);
        assert!(net.ponged(0, pings[0]) && net.ponged(1, pings[1]), "packet {lost} was lost");
    }
}

#[test]
fn only_allowed_addresses_are_heard_and_contacted() {
    let mut net = Net::new();
    let mut config = Config::default();
    config.allowed[0] = crate::discovery::IpRange::new(at("127.0.0.2:1").ip(), 32);
    net.add(0, endpoint(0, 9000), config);
    net.add(1, endpoint(1, 9000), Config::default());
    net.add(2, endpoint(2, 9000), Config::default());
    let to = net.nodes[0].record();
    let pings = [1, 2].map(|i| net.nodes[i].discovery.ping(net.now, &to).unwrap());
    net.run_ms(200);
    assert!(net.ponged(1, pings[0]) && !net.ponged(2, pings[1]));
    assert!(net.nodes[0].counters().address_refused > 0);
    let other = net.nodes[2].record();
    let no = Err(crate::discovery::RequestError::NoEndpoint);
    assert_eq!(net.nodes[0].discovery.ping(net.now, &other), no);
    let elsewhere = Target::from(&other).at(endpoint(3, 1));
    assert_eq!(net.nodes[0].discovery.ping(net.now, elsewhere), no);
}

#[test]
fn votes_are_of_the_family_that_was_asked() {
    let (mut net, mut hand) = opened();
    let to = hand.record.clone();
    let before = net.log.len();
    net.nodes[0].discovery.ping(net.now, &to).unwrap();
    net.run_ms(1);
    let id = Message::decode(&hand.heard(&net, before)[0]).unwrap().id();
    hand.say(&mut net, &encoded(&Message::Pong { id, enr_seq: 1, ip: at("[2a00::1]:1").ip(), port: 9 }));
    assert!(!net.events(0).iter().any(|event| matches!(event, Event::Vote { .. })));
    assert_eq!(net.nodes[0].counters().vote_family, 1);
}

#[test]
fn a_talk_request_is_delivered_once_and_its_answer_comes_again() {
    let (mut net, mut hand) = opened();
    assert!(net.nodes[0].discovery.accept_talk(b"t"));
    let id = hand.wire_id();
    let request = encoded(&Message::TalkReq { id, protocol: b"t", request: b"y" });
    let first = hand.sealed(&net, &request);
    net.send(hand.at, net.nodes[0].endpoint, first.clone());
    // The same request in another packet, while it waits.
    assert!(hand.ask(&mut net, &request).is_empty());
    let delivered = |net: &mut Net| -> Vec<_> {
        let talk = |event| if let Event::TalkRequest { id, .. } = event { Some(id) } else { None };
        net.events(0).into_iter().filter_map(talk).collect()
    };
    let asked = delivered(&mut net);
    assert_eq!(asked.len(), 1);
    net.nodes[0].discovery.respond_talk(asked[0], b"answer").unwrap();
    net.run_ms(10);
    // Its answer was lost: the request comes again, and is answered without the embedder.
    let again = hand.ask(&mut net, &request);
    assert_eq!(again, [encoded(&Message::TalkResp { id, response: b"answer" })]);
    // Much later, when session and buffer have forgotten it, the old packet is still known.
    hand.live(&mut net, 5_000);
    for _ in 0..=RECENT_NONCES {
        hand.say(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
    }
    net.send(hand.at, net.nodes[0].endpoint, first);
    net.run_ms(500);
    assert!(delivered(&mut net).is_empty());
    assert!(net.nodes[0].counters().repeated_talk >= 3);
}
