//! Two nodes and the network between them, in buffers that are made at the start.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::net::{Ipv4Addr, SocketAddr};

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, RustCrypto, SecretKey},
    limits::{CHANNEL_READ_SIZE, MAX_PACKET_SIZE},
    node::{Action, Config, ConnId, DialError, Event, Node, Notice},
    refresh::{Bound, Configured},
    rng::Seed,
    time::Instant,
};

use crate::memory::used;

/// Connections that a host may have: each side dials once and is dialled once, and one closes.
const CONNECTIONS: usize = 4;
/// Datagrams on their way.
const DATAGRAMS: usize = 32;

/// A connection: our name for it, the other side's, and what arrived and was not taken.
struct Connection {
    ours: ConnId,
    theirs: ConnId,
    len: usize,
    bytes: Vec<u8>,
}

struct Host {
    node: Node,
    address: SocketAddr,
    connections: Vec<Connection>,
    /// Buffers of connections that are closed.
    spare: Vec<Vec<u8>>,
    deadline: Option<Instant>,
}

/// Everything there is.
pub struct World {
    now: Instant,
    hosts: [Host; 2],
    /// To whom, how long, and what.
    datagrams: VecDeque<(usize, usize, [u8; MAX_PACKET_SIZE])>,
    buf: Vec<u8>,
    /// Pings that each had answered.
    pub pings: [u32; 2],
    /// What the first node asked for when it was made.
    pub node_bytes: usize,
}

impl World {
    pub fn new() -> Result<Self, i32> {
        let mut node_bytes = 0;
        let mut hosts = Vec::with_capacity(2);
        for i in 0..2 {
            let config = config(i)?;
            let before = used();
            let node = Node::new(Instant::ZERO, config).map_err(|_| 11)?;
            node_bytes = used() - before;
            hosts.push(Host {
                node,
                address: address(i),
                connections: Vec::with_capacity(CONNECTIONS),
                spare: (0..CONNECTIONS).map(|_| vec![0; CHANNEL_READ_SIZE]).collect(),
                deadline: Some(Instant::ZERO),
            });
        }
        Ok(Self {
            now: Instant::ZERO,
            hosts: hosts.try_into().map_err(|_| 12)?,
            datagrams: VecDeque::with_capacity(DATAGRAMS),
            buf: vec![0; CHANNEL_READ_SIZE],
            pings: [0; 2],
            node_bytes,
        })
    }

    /// Lets things happen until `end`.
    pub fn run(&mut self, end: Instant) {
        loop {
            self.act(0);
            self.act(1);
            if let Some((to, len, mut bytes)) = self.datagrams.pop_front() {
                let (local, from) = (self.hosts[to].address, self.hosts[1 - to].address);
                self.hosts[to].node.handle_datagram(self.now, local, from, &mut bytes[..len]);
            } else if !self.offer_all() {
                let next = self.hosts.iter().filter_map(|host| host.deadline).min();
                let Some(next) = next.filter(|next| *next <= end) else {
                    self.now = end;
                    return;
                };
                self.now = self.now.max(next);
                self.hosts.iter_mut().for_each(|host| host.node.handle_timeout(self.now));
            }
        }
    }

    /// Offers what arrived; whether anything was taken.
    fn offer_all(&mut self) -> bool {
        let mut any = false;
        for host in &mut self.hosts {
            for connection in &mut host.connections {
                let Connection { ours, len, bytes, .. } = connection;
                let taken = host.node.handle_bytes(self.now, *ours, &mut bytes[..*len]);
                bytes.copy_within(taken..*len, 0);
                *len -= taken;
                any |= taken > 0;
            }
        }
        any
    }

    fn act(&mut self, i: usize) {
        loop {
            match self.hosts[i].node.poll(self.now, &mut self.buf) {
                Action::Send { to, len } if to == self.hosts[1 - i].address => {
                    if self.datagrams.len() < DATAGRAMS {
                        let mut packet = [0; MAX_PACKET_SIZE];
                        packet[..len].copy_from_slice(&self.buf[..len]);
                        self.datagrams.push_back((1 - i, len, packet));
                    }
                }
                Action::Dial { conn, .. } => self.dial(i, conn),
                Action::Write { conn, len } => self.write(i, conn, len),
                Action::Close { conn } => self.close(i, conn),
                Action::Store { id, .. } => self.hosts[i].node.handle_event(self.now, Event::Stored(id)),
                Action::Resolve { id, .. } => {
                    self.hosts[i].node.handle_event(self.now, Event::Resolved(id, &[]));
                }
                Action::Notify(Notice::Ping { .. }) => self.pings[i] += 1,
                Action::Wait(deadline) => {
                    self.hosts[i].deadline = deadline;
                    return;
                }
                // Bytes are offered in every round; nothing else is owed to what is left.
                _ => {}
            }
        }
    }

    fn dial(&mut self, i: usize, conn: ConnId) {
        let room = self.hosts.iter().all(|host| !host.spare.is_empty());
        if !room {
            let event = Event::DialFailed(conn, DialError::Refused);
            self.hosts[i].node.handle_event(self.now, event);
            return;
        }
        let from = self.hosts[i].address;
        let theirs = self.hosts[1 - i].node.accept(self.now, from);
        for (side, ours, theirs) in [(i, conn, theirs), (1 - i, theirs, conn)] {
            let host = &mut self.hosts[side];
            if let Some(bytes) = host.spare.pop() {
                host.connections.push(Connection { ours, theirs, len: 0, bytes });
            }
        }
        self.hosts[i].node.handle_event(self.now, Event::Connected(conn));
    }

    fn write(&mut self, i: usize, conn: ConnId, len: usize) {
        let [a, b] = &mut self.hosts;
        let (here, there) = if i == 0 { (a, b) } else { (b, a) };
        if let Some(other) = there.connections.iter_mut().find(|c| c.theirs == conn)
            && let Some(room) = other.bytes.get_mut(other.len..other.len + len)
        {
            room.copy_from_slice(&self.buf[..len]);
            other.len += len;
        }
        here.node.handle_event(self.now, Event::Writable(conn));
    }

    fn close(&mut self, i: usize, conn: ConnId) {
        self.hosts[i].forget(conn);
        let other = self.hosts[1 - i].connections.iter().find(|c| c.theirs == conn).map(|c| c.ours);
        if let Some(other) = other {
            // What was written before still counts.
            self.offer_all();
            self.hosts[1 - i].forget(other);
            self.hosts[1 - i].node.handle_event(self.now, Event::Closed(other));
        }
    }
}

impl Host {
    fn forget(&mut self, conn: ConnId) {
        if let Some(at) = self.connections.iter().position(|c| c.ours == conn) {
            self.spare.push(self.connections.swap_remove(at).bytes);
        }
    }
}

fn address(i: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, i as u8 + 1), 3610))
}

fn config(i: usize) -> Result<Config, i32> {
    let key = |n: usize| SecretKey::from_bytes(&[n as u8 + 1; 32]).map_err(|_| 1);
    let mut members = Vec::with_capacity(2);
    for n in 0..2 {
        let mut member = MemberConfig::new(RustCrypto.public_key(&key(n)?));
        member.hints.push(address(n));
        members.push(member);
    }
    let mut config = Config::new(key(i)?, Seed::new([i as u8; 32]), members);
    config.bound = Bound { udp4: Some(3610), tcp4: Some(3610), ..Bound::default() };
    let ip4 = Some(Ipv4Addr::new(10, 0, 0, i as u8 + 1));
    config.configured = Configured { ip4, ..Configured::default() };
    Ok(config)
}
