//! What the machine tells its embedder, and the queue in which it waits.
//!
//! What must not be lost waits where it arose: the end of a request in the request's place, the end
//! of a lookup in the lookup's, news of a node in the node's. The queue then only names the place, each
//! at most once, so it cannot overflow. The rest waits in a ring that drops its oldest when full.

use core::{net::SocketAddr, time::Duration};

use crate::{
    collections::{Key, Ready, Ring},
    id::NodeId,
    record::Record,
};

/// Names a request of the embedder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) Key);

/// Names a lookup of the embedder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub(super) Key);

/// Names a TALKREQ that waits for the embedder's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TalkId(pub(super) Key);

/// Where a record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordSource {
    /// Its owner, in a handshake.
    Handshake,
    /// Its owner, asked for distance 0.
    Owner,
    /// Another node, in an answer to FINDNODE.
    Relayed(NodeId),
}

/// Why a request ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// No answer after the last try.
    #[error("the peer did not answer")]
    Timeout,
    /// The peer was removed.
    #[error("the peer was removed")]
    Removed,
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The pool of requests, lookups or TALK buffers is full: wait for an event and try again.
    #[error("too many requests are under way; wait for one to end")]
    Full,
    /// The node is not in the table; pass its record.
    #[error("the node is not known; pass its record")]
    UnknownNode,
    /// The record names no endpoint that this node can reach; pass one.
    #[error("the node's record names no UDP endpoint that can be reached from here; pass one")]
    NoEndpoint,
    /// The node is this one.
    #[error("the node is this one")]
    Itself,
    /// No distance, more than eight, or one above 256.
    #[error("a request names 1 to 8 distances from 0 to 256")]
    Distances,
    /// The payload does not fit into a packet.
    #[error("the protocol name and payload do not fit into a packet")]
    TooLarge,
    /// There is no such TALKREQ, or its time is over.
    #[error("the TALKREQ is not known, or its time is over")]
    UnknownTalk,
    /// The table has no room for another member or seed.
    #[error("the table has no room for another node")]
    TableFull,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // a record is at most 300 bytes, and nothing here may allocate
pub enum Event {
    /// A verified record, new or with a higher sequence number.
    RecordSeen {
        /// The record.
        record: Record,
        /// Where it came from.
        source: RecordSource,
    },
    /// A verified record of our own with a higher sequence number than the one we send, or with the
    /// same and other content: our store was lost, or another process has our key.
    OwnRecordSeen {
        /// The record.
        record: Record,
        /// Who showed it.
        from: NodeId,
    },
    /// A member signed two records with one sequence number. The first one is kept.
    Equivocation {
        /// The other one.
        record: Record,
        /// Where it came from.
        source: RecordSource,
    },
    /// A node answered a PING.
    Reachable {
        /// Who.
        id: NodeId,
        /// Where the answer came from.
        endpoint: SocketAddr,
        /// From the PING to the PONG, when it is known which PING was answered.
        rtt: Option<Duration>,
    },
    /// A node of the table did not answer the last PING, after all tries.
    Unreachable {
        /// Who.
        id: NodeId,
        /// Where it was asked.
        endpoint: SocketAddr,
    },
    /// A PONG to a PING of ours says where we are seen.
    Vote {
        /// Whose PONG.
        from: NodeId,
        /// Our endpoint as it sees it.
        observed: SocketAddr,
    },
    /// A session was established or renewed.
    SessionEstablished {
        /// With whom.
        id: NodeId,
        /// Where.
        endpoint: SocketAddr,
        /// Whether we began the handshake.
        initiated_by_us: bool,
    },
    /// A peer asks for something in one of the accepted TALK protocols: read it with
    /// [`Discovery::talk_request`](super::Discovery::talk_request), answer it with
    /// [`Discovery::respond_talk`](super::Discovery::respond_talk).
    TalkRequest {
        /// Names the request.
        id: TalkId,
        /// Who asks.
        from: NodeId,
        /// From where.
        endpoint: SocketAddr,
    },
    /// The answer to a TALKREQ of ours: read it with
    /// [`Discovery::talk_response`](super::Discovery::talk_response) before the next event is polled.
    TalkResponse {
        /// Which request.
        request: RequestId,
        /// Who answered.
        from: NodeId,
        /// How many bytes.
        len: usize,
    },
    /// The answer to a PING of the embedder.
    Pong {
        /// Which request.
        request: RequestId,
        /// Who answered.
        from: NodeId,
        /// The sequence number of its record, as it says.
        enr_seq: u64,
    },
    /// The answer to a FINDNODE of the embedder. Its records came as [`Event::RecordSeen`] before.
    Nodes {
        /// Which request.
        request: RequestId,
        /// Who answered.
        from: NodeId,
        /// How many valid records there were.
        count: usize,
    },
    /// A request of the embedder ended without an answer.
    RequestFailed {
        /// Which request.
        request: RequestId,
        /// Why.
        reason: RequestFailure,
    },
    /// A lookup of the embedder ended.
    LookupDone {
        /// Which lookup.
        lookup: LookupId,
        /// Whom it looked for.
        target: NodeId,
        /// The newest record of the target that was seen in this lookup, or is known.
        found: Option<Record>,
        /// How many nodes answered.
        answered: usize,
    },
}

/// Pools whose places queue events that must not be lost.
pub(super) mod waiting {
    /// Requests that ended.
    pub(in super::super) const REQUEST: usize = 0;
    /// Lookups that ended.
    pub(in super::super) const LOOKUP: usize = 1;
    /// Nodes with news.
    pub(in super::super) const NODE: usize = 2;
    /// TALKREQs of peers.
    pub(in super::super) const TALK: usize = 3;
}

/// The queue.
#[derive(Debug)]
pub(super) struct Events {
    /// Places of the pools in [`waiting`].
    pub(super) places: Ready<4>,
    others: Ring<Event>,
}

impl Events {
    /// `places`: the capacities of the pools in [`waiting`]; `others`: room for the rest.
    pub(super) fn new(places: [usize; 4], others: usize) -> Self {
        Self { places: Ready::new(places), others: Ring::new(others) }
    }

    /// Queues an event of lesser weight; false when one was dropped for it.
    pub(super) fn push(&mut self, event: Event) -> bool {
        self.others.push_over(event).is_none()
    }

    /// Takes the oldest event of lesser weight.
    pub(super) fn next_other(&mut self) -> Option<Event> {
        self.others.pop()
    }
}
