//! The node under test, and the network between it and the scripted peers.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use coracle_core::{
    crypto::{Crypto, Identity, RustCrypto, SecretKey},
    discovery::{Config, Discovery, Event},
    limits::MAX_PACKET_SIZE,
    record::{Builder, Record},
    rng::Seed,
    time::Instant,
};
use coracle_native_crypto::NativeCrypto;
use coracle_tests::raw_peer::{PeerRecord, record_of};
use coracle_tokio::NoStore;

use crate::node::{Running, config, loopback};

/// How long a packet or an event may take: in memory of virtual time, which is nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Key and seed of the node under test.
const NUMBER: u8 = 250;

/// The network around the node under test.
pub(crate) trait Network {
    /// The node's record.
    fn record(&self) -> PeerRecord;
    /// An endpoint of a peer: another port each time, and on networks that have several, the address
    /// of this host.
    fn open(&mut self, host: u8) -> SocketAddr;
    /// Sends a datagram to the node.
    fn send(&mut self, from: SocketAddr, packet: &[u8]);
    /// The next datagram that the node sent to `at` and that has arrived.
    fn try_recv(&mut self, at: SocketAddr) -> Option<Vec<u8>>;
    /// Lets a little time pass.
    fn pass(&mut self);
    /// Time since the start.
    fn elapsed(&self) -> Duration;

    /// The next datagram that the node sends to `at`.
    fn recv(&mut self, at: SocketAddr) -> Option<Vec<u8>> {
        let end = self.elapsed() + PATIENCE;
        loop {
            if let Some(packet) = self.try_recv(at) {
                return Some(packet);
            }
            if self.elapsed() >= end {
                return None;
            }
            self.pass();
        }
    }
}

/// A network whose node does what it is told.
pub(crate) trait Machine: Network {
    /// What the node's cryptography is.
    type Crypto: Crypto;

    /// Calls the node, and lets it send.
    fn with<T>(&mut self, f: impl FnOnce(&mut Discovery<Self::Crypto>, Instant) -> T) -> T;
    /// What the node told so far, for reading and taking.
    fn events(&mut self) -> &mut Vec<Event>;

    /// Waits for an event, earlier ones included. It counts once.
    fn event<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let end = self.elapsed() + PATIENCE;
        loop {
            let events = self.events();
            let found = events.iter().enumerate().find_map(|(at, event)| Some((at, pick(event)?)));
            if let Some((at, found)) = found {
                events.remove(at);
                return found;
            }
            assert!(self.elapsed() < end, "no {what}; told {:#?}", self.events());
            self.pass();
        }
    }

    /// The number of events so far that `count` counts.
    fn told(&mut self, count: impl Fn(&Event) -> bool) -> usize {
        self.events().iter().filter(|event| count(event)).count()
    }
}

/// Which addresses a network in memory has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Loopback,
    Ipv4,
    Ipv6,
}

impl Place {
    fn address(self, host: u8) -> IpAddr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST.into(),
            Self::Ipv4 => Ipv4Addr::new(80, host, 7, 1).into(),
            Self::Ipv6 => Ipv6Addr::new(0x2a00, host.into(), 0, 0, 0, 0, 0, 1).into(),
        }
    }
}

/// Runs a scenario in each place.
pub(crate) fn in_memory(scenario: impl Fn(&mut Memory)) {
    for place in [Place::Loopback, Place::Ipv4, Place::Ipv6] {
        println!("{place:?}, seed {NUMBER}");
        scenario(&mut Memory::new(place));
    }
}

/// `Discovery` alone.
struct Subject<C: Crypto> {
    identity: Identity<C>,
    discovery: Discovery<C>,
    record: Record,
    events: Vec<Event>,
}

impl<C: Crypto> Subject<C> {
    fn new(crypto: C, at: SocketAddr) -> Self {
        let identity = Identity::new(crypto, SecretKey::from_bytes(&[NUMBER; 32]).unwrap());
        let mut builder = Builder::new();
        match at {
            SocketAddr::V4(v4) => builder.set_ip4(Some(*v4.ip())).unwrap().set_udp4(Some(v4.port())).unwrap(),
            SocketAddr::V6(v6) => builder.set_ip6(Some(*v6.ip())).unwrap().set_udp6(Some(v6.port())).unwrap(),
        };
        let record = builder.sign(1, &identity).unwrap();
        let rng = Seed::new([NUMBER; 32]).stream("discovery");
        let discovery = Discovery::new(Config::default(), &record, rng);
        Self { identity, discovery, record, events: Vec::new() }
    }

    /// Everything that is due: the datagrams, each with where it goes.
    fn drain(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let (mut out, mut buf) = (Vec::new(), [0; MAX_PACKET_SIZE]);
        while let Some((to, len)) = self.discovery.poll_transmit(&self.identity, now, &mut buf) {
            out.push((to, buf[..len].to_vec()));
        }
        while let Some(event) = self.discovery.poll_event() {
            self.events.push(event);
        }
        out
    }
}

/// A network in memory: packets take no time, and time passes only while everybody waits.
pub(crate) struct Memory {
    subject: Subject<RustCrypto>,
    place: Place,
    now: Instant,
    inboxes: BTreeMap<SocketAddr, VecDeque<Vec<u8>>>,
    ports: u16,
}

impl Memory {
    fn new(place: Place) -> Self {
        let subject = Subject::new(RustCrypto, SocketAddr::new(place.address(255), 9000));
        Self { subject, place, now: Instant::from_millis(1), inboxes: BTreeMap::new(), ports: 20_000 }
    }

    fn drain(&mut self) {
        for (to, packet) in self.subject.drain(self.now) {
            self.inboxes.entry(to).or_default().push_back(packet);
        }
    }
}

impl Network for Memory {
    fn record(&self) -> PeerRecord {
        record_of(self.subject.record.as_bytes()).unwrap()
    }

    fn open(&mut self, host: u8) -> SocketAddr {
        self.ports += 1;
        SocketAddr::new(self.place.address(host), self.ports)
    }

    fn send(&mut self, from: SocketAddr, packet: &[u8]) {
        self.now = self.now + Duration::from_millis(1);
        let Subject { identity, discovery, .. } = &mut self.subject;
        discovery.handle_datagram(identity, self.now, from, &mut packet.to_vec());
        self.drain();
    }

    fn try_recv(&mut self, at: SocketAddr) -> Option<Vec<u8>> {
        self.inboxes.get_mut(&at)?.pop_front()
    }

    fn pass(&mut self) {
        let step = self.now + Duration::from_millis(100);
        self.now = self.subject.discovery.next_timeout().map_or(step, |at| at.clamp(self.now, step));
        self.subject.discovery.handle_timeout(self.now);
        self.drain();
    }

    fn elapsed(&self) -> Duration {
        self.now.since(Instant::ZERO)
    }
}

impl Machine for Memory {
    type Crypto = RustCrypto;

    fn with<T>(&mut self, f: impl FnOnce(&mut Discovery, Instant) -> T) -> T {
        let result = f(&mut self.subject.discovery, self.now);
        self.drain();
        result
    }

    fn events(&mut self) -> &mut Vec<Event> {
        &mut self.subject.events
    }
}

/// The sockets of the peers.
#[derive(Default)]
struct Peers {
    sockets: BTreeMap<SocketAddr, UdpSocket>,
}

impl Peers {
    fn open(&mut self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let at = socket.local_addr().unwrap();
        self.sockets.insert(at, socket);
        at
    }

    fn try_recv(&self, at: SocketAddr) -> Option<Vec<u8>> {
        let mut buf = [0; 2048];
        let (len, _) = self.sockets[&at].recv_from(&mut buf).ok()?;
        Some(buf[..len].to_vec())
    }
}

/// `Discovery` on a UDP socket of 127.0.0.1, driven by the thread of the test.
pub(crate) struct Sockets {
    subject: Subject<NativeCrypto>,
    socket: UdpSocket,
    peers: Peers,
    start: std::time::Instant,
}

impl Sockets {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let subject = Subject::new(NativeCrypto::new(), socket.local_addr().unwrap());
        Self { subject, socket, peers: Peers::default(), start: std::time::Instant::now() }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    fn drain(&mut self) {
        for (to, packet) in self.subject.drain(self.now()) {
            self.socket.send_to(&packet, to).unwrap();
        }
    }
}

impl Network for Sockets {
    fn record(&self) -> PeerRecord {
        record_of(self.subject.record.as_bytes()).unwrap()
    }

    fn open(&mut self, _host: u8) -> SocketAddr {
        self.peers.open()
    }

    fn send(&mut self, from: SocketAddr, packet: &[u8]) {
        self.peers.sockets[&from].send_to(packet, self.socket.local_addr().unwrap()).unwrap();
    }

    fn try_recv(&mut self, at: SocketAddr) -> Option<Vec<u8>> {
        self.peers.try_recv(at)
    }

    fn pass(&mut self) {
        let mut packet = [0; 2048];
        let received = self.socket.recv_from(&mut packet);
        let now = self.now();
        let Subject { identity, discovery, .. } = &mut self.subject;
        if let Ok((len, from)) = received {
            discovery.handle_datagram(identity, now, from, &mut packet[..len]);
        }
        if discovery.next_timeout().is_some_and(|at| at <= now) {
            discovery.handle_timeout(now);
        }
        self.drain();
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Machine for Sockets {
    type Crypto = NativeCrypto;

    fn with<T>(&mut self, f: impl FnOnce(&mut Discovery<NativeCrypto>, Instant) -> T) -> T {
        let now = self.now();
        let result = f(&mut self.subject.discovery, now);
        self.drain();
        result
    }

    fn events(&mut self) -> &mut Vec<Event> {
        &mut self.subject.events
    }
}

/// A whole node of `coracle-tokio` on sockets of 127.0.0.1. Its one other member never runs.
pub(crate) struct Tokio {
    node: Running,
    record: Record,
    peers: Peers,
    start: std::time::Instant,
    /// The last, so that it outlives the node.
    _runtime: tokio::runtime::Runtime,
}

impl Tokio {
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let node = Running::start(config(NUMBER, &[NUMBER, 1]), &loopback(), NoStore);
        let start = std::time::Instant::now();
        let record = loop {
            let snapshot = runtime.block_on(node.handle.snapshot()).unwrap();
            if let Some(record) = snapshot.record {
                break record;
            }
            assert!(start.elapsed() < PATIENCE, "the node published no record");
        };
        drop(_inside);
        Self { node, record, peers: Peers::default(), start, _runtime: runtime }
    }
}

impl Network for Tokio {
    fn record(&self) -> PeerRecord {
        record_of(self.record.as_bytes()).unwrap()
    }

    fn open(&mut self, _host: u8) -> SocketAddr {
        self.peers.open()
    }

    fn send(&mut self, from: SocketAddr, packet: &[u8]) {
        let to = self.record.udp_endpoints().next().unwrap();
        assert!(!self.node.tcp.is_empty(), "the node runs");
        self.peers.sockets[&from].send_to(packet, to).unwrap();
    }

    fn try_recv(&mut self, at: SocketAddr) -> Option<Vec<u8>> {
        self.peers.try_recv(at)
    }

    fn pass(&mut self) {
        std::thread::sleep(Duration::from_millis(1));
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
