//! Messages in: requests of peers are answered, their answers end requests of ours.

use core::net::SocketAddr;

use super::{
    counters::count,
    event::{Event, RecordSource, waiting},
    lookup::LookupOrigin,
    machine::Discovery,
    message::{Distances, Message, MessageError, RawRecords, WireId},
    peer::Peer,
    receive::{Incoming, Unverified},
    requests::{Ask, Contact, Nodes, Origin, Outcome},
    responses::{Answer, NodesPlan, Pick, Response, Taken},
    session::Opened,
    table::shareable,
    verified::Known,
};
use crate::{
    collections::Key, crypto::Crypto, id::NodeId, limits::MAX_NODES_RECORDS, record::Record, time::Instant,
};

impl<C: Crypto> Discovery<C> {
    /// An authenticated message. If its packet was decrypted before, it proves nothing about the
    /// present.
    pub(super) fn on_message(&mut self, crypto: &C, now: Instant, peer: Peer, text: &[u8], opened: Opened) {
        let Opened { generation, repeated, .. } = opened;
        let response = |wire_id, answer| Response { peer, wire_id, generation, repeated, answer };
        let message = match Message::decode(text) {
            Ok(message) => message,
            Err(error) => {
                count(match error {
                    MessageError::Type(_) => &mut self.counters.unknown_message,
                    MessageError::RequestId => &mut self.counters.long_request_id,
                    _ => &mut self.counters.malformed_message,
                });
                return;
            }
        };
        match message {
            Message::Ping { id, enr_seq } => {
                self.respond(response(id, Answer::Pong));
                if !repeated {
                    self.claimed_seq(now, &peer, enr_seq);
                }
            }
            Message::FindNode { id, distances } => {
                let plan = self.plan_nodes(&peer, &distances);
                self.respond(response(id, Answer::Nodes(plan)));
            }
            Message::TalkReq { id, protocol, request } => {
                if self.talk_protocols.iter().any(|accepted| accepted == protocol) {
                    self.on_talk(now, (peer, id), opened, protocol, request);
                } else {
                    self.respond(response(id, Answer::NoTalk));
                }
            }
            Message::Pong { id, enr_seq, ip, port } => {
                let Some(key) = self.answered(&peer, &id, |ask| matches!(ask, Ask::Ping)) else { return };
                self.on_pong(now, &peer, key, enr_seq);
                if ip.is_ipv4() != peer.endpoint.is_ipv4() {
                    // Over one family nobody sees our address of the other.
                    count(&mut self.counters.vote_family);
                } else if port != 0 {
                    self.event(Event::Vote { from: peer.id, observed: (ip, port).into() });
                }
            }
            // Counted once: a packet that comes twice is not two of those that were announced.
            Message::Nodes { .. } if repeated => {}
            Message::Nodes { id, total, records } => self.on_nodes(crypto, now, &peer, &id, total, &records),
            Message::TalkResp { id, response } => self.on_talk_response(now, &peer, &id, response),
        }
    }

    /// The request of ours that a response answers: id, peer, endpoint and kind must match.
    fn answered(&mut self, peer: &Peer, id: &WireId, kind: impl Fn(&Ask) -> bool) -> Option<Key> {
        let key = self.requests.answered_by(id, peer);
        let key = key.filter(|key| self.requests.get(*key).is_some_and(|request| kind(&request.ask)));
        if key.is_none() {
            count(&mut self.counters.unsolicited_response);
        }
        key
    }

    fn on_pong(&mut self, now: Instant, peer: &Peer, key: Key, enr_seq: u64) {
        let sent = self.requests.get(key).and_then(|request| request.sent_once);
        let rtt = sent.map(|sent| now.since(sent));
        let checked = self.table.answered(&peer.id, peer.endpoint, rtt, now, &mut self.rng);
        self.node_news(checked.node);
        if checked.inbound_limit {
            count(&mut self.counters.inbound_limit);
        }
        if checked.node.is_none() {
            self.event(Event::Reachable { id: peer.id, endpoint: peer.endpoint, rtt });
        }
        if self.refresh_at.is_none() {
            // Somebody is there: now the own id can be looked up, and the table kept fresh.
            self.refresh_at = Some(now + self.config.refresh);
            if !self.lookups.iter().any(|(_, lookup)| lookup.origin == LookupOrigin::Own) {
                self.own_lookup_at.get_or_insert(now);
            }
        }
        self.finish(now, key, Outcome::Pong { enr_seq });
        self.claimed_seq(now, peer, enr_seq);
    }

    /// A peer says that its record has this sequence number: if that is news, ask for the record,
    /// where the peer is now.
    fn claimed_seq(&mut self, now: Instant, peer: &Peer, enr_seq: u64) {
        if !self.table.wants_refresh(&peer.id, enr_seq, now) {
            return;
        }
        let Some(public_key) = self.table.find(&peer.id).map(|node| *node.record.public_key()) else {
            return;
        };
        let contact = Contact::new(peer.id, peer.endpoint, public_key);
        let Some(nodes) = Nodes::new(&[0]) else { return };
        if self.begin_request(contact, Ask::FindNode(nodes), Origin::Refresh).is_none() {
            count(&mut self.counters.requests_put_off);
        }
    }

    /// Plans the answer to a FINDNODE: our own record for distance 0, and live nodes that the asker
    /// may be told of. Where a distance has more than fit, a random part of them.
    fn plan_nodes(&mut self, peer: &Peer, distances: &Distances<'_>) -> NodesPlan {
        let mut picks = heapless::Vec::<Pick, MAX_NODES_RECORDS>::new();
        let mut seen = [false; 257];
        for distance in distances.iter() {
            if core::mem::replace(&mut seen[usize::from(distance.min(256))], true) {
                continue;
            }
            if distance == 0 {
                let _ = picks.push(Pick::new(None, &self.local));
                continue;
            }
            // A member is shown its own record in any case: it may have lost a newer one.
            if self.local.node_id().log_distance(&peer.id) == distance
                && let Some((key, node)) = self.table.entry(&peer.id)
                && (node.member || node.verified())
            {
                let _ = picks.push(Pick::new(Some(key), &node.record));
            }
            let to = peer.endpoint.ip();
            let nodes = || self.table.relayable(distance, to).filter(|(_, n)| n.record.node_id() != peer.id);
            let room = picks.capacity() - picks.len();
            if room == 0 {
                break;
            }
            let all = nodes().count();
            let skip = if all > room { self.rng.below(all as u64) as usize } else { 0 };
            let chosen = nodes().skip(skip).chain(nodes().take(skip)).take(room);
            for (key, node) in chosen {
                let _ = picks.push(Pick::new(Some(key), &node.record));
            }
        }
        NodesPlan::new(picks.into_iter())
    }

    fn on_nodes(
        &mut self,
        crypto: &C,
        now: Instant,
        peer: &Peer,
        id: &WireId,
        total: u64,
        records: &RawRecords<'_>,
    ) {
        let Some(key) = self.answered(peer, id, |ask| matches!(ask, Ask::FindNode(_))) else { return };
        let Some(request) = self.requests.get_mut(key) else { return };
        let origin = request.origin;
        let Ask::FindNode(nodes) = &mut request.ask else { return };
        if !nodes.packet(total) {
            count(&mut self.counters.nodes_packet);
            return;
        }
        let distances = nodes.distances.clone();
        let room = MAX_NODES_RECORDS.saturating_sub(nodes.read);
        let teller = (peer, self.table.is_member(&peer.id));
        let (mut read, mut valid) = (0, 0);
        for bytes in records.iter() {
            if read == room {
                count(&mut self.counters.nodes_excess);
                break;
            }
            read += 1;
            valid += usize::from(self.told(crypto, now, teller, origin, &distances, bytes));
        }
        let Some(request) = self.requests.get_mut(key) else { return };
        let Ask::FindNode(nodes) = &mut request.ask else { return };
        nodes.read += read;
        nodes.count += valid;
        if nodes.complete() || nodes.read >= MAX_NODES_RECORDS {
            let count = nodes.count;
            if let Origin::Query(lookup) = origin {
                self.settle_lookup(crypto, now, lookup, &peer.id, count);
            }
            self.finish(now, key, Outcome::Nodes { count });
        }
    }

    /// A peer, which may be a member itself, told of a record; whether it can be one. A lookup that may never use it
    /// puts it by: the signature, which costs most, is checked when it does.
    fn told(
        &mut self,
        crypto: &C,
        now: Instant,
        (peer, by_member): (&Peer, bool),
        origin: Origin,
        distances: &[u16],
        bytes: &[u8],
    ) -> bool {
        if let Origin::Query(lookup) = origin
            && self.hearsay.knows(lookup, bytes)
        {
            return true;
        }
        let known = self.verified.known(bytes);
        if let Some(told) = self.told_again(peer, origin, distances, &known, bytes) {
            return told;
        }
        let Ok(incoming) = Incoming::read(crypto, bytes, known) else {
            count(&mut self.counters.record_invalid);
            return false;
        };
        let id = incoming.claim.node_id();
        let node = self.table.find(&id);
        let (in_table, member) = (node.is_some(), node.is_some_and(|node| node.member));
        if !self.acceptable(peer, distances, &id, member, incoming.claim.udp_endpoints()) {
            return false;
        }
        if let Origin::Query(lookup) = origin
            && !(in_table || id == self.local.node_id() || id == peer.id)
        {
            // Other bytes for the same node: who told of it first may have lied.
            self.confirm_heard(crypto, now, lookup, &id);
            if self.put_by(lookup, peer, &incoming) {
                return true;
            }
        }
        match self.verified_record(crypto, now, incoming, by_member || member) {
            Ok(record) => self.learned(now, peer, origin, &record),
            Err(Unverified::Invalid) => {
                count(&mut self.counters.record_invalid);
                return false;
            }
            Err(Unverified::Budget) => return false,
        }
        true
    }

    /// The same for a record that the table has, byte for byte, which is what peers tell of most: nothing in it is
    /// read again. `None` when it is another.
    fn told_again(
        &mut self,
        peer: &Peer,
        origin: Origin,
        distances: &[u16],
        known: &Known,
        bytes: &[u8],
    ) -> Option<bool> {
        let (key, node) = self.table.entry(&known.owner?.node_id())?;
        if node.record.as_bytes() != bytes {
            return None;
        }
        let (record, member) = (node.record.clone(), node.member);
        let id = record.node_id();
        if !self.acceptable(peer, distances, &id, member, record.udp_endpoints()) {
            return Some(false);
        }
        count(&mut self.counters.record_cached);
        let source = source_of(&id, peer);
        self.table.told_by_others(key, source);
        match origin {
            Origin::User => self.event(Event::RecordSeen { record, source }),
            Origin::Query(lookup) => self.found_in_lookup(lookup, peer, &record),
            Origin::Check | Origin::Refresh => {}
        }
        Some(true)
    }

    /// Whether a peer may tell of a record: a distance that was asked for, an address that the peer can know.
    fn acceptable(
        &mut self,
        peer: &Peer,
        distances: &[u16],
        id: &NodeId,
        member: bool,
        endpoints: impl Iterator<Item = SocketAddr>,
    ) -> bool {
        if !distances.contains(&peer.id.log_distance(id)) {
            count(&mut self.counters.record_distance);
            return false;
        }
        // What a node says of itself, and what a member signed, is worth having in any case.
        let vouched = *id == peer.id || member;
        if !vouched && !shareable(endpoints, peer.endpoint.ip()) {
            count(&mut self.counters.record_scope);
            return false;
        }
        true
    }

    /// Puts a verified record where it is of use.
    fn learned(&mut self, now: Instant, peer: &Peer, origin: Origin, record: &Record) {
        let id: NodeId = record.node_id();
        if id == self.local.node_id() {
            let newer = record.seq() > self.local.seq();
            if newer || (record.seq() == self.local.seq() && !record.same_content(&self.local)) {
                self.event(Event::OwnRecordSeen { record: record.clone(), from: peer.id });
            }
            return;
        }
        let source = source_of(&id, peer);
        let news = self.offer(record, source, peer.endpoint, now);
        if origin == Origin::User && !news {
            // The table has no news of it, but the embedder asked.
            self.event(Event::RecordSeen { record: record.clone(), source });
        }
        let Origin::Query(lookup) = origin else { return };
        self.found_in_lookup(lookup, peer, record);
    }

    /// A query of a lookup brought a record.
    fn found_in_lookup(&mut self, lookup: Key, peer: &Peer, record: &Record) {
        let id = record.node_id();
        let endpoint = self.table.endpoint_of(record);
        let node = self.table.find(&id);
        let (member, kept) = node.map_or((false, false), |node| (node.member, node.kept));
        let Some(lookup) = self.lookups.get_mut(lookup) else { return };
        lookup.found(&mut self.gathered, record, member);
        if let Some(endpoint) = endpoint {
            let limited = self.table.limited(endpoint.ip()) && !kept && id != lookup.target;
            let contact = Contact::new(id, endpoint, *record.public_key());
            if !lookup.add(&contact, Some(&peer.id), limited) {
                count(&mut self.counters.lookup_prefix_limit);
            }
        }
    }

    fn on_talk(
        &mut self,
        now: Instant,
        from: (Peer, WireId),
        opened: Opened,
        protocol: &[u8],
        request: &[u8],
    ) {
        let deadline = now + self.config.talk_timeout;
        match self.talks.take(from, opened, protocol, request, deadline) {
            Taken::New(key) => {
                self.events.places.add(waiting::TALK, key.index());
            }
            Taken::Known => count(&mut self.counters.repeated_talk),
            Taken::Again(key) => {
                count(&mut self.counters.repeated_talk);
                let ((peer, wire_id), generation) = (from, opened.generation);
                let answer = Answer::Talk(key);
                self.respond(Response { peer, wire_id, generation, repeated: true, answer });
            }
            Taken::Full => count(&mut self.counters.talks_full),
        }
    }

    fn on_talk_response(&mut self, now: Instant, peer: &Peer, id: &WireId, response: &[u8]) {
        let Some(key) = self.answered(peer, id, |ask| matches!(ask, Ask::Talk(_))) else { return };
        let Some(Ask::Talk(payload)) = self.requests.get(key).map(|request| &request.ask) else { return };
        let Some(talk) = self.talks.own.get_mut(*payload) else { return };
        talk.data.clear();
        // It came in one packet, so it fits.
        let stored = talk.data.extend_from_slice(response);
        debug_assert!(stored.is_ok());
        self.finish(now, key, Outcome::Talk { len: response.len() });
    }
}

/// Where a record of the node `id` comes from that a peer told of.
fn source_of(id: &NodeId, peer: &Peer) -> RecordSource {
    if *id == peer.id { RecordSource::Owner } else { RecordSource::Relayed(peer.id) }
}
