//! What a stream of the embedder's (or of the node's own protocols) has beside its yamux state, and
//! what it tells.

use crate::time::{Instant, earlier};

use super::select::SelectError;

/// Why a stream ended. Told once, as the last thing of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamEnd {
    /// Both sides finished: all bytes arrived, in both directions.
    #[error("both sides finished")]
    Finished,
    /// The peer reset it. What was sent last may not have arrived.
    #[error("reset by the peer")]
    ResetByPeer,
    /// The peer does not speak the protocol.
    #[error("the peer does not speak the protocol")]
    Refused,
    /// No protocol was agreed on.
    #[error("no protocol agreed on: {0}")]
    Negotiation(SelectError),
    /// No protocol was agreed on in time.
    #[error("no protocol agreed on in time")]
    NegotiationTimeout,
    /// We reset it: its bytes were not taken in time and held up the whole connection
    /// ([`STREAM_HOARD_TIMEOUT`](crate::limits::STREAM_HOARD_TIMEOUT)).
    #[error("its bytes were not read in time")]
    Hoarded,
    /// We reset it: the time that the embedder gave it is over.
    #[error("its time is over")]
    Expired,
}

/// What a stream tells; the number is its yamux id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamNews {
    /// The peer speaks the protocol of a stream that we opened.
    Opened {
        /// The stream.
        stream: u32,
        /// The protocol's number in [`Protocols`](super::Protocols).
        protocol: u8,
    },
    /// The peer opened a stream.
    Accepted {
        /// The stream.
        stream: u32,
        /// The protocol's number in [`Protocols`](super::Protocols).
        protocol: u8,
    },
    /// Bytes arrived: copy up to `len` of them and say [`Channel::take`](super::Channel::take).
    Data {
        /// The stream.
        stream: u32,
        /// Where they begin in the bytes that [`Channel::handle_bytes`](super::Channel::handle_bytes)
        /// did not take.
        offset: usize,
        /// How many they are.
        len: usize,
    },
    /// A write that was cut short can go on.
    Writable {
        /// The stream.
        stream: u32,
    },
    /// The peer sends no more on this stream.
    Finished {
        /// The stream.
        stream: u32,
    },
    /// The stream is over; its number means nothing from now on.
    Ended {
        /// The stream.
        stream: u32,
        /// Why.
        end: StreamEnd,
    },
}

/// The part of a stream that its user sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct App {
    pub(super) protocol: u8,
    pub(super) ours: bool,
    /// The protocol is agreed on, and whether that was told.
    pub(super) agreed: bool,
    pub(super) agreed_told: bool,
    /// The peer's end was seen and not told.
    pub(super) finish_owed: bool,
    /// A write was cut short, or is waited for.
    pub(super) wants_write: bool,
    /// Its user gave it up, and is told nothing more.
    pub(super) dropped: bool,
    /// It is over, which was not told.
    pub(super) end: Option<StreamEnd>,
    /// Bytes that the user took and has not given back to the window.
    pub(super) held: u32,
    /// When bytes that are offered must have been taken.
    pub(super) hoard: Option<Instant>,
    /// When the stream must be over.
    pub(super) expires: Option<Instant>,
}

impl App {
    pub(super) const fn new(protocol: u8, ours: bool) -> Self {
        Self {
            protocol,
            ours,
            agreed: false,
            agreed_told: false,
            finish_owed: false,
            wants_write: false,
            dropped: false,
            end: None,
            held: 0,
            hoard: None,
            expires: None,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if self.end.is_some() { None } else { earlier(self.hoard, self.expires) }
    }

    /// Why its time is over, if it is.
    pub(super) fn overdue(&self, now: Instant) -> Option<StreamEnd> {
        if self.end.is_some() {
            None
        } else if self.expires.is_some_and(|at| at <= now) {
            Some(StreamEnd::Expired)
        } else if self.hoard.is_some_and(|at| at <= now) {
            Some(StreamEnd::Hoarded)
        } else {
            None
        }
    }
}
