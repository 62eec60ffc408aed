//! A core node as a machine of the simulator: a driver like any other, over simulated sockets and a disk.
//!
//! The driver decides nothing: it hands events in, does what the actions say, and tells every notice to the
//! observers. What it keeps in the "database" is what the `coracle` program keeps: the own record under
//! [`OWN`], and an entry for each member under [`peer_key`], each in two [`slots`] so that a write that is torn
//! never shows.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use coracle_core::cluster::{MemberConfig, Origin};
use coracle_core::crypto::{Crypto as _, PublicKey, RustCrypto, SecretKey};
use coracle_core::id::PeerId;
use coracle_core::limits::CHANNEL_READ_SIZE;
use coracle_core::node::{
    Action, Command, Config, ConnId, DialError, Event, Failure, MemberView, Node, Notice, RequestError,
    StoreId, StoreItem, StoredPeer,
};
use coracle_core::record::Record;
use coracle_core::refresh::Bound;
use coracle_core::rng::Seed;
use coracle_core::time::Instant;
use coracle_sim::{Boot, Context, DialError as SimDialError, Event as SimEvent, StreamId, WriteId};

use crate::liar::{Liar, Lies};
use crate::nonces::{Nonces, Spied};
use crate::slots::{self, Slots};

/// The UDP and TCP port of every simulated node.
pub const PORT: u16 = 3610;
/// Where the own record stands on the disk.
pub const OWN: &[u8] = b"own";
/// What the wall clock shows when a simulation begins, in milliseconds since 1970.
const WALL_CLOCK_MS: u64 = 1_700_000_000_000;

/// Runs one call into the core; a test puts a counter around it.
pub type Meter = fn(&mut dyn FnMut());

/// A fault planted into the driver, to see that an observer notices it: an oracle that never failed proves
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// "Stored" is said of the own record, and nothing is written.
    OwnRecordNotWritten,
    /// A start finds no own record in the database, and no wall clock either.
    OwnRecordForgotten,
    /// Every second entry of a member is written as the lock file has it.
    OldEntriesWritten,
}

/// What a node is made from at every start, beside its disk and its addresses.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its secret key.
    pub secret: [u8; 32],
    /// The cluster, as its lock file has it.
    pub members: Vec<MemberConfig>,
    /// Its own record in the lock file.
    pub lock_record: Option<Record>,
    /// Nodes outside the cluster.
    pub bootnodes: Vec<Record>,
    /// Time between two pings inside a channel.
    pub ping_interval: Duration,
    /// Whether the host notices that its addresses changed. Behind a NAT it does not.
    pub notices_moves: bool,
    /// Put around every call into the core.
    pub meter: Meter,
    /// What is wrong with its driver.
    pub plant: Option<Plant>,
    /// Where its encryptions are noted, if anywhere.
    pub nonces: Option<Rc<RefCell<Nonces>>>,
    /// By how many milliseconds its wall clock is behind; it never shows a time before 1970.
    pub clock_behind_ms: Rc<Cell<u64>>,
    /// Compressed keys of members that its lock file has no longer. Who is removed does not know it.
    pub removed: Rc<RefCell<BTreeSet<[u8; 33]>>>,
    /// What it lies about.
    pub lies: Option<Lies>,
}

impl Setup {
    /// A member with this key, its ping interval 5 s.
    pub fn new(secret: [u8; 32], members: Vec<MemberConfig>, lock_record: Option<Record>) -> Self {
        Self {
            secret,
            members,
            lock_record,
            bootnodes: Vec::new(),
            ping_interval: Duration::from_secs(5),
            notices_moves: true,
            meter: |call| call(),
            plant: None,
            nonces: None,
            clock_behind_ms: Rc::default(),
            removed: Rc::default(),
            lies: None,
        }
    }
}

/// What the observers see a node do.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Its own record is in force.
    Published(Box<Record>),
    /// A member has a channel.
    ChannelUp {
        /// The member.
        peer: PeerId,
        /// The connection.
        conn: ConnId,
        /// Our end of its stream.
        stream: StreamId,
        /// How the endpoint was known.
        origin: Origin,
    },
    /// A channel ended.
    ChannelDown {
        /// The member.
        peer: PeerId,
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: Failure,
    },
    /// Any other notice.
    Notice(Notice),
    /// A command was refused.
    Rejected(RequestError),
    /// An intruder's handshake went through on its own side.
    IntruderFinished,
    /// An intruder was sent this many bytes after its handshake.
    IntruderHeard(usize),
    /// An intruder's stream was closed on it.
    IntruderClosed,
}

type Cx<'a> = Context<'a, Seen>;

/// A stream of the node's.
#[derive(Debug, Default)]
struct Link {
    unwritten: Vec<u8>,
    /// The node wants it closed as soon as that is written.
    closing: bool,
}

/// A node and its driver.
#[derive(Debug)]
pub struct SimNode {
    node: Node<Spied>,
    notices_moves: bool,
    meter: Meter,
    plant: Option<Plant>,
    liar: Option<Rc<Liar>>,
    /// The members as the lock file has them, and how many entries were written: for
    /// [`Plant::OldEntriesWritten`].
    old: Vec<MemberConfig>,
    entries_written: u64,
    streams: BTreeMap<ConnId, StreamId>,
    conns: BTreeMap<StreamId, ConnId>,
    links: BTreeMap<StreamId, Link>,
    slots: Slots,
    writes: BTreeMap<WriteId, StoreId>,
    buf: Vec<u8>,
}

impl SimNode {
    /// Starts a node from its files and its disk.
    ///
    /// # Panics
    ///
    /// If the set-up is refused, or the disk holds what no node wrote.
    pub fn new(setup: &Setup, boot: &Boot<'_>) -> Self {
        let slots = Slots::open(boot.disk);
        let secret = SecretKey::from_bytes(&setup.secret).expect("a valid key");
        let mut members = setup.members.clone();
        let removed = setup.removed.borrow();
        if !removed.contains(&RustCrypto.public_key(&secret).compressed()) {
            members.retain(|member| !removed.contains(&member.public_key.compressed()));
        }
        add_stored(&mut members, |key| slots::read(boot.disk, key));
        let mut config = Config::new(secret, Seed::new(boot.seed), members);
        config.lock_record.clone_from(&setup.lock_record);
        config.member_room = setup.members.len();
        if setup.plant != Some(Plant::OwnRecordForgotten) {
            let right = WALL_CLOCK_MS + boot.now / 1_000_000;
            config.wall_clock_ms = right.saturating_sub(setup.clock_behind_ms.get());
            config.stored_record = slots::read(boot.disk, OWN).map(|bytes| decode_record(&bytes));
        }
        config.bound = Bound { udp4: Some(PORT), tcp4: Some(PORT), ..Bound::default() };
        config.bootnodes.clone_from(&setup.bootnodes);
        config.ping_interval = setup.ping_interval;
        let liar = setup.lies.clone().map(|lies| Rc::new(Liar::new(lies, setup.secret, boot.seed)));
        let crypto = Spied::new(setup.nonces.clone()).lying(liar.clone());
        Self {
            node: Node::with_crypto(Instant::from_nanos(boot.now), config, crypto)
                .expect("a valid configuration"),
            liar,
            notices_moves: setup.notices_moves,
            meter: setup.meter,
            plant: setup.plant,
            old: setup.members.clone(),
            entries_written: 0,
            streams: BTreeMap::new(),
            conns: BTreeMap::new(),
            links: BTreeMap::new(),
            slots,
            writes: BTreeMap::new(),
            buf: vec![0; CHANNEL_READ_SIZE],
        }
    }

    /// The node inside.
    pub const fn node(&self) -> &Node<Spied> {
        &self.node
    }

    /// What the node says of a member.
    pub fn view(&self, peer: &PeerId) -> Option<MemberView<'_>> {
        self.node.members().find(|member| member.peer_id == *peer)
    }

    /// The stream of the channel that the node uses with a member.
    pub fn channel_stream(&self, peer: &PeerId) -> Option<StreamId> {
        self.streams.get(&self.view(peer)?.channel?.conn).copied()
    }

    /// Whether this end of a stream is the node's.
    pub fn has_stream(&self, stream: StreamId) -> bool {
        self.conns.contains_key(&stream)
    }

    /// Whether it is told when its address changes.
    pub const fn notices_moves(&self) -> bool {
        self.notices_moves
    }

    pub(crate) fn handle_start(&mut self, cx: &mut Cx<'_>) {
        cx.bind(PORT);
        cx.listen(PORT);
        self.addresses(cx);
    }

    pub(crate) fn handle_datagram(
        &mut self,
        cx: &mut Cx<'_>,
        local: SocketAddr,
        from: SocketAddr,
        bytes: &mut [u8],
    ) {
        let now = time(cx);
        self.call(|node| node.handle_datagram(now, local, from, bytes));
        self.act(cx);
    }

    pub(crate) fn handle_bytes(&mut self, cx: &mut Cx<'_>, stream: StreamId, bytes: &mut [u8]) -> usize {
        let Some(conn) = self.conns.get(&stream).copied() else { return bytes.len() };
        if self.liar.as_ref().is_some_and(|liar| liar.stalls(stream, bytes.len())) {
            return 0;
        }
        let now = time(cx);
        let taken = self.call(|node| node.handle_bytes(now, conn, bytes));
        self.act(cx);
        taken
    }

    pub(crate) fn handle_event(&mut self, cx: &mut Cx<'_>, event: SimEvent) {
        match event {
            SimEvent::Connected { stream, .. } => {
                if let Some(conn) = self.conns.get(&stream).copied() {
                    self.event(cx, Event::Connected(conn));
                }
            }
            SimEvent::Accepted { stream, .. }
                if self.liar.as_ref().is_some_and(|liar| liar.refuses(stream)) =>
            {
                cx.close(stream);
            }
            SimEvent::Accepted { stream, remote, .. } => {
                let now = time(cx);
                let conn = self.call(|node| node.accept(now, remote));
                self.open(conn, stream);
                self.act(cx);
            }
            SimEvent::DialFailed { stream, reason } => {
                if let Some(conn) = self.forget(stream) {
                    let reason = match reason {
                        SimDialError::Refused => DialError::Refused,
                        SimDialError::TimedOut => DialError::TimedOut,
                        SimDialError::NoRoute => DialError::Unreachable,
                    };
                    self.event(cx, Event::DialFailed(conn, reason));
                }
            }
            SimEvent::Writable(stream) => self.flush(cx, stream),
            SimEvent::Closed { stream, .. } => {
                if let Some(conn) = self.forget(stream) {
                    self.event(cx, Event::Closed(conn));
                }
            }
            SimEvent::Stored(write) => {
                self.slots.finished(write, true);
                if let Some(id) = self.writes.remove(&write) {
                    self.event(cx, Event::Stored(id));
                }
            }
            SimEvent::StoreFailed(write) => {
                self.slots.finished(write, false);
                if let Some(id) = self.writes.remove(&write) {
                    self.event(cx, Event::StoreFailed(id));
                }
            }
            SimEvent::Moved if self.notices_moves => self.addresses(cx),
            SimEvent::Moved => {}
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if self.liar.as_ref().is_some_and(|liar| liar.changes_its_mind(cx.now())) {
            self.addresses(cx);
        }
        let now = time(cx);
        self.call(|node| node.handle_timeout(now));
        self.act(cx);
    }

    pub(crate) fn handle_command(&mut self, cx: &mut Cx<'_>, mut command: Command) {
        if let Command::SetMembers(members) = &mut command {
            add_stored(members, |key| self.slots.read(key, |slot| cx.read(slot)));
        }
        let now = time(cx);
        if let Err(error) = self.call(|node| node.request(now, command)) {
            cx.observe(Seen::Rejected(error));
        }
        self.act(cx);
    }

    fn call<T>(&mut self, f: impl FnOnce(&mut Node<Spied>) -> T) -> T {
        let (node, mut f, mut answer) = (&mut self.node, Some(f), None);
        (self.meter)(&mut || answer = f.take().map(|f| f(node)));
        answer.expect("a meter runs what it is given")
    }

    fn event(&mut self, cx: &mut Cx<'_>, event: Event<'_>) {
        let now = time(cx);
        self.call(|node| node.handle_event(now, event));
        self.act(cx);
    }

    fn addresses(&mut self, cx: &mut Cx<'_>) {
        let claimed = self.liar.as_ref().and_then(|liar| liar.claimed(cx.now()));
        let addresses = claimed.unwrap_or_else(|| cx.addresses().to_vec());
        self.event(cx, Event::Interfaces(&addresses));
    }

    fn open(&mut self, conn: ConnId, stream: StreamId) {
        self.streams.insert(conn, stream);
        self.conns.insert(stream, conn);
        self.links.insert(stream, Link::default());
    }

    fn forget(&mut self, stream: StreamId) -> Option<ConnId> {
        self.links.remove(&stream);
        let conn = self.conns.remove(&stream)?;
        self.streams.remove(&conn);
        Some(conn)
    }

    /// Writes what the node has written and the socket had no room for.
    fn flush(&mut self, cx: &mut Cx<'_>, stream: StreamId) {
        let Some(link) = self.links.get_mut(&stream) else { return };
        let taken = cx.write(stream, &link.unwritten);
        link.unwritten.drain(..taken);
        if !link.unwritten.is_empty() {
            return;
        }
        if link.closing {
            cx.close(stream);
            self.forget(stream);
        } else if let Some(conn) = self.conns.get(&stream).copied() {
            self.event(cx, Event::Writable(conn));
        }
    }

    /// Does what the node says until it says "wait".
    fn act(&mut self, cx: &mut Cx<'_>) {
        let now = time(cx);
        let mut buf = std::mem::take(&mut self.buf);
        loop {
            match self.call(|node| node.poll(now, &mut buf)) {
                Action::Send { to, len } => cx.send(any(to), to, &buf[..len]),
                Action::Dial { conn, to } => {
                    let stream = cx.dial(to);
                    self.open(conn, stream);
                }
                Action::Write { conn, len } => self.write(cx, now, conn, &buf[..len]),
                Action::Close { conn } => self.close(cx, conn),
                Action::Resume { conn } => {
                    if let Some(stream) = self.streams.get(&conn) {
                        cx.resume(*stream);
                    }
                }
                Action::Store { id, item } => self.store(cx, now, id, item),
                // Nobody resolves names here.
                Action::Resolve { id, .. } => {
                    self.call(|node| node.handle_event(now, Event::Resolved(id, &[])));
                }
                Action::Stream(_) => {}
                Action::Notify(notice) => self.tell(cx, notice),
                Action::Wait(deadline) => {
                    cx.set_deadline(deadline.map(Instant::as_nanos));
                    break;
                }
            }
        }
        self.buf = buf;
    }

    fn write(&mut self, cx: &mut Cx<'_>, now: Instant, conn: ConnId, bytes: &[u8]) {
        let Some(stream) = self.streams.get(&conn).copied() else { return };
        let taken = cx.write(stream, bytes);
        if taken == bytes.len() {
            self.call(|node| node.handle_event(now, Event::Writable(conn)));
        } else if let Some(link) = self.links.get_mut(&stream) {
            link.unwritten.extend_from_slice(&bytes[taken..]);
        }
    }

    fn store(&mut self, cx: &mut Cx<'_>, now: Instant, id: StoreId, item: StoreItem) {
        let write = match item {
            StoreItem::Own(_) if self.plant == Some(Plant::OwnRecordNotWritten) => {
                self.call(|node| node.handle_event(now, Event::Stored(id)));
                return;
            }
            StoreItem::Own(record) => self.slots.put(cx, OWN, record.as_bytes()),
            StoreItem::Peer(mut peer) => {
                self.entries_written += 1;
                if self.plant == Some(Plant::OldEntriesWritten) && self.entries_written.is_multiple_of(2) {
                    let old = self.old.iter().find(|member| member.public_key == peer.public_key);
                    peer.record = old.and_then(|member| member.lock_record.clone());
                }
                self.slots.put(cx, &peer_key(&peer.public_key), &encode_peer(&peer))
            }
        };
        self.writes.insert(write, id);
    }

    fn close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let Some(stream) = self.streams.remove(&conn) else { return };
        self.conns.remove(&stream);
        match self.links.get_mut(&stream) {
            Some(link) if !link.unwritten.is_empty() => link.closing = true,
            _ => {
                cx.close(stream);
                self.links.remove(&stream);
            }
        }
    }

    fn tell(&self, cx: &mut Cx<'_>, notice: Notice) {
        cx.observe(match notice {
            Notice::Published { .. } => {
                let record = self.node.record().expect("a node that publishes has a record");
                Seen::Published(Box::new(record.clone()))
            }
            Notice::ChannelUp { peer, conn, origin, .. } => match self.streams.get(&conn) {
                Some(stream) => Seen::ChannelUp { peer, conn, stream: *stream, origin },
                None => Seen::Notice(notice),
            },
            Notice::ChannelDown { peer, conn, reason, .. } => Seen::ChannelDown { peer, conn, reason },
            _ => Seen::Notice(notice),
        });
    }
}

/// Gives the members of a lock file what the database has of them.
fn add_stored(members: &mut [MemberConfig], read: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    for member in members {
        if let Some(entry) = read(&peer_key(&member.public_key)) {
            let stored = decode_peer(member.public_key, &entry);
            member.stored_record = stored.record;
            member.last_good = stored.last_good;
        }
    }
}

/// Where a member's entry stands on the disk.
pub fn peer_key(key: &PublicKey) -> Vec<u8> {
    [b"peer".as_slice(), &key.compressed()].concat()
}

/// A record from a disk.
///
/// # Panics
///
/// If it is none: then the disk holds what no node wrote.
pub fn decode_record(bytes: &[u8]) -> Record {
    Record::decode(bytes, &Spied::new(Some(Rc::default()))).expect("a record on the disk is whole")
}

/// A member's entry from a disk: the length of the record in two bytes, the record, the last good endpoint.
///
/// # Panics
///
/// If it is none.
pub fn decode_peer(public_key: PublicKey, bytes: &[u8]) -> StoredPeer {
    let (len, rest) = bytes.split_at(2);
    let (record, endpoint) = rest.split_at(usize::from(u16::from_be_bytes([len[0], len[1]])));
    let endpoint = std::str::from_utf8(endpoint).expect("text");
    StoredPeer {
        public_key,
        record: (!record.is_empty()).then(|| decode_record(record)),
        last_good: (!endpoint.is_empty()).then(|| endpoint.parse().expect("an endpoint")),
    }
}

fn encode_peer(peer: &StoredPeer) -> Vec<u8> {
    let record = peer.record.as_ref().map_or(&[][..], Record::as_bytes);
    let endpoint = peer.last_good.map(|endpoint| endpoint.to_string()).unwrap_or_default();
    let len = u16::try_from(record.len()).expect("at most 300 bytes").to_be_bytes();
    [&len, record, endpoint.as_bytes()].concat()
}

fn time(cx: &Cx<'_>) -> Instant {
    Instant::from_nanos(cx.now())
}

fn any(to: SocketAddr) -> SocketAddr {
    debug_assert!(matches!(to.ip(), IpAddr::V4(_)), "the simulated nodes have IPv4 sockets only");
    (Ipv4Addr::UNSPECIFIED, PORT).into()
}
