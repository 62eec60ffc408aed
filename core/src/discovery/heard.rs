//! Records that lookups were told of and whose signature was not checked: most of them are never of use.
//!
//! One is checked when its lookup is about to ask its node, or to hand it out as a result; only then may it
//! come into the table. Until then nothing leaves this pool. Who tells of a node with a record that nobody
//! signed hides nobody: other bytes for the same node have both checked.

use super::{
    counters::count,
    event::RecordSource,
    machine::Discovery,
    peer::Peer,
    receive::{Incoming, Unverified},
    requests::{Contact, Origin},
};
use crate::{
    collections::{Key, Slab},
    crypto::Crypto,
    id::NodeId,
    limits::{HEARD_PER_LOOKUP, MAX_RECORD_SIZE},
    record::{Claim, Form, Owner, Record, RecordError},
    time::Instant,
};

/// A record that a lookup was told of.
#[derive(Debug)]
pub(super) struct Heard {
    lookup: Key,
    bytes: heapless::Vec<u8, MAX_RECORD_SIZE, u16>,
    owner: Owner,
    /// Who told of it.
    by: NodeId,
    /// Its signature holds.
    verified: bool,
    /// Its node was asked: it stays until the answer.
    asked: bool,
}

impl Heard {
    /// Its form, read again.
    fn claim(&self) -> Result<Claim<'_>, RecordError> {
        Ok(Form::read(&self.bytes)?.owned_by(self.owner))
    }

    /// The record, if its signature was checked.
    fn record(&self) -> Option<Record> {
        self.claim().ok().filter(|_| self.verified)?.trust().ok()
    }
}

/// The pool of all lookups.
#[derive(Debug)]
pub(super) struct Hearsay {
    pool: Slab<Heard>,
}

impl Hearsay {
    /// For so many lookups.
    pub(super) fn new(lookups: usize) -> Self {
        Self { pool: Slab::new(lookups * HEARD_PER_LOOKUP) }
    }

    /// What a lookup heard of a node.
    fn find(&self, lookup: Key, id: &NodeId) -> Option<Key> {
        let mut all = self.pool.iter();
        all.find(|(_, heard)| heard.lookup == lookup && heard.owner.node_id() == *id).map(|(key, _)| key)
    }

    /// Whether a lookup heard these very bytes.
    pub(super) fn knows(&self, lookup: Key, bytes: &[u8]) -> bool {
        self.pool.iter().any(|(_, heard)| heard.lookup == lookup && heard.bytes == bytes)
    }

    fn get(&self, key: Key) -> Option<&Heard> {
        self.pool.get(key)
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut Heard> {
        self.pool.get_mut(key)
    }

    fn remove(&mut self, key: Key) -> Option<Heard> {
        self.pool.remove(key)
    }

    /// Takes a record in; false when there is no room.
    fn insert(&mut self, lookup: Key, claim: &Claim<'_>, by: NodeId) -> bool {
        let Ok(bytes) = heapless::Vec::from_slice(claim.as_bytes()) else { return false };
        self.pool
            .insert(Heard { lookup, bytes, owner: claim.owner(), by, verified: false, asked: false })
            .is_ok()
    }

    /// Of what a lookup heard and has no use for yet, the one farthest from its target.
    fn farthest(&self, lookup: Key, target: &NodeId) -> Option<(Key, NodeId)> {
        let unused = self.pool.iter().filter(|(_, heard)| heard.lookup == lookup && !heard.asked);
        let ids = unused.map(|(key, heard)| (key, heard.owner.node_id()));
        ids.max_by_key(|(_, id)| target.xor(id))
    }

    fn is_full(&self) -> bool {
        self.pool.is_full()
    }

    /// A lookup ended: what it did not use goes.
    pub(super) fn end(&mut self, lookup: Key) {
        let unused = |heard: &Heard| heard.lookup == lookup && !heard.asked;
        for place in 0..self.pool.capacity() {
            if let Some(key) = self.pool.key_at(place)
                && self.pool.get(key).is_some_and(unused)
            {
                self.pool.discard(key);
            }
        }
    }
}

impl<C: Crypto> Discovery<C> {
    /// Keeps a record for a lookup without checking its signature. False when it has to be checked now: because
    /// the lookup is one that chooses by records or knows other bytes for this node, or for want of room.
    pub(super) fn put_by(&mut self, key: Key, peer: &Peer, incoming: &Incoming<'_>) -> bool {
        let claim = &incoming.claim;
        let id = claim.node_id();
        let Some(lookup) = self.lookups.get_mut(key).filter(|lookup| lookup.is_patient()) else {
            return false;
        };
        if id == lookup.target {
            return false;
        }
        if lookup.has(&id) {
            // Unless it said something else before, there is nothing new.
            return incoming.verified;
        }
        let Some(endpoint) = self.table.reachable(claim.udp_endpoints()).next() else { return true };
        if self.hearsay.is_full() {
            let target = lookup.target;
            let farthest = self.hearsay.farthest(key, &target);
            let Some((far, far_id)) = farthest else { return false };
            if target.xor(&far_id) < target.xor(&id) {
                return true;
            }
            self.hearsay.remove(far);
            lookup.forget(&far_id);
        }
        let limited = self.table.limited(endpoint.ip());
        let contact = Contact::new(id, endpoint, *claim.public_key());
        if !lookup.add(&contact, Some(&peer.id), limited) {
            count(&mut self.counters.lookup_prefix_limit);
        } else if lookup.has(&id) {
            self.hearsay.insert(key, claim, peer.id);
        }
        true
    }

    /// Checks the signature of what a lookup heard of a node, if it was not checked yet. If it does not hold, the
    /// lookup forgets the node: somebody else may tell of it truly. False then.
    pub(super) fn confirm_heard(&mut self, crypto: &C, now: Instant, lookup: Key, id: &NodeId) -> bool {
        let Some(key) = self.hearsay.find(lookup, id) else { return true };
        let Some(heard) = self.hearsay.get(key).filter(|heard| !heard.verified) else { return true };
        let bytes = heard.bytes.clone();
        let incoming = Incoming::read(crypto, &bytes, self.verified.known(&bytes));
        let record = incoming.map(|incoming| self.verified_record(crypto, now, incoming, false));
        let Some(lookup) = self.lookups.get_mut(lookup) else { return false };
        match (record, self.hearsay.get_mut(key)) {
            (Ok(Ok(record)), Some(heard)) => {
                heard.verified = true;
                lookup.found(&mut self.gathered, &record, false);
                true
            }
            (record, _) => {
                if record != Ok(Err(Unverified::Budget)) {
                    count(&mut self.counters.record_invalid);
                }
                self.hearsay.remove(key);
                lookup.forget(id);
                false
            }
        }
    }

    /// Whether a query may go out: its lookup goes on, and the record that names its node is signed.
    pub(super) fn may_query(&mut self, crypto: &C, now: Instant, origin: Origin, id: &NodeId) -> bool {
        let Origin::Query(lookup) = origin else { return true };
        let goes_on = self.lookups.get(lookup).is_some_and(|lookup| !lookup.done);
        if !goes_on || !self.confirm_heard(crypto, now, lookup, id) {
            return false;
        }
        if let Some(heard) = self.hearsay.find(lookup, id).and_then(|key| self.hearsay.get_mut(key)) {
            heard.asked = true;
        }
        true
    }

    /// A query ended: one who answered has earned a place in the table.
    pub(super) fn query_ended(&mut self, now: Instant, lookup: Key, peer: &Peer, answered: bool) {
        let heard = self.hearsay.find(lookup, &peer.id).and_then(|key| self.hearsay.remove(key));
        let record = heard.filter(|_| answered).and_then(|heard| Some((heard.record()?, heard.by)));
        if let Some((record, by)) = record {
            self.offer(&record, RecordSource::Relayed(by), peer.endpoint, now);
            self.table.seen_at(&peer.id, peer.endpoint, now, &mut self.rng);
        }
    }

    /// The answer of `id` is complete. If the lookup thereby ends early, those whom it did not ask are among its
    /// results too.
    pub(super) fn settle_lookup(&mut self, crypto: &C, now: Instant, key: Key, id: &NodeId, told: usize) {
        let Some(lookup) = self.lookups.get_mut(key) else { return };
        if !lookup.settle(id, told) {
            return;
        }
        for near in lookup.nearest() {
            self.confirm_heard(crypto, now, key, &near);
            self.found_unasked(now, key, &near);
        }
    }

    /// A node that a lookup did not ask is one of its results: what was verified may as well fill the table.
    fn found_unasked(&mut self, now: Instant, lookup: Key, id: &NodeId) {
        let heard = self.hearsay.find(lookup, id).and_then(|key| self.hearsay.get(key));
        let record = heard.filter(|heard| !heard.asked).and_then(|heard| Some((heard.record()?, heard.by)));
        if let Some((record, by)) = record
            && let Some(at) = record.udp_endpoints().next()
        {
            self.offer(&record, RecordSource::Relayed(by), at, now);
        }
        if let (Some(node), Some(lookup)) = (self.table.find(id), self.lookups.get_mut(lookup)) {
            lookup.found(&mut self.gathered, &node.record, node.member);
        }
    }
}
