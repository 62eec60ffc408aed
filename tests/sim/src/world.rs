//! Everything around the machines: hosts, agenda, links, streams, disks, trace.
//!
//! Purpose: [`World`] knows nothing of the type of machine. It takes what machines do (through
//! [`Context`](crate::Context)), and turns what falls due into at most one [`Delivery`] at a time for
//! [`Sim`](crate::Sim) to hand over.
//!
//! Invariants: an address has at most one owner; what belongs to a machine that crashed (deadline, ports,
//! streams, unfinished writes) goes with it, so nothing of it reaches the machine that starts later.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::choices::Choices;
use crate::counters::Counters;
use crate::disk::{Change, Disk, Write};
use crate::faults::{DiskFaults, Faults, Link};
use crate::machine::{Event, NodeId, StreamId, WriteId};
use crate::nat::{Nat, NatId};
use crate::story::{Fate, PacketId, Story, What};
use crate::stream::{Connection, StreamLimits, StreamStep};
use crate::time::{Agenda, Clock, Nanos, SECOND, Slot};
use crate::trace::Trace;

/// The first port given to those who ask for any.
const FIRST_EPHEMERAL: u16 = 49_152;

pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) agenda: Agenda<Happening>,
    pub(crate) choices: Choices,
    pub(crate) faults: Faults,
    pub(crate) links: BTreeMap<(NodeId, NodeId), Link>,
    /// Ordered pairs between which nothing passes, by the user's word.
    pub(crate) blocked: BTreeSet<(NodeId, NodeId)>,
    /// The same, by chaos.
    pub(crate) chaos_blocked: BTreeSet<(NodeId, NodeId)>,
    pub(crate) owners: BTreeMap<IpAddr, NodeId>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) nats: Vec<Nat>,
    /// When what waits before a narrow link will have left.
    pub(crate) busy: BTreeMap<(NodeId, NodeId), Nanos>,
    pub(crate) streams: BTreeMap<u64, Connection>,
    pub(crate) next_stream: u64,
    pub(crate) limits: StreamLimits,
    next_write: u64,
    pub(crate) next_packet: u64,
    pub(crate) chaos_runs: bool,
    pub(crate) trace: Trace,
    pub(crate) story: Story,
    pub(crate) counters: Counters,
}

/// A node without its machine.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) clock: Clock,
    pub(crate) nat: Option<NatId>,
    pub(crate) up: bool,
    /// The machine reached a crash point in the midst of a call: nothing it does counts any more.
    pub(crate) doomed: bool,
    pub(crate) starts: u32,
    pub(crate) datagram_ports: BTreeSet<u16>,
    pub(crate) listening: BTreeSet<u16>,
    next_port: u16,
    deadline: Option<(Slot, Nanos)>,
    pub(crate) disk: Disk,
}

/// A datagram on its way, without its bytes and addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) id: PacketId,
    pub(crate) sender: NodeId,
    pub(crate) sent_at: Nanos,
}

/// An entry of the agenda.
#[derive(Debug)]
pub(crate) enum Happening {
    Datagram {
        packet: Packet,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Stream(StreamStep),
    Timer(NodeId),
    WriteDone {
        node: NodeId,
        id: WriteId,
    },
    /// An event for the machine that had been started this many times when it was put down.
    Notify {
        node: NodeId,
        starts: u32,
        event: Event,
    },
    ChaosTick,
    Crash(NodeId),
    Restart(NodeId),
    Unblock(NodeId, NodeId),
}

/// What is to be handed to a machine now.
pub(crate) enum Delivery {
    Datagram { node: NodeId, packet: Packet, local: SocketAddr, from: SocketAddr, bytes: Vec<u8> },
    Bytes { node: NodeId, stream: StreamId },
    Finish { node: NodeId, stream: StreamId },
    Event { node: NodeId, event: Event },
    Timeout(NodeId),
    Crash(NodeId),
    Restart(NodeId),
}

impl Host {
    pub(crate) fn new(addresses: Vec<IpAddr>, clock: Clock, nat: Option<NatId>) -> Self {
        Self { addresses, clock, nat, ..Self::default() }
    }
}

impl World {
    pub(crate) fn new(choices: Choices, faults: Faults) -> Self {
        let mut world = Self {
            now: 0,
            agenda: Agenda::new(),
            choices,
            faults,
            links: BTreeMap::new(),
            blocked: BTreeSet::new(),
            chaos_blocked: BTreeSet::new(),
            owners: BTreeMap::new(),
            hosts: Vec::new(),
            nats: Vec::new(),
            busy: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            limits: StreamLimits::default(),
            next_write: 0,
            next_packet: 0,
            chaos_runs: false,
            trace: Trace::new(),
            story: Story::default(),
            counters: Counters::default(),
        };
        world.start_chaos();
        world
    }

    pub(crate) fn host(&self, node: NodeId) -> Option<&Host> {
        self.hosts.get(node.index())
    }

    pub(crate) fn host_mut(&mut self, node: NodeId) -> Option<&mut Host> {
        self.hosts.get_mut(node.index())
    }

    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.host(node).is_some_and(|host| host.up)
    }

    pub(crate) fn local_time(&self, node: NodeId) -> Nanos {
        let clock = self.host(node).map_or_else(Clock::default, |host| host.clock);
        clock.shows(self.now)
    }

    /// Takes the next entry off the agenda, if it is due by `until`. The inner `None`: it reached no machine.
    pub(crate) fn advance(&mut self, until: Nanos) -> Option<Option<Delivery>> {
        if self.agenda.next_time()? > until {
            return None;
        }
        let (at, happening) = self.agenda.pop()?;
        self.set_now(at);
        Some(self.happen(happening))
    }

    pub(crate) fn set_now(&mut self, at: Nanos) {
        self.now = self.now.max(at);
        self.trace.now = self.now;
    }

    /// Puts down an entry of the story, if anybody reads it.
    pub(crate) fn tell(&mut self, node: impl Into<Option<NodeId>>, what: impl FnOnce() -> What) {
        if self.story.is_told() {
            self.story.tell(self.now, node.into(), what());
        }
    }

    fn happen(&mut self, happening: Happening) -> Option<Delivery> {
        match happening {
            Happening::Datagram { packet, from, to, bytes } => self.arrive_datagram(packet, from, to, bytes),
            Happening::Stream(step) => self.step_stream(step),
            Happening::Timer(node) => {
                self.host_mut(node)?.deadline = None;
                Some(Delivery::Timeout(node))
            }
            Happening::WriteDone { node, id } => self.finish_write(node, id),
            Happening::Notify { node, starts, event } => {
                let host = self.host(node)?;
                (host.up && host.starts == starts).then_some(Delivery::Event { node, event })
            }
            Happening::ChaosTick => {
                self.chaos_tick();
                None
            }
            Happening::Crash(node) => self.is_up(node).then_some(Delivery::Crash(node)),
            Happening::Restart(node) => (!self.is_up(node)).then_some(Delivery::Restart(node)),
            Happening::Unblock(a, b) => {
                self.chaos_blocked.remove(&(a, b));
                self.tell(None, || What::Rejoined { from: a, to: b });
                self.trace.line(format_args!("{a} -> {b} passes again"), &[]);
                None
            }
        }
    }

    // Hosts.

    /// Gives the node these addresses instead of the ones it has. Answers an address that is another node's.
    pub(crate) fn assign(&mut self, node: NodeId, addresses: &[IpAddr]) -> Result<(), IpAddr> {
        let taken = |ip: &&IpAddr| {
            let of_nat = self.nats.iter().any(|nat| nat.config.address == **ip);
            of_nat || self.owners.get(ip).is_some_and(|owner| *owner != node)
        };
        if let Some(ip) = addresses.iter().find(taken) {
            return Err(*ip);
        }
        self.owners.retain(|_, owner| *owner != node);
        for ip in addresses {
            self.owners.insert(*ip, node);
        }
        if let Some(host) = self.host_mut(node) {
            host.addresses = addresses.to_vec();
        }
        Ok(())
    }

    /// Takes everything from a node that goes with its machine.
    pub(crate) fn crash(&mut self, node: NodeId) {
        self.counters.crashes += 1;
        self.trace.line(format_args!("{node} crashes"), &[]);
        self.tell(node, || What::Crashed);
        self.set_deadline(node, None);
        let plan = self.faults.disk;
        let Self { hosts, choices, counters, trace, story, now, .. } = self;
        if let Some(host) = hosts.get_mut(node.index()) {
            host.up = false;
            host.doomed = false;
            host.datagram_ports.clear();
            host.listening.clear();
            let mut dice =
                CrashDice { choices, plan, lane: u64::from(node.0), in_order: None, tail_lost: false };
            host.disk.crash(|write| {
                let (id, fate) = (write.id, dice.fate(write));
                let (word, counter) = match fate {
                    Fate::Kept => ("kept", &mut counters.writes_kept),
                    Fate::Lost => ("lost", &mut counters.writes_lost),
                    Fate::Torn(_) => ("torn", &mut counters.writes_torn),
                };
                *counter += 1;
                trace.line(format_args!("{node} unfinished {id} is {word}"), &[]);
                if story.is_told() {
                    story.tell(*now, Some(node), What::Unfinished { write: id, fate });
                }
                fate
            });
        }
        self.abandon_streams(node, None);
    }

    pub(crate) fn set_deadline(&mut self, node: NodeId, deadline: Option<Nanos>) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(node.index()) else {
            return;
        };
        if let Some((slot, _)) = host.deadline.take() {
            self.agenda.cancel(slot);
        }
        if let Some(local) = deadline {
            let at = host.clock.reaches(local).max(now);
            host.deadline = Some((self.agenda.push(at, Happening::Timer(node)), local));
        }
    }

    pub(crate) fn set_clock(&mut self, node: NodeId, clock: Clock) {
        let Some(host) = self.host_mut(node) else {
            return;
        };
        host.clock = clock;
        let deadline = host.deadline.map(|(_, local)| local);
        self.set_deadline(node, deadline);
        let shows = self.local_time(node);
        self.trace.line(format_args!("the clock of {node} shows {shows}"), &[]);
        self.tell(node, || What::ClockSet { shows });
    }

    /// A port of this host that is not in use, or `port` itself if it is not 0.
    pub(crate) fn choose_port(&mut self, node: NodeId, port: u16) -> u16 {
        let Some(host) = self.host_mut(node) else {
            return port;
        };
        if port != 0 {
            return port;
        }
        loop {
            let port = host.next_port.max(FIRST_EPHEMERAL);
            host.next_port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL);
            if !host.datagram_ports.contains(&port) && !host.listening.contains(&port) {
                return port;
            }
        }
    }

    /// The node's own address to speak to `to` from.
    pub(crate) fn source_for(&self, node: NodeId, to: SocketAddr) -> Option<IpAddr> {
        let mut addresses = self.host(node)?.addresses.iter();
        addresses.find(|ip| ip.is_ipv4() == to.is_ipv4()).copied()
    }

    pub(crate) fn notify(&mut self, node: NodeId, event: Event) {
        let starts = self.host(node).map_or(0, |host| host.starts);
        let happening = Happening::Notify { node, starts, event };
        self.agenda.push(self.now, happening);
    }

    // Disks.

    /// Asks the disk for a change. Values and syncs are told when they are done; parts of files never are.
    pub(crate) fn change_disk(&mut self, node: NodeId, key: &[u8], change: Change) -> WriteId {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.counters.writes += 1;
        let plan = self.faults.disk;
        let lane = u64::from(node.0);
        let is_told = !matches!(change, Change::Part { .. });
        let (mut at, mut fails) = (self.now, false);
        if is_told {
            let delay = plan.latency + self.choices.lane("disk.jitter", lane).between(0, plan.jitter);
            at = at.saturating_add(delay);
            fails = self.choices.lane("disk.fail", lane).chance(plan.fail);
        }
        if let Some(host) = self.host_mut(node) {
            host.doomed |= host.disk.begin(Write { id, key: key.to_vec(), change, fails });
            if is_told {
                at = at.max(host.disk.last_done);
                host.disk.last_done = at;
                self.agenda.push(at, Happening::WriteDone { node, id });
            }
        }
        id
    }

    fn finish_write(&mut self, node: NodeId, id: WriteId) -> Option<Delivery> {
        // A write from before a crash is no longer there, and its completion means nothing.
        let stored = self.host_mut(node)?.disk.finish(id)?;
        self.counters.writes_failed += u64::from(!stored);
        let event = if stored { Event::Stored(id) } else { Event::StoreFailed(id) };
        Some(Delivery::Event { node, event })
    }

    // Chaos.

    /// Makes sure that the dice are thrown every second while there is chaos in the plan.
    pub(crate) fn start_chaos(&mut self) {
        let chaos = self.faults.chaos;
        let rates = [chaos.crash, chaos.partition, chaos.nat_reboot, chaos.clock_jump];
        if !self.chaos_runs && rates.iter().any(|rate| *rate > 0) {
            self.chaos_runs = true;
            self.agenda.push(self.now + SECOND, Happening::ChaosTick);
        }
    }

    fn chaos_tick(&mut self) {
        self.chaos_runs = false;
        let nodes = || (0..u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)).map(NodeId);
        let pairs: Vec<_> = nodes().flat_map(|a| nodes().map(move |b| (a, b))).collect();
        for (a, b) in pairs {
            if a == b {
                self.maybe_crash(a);
                self.maybe_jump(a);
            } else if !self.chaos_blocked.contains(&(a, b)) {
                self.maybe_cut(a, b);
            }
        }
        for number in 0..u32::try_from(self.nats.len()).unwrap_or(u32::MAX) {
            if self.choices.lane("chaos.nat_reboot", number.into()).chance(self.faults.chaos.nat_reboot) {
                self.reboot_nat(NatId(number), None);
            }
        }
        self.start_chaos();
    }

    /// A NAT forgets its mappings, and has this address from now on, if one is given.
    pub(crate) fn reboot_nat(&mut self, nat: NatId, address: Option<IpAddr>) {
        let Some(entry) = self.nats.get_mut(nat.index()) else {
            return;
        };
        entry.reboot();
        let address = address.unwrap_or(entry.config.address);
        entry.config.address = address;
        self.counters.nat_reboots += 1;
        self.trace.line(format_args!("{nat} reboots at {address}"), &[]);
        self.tell(None, || What::NatRebooted { nat, address });
    }

    fn maybe_jump(&mut self, node: NodeId) {
        let chaos = self.faults.chaos;
        let lane = u64::from(node.0);
        if self.choices.lane("chaos.clock_jump", lane).chance(chaos.clock_jump) {
            let mut by = self.choices.lane("chaos.clock_jump_by", lane);
            let by = by.between(1, chaos.clock_jump_by.max(1));
            self.jump_clock(node, by);
        }
    }

    /// A clock jumps ahead.
    pub(crate) fn jump_clock(&mut self, node: NodeId, by: Nanos) {
        if let Some(mut clock) = self.host(node).map(|host| host.clock) {
            clock.offset = clock.offset.saturating_add(by);
            self.counters.clock_jumps += 1;
            self.set_clock(node, clock);
        }
    }

    fn maybe_cut(&mut self, a: NodeId, b: NodeId) {
        let chaos = self.faults.chaos;
        let lane = pair(a, b);
        let mut draw = self.choices.lane("chaos.partition", lane);
        if draw.chance(chaos.partition) {
            let mut time = self.choices.lane("chaos.partition_for", lane);
            let time = time.between(1, chaos.partition_for.max(1));
            self.counters.partitions += 1;
            self.chaos_blocked.insert((a, b));
            self.tell(None, || What::Cut { from: a, to: b });
            self.trace.line(format_args!("{a} -> {b} is cut"), &[]);
            self.agenda.push(self.now + time, Happening::Unblock(a, b));
        }
    }

    fn maybe_crash(&mut self, node: NodeId) {
        let chaos = self.faults.chaos;
        let lane = u64::from(node.0);
        if self.is_up(node) && self.choices.lane("chaos.crash", lane).chance(chaos.crash) {
            let mut time = self.choices.lane("chaos.down_for", lane);
            let time = time.between(1, chaos.down_for.max(1));
            self.agenda.push(self.now, Happening::Crash(node));
            self.agenda.push(self.now + time, Happening::Restart(node));
        }
    }
}

/// What decides the unfinished writes of one crash, oldest first.
struct CrashDice<'a> {
    choices: &'a mut Choices,
    plan: DiskFaults,
    lane: u64,
    /// Drawn at the first write.
    in_order: Option<bool>,
    tail_lost: bool,
}

impl CrashDice<'_> {
    fn fate(&mut self, write: &Write) -> Fate {
        let Self { choices, plan, lane, .. } = self;
        let in_order =
            *self.in_order.get_or_insert_with(|| !choices.lane("disk.reorder", *lane).chance(plan.reorder));
        if self.tail_lost || choices.lane("disk.lose", *lane).chance(plan.lose) {
            self.tail_lost = in_order;
            return Fate::Lost;
        }
        let (length, rate) = match write.change {
            Change::Part { .. } => (write.change.length(), plan.tear),
            _ => (write.change.length(), plan.tear_values),
        };
        if length > 1 && choices.lane("disk.tear", *lane).chance(rate) {
            let kept = choices.lane("disk.tear_at", *lane).between(1, length as u64 - 1);
            // What comes after a torn write in the same order is lost too.
            self.tail_lost = in_order;
            return Fate::Torn(usize::try_from(kept).unwrap_or(1));
        }
        Fate::Kept
    }
}

/// The index of a lane for what happens from one node to another.
pub(crate) fn pair(from: NodeId, to: NodeId) -> u64 {
    (u64::from(from.0) << 32) | u64::from(to.0)
}
