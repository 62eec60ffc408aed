//! Packets out: each is encoded at the moment it is polled.

use core::net::SocketAddr;

use super::{
    budget::Kind,
    counters::count,
    event::RequestFailure,
    keys::{self, Keys},
    machine::{Discovery, owed},
    message::{self, Message, WireId},
    packet::{self, Auth, Nonce, PacketError},
    peer::Peer,
    requests::{
        Ask, Challenged, Handshake, KeptHandshake, Opening, Origin, Outcome, Phase, Request, Requests,
    },
    responses::{Answer, NodesPlan, Pick, Response, Talks},
    session::{Generation, Sealing},
};
use crate::{
    collections::Key,
    crypto::{Crypto, Identity, TAG_LEN},
    id::NodeId,
    limits::{MAX_PACKET_SIZE, MAX_REQUEST_ID, TALK_ANSWER_LIFETIME},
    record::Record,
    time::Instant,
    wire::rlp::BufferTooSmall,
};

/// Bytes of random "message" in a packet that asks for a WHOAREYOU: as many as an encrypted PING has.
const RANDOM_MESSAGE: usize = 32;

/// Size of such a packet: IV, static header, source id and "message".
const RANDOM_PACKET: u32 = 16 + 23 + 32 + RANDOM_MESSAGE as u32;

/// A packet that was encoded: where to, and how many bytes.
type Sent = Option<(SocketAddr, usize)>;

/// How a request goes out.
enum Route {
    /// In the established session.
    Session,
    /// Under the newest keys of a handshake that was not answered yet.
    Awaiting,
    /// As a packet that asks for a WHOAREYOU.
    Random,
    /// Not now: another request opens the session.
    Wait,
}

impl<C: Crypto> Discovery<C> {
    /// Encodes the next packet into `buf`, which has at least
    /// [`MAX_PACKET_SIZE`] bytes, and returns where to send how many bytes of it; `None` when nothing
    /// is due. With a smaller buffer nothing is sent, nothing lost, and the call is counted.
    pub fn poll_transmit(
        &mut self,
        identity: &Identity<C>,
        now: Instant,
        buf: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let now = self.now.advance(now);
        if buf.len() < MAX_PACKET_SIZE {
            count(&mut self.counters.encode_failed);
            return None;
        }
        self.sessions.expire(now);
        while let Some((pool, index)) = self.owed.pop() {
            let sent = match pool {
                owed::CHALLENGE => self.send_challenge(identity, index, buf),
                owed::RESPONSE => self.send_response(identity, now, index, buf),
                owed::HANDSHAKE => self.send_handshake(identity, now, index, buf),
                _ => self.send_request(identity, now, index, buf),
            };
            match sent {
                Ok(None) => {}
                Ok(Some((to, len))) => {
                    count(&mut self.counters.sent);
                    self.counters.sent_bytes = self.counters.sent_bytes.saturating_add(len as u64);
                    return Some((to, len));
                }
                Err(_) => count(&mut self.counters.encode_failed),
            }
        }
        // Nothing is left to send: time to do ahead what the answers to challenges will need.
        self.ephemerals.prepare(identity.crypto(), &mut self.rng);
        None
    }

    fn send_challenge(
        &mut self,
        identity: &Identity<C>,
        index: usize,
        buf: &mut [u8],
    ) -> Result<Sent, PacketError> {
        let Some((peer, challenge)) = self.challenges.at(index) else { return Ok(None) };
        let len = packet::seal_whoareyou(identity.crypto(), &peer.id, &challenge.data, buf)?;
        Ok(Some((peer.endpoint, len)))
    }

    fn send_response(
        &mut self,
        identity: &Identity<C>,
        now: Instant,
        index: usize,
        buf: &mut [u8],
    ) -> Result<Sent, PacketError> {
        let Some(key) = self.responses.key_at(index) else { return Ok(None) };
        let Some(mut response) = self.responses.remove(key) else { return Ok(None) };
        let sent = self.encode_response(identity, &mut response, buf);
        match (&response.answer, &sent) {
            // An answer in several packets goes on.
            (Answer::Nodes(plan), Ok(Some(_))) if !plan.finished() => self.respond(response),
            (Answer::Talk(talk), Ok(Some(_))) => self.talks.sent(*talk, now + TALK_ANSWER_LIFETIME),
            (Answer::Talk(talk), _) => self.talks.close(*talk),
            _ => {}
        }
        sent
    }

    fn encode_response(
        &mut self,
        identity: &Identity<C>,
        response: &mut Response,
        buf: &mut [u8],
    ) -> Result<Sent, PacketError> {
        let peer = response.peer;
        let crypto = identity.crypto();
        let keys = (response.generation, response.repeated);
        let next = self.sessions.next_message(crypto, &peer, keys, &mut self.rng);
        let Some((nonce, sealing)) = next else {
            // A used-up session goes, so that the peer's next packet is challenged.
            self.sessions.remove_peer(&peer);
            count(&mut self.counters.responses_without_session);
            return Ok(None);
        };
        let auth = Auth::Message { src: self.local.node_id() };
        let draft = packet::begin(&self.rng.array(), &nonce, &auth, buf)?;
        let room = buf.get_mut(draft.message()).ok_or(PacketError::BufferTooSmall)?;
        let written = match &mut response.answer {
            Answer::Pong => {
                let (ip, port) = (peer.endpoint.ip(), peer.endpoint.port());
                Message::Pong { id: response.wire_id, enr_seq: self.local.seq(), ip, port }.encode(room)
            }
            Answer::Nodes(plan) => {
                let records = |pick: &Pick| match pick.node {
                    None => Some(&self.local),
                    Some(node) => self.table.get(node).map(|node| &node.record),
                };
                write_nodes(room, response.wire_id, plan, records)
            }
            Answer::NoTalk => Message::TalkResp { id: response.wire_id, response: &[] }.encode(room),
            Answer::Talk(talk) => {
                let talk = self.talks.peers.get(*talk);
                let answer = talk.map_or(&[][..], super::responses::Talk::answer);
                Message::TalkResp { id: response.wire_id, response: answer }.encode(room)
            }
        };
        let len = written.map_err(|BufferTooSmall| PacketError::BufferTooSmall)?;
        let size = (draft.message().start + len + TAG_LEN) as u32;
        if response.repeated && !self.sessions.pay(&peer, size) {
            count(&mut self.counters.repeated_budget);
            return Ok(None);
        }
        let len = self.sessions.seal(crypto, &peer.id, &sealing, &draft, len, buf)?;
        Ok(Some((peer.endpoint, len)))
    }

    fn send_request(
        &mut self,
        identity: &Identity<C>,
        now: Instant,
        index: usize,
        buf: &mut [u8],
    ) -> Result<Sent, PacketError> {
        let Some(key) = self.requests.key_at(index) else { return Ok(None) };
        let Some(request) = self.requests.get(key) else { return Ok(None) };
        let Phase::Owed { free } = &request.phase else { return Ok(None) };
        let free = *free;
        let (origin, id, fresh) = (request.origin, request.contact.peer.id, request.tries == 0);
        if fresh && !self.may_query(identity.crypto(), now, origin, &id) {
            // It is of no use any more: it ends with its time, which is over.
            self.requests.deadlines.set(index, now);
            if let Some(request) = self.requests.get_mut(key) {
                request.phase = Phase::Waiting;
            }
            return Ok(None);
        }
        let route = self.route(key);
        if matches!(route, Route::Wait) {
            self.requests.deadlines.set(index, now + self.config.handshake_timeout * 10);
            if let Some(request) = self.requests.get_mut(key) {
                request.phase = Phase::Waiting;
            }
            return Ok(None);
        }
        // Whatever comes of it, the request counts as sent: the deadline then tries again, or ends it.
        let sent = self.encode_on_route(identity, now, key, &route, buf);
        let Some(request) = self.requests.get_mut(key) else { return Ok(None) };
        request.sent_once = (request.tries == 0).then_some(now);
        request.tries = request.tries.saturating_add(u8::from(!free)).max(1);
        request.phase = Phase::InFlight;
        if let Ok(Some((nonce, _))) = &sent {
            request.remember(*nonce);
        }
        let endpoint = request.contact.peer.endpoint;
        let deadline = Requests::deadline(now, self.config.request_timeout, request.tries);
        self.requests.deadlines.set(index, deadline);
        sent.map(|sent| sent.map(|(_, len)| (endpoint, len)))
    }

    /// Encodes a request; `None` when nothing may be sent to its endpoint now.
    fn encode_on_route(
        &mut self,
        identity: &Identity<C>,
        now: Instant,
        key: Key,
        route: &Route,
        buf: &mut [u8],
    ) -> Result<Option<(Nonce, usize)>, PacketError> {
        let crypto = identity.crypto();
        let Some(peer) = self.requests.get(key).map(|request| request.contact.peer) else { return Ok(None) };
        let next = self.next_message(crypto, &peer, route);
        let Some(request) = self.requests.get(key) else { return Ok(None) };
        if let Some((mut nonce, sealing)) = next {
            Requests::mark(&mut nonce, key);
            let auth = Auth::Message { src: self.local.node_id() };
            let draft = packet::begin(&self.rng.array(), &nonce, &auth, buf)?;
            let room = buf.get_mut(draft.message()).ok_or(PacketError::BufferTooSmall)?;
            let len = write_request(&self.local, request, &self.talks, room);
            let len = len.map_err(|BufferTooSmall| PacketError::BufferTooSmall)?;
            let len = self.sessions.seal(crypto, &peer.id, &sealing, &draft, len, buf)?;
            return Ok(Some((nonce, len)));
        }
        let ours = request.origin == Origin::User || self.table.is_member(&peer.id);
        let budgeted = !self.table.is_verified_at(&peer);
        if budgeted && !self.prefixes.spend(peer.endpoint.ip(), Kind::Begun, RANDOM_PACKET, ours, now) {
            count(&mut self.counters.begun_budget);
            return Ok(None);
        }
        let mut nonce = self.rng.array();
        Requests::mark(&mut nonce, key);
        let auth = Auth::Message { src: self.local.node_id() };
        let draft = packet::begin(&self.rng.array(), &nonce, &auth, buf)?;
        let room = draft.message().start..draft.message().start + RANDOM_MESSAGE;
        self.rng.fill(buf.get_mut(room).ok_or(PacketError::BufferTooSmall)?);
        let len = packet::seal_random(crypto, &peer.id, &draft, RANDOM_MESSAGE, buf)?;
        Ok(Some((nonce, len)))
    }

    /// The nonce and the key of the next message to `peer`; `None` when it goes out without any.
    fn next_message(&mut self, crypto: &C, peer: &Peer, route: &Route) -> Option<(Nonce, Sealing)> {
        match route {
            Route::Session => {
                self.sessions.next_message(crypto, peer, (Generation::Current, false), &mut self.rng)
            }
            Route::Awaiting => {
                let at = self.openings.find(peer)?;
                let keys = &mut self.openings.get_mut(at)?.sent.last_mut()?.keys;
                Some((keys.next_nonce(&mut self.rng)?, Sealing::With(keys.send().clone())))
            }
            Route::Random | Route::Wait => None,
        }
    }

    /// How a request goes out; it becomes the owner of an opening when there is no session.
    fn route(&mut self, key: Key) -> Route {
        let Some(peer) = self.requests.get(key).map(|request| request.contact.peer) else {
            return Route::Wait;
        };
        let session = self.sessions.find(&peer).filter(|session| session.can_send());
        let serial = session.map_or(0, |session| session.serial);
        let Some(at) = self.openings.find(&peer) else {
            if session.is_some() {
                return Route::Session;
            }
            // There are as many openings as requests, so there is room.
            let inserted = self.openings.insert(peer, Opening::new(key, serial));
            debug_assert!(inserted.is_ok());
            self.ephemerals.want();
            return Route::Random;
        };
        let Some(opening) = self.openings.get(at) else { return Route::Wait };
        if session.is_some() && serial > opening.serial {
            // The peer opened one meanwhile.
            Route::Session
        } else if opening.owner != key {
            Route::Wait
        } else if opening.sent.is_empty() {
            Route::Random
        } else {
            Route::Awaiting
        }
    }

    fn send_handshake(
        &mut self,
        identity: &Identity<C>,
        now: Instant,
        index: usize,
        buf: &mut [u8],
    ) -> Result<Sent, PacketError> {
        let Some(at) = self.openings.key_at(index) else { return Ok(None) };
        let Some(peer) = self.openings.name(at).copied() else { return Ok(None) };
        let Some(opening) = self.openings.get_mut(at) else { return Ok(None) };
        let repeat = core::mem::take(&mut opening.repeat);
        let Some(challenged) = opening.challenge.take() else {
            let kept = opening.packet.and_then(|packet| self.kept_handshakes.get(packet));
            let Some(kept) = kept.filter(|_| repeat) else { return Ok(None) };
            buf.get_mut(..kept.len()).ok_or(PacketError::BufferTooSmall)?.copy_from_slice(kept);
            return Ok(Some((peer.endpoint, kept.len())));
        };
        let open = self.requests.get(challenged.request);
        if open.is_none_or(|request| matches!(request.phase, Phase::Done(_))) {
            // It ended meanwhile, and the embedder may not have been told yet.
            return Ok(None);
        }
        if let Some(Origin::Query(lookup)) = open.map(|request| request.origin)
            && self.lookups.get(lookup).is_none_or(|lookup| lookup.done)
            && !self.requests.waits_for(&peer)
        {
            // Its lookup has ended: a handshake would be in vain.
            self.finish(now, challenged.request, Outcome::Failed(RequestFailure::Timeout));
            return Ok(None);
        }
        let (handshake, len) = self.encode_handshake(identity, &peer.id, &challenged, buf)?;
        let carried = handshake.carried.is_some();
        let Some(opening) = self.openings.get_mut(at) else { return Ok(None) };
        if opening.sent.is_full() {
            opening.sent.remove(0);
        }
        let pushed = opening.sent.push(handshake);
        debug_assert!(pushed.is_ok());
        if let Some(before) = opening.packet.take() {
            self.kept_handshakes.discard(before);
        }
        let packet = buf.get(..len).and_then(|packet| KeptHandshake::from_slice(packet).ok());
        opening.packet = packet.and_then(|packet| self.kept_handshakes.insert(packet).ok());
        if carried && let Some(request) = self.requests.get_mut(challenged.request) {
            request.phase = Phase::InFlight;
            request.sent_once = None;
        }
        self.requests.deadlines.set(challenged.request.index(), now + self.config.handshake_timeout);
        Ok(Some((peer.endpoint, len)))
    }

    /// Builds the handshake packet that answers a challenge, around the message of the request that
    /// was challenged; a message too large for it is replaced by a PING and follows afterwards.
    fn encode_handshake(
        &mut self,
        identity: &Identity<C>,
        dest: &NodeId,
        challenged: &Challenged,
        buf: &mut [u8],
    ) -> Result<(Handshake, usize), PacketError> {
        let crypto = identity.crypto();
        let request = self.requests.get(challenged.request).ok_or(PacketError::Authdata)?;
        let ephemeral = self.ephemerals.take(crypto, &mut self.rng).ok_or(PacketError::Authdata)?;
        let shared = crypto.ecdh(&ephemeral.secret, &request.contact.public_key);
        let shared = shared.ok_or(PacketError::Authdata)?;
        let ephemeral = ephemeral.public;
        let src = self.local.node_id();
        let mut keys = Keys::initiator(crypto, &shared, &src, dest, &challenged.data);
        let signature = keys::sign_id(identity, &challenged.data, &ephemeral, dest);
        let known = packet::claimed_seq(&challenged.data);
        let wanted = known == 0 || known < self.local.seq();
        let record = if wanted { self.local.as_bytes() } else { &[] };
        let auth = Auth::Handshake { src, signature, ephemeral: &ephemeral, record };
        let nonce = keys.next_nonce(&mut self.rng).ok_or(PacketError::Authdata)?;
        let draft = packet::begin(&self.rng.array(), &nonce, &auth, buf)?;
        let room = buf.get_mut(draft.message()).ok_or(PacketError::BufferTooSmall)?;
        let (len, carried) = match write_request(&self.local, request, &self.talks, room) {
            Ok(len) => (len, Some(challenged.request)),
            Err(BufferTooSmall) => {
                let id = WireId::new(&self.rng.array::<MAX_REQUEST_ID>()).unwrap_or_default();
                let ping = Message::Ping { id, enr_seq: self.local.seq() };
                (ping.encode(room).map_err(|_| PacketError::BufferTooSmall)?, None)
            }
        };
        let len = packet::seal(crypto, dest, &crypto.aes_gcm_key(keys.send()), &draft, len, buf)?;
        Ok((Handshake { data: challenged.data, keys, carried }, len))
    }
}

fn write_request(
    local: &Record,
    request: &Request,
    talks: &Talks,
    buf: &mut [u8],
) -> Result<usize, BufferTooSmall> {
    let id = request.wire_id;
    match &request.ask {
        Ask::Ping => Message::Ping { id, enr_seq: local.seq() }.encode(buf),
        Ask::FindNode(nodes) => message::encode_find_node(buf, id, &nodes.distances),
        Ask::Talk(payload) => {
            let parts =
                talks.own.get(*payload).and_then(|talk| talk.data.split_at_checked(talk.protocol_len));
            let (protocol, request) = parts.unwrap_or_default();
            Message::TalkReq { id, protocol, request }.encode(buf)
        }
    }
}

/// Writes the next packet of an answer to FINDNODE. A record that went or changed since the answer
/// was planned is left out; the total stays.
fn write_nodes<'r>(
    buf: &mut [u8],
    id: WireId,
    plan: &mut NodesPlan,
    record: impl Fn(&Pick) -> Option<&'r Record>,
) -> Result<usize, BufferTooSmall> {
    let total = plan.total();
    let records = plan.next_packet().iter().filter_map(|pick| {
        let bytes = record(pick)?.as_bytes();
        (bytes.len() == usize::from(pick.len)).then_some(bytes)
    });
    message::encode_nodes(buf, id, total, records)
}
