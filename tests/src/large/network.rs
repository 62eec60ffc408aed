//! A network of discovery nodes: how they join, and what the whole cost.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant as Wall;

use coracle_core::crypto::{Crypto, Identity, SecretKey};
use coracle_core::discovery::Config;
use coracle_core::id::NodeId;
use coracle_core::record::Record;
use coracle_sim::{Choices, Failure, Faults, MILLISECOND, NodeId as HostId, SECOND, Sim};

use super::host::{Host, Node, record};

/// What a network is made of.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes, the bootnode among them.
    pub nodes: u32,
    /// Datagrams that are lost, in per cent.
    pub loss: u32,
    /// Seconds for which it runs once all have joined.
    pub settle: u64,
    /// From which everything follows.
    pub seed: u64,
}

/// Nodes that join in one second.
const JOIN: u32 = 50;

/// A network of nodes with this cryptography.
pub struct Network<C: Crypto> {
    /// The simulation.
    pub sim: Sim<Host<C>>,
    /// The nodes; the first one is the bootnode.
    pub nodes: Vec<HostId>,
    /// Their ids.
    pub ids: Vec<NodeId>,
    began: Wall,
}

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Virtual seconds.
    pub time: u64,
    /// Real milliseconds.
    pub millis: u64,
    /// Events of the simulation.
    pub events: u64,
    /// Datagrams that were sent.
    pub datagrams: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, millis, events, datagrams } = self;
        let (seconds, tenths) = (millis / 1_000, millis % 1_000 / 100);
        let ratio = time * 10_000 / millis.max(&1);
        write!(
            f,
            "{time} virtual seconds in {seconds}.{tenths} real ones ({}.{} times real time), {events} events, \
             {datagrams} datagrams",
            ratio / 10,
            ratio % 10
        )
    }
}

/// The key of the node with this number.
pub fn key(number: u32) -> [u8; 32] {
    let mut key = [1; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key
}

/// Where the node with this number is after so many moves: in a /24 of its own.
pub fn address(number: u32, moves: u32) -> Ipv4Addr {
    // A /8 for each round of moves has room for 65,536 nodes.
    Ipv4Addr::from(0x0b00_0001 + moves * 0x0100_0000 + number * 0x100)
}

impl<C: Crypto + Clone + Default + 'static> Network<C> {
    /// The network, all of its nodes joined and `size.settle` seconds later. `first` may add others to the world
    /// before the second node joins.
    ///
    /// # Errors
    ///
    /// None is expected: nobody watches.
    ///
    /// # Panics
    ///
    /// If an address is taken.
    pub fn new(
        size: Size,
        config: &Config,
        first: impl FnOnce(&mut Sim<Host<C>>, &[Record]),
    ) -> Result<Self, Failure> {
        let began = Wall::now();
        let mut faults = Faults::none();
        faults.link.latency = 20 * MILLISECOND;
        faults.link.jitter = 30 * MILLISECOND;
        faults.link.loss = size.loss * 10_000;
        let mut sim = Sim::new(Choices::from_seed(size.seed).without_recording(), faults);
        sim.keep_trace(0);
        let identity =
            |number| Identity::new(C::default(), SecretKey::from_bytes(&key(number)).expect("a valid key"));
        let identities: Vec<_> = (0..size.nodes).map(identity).collect();
        let numbered = (0..size.nodes).zip(&identities);
        let records: Vec<_> = numbered.map(|(n, identity)| record(identity, address(n, 0), 1)).collect();
        first(&mut sim, &records);
        let mut nodes = Vec::new();
        for number in 0..size.nodes {
            let (bootnode, config) = ((number > 0).then(|| records[0].clone()), config.clone());
            let factory = move |boot: coracle_sim::Boot<'_>| {
                Host::Node(Box::new(Node::new(C::default(), &key(number), &config, bootnode.as_ref(), &boot)))
            };
            nodes.push(sim.add_node(IpAddr::V4(address(number, 0)), factory).expect("a free address"));
            sim.run_for(SECOND / u64::from(JOIN))?;
        }
        sim.run_for(size.settle * SECOND)?;
        let ids = identities.iter().map(Identity::node_id).collect();
        Ok(Self { sim, nodes, ids, began })
    }
}

impl<C: Crypto> Network<C> {
    /// A node.
    ///
    /// # Panics
    ///
    /// If it is none, or down.
    pub fn node(&self, number: usize) -> &Node<C> {
        match self.sim.machine(self.nodes[number]) {
            Some(Host::Node(node)) => node,
            _ => panic!("{} is no node that is up", self.nodes[number]),
        }
    }

    /// A number below `below`, drawn.
    pub fn draw(&mut self, lane: &'static str, turn: u64, below: usize) -> usize {
        usize::try_from(self.sim.choices().lane(lane, turn).between(0, below as u64 - 1)).unwrap_or(0)
    }

    /// How many nodes a node's table holds on average.
    pub fn known(&self) -> usize {
        let known: usize = (0..self.nodes.len()).map(|n| self.node(n).discovery().node_count()).sum();
        known / self.nodes.len().max(1)
    }

    /// What it cost so far.
    pub fn cost(&self) -> Cost {
        Cost {
            time: self.sim.now() / SECOND,
            millis: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            events: self.sim.steps(),
            datagrams: self.sim.counters().datagrams_sent,
        }
    }
}
