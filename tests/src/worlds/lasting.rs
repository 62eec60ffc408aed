//! A channel that is used for long: it goes on answering, however much has gone over it.

use coracle_core::{
    channel::{Channel, ChannelConfig, ChannelEvent},
    crypto::{Identity, SecretKey},
    handshake::{Finished, Initiator, Options, Responder, StaticKey},
    limits::{HANDSHAKE_WRITE_SIZE, YAMUX_WINDOW},
    rng::Seed,
    time::Instant,
};

use super::Audited;

/// Bytes of one ping.
const PING: u32 = 32;

/// Both sides of a handshake over a perfect wire.
fn handshake(identities: &[Identity<Audited>; 2]) -> Option<[Finished; 2]> {
    let mut rng = Seed::new([3; 32]).stream("handshake");
    let keys = identities.each_ref().map(|identity| StaticKey::new(identity, &mut rng));
    let mut dialler = Initiator::new(&keys[0], &mut rng, Options::default());
    let mut answerer = Responder::new(&keys[1], &mut rng, Options::default());
    let mut wire = [Vec::new(), Vec::new()];
    let mut buf = [0; HANDSHAKE_WRITE_SIZE];
    for _ in 0..8 {
        let len = dialler.poll_write(&identities[0], &mut buf);
        wire[1].extend_from_slice(&buf[..len]);
        let taken = answerer.handle_bytes(&identities[1], &mut wire[1]).ok()?;
        wire[1].drain(..taken);
        let len = answerer.poll_write(&identities[1], &mut buf);
        wire[0].extend_from_slice(&buf[..len]);
        let taken = dialler.handle_bytes(&identities[0], &mut wire[0]).ok()?;
        wire[0].drain(..taken);
    }
    Some([dialler.finish().ok()?, answerer.finish().ok()?])
}

/// Writes what one side has to say, and has the other read it.
fn carry(
    crypto: &Audited,
    now: Instant,
    from: &mut Channel,
    to: &mut Channel,
    wire: &mut Vec<u8>,
) -> Result<(), String> {
    let mut buf = vec![0; 4096];
    loop {
        let len = from.poll_write(crypto, now, &mut buf);
        if len == 0 {
            break;
        }
        wire.extend_from_slice(&buf[..len]);
    }
    let taken = to.handle_bytes(crypto, now, wire).map_err(|error| format!("a channel breaks: {error}"))?;
    wire.drain(..taken);
    Ok(())
}

/// Three windows of pings over one channel are answered, each.
///
/// # Errors
///
/// Which was not.
pub fn a_channel_lasts() -> Result<(), String> {
    let crypto = Audited::default();
    let identities = [1, 2].map(|n| {
        let secret = SecretKey::from_bytes(&[n; 32]).expect("not zero");
        Identity::new(crypto.clone(), secret)
    });
    let finished = handshake(&identities).ok_or("the handshake does not come to an end")?;
    let now = Instant::from_millis(1);
    let mut rng = Seed::new([4; 32]).stream("channel");
    let mut channels = finished.map(|finished| {
        let config = ChannelConfig { ping_interval: None, ..ChannelConfig::default() };
        let admitted = finished.admit(|_| true).ok()?;
        Some(Channel::new(admitted, now, config, &mut rng))
    });
    let [Some(asks), Some(answers)] = &mut channels else { return Err("not admitted".into()) };
    let mut wire = [Vec::new(), Vec::new()];
    for number in 0..3 * YAMUX_WINDOW / PING {
        let mut answered = false;
        // The first is only possible once the muxer is agreed on.
        for turn in 0..8 {
            if turn == 1 || (turn == 0 && number > 0) {
                asks.ping(now);
            }
            carry(&crypto, now, asks, answers, &mut wire[1])?;
            carry(&crypto, now, answers, asks, &mut wire[0])?;
            while let Some(event) = asks.poll_event() {
                answered |= matches!(event, ChannelEvent::Pong { .. });
            }
            while answers.poll_event().is_some() {}
        }
        if !answered {
            return Err(format!("ping {number} of a channel is not answered"));
        }
    }
    if crypto.reused_a_nonce() { Err("N5: a key sealed two texts under one nonce".into()) } else { Ok(()) }
}
