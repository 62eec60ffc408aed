//! What the channel does with a peer that keeps to the specifications, in unusual ways.

use super::*;
use crate::{
    channel::yamux::{ACK, FIN, RST, SYN},
    handshake::tests::{Party, talk},
    limits::{MAX_INBOUND_PINGS, MAX_OWED_PONGS, MAX_PROPOSALS, PING_INTERVAL, PING_TIMEOUT, YAMUX_WINDOW},
};

fn refused(stream: u32, reason: Refusal) -> ChannelEvent {
    ChannelEvent::StreamRefused { stream, reason }
}

/// Opens a ping stream and swallows the answer.
fn open_ping(raw: &mut Raw, id: u32) {
    raw.say(&data(SYN, id, HELLO_PING)).unwrap();
    let frames = raw.hear_frames();
    assert_eq!(frames, [(Header::new(Kind::Data, ACK, id, 38), HELLO_PING.to_vec())]);
}

/// Rule N3: data that comes along with the last handshake message is not read before admission.
#[test]
fn no_byte_is_read_before_admission() {
    let (mut a, mut b) = (Party::initiator(1, QUIET), Party::responder(2, QUIET));
    let mut early_data = Vec::new();
    talk(&mut a, &mut b, |_, _, _| ()).unwrap();
    let mut dialler = channel(a.finish().unwrap(), silent());
    let mut buf = [0; 1024];
    let n = dialler.poll_write(&RustCrypto, Instant::ZERO, &mut buf);
    assert!(n > 0, "the dialler speaks first");
    early_data.extend_from_slice(&buf[..n]);
    let before = early_data.clone();
    assert_eq!(b.hear(&mut early_data), Ok(0), "the handshake leaves it alone");
    assert_eq!(early_data, before);
    let finished = b.finish().unwrap();
    // A refusal consumes the keys: nobody can read it any more. An admission reads it.
    let mut listener = channel(finished, silent());
    assert_eq!(listener.handle_bytes(&RustCrypto, Instant::ZERO, &mut early_data), Ok(n));
    assert!(listener.is_ready());
}

#[test]
fn pings_are_echoed_until_the_peer_ends_the_stream() {
    let mut raw = Raw::dialling(silent());
    open_ping(&mut raw, 1);
    for round in 0..3u8 {
        raw.say(&data(0, 1, &[round; 32])).unwrap();
        assert_eq!(raw.hear_frames(), [(Header::new(Kind::Data, 0, 1, 32), vec![round; 32])]);
    }
    // The last ping and the end in one: it is answered, then the stream ends.
    raw.say(&data(FIN, 1, &[9; 32])).unwrap();
    let frames = raw.hear_frames();
    assert_eq!(frames[0], (Header::new(Kind::Data, 0, 1, 32), vec![9; 32]));
    assert_eq!(frames[1], (Header::new(Kind::Data, FIN, 1, 0), vec![]));
    assert_eq!(raw.channel.open_streams(), 0);
    assert_eq!(events(&mut raw.channel), []);
}

#[test]
fn a_stream_opened_by_a_window_update_and_cut_into_bytes() {
    let mut raw = Raw::dialling(silent());
    let mut all = frame(Kind::WindowUpdate, SYN, 1, 1 << 20);
    HELLO_PING.iter().for_each(|byte| all.extend(data(0, 1, &[*byte])));
    all.extend(data(0, 1, &[5; 32]));
    // One Noise frame a byte: headers are cut everywhere.
    let mut heard = Vec::new();
    for byte in all {
        raw.say(&[byte]).unwrap();
        heard.extend(raw.hear_frames());
    }
    let bytes: Vec<u8> = heard.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(bytes, [HELLO_PING, &[5; 32]].concat());
    assert_eq!(heard[0].0, Header::new(Kind::WindowUpdate, ACK, 1, 0), "accepted at once");
    assert!(heard[1..].iter().all(|(header, _)| header.flags == 0), "and only once");
}

#[test]
fn an_unknown_protocol_is_refused_and_a_flood_of_them_ends_the_stream() {
    let mut raw = Raw::dialling(silent());
    raw.say(&data(SYN, 1, b"\x13/multistream/1.0.0\n\x12/charon/xyz/1.0.0\n\x03ls\n")).unwrap();
    let frames = raw.hear_frames();
    assert_eq!(frames[0].1, b"\x13/multistream/1.0.0\n\x03na\n\x03na\n");
    // Ping after that is still welcome on the same stream: refusals are answers, not ends.
    for _ in 2..MAX_PROPOSALS {
        raw.say(&data(0, 1, b"\x03/a\n")).unwrap();
        assert_eq!(raw.hear_frames()[0].1, b"\x03na\n");
    }
    assert_eq!(events(&mut raw.channel), []);
    raw.say(&data(0, 1, b"\x03/a\n")).unwrap();
    let reason = Refusal::Negotiation(SelectError::TooManyProposals);
    assert_eq!(events(&mut raw.channel), [refused(1, reason)]);
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::WindowUpdate, RST, 1, 0), vec![])]);
    assert_eq!(raw.channel.open_streams(), 0);
    // What the peer had sent before it heard of the reset is thrown away.
    raw.say(&data(0, 1, b"\x03/a\n")).unwrap();
    assert_eq!(raw.hear(), []);
    assert!(raw.channel.is_ready());
}

#[test]
fn negotiations_that_go_nowhere_end() {
    let mut raw = Raw::dialling(silent());
    // Not multistream at all; ended before a proposal; reset before one; silent.
    raw.say(&data(SYN, 1, b"\x05http\n")).unwrap();
    raw.say(&data(SYN | FIN, 3, b"")).unwrap();
    raw.say(&data(SYN, 5, b"")).unwrap();
    raw.say(&frame(Kind::WindowUpdate, RST, 5, 0)).unwrap();
    raw.say(&data(SYN, 7, b"")).unwrap();
    let line = crate::wire::multistream::LineError::NotMultistream;
    assert_eq!(
        events(&mut raw.channel),
        [
            refused(1, Refusal::Negotiation(SelectError::Line(line))),
            refused(3, Refusal::Abandoned),
            refused(5, Refusal::Abandoned)
        ]
    );
    raw.hear();
    assert_eq!(raw.channel.open_streams(), 1);
    let due = raw.channel.next_timeout().unwrap();
    raw.channel.handle_timeout(due);
    assert_eq!(events(&mut raw.channel), [refused(7, Refusal::Timeout)]);
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::WindowUpdate, RST, 7, 0), vec![])]);
    assert_eq!(raw.channel.next_timeout(), None);
}

#[test]
fn streams_and_ping_streams_are_limited() {
    let mut raw = Raw::dialling(ChannelConfig { streams: 4, ..silent() });
    for id in [1, 3] {
        open_ping(&mut raw, id);
    }
    assert_eq!(MAX_INBOUND_PINGS, 2);
    raw.say(&data(SYN, 5, HELLO_PING)).unwrap();
    assert_eq!(events(&mut raw.channel), [refused(5, Refusal::TooManyPings)]);
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::WindowUpdate, RST, 5, 0), vec![])]);
    // Four slots: two pings, one more, and the last is kept for our own ping.
    raw.say(&data(SYN, 7, b"")).unwrap();
    raw.say(&data(SYN, 9, b"lost")).unwrap();
    assert_eq!(events(&mut raw.channel), [refused(9, Refusal::TooManyStreams)]);
    let frames = raw.hear_frames();
    assert!(frames.contains(&(Header::new(Kind::WindowUpdate, RST, 9, 0), vec![])));
    assert!(raw.channel.ping(raw.now));
    let frames = raw.hear_frames();
    assert_eq!(frames, [(Header::new(Kind::Data, SYN, 2, 38), HELLO_PING.to_vec())]);
}

/// yamux pings are answered, and a flood of them waits: the frame stays in hand, unchanged, until
/// answers were written.
#[test]
fn a_flood_of_yamux_pings_is_held_back() {
    let mut raw = Raw::dialling(silent());
    let count = 3 * MAX_OWED_PONGS as u32;
    let flood: Vec<u8> = (0..count).flat_map(|i| frame(Kind::Ping, SYN, 0, i)).collect();
    raw.say(&flood).unwrap();
    assert!(raw.channel.has_frame_in_hand());
    assert!(!raw.pending.is_empty());
    let mut answers = Vec::new();
    let mut rounds = 0;
    while raw.channel.has_frame_in_hand() {
        answers.extend(raw.hear_frames());
        raw.offer().unwrap();
        rounds += 1;
    }
    answers.extend(raw.hear_frames());
    assert_eq!(rounds, 2);
    assert_eq!(raw.pending, []);
    let expected: Vec<_> = (0..count).map(|i| (Header::new(Kind::Ping, ACK, 0, i), vec![])).collect();
    assert_eq!(answers, expected);
    // An answer to a ping that we never sent means nothing.
    raw.say(&frame(Kind::Ping, ACK, 0, 7)).unwrap();
    assert_eq!(raw.hear(), []);
}

#[test]
fn the_frame_in_hand_must_be_offered_again() {
    let mut raw = Raw::dialling(silent());
    let flood: Vec<u8> = (0..20).flat_map(|i| frame(Kind::Ping, SYN, 0, i)).collect();
    raw.say(&flood).unwrap();
    raw.hear();
    let result = raw.channel.handle_bytes(&RustCrypto, raw.now, &mut []);
    assert_eq!(result, Err(ChannelError::BufferChanged));
}

/// The peer pings without ever giving window back: its answers end with the window, and one ping
/// more ends the stream. The channel goes on.
#[test]
fn a_ping_stream_whose_window_is_used_up() {
    let mut raw = Raw::dialling(silent());
    open_ping(&mut raw, 1);
    let mut room = YAMUX_WINDOW as usize - HELLO_PING.len();
    let mut given_back = 0;
    let mut ping = 0u8;
    while room > 0 {
        ping = ping.wrapping_add(1);
        raw.say(&data(0, 1, &[ping; 32])).unwrap();
        for (header, bytes) in raw.hear_frames() {
            match header.kind {
                Kind::Data => {
                    assert_eq!(bytes, vec![ping; room.min(32)], "the last answer is cut by the window");
                    room -= bytes.len();
                }
                _ => given_back += header.length,
            }
        }
    }
    assert!(given_back >= YAMUX_WINDOW / 2);
    raw.say(&data(0, 1, &[1; 32])).unwrap();
    assert_eq!(events(&mut raw.channel), [refused(1, Refusal::PingFlood)]);
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::WindowUpdate, RST, 1, 0), vec![])]);
    open_ping(&mut raw, 3);
}

/// With a little window given back the cut answer is completed.
#[test]
fn a_window_update_lets_an_answer_go_on() {
    let mut raw = Raw::dialling(silent());
    open_ping(&mut raw, 1);
    let pings = (YAMUX_WINDOW as usize - HELLO_PING.len()) / 32;
    let left = (YAMUX_WINDOW as usize - HELLO_PING.len()) % 32;
    for _ in 0..=pings {
        raw.say(&data(0, 1, &[3; 32])).unwrap();
        raw.hear();
    }
    raw.say(&frame(Kind::WindowUpdate, 0, 1, 100)).unwrap();
    let n = 32 - left as u32;
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::Data, 0, 1, n), vec![3; n as usize])]);
}

#[test]
fn our_ping_is_answered_by_the_book() {
    let mut raw = Raw::dialled(silent());
    assert!(raw.channel.ping(raw.now));
    assert!(!raw.channel.ping(raw.now), "one at a time");
    let frames = raw.hear_frames();
    assert_eq!(frames, [(Header::new(Kind::Data, SYN, 1, 38), HELLO_PING.to_vec())]);
    raw.say(&data(ACK, 1, HELLO_PING)).unwrap();
    let frames = raw.hear_frames();
    assert_eq!(frames[0].0, Header::new(Kind::Data, 0, 1, 32));
    raw.now = Instant::from_nanos(3 * MS);
    raw.say(&data(0, 1, &frames[0].1)).unwrap();
    assert_eq!(events(&mut raw.channel), [ChannelEvent::Pong { rtt: Duration::from_millis(3) }]);
    // Idle, the peer may end the stream; the next ping opens another.
    raw.say(&data(FIN, 1, b"")).unwrap();
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::WindowUpdate, RST, 1, 0), vec![])]);
    assert!(raw.channel.ping(raw.now));
    assert_eq!(raw.hear_frames()[0].0, Header::new(Kind::Data, SYN, 3, 38));
}

#[test]
fn a_peer_without_ping_is_not_pinged_again() {
    let mut raw = Raw::dialled(ChannelConfig::default());
    raw.hear();
    raw.say(&data(ACK, 1, b"\x13/multistream/1.0.0\n\x03na\n")).unwrap();
    assert_eq!(events(&mut raw.channel), [ChannelEvent::PingUnsupported]);
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::WindowUpdate, RST, 1, 0), vec![])]);
    assert!(!raw.channel.ping(raw.now));
    // But by yamux: answered ones go on, and the first that is not ends the channel.
    for value in 0..3 {
        raw.now = raw.now + PING_INTERVAL;
        assert_eq!(raw.channel.next_timeout(), Some(raw.now));
        raw.channel.handle_timeout(raw.now);
        assert_eq!(raw.hear_frames(), [(Header::new(Kind::Ping, SYN, 0, value), vec![])]);
        assert_eq!(raw.channel.next_timeout(), Some(raw.now + PING_TIMEOUT));
        raw.say(&frame(Kind::Ping, ACK, 0, value + 1)).unwrap();
        assert_eq!(raw.channel.next_timeout(), Some(raw.now + PING_TIMEOUT), "an answer to something else");
        raw.say(&frame(Kind::Ping, ACK, 0, value)).unwrap();
    }
    raw.now = raw.now + PING_INTERVAL;
    raw.channel.handle_timeout(raw.now);
    raw.hear();
    raw.channel.handle_timeout(raw.now + PING_TIMEOUT);
    let closed = ChannelEvent::Closed { by: Side::Local, reason: CloseReason::PingTimeout };
    assert_eq!(events(&mut raw.channel), [closed]);
}

#[test]
fn an_unanswered_ping_ends_the_channel() {
    let mut raw = Raw::dialled(ChannelConfig::default());
    raw.hear();
    raw.say(&data(ACK, 1, HELLO_PING)).unwrap();
    raw.hear();
    let due = raw.channel.next_timeout().unwrap();
    assert_eq!(due, Instant::ZERO + PING_TIMEOUT);
    raw.channel.handle_timeout(due);
    let closed = ChannelEvent::Closed { by: Side::Local, reason: CloseReason::PingTimeout };
    assert_eq!(events(&mut raw.channel), [closed]);
    assert_eq!(events(&mut raw.channel), [], "once");
}

#[test]
fn ping_streams_that_keep_ending_end_the_channel() {
    let mut raw = Raw::dialled(ChannelConfig::default());
    for round in 0..3u32 {
        let frames = raw.hear_frames();
        assert_eq!(frames.last().unwrap().0.stream, 1 + 2 * round);
        assert!(raw.channel.is_ready());
        raw.say(&frame(Kind::WindowUpdate, RST, 1 + 2 * round, 0)).unwrap();
    }
    let closed = ChannelEvent::Closed { by: Side::Local, reason: CloseReason::PingTimeout };
    assert_eq!(events(&mut raw.channel), [closed]);
}

#[test]
fn go_away_is_honoured() {
    let mut raw = Raw::dialled(silent());
    // A stream of the peer's is open: it may finish. New ones and ours are over.
    open_ping(&mut raw, 2);
    raw.say(&frame(Kind::GoAway, 0, 0, 0)).unwrap();
    assert!(!raw.channel.ping(raw.now));
    raw.say(&data(SYN, 4, HELLO_PING)).unwrap();
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::WindowUpdate, RST, 4, 0), vec![])]);
    raw.say(&data(0, 2, &[8; 32])).unwrap();
    assert_eq!(raw.hear_frames()[0].1, [8; 32]);
    assert_eq!(events(&mut raw.channel), [refused(4, Refusal::TooManyStreams)]);
    raw.say(&data(FIN, 2, b"")).unwrap();
    raw.hear();
    let closed = ChannelEvent::Closed { by: Side::Peer, reason: CloseReason::WentAway(0) };
    assert_eq!(events(&mut raw.channel), [closed]);

    // An answer that comes after it is no violation.
    let mut raw = Raw::dialled(silent());
    assert!(raw.channel.ping(raw.now));
    raw.hear();
    raw.say(&data(ACK, 1, HELLO_PING)).unwrap();
    let ping = raw.hear_frames().remove(0).1;
    raw.say(&frame(Kind::GoAway, 0, 0, 0)).unwrap();
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::Data, FIN, 1, 0), vec![])]);
    raw.say(&data(FIN, 1, &ping)).unwrap();
    let closed = ChannelEvent::Closed { by: Side::Peer, reason: CloseReason::WentAway(0) };
    assert_eq!(events(&mut raw.channel), [closed]);

    let mut raw = Raw::dialled(silent());
    raw.say(&frame(Kind::GoAway, 0, 0, 2)).unwrap();
    let closed = ChannelEvent::Closed { by: Side::Peer, reason: CloseReason::WentAway(2) };
    assert_eq!(events(&mut raw.channel), [closed]);
}

#[test]
fn close_sends_a_go_away_or_gives_up() {
    let mut raw = Raw::dialled(silent());
    raw.channel.close(raw.now);
    // What arrives meanwhile is thrown away.
    raw.say(&data(SYN, 2, HELLO_PING)).unwrap();
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::GoAway, 0, 0, 0), vec![])]);
    assert!(raw.channel.is_closed());

    let mut raw = Raw::dialled(silent());
    raw.channel.close(raw.now);
    let due = raw.channel.next_timeout().unwrap();
    raw.channel.handle_timeout(due);
    let closed = ChannelEvent::Closed { by: Side::Local, reason: CloseReason::Requested };
    assert_eq!(events(&mut raw.channel), [closed]);
}

#[test]
fn the_muxer_is_negotiated_inside() {
    let (a, b) = finished_pair(QUIET, QUIET);
    let mut raw = Raw::new(a, b, silent());
    // Another muxer first, and yamux frames right behind the proposal.
    let mut all = b"\x13/multistream/1.0.0\n\x0d/mplex/6.7.0\n\x0d/yamux/1.0.0\n".to_vec();
    all.extend(frame(Kind::Ping, SYN, 0, 77));
    raw.say(&all).unwrap();
    assert_eq!(events(&mut raw.channel), [ChannelEvent::Ready { early: false }]);
    let mut expected = b"\x13/multistream/1.0.0\n\x03na\n\x0d/yamux/1.0.0\n".to_vec();
    expected.extend(frame(Kind::Ping, ACK, 0, 77));
    assert_eq!(raw.hear(), expected);

    let (a, b) = finished_pair(QUIET, QUIET);
    let mut raw = Raw::new(b, a, silent());
    assert_eq!(raw.hear(), b"\x13/multistream/1.0.0\n\x0d/yamux/1.0.0\n");
    let error = ChannelError::Muxer(SelectError::NotAvailable);
    assert_eq!(raw.say(b"\x13/multistream/1.0.0\n\x03na\n"), Err(error));
    let closed = ChannelEvent::Closed { by: Side::Local, reason: CloseReason::Violation(error) };
    assert_eq!(events(&mut raw.channel), [closed]);

    let (a, b) = finished_pair(QUIET, QUIET);
    let mut raw = Raw::new(a, b, silent());
    let due = raw.channel.next_timeout().unwrap();
    raw.channel.handle_timeout(due);
    let closed = ChannelEvent::Closed { by: Side::Local, reason: CloseReason::NegotiationTimeout };
    assert_eq!(events(&mut raw.channel), [closed]);
}
