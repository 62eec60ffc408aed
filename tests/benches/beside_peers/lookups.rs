//! A thousand nodes in one process, each with one random lookup: real cryptography, packets in memory that take
//! 10 to 50 milliseconds.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use coracle_core::{
    crypto::RustCrypto,
    discovery::{Config, Event, LookupOptions},
    id::NodeId,
    limits::MAX_PACKET_SIZE,
    record::Record,
    rng::Rng,
    time::Instant,
};
use cpu_time::ProcessTime;

use crate::{
    backend::Backend,
    ours::{
        codec,
        host::{Host, rng},
    },
};

/// Closest nodes that a lookup is after.
const K: usize = 16;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    /// Nodes.
    pub(crate) nodes: u32,
    /// Other nodes that each knows at the start.
    pub(crate) seeds: u32,
    /// Time from the start to the lookups, in milliseconds.
    pub(crate) wait: u64,
    /// Whether lookups end before all of the nearest were asked.
    pub(crate) quick: bool,
}

impl Trial {
    /// A thousand nodes that begin at once.
    pub(crate) const fn of_all(quick: bool) -> Self {
        Self { nodes: 1_000, seeds: 16, wait: 0, quick }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// CPU time a lookup, everything else that the nodes did meanwhile included.
    pub(crate) cpu: Duration,
    /// The part of the truly closest nodes that was found.
    pub(crate) found: f64,
    /// Packets a lookup.
    pub(crate) packets: f64,
    /// Signature checks a lookup.
    pub(crate) checks: f64,
    /// Sessions opened a lookup.
    pub(crate) sessions: f64,
    /// How long it all took, in the network's time.
    pub(crate) took: Duration,
}

struct Packet {
    at: Instant,
    serial: u64,
    from: SocketAddr,
    to: usize,
    bytes: Vec<u8>,
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// What a lookup of a node found.
struct Found {
    node: usize,
    target: NodeId,
    results: Vec<NodeId>,
}

/// The network.
pub(crate) struct World<B: Backend> {
    hosts: Vec<Host<B>>,
    ids: Vec<NodeId>,
    flying: BinaryHeap<Reverse<Packet>>,
    timers: BTreeSet<(Instant, usize)>,
    due: Vec<Option<Instant>>,
    now: Instant,
    serial: u64,
    rng: Rng,
    options: LookupOptions,
    /// Lookups under way, and what those found that ended.
    wanted: BTreeMap<usize, NodeId>,
    found: Vec<Found>,
}

impl<B: Backend> World<B> {
    /// Nodes that know a few others each.
    pub(crate) fn new(trial: Trial) -> Self {
        let config = Config { sessions: 512, challenges: 128, events: 256, ..Config::default() };
        let hosts: Vec<_> = (1..=trial.nodes).map(|number| Host::<B>::new(number, config.clone())).collect();
        let ids = hosts.iter().map(|host| host.identity.node_id()).collect();
        let records: Vec<Record> = hosts.iter().map(|host| host.discovery.local_record().clone()).collect();
        let due = vec![None; hosts.len()];
        let mut world = Self {
            hosts,
            ids,
            flying: BinaryHeap::new(),
            timers: BTreeSet::new(),
            due,
            now: Instant::from_millis(1),
            serial: 0,
            rng: rng(0),
            options: LookupOptions { quick: trial.quick, ..LookupOptions::default() },
            wanted: BTreeMap::new(),
            found: Vec::new(),
        };
        for i in 0..world.hosts.len() {
            for _ in 0..trial.seeds {
                let seed = world.rng.below(records.len() as u64) as usize;
                // Itself is refused.
                let _ = world.hosts[i].discovery.add_record(world.now, &records[seed], false);
            }
            world.flush(i);
        }
        world
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// One lookup by each node, until all have ended.
    pub(crate) fn look_up(&mut self) -> Outcome {
        let (began, start, serial) = (self.now, ProcessTime::now(), self.serial);
        let counted = |world: &Self| {
            let of = |f: fn(&coracle_core::discovery::Counters) -> u64| {
                world.hosts.iter().map(|host| f(host.discovery.counters())).sum::<u64>() as f64
            };
            (of(|c| c.signature_checks), of(|c| c.sessions_established))
        };
        let before = counted(self);
        self.found.clear();
        for i in 0..self.hosts.len() {
            let target = NodeId(self.rng.array());
            self.hosts[i].discovery.lookup_with(self.now, target, self.options).unwrap();
            self.wanted.insert(i, target);
            self.flush(i);
        }
        while !self.wanted.is_empty() && self.step(Instant::FAR_FUTURE) {}
        let (cpu, each, after) = (start.elapsed(), self.hosts.len() as f64, counted(self));
        Outcome {
            cpu: cpu.div_f64(each),
            found: self.found.iter().map(|found| self.part_of_closest(found)).sum::<f64>() / each,
            packets: (self.serial - serial) as f64 / each,
            checks: (after.0 - before.0) / each,
            sessions: (after.1 - before.1) / each,
            took: self.now.since(began),
        }
    }

    /// What happens next, if it is before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let packet = self.flying.peek().map(|Reverse(packet)| packet.at);
        let timer = self.timers.first().map(|(at, _)| *at);
        let next = packet.into_iter().chain(timer).min();
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        let touched = if packet == Some(next) {
            let Some(Reverse(mut packet)) = self.flying.pop() else { return false };
            self.hosts[packet.to].handle(self.now, packet.from, &mut packet.bytes);
            packet.to
        } else {
            let Some((_, i)) = self.timers.pop_first() else { return false };
            self.due[i] = None;
            self.hosts[i].discovery.handle_timeout(self.now);
            i
        };
        self.flush(touched);
        true
    }

    /// Sends what a node has to send, hears what it tells, and notes when it is due.
    fn flush(&mut self, i: usize) {
        let mut buf = [0; MAX_PACKET_SIZE];
        loop {
            let host = &mut self.hosts[i];
            if let Some((to, len)) = host.poll(self.now, &mut buf) {
                let from = host.endpoint;
                self.send(from, to, &buf[..len]);
                continue;
            }
            let Some(event) = host.discovery.poll_event() else { break };
            if let Event::LookupDone { lookup, target, .. } = event
                && self.wanted.get(&i) == Some(&target)
            {
                let results: Vec<_> =
                    self.hosts[i].discovery.lookup_results(lookup).iter().map(Record::node_id).collect();
                self.wanted.remove(&i);
                self.found.push(Found { node: i, target, results });
            }
        }
        let due = self.hosts[i].discovery.next_timeout();
        if due != self.due[i] {
            if let Some(before) = self.due[i] {
                self.timers.remove(&(before, i));
            }
            if let Some(due) = due {
                self.timers.insert((due, i));
            }
            self.due[i] = due;
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let IpAddr::V4(ip) = to.ip() else { return };
        let number = (u32::from(ip) - 0x7f00_0000) as usize;
        if number == 0 || number > self.hosts.len() {
            return;
        }
        self.serial += 1;
        let at = self.now + Duration::from_micros(10_000 + self.rng.below(40_000));
        let packet = Packet { at, serial: self.serial, from, to: number - 1, bytes: bytes.to_vec() };
        self.flying.push(Reverse(packet));
    }

    /// Which part of the closest others to its target a lookup found.
    fn part_of_closest(&self, found: &Found) -> f64 {
        let distance = |id: &NodeId| -> [u8; 32] { std::array::from_fn(|at| id.0[at] ^ found.target.0[at]) };
        let mut others: Vec<_> = self.ids.iter().filter(|id| **id != self.ids[found.node]).collect();
        others.sort_by_cached_key(|id| distance(id));
        let closest = &others[..K.min(others.len())];
        closest.iter().filter(|id| found.results.contains(id)).count() as f64 / closest.len() as f64
    }
}

/// Prints an outcome; `verify`: what a verification takes here.
fn print(name: &str, verify: Duration, outcome: Outcome) {
    let Outcome { cpu, found, packets, checks, sessions, took } = outcome;
    println!(
        "{name}: {:.2} ms CPU a lookup, as much as {:.0} verifications (k256); {:.1} % of the closest {K} found; \
         {packets:.0} packets, {checks:.0} signature checks, {sessions:.0} session ends a lookup; {:.1} s of the \
         network's time",
        cpu.as_secs_f64() * 1e3,
        cpu.as_secs_f64() / verify.as_secs_f64(),
        found * 100.0,
        took.as_secs_f64()
    );
}

/// What a verification takes now, with the default cryptography: the best of a few batches.
fn verification() -> Duration {
    let (mut op, runs) = (codec::verify::<RustCrypto>(), 200);
    let batch = |_| {
        let start = ProcessTime::now();
        op.repeat(runs, |run| run());
        start.elapsed() / runs as u32
    };
    (0..10).map(batch).min().unwrap_or_default()
}

/// Prints both outcomes.
pub(crate) fn run<B: Backend>(trial: Trial) {
    println!("{trial:?}, backend {}", B::NAME);
    let start = ProcessTime::now();
    let mut world = World::<B>::new(trial);
    println!("made in {:.1} s", start.elapsed().as_secs_f64());
    let start = ProcessTime::now();
    world.run_for(Duration::from_millis(trial.wait));
    println!(
        "before the lookups: {:.2} ms CPU a node",
        start.elapsed().as_secs_f64() * 1e3 / f64::from(trial.nodes)
    );
    // Before and after each, since what else the machine does changes.
    let mut verify = verification();
    for name in ["cold", "warm"] {
        let outcome = world.look_up();
        let after = verification();
        print(name, (verify + after) / 2, outcome);
        world.run_for(Duration::from_secs(30));
        verify = verification();
    }
}
