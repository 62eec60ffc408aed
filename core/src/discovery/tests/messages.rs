//! What peers may ask, what they may answer, and what is refused.

use core::time::Duration;
use std::{vec, vec::Vec};

use super::net::{Net, endpoint, identity, record};
use crate::{
    crypto::{Crypto as _, Identity, RustCrypto, SecretKey},
    discovery::{
        Config, Event, RecordSource, RequestError,
        keys::{self, Keys},
        message::{self, Message, WireId},
        packet::{self, Auth},
    },
    id::NodeId,
    limits::{MAX_PACKET_SIZE, SESSION_CHECK},
    record::{Builder, Record},
    rng::{Rng, Seed},
};

/// A peer that speaks by hand: it says what it likes, in sessions that it opened properly.
pub(super) struct Hand {
    pub(super) identity: Identity<RustCrypto>,
    pub(super) record: Record,
    pub(super) at: core::net::SocketAddr,
    rng: Rng,
    keys: Option<Keys>,
}

impl Hand {
    pub(super) fn new(n: u8) -> Self {
        let identity = identity(n);
        let at = endpoint(n, 9000);
        let record = record(&identity, 1, at);
        Self { identity, record, at, rng: Seed::new([n; 32]).stream("hand"), keys: None }
    }

    pub(super) fn wire_id(&self) -> WireId {
        WireId::new(&[1, 2, 3]).unwrap()
    }

    /// Opens a session with node 0 of the net, with `first` as the message in the handshake.
    pub(super) fn open(&mut self, net: &mut Net, first: &[u8]) {
        let node = net.nodes[0].id();
        let mut buf = [0; MAX_PACKET_SIZE];
        let auth = Auth::Message { src: self.identity.node_id() };
        let draft = packet::begin(&[0; 16], &self.rng.array(), &auth, &mut buf).unwrap();
        let len = packet::seal_random(&RustCrypto, &node, &draft, 20, &mut buf).unwrap();
        let before = net.log.len();
        net.send(self.at, net.nodes[0].endpoint, buf[..len].to_vec());
        net.run_ms(10);
        let mut challenge = self.received(net, before + 1).remove(0);
        let packet = packet::decode(&RustCrypto, &self.identity.node_id(), &mut challenge).unwrap();
        let Auth::WhoAreYou { data, .. } = packet.auth else { panic!("{packet:?}") };
        let ephemeral = SecretKey::from_bytes(&self.rng.array()).unwrap();
        let public = RustCrypto.public_key(&ephemeral).compressed();
        let shared = RustCrypto.ecdh(&ephemeral, net.nodes[0].identity.public_key()).unwrap();
        let src = self.identity.node_id();
        let mut keys = Keys::initiator(&RustCrypto, &shared, &src, &node, data);
        let signature = keys::sign_id(&self.identity, data, &public, &node);
        let auth = Auth::Handshake { src, signature, ephemeral: &public, record: self.record.as_bytes() };
        let nonce = keys.next_nonce(&mut self.rng).unwrap();
        let draft = packet::begin(&[0; 16], &nonce, &auth, &mut buf).unwrap();
        buf[draft.message()][..first.len()].copy_from_slice(first);
        let len = packet::seal(
            &RustCrypto,
            &node,
            &RustCrypto.aes_gcm_key(keys.send()),
            &draft,
            first.len(),
            &mut buf,
        )
        .unwrap();
        self.keys = Some(keys);
        net.send(self.at, net.nodes[0].endpoint, buf[..len].to_vec());
        net.run_ms(10);
    }

    /// Encrypts a message for node 0.
    pub(super) fn sealed(&mut self, net: &Net, message: &[u8]) -> Vec<u8> {
        let mut buf = [0; MAX_PACKET_SIZE];
        let keys = self.keys.as_mut().unwrap();
        let nonce = keys.next_nonce(&mut self.rng).unwrap();
        let auth = Auth::Message { src: self.identity.node_id() };
        let draft = packet::begin(&[0; 16], &nonce, &auth, &mut buf).unwrap();
        buf[draft.message()][..message.len()].copy_from_slice(message);
        let node = net.nodes[0].id();
        let len = packet::seal(
            &RustCrypto,
            &node,
            &RustCrypto.aes_gcm_key(keys.send()),
            &draft,
            message.len(),
            &mut buf,
        )
        .unwrap();
        buf[..len].to_vec()
    }

    pub(super) fn say(&mut self, net: &mut Net, message: &[u8]) {
        let bytes = self.sealed(net, message);
        net.send(self.at, net.nodes[0].endpoint, bytes);
        net.run_ms(10);
    }

    /// Packets to this hand since `from` in the log.
    pub(super) fn received(&self, net: &Net, from: usize) -> Vec<Vec<u8>> {
        let to_me = net.log[from..].iter().filter(|(_, _, to, _)| *to == self.at);
        to_me.map(|(.., bytes)| bytes.clone()).collect()
    }

    /// Messages to this hand since `from` in the log, decrypted.
    pub(super) fn heard(&self, net: &Net, from: usize) -> Vec<Vec<u8>> {
        let keys = self.keys.as_ref().unwrap();
        let packets = self.received(net, from);
        let decrypted = packets.into_iter().filter_map(|mut bytes| {
            let packet = packet::decode(&RustCrypto, &self.identity.node_id(), &mut bytes).unwrap();
            let header = packet.header.to_vec();
            keys.open(&RustCrypto, &packet.nonce, &header, packet.message).ok().map(<[u8]>::to_vec)
        });
        decrypted.collect()
    }

    /// Says something and returns what came back.
    pub(super) fn ask(&mut self, net: &mut Net, message: &[u8]) -> Vec<Vec<u8>> {
        let before = net.log.len();
        self.say(net, message);
        self.heard(net, before)
    }

    /// Lets time pass and answers PINGs meanwhile: who does not is forgotten, and its session ends.
    pub(super) fn live(&mut self, net: &mut Net, ms: u64) {
        let end = net.now + Duration::from_millis(ms);
        while net.now < end {
            let before = net.log.len();
            net.run_ms(50);
            for heard in self.heard(net, before) {
                if let Ok(Message::Ping { id, .. }) = Message::decode(&heard) {
                    let (ip, port) = (self.at.ip(), self.at.port());
                    self.say(net, &encoded(&Message::Pong { id, enr_seq: 1, ip, port }));
                }
            }
        }
    }
}

pub(super) fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut buf = [0; 1280];
    let len = message.encode(&mut buf).unwrap();
    buf[..len].to_vec()
}

pub(super) fn find_node(id: WireId, distances: &[u16]) -> Vec<u8> {
    let mut buf = [0; 1280];
    let len = message::encode_find_node(&mut buf, id, distances).unwrap();
    buf[..len].to_vec()
}

pub(super) fn nodes(id: WireId, total: u8, records: &[&Record]) -> Vec<u8> {
    let mut buf = [0; 1280];
    let bytes = records.iter().map(|record| record.as_bytes());
    let len = message::encode_nodes(&mut buf, id, total, bytes).unwrap();
    buf[..len].to_vec()
}

pub(super) fn opened() -> (Net, Hand) {
    let mut net = Net::of(1);
    let mut hand = Hand::new(20);
    let id = hand.wire_id();
    hand.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
    // Its PING, which no hand answers, is out of the way.
    net.run_ms(SESSION_CHECK.as_millis() as u64);
    (net, hand)
}

#[test]
fn ping_is_answered_with_the_exact_source() {
    let (mut net, mut hand) = opened();
    for id in [&b""[..], b"1", b"12345678"] {
        let id = WireId::new(id).unwrap();
        let heard = hand.ask(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
        let pong = Message::Pong { id, enr_seq: 1, ip: hand.at.ip(), port: hand.at.port() };
        assert_eq!(heard, vec![encoded(&pong)]);
    }
}

#[test]
fn a_long_request_id_is_not_answered() {
    let (mut net, mut hand) = opened();
    assert!(hand.ask(&mut net, b"\x01\xcb\x89123456789\x01").is_empty());
    assert_eq!(net.nodes[0].counters().long_request_id, 1);
    assert!(hand.ask(&mut net, b"\x07\xc0").is_empty());
    assert!(hand.ask(&mut net, b"\x01\xc0").is_empty());
    let counters = net.nodes[0].counters();
    assert_eq!((counters.unknown_message, counters.malformed_message), (1, 1));
}

#[test]
fn distance_0_is_exactly_our_record() {
    let (mut net, mut hand) = opened();
    let id = hand.wire_id();
    let own = net.nodes[0].record();
    assert_eq!(hand.ask(&mut net, &find_node(id, &[0])), vec![nodes(id, 1, &[&own])]);
    assert_eq!(hand.ask(&mut net, &find_node(id, &[0, 0, 0])), vec![nodes(id, 1, &[&own])]);
    // Nobody was verified, so every other distance is an empty answer; and so is no distance.
    assert_eq!(hand.ask(&mut net, &find_node(id, &[256, 255, 300])), vec![nodes(id, 1, &[])]);
    assert_eq!(hand.ask(&mut net, &find_node(id, &[])), vec![nodes(id, 1, &[])]);
}

#[test]
fn find_node_inside_a_handshake_is_answered() {
    let mut net = Net::of(1);
    let mut hand = Hand::new(20);
    let id = hand.wire_id();
    hand.open(&mut net, &find_node(id, &[0]));
    let own = net.nodes[0].record();
    assert_eq!(hand.heard(&net, 2), vec![nodes(id, 1, &[&own])]);
}

#[test]
fn unknown_talk_is_answered_empty() {
    let (mut net, mut hand) = opened();
    for id in [&b""[..], b"12345678"] {
        let id = WireId::new(id).unwrap();
        let heard = hand.ask(&mut net, &encoded(&Message::TalkReq { id, protocol: b"x", request: b"y" }));
        assert_eq!(heard, vec![encoded(&Message::TalkResp { id, response: b"" })]);
    }
}

#[test]
fn a_repeated_packet_is_answered_but_proves_nothing() {
    let (mut net, mut hand) = opened();
    assert!(net.nodes[0].discovery.accept_talk(b"t"));
    let id = hand.wire_id();
    for (message, answers) in [
        (encoded(&Message::Ping { id, enr_seq: 9 }), 2),
        (find_node(id, &[0]), 2),
        (encoded(&Message::TalkReq { id, protocol: b"t", request: b"y" }), 0),
    ] {
        let bytes = hand.sealed(&net, &message);
        let before = net.log.len();
        for _ in 0..2 {
            net.send(hand.at, net.nodes[0].endpoint, bytes.clone());
            net.run_ms(10);
        }
        let kinds: Vec<_> = hand.heard(&net, before).iter().map(|heard| heard[0]).collect();
        assert_eq!(kinds.iter().filter(|kind| [2, 4].contains(*kind)).count(), answers);
    }
    let talks = net.events(0).iter().filter(|e| matches!(e, Event::TalkRequest { .. })).count();
    assert_eq!(talks, 1);
    assert_eq!(net.nodes[0].counters().repeated_packet, 3);
    // The claim of a newer record is followed when it is fresh; a replay of it is not.
    net.nodes[0].discovery.add_record(net.now, &hand.record, true).unwrap();
    let bytes = hand.sealed(&net, &encoded(&Message::Ping { id, enr_seq: 99 }));
    let asks = |net: &mut Net, hand: &Hand| {
        net.run_ms(20_000);
        let before = net.log.len();
        net.send(hand.at, net.nodes[0].endpoint, bytes.clone());
        net.run_ms(10);
        hand.heard(net, before).iter().filter(|heard| heard[0] == 3).count()
    };
    assert_eq!((asks(&mut net, &hand), asks(&mut net, &hand)), (1, 0));
}

#[test]
fn another_peers_answer_is_not_taken() {
    let (mut net, mut hand) = opened();
    let mut other = Hand::new(30);
    let id = other.wire_id();
    other.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
    let (request, id) = asked(&mut net, &mut hand, &[0]);
    // It even knows the request id, and has a session of its own.
    let record = other.record.clone();
    other.say(&mut net, &nodes(id, 1, &[&record]));
    assert_eq!(net.nodes[0].counters().unsolicited_response, 1);
    let record = hand.record.clone();
    hand.say(&mut net, &nodes(id, 1, &[&record]));
    let from = hand.identity.node_id();
    assert!(net.events(0).contains(&Event::Nodes { request, from, count: 1 }));
}

#[test]
fn who_did_not_answer_is_not_relayed() {
    let (mut net, mut hand) = opened();
    let dead = record(&identity(40), 1, endpoint(40, 9000));
    net.add(41, endpoint(41, 9000), Config::default());
    let alive = net.nodes[1].record();
    for member in [&dead, &alive] {
        net.nodes[0].discovery.add_record(net.now, member, true).unwrap();
    }
    hand.live(&mut net, 5_000);
    let node = net.nodes[0].id();
    let distances = [&dead, &alive].map(|record| node.log_distance(&record.node_id()));
    let id = hand.wire_id();
    let heard = hand.ask(&mut net, &find_node(id, &distances));
    let hand_id = hand.identity.node_id();
    let answers: Vec<_> = heard
        .iter()
        .flat_map(|heard| match Message::decode(heard) {
            Ok(Message::Nodes { records, .. }) => {
                records.iter().map(|r| Record::decode(r, &RustCrypto).unwrap()).collect::<Vec<_>>()
            }
            _ => vec![],
        })
        .filter(|record| record.node_id() != hand_id)
        .collect();
    assert_eq!(answers, [alive]);
}

#[test]
fn loopback_is_told_to_loopback_only() {
    let (mut net, mut near) = opened();
    net.add(41, endpoint(41, 9000), Config::default());
    let member = net.nodes[1].record();
    net.nodes[0].discovery.add_record(net.now, &member, true).unwrap();
    near.live(&mut net, 3_000);
    let mut far = Hand::new(30);
    far.at = "9.9.9.9:9".parse().unwrap();
    far.record = record(&far.identity, 1, far.at);
    let id = far.wire_id();
    far.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
    let distance = net.nodes[0].id().log_distance(&member.node_id());
    let asked = find_node(id, &[distance]);
    let holds =
        |heard: &[Vec<u8>]| heard.iter().any(|h| h.windows(100).any(|w| w == &member.as_bytes()[..100]));
    assert!(holds(&near.ask(&mut net, &asked)));
    let heard = far.ask(&mut net, &asked);
    assert!(heard.contains(&nodes(id, 1, &[])), "{heard:02x?}");
}

#[test]
fn talk_goes_there_and_back() {
    let mut net = Net::of(2);
    let to = net.nodes[1].record();
    assert!(net.nodes[1].discovery.accept_talk(b"proto"));
    // The largest request does not fit into a handshake packet; it goes after it.
    let payload = vec![7; crate::limits::MAX_TALK_PAYLOAD - 5];
    let requests: Vec<_> =
        (0..3).map(|_| net.nodes[0].discovery.talk(net.now, &to, b"proto", &payload).unwrap()).collect();
    net.run_ms(80);
    let asked: Vec<_> = net
        .events(1)
        .into_iter()
        .filter_map(|event| match event {
            Event::TalkRequest { id, from, .. } => Some((id, from)),
            _ => None,
        })
        .collect();
    assert_eq!(asked.len(), 3);
    for (id, from) in asked {
        assert_eq!(from, net.nodes[0].id());
        let node = &mut net.nodes[1].discovery;
        assert_eq!(node.talk_request(id), Some((&b"proto"[..], &payload[..])));
        node.respond_talk(id, b"answer").unwrap();
        assert!(node.talk_request(id).is_none() && node.respond_talk(id, b"again").is_err());
    }
    net.flush();
    net.now = net.now + Duration::from_millis(10);
    // Read the answers between two events, as an embedder does.
    net.latency = Duration::ZERO;
    let (mut answered, end) = (Vec::new(), net.now + Duration::from_millis(50));
    net.nodes[0].events.clear();
    net.stop(0);
    net.run_until(end);
    assert!(net.nodes[0].events.is_empty());
    let packets: Vec<_> = net.log.iter().rev().take(3).map(|l| (l.1, l.3.clone())).collect();
    let node = &mut net.nodes[0];
    for (from, mut bytes) in packets {
        node.discovery.handle_datagram(&node.identity, net.now, from, &mut bytes);
    }
    while let Some(event) = node.discovery.poll_event() {
        if let Event::TalkResponse { request, len, .. } = event {
            assert_eq!(node.discovery.talk_response(request), Some(&b"answer"[..]));
            assert_eq!(len, 6);
            answered.push(request);
        }
    }
    answered.reverse();
    assert_eq!(answered, requests);
    assert!(requests.iter().all(|request| node.discovery.talk_response(*request).is_none()));
    assert!(node.discovery.talks.own.is_empty());
    net.run_ms(3_500);
    assert!(net.nodes[1].discovery.talks.peers.is_empty());
}

#[test]
fn a_talk_request_nobody_answers_is_answered_empty() {
    let mut net = Net::of(2);
    let to = net.nodes[1].record();
    net.nodes[1].discovery.accept_talk(b"proto");
    let request = net.nodes[0].discovery.talk(net.now, &to, b"proto", b"?").unwrap();
    net.run_ms(400);
    let from = net.nodes[1].id();
    assert!(net.events(0).contains(&Event::TalkResponse { request, from, len: 0 }));
    assert_eq!(net.nodes[1].counters().talks_unanswered, 1);
    let asked = net.events(1).into_iter().find_map(|event| match event {
        Event::TalkRequest { id, .. } => Some(id),
        _ => None,
    });
    let late = net.nodes[1].discovery.respond_talk(asked.unwrap(), b"late");
    assert_eq!(late, Err(RequestError::UnknownTalk));
    net.run_ms(5_000);
    assert!(net.nodes[1].discovery.talks.peers.is_empty());
    assert_eq!(net.nodes[0].discovery.talks.own.len(), 0);
}

/// Node 0 sends a FINDNODE to the hand; returns the request id that it must be answered with.
pub(super) fn asked(
    net: &mut Net,
    hand: &mut Hand,
    distances: &[u16],
) -> (crate::discovery::RequestId, WireId) {
    let to = hand.record.clone();
    let before = net.log.len();
    let request = net.nodes[0].discovery.find_node(net.now, &to, distances).unwrap();
    net.run_ms(1);
    let heard = hand.heard(net, before);
    let mut asked = heard.iter().map(|heard| Message::decode(heard).unwrap());
    let id = asked.rfind(|m| matches!(m, Message::FindNode { .. })).unwrap().id();
    (request, id)
}

fn seen(net: &mut Net) -> Vec<(NodeId, RecordSource)> {
    let events = net.events(0);
    let seen = events.into_iter().filter_map(|event| match event {
        Event::RecordSeen { record, source } => Some((record.node_id(), source)),
        _ => None,
    });
    seen.collect()
}

#[test]
fn only_what_was_asked_for_is_believed() {
    let (mut net, mut hand) = opened();
    let peer = hand.identity.node_id();
    let others: Vec<_> = (40..60).map(|n| record(&identity(n), 1, endpoint(n, 9000))).collect();
    let at = |distance: u16| others.iter().filter(move |r| peer.log_distance(&r.node_id()) == distance);
    let (good, wrong) = (at(256).next().unwrap(), at(255).next().unwrap());
    hand.live(&mut net, 3_000);
    net.events(0);

    let (request, id) = asked(&mut net, &mut hand, &[256]);
    // Not from here, not under this id, not of this kind.
    let bytes = hand.sealed(&net, &nodes(id, 1, &[good]));
    net.send(endpoint(99, 1), net.nodes[0].endpoint, bytes);
    hand.say(&mut net, &nodes(WireId::new(b"other").unwrap(), 1, &[good]));
    hand.say(&mut net, &encoded(&Message::TalkResp { id, response: b"" }));
    hand.say(&mut net, &encoded(&Message::Pong { id, enr_seq: 1, ip: [1, 1, 1, 1].into(), port: 1 }));
    assert_eq!(net.nodes[0].counters().unsolicited_response, 3);
    // Another total than the first packet's, a wrong distance, a broken signature.
    let mut broken = nodes(id, 2, &[good]);
    *broken.last_mut().unwrap() ^= 1;
    hand.say(&mut net, &nodes(id, 2, &[wrong]));
    hand.say(&mut net, &nodes(id, 3, &[good]));
    assert!(seen(&mut net).is_empty());
    hand.say(&mut net, &broken);
    let counters = net.nodes[0].counters();
    assert_eq!((counters.nodes_packet, counters.record_distance, counters.record_invalid), (1, 1, 1));
    let done = Event::Nodes { request, from: peer, count: 0 };
    assert!(net.events(0).contains(&done));

    // The same record in a proper answer; a second answer is one too many.
    let (request, id) = asked(&mut net, &mut hand, &[256]);
    hand.say(&mut net, &nodes(id, 1, &[good]));
    hand.say(&mut net, &nodes(id, 1, &[good]));
    assert_eq!(net.nodes[0].counters().unsolicited_response, 4);
    let events = net.events(0);
    assert!(events.contains(&Event::Nodes { request, from: peer, count: 1 }));
    let source = RecordSource::Relayed(peer);
    assert!(events.contains(&Event::RecordSeen { record: good.clone(), source }));
}

#[test]
fn an_answer_has_at_most_16_records_and_5_packets() {
    let (mut net, mut hand) = opened();
    let peer = hand.identity.node_id();
    let others: Vec<_> = (40..120).map(|n| record(&identity(n), 1, endpoint(n, 9000))).collect();
    let far: Vec<_> = others.iter().filter(|r| peer.log_distance(&r.node_id()) == 256).take(18).collect();
    let (request, id) = asked(&mut net, &mut hand, &[256]);
    hand.say(&mut net, &nodes(id, 3, &far[..6]));
    hand.say(&mut net, &nodes(id, 3, &far[6..12]));
    hand.say(&mut net, &nodes(id, 3, &far[12..18]));
    let events = net.events(0);
    assert!(events.contains(&Event::Nodes { request, from: peer, count: 16 }));
    assert_eq!(net.nodes[0].counters().nodes_excess, 1);
    let (request, id) = asked(&mut net, &mut hand, &[256]);
    for _ in 0..7 {
        hand.say(&mut net, &nodes(id, 200, &[]));
    }
    assert!(net.events(0).contains(&Event::Nodes { request, from: peer, count: 0 }));
    // A part of an answer counts when its time is over.
    let (request, id) = asked(&mut net, &mut hand, &[256]);
    hand.say(&mut net, &nodes(id, 2, &far[..1]));
    net.run_ms(600);
    assert!(net.events(0).contains(&Event::Nodes { request, from: peer, count: 1 }));
}

#[test]
fn addresses_are_believed_by_the_relayers_scope() {
    let mut net = Net::new();
    net.add(0, endpoint(0, 9000), Config::default());
    let mut hand = Hand::new(20);
    hand.at = "203.0.114.9:9000".parse().unwrap();
    hand.record = record(&hand.identity, 1, hand.at);
    let id = hand.wire_id();
    hand.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
    let peer = hand.identity.node_id();
    for (address, believed) in
        [("127.0.0.5:1", false), ("10.0.0.5:1", false), ("0.0.0.0:1", true), ("9.9.9.9:1", true)]
    {
        let n = (40..).find(|n| peer.log_distance(&identity(*n).node_id()) == 256).unwrap();
        let about = record(&identity(n), 1, address.parse().unwrap());
        let (request, id) = asked(&mut net, &mut hand, &[256]);
        hand.say(&mut net, &nodes(id, 1, &[&about]));
        let count = usize::from(believed);
        assert!(net.events(0).contains(&Event::Nodes { request, from: peer, count }), "{address}");
        net.nodes[0].discovery.remove(net.now, &about.node_id());
    }
}

#[test]
fn a_higher_seq_in_a_ping_is_asked_for() {
    let (mut net, mut hand) = opened();
    let newer = record(&hand.identity, 5, hand.at);
    let before = net.log.len();
    let id = hand.wire_id();
    hand.say(&mut net, &encoded(&Message::Ping { id, enr_seq: 5 }));
    let heard = hand.heard(&net, before);
    let asked = heard.iter().map(|m| Message::decode(m).unwrap()).find_map(|m| match m {
        Message::FindNode { id, distances } => Some((id, distances.iter().collect::<Vec<_>>())),
        _ => None,
    });
    let (id, distances) = asked.unwrap();
    assert_eq!(distances, [0]);
    hand.say(&mut net, &nodes(id, 1, &[&newer]));
    let event = Event::RecordSeen { record: newer, source: RecordSource::Owner };
    assert!(net.events(0).contains(&event));
    assert_eq!(net.nodes[0].discovery.record(&hand.identity.node_id()).unwrap().seq(), 5);
}

#[test]
fn equal_seq_with_other_content_is_refused_and_counted() {
    let (mut net, mut hand) = opened();
    let peer = hand.identity.node_id();
    let other = record(&hand.identity, 1, endpoint(21, 1));
    let (_, id) = asked(&mut net, &mut hand, &[0]);
    hand.say(&mut net, &nodes(id, 1, &[&other]));
    assert_eq!(net.nodes[0].counters().record_equivocation, 1);
    assert_eq!(net.nodes[0].discovery.record(&peer).unwrap(), &hand.record);
    // An older one is no news, whatever it says.
    let older = record(&hand.identity, 0, endpoint(21, 1));
    net.events(0);
    let (request, id) = asked(&mut net, &mut hand, &[0]);
    hand.say(&mut net, &nodes(id, 1, &[&older]));
    assert!(net.events(0).contains(&Event::Nodes { request, from: peer, count: 1 }));
    assert_eq!(net.nodes[0].discovery.record(&peer).unwrap(), &hand.record);
}

#[test]
fn a_peer_without_an_endpoint_is_answered_but_not_pinged() {
    let mut net = Net::of(1);
    let mut hand = Hand::new(20);
    hand.record = Builder::new().sign(1, &hand.identity).unwrap();
    let id = hand.wire_id();
    hand.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
    net.run_ms(10_000);
    let kinds: Vec<_> = hand.heard(&net, 2).iter().map(|heard| heard[0]).collect();
    assert_eq!(kinds, [2], "one PONG and nothing else");
}

#[test]
fn a_node_that_lost_its_store_is_shown_its_newer_record() {
    let mut net = Net::of(2);
    let newer = record(&net.nodes[0].identity, 9, endpoint(77, 1));
    net.nodes[1].discovery.add_record(net.now, &newer, true).unwrap();
    net.ping(0, 1);
    net.run_ms(200);
    let from = net.nodes[1].id();
    assert!(net.events(0).contains(&Event::OwnRecordSeen { record: newer, from }));
}

#[test]
fn a_member_that_signs_twice_is_reported() {
    let mut net = Net::of(2);
    let other = record(&net.nodes[1].identity, 1, endpoint(77, 1));
    net.nodes[0].discovery.add_record(net.now, &other, true).unwrap();
    let to = net.nodes[1].record();
    net.nodes[0].discovery.find_node(net.now, &to, &[0]).unwrap();
    net.run_ms(200);
    let source = RecordSource::Owner;
    let event = Event::Equivocation { record: net.nodes[1].record(), source };
    assert!(net.events(0).contains(&event));
    assert_eq!(net.nodes[0].discovery.record(&other.node_id()), Some(&other));
}

/// The nonces of the packets that the hand got since `from`.
fn nonces(net: &Net, hand: &Hand, from: usize) -> Vec<packet::Nonce> {
    let packets = hand.received(net, from).into_iter();
    packets
        .map(|mut bytes| {
            let packet = packet::decode(&RustCrypto, &hand.identity.node_id(), &mut bytes).unwrap();
            packet.nonce
        })
        .collect()
}

/// Sends node 0 a WHOAREYOU of the hand's; returns its data, and what came back.
fn challenged(
    net: &mut Net,
    hand: &Hand,
    nonce: &packet::Nonce,
    n: u8,
) -> (packet::ChallengeData, Vec<Vec<u8>>) {
    let data = packet::whoareyou(&[n; 16], nonce, &[n; 16], 0);
    let mut buf = [0; 63];
    packet::seal_whoareyou(&RustCrypto, &net.nodes[0].id(), &data, &mut buf).unwrap();
    let before = net.log.len();
    net.send(hand.at, net.nodes[0].endpoint, buf.to_vec());
    net.run_ms(15);
    (data, hand.received(net, before))
}

/// Reads a handshake packet of node 0's to the hand: its keys, and the message in it.
fn accepted(net: &Net, hand: &Hand, challenge: &packet::ChallengeData, bytes: &mut [u8]) -> (Keys, Vec<u8>) {
    let hand_id = hand.identity.node_id();
    let packet = packet::decode(&RustCrypto, &hand_id, bytes).unwrap();
    let Auth::Handshake { src, signature, ephemeral, .. } = packet.auth else { panic!("{packet:?}") };
    let key = *net.nodes[0].identity.public_key();
    assert!(keys::verify_id(&RustCrypto, &key, challenge, ephemeral, &hand_id, &signature));
    let shared = RustCrypto.decompress(ephemeral);
    let shared = shared.and_then(|e| RustCrypto.ecdh(hand.identity.secret(), &e)).unwrap();
    let keys = Keys::recipient(&RustCrypto, &shared, &src, &hand_id, challenge);
    let header = packet.header.to_vec();
    let text = keys.open(&RustCrypto, &packet.nonce, &header, packet.message).unwrap().to_vec();
    (keys, text)
}

#[test]
fn what_came_under_old_keys_is_answered_under_them() {
    let (mut net, mut hand) = opened();
    let old = hand.keys.take();
    let id = hand.wire_id();
    hand.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
    let new = core::mem::replace(&mut hand.keys, old);
    assert_eq!(hand.ask(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 })).len(), 1);
    hand.keys = new;
    assert_eq!(hand.ask(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 })).len(), 1);
}

#[test]
fn keys_that_were_offered_may_still_be_taken_up() {
    // The hand challenges a PING although it has a session, then answers it in the old one, and only
    // later begins to use what was agreed on in the handshake.
    let (mut net, mut hand) = opened();
    hand.live(&mut net, 3_000);
    let to = hand.record.clone();
    let before = net.log.len();
    let ping = net.nodes[0].discovery.ping(net.now, &to).unwrap();
    net.run_ms(1);
    let nonce = nonces(&net, &hand, before)[0];
    let (challenge, mut came) = challenged(&mut net, &hand, &nonce, 9);
    let (new, message) = accepted(&net, &hand, &challenge, &mut came[0]);
    let id = Message::decode(&message).unwrap().id();
    let pong = Message::Pong { id, enr_seq: 1, ip: [127, 0, 0, 1].into(), port: 9000 };
    hand.say(&mut net, &encoded(&pong));
    assert!(net.ponged(0, ping));
    hand.keys = Some(new);
    let id = hand.wire_id();
    let established = net.nodes[0].counters().sessions_established;
    assert_eq!(hand.ask(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 })).len(), 1);
    assert_eq!(net.nodes[0].counters().sessions_established, established + 1);
}

#[test]
fn a_peer_that_challenges_every_packet_anew_gets_through() {
    // It answers only the handshake for one of its two challenges, the older or the newer.
    for answered in [0, 1] {
        let mut net = Net::of(1);
        let mut hand = Hand::new(20);
        let hand_id = hand.identity.node_id();
        let to = hand.record.clone();
        let ping = net.nodes[0].discovery.ping(net.now, &to).unwrap();
        net.run_ms(600);
        let nonces = nonces(&net, &hand, 0);
        assert_eq!(nonces.len(), 2, "two tries");
        let sent: Vec<_> = (0..2).map(|n| challenged(&mut net, &hand, &nonces[n], n as u8)).collect();
        assert!(sent.iter().all(|(_, came)| came.len() == 1), "each challenged packet gets its handshake");
        let (challenge, mut bytes) = (sent[answered].0, sent[answered].1[0].clone());
        let (keys, message) = accepted(&net, &hand, &challenge, &mut bytes);
        let id = Message::decode(&message).unwrap().id();
        hand.keys = Some(keys);
        assert!(!net.nodes[0].discovery.has_session(&hand_id, hand.at), "not before a message came");
        hand.say(
            &mut net,
            &encoded(&Message::Pong { id, enr_seq: 1, ip: [127, 0, 0, 1].into(), port: 9000 }),
        );
        assert!(net.ponged(0, ping), "the handshake for challenge {answered}");
        assert!(net.nodes[0].discovery.has_session(&hand_id, hand.at));
    }
}

#[test]
fn one_packet_gets_one_handshake() {
    let mut net = Net::of(1);
    let hand = Hand::new(20);
    let to = hand.record.clone();
    net.nodes[0].discovery.ping(net.now, &to).unwrap();
    net.run_ms(10);
    let nonce = nonces(&net, &hand, 0)[0];
    let (_, first) = challenged(&mut net, &hand, &nonce, 1);
    assert_eq!(first.len(), 1);
    let (_, again) = challenged(&mut net, &hand, &nonce, 1);
    assert_eq!(again, first, "the same challenge gets the same packet");
    let (_, other) = challenged(&mut net, &hand, &nonce, 2);
    assert!(other.is_empty(), "another challenge for the same packet gets none");
    for _ in 0..10 {
        challenged(&mut net, &hand, &nonce, 1);
    }
    let sent = hand.received(&net, 0).len();
    assert_eq!(sent, 1 + 1 + usize::from(crate::limits::MAX_HANDSHAKE_REPEATS), "and not for ever");
    assert!(net.nodes[0].counters().challenge_conflict > 5);
}

#[test]
fn a_packet_that_comes_twice_is_not_two_of_an_answer() {
    let (mut net, mut hand) = opened();
    let peer = hand.identity.node_id();
    let others: Vec<_> = (40..60).map(|n| record(&identity(n), 1, endpoint(n, 9000))).collect();
    let far: Vec<_> = others.iter().filter(|r| peer.log_distance(&r.node_id()) == 256).take(2).collect();
    let (request, id) = asked(&mut net, &mut hand, &[256]);
    let first = hand.sealed(&net, &nodes(id, 2, &far[..1]));
    for _ in 0..2 {
        net.send(hand.at, net.nodes[0].endpoint, first.clone());
        net.run_ms(10);
    }
    hand.say(&mut net, &nodes(id, 2, &far[1..]));
    let events = net.events(0);
    assert!(events.contains(&Event::Nodes { request, from: peer, count: 2 }));
    for record in far {
        let source = RecordSource::Relayed(peer);
        assert!(events.contains(&Event::RecordSeen { record: record.clone(), source }));
    }
}

#[test]
fn a_peer_that_begins_anew_does_not_keep_a_request_alive() {
    let (mut net, mut hand) = opened();
    net.run_ms(3_000);
    let to = hand.record.clone();
    let request = net.nodes[0].discovery.find_node(net.now, &to, &[256]).unwrap();
    let failed = |event: &Event| matches!(event, Event::RequestFailed { request: r, .. } if *r == request);
    let id = hand.wire_id();
    let ended = (0..40).position(|_| {
        net.run_ms(370);
        hand.open(&mut net, &encoded(&Message::Ping { id, enr_seq: 1 }));
        net.events(0).iter().any(failed)
    });
    assert!(ended.is_some(), "still open after 40 handshakes");
}

#[test]
fn handshakes_for_one_session_are_few() {
    let mut net = Net::of(1);
    let hand = Hand::new(20);
    let to = hand.record.clone();
    net.nodes[0].discovery.ping(net.now, &to).unwrap();
    net.run_ms(1_400);
    let nonces = nonces(&net, &hand, 0);
    assert_eq!(nonces.len(), 3, "three tries");
    let mut came = 0;
    for n in 0..60_usize {
        came += challenged(&mut net, &hand, &nonces[n % 3], n as u8).1.len();
    }
    assert!((3..=6).contains(&came), "{came} handshakes");
}
