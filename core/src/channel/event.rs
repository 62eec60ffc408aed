//! What a channel reports: events, and why it ended.

use core::time::Duration;

use super::{select::SelectError, yamux::YamuxError};

/// A side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Ours.
    Local,
    /// The peer's.
    Peer,
}

/// What happened in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    /// Streams can be opened: the muxer is agreed on.
    Ready {
        /// Whether that was done inside the handshake.
        early: bool,
    },
    /// The peer answered a ping.
    Pong {
        /// Time from writing it to reading the answer.
        rtt: Duration,
    },
    /// The peer does not speak `/ipfs/ping/1.0.0`; it is not pinged any more.
    PingUnsupported,
    /// A stream that the peer opened was refused or given up.
    StreamRefused {
        /// Its yamux id.
        stream: u32,
        /// Why.
        reason: Refusal,
    },
    /// The channel is over: close the connection. The last event.
    Closed {
        /// Who ended it.
        by: Side,
        /// Why.
        reason: CloseReason,
    },
}

/// Why a stream of the peer's was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No protocol was agreed on.
    #[error("no protocol agreed on: {0}")]
    Negotiation(#[from] SelectError),
    /// The peer ended it before a protocol was agreed on.
    #[error("ended before a protocol was agreed on")]
    Abandoned,
    /// No protocol was agreed on in time.
    #[error("no protocol agreed on in time")]
    Timeout,
    /// The channel has no room for another stream, or is closing.
    #[error("too many streams")]
    TooManyStreams,
    /// More ping streams than the specification allows.
    #[error("too many ping streams")]
    TooManyPings,
    /// More pings than the peer lets us answer: its window is used up.
    #[error("pings without room for the answers")]
    PingFlood,
}

/// Why a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// `close` was called.
    #[error("closed on request")]
    Requested,
    /// The peer sent GO_AWAY with this code (0: normal, 1: protocol error, 2: internal error).
    #[error("the peer went away (code {0})")]
    WentAway(u32),
    /// The connection ended without a GO_AWAY.
    #[error("the connection ended")]
    Eof,
    /// No muxer was agreed on in time.
    #[error("no muxer agreed on in time")]
    NegotiationTimeout,
    /// A ping was not answered in time, or its streams ended too often.
    #[error("the peer does not answer pings")]
    PingTimeout,
    /// Every nonce of the sending key was used.
    #[error("the key was used as often as it may be")]
    NonceLimit,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Violation(#[from] ChannelError),
}

/// How the peer broke the protocol (but for [`ChannelError::BufferChanged`], the caller's fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// A Noise frame shorter than its tag.
    #[error("a Noise frame of {0} bytes has no room for its tag")]
    FrameTooShort(usize),
    /// A Noise frame does not authenticate. Its bytes are as they were.
    #[error("a Noise frame does not authenticate")]
    Decrypt,
    /// Every nonce of the peer's sending key was used.
    #[error("the peer used its key as often as it may")]
    NonceLimit,
    /// No muxer could be agreed on.
    #[error("no muxer: {0}")]
    Muxer(SelectError),
    /// yamux.
    #[error("yamux: {0}")]
    Yamux(#[from] YamuxError),
    /// The answer to a ping is not the ping, or nobody asked.
    #[error("the answer to a ping is not what was sent")]
    WrongEcho,
    /// The caller did not offer the frame in hand again.
    #[error("the bytes of the frame in hand were not offered again")]
    BufferChanged,
}
