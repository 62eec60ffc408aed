//! Streams like TCP's: ordered bytes between two ends, over the links of [`network`](crate::Link).
//!
//! Purpose: a dial takes a round trip, bytes arrive in order and whole but in pieces of any size, buffers are
//! bounded on both sides, and every way in which a connection can die is there: refused, unanswered, closed,
//! reset, silent.
//!
//! Invariants: what is read is a prefix of what was written; a send buffer holds at most
//! [`StreamLimits::send_buffer`] bytes, and what is on the wire and in the receive buffer together is at most
//! [`StreamLimits::receive_buffer`]; the machine hears of its end's death exactly once, unless it closed the end
//! itself or died first.
//!
//! A [`Connection`] has two [`End`]s, the dialler's and the acceptor's; an end that is gone is `None`. An end owns
//! what its machine wrote: first in `outbox`, then, cut into segments, on `wire`.

mod due;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::machine::{CloseReason, NodeId, StreamId};
use crate::nat::{NatId, Protocol};
use crate::story::What;
use crate::time::{MILLISECOND, Nanos, SECOND};
use crate::world::{Happening, World, pair};

/// After this long something not acknowledged is sent again.
const RETRY: Nanos = 500 * MILLISECOND;

/// A segment lost more often than this in a row comes through all the same.
const MOST_RESENDS: u32 = 6;

/// The most bytes in a segment on a link with a bandwidth, so that others come in between.
const SEGMENT: usize = 1_460;

const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The bounds of all streams of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes written and not yet sent.
    pub send_buffer: usize,
    /// Bytes sent and not yet taken by the receiver.
    pub receive_buffer: usize,
    /// A dial without an answer fails after this long.
    pub dial_timeout: Nanos,
    /// An end with bytes that nobody acknowledges gives up after this long.
    pub stall_timeout: Nanos,
}

impl Default for StreamLimits {
    /// 64 KiB in both buffers; 20 s for a dial, 30 s for a stall.
    fn default() -> Self {
        Self {
            send_buffer: 65_536,
            receive_buffer: 65_536,
            dial_timeout: 20 * SECOND,
            stall_timeout: 30 * SECOND,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    ends: [Option<End>; 2],
    /// The dialler's socket as it is seen outside of its NAT.
    seen_as: SocketAddr,
    /// The NATs on its way, each with the epoch in which it learnt of it: the dialler's, the acceptor's.
    nats: [Option<(NatId, u32)>; 2],
    last_passed: Nanos,
}

#[derive(Debug)]
struct End {
    node: NodeId,
    local: SocketAddr,
    remote: SocketAddr,
    open: bool,
    /// Closed by its machine: it goes once everything is delivered, and what still comes in is thrown away.
    released: bool,
    /// The connection is broken, and this end has not noticed yet: it sends nothing any more.
    broken: bool,
    /// Its machine writes no more, and still reads.
    finishing: bool,
    finish_sent: bool,
    /// The peer's last byte has arrived.
    finished: bool,
    /// Its machine goes on writing all the same.
    kept: bool,
    outbox: VecDeque<u8>,
    wire: VecDeque<(Nanos, Segment)>,
    on_wire: usize,
    inbox: Vec<u8>,
    /// The machine waits for this much room in the outbox.
    wanted: Option<usize>,
    pumping: bool,
    /// It waits for the queue before a narrow link.
    queued: bool,
    stuck_since: Option<Nanos>,
}

#[derive(Debug)]
enum Segment {
    Accept,
    Data(Vec<u8>),
    Finish,
}

/// What falls due on a stream.
#[derive(Debug)]
pub(crate) enum StreamStep {
    Syn(u64),
    SynAnswer {
        stream: u64,
        accepted: bool,
    },
    DialTimeout(StreamId),
    /// Move bytes from this end's outbox to its wire.
    Pump(StreamId),
    /// There is room in the queue before this end's link.
    Unqueue(StreamId),
    /// The first segment on this end's wire arrives at the other end.
    Arrive(StreamId),
    /// This end's machine is offered what is in the inbox.
    Readable(StreamId),
    /// This end is dead.
    Dead(StreamId, CloseReason),
}

impl Connection {
    fn end(&self, id: StreamId) -> Option<&End> {
        self.ends[side(id)].as_ref()
    }

    fn end_mut(&mut self, id: StreamId) -> Option<&mut End> {
        self.ends[side(id)].as_mut()
    }
}

impl End {
    fn new(node: NodeId, local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            node,
            local,
            remote,
            open: false,
            released: false,
            broken: false,
            finishing: false,
            finish_sent: false,
            finished: false,
            kept: false,
            outbox: VecDeque::new(),
            wire: VecDeque::new(),
            on_wire: 0,
            inbox: Vec::new(),
            wanted: None,
            pumping: false,
            queued: false,
            stuck_since: None,
        }
    }
}

const fn side(id: StreamId) -> usize {
    (id.0 & 1) as usize
}

const fn dialler(stream: u64) -> StreamId {
    StreamId(stream << 1)
}

/// What machines ask for.
impl World {
    pub(crate) fn dial(&mut self, node: NodeId, to: SocketAddr) -> StreamId {
        let stream = self.next_stream;
        self.next_stream += 1;
        self.counters.dials += 1;
        let id = dialler(stream);
        let source = self.source_for(node, to);
        let local = SocketAddr::new(source.unwrap_or(NO_ADDRESS), self.choose_port(node, 0));
        let ends = [Some(End::new(node, local, to)), None];
        let translated = self.translate(node, Protocol::Stream, local, to);
        let seen_as = translated.unwrap_or(local);
        let nats = [self.nat_on_the_way(seen_as), None];
        let last_passed = self.now;
        self.streams.insert(stream, Connection { ends, seen_as, nats, last_passed });
        if translated.is_none() {
            self.counters.nat_full += 1;
            self.later(self.limits.dial_timeout, StreamStep::DialTimeout(id));
            return id;
        }
        if source.is_none() {
            self.later(0, StreamStep::Dead(id, CloseReason::AddressLost));
            return id;
        }
        let owner = self.likely_owner(to).unwrap_or(node);
        let delay = self.segment_delay(node, owner);
        self.later(delay, StreamStep::Syn(stream));
        self.later(self.limits.dial_timeout, StreamStep::DialTimeout(id));
        id
    }

    pub(crate) fn write_stream(&mut self, node: NodeId, id: StreamId, bytes: &[u8]) -> usize {
        let most = self.limits.send_buffer;
        let Some(end) = self.own_end(node, id).filter(|end| !end.finishing) else {
            return 0;
        };
        let taken = bytes.len().min(most.saturating_sub(end.outbox.len()));
        end.outbox.extend(&bytes[..taken]);
        if taken < bytes.len() {
            end.wanted = end.wanted.or(Some(1));
        }
        self.pump_soon(id, 0);
        taken
    }

    pub(crate) fn stream_room(&self, node: NodeId, id: StreamId) -> usize {
        let end = self.end(id);
        let end = end.filter(|end| end.node == node && end.open && !end.released && !end.finishing);
        end.map_or(0, |end| self.limits.send_buffer.saturating_sub(end.outbox.len()))
    }

    pub(crate) fn want_room(&mut self, node: NodeId, id: StreamId, room: usize) {
        let room = room.clamp(1, self.limits.send_buffer.max(1));
        if let Some(end) = self.own_end(node, id).filter(|end| !end.finishing) {
            end.wanted = Some(room);
            self.pump_soon(id, 0);
        }
    }

    pub(crate) fn resume_stream(&mut self, node: NodeId, id: StreamId) {
        if self.own_end(node, id).is_some() {
            self.later(0, StreamStep::Readable(id));
        }
    }

    pub(crate) fn close_stream(&mut self, node: NodeId, id: StreamId) {
        match self.end_mut(id) {
            Some(end) if end.node == node && !end.open => self.remove_end(id),
            Some(end) if end.node == node => {
                end.released = true;
                end.inbox = Vec::new();
                self.pump_soon(id, 0);
                // The peer may have waited for room in the inbox that is gone.
                self.open_window(id);
            }
            _ => {}
        }
    }

    /// True if there was something to finish.
    pub(crate) fn finish_stream(&mut self, node: NodeId, id: StreamId) -> bool {
        let Some(end) = self.own_end(node, id).filter(|end| !end.finishing) else {
            return false;
        };
        end.finishing = true;
        self.pump_soon(id, 0);
        true
    }

    pub(crate) fn reset_stream(&mut self, node: NodeId, id: StreamId) {
        let Some(end) = self.end(id).filter(|end| end.node == node) else {
            return;
        };
        let open = end.open;
        self.remove_end(id);
        if open {
            self.reset_peer(node, id.peer());
        }
    }

    /// What is to be read on this end. Goes back with [`World::return_inbox`].
    pub(crate) fn take_inbox(&mut self, id: StreamId) -> Vec<u8> {
        let end = self.end_mut(id);
        end.map_or_else(Vec::new, |end| std::mem::take(&mut end.inbox))
    }

    pub(crate) fn return_inbox(&mut self, id: StreamId, mut inbox: Vec<u8>, taken: usize) {
        inbox.drain(..taken.min(inbox.len()));
        let Some(end) = self.end_mut(id).filter(|end| !end.released) else {
            return;
        };
        let ended = end.finished && inbox.is_empty();
        end.inbox = inbox;
        if ended {
            self.later(0, StreamStep::Dead(id, CloseReason::Finished));
        }
        if taken > 0 {
            self.open_window(id);
        }
    }

    /// The node crashed (`moved` is `None`), or lost the addresses that are not in `moved`: all its streams,
    /// or those on the lost addresses, are dead.
    pub(crate) fn abandon_streams(&mut self, node: NodeId, moved: Option<&[IpAddr]>) {
        let gone = |end: &End| {
            let kept = moved.is_some_and(|kept| kept.contains(&end.local.ip()));
            end.node == node && !kept
        };
        let ids = self.streams.keys().flat_map(|stream| {
            let id = dialler(*stream);
            [id, id.peer()]
        });
        let ids = ids.filter(|id| self.end(*id).is_some_and(gone));
        for id in ids.collect::<Vec<_>>() {
            if moved.is_none() {
                self.remove_end(id);
            } else if let Some(end) = self.end_mut(id) {
                end.broken = true;
                self.later(0, StreamStep::Dead(id, CloseReason::AddressLost));
            }
            self.lose_peer(node, id.peer());
        }
    }
}

/// Parts of the above.
impl World {
    fn end(&self, id: StreamId) -> Option<&End> {
        self.streams.get(&(id.0 >> 1))?.end(id)
    }

    fn end_mut(&mut self, id: StreamId) -> Option<&mut End> {
        self.streams.get_mut(&(id.0 >> 1))?.end_mut(id)
    }

    /// An end that its machine may still use.
    fn own_end(&mut self, node: NodeId, id: StreamId) -> Option<&mut End> {
        let end = self.end_mut(id)?;
        (end.node == node && end.open && !end.released).then_some(end)
    }

    fn later(&mut self, delay: Nanos, step: StreamStep) {
        let at = self.now.saturating_add(delay);
        self.agenda.push(at, Happening::Stream(step));
    }

    fn pump_soon(&mut self, id: StreamId, delay: Nanos) {
        if let Some(end) = self.end_mut(id)
            && !end.pumping
        {
            end.pumping = true;
            self.later(delay, StreamStep::Pump(id));
        }
    }

    /// The NAT whose outside socket this is, and its epoch.
    fn nat_on_the_way(&self, socket: SocketAddr) -> Option<(NatId, u32)> {
        let number = self.nats.iter().position(|nat| nat.config.address == socket.ip())?;
        Some((NatId(u32::try_from(number).ok()?), self.nats[number].epoch))
    }

    /// Whether the NATs on a stream's way still know it.
    fn is_known(&self, stream: u64) -> bool {
        let Some(connection) = self.streams.get(&stream) else {
            return false;
        };
        let idle = self.now.saturating_sub(connection.last_passed);
        connection.nats.iter().flatten().all(|(nat, epoch)| {
            let nat = self.nats.get(nat.index());
            nat.is_some_and(|nat| nat.epoch == *epoch && idle < nat.config.stream_idle)
        })
    }

    /// The receiver made room: its peer hears of it a moment later.
    fn open_window(&mut self, receiver: StreamId) {
        let sender = receiver.peer();
        let nodes = self.end(receiver).zip(self.end(sender));
        let Some((from, to)) = nodes.map(|(from, to)| (from.node, to.node)) else {
            return;
        };
        if self.end(sender).is_some_and(|end| !end.outbox.is_empty()) {
            let delay = self.link(from, to).latency;
            self.later(delay, StreamStep::Pump(sender));
        }
    }

    fn put_on_wire(&mut self, id: StreamId, segment: Segment, queued: Nanos) {
        let Some(node) = self.end(id).map(|end| end.node) else {
            return;
        };
        let peer = self.end(id.peer()).map_or(node, |end| end.node);
        let delay = self.segment_delay(node, peer);
        let stalled = self.maybe_stall(id);
        let mut at = self.now.saturating_add(delay).saturating_add(queued).saturating_add(stalled);
        let Some(end) = self.end_mut(id) else {
            return;
        };
        let first = end.wire.is_empty();
        if let Some((last, _)) = end.wire.back() {
            at = at.max(*last);
        }
        end.wire.push_back((at, segment));
        if first {
            self.agenda.push(at, Happening::Stream(StreamStep::Arrive(id)));
        }
    }

    /// How long a segment, and what comes after it, is held back by the fault of that name.
    fn maybe_stall(&mut self, id: StreamId) -> Nanos {
        let plan = self.faults.streams;
        if !self.choices.lane("stream.stall", id.0).chance(plan.stall) {
            return 0;
        }
        self.counters.streams_stalled += 1;
        self.trace.line(format_args!("{id} stalls"), &[]);
        let node = self.end(id).map(|end| end.node);
        self.tell(node, || What::Stalled { stream: id });
        self.choices.lane("stream.stall_for", id.0).between(1, plan.stall_for.max(1))
    }

    /// How long a segment is on its way, sent again where it was lost.
    fn segment_delay(&mut self, from: NodeId, to: NodeId) -> Nanos {
        let mut delay = self.delay(from, to);
        let loss = self.link(from, to).loss;
        for resend in 0..MOST_RESENDS {
            let mut lane = self.choices.lane("stream.loss", pair(from, to));
            if !lane.chance(loss) {
                break;
            }
            self.counters.segments_resent += 1;
            delay += (200 * MILLISECOND) << resend;
        }
        delay
    }

    /// This end's peer, on `node`, is gone: by choice it is told, or notices only after a while.
    fn lose_peer(&mut self, node: NodeId, id: StreamId) {
        let Some(end) = self.end_mut(id) else {
            return;
        };
        if !end.open && side(id) == 0 {
            // A dial in progress: its answer will not come, or be a refusal.
            return;
        }
        if end.finished && !end.kept {
            // It has everything that its peer ever wrote, and was told so.
            return;
        }
        end.broken = true;
        let survivor = end.node;
        let rate = self.faults.streams.silent;
        let silent = self.choices.lane("stream.silent", id.0).chance(rate);
        if silent || self.is_blocked(node, survivor) || !self.is_known(id.0 >> 1) {
            self.counters.streams_silent += 1;
            let dead = StreamStep::Dead(id, CloseReason::TimedOut);
            self.later(self.limits.stall_timeout, dead);
        } else {
            let delay = self.delay(node, survivor);
            self.later(delay, StreamStep::Dead(id, CloseReason::Reset));
        }
    }

    /// A reset on its way to this end. One that is lost in a partition is not sent again: the end notices when
    /// it next sends.
    fn reset_peer(&mut self, node: NodeId, id: StreamId) {
        let Some(survivor) = self.end(id).map(|end| end.node) else {
            return;
        };
        if !self.is_blocked(node, survivor) && self.is_known(id.0 >> 1) {
            let delay = self.delay(node, survivor);
            self.later(delay, StreamStep::Dead(id, CloseReason::Reset));
        }
    }

    fn remove_end(&mut self, id: StreamId) {
        let Some(connection) = self.streams.get_mut(&(id.0 >> 1)) else {
            return;
        };
        connection.ends[side(id)] = None;
        // A closed end stays to swallow what still comes; with the peer gone nothing comes. An acceptor whose
        // machine has not heard of it goes with the dialler.
        let idle = |end: &End| end.released && end.finish_sent || !end.open && side(id) == 0;
        if connection.end(id.peer()).is_some_and(idle) {
            connection.ends[side(id.peer())] = None;
        }
        if connection.ends.iter().all(Option::is_none) {
            let (seen_as, dialled_through) = (connection.seen_as, connection.nats[0]);
            self.streams.remove(&(id.0 >> 1));
            if let Some((nat, epoch)) = dialled_through
                && let Some(nat) = self.nats.get_mut(nat.index()).filter(|nat| nat.epoch == epoch)
            {
                nat.release(seen_as.port());
            }
        }
    }
}
