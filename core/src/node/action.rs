//! What goes into a [`Node`](super::Node) and what comes out.

use alloc::vec::Vec;
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::{
    notice::Notice,
    services::{LocalInfo, LocalInfoError},
    streams::StreamEvent,
};
use crate::{
    cluster::{ClusterError, MemberConfig},
    crypto::PublicKey,
    discovery,
    id::{NodeId, PeerId},
    record::Record,
    time::Instant,
};

/// A connection's name, for as long as the node lives; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    const ACCEPTED: u64 = 1 << 63;

    /// The name of the `n`-th connection, from 0, that was [accepted](super::Node::accept).
    pub const fn accepted(n: u64) -> Self {
        Self(n | Self::ACCEPTED)
    }

    pub(super) const fn dialled(n: u64) -> Self {
        Self(n & !Self::ACCEPTED)
    }

    /// Whether it was accepted (dialled otherwise).
    pub const fn is_accepted(self) -> bool {
        self.0 & Self::ACCEPTED != 0
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_accepted() { "in" } else { "out" }, self.0 & !Self::ACCEPTED)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a write that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub(super) u64);

/// The name of a hostname query that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResolveId(pub(super) u64);

/// The name of a command that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

/// Why a dial failed, as far as the driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DialError {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No route, or the network is down.
    #[error("network unreachable")]
    Unreachable,
    /// The system gave up waiting.
    #[error("timed out")]
    TimedOut,
    /// Anything else.
    #[error("failed")]
    Other,
}

/// Something that happened to the driver.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The dial of this connection succeeded. It counts as writable.
    Connected(ConnId),
    /// The dial of this connection failed.
    DialFailed(ConnId, DialError),
    /// The last write of this connection is done: it takes another.
    Writable(ConnId),
    /// The other side closed the connection, or it broke. Its name is free of meaning from now on.
    Closed(ConnId),
    /// A write is durable.
    Stored(StoreId),
    /// A write failed. What it held may or may not be on the disk.
    StoreFailed(StoreId),
    /// A hostname has these addresses now (none: the query failed).
    Resolved(ResolveId, &'a [IpAddr]),
    /// The addresses of the interfaces that the sockets listen on.
    Interfaces(&'a [IpAddr]),
    /// The wall clock now, in milliseconds since 1970: at the start it came with the configuration; tell
    /// it again when it was set, and every few minutes. Only what members are told of our clock depends on it.
    WallClock(u64),
}

/// What a member's entry in the node database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPeer {
    /// The member's key.
    pub public_key: PublicKey,
    /// Its newest record.
    pub record: Option<Record>,
    /// The endpoint that last led to a channel.
    pub last_good: Option<SocketAddr>,
}

/// What is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // passed once, by value, and never kept in a table
pub enum StoreItem {
    /// The own record. It replaces the one before.
    Own(Record),
    /// A member's entry. It replaces the member's entry before.
    Peer(StoredPeer),
}

/// What the driver has to do.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one at a time, and it spares a copy through the buffer
pub enum Action {
    /// Send the first `len` bytes of the buffer as a datagram.
    Send {
        /// The receiver.
        to: SocketAddr,
        /// Bytes in the buffer.
        len: usize,
    },
    /// Write the first `len` bytes of the buffer to a connection, all of them; then say
    /// [`Event::Writable`]. No other write of this connection is asked for until then.
    Write {
        /// The connection.
        conn: ConnId,
        /// Bytes in the buffer.
        len: usize,
    },
    /// Dial; answer with [`Event::Connected`] or [`Event::DialFailed`].
    Dial {
        /// The new connection's name.
        conn: ConnId,
        /// Where to.
        to: SocketAddr,
    },
    /// Close a connection, after what was written to it. Nothing more is to be said of it.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Offer the bytes again that [`Node::handle_bytes`](super::Node::handle_bytes) did not take.
    Resume {
        /// The connection.
        conn: ConnId,
    },
    /// Store durably; answer with [`Event::Stored`] or [`Event::StoreFailed`]. Writes are done in
    /// the order they are asked for.
    Store {
        /// The write's name.
        id: StoreId,
        /// What to store.
        item: StoreItem,
    },
    /// Resolve the hostname in the first `len` bytes of the buffer; answer with [`Event::Resolved`].
    Resolve {
        /// The query's name.
        id: ResolveId,
        /// Bytes in the buffer.
        len: usize,
    },
    /// Something happened on a stream of the embedder's.
    Stream(StreamEvent),
    /// Something an embedder may want to know.
    Notify(Notice),
    /// Nothing more to do: wait for an event, or for this moment.
    Wait(Option<Instant>),
}

/// What an embedder can ask of a node.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ping a member inside its channel; the answer is [`Notice::Ping`]. A ping that is under way
    /// already serves this request too.
    Ping(PeerId),
    /// Look a node up by discv5; the answer is [`Notice::LookedUp`].
    LookUp(NodeId),
    /// Add a TCP endpoint at which a member may be.
    Hint(PeerId, SocketAddr),
    /// Replace the bootnodes.
    Bootnodes(Vec<Record>),
    /// Add a TCP endpoint at which some member may be, if it is not known which.
    Address(SocketAddr),
    /// From now on these are the members, ourselves among them: those who come are dialled, those who go
    /// are cut off at once, and those who stay notice nothing. Refused as a whole, the old ones stay.
    ///
    /// What is known of a member that stays remains; records count here as everywhere, by their number.
    SetMembers(Vec<MemberConfig>),
    /// Say this of us in Charon's peerinfo protocol from now on.
    SetInfo(LocalInfo),
    /// Close every channel in good order. The node does nothing more after that; [`Action::Wait`]
    /// without a deadline says that it is done.
    Shutdown,
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The peer is not a member (or it is ourselves).
    #[error("the peer is not another member of the cluster")]
    NotAMember,
    /// The peer has no channel now.
    #[error("the member has no channel now")]
    NotConnected,
    /// The peer does not speak the ping protocol.
    #[error("the member does not speak the ping protocol")]
    Pingless,
    /// These cannot be the members; those there are stay.
    #[error(transparent)]
    Members(#[from] ClusterError),
    /// What is to be said of us cannot be; what was said before stays.
    #[error(transparent)]
    Info(#[from] LocalInfoError),
    /// As many of these are under way as there is room for: try again later.
    #[error("too many requests are under way: try again later")]
    Busy,
    /// The node has no published record yet, or is shutting down.
    #[error("the node is not running: its record is not published yet, or it is shutting down")]
    NotRunning,
    /// Discovery refuses it.
    #[error(transparent)]
    Discovery(#[from] discovery::RequestError),
}
