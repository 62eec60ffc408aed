//! The story of a run as data: typed entries, for reports, diagrams and tools.
//!
//! Purpose: what [`Sim::trace`](crate::Sim::trace) tells in lines of text, a [`Story`] tells in a form that a
//! program can draw. It is off unless asked for, and then costs an entry an event; nothing in a run depends on
//! it, the hash of the trace least of all.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::machine::{CloseReason, DialError, NodeId, StreamId, WriteId};
use crate::nat::NatId;
use crate::time::{Nanos, SECOND};

/// Something that happened, in the order (time, sequence).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The virtual time.
    pub at: Nanos,
    /// Counted from 0 over the entries of the run, those no longer kept included.
    pub sequence: u64,
    /// The node it happened to; `None` for what happens to the world.
    pub node: Option<NodeId>,
    /// What happened.
    pub what: What,
}

/// A datagram on its way, from its sending to its arrivals: a datagram that a link doubled arrives twice under
/// one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u64);

/// What an [`Entry`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The node started, after this many earlier starts.
    Started {
        /// How often it had started before.
        restarts: u32,
    },
    /// The node crashed.
    Crashed,
    /// The node has other addresses from now on.
    Moved {
        /// The new ones.
        addresses: Vec<IpAddr>,
    },
    /// The node's clock jumped.
    ClockSet {
        /// What it shows now.
        shows: Nanos,
    },
    /// A datagram left the machine.
    Sent {
        /// Its name from here to its arrival.
        packet: PacketId,
        /// The socket it left from.
        from: SocketAddr,
        /// Where it is to go.
        to: SocketAddr,
        /// Who has that address at this moment.
        receiver: Option<NodeId>,
        /// Its length in bytes.
        length: usize,
    },
    /// A datagram was handed to the machine.
    Received {
        /// Its name since it was sent.
        packet: PacketId,
        /// The socket it came to.
        local: SocketAddr,
        /// Where it comes from, as the receiver sees it.
        from: SocketAddr,
        /// Who sent it.
        sender: NodeId,
        /// When it was sent.
        sent_at: Nanos,
        /// Its length in bytes, which corruption may have changed.
        length: usize,
    },
    /// A datagram of the node's came to an end before it reached anybody.
    Dropped {
        /// Its name since it was sent.
        packet: PacketId,
        /// Where it was to go.
        to: SocketAddr,
        /// Who has, or had, that address.
        receiver: Option<NodeId>,
        /// Why.
        reason: DropReason,
    },
    /// A link did something to a datagram of the node's, which goes on.
    Mishandled {
        /// Its name since it was sent.
        packet: PacketId,
        /// What.
        how: Mishap,
    },
    /// The machine dialled.
    Dialled {
        /// Its end.
        stream: StreamId,
        /// The address.
        to: SocketAddr,
    },
    /// A stream is open, as this end sees it.
    Opened {
        /// The node's end.
        stream: StreamId,
        /// Its address and port here.
        local: SocketAddr,
        /// The other end's, as this end sees it.
        remote: SocketAddr,
        /// Whether this end was dialled.
        accepted: bool,
    },
    /// A dial failed.
    DialFailed {
        /// The node's end.
        stream: StreamId,
        /// Why.
        reason: DialError,
    },
    /// The machine wrote to a stream.
    Wrote {
        /// Its end.
        stream: StreamId,
        /// How many bytes were taken of it.
        length: usize,
    },
    /// The machine was offered bytes of a stream.
    Read {
        /// Its end.
        stream: StreamId,
        /// How many.
        offered: usize,
        /// How many it took.
        taken: usize,
    },
    /// The machine writes no more to a stream, and still reads.
    Finished {
        /// Its end.
        stream: StreamId,
    },
    /// An end of a stream closed.
    Closed {
        /// The node's end.
        stream: StreamId,
        /// Why; `None` where its own machine closed it.
        reason: Option<CloseReason>,
    },
    /// A stream broke on its way, by the fault of that name.
    Broken {
        /// The end that was sending.
        stream: StreamId,
    },
    /// A stream stalls: nothing this end sends arrives for a while.
    Stalled {
        /// The end that is sending.
        stream: StreamId,
    },
    /// A write was asked of the disk.
    Put {
        /// Its name.
        write: WriteId,
        /// The key, or the name of the file.
        key: Vec<u8>,
        /// How many bytes; `None` removes the key.
        length: Option<usize>,
    },
    /// Everything written before was asked to be made durable.
    Sync {
        /// Its name.
        write: WriteId,
    },
    /// A write, or a sync, is done.
    Stored {
        /// Its name.
        write: WriteId,
    },
    /// A write, or a sync, failed.
    StoreFailed {
        /// Its name.
        write: WriteId,
    },
    /// What a crash made of a write that was not yet durable.
    Unfinished {
        /// Its name.
        write: WriteId,
        /// What became of it.
        fate: Fate,
    },
    /// Nothing passes any more from one node to another.
    Cut {
        /// From whom.
        from: NodeId,
        /// To whom.
        to: NodeId,
    },
    /// It passes again.
    Rejoined {
        /// From whom.
        from: NodeId,
        /// To whom.
        to: NodeId,
    },
    /// All that goes wrong by itself has ended.
    Healed,
    /// The node stands behind this NAT from now on, or behind none.
    BehindNat(Option<NatId>),
    /// A NAT lost its mappings.
    NatRebooted {
        /// Which.
        nat: NatId,
        /// Its public address from now on.
        address: IpAddr,
    },
    /// A command was given: its `Debug` form.
    Command(String),
    /// The deadline came.
    Timeout,
    /// The machine reported something: its `Debug` form.
    Observed(String),
    /// A note of the user's, from [`Sim::note`](crate::Sim::note).
    Note(String),
    /// An invariant failed.
    Failed {
        /// Its name.
        invariant: String,
        /// The complaint.
        message: String,
    },
}

/// Why a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The link lost it.
    Lost,
    /// The queue before a narrow link was full.
    QueueFull,
    /// A partition stopped it.
    Blocked,
    /// Nobody has the address, the node is down, or the port is not bound.
    Unreachable,
    /// A NAT had no mapping for it, or its filter refused it.
    Filtered,
    /// A NAT had no room for another mapping.
    NatFull,
}

/// What a link did to a datagram that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mishap {
    /// It was doubled.
    Duplicated,
    /// It was held back, so that later ones may overtake it.
    HeldBack,
    /// Its bytes were changed.
    Corrupted,
}

/// What a crash makes of a write that was not yet durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It is on the disk.
    Kept,
    /// It is not.
    Lost,
    /// Its first bytes are, so many.
    Torn(usize),
}

impl DropReason {
    /// Its name, for tools; it does not change.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::QueueFull => "queue full",
            Self::Blocked => "blocked",
            Self::Unreachable => "unreachable",
            Self::Filtered => "filtered",
            Self::NatFull => "NAT full",
        }
    }
}

impl Mishap {
    /// Its name, for tools; it does not change.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Duplicated => "duplicated",
            Self::HeldBack => "held back",
            Self::Corrupted => "corrupted",
        }
    }
}

impl What {
    /// The name of its kind, for tools; it does not change.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Crashed => "crashed",
            Self::Moved { .. } => "moved",
            Self::ClockSet { .. } => "clock-set",
            Self::Sent { .. } => "sent",
            Self::Received { .. } => "received",
            Self::Dropped { .. } => "dropped",
            Self::Mishandled { .. } => "mishandled",
            Self::Dialled { .. } => "dialled",
            Self::Opened { .. } => "opened",
            Self::DialFailed { .. } => "dial-failed",
            Self::Wrote { .. } => "wrote",
            Self::Read { .. } => "read",
            Self::Finished { .. } => "finished",
            Self::Closed { .. } => "closed",
            Self::Broken { .. } => "broken",
            Self::Stalled { .. } => "stalled",
            Self::Put { .. } => "put",
            Self::Sync { .. } => "sync",
            Self::Stored { .. } => "stored",
            Self::StoreFailed { .. } => "store-failed",
            Self::Unfinished { .. } => "unfinished",
            Self::Cut { .. } => "cut",
            Self::Rejoined { .. } => "rejoined",
            Self::Healed => "healed",
            Self::BehindNat(_) => "behind-nat",
            Self::NatRebooted { .. } => "nat-rebooted",
            Self::Command(_) => "command",
            Self::Timeout => "timeout",
            Self::Observed(_) => "observed",
            Self::Note(_) => "note",
            Self::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} #{} ", self.at / SECOND, self.at % SECOND, self.sequence)?;
        match self.node {
            Some(node) => write!(f, "{node} {:?}", self.what),
            None => write!(f, "{:?}", self.what),
        }
    }
}

type Listener = Box<dyn FnMut(&Entry)>;

/// The entries kept, and who listens to them.
#[derive(Default)]
pub(crate) struct Story {
    entries: VecDeque<Entry>,
    most: usize,
    listeners: Vec<Listener>,
    sequence: u64,
    pub(crate) dropped: u64,
}

impl Story {
    pub(crate) fn keep(&mut self, most: usize) {
        self.most = most;
        while self.entries.len() > most {
            self.entries.pop_front();
            self.dropped += 1;
        }
    }

    pub(crate) fn listen(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn is_told(&self) -> bool {
        self.most > 0 || !self.listeners.is_empty()
    }

    pub(crate) fn tell(&mut self, at: Nanos, node: Option<NodeId>, what: What) {
        let entry = Entry { at, sequence: self.sequence, node, what };
        self.sequence += 1;
        for listener in &mut self.listeners {
            listener(&entry);
        }
        if self.entries.len() >= self.most {
            self.dropped += u64::from(self.entries.pop_front().is_some());
        }
        if self.most > 0 {
            self.entries.push_back(entry);
        }
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Story").field("kept", &self.entries.len()).finish_non_exhaustive()
    }
}
