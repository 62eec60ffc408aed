//! Why a handshake ends without a channel.

use crate::{
    id::PeerId,
    wire::{multistream::LineError, protobuf::ProtobufError},
};

/// Whose act ended a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer's, or somebody's on the way to it.
    Peer,
    /// The caller's: it used a machine that had ended.
    Caller,
}

/// Why a handshake failed. The machine is dead afterwards: close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The peer's lines are not multistream-select 1.0.
    #[error("multistream: {0}")]
    Multistream(#[from] LineError),
    /// We dialled, and the peer does not offer `/noise`, or answered something else.
    #[error("the peer does not offer /noise: is this the libp2p TCP port of a node?")]
    NotNoise,
    /// The peer proposed other protocols too often ([`MAX_PROPOSALS`](crate::limits::MAX_PROPOSALS)).
    #[error("the peer made too many proposals, and none was /noise")]
    TooManyProposals,
    /// A Noise message is longer than [`MAX_HANDSHAKE_MESSAGE`](crate::limits::MAX_HANDSHAKE_MESSAGE).
    #[error("Noise message {message} of {len} bytes is too long")]
    TooLong {
        /// Which of the three.
        message: u8,
        /// Its length in bytes.
        len: usize,
    },
    /// A Noise message is shorter than its parts, or message 1 is not exactly one key.
    #[error("Noise message {message} of {len} bytes has the wrong length")]
    WrongLength {
        /// Which of the three.
        message: u8,
        /// Its length in bytes.
        len: usize,
    },
    /// A Noise message does not authenticate: it was changed on the way, or is from elsewhere.
    #[error("Noise message {message} does not authenticate")]
    Decrypt {
        /// Which of the three.
        message: u8,
    },
    /// A Noise message carries a key of small order, which would make the secret known.
    #[error("Noise message {message} carries a key of small order")]
    SmallOrder {
        /// Which of the three.
        message: u8,
    },
    /// The identity payload is no protobuf message of its schema.
    #[error("identity payload: {0}")]
    Payload(#[from] ProtobufError),
    /// The peer's identity key is missing, not of secp256k1, or not a point of the curve.
    #[error("the peer's identity key is missing or not a secp256k1 key")]
    IdentityKey,
    /// The peer's identity key did not sign the static key of this handshake.
    #[error("the peer's identity key did not sign its Noise key")]
    Identity,
    /// We dialled one peer and another answered.
    #[error("expected {expected}, but {found} answered: the address belongs to another node now")]
    WrongPeer {
        /// Who was dialled.
        expected: PeerId,
        /// Who proved to be there.
        found: PeerId,
    },
    /// The other side holds our own key: our own address, our messages sent back, or a copied key file.
    #[error("the other side has our own key: this is our own address, or the key is used twice")]
    OwnKey,
    /// Both sides named stream muxers and share none.
    #[error("the peer offers no /yamux/1.0.0")]
    NoSharedMuxer,
    /// The machine had failed or was finished before.
    #[error("the handshake had ended before")]
    Ended,
}

impl HandshakeError {
    /// Whose act it was.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Ended => Fault::Caller,
            _ => Fault::Peer,
        }
    }
}
