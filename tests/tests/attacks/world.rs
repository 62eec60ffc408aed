//! The world of these tests: nodes of ours, and foes, in the simulator.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant as Wall,
};

use coracle_core::{
    crypto::{Identity, SecretKey},
    discovery::{Config, Counters, Discovery, Event},
    id::NodeId,
    limits::MAX_PACKET_SIZE,
    record::{Builder, Record},
    rng::Seed,
    time::Instant,
};
use coracle_sim::{Choices, Context, Faults, MILLISECOND, Machine, NodeId as HostId, Sim};

use crate::{
    ledger::{Ledger, WHOAREYOU},
    meter::{Counting, Meter},
};

/// The port of every node of ours.
pub(crate) const PORT: u16 = 9000;
/// The TALK protocol that every node of ours answers.
pub(crate) const TALK: &[u8] = b"attacks";

pub(crate) type World = Sim<Host>;
pub(crate) type Cx<'a> = Context<'a, ()>;

/// Somebody who means no good: gets every datagram to its host, and says when it wants to act again.
pub(crate) trait Foe {
    /// Acts; when again. The first time is at its start.
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64>;
    fn hear(&mut self, _cx: &mut Cx<'_>, _local: SocketAddr, _from: SocketAddr, _bytes: &[u8]) {}
    /// What it counted, by name.
    fn count(&self, _what: &str) -> u64 {
        0
    }
}

/// A machine of the simulation.
#[allow(clippy::large_enum_variant)] // a handful of each
pub(crate) enum Host {
    Node(Box<Node>),
    Foe { foe: Box<dyn Foe>, ports: Vec<u16> },
}

/// What a node of ours is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Keeps a record; of a member, if it is one.
    Add(Record, bool),
    Ping(Record),
    Talk(Record),
    FindNode(Record, Vec<u16>),
    LookUp(NodeId),
    /// Keeps all datagrams that come from now on.
    Tape,
}

/// What a node told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Requests that were begun, answered and not answered.
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// TALKREQs that came.
    pub(crate) talks: u64,
    pub(crate) votes: u64,
    pub(crate) reachable: u64,
    pub(crate) unreachable: u64,
    /// Lookups that ended: for whom, and the sequence number found.
    pub(crate) found: Vec<(NodeId, Option<u64>)>,
}

/// A node of ours: `Discovery` and what is watched of it.
pub(crate) struct Node {
    pub(crate) identity: Identity<Counting>,
    pub(crate) discovery: Discovery<Counting>,
    pub(crate) told: Told,
    pub(crate) ledger: Ledger,
    pub(crate) meter: Meter,
    /// Datagrams that came, where they are kept: from whom, and their bytes.
    pub(crate) tape: Option<Vec<(SocketAddr, Vec<u8>)>>,
}

impl Node {
    fn new(key: u8, at: SocketAddr, seed: [u8; 32]) -> Self {
        let identity = Identity::new(Counting::default(), SecretKey::from_bytes(&[key; 32]).unwrap());
        let record = record(&identity, at);
        let rng = Seed::new(seed).stream("discovery");
        let mut made = None;
        let info =
            allocation_counter::measure(|| made = Some(Discovery::new(Config::default(), &record, rng)));
        let mut discovery = made.unwrap();
        assert!(discovery.accept_talk(TALK));
        let meter = Meter { at_start: info.bytes_current, ..Meter::default() };
        let (told, ledger) = (Told::default(), Ledger::default());
        Self { identity, discovery, told, ledger, meter, tape: None }
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.discovery.counters()
    }

    pub(crate) fn order(&mut self, now: Instant, order: &Order) {
        let Self { discovery, told, .. } = self;
        let begun = match order {
            Order::Add(record, member) => return discovery.add_record(now, record, *member).unwrap(),
            Order::LookUp(target) => {
                discovery.lookup(now, *target).unwrap();
                return;
            }
            Order::Tape => {
                self.tape = Some(Vec::new());
                return;
            }
            Order::Ping(to) => discovery.ping(now, to),
            Order::Talk(to) => discovery.talk(now, to, TALK, b"question"),
            Order::FindNode(to, distances) => discovery.find_node(now, to, distances),
        };
        told.asked += 1;
        begun.unwrap();
    }

    /// Lets it send and tell everything.
    fn drain(&mut self, cx: &mut Cx<'_>) {
        let now = Instant::from_nanos(cx.now());
        let mut buf = [0; MAX_PACKET_SIZE];
        loop {
            let Self { identity, discovery, meter, .. } = self;
            // Events first: they say whom a session was established with, and so to whom more may go.
            if let Some(event) = meter.call(|| discovery.poll_event()) {
                self.hear(&event);
                continue;
            }
            let sent = meter.call(|| discovery.poll_transmit(identity, now, &mut buf));
            let Some((to, len)) = sent else { break };
            self.ledger.goes(to, len, cx.now());
            cx.send((Ipv4Addr::UNSPECIFIED, PORT).into(), to, &buf[..len]);
        }
        cx.set_deadline(self.discovery.next_timeout().map(Instant::as_nanos));
    }

    fn hear(&mut self, event: &Event) {
        let told = &mut self.told;
        match event {
            Event::Pong { .. } | Event::Nodes { .. } | Event::TalkResponse { .. } => told.answered += 1,
            Event::RequestFailed { .. } => told.failed += 1,
            Event::Vote { .. } => told.votes += 1,
            Event::Reachable { .. } => told.reachable += 1,
            Event::Unreachable { .. } => told.unreachable += 1,
            Event::SessionEstablished { endpoint, .. } => self.ledger.verify(*endpoint),
            Event::LookupDone { target, found, .. } => {
                told.found.push((*target, found.as_ref().map(Record::seq)));
            }
            Event::TalkRequest { id, .. } => {
                told.talks += 1;
                self.discovery.respond_talk(*id, b"answer").unwrap();
            }
            _ => {}
        }
    }

    fn datagram(&mut self, cx: &mut Cx<'_>, from: SocketAddr, bytes: &mut [u8]) {
        let now = Instant::from_nanos(cx.now());
        if let Some(tape) = &mut self.tape {
            tape.push((from, bytes.to_vec()));
        }
        self.ledger.came(from, bytes.len());
        let (before, refused) = (self.identity.crypto().so_far(), self.refused());
        let began = Wall::now();
        let is_challenge = bytes.len() == WHOAREYOU;
        let Self { identity, discovery, meter, .. } = self;
        meter.call(|| discovery.handle_datagram(identity, now, from, bytes));
        if is_challenge && self.refused() == refused {
            // It echoes a nonce that only went there.
            self.ledger.verify(from);
        }
        self.drain(cx);
        let work = self.identity.crypto().so_far().since(before);
        self.meter.datagram(work, began.elapsed().as_nanos());
    }

    /// Packets that were no challenge to a packet of ours, among those of a challenge's size.
    fn refused(&self) -> u64 {
        self.counters().challenge_unsolicited + self.counters().malformed_packet
    }
}

impl Machine for Host {
    type Command = Order;
    type Observation = ();

    fn handle_start(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Node(node) => {
                cx.bind(PORT);
                node.drain(cx);
            }
            Self::Foe { ports, .. } => {
                for port in ports {
                    cx.bind(*port);
                }
                cx.set_deadline(Some(cx.now()));
            }
        }
    }

    fn handle_datagram(&mut self, cx: &mut Cx<'_>, local: SocketAddr, from: SocketAddr, bytes: &mut [u8]) {
        match self {
            Self::Node(node) => node.datagram(cx, from, bytes),
            Self::Foe { foe, .. } => foe.hear(cx, local, from, bytes),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Node(node) => {
                let now = Instant::from_nanos(cx.now());
                let Node { discovery, meter, .. } = &mut **node;
                meter.call(|| discovery.handle_timeout(now));
                node.drain(cx);
            }
            Self::Foe { foe, .. } => {
                let next = foe.act(cx);
                cx.set_deadline(next);
            }
        }
    }

    fn handle_command(&mut self, cx: &mut Cx<'_>, order: Order) {
        if let Self::Node(node) = self {
            node.order(Instant::from_nanos(cx.now()), &order);
            node.drain(cx);
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

fn record(identity: &Identity<Counting>, at: SocketAddr) -> Record {
    let mut builder = Builder::new();
    let SocketAddr::V4(v4) = at else { panic!("these worlds are of IPv4") };
    builder.set_ip4(Some(*v4.ip())).unwrap().set_udp4(Some(v4.port())).unwrap();
    builder.sign(1, identity).unwrap()
}

/// A world in which a packet takes 20 to 25 ms.
pub(crate) fn world(seed: u64) -> World {
    println!("seed {seed}");
    let mut faults = Faults::none();
    faults.link.latency = 20 * MILLISECOND;
    faults.link.jitter = 5 * MILLISECOND;
    Sim::new(Choices::from_seed(seed).without_recording(), faults)
}

/// Adds the node with the key `[key; 32]`, which is told `at_start` at each start.
pub(crate) fn add_node(world: &mut World, key: u8, ip: [u8; 4], at_start: Vec<Order>) -> HostId {
    let at = SocketAddr::from((ip, PORT));
    let factory = move |boot: coracle_sim::Boot<'_>| {
        let mut node = Node::new(key, at, boot.seed);
        for order in &at_start {
            node.order(Instant::from_nanos(boot.now), order);
        }
        Host::Node(Box::new(node))
    };
    world.add_node(IpAddr::from(ip), factory).unwrap()
}

/// Adds a foe at these addresses, listening on these ports. It cannot start a second time.
pub(crate) fn add_foe(
    world: &mut World,
    ips: Vec<[u8; 4]>,
    ports: Vec<u16>,
    foe: impl Foe + 'static,
) -> HostId {
    let mut foe: Option<Box<dyn Foe>> = Some(Box::new(foe));
    let addresses = ips.into_iter().map(IpAddr::from).collect();
    let config = coracle_sim::NodeConfig { addresses, clock: coracle_sim::Clock::default() };
    let factory =
        move |_: coracle_sim::Boot<'_>| Host::Foe { foe: foe.take().unwrap(), ports: ports.clone() };
    world.add_node(config, factory).unwrap()
}

pub(crate) fn node(world: &World, host: HostId) -> &Node {
    match world.machine(host) {
        Some(Host::Node(node)) => node,
        _ => panic!("{host} is no node that is up"),
    }
}

pub(crate) fn foe(world: &World, host: HostId) -> &dyn Foe {
    match world.machine(host) {
        Some(Host::Foe { foe, .. }) => &**foe,
        _ => panic!("{host} is no foe"),
    }
}

/// The record that the node with this key publishes, without starting it.
pub(crate) fn record_of(key: u8, ip: [u8; 4]) -> Record {
    let identity = Identity::new(Counting::default(), SecretKey::from_bytes(&[key; 32]).unwrap());
    record(&identity, SocketAddr::from((ip, PORT)))
}

pub(crate) fn run(world: &mut World, ms: u64) {
    world.run_for(ms * MILLISECOND).unwrap();
}
