//! Connections: their beginning, their bytes, their end, and which of two is kept.

use core::net::SocketAddr;

use super::{
    Node,
    action::{ConnId, RequestError},
    conns::{Close, Conn, Ended, Stage},
    inbound::Place,
    notice::{Failure, Notice},
};
use crate::{
    channel::{Channel, ChannelEvent, CloseReason},
    cluster::{Endpoint, MemberIndex, Origin},
    crypto::Crypto,
    handshake::{Finished, Initiator, Options, Responder},
    id::PeerId,
    limits::{
        CLOSE_TIMEOUT, DIAL_TIMEOUT, DOUBT_TIMEOUT, GIVE_WAY_TIMEOUT, HANDSHAKE_TIMEOUT,
        MAX_CHANNELS_PER_MEMBER, SETTLE_TIME,
    },
    time::Instant,
    zoo::{self, Bug},
};

impl<C: Crypto> Node<C> {
    /// Takes a slot for a dial, of a member or of whoever is there; `None` when there is none.
    pub(super) fn begin_dial(
        &mut self,
        now: Instant,
        member: Option<MemberIndex>,
        to: Endpoint,
    ) -> Option<ConnId> {
        let Endpoint { address: endpoint, origin } = to;
        let id = ConnId::dialled(self.fresh_id());
        let conn = Conn::new(id, endpoint, origin, Stage::Dialling, now + DIAL_TIMEOUT);
        let inserted = self.conns.insert(Conn { member, anyone: member.is_none(), ..conn });
        if !inserted {
            self.counters.dials_without_room += 1;
            match member {
                Some(member) => self.cluster.handle_dial_failed(now, member),
                None => self.cluster.handle_address_ended(now, endpoint, false),
            }
            return None;
        }
        self.notify(match member {
            Some(member) => Notice::Dialling { peer: self.peer_id(member), conn: id, endpoint, origin },
            None => Notice::DiallingAnyone { conn: id, endpoint },
        });
        Some(id)
    }

    pub(super) fn dial_succeeded(&mut self, now: Instant, id: ConnId) {
        let Self { conns, cluster, handshake_rng, static_key, .. } = self;
        let Some(conn) = conns.find(id).filter(|conn| matches!(conn.stage, Stage::Dialling)) else { return };
        let expected = conn.member.map(|member| cluster.member(member).peer_id());
        let options = Options { expected, ..Options::default() };
        conn.stage = Stage::Initiator(Initiator::new(static_key, handshake_rng, options));
        conn.deadline = Some(now + HANDSHAKE_TIMEOUT);
        conn.writable = true;
    }

    pub(super) fn accepted(&mut self, now: Instant, id: ConnId, from: SocketAddr) {
        let place = self.place_for(from.ip()).filter(|_| !self.shutting_down);
        let inserted = place.is_some_and(|place| {
            let responder = Responder::new(&self.static_key, &mut self.handshake_rng, Options::default());
            // Until the peer has authenticated, whatever it sends: a deadline from its last byte could
            // be put off for ever.
            let until = now + HANDSHAKE_TIMEOUT;
            let conn = Conn::new(id, from, Origin::Inbound, Stage::Responder(responder), until);
            self.conns.insert(Conn { reserved: place == Place::Reserved, writable: true, ..conn })
        });
        if !inserted {
            self.counters.inbound_without_room += 1;
            let _ = self.turned_away.push(id);
            self.notify(Notice::Refused { conn: id, from, reason: Failure::NoRoom });
        }
    }

    /// Bytes arrived: the handshake or the channel takes what it can.
    pub(super) fn connection_bytes(&mut self, now: Instant, id: ConnId, bytes: &mut [u8]) -> usize {
        let mut taken = 0;
        loop {
            let Some(conn) = self.conns.find(id) else { return bytes.len() };
            if conn.close.is_some() {
                return bytes.len();
            }
            let rest = &mut bytes[taken..];
            let result = match &mut conn.stage {
                Stage::Initiator(machine) => {
                    machine.handle_bytes(&self.identity, rest).map_err(Failure::Handshake)
                }
                Stage::Responder(machine) => {
                    machine.handle_bytes(&self.identity, rest).map_err(Failure::Handshake)
                }
                Stage::Channel(channel) => channel
                    .handle_bytes(self.identity.crypto(), now, rest)
                    .map_err(|error| Failure::Channel(CloseReason::Violation(error))),
                // Bytes before the driver said Connected, or after the end: nobody's.
                Stage::Dialling | Stage::Dead => return bytes.len(),
            };
            let n = match result {
                Ok(n) => n,
                Err(failure) => {
                    self.fail(now, id, failure);
                    return bytes.len();
                }
            };
            taken += n;
            if n > 0 {
                self.recognise(now, id);
                self.heard(now, id);
            }
            let finished = self.finish_handshake(now, id);
            // Events that wait may be what keeps the channel from taking more.
            let told = self.channel_events(now, id);
            let served = self.service_bytes(now, id, bytes.get(taken..).unwrap_or_default());
            if n == 0 && !finished && !told && !served {
                return taken;
            }
        }
    }

    /// A handshake that is through becomes a channel, if its peer is admitted. Returns whether
    /// there is a channel now that may take the bytes that are left.
    pub(super) fn finish_handshake(&mut self, now: Instant, id: ConnId) -> bool {
        let Some(conn) = self.conns.find(id) else { return false };
        let finished = match core::mem::replace(&mut conn.stage, Stage::Dead) {
            Stage::Initiator(machine) => machine.finish().map_err(Stage::Initiator),
            Stage::Responder(machine) => machine.finish().map_err(Stage::Responder),
            other => Err(other),
        };
        match finished {
            Err(stage) => {
                conn.stage = stage;
                false
            }
            Ok(finished) => self.admit(now, id, finished),
        }
    }

    fn admit(&mut self, now: Instant, id: ConnId, finished: Finished) -> bool {
        let peer = finished.peer_id();
        let Self { conns, cluster, channel_config, channel_rng, memories, .. } = self;
        let Some(conn) = conns.find(id) else { return false };
        let member = cluster.index_of(finished.peer());
        let (admitted, member) = match (finished.admit(|key| cluster.admits(key)), member) {
            (Ok(admitted), Some(member)) => (admitted, member),
            _ => {
                self.fail(now, id, Failure::NotAMember(peer));
                return false;
            }
        };
        let Some(memory) = memories.pop() else {
            self.fail(now, id, Failure::NoRoom);
            return false;
        };
        let channel = Channel::with_memory(admitted, now, channel_config, channel_rng, memory);
        conn.stage = Stage::Channel(channel);
        conn.member = Some(member);
        conn.reserved = false;
        if id.is_accepted() {
            // The initiator's last message proved that it has the channel too.
            self.confirm(now, id);
        }
        true
    }

    /// Whoever answered at an address that nobody was known to be at has proven its key: only a member
    /// without a channel is told who we are.
    fn recognise(&mut self, now: Instant, id: ConnId) {
        let Self { conns, cluster, .. } = self;
        let Some(conn) = conns.find(id).filter(|conn| conn.anyone && conn.member.is_none()) else { return };
        let Stage::Initiator(machine) = &conn.stage else { return };
        let Some(key) = machine.peer() else { return };
        match cluster.index_of(key) {
            Some(member) => {
                conn.member = Some(member);
                if cluster.member(member).is_connected() {
                    self.fail(now, id, Failure::Duplicate);
                }
            }
            None => {
                let peer = PeerId::from_public_key(key);
                self.fail(now, id, Failure::NotAMember(peer));
            }
        }
    }

    /// Something authentic came from the peer.
    fn heard(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.find(id) else { return };
        if !conn.confirmed && matches!(conn.stage, Stage::Channel(_)) {
            self.confirm(now, id);
        }
    }

    /// A channel counts from now on: of two, one is chosen, and attempts still under way end.
    fn confirm(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.find(id) else { return };
        let (Some(member), endpoint, origin) = (conn.member, conn.remote, conn.origin) else { return };
        let anyone = conn.anyone;
        conn.confirmed = true;
        conn.confirmed_at = now;
        conn.deadline = None;
        let first = !self.cluster.member(member).is_connected();
        let dialled = Self::dialled_origin(origin).then_some(endpoint);
        self.cluster.handle_connected(member, dialled, dialled.is_some() && !anyone);
        if anyone {
            self.cluster.handle_address_ended(now, endpoint, true);
        }
        let peer = self.peer_id(member);
        self.notify(Notice::ChannelUp { peer, conn: id, endpoint, origin, first });
        self.deduplicate(now, member);
        self.keep_newest(now, member, id);
    }

    /// Of the connections to one member the one dialled by the larger peer id stays, and only the
    /// dialler of another closes it: both sides come to the same choice without a word, and no
    /// interleaving closes both.
    ///
    /// A channel gives way only to one that is proven: a pong over it shows that the peer counts it
    /// too, so that neither side is without a channel for a moment. Hence this is asked again with
    /// every pong. Streams that are open on it may end first, for a while; new ones are opened on the
    /// other ([`Self::channel_in_use`]).
    fn deduplicate(&mut self, now: Instant, member: MemberIndex) {
        loop {
            let beats = |winner: &Conn, loser: &Conn| {
                let accepted = self.stays(winner) || zoo::has(Bug::BothCloseDuplicates);
                let stays = if winner.id.is_accepted() { accepted } else { winner.id < loser.id };
                stays && winner.is_channel() && self.answers(winner)
            };
            let of_member = || self.conns.iter().filter(|c| c.member == Some(member) && c.close.is_none());
            let waits = |conn: &Conn| conn.gives_way.is_some_and(|at| now < at) && conn.has_streams();
            let surplus = |conn: &&Conn| {
                // An attempt is of no use beside a channel.
                !conn.id.is_accepted()
                    && (conn.is_attempt()
                        || conn.is_channel() && !waits(conn) && of_member().any(|w| beats(w, conn)))
            };
            let Some(surplus) = of_member().find(surplus).map(|c| c.id) else { break };
            match self.conns.find(surplus) {
                Some(conn) if conn.gives_way.is_none() && conn.has_streams() => {
                    conn.gives_way = Some(now + GIVE_WAY_TIMEOUT);
                }
                _ => self.fail(now, surplus, Failure::Duplicate),
            }
        }
    }

    /// Channels that give way and have nothing left to wait for end, unless the other ended meanwhile.
    pub(super) fn give_way(&mut self, now: Instant) {
        let over = |conn: &Conn| {
            conn.is_channel() && conn.gives_way.is_some_and(|at| at <= now || !conn.has_streams())
        };
        while let Some(id) = self.conns.find_id(over) {
            if let Some(member) = self.conns.find(id).and_then(|conn| conn.member) {
                self.deduplicate(now, member);
            }
            if let Some(conn) = self.conns.find(id) {
                conn.gives_way = None;
            }
        }
    }

    /// A peer that dials again and again without closing keeps its newest connections. But of several that it
    /// dialled at one moment it closes the others itself, and may keep any that was proven to it: only the one
    /// that has just come was not.
    fn keep_newest(&mut self, now: Instant, member: MemberIndex, newest: ConnId) {
        let inbound = || {
            let of_member = self.conns.iter().filter(|conn| conn.member == Some(member));
            of_member.filter(|conn| conn.is_channel() && conn.id.is_accepted())
        };
        if inbound().count() > MAX_CHANNELS_PER_MEMBER {
            let settled = |conn: &&Conn| conn.confirmed && now.since(conn.confirmed_at) >= SETTLE_TIME;
            let oldest = inbound().filter(settled).map(|conn| conn.id).min();
            self.fail(now, oldest.unwrap_or(newest), Failure::Duplicate);
        }
    }

    /// Whether a connection was dialled by the larger of both peer ids: the kind that stays.
    fn stays(&self, conn: &Conn) -> bool {
        let we_are_larger = conn.member.is_some_and(|member| self.identity.peer_id() > self.peer_id(member));
        conn.id.is_accepted() != we_are_larger
    }

    /// What the channel has to tell; whether there was anything.
    pub(super) fn channel_events(&mut self, now: Instant, id: ConnId) -> bool {
        let mut told = false;
        loop {
            let Some(conn) = self.conns.find(id) else { return told };
            let Stage::Channel(channel) = &mut conn.stage else { return told };
            let Some(event) = channel.poll_event() else { return told };
            let Some(member) = conn.member else { return told };
            told = true;
            match event {
                ChannelEvent::Pong { rtt } => {
                    conn.last_pong = Some(now);
                    // Doubts about it are over.
                    conn.deadline = conn.deadline.filter(|_| !conn.confirmed);
                    let peer = self.peer_id(member);
                    self.notify(Notice::Ping { peer, conn: id, rtt });
                    self.deduplicate(now, member);
                    self.keep_newest(now, member, id);
                    self.serve(now, member);
                }
                ChannelEvent::Closed { reason, .. } => self.fail(now, id, Failure::Channel(reason)),
                ChannelEvent::StreamRefused { .. } => self.counters.streams_refused += 1,
                ChannelEvent::PingUnsupported => {
                    conn.pingless = true;
                    self.serve(now, member);
                }
                ChannelEvent::Ready { .. } => {}
            }
        }
    }

    pub(super) fn connection_timeouts(&mut self, now: Instant) {
        let late = |conn: &Conn| conn.close.is_none() && conn.deadline.is_some_and(|at| now >= at);
        while let Some(id) = self.conns.find_id(late) {
            self.fail(now, id, Failure::Timeout);
        }
        loop {
            let due = self.conns.iter_mut().find_map(|conn| {
                let Stage::Channel(channel) = &mut conn.stage else { return None };
                if conn.close.is_some() || channel.next_timeout().is_none_or(|at| now < at) {
                    return None;
                }
                channel.handle_timeout(now);
                conn.resume |= channel.wants_bytes();
                Some(conn.id)
            });
            let Some(id) = due else { return };
            self.channel_events(now, id);
        }
    }

    /// We end a connection: it is closed at the next poll, after a farewell where that helps.
    pub(super) fn fail(&mut self, now: Instant, id: ConnId, reason: Failure) {
        let Some(conn) = self.conns.find(id).filter(|conn| conn.close.is_none()) else { return };
        conn.close = Some(match &mut conn.stage {
            Stage::Channel(channel) if !channel.is_closed() => {
                channel.close(now);
                Close::Flush(now + CLOSE_TIMEOUT)
            }
            _ => Close::Now,
        });
        let ended = Ended::of(conn, reason);
        self.ended(now, ended);
    }

    /// The driver says that a connection is over.
    pub(super) fn end(&mut self, now: Instant, id: ConnId, reason: Failure) {
        let Some(mut conn) = self.conns.remove(id) else { return };
        if conn.close.is_none() {
            let reason = farewell(&mut conn).unwrap_or(reason);
            self.ended(now, Ended::of(&conn, reason));
        }
        self.recycle(conn);
    }

    /// Keeps an ended channel's memory for the next one.
    pub(super) fn recycle(&mut self, conn: Conn) {
        if let Stage::Channel(channel) = conn.stage {
            self.memories.push(channel.into_memory());
        }
    }

    /// Tells the cluster and the embedder what the end of a connection means.
    fn ended(&mut self, now: Instant, ended: Ended) {
        let Ended { id, remote, origin, member, anyone, was_confirmed, reason } = ended;
        if anyone && !was_confirmed {
            let reached = reason == Failure::Duplicate;
            self.cluster.handle_address_ended(now, remote, reached);
            self.notify(Notice::AnyoneFailed { conn: id, endpoint: remote, reason });
            return;
        }
        let Some(member) = member else {
            self.counters.inbound_refused += 1;
            self.notify(Notice::Refused { conn: id, from: remote, reason });
            return;
        };
        let peer = self.peer_id(member);
        if was_confirmed {
            self.connection_lost(now, id, member, reason);
            let still_connected = self.has_channel(member);
            if !still_connected && !self.shutting_down {
                self.cluster.handle_disconnected(now, member);
                // Perhaps it is we who moved, unseen by our own host: its answer says where we are.
                let id = self.cluster.member(member).node_id();
                self.discovery.check(now, &id);
            }
            self.notify(Notice::ChannelDown { peer, conn: id, reason, still_connected });
        } else if Self::dialled_origin(origin) {
            self.cluster.handle_dial_failed(now, member);
            self.notify(Notice::DialFailed { peer, conn: id, endpoint: remote, origin, reason });
        }
    }

    /// Of a member's channels the one to use: of those that still answer pings, if any does, the one that
    /// stays beside others, and the oldest such.
    pub(super) fn channel_in_use(&self, member: MemberIndex) -> Option<&Conn> {
        let channels =
            self.conns.iter().filter(|c| c.member == Some(member) && c.confirmed && c.is_channel());
        channels.min_by_key(|conn| (!self.answers(conn), !self.stays(conn), conn.id))
    }

    /// Whether a ping over this channel was answered lately: the peer counts it, and is there.
    fn answers(&self, conn: &Conn) -> bool {
        conn.last_pong.is_some_and(|at| self.now.since(at) < self.ping_interval * 2)
    }

    fn has_channel(&self, member: MemberIndex) -> bool {
        self.conns.iter().any(|c| c.member == Some(member) && c.confirmed && c.is_channel())
    }

    pub(super) fn ping(&mut self, now: Instant, peer: PeerId) -> Result<(), RequestError> {
        let member = self.cluster.index_of_peer(&peer).ok_or(RequestError::NotAMember)?;
        let (id, pingless) = match self.channel_in_use(member) {
            Some(conn) => (conn.id, conn.pingless),
            None => return Err(RequestError::NotConnected),
        };
        if pingless {
            return Err(RequestError::Pingless);
        }
        match self.conns.find(id).map(|conn| &mut conn.stage) {
            Some(Stage::Channel(channel)) => {
                // One that is under way, or comes with the muxer's agreement, serves this request too.
                channel.ping(now);
                Ok(())
            }
            _ => Err(RequestError::NotConnected),
        }
    }

    /// A member seems to be elsewhere now: a channel from before must answer soon, or it makes room
    /// for a dial to where the member is.
    pub(super) fn doubt(&mut self, now: Instant, member: MemberIndex) {
        for conn in
            self.conns.iter_mut().filter(|c| c.member == Some(member) && c.confirmed && c.is_channel())
        {
            if let Stage::Channel(channel) = &mut conn.stage
                && channel.is_ready()
                && !conn.pingless
            {
                channel.ping(now);
                conn.deadline.get_or_insert(now + DOUBT_TIMEOUT);
            }
        }
    }

    pub(super) fn shut_down(&mut self, now: Instant) {
        self.shutting_down = true;
        while let Some(open) = self.conns.find_id(|conn| conn.close.is_none()) {
            self.fail(now, open, Failure::Shutdown);
        }
    }
}

/// What a peer that closed its connection had said before, if it said goodbye.
fn farewell(conn: &mut Conn) -> Option<Failure> {
    let Stage::Channel(channel) = &mut conn.stage else { return None };
    channel.handle_eof();
    core::iter::from_fn(|| channel.poll_event()).find_map(|event| match event {
        ChannelEvent::Closed { reason: reason @ CloseReason::WentAway(_), .. } => {
            Some(Failure::Channel(reason))
        }
        _ => None,
    })
}
