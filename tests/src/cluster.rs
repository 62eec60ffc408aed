//! A cluster of simulated nodes, what the outside does to it, and whether its mesh is full.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use coracle_core::cluster::MemberConfig;
use coracle_core::crypto::{Crypto, Identity, RustCrypto, SecretKey};
use coracle_core::id::PeerId;
use coracle_core::node::Command;
use coracle_core::record::{Addresses, Builder, Record};
use coracle_sim::{
    Boot, Choices, Context, Event, Failure, Faults, MILLISECOND, Machine, Nanos, NodeId, SECOND, Sim,
    StreamId, StreamLimits,
};

use crate::intruder::Intruder;
use crate::nonces::Spied;
use crate::observers::{Book, Entry, watch};
use crate::sim_node::{PORT, Seen, Setup, SimNode};

/// How finely the mesh is looked at.
const LOOK_EVERY: Nanos = 100 * MILLISECOND;

/// One machine of a simulation.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // a handful of them
pub enum Actor {
    /// A node.
    Node(SimNode),
    /// Somebody who dials where it is not wanted.
    Intruder(Intruder),
}

impl Actor {
    /// The node, if it is one.
    pub const fn as_node(&self) -> Option<&SimNode> {
        match self {
            Self::Node(node) => Some(node),
            Self::Intruder(_) => None,
        }
    }
}

/// What a simulation asks of a machine.
#[derive(Debug)]
pub enum Order {
    /// A command for the core.
    Node(Command),
    /// An intruder dials.
    Dial(SocketAddr),
}

impl Machine for Actor {
    type Command = Order;
    type Observation = Seen;

    fn handle_start(&mut self, cx: &mut Context<'_, Seen>) {
        if let Self::Node(node) = self {
            node.handle_start(cx);
        }
    }

    fn handle_datagram(
        &mut self,
        cx: &mut Context<'_, Seen>,
        local: SocketAddr,
        from: SocketAddr,
        bytes: &mut [u8],
    ) {
        if let Self::Node(node) = self {
            node.handle_datagram(cx, local, from, bytes);
        }
    }

    fn handle_bytes(&mut self, cx: &mut Context<'_, Seen>, stream: StreamId, bytes: &mut [u8]) -> usize {
        match self {
            Self::Node(node) => node.handle_bytes(cx, stream, bytes),
            Self::Intruder(intruder) => intruder.handle_bytes(cx, stream, bytes),
        }
    }

    fn handle_event(&mut self, cx: &mut Context<'_, Seen>, event: Event) {
        match self {
            Self::Node(node) => node.handle_event(cx, event),
            Self::Intruder(intruder) => intruder.handle_event(cx, event),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, Seen>) {
        if let Self::Node(node) = self {
            node.handle_timeout(cx);
        }
    }

    fn handle_command(&mut self, cx: &mut Context<'_, Seen>, command: Order) {
        match (self, command) {
            (Self::Node(node), Order::Node(command)) => node.handle_command(cx, command),
            (Self::Intruder(intruder), Order::Dial(to)) => intruder.dial(cx, to),
            _ => {}
        }
    }
}

/// A cluster in a simulation.
#[derive(Debug)]
pub struct Cluster {
    /// The simulation, for what is done to it.
    pub sim: Sim<Actor>,
    /// The members' nodes, in the lock's order.
    pub nodes: Vec<NodeId>,
    /// The members as the lock has them.
    pub members: Vec<MemberConfig>,
    /// Positions of members that lie: the mesh is the others'.
    pub liars: BTreeSet<usize>,
    book: Rc<RefCell<Book>>,
    /// Pings before this prove nothing.
    since: Nanos,
}

impl Cluster {
    /// A cluster of this many members, each at its address in the lock (see [`home`]).
    pub fn new(choices: Choices, faults: Faults, members: u8) -> Self {
        Self::with(choices, faults, members, |_, _| {})
    }

    /// The same; `change` may change each member's set-up, by its position, before it starts.
    ///
    /// # Panics
    ///
    /// If an address is taken.
    pub fn with(choices: Choices, faults: Faults, members: u8, change: impl Fn(usize, &mut Setup)) -> Self {
        let mut cluster = Self::without_nodes(choices, faults, members);
        for position in 0..members {
            let lock_record = cluster.members[usize::from(position)].lock_record.clone();
            let mut setup = Setup::new(secret(position), cluster.members.clone(), lock_record);
            setup.nonces = Some(Rc::clone(&cluster.book().nonces));
            change(usize::from(position), &mut setup);
            let node = cluster.add(home(position), setup);
            cluster.nodes.push(node);
        }
        cluster
    }

    fn without_nodes(choices: Choices, faults: Faults, members: u8) -> Self {
        let mut sim = Sim::new(choices, faults);
        // A receive buffer as a real driver has it: larger than the largest frame.
        let (send_buffer, receive_buffer) = (131_072, 131_072);
        sim.set_stream_limits(StreamLimits { send_buffer, receive_buffer, ..StreamLimits::default() });
        let book = Rc::default();
        watch(&mut sim, &book);
        let members = (0..members).map(|position| MemberConfig::from_lock(lock_record(position)));
        let (nodes, members, liars) = (Vec::new(), members.collect(), BTreeSet::new());
        Self { sim, nodes, members, liars, book, since: 0 }
    }

    /// Adds a node that is started from `setup`; a member, if its set-up has a record of the lock.
    ///
    /// # Panics
    ///
    /// If the address is taken.
    pub fn add(&mut self, at: IpAddr, setup: Setup) -> NodeId {
        let secret = SecretKey::from_bytes(&setup.secret).expect("a valid key");
        let public_key = RustCrypto.public_key(&secret);
        let lock_record = setup.lock_record.clone();
        let book = Rc::clone(&self.book);
        let factory = move |boot: Boot<'_>| {
            // The observers must know the node before its first event.
            let lock_record = lock_record.clone();
            if setup.lies.is_some() {
                book.borrow_mut().liars.insert(PeerId::from_public_key(&public_key));
            }
            book.borrow_mut().entries.entry(boot.node).or_insert(Entry { public_key, lock_record });
            Actor::Node(SimNode::new(&setup, &boot))
        };
        self.sim.add_node(at, factory).expect("a free address")
    }

    /// Adds somebody who has this key and dials.
    ///
    /// # Panics
    ///
    /// If the address is taken.
    pub fn add_intruder(&mut self, at: IpAddr, secret: [u8; 32]) -> NodeId {
        let factory = move |boot: Boot<'_>| Actor::Intruder(Intruder::new(&secret, &boot));
        self.sim.add_node(at, factory).expect("a free address")
    }

    /// What the observers wrote down.
    pub fn book(&self) -> Ref<'_, Book> {
        self.book.borrow()
    }

    /// The same, to tell the observers what they cannot see.
    pub fn book_mut(&self) -> RefMut<'_, Book> {
        self.book.borrow_mut()
    }

    /// The peer id of the member at this position.
    pub fn peer(&self, position: usize) -> PeerId {
        PeerId::from_public_key(&self.members[position].public_key)
    }

    /// The member at this position, while its node is up.
    pub fn member(&self, position: usize) -> Option<&SimNode> {
        self.sim.machine(self.nodes[position])?.as_node()
    }

    /// Positions of the members that do not lie.
    pub fn honest(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        (0..self.nodes.len()).filter(|position| !self.liars.contains(position))
    }

    /// What keeps the mesh from being full, in words; `None` when it is: every node is up, and each pair uses
    /// one channel, the same on both sides, confirmed, with a round trip measured since the last
    /// [`Cluster::heal`] or [`Cluster::doubt`].
    pub fn gap(&self) -> Option<String> {
        for position in self.honest() {
            if self.member(position).is_none() {
                return Some(format!("operator {position} is down"));
            }
        }
        for left in self.honest() {
            for right in self.honest().filter(|right| *right > left) {
                if let Some(gap) = self.gap_between(left, right) {
                    return Some(gap);
                }
            }
        }
        None
    }

    fn gap_between(&self, left: usize, right: usize) -> Option<String> {
        let mut streams = Vec::new();
        for (here, there) in [(left, right), (right, left)] {
            let node = self.member(here)?;
            let view = node.view(&self.peer(there))?;
            let rtt = view.channel.and_then(|channel| channel.rtt);
            if view.channels != 1 || rtt.is_none() {
                let (count, why) = (view.channels, view.reachability);
                let record = view.record.map(|record| (record.seq(), *record.addresses()));
                return Some(format!(
                    "operator {here} has {count} channels with operator {there} ({why:?}, rtt {rtt:?}, its record {record:?})"
                ));
            }
            let conn = view.channel?.conn;
            let ping = self.book().pings.get(&(self.nodes[here], self.peer(there), conn)).copied();
            if ping.is_none_or(|at| at < self.since) {
                return Some(format!(
                    "operator {there} has not answered operator {here} lately on {conn}: {ping:?}"
                ));
            }
            streams.push(node.channel_stream(&self.peer(there))?);
        }
        let same = streams[0].peer() == streams[1];
        (!same)
            .then(|| format!("operator {left} and operator {right} do not use the same channel: {streams:?}"))
    }

    /// Lets this much time pass.
    ///
    /// # Panics
    ///
    /// If a rule is broken; the message has the seed.
    pub fn run(&mut self, time: Nanos) {
        self.sim.run_for(time).unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// Runs until the mesh is full; how long that took, or why it is not by then.
    ///
    /// # Errors
    ///
    /// If a rule was broken, or the mesh is not full within `limit`.
    pub fn mesh_within(&mut self, limit: Nanos) -> Result<Nanos, Trouble> {
        let start = self.sim.now();
        loop {
            let Some(gap) = self.gap() else { return Ok(self.sim.now() - start) };
            if self.sim.now() - start >= limit {
                return Err(Trouble::Gap(gap));
            }
            self.sim.run_for(LOOK_EVERY)?;
        }
    }

    /// The same, where nothing else will do.
    ///
    /// # Panics
    ///
    /// If the mesh is not full in time.
    pub fn expect_mesh(&mut self, limit: Nanos) -> Nanos {
        match self.mesh_within(limit) {
            Ok(took) => took,
            Err(trouble) => panic!("no mesh within {} s: {trouble}", limit / SECOND),
        }
    }

    /// Runs for a while in which nothing may happen to any channel.
    ///
    /// # Panics
    ///
    /// If a channel came or went.
    pub fn expect_calm(&mut self, time: Nanos) {
        let before = (self.book().ups.len(), self.book().downs.len());
        self.run(time);
        let book = self.book();
        let (ups, downs) = (&book.ups[before.0..], &book.downs[before.1..]);
        assert!(ups.is_empty() && downs.is_empty(), "channels flap: {ups:?} {downs:?}");
        assert_eq!(self.gap(), None);
    }

    /// Ends everything that goes wrong, and starts every member that is down.
    pub fn heal(&mut self) {
        self.doubt();
        self.sim.heal();
        for node in self.nodes.clone() {
            self.sim.restart(node);
        }
    }

    /// From now on only pings answered from now on count: a channel may have died without a word.
    pub const fn doubt(&mut self) {
        self.since = self.sim.now();
    }

    /// Moves a member to this address.
    ///
    /// # Panics
    ///
    /// If the address is taken.
    pub fn move_to(&mut self, position: usize, address: IpAddr) {
        self.sim.move_node(self.nodes[position], &[address]).expect("a free address");
    }
}

/// Why a mesh did not come about.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// A rule was broken.
    Failure(Box<Failure>),
    /// This is missing.
    Gap(String),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failure(failure) => failure.fmt(f),
            Self::Gap(gap) => f.write_str(gap),
        }
    }
}

/// The secret key of the member at this position.
pub const fn secret(position: u8) -> [u8; 32] {
    [position + 1; 32]
}

/// The address of the member at this position in the lock.
pub const fn home(position: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, position + 1))
}

/// The record of the member at this position in the lock.
///
/// # Panics
///
/// Never: the key and the address are good.
pub fn lock_record(position: u8) -> Record {
    record(secret(position), home(position), 1)
}

/// A record with this content.
///
/// # Panics
///
/// If the key is none, or the address not IPv4.
pub fn record(secret: [u8; 32], address: IpAddr, seq: u64) -> Record {
    let IpAddr::V4(ip) = address else { panic!("IPv4 only") };
    let remembering = Spied::new(Some(Rc::default()));
    let identity = Identity::new(remembering, SecretKey::from_bytes(&secret).expect("a valid key"));
    let addresses = Addresses { ip4: Some(ip), udp4: Some(PORT), tcp4: Some(PORT), ..Addresses::default() };
    let mut builder = Builder::new();
    let builder = builder.set_addresses(&addresses).expect("it fits");
    builder.sign(seq, &identity).expect("it fits")
}
