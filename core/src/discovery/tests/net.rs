//! Nodes in memory: each has an endpoint, packets take time, and a rule decides each packet's fate.

use core::{net::SocketAddr, time::Duration};
use std::{boxed::Box, collections::BTreeMap, vec::Vec};

use crate::{
    crypto::{Identity, RustCrypto, SecretKey},
    discovery::{Config, Counters, Discovery, Event, LookupId},
    id::NodeId,
    limits::MAX_PACKET_SIZE,
    record::{Builder, Record},
    rng::Seed,
    time::Instant,
};

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Deliver,
    Drop,
    Twice,
}

/// A packet under way, as a rule sees it.
pub(super) struct Flying<'a> {
    /// The how manieth packet of the network this is.
    pub(super) count: usize,
    pub(super) bytes: &'a [u8],
}

pub(super) struct Node {
    pub(super) identity: Identity<RustCrypto>,
    pub(super) discovery: Discovery,
    pub(super) endpoint: SocketAddr,
    pub(super) events: Vec<Event>,
    up: bool,
}

impl Node {
    pub(super) fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    pub(super) fn record(&self) -> Record {
        self.discovery.local_record().clone()
    }

    pub(super) fn counters(&self) -> &Counters {
        self.discovery.counters()
    }
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    flying: BTreeMap<(Instant, usize), (SocketAddr, SocketAddr, Vec<u8>)>,
    pub(super) count: usize,
    pub(super) latency: Duration,
    pub(super) rule: Box<dyn FnMut(&Flying<'_>) -> Fate>,
    /// Every packet that was sent: when, from, to, bytes.
    pub(super) log: Vec<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    /// What each lookup gathered.
    pub(super) results: Vec<(LookupId, Vec<NodeId>)>,
}

pub(super) fn identity(n: u8) -> Identity<RustCrypto> {
    Identity::new(RustCrypto, SecretKey::from_bytes(&[n + 1; 32]).unwrap())
}

pub(super) fn endpoint(n: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, n + 1], port))
}

pub(super) fn record(identity: &Identity<RustCrypto>, seq: u64, endpoint: SocketAddr) -> Record {
    let mut builder = Builder::new();
    match endpoint {
        SocketAddr::V4(to) => builder.set_ip4(Some(*to.ip())).unwrap().set_udp4(Some(to.port())).unwrap(),
        SocketAddr::V6(to) => builder.set_ip6(Some(*to.ip())).unwrap().set_udp6(Some(to.port())).unwrap(),
    };
    builder.sign(seq, identity).unwrap()
}

impl Net {
    pub(super) fn new() -> Self {
        Self {
            now: Instant::from_millis(1),
            nodes: Vec::new(),
            flying: BTreeMap::new(),
            count: 0,
            latency: Duration::from_millis(10),
            rule: Box::new(|_| Fate::Deliver),
            log: Vec::new(),
            results: Vec::new(),
        }
    }

    /// A network of `n` nodes that do not know each other.
    pub(super) fn of(n: u8) -> Self {
        let mut net = Self::new();
        for i in 0..n {
            net.add(i, endpoint(i, 9000), Config::default());
        }
        net
    }

    pub(super) fn add(&mut self, n: u8, endpoint: SocketAddr, config: Config) {
        let identity = identity(n);
        let record = record(&identity, 1, endpoint);
        self.add_with(n, endpoint, config, &record);
    }

    pub(super) fn add_with(&mut self, n: u8, endpoint: SocketAddr, config: Config, record: &Record) {
        let identity = identity(n);
        let discovery = Discovery::new(config, record, Seed::new([n; 32]).stream("discovery"));
        self.nodes.push(Node { identity, discovery, endpoint, events: Vec::new(), up: true });
    }

    /// Sends what every node has to send, and collects events.
    pub(super) fn flush(&mut self) {
        for i in 0..self.nodes.len() {
            let mut buf = [0; MAX_PACKET_SIZE];
            let node = &mut self.nodes[i];
            if !node.up {
                continue;
            }
            let from = node.endpoint;
            let mut out = Vec::new();
            while let Some((to, len)) = node.discovery.poll_transmit(&node.identity, self.now, &mut buf) {
                out.push((to, buf[..len].to_vec()));
            }
            while let Some(event) = node.discovery.poll_event() {
                if let Event::LookupDone { lookup, .. } = &event {
                    let results = node.discovery.lookup_results(*lookup).iter().map(Record::node_id);
                    self.results.push((*lookup, results.collect()));
                }
                node.events.push(event);
            }
            for (to, bytes) in out {
                self.send(from, to, bytes);
            }
        }
    }

    /// Puts a packet on its way, as if it came from `from`.
    pub(super) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let flying = Flying { count: self.count, bytes: &bytes };
        let copies = match (self.rule)(&flying) {
            Fate::Deliver => 1,
            Fate::Drop => 0,
            Fate::Twice => 2,
        };
        self.log.push((self.now, from, to, bytes.clone()));
        for _ in 0..copies {
            self.flying.insert((self.now + self.latency, self.count), (from, to, bytes.clone()));
            self.count += 1;
        }
        if copies == 0 {
            self.count += 1;
        }
    }

    /// Lets everything happen until `end`.
    pub(super) fn run_until(&mut self, end: Instant) {
        let (mut at, mut turns) = (self.now, 0);
        loop {
            // A machine that always has something due would spin here for ever.
            turns = if at == self.now { turns + 1 } else { 0 };
            at = self.now;
            assert!(turns < 10_000, "time does not pass");
            self.flush();
            let packet = self.flying.keys().next().map(|(at, _)| *at);
            let timers = self.nodes.iter().filter(|n| n.up).filter_map(|n| n.discovery.next_timeout());
            let next = packet.into_iter().chain(timers).min().unwrap_or(Instant::FAR_FUTURE);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (from, to, mut bytes) = entry.remove();
                if let Some(node) = self.nodes.iter_mut().find(|n| n.endpoint == to && n.up) {
                    node.discovery.handle_datagram(&node.identity, self.now, from, &mut bytes);
                }
                self.flush();
            }
            for node in self.nodes.iter_mut().filter(|n| n.up) {
                node.discovery.handle_timeout(self.now);
            }
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// The node's process ends; a later node with the same key may take its place.
    pub(super) fn stop(&mut self, i: usize) {
        self.nodes[i].up = false;
    }

    /// Takes the events of a node so far.
    pub(super) fn events(&mut self, i: usize) -> Vec<Event> {
        core::mem::take(&mut self.nodes[i].events)
    }

    /// A PING from `a` to `b` by its record.
    pub(super) fn ping(&mut self, a: usize, b: usize) -> crate::discovery::RequestId {
        let to = self.nodes[b].record();
        self.nodes[a].discovery.ping(self.now, &to).unwrap()
    }

    /// Whether the last events of `i` say that this PING was answered.
    pub(super) fn ponged(&self, i: usize, id: crate::discovery::RequestId) -> bool {
        self.nodes[i].events.iter().any(|e| matches!(e, Event::Pong { request, .. } if *request == id))
    }
}
