//! What time brings: tries that were not answered, checks, lookups.

use core::time::Duration;

use super::{
    counters::count,
    event::{Event, RequestFailure, waiting},
    gathered::Gathered,
    lookup::{Lookup, LookupOptions, LookupOrigin, Patience, Step},
    machine::{Discovery, OWN_LOOKUPS, owed},
    peer::Peer,
    requests::{Ask, Nodes, Origin, Outcome, Phase},
    responses::{Answer, Response, TalkPhase},
    table::{Table, jitter},
};
use crate::{
    collections::Key,
    crypto::Crypto,
    id::NodeId,
    limits::{ANSWER_RETRY, JOIN_WAIT},
    time::{Instant, earlier},
};

/// When something is tried again that found its pool full.
const PUT_OFF: Duration = Duration::from_millis(250);

/// The least pause between two lookups that refresh the table.
const LEAST_REFRESH: Duration = Duration::from_secs(1);

impl<C: Crypto> Discovery<C> {
    /// Does what is due at `now`. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.now.advance(now);
        self.challenges.expire(now);
        self.sessions.expire(now);
        while let Some(place) = self.requests.deadlines.pop(now) {
            if let Some(key) = self.requests.key_at(place) {
                self.try_over(now, key);
            }
        }
        while let Some(place) = self.talks.deadlines.pop(now) {
            if let Some(key) = self.talks.peers.key_at(place) {
                self.talk_over(now, key);
            }
        }
        self.check_due(now);
        if self.own_lookup_at.is_some_and(|at| at <= now) {
            self.own_lookup_at = None;
            let local = self.local.node_id();
            self.begin_own_lookup(now, local, LookupOrigin::Own);
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            let every = self.config.refresh.max(LEAST_REFRESH);
            self.refresh_at = Some(now + every / 2 + jitter(every, &mut self.rng));
            let target = self.refresh_target();
            self.begin_own_lookup(now, target, LookupOrigin::Refresh);
        }
        if self.lookups_at.is_some_and(|at| at <= now) {
            self.lookups_at = None;
            for index in 0..self.lookups.capacity() {
                if let Some(key) = self.lookups.key_at(index) {
                    self.drive_lookup(now, key);
                }
            }
        }
    }

    /// The time of one try is over.
    fn try_over(&mut self, now: Instant, key: Key) {
        let attempts = self.config.attempts;
        let Some(request) = self.requests.get_mut(key) else { return };
        match (&request.phase, &request.ask) {
            (Phase::Done(_), _) => {}
            // Part of an answer came: that is the answer.
            (_, Ask::FindNode(nodes)) if nodes.packets > 0 => {
                let count = nodes.count;
                self.finish(now, key, Outcome::Nodes { count });
            }
            (Phase::InFlight, _) if request.tries < attempts => {
                request.phase = Phase::Owed { free: false };
                self.owed.add(owed::REQUEST, key.index());
            }
            _ => {
                count(&mut self.counters.requests_timed_out);
                self.finish(now, key, Outcome::Failed(RequestFailure::Timeout));
            }
        }
    }

    /// The time of a TALKREQ of a peer is over: unanswered it gets an empty answer, so that the peer
    /// need not wait; an answer that was sent is kept no longer.
    fn talk_over(&mut self, now: Instant, key: Key) {
        let Some(talk) = self.talks.peers.get_mut(key) else { return };
        if talk.phase == TalkPhase::Sent {
            self.talks.close(key);
            return;
        }
        if self.responses.is_full() {
            self.talks.deadlines.set(key.index(), now + ANSWER_RETRY);
            return;
        }
        let (peer, wire_id, generation) = (talk.peer, talk.wire_id, talk.generation);
        talk.set_answer(&[]);
        count(&mut self.counters.talks_unanswered);
        self.respond(Response { peer, wire_id, generation, repeated: false, answer: Answer::Talk(key) });
    }

    // --- Checks of the table's nodes ---

    fn check_due(&mut self, now: Instant) {
        while let Some(key) = self.table.due(now) {
            let Some(contact) = self.table.check_contact(key) else {
                // Nowhere to ask; a contact brings the check back.
                continue;
            };
            if self.begin_request(contact, Ask::Ping, Origin::Check).is_some() {
                self.table.checking(key);
            } else {
                count(&mut self.counters.requests_put_off);
                self.table.check_later(key, now + PUT_OFF + jitter(PUT_OFF, &mut self.rng));
            }
        }
    }

    /// A check was not answered.
    pub(super) fn check_failed(&mut self, now: Instant, peer: &Peer) {
        let node = self.table.failed(&peer.id, peer.endpoint, now, &mut self.rng);
        self.node_news(node);
        if node.is_none() {
            // A stranger was forgotten, record and all. Its next packet is to bring it back: without a session that is
            // owed a WHOAREYOU, and the handshake shows the record. Silence in the session itself is nothing that
            // anybody off the path can bring about; a member is never forgotten.
            self.sessions.remove_peer(peer);
            self.event(Event::Unreachable { id: peer.id, endpoint: peer.endpoint });
        }
        if self.table.is_alone() && self.own_lookup_at.is_none() {
            let pause = self.config.bootstrap_retry;
            self.own_lookup_at = Some(now + pause / 2 + jitter(pause, &mut self.rng));
        }
    }

    // --- Lookups ---

    /// A lookup of the table's own; they may not take the embedder's places.
    fn begin_own_lookup(&mut self, now: Instant, target: NodeId, origin: LookupOrigin) {
        let own = self.lookups.iter().filter(|(_, lookup)| lookup.origin != LookupOrigin::User).count();
        let options = LookupOptions::default();
        if own >= OWN_LOOKUPS || self.begin_lookup(now, target, origin, options).is_none() {
            count(&mut self.counters.requests_put_off);
            if origin == LookupOrigin::Own {
                self.own_lookup_at = Some(now + PUT_OFF);
            }
        }
    }

    /// Begins a lookup from the nodes of the table; `None` when there are too many.
    pub(super) fn begin_lookup(
        &mut self,
        now: Instant,
        target: NodeId,
        origin: LookupOrigin,
        options: LookupOptions,
    ) -> Option<Key> {
        let users = self.lookups.iter().filter(|(_, lookup)| lookup.origin == LookupOrigin::User).count();
        if origin == LookupOrigin::User && users >= self.config.lookups {
            return None;
        }
        let mut lookup = Lookup::new(target, origin, options, now + self.config.lookup_timeout);
        if origin == LookupOrigin::User {
            lookup.gathered = self.gathered.insert(Gathered::default()).ok();
        }
        let key = self.lookups.insert(lookup).ok()?;
        self.refreshed[self.table.bucket(&target)] = now;
        let waits = origin == LookupOrigin::User && self.is_joining();
        match self.lookups.get_mut(key).filter(|_| waits) {
            Some(lookup) => lookup.waits_until = Some(now + JOIN_WAIT),
            None => self.fill_lookup(key),
        }
        self.drive_lookup(now, key);
        Some(key)
    }

    /// Whether nobody in the table has answered yet, and the lookup of the own id, after which more are known, is
    /// under way or about to be.
    fn is_joining(&self) -> bool {
        let own = self.lookups.iter().any(|(_, lookup)| lookup.origin == LookupOrigin::Own);
        (own || self.own_lookup_at.is_some_and(|at| at <= self.now)) && self.table.is_alone()
    }

    /// Gives a lookup the nodes of the table to begin with.
    fn fill_lookup(&mut self, key: Key) {
        let Some(lookup) = self.lookups.get_mut(key) else { return };
        let target = lookup.target;
        lookup.waits_until = None;
        for (_, node) in self.table.iter().filter(|(_, node)| Table::worth_asking(node)) {
            if let Some(contact) = self.table.contact(node) {
                let limited = self.table.limited(contact.peer.endpoint.ip()) && !node.kept;
                if !lookup.add(&contact, None, limited && contact.peer.id != target) {
                    count(&mut self.counters.lookup_prefix_limit);
                }
            }
        }
        lookup.split();
    }

    /// Sends what a lookup asks for next, or ends it.
    pub(super) fn drive_lookup(&mut self, now: Instant, key: Key) {
        let patience = Patience { soft: self.config.query_patience, hard: self.config.query_timeout };
        if self.lookups.get(key).and_then(|lookup| lookup.waits_until).is_some_and(|until| until <= now) {
            self.fill_lookup(key);
        }
        // Every turn asks another candidate, so there are no more turns than candidates.
        while let Some(lookup) = self.lookups.get_mut(key).filter(|lookup| !lookup.done) {
            match lookup.step(now, patience) {
                Step::Ask(contact, distances) => {
                    let Some(nodes) = Nodes::new(&distances) else { return };
                    if self.begin_request(contact, Ask::FindNode(nodes), Origin::Query(key)).is_none() {
                        count(&mut self.counters.requests_put_off);
                        if let Some(lookup) = self.lookups.get_mut(key) {
                            lookup.put_off(&contact.peer.id);
                        }
                        self.lookups_at = earlier(self.lookups_at, Some(now + PUT_OFF));
                        return;
                    }
                }
                Step::Wait(until) => {
                    self.lookups_at = earlier(self.lookups_at, Some(until));
                    return;
                }
                Step::Done => return self.lookup_done(now, key),
            }
        }
    }

    fn lookup_done(&mut self, now: Instant, key: Key) {
        let Some(lookup) = self.lookups.get_mut(key) else { return };
        lookup.done = true;
        let (origin, answered) = (lookup.origin, lookup.answered);
        self.hearsay.end(key);
        if origin == LookupOrigin::User {
            self.events.places.add(waiting::LOOKUP, key.index());
            return;
        }
        self.lookups.remove(key);
        if origin == LookupOrigin::Own {
            self.begin_waiting(now);
        }
        if origin == LookupOrigin::Own && answered == 0 && self.table.len() > 0 {
            let pause = self.config.bootstrap_retry;
            self.own_lookup_at = Some(now + pause / 2 + jitter(pause, &mut self.rng));
        }
    }

    /// The own id was looked up: now the lookups that waited for that have nodes to begin with.
    fn begin_waiting(&mut self, now: Instant) {
        for place in 0..self.lookups.capacity() {
            let Some(key) = self.lookups.key_at(place) else { continue };
            if self.lookups.get(key).is_some_and(|lookup| lookup.waits_until.is_some()) {
                self.fill_lookup(key);
                self.drive_lookup(now, key);
            }
        }
    }

    /// A random id in the bucket that was refreshed least recently, the farthest first (discv5
    /// theory, "Table Maintenance In Practice"); in the last, which holds all that is nearer, any.
    fn refresh_target(&mut self) -> NodeId {
        let stalest = self.refreshed.iter().enumerate().min_by_key(|(_, at)| **at);
        // As many leading bits are shared.
        let shared = stalest.map_or(0, |(class, _)| class);
        let local = self.local.node_id().0;
        let mut target = self.rng.array::<32>();
        for (i, byte) in target.iter_mut().enumerate() {
            let bits = shared.saturating_sub(8 * i).min(8) as u32;
            let keep = !(0xff_u8.checked_shr(bits).unwrap_or(0));
            *byte = (local[i] & keep) | (*byte & !keep);
        }
        let (byte, bit) = (shared / 8, 0x80_u8 >> (shared % 8));
        if let (Some(to), Some(own)) = (target.get_mut(byte), local.get(byte)) {
            *to = (*to & !bit) | (!own & bit);
        }
        NodeId(target)
    }
}
