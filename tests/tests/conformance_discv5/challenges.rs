//! WHOAREYOU, and which endpoint a session belongs to (discv5 theory, "Handshake Steps").

use coracle_tests::raw_peer::{Message, WHOAREYOU};

use crate::{
    bench::Network,
    line::{Got, Line},
};

by_any_node![
    a_challenge_names_the_packet_and_no_record,
    a_repeat_gets_the_identical_challenge,
    a_session_is_of_no_use_at_a_second_address,
    a_session_outlives_one_at_a_second_address,
    a_challenge_that_nobody_asked_for_is_ignored,
    a_lost_session_is_challenged_and_renewed,
    old_keys_are_still_read_after_a_key_change,
    undecryptable_packets_do_not_end_a_session,
];

fn a_challenge_names_the_packet_and_no_record(net: &mut impl Network) {
    let (mut first, mut second) = (Line::new(net, 1), Line::new(net, 2));
    let (a, b) = (first.ask_for_challenge(net), second.ask_for_challenge(net));
    for challenge in [&a, &b] {
        assert_eq!(challenge.authdata[16..], [0; 8], "enr-seq of a stranger");
    }
    assert_ne!(a.authdata[..16], b.authdata[..16], "id-nonce");
    assert_ne!(a.iv, b.iv, "masking IV");
}

/// The same packet again, and another one while the challenge is open: byte for byte the same WHOAREYOU.
fn a_repeat_gets_the_identical_challenge(net: &mut impl Network) {
    let mut line = Line::new(net, 1);
    let packet = line.peer.random_packet();
    let mut raw = Vec::new();
    for _ in 0..3 {
        line.send(net, &packet);
        raw.push(net.recv(line.at).expect("a challenge"));
    }
    line.peer.draw::<1>();
    let other = line.peer.random_packet();
    line.send(net, &other);
    raw.push(net.recv(line.at).expect("a challenge"));
    assert!(raw.windows(2).all(|pair| pair[0] == pair[1]), "{raw:?}");
    // It is a challenge that can be answered.
    line.send(net, &packet);
    let challenge = line.challenged(net);
    assert_eq!(challenge.nonce, packet.nonce);
    let ping = line.new_ping();
    line.answer_challenge(net, &challenge, &ping);
    let pong = line.answer(net);
    line.check_pong(net, &ping, &pong);
}

/// Keys agreed on at one endpoint get a challenge at another. The keys of the second then get one at the first.
fn a_session_is_of_no_use_at_a_second_address(net: &mut impl Network) {
    let mut first = Line::established(net, 1);
    let mut second = Line::new(net, 2);
    second.peer = first.peer.clone();
    second.session = first.session;
    second.peer.draw::<1>();
    let ping = second.new_ping();
    let packet = second.say(net, &ping);
    let challenge = second.challenged(net);
    assert_eq!(challenge.nonce, packet.nonce);
    second.answer_challenge(net, &challenge, &ping);
    let pong = second.answer(net);
    second.check_pong(net, &ping, &pong);

    first.session = second.session;
    first.peer = second.peer.clone();
    first.peer.draw::<1>();
    let ping = first.new_ping();
    let packet = first.say(net, &ping);
    let Got::Challenge(challenge) = first.got(net) else { panic!("an answer to keys of another endpoint") };
    assert_eq!((challenge.flag, challenge.nonce), (WHOAREYOU, packet.nonce));
    first.answer_challenge(net, &challenge, &ping);
    let pong = first.answer(net);
    first.check_pong(net, &ping, &pong);
}

/// The first session goes on with its own keys while the peer has another elsewhere.
fn a_session_outlives_one_at_a_second_address(net: &mut impl Network) {
    let mut first = Line::established(net, 1);
    let mut second = Line::new(net, 2);
    second.peer = first.peer.clone();
    second.peer.draw::<1>();
    second.ping(net);
    let ping = first.new_ping();
    first.say(net, &ping);
    let pong = first.answer(net);
    first.check_pong(net, &ping, &pong);
}

fn a_challenge_that_nobody_asked_for_is_ignored(net: &mut impl Network) {
    let (mut line, mut control) = (Line::established(net, 1), Line::established(net, 2));
    for enr_seq in [0, 1, u64::MAX] {
        let nonce = line.peer.draw();
        let challenge = line.peer.challenge(nonce, enr_seq);
        line.send(net, &challenge);
    }
    // Nor one for an answer: only requests are challenged.
    let ping = line.new_ping();
    line.say(net, &ping);
    let pong = line.packet(net);
    let challenge = line.peer.challenge(pong.nonce, 0);
    line.send(net, &challenge);
    control.silence(net, line.at);
    // The session is none the worse for it.
    let ping = line.new_ping();
    line.say(net, &ping);
    let pong = line.answer(net);
    line.check_pong(net, &ping, &pong);
}

/// A peer that forgot the session begins anew from the same endpoint.
fn a_lost_session_is_challenged_and_renewed(net: &mut impl Network) {
    let mut line = Line::established(net, 1);
    for _ in 0..3 {
        line.forget();
        line.ping(net);
        line.ping(net);
    }
}

fn old_keys_are_still_read_after_a_key_change(net: &mut impl Network) {
    let mut line = Line::established(net, 1);
    let old = line.session.take().unwrap();
    line.ping(net);
    // A message under the old keys that was under way is answered, under whichever keys.
    let ping = line.new_ping();
    let packet = line.peer.sealed(&old, &ping.encode());
    line.send(net, &packet);
    let answer = line.packet(net);
    let text = answer.open(&line.session.unwrap().receive).or_else(|| answer.open(&old.receive));
    let pong = Message::decode(&text.expect("an answer in the session")).expect("a message");
    line.check_pong(net, &ping, &pong);
}

/// Junk in the name of a peer gets challenges, and the session stays.
fn undecryptable_packets_do_not_end_a_session(net: &mut impl Network) {
    let mut line = Line::established(net, 1);
    let session = line.session;
    for _ in 0..10 {
        let junk = line.peer.random_packet();
        line.send(net, &junk);
        // They may run into a limit, so what comes does not matter; the PONG does.
        while net.try_recv(line.at).is_some() {}
    }
    let ping = line.new_ping();
    line.say(net, &ping);
    let pong = loop {
        match line.got(net) {
            Got::Challenge(_) => {}
            Got::Message(pong) => break pong,
        }
    };
    line.check_pong(net, &ping, &pong);
    assert_eq!(line.session, session);
}
