//! What falls due on streams: answers to dials, bytes moving, ends dying.

use super::{End, RETRY, SEGMENT, Segment, StreamStep, dialler, side};
use crate::machine::{CloseReason, DialError, Event, NodeId, StreamId};
use crate::nat::Protocol;
use crate::story::What;
use crate::time::Nanos;
use crate::world::{Delivery, World};

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
            StreamStep::Unqueue(id) => {
                self.end_mut(id)?.queued = false;
                self.pump(id)
            }
            StreamStep::Arrive(id) => self.arrive_segment(id),
            StreamStep::Readable(id) => {
                let end = self.end(id).filter(|end| !end.inbox.is_empty())?;
                Some(Delivery::Bytes { node: end.node, stream: id })
            }
            StreamStep::Dead(id, CloseReason::Finished) => self.hear_finish(id),
            StreamStep::Dead(id, reason) => self.bury(id, reason),
        }
    }

    fn arrive_syn(&mut self, stream: u64) -> Option<Delivery> {
        let id = dialler(stream);
        let end = self.end(id)?;
        let (node, remote) = (end.node, end.remote);
        let seen_as = self.streams.get(&stream)?.seen_as;
        let located = if self.is_known(stream) {
            self.locate(node, Protocol::Stream, seen_as, remote).ok()
        } else {
            None
        };
        let there = located.filter(|(target, _)| self.is_up(*target) && !self.is_blocked(node, *target));
        let Some((target, inside)) = there else {
            // Nobody answers; somebody may when it is sent again, until the dial times out.
            self.later(RETRY, StreamStep::Syn(stream));
            return None;
        };
        let accepted = self.host(target)?.listening.contains(&inside.port());
        if accepted {
            let acceptor = End::new(target, inside, seen_as);
            let nat = self.nat_on_the_way(remote);
            let connection = self.streams.get_mut(&stream)?;
            connection.ends[1] = Some(acceptor);
            connection.nats[1] = nat;
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
        if target.is_some_and(|target| self.is_blocked(target, node) || !self.is_known(stream)) {
            self.later(RETRY, StreamStep::SynAnswer { stream, accepted });
            return None;
        }
        if target.is_none() {
            self.counters.dials_refused += 1;
            return self.fail_dial(id, DialError::Refused);
        }
        self.end_mut(id)?.open = true;
        self.put_on_wire(id, Segment::Accept, 0);
        let event = Event::Connected { stream: id, local, remote };
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
            let (length, end_node) = (end.outbox.len().min(room), end.node);
            if length == 0 || end.queued {
                break;
            }
            let mut length = self.maybe_split(id, length);
            let (node, peer) = (end_node, self.end(id.peer()).map_or(end_node, |peer| peer.node));
            if self.link(node, peer).bandwidth > 0 {
                length = length.min(SEGMENT);
            }
            let queued = match self.enqueue(node, peer, length) {
                Ok(queued) => queued,
                Err(wait) => {
                    self.counters.segments_queued += 1;
                    self.end_mut(id)?.queued = true;
                    self.later(wait, StreamStep::Unqueue(id));
                    break;
                }
            };
            let end = self.end_mut(id)?;
            let data: Vec<u8> = end.outbox.drain(..length).collect();
            end.on_wire += length;
            self.put_on_wire(id, Segment::Data(data), queued);
        }
        let end = self.end_mut(id)?;
        if (end.released || end.finishing) && end.outbox.is_empty() && !end.finish_sent {
            end.finish_sent = true;
            self.put_on_wire(id, Segment::Finish, 0);
            return self.hear_finish(id);
        }
        let room = send.saturating_sub(end.outbox.len());
        if end.released || end.finishing || end.wanted.is_none_or(|wanted| wanted > room) {
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
        let owner = target.or_else(|| self.likely_owner(remote));
        let reached = owner.filter(|owner| {
            // Without acknowledgements nothing is delivered either.
            let open = self.is_known(id.0 >> 1);
            open && self.is_up(*owner) && !self.is_blocked(node, *owner) && !self.is_blocked(*owner, node)
        });
        let Some(reached) = reached else {
            return self.stall(id, since);
        };
        self.end_mut(id)?.stuck_since = None;
        let now = self.now;
        self.streams.get_mut(&(id.0 >> 1))?.last_passed = now;
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
                let event = Event::Accepted { stream: id, local: end.local, remote: end.remote };
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
                self.hear_finish(id)
            }
        }
    }

    /// The peer writes no more, and all that it wrote is taken: what comes of it, if it is so.
    fn hear_finish(&mut self, id: StreamId) -> Option<Delivery> {
        let peer_reads = self.is_read(id.peer());
        let end = self.end_mut(id).filter(|end| end.finished && end.open)?;
        let node = end.node;
        if end.released {
            // What it wrote is still on its way to a peer that reads it; else nobody cares.
            return if peer_reads { None } else { self.bury(id, CloseReason::Finished) };
        }
        if !end.inbox.is_empty() || end.kept && !end.finish_sent {
            return None;
        }
        match (end.finishing, end.finish_sent) {
            (true, true) => self.end_finished(id),
            (true, false) => None,
            (false, _) => Some(Delivery::Finish { node, stream: id }),
        }
    }

    /// Both ways are finished; or the machine does not mind that the peer's is, and closes its own.
    pub(crate) fn end_finished(&mut self, id: StreamId) -> Option<Delivery> {
        let peer_reads = self.is_read(id.peer());
        let end = self.end_mut(id)?;
        let node = end.node;
        if !peer_reads {
            return self.bury(id, CloseReason::Finished);
        }
        if end.released {
            return None;
        }
        end.released = true;
        self.pump_soon(id, 0);
        let event = Event::Closed { stream: id, reason: CloseReason::Finished };
        Some(Delivery::Event { node, event })
    }

    /// The machine goes on writing to a peer that has finished.
    pub(crate) fn keep_end(&mut self, id: StreamId) {
        if let Some(end) = self.end_mut(id) {
            end.kept = true;
        }
    }

    /// Whether a machine reads on this end.
    fn is_read(&self, id: StreamId) -> bool {
        self.end(id).is_some_and(|end| end.open && !end.released)
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
        self.tell(node, || What::Broken { stream: id });
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
            let reason = match reason {
                CloseReason::AddressLost => DialError::NoRoute,
                _ => DialError::Refused,
            };
            return self.fail_dial(id, reason);
        }
        self.remove_end(id);
        let event = Event::Closed { stream: id, reason };
        (open && !released).then_some(Delivery::Event { node, event })
    }
}
