//! Somebody with a key who dials where it is not wanted, and listens to what it is told there.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use coracle_core::crypto::{Identity, RustCrypto, SecretKey};
use coracle_core::handshake::{Initiator, Options, StaticKey};
use coracle_core::limits::HANDSHAKE_READ_SIZE;
use coracle_core::rng::{Rng, Seed};
use coracle_sim::{Boot, Context, Event, StreamId};

use crate::sim_node::Seen;

/// A machine that conducts the handshake of this library as its dialler, with any key, and accepts any peer.
#[derive(Debug)]
pub struct Intruder {
    identity: Identity<RustCrypto>,
    /// Reads the other side's messages in its stead: an honest reader would notice that it meets itself.
    reader: Identity<RustCrypto>,
    static_key: StaticKey,
    rng: Rng,
    /// Handshakes under way; `None` when one is through.
    attempts: BTreeMap<StreamId, Option<Initiator>>,
}

impl Intruder {
    /// An intruder that has this key.
    ///
    /// # Panics
    ///
    /// If the key is none.
    pub fn new(secret: &[u8; 32], boot: &Boot<'_>) -> Self {
        let secret = SecretKey::from_bytes(secret).expect("a valid key");
        let identity = Identity::new(RustCrypto, secret);
        let mut rng = Seed::new(boot.seed).stream("intruder");
        let static_key = StaticKey::new(&identity, &mut rng);
        let reader = SecretKey::from_bytes(&[0xee; 32]).expect("a valid key");
        let reader = Identity::new(RustCrypto, reader);
        Self { identity, reader, static_key, rng, attempts: BTreeMap::new() }
    }

    /// Its identity.
    pub const fn identity(&self) -> &Identity<RustCrypto> {
        &self.identity
    }

    pub(crate) fn dial(&mut self, cx: &mut Context<'_, Seen>, to: SocketAddr) {
        let stream = cx.dial(to);
        let initiator = Initiator::new(&self.static_key, &mut self.rng, Options::default());
        self.attempts.insert(stream, Some(initiator));
    }

    pub(crate) fn handle_bytes(
        &mut self,
        cx: &mut Context<'_, Seen>,
        stream: StreamId,
        bytes: &mut [u8],
    ) -> usize {
        match self.attempts.get_mut(&stream) {
            Some(Some(initiator)) => {
                let mut taken = 0;
                // A message may follow another in one segment.
                while let Ok(n @ 1..) = initiator.handle_bytes(&self.reader, &mut bytes[taken..]) {
                    taken += n;
                }
                self.write(cx, stream);
                taken
            }
            _ => {
                cx.observe(Seen::IntruderHeard(bytes.len()));
                bytes.len()
            }
        }
    }

    pub(crate) fn handle_event(&mut self, cx: &mut Context<'_, Seen>, event: Event) {
        match event {
            Event::Connected { stream, .. } => self.write(cx, stream),
            Event::Closed { stream, .. } if self.attempts.remove(&stream).is_some() => {
                cx.observe(Seen::IntruderClosed);
            }
            _ => {}
        }
    }

    fn write(&mut self, cx: &mut Context<'_, Seen>, stream: StreamId) {
        let Some(attempt) = self.attempts.get_mut(&stream) else { return };
        let Some(mut initiator) = attempt.take() else { return };
        let mut buf = [0; HANDSHAKE_READ_SIZE];
        loop {
            let len = initiator.poll_write(&self.identity, &mut buf);
            if len == 0 {
                break;
            }
            cx.write(stream, &buf[..len]);
        }
        if initiator.is_finished() {
            cx.observe(Seen::IntruderFinished);
        } else {
            *attempt = Some(initiator);
        }
    }
}
