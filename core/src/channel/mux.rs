//! yamux (libp2p yamux): the table of streams, what arrives for them, and what they owe.
//!
//! Bounded everywhere: streams by the table, answers by their queues. Before a header or a byte is
//! taken there is room for everything it can cause; where there is none, nothing is taken, and the
//! peer waits (design, section 3).

use alloc::boxed::Box;

use super::{
    event::{ChannelError, ChannelEvent, Refusal},
    ping::{Echo, Pinger},
    select::{Protocol, Select, SelectError},
    stream::{Phase, Stream, Written},
    write::Out,
    yamux::{ACK, FIN, HEADER_LEN, Header, Kind, RST, SYN, YamuxError},
};
use crate::{
    crypto::Crypto,
    handshake::Role,
    limits::{MAX_CHANNEL_EVENTS, MAX_INBOUND_PINGS, MAX_OWED_PONGS, MAX_OWED_RESETS, YAMUX_WINDOW},
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
    /// The ping streams end too often.
    PingsFail,
}

/// The stream table of a channel: all the memory that it takes from the heap. One that an ended
/// channel gave back serves the next.
#[derive(Debug)]
pub struct Memory(Box<[Option<Stream>]>);

impl Memory {
    /// Room for `streams` streams open at once, both directions together (at least 2: one is ours
    /// to ping with, whatever the peer opens).
    pub fn new(streams: usize) -> Self {
        Self(core::iter::repeat_with(|| None).take(streams.max(2)).collect())
    }
}

#[derive(Debug)]
pub(super) struct Mux {
    streams: Box<[Option<Stream>]>,
    /// Parity of the ids that the peer opens.
    peer_parity: u32,
    /// The next id that we open; `None` when they are used up.
    next_id: Option<u32>,
    /// The highest id that the peer opened.
    highest: u32,
    resets: heapless::Deque<u32, MAX_OWED_RESETS>,
    pongs: heapless::Deque<u32, MAX_OWED_PONGS>,
    receiving: Receiving,
    /// The slot that writes first next time, so that none is starved.
    first: usize,
    /// No new streams: one of the sides goes away.
    pub(super) draining: bool,
    pub(super) pinger: Pinger,
    ping_stream: Option<u32>,
    verdict: Option<Verdict>,
    negotiation_timeout: core::time::Duration,
}

#[derive(Clone, Copy, Debug)]
enum Receiving {
    Header { bytes: [u8; HEADER_LEN], len: usize },
    Data { stream: u32, left: u32, fin: bool },
}

const NO_HEADER: Receiving = Receiving::Header { bytes: [0; HEADER_LEN], len: 0 };

impl Mux {
    pub(super) fn new(
        role: Role,
        memory: Memory,
        pinger: Pinger,
        negotiation_timeout: core::time::Duration,
    ) -> Self {
        // The dialler is the client and opens odd ids (yamux, "StreamID Field").
        let (next_id, peer_parity) = match role {
            Role::Initiator => (1, 0),
            Role::Responder => (2, 1),
        };
        Self {
            streams: memory.0,
            peer_parity,
            next_id: Some(next_id),
            highest: 0,
            resets: heapless::Deque::new(),
            pongs: heapless::Deque::new(),
            receiving: NO_HEADER,
            first: 0,
            draining: false,
            pinger,
            ping_stream: None,
            verdict: None,
            negotiation_timeout,
        }
    }

    /// Gives the table back, empty.
    pub(super) fn into_memory(mut self) -> Memory {
        self.streams.fill_with(|| None);
        Memory(self.streams)
    }

    /// Streams that are open, or whose end is not written yet.
    pub(super) fn open_streams(&self) -> usize {
        self.streams.iter().flatten().count()
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
            Kind::Ping => Ok(()),
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
        if self.find(id).is_some() {
            return Err(YamuxError::AlreadyOpen(id));
        }
        self.highest = self.highest.max(id);
        // The last free slot is ours.
        let reserve = usize::from(self.ping_stream.is_none());
        let free = self.streams.len() - self.open_streams();
        if self.draining || free <= reserve {
            let queued = self.resets.push_back(id);
            debug_assert!(queued.is_ok());
            refuse(events, id, Refusal::TooManyStreams);
            return Ok(());
        }
        if let Some(slot) = self.streams.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(Stream::inbound(id, now + self.negotiation_timeout));
        }
        Ok(())
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
        self.remove(id);
        if listening {
            refuse(events, id, Refusal::Abandoned);
        }
        self.handle_ping_stream_end(id);
    }

    fn handle_fin(&mut self, id: u32, events: &mut Events) {
        let Some(stream) = self.find(id) else { return };
        let both = stream.handle_fin();
        match stream.phase {
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
                self.remove(id);
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
        let echoes = self.streams.iter().flatten().filter(|s| matches!(s.phase, Phase::Echo(_))).count();
        // By field, since the stream and the pinger are needed at once.
        let Some(stream) = self.streams.iter_mut().flatten().find(|stream| stream.id == id) else {
            return Ok(input.len());
        };
        let mut unsupported = false;
        let taken = match &mut stream.phase {
            Phase::Reset => input.len(),
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
                let rtt = self.pinger.handle(now, input).map_err(|_| ChannelError::WrongEcho)?;
                if let Some(rtt) = rtt {
                    let queued = events.push_back(ChannelEvent::Pong { rtt });
                    debug_assert!(queued.is_ok());
                }
                input.len()
            }
            Phase::Listening(select) => match select.handle(input, &mut stream.lines, known) {
                Ok((n, None)) => n,
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
            },
            Phase::Proposing(select) => match select.handle(input, &mut stream.lines, known) {
                Ok((n, None)) => n,
                Ok((n, Some(_))) => {
                    stream.phase = Phase::Probe;
                    stream.deadline = None;
                    n
                }
                Err(error) => {
                    unsupported = error == SelectError::NotAvailable;
                    stream.reset();
                    input.len()
                }
            },
        };
        let given_up = matches!(stream.phase, Phase::Reset);
        stream.consume(taken);
        if unsupported {
            self.pinger.disable();
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
        for stream in self.streams.iter_mut().flatten() {
            stream.fin_owed |= stream.is_ours();
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
        while let Some(id) = self.resets.front() {
            if !out.header(Header::new(Kind::WindowUpdate, RST, *id, 0)) {
                return;
            }
            self.resets.pop_front();
        }
        self.open_ping_stream(now);
        let slots = self.streams.len();
        for i in 0..slots {
            let at = (self.first + i) % slots;
            let Some(Some(stream)) = self.streams.get_mut(at) else { continue };
            if stream.write(crypto, now, &mut self.pinger, out) == Written::Ended {
                let id = stream.id;
                self.streams[at] = None;
                self.handle_ping_stream_end(id);
            }
        }
        self.first = (self.first + 1) % slots;
    }

    fn open_ping_stream(&mut self, now: Instant) {
        if self.draining || self.ping_stream.is_some() || !self.pinger.is_asking() {
            return;
        }
        let Some(id) = self.next_id else { return };
        let Some(slot) = self.streams.iter_mut().find(|slot| slot.is_none()) else { return };
        *slot = Some(Stream::outbound(id, Select::propose(Protocol::Ping), now + self.negotiation_timeout));
        self.ping_stream = Some(id);
        self.next_id = id.checked_add(2);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let streams = self.streams.iter().flatten().filter_map(|stream| stream.deadline).min();
        earlier(streams, self.pinger.next_timeout())
    }

    /// Gives up what took too long.
    pub(super) fn handle_timeout(&mut self, now: Instant, events: &mut Events) {
        let mut ping_stream_ended = None;
        for stream in self.streams.iter_mut().flatten() {
            if stream.deadline.is_some_and(|deadline| deadline <= now) {
                if stream.is_ours() {
                    ping_stream_ended = Some(stream.id);
                } else {
                    refuse(events, stream.id, Refusal::Timeout);
                }
                stream.reset();
            }
        }
        if let Some(id) = ping_stream_ended {
            self.handle_ping_stream_end(id);
        }
        if !self.pinger.handle_timeout(now) {
            self.verdict = Some(Verdict::PingsFail);
        }
    }

    fn find(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().flatten().find(|stream| stream.id == id)
    }

    fn remove(&mut self, id: u32) {
        if let Some(slot) = self.streams.iter_mut().find(|slot| slot.as_ref().is_some_and(|s| s.id == id)) {
            *slot = None;
        }
    }
}

/// The protocols that the peer may propose on a stream.
fn known(name: &[u8]) -> Option<Protocol> {
    (name == Protocol::Ping.name()).then_some(Protocol::Ping)
}

/// Reports a refusal. With no room for the report the stream is refused all the same.
fn refuse(events: &mut Events, stream: u32, reason: Refusal) {
    let _ = events.push_back(ChannelEvent::StreamRefused { stream, reason });
}
