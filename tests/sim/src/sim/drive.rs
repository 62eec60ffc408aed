//! How one event reaches a machine: hand it over, gather what the machine does, show both to the observers.

use crate::context::Context;
use crate::failure::Failure;
use crate::machine::{Boot, Event, Machine, NodeId, StreamId};
use crate::sim::{Cause, Sim, Step};
use crate::story::What;
use crate::world::Delivery;

/// A node called this often without time passing spins.
const MOST_CALLS_AT_ONE_TIME: u32 = 100_000;

impl<M: Machine> Sim<M> {
    pub(super) fn start(&mut self, node: NodeId) {
        let mut seed = [0; 32];
        let lane = u64::from(node.0);
        self.world.choices.lane("boot.seed", lane).bytes(&mut seed);
        let now = self.world.local_time(node);
        let entry = self.world.hosts.get_mut(node.index());
        let Some((host, entry)) = entry.zip(self.nodes.get_mut(node.index())) else {
            return;
        };
        let restarts = host.starts;
        host.starts += 1;
        host.up = true;
        entry.machine = Some((entry.factory)(Boot {
            node,
            restarts,
            now,
            seed,
            addresses: &host.addresses,
            disk: &host.disk.durable,
        }));
        self.world.trace.line(format_args!("{node} starts, restart {restarts}"), &seed);
        self.world.tell(node, || What::Started { restarts });
        self.call(node, Cause::Start(restarts), |machine, cx| {
            machine.handle_start(cx);
        });
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Datagram { node, packet, local, from, mut bytes } => {
                let length = bytes.len();
                self.world.trace.line(format_args!("{node} <- {local} receives {from} {length} B"), &bytes);
                self.world.tell(node, || What::Received {
                    packet: packet.id,
                    local,
                    from,
                    sender: packet.sender,
                    sent_at: packet.sent_at,
                    length,
                });
                let cause = Cause::Datagram { local, from, length };
                self.call(node, cause, |machine, cx| {
                    machine.handle_datagram(cx, local, from, &mut bytes);
                });
            }
            Delivery::Bytes { node, stream } => self.deliver_bytes(node, stream),
            Delivery::Finish { node, stream } => self.deliver_finish(node, stream),
            Delivery::Event { node, event } => {
                self.world.trace.line(format_args!("{node} <- {event:?}"), &[]);
                if let Some(what) = told(event) {
                    self.world.tell(node, || what);
                }
                self.call(node, Cause::Event(event), |machine, cx| {
                    machine.handle_event(cx, event);
                });
            }
            Delivery::Timeout(node) => {
                self.world.trace.line(format_args!("{node} <- deadline"), &[]);
                self.world.tell(node, || What::Timeout);
                self.call(node, Cause::Timeout, |machine, cx| {
                    machine.handle_timeout(cx);
                });
            }
            Delivery::Crash(node) => self.crash(node),
            Delivery::Restart(node) => self.restart(node),
        }
    }

    fn deliver_bytes(&mut self, node: NodeId, stream: StreamId) {
        let mut inbox = self.world.take_inbox(stream);
        let offered = inbox.len();
        self.world.trace.line(format_args!("{node} <- {stream} offers {offered} B"), &inbox);
        let mut taken = 0;
        self.act(node, |machine, cx| {
            taken = machine.handle_bytes(cx, stream, &mut inbox).min(offered);
        });
        self.world.trace.line(format_args!("{node} took {taken} B"), &[]);
        self.world.tell(node, || What::Read { stream, offered, taken });
        self.world.return_inbox(stream, inbox, taken);
        let cause = Cause::Bytes { stream, offered, taken };
        self.look(node, cause);
    }

    fn deliver_finish(&mut self, node: NodeId, stream: StreamId) {
        let mut keeps = false;
        self.act(node, |machine, cx| keeps = machine.handle_finish(cx, stream));
        if keeps {
            self.world.trace.line(format_args!("{node} keeps {stream} half open"), &[]);
            self.world.keep_end(stream);
        }
        if keeps || !self.outputs.is_empty() {
            self.look(node, Cause::Finish(stream));
        }
        if !keeps && let Some(delivery) = self.world.end_finished(stream) {
            self.deliver(delivery);
        }
    }

    pub(super) fn call(
        &mut self,
        node: NodeId,
        cause: Cause,
        act: impl FnOnce(&mut M, &mut Context<'_, M::Observation>),
    ) {
        self.act(node, act);
        self.look(node, cause);
    }

    fn act(&mut self, node: NodeId, act: impl FnOnce(&mut M, &mut Context<'_, M::Observation>)) {
        self.outputs.clear();
        let Some(entry) = self.nodes.get_mut(node.index()) else {
            return;
        };
        let now = self.world.now;
        if entry.calls.0 == now {
            entry.calls.1 += 1;
        } else {
            entry.calls = (now, 0);
        }
        let spins = entry.calls.1 >= MOST_CALLS_AT_ONE_TIME;
        if let Some(machine) = &mut entry.machine {
            let mut cx = Context::new(&mut self.world, node, &mut self.outputs);
            act(machine, &mut cx);
        }
        if spins {
            self.note_failure(
                node,
                "spins",
                format!("it was called {MOST_CALLS_AT_ONE_TIME} times without time passing: it spins"),
            );
        }
    }

    /// Shows a step to the observers; and crashes the node, if it reached a crash point in this step.
    pub(super) fn look(&mut self, node: NodeId, cause: Cause) {
        self.steps += 1;
        let outputs = std::mem::take(&mut self.outputs);
        let mut observers = std::mem::take(&mut self.observers);
        let step = Step { number: self.steps, node, cause, outputs: &outputs };
        let complaint = observers.iter_mut().enumerate().find_map(|(number, observer)| {
            let message = (observer.look)(self, &step).err()?;
            Some((observer.invariant(number, &message), message))
        });
        self.observers = observers;
        self.outputs = outputs;
        if let Some((invariant, message)) = complaint {
            self.note_failure(node, &invariant, message);
        }
        if self.world.host(node).is_some_and(|host| host.doomed) {
            self.crash(node);
        }
    }

    /// Keeps the first failure, and answers it.
    pub(super) fn note_failure(&mut self, node: NodeId, invariant: &str, message: String) -> &Failure {
        let failure = match self.failure.take() {
            Some(first) => first,
            None => {
                let invariant = invariant.to_owned();
                let (said, of) = (message.clone(), invariant.clone());
                self.world.tell(node, || What::Failed { invariant: of, message: said });
                Failure {
                    invariant,
                    message,
                    node,
                    at: self.world.now,
                    step: self.steps,
                    origin: self.world.choices.origin().to_owned(),
                    trace: self.trace().map(str::to_owned).collect(),
                }
            }
        };
        self.failure.insert(failure)
    }
}

/// What the story says of an event; nothing of those that say little.
const fn told(event: Event) -> Option<What> {
    Some(match event {
        Event::Connected { stream, local, remote } => What::Opened { stream, local, remote, accepted: false },
        Event::Accepted { stream, local, remote } => What::Opened { stream, local, remote, accepted: true },
        Event::DialFailed { stream, reason } => What::DialFailed { stream, reason },
        Event::Closed { stream, reason } => What::Closed { stream, reason: Some(reason) },
        Event::Stored(write) => What::Stored { write },
        Event::StoreFailed(write) => What::StoreFailed { write },
        Event::Writable(_) | Event::Moved => return None,
    })
}
