//! Two nodes: handshakes under loss, and what must not disturb them.

use core::time::Duration;
use std::{boxed::Box, vec, vec::Vec};

use super::net::{Fate, Net, endpoint, identity, record};
use crate::{
    crypto::RustCrypto,
    discovery::{
        Config, Event, RecordSource, RequestError, RequestFailure,
        packet::{self, Auth},
    },
    limits::{MAX_PACKET_SIZE, MAX_SESSION_MESSAGES},
    time::Instant,
};

/// Two nodes that were introduced by nobody.
fn pair() -> Net {
    Net::of(2)
}

#[test]
fn a_ping_opens_a_session() {
    let mut net = pair();
    let ping = net.ping(0, 1);
    net.run_ms(45);
    assert!(net.ponged(0, ping));
    let (a, b) = (net.nodes[0].id(), net.nodes[1].id());
    // The one who was called pings back within seconds, and only then takes the caller into its table.
    assert!(!net.nodes[1].discovery.node(&a).unwrap().verified);
    let at = net.nodes[1].endpoint;
    let events = net.events(0);
    assert!(events.contains(&Event::SessionEstablished { id: b, endpoint: at, initiated_by_us: true }));
    assert!(events.contains(&Event::Vote { from: b, observed: net.nodes[0].endpoint }));
    assert!(events.iter().any(|e| matches!(e, Event::Reachable { id, .. } if *id == b)));
    let events = net.events(1);
    let record = net.nodes[0].record();
    assert!(events.contains(&Event::RecordSeen { record, source: RecordSource::Handshake }));
    // Random packet, WHOAREYOU, handshake, PONG: nothing more comes from the one who called.
    assert_eq!(net.log.iter().filter(|(_, from, ..)| *from == endpoint(0, 9000)).count(), 2);
    let again = net.ping(0, 1);
    net.run_ms(100);
    assert!(net.ponged(0, again));
    assert_eq!(net.log.iter().filter(|(.., bytes)| bytes.len() == 63).count(), 1, "one WHOAREYOU");
    assert!(net.nodes[1].discovery.has_session(&a, endpoint(0, 9000)));
    net.run_ms(1500);
    assert!(net.nodes[1].discovery.node(&a).unwrap().verified);
    assert_eq!(net.nodes[1].counters().undecryptable, 1);
}

#[test]
fn both_begin_at_once() {
    let mut net = pair();
    let (ab, ba) = (net.ping(0, 1), net.ping(1, 0));
    net.run_ms(200);
    assert!(net.ponged(0, ab) && net.ponged(1, ba));
    for (from, to) in [(0, 1), (1, 0), (0, 1), (1, 0)] {
        let before = net.nodes[to].counters().undecryptable;
        let ping = net.ping(from, to);
        net.run_ms(200);
        assert!(net.ponged(from, ping));
        assert_eq!(net.nodes[to].counters().undecryptable, before, "both keep using what they agreed on");
    }
}

#[test]
fn any_one_packet_may_be_lost() {
    for both in [false, true] {
        for lost in 0..if both { 12 } else { 6 } {
            let mut net = pair();
            net.rule = Box::new(move |p| if p.count == lost { Fate::Drop } else { Fate::Deliver });
            let ab = net.ping(0, 1);
            let ba = both.then(|| net.ping(1, 0));
            net.run_ms(2_300);
            assert!(net.ponged(0, ab), "packet {lost} was lost, both: {both}");
            assert!(ba.is_none_or(|ba| net.ponged(1, ba)), "packet {lost} was lost, both: {both}");
        }
    }
}

#[test]
fn any_two_packets_may_be_lost_if_there_are_tries_left() {
    for first in 0..8 {
        for second in 0..first {
            let mut net = Net::new();
            for n in 0..2 {
                net.add(n, endpoint(n, 9000), Config { attempts: 5, ..Config::default() });
            }
            net.rule =
                Box::new(
                    move |p| {
                        if p.count == first || p.count == second { Fate::Drop } else { Fate::Deliver }
                    },
                );
            let ping = net.ping(0, 1);
            net.run_ms(7_000);
            assert!(net.ponged(0, ping), "packets {first} and {second} were lost");
        }
    }
}

#[test]
fn every_packet_may_come_twice() {
    let mut net = pair();
    net.rule = Box::new(|_| Fate::Twice);
    let (ab, ba) = (net.ping(0, 1), net.ping(1, 0));
    net.run_ms(500);
    assert!(net.ponged(0, ab) && net.ponged(1, ba));
    let pongs = net.events(0).iter().filter(|e| matches!(e, Event::Pong { .. })).count();
    assert_eq!(pongs, 1);
}

#[test]
fn half_a_second_of_latency_is_enough_time() {
    let mut net = pair();
    net.latency = Duration::from_millis(300);
    let ping = net.ping(0, 1);
    net.run_ms(3_000);
    assert!(net.ponged(0, ping));
}

#[test]
fn a_peer_that_never_answers_ends_in_a_failure() {
    let mut net = pair();
    net.stop(1);
    let ping = net.ping(0, 1);
    let waiting = net.ping(0, 1);
    net.run_ms(2_200);
    assert!(net.events(0).is_empty());
    net.run_ms(100);
    let failed = |request| Event::RequestFailed { request, reason: RequestFailure::Timeout };
    assert_eq!(net.events(0), vec![failed(ping), failed(waiting)]);
    assert_eq!(net.log.len(), 3, "three tries of one request, none of the one that waited");
    assert_eq!(net.nodes[0].discovery.next_timeout(), None);
}

#[test]
fn requests_wait_for_the_session_and_then_all_go() {
    let mut net = pair();
    let pings: Vec<_> = (0..5).map(|_| net.ping(0, 1)).collect();
    net.flush();
    assert_eq!(net.log.len(), 1, "one packet at a time while a session is opened");
    net.run_ms(100);
    assert!(pings.iter().all(|ping| net.ponged(0, *ping)));
    // The one who was called pings back, and then asks for those near itself.
    assert_eq!(net.log.len(), 4 + 8 + 4);
}

#[test]
fn a_peer_that_lost_its_sessions_is_challenged_back_in() {
    let mut net = pair();
    net.ping(0, 1);
    net.run_ms(3_000);
    net.stop(1);
    net.add(1, endpoint(1, 9000), Config::default());
    let pings: Vec<_> = (0..4).map(|_| net.ping(0, 2)).collect();
    net.run_ms(450);
    assert!(pings.iter().all(|ping| net.ponged(0, *ping)));
    assert_eq!(net.nodes[2].counters().sessions_established, 1);
}

#[test]
fn used_up_keys_are_replaced() {
    let mut net = pair();
    net.ping(0, 1);
    net.run_ms(100);
    for (at, other) in [(0, 1), (1, 0)] {
        let peer = crate::discovery::Peer { id: net.nodes[other].id(), endpoint: net.nodes[other].endpoint };
        let session = net.nodes[at].discovery.sessions.using(&peer).unwrap();
        session.keys().pretend_sent(MAX_SESSION_MESSAGES);
    }
    let ping = net.ping(0, 1);
    net.run_ms(100);
    assert!(net.ponged(0, ping));
    assert_eq!(net.nodes[0].counters().sessions_established, 2);
    // The same on the side that only answers: one try is lost, the next is challenged.
    let peer = crate::discovery::Peer { id: net.nodes[0].id(), endpoint: net.nodes[0].endpoint };
    let session = net.nodes[1].discovery.sessions.using(&peer).unwrap();
    session.keys().pretend_sent(MAX_SESSION_MESSAGES);
    let ping = net.ping(0, 1);
    net.run_ms(1_000);
    assert!(net.ponged(0, ping));
}

#[test]
fn junk_does_not_end_a_session() {
    let mut net = pair();
    net.ping(0, 1);
    net.run_ms(100);
    let (a, b) = (net.nodes[0].id(), net.nodes[1].id());
    let (from, to) = (net.nodes[0].endpoint, net.nodes[1].endpoint);
    for n in 0..200_u8 {
        let mut buf = [n; MAX_PACKET_SIZE];
        let auth = Auth::Message { src: a };
        let draft = packet::begin(&[n; 16], &[n; 12], &auth, &mut buf).unwrap();
        let len = packet::seal_random(&RustCrypto, &b, &draft, usize::from(n), &mut buf).unwrap();
        net.send(from, to, buf[..len].to_vec());
    }
    net.run_ms(50);
    let before = net.nodes[1].counters().sessions_established;
    let ping = net.ping(0, 1);
    net.run_ms(100);
    assert!(net.ponged(0, ping));
    assert_eq!(net.nodes[1].counters().sessions_established, before);
    assert!(net.nodes[1].counters().undecryptable >= 200);
    assert!(net.nodes[0].counters().challenge_unsolicited >= 200);
    assert!(net.nodes[1].discovery.challenge_count() <= 2);
}

#[test]
fn a_challenge_from_elsewhere_is_ignored() {
    let mut net = pair();
    let stranger = endpoint(7, 7000);
    net.ping(0, 1);
    net.flush();
    // The forger even saw the packet, and with it the nonce.
    let (_, from, _, mut seen) = net.log[0].clone();
    let nonce = packet::decode(&RustCrypto, &net.nodes[1].id(), &mut seen).unwrap().nonce;
    let data = packet::whoareyou(&[1; 16], &nonce, &[2; 16], 0);
    let mut buf = [0; 63];
    packet::seal_whoareyou(&RustCrypto, &net.nodes[0].id(), &data, &mut buf).unwrap();
    net.send(stranger, from, buf.to_vec());
    // Right place, wrong nonce.
    let data = packet::whoareyou(&[1; 16], &[9; 12], &[2; 16], 0);
    packet::seal_whoareyou(&RustCrypto, &net.nodes[0].id(), &data, &mut buf).unwrap();
    net.send(net.nodes[1].endpoint, from, buf.to_vec());
    net.run_ms(100);
    assert_eq!(net.nodes[0].counters().challenge_unsolicited, 2);
    assert!(!net.log.iter().any(|(_, _, to, _)| *to == stranger));
}

#[test]
fn a_session_is_not_usable_from_a_second_address() {
    let mut net = pair();
    net.ping(0, 1);
    net.run_ms(100);
    let second = endpoint(0, 9999);
    net.nodes[0].endpoint = second;
    let ping = net.ping(0, 1);
    net.flush();
    let packets = net.log.len();
    net.run_ms(15);
    let (_, from, to, bytes) = &net.log[packets];
    assert_eq!((*from, *to, bytes.len()), (net.nodes[1].endpoint, second, 63), "a WHOAREYOU");
    net.run_ms(100);
    assert!(net.ponged(0, ping));
    let a = net.nodes[0].id();
    assert!(net.nodes[1].discovery.has_session(&a, second));
    assert!(net.nodes[1].discovery.has_session(&a, endpoint(0, 9000)));
}

#[test]
fn another_key_cannot_claim_an_id() {
    // Node 2 sends what node 0 would, but signs with its own key and shows node 0's record.
    let mut net = pair();
    let victim = identity(5);
    let stolen = record(&victim, 1, endpoint(2, 9000));
    net.add_with(2, endpoint(2, 9000), Config::default(), &stolen);
    net.nodes[2].identity.pretend(victim.node_id());
    let to = net.nodes[1].record();
    net.nodes[2].discovery.ping(net.now, &to).unwrap();
    net.run_ms(3_000);
    assert!(net.nodes[1].counters().handshake_signature > 0);
    assert_eq!(net.nodes[1].discovery.session_count(), 0);
    assert_eq!(net.nodes[1].discovery.node_count(), 0);
}

#[test]
fn a_record_of_another_id_is_refused() {
    // A true record and signature, but under a source id that is not the record's.
    let mut net = pair();
    net.ping(0, 1);
    net.flush();
    net.run_ms(10);
    let b = net.nodes[1].id();
    let (from, to) = (net.nodes[0].endpoint, net.nodes[1].endpoint);
    let mut buf = [0; MAX_PACKET_SIZE];
    let liar = identity(6);
    let truth = record(&identity(7), 1, from);
    let draft = packet::begin(&[0; 16], &[1; 12], &Auth::Message { src: liar.node_id() }, &mut buf).unwrap();
    let len = packet::seal_random(&RustCrypto, &b, &draft, 20, &mut buf).unwrap();
    net.send(from, to, buf[..len].to_vec());
    let auth = Auth::Handshake {
        src: liar.node_id(),
        signature: crate::crypto::Signature([1; 64]),
        ephemeral: &liar.public_key().compressed(),
        record: truth.as_bytes(),
    };
    let draft = packet::begin(&[0; 16], &[2; 12], &auth, &mut buf).unwrap();
    let len = packet::seal_random(&RustCrypto, &b, &draft, 20, &mut buf).unwrap();
    net.send(from, to, buf[..len].to_vec());
    net.run_ms(50);
    assert_eq!(net.nodes[1].counters().handshake_record, 1);
}

#[test]
fn forged_handshakes_cost_a_bounded_number_of_checks() {
    let mut net = pair();
    let b = net.nodes[1].id();
    let (from, to) = (endpoint(9, 9000), net.nodes[1].endpoint);
    let liar = identity(9);
    let own = record(&liar, 1, from);
    let mut buf = [0; MAX_PACKET_SIZE];
    let draft = packet::begin(&[0; 16], &[1; 12], &Auth::Message { src: liar.node_id() }, &mut buf).unwrap();
    let len = packet::seal_random(&RustCrypto, &b, &draft, 20, &mut buf).unwrap();
    net.send(from, to, buf[..len].to_vec());
    for n in 0..50 {
        let auth = Auth::Handshake {
            src: liar.node_id(),
            signature: crate::crypto::Signature([n + 1; 64]),
            ephemeral: &liar.public_key().compressed(),
            record: own.as_bytes(),
        };
        let draft = packet::begin(&[0; 16], &[2; 12], &auth, &mut buf).unwrap();
        let len = packet::seal_random(&RustCrypto, &b, &draft, 20, &mut buf).unwrap();
        net.send(from, to, buf[..len].to_vec());
    }
    net.run_ms(50);
    let counters = net.nodes[1].counters();
    // One of four checks was the record's, and it is known from then on.
    assert_eq!((counters.handshake_signature, counters.handshake_checks_used_up), (3, 47));
    assert_eq!(counters.signature_checks, 4);
}

#[test]
fn an_unanswered_handshake_is_repeated_and_never_extended() {
    // The identical WHOAREYOU for a repeated packet, byte for byte once unmasked.
    let mut net = pair();
    net.rule = Box::new(|p| if p.bytes.len() == 63 { Fate::Drop } else { Fate::Deliver });
    net.ping(0, 1);
    net.run_ms(20);
    let (_, from, to, first) = net.log[0].clone();
    for _ in 0..3 {
        net.send(from, to, first.clone());
    }
    net.run_ms(50);
    let challenges: Vec<_> = net.log.iter().filter(|(.., bytes)| bytes.len() == 63).map(|l| &l.3).collect();
    assert_eq!(challenges.len(), 4);
    assert!(challenges.iter().all(|bytes| *bytes == challenges[0]));
    assert_eq!(net.nodes[1].counters().challenge_repeated, 3);
}

#[test]
fn commands_name_the_callers_mistake() {
    let mut net = pair();
    let (now, b) = (net.now, net.nodes[1].id());
    let own = net.nodes[0].record();
    let a = &mut net.nodes[0].discovery;
    assert_eq!(a.ping(now, b).unwrap_err(), RequestError::UnknownNode);
    assert_eq!(a.ping(now, &own).unwrap_err(), RequestError::Itself);
    assert_eq!(a.add_record(now, &own, true).unwrap_err(), RequestError::Itself);
    let bare = crate::record::Builder::new().sign(1, &identity(4)).unwrap();
    assert_eq!(a.ping(now, &bare).unwrap_err(), RequestError::NoEndpoint);
    assert_eq!(a.find_node(now, &bare, &[]).unwrap_err(), RequestError::Distances);
    assert_eq!(a.find_node(now, &bare, &[257]).unwrap_err(), RequestError::Distances);
    assert_eq!(a.talk(now, &bare, b"x", &[0; 1280]).unwrap_err(), RequestError::TooLarge);
    assert!(a.ping(now, crate::discovery::Target::from(&bare).at(endpoint(4, 9000))).is_ok());
    let mut full = 0;
    while a.ping(now, crate::discovery::Target::from(&bare).at(endpoint(4, 9000))).is_ok() {
        full += 1;
    }
    assert_eq!(full, Config::default().requests - 1);
}

#[test]
fn time_that_goes_backwards_changes_nothing() {
    let mut net = pair();
    let ping = net.ping(0, 1);
    net.run_ms(5);
    net.nodes[0].discovery.handle_timeout(Instant::ZERO);
    net.run_ms(100);
    assert!(net.ponged(0, ping));
}

#[test]
fn an_ipv4_mapped_source_is_the_same_peer() {
    let mut net = pair();
    net.ping(0, 1);
    net.run_ms(100);
    let ping = net.ping(0, 1);
    net.stop(1);
    net.flush();
    let (.., mut bytes) = net.log.last().unwrap().clone();
    let mapped = core::net::SocketAddr::from((core::net::Ipv4Addr::new(127, 0, 0, 1).to_ipv6_mapped(), 9000));
    let node = &mut net.nodes[1];
    node.discovery.handle_datagram(&node.identity, net.now, mapped, &mut bytes);
    let mut buf = [0; MAX_PACKET_SIZE];
    let (to, len) = node.discovery.poll_transmit(&node.identity, net.now, &mut buf).unwrap();
    assert_eq!(to, endpoint(0, 9000));
    net.send(endpoint(1, 9000), to, buf[..len].to_vec());
    net.run_ms(20);
    assert!(net.ponged(0, ping));
}

#[test]
fn two_nodes_on_ipv6() {
    let mut net = Net::new();
    net.add(0, "[::1]:9000".parse().unwrap(), Config::default());
    net.add(1, "[::1]:9001".parse().unwrap(), Config::default());
    let ping = net.ping(0, 1);
    net.run_ms(1_500);
    assert!(net.ponged(0, ping));
    let a = net.nodes[0].id();
    assert!(net.nodes[1].discovery.node(&a).unwrap().verified);
    // A node without IPv6 has nowhere to go.
    let record = net.nodes[0].record();
    net.add(2, endpoint(2, 9000), Config { ipv6: false, ..Config::default() });
    let refused = net.nodes[2].discovery.ping(net.now, &record);
    assert_eq!(refused, Err(RequestError::NoEndpoint));
}

#[test]
fn a_forger_who_asked_first_does_not_lock_the_peer_out() {
    let mut net = pair();
    let (a, b) = (net.nodes[0].id(), net.nodes[1].id());
    let (from, to) = (net.nodes[0].endpoint, net.nodes[1].endpoint);
    let mut buf = [7; MAX_PACKET_SIZE];
    let draft = packet::begin(&[7; 16], &[7; 12], &Auth::Message { src: a }, &mut buf).unwrap();
    let len = packet::seal_random(&RustCrypto, &b, &draft, 20, &mut buf).unwrap();
    for _ in 0..3 {
        net.send(from, to, buf[..len].to_vec());
        net.run_ms(10);
    }
    let ping = net.ping(0, 1);
    net.run_ms(700);
    assert!(net.ponged(0, ping), "the second try gets a challenge of its own");
    assert!(net.nodes[0].counters().challenge_unsolicited >= 3);
}
