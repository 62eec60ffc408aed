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

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::machine::{CloseReason, DialError, Event, NodeId, StreamId};
use crate::time::{MILLISECOND, Nanos, SECOND};
use crate::world::{Delivery, Happening, World, pair};

/// After this long something not acknowledged is sent again.
const RETRY: Nanos = 500 * MILLISECOND;

/// A segment lost more often than this in a row comes through all the same.
const MOST_RESENDS: u32 = 6;

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
    finish_sent: bool,
    /// The peer's last byte has arrived.
    finished: bool,
    outbox: VecDeque<u8>,
    wire: VecDeque<(Nanos, Segment)>,
    on_wire: usize,
    inbox: Vec<u8>,
    /// The machine waits for this much room in the outbox.
    wanted: Option<usize>,
    pumping: bool,
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
            finish_sent: false,
            finished: false,
            outbox: VecDeque::new(),
            wire: VecDeque::new(),
            on_wire: 0,
            inbox: Vec::new(),
            wanted: None,
            pumping: false,
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
        let Some(ip) = self.source_for(node, to) else {
            let reason = DialError::NoRoute;
            self.notify(node, Event::DialFailed { stream: id, reason });
            return id;
        };
        let local = SocketAddr::new(ip, self.choose_port(node, 0));
        let ends = [Some(End::new(node, local, to)), None];
        self.streams.insert(stream, Connection { ends });
        let owner = self.owners.get(&to.ip()).copied().unwrap_or(node);
        let delay = self.segment_delay(node, owner);
        self.later(delay, StreamStep::Syn(stream));
        self.later(self.limits.dial_timeout, StreamStep::DialTimeout(id));
        id
    }

    pub(crate) fn write_stream(&mut self, node: NodeId, id: StreamId, bytes: &[u8]) -> usize {
        let most = self.limits.send_buffer;
        let Some(end) = self.own_end(node, id) else {
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
        let end = end.filter(|end| end.node == node && end.open && !end.released);
        end.map_or(0, |end| {
            self.limits.send_buffer.saturating_sub(end.outbox.len())
        })
    }

    pub(crate) fn want_room(&mut self, node: NodeId, id: StreamId, room: usize) {
        let room = room.clamp(1, self.limits.send_buffer.max(1));
        if let Some(end) = self.own_end(node, id) {
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
    pub(crate) fn abandon_streams(&mut self, node: NodeId, moved: Option<&[std::net::IpAddr]>) {
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
            let end = self.end(id);
            let (open, heard) = end.map_or((false, false), |end| (end.open, !end.released));
            if moved.is_some() && heard {
                let event = if open || side(id) == 1 {
                    let reason = CloseReason::AddressLost;
                    Event::Closed { stream: id, reason }
                } else {
                    let reason = DialError::NoRoute;
                    Event::DialFailed { stream: id, reason }
                };
                // The acceptor's machine has never heard of an end that is not open yet.
                if open || side(id) == 0 {
                    self.notify(node, event);
                }
            }
            self.remove_end(id);
            self.lose_peer(node, id.peer());
        }
    }
}

/// What falls due.
impl World {
    pub(crate) fn step_stream(&mut self, step: StreamStep) -> Option<Delivery> {
        match step {
            StreamStep::Syn(stream) => self.arrive_syn(stream),
            StreamStep::SynAnswer { stream, accepted } => self.arrive_answer(stream, accepted),
            StreamStep::DialTimeout(id) => {
                self.end(id).filter(|end| !end.open)?;
                self.counters.dials_timed_out += 1;
                self.fail_dial(id, DialError::TimedOut)
            }
            StreamStep::Pump(id) => self.pump(id),
            StreamStep::Arrive(id) => self.arrive_segment(id),
            StreamStep::Readable(id) => {
                let end = self.end(id).filter(|end| !end.inbox.is_empty())?;
                Some(Delivery::Bytes {
                    node: end.node,
                    stream: id,
                })
            }
            StreamStep::Dead(id, reason) => self.bury(id, reason),
        }
    }

    fn arrive_syn(&mut self, stream: u64) -> Option<Delivery> {
        let id = dialler(stream);
        let end = self.end(id)?;
        let (node, local, remote) = (end.node, end.local, end.remote);
        let owner = self.owners.get(&remote.ip()).copied();
        let Some(target) =
            owner.filter(|target| self.is_up(*target) && !self.is_blocked(node, *target))
        else {
            // Nobody answers; somebody may when it is sent again, until the dial times out.
            self.later(RETRY, StreamStep::Syn(stream));
            return None;
        };
        let accepted = self.host(target)?.listening.contains(&remote.port());
        if accepted {
            let acceptor = End::new(target, remote, local);
            self.streams.get_mut(&stream)?.ends[1] = Some(acceptor);
        }
        let delay = self.segment_delay(target, node);
        self.later(delay, StreamStep::SynAnswer { stream, accepted });
        None
    }

    fn arrive_answer(&mut self, stream: u64, accepted: bool) -> Option<Delivery> {
        let id = dialler(stream);
        let end = self.end(id)?;
        let (node, local, remote) = (end.node, end.local, end.remote);
        let target = self.end(id.peer()).map(|end| end.node);
        if target.is_some_and(|target| self.is_blocked(target, node)) {
            self.later(RETRY, StreamStep::SynAnswer { stream, accepted });
            return None;
        }
        if target.is_none() {
            self.counters.dials_refused += 1;
            return self.fail_dial(id, DialError::Refused);
        }
        self.end_mut(id)?.open = true;
        self.put_on_wire(id, Segment::Accept);
        let event = Event::Connected {
            stream: id,
            local,
            remote,
        };
        Some(Delivery::Event { node, event })
    }

    fn fail_dial(&mut self, id: StreamId, reason: DialError) -> Option<Delivery> {
        let node = self.end(id)?.node;
        self.remove_end(id);
        let event = Event::DialFailed { stream: id, reason };
        Some(Delivery::Event { node, event })
    }

    fn pump(&mut self, id: StreamId) -> Option<Delivery> {
        let (send, receive) = (self.limits.send_buffer, self.limits.receive_buffer);
        self.end_mut(id)?.pumping = false;
        loop {
            let waiting = self.end(id.peer()).map_or(0, |peer| peer.inbox.len());
            let end = self.end(id)?;
            if !end.open || end.broken {
                return None;
            }
            let room = receive.saturating_sub(waiting.saturating_add(end.on_wire));
            let length = end.outbox.len().min(room);
            if length == 0 {
                break;
            }
            let length = self.maybe_split(id, length);
            let end = self.end_mut(id)?;
            let data: Vec<u8> = end.outbox.drain(..length).collect();
            end.on_wire += length;
            self.put_on_wire(id, Segment::Data(data));
        }
        let end = self.end_mut(id)?;
        if end.released && end.outbox.is_empty() && !end.finish_sent {
            end.finish_sent = true;
            self.put_on_wire(id, Segment::Finish);
            return None;
        }
        let room = send.saturating_sub(end.outbox.len());
        if end.released || end.wanted.is_none_or(|wanted| wanted > room) {
            return None;
        }
        end.wanted = None;
        let (node, event) = (end.node, Event::Writable(id));
        Some(Delivery::Event { node, event })
    }

    fn maybe_split(&mut self, id: StreamId, length: usize) -> usize {
        let rate = self.faults.streams.split;
        if length < 2 || !self.choices.lane("stream.split", id.0).chance(rate) {
            return length;
        }
        self.counters.segments_split += 1;
        let mut lane = self.choices.lane("stream.split_at", id.0);
        usize::try_from(lane.between(1, length as u64 - 1)).unwrap_or(length)
    }

    fn arrive_segment(&mut self, id: StreamId) -> Option<Delivery> {
        let end = self.end(id)?;
        if end.broken {
            return None;
        }
        let (node, remote, since) = (end.node, end.remote, end.stuck_since);
        let target = self.end(id.peer()).map(|end| end.node);
        let owner = target.or_else(|| self.owners.get(&remote.ip()).copied());
        let reached = owner.filter(|owner| {
            // Without acknowledgements nothing is delivered either.
            self.is_up(*owner) && !self.is_blocked(node, *owner) && !self.is_blocked(*owner, node)
        });
        let Some(reached) = reached else {
            return self.stall(id, since);
        };
        self.end_mut(id)?.stuck_since = None;
        if target.is_none() {
            let delay = self.delay(reached, node);
            self.later(delay, StreamStep::Dead(id, CloseReason::Reset));
            return None;
        }
        let rate = self.faults.streams.broken;
        if self.choices.lane("stream.broken", id.0).chance(rate) {
            self.break_stream(id, reached);
            return None;
        }
        let end = self.end_mut(id)?;
        let (_, segment) = end.wire.pop_front()?;
        if let Segment::Data(data) = &segment {
            end.on_wire = end.on_wire.saturating_sub(data.len());
        }
        if let Some((at, _)) = end.wire.front() {
            let delay = at.saturating_sub(self.now);
            self.later(delay, StreamStep::Arrive(id));
        }
        self.receive(id.peer(), segment)
    }

    fn receive(&mut self, id: StreamId, segment: Segment) -> Option<Delivery> {
        let end = self.end_mut(id)?;
        let node = end.node;
        match segment {
            Segment::Accept => {
                end.open = true;
                let event = Event::Accepted {
                    stream: id,
                    local: end.local,
                    remote: end.remote,
                };
                Some(Delivery::Event { node, event })
            }
            Segment::Data(_) if end.released => {
                self.open_window(id);
                None
            }
            Segment::Data(mut data) => {
                end.inbox.append(&mut data);
                self.counters.segments_delivered += 1;
                Some(Delivery::Bytes { node, stream: id })
            }
            Segment::Finish => {
                end.finished = true;
                if end.inbox.is_empty() || end.released {
                    return self.bury(id, CloseReason::Finished);
                }
                None
            }
        }
    }

    /// Nobody acknowledges what this end has sent.
    fn stall(&mut self, id: StreamId, since: Option<Nanos>) -> Option<Delivery> {
        self.counters.segments_stalled += 1;
        let since = since.unwrap_or(self.now);
        if self.now.saturating_sub(since) >= self.limits.stall_timeout {
            return self.bury(id, CloseReason::TimedOut);
        }
        self.end_mut(id)?.stuck_since = Some(since);
        self.later(RETRY, StreamStep::Arrive(id));
        None
    }

    fn break_stream(&mut self, id: StreamId, peer: NodeId) {
        self.counters.streams_broken += 1;
        self.trace.line(format_args!("{id} breaks"), &[]);
        let node = self.end(id).map_or(peer, |end| end.node);
        self.lose_peer(node, id.peer());
        self.lose_peer(peer, id);
    }

    /// Ends an end, and tells its machine, unless that one closed it itself or has not heard of it yet.
    fn bury(&mut self, id: StreamId, reason: CloseReason) -> Option<Delivery> {
        let end = self.end(id)?;
        let (node, open, released) = (end.node, end.open, end.released);
        if reason == CloseReason::TimedOut {
            self.counters.streams_timed_out += 1;
        }
        if !open && side(id) == 0 {
            return self.fail_dial(id, DialError::Refused);
        }
        self.remove_end(id);
        let event = Event::Closed { stream: id, reason };
        (open && !released).then_some(Delivery::Event { node, event })
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

    fn put_on_wire(&mut self, id: StreamId, segment: Segment) {
        let Some(node) = self.end(id).map(|end| end.node) else {
            return;
        };
        let peer = self.end(id.peer()).map_or(node, |end| end.node);
        let delay = self.segment_delay(node, peer);
        let mut at = self.now.saturating_add(delay);
        let Some(end) = self.end_mut(id) else {
            return;
        };
        let first = end.wire.is_empty();
        if let Some((last, _)) = end.wire.back() {
            at = at.max(*last);
        }
        end.wire.push_back((at, segment));
        if first {
            self.agenda
                .push(at, Happening::Stream(StreamStep::Arrive(id)));
        }
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
        end.broken = true;
        let survivor = end.node;
        let rate = self.faults.streams.silent;
        let silent = self.choices.lane("stream.silent", id.0).chance(rate);
        if silent || self.is_blocked(node, survivor) {
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
        if !self.is_blocked(node, survivor) {
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
            self.streams.remove(&(id.0 >> 1));
        }
    }
}
