//! The routing table (discv5 theory, "Node Table"): who is known, who is alive, who may be relayed.
//!
//! One pool of nodes. A node stands in one of three kinds of list, one of each kind a distance class:
//! *kept* (members and seeds: never evicted, not counted), *entries* (answered a PING; at most k) and
//! *spares* (seen, waiting to be verified or for a place). Only a node that answered a PING at an
//! endpoint of its record is relayed. When each node is checked next stands in one heap of deadlines.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    config::Config,
    event::RecordSource,
    peer::{Scope, canonical, prefix},
    requests::Contact,
};
use crate::{
    collections::{Deadlines, Key, Keyed, Lists},
    id::NodeId,
    limits::{BUCKET_SIZE, BUCKET_SPARES, BUCKETS, PREFIX_PER_BUCKET, PREFIX_PER_TABLE},
    record::Record,
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

/// A node of the table.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) record: Record,
    pub(super) member: bool,
    /// Never evicted: a member, or added by the embedder.
    kept: bool,
    /// Where it was last authenticated.
    contact: Option<SocketAddr>,
    /// It answered a PING at an endpoint of its present record, and no check failed since.
    pub(super) verified: bool,
    answered: u32,
    failures: u8,
    /// A check is under way.
    checking: bool,
    /// No request for its newer record before this.
    refresh_from: Instant,
    pub(super) news: News,
}

/// What the embedder was not told yet about a node.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) record: Option<RecordSource>,
    pub(super) reachable: Option<(SocketAddr, Option<Duration>)>,
    pub(super) unreachable: Option<SocketAddr>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It is new, or newer than the one before: there is news.
    Taken(Key),
    /// It is known, or older.
    Known(Key),
    /// It has a known sequence number and other content; the first is kept.
    Equivocation,
    /// Too many nodes of its address prefix.
    PrefixLimit,
    /// No room, no endpoint, or our own.
    Refused,
}

/// Kinds of lists.
const KEPT: usize = 0;
const ENTRIES: usize = BUCKETS;
const SPARES: usize = 2 * BUCKETS;

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    local: NodeId,
    nodes: Keyed<NodeId, Node>,
    lists: Lists,
    checks: Deadlines,
    config: TableConfig,
}

#[derive(Debug)]
struct TableConfig {
    fresh_check: Duration,
    member_check: Duration,
    check: Duration,
    ipv4: bool,
    ipv6: bool,
    prefix_limits: bool,
}

impl Table {
    pub(super) fn new(config: &Config, local: NodeId, rng: &mut Rng) -> Self {
        Self {
            local,
            nodes: Keyed::new(config.nodes, rng),
            lists: Lists::new(3 * BUCKETS, config.nodes),
            checks: Deadlines::new(config.nodes),
            config: TableConfig {
                fresh_check: config.fresh_check,
                member_check: config.member_check,
                check: config.check,
                ipv4: config.ipv4,
                ipv6: config.ipv6,
                prefix_limits: config.prefix_limits,
            },
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn find(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.find(id).and_then(|key| self.nodes.get(key))
    }

    /// A node with its key.
    pub(super) fn entry(&self, id: &NodeId) -> Option<(Key, &Node)> {
        let key = self.nodes.find(id)?;
        Some((key, self.nodes.get(key)?))
    }

    pub(super) fn get(&self, key: Key) -> Option<&Node> {
        self.nodes.get(key)
    }

    pub(super) fn key_at(&self, index: usize) -> Option<Key> {
        self.nodes.key_at(index)
    }

    pub(super) fn news(&mut self, key: Key) -> Option<(&Record, &mut News)> {
        self.nodes.get_mut(key).map(|node| (&node.record, &mut node.news))
    }

    /// The sequence number of the record we have of `id`; 0 for none.
    pub(super) fn seq(&self, id: &NodeId) -> u64 {
        self.find(id).map_or(0, |node| node.record.seq())
    }

    pub(super) fn is_member(&self, id: &NodeId) -> bool {
        self.find(id).is_some_and(|node| node.member)
    }

    /// All nodes, by place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Node)> {
        self.nodes.iter().map(|(key, _, node)| (key, node))
    }

    /// Takes in a record that the embedder vouches for. It is never evicted.
    pub(super) fn keep(&mut self, record: &Record, member: bool, now: Instant, rng: &mut Rng) -> Offered {
        if record.node_id() == self.local {
            return Offered::Refused;
        }
        if let Some(key) = self.nodes.find(&record.node_id()) {
            let offered = self.renew(key, record, None, now, rng);
            let bucket = self.bucket(&record.node_id());
            self.lists.push(KEPT + bucket, key.index());
            if let Some(node) = self.nodes.get_mut(key) {
                node.kept = true;
                node.member |= member;
            }
            self.check_soon(key, now, rng);
            return offered;
        }
        match self.insert(record, member, true, KEPT) {
            Some(key) => {
                self.check_soon(key, now, rng);
                Offered::Taken(key)
            }
            None => Offered::Refused,
        }
    }

    /// Takes in a verified record that came over the network.
    pub(super) fn offer(
        &mut self,
        record: &Record,
        source: RecordSource,
        now: Instant,
        rng: &mut Rng,
    ) -> Offered {
        let id = record.node_id();
        if let Some(key) = self.nodes.find(&id) {
            return self.renew(key, record, Some(source), now, rng);
        }
        let Some(endpoint) = self.usable(record).next().filter(|_| id != self.local) else {
            return Offered::Refused;
        };
        let bucket = self.bucket(&id);
        if !self.prefix_allows(bucket, endpoint.ip()) {
            return Offered::PrefixLimit;
        }
        if self.lists.len(SPARES + bucket) >= BUCKET_SPARES || self.nodes.is_full() {
            let oldest = self.lists.first(SPARES + bucket).and_then(|place| self.nodes.key_at(place));
            let Some(oldest) = oldest.filter(|key| self.get(*key).is_some_and(|node| !node.checking)) else {
                return Offered::Refused;
            };
            self.drop_node(oldest);
        }
        let Some(key) = self.insert(record, false, false, SPARES) else { return Offered::Refused };
        if let Some(node) = self.nodes.get_mut(key) {
            node.news.record = Some(source);
        }
        // While the bucket has no place, pinging would only make noise.
        if self.lists.len(ENTRIES + bucket) < BUCKET_SIZE {
            self.check_soon(key, now, rng);
        }
        Offered::Taken(key)
    }

    fn insert(&mut self, record: &Record, member: bool, kept: bool, kind: usize) -> Option<Key> {
        let node = Node {
            record: record.clone(),
            member,
            kept,
            contact: None,
            verified: false,
            answered: 0,
            failures: 0,
            checking: false,
            refresh_from: Instant::ZERO,
            news: News::default(),
        };
        let key = self.nodes.insert(record.node_id(), node).ok()?;
        self.lists.push(kind + self.bucket(&record.node_id()), key.index());
        Some(key)
    }

    /// A record of a node that is known: only a strictly higher sequence number replaces.
    fn renew(
        &mut self,
        key: Key,
        record: &Record,
        source: Option<RecordSource>,
        now: Instant,
        rng: &mut Rng,
    ) -> Offered {
        let Some(node) = self.nodes.get_mut(key) else { return Offered::Refused };
        if record.seq() <= node.record.seq() {
            let equivocation = record.seq() == node.record.seq() && !record.same_content(&node.record);
            return if equivocation { Offered::Equivocation } else { Offered::Known(key) };
        }
        let moved = !record.udp_endpoints().eq(node.record.udp_endpoints());
        node.record = record.clone();
        node.news.record = source;
        if moved {
            // The new endpoint is worth nothing until it answers.
            node.verified = false;
            node.failures = 0;
            node.contact = None;
            // A check under way is one of the old endpoint.
            node.checking = false;
            if node.member {
                // The others ask for it already, and it is relayed only when it has answered.
                self.checks.set(key.index(), now);
            } else {
                self.check_soon(key, now, rng);
            }
        }
        Offered::Taken(key)
    }

    pub(super) fn remove(&mut self, id: &NodeId) {
        if let Some(key) = self.nodes.find(id) {
            self.drop_node(key);
        }
    }

    fn drop_node(&mut self, key: Key) {
        self.lists.remove(key.index());
        self.checks.clear(key.index());
        self.nodes.remove(key);
    }

    /// The distance class: 0 is the farthest.
    fn bucket(&self, id: &NodeId) -> usize {
        Self::class(self.local.log_distance(id))
    }

    fn class(distance: u16) -> usize {
        usize::from(256 - distance.min(256)).min(BUCKETS - 1)
    }

    fn prefix_allows(&self, bucket: usize, ip: IpAddr) -> bool {
        if !self.config.prefix_limits || Scope::of(ip) != Some(Scope::Global) {
            return true;
        }
        let prefix_of = |node: &Node| node.record.udp_endpoints().next().map(|to| prefix(to.ip()));
        let wanted = Some(prefix(ip));
        let (mut in_table, mut in_bucket) = (0, 0);
        for (key, _) in self.iter().filter(|(_, node)| !node.kept && prefix_of(node) == wanted) {
            in_table += 1;
            let list = self.lists.list_of(key.index());
            in_bucket += usize::from(list == Some(ENTRIES + bucket) || list == Some(SPARES + bucket));
        }
        in_table < PREFIX_PER_TABLE && in_bucket < PREFIX_PER_BUCKET
    }

    /// Endpoints of a record that can be reached from here and name one host.
    fn usable(&self, record: &Record) -> impl Iterator<Item = SocketAddr> + use<> {
        let (ipv4, ipv6) = (self.config.ipv4, self.config.ipv6);
        record.udp_endpoints().map(canonical).filter(move |endpoint| {
            Scope::of(endpoint.ip()).is_some() && if endpoint.is_ipv4() { ipv4 } else { ipv6 }
        })
    }

    /// The first endpoint of a record that can be reached from here.
    pub(super) fn endpoint_of(&self, record: &Record) -> Option<SocketAddr> {
        self.usable(record).next()
    }

    /// Where to reach a node: where it last answered, else by its record; after failures each
    /// endpoint in turn.
    pub(super) fn contact(&self, node: &Node) -> Option<Contact> {
        let known = self.endpoints(node);
        let turn = usize::from(node.failures).checked_rem(known.len())?;
        Some(Contact::new(node.record.node_id(), known[turn], *node.record.public_key()))
    }

    /// Where a node may be: where it last answered, and what its record says.
    fn endpoints(&self, node: &Node) -> heapless::Vec<SocketAddr, 3> {
        let mut known = heapless::Vec::new();
        for endpoint in node.contact.into_iter().chain(self.usable(&node.record)) {
            if !known.contains(&endpoint) {
                // One from the last contact and at most two in a record.
                let _ = known.push(endpoint);
            }
        }
        known
    }

    /// Nodes at `distance` that may be told to somebody at `to`: alive, and within its scope.
    pub(super) fn relayable(&self, distance: u16, to: IpAddr) -> impl Iterator<Item = (Key, &Node)> {
        let class = Self::class(distance);
        let kept = self.lists.iter(KEPT + class);
        kept.chain(self.lists.iter(ENTRIES + class)).filter_map(move |place| {
            let key = self.nodes.key_at(place)?;
            let node = self.nodes.get(key)?;
            let matches = node.verified
                && self.local.log_distance(&node.record.node_id()) == distance
                && shareable(&node.record, to);
            matches.then_some((key, node))
        })
    }

    // --- Checks ---

    /// When the next check is due.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.checks.next()
    }

    /// A node whose check is due. Its next check is set by [`Table::answered`] or [`Table::failed`].
    pub(super) fn due(&mut self, now: Instant) -> Option<Key> {
        let place = self.checks.pop(now)?;
        self.nodes.key_at(place)
    }

    /// Marks a check as under way.
    pub(super) fn checking(&mut self, key: Key) {
        if let Some(node) = self.nodes.get_mut(key) {
            node.checking = true;
        }
    }

    /// Sets a check within the time for fresh nodes, unless one is under way or due sooner.
    pub(super) fn check_soon(&mut self, key: Key, now: Instant, rng: &mut Rng) {
        let when = now + jitter(self.config.fresh_check, rng);
        let sooner = self.checks.of(key.index()).is_none_or(|due| when < due);
        if sooner && self.get(key).is_some_and(|node| !node.checking) {
            self.checks.set(key.index(), when);
        }
    }

    /// Tries again later, without a verdict.
    pub(super) fn check_later(&mut self, key: Key, when: Instant) {
        self.checks.set(key.index(), when);
    }

    /// Sets the check of a node to `now`, unless one is under way.
    pub(super) fn check_now(&mut self, id: &NodeId, now: Instant) {
        if let Some(key) = self.nodes.find(id)
            && self.get(key).is_some_and(|node| !node.checking)
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
            } else if node.verified || node.kept {
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
    ) -> Option<Key> {
        let key = self.nodes.find(id)?;
        let bucket = self.bucket(id);
        let node = self.nodes.get_mut(key)?;
        let own_endpoint = node.record.udp_endpoints().any(|own| canonical(own) == endpoint);
        node.answered = node.answered.saturating_add(1);
        node.failures = 0;
        node.checking = false;
        node.verified |= own_endpoint;
        node.contact = Some(endpoint);
        node.news.reachable = Some((endpoint, rtt));
        node.news.unreachable = None;
        let every = if node.member { self.config.member_check } else { self.config.check };
        let spare = self.lists.list_of(key.index()) == Some(SPARES + bucket);
        if spare && own_endpoint && self.lists.len(ENTRIES + bucket) < BUCKET_SIZE {
            self.lists.push(ENTRIES + bucket, key.index());
        }
        self.checks.set(key.index(), now + every / 2 + jitter(every, rng));
        Some(key)
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
        node.failures = node.failures.saturating_add(1);
        node.news.unreachable = Some(endpoint);
        node.news.reachable = None;
        if node.kept {
            node.verified = false;
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
    /// record may name no endpoint or an old one.
    pub(super) fn seen_at(&mut self, id: &NodeId, endpoint: SocketAddr, now: Instant, rng: &mut Rng) {
        let Some(key) = self.nodes.find(id) else { return };
        let Some(node) = self.nodes.get_mut(key) else { return };
        if node.kept && !node.verified && node.contact != Some(endpoint) {
            node.contact = Some(endpoint);
            node.failures = 0;
            self.check_soon(key, now, rng);
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
        !self.iter().any(|(_, node)| node.verified)
    }

    /// Whether `node` is worth asking in a lookup.
    pub(super) fn worth_asking(node: &Node) -> bool {
        node.kept || node.failures == 0
    }
}

/// Whether every endpoint of a record may be told to somebody at `to`, or believed from there.
pub(super) fn shareable(record: &Record, to: IpAddr) -> bool {
    record.udp_endpoints().all(|own| Scope::of(own.ip()).is_some_and(|scope| scope.shared_with(to)))
}

/// A random part of `most`.
pub(super) fn jitter(most: Duration, rng: &mut Rng) -> Duration {
    Duration::from_nanos(rng.below(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX)))
}
