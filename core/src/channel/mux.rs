//! yamux (libp2p yamux): the table of streams, what arrives for them, and what they owe.
//!
//! Bounded everywhere: streams by the table, answers by their queues. Before a header or a byte is
//! taken there is room for everything it can cause; where there is none, nothing is taken, and the
//! peer waits (design, section 3).

use super::{
    app::{App, StreamEnd},
    event::{ChannelError, ChannelEvent, Refusal},
    keepalive::Keepalive,
    ping::{Echo, Pinger},
    protocols::Protocols,
    select::{Protocol, Select, SelectError},
    slots::{Memory, Slots},
    stream::{Phase, Stream, Written},
    write::Out,
    yamux::{ACK, FIN, HEADER_LEN, Header, Kind, RST, SYN, YamuxError},
};
use crate::{
    crypto::Crypto,
    handshake::Role,
    limits::{
        MAX_CHANNEL_EVENTS, MAX_INBOUND_PINGS, MAX_NEGOTIATING_STREAMS, MAX_OWED_PONGS, MAX_OWED_RESETS,
        RESERVED_STREAMS, STREAM_HOARD_TIMEOUT, YAMUX_WINDOW,
    },
    time::{Instant, earlier},
};

/// Events that one header or one run of bytes can cause, at most.
const EVENTS_A_STEP: usize = 2;

pub(super) type Events = heapless::Deque<ChannelEvent, MAX_CHANNEL_EVENTS>;

/// What the peer did that concerns the whole channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// GO_AWAY with its code.
    WentAway(u32),
    /// Pings are not answered, or their streams end too often.
    PingsFail,
}

#[derive(Debug)]
pub(super) struct Mux {
    pub(super) streams: Slots,
    /// Parity of the ids that the peer opens.
    peer_parity: u32,
    /// The next id that we open; `None` when they are used up.
    next_id: Option<u32>,
    /// The highest id that the peer opened.
    highest: u32,
    resets: heapless::Deque<u32, MAX_OWED_RESETS>,
    pongs: heapless::Deque<u32, MAX_OWED_PONGS>,
    pub(super) receiving: Receiving,
    /// Bytes in hand that wait for their stream's user.
    pub(super) offer: Option<Offer>,
    pub(super) protocols: Protocols,
    /// A user may have something to be told: worth a look through the table.
    pub(super) news: bool,
    /// The slot whose user is told first next time.
    pub(super) news_from: usize,
    /// The slot that writes first next time, so that none is starved.
    first: usize,
    /// No new streams: one of the sides goes away.
    pub(super) draining: bool,
    pub(super) pinger: Pinger,
    ping_stream: Option<u32>,
    keepalive: Keepalive,
    verdict: Option<Verdict>,
    negotiation_timeout: core::time::Duration,
}

/// Bytes of a stream that stand next in the frame in hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) stream: u32,
    pub(super) len: usize,
    /// The user was told since it last changed anything.
    pub(super) told: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Receiving {
    Header { bytes: [u8; HEADER_LEN], len: usize },
    Data { stream: u32, left: u32, fin: bool },
}

pub(super) const NO_HEADER: Receiving = Receiving::Header { bytes: [0; HEADER_LEN], len: 0 };

impl Mux {
    pub(super) fn new(
        role: Role,
        memory: Memory,
        pinger: Pinger,
        protocols: Protocols,
        negotiation_timeout: core::time::Duration,
    ) -> Self {
        // The dialler is the client and opens odd ids (yamux, "StreamID Field").
        let (next_id, peer_parity) = match role {
            Role::Initiator => (1, 0),
            Role::Responder => (2, 1),
        };
        Self {
            streams: Slots::new(memory),
            peer_parity,
            next_id: Some(next_id),
            highest: 0,
            resets: heapless::Deque::new(),
            pongs: heapless::Deque::new(),
            receiving: NO_HEADER,
            offer: None,
            protocols,
            news: false,
            news_from: 0,
            first: 0,
            draining: false,
            keepalive: Keepalive::instead_of(&pinger),
            pinger,
            ping_stream: None,
            verdict: None,
            negotiation_timeout,
        }
    }

    /// Gives the table back, empty.
    pub(super) fn into_memory(self) -> Memory {
        self.streams.into_memory()
    }

    /// Streams that are open, or whose end is not written yet.
    pub(super) fn open_streams(&self) -> usize {
        self.streams.iter().count()
    }

    pub(super) const fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    /// Takes what there is room for from `input`; returns how much.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        input: &[u8],
        events: &mut Events,
    ) -> Result<usize, ChannelError> {
        let mut taken = 0;
        while self.verdict.is_none() && self.has_room(events) {
            let rest = input.get(taken..).unwrap_or_default();
            let (n, more) = match self.receiving {
                Receiving::Header { bytes, len } => {
                    (self.handle_header_bytes(now, bytes, len, rest, events)?, false)
                }
                Receiving::Data { stream, left: 0, fin } => {
                    self.receiving = NO_HEADER;
                    if fin {
                        self.handle_fin(stream, events);
                    }
                    (0, true)
                }
                Receiving::Data { stream, left, fin } => {
                    let part = &rest[..rest.len().min(left as usize)];
                    let n = self.handle_stream_bytes(now, stream, part, events)?;
                    self.receiving = Receiving::Data { stream, left: left - n as u32, fin };
                    (n, false)
                }
            };
            taken += n;
            if n == 0 && !more {
                break;
            }
        }
        Ok(taken)
    }

    fn has_room(&self, events: &Events) -> bool {
        !self.resets.is_full() && !self.pongs.is_full() && events.len() + EVENTS_A_STEP <= MAX_CHANNEL_EVENTS
    }

    fn handle_header_bytes(
        &mut self,
        now: Instant,
        mut bytes: [u8; HEADER_LEN],
        len: usize,
        input: &[u8],
        events: &mut Events,
    ) -> Result<usize, ChannelError> {
        let n = input.len().min(HEADER_LEN - len);
        bytes[len..len + n].copy_from_slice(&input[..n]);
        if len + n < HEADER_LEN {
            self.receiving = Receiving::Header { bytes, len: len + n };
        } else {
            self.receiving = NO_HEADER;
            self.handle_header(now, Header::decode(&bytes)?, events)?;
        }
        Ok(n)
    }

    fn handle_header(&mut self, now: Instant, header: Header, events: &mut Events) -> Result<(), YamuxError> {
        match header.kind {
            Kind::Ping if header.has(SYN) => {
                // There is room: `has_room`.
                let queued = self.pongs.push_back(header.length);
                debug_assert!(queued.is_ok());
                Ok(())
            }
            Kind::Ping => {
                self.keepalive.handle(now, header.length);
                Ok(())
            }
            Kind::GoAway => {
                self.verdict = Some(Verdict::WentAway(header.length));
                Ok(())
            }
            Kind::Data | Kind::WindowUpdate => self.handle_stream_header(now, header, events),
        }
    }

    fn handle_stream_header(
        &mut self,
        now: Instant,
        header: Header,
        events: &mut Events,
    ) -> Result<(), YamuxError> {
        let id = header.stream;
        if header.has(SYN) {
            self.handle_syn(now, id, events)?;
        }
        let data = header.kind == Kind::Data;
        let was_opened = self.was_opened(id);
        match self.find(id) {
            None if !was_opened => return Err(YamuxError::NeverOpened(id)),
            // Of a stream that ended here: the peer did not know yet.
            None if data && header.length > YAMUX_WINDOW => return Err(YamuxError::WindowExceeded(id)),
            None => {}
            Some(stream) if data => stream.handle_data(header.length)?,
            Some(stream) => stream.handle_window_update(header.length)?,
        }
        if header.has(RST) {
            self.handle_reset(id, events);
        }
        let fin = header.has(FIN) && !header.has(RST);
        if data {
            self.receiving = Receiving::Data { stream: id, left: header.length, fin };
        } else if fin {
            self.handle_fin(id, events);
        }
        Ok(())
    }

    fn handle_syn(&mut self, now: Instant, id: u32, events: &mut Events) -> Result<(), YamuxError> {
        if id % 2 != self.peer_parity {
            return Err(YamuxError::WrongParity(id));
        }
        if self.streams.iter().any(|stream| stream.id == id) {
            return Err(YamuxError::AlreadyOpen(id));
        }
        self.highest = self.highest.max(id);
        let negotiating = self.streams.iter().filter(|s| matches!(s.phase, Phase::Listening(_)));
        let backlog = negotiating.count();
        if self.draining || self.free() <= self.reserve() || backlog >= MAX_NEGOTIATING_STREAMS {
            let queued = self.resets.push_back(id);
            debug_assert!(queued.is_ok());
            refuse(events, id, Refusal::TooManyStreams);
            return Ok(());
        }
        // There is a free place, and more.
        self.streams.insert(Stream::inbound(id, now + self.negotiation_timeout));
        Ok(())
    }

    fn free(&self) -> usize {
        self.streams.capacity() - self.open_streams()
    }

    /// Slots kept for what the node itself opens, whatever the peer and the embedder do.
    pub(super) fn reserve(&self) -> usize {
        let reserved = (self.streams.capacity() / 8).clamp(1, RESERVED_STREAMS);
        reserved - usize::from(self.ping_stream.is_some())
    }

    pub(super) const fn has_ping_stream(&self) -> bool {
        self.ping_stream.is_some()
    }

    /// Opens a stream; `keep` slots stay free. `None` without room, or when a side goes away.
    pub(super) fn open(&mut self, now: Instant, protocol: u8, keep: usize) -> Option<u32> {
        if self.draining || self.free() <= keep {
            return None;
        }
        let id = self.next_id?;
        let select = Select::propose(Protocol::App(protocol));
        let app = App::new(protocol, true);
        let stream = Stream::outbound(id, select, now + self.negotiation_timeout, Some(app));
        if !self.streams.insert(stream) {
            return None;
        }
        self.next_id = id.checked_add(2);
        Some(id)
    }

    fn was_opened(&self, id: u32) -> bool {
        if id % 2 == self.peer_parity {
            id <= self.highest
        } else {
            self.next_id.is_none_or(|next| id < next)
        }
    }

    fn handle_reset(&mut self, id: u32, events: &mut Events) {
        let Some(stream) = self.find(id) else { return };
        let listening = matches!(stream.phase, Phase::Listening(_));
        self.remove(id, StreamEnd::ResetByPeer);
        if listening {
            refuse(events, id, Refusal::Abandoned);
        }
        self.handle_ping_stream_end(id);
    }

    pub(super) fn handle_fin(&mut self, id: u32, events: &mut Events) {
        let Some(stream) = self.find(id) else { return };
        let both = stream.handle_fin();
        match stream.phase {
            Phase::App => {
                if let Some(app) = &mut stream.app {
                    app.finish_owed = true;
                }
                self.news = true;
                if both {
                    self.remove(id, StreamEnd::Finished);
                }
            }
            // It ended before it agreed.
            Phase::Proposing(_) if stream.app.is_some() => {
                stream.give_up(StreamEnd::Refused);
                self.news = true;
            }
            Phase::Listening(_) => {
                stream.reset();
                refuse(events, id, Refusal::Abandoned);
            }
            // The echo finishes what it owes, and ends then.
            Phase::Echo(_) if !both => {}
            Phase::Proposing(_) | Phase::Probe if !both => {
                stream.reset();
                self.handle_ping_stream_end(id);
            }
            // The reset is still owed: the peer has closed one direction only.
            Phase::Reset => {}
            _ => {
                self.remove(id, StreamEnd::Finished);
                self.handle_ping_stream_end(id);
            }
        }
    }

    fn handle_ping_stream_end(&mut self, id: u32) {
        if self.ping_stream == Some(id) {
            self.ping_stream = None;
            if !self.pinger.handle_stream_end() {
                self.verdict = Some(Verdict::PingsFail);
            }
        }
    }

    /// Hands data to its stream; returns how much it took.
    fn handle_stream_bytes(
        &mut self,
        now: Instant,
        id: u32,
        input: &[u8],
        events: &mut Events,
    ) -> Result<usize, ChannelError> {
        if input.is_empty() {
            return Ok(0);
        }
        let echoes = self.streams.iter().filter(|s| matches!(s.phase, Phase::Echo(_))).count();
        // By field, since the stream and the pinger are needed at once.
        let Self { streams, pinger, protocols, .. } = self;
        let Some(stream) = streams.iter_mut().find(|stream| stream.is(id)) else {
            return Ok(input.len());
        };
        let mut unsupported = false;
        let taken = match &mut stream.phase {
            Phase::Reset | Phase::Ended => input.len(),
            Phase::App => {
                let told = self.offer.is_some_and(|offer| offer.stream == id && offer.told);
                self.offer = Some(Offer { stream: id, len: input.len(), told });
                if let Some(app) = &mut stream.app {
                    app.hoard.get_or_insert(now + STREAM_HOARD_TIMEOUT);
                }
                self.news = true;
                return Ok(0);
            }
            Phase::Echo(echo) => {
                let n = echo.handle(input);
                if n == 0 && stream.send_window == 0 {
                    stream.reset();
                    refuse(events, id, Refusal::PingFlood);
                    input.len()
                } else {
                    n
                }
            }
            Phase::Probe => {
                let rtt = pinger.handle(now, input).map_err(|_| ChannelError::WrongEcho)?;
                if let Some(rtt) = rtt {
                    let queued = events.push_back(ChannelEvent::Pong { rtt });
                    debug_assert!(queued.is_ok());
                }
                input.len()
            }
            Phase::Listening(select) => {
                let known = |name: &[u8]| known(protocols, name);
                match select.handle(input, &mut stream.lines, protocols, known) {
                    Ok((n, None)) => n,
                    Ok((n, Some(Protocol::App(number)))) => {
                        stream.app = Some(App { agreed: true, ..App::new(number, false) });
                        stream.phase = Phase::App;
                        stream.deadline = None;
                        self.news = true;
                        n
                    }
                    Ok((n, Some(_))) if echoes < MAX_INBOUND_PINGS => {
                        stream.phase = Phase::Echo(Echo::new());
                        stream.deadline = None;
                        n
                    }
                    Ok((n, Some(_))) => {
                        stream.reset();
                        refuse(events, id, Refusal::TooManyPings);
                        n
                    }
                    Err(error) => {
                        stream.reset();
                        refuse(events, id, error.into());
                        input.len()
                    }
                }
            }
            Phase::Proposing(select) => match select.handle(input, &mut stream.lines, protocols, |_| None) {
                Ok((n, None)) => n,
                Ok((n, Some(_))) => {
                    stream.deadline = None;
                    match &mut stream.app {
                        Some(app) => {
                            app.agreed = true;
                            stream.phase = Phase::App;
                            self.news = true;
                        }
                        None => stream.phase = Phase::Probe,
                    }
                    n
                }
                Err(error) => {
                    unsupported = error == SelectError::NotAvailable && stream.app.is_none();
                    stream.give_up(match error {
                        SelectError::NotAvailable => StreamEnd::Refused,
                        other => StreamEnd::Negotiation(other),
                    });
                    self.news = true;
                    input.len()
                }
            },
        };
        let given_up = matches!(stream.phase, Phase::Reset);
        stream.consume(taken);
        if unsupported {
            self.pinger.disable();
            self.keepalive.begin(now);
            let queued = events.push_back(ChannelEvent::PingUnsupported);
            debug_assert!(queued.is_ok());
        }
        if given_up {
            self.handle_ping_stream_end(id);
        }
        Ok(taken)
    }

    /// Opens no more streams, and ends our own.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.pinger.disable();
        self.keepalive.stop();
        for stream in self.streams.iter_mut() {
            stream.fin_owed |= stream.is_probe();
        }
    }

    /// Writes what is owed into `out`.
    pub(super) fn write(&mut self, crypto: &impl Crypto, now: Instant, out: &mut Out<'_>) {
        while let Some(value) = self.pongs.front() {
            if !out.header(Header::new(Kind::Ping, ACK, 0, *value)) {
                return;
            }
            self.pongs.pop_front();
        }
        if let Some(value) = self.keepalive.owed() {
            if !out.header(Header::new(Kind::Ping, SYN, 0, value)) {
                return;
            }
            self.keepalive.sent();
        }
        while let Some(id) = self.resets.front() {
            if !out.header(Header::new(Kind::WindowUpdate, RST, *id, 0)) {
                return;
            }
            self.resets.pop_front();
        }
        self.open_ping_stream(now);
        let slots = self.streams.end();
        for i in 0..slots {
            let at = (self.first + i) % slots;
            let Some(stream) = self.streams.at_mut(at) else { continue };
            if stream.write(crypto, now, &mut self.pinger, &self.protocols, out) == Written::Ended {
                let id = stream.id;
                self.end_slot(at, StreamEnd::Finished);
                self.handle_ping_stream_end(id);
            }
        }
        self.first = (self.first + 1) % slots.max(1);
    }

    fn open_ping_stream(&mut self, now: Instant) {
        if self.draining || self.ping_stream.is_some() || !self.pinger.is_asking() {
            return;
        }
        let Some(id) = self.next_id else { return };
        let deadline = now + self.negotiation_timeout;
        if self.streams.insert(Stream::outbound(id, Select::propose(Protocol::Ping), deadline, None)) {
            self.ping_stream = Some(id);
            self.next_id = id.checked_add(2);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let streams = self.streams.iter().filter_map(Stream::next_timeout).min();
        let pings = earlier(self.pinger.next_timeout(), self.keepalive.next_timeout());
        earlier(streams, pings)
    }

    /// Gives up what took too long.
    pub(super) fn handle_timeout(&mut self, now: Instant, events: &mut Events) {
        let mut ping_stream_ended = None;
        for stream in self.streams.iter_mut() {
            let late = stream.deadline.is_some_and(|deadline| deadline <= now);
            if late && stream.is_probe() {
                ping_stream_ended = Some(stream.id);
                stream.reset();
            } else if late && stream.app.is_none() {
                refuse(events, stream.id, Refusal::Timeout);
                stream.reset();
            } else if let Some(end) = late_end(stream, late, now) {
                self.offer = self.offer.filter(|offer| offer.stream != stream.id);
                stream.give_up(end);
                self.news = true;
            }
        }
        if let Some(id) = ping_stream_ended {
            self.handle_ping_stream_end(id);
        }
        if !self.pinger.handle_timeout(now) || !self.keepalive.handle_timeout(now) {
            self.verdict = Some(Verdict::PingsFail);
        }
    }

    /// The stream with this id, unless it is over.
    pub(super) fn find(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.is(id))
    }

    /// Frees the slot of a stream that is over, of which its user was not told yet and need not be; whether
    /// there was one.
    pub(super) fn forget_ended(&mut self, id: u32) -> bool {
        let ended = |stream: &Stream| stream.id == id && matches!(stream.phase, Phase::Ended);
        let place = self.streams.position(ended);
        place.inspect(|place| self.streams.remove(*place)).is_some()
    }

    pub(super) fn remove(&mut self, id: u32, end: StreamEnd) {
        if let Some(at) = self.streams.position(|stream| stream.is(id)) {
            self.end_slot(at, end);
        }
    }

    /// Yamux is through with the stream in this slot. The slot is kept until its user was told.
    fn end_slot(&mut self, at: usize, end: StreamEnd) {
        let Some(stream) = self.streams.at_mut(at) else { return };
        if stream.app.as_ref().is_some_and(|app| !app.dropped) {
            stream.end(end);
            self.news = true;
        } else {
            self.streams.remove(at);
        }
    }
}

/// The protocols that the peer may propose on a stream.
fn known(protocols: &Protocols, name: &[u8]) -> Option<Protocol> {
    if Some(name) == Protocol::Ping.fixed_name() {
        return Some(Protocol::Ping);
    }
    protocols.find(name).map(Protocol::App)
}

/// Why the time of a user's stream is over, if it is.
fn late_end(stream: &Stream, negotiation: bool, now: Instant) -> Option<StreamEnd> {
    if matches!(stream.phase, Phase::Reset | Phase::Ended) {
        None
    } else if negotiation {
        Some(StreamEnd::NegotiationTimeout)
    } else {
        stream.app.as_ref().and_then(|app| app.overdue(now))
    }
}

/// Reports a refusal. With no room for the report the stream is refused all the same.
fn refuse(events: &mut Events, stream: u32, reason: Refusal) {
    let _ = events.push_back(ChannelEvent::StreamRefused { stream, reason });
}
