//! Two nodes in one process, without a socket, a thread or a clock: the whole interface at work.
//!
//! Read this first. A driver has four duties, and this is all of them:
//!  1. feed one event (a datagram, bytes, "connected", "stored", or that time has passed);
//!  2. poll until `Wait`, doing what each action says;
//!  3. keep the bytes of a connection that were not taken, and offer them again with more;
//!  4. wake the node at the moment that `Wait` names.
//!
//! Run it: `cargo run -p coracle-core --example in_memory`
#![allow(clippy::expect_used, clippy::panic)] // an example: it ends where it cannot go on

use std::{collections::VecDeque, net::SocketAddr};

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, RustCrypto, SecretKey},
    limits::CHANNEL_READ_SIZE,
    node::{Action, Config, ConnId, Event, Node, Notice, ReceiveBuffer},
    refresh::{Bound, Configured},
    rng::Seed,
    time::Instant,
};

/// What is on its way between the two nodes.
enum Packet {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Dial { from: usize, conn: ConnId, to: SocketAddr },
    Bytes { to: usize, conn: ConnId, bytes: Vec<u8> },
    Close { to: usize, conn: ConnId },
}

/// A node and what its driver keeps for it.
struct Host {
    node: Node,
    address: SocketAddr,
    /// Our connections, and what the other end calls them; received bytes that were not taken.
    connections: Vec<(ConnId, ConnId, ReceiveBuffer)>,
    deadline: Option<Instant>,
    answered_pings: u32,
}

struct World {
    now: Instant,
    hosts: Vec<Host>,
    on_the_way: VecDeque<Packet>,
}

fn main() {
    // Two keys; the cluster is whoever holds them. Records come by themselves: each node signs its
    // own when it starts, and finds the other's through the endpoint named as a hint.
    let keys = [1_u8, 2].map(|n| SecretKey::from_bytes(&[n; 32]).expect("a valid key"));
    let members = keys.each_ref().map(|key| MemberConfig::new(RustCrypto.public_key(key)));
    let addresses: [SocketAddr; 2] =
        ["10.0.0.1:3610", "10.0.0.2:3610"].map(|a| a.parse().expect("an address"));

    let mut world = World { now: Instant::ZERO, hosts: Vec::new(), on_the_way: VecDeque::new() };
    for (i, key) in keys.into_iter().enumerate() {
        let mut members = members.to_vec();
        members[1 - i].hints.push(addresses[1 - i]);
        let mut config = Config::new(key, Seed::new([i as u8; 32]), members);
        config.bound = Bound { udp4: Some(3610), tcp4: Some(3610), ..Bound::default() };
        let std::net::IpAddr::V4(ip) = addresses[i].ip() else { unreachable!("both are IPv4") };
        config.configured = Configured { ip4: Some(ip), ..Configured::default() };
        let node = Node::new(world.now, config).expect("a valid configuration");
        world.hosts.push(Host {
            node,
            address: addresses[i],
            connections: Vec::new(),
            deadline: None,
            answered_pings: 0,
        });
        world.act(i);
    }

    while world.hosts.iter().any(|host| host.answered_pings == 0) {
        world.step();
    }
    println!("both sides have an authenticated, encrypted channel and an answered ping at {:?}", world.now);
}

impl World {
    /// One thing happens: a packet arrives, or, when none is on its way, time passes.
    fn step(&mut self) {
        match self.on_the_way.pop_front() {
            Some(Packet::Datagram { from, to, mut bytes }) => {
                if let Some(i) = self.hosts.iter().position(|host| host.address == to) {
                    self.hosts[i].node.handle_datagram(self.now, to, from, &mut bytes);
                    self.act(i);
                }
            }
            Some(Packet::Dial { from, conn, to }) => {
                let Some(i) = self.hosts.iter().position(|host| host.address == to) else {
                    panic!("nobody is at {to}");
                };
                let source = self.hosts[from].address;
                let theirs = self.hosts[i].node.accept(self.now, source);
                self.hosts[i].connections.push((theirs, conn, ReceiveBuffer::new()));
                self.hosts[from].connections.push((conn, theirs, ReceiveBuffer::new()));
                self.act(i);
                self.event(from, Event::Connected(conn));
            }
            Some(Packet::Bytes { to, conn, bytes }) => {
                if let Some((.., pending)) = self.hosts[to].connections.iter_mut().find(|c| c.0 == conn) {
                    pending.extend(&bytes);
                    self.offer(to, conn);
                    self.act(to);
                }
            }
            Some(Packet::Close { to, conn }) => {
                self.hosts[to].connections.retain(|c| c.0 != conn);
                self.event(to, Event::Closed(conn));
            }
            None => {
                // Nothing is on its way: jump to the next moment that a node waits for.
                let next = self.hosts.iter().filter_map(|host| host.deadline).min();
                self.now = next.expect("a node always waits for something");
                for i in 0..self.hosts.len() {
                    self.hosts[i].node.handle_timeout(self.now);
                    self.act(i);
                }
            }
        }
    }

    fn event(&mut self, i: usize, event: Event<'_>) {
        self.hosts[i].node.handle_event(self.now, event);
        self.act(i);
    }

    /// Offers received bytes; those not taken stay for the next time.
    fn offer(&mut self, i: usize, conn: ConnId) {
        let Host { node, connections, .. } = &mut self.hosts[i];
        if let Some((.., pending)) = connections.iter_mut().find(|c| c.0 == conn) {
            pending.offer(|bytes| node.handle_bytes(self.now, conn, bytes));
        }
    }

    /// Does what the node says until it says "wait".
    fn act(&mut self, i: usize) {
        let mut buf = vec![0; CHANNEL_READ_SIZE];
        loop {
            let host = &mut self.hosts[i];
            let peer_of = |host: &Host, conn| host.connections.iter().find(|c| c.0 == conn).map(|c| c.1);
            match host.node.poll(self.now, &mut buf) {
                Action::Send { to, len } => {
                    let from = host.address;
                    self.on_the_way.push_back(Packet::Datagram { from, to, bytes: buf[..len].to_vec() });
                }
                Action::Dial { conn, to } => self.on_the_way.push_back(Packet::Dial { from: i, conn, to }),
                Action::Write { conn, len } => {
                    if let Some(theirs) = peer_of(host, conn) {
                        let bytes = buf[..len].to_vec();
                        self.on_the_way.push_back(Packet::Bytes { to: 1 - i, conn: theirs, bytes });
                    }
                    // This network takes everything at once.
                    host.node.handle_event(self.now, Event::Writable(conn));
                }
                Action::Close { conn } => {
                    if let Some(theirs) = peer_of(host, conn) {
                        self.on_the_way.push_back(Packet::Close { to: 1 - i, conn: theirs });
                    }
                    host.connections.retain(|c| c.0 != conn);
                }
                Action::Resume { conn } => self.offer(i, conn),
                // No protocols are configured: this only tells which connections are lost.
                Action::Stream(_) => {}
                // A real driver writes to a disk, and answers when that is done.
                Action::Store { id, .. } => host.node.handle_event(self.now, Event::Stored(id)),
                Action::Resolve { id, .. } => host.node.handle_event(self.now, Event::Resolved(id, &[])),
                Action::Notify(notice) => {
                    println!("{:?}  node {}  {notice:?}", self.now, i + 1);
                    host.answered_pings += u32::from(matches!(notice, Notice::Ping { .. }));
                }
                Action::Wait(deadline) => {
                    host.deadline = deadline;
                    return;
                }
            }
        }
    }
}
