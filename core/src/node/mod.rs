//! The public machine over all others: events in, actions out (`ARCHITECTURE.md`, "The machine").
//!
//! One loop drives it: feed one event, then [`Node::poll`] until [`Action::Wait`]. The node alone
//! routes between the machines below it:
//!
//! - [`refresh`](crate::refresh) settles the own record; until that is published nothing is dialled
//!   and no datagram is answered;
//! - [`discovery`] tells of members' newer records and of our address as seen by
//!   members;
//! - [`cluster`](crate::cluster) says whom to dial and whom to look up, and who is admitted;
//! - [`handshake`](crate::handshake) and [`channel`](crate::channel) run on each connection.
//!
//! # Memory
//!
//! Nothing is allocated after [`Node::new`]. On a 64-bit target a node of a cluster of `members`, with
//! `streams` streams a channel ([`Config::streams`]), needs up to
//!
//! ```text
//! 2,250,000 + (members - 1) * (56,000 + 900 * streams) bytes
//! ```
//!
//! most of it discovery's tables. Beside that a driver has one buffer to poll into, and for each connection
//! one to receive into ([`CHANNEL_READ_SIZE`](crate::limits::CHANNEL_READ_SIZE)), and for each stream
//! that somebody reads slowly one of up to a window.

mod action;
mod config;
mod connect;
mod conns;
mod dials;
mod discover;
mod inbound;
mod members;
mod notice;
mod poll;
mod receive;
mod services;
#[cfg(test)]
mod sizes;
mod store;
mod streams;
mod talk;
#[cfg(test)]
mod tests;
mod text;
mod view;

use alloc::{boxed::Box, collections::VecDeque, string::String, vec::Vec};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use action::{
    Action, Command, ConnId, DialError, Event, RequestError, RequestId, ResolveId, StoreId, StoreItem,
    StoredPeer,
};
pub use config::Config;
use conns::Conns;
pub use notice::{Failure, Notice};
pub use receive::ReceiveBuffer;
use services::Services;
pub use services::{LocalInfo, LocalInfoError, PeerInfo};
pub use store::Store;
pub use streams::{ProtocolId, StreamError, StreamEvent, StreamId, StreamWrite};
pub use text::Text;
pub use view::{ChannelView, Counters, MemberSnapshot, MemberView, Snapshot};

use crate::{
    channel::{ChannelConfig, Memory, Protocols, ProtocolsError},
    cluster::{Cluster, ClusterError, MemberIndex, Origin},
    crypto::{Crypto, Identity, RustCrypto},
    discovery::{self, Discovery, LookupId},
    handshake::StaticKey,
    id::{NodeId, PeerId},
    limits::{
        CHANNEL_WRITE_SIZE, HANDSHAKE_WRITE_SIZE, MAX_ADDRESSES, MAX_ATTEMPTS, MAX_CHANNELS_PER_MEMBER,
        MAX_HOSTNAME, MAX_MEMBER_LOOKUPS, MAX_PACKET_SIZE, MAX_PENDING_INBOUND, MAX_PENDING_PER_MEMBER,
        MAX_REQUESTED_LOOKUPS, MAX_REQUESTED_TALKS, NOTICES_BASE, RESOLVE_FIRST_WAIT, RESOLVE_INTERVAL,
        RESOLVE_RETRY, SERVICE_WRITE_SIZE, STORE_RETRY,
    },
    record::{BuildError, Builder},
    refresh::{LocalRecord, Source, Sources, Start, Votes, quorum},
    rng::Rng,
    time::Instant,
    zoo::{self, Bug},
};

/// Least size of the buffer handed to [`Node::poll`], in bytes.
pub const MIN_BUFFER: usize = {
    let channel =
        if CHANNEL_WRITE_SIZE > HANDSHAKE_WRITE_SIZE { CHANNEL_WRITE_SIZE } else { HANDSHAKE_WRITE_SIZE };
    let channel = if channel > SERVICE_WRITE_SIZE { channel } else { SERVICE_WRITE_SIZE };
    if channel > MAX_PACKET_SIZE { channel } else { MAX_PACKET_SIZE }
};

/// Why a node cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The members are refused.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The hostname is empty or longer than 253 bytes.
    #[error("the hostname to advertise is empty or longer than {MAX_HOSTNAME} bytes")]
    Hostname,
    /// A name in [`Config::protocols`] is refused; positions count the node's own names before it.
    #[error("the embedder's protocols are refused: {0}")]
    Protocols(#[from] ProtocolsError),
    /// What the node says of itself is refused.
    #[error(transparent)]
    Info(#[from] LocalInfoError),
    /// The own record cannot be built.
    #[error("the node's own record cannot be built: {0}")]
    Record(#[from] BuildError),
}

/// A write of a member's entry.
#[derive(Clone, Copy, Debug, Default)]
struct PeerStore {
    in_flight: Option<StoreId>,
    retry_at: Option<Instant>,
}

/// The configured hostname and its queries.
#[derive(Debug)]
struct Hostname {
    name: String,
    /// The newest query, and the newest that was answered. A slow resolver's answer to an older
    /// query than the newest still counts.
    asked: Option<ResolveId>,
    answered: Option<ResolveId>,
    next: Instant,
    /// Until then the first record waits for the first answer: it is to carry the right address at
    /// once, not a second record a moment later.
    first_until: Option<Instant>,
}

/// A lookup that the embedder asked for.
#[derive(Clone, Copy, Debug)]
struct RequestedLookup {
    request: RequestId,
    lookup: LookupId,
    target: NodeId,
}

/// A node: everything between the sockets and the embedder.
#[derive(Debug)]
pub struct Node<C: Crypto = RustCrypto> {
    identity: Identity<C>,
    now: Instant,
    local: LocalRecord,
    votes: Votes,
    /// The highest number of an own record that another process signed, as far as that was told.
    key_used_twice: u64,
    services: Services,
    discovery: Discovery<C>,
    cluster: Cluster,
    conns: Conns,
    static_key: StaticKey,
    handshake_rng: Rng,
    channel_rng: Rng,
    channel_config: ChannelConfig,
    /// Stream tables not in use: allocated once, handed from channel to channel.
    memories: Vec<Memory>,
    /// Channels that ended: their streams' users are to be told. One event ends each connection once.
    lost: VecDeque<(ConnId, PeerId, Failure)>,
    /// A connection that found no slot: closed next.
    turned_away: heapless::Vec<ConnId, 4>,
    own_store: Option<StoreId>,
    peer_stores: Box<[PeerStore]>,
    hostname: Option<Hostname>,
    lookups: heapless::Vec<RequestedLookup, MAX_REQUESTED_LOOKUPS>,
    talks: heapless::Vec<talk::RequestedTalk, MAX_REQUESTED_TALKS>,
    readable_talk: Option<talk::ReadableTalk>,
    /// The lookup of each member that is under way: one at a time.
    member_lookups: Box<[Option<LookupId>]>,
    ping_interval: Duration,
    notices: VecDeque<Notice>,
    notices_limit: usize,
    next_id: u64,
    /// Connections accepted so far.
    accepted: u64,
    running: bool,
    shutting_down: bool,
    counters: Counters,
}

impl Node<RustCrypto> {
    /// A node with the default cryptography. Tell it of the interfaces
    /// ([`Event::Interfaces`]) before the first [`Node::poll`], so that its first record is right.
    pub fn new(now: Instant, config: Config) -> Result<Self, ConfigError> {
        Self::with_crypto(now, config, RustCrypto)
    }
}

impl<C: Crypto> Node<C> {
    /// A node with another cryptography.
    pub fn with_crypto(now: Instant, config: Config, crypto: C) -> Result<Self, ConfigError> {
        let identity = Identity::new(crypto, config.secret);
        let seed = &config.seed;
        let mut cluster = Cluster::new(
            identity.crypto(),
            *identity.public_key(),
            &config.members,
            config.member_room,
            seed.stream("cluster"),
        )?;
        for address in &config.addresses {
            cluster.handle_address(now, *address);
        }
        let hostname = match config.hostname {
            Some(name) if name.is_empty() || name.len() > MAX_HOSTNAME => return Err(ConfigError::Hostname),
            Some(name) => Some(Hostname {
                name,
                asked: None,
                answered: None,
                next: now,
                first_until: Some(now + RESOLVE_FIRST_WAIT),
            }),
            None => None,
        };
        let start = Start {
            stored: config.stored_record,
            lock: config.lock_record,
            wall_clock_ms: config.wall_clock_ms,
        };
        let local = LocalRecord::new(&identity, start, Sources::new(&config.configured, config.bound));
        // Until the own record is published, discovery is not driven; it only needs one to hold.
        let held = match local.base() {
            Some(record) => record.clone(),
            None => Builder::new().sign(0, &identity)?,
        };
        // Room for all that there may be later.
        let others = cluster.room().saturating_sub(1);
        let discovery_config = discovery::Config {
            // After an outage of our own every member is looked up at once.
            lookups: others.min(MAX_MEMBER_LOOKUPS) + MAX_REQUESTED_LOOKUPS,
            ipv4: config.bound.udp4.is_some(),
            ipv6: config.bound.udp6.is_some(),
            ..config.discovery.unwrap_or_default()
        };
        let mut discovery = Discovery::new(discovery_config, &held, seed.stream("discovery"));
        for (_, member) in cluster.members() {
            if let Some(record) = member.record() {
                let _ = discovery.add_record(now, record, true);
            }
        }
        for bootnode in &config.bootnodes {
            let _ = discovery.add_record(now, bootnode, false);
        }
        let names = services::NAMES.into_iter().chain(config.protocols.iter().map(String::as_str));
        let protocols = Protocols::new(names)?;
        config.info.check()?;
        let mut handshake_rng = seed.stream("handshake");
        // A member's channels, and as many attempts as may be under way at a time, both ways.
        let each = MAX_CHANNELS_PER_MEMBER + MAX_ATTEMPTS + MAX_PENDING_PER_MEMBER;
        let slots = others * each + MAX_ADDRESSES + MAX_PENDING_INBOUND;
        // One event can end every connection, and tell of each what became of it and of its member.
        let notices_limit = NOTICES_BASE + 2 * slots;
        let channels = others * (MAX_CHANNELS_PER_MEMBER + 1) + 1;
        Ok(Self {
            static_key: StaticKey::new(&identity, &mut handshake_rng),
            handshake_rng,
            channel_rng: seed.stream("channel"),
            channel_config: ChannelConfig {
                ping_interval: Some(config.ping_interval),
                protocols,
                ..ChannelConfig::default()
            },
            memories: (0..channels).map(|_| Memory::new(config.streams)).collect(),
            lost: VecDeque::with_capacity(slots),
            now,
            local,
            votes: Votes::new(others),
            key_used_twice: 0,
            services: Services::new(now, config.wall_clock_ms, config.info, others, channels),
            discovery,
            conns: Conns::new(slots),
            turned_away: heapless::Vec::new(),
            own_store: None,
            peer_stores: (0..others).map(|_| PeerStore::default()).collect(),
            cluster,
            hostname,
            lookups: heapless::Vec::new(),
            talks: heapless::Vec::new(),
            readable_talk: None,
            member_lookups: (0..others).map(|_| None).collect(),
            ping_interval: config.ping_interval,
            notices: VecDeque::with_capacity(notices_limit),
            notices_limit,
            next_id: 0,
            accepted: 0,
            running: false,
            shutting_down: false,
            counters: Counters::default(),
            identity,
        })
    }

    /// A UDP datagram arrived at the socket bound to `local`. It is decrypted in place.
    ///
    /// Before the own record is published datagrams are dropped and counted: peers retry.
    pub fn handle_datagram(&mut self, now: Instant, local: SocketAddr, from: SocketAddr, bytes: &mut [u8]) {
        // Which socket it was matters once answers may leave by either of two of one family.
        let _ = local;
        let now = self.now.advance(now);
        if !self.running || self.shutting_down {
            self.counters.datagrams_before_start += 1;
            return;
        }
        self.discovery.handle_datagram(&self.identity, now, canonical(from), bytes);
        self.route_discovery(now);
    }

    /// A connection from there was accepted: returns its name. It counts as writable. The node may have
    /// turned it away: then [`Action::Close`] follows.
    pub fn accept(&mut self, now: Instant, from: SocketAddr) -> ConnId {
        let now = self.now.advance(now);
        let conn = ConnId::accepted(self.accepted);
        self.accepted += 1;
        self.accepted(now, conn, canonical(from));
        conn
    }

    /// Bytes of a connection: all that arrived and were not taken yet. Returns how many were taken
    /// from the front; the rest stays with the driver, exactly as it is now, and is offered again
    /// with what arrives later or after [`Action::Resume`]: [`ReceiveBuffer`] does that. A receive buffer of
    /// [`CHANNEL_READ_SIZE`](crate::limits::CHANNEL_READ_SIZE) bytes always makes progress;
    /// smaller ones do until the connection is a channel.
    pub fn handle_bytes(&mut self, now: Instant, conn: ConnId, bytes: &mut [u8]) -> usize {
        let now = self.now.advance(now);
        self.connection_bytes(now, conn, bytes)
    }

    /// Something else happened.
    pub fn handle_event(&mut self, now: Instant, event: Event<'_>) {
        let now = self.now.advance(now);
        match event {
            Event::Connected(conn) => self.dial_succeeded(now, conn),
            Event::DialFailed(conn, error) => self.end(now, conn, Failure::Dial(error)),
            Event::Writable(conn) => {
                if let Some(conn) = self.conns.find(conn) {
                    conn.writable = true;
                }
            }
            Event::Closed(conn) => self.end(now, conn, Failure::ClosedByPeer),
            Event::Stored(id) => self.stored(now, id, true),
            Event::StoreFailed(id) => self.stored(now, id, false),
            Event::Resolved(id, addresses) => self.resolved(now, id, addresses),
            Event::Interfaces(addresses) => self.interfaces(now, addresses),
            Event::WallClock(ms) => self.services.set_wall_clock(now, ms),
        }
    }

    /// Time has passed. Needed when [`Action::Wait`]'s moment comes, harmless at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.now.advance(now);
        self.local.handle_timeout(now);
        for store in &mut self.peer_stores {
            if store.retry_at.is_some_and(|at| now >= at) {
                store.retry_at = None;
            }
        }
        self.connection_timeouts(now);
        self.services.handle_timeout(now);
        if self.running && !self.shutting_down {
            self.discovery.handle_timeout(now);
            self.route_discovery(now);
        }
    }

    /// Asks for something: the only input that can be refused. The answer is a [`Notice`].
    pub fn request(&mut self, now: Instant, command: Command) -> Result<RequestId, RequestError> {
        let now = self.now.advance(now);
        if self.shutting_down {
            return Err(RequestError::NotRunning);
        }
        let request = RequestId(self.fresh_id());
        match command {
            Command::Ping(peer) => self.ping(now, peer)?,
            Command::LookUp(target) => self.look_up(now, request, target)?,
            Command::Hint(peer, endpoint) => {
                let member = self.cluster.index_of_peer(&peer).ok_or(RequestError::NotAMember)?;
                self.cluster.handle_hint(now, member, endpoint);
            }
            Command::Bootnodes(bootnodes) => self.set_bootnodes(now, &bootnodes)?,
            Command::Address(address) => self.cluster.handle_address(now, address),
            Command::SetMembers(members) => self.set_members(now, &members)?,
            Command::SetInfo(info) => {
                info.check()?;
                self.services.local = info;
            }
            Command::Shutdown => self.shut_down(now),
        }
        Ok(request)
    }

    fn look_up(&mut self, now: Instant, request: RequestId, target: NodeId) -> Result<(), RequestError> {
        if !self.running {
            return Err(RequestError::NotRunning);
        }
        if self.lookups.is_full() {
            return Err(RequestError::Busy);
        }
        let lookup = self.discovery.lookup(now, target).map_err(|_| RequestError::Busy)?;
        let _ = self.lookups.push(RequestedLookup { request, lookup, target });
        Ok(())
    }

    fn stored(&mut self, now: Instant, id: StoreId, ok: bool) {
        if self.own_store == Some(id) {
            self.own_store = None;
            if ok {
                self.local.handle_stored();
            } else {
                self.local.handle_store_failed(&self.identity, now);
            }
            return;
        }
        let Some(i) = self.peer_stores.iter().position(|store| store.in_flight == Some(id)) else { return };
        self.peer_stores[i].in_flight = None;
        if !ok {
            // Nothing waits for it; the newest entry is written a little later.
            self.peer_stores[i].retry_at = Some(now + STORE_RETRY);
            self.cluster.handle_store_failed(MemberIndex(i as u16));
            self.counters.peer_stores_failed += 1;
        }
    }

    fn resolved(&mut self, now: Instant, id: ResolveId, addresses: &[IpAddr]) {
        let asked = |h: &&mut Hostname| h.answered < Some(id) && Some(id) <= h.asked;
        let Some(hostname) = self.hostname.as_mut().filter(asked) else { return };
        hostname.answered = Some(id);
        hostname.first_until = None;
        if addresses.is_empty() {
            // A resolver that is down does not take an address away.
            hostname.next = now + RESOLVE_RETRY;
            return;
        }
        hostname.next = now + RESOLVE_INTERVAL;
        let addresses = addresses.iter().copied();
        self.local.handle_sources(&self.identity, |s| s.set(Source::Resolved, addresses));
    }

    fn interfaces(&mut self, now: Instant, addresses: &[IpAddr]) {
        let before = self.local.sources().on_interfaces();
        let addresses = addresses.iter().copied();
        self.local.handle_sources(&self.identity, |s| s.set(Source::Interface, addresses));
        let after = self.local.sources().on_interfaces();
        if before == after {
            return;
        }
        // Votes cast for an address that is gone would bring it back with the next one.
        for gone in before.into_iter().flatten().filter(|ip| !after.contains(&Some(*ip))) {
            self.votes.forget_address(gone);
        }
        if self.running {
            self.discovery.check_all(now);
        }
    }

    /// A member saw our packets come from `observed`.
    fn voted(&mut self, now: Instant, from: NodeId, observed: SocketAddr) {
        let observed = canonical(observed);
        if self.cluster.index_of_node(&from).is_none() {
            return;
        }
        self.votes.cast(now, from, observed);
        self.count_votes(now, observed.is_ipv4());
    }

    /// A member saw a connection of ours come from `ip`.
    fn voted_address(&mut self, now: Instant, from: NodeId, ip: IpAddr) {
        if self.cluster.index_of_node(&from).is_some() {
            self.votes.cast_address(now, from, ip);
            self.count_votes(now, ip.is_ipv4());
        }
    }

    fn count_votes(&mut self, now: Instant, ipv4: bool) {
        let needed = quorum(self.cluster.members().count() + 1, self.cluster.connected());
        let needed = if zoo::has(Bug::VotesWithoutQuorum) { 1 } else { needed };
        let current = self.local.sources().voted(ipv4);
        if let Some(voted) = self.votes.winner(now, ipv4, needed, current) {
            self.local.handle_sources(&self.identity, |s| s.set_voted(voted));
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn notify(&mut self, notice: Notice) {
        if self.notices.len() < self.notices_limit {
            self.notices.push_back(notice);
        } else {
            self.counters.notices_dropped += 1;
        }
    }

    fn peer_id(&self, member: MemberIndex) -> PeerId {
        self.cluster.member(member).peer_id()
    }

    fn dialled_origin(origin: Origin) -> bool {
        origin != Origin::Inbound
    }
}

/// IPv4-mapped IPv6 addresses as the IPv4 they stand for.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
