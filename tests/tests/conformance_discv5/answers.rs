//! Requests and what they are answered with (discv5 wire, "Protocol Messages").

use coracle_tests::raw_peer::{Message, ORDINARY, Packet, Rlp, bytes_of};

use crate::{bench::Network, line::Line};

by_any_node![
    pong_names_the_source,
    request_ids_up_to_eight_bytes,
    longer_request_ids_are_not_answered,
    an_unknown_talk_protocol_gets_an_empty_answer,
    distance_zero_is_the_own_record,
    distances_that_nobody_has,
    a_request_in_a_handshake_is_answered,
    unknown_and_malformed_messages_are_not_answered,
    nonces_and_masks_do_not_repeat,
];

/// PONG repeats the request id and names the very address and port that the PING came from.
fn pong_names_the_source(net: &mut impl Network) {
    for number in 1..=3 {
        Line::new(net, number).ping(net);
    }
    // Two endpoints of one peer.
    Line::new(net, 1).ping(net);
}

fn request_ids_up_to_eight_bytes(net: &mut impl Network) {
    let mut line = Line::established(net, 1);
    for id in [&[][..], &[0], &[0x7f], &[0x80], &[0, 0, 0, 0], b"seven b", &[0xff; 8]] {
        let ping = Message::Ping { id: id.to_vec(), enr_seq: 1 };
        let pong = line.ask(net, &ping);
        line.check_pong(net, &ping, &pong);
    }
}

fn longer_request_ids_are_not_answered(net: &mut impl Network) {
    let (mut line, mut control) = (Line::established(net, 1), Line::established(net, 2));
    for len in [9, 32, 300] {
        let id = vec![7; len];
        line.say(net, &Message::Ping { id: id.clone(), enr_seq: 1 });
        line.say(net, &Message::FindNode { id: id.clone(), distances: vec![0] });
        line.say(net, &Message::TalkReq { id, protocol: b"test".to_vec(), request: Vec::new() });
        control.silence(net, line.at);
    }
    // Nor in the handshake that would open a session.
    let mut line = Line::new(net, 3);
    let challenge = line.ask_for_challenge(net);
    line.answer_challenge(net, &challenge, &Message::Ping { id: vec![7; 9], enr_seq: 1 });
    control.silence(net, line.at);
}

fn an_unknown_talk_protocol_gets_an_empty_answer(net: &mut impl Network) {
    let mut line = Line::new(net, 1);
    // The first of them inside the handshake.
    for (id, protocol, request) in
        [(&[1, 2, 3][..], "test-protocol", &b""[..]), (&[], "test-protocol", b""), (&[4], "", b"content")]
    {
        let request =
            Message::TalkReq { id: id.to_vec(), protocol: protocol.into(), request: request.to_vec() };
        let answer = line.ask(net, &request);
        assert_eq!(answer, Message::TalkResp { id: id.to_vec(), response: Vec::new() });
    }
}

fn distance_zero_is_the_own_record(net: &mut impl Network) {
    let mut line = Line::new(net, 1);
    let own = bytes_of(&net.record());
    // Asked for several times it comes once.
    for distances in [&[0][..], &[0], &[0, 0, 0]] {
        assert_eq!(line.find_node(net, distances), std::slice::from_ref(&own), "{distances:?}");
    }
}

/// Distances without nodes, distances that cannot be, and none at all get an answer without records.
fn distances_that_nobody_has(net: &mut impl Network) {
    let mut line = Line::new(net, 1);
    for distances in [&[1][..], &[3, 200], &[257], &[256, 257, 70_000, u64::MAX], &[]] {
        assert_eq!(line.find_node(net, distances), Vec::<Vec<u8>>::new(), "{distances:?}");
    }
}

fn a_request_in_a_handshake_is_answered(net: &mut impl Network) {
    let own = bytes_of(&net.record());
    let mut line = Line::new(net, 1);
    let id = line.next_id();
    let answer = line.ask(net, &Message::FindNode { id: id.clone(), distances: vec![0] });
    assert_eq!(answer, Message::Nodes { id, total: 1, records: vec![own] });
    // And the session serves further requests.
    line.ping(net);
}

fn unknown_and_malformed_messages_are_not_answered(net: &mut impl Network) {
    let (mut line, mut control) = (Line::established(net, 1), Line::established(net, 2));
    let list = |items: Vec<Rlp>| Rlp::List(items).encode();
    let id = || Rlp::bytes(&[1]);
    let with = |kind: u8, rest: &[u8]| [&[kind][..], rest].concat();
    let ping = Message::Ping { id: vec![1], enr_seq: 1 }.encode();
    let find = Message::FindNode { id: vec![1], distances: vec![0] }.encode();
    let mut texts = vec![Vec::new(), vec![1], vec![1, 0xc0], with(1, b"\x01"), with(3, &list(vec![id()]))];
    // Types that are not spoken, in the form of others.
    texts.extend([0, 7, 8, 9, 10, 11, 0x80, 0xff].map(|kind| with(kind, &ping[1..])));
    texts.push([&ping[..], &[0]].concat());
    texts.push(ping[..ping.len() - 1].to_vec());
    texts.push([&find[..], &[0x80]].concat());
    // A field too many or too few, numbers with leading zeros, lists for strings, strings for lists.
    texts.push(with(1, &list(vec![id(), Rlp::number(1), Rlp::number(1)])));
    texts.push(with(1, &list(vec![id(), Rlp::bytes(&[0, 1])])));
    texts.push(with(1, &list(vec![id(), Rlp::bytes(&[1; 9])])));
    texts.push(with(1, &list(vec![Rlp::List(vec![]), Rlp::number(1)])));
    texts.push(with(3, &list(vec![id(), Rlp::number(0)])));
    texts.push(with(3, &list(vec![id(), Rlp::List(vec![Rlp::List(vec![])])])));
    texts.push(with(5, &list(vec![id(), Rlp::List(vec![]), Rlp::bytes(b"")])));
    // Not the shortest form of a length, and a length that is not there.
    texts.push(with(1, b"\xf8\x02\x01\x01"));
    texts.push(with(1, b"\xc3\x81\x01\x01"));
    texts.push(with(1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
    for text in texts {
        line.say_bytes(net, &text);
        control.silence(net, line.at);
    }
    line.ping(net);
}

/// Each packet of the node has a nonce and a masking IV of its own.
fn nonces_and_masks_do_not_repeat(net: &mut impl Network) {
    let mut line = Line::established(net, 1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let ping = line.new_ping();
        line.say(net, &ping);
        let packet = line.packet(net);
        assert!(packet.open(&line.session.unwrap().receive).is_some(), "{packet:?}");
        assert!(seen.insert(packet.nonce.to_vec()) && seen.insert(packet.iv.to_vec()), "{packet:?}");
    }
    // Not even when the same datagram comes again, whether it is answered once or twice.
    let ping = line.new_ping();
    let packet = line.say(net, &ping);
    line.send(net, &packet);
    Line::established(net, 2);
    let mut answers = 0;
    while let Some(bytes) = net.try_recv(line.at) {
        let packet = Packet::decode(&line.peer.id(), &bytes).expect("a packet for this peer");
        assert_eq!(packet.flag, ORDINARY, "{packet:?}");
        assert!(seen.insert(packet.nonce.to_vec()) && seen.insert(packet.iv.to_vec()), "{packet:?}");
        answers += 1;
    }
    assert!((1..=2).contains(&answers), "{answers} answers");
}
