//! The encrypted connection after the handshake: Noise transport frames, yamux, and ping inside it
//! (libp2p noise "Wire Format", yamux, ping; design, section 6 items 4 and 5).
//!
//! A [`Channel`] is made from an [`Admitted`] peer and from nothing else, so no byte of data is read
//! before admission (rule N3). It is driven like every machine here: bytes and time go in, then
//! [`Channel::poll_write`] until 0 and [`Channel::poll_event`] until `None`.
//!
//! What arrived is not stored. A frame is decrypted in place in the caller's buffer; when it cannot
//! be consumed wholly, because answers are owed and not written yet, it stays *in hand*: the channel
//! remembers how far it came, and the caller keeps the bytes as they are and offers them again after
//! the next [`Channel::poll_write`]. That is the back-pressure: no frame taken, no TCP window given.
//!
//! Invariants, each tested: a nonce is used once and the last one ends the channel (N5); any chunking
//! gives the same result, and a failed decryption closes (N8); every table and
//! queue has a named limit; no allocation after [`Channel::new`], and with [`Channel::with_memory`] none at all.

mod app;
mod event;
mod keepalive;
mod mux;
mod ping;
mod protocols;
mod select;
mod slots;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod write;
mod yamux;

use core::time::Duration;

pub use app::{StreamEnd, StreamNews};
pub use event::{ChannelError, ChannelEvent, CloseReason, Refusal, Side};
pub use protocols::{Protocols, ProtocolsError};
pub(crate) use select::PING_NAME;
pub use select::SelectError;
pub use slots::Memory;
pub use streams::{Offered, Payload, Written};
pub use yamux::YamuxError;

use self::{
    mux::{Events, Mux, Verdict},
    ping::Pinger,
    select::{OwedLines, Protocol, Select},
    write::Out,
    yamux::{GO_AWAY_NORMAL, GO_AWAY_PROTOCOL_ERROR, Header, Kind},
};
use crate::{
    crypto::{Crypto, PublicKey, TAG_LEN},
    handshake::{Admitted, CipherError, CipherState, Role, wipes_by_its_fields},
    id::PeerId,
    limits::{
        CHANNEL_READ_SIZE, CHANNEL_WRITE_SIZE, CLOSE_GRACE, DEFAULT_STREAMS, NEGOTIATION_TIMEOUT,
        PING_INTERVAL, PING_TIMEOUT,
    },
    rng::Rng,
    time::{Instant, earlier},
};

/// Bytes of a Noise frame before its text.
const FRAME_PREFIX: usize = 2;

/// How a channel behaves.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    /// Streams open at once, both directions together (at least 2). The table is allocated once.
    pub streams: usize,
    /// Time that agreeing on the muxer, or on the protocol of a stream, may take.
    pub negotiation_timeout: Duration,
    /// Time from one pong to the next ping; `None`: only [`Channel::ping`] pings.
    pub ping_interval: Option<Duration>,
    /// Time a ping may take before the channel is given up.
    pub ping_timeout: Duration,
    /// The protocols that streams can speak, beside ping.
    pub protocols: Protocols,
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self {
            streams: DEFAULT_STREAMS,
            negotiation_timeout: NEGOTIATION_TIMEOUT,
            ping_interval: Some(PING_INTERVAL),
            ping_timeout: PING_TIMEOUT,
            protocols: Protocols::none(),
        }
    }
}

/// The encrypted, multiplexed connection to one admitted peer.
#[derive(Debug)]
pub struct Channel {
    peer: PublicKey,
    role: Role,
    send: CipherState,
    receive: CipherState,
    clock: Instant,
    phase: Phase,
    in_hand: Option<InHand>,
    mux: Mux,
    events: Events,
    closed: Option<(Side, CloseReason)>,
    closed_reported: bool,
}

wipes_by_its_fields!(Channel {
    secret: send, receive;
    public: peer, role, clock, phase, in_hand, mux, events, closed, closed_reported
});

/// A decrypted frame that the caller holds: length of its text, and how much of it was consumed.
#[derive(Clone, Copy, Debug)]
struct InHand {
    len: usize,
    consumed: usize,
}

#[allow(clippy::large_enum_variant)] // one a channel
#[derive(Debug)]
enum Phase {
    /// Agreeing on yamux by multistream.
    Negotiating {
        select: Select,
        lines: OwedLines,
        deadline: Instant,
    },
    /// yamux. Lines of the negotiation may be left to write; the peer may be going away.
    Open {
        lines: OwedLines,
        peer_leaves: Option<Instant>,
    },
    /// A GO_AWAY with this code is to be written, until the deadline.
    Closing {
        go_away: u32,
        deadline: Instant,
        by: Side,
        reason: CloseReason,
    },
    Closed,
}

impl Channel {
    /// A channel to an admitted peer. Randomness is drawn here only (for the contents of pings), and
    /// memory is allocated here only.
    pub fn new(admitted: Admitted, now: Instant, config: ChannelConfig, rng: &mut Rng) -> Self {
        let memory = Memory::new(config.streams);
        Self::with_memory(admitted, now, &config, rng, memory)
    }

    /// The same in memory that was allocated before; `config.streams` is not used.
    pub fn with_memory(
        admitted: Admitted,
        now: Instant,
        config: &ChannelConfig,
        rng: &mut Rng,
        memory: Memory,
    ) -> Self {
        let finished = admitted.finished();
        let (peer, role, early) = (*finished.peer(), finished.role(), finished.early_muxer());
        let (send, receive) = admitted.into_ciphers();
        let pinger = Pinger::new(rng.array(), config.ping_interval, config.ping_timeout);
        let (select, lines) = match role {
            Role::Initiator => Select::propose(Protocol::Yamux),
            Role::Responder => (Select::listen(), OwedLines::default()),
        };
        let mut channel = Self {
            peer,
            role,
            send,
            receive,
            clock: now,
            phase: Phase::Negotiating { select, lines, deadline: now + config.negotiation_timeout },
            in_hand: None,
            mux: Mux::new(role, memory, pinger, config.protocols.clone(), config.negotiation_timeout),
            events: Events::new(),
            closed: None,
            closed_reported: false,
        };
        if early {
            channel.open(now, true, OwedLines::default());
        }
        channel
    }

    /// Ends the channel and gives its memory back, for another.
    pub fn into_memory(self) -> Memory {
        self.mux.into_memory()
    }

    /// The peer's key, as its handshake proved it.
    pub const fn peer(&self) -> &PublicKey {
        &self.peer
    }

    /// The peer's id.
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_public_key(&self.peer)
    }

    /// Which side dialled.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Whether streams can be opened.
    pub const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Whether it is over: the connection can be closed.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Streams open now, both directions together.
    pub fn open_streams(&self) -> usize {
        self.mux.open_streams()
    }

    /// The last measured round-trip time.
    pub const fn last_rtt(&self) -> Option<Duration> {
        self.mux.pinger.last_rtt()
    }

    /// Whether a frame is in hand: its bytes must be offered again after the next
    /// [`Channel::poll_write`], unchanged.
    pub const fn has_frame_in_hand(&self) -> bool {
        self.in_hand.is_some()
    }

    /// Whether the frame in hand could go on if its bytes were offered again: it does not wait for a
    /// stream's user.
    pub const fn wants_bytes(&self) -> bool {
        self.in_hand.is_some() && self.mux.offer.is_none()
    }

    /// Takes whole frames from the start of `bytes` and returns how many bytes that were; offer the
    /// rest again, unchanged, together with what arrives later
    /// ([`CHANNEL_READ_SIZE`] bytes hold any frame). Once the channel is closing everything is taken
    /// and thrown away.
    ///
    /// # Errors
    /// What the peer did wrong. The channel is closing then (a GO_AWAY may be left to write), and
    /// [`ChannelEvent::Closed`] follows.
    pub fn handle_bytes<C: Crypto>(
        &mut self,
        crypto: &C,
        now: Instant,
        bytes: &mut [u8],
    ) -> Result<usize, ChannelError> {
        let now = self.clock.advance(now);
        let mut taken = 0;
        loop {
            if matches!(self.phase, Phase::Closing { .. } | Phase::Closed) {
                return Ok(bytes.len());
            }
            let rest = bytes.get_mut(taken..).unwrap_or_default();
            match self.handle_frame(crypto, now, rest) {
                Ok(0) => break,
                Ok(n) => taken += n,
                Err(error) => {
                    self.fail(now, error);
                    return Err(error);
                }
            }
        }
        self.settle();
        Ok(taken)
    }

    /// Takes the first frame of `bytes`; 0 when it is not whole, or could not be consumed wholly.
    fn handle_frame<C: Crypto>(
        &mut self,
        crypto: &C,
        now: Instant,
        bytes: &mut [u8],
    ) -> Result<usize, ChannelError> {
        let Some(frame) = frame_of(bytes) else {
            return if self.in_hand.is_some() { Err(ChannelError::BufferChanged) } else { Ok(0) };
        };
        let total = FRAME_PREFIX + frame.len();
        let mut hand = match self.in_hand {
            Some(hand) if hand.len + TAG_LEN == frame.len() => hand,
            Some(_) => return Err(ChannelError::BufferChanged),
            None => InHand { len: self.open_frame(crypto, frame)?, consumed: 0 },
        };
        let text = frame.get(hand.consumed..hand.len).unwrap_or_default();
        hand.consumed += self.handle_text(now, text)?;
        if hand.consumed == hand.len || matches!(self.phase, Phase::Closing { .. } | Phase::Closed) {
            self.in_hand = None;
            return Ok(total);
        }
        self.in_hand = Some(hand);
        Ok(0)
    }

    fn open_frame<C: Crypto>(&mut self, crypto: &C, frame: &mut [u8]) -> Result<usize, ChannelError> {
        if frame.len() < TAG_LEN {
            return Err(ChannelError::FrameTooShort(frame.len()));
        }
        self.receive.open(crypto, &[], frame).map_err(|error| match error {
            CipherError::Decrypt => ChannelError::Decrypt,
            CipherError::Exhausted => ChannelError::NonceLimit,
        })
    }

    /// Hands decrypted bytes to what is spoken now; returns how many were taken.
    fn handle_text(&mut self, now: Instant, text: &[u8]) -> Result<usize, ChannelError> {
        let mut taken = 0;
        while taken < text.len() {
            let rest = text.get(taken..).unwrap_or_default();
            let n = match &mut self.phase {
                Phase::Negotiating { select, lines, .. } => {
                    let yamux =
                        |name: &[u8]| (Some(name) == Protocol::Yamux.fixed_name()).then_some(Protocol::Yamux);
                    let protocols = &self.mux.protocols;
                    let (n, agreed) =
                        select.handle(rest, lines, protocols, yamux).map_err(ChannelError::Muxer)?;
                    if agreed.is_some() {
                        let lines = *lines;
                        self.open(now, false, lines);
                    }
                    n
                }
                Phase::Open { .. } => self.mux.handle(now, rest, &mut self.events)?,
                Phase::Closing { .. } | Phase::Closed => rest.len(),
            };
            taken += n;
            if self.handle_verdict(now) == 0 && n == 0 {
                break;
            }
        }
        Ok(taken)
    }

    /// Acts on what the muxer found; returns how many findings there were.
    fn handle_verdict(&mut self, now: Instant) -> usize {
        match self.mux.take_verdict() {
            None => return 0,
            Some(Verdict::WentAway(GO_AWAY_NORMAL)) => {
                self.mux.drain();
                if let Phase::Open { peer_leaves, .. } = &mut self.phase {
                    peer_leaves.get_or_insert(now + CLOSE_GRACE);
                }
            }
            Some(Verdict::WentAway(code)) => self.end(Side::Peer, CloseReason::WentAway(code)),
            Some(Verdict::PingsFail) => self.end(Side::Local, CloseReason::PingTimeout),
        }
        1
    }

    /// Writes one frame with what is owed at the start of `buf`; returns its length, 0 when nothing
    /// is owed. `buf` must hold [`CHANNEL_WRITE_SIZE`] bytes (in a smaller one nothing is written),
    /// and more than [`CHANNEL_READ_SIZE`] is not used.
    pub fn poll_write<C: Crypto>(&mut self, crypto: &C, now: Instant, buf: &mut [u8]) -> usize {
        let now = self.clock.advance(now);
        self.write_frame(crypto, now, buf, |channel, out| channel.write_owed(crypto, now, out))
    }

    /// Seals what `fill` writes as one frame at the start of `buf`; returns its length.
    fn write_frame<C: Crypto>(
        &mut self,
        crypto: &C,
        now: Instant,
        buf: &mut [u8],
        fill: impl FnOnce(&mut Self, &mut Out<'_>),
    ) -> usize {
        if buf.len() < CHANNEL_WRITE_SIZE {
            return 0;
        }
        let most = buf.len().min(CHANNEL_READ_SIZE);
        let Some((prefix, body)) = buf.get_mut(..most).and_then(<[u8]>::split_first_chunk_mut) else {
            return 0;
        };
        let room = body.len() - TAG_LEN;
        let mut out = Out::new(body.get_mut(..room).unwrap_or_default());
        fill(self, &mut out);
        self.handle_verdict(now);
        let len = out.len();
        let written = if len == 0 { 0 } else { self.seal_frame(crypto, prefix, body, len) };
        self.settle();
        written
    }

    fn write_owed<C: Crypto>(&mut self, crypto: &C, now: Instant, out: &mut Out<'_>) {
        match &mut self.phase {
            Phase::Negotiating { lines, .. } => out.raw(|room| lines.write(&self.mux.protocols, room)),
            Phase::Open { lines, .. } => {
                out.raw(|room| lines.write(&self.mux.protocols, room));
                if lines.is_empty() {
                    self.mux.write(crypto, now, out);
                }
            }
            Phase::Closing { go_away, by, reason, .. } => {
                out.header(Header::new(Kind::GoAway, 0, 0, *go_away));
                let (by, reason) = (*by, *reason);
                self.end(by, reason);
            }
            Phase::Closed => {}
        }
    }

    fn seal_frame<C: Crypto>(
        &mut self,
        crypto: &C,
        prefix: &mut [u8; FRAME_PREFIX],
        body: &mut [u8],
        len: usize,
    ) -> usize {
        let Some((text, rest)) = body.split_at_mut_checked(len) else { return 0 };
        let (Some(tag_out), Ok(frame_len)) = (rest.first_chunk_mut(), u16::try_from(len + TAG_LEN)) else {
            return 0;
        };
        match self.send.seal(crypto, &[], text) {
            Ok(tag) => *tag_out = tag,
            Err(_) => {
                self.end(Side::Local, CloseReason::NonceLimit);
                return 0;
            }
        }
        *prefix = frame_len.to_be_bytes();
        FRAME_PREFIX + len + TAG_LEN
    }

    /// The next event, oldest first; [`ChannelEvent::Closed`] is the last one.
    pub fn poll_event(&mut self) -> Option<ChannelEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let (by, reason) = self.closed.filter(|_| !self.closed_reported)?;
        self.closed_reported = true;
        Some(ChannelEvent::Closed { by, reason })
    }

    /// Pings now, beside the interval; false when a ping is under way, the peer does not speak it,
    /// or the channel is not ready.
    pub fn ping(&mut self, now: Instant) -> bool {
        let now = self.clock.advance(now);
        self.is_ready() && self.mux.pinger.ask(now)
    }

    /// Closes gracefully: what the peer sends from now on is thrown away, a GO_AWAY is written, and
    /// then [`ChannelEvent::Closed`] says that the connection can be closed.
    pub fn close(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.leave(now, GO_AWAY_NORMAL, CloseReason::Requested);
    }

    /// The connection ended, or the peer will send no more.
    pub fn handle_eof(&mut self) {
        match self.phase {
            Phase::Closing { by, reason, .. } => self.end(by, reason),
            Phase::Open { peer_leaves: Some(_), .. } => {
                self.end(Side::Peer, CloseReason::WentAway(GO_AWAY_NORMAL));
            }
            _ => self.end(Side::Peer, CloseReason::Eof),
        }
    }

    /// When [`Channel::handle_timeout`] is due; any other call may change it.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Negotiating { deadline, .. } | Phase::Closing { deadline, .. } => Some(*deadline),
            Phase::Open { peer_leaves, .. } => earlier(*peer_leaves, self.mux.next_timeout()),
            Phase::Closed => None,
        }
    }

    /// Time passed: pings are due, or something took too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        match self.phase {
            Phase::Negotiating { deadline, .. } if deadline <= now => {
                self.end(Side::Local, CloseReason::NegotiationTimeout);
            }
            Phase::Closing { deadline, by, reason, .. } if deadline <= now => self.end(by, reason),
            Phase::Open { peer_leaves: Some(deadline), .. } if deadline <= now => {
                self.end(Side::Peer, CloseReason::WentAway(GO_AWAY_NORMAL));
            }
            Phase::Open { .. } => {
                self.mux.handle_timeout(now, &mut self.events);
                self.handle_verdict(now);
            }
            _ => {}
        }
        self.settle();
    }

    fn open(&mut self, now: Instant, early: bool, lines: OwedLines) {
        self.phase = Phase::Open { lines, peer_leaves: None };
        self.mux.pinger.begin(now);
        // The queue is empty: this is the first event of all.
        let _ = self.events.push_back(ChannelEvent::Ready { early });
        if self.mux.pinger.next_timeout() == Some(now) {
            self.mux.pinger.handle_timeout(now);
        }
    }

    fn fail(&mut self, now: Instant, error: ChannelError) {
        let reason = CloseReason::Violation(error);
        match error {
            // Nothing more is said over a connection whose bytes are not the peer's.
            ChannelError::Decrypt | ChannelError::FrameTooShort(_) => self.end(Side::Local, reason),
            _ => self.leave(now, GO_AWAY_PROTOCOL_ERROR, reason),
        }
    }

    /// Owes a GO_AWAY, if there is a yamux session to leave.
    fn leave(&mut self, now: Instant, go_away: u32, reason: CloseReason) {
        match self.phase {
            Phase::Open { .. } => {
                let deadline = now + CLOSE_GRACE;
                self.in_hand = None;
                self.phase = Phase::Closing { go_away, deadline, by: Side::Local, reason };
            }
            Phase::Negotiating { .. } => self.end(Side::Local, reason),
            Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    fn end(&mut self, by: Side, reason: CloseReason) {
        self.in_hand = None;
        self.closed.get_or_insert((by, reason));
        self.phase = Phase::Closed;
    }

    /// A peer that leaves is gone when its streams are.
    fn settle(&mut self) {
        let leaving = matches!(self.phase, Phase::Open { peer_leaves: Some(_), .. });
        if leaving && self.mux.open_streams() == 0 {
            self.end(Side::Peer, CloseReason::WentAway(GO_AWAY_NORMAL));
        }
    }
}

/// The first Noise frame of `bytes` without its length; `None` when it is not whole.
fn frame_of(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let (len, rest) = bytes.split_first_chunk_mut()?;
    rest.get_mut(..usize::from(u16::from_be_bytes(*len)))
}
