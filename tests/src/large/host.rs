//! A discovery node as a machine of the simulator, and what it does for its embedder: it signs a new record when its
//! address changes, looks nodes up, and goes on looking for one until it answers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use coracle_core::crypto::{Crypto, Identity, SecretKey};
use coracle_core::discovery::{Config, Discovery, Event, LookupId, RequestId};
use coracle_core::id::NodeId;
use coracle_core::limits::MAX_PACKET_SIZE;
use coracle_core::record::{Builder, Record};
use coracle_core::rng::Seed;
use coracle_core::time::Instant;
use coracle_sim::{Boot, Context, Event as SimEvent, Machine, Nanos, SECOND};

use super::sybils::Sybils;

/// The UDP port of every node.
pub const PORT: u16 = 9000;
/// The longest pause between two lookups for one node, as a member of a cluster makes them.
const LONGEST_PAUSE: Nanos = 8 * SECOND;

/// The context of these machines.
pub type Cx<'a> = Context<'a, ()>;

/// A machine of the simulation.
pub enum Host<C: Crypto> {
    /// A node.
    Node(Box<Node<C>>),
    /// The one who means no good.
    Sybils(Box<Sybils>),
}

/// What a node is told to do.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Looks a node up, once.
    LookUp(NodeId),
    /// Looks for a node until it has a record with at least this sequence number, and a PING to where that says was
    /// answered.
    Seek(NodeId, u64),
}

/// A lookup that ended.
#[derive(Clone, Copy, Debug)]
pub struct LookedUp {
    /// Whether the target's record was in the table before.
    pub known: bool,
    /// Whether the target's record was found.
    pub found: bool,
}

/// A search for one node.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    target: NodeId,
    seq: u64,
    /// When it began.
    pub begun: Nanos,
    /// When the record was there.
    pub found: Option<Nanos>,
    /// When a PING was answered where it says.
    pub reached: Option<Nanos>,
    /// Lookups that ended without it.
    pub failures: u32,
    doing: Doing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Pause(Nanos),
    LookUp(LookupId),
    Ping(RequestId),
    Nothing,
}

/// A node.
pub struct Node<C: Crypto> {
    identity: Identity<C>,
    discovery: Discovery<C>,
    searches: Vec<Search>,
    asked: Vec<(LookupId, bool)>,
    /// Single lookups that ended.
    pub looked_up: Vec<LookedUp>,
}

/// A record of IPv4.
///
/// # Panics
///
/// Never: it fits.
pub fn record<C: Crypto>(identity: &Identity<C>, ip: Ipv4Addr, seq: u64) -> Record {
    let mut builder = Builder::new();
    builder.set_ip4(Some(ip)).expect("it fits").set_udp4(Some(PORT)).expect("it fits");
    builder.sign(seq, identity).expect("it fits")
}

fn first_v4(addresses: &[IpAddr]) -> Ipv4Addr {
    let v4 = addresses.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
    v4.expect("these nodes have an IPv4 address each")
}

impl<C: Crypto> Node<C> {
    /// Starts a node that knows `bootnode`.
    ///
    /// # Panics
    ///
    /// If the key is none.
    pub fn new(
        crypto: C,
        key: &[u8; 32],
        config: &Config,
        bootnode: Option<&Record>,
        boot: &Boot<'_>,
    ) -> Self {
        let identity = Identity::new(crypto, SecretKey::from_bytes(key).expect("a valid key"));
        // A node that starts again has the record that it had: it has not moved.
        let local = record(&identity, first_v4(boot.addresses), 1);
        let rng = Seed::new(boot.seed).stream("discovery");
        let mut discovery = Discovery::new(config.clone(), &local, rng);
        if let Some(bootnode) = bootnode {
            discovery.add_record(Instant::from_nanos(boot.now), bootnode, false).expect("there is room");
        }
        Self { identity, discovery, searches: Vec::new(), asked: Vec::new(), looked_up: Vec::new() }
    }

    /// The machine.
    pub const fn discovery(&self) -> &Discovery<C> {
        &self.discovery
    }

    /// Its searches.
    pub fn searches(&self) -> &[Search] {
        &self.searches
    }

    /// Lets it send, tell and search.
    fn drain(&mut self, cx: &mut Cx<'_>) {
        let now = Instant::from_nanos(cx.now());
        let mut buf = [0; MAX_PACKET_SIZE];
        loop {
            if let Some(event) = self.discovery.poll_event() {
                self.hear(now, &event);
            } else if let Some((to, len)) = self.discovery.poll_transmit(&self.identity, now, &mut buf) {
                cx.send((Ipv4Addr::UNSPECIFIED, PORT).into(), to, &buf[..len]);
            } else if !self.search(now) {
                break;
            }
        }
        let pauses = self.searches.iter().filter_map(|search| match search.doing {
            Doing::Pause(at) => Some(at),
            _ => None,
        });
        cx.set_deadline(pauses.chain(self.discovery.next_timeout().map(Instant::as_nanos)).min());
    }

    fn hear(&mut self, now: Instant, event: &Event) {
        match event {
            Event::RecordSeen { record, .. } => self.seen(now, record),
            Event::LookupDone { lookup, found, .. } => {
                if let Some(record) = found {
                    self.seen(now, record);
                }
                for search in self.searches.iter_mut().filter(|s| s.doing == Doing::LookUp(*lookup)) {
                    let pause = (SECOND << search.failures.min(8)).min(LONGEST_PAUSE);
                    search.failures += 1;
                    search.doing = Doing::Pause(now.as_nanos() + pause);
                }
                if let Some(at) = self.asked.iter().position(|(asked, _)| asked == lookup) {
                    let (_, known) = self.asked.swap_remove(at);
                    self.looked_up.push(LookedUp { known, found: found.is_some() });
                }
            }
            Event::Pong { request, .. } => {
                for search in self.searches.iter_mut().filter(|s| s.doing == Doing::Ping(*request)) {
                    search.reached = Some(now.as_nanos());
                    search.doing = Doing::Nothing;
                }
            }
            Event::RequestFailed { request, .. } => {
                for search in self.searches.iter_mut().filter(|s| s.doing == Doing::Ping(*request)) {
                    search.doing = Doing::Pause(now.as_nanos());
                }
            }
            _ => {}
        }
    }

    /// A record that may be what somebody looks for.
    fn seen(&mut self, now: Instant, record: &Record) {
        let Self { discovery, searches, .. } = self;
        let wanted =
            |s: &&mut Search| s.target == record.node_id() && record.seq() >= s.seq && s.found.is_none();
        for search in searches.iter_mut().filter(wanted) {
            search.found = Some(now.as_nanos());
            let ping = discovery.ping(now, record);
            search.doing = ping.map_or(Doing::Pause(now.as_nanos() + SECOND), Doing::Ping);
        }
    }

    /// Begins what is due; whether there was anything.
    fn search(&mut self, now: Instant) -> bool {
        let Self { discovery, searches, .. } = self;
        let mut any = false;
        for search in searches.iter_mut() {
            if !matches!(search.doing, Doing::Pause(at) if at <= now.as_nanos()) {
                continue;
            }
            any = true;
            let later = Doing::Pause(now.as_nanos() + SECOND);
            let known = discovery.record(&search.target).filter(|record| record.seq() >= search.seq).cloned();
            search.doing = match known {
                Some(record) => {
                    search.found.get_or_insert(now.as_nanos());
                    discovery.ping(now, &record).map_or(later, Doing::Ping)
                }
                None => discovery.lookup(now, search.target).map_or(later, Doing::LookUp),
            };
        }
        any
    }

    fn order(&mut self, now: Instant, order: Order) {
        match order {
            Order::LookUp(target) => {
                let known = self.discovery.record(&target).is_some();
                match self.discovery.lookup(now, target) {
                    Ok(lookup) => self.asked.push((lookup, known)),
                    Err(_) => self.looked_up.push(LookedUp { known, found: false }),
                }
            }
            Order::Seek(target, seq) => {
                let begun = now.as_nanos();
                let doing = Doing::Pause(begun);
                self.searches.push(Search {
                    target,
                    seq,
                    begun,
                    found: None,
                    reached: None,
                    failures: 0,
                    doing,
                });
            }
        }
    }
}

impl<C: Crypto> Machine for Host<C> {
    type Command = Order;
    type Observation = ();

    fn handle_start(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Node(node) => {
                cx.bind(PORT);
                node.drain(cx);
            }
            Self::Sybils(sybils) => sybils.start(cx),
        }
    }

    fn handle_datagram(&mut self, cx: &mut Cx<'_>, local: SocketAddr, from: SocketAddr, bytes: &mut [u8]) {
        match self {
            Self::Node(node) => {
                let now = Instant::from_nanos(cx.now());
                node.discovery.handle_datagram(&node.identity, now, from, bytes);
                node.drain(cx);
            }
            Self::Sybils(sybils) => sybils.hear(cx, local, from, bytes),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Node(node) => {
                node.discovery.handle_timeout(Instant::from_nanos(cx.now()));
                node.drain(cx);
            }
            Self::Sybils(sybils) => sybils.act(cx),
        }
    }

    fn handle_event(&mut self, cx: &mut Cx<'_>, event: SimEvent) {
        if let (Self::Node(node), SimEvent::Moved) = (self, event) {
            let now = Instant::from_nanos(cx.now());
            let seq = node.discovery.local_record().seq() + 1;
            let record = record(&node.identity, first_v4(cx.addresses()), seq);
            node.discovery.set_local_record(now, &record);
            node.drain(cx);
        }
    }

    fn handle_command(&mut self, cx: &mut Cx<'_>, order: Order) {
        if let Self::Node(node) = self {
            node.order(Instant::from_nanos(cx.now()), order);
            node.drain(cx);
        }
    }
}

impl<C: Crypto> fmt::Debug for Host<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node(_) => "Node",
            Self::Sybils(_) => "Sybils",
        })
    }
}
