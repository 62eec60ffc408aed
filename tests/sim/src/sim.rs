//! The simulation itself: machines in a world, run event by event under the eyes of observers.
//!
//! Invariants: one event at a time; after each event that reached a machine, every observer looks, in the order
//! in which they were added; after the first failure nothing runs any more.

mod drive;
mod places;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::choices::Choices;
use crate::context::Output;
use crate::counters::Counters;
use crate::failure::{AddressTaken, Failure};
use crate::faults::{Faults, Link};
use crate::machine::{Boot, Event, Machine, NodeId, StreamId};
use crate::nat::NatId;
use crate::story::{Entry, What};
use crate::stream::StreamLimits;
use crate::time::{Clock, Nanos};
use crate::trace::TraceHash;
use crate::world::{Host, World};

/// A simulation of machines of one type (an enum, where they differ).
pub struct Sim<M: Machine> {
    world: World,
    nodes: Vec<Node<M>>,
    observers: Vec<Observer<M>>,
    outputs: Vec<Output<M::Observation>>,
    steps: u64,
    failure: Option<Failure>,
}

struct Observer<M: Machine> {
    name: Option<String>,
    look: Look<M>,
}

type Look<M> = Box<dyn FnMut(&Sim<M>, &Step<'_, <M as Machine>::Observation>) -> Result<(), String>>;

impl<M: Machine> Observer<M> {
    /// The name of the invariant that this complaint of the observer with this number is about.
    fn invariant(&self, number: usize, message: &str) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        match message.split_once(": ") {
            Some((word, _)) if !word.is_empty() && !word.contains(char::is_whitespace) => word.to_owned(),
            _ => format!("observer {number}"),
        }
    }
}

type Factory<M> = Box<dyn FnMut(Boot<'_>) -> M>;

struct Node<M> {
    machine: Option<M>,
    factory: Factory<M>,
    calls: (Nanos, u32),
}

/// Where a node stands at its first start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its clock.
    pub clock: Clock,
}

impl<T: Into<IpAddr>> From<T> for NodeConfig {
    fn from(ip: T) -> Self {
        Self { addresses: vec![ip.into()], clock: Clock::default() }
    }
}

/// One event that reached a node, and what its machine did, as observers see it.
#[derive(Debug)]
pub struct Step<'a, O> {
    /// Counted from 1.
    pub number: u64,
    /// The node it happened to.
    pub node: NodeId,
    /// What happened.
    pub cause: Cause,
    /// What the machine did, in order.
    pub outputs: &'a [Output<O>],
}

/// What happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It started, after this many earlier starts.
    Start(u32),
    /// It crashed; [`Sim::machine`] is `None` now.
    Crash,
    /// A datagram was handed over.
    Datagram {
        /// The address and port it was sent to.
        local: SocketAddr,
        /// Where it came from.
        from: SocketAddr,
        /// Its length in bytes.
        length: usize,
    },
    /// Stream bytes were offered.
    Bytes {
        /// The machine's end.
        stream: StreamId,
        /// How many bytes were there.
        offered: usize,
        /// How many of them the machine took.
        taken: usize,
    },
    /// The machine was asked what it does about a stream that its peer has finished, and did something.
    Finish(StreamId),
    /// An event was handed over.
    Event(Event),
    /// The deadline came.
    Timeout,
    /// A command was given.
    Command,
}

impl<M: Machine> Sim<M> {
    /// A world without nodes.
    #[must_use]
    pub fn new(choices: Choices, faults: Faults) -> Self {
        Self {
            world: World::new(choices, faults),
            nodes: Vec::new(),
            observers: Vec::new(),
            outputs: Vec::new(),
            steps: 0,
            failure: None,
        }
    }

    /// A world without nodes, whose plan of faults is drawn from the choices too.
    #[must_use]
    pub fn with_drawn_faults(mut choices: Choices) -> Self {
        let faults = Faults::drawn(&mut choices);
        Self::new(choices, faults)
    }

    /// Adds a node and starts it. `factory` builds its machine, now and after every crash.
    ///
    /// # Errors
    ///
    /// [`AddressTaken`] if another node has one of the addresses.
    pub fn add_node(
        &mut self,
        config: impl Into<NodeConfig>,
        factory: impl FnMut(Boot<'_>) -> M + 'static,
    ) -> Result<NodeId, AddressTaken> {
        self.add(None, config.into(), Box::new(factory))
    }

    fn add(
        &mut self,
        nat: Option<NatId>,
        config: NodeConfig,
        factory: Factory<M>,
    ) -> Result<NodeId, AddressTaken> {
        let NodeConfig { addresses, clock } = config;
        let node = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let taken = |ip| AddressTaken { ip };
        self.world.assign(node, &addresses).map_err(taken)?;
        self.world.hosts.push(Host::new(addresses, clock, nat));
        self.nodes.push(Node { machine: None, factory, calls: (0, 0) });
        self.start(node);
        Ok(node)
    }

    /// Has every event from now on looked at. An error that it returns ends the run with a [`Failure`], at once
    /// or, where it arose outside of a run (in [`Sim::command`], for example), at the next one.
    pub fn observe(
        &mut self,
        observer: impl FnMut(&Self, &Step<'_, M::Observation>) -> Result<(), String> + 'static,
    ) {
        self.observers.push(Observer { name: None, look: Box::new(observer) });
    }

    /// The same, under a name that its failures carry: shrinking accepts only what fails the same invariant.
    pub fn observe_as(
        &mut self,
        invariant: impl Into<String>,
        observer: impl FnMut(&Self, &Step<'_, M::Observation>) -> Result<(), String> + 'static,
    ) {
        self.observers.push(Observer { name: Some(invariant.into()), look: Box::new(observer) });
    }

    /// Ends the run with a complaint of the user's own, as an observer's would: for what is seen from outside of
    /// the events, such as a goal that was not reached by its deadline. Answers the run's first failure, which
    /// may be an earlier one.
    pub fn fail(&mut self, node: NodeId, invariant: &str, message: impl Into<String>) -> Failure {
        self.note_failure(node, invariant, message.into()).clone()
    }

    // Running.

    /// Lets everything happen that is due up to this virtual time, which then is now.
    ///
    /// # Errors
    ///
    /// The first [`Failure`] of the run, if there is one, however often it is asked.
    pub fn run_until(&mut self, until: Nanos) -> Result<(), Failure> {
        self.run_while(|_| true, until).map(|_| ())
    }

    /// The same for the next `time`.
    ///
    /// # Errors
    ///
    /// As [`Sim::run_until`].
    pub fn run_for(&mut self, time: Nanos) -> Result<(), Failure> {
        self.run_until(self.world.now.saturating_add(time))
    }

    /// Lets things happen while `predicate` holds, and up to the virtual time `limit` at most. It is asked
    /// before every event. Answers true if the predicate ended it, false if time did.
    ///
    /// # Errors
    ///
    /// As [`Sim::run_until`].
    pub fn run_while(
        &mut self,
        mut predicate: impl FnMut(&Self) -> bool,
        limit: Nanos,
    ) -> Result<bool, Failure> {
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            if !predicate(self) {
                return Ok(true);
            }
            match self.world.advance(limit) {
                Some(Some(delivery)) => self.deliver(delivery),
                Some(None) => {}
                None => {
                    self.world.set_now(limit);
                    return Ok(false);
                }
            }
        }
    }

    // What the user does to the world.

    /// Asks a machine for something, now. False if the node is down.
    pub fn command(&mut self, node: NodeId, command: M::Command) -> bool {
        let up = self.world.is_up(node);
        if up {
            self.world.trace.line(format_args!("{node} <- {command:?}"), &[]);
            self.world.tell(node, || What::Command(format!("{command:?}")));
            self.call(node, Cause::Command, |machine, cx| {
                machine.handle_command(cx, command);
            });
        }
        up
    }

    /// Crashes a node: its machine is gone, its streams break, its unfinished writes are lost or kept by choice.
    pub fn crash(&mut self, node: NodeId) {
        if self.world.is_up(node) {
            if let Some(node) = self.nodes.get_mut(node.index()) {
                node.machine = None;
            }
            self.world.crash(node);
            self.outputs.clear();
            self.look(node, Cause::Crash);
        }
    }

    /// Crashes the node in the midst of the operation on its disk (a value, a part of a file, a sync) with this
    /// number (counted from 1 since it was added, see [`Sim::writes`]): it is unfinished, and nothing the machine does after it in the same call
    /// counts. With [`DiskFaults::lose`](crate::DiskFaults::lose) at 0 or at [`MILLION`](crate::MILLION) and a
    /// loop over the numbers, every crash point of a run is tried.
    pub fn crash_at_write(&mut self, node: NodeId, number: u64) {
        if let Some(host) = self.world.host_mut(node) {
            host.disk.crash_at = Some(number);
        }
    }

    /// Loses everything on the disk of a node that is down: a new disk, or another host. Of a node that is up the
    /// disk stays.
    pub fn lose_disk(&mut self, node: NodeId) {
        if !self.world.is_up(node)
            && let Some(host) = self.world.host_mut(node)
        {
            host.disk.durable.clear();
            self.world.trace.line(format_args!("{node} loses its disk"), &[]);
        }
    }

    /// Starts a node that is down, from what is durable on its disk.
    pub fn restart(&mut self, node: NodeId) {
        if !self.world.is_up(node) {
            self.world.counters.restarts += 1;
            self.start(node);
        }
    }

    /// From now on nothing goes wrong by itself, and every partition is gone. Nodes that are down stay down
    /// (except those that chaos has promised to start again).
    pub fn heal(&mut self) {
        self.world.faults = self.world.faults.healed();
        for link in self.world.links.values_mut() {
            *link = link.healed();
        }
        self.world.blocked.clear();
        self.world.chaos_blocked.clear();
        self.world.trace.line(format_args!("all is healed"), &[]);
        self.world.tell(None, || What::Healed);
    }

    /// Changes the plan of faults.
    pub fn set_faults(&mut self, faults: Faults) {
        self.world.faults = faults;
        self.world.start_chaos();
    }

    /// Gives one direction between two nodes a link of its own.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.world.links.insert((from, to), link);
    }

    /// Has a node's clock jump ahead by so much.
    pub fn jump_clock(&mut self, node: NodeId, by: Nanos) {
        self.world.jump_clock(node, by);
    }

    /// Changes a node's clock, which may also go back.
    pub fn set_clock(&mut self, node: NodeId, clock: Clock) {
        self.world.set_clock(node, clock);
    }

    /// Changes the bounds of streams. To be set before there are any.
    pub fn set_stream_limits(&mut self, limits: StreamLimits) {
        self.world.limits = limits;
    }

    /// Keeps this many of the last lines of the trace (200 otherwise). The hash does not depend on it.
    pub fn keep_trace(&mut self, lines: usize) {
        self.world.trace.kept = lines;
    }

    /// Keeps this many of the last entries of the story (`usize::MAX` for all; 0, as it is unless asked for, for
    /// none). Neither the run nor its hash depends on it.
    pub fn keep_story(&mut self, entries: usize) {
        self.world.story.keep(entries);
    }

    /// Has every entry of the story from now on shown to `listener`, kept or not.
    pub fn on_entry(&mut self, listener: impl FnMut(&Entry) + 'static) {
        self.world.story.listen(Box::new(listener));
    }

    /// Puts a note into the story, where one is kept, and nowhere else.
    pub fn note(&mut self, node: Option<NodeId>, text: impl Into<String>) {
        self.world.tell(node, || What::Note(text.into()));
    }

    /// Draws for decisions of the user's own, such as when to move whom. Name lanes so that they do not clash
    /// with `link.`, `stream.`, `disk.`, `chaos.`, `boot.` and `faults.`.
    pub const fn choices(&mut self) -> &mut Choices {
        &mut self.world.choices
    }

    // What the user sees of it.

    /// The virtual time.
    #[must_use]
    pub const fn now(&self) -> Nanos {
        self.world.now
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<M> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(NodeId)
    }

    /// A node's machine, unless the node is down.
    #[must_use]
    pub fn machine(&self, node: NodeId) -> Option<&M> {
        self.nodes.get(node.index())?.machine.as_ref()
    }

    /// A node's addresses.
    #[must_use]
    pub fn addresses(&self, node: NodeId) -> &[IpAddr] {
        self.world.host(node).map_or(&[], |host| &host.addresses)
    }

    /// What a crash now would surely leave on a node's disk.
    #[must_use]
    pub fn durable(&self, node: NodeId) -> Option<&BTreeMap<Vec<u8>, Vec<u8>>> {
        self.world.host(node).map(|host| &host.disk.durable)
    }

    /// How many operations a node has asked of its disk since it was added.
    #[must_use]
    pub fn writes(&self, node: NodeId) -> u64 {
        self.world.host(node).map_or(0, |host| host.disk.asked)
    }

    /// The plan of faults as it is now.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.world.faults
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.world.counters
    }

    /// How many events reached a node so far.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The failure that ended the run, if one did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The hash over everything that happened so far.
    #[must_use]
    pub fn trace_hash(&self) -> TraceHash {
        self.world.trace.hash()
    }

    /// The last lines of the trace, oldest first.
    pub fn trace(&self) -> impl Iterator<Item = &str> {
        self.world.trace.lines()
    }

    /// The entries of the story that are kept, oldest first.
    pub fn story(&self) -> impl Iterator<Item = &Entry> {
        self.world.story.entries()
    }

    /// How many entries of the story are no longer kept.
    #[must_use]
    pub const fn story_dropped(&self) -> u64 {
        self.world.story.dropped
    }

    /// What the run drew, to replay it with [`Choices::from_recording`].
    #[must_use]
    pub const fn recording(&self) -> &crate::Recording {
        self.world.choices.recording()
    }
}

impl<M: Machine> fmt::Debug for Sim<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("now", &self.world.now)
            .field("steps", &self.steps)
            .field("nodes", &self.nodes.len())
            .field("choices", &self.world.choices)
            .finish_non_exhaustive()
    }
}

/// A test that panics in or around a run shows what led there, and how to have it again.
impl<M: Machine> Drop for Sim<M> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let origin = self.world.choices.origin();
            eprintln!("the simulation from {origin}, at its step {}; its last lines:", self.steps);
            for line in self.trace() {
                eprintln!("{line}");
            }
        }
    }
}
