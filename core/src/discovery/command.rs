//! What the embedder may ask of a [`Discovery`]: records, requests, lookups, TALK answers.

use core::net::SocketAddr;

use super::{
    event::{LookupId, RequestError, RequestFailure, RequestId, TalkId, waiting},
    lookup::{LookupOptions, LookupOrigin},
    machine::{Discovery, owed},
    peer::{Peer, canonical},
    requests::{Ask, Contact, Nodes, Origin, Outcome, Phase},
    responses::{Answer, Response, TalkPhase},
    table::Offered,
};
use crate::{
    collections::Key,
    crypto::Crypto,
    id::NodeId,
    limits::{MAX_REQUEST_RESENDS, MAX_TALK_PAYLOAD, MAX_TALK_PROTOCOL},
    record::Record,
    time::Instant,
};

/// Whom a request goes to: a node of the table by its id, or any node by its record; and where, if
/// not where the table or the record say.
///
/// ```
/// # use coracle_core::{discovery::Target, id::NodeId};
/// let by_id: Target<'_> = NodeId([7; 32]).into();
/// let elsewhere = by_id.at("127.0.0.1:9000".parse().unwrap());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    who: Who<'a>,
    endpoint: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
enum Who<'a> {
    Id(NodeId),
    Record(&'a Record),
}

impl Target<'_> {
    /// The same node, at this endpoint.
    #[must_use]
    pub const fn at(mut self, endpoint: SocketAddr) -> Self {
        self.endpoint = Some(endpoint);
        self
    }
}

impl From<NodeId> for Target<'_> {
    fn from(id: NodeId) -> Self {
        Self { who: Who::Id(id), endpoint: None }
    }
}

impl<'a> From<&'a Record> for Target<'a> {
    fn from(record: &'a Record) -> Self {
        Self { who: Who::Record(record), endpoint: None }
    }
}

impl<C: Crypto> Discovery<C> {
    /// Sends `record` from now on: it has been stored. All members are pinged at once, the rest of
    /// the table within seconds, and the own id is looked up, so that those near it learn it.
    ///
    /// A record of another node is ignored.
    pub fn set_local_record(&mut self, now: Instant, record: &Record) {
        let now = self.now.advance(now);
        debug_assert!(record.node_id() == self.local.node_id(), "a node keeps its key");
        if record.node_id() != self.local.node_id() {
            return;
        }
        self.local = record.clone();
        self.table.check_all(now, &mut self.rng);
        if self.table.len() > 0 {
            self.own_lookup_at = Some(now);
        }
    }

    /// Pings all members at once and the rest of the table within seconds: our network has changed,
    /// and they may see us elsewhere now.
    pub fn check_all(&mut self, now: Instant) {
        let now = self.now.advance(now);
        self.table.check_all(now, &mut self.rng);
    }

    /// Pings a node of the table at once: there is reason to think that it, or we, are elsewhere now.
    pub fn check(&mut self, now: Instant, id: &NodeId) {
        let now = self.now.advance(now);
        self.table.check_now(id, now);
    }

    /// Makes a node known and keeps it for ever: a member, a bootnode, or any seed. Of two records
    /// of one node the one with the higher sequence number is kept. The node is pinged soon.
    pub fn add_record(&mut self, now: Instant, record: &Record, member: bool) -> Result<(), RequestError> {
        let now = self.now.advance(now);
        if record.node_id() == self.local.node_id() {
            return Err(RequestError::Itself);
        }
        let first = self.table.len() == 0;
        if self.table.keep(record, member, now, &mut self.rng) == Offered::Refused {
            return Err(RequestError::TableFull);
        }
        if first {
            self.own_lookup_at.get_or_insert(now);
        }
        Ok(())
    }

    /// Replaces the seeds: the nodes that are kept and no members, such as bootnodes. Those that are
    /// not named any longer become ordinary nodes of the table. The new ones are pinged soon, and if
    /// any of them is new to the table the own id is looked up through them.
    ///
    /// With [`RequestError::TableFull`] some of the new seeds found no place; the others are kept.
    pub fn set_seeds(&mut self, now: Instant, seeds: &[Record]) -> Result<(), RequestError> {
        let now = self.now.advance(now);
        self.table.release_seeds(|id| seeds.iter().any(|seed| seed.node_id() == *id));
        let mut room = true;
        let others = seeds.iter().filter(|seed| seed.node_id() != self.local.node_id());
        for seed in others {
            if self.table.find(&seed.node_id()).is_none() {
                self.own_lookup_at = Some(now);
            }
            room &= self.table.keep(seed, false, now, &mut self.rng) != Offered::Refused;
        }
        if room { Ok(()) } else { Err(RequestError::TableFull) }
    }

    /// Forgets a node: its place in the table, its sessions, and the requests to it, which fail with
    /// [`RequestFailure::Removed`].
    pub fn remove(&mut self, now: Instant, id: &NodeId) {
        let now = self.now.advance(now);
        self.table.remove(id);
        self.sessions.remove_node(id);
        for index in 0..self.requests.capacity() {
            if let Some(key) = self.requests.key_at(index)
                && let Some(request) = self.requests.get(key)
                && request.contact.peer.id == *id
                && !matches!(request.phase, Phase::Done(_))
            {
                let peer = request.contact.peer;
                self.close_opening(&peer);
                self.finish(now, key, Outcome::Failed(RequestFailure::Removed));
            }
        }
    }

    /// Sends a PING. Ends with [`Event::Pong`](super::Event::Pong) or
    /// [`Event::RequestFailed`](super::Event::RequestFailed).
    pub fn ping<'a>(&mut self, now: Instant, to: impl Into<Target<'a>>) -> Result<RequestId, RequestError> {
        self.command(now, &to.into(), Ask::Ping)
    }

    /// Sends a FINDNODE for 1 to 8 distances from 0 (the peer's own record) to 256. Ends with
    /// [`Event::Nodes`](super::Event::Nodes) or [`Event::RequestFailed`](super::Event::RequestFailed).
    pub fn find_node<'a>(
        &mut self,
        now: Instant,
        to: impl Into<Target<'a>>,
        distances: &[u16],
    ) -> Result<RequestId, RequestError> {
        let nodes = Nodes::new(distances)
            .filter(|nodes| !nodes.distances.is_empty() && nodes.distances.iter().all(|d| *d <= 256))
            .ok_or(RequestError::Distances)?;
        self.command(now, &to.into(), Ask::FindNode(nodes))
    }

    /// Sends a TALKREQ. Ends with [`Event::TalkResponse`](super::Event::TalkResponse) or
    /// [`Event::RequestFailed`](super::Event::RequestFailed). Protocol and request together have at
    /// most [`MAX_TALK_PAYLOAD`] bytes.
    pub fn talk<'a>(
        &mut self,
        now: Instant,
        to: impl Into<Target<'a>>,
        protocol: &[u8],
        request: &[u8],
    ) -> Result<RequestId, RequestError> {
        if protocol.len().saturating_add(request.len()) > MAX_TALK_PAYLOAD {
            return Err(RequestError::TooLarge);
        }
        let target = to.into();
        self.contact_of(&target)?;
        let payload = self.talks.begin(protocol, request).ok_or(RequestError::Full)?;
        let begun = self.command(now, &target, Ask::Talk(payload));
        if begun.is_err() {
            self.talks.own.remove(payload);
        }
        begun
    }

    /// Looks for the nodes nearest to `target`, and so for the newest record of the node with that
    /// id. All of the nearest are asked; [`LookupOptions::quick`] is cheaper. Ends with
    /// [`Event::LookupDone`](super::Event::LookupDone); a newer record of a node of the
    /// table is reported as soon as it is seen ([`Event::RecordSeen`](super::Event::RecordSeen)).
    pub fn lookup(&mut self, now: Instant, target: NodeId) -> Result<LookupId, RequestError> {
        self.lookup_with(now, target, LookupOptions::default())
    }

    /// Like [`Discovery::lookup`], for certain nodes only, until there are enough, or along disjoint
    /// paths. What it gathered is read with [`Discovery::lookup_results`].
    pub fn lookup_with(
        &mut self,
        now: Instant,
        target: NodeId,
        options: LookupOptions,
    ) -> Result<LookupId, RequestError> {
        let now = self.now.advance(now);
        let key = self.begin_lookup(now, target, LookupOrigin::User, options).ok_or(RequestError::Full)?;
        Ok(LookupId(key))
    }

    /// The records that a lookup gathered, the nearest to its target first, from its
    /// [`Event::LookupDone`](super::Event::LookupDone) until the next call of
    /// [`Discovery::poll_event`].
    pub fn lookup_results(&self, lookup: LookupId) -> &[Record] {
        let gathered = self.lookups.get(lookup.0).and_then(|lookup| self.gathered.get(lookup.gathered?));
        gathered.map_or(&[], |gathered| &gathered.results)
    }

    /// The answer to a TALKREQ of ours, from its [`Event::TalkResponse`](super::Event::TalkResponse)
    /// until the next call of [`Discovery::poll_event`].
    pub fn talk_response(&self, request: RequestId) -> Option<&[u8]> {
        let request = self.requests.get(request.0)?;
        match (&request.phase, &request.ask) {
            (Phase::Done(Outcome::Talk { .. }), Ask::Talk(payload)) => {
                self.talks.own.get(*payload).map(|talk| &talk.data[..])
            }
            _ => None,
        }
    }

    /// Accepts TALKREQs in `protocol` from now on; false when the name is too long or there are too
    /// many. Those in other protocols are answered with an empty response.
    pub fn accept_talk(&mut self, protocol: &[u8]) -> bool {
        if self.talk_protocols.iter().any(|known| known == protocol) {
            return true;
        }
        heapless::Vec::<u8, MAX_TALK_PROTOCOL>::from_slice(protocol)
            .is_ok_and(|name| self.talk_protocols.push(name).is_ok())
    }

    /// Protocol and content of a TALKREQ of a peer, until it is answered or its time is over
    /// ([`Config::talk_timeout`](super::Config::talk_timeout)).
    pub fn talk_request(&self, id: TalkId) -> Option<(&[u8], &[u8])> {
        self.talks.peers.get(id.0)?.request()
    }

    /// Answers a TALKREQ of a peer.
    pub fn respond_talk(&mut self, id: TalkId, response: &[u8]) -> Result<(), RequestError> {
        let talk = self.talks.peers.get_mut(id.0).filter(|talk| talk.phase == TalkPhase::Asked);
        let talk = talk.ok_or(RequestError::UnknownTalk)?;
        if self.responses.is_full() {
            return Err(RequestError::Full);
        }
        let (peer, wire_id, generation) = (talk.peer, talk.wire_id, talk.generation);
        if !talk.set_answer(response) {
            return Err(RequestError::TooLarge);
        }
        self.talks.deadlines.clear(id.0.index());
        self.respond(Response { peer, wire_id, generation, repeated: false, answer: Answer::Talk(id.0) });
        Ok(())
    }

    fn command(&mut self, now: Instant, target: &Target<'_>, ask: Ask) -> Result<RequestId, RequestError> {
        self.now.advance(now);
        let contact = self.contact_of(target)?;
        self.begin_request(contact, ask, Origin::User).map(RequestId).ok_or(RequestError::Full)
    }

    fn contact_of(&self, target: &Target<'_>) -> Result<Contact, RequestError> {
        let (record, known) = match target.who {
            Who::Record(record) => (record, self.table.find(&record.node_id())),
            Who::Id(id) if id == self.local.node_id() => return Err(RequestError::Itself),
            Who::Id(id) => {
                let node = self.table.find(&id).ok_or(RequestError::UnknownNode)?;
                (&node.record, Some(node))
            }
        };
        if record.node_id() == self.local.node_id() {
            return Err(RequestError::Itself);
        }
        let endpoint = match (target.endpoint, target.who, known) {
            (Some(endpoint), ..) => Some(canonical(endpoint)),
            (None, Who::Id(_), Some(node)) => self.table.contact(node).map(|contact| contact.peer.endpoint),
            _ => self.table.endpoint_of(record),
        };
        let endpoint = endpoint.filter(|at| self.table.allows(at.ip())).ok_or(RequestError::NoEndpoint)?;
        Ok(Contact::new(record.node_id(), endpoint, *record.public_key()))
    }

    /// Puts a request in; `None` when its pool is full.
    pub(super) fn begin_request(&mut self, contact: Contact, ask: Ask, origin: Origin) -> Option<Key> {
        let key = self.requests.begin(contact, ask, origin, &mut self.rng)?;
        self.owed.add(owed::REQUEST, key.index());
        Some(key)
    }

    /// Puts an answer in, to be sent.
    pub(super) fn respond(&mut self, response: Response) {
        match self.responses.insert(response) {
            Ok(key) => self.owed.add(owed::RESPONSE, key.index()),
            Err(_) => super::counters::count(&mut self.counters.responses_full),
        }
    }

    /// Ends a request: the embedder is told of its own, the others go on where they came from.
    pub(super) fn finish(&mut self, now: Instant, key: Key, outcome: Outcome) {
        self.requests.deadlines.clear(key.index());
        let Some(request) = self.requests.get_mut(key) else { return };
        let (peer, origin) = (request.contact.peer, request.origin);
        let answered = !matches!(outcome, Outcome::Failed(_));
        match origin {
            Origin::User => {
                request.phase = Phase::Done(outcome);
                self.events.places.add(waiting::REQUEST, key.index());
            }
            Origin::Check | Origin::Refresh | Origin::Query(_) => self.free_request(key),
        }
        let owned = self.openings.find(&peer);
        if owned.and_then(|at| self.openings.get(at)).is_some_and(|opening| opening.owner == key) {
            self.end_opening(now, &peer, None);
            self.release(now, &peer, answered);
        }
        match origin {
            Origin::Query(lookup) => {
                self.query_ended(now, lookup, &peer, answered);
                let node = self.table.find(&peer.id).filter(|_| answered);
                if let Some(lookup) = self.lookups.get_mut(lookup) {
                    lookup.ended(&peer.id, answered);
                    if let Some(node) = node {
                        lookup.found(&mut self.gathered, &node.record, node.member);
                    }
                }
                self.drive_lookup(now, lookup);
            }
            Origin::Check if !answered => self.check_failed(now, &peer),
            Origin::Check | Origin::User | Origin::Refresh => {}
        }
    }

    /// Forgets a session that was being opened.
    pub(super) fn close_opening(&mut self, peer: &Peer) {
        if let Some(key) = self.openings.find(peer) {
            self.discard_opening(key);
        }
    }

    /// Forgets an opening, and the packet that is kept for it.
    pub(super) fn discard_opening(&mut self, key: Key) {
        if let Some(packet) = self.openings.get(key).and_then(|opening| opening.packet) {
            self.kept_handshakes.discard(packet);
        }
        self.openings.discard(key);
    }

    /// The requests that waited for a session with `peer` go on, or fail with the one that was to
    /// open it.
    fn release(&mut self, now: Instant, peer: &Peer, go_on: bool) {
        for index in 0..self.requests.capacity() {
            let Some(key) = self.requests.key_at(index) else { continue };
            let Some(request) = self.requests.get_mut(key) else { continue };
            if request.contact.peer != *peer || request.phase != Phase::Waiting {
                continue;
            }
            if go_on {
                request.phase = Phase::Owed { free: false };
                self.requests.deadlines.clear(index);
                self.owed.add(owed::REQUEST, index);
            } else {
                self.finish(now, key, Outcome::Failed(RequestFailure::Timeout));
            }
        }
    }

    /// A session with `peer` was established: requests that waited go on, and those that went out
    /// under other keys are sent again, but the one in `carried`.
    pub(super) fn resend(&mut self, peer: &Peer, carried: Option<Key>) {
        for index in 0..self.requests.capacity() {
            let Some(key) = self.requests.key_at(index).filter(|key| Some(*key) != carried) else { continue };
            let Some(request) = self.requests.get_mut(key) else { continue };
            if request.contact.peer != *peer {
                continue;
            }
            let free = match request.phase {
                Phase::Waiting => false,
                // One that was sent again often enough ends with its deadline.
                Phase::InFlight if request.resends >= MAX_REQUEST_RESENDS => continue,
                Phase::InFlight => {
                    request.resends += 1;
                    true
                }
                Phase::Owed { .. } | Phase::Done(_) => continue,
            };
            request.phase = Phase::Owed { free };
            self.requests.deadlines.clear(index);
            self.owed.add(owed::REQUEST, index);
        }
    }
}
