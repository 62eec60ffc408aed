//! One member: its key, its newest record, its endpoints, and the state of reaching it.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{
    book::{Endpoint, Origin, RecordOutcome},
    dial::{DialOutcome, Dialer, push_unique},
};
use crate::{
    crypto::{Crypto, PublicKey},
    id::{NodeId, PeerId},
    limits::{MAX_ENDPOINTS, MAX_HINTS},
    record::Record,
    rng::Rng,
    time::Instant,
    zoo::{self, Bug},
};

/// A member as the host knows it at the start.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// Its key, from the cluster file.
    pub public_key: PublicKey,
    /// Its record in the cluster file.
    pub lock_record: Option<Record>,
    /// Its newest record in our database.
    pub stored_record: Option<Record>,
    /// The endpoint that last led to a channel, from our database.
    pub last_good: Option<SocketAddr>,
    /// Endpoints that the operator names (TCP).
    pub hints: Vec<SocketAddr>,
}

impl MemberConfig {
    /// A member of which only the key is known.
    pub const fn new(public_key: PublicKey) -> Self {
        Self { public_key, lock_record: None, stored_record: None, last_good: None, hints: Vec::new() }
    }

    /// The member that a record in a cluster file stands for.
    pub fn from_lock(record: Record) -> Self {
        Self { lock_record: Some(record.clone()), ..Self::new(*record.public_key()) }
    }
}

/// Whether and why a member can or cannot be reached, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// It has a channel.
    Connected,
    /// It is being dialled or looked up, and no full round has failed yet.
    Trying,
    /// No endpoint of it is known; it is looked up.
    NoEndpoint,
    /// Every known endpoint failed in this many rounds; it goes on.
    Failed {
        /// Rounds so far.
        rounds: u8,
    },
}

/// A member other than ourselves.
#[derive(Debug)]
pub struct Member {
    position: usize,
    public_key: PublicKey,
    peer_id: PeerId,
    node_id: NodeId,
    lock_record: Option<Record>,
    newest: Option<(Record, Origin)>,
    last_good: Option<SocketAddr>,
    hints: heapless::Vec<SocketAddr, MAX_HINTS>,
    dialer: Dialer,
    is_connected: bool,
    dirty: bool,
    /// No member any more; the place is free.
    removed: bool,
}

impl Member {
    pub(super) fn new<C: Crypto>(crypto: &C, position: usize, config: &MemberConfig) -> Self {
        let own = |record: &&Record| *record.public_key() == config.public_key;
        let stored = config.stored_record.as_ref().filter(own);
        let lock = config.lock_record.as_ref().filter(own);
        let newest = match (stored, lock) {
            (Some(stored), Some(lock)) if lock.seq() > stored.seq() => Some((lock, Origin::Lock)),
            (Some(stored), _) => Some((stored, Origin::Database)),
            (None, lock) => lock.map(|lock| (lock, Origin::Lock)),
        };
        let mut hints = heapless::Vec::new();
        for hint in config.hints.iter().take(MAX_HINTS) {
            let _ = hints.push(*hint);
        }
        Self {
            position,
            public_key: config.public_key,
            peer_id: PeerId::from_public_key(&config.public_key),
            node_id: NodeId(crypto.keccak256(&[config.public_key.xy()])),
            lock_record: lock.cloned(),
            newest: newest.map(|(record, origin)| (record.clone(), origin)),
            last_good: config.last_good,
            hints,
            dialer: Dialer::new(),
            is_connected: false,
            dirty: false,
            removed: false,
        }
    }

    /// Takes it out of everything: it matches nothing, wants nothing, and nothing of it is stored.
    pub(super) fn remove(&mut self) {
        self.removed = true;
        self.is_connected = false;
        self.dirty = false;
        self.dialer = Dialer::new();
    }

    pub(super) const fn is_removed(&self) -> bool {
        self.removed
    }

    /// What a newer cluster file, and the operator, say of it.
    pub(super) fn update(&mut self, now: Instant, position: usize, config: &MemberConfig) {
        self.position = position;
        if let Some(record) = config.lock_record.as_ref().filter(|r| *r.public_key() == self.public_key) {
            self.lock_record = Some(record.clone());
        }
        // The one named first counts first.
        config.hints.iter().rev().for_each(|hint| self.add_hint(now, *hint));
    }

    /// Its position in the cluster file, from 0.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Its key.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Its libp2p peer id.
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Its discv5 node id.
    pub const fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Its newest record. Replaced only by one with a higher sequence number.
    pub fn record(&self) -> Option<&Record> {
        self.newest.as_ref().map(|(record, _)| record)
    }

    /// The endpoint that last led to a channel.
    pub const fn last_good(&self) -> Option<SocketAddr> {
        self.last_good
    }

    /// Whether it has a channel.
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether and why it can be reached.
    pub fn reachability(&self) -> Reachability {
        match (self.is_connected, self.dialer.failures()) {
            (true, _) => Reachability::Connected,
            (false, 0) => Reachability::Trying,
            (false, _) if self.known().is_empty() => Reachability::NoEndpoint,
            (false, rounds) => Reachability::Failed { rounds },
        }
    }

    /// Every TCP endpoint known, the most trusted first: what the operator says, what the newest
    /// record says when a peer just told it, what last worked, and what the files say.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> + use<> {
        self.known().into_iter()
    }

    fn known(&self) -> heapless::Vec<Endpoint, MAX_ENDPOINTS> {
        let mut list = heapless::Vec::new();
        for hint in &self.hints {
            push_unique(&mut list, *hint, Origin::Hint);
        }
        if let Some((record, Origin::Discovered)) = &self.newest {
            record.tcp_endpoints().for_each(|e| push_unique(&mut list, e, Origin::Discovered));
        }
        if let Some(endpoint) = self.last_good {
            push_unique(&mut list, endpoint, Origin::Database);
        }
        if let Some((record, origin)) = &self.newest {
            record.tcp_endpoints().for_each(|e| push_unique(&mut list, e, *origin));
        }
        if let Some(record) = &self.lock_record {
            record.tcp_endpoints().for_each(|e| push_unique(&mut list, e, Origin::Lock));
        }
        list
    }

    pub(super) fn dial_soon(&mut self, now: Instant) {
        if !self.is_connected && !self.removed {
            self.dialer.round_at(now);
        }
    }

    pub(super) fn offer_record(&mut self, now: Instant, record: &Record, origin: Origin) -> RecordOutcome {
        if let Some((known, _)) = &self.newest {
            if record.seq() < known.seq() || record.same_content(known) {
                return RecordOutcome::Known;
            }
            if record.seq() == known.seq() && !zoo::has(Bug::EqualSeqTaken) {
                return RecordOutcome::Conflict;
            }
        }
        self.newest = Some((record.clone(), origin));
        self.dirty = true;
        if !self.is_connected {
            self.dialer.try_now(now);
        }
        RecordOutcome::Updated
    }

    pub(super) fn add_hint(&mut self, now: Instant, endpoint: SocketAddr) {
        if self.hints.contains(&endpoint) {
            return;
        }
        if self.hints.is_full() {
            self.hints.pop();
        }
        // The newest word of the operator counts first.
        let _ = self.hints.insert(0, endpoint);
        if !self.is_connected {
            self.dialer.try_now(now);
        }
    }

    pub(super) fn look_up_later(&mut self, now: Instant) {
        if !self.is_connected {
            self.dialer.look_up_later(now);
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, rng: &mut Rng) {
        self.dialer.attempt_ended(now, rng);
    }

    pub(super) fn connected(&mut self, dialled: Option<SocketAddr>, attempt: bool) {
        self.is_connected = true;
        self.dialer.stop(attempt);
        if dialled.is_some() && self.last_good != dialled {
            self.last_good = dialled;
            self.dirty = true;
        }
    }

    pub(super) fn disconnected(&mut self, now: Instant, rng: &mut Rng) {
        self.is_connected = false;
        self.dialer.restart(now, rng);
    }

    pub(super) fn poll(&mut self, now: Instant, rng: &mut Rng, may_dial: bool) -> Option<DialOutcome> {
        if !self.dialer.is_due(now, may_dial) {
            return None;
        }
        // `Dialer::poll` asks for the endpoints only when a round begins.
        let mut dialer = core::mem::replace(&mut self.dialer, Dialer::new());
        let outcome = dialer.poll(now, rng, may_dial, || self.known());
        self.dialer = dialer;
        outcome
    }

    pub(super) fn next_timeout(&self, may_dial: bool) -> Option<Instant> {
        self.dialer.next_timeout(may_dial)
    }

    pub(super) fn take_dirty(&mut self) -> bool {
        core::mem::take(&mut self.dirty)
    }

    pub(super) const fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(super) fn mark_dirty(&mut self) {
        self.dirty = true;
    }
}
