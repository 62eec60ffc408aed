//! Streams for users: bytes, windows, ends, and what a bad peer or a slow user can do.

use super::*;
use crate::{
    channel::yamux::{ACK, FIN, RST, SYN},
    limits::{NEGOTIATION_TIMEOUT, STREAM_HOARD_TIMEOUT, YAMUX_WINDOW},
};

const HELLO_A: &[u8] = b"\x13/multistream/1.0.0\n\x05/a/1\n";

fn config() -> ChannelConfig {
    ChannelConfig { protocols: Protocols::new(["/a/1", "/b/1"]).unwrap(), ..silent() }
}

fn news(channel: &mut Channel) -> Vec<StreamNews> {
    core::iter::from_fn(|| channel.poll_stream(true, |_| true)).collect()
}

/// The raw peer opened stream 1 for `/a/1`, and both agreed.
fn accepted() -> Raw {
    let mut raw = Raw::dialling(config());
    raw.say(&data(SYN, 1, HELLO_A)).unwrap();
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::Data, ACK, 1, 26), HELLO_A.to_vec())]);
    assert_eq!(news(&mut raw.channel), [StreamNews::Accepted { stream: 1, protocol: 0 }]);
    raw
}

/// What the channel offers now, copied out of the bytes that it did not take.
fn take_all(raw: &mut Raw) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let Some(offered) = raw.channel.offered() else { return out };
        out.extend_from_slice(&raw.pending[offered.offset..offered.offset + offered.len]);
        assert!(raw.channel.take(offered.stream, offered.len));
        raw.offer().unwrap();
    }
}

fn write(raw: &mut Raw, stream: u32, payload: Payload<'_>) -> Option<(usize, Vec<u8>)> {
    let mut buf = vec![0; CHANNEL_READ_SIZE];
    let written = raw.channel.write_stream(&RustCrypto, raw.now, stream, payload, &mut buf)?;
    if written.len == 0 {
        return Some((written.taken, Vec::new()));
    }
    let len = raw.receive.open(&RustCrypto, &[], &mut buf[2..written.len]).unwrap();
    Some((written.taken, buf[2..2 + len].to_vec()))
}

#[test]
fn bytes_are_offered_where_they_lie_and_wait_to_be_taken() {
    let mut raw = accepted();
    raw.say(&[data(0, 1, b"hello "), data(FIN, 1, b"world"), frame(Kind::Ping, SYN, 0, 5)].concat()).unwrap();
    let offered = raw.channel.offered().unwrap();
    assert_eq!((offered.stream, offered.protocol, offered.len), (1, 0, 6));
    let told = StreamNews::Data { stream: 1, offset: offered.offset, len: 6 };
    assert_eq!(news(&mut raw.channel), [told], "once");
    assert!(!raw.channel.take(1, 2), "not all of it");
    raw.offer().unwrap();
    assert_eq!(news(&mut raw.channel), [], "the user has no room");
    assert!(!raw.channel.wants_bytes());
    raw.channel.release(1, 2);
    let told = StreamNews::Data { stream: 1, offset: offered.offset + 2, len: 4 };
    assert_eq!(news(&mut raw.channel), [told]);
    assert_eq!(raw.hear(), [], "the ping behind it is not seen yet");
    assert_eq!(take_all(&mut raw), b"llo world");
    assert_eq!(raw.pending, []);
    assert_eq!(news(&mut raw.channel), [StreamNews::Finished { stream: 1 }]);
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::Ping, ACK, 0, 5), vec![])]);
    // Our half is still open.
    let payload = Payload { finish: true, ..Payload::new(b"bye") };
    let (taken, text) = write(&mut raw, 1, payload).unwrap();
    assert_eq!((taken, text), (3, [data(0, 1, b"bye"), data(FIN, 1, b"")].concat()));
    assert_eq!(news(&mut raw.channel), [StreamNews::Ended { stream: 1, end: StreamEnd::Finished }]);
    assert_eq!(raw.channel.open_streams(), 0);
    assert_eq!(write(&mut raw, 1, Payload::new(b"x")), None);
}

#[test]
fn a_window_opens_only_when_bytes_are_released() {
    let mut raw = accepted();
    let half = YAMUX_WINDOW as usize / 2;
    let rest = YAMUX_WINDOW as usize - HELLO_A.len();
    for chunk in vec![7; rest].chunks(30_000) {
        raw.say(&data(0, 1, chunk)).unwrap();
        take_all(&mut raw);
    }
    assert_eq!(raw.hear_frames(), [], "taken is not released");
    raw.channel.release(1, half);
    let update = Header::new(Kind::WindowUpdate, 0, 1, (half + HELLO_A.len()) as u32);
    assert_eq!(raw.hear_frames(), [(update, vec![])]);
    raw.channel.release(1, usize::MAX);
    assert_eq!(raw.hear_frames(), [], "less than half a window is not worth an update");
    let window = (half + HELLO_A.len()) as u32;
    let error = ChannelError::Yamux(YamuxError::WindowExceeded(1));
    assert_eq!(raw.say(&frame(Kind::Data, 0, 1, window + 1)), Err(error), "never more than was taken");
}

#[test]
fn a_write_stops_at_the_window_and_goes_on() {
    let mut raw = accepted();
    let bytes = vec![9; 2 * YAMUX_WINDOW as usize];
    let mut sent = 0;
    loop {
        let (taken, text) = write(&mut raw, 1, Payload::new(&bytes[sent..])).unwrap();
        if taken == 0 {
            assert_eq!(text, []);
            break;
        }
        assert_eq!(text.len(), taken + 12);
        sent += taken;
    }
    assert_eq!(sent, YAMUX_WINDOW as usize - HELLO_A.len());
    assert_eq!(news(&mut raw.channel), []);
    raw.say(&frame(Kind::WindowUpdate, 0, 1, 10)).unwrap();
    assert_eq!(news(&mut raw.channel), [StreamNews::Writable { stream: 1 }]);
    let whole = Payload { whole: true, ..Payload::new(&[1; 11]) };
    assert_eq!(write(&mut raw, 1, whole), Some((0, vec![])), "all or nothing");
    assert_eq!(write(&mut raw, 1, Payload::new(&[1; 11])).unwrap().0, 10);
}

#[test]
fn we_open_a_stream() {
    let mut raw = Raw::dialling(config());
    assert_eq!(raw.channel.open_stream(raw.now, 1, true), Some(2));
    let hello = b"\x13/multistream/1.0.0\n\x05/b/1\n";
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::Data, SYN, 2, 26), hello.to_vec())]);
    assert_eq!(write(&mut raw, 2, Payload::new(b"early")), None, "nothing is agreed yet");
    raw.say(&data(ACK, 2, hello)).unwrap();
    let expected = [StreamNews::Opened { stream: 2, protocol: 1 }, StreamNews::Writable { stream: 2 }];
    assert_eq!(news(&mut raw.channel), expected);
    assert_eq!(write(&mut raw, 2, Payload::new(b"hi")).unwrap().1, data(0, 2, b"hi"));
    raw.channel.finish_stream(2);
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::Data, FIN, 2, 0), vec![])]);
    raw.say(&data(FIN, 2, b"answer")).unwrap();
    assert_eq!(take_all(&mut raw), b"answer");
    let ended = StreamNews::Ended { stream: 2, end: StreamEnd::Finished };
    assert_eq!(news(&mut raw.channel), [StreamNews::Finished { stream: 2 }, ended]);
}

/// Every way in which a stream that we opened can end early, with who did it.
#[test]
fn ends_are_named() {
    let ended = |raw: &mut Raw| news(&mut raw.channel).pop().unwrap();
    let open = || {
        let mut raw = Raw::dialling(config());
        raw.channel.open_stream(raw.now, 0, true).unwrap();
        raw.hear();
        raw
    };
    let mut raw = open();
    raw.say(&data(ACK, 2, b"\x13/multistream/1.0.0\n\x03na\n")).unwrap();
    assert_eq!(ended(&mut raw), StreamNews::Ended { stream: 2, end: StreamEnd::Refused });
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::WindowUpdate, RST, 2, 0), vec![])]);
    assert_eq!(raw.channel.open_streams(), 0);

    let mut raw = open();
    raw.say(&frame(Kind::WindowUpdate, RST, 2, 0)).unwrap();
    assert_eq!(ended(&mut raw), StreamNews::Ended { stream: 2, end: StreamEnd::ResetByPeer });

    let mut raw = open();
    raw.say(&data(ACK, 2, b"\x13/multistream/1.0.0\n\x05/b/1\n")).unwrap();
    let end = StreamEnd::Negotiation(SelectError::WrongAnswer);
    assert_eq!(ended(&mut raw), StreamNews::Ended { stream: 2, end });

    let mut raw = open();
    raw.now = raw.now + NEGOTIATION_TIMEOUT;
    raw.channel.handle_timeout(raw.now);
    assert_eq!(ended(&mut raw), StreamNews::Ended { stream: 2, end: StreamEnd::NegotiationTimeout });

    let mut raw = accepted();
    assert!(raw.channel.limit_stream(1, Some(raw.now + Duration::from_secs(3))));
    assert_eq!(raw.channel.next_timeout(), Some(raw.now + Duration::from_secs(3)));
    raw.now = raw.now + Duration::from_secs(3);
    raw.channel.handle_timeout(raw.now);
    assert_eq!(ended(&mut raw), StreamNews::Ended { stream: 1, end: StreamEnd::Expired });
    assert_eq!(news(&mut raw.channel), [], "once");
    raw.hear();
    assert_eq!(news(&mut raw.channel), [], "nor after its reset was written");
    assert_eq!((raw.channel.open_streams(), raw.channel.next_timeout()), (0, None));
}

/// A user that takes nothing holds up the others for so long and no longer.
#[test]
fn a_hoarder_is_reset_and_the_others_go_on() {
    let mut raw = accepted();
    raw.say(&data(0, 1, b"stuck")).unwrap();
    raw.say(&frame(Kind::Ping, SYN, 0, 5)).unwrap();
    assert!(!raw.channel.take(1, 0) && raw.channel.offered().is_some());
    assert_eq!(raw.hear(), []);
    let due = raw.channel.next_timeout().unwrap();
    assert_eq!(due, raw.now + STREAM_HOARD_TIMEOUT);
    raw.now = due;
    raw.channel.handle_timeout(due);
    assert!(raw.channel.wants_bytes());
    raw.offer().unwrap();
    let frames = raw.hear_frames();
    assert!(frames.contains(&(Header::new(Kind::Ping, ACK, 0, 5), vec![])));
    assert!(frames.contains(&(Header::new(Kind::WindowUpdate, RST, 1, 0), vec![])));
    assert_eq!(
        news(&mut raw.channel).last(),
        Some(&StreamNews::Ended { stream: 1, end: StreamEnd::Hoarded })
    );
    assert_eq!(raw.channel.open_streams(), 0);
}

#[test]
fn a_reset_of_ours_drops_what_waits_for_it() {
    let mut raw = accepted();
    raw.say(&[data(0, 1, b"unread"), data(FIN, 1, b"more")].concat()).unwrap();
    assert!(raw.channel.reset_stream(1), "offer the bytes again");
    raw.offer().unwrap();
    assert_eq!(raw.pending, []);
    assert_eq!(raw.hear_frames(), [(Header::new(Kind::WindowUpdate, RST, 1, 0), vec![])]);
    assert_eq!(news(&mut raw.channel), []);
    assert_eq!(raw.channel.open_streams(), 0);
    assert!(!raw.channel.reset_stream(1));
}

/// Whatever the peer and the embedder hold, the node's own protocols find room.
#[test]
fn places_are_kept_for_the_node_itself() {
    let mut raw = Raw::dialling(ChannelConfig { streams: 32, ..config() });
    for i in 0..40 {
        raw.say(&data(SYN, 1 + 2 * i, HELLO_A)).unwrap();
        raw.hear();
        news(&mut raw.channel);
        events(&mut raw.channel);
    }
    assert_eq!(raw.channel.open_streams(), 28);
    assert_eq!(raw.channel.open_stream(raw.now, 0, true), None);
    for id in [2, 4, 6] {
        assert_eq!(raw.channel.open_stream(raw.now, 0, false), Some(id));
    }
    assert_eq!(raw.channel.open_stream(raw.now, 0, false), None, "the last is the ping's");
    assert!(raw.channel.ping(raw.now));
    raw.hear();
    assert_eq!(raw.channel.open_streams(), 32);
}
