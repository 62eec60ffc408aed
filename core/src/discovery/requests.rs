//! Requests of ours, and the handshakes that they open.
//!
//! Every request lives in a fixed pool from the command to its end. It keeps its request id over all
//! tries, so that a late answer still counts, and remembers the nonces of its tries, so that a
//! WHOAREYOU to any of them does. While a session with a peer is being opened, one request (the
//! owner) goes out and the others wait.

use core::{net::SocketAddr, time::Duration};

use super::{
    event::RequestFailure,
    keys::Keys,
    message::WireId,
    packet::{ChallengeData, Nonce},
    peer::Peer,
};
use crate::{
    collections::{Deadlines, Key, Slab},
    crypto::PublicKey,
    id::NodeId,
    limits::{MAX_KEPT_HANDSHAKE, MAX_NODES_PACKETS, MAX_QUERY_DISTANCES, MAX_REQUEST_NONCES},
    rng::Rng,
    time::Instant,
    zoo::{self, Bug},
};

/// Whom a request goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contact {
    pub(super) peer: Peer,
    /// For a handshake, should one be needed.
    pub(super) public_key: PublicKey,
}

impl Contact {
    pub(super) const fn new(id: NodeId, endpoint: SocketAddr, public_key: PublicKey) -> Self {
        Self { peer: Peer { id, endpoint }, public_key }
    }
}

/// Why a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The embedder asked for it.
    User,
    /// The table checks whether a node is alive.
    Check,
    /// A peer claims a newer record.
    Refresh,
    /// A lookup asks a candidate.
    Query(Key),
}

/// What a request asks, and how far its answer is.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Ping,
    FindNode(Nodes),
    /// The payload stands in this TALK buffer.
    Talk(Key),
}

/// A FINDNODE and the answer as it comes in.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    pub(super) distances: heapless::Vec<u16, MAX_QUERY_DISTANCES, u8>,
    /// Fixed by the first packet.
    pub(super) total: Option<u64>,
    pub(super) packets: usize,
    /// Records read, valid or not.
    pub(super) read: usize,
    /// Valid records.
    pub(super) count: usize,
}

impl Nodes {
    pub(super) fn new(distances: &[u16]) -> Option<Self> {
        Some(Self { distances: heapless::Vec::from_slice(distances).ok()?, ..Self::default() })
    }

    /// Counts a packet in; false when it is over the limit or disagrees with the first.
    pub(super) fn packet(&mut self, total: u64) -> bool {
        let fits = total > 0 && self.packets < MAX_NODES_PACKETS && *self.total.get_or_insert(total) == total;
        self.packets += usize::from(fits);
        fits
    }

    /// Whether the last packet is in.
    pub(super) fn complete(&self) -> bool {
        self.packets >= MAX_NODES_PACKETS || self.total.is_some_and(|total| self.packets as u64 >= total)
    }
}

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be sent; `free` when this does not count as a try.
    Owed { free: bool },
    /// Waits for a session that another request opens.
    Waiting,
    /// Sent.
    InFlight,
    /// Ended; the embedder has not been told yet.
    Done(Outcome),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Pong { enr_seq: u64 },
    Nodes { count: usize },
    Talk { len: usize },
    Failed(RequestFailure),
}

/// One request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) contact: Contact,
    pub(super) ask: Ask,
    pub(super) origin: Origin,
    pub(super) wire_id: WireId,
    pub(super) phase: Phase,
    pub(super) tries: u8,
    /// How often it went out again because the peer began a session anew.
    pub(super) resends: u8,
    /// When it was sent, as long as it was sent only once.
    pub(super) sent_once: Option<Instant>,
    nonces: heapless::Vec<Nonce, MAX_REQUEST_NONCES, u8>,
}

impl Request {
    /// Whether the request went out in a packet with this nonce.
    pub(super) fn has_nonce(&self, nonce: &Nonce) -> bool {
        self.nonces.contains(nonce)
    }

    /// Remembers the nonce of a packet, which has the place of the request in it
    /// ([`Requests::mark`]); the oldest goes when there are too many.
    pub(super) fn remember(&mut self, nonce: Nonce) {
        if self.nonces.is_full() {
            self.nonces.remove(0);
        }
        let pushed = self.nonces.push(nonce);
        debug_assert!(pushed.is_ok());
    }
}

/// The pool.
#[derive(Debug)]
pub(super) struct Requests {
    pool: Slab<Request>,
    pub(super) deadlines: Deadlines,
    /// How many of the pool only the embedder may use.
    reserved: usize,
}

impl Requests {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(usize::from(u16::MAX));
        Self { pool: Slab::new(capacity), deadlines: Deadlines::new(capacity), reserved: capacity / 8 }
    }

    /// Puts a request in, to be sent; `None` when the pool has no room for its origin.
    pub(super) fn begin(&mut self, contact: Contact, ask: Ask, origin: Origin, rng: &mut Rng) -> Option<Key> {
        let left = self.pool.capacity() - self.pool.len();
        if left == 0 || (origin != Origin::User && left <= self.reserved) {
            return None;
        }
        let request = Request {
            contact,
            ask,
            origin,
            wire_id: WireId::default(),
            phase: Phase::Owed { free: false },
            tries: 0,
            resends: 0,
            sent_once: None,
            nonces: heapless::Vec::new(),
        };
        let key = self.pool.insert(request).ok()?;
        // The place in two bytes finds the request again; the rest cannot be guessed. The first is not
        // zero, because some peers read the id as a number and repeat it without zeros in front.
        let mut id = rng.array::<8>();
        id[0] |= 0x80;
        id[1..3].copy_from_slice(&(key.index() as u16).to_be_bytes());
        self.get_mut(key)?.wire_id = WireId::new(&id)?;
        Some(key)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Request> {
        self.pool.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Request> {
        self.pool.get_mut(key)
    }

    pub(super) fn key_at(&self, index: usize) -> Option<Key> {
        self.pool.key_at(index)
    }

    pub(super) const fn capacity(&self) -> usize {
        self.pool.capacity()
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Request> {
        self.deadlines.clear(key.index());
        self.pool.remove(key)
    }

    /// The request that a response with this id, from this peer, may answer.
    pub(super) fn answered_by(&self, wire_id: &WireId, peer: &Peer) -> Option<Key> {
        let [_, a, b, ..] = wire_id.as_bytes() else { return None };
        let key = self.pool.key_at(usize::from(u16::from_be_bytes([*a, *b])))?;
        let request = self.pool.get(key)?;
        let matches = request.wire_id == *wire_id
            && request.contact.peer == *peer
            && !matches!(request.phase, Phase::Done(_));
        matches.then_some(key)
    }

    /// Writes the place of a request into the last two bytes of a nonce: what is left of it is unique
    /// by its count and cannot be guessed, and a WHOAREYOU finds the request without a search.
    pub(super) fn mark(nonce: &mut Nonce, key: Key) {
        nonce[10..].copy_from_slice(&(key.index() as u16).to_be_bytes());
    }

    /// The request in flight to `endpoint` that went out in a packet with this nonce.
    pub(super) fn challenged_by(&self, nonce: &Nonce, endpoint: &SocketAddr) -> Option<Key> {
        let key = self.pool.key_at(usize::from(u16::from_be_bytes([nonce[10], nonce[11]])))?;
        let request = self.pool.get(key)?;
        let matches = request.contact.peer.endpoint == *endpoint
            && !matches!(request.phase, Phase::Done(_))
            && (request.has_nonce(nonce) || zoo::has(Bug::ChallengeOfAnything));
        matches.then_some(key)
    }

    /// Whether any request waits for a session with `peer` that another opens.
    pub(super) fn waits_for(&self, peer: &Peer) -> bool {
        self.pool.iter().any(|(_, other)| other.contact.peer == *peer && other.phase == Phase::Waiting)
    }

    /// The deadline of a try: each later one waits half of `first` longer.
    pub(super) fn deadline(now: Instant, first: Duration, tries: u8) -> Instant {
        now + first + first * u32::from(tries.saturating_sub(1)) / 2
    }
}

/// A session that is being opened by us. While it is, one packet at a time goes to the peer.
#[derive(Debug)]
pub(super) struct Opening {
    /// The request whose packets open it.
    pub(super) owner: Key,
    /// The last key change of the session with this peer when this began; 0 for no session.
    pub(super) serial: u64,
    /// A challenge to answer.
    pub(super) challenge: Option<Challenged>,
    /// Handshakes sent, whose keys wait for the first message that authenticates them: the newest
    /// last. Two, because a peer may have answered two packets with different challenges.
    pub(super) sent: heapless::Vec<Handshake, 2>,
    /// The newest handshake packet: the same challenge again gets the same packet. None if it was too long, or too
    /// many others are kept.
    pub(super) packet: Option<Key>,
    /// How often it was sent again.
    pub(super) repeats: u8,
    /// Challenges taken up: each costs a signature.
    pub(super) handshakes: u8,
    /// Whether it is to be sent again.
    pub(super) repeat: bool,
}

/// A handshake packet that is kept.
pub(super) type KeptHandshake = heapless::Vec<u8, MAX_KEPT_HANDSHAKE, u16>;

/// A WHOAREYOU to one of our packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Challenged {
    pub(super) data: ChallengeData,
    pub(super) request: Key,
}

/// A handshake packet that was sent.
#[derive(Debug)]
pub(super) struct Handshake {
    /// What it answers.
    pub(super) data: ChallengeData,
    pub(super) keys: Keys,
    /// The request whose message was in it.
    pub(super) carried: Option<Key>,
}

impl Opening {
    pub(super) const fn new(owner: Key, serial: u64) -> Self {
        Self {
            owner,
            serial,
            challenge: None,
            sent: heapless::Vec::new(),
            packet: None,
            repeats: 0,
            handshakes: 0,
            repeat: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_fixed_by_the_first_packet() {
        let mut nodes = Nodes::new(&[256]).unwrap();
        assert!(!nodes.packet(0));
        assert!(nodes.packet(2) && !nodes.complete());
        assert!(!nodes.packet(3));
        assert!(nodes.packet(2) && nodes.complete());
        let mut endless = Nodes::new(&[256]).unwrap();
        let taken = (0..100).filter(|_| endless.packet(100)).count();
        assert!(taken == MAX_NODES_PACKETS && endless.complete());
        assert!(Nodes::new(&[1; 9]).is_none());
    }
}
