//! The routing table (discv5 theory, "Node Table"): who is known, who is alive, who may be relayed.
//!
//! One pool of nodes. A node stands in one of three kinds of list, one of each kind a distance class:
//! *kept* (members and seeds: never evicted, not counted), *entries* (answered a PING; at most k) and
//! *spares* (seen, waiting to be verified or for a place). Only a node that answered a PING at the
//! endpoint of its record that the asker would use is relayed. When each node is checked next stands
//! in one heap of deadlines; the checks themselves are in `checks`.
//!
//! A stranger is pinged at an endpoint only when it spoke from there or somebody else told of it;
//! otherwise a record would aim us at whomever it names.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    config::Config,
    crowd::Crowd,
    event::RecordSource,
    nodes::Nodes,
    peer::{IpRange, Peer, Prefix, Scope, canonical, prefix},
    requests::Contact,
};
use crate::{
    collections::{Deadlines, Key, Lists},
    id::NodeId,
    limits::{BUCKET_SIZE, BUCKET_SPARES, BUCKETS, MAX_ALLOWED_RANGES},
    record::Record,
    rng::Rng,
    time::Instant,
};

/// A node of the table.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) record: Record,
    pub(super) member: bool,
    /// Never evicted: a member, or added by the embedder.
    pub(super) kept: bool,
    /// We know it only because it came to us.
    pub(super) inbound: bool,
    /// Its record names endpoints that it was not heard from: it is not pinged before it is.
    pub(super) unproven: bool,
    /// Where it was last authenticated.
    pub(super) contact: Option<SocketAddr>,
    /// Whether it answered a PING at the IPv6 and the IPv4 endpoint of its present record, and no
    /// check there failed since.
    pub(super) answered_at: [bool; 2],
    pub(super) answered: u32,
    pub(super) failures: u8,
    /// Whether the next check goes to an endpoint that has not answered.
    pub(super) probe: bool,
    /// A check is under way.
    pub(super) checking: bool,
    /// No request for its newer record before this.
    pub(super) refresh_from: Instant,
    pub(super) news: News,
}

impl Node {
    /// Whether it answered a PING at any endpoint of its present record.
    pub(super) const fn verified(&self) -> bool {
        self.answered_at[0] || self.answered_at[1]
    }

    /// Whether it answered where somebody at `to` would contact it.
    fn tellable(&self, to: IpAddr) -> bool {
        let own = |v4| self.record.udp_endpoints().any(|own| canonical(own).is_ipv4() == v4);
        let v4 = to.is_ipv4();
        self.answered_at[usize::from(if own(v4) { v4 } else { !v4 })]
    }
}

/// What the embedder was not told yet about a node.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) record: Option<RecordSource>,
    /// Where it was asked last, and whether it answered.
    pub(super) checked: Option<(SocketAddr, Verdict)>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    /// It answered, after this time if that is known.
    Reachable(Option<Duration>),
    /// It did not, after all tries.
    Unreachable,
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
    /// Its owner was not heard from an endpoint in it.
    Unproven,
    /// No room, no endpoint, or our own.
    Refused,
}

/// Kinds of lists.
const KEPT: usize = 0;
pub(super) const ENTRIES: usize = BUCKETS;
pub(super) const SPARES: usize = 2 * BUCKETS;

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    local: NodeId,
    pub(super) nodes: Nodes,
    pub(super) lists: Lists,
    pub(super) checks: Deadlines,
    crowd: Crowd,
    pub(super) config: TableConfig,
}

#[derive(Debug)]
pub(super) struct TableConfig {
    pub(super) fresh_check: Duration,
    pub(super) member_check: Duration,
    pub(super) check: Duration,
    ipv4: bool,
    ipv6: bool,
    pub(super) prefix_limits: bool,
    /// Whether only addresses in `allowed` are.
    restricted: bool,
    allowed: [Option<IpRange>; MAX_ALLOWED_RANGES],
}

impl Table {
    pub(super) fn new(config: &Config, local: NodeId, rng: &mut Rng) -> Self {
        Self {
            local,
            nodes: Nodes::new(config.nodes, rng),
            lists: Lists::new(3 * BUCKETS, config.nodes),
            checks: Deadlines::new(config.nodes),
            crowd: Crowd::new(config.nodes, rng),
            config: TableConfig {
                fresh_check: config.fresh_check,
                member_check: config.member_check,
                check: config.check,
                ipv4: config.ipv4,
                ipv6: config.ipv6,
                prefix_limits: config.prefix_limits,
                restricted: config.allowed.iter().any(Option::is_some),
                allowed: config.allowed,
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

    pub(super) fn is_member(&self, id: &NodeId) -> bool {
        self.find(id).is_some_and(|node| node.member)
    }

    /// Whether `peer` is a member at an endpoint that is known as its own: only such may use what is
    /// reserved, since anybody can claim an id from anywhere.
    pub(super) fn is_member_at(&self, peer: &Peer) -> bool {
        self.member_and_seq(peer).0
    }

    /// The same, and the sequence number of the record we have of it; 0 for none.
    pub(super) fn member_and_seq(&self, peer: &Peer) -> (bool, u64) {
        let Some(node) = self.find(&peer.id) else { return (false, 0) };
        (node.member && self.endpoints(node).contains(&peer.endpoint), node.record.seq())
    }

    /// All nodes, by place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Node)> {
        self.nodes.iter()
    }

    /// Takes in a record that the embedder vouches for. It is never evicted.
    pub(super) fn keep(&mut self, record: &Record, member: bool, now: Instant, rng: &mut Rng) -> Offered {
        if record.node_id() == self.local {
            return Offered::Refused;
        }
        if let Some(key) = self.nodes.find(&record.node_id()) {
            let bucket = self.bucket(&record.node_id());
            self.lists.push(KEPT + bucket, key.index());
            self.crowd.remove(key.index());
            if let Some(node) = self.nodes.get_mut(key) {
                node.kept = true;
                node.member |= member;
                node.unproven = false;
            }
            let offered = self.renew(key, record, None, now, rng);
            self.check_kept(key, now, rng);
            return offered;
        }
        match self.insert(record, KEPT) {
            Some(key) => {
                if let Some(node) = self.nodes.get_mut(key) {
                    (node.kept, node.member) = (true, member);
                }
                self.check_kept(key, now, rng);
                Offered::Taken(key)
            }
            None => Offered::Refused,
        }
    }

    /// Seeds that are not to be kept any longer become ordinary nodes, or go where there is no place
    /// for them. Members stay.
    pub(super) fn release_seeds(&mut self, stays: impl Fn(&NodeId) -> bool) {
        for place in 0..self.nodes.capacity() {
            let Some(key) = self.nodes.key_at(place) else { continue };
            let Some(node) = self.nodes.get_mut(key) else { continue };
            let id = node.record.node_id();
            if !node.kept || node.member || stays(&id) {
                continue;
            }
            node.kept = false;
            let verified = node.verified();
            let bucket = self.bucket(&id);
            let kind = if verified && self.lists.len(ENTRIES + bucket) < BUCKET_SIZE {
                ENTRIES
            } else if self.lists.len(SPARES + bucket) < BUCKET_SPARES {
                SPARES
            } else {
                self.drop_node(key);
                continue;
            };
            self.lists.push(kind + bucket, place);
            if !self.count(key) {
                self.drop_node(key);
            }
        }
    }

    /// Takes in a verified record that came over the network, from `at`.
    pub(super) fn offer(
        &mut self,
        record: &Record,
        source: RecordSource,
        at: SocketAddr,
        now: Instant,
        rng: &mut Rng,
    ) -> Offered {
        let id = record.node_id();
        if let Some(key) = self.nodes.find(&id) {
            self.told_by_others(key, source);
            return self.renew(key, record, Some((source, at)), now, rng);
        }
        let usable = self.usable(record);
        if usable.is_empty() || id == self.local {
            return Offered::Refused;
        }
        if !matches!(source, RecordSource::Relayed(_)) && !usable.contains(&at) {
            return Offered::Unproven;
        }
        let bucket = self.bucket(&id);
        if !self.has_room_for(&self.prefixes(&usable), bucket) {
            return Offered::PrefixLimit;
        }
        if self.lists.len(SPARES + bucket) >= BUCKET_SPARES || self.nodes.is_full() {
            let oldest = self.lists.first(SPARES + bucket).and_then(|place| self.nodes.key_at(place));
            let Some(oldest) = oldest.filter(|key| self.get(*key).is_some_and(|node| !node.checking)) else {
                return Offered::Refused;
            };
            self.drop_node(oldest);
        }
        let Some(key) = self.insert(record, SPARES) else { return Offered::Refused };
        if let Some(node) = self.nodes.get_mut(key) {
            node.inbound = source == RecordSource::Handshake;
            node.news.record = Some(source);
        }
        self.count(key);
        // While the bucket has no place, pinging would only make noise.
        if self.lists.len(ENTRIES + bucket) < BUCKET_SIZE {
            self.check_first(key, source, now, rng);
        }
        Offered::Taken(key)
    }

    /// A node that others tell of is known not only because it came; but those who came themselves do
    /// not vouch for each other.
    pub(super) fn told_by_others(&mut self, key: Key, source: RecordSource) {
        let RecordSource::Relayed(by) = source else { return };
        if self.find(&by).is_some_and(|by| !by.inbound)
            && let Some(node) = self.nodes.get_mut(key)
        {
            node.inbound = false;
        }
    }

    fn insert(&mut self, record: &Record, kind: usize) -> Option<Key> {
        let node = Node {
            record: record.clone(),
            member: false,
            kept: false,
            inbound: false,
            unproven: false,
            contact: None,
            answered_at: [false; 2],
            answered: 0,
            failures: 0,
            probe: false,
            checking: false,
            refresh_from: Instant::ZERO,
            news: News::default(),
        };
        let key = self.nodes.insert(node)?;
        self.lists.push(kind + self.bucket(&record.node_id()), key.index());
        Some(key)
    }

    /// A record of a node that is known: only a strictly higher sequence number replaces.
    fn renew(
        &mut self,
        key: Key,
        record: &Record,
        source: Option<(RecordSource, SocketAddr)>,
        now: Instant,
        rng: &mut Rng,
    ) -> Offered {
        let Some(node) = self.nodes.get(key) else { return Offered::Refused };
        if record.seq() <= node.record.seq() {
            let equivocation = record.seq() == node.record.seq() && !record.same_content(&node.record);
            return if equivocation { Offered::Equivocation } else { Offered::Known(key) };
        }
        let usable = self.usable(record);
        let Some(node) = self.nodes.get_mut(key) else { return Offered::Refused };
        let moved = !record.udp_endpoints().eq(node.record.udp_endpoints());
        let old = core::mem::replace(&mut node.record, record.clone());
        node.news.record = source.map(|(source, _)| source);
        if !moved {
            return Offered::Taken(key);
        }
        // A new endpoint is worth nothing until it answers.
        for v4 in [false, true] {
            let of = |record: &Record| record.udp_endpoints().map(canonical).find(|at| at.is_ipv4() == v4);
            if of(&old) != of(record) {
                node.answered_at[usize::from(v4)] = false;
            }
        }
        node.failures = 0;
        node.contact = node.contact.filter(|contact| usable.contains(contact));
        // A check under way is one of the old endpoint.
        node.checking = false;
        let (kept, member) = (node.kept, node.member);
        node.unproven = !kept
            && source.is_some_and(|(source, at)| {
                !matches!(source, RecordSource::Relayed(_)) && !usable.contains(&at)
            });
        let (unproven, verified) = (node.unproven, node.verified());
        if member {
            // The others ask for it already, and it is relayed only when it has answered.
            self.checks.set(key.index(), now);
        } else if kept {
            self.check_soon(key, now, rng);
        } else {
            self.crowd.remove(key.index());
            if usable.is_empty() || !self.count(key) {
                self.drop_node(key);
                return if usable.is_empty() { Offered::Refused } else { Offered::PrefixLimit };
            }
            if unproven && !verified {
                // It waits, unasked, until it speaks from there.
                self.lists.push(SPARES + self.bucket(&record.node_id()), key.index());
                self.checks.clear(key.index());
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

    pub(super) fn drop_node(&mut self, key: Key) {
        self.crowd.remove(key.index());
        self.lists.remove(key.index());
        self.checks.clear(key.index());
        self.nodes.remove(key);
    }

    /// The distance class: 0 is the farthest.
    pub(super) fn bucket(&self, id: &NodeId) -> usize {
        Self::class(self.local.log_distance(id))
    }

    fn class(distance: u16) -> usize {
        usize::from(256 - distance.min(256)).min(BUCKETS - 1)
    }

    // --- Prefixes ---

    /// The prefixes for which a node at these endpoints counts.
    fn prefixes(&self, endpoints: &[SocketAddr]) -> heapless::Vec<Prefix, 2> {
        let global = |at: &&SocketAddr| self.limited(at.ip());
        endpoints.iter().filter(global).map(|at| prefix(at.ip())).take(2).collect()
    }

    /// Whether the limits hold for an address.
    pub(super) fn limited(&self, ip: IpAddr) -> bool {
        self.config.prefix_limits && Scope::of(ip) == Some(Scope::Global)
    }

    /// Whether the limits let another node of these prefixes into `bucket`.
    fn has_room_for(&self, prefixes: &[Prefix], bucket: usize) -> bool {
        self.crowd.allows(prefixes, bucket, |place, n| {
            let record = &self.get(self.key_at(place)?)?.record;
            let prefix = self.prefixes(&self.usable(record)).get(n).copied()?;
            Some((prefix, self.bucket(&record.node_id())))
        })
    }

    /// Counts a node for its prefixes; false when there are too many of them already.
    fn count(&mut self, key: Key) -> bool {
        let Some(node) = self.nodes.get(key) else { return false };
        let bucket = self.bucket(&node.record.node_id());
        let prefixes = self.prefixes(&self.usable(&node.record));
        let allowed = self.has_room_for(&prefixes, bucket);
        if allowed {
            self.crowd.add(key.index(), &prefixes);
        }
        allowed
    }

    // --- Endpoints ---

    /// Endpoints of a record that can be reached from here, are allowed, and name one host.
    fn usable(&self, record: &Record) -> heapless::Vec<SocketAddr, 2> {
        self.reachable(record.udp_endpoints()).take(2).collect()
    }

    /// Those of a record's endpoints that can be contacted.
    pub(super) fn reachable(
        &self,
        endpoints: impl Iterator<Item = SocketAddr>,
    ) -> impl Iterator<Item = SocketAddr> {
        endpoints.map(canonical).filter(|at| self.reaches(at))
    }

    /// Whether an endpoint can be contacted.
    pub(super) fn reaches(&self, endpoint: &SocketAddr) -> bool {
        let config = &self.config;
        let family = if endpoint.is_ipv4() { config.ipv4 } else { config.ipv6 };
        family && Scope::of(endpoint.ip()).is_some() && self.allows(endpoint.ip())
    }

    /// Whether an address lies in the ranges that the embedder allows.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        !self.config.restricted || self.config.allowed.iter().flatten().any(|range| range.contains(ip))
    }

    /// The first endpoint of a record that can be reached from here.
    pub(super) fn endpoint_of(&self, record: &Record) -> Option<SocketAddr> {
        self.usable(record).first().copied()
    }

    /// Where to reach a node: where it last answered, else by its record; after failures each
    /// endpoint in turn.
    pub(super) fn contact(&self, node: &Node) -> Option<Contact> {
        let known = self.endpoints(node);
        let turn = usize::from(node.failures).checked_rem(known.len())?;
        Some(Contact::new(node.record.node_id(), known[turn], *node.record.public_key()))
    }

    /// Where a node may be: where it last answered, and what its record says.
    pub(super) fn endpoints(&self, node: &Node) -> heapless::Vec<SocketAddr, 3> {
        let mut known = heapless::Vec::new();
        for endpoint in node.contact.into_iter().chain(self.usable(&node.record)) {
            if !known.contains(&endpoint) {
                // One from the last contact and at most two in a record.
                let _ = known.push(endpoint);
            }
        }
        known
    }

    /// Whether a node answered a PING at `endpoint` lately.
    pub(super) fn is_verified_at(&self, peer: &Peer) -> bool {
        let at = |node: &Node| {
            node.answered_at[usize::from(peer.endpoint.is_ipv4())]
                && (node.contact == Some(peer.endpoint) || self.usable(&node.record).contains(&peer.endpoint))
        };
        self.find(&peer.id).is_some_and(at)
    }

    /// Nodes at `distance` that may be told to somebody at `to`: alive where it would contact them,
    /// and within its scope.
    pub(super) fn relayable(&self, distance: u16, to: IpAddr) -> impl Iterator<Item = (Key, &Node)> {
        let class = Self::class(distance);
        let kept = self.lists.iter(KEPT + class);
        kept.chain(self.lists.iter(ENTRIES + class)).filter_map(move |place| {
            let key = self.nodes.key_at(place)?;
            let node = self.nodes.get(key)?;
            let matches = node.tellable(to)
                && self.local.log_distance(&node.record.node_id()) == distance
                && shareable(node.record.udp_endpoints(), to);
            matches.then_some((key, node))
        })
    }

    /// Whether `node` is worth asking in a lookup.
    pub(super) const fn worth_asking(node: &Node) -> bool {
        node.kept || node.verified()
    }
}

/// Whether every endpoint of a record may be told to somebody at `to`, or believed from there.
pub(super) fn shareable(mut endpoints: impl Iterator<Item = SocketAddr>, to: IpAddr) -> bool {
    endpoints.all(|own| Scope::of(own.ip()).is_some_and(|scope| scope.shared_with(to)))
}

/// A random part of `most`.
pub(super) fn jitter(most: Duration, rng: &mut Rng) -> Duration {
    Duration::from_nanos(rng.below(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX)))
}
