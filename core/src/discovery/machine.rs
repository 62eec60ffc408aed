//! The public machine: what it holds, how it is made, looked at and polled.

use core::net::SocketAddr;

use super::{
    budget::{CHECKS, Prefixes, Stock},
    challenge::Challenges,
    config::Config,
    counters::{Counters, count},
    event::{Event, Events, LookupId, RequestId, TalkId, waiting},
    gathered::Gathered,
    heard::Hearsay,
    keys::Ephemerals,
    lookup::{Lookup, LookupOrigin},
    peer::Peer,
    requests::{KeptHandshake, Opening, Origin, Outcome, Phase, Requests},
    responses::{Response, TalkPhase, Talks},
    session::Sessions,
    table::{Table, Verdict},
    verified::Verified,
};
use crate::{
    collections::{Key, Keyed, Ready, Slab},
    crypto::{Crypto, RustCrypto},
    id::NodeId,
    limits::{BUCKETS, MAX_TALK_PROTOCOL, MAX_TALK_PROTOCOLS, REQUESTS_PER_KEPT_HANDSHAKE},
    record::Record,
    rng::Rng,
    time::{Instant, earlier},
    zoo::{self, Bug},
};

/// Pools whose places are owed a packet.
pub(super) mod owed {
    /// WHOAREYOUs.
    pub(in super::super) const CHALLENGE: usize = 0;
    /// Answers.
    pub(in super::super) const RESPONSE: usize = 1;
    /// Handshake packets.
    pub(in super::super) const HANDSHAKE: usize = 2;
    /// Requests.
    pub(in super::super) const REQUEST: usize = 3;
}

/// Lookups that the table itself may have under way, beside [`Config::lookups`].
pub(super) const OWN_LOOKUPS: usize = 2;

/// A discv5 node without sockets. See the [module](super) for how to drive it.
#[derive(Debug)]
pub struct Discovery<C: Crypto = RustCrypto> {
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) local: Record,
    pub(super) rng: Rng,
    pub(super) sessions: Sessions<C>,
    pub(super) challenges: Challenges,
    /// Signature checks that may be made now.
    pub(super) checks: Stock,
    /// What may be sent to whole address prefixes.
    pub(super) prefixes: Prefixes,
    pub(super) verified: Verified,
    pub(super) openings: Keyed<Peer, Opening>,
    /// The newest packets of some of them.
    pub(super) kept_handshakes: Slab<KeptHandshake>,
    /// Made ahead for them.
    pub(super) ephemerals: Ephemerals,
    pub(super) requests: Requests,
    pub(super) responses: Slab<Response>,
    pub(super) talks: Talks,
    pub(super) talk_protocols: heapless::Vec<heapless::Vec<u8, MAX_TALK_PROTOCOL>, MAX_TALK_PROTOCOLS>,
    pub(super) table: Table,
    pub(super) lookups: Slab<Lookup>,
    /// What the embedder's gathered.
    pub(super) gathered: Slab<Gathered>,
    /// Of whom they were told.
    pub(super) hearsay: Hearsay,
    pub(super) owed: Ready<4>,
    pub(super) events: Events,
    pub(super) counters: Counters,
    /// When to look the own id up next.
    pub(super) own_lookup_at: Option<Instant>,
    /// When to refresh the next bucket; `None` until there is anybody to ask.
    pub(super) refresh_at: Option<Instant>,
    /// When each bucket's nodes were last looked for.
    pub(super) refreshed: [Instant; BUCKETS],
    /// When lookups have something to do without a packet: another query, or their end.
    pub(super) lookups_at: Option<Instant>,
    /// A request to free before the next event: its TALK response was handed out.
    pub(super) read_talk: Option<Key>,
    /// A lookup to free before the next event: its results were handed out.
    pub(super) read_lookup: Option<Key>,
}

/// What the table knows about a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// Its newest record.
    pub record: &'a Record,
    /// Whether it is a member.
    pub member: bool,
    /// Whether it answered a PING at an endpoint of this record, and no check failed since.
    pub verified: bool,
    /// Where it would be contacted.
    pub endpoint: Option<SocketAddr>,
}

impl<C: Crypto> Discovery<C> {
    /// Allocates everything. `local` is this node's record as it is published.
    pub fn new(config: Config, local: &Record, mut rng: Rng) -> Self {
        let beyond = if zoo::has(Bug::UnboundedChallenges) { 64 } else { 0 };
        let challenges = config.challenges + beyond;
        let lookups = config.lookups + OWN_LOOKUPS;
        let requests = Requests::new(config.requests);
        let capacity = requests.capacity();
        Self {
            now: Instant::ZERO,
            sessions: Sessions::new(config.sessions, config.kept_keys, &mut rng),
            challenges: Challenges::new(challenges, config.challenge_lifetime, &mut rng),
            checks: Stock::full(CHECKS, Instant::ZERO),
            prefixes: Prefixes::new(config.prefixes, &mut rng),
            verified: Verified::new(config.verified_records, &mut rng),
            openings: Keyed::new(capacity, &mut rng),
            kept_handshakes: Slab::new(capacity.div_ceil(REQUESTS_PER_KEPT_HANDSHAKE)),
            ephemerals: Ephemerals::default(),
            requests,
            responses: Slab::new(config.responses),
            talks: Talks::new(config.talks, &mut rng),
            talk_protocols: heapless::Vec::new(),
            table: Table::new(&config, local.node_id(), &mut rng),
            lookups: Slab::new(lookups),
            gathered: Slab::new(config.lookups),
            hearsay: Hearsay::new(lookups),
            owed: Ready::new([challenges, config.responses, capacity, capacity]),
            events: Events::new([capacity, lookups, config.nodes, config.talks], config.events),
            counters: Counters::default(),
            own_lookup_at: None,
            refresh_at: None,
            refreshed: [Instant::ZERO; BUCKETS],
            lookups_at: None,
            read_talk: None,
            read_lookup: None,
            local: local.clone(),
            rng,
            config,
        }
    }

    /// The record that this node sends.
    pub const fn local_record(&self) -> &Record {
        &self.local
    }

    /// The newest record of a node of the table.
    pub fn record(&self, id: &NodeId) -> Option<&Record> {
        self.table.find(id).map(|node| &node.record)
    }

    /// What the table knows about a node.
    pub fn node(&self, id: &NodeId) -> Option<NodeView<'_>> {
        self.table.find(id).map(|node| self.view(node))
    }

    /// Every node of the table, in no meaningful but a repeatable order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView<'_>> {
        self.table.iter().map(|(_, node)| self.view(node))
    }

    fn view<'a>(&self, node: &'a super::table::Node) -> NodeView<'a> {
        NodeView {
            record: &node.record,
            member: node.member,
            verified: node.verified(),
            endpoint: self.table.contact(node).map(|contact| contact.peer.endpoint),
        }
    }

    /// How many nodes the table holds, waiting candidates included.
    pub const fn node_count(&self) -> usize {
        self.table.len()
    }

    /// How many sessions are established.
    pub const fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is a session with `id` at `endpoint`.
    pub fn has_session(&self, id: &NodeId, endpoint: SocketAddr) -> bool {
        let endpoint = super::canonical(endpoint);
        self.sessions.find(&Peer { id: *id, endpoint }).is_some()
    }

    /// How many challenges are open; those whose time is over are counted until the next one.
    pub const fn challenge_count(&self) -> usize {
        self.challenges.len()
    }

    /// What was dropped, and why.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// When to call [`Discovery::handle_timeout`], at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        let mut next = earlier(self.requests.deadlines.next(), self.table.next_check());
        next = earlier(next, self.sessions.next_expiry());
        for other in [self.own_lookup_at, self.refresh_at, self.lookups_at, self.talks.deadlines.next()] {
            next = earlier(next, other);
        }
        next
    }

    /// The next event, until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(read) = self.read_talk.take() {
            self.free_request(read);
        }
        if let Some(read) = self.read_lookup.take() {
            self.free_lookup(read);
        }
        if let Some(event) = self.events.next_other() {
            return Some(event);
        }
        while let Some((pool, index)) = self.events.places.pop() {
            let event = match pool {
                waiting::REQUEST => self.request_event(index),
                waiting::LOOKUP => self.lookup_event(index),
                waiting::NODE => self.node_event(index),
                _ => self.talk_event(index),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn request_event(&mut self, index: usize) -> Option<Event> {
        let key = self.requests.key_at(index)?;
        let request = self.requests.get(key).filter(|request| request.origin == Origin::User)?;
        let Phase::Done(outcome) = &request.phase else { return None };
        let (request_id, from) = (RequestId(key), request.contact.peer.id);
        let event = match *outcome {
            Outcome::Pong { enr_seq } => Event::Pong { request: request_id, from, enr_seq },
            Outcome::Nodes { count } => Event::Nodes { request: request_id, from, count },
            Outcome::Talk { len } => Event::TalkResponse { request: request_id, from, len },
            Outcome::Failed(reason) => Event::RequestFailed { request: request_id, reason },
        };
        if matches!(event, Event::TalkResponse { .. }) {
            // The answer can be read until the next event is polled.
            self.read_talk = Some(key);
        } else {
            self.free_request(key);
        }
        Some(event)
    }

    /// Frees the place of a request, and its TALK buffer.
    pub(super) fn free_request(&mut self, key: Key) {
        if let Some(request) = self.requests.remove(key)
            && let super::requests::Ask::Talk(payload) = request.ask
        {
            self.talks.own.remove(payload);
        }
    }

    /// Frees the place of a lookup of the embedder's, and what it gathered.
    fn free_lookup(&mut self, key: Key) {
        if let Some(gathered) = self.lookups.get(key).and_then(|lookup| lookup.gathered) {
            self.gathered.discard(gathered);
        }
        self.lookups.discard(key);
    }

    fn lookup_event(&mut self, index: usize) -> Option<Event> {
        let key = self.lookups.key_at(index)?;
        let lookup = self.lookups.get(key).filter(|lookup| lookup.done)?;
        debug_assert!(lookup.origin == LookupOrigin::User);
        let (target, answered) = (lookup.target, lookup.answered);
        let gathered = lookup.gathered.and_then(|key| self.gathered.get(key));
        let found = gathered.and_then(|gathered| gathered.found.as_ref());
        let known = self.record(&target);
        let newer = known.filter(|known| found.is_none_or(|found| found.seq() < known.seq()));
        let found = newer.or(found).cloned();
        // Its results can be read until the next event is polled.
        self.read_lookup = Some(key);
        Some(Event::LookupDone { lookup: LookupId(key), target, found, answered })
    }

    fn node_event(&mut self, index: usize) -> Option<Event> {
        let key = self.table.key_at(index)?;
        let (record, news) = self.table.news(key)?;
        let id = record.node_id();
        let event = if let Some(source) = news.record.take() {
            Event::RecordSeen { record: record.clone(), source }
        } else {
            match news.checked.take()? {
                (endpoint, Verdict::Reachable(rtt)) => Event::Reachable { id, endpoint, rtt },
                (endpoint, Verdict::Unreachable) => Event::Unreachable { id, endpoint },
            }
        };
        if news.checked.is_some() {
            self.events.places.add(waiting::NODE, index);
        }
        Some(event)
    }

    fn talk_event(&mut self, index: usize) -> Option<Event> {
        let key = self.talks.peers.key_at(index)?;
        let talk = self.talks.peers.get(key).filter(|talk| talk.phase == TalkPhase::Asked)?;
        Some(Event::TalkRequest { id: TalkId(key), from: talk.peer.id, endpoint: talk.peer.endpoint })
    }

    /// Queues an event of lesser weight.
    pub(super) fn event(&mut self, event: Event) {
        if !self.events.push(event) {
            count(&mut self.counters.events_dropped);
        }
    }

    /// Queues the news of a node.
    pub(super) fn node_news(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.events.places.add(waiting::NODE, key.index());
        }
    }
}
