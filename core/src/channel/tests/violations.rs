//! What the channel does with a peer that breaks the specifications.

use proptest::prelude::*;

use super::*;
use crate::{
    channel::yamux::{ACK, FIN, SYN},
    limits::{MAX_NOISE_NONCE, YAMUX_WINDOW},
};

#[test]
fn violations_are_named_and_end_the_channel() {
    use YamuxError as Y;
    let mut version = frame(Kind::Data, SYN, 1, 0);
    version[0] = 1;
    let mut kind = frame(Kind::Data, SYN, 1, 0);
    kind[1] = 4;
    let overflow = [data(SYN, 1, b""), frame(Kind::WindowUpdate, 0, 1, u32::MAX)].concat();
    let after_fin = [data(SYN, 1, HELLO_PING), data(FIN, 1, &[1; 32]), data(0, 1, b"x")].concat();
    let cases = [
        (version, Y::Version(1)),
        (kind, Y::Type(4)),
        (data(SYN, 0, b""), Y::StreamZero),
        (data(SYN, 2, b""), Y::WrongParity(2)),
        ([data(SYN, 1, b""), data(SYN, 1, b"")].concat(), Y::AlreadyOpen(1)),
        (data(0, 1, b""), Y::NeverOpened(1)),
        (data(ACK, 2, b""), Y::NeverOpened(2)),
        (frame(Kind::Data, SYN, 1, YAMUX_WINDOW + 1), Y::WindowExceeded(1)),
        (overflow, Y::WindowOverflow(1)),
        (after_fin, Y::DataAfterFin(1)),
    ];
    for (bytes, error) in cases {
        let mut raw = Raw::dialling(silent());
        assert_eq!(raw.say(&bytes), Err(ChannelError::Yamux(error)));
        // Told, then closed; what else comes is thrown away.
        assert_eq!(raw.say(b"anything"), Ok(()));
        let frames = raw.hear_frames();
        assert_eq!(frames.last(), Some(&(Header::new(Kind::GoAway, 0, 0, 1), vec![])), "{error}");
        let reason = CloseReason::Violation(ChannelError::Yamux(error));
        assert_eq!(events(&mut raw.channel), [ChannelEvent::Closed { by: Side::Local, reason }]);
    }
}

/// A window that was used up and not given back may not be exceeded, however slowly.
#[test]
fn a_window_is_counted_over_frames() {
    let mut raw = Raw::dialling(silent());
    raw.say(&data(SYN, 1, HELLO_PING)).unwrap();
    raw.hear();
    // A ping is never completed, so nothing is given back but what was taken, and that in halves.
    let mut sent = HELLO_PING.len() as u32;
    let mut given = 0;
    for _ in 0..9_000 {
        raw.say(&data(0, 1, &[1; 32])).unwrap();
        sent += 32;
        for (header, _) in raw.hear_frames() {
            given += if header.kind == Kind::WindowUpdate { header.length } else { 0 };
        }
        raw.say(&frame(Kind::WindowUpdate, 0, 1, 32)).unwrap();
        assert!(sent <= YAMUX_WINDOW + given);
    }
    let left = YAMUX_WINDOW + given - sent;
    let error = ChannelError::Yamux(YamuxError::WindowExceeded(1));
    assert_eq!(raw.say(&frame(Kind::Data, 0, 1, left + 1)), Err(error));
}

#[test]
fn a_wrong_echo_ends_the_channel() {
    for flip in [0, 31] {
        let mut raw = Raw::dialled(silent());
        assert!(raw.channel.ping(raw.now));
        raw.hear();
        raw.say(&data(ACK, 1, HELLO_PING)).unwrap();
        let mut ping = raw.hear_frames().remove(0).1;
        ping[flip] ^= 1;
        assert_eq!(raw.say(&data(0, 1, &ping)), Err(ChannelError::WrongEcho));
    }
    // An answer that nobody asked for.
    let mut raw = Raw::dialled(silent());
    assert!(raw.channel.ping(raw.now));
    raw.hear();
    assert_eq!(raw.say(&data(ACK, 1, &[HELLO_PING, &[0]].concat())), Err(ChannelError::WrongEcho));
}

/// Rule N8 for frames: what does not authenticate closes without a word.
#[test]
fn a_changed_frame_closes() {
    for at in [2usize, 10, 37] {
        let mut raw = Raw::dialling(silent());
        let mut sealed = frame(Kind::Ping, SYN, 0, 7);
        sealed.extend([0; 8]);
        let tag = raw.send.seal(&RustCrypto, &[], &mut sealed).unwrap();
        let mut bytes = [&[0, 36][..], &sealed, &tag].concat();
        bytes[at] ^= 1;
        let result = raw.channel.handle_bytes(&RustCrypto, raw.now, &mut bytes);
        assert_eq!(result, Err(ChannelError::Decrypt));
        assert!(raw.channel.is_closed());
        assert_eq!(raw.hear(), []);
        let reason = CloseReason::Violation(ChannelError::Decrypt);
        assert_eq!(events(&mut raw.channel), [ChannelEvent::Closed { by: Side::Local, reason }]);
    }
    let mut raw = Raw::dialling(silent());
    let short = raw.channel.handle_bytes(
        &RustCrypto,
        raw.now,
        &mut [0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    assert_eq!(short, Err(ChannelError::FrameTooShort(15)));
}

/// Frames in another order, twice, or sent back: each is refused by its nonce or its key.
#[test]
fn replayed_and_reflected_frames_are_refused() {
    let mut raw = Raw::dialling(silent());
    raw.say(&frame(Kind::Ping, SYN, 0, 1)).unwrap();
    let mut buf = [0; 512];
    let n = raw.channel.poll_write(&RustCrypto, raw.now, &mut buf);
    let result = raw.channel.handle_bytes(&RustCrypto, raw.now, &mut buf[..n]);
    assert_eq!(result, Err(ChannelError::Decrypt), "reflected");

    let mut raw = Raw::dialling(silent());
    let mut sealed = frame(Kind::Ping, SYN, 0, 1);
    let tag = raw.send.seal(&RustCrypto, &[], &mut sealed).unwrap();
    let bytes = [&[0, 28][..], &sealed, &tag].concat();
    assert_eq!(raw.channel.handle_bytes(&RustCrypto, raw.now, &mut bytes.clone()), Ok(30));
    let again = raw.channel.handle_bytes(&RustCrypto, raw.now, &mut bytes.clone());
    assert_eq!(again, Err(ChannelError::Decrypt), "replayed");
}

#[test]
fn the_last_nonce_ends_the_channel() {
    let mut raw = Raw::dialling(silent());
    raw.channel.send.set_nonce(MAX_NOISE_NONCE + 1);
    raw.say(&frame(Kind::Ping, SYN, 0, 1)).unwrap();
    let mut buf = [0; 512];
    assert_eq!(raw.channel.poll_write(&RustCrypto, raw.now, &mut buf), 0);
    let closed = ChannelEvent::Closed { by: Side::Local, reason: CloseReason::NonceLimit };
    assert_eq!(events(&mut raw.channel), [closed]);

    let mut raw = Raw::dialling(silent());
    raw.channel.receive.set_nonce(MAX_NOISE_NONCE + 1);
    assert_eq!(raw.say(b""), Err(ChannelError::NonceLimit));
}

#[test]
fn an_end_without_a_word_is_reported() {
    let mut raw = Raw::dialling(silent());
    raw.channel.handle_eof();
    let closed = ChannelEvent::Closed { by: Side::Peer, reason: CloseReason::Eof };
    assert_eq!(events(&mut raw.channel), [closed]);
}

/// Frames that are often valid: kinds, flags and streams from small sets.
fn some_frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![
        Just(HELLO_PING.to_vec()),
        Just(vec![7; 32]),
        Just(b"\x03/a\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..50)
    ];
    let flags = prop_oneof![4 => Just(0u16), 4 => Just(SYN), 1 => Just(FIN), 1 => Just(8), 1 => 0u16..16];
    (0u8..8, flags, 0u32..8, bytes, any::<u32>()).prop_map(
        |(kind, flags, stream, bytes, length)| match kind {
            0 => frame(Kind::WindowUpdate, flags, stream, length >> 12),
            1 => frame(Kind::Ping, flags, 0, length),
            _ => data(flags, stream, &bytes),
        },
    )
}

proptest! {
    #![proptest_config(crate::testing::cases(4))]

    /// Whatever an admitted peer says, in whatever frames: an answer or a named error, no panic,
    /// bounded streams, and once everything owed is written no frame stays in hand.
    #[test]
    fn any_frames_are_answered(
        frames in proptest::collection::vec(some_frame(), 0..60),
        noise in proptest::collection::vec(any::<u8>(), 0..40),
        cut in 1usize..80,
        dialled: bool,
    ) {
        let config = ChannelConfig { streams: 4, ..ChannelConfig::default() };
        let mut raw = if dialled { Raw::dialled(config) } else { Raw::dialling(config) };
        let mut all: Vec<u8> = frames.concat();
        all.extend(noise);
        for part in all.chunks(cut) {
            raw.now = raw.now + Duration::from_millis(200);
            raw.channel.handle_timeout(raw.now);
            if raw.say(part).is_err() {
                break;
            }
            for _ in 0..100 {
                raw.hear();
                events(&mut raw.channel);
                if raw.offer().is_err() || !raw.channel.has_frame_in_hand() {
                    break;
                }
            }
            prop_assert!(!raw.channel.has_frame_in_hand());
            prop_assert!(raw.channel.open_streams() <= 4);
        }
        raw.hear();
        prop_assert_eq!(raw.hear(), vec![], "nothing is owed for ever");
    }
}
