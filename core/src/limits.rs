//! Every bound of the core, by name. Relations between them are checked when this compiles.

/// Largest Ethereum Node Record, in bytes of RLP (EIP-778).
pub const MAX_RECORD_SIZE: usize = 300;
/// Largest text form of a record: `enr:` and unpadded base64url.
pub const MAX_RECORD_TEXT: usize = 4 + (MAX_RECORD_SIZE * 4).div_ceil(3);
/// Most members in a cluster (the node's own key included). Charon's lists end at 256.
pub const MAX_MEMBERS: usize = 256;

/// Largest discv5 packet (discv5 wire, "UDP Communication").
pub const MAX_PACKET_SIZE: usize = 1280;
/// Smallest discv5 packet: a WHOAREYOU (discv5 wire, "UDP Communication").
pub const MIN_PACKET_SIZE: usize = 63;

const _: () = assert!(MAX_RECORD_TEXT == 404);
const _: () = assert!(MIN_PACKET_SIZE < MAX_PACKET_SIZE);

// Discovery (discv5). The pools whose size an embedder chooses stand in `discovery::Config`.

/// Longest request id of a message (discv5 wire, "Protocol Messages").
pub const MAX_REQUEST_ID: usize = 8;
/// Most distances that a FINDNODE of ours names.
pub const MAX_QUERY_DISTANCES: usize = 8;
/// Most records in the answer to one FINDNODE, in both directions (discv5 wire, "FINDNODE Request").
pub const MAX_NODES_RECORDS: usize = 16;
/// Most NODES packets in the answer to one FINDNODE, in both directions (go-ethereum reads five).
pub const MAX_NODES_PACKETS: usize = 5;
/// Largest content of any discv5 message: a packet without its header and tag.
pub const MAX_MESSAGE_SIZE: usize = MAX_PACKET_SIZE - 16 - 23 - 32 - 16;
/// Largest protocol name and request of a TALKREQ together, and largest response: what an ordinary packet
/// holds beside an 8-byte request id and the RLP headers.
pub const MAX_TALK_PAYLOAD: usize = MAX_MESSAGE_SIZE - 1 - 3 - 1 - MAX_REQUEST_ID - 3 - 3;
/// Longest name of a TALK protocol that an embedder can accept.
pub const MAX_TALK_PROTOCOL: usize = 64;
/// Most TALK protocols that an embedder can accept.
pub const MAX_TALK_PROTOCOLS: usize = 16;
/// How often one handshake packet is sent again when its challenge comes again.
pub const MAX_HANDSHAKE_REPEATS: u8 = 3;
/// Signatures that are checked for one WHOAREYOU before it counts as used up.
pub const MAX_CHALLENGE_CHECKS: u8 = 4;
/// Messages that one session key encrypts before a new handshake is made; below 2³², so that the
/// counter in a nonce never repeats.
pub const MAX_SESSION_MESSAGES: u32 = 1 << 30;
/// Nonces of received packets that a session remembers, to recognise what comes twice.
pub const RECENT_NONCES: usize = 16;
/// Nonces of one request that may still be answered by a WHOAREYOU.
pub const MAX_REQUEST_NONCES: usize = 6;
/// Places of a routing table's bucket (discv5 theory, "Node Table": k).
pub const BUCKET_SIZE: usize = 16;
/// Distance classes of the routing table: distances 256 down to 256 − 23 apart, all nearer ones together.
pub const BUCKETS: usize = 24;
/// Waiting candidates of a bucket: seen, not verified or without a place.
pub const BUCKET_SPARES: usize = 16;
/// Nodes of one IPv4 /24 or IPv6 /48 in a bucket (loopback, private networks and members excepted).
pub const PREFIX_PER_BUCKET: usize = 2;
/// Nodes of one IPv4 /24 or IPv6 /48 in the table (loopback, private networks and members excepted).
pub const PREFIX_PER_TABLE: usize = 10;
/// Nodes closest to its target that a lookup asks before it ends (k).
pub const LOOKUP_WIDTH: usize = 16;
/// Queries of one lookup in flight at a time (α).
pub const LOOKUP_PARALLEL: usize = 3;
/// Candidates that a lookup keeps, the nearest first.
pub const LOOKUP_CANDIDATES: usize = 48;

const _: () = assert!(MAX_SESSION_MESSAGES < u32::MAX);
const _: () = assert!(MAX_TALK_PAYLOAD > 1024 && MAX_TALK_PAYLOAD < MAX_MESSAGE_SIZE);
const _: () = assert!(BUCKETS >= 17 && BUCKETS < 256);
const _: () = assert!(LOOKUP_CANDIDATES > LOOKUP_WIDTH && LOOKUP_PARALLEL <= LOOKUP_WIDTH);
// Records of the largest size: at least three fit into a packet, so sixteen need six packets, and the
// answer is cut after five (15 records). Ordinary records are smaller and all sixteen fit.
const _: () = assert!(3 * MAX_RECORD_SIZE + 24 <= MAX_MESSAGE_SIZE);
