//! What a node is made from.

use alloc::{string::String, vec::Vec};
use core::{net::SocketAddr, time::Duration};

use super::services::LocalInfo;
use crate::{
    cluster::MemberConfig,
    crypto::SecretKey,
    discovery,
    limits::CHANNEL_STREAMS,
    record::Record,
    refresh::{Bound, Configured},
    rng::Seed,
};

/// Everything a node needs to know at its start. The host fills it from its files and flags.
#[derive(Debug)]
pub struct Config {
    /// The node's own key.
    pub secret: SecretKey,
    /// 32 fresh random bytes: every random decision of this start follows from them.
    pub seed: Seed,
    /// The wall clock in milliseconds since 1970 (section 4: the first sequence number).
    pub wall_clock_ms: u64,
    /// All members, ourselves among them.
    pub members: Vec<MemberConfig>,
    /// Most members there may be later ([`Command::SetMembers`](super::Command::SetMembers)), ourselves
    /// included. Memory for them is taken now; fewer than `members` counts as that many.
    pub member_room: usize,
    /// TCP addresses at which any member may be, if it is not known which (at most
    /// [`MAX_ADDRESSES`](crate::limits::MAX_ADDRESSES); of more, the first are forgotten).
    pub addresses: Vec<SocketAddr>,
    /// Our own record in the cluster file.
    pub lock_record: Option<Record>,
    /// Our own record in the node database.
    pub stored_record: Option<Record>,
    /// Ports of the node's sockets.
    pub bound: Bound,
    /// Addresses and ports to advertise, if configured.
    pub configured: Configured,
    /// A hostname to advertise the addresses of, resolved again and again.
    pub hostname: Option<String>,
    /// Nodes outside the cluster through which others can be found.
    pub bootnodes: Vec<Record>,
    /// Times and pool sizes of discovery, if not its defaults. Families and lookups follow from the rest.
    pub discovery: Option<discovery::Config>,
    /// Time between two pings inside a channel.
    pub ping_interval: Duration,
    /// Names of the embedder's protocols (`/name/1.0.0`), spoken on streams inside channels.
    pub protocols: Vec<String>,
    /// What Charon's peerinfo protocol says of us.
    pub info: LocalInfo,
    /// Streams of one channel, both directions together; the table is allocated at the start, three for
    /// each member.
    pub streams: usize,
}

impl Config {
    /// A configuration with the members and nothing else.
    pub const fn new(secret: SecretKey, seed: Seed, members: Vec<MemberConfig>) -> Self {
        Self {
            secret,
            seed,
            wall_clock_ms: 0,
            members,
            member_room: 0,
            addresses: Vec::new(),
            lock_record: None,
            stored_record: None,
            bound: Bound { udp4: None, tcp4: None, udp6: None, tcp6: None },
            configured: Configured { ip4: None, ip6: None, udp_port: None, tcp_port: None },
            hostname: None,
            bootnodes: Vec::new(),
            discovery: None,
            ping_interval: Duration::from_secs(5),
            protocols: Vec::new(),
            info: LocalInfo::new(),
            streams: CHANNEL_STREAMS,
        }
    }
}
