//! The handshake of a connection: multistream-select 1.0, then Noise XX with the libp2p identity
//! payload (libp2p noise; design, section 6 items 1 to 3).
//!
//! Two machines, [`Initiator`] and [`Responder`], without an allocator, a socket or a clock. The
//! caller owns the receive buffer ([`HANDSHAKE_READ_SIZE`](crate::limits::HANDSHAKE_READ_SIZE)
//! bytes hold any message) and the deadline.
//!
//! Invariants, each tested:
//! - both complete only with the same view: handshake hash, mirrored keys, each other's identity (N1, N4);
//! - the peer's key signed *this* static key (N2), and is known before any data (N3): only
//!   [`Finished::admit`] leads to an [`Admitted`], and only that to a channel;
//! - no (key, nonce) pair is used twice (N5);
//! - a message that does not authenticate changes no cipher's state and ends the handshake: the machine is dead
//!   then and its keys are wiped; chunking changes nothing (N8).
//!
//! Both sides, without a network between them:
//!
//! ```
//! use coracle_core::{
//!     crypto::{Identity, RustCrypto, SecretKey},
//!     handshake::{Initiator, Options, Responder, StaticKey},
//!     limits::HANDSHAKE_WRITE_SIZE,
//!     rng::Seed,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let alice = Identity::new(RustCrypto, SecretKey::from_bytes(&[1; 32])?);
//! let bob = Identity::new(RustCrypto, SecretKey::from_bytes(&[2; 32])?);
//! let mut rng = Seed::new([0; 32]).stream("handshake"); // 32 unpredictable bytes, in earnest
//! let (alice_key, bob_key) = (StaticKey::new(&alice, &mut rng), StaticKey::new(&bob, &mut rng));
//!
//! let expected = Some(bob.peer_id());
//! let mut dialler = Initiator::new(&alice_key, &mut rng, Options { expected, ..Options::default() });
//! let mut listener = Responder::new(&bob_key, &mut rng, Options::default());
//!
//! let mut buf = [0; HANDSHAKE_WRITE_SIZE];
//! while !listener.is_finished() {
//!     // What one writes the other takes; a real driver keeps what was not taken.
//!     let n = dialler.poll_write(&alice, &mut buf);
//!     assert_eq!(listener.handle_bytes(&bob, &mut buf[..n])?, n);
//!     let n = listener.poll_write(&bob, &mut buf);
//!     assert_eq!(dialler.handle_bytes(&alice, &mut buf[..n])?, n);
//! }
//!
//! let finished = listener.finish().map_err(|_| "not finished")?;
//! assert_eq!(finished.peer_id(), alice.peer_id());
//! let admitted = finished.admit(|key| key == alice.public_key())?;
//! # let _ = admitted;
//! # Ok(())
//! # }
//! ```

mod cipher;
mod error;
mod finished;
mod initiator;
mod messages;
mod payload;
mod responder;
#[cfg(test)]
pub(crate) mod tests;
mod wipe;
mod xx;

pub(crate) use wipe::wipes;
#[cfg(feature = "alloc")]
pub(crate) use {
    cipher::{CipherError, CipherState},
    payload::YAMUX,
    wipe::wipes_by_its_fields,
};

pub use error::{Fault, HandshakeError};
pub use finished::{Admitted, Finished, Refused, Role};
pub use initiator::Initiator;
pub use payload::StaticKey;
pub use responder::Responder;

use crate::id::PeerId;

/// How to conduct a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Who must answer. Another peer is an error: for an initiator before it shows its own identity.
    pub expected: Option<PeerId>,
    /// Name `/yamux/1.0.0` inside the handshake, which saves a round trip with peers that do too.
    pub early_muxer: bool,
}

impl Default for Options {
    /// Anybody, with early muxer negotiation.
    fn default() -> Self {
        Self { expected: None, early_muxer: true }
    }
}

/// Where a handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeState {
    /// Agreeing on Noise, in the clear.
    Multistream,
    /// Between the first and the last Noise message.
    Noise,
    /// Complete: call `finish`.
    Finished,
    /// Dead: close the connection.
    Failed,
}
