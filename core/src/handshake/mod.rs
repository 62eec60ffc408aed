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
//! - after an error the machine is dead and its keys are wiped; a message that does not
//!   authenticate is left as it was (N8), and chunking changes nothing.

mod cipher;
mod error;
mod finished;
mod initiator;
mod messages;
mod payload;
mod responder;
#[cfg(test)]
pub(crate) mod tests;
mod xx;

pub(crate) use cipher::CipherState;
#[cfg(feature = "alloc")]
pub(crate) use {cipher::CipherError, payload::YAMUX};

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

/// The compiler is the test (rule N7): every secret below is in a type that wipes itself.
const fn wipes_itself<T: zeroize::ZeroizeOnDrop>() {}
const _: () = {
    wipes_itself::<crate::crypto::Secret<32>>();
    wipes_itself::<CipherState>();
    wipes_itself::<xx::KeyPair>();
    wipes_itself::<xx::Transport>();
    wipes_itself::<StaticKey>();
    wipes_itself::<Initiator>();
    wipes_itself::<Responder>();
    wipes_itself::<Finished>();
    wipes_itself::<Admitted>();
};
