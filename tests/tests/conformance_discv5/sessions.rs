//! Sessions that the node under test begins (discv5 theory, "Handshake Steps", steps 1, 3 and 5).

use coracle_core::{
    crypto::RustCrypto,
    discovery::{Event, RequestId},
    record::Record,
};
use coracle_tests::raw_peer::{HANDSHAKE, Message, ORDINARY, Packet, bytes_of};

use crate::{bench::Machine, line::Line};

by_discovery![
    it_begins_with_an_ordinary_packet_and_answers_the_challenge,
    its_record_goes_along_when_the_challenge_asks_for_it,
    challenges_of_others_are_not_answered,
    the_same_challenge_gets_the_same_handshake,
    a_session_counts_once_the_peer_has_used_it,
    a_peer_that_forgot_the_session_is_answered_anew,
    requests_wait_for_one_handshake,
    both_begin_at_once,
];

/// The record of a peer as our type.
pub(super) fn record(line: &Line) -> Record {
    Record::decode(&bytes_of(line.peer.record()), &RustCrypto).unwrap()
}

/// Tells the node to PING.
pub(super) fn ping(net: &mut impl Machine, line: &Line) -> RequestId {
    let record = record(line);
    net.with(|discovery, now| discovery.ping(now, &record)).unwrap()
}

/// Waits for the PONG to `ping`.
pub(super) fn ponged(net: &mut impl Machine, ping: RequestId) {
    net.event("PONG", |event| match event {
        Event::Pong { request, .. } if *request == ping => Some(()),
        Event::RequestFailed { request, reason } if *request == ping => panic!("PING failed: {reason}"),
        _ => None,
    });
}

/// A session that the node began, by a PING.
pub(super) fn begun(net: &mut impl Machine, number: u8) -> Line {
    let mut line = Line::reachable(net, number);
    let ping = ping(net, &line);
    let request = line.request(net);
    line.serve(net, &request);
    ponged(net, ping);
    line
}

/// The node's first packet to a peer it has no session with.
fn first_packet(net: &mut impl Machine, line: &Line) -> Packet {
    let packet = line.packet(net);
    assert_eq!((packet.flag, &packet.authdata[..]), (ORDINARY, &net.record().node_id().raw()[..]));
    assert!(packet.message.len() > 16, "a message and its tag: {packet:?}");
    packet
}

fn sessions(net: &mut impl Machine) -> usize {
    net.told(|event| matches!(event, Event::SessionEstablished { .. }))
}

fn it_begins_with_an_ordinary_packet_and_answers_the_challenge(net: &mut impl Machine) {
    let mut line = Line::reachable(net, 1);
    let ping = ping(net, &line);
    let packet = first_packet(net, &line);
    line.challenge(net, &packet, 0);
    let handshake = line.packet(net);
    let accepted = line.accept(net, &handshake);
    let Message::Ping { id, enr_seq } = &accepted.message else { panic!("{:?}", accepted.message) };
    assert!(id.len() <= 8);
    assert_eq!(*enr_seq, net.record().seq());
    line.serve(net, &accepted.message);
    ponged(net, ping);
    // What the PONG says of the node's address is told.
    let vote = net.event("vote", |event| match event {
        Event::Vote { observed, .. } => Some(*observed),
        _ => None,
    });
    assert_eq!(Some(vote), record_endpoint(net));
}

fn record_endpoint(net: &impl Machine) -> Option<std::net::SocketAddr> {
    let record = net.record();
    record.udp4_socket().map(Into::into).or(record.udp6_socket().map(Into::into))
}

/// With enr-seq 0 or a lower one than its own; not with its own.
fn its_record_goes_along_when_the_challenge_asks_for_it(net: &mut impl Machine) {
    let own = bytes_of(&net.record());
    for (number, enr_seq, record) in [(1, 0, own), (2, net.record().seq(), Vec::new())] {
        let mut line = Line::reachable(net, number);
        let ping = ping(net, &line);
        let packet = first_packet(net, &line);
        line.challenge(net, &packet, enr_seq);
        let handshake = line.packet(net);
        let accepted = line.accept(net, &handshake);
        assert_eq!(accepted.record, record, "enr-seq {enr_seq}");
        line.serve(net, &accepted.message);
        ponged(net, ping);
    }
}

/// A WHOAREYOU for another nonce, or from another endpoint, leads to no handshake; the true one does.
fn challenges_of_others_are_not_answered(net: &mut impl Machine) {
    let mut line = Line::reachable(net, 1);
    let mut elsewhere = Line::new(net, 2);
    elsewhere.peer = line.peer.clone();
    let ping = ping(net, &line);
    let packet = first_packet(net, &line);
    let mut other = packet.clone();
    other.nonce[11] ^= 1;
    line.challenge(net, &other, 0);
    elsewhere.challenge(net, &packet, 0);
    let challenge = line.challenge(net, &packet, 0);
    let handshake = line.packet(net);
    assert_eq!(handshake.flag, HANDSHAKE, "{handshake:?}");
    let accepted = line.peer.accept(&net.record(), &challenge, &handshake);
    line.session = Some(accepted.session);
    line.serve(net, &accepted.message);
    ponged(net, ping);
    assert_eq!(net.try_recv(elsewhere.at), None);
}

/// Byte for byte; and a second, different challenge for the same packet gets nothing.
fn the_same_challenge_gets_the_same_handshake(net: &mut impl Machine) {
    let mut line = Line::reachable(net, 1);
    let begun = ping(net, &line);
    let packet = first_packet(net, &line);
    let challenge = line.challenge(net, &packet, 0);
    let handshake = line.packet(net);
    line.send(net, &challenge);
    assert_eq!(line.packet(net), handshake);
    let different = line.peer.challenge(packet.nonce, 0);
    line.send(net, &different);
    let accepted = line.accept(net, &handshake);
    line.serve(net, &accepted.message);
    ponged(net, begun);
    assert_eq!(net.try_recv(line.at), None, "a handshake for the second challenge");
}

/// After the handshake was sent, and before the peer sent a message under its keys, there is no session.
fn a_session_counts_once_the_peer_has_used_it(net: &mut impl Machine) {
    let mut line = Line::reachable(net, 1);
    let ping = ping(net, &line);
    let packet = first_packet(net, &line);
    line.challenge(net, &packet, 0);
    let handshake = line.packet(net);
    let accepted = line.accept(net, &handshake);
    assert_eq!(sessions(net), 0, "{:?}", net.events());
    // Nor does junk confirm it.
    let mut wrong = accepted.session;
    wrong.send[0] ^= 1;
    let junk = line.peer.sealed(&wrong, b"junk");
    line.send(net, &junk);
    line.challenged(net);
    assert_eq!(sessions(net), 0, "{:?}", net.events());
    line.serve(net, &accepted.message);
    ponged(net, ping);
    assert_eq!(sessions(net), 1, "{:?}", net.events());
}

/// A challenge in the midst of a session: the request goes out again in a handshake, and is answered.
fn a_peer_that_forgot_the_session_is_answered_anew(net: &mut impl Machine) {
    let mut line = begun(net, 1);
    line.forget();
    let ping = ping(net, &line);
    let request = line.request(net);
    assert!(matches!(request, Message::Ping { .. }), "{request:?}");
    line.serve(net, &request);
    ponged(net, ping);
    assert_eq!(sessions(net), 2);
}

/// Several requests before there is a session: one handshake, and then all of them.
fn requests_wait_for_one_handshake(net: &mut impl Machine) {
    let mut line = Line::reachable(net, 1);
    let pings: Vec<_> = (0..4).map(|_| ping(net, &line)).collect();
    let mut ids = std::collections::BTreeSet::new();
    for _ in &pings {
        let request = line.request(net);
        assert!(ids.insert(request.id().to_vec()), "request ids are unique");
        line.serve(net, &request);
    }
    for ping in pings {
        ponged(net, ping);
    }
    assert_eq!(sessions(net), 1);
}

/// Both send a packet that asks for a challenge, and both challenge. Whichever handshake comes first, both
/// requests are answered.
fn both_begin_at_once(net: &mut impl Machine) {
    for ours_first in [true, false] {
        let mut line = Line::reachable(net, if ours_first { 1 } else { 2 });
        let begun = ping(net, &line);
        let theirs = first_packet(net, &line);
        let challenge = line.ask_for_challenge(net);
        let own = line.new_ping();
        if ours_first {
            line.answer_challenge(net, &challenge, &own);
            let pong = line.answer(net);
            line.check_pong(net, &own, &pong);
            line.challenge(net, &theirs, 0);
        } else {
            line.challenge(net, &theirs, 0);
            let handshake = line.packet(net);
            let accepted = line.accept(net, &handshake);
            line.serve(net, &accepted.message);
            line.answer_challenge(net, &challenge, &own);
            let pong = line.answer(net);
            line.check_pong(net, &own, &pong);
        }
        let end = net.elapsed() + std::time::Duration::from_secs(60);
        while net.told(|event| matches!(event, Event::Pong { request, .. } if *request == begun)) == 0 {
            line.serve_arrived(net);
            assert!(net.elapsed() < end, "the PING of the node was not answered: {:#?}", net.events());
            net.pass();
        }
        line.ping(net);
    }
}
