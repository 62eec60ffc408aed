//! What a user brings: a machine, that is, a state with inputs and outputs and no I/O of its own.
//!
//! Invariants: a machine is called only through [`Machine`], one input at a time, and acts only through the
//! [`Context`] of that call; it learns the time and its random seed from them and from nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::context::Context;
use crate::time::Nanos;

/// A protocol machine under simulation.
///
/// No method is required: a machine implements what it takes part in. All of them get the
/// [`Context`] through which the machine acts and reads its clock.
pub trait Machine: Sized {
    /// What the host asks of the machine from outside, with [`Sim::command`](crate::Sim::command). Its `Debug`
    /// form enters the trace.
    type Command: fmt::Debug;
    /// What the machine reports to the outside, with [`Context::observe`]. Its `Debug` form enters the trace.
    type Observation: fmt::Debug;

    /// The machine was just built (first start, or restart after a crash): the moment to bind ports and to set
    /// the first deadline.
    fn handle_start(&mut self, cx: &mut Context<'_, Self::Observation>) {
        let _ = cx;
    }

    /// A datagram arrived for a bound port. The bytes are the machine's to change.
    fn handle_datagram(
        &mut self,
        cx: &mut Context<'_, Self::Observation>,
        local: SocketAddr,
        from: SocketAddr,
        bytes: &mut [u8],
    ) {
        let _ = (cx, local, from, bytes);
    }

    /// Bytes wait on a stream. Answers how many of them, from the first one on, the machine has taken.
    ///
    /// The bytes are the machine's to change (decryption in place). What is not taken stays in the socket's
    /// buffer exactly as the machine left it, and is offered again, at its start, when more bytes have arrived
    /// or after [`Context::resume`]; until then the peer can send no more than fits the buffer.
    fn handle_bytes(
        &mut self,
        cx: &mut Context<'_, Self::Observation>,
        stream: StreamId,
        bytes: &mut [u8],
    ) -> usize {
        let _ = (cx, stream);
        bytes.len()
    }

    /// The peer writes no more to a stream, and all that it wrote has been taken. Answers whether the machine
    /// goes on writing; then the stream is half open until the machine finishes or closes it. Otherwise it is
    /// closed, as it is unless a machine knows of half-open streams; [`Event::Closed`] says so, and what was
    /// written before still arrives, if the peer reads it.
    ///
    /// It is not asked about a stream that the machine itself has finished: that one closes.
    fn handle_finish(&mut self, cx: &mut Context<'_, Self::Observation>, stream: StreamId) -> bool {
        let _ = (cx, stream);
        false
    }

    /// Something else happened: see [`Event`].
    fn handle_event(&mut self, cx: &mut Context<'_, Self::Observation>, event: Event) {
        let _ = (cx, event);
    }

    /// The deadline set with [`Context::set_deadline`] has come. It is no longer set.
    fn handle_timeout(&mut self, cx: &mut Context<'_, Self::Observation>) {
        let _ = cx;
    }

    /// The host asks for something.
    fn handle_command(&mut self, cx: &mut Context<'_, Self::Observation>, command: Self::Command) {
        let _ = (cx, command);
    }
}

/// What a machine is built from, at its first start and at every restart: what survives a crash, and nothing
/// else.
#[derive(Debug)]
pub struct Boot<'a> {
    /// The node that starts.
    pub node: NodeId,
    /// How often it started before.
    pub restarts: u32,
    /// The node's own clock.
    pub now: Nanos,
    /// A fresh random seed.
    pub seed: [u8; 32],
    /// The addresses it has now.
    pub addresses: &'a [IpAddr],
    /// The durable content of its disk.
    pub disk: &'a BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A node of the simulation, in the order in which they were added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Its number, counted from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// One end of a stream. The two ends of a stream have different ids; no id is ever used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u64);

impl StreamId {
    /// The other end of the same stream.
    #[must_use]
    pub const fn peer(self) -> Self {
        Self(self.0 ^ 1)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.0 & 1 == 0 { 'd' } else { 'a' };
        write!(f, "s{}{end}", self.0 >> 1)
    }
}

/// A write asked of the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub(crate) u64);

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

// In traces and in failed assertions the short form is the one that can be found again.
macro_rules! debug_as_display {
    ($($id:ty),*) => {$(
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
debug_as_display!(NodeId, StreamId, WriteId);

/// What happens to a machine, beside datagrams, stream bytes, deadlines and commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A stream asked for with [`Context::dial`] is open.
    Connected {
        /// Our end.
        stream: StreamId,
        /// The address and port it was given here.
        local: SocketAddr,
        /// The address dialled.
        remote: SocketAddr,
    },
    /// Somebody dialled a port that this machine listens on; the stream is open.
    Accepted {
        /// Our end.
        stream: StreamId,
        /// The address dialled.
        local: SocketAddr,
        /// Where it comes from.
        remote: SocketAddr,
    },
    /// A stream asked for with [`Context::dial`] does not come about. Its id is dead.
    DialFailed {
        /// Our end.
        stream: StreamId,
        /// Why.
        reason: DialError,
    },
    /// There is room in the send buffer again, after a short [`Context::write`] or as asked for with
    /// [`Context::notify_writable`].
    Writable(StreamId),
    /// The stream is gone, and its id is dead. All bytes that arrived before were offered and taken, if the
    /// reason is [`CloseReason::Finished`].
    Closed {
        /// Our end.
        stream: StreamId,
        /// Why.
        reason: CloseReason,
    },
    /// A write is durable.
    Stored(WriteId),
    /// A write failed: the disk holds what it held before.
    StoreFailed(WriteId),
    /// The node's addresses changed; [`Context::addresses`] has the new ones. Ports stay bound.
    Moved,
}

/// Why a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialError {
    /// The host is there, and nobody listens on the port.
    Refused,
    /// No answer within [`StreamLimits::dial_timeout`](crate::StreamLimits::dial_timeout).
    TimedOut,
    /// The dialling node has no address of that family.
    NoRoute,
}

/// Why a stream closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed it, and everything it wrote has been taken.
    Finished,
    /// It broke: the peer or the way to it is gone. Bytes on their way are lost.
    Reset,
    /// The peer was silent for too long.
    TimedOut,
    /// This node's address of the stream is gone.
    AddressLost,
}
