//! Handshakes that must be refused, each next to an honest one that succeeds (discv5 theory, step 4).

use coracle_tests::raw_peer::{Handshake, Packet, RawPeer, bytes_of, id_digest, record, sign};

use crate::{bench::Network, line::Line};

by_any_node![
    forged_signatures_are_refused,
    forged_records_are_refused,
    forged_keys_and_messages_are_refused,
    malformed_authdata_is_refused,
    a_handshake_without_a_challenge_is_refused,
    a_handshake_is_not_taken_twice,
    a_challenge_belongs_to_its_endpoint_and_node,
    a_refused_handshake_ends_no_session,
];

/// Spoils a handshake, given the challenge that it answers.
type Spoil = fn(&mut Handshake, &Packet, &RawPeer, &[u8; 32]);

/// Each spoiled handshake is followed by the honest one for the same challenge.
fn refuses(net: &mut impl Network, cases: &[(&str, Spoil)]) {
    let mut control = Line::established(net, 200);
    let dest = net.record().node_id().raw();
    for ((what, spoil), number) in cases.iter().zip(1..) {
        println!("{what}");
        let mut line = Line::new(net, number);
        let challenge = line.ask_for_challenge(net);
        let mut handshake = line.peer.handshake(&net.record(), &challenge);
        spoil(&mut handshake, &challenge, &line.peer, &dest);
        let ping = line.new_ping();
        let packet = line.peer.handshake_packet(&handshake, &ping.encode());
        line.send(net, &packet);
        control.silence(net, line.at);
        honest(net, &mut line, &challenge);
    }
}

/// The handshake as it should be.
fn honest(net: &mut impl Network, line: &mut Line, challenge: &Packet) {
    let ping = line.new_ping();
    line.answer_challenge(net, challenge, &ping);
    let pong = line.answer(net);
    line.check_pong(net, &ping, &pong);
}

fn forged_signatures_are_refused(net: &mut impl Network) {
    refuses(
        net,
        &[
            ("a bit of R", |handshake, _, _, _| handshake.signature[5] ^= 1),
            ("a bit of S", |handshake, _, _, _| handshake.signature[63] ^= 0x80),
            ("zeros", |handshake, _, _, _| handshake.signature = vec![0; 64]),
            ("another's key", |handshake, challenge, _, dest| {
                let digest = id_digest(&challenge.header(), &handshake.ephemeral, dest);
                handshake.signature = sign(RawPeer::new(77).key(), &digest).to_vec();
            }),
            ("another id-nonce", |handshake, challenge, peer, dest| {
                let mut other = challenge.clone();
                other.authdata[0] ^= 1;
                let digest = id_digest(&other.header(), &handshake.ephemeral, dest);
                handshake.signature = sign(peer.key(), &digest).to_vec();
            }),
            ("another masking IV", |handshake, challenge, peer, dest| {
                let mut other = challenge.clone();
                other.iv[15] ^= 1;
                let digest = id_digest(&other.header(), &handshake.ephemeral, dest);
                handshake.signature = sign(peer.key(), &digest).to_vec();
            }),
            ("another ephemeral key", |handshake, challenge, peer, dest| {
                let digest = id_digest(&challenge.header(), &[2; 33], dest);
                handshake.signature = sign(peer.key(), &digest).to_vec();
            }),
            ("another recipient", |handshake, challenge, peer, _| {
                let digest = id_digest(&challenge.header(), &handshake.ephemeral, &peer.id());
                handshake.signature = sign(peer.key(), &digest).to_vec();
            }),
        ],
    );
}

fn forged_records_are_refused(net: &mut impl Network) {
    refuses(
        net,
        &[
            ("none, though it was asked for", |handshake, _, _, _| handshake.record.clear()),
            ("another's", |handshake, _, _, _| handshake.record = bytes_of(RawPeer::new(77).record())),
            ("another's, and signed by it", |handshake, challenge, _, dest| {
                let other = RawPeer::new(77);
                handshake.record = bytes_of(other.record());
                let digest = id_digest(&challenge.header(), &handshake.ephemeral, dest);
                handshake.signature = sign(other.key(), &digest).to_vec();
            }),
            ("with a changed number", |handshake, _, _, _| {
                // Behind list header, string header and signature.
                assert_eq!(std::mem::replace(&mut handshake.record[2 + 2 + 64], 2), 1);
            }),
            ("with a broken signature", |handshake, _, _, _| handshake.record[20] ^= 1),
            ("cut short", |handshake, _, _, _| handshake.record.truncate(100)),
            ("with a byte too many", |handshake, _, _, _| handshake.record.push(0)),
            ("too large", |handshake, _, peer, _| {
                let mut large = record(peer.key(), 1, None);
                large.insert("large", &[7_u8; 170].as_slice(), peer.key()).unwrap();
                handshake.record = bytes_of(&large);
                // What `enr` still makes is within the limit; one more byte of content is not.
                handshake.record.resize(301, 0);
            }),
        ],
    );
}

fn forged_keys_and_messages_are_refused(net: &mut impl Network) {
    refuses(
        net,
        &[
            ("no point of the curve", |handshake, _, _, _| handshake.ephemeral = vec![5; 33]),
            ("x too large", |handshake, _, _, _| handshake.ephemeral[1..].fill(0xff)),
            ("the point is signed, and none", |handshake, challenge, peer, dest| {
                handshake.ephemeral = [&[2][..], &[0xff; 32]].concat();
                let digest = id_digest(&challenge.header(), &handshake.ephemeral, dest);
                handshake.signature = sign(peer.key(), &digest).to_vec();
            }),
            ("a message under other keys", |handshake, _, _, _| handshake.session.send[0] ^= 1),
            ("a message under the recipient's key", |handshake, _, _, _| {
                handshake.session.send = handshake.session.receive;
            }),
        ],
    );
}

fn malformed_authdata_is_refused(net: &mut impl Network) {
    refuses(
        net,
        &[
            ("signature of 63 bytes", |handshake, _, _, _| {
                handshake.signature.pop();
                handshake.signature_size = 63;
            }),
            ("signature of 65 bytes", |handshake, _, _, _| {
                handshake.signature.push(0);
                handshake.signature_size = 65;
            }),
            ("signature that is said to have 0 bytes", |handshake, _, _, _| handshake.signature_size = 0),
            ("key of 65 bytes", |handshake, _, _, _| {
                handshake.ephemeral.extend([0; 32]);
                handshake.key_size = 65;
            }),
            ("key that is said to have 32 bytes", |handshake, _, _, _| handshake.key_size = 32),
            ("sizes beyond the end", |handshake, _, _, _| {
                (handshake.signature_size, handshake.key_size) = (255, 255);
            }),
            ("no key", |handshake, _, _, _| {
                handshake.ephemeral.clear();
                handshake.record.clear();
            }),
            ("another's src-id", |handshake, _, _, _| handshake.src = RawPeer::new(77).id()),
            ("the recipient's src-id", |handshake, _, _, dest| handshake.src = *dest),
        ],
    );
}

fn a_handshake_without_a_challenge_is_refused(net: &mut impl Network) {
    let (mut line, mut control) = (Line::new(net, 1), Line::established(net, 2));
    let nonce = line.peer.draw();
    let invented = line.peer.challenge(nonce, 0);
    let ping = line.new_ping();
    line.answer_challenge(net, &invented, &ping);
    control.silence(net, line.at);
    line.forget();
    line.ping(net);
}

/// The same handshake packet again opens nothing: its challenge is used up.
fn a_handshake_is_not_taken_twice(net: &mut impl Network) {
    let (mut line, mut control) = (Line::new(net, 1), Line::established(net, 2));
    let challenge = line.ask_for_challenge(net);
    let handshake = line.peer.handshake(&net.record(), &challenge);
    let ping = line.new_ping();
    let packet = line.peer.handshake_packet(&handshake, &ping.encode());
    line.session = Some(handshake.session);
    line.send(net, &packet);
    let pong = line.answer(net);
    line.check_pong(net, &ping, &pong);
    line.send(net, &packet);
    control.silence(net, line.at);
    // Nor does another handshake for the used challenge.
    let (ping, session) = (line.new_ping(), line.session);
    line.answer_challenge(net, &challenge, &ping);
    control.silence(net, line.at);
    line.session = session;
    line.ping(net);
    assert_eq!(line.session, session);
}

/// The answer to a challenge counts from where the challenge went, and from whom.
fn a_challenge_belongs_to_its_endpoint_and_node(net: &mut impl Network) {
    let (mut line, mut control) = (Line::new(net, 1), Line::established(net, 2));
    let challenge = line.ask_for_challenge(net);
    let mut elsewhere = Line::new(net, 3);
    elsewhere.peer = line.peer.clone();
    let ping = elsewhere.new_ping();
    elsewhere.answer_challenge(net, &challenge, &ping);
    control.silence(net, elsewhere.at);
    // Another node at the same endpoint.
    let mut other = Line::at(4, line.at);
    let ping = other.new_ping();
    other.answer_challenge(net, &challenge, &ping);
    control.silence(net, line.at);
    line.peer.draw::<1>();
    honest(net, &mut line, &challenge);
}

fn a_refused_handshake_ends_no_session(net: &mut impl Network) {
    let (mut line, mut control) = (Line::established(net, 1), Line::established(net, 2));
    let session = line.session;
    let challenge = line.ask_for_challenge(net);
    let mut handshake = line.peer.handshake(&net.record(), &challenge);
    handshake.signature[0] ^= 1;
    let ping = line.new_ping();
    let packet = line.peer.handshake_packet(&handshake, &ping.encode());
    line.send(net, &packet);
    control.silence(net, line.at);
    line.ping(net);
    assert_eq!(line.session, session, "no new handshake");
}
