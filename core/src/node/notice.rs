//! What a node tells its embedder: for people, metrics and tests. Nothing waits for an answer.

use core::{fmt, net::SocketAddr, time::Duration};

use super::action::{ConnId, DialError, RequestId};
use crate::{
    channel::CloseReason,
    cluster::{Origin, Reachability},
    discovery::TalkId,
    handshake::HandshakeError,
    id::{NodeId, PeerId},
    record::Addresses,
    refresh::{OwnSeen, RefreshError, Source},
};

/// Why a connection ended, or a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The dial failed.
    Dial(DialError),
    /// The dial or the handshake took too long.
    Timeout,
    /// The handshake failed.
    Handshake(HandshakeError),
    /// The peer proved a key that is no other member's.
    NotAMember(PeerId),
    /// The channel ended.
    Channel(CloseReason),
    /// The peer closed the connection, or it broke.
    ClosedByPeer,
    /// Another connection to the same member was there first, or is the one both sides keep.
    Duplicate,
    /// Too many connections have not authenticated yet.
    NoRoom,
    /// The operator removed the member.
    Removed,
    /// We are shutting down.
    Shutdown,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Handshake(error) => error.fmt(f),
            Self::NotAMember(peer) => write!(f, "{peer} is not another member of the cluster"),
            Self::Channel(error) => error.fmt(f),
            Self::ClosedByPeer => f.write_str("closed by the peer, or broken"),
            Self::Duplicate => f.write_str("another connection to the same member is kept"),
            Self::NoRoom => f.write_str("too many connections have not authenticated yet"),
            Self::Removed => f.write_str("no member of the cluster any more"),
            Self::Shutdown => f.write_str("shutting down"),
        }
    }
}

/// Something that happened to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The own record is in force: stored, and sent from now on.
    Published {
        /// Its sequence number.
        seq: u64,
        /// Its addresses.
        addresses: Addresses,
        /// Where they come from, if any source knows.
        source: Option<Source>,
    },
    /// Storing failed: of the own record, the old one stays in force. It is tried again.
    StoreFailed,
    /// No newer own record can be made.
    RefreshFailed(RefreshError),
    /// Somebody showed a record of our own that is not the one in force: our store was lost, or another
    /// process uses our key.
    OwnRecordSeen {
        /// Its sequence number.
        seq: u64,
        /// What became of it; never [`OwnSeen::Known`].
        outcome: OwnSeen,
    },
    /// A member has a newer record.
    PeerRecord {
        /// The member.
        peer: PeerId,
        /// The record's sequence number.
        seq: u64,
        /// Its addresses.
        addresses: Addresses,
    },
    /// A member signed two contents under one sequence number; the first is kept.
    RecordConflict {
        /// The member.
        peer: PeerId,
        /// The number.
        seq: u64,
    },
    /// A member is dialled.
    Dialling {
        /// The member.
        peer: PeerId,
        /// The connection.
        conn: ConnId,
        /// Where to.
        endpoint: SocketAddr,
        /// How that endpoint is known.
        origin: Origin,
    },
    /// An address is dialled that the operator named without saying whose it is.
    DiallingAnyone {
        /// The connection.
        conn: ConnId,
        /// Where to.
        endpoint: SocketAddr,
    },
    /// A dial of such an address led to no channel.
    AnyoneFailed {
        /// The connection.
        conn: ConnId,
        /// Where to.
        endpoint: SocketAddr,
        /// Why; [`Failure::Duplicate`]: a member is there that has a channel already.
        reason: Failure,
    },
    /// The operator added a member.
    MemberAdded {
        /// The member.
        peer: PeerId,
    },
    /// The operator removed a member: it is cut off.
    MemberRemoved {
        /// Who was one.
        peer: PeerId,
    },
    /// A dialled connection ended before there was a channel.
    DialFailed {
        /// The member.
        peer: PeerId,
        /// The connection.
        conn: ConnId,
        /// Where to.
        endpoint: SocketAddr,
        /// How that endpoint is known.
        origin: Origin,
        /// Why.
        reason: Failure,
    },
    /// A member has a channel: authenticated, encrypted, and confirmed by the peer.
    ChannelUp {
        /// The member.
        peer: PeerId,
        /// The connection.
        conn: ConnId,
        /// The other end.
        endpoint: SocketAddr,
        /// How we knew where to dial, or [`Origin::Inbound`].
        origin: Origin,
        /// Whether the member had none before. Both sides of a pair may dial at the same moment;
        /// then there are two for a moment, and one is closed.
        first: bool,
    },
    /// A channel ended.
    ChannelDown {
        /// The member.
        peer: PeerId,
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: Failure,
        /// Whether another channel to the member remains.
        still_connected: bool,
    },
    /// A ping inside a channel was answered.
    Ping {
        /// The member.
        peer: PeerId,
        /// The connection.
        conn: ConnId,
        /// The round-trip time.
        rtt: Duration,
    },
    /// A member that no known endpoint reaches is looked up through the others.
    LookingUp {
        /// The member.
        peer: PeerId,
    },
    /// A member cannot be reached now; dialling and looking up go on. Told once an outage.
    Unreachable {
        /// The member.
        peer: PeerId,
        /// Why.
        why: Reachability,
    },
    /// An accepted connection ended before it was a member's.
    Refused {
        /// The connection.
        conn: ConnId,
        /// The other end.
        from: SocketAddr,
        /// Why.
        reason: Failure,
    },
    /// A lookup that was asked for is done.
    LookedUp {
        /// The command.
        request: RequestId,
        /// The node looked for.
        target: NodeId,
        /// Where UDP reaches it, by the newest record found; `None` when it was not found.
        found: Option<SocketAddr>,
    },
    /// A peer asks for something in one of the accepted TALK protocols: read it with
    /// [`Node::talk_request`](super::Node::talk_request), answer it with
    /// [`Node::respond_talk`](super::Node::respond_talk).
    TalkRequest {
        /// Names the request.
        id: TalkId,
        /// Who asks, by the session's key.
        from: NodeId,
        /// From where.
        endpoint: SocketAddr,
    },
    /// A TALKREQ of ours was answered: read it with
    /// [`Node::talk_response`](super::Node::talk_response) before the next action is polled.
    TalkResponse {
        /// The request.
        request: RequestId,
        /// Who answered.
        from: NodeId,
        /// How many bytes; 0 when it does not speak the protocol, or had no answer in time.
        len: usize,
    },
    /// A TALKREQ of ours was not answered.
    TalkFailed {
        /// The request.
        request: RequestId,
    },
}
