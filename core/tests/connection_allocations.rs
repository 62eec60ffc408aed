//! Counts heap allocations: none in a handshake, none in a channel after `Channel::new`.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // all of it is a test

use std::time::Duration;

use coracle_core::{
    channel::{Channel, ChannelConfig, ChannelEvent},
    crypto::{Identity, RustCrypto, SecretKey},
    handshake::{Admitted, Initiator, Options, Responder, StaticKey},
    limits::HANDSHAKE_WRITE_SIZE,
    rng::Seed,
    time::Instant,
};

fn identity(n: u8) -> Identity<RustCrypto> {
    Identity::new(RustCrypto, SecretKey::from_bytes(&[n; 32]).unwrap())
}

fn handshake() -> (Admitted, Admitted) {
    let (a, b) = (identity(1), identity(2));
    let mut rng = Seed::new([3; 32]).stream("test");
    let keys = (StaticKey::new(&a, &mut rng), StaticKey::new(&b, &mut rng));
    let mut dialler = Initiator::new(&keys.0, &mut rng, Options::default());
    let mut listener = Responder::new(&keys.1, &mut rng, Options::default());
    let mut buf = [0; HANDSHAKE_WRITE_SIZE];
    while !listener.is_finished() {
        let n = dialler.poll_write(&a, &mut buf);
        assert_eq!(listener.handle_bytes(&b, &mut buf[..n]), Ok(n));
        let n = listener.poll_write(&b, &mut buf);
        assert_eq!(dialler.handle_bytes(&a, &mut buf[..n]), Ok(n));
    }
    let (Ok(a), Ok(b)) = (dialler.finish(), listener.finish()) else { panic!("not finished") };
    (a.admit(|_| true).unwrap(), b.admit(|_| true).unwrap())
}

/// An hour of pings each way; returns the pongs seen.
fn live(ends: &mut [Channel; 2], buf: &mut [u8]) -> usize {
    let (mut now, mut pongs) = (Instant::ZERO, 0);
    while now < Instant::ZERO + Duration::from_secs(3600) {
        let mut moved = true;
        while moved {
            moved = false;
            for i in 0..2 {
                let n = ends[i].poll_write(&RustCrypto, now, buf);
                assert_eq!(ends[1 - i].handle_bytes(&RustCrypto, now, &mut buf[..n]), Ok(n));
                moved |= n > 0;
                while let Some(event) = ends[i].poll_event() {
                    pongs += usize::from(matches!(event, ChannelEvent::Pong { .. }));
                }
            }
        }
        let due = ends.iter().filter_map(Channel::next_timeout).min();
        now = due.expect("pings go on");
        ends.iter_mut().for_each(|end| end.handle_timeout(now));
    }
    pongs
}

#[test]
fn nothing_is_allocated_on_the_way() {
    let mut admitted = None;
    let counted = allocation_counter::measure(|| admitted = Some(handshake()));
    assert_eq!(counted.count_total, 0, "handshake");

    let (a, b) = admitted.unwrap();
    let mut rng = Seed::new([4; 32]).stream("test");
    let mut channels = None;
    // The names of the protocols are shared by all channels.
    let config = ChannelConfig::default();
    let mut new = |admitted| Channel::new(admitted, Instant::ZERO, config.clone(), &mut rng);
    let counted = allocation_counter::measure(|| channels = Some([new(a), new(b)]));
    assert_eq!(counted.count_total, 2, "one table a channel");

    let mut channels = channels.unwrap();
    let (mut buf, mut pongs) = ([0; 4096], 0);
    let counted = allocation_counter::measure(|| pongs = live(&mut channels, &mut buf));
    assert_eq!(counted.count_total, 0, "channel");
    assert!(pongs > 400, "{pongs}");
}
