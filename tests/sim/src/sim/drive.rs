//! How one event reaches a machine: hand it over, gather what the machine does, show both to the observers.

use crate::context::Context;
use crate::failure::Failure;
use crate::machine::{Boot, Machine, NodeId, StreamId};
use crate::sim::{Cause, Sim, Step};
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
        self.world
            .trace
            .line(format_args!("{node} starts, restart {restarts}"), &seed);
        self.call(node, Cause::Start(restarts), |machine, cx| {
            machine.handle_start(cx);
        });
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Datagram {
                node,
                local,
                from,
                mut bytes,
            } => {
                let length = bytes.len();
                self.world.trace.line(
                    format_args!("{node} <- {local} receives {from} {length} B"),
                    &bytes,
                );
                let cause = Cause::Datagram {
                    local,
                    from,
                    length,
                };
                self.call(node, cause, |machine, cx| {
                    machine.handle_datagram(cx, local, from, &mut bytes);
                });
            }
            Delivery::Bytes { node, stream } => self.deliver_bytes(node, stream),
            Delivery::Event { node, event } => {
                self.world
                    .trace
                    .line(format_args!("{node} <- {event:?}"), &[]);
                self.call(node, Cause::Event(event), |machine, cx| {
                    machine.handle_event(cx, event);
                });
            }
            Delivery::Timeout(node) => {
                self.world
                    .trace
                    .line(format_args!("{node} <- deadline"), &[]);
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
        self.world.trace.line(
            format_args!("{node} <- {stream} offers {offered} B"),
            &inbox,
        );
        let mut taken = 0;
        self.act(node, |machine, cx| {
            taken = machine.handle_bytes(cx, stream, &mut inbox).min(offered);
        });
        self.world
            .trace
            .line(format_args!("{node} took {taken} B"), &[]);
        self.world.return_inbox(stream, inbox, taken);
        let cause = Cause::Bytes {
            stream,
            offered,
            taken,
        };
        self.look(node, cause);
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
            self.fail(
                node,
                format!(
                    "it was called {MOST_CALLS_AT_ONE_TIME} times without time passing: it spins"
                ),
            );
        }
    }

    /// Shows a step to the observers; and crashes the node, if it reached a crash point in this step.
    pub(super) fn look(&mut self, node: NodeId, cause: Cause) {
        self.steps += 1;
        let outputs = std::mem::take(&mut self.outputs);
        let mut observers = std::mem::take(&mut self.observers);
        let step = Step {
            number: self.steps,
            node,
            cause,
            outputs: &outputs,
        };
        let complaint = observers
            .iter_mut()
            .find_map(|observer| observer(self, &step).err());
        self.observers = observers;
        self.outputs = outputs;
        if let Some(message) = complaint {
            self.fail(node, message);
        }
        if self.world.host(node).is_some_and(|host| host.doomed) {
            self.crash(node);
        }
    }

    fn fail(&mut self, node: NodeId, message: String) {
        if self.failure.is_none() {
            self.failure = Some(Failure {
                message,
                node,
                at: self.world.now,
                step: self.steps,
                origin: self.world.choices.origin().to_owned(),
                trace: self.trace().map(str::to_owned).collect(),
            });
        }
    }
}
