//! What an embedder chooses: times and the sizes of the pools.

use core::time::Duration;

use super::peer::IpRange;
use crate::limits::MAX_ALLOWED_RANGES;

/// Times and sizes of a [`Discovery`](super::Discovery). Pools are allocated once, from these numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long the first try of a request waits for its answer; the second waits half as long
    /// again, the third twice as long, and so on (discv5 wire: 500 ms).
    pub request_timeout: Duration,
    /// How long a handshake packet waits for its answer, counted from when it was sent (discv5
    /// wire: 1 s).
    pub handshake_timeout: Duration,
    /// Tries of one request. Three, with the timeouts above, last 2.25 s: longer than the one
    /// second for which other implementations keep a challenge.
    pub attempts: u8,
    /// How long a WHOAREYOU of ours may be answered.
    pub challenge_lifetime: Duration,
    /// How long replaced session keys go on decrypting.
    pub old_keys_lifetime: Duration,
    /// How soon, at most, a node that was just seen or changed its address is pinged.
    pub fresh_check: Duration,
    /// How often a member is pinged, on average.
    pub member_check: Duration,
    /// How often any other node of the table is pinged, on average.
    pub check: Duration,
    /// How often a lookup refreshes the table, on average.
    pub refresh: Duration,
    /// How soon the lookup of the own id is repeated while nobody answers.
    pub bootstrap_retry: Duration,
    /// When a lookup stops waiting for one query and asks another node beside it.
    pub query_patience: Duration,
    /// When a lookup gives one query up, however often its request was sent.
    pub query_timeout: Duration,
    /// When a lookup ends, whatever is still missing.
    pub lookup_timeout: Duration,
    /// How long the embedder may take to answer a TALKREQ; then it is answered with an empty
    /// response. Peers give up after half a second or so.
    pub talk_timeout: Duration,
    /// Whether IPv4 endpoints can be reached.
    pub ipv4: bool,
    /// Whether IPv6 endpoints can be reached.
    pub ipv6: bool,
    /// Only these addresses are heard and contacted; all when there is none.
    pub allowed: [Option<IpRange>; MAX_ALLOWED_RANGES],
    /// Whether the table and lookups take only a few nodes of one address prefix, and only some that
    /// came to us. Loopback and private addresses, and members, are exempt in any case.
    pub prefix_limits: bool,
    /// Nodes in the routing table, members and waiting candidates included.
    pub nodes: usize,
    /// Established sessions.
    pub sessions: usize,
    /// Sessions whose AES keys are kept ready, those that were used last among them: a packet in them costs half
    /// as much. 832 bytes each with [`RustCrypto`](crate::crypto::RustCrypto); 0 for none.
    pub kept_keys: usize,
    /// Open WHOAREYOU challenges. Half of them are left to members at endpoints known as theirs.
    pub challenges: usize,
    /// Address prefixes whose budgets are kept.
    pub prefixes: usize,
    /// Verified records that are remembered, so as not to verify them again.
    pub verified_records: usize,
    /// Requests of ours under way, those of lookups and checks included (at most 65,535). An eighth
    /// of them is left to the embedder's own.
    pub requests: usize,
    /// Answers of ours that wait to be sent.
    pub responses: usize,
    /// Lookups at the same time, the table's own included.
    pub lookups: usize,
    /// Buffers for TALK requests and responses, in each direction.
    pub talks: usize,
    /// Events of lesser weight that wait to be polled; when full, the oldest of them is dropped.
    /// Ends of requests and lookups, and what is learned about nodes of the table, never are.
    pub events: usize,
}

impl Default for Config {
    /// For a member of a cluster in a network of any size: about 1.7 MiB.
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_millis(500),
            handshake_timeout: Duration::from_secs(1),
            attempts: 3,
            challenge_lifetime: Duration::from_secs(2),
            old_keys_lifetime: Duration::from_secs(60),
            fresh_check: Duration::from_secs(1),
            member_check: Duration::from_secs(20),
            check: Duration::from_secs(180),
            refresh: Duration::from_secs(600),
            bootstrap_retry: Duration::from_secs(10),
            query_patience: Duration::from_millis(800),
            query_timeout: Duration::from_secs(4),
            lookup_timeout: Duration::from_secs(20),
            talk_timeout: Duration::from_millis(300),
            ipv4: true,
            ipv6: true,
            allowed: [None; MAX_ALLOWED_RANGES],
            prefix_limits: true,
            nodes: 1024,
            sessions: 1024,
            kept_keys: 64,
            challenges: 512,
            prefixes: 1024,
            verified_records: 1024,
            requests: 128,
            responses: 64,
            lookups: 8,
            talks: 16,
            events: 64,
        }
    }
}
