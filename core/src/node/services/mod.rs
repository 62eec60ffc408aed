//! The node's own protocols inside a channel, beside ping: identify and its push, Charon's peerinfo, and
//! the exchange of records.
//!
//! They use streams as the embedder does, with places of their own: at most one of a kind that we open
//! and [`MAX_INBOUND_SERVICES`] that the peer opens, each with a time limit and a limit on what is read.
//! What arrives is read field by field where it lies, so a place holds one field at most; what is sent
//! is made from the node's state at the moment it is written.

mod identify;
mod peerinfo;
mod records;

use alloc::boxed::Box;

pub use peerinfo::{LocalInfo, LocalInfoError, PeerInfo};
pub(super) use records::Bits;

use super::{
    Node,
    action::{Action, ConnId},
    conns::{Conn, Stage},
    text::Text,
};
use crate::{
    channel::{Payload, StreamEnd, StreamNews},
    cluster::MemberIndex,
    crypto::Crypto,
    limits::{
        MAX_AGENT, MAX_INBOUND_SERVICES, MAX_SERVICE_MESSAGE, PEER_INFO_FIRST, PEER_INFO_INTERVAL,
        RECORDS_RETRY, SERVICE_TIMEOUT, SERVICES_AFTER,
    },
    time::{Instant, earlier},
    wire::{
        messages::{Item, MessageError, MessageReader},
        varint,
    },
};

/// Their names, in the order of their numbers (and of [`Kind`]).
pub(super) const NAMES: [&str; 4] =
    ["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/charon/peerinfo/2.0.0", "/coracle/records/1.0.0"];
/// How many they are: the embedder's numbers follow.
pub(super) const SERVICES: u8 = NAMES.len() as u8;
/// Places of one channel: one of each kind that we open, and those that the peer opens.
pub(super) const PLACES_A_CHANNEL: usize = NAMES.len() + MAX_INBOUND_SERVICES;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Identify,
    Push,
    PeerInfo,
    Records,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Identify, Self::Push, Self::PeerInfo, Self::Records];

    /// Most bytes that are read of one stream, and of one message.
    const fn limits(self) -> (usize, usize) {
        match self {
            Self::Identify | Self::Push => (4 * MAX_SERVICE_MESSAGE, 2 * MAX_SERVICE_MESSAGE),
            Self::PeerInfo => (MAX_SERVICE_MESSAGE, MAX_SERVICE_MESSAGE),
            Self::Records => (records::MAX_BYTES, records::MAX_MESSAGE),
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One stream of one protocol.
#[derive(Debug)]
pub(super) struct Service {
    conn: ConnId,
    stream: u32,
    member: MemberIndex,
    kind: Kind,
    ours: bool,
    /// A message is to be written, as soon as the peer has agreed (`ready`) and there is room.
    writes: bool,
    ready: bool,
    /// Bytes read.
    read: usize,
    reader: MessageReader,
    /// What the peer says of itself, until its message is whole.
    info: PeerInfo,
    /// When our request was written.
    asked_at: Option<Instant>,
}

/// What the node owes a member, and knows from it, in these protocols.
#[derive(Debug)]
pub(super) struct Peer {
    /// The channel over which it is served.
    conn: Option<ConnId>,
    /// Kinds to open a stream for (bits).
    owed: u8,
    /// Kinds that the peer does not speak, on this channel.
    unsupported: u8,
    /// When the first streams are opened on this channel.
    begin_at: Option<Instant>,
    info_at: Option<Instant>,
    records_at: Option<Instant>,
    pub(super) records: Bits,
    checks: records::Budget,
    pub(super) agent: Text<MAX_AGENT>,
    pub(super) info: Option<PeerInfo>,
}

impl Peer {
    const fn new() -> Self {
        Self {
            conn: None,
            owed: 0,
            unsupported: 0,
            begin_at: None,
            info_at: None,
            records_at: None,
            records: Bits::none(),
            checks: records::Budget::new(),
            agent: Text::new(),
            info: None,
        }
    }
}

/// The tables: places of streams, and an entry a member.
#[derive(Debug)]
pub(super) struct Services {
    places: Box<[Option<Service>]>,
    pub(super) peers: Box<[Peer]>,
    pub(super) local: LocalInfo,
    /// The wall clock in milliseconds at a moment.
    wall: (u64, Instant),
    started_ms: u64,
}

impl Services {
    pub(super) fn new(now: Instant, wall_ms: u64, local: LocalInfo, peers: usize, channels: usize) -> Self {
        Self {
            places: (0..channels * PLACES_A_CHANNEL).map(|_| None).collect(),
            peers: (0..peers).map(|_| Peer::new()).collect(),
            local,
            wall: (wall_ms, now),
            started_ms: wall_ms,
        }
    }

    pub(super) const fn set_wall_clock(&mut self, now: Instant, wall_ms: u64) {
        self.wall = (wall_ms, now);
    }

    /// The wall clock in milliseconds since 1970.
    fn wall_ms(&self, now: Instant) -> u64 {
        let passed = u64::try_from(now.since(self.wall.1).as_millis()).unwrap_or(u64::MAX);
        self.wall.0.saturating_add(passed)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let due = |peer: &Peer| earlier(peer.begin_at, earlier(peer.info_at, peer.records_at));
        self.peers.iter().map(due).fold(None, earlier)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for peer in &mut self.peers {
            if peer.begin_at.is_some_and(|at| at <= now) {
                peer.begin_at = None;
                peer.owed |= Kind::Identify.bit() | Kind::Records.bit();
            }
            if peer.info_at.is_some_and(|at| at <= now) {
                peer.info_at = Some(now + PEER_INFO_INTERVAL);
                peer.owed |= Kind::PeerInfo.bit();
            }
            if peer.records_at.is_some_and(|at| at <= now) {
                peer.records_at = None;
                peer.owed |= Kind::Records.bit();
            }
        }
    }

    /// A member's channel is over.
    pub(super) fn handle_conn_end(&mut self, conn: ConnId, member: MemberIndex) {
        for place in &mut self.places {
            if place.as_ref().is_some_and(|service| service.conn == conn) {
                *place = None;
            }
        }
        if let Some(peer) = self.peer(member).filter(|peer| peer.conn == Some(conn)) {
            (peer.conn, peer.owed, peer.begin_at, peer.info_at, peer.records_at) =
                (None, 0, None, None, None);
        }
    }

    /// A member is none any more: its place is for another.
    pub(super) fn forget(&mut self, member: MemberIndex) {
        if let Some(peer) = self.peer(member) {
            *peer = Peer::new();
        }
    }

    fn peer(&mut self, member: MemberIndex) -> Option<&mut Peer> {
        self.peers.get_mut(member.position())
    }

    /// A record is owed over every channel but that over which it came. Not by member: of two processes with one
    /// key the other does not know yet what this one told (rule E5).
    pub(super) fn owe_record(&mut self, record: usize, over: Option<ConnId>) {
        for peer in self.peers.iter_mut().filter(|peer| peer.conn.is_some() && peer.conn != over) {
            peer.records.set(record);
            if peer.begin_at.is_none() && peer.records_at.is_none() {
                peer.owed |= Kind::Records.bit();
            }
        }
    }

    /// Our own record changed: every member is to know, and what we say of ourselves.
    pub(super) fn handle_published(&mut self) {
        self.owe_record(records::OWN, None);
        // Who has not been asked yet is told when it asks.
        for peer in self.peers.iter_mut().filter(|peer| peer.conn.is_some() && peer.begin_at.is_none()) {
            peer.owed |= Kind::Push.bit();
        }
    }

    fn position(&self, conn: ConnId, stream: u32) -> Option<usize> {
        let is = |s: &Service| s.conn == conn && s.stream == stream;
        self.places.iter().position(|place| place.as_ref().is_some_and(is))
    }

    fn insert(&mut self, service: Service) -> bool {
        match self.places.iter_mut().find(|place| place.is_none()) {
            Some(place) => {
                *place = Some(service);
                true
            }
            None => false,
        }
    }

    fn inbound(&self, conn: ConnId) -> usize {
        self.places.iter().flatten().filter(|s| s.conn == conn && !s.ours).count()
    }

    fn is_asking(&self, conn: ConnId, kind: Kind) -> bool {
        self.places.iter().flatten().any(|s| s.conn == conn && s.ours && s.kind == kind)
    }
}

impl<C: Crypto> Node<C> {
    /// A pong came: if the channel in use is not the one over which the member is served, it is now.
    pub(super) fn serve(&mut self, now: Instant, member: MemberIndex) {
        let Some(conn) = self.channel_in_use(member).map(|conn| conn.id) else { return };
        let all = Bits::all();
        let Some(peer) = self.services.peer(member).filter(|peer| peer.conn != Some(conn)) else { return };
        peer.conn = Some(conn);
        peer.unsupported = 0;
        peer.owed = 0;
        peer.begin_at = Some(now + SERVICES_AFTER);
        peer.info_at = Some(now + PEER_INFO_FIRST);
        peer.records_at = None;
        peer.records = all;
    }

    /// Reads what waits for one of these protocols at the start of `bytes`; whether there was anything.
    pub(super) fn service_bytes(&mut self, now: Instant, id: ConnId, bytes: &[u8]) -> bool {
        let mut any = self.service_news(now, Some(id));
        let Some(channel) = self.channel(id) else { return any };
        let Some(offered) = channel.offered().filter(|offered| offered.protocol < SERVICES) else {
            return any;
        };
        any = true;
        let bytes = bytes.get(offered.offset..offered.offset + offered.len).unwrap_or_default();
        let stays =
            match self.services.position(id, offered.stream).map(|i| (i, self.services.places[i].take())) {
                Some((i, Some(mut service))) => {
                    let read = self.read_service(now, &mut service, bytes);
                    if read.is_ok() {
                        self.services.places[i] = Some(service);
                    }
                    read.is_ok()
                }
                _ => false,
            };
        let Some(channel) = self.channel(id) else { return any };
        channel.take(offered.stream, offered.len);
        channel.release(offered.stream, offered.len);
        if !stays {
            channel.reset_stream(offered.stream);
            self.counters.streams_refused += 1;
        }
        any
    }

    fn read_service(&mut self, now: Instant, service: &mut Service, bytes: &[u8]) -> Result<(), Unwanted> {
        service.read += bytes.len();
        if service.read > service.kind.limits().0 {
            return Err(Unwanted);
        }
        // Out of the service while items of it are read; a service that fails is dropped.
        let mut reader = core::mem::replace(&mut service.reader, MessageReader::new(0));
        let mut at = 0;
        loop {
            let (n, item) = reader.next(bytes.get(at..).unwrap_or_default())?;
            at += n;
            let Some(item) = item else {
                service.reader = reader;
                return Ok(());
            };
            self.read_item(now, service, item)?;
        }
    }

    fn read_item(&mut self, now: Instant, service: &mut Service, item: Item<'_>) -> Result<(), Unwanted> {
        match (service.kind, item) {
            (Kind::Identify, _) if !service.ours => Err(Unwanted),
            (Kind::Identify | Kind::Push, Item::Field(field)) => {
                self.read_identify(now, service.member, field)
            }
            (Kind::PeerInfo, Item::Field(field)) => service.info.read(&field, &self.services.local),
            (Kind::PeerInfo, Item::End) => {
                self.peer_info_read(now, service);
                Ok(())
            }
            (Kind::Records, Item::Field(field)) if !service.ours => {
                self.read_record(now, service.conn, service.member, field)
            }
            (Kind::Records, _) if service.ours => Err(Unwanted),
            (_, Item::End | Item::Field(_)) => Ok(()),
        }
    }

    /// Handles what streams of these protocols tell: of one connection, or of all. Whether there was any.
    fn service_news(&mut self, now: Instant, only: Option<ConnId>) -> bool {
        let mut any = false;
        loop {
            let news = self.conns.iter_mut().find_map(|conn| {
                if !conn.is_channel() || only.is_some_and(|only| only != conn.id) {
                    return None;
                }
                let Conn { id, member: Some(member), stage: Stage::Channel(channel), writable, .. } = conn
                else {
                    return None;
                };
                Some((*id, *member, channel.poll_stream(*writable, |number| number < SERVICES)?))
            });
            let Some((conn, member, news)) = news else { return any };
            any = true;
            self.service_told(now, conn, member, news);
        }
    }

    fn service_told(&mut self, now: Instant, conn: ConnId, member: MemberIndex, news: StreamNews) {
        match news {
            StreamNews::Accepted { stream, protocol } => {
                self.service_accepted(now, conn, member, stream, protocol);
            }
            StreamNews::Opened { stream, .. } | StreamNews::Writable { stream } => {
                if let Some(service) = self.service(conn, stream) {
                    service.ready = true;
                }
            }
            // Bytes are read while they are in hand.
            StreamNews::Data { .. } => {}
            StreamNews::Finished { stream } => self.service_finished(conn, stream),
            StreamNews::Ended { stream, end } => self.service_ended(now, conn, stream, end),
        }
    }

    fn service(&mut self, conn: ConnId, stream: u32) -> Option<&mut Service> {
        let i = self.services.position(conn, stream)?;
        self.services.places[i].as_mut()
    }

    fn service_accepted(&mut self, now: Instant, conn: ConnId, member: MemberIndex, stream: u32, number: u8) {
        let Some(kind) = Kind::ALL.get(usize::from(number)).copied() else { return };
        let room = self.services.inbound(conn) < MAX_INBOUND_SERVICES;
        // Only identify speaks first.
        let service = Service::new(conn, stream, member, kind, false, kind == Kind::Identify);
        let taken = room && self.services.insert(service);
        let Some(channel) = self.channel(conn) else { return };
        if taken {
            channel.limit_stream(stream, Some(now + SERVICE_TIMEOUT));
        } else {
            channel.reset_stream(stream);
            self.counters.streams_refused += 1;
        }
    }

    /// The peer sends no more: so do we, unless an answer is still to be written.
    fn service_finished(&mut self, conn: ConnId, stream: u32) {
        let Some(service) = self.service(conn, stream) else { return };
        let cut = service.reader.is_inside();
        let writes = service.writes;
        let Some(channel) = self.channel(conn) else { return };
        if cut {
            channel.reset_stream(stream);
            self.services.remove(conn, stream);
            self.counters.streams_refused += 1;
        } else if !writes {
            channel.finish_stream(stream);
        }
    }

    fn service_ended(&mut self, now: Instant, conn: ConnId, stream: u32, end: StreamEnd) {
        let Some(service) = self.services.remove(conn, stream).filter(|service| service.ours) else { return };
        let Some(peer) = self.services.peer(service.member).filter(|peer| peer.conn == Some(conn)) else {
            return;
        };
        match end {
            StreamEnd::Finished => {}
            StreamEnd::Refused => peer.unsupported |= service.kind.bit(),
            // Records are owed until they have arrived.
            _ if service.kind == Kind::Records => {
                peer.records = Bits::all();
                peer.records_at = Some(now + RECORDS_RETRY);
            }
            _ => {}
        }
    }

    /// Opens the streams that are owed, and writes what one of them has to say.
    pub(super) fn poll_services(&mut self, now: Instant, buf: &mut [u8]) -> Option<Action> {
        self.service_news(now, None);
        for i in 0..self.services.peers.len() {
            if self.services.peers[i].owed != 0 {
                self.open_services(now, MemberIndex(i as u16));
            }
        }
        for i in 0..self.services.places.len() {
            let Some(service) = &self.services.places[i] else { continue };
            if !service.writes || !service.ready {
                continue;
            }
            let conn = service.conn;
            if !self.conns.find(conn).is_some_and(|conn| conn.writable && conn.is_channel()) {
                continue;
            }
            if let Some(len) = self.write_service(now, i, buf).filter(|len| *len > 0) {
                self.channel_events(now, conn);
                return Some(Action::Write { conn, len });
            }
        }
        None
    }

    fn open_services(&mut self, now: Instant, member: MemberIndex) {
        let Some(peer) = self.services.peer(member) else { return };
        let Some(conn) = peer.conn else { return };
        let wanted = peer.owed & !peer.unsupported;
        peer.owed &= wanted;
        for kind in Kind::ALL {
            if wanted & kind.bit() == 0 || self.services.is_asking(conn, kind) {
                continue;
            }
            let Some(channel) = self.channel(conn) else { return };
            let Some(stream) = channel.open_stream(now, kind as u8, false) else { return };
            channel.limit_stream(stream, Some(now + SERVICE_TIMEOUT));
            let writes = kind != Kind::Identify;
            if !self.services.insert(Service::new(conn, stream, member, kind, true, writes)) {
                if let Some(channel) = self.channel(conn) {
                    channel.reset_stream(stream);
                }
                return;
            }
            if let Some(peer) = self.services.peer(member) {
                peer.owed &= !kind.bit();
            }
        }
    }

    /// Encodes a service's message and writes it whole; the frame's length.
    fn write_service(&mut self, now: Instant, i: usize, buf: &mut [u8]) -> Option<usize> {
        let service = self.services.places[i].as_ref()?;
        let (conn, stream, kind, member) = (service.conn, service.stream, service.kind, service.member);
        let mut message = [0; MAX_SERVICE_MESSAGE + 2];
        let mut rest = Bits::none();
        let (len, more) = match kind {
            Kind::Identify | Kind::Push => (self.write_identify(conn, &mut message)?, false),
            Kind::PeerInfo => (self.write_peer_info(now, &mut message)?, false),
            Kind::Records => {
                let len;
                (len, rest) = self.write_records(conn, member, &mut message);
                (len, !rest.is_empty())
            }
        };
        // What we ask is followed by the peer's word, ours ends here all the same.
        let payload = Payload { bytes: message.get(..len)?, whole: true, finish: !more };
        let Self { conns, identity, services, .. } = self;
        let conn = conns.find(conn)?;
        let Stage::Channel(channel) = &mut conn.stage else { return None };
        let written = channel.write_stream(identity.crypto(), now, stream, payload, buf)?;
        conn.writable = written.len == 0;
        conn.resume |= channel.wants_bytes();
        let service = services.places[i].as_mut()?;
        if written.taken == len {
            service.writes = more;
            service.asked_at = Some(now);
            if kind == Kind::Records
                && let Some(peer) = services.peer(member).filter(|peer| peer.conn == Some(conn.id))
            {
                peer.records = rest;
            }
        } else {
            service.ready = false;
        }
        Some(written.len)
    }
}

impl Services {
    fn remove(&mut self, conn: ConnId, stream: u32) -> Option<Service> {
        let i = self.position(conn, stream)?;
        self.places[i].take()
    }
}

impl Service {
    const fn new(
        conn: ConnId,
        stream: u32,
        member: MemberIndex,
        kind: Kind,
        ours: bool,
        writes: bool,
    ) -> Self {
        Self {
            conn,
            stream,
            member,
            kind,
            ours,
            writes,
            ready: !ours,
            read: 0,
            reader: MessageReader::new(kind.limits().1),
            info: PeerInfo::empty(),
            asked_at: None,
        }
    }
}

/// The peer sent what it should not: the stream is reset.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Unwanted;

impl From<MessageError> for Unwanted {
    fn from(_: MessageError) -> Self {
        Self
    }
}

/// Puts the length before a message that `write` puts into the rest of `out`; the length of both.
fn delimit(out: &mut [u8], write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<usize> {
    const PREFIX: usize = 2;
    let len = write(out.get_mut(PREFIX..)?)?;
    let prefix = varint::write(len as u64, out)?;
    if prefix > PREFIX {
        return None;
    }
    out.copy_within(PREFIX..PREFIX + len, prefix);
    Some(prefix + len)
}

/// Two bytes of prefix hold this.
const _: () = assert!(MAX_SERVICE_MESSAGE < 1 << 14);
