//! Which nodes of the table are alive: when each is pinged, and what an answer or its absence means
//! (discv5 theory, "Table Maintenance In Practice").
//!
//! A node that is new, or moved, is pinged within seconds; an old one at a slow, random rate.

use core::{net::SocketAddr, time::Duration};

use super::{
    event::RecordSource,
    requests::Contact,
    table::{ENTRIES, Node, SPARES, Table, Verdict, jitter},
};
use crate::{
    collections::Key,
    id::NodeId,
    limits::{BUCKET_SIZE, INBOUND_PER_BUCKET, SEED_CHECK, SESSION_CHECK, TOLD_CHECK},
    rng::Rng,
    time::Instant,
};

/// Successful checks after which a node may miss some (discv5 theory, "Table Maintenance").
const TRUSTED_AFTER: u32 = 5;
/// Failed checks that a trusted node may have in a row.
const TRUSTED_FAILURES: u8 = 2;
/// The first pause before a kept node that did not answer is checked again; it doubles each time.
const RETRY_KEPT: Duration = Duration::from_secs(2);
/// The pause between two requests for the newer record that a node claims to have.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);

/// What an answered PING did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// The node; `None` when it is not in the table.
    pub(super) node: Option<Key>,
    /// It found no place among those who came to us.
    pub(super) inbound_limit: bool,
}

impl Table {
    /// When the next check is due.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.checks.next()
    }

    /// A node whose check is due. Its next check is set by [`Table::answered`] or [`Table::failed`].
    pub(super) fn due(&mut self, now: Instant) -> Option<Key> {
        let place = self.checks.pop(now)?;
        self.nodes.key_at(place)
    }

    /// Where to check a node: where it is known to be, and every second time at an endpoint of its
    /// record that has not answered, so that each of them is verified by itself.
    pub(super) fn check_contact(&mut self, key: Key) -> Option<Contact> {
        let node = self.nodes.get_mut(key)?;
        let probe = node.probe && node.verified();
        node.probe = !node.probe;
        let node = self.nodes.get(key)?;
        let silent = |at: &SocketAddr| !node.answered_at[usize::from(at.is_ipv4())];
        let other = self.endpoints(node).into_iter().find(|at| probe && silent(at));
        let contact = self.contact(node)?;
        Some(other.map_or(contact, |at| Contact::new(contact.peer.id, at, contact.public_key)))
    }

    /// Marks a check as under way.
    pub(super) fn checking(&mut self, key: Key) {
        if let Some(node) = self.nodes.get_mut(key) {
            node.checking = true;
        }
    }

    /// Sets a check within the time for fresh nodes, unless one is under way or due sooner, or the
    /// node was not heard from where its record says.
    pub(super) fn check_soon(&mut self, key: Key, now: Instant, rng: &mut Rng) {
        self.check_within(self.config.fresh_check, key, now, rng);
    }

    fn check_within(&mut self, most: Duration, key: Key, now: Instant, rng: &mut Rng) {
        let when = now + jitter(most, rng);
        let sooner = self.checks.of(key.index()).is_none_or(|due| when < due);
        if sooner && self.get(key).is_some_and(|node| !node.checking && !node.unproven) {
            self.checks.set(key.index(), when);
        }
    }

    /// Sets a check of a node that has not answered yet and with which there is a session now.
    fn check_in_session(&mut self, key: Key, now: Instant, rng: &mut Rng) {
        if self.get(key).is_some_and(|node| !node.verified()) {
            self.check_within(SESSION_CHECK, key, now, rng);
        }
    }

    /// Sets the first check of a node that came in like this.
    pub(super) fn check_first(&mut self, key: Key, source: RecordSource, now: Instant, rng: &mut Rng) {
        let told = matches!(source, RecordSource::Relayed(_));
        let most = if told { TOLD_CHECK } else { self.config.fresh_check };
        self.check_within(most, key, now, rng);
    }

    /// Sets the first check of a node that the embedder named.
    pub(super) fn check_kept(&mut self, key: Key, now: Instant, rng: &mut Rng) {
        let member = self.get(key).is_some_and(|node| node.member);
        let most = if member { self.config.fresh_check } else { SEED_CHECK };
        self.check_within(most, key, now, rng);
    }

    /// Tries again later, without a verdict.
    pub(super) fn check_later(&mut self, key: Key, when: Instant) {
        self.checks.set(key.index(), when);
    }

    /// Sets the check of a node to `now`, unless one is under way.
    pub(super) fn check_now(&mut self, id: &NodeId, now: Instant) {
        if let Some(key) = self.nodes.find(id)
            && self.get(key).is_some_and(|node| !node.checking && !node.unproven)
        {
            self.checks.set(key.index(), now);
        }
    }

    /// Sets a check of everybody in the table: our record changed. Members come first.
    pub(super) fn check_all(&mut self, now: Instant, rng: &mut Rng) {
        for place in 0..self.nodes.capacity() {
            let Some(key) = self.nodes.key_at(place) else { continue };
            let Some(node) = self.nodes.get_mut(key) else { continue };
            if node.member {
                node.checking = false;
                self.checks.set(place, now);
            } else if node.verified() || node.kept {
                self.check_soon(key, now, rng);
            }
        }
    }

    /// A node answered a PING at `endpoint`.
    pub(super) fn answered(
        &mut self,
        id: &NodeId,
        endpoint: SocketAddr,
        rtt: Option<Duration>,
        now: Instant,
        rng: &mut Rng,
    ) -> Checked {
        let Some(key) = self.nodes.find(id) else { return Checked { node: None, inbound_limit: false } };
        let own_endpoint = self.get(key).is_some_and(|node| names(node, endpoint));
        let Some(node) = self.nodes.get_mut(key) else { return Checked { node: None, inbound_limit: false } };
        node.answered = node.answered.saturating_add(1);
        node.failures = 0;
        node.checking = false;
        node.unproven = false;
        node.answered_at[usize::from(endpoint.is_ipv4())] |= own_endpoint;
        node.contact = Some(endpoint);
        node.news.checked = Some((endpoint, Verdict::Reachable(rtt)));
        let every = if node.member { self.config.member_check } else { self.config.check };
        self.checks.set(key.index(), now + every / 2 + jitter(every, rng));
        let inbound_limit = own_endpoint && !self.promote(key, endpoint);
        Checked { node: Some(key), inbound_limit }
    }

    /// A spare that answered takes a place, if there is one; false when it is kept out because there
    /// are enough in the bucket who came to us.
    fn promote(&mut self, key: Key, endpoint: SocketAddr) -> bool {
        let Some(node) = self.get(key) else { return true };
        let bucket = self.bucket(&node.record.node_id());
        let inbound = node.inbound && self.limited(endpoint.ip());
        if self.lists.list_of(key.index()) != Some(SPARES + bucket)
            || self.lists.len(ENTRIES + bucket) >= BUCKET_SIZE
        {
            return true;
        }
        if inbound {
            let entries = self.lists.iter(ENTRIES + bucket).filter_map(|place| self.nodes.key_at(place));
            let came = entries.filter(|key| self.get(*key).is_some_and(|node| node.inbound)).count();
            if came >= INBOUND_PER_BUCKET {
                return false;
            }
        }
        self.lists.push(ENTRIES + bucket, key.index());
        true
    }

    /// A node did not answer a check at `endpoint`.
    pub(super) fn failed(
        &mut self,
        id: &NodeId,
        endpoint: SocketAddr,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<Key> {
        let key = self.nodes.find(id)?;
        let bucket = self.bucket(id);
        let is_elsewhere = self.get(key).is_some_and(|node| !self.endpoints(node).contains(&endpoint));
        let node = self.nodes.get_mut(key)?;
        node.checking = false;
        if is_elsewhere {
            // It moved while it was asked at its old place: that says nothing of the new one.
            self.check_soon(key, now, rng);
            return Some(key);
        }
        let every = if node.member { self.config.member_check } else { self.config.check };
        let family = usize::from(endpoint.is_ipv4());
        if !node.answered_at[family] && node.verified() && node.contact != Some(endpoint) {
            // It is alive, only not at its other endpoint.
            self.checks.set(key.index(), now + every / 2 + jitter(every, rng));
            return Some(key);
        }
        node.failures = node.failures.saturating_add(1);
        node.news.checked = Some((endpoint, Verdict::Unreachable));
        if node.kept {
            node.answered_at[family] = false;
            let pause = RETRY_KEPT * (1 << u32::from(node.failures.min(6)));
            let pause = pause.min(self.config.member_check * 3);
            self.checks.set(key.index(), now + pause / 2 + jitter(pause / 2, rng));
            return Some(key);
        }
        if node.answered >= TRUSTED_AFTER && node.failures <= TRUSTED_FAILURES {
            self.checks.set(key.index(), now + RETRY_KEPT + jitter(RETRY_KEPT, rng));
            return Some(key);
        }
        let was_entry = self.lists.list_of(key.index()) == Some(ENTRIES + bucket);
        self.drop_node(key);
        if was_entry {
            // A place is free: the newest spare is the likeliest to answer.
            let newest = self.lists.iter(SPARES + bucket).last();
            if let Some(spare) = newest.and_then(|place| self.nodes.key_at(place)) {
                self.check_soon(spare, now, rng);
            }
        }
        None
    }

    /// A node was authenticated at `endpoint`. For a kept one this is worth remembering, since its
    /// record may name no endpoint or an old one; a stranger may be asked now where its record says.
    pub(super) fn seen_at(&mut self, id: &NodeId, endpoint: SocketAddr, now: Instant, rng: &mut Rng) {
        let Some(key) = self.nodes.find(id) else { return };
        let bucket = self.bucket(id);
        let room = self.lists.len(ENTRIES + bucket) < BUCKET_SIZE;
        if room {
            self.check_in_session(key, now, rng);
        }
        let Some(node) = self.nodes.get_mut(key) else { return };
        if node.kept {
            if !node.verified() && node.contact != Some(endpoint) {
                node.contact = Some(endpoint);
                node.failures = 0;
                self.check_soon(key, now, rng);
            }
        } else if node.unproven && names(node, endpoint) {
            node.unproven = false;
            if room {
                self.check_soon(key, now, rng);
            }
        }
    }

    /// Whether the newer record that a node claims to have should be asked for now.
    pub(super) fn wants_refresh(&mut self, id: &NodeId, enr_seq: u64, now: Instant) -> bool {
        let Some(node) = self.nodes.find(id).and_then(|key| self.nodes.get_mut(key)) else { return false };
        let wanted = enr_seq > node.record.seq() && now >= node.refresh_from;
        if wanted {
            node.refresh_from = now + REFRESH_PAUSE;
        }
        wanted
    }

    /// Whether nobody in the table is known to be alive.
    pub(super) fn is_alone(&self) -> bool {
        !self.iter().any(|(_, node)| node.verified())
    }
}

/// Whether a node's record names `endpoint`.
fn names(node: &Node, endpoint: SocketAddr) -> bool {
    node.record.udp_endpoints().any(|own| super::peer::canonical(own) == endpoint)
}
