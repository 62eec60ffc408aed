//! Every bound of the core, by name. Relations between them are checked when this compiles.

use core::time::Duration;

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

// --- refresh ---

/// How long a vote for our address counts.
pub const VOTE_LIFETIME: Duration = Duration::from_secs(300);
/// How often a start makes its record exceed one of the same key that somebody showed: more often only
/// happens with two processes that have one key.
pub const MAX_OWN_EXCEEDED: u8 = 4;
/// After a failed write of the own record, the time until it is tried again.
pub const STORE_RETRY: Duration = Duration::from_secs(2);

// --- cluster ---

/// Endpoints of one member that are dialled in one round.
pub const MAX_ENDPOINTS: usize = 12;
/// Endpoints of one member that the operator can name.
pub const MAX_HINTS: usize = 4;
/// Attempts to one member under way at a time.
pub const MAX_ATTEMPTS: usize = 6;
/// Least time between two rounds of dialling that newer records of one member set off.
pub const DIAL_NEWS_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two attempts to one member, unless the one before has failed already.
pub const DIAL_STAGGER: Duration = Duration::from_millis(200);
/// From the beginning of a round until the member is looked up through the others, if no endpoint
/// has led to a channel by then.
pub const LOOKUP_AFTER: Duration = Duration::from_secs(1);
/// First pause after a round in which every endpoint failed; it doubles each time.
pub const DIAL_BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause between rounds.
pub const DIAL_BACKOFF_MAX: Duration = Duration::from_secs(8);

// Hints, the last good endpoint, and both families of the newest and of the file's record fit.
const _: () = assert!(MAX_ENDPOINTS >= MAX_HINTS + 1 + 2 + 2);

/// Addresses that the operator can name without saying whose they are.
pub const MAX_ADDRESSES: usize = 8;
/// From an answer of a member at such an address until it is dialled again for those still missing.
pub const ADDRESS_AGAIN: Duration = Duration::from_secs(60);

// --- node ---

/// Accepted connections that have not authenticated yet, beside those from members' known addresses.
pub const MAX_PENDING_INBOUND: usize = 32;
/// Of these, from one source: an IPv4 address, or an IPv6 /64.
pub const MAX_PENDING_PER_SOURCE: usize = 8;
/// Accepted connections that have not authenticated yet, from an address where a member is known to be,
/// for each member known there. They have places of their own, which nobody elsewhere can take up.
pub const MAX_PENDING_PER_MEMBER: usize = 4;
/// After a member's record has named another address: time until its channel must have answered a ping.
pub const DOUBT_TIMEOUT: Duration = Duration::from_secs(5);
/// Channels that a member may have at one time: one is used, a second is tolerated (peers that do
/// not deduplicate simultaneous dials), more are closed.
pub const MAX_CHANNELS_PER_MEMBER: usize = 2;
/// Time that the streams of a channel which makes room for another to the same member have to end.
pub const GIVE_WAY_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one channel of a node, both directions together, unless configured otherwise.
pub const CHANNEL_STREAMS: usize = 128;
/// Dials of ours under way beside which no further one begins: more handshakes at one moment would not end in
/// time on a busy host, and be begun again for ever.
pub const MAX_DIALS_AT_ONCE: usize = 16;
/// A dial that is no TCP connection after so long does not count among them: nobody may be there.
pub const DIAL_HANGS: Duration = Duration::from_secs(1);
/// From the start of a dial until it must be a TCP connection.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(4);
/// From a TCP connection until it must be a channel.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Two channels that came about within this time may have been dialled at one moment: then the dialler closes one.
pub const SETTLE_TIME: Duration = Duration::from_secs(9);
/// From the wish to close a channel in good order until it is closed in any.
pub const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Time that the first record waits for the configured hostname's first answer.
pub const RESOLVE_FIRST_WAIT: Duration = Duration::from_secs(3);
/// Time between two queries of the configured hostname.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(60);
/// Time until a failed hostname query, or one that was never answered, is tried again.
pub const RESOLVE_RETRY: Duration = Duration::from_secs(10);
/// Longest hostname (RFC 1035, section 2.3.4).
pub const MAX_HOSTNAME: usize = 253;
/// Lookups asked for by the embedder that may be under way.
pub const MAX_REQUESTED_LOOKUPS: usize = 8;
/// TALKREQs asked for by the embedder that may be under way.
pub const MAX_REQUESTED_TALKS: usize = 16;
/// Lookups of members that may be under way, beside the embedder's; in a larger cluster the others
/// are looked up in their next round.
pub const MAX_MEMBER_LOOKUPS: usize = 32;
/// Notices waiting to be polled, beside two for each connection; more are dropped and counted. The
/// driver polls until [`Wait`](crate::node::Action::Wait) after each event, and no event makes more.
pub const NOTICES_BASE: usize = 32;

const _: () = assert!(2 * MAX_PENDING_PER_SOURCE <= MAX_PENDING_INBOUND, "one source cannot take half");
const _: () = assert!(SETTLE_TIME.as_nanos() >= DIAL_TIMEOUT.as_nanos() + HANDSHAKE_TIMEOUT.as_nanos());
const _: () = assert!(DIAL_HANGS.as_nanos() < DIAL_TIMEOUT.as_nanos());
const _: () = assert!(DOUBT_TIMEOUT.as_nanos() < PING_TIMEOUT.as_nanos());

// --- handshake and channel ---

/// Longest protocol name in a multistream-select line, in bytes. A longer proposal ends the negotiation.
pub const MAX_PROTOCOL_NAME: usize = 128;
/// Most proposals a peer may make in one negotiation before it is ended.
pub const MAX_PROPOSALS: u8 = 8;
/// Longest Noise handshake message that is read, in bytes without its 2-byte length. An RSA-2048
/// identity would fit, so that such a peer is told apart from a broken one.
pub const MAX_HANDSHAKE_MESSAGE: usize = 1024;
/// Least receive buffer for a handshake, in bytes: one whole message.
pub const HANDSHAKE_READ_SIZE: usize = 2 + MAX_HANDSHAKE_MESSAGE;
/// Longest identity payload of our own, in bytes: 37-byte key, DER signature, one muxer, and their tags.
pub const MAX_OWN_PAYLOAD: usize = 39 + 74 + 16;
/// Least buffer to write a handshake into, in bytes: all that a side ever owes at one moment (the
/// header, every refusal, the acceptance, and Noise message 2).
pub const HANDSHAKE_WRITE_SIZE: usize =
    20 + 4 * MAX_PROPOSALS as usize + 8 + 2 + 32 + 48 + MAX_OWN_PAYLOAD + 16;

/// Longest Noise transport message, in bytes without its 2-byte length (noise, "Wire Format").
pub const MAX_NOISE_MESSAGE: usize = 65_535;
/// Least receive buffer for a channel, in bytes: one whole frame.
pub const CHANNEL_READ_SIZE: usize = 2 + MAX_NOISE_MESSAGE;
/// Least buffer to write a channel's frame into, in bytes: the frame's length and tag, a yamux
/// header, and the longest single thing inside it. Larger is better: up to [`CHANNEL_READ_SIZE`].
pub const CHANNEL_WRITE_SIZE: usize = 2 + 16 + 12 + 2 + MAX_PROTOCOL_NAME + 1;
/// The last nonce a Noise key is used with: 2⁶⁴ − 1 is reserved (Noise, "The CipherState object").
pub const MAX_NOISE_NONCE: u64 = u64::MAX - 1;

/// Receive window of a fresh yamux stream, in bytes (yamux, "Flow Control").
pub const YAMUX_WINDOW: u32 = 256 * 1024;
/// Consumed bytes after which a yamux stream's window is given back.
pub const YAMUX_WINDOW_UPDATE: u32 = YAMUX_WINDOW / 2;
/// Streams of one channel, both directions together, unless the configuration says otherwise.
pub const DEFAULT_STREAMS: usize = 64;
/// Resets owed to streams that found no room. When full, no further frame is taken.
pub const MAX_OWED_RESETS: usize = 16;
/// yamux pings owed an answer. When full, no further frame is taken.
pub const MAX_OWED_PONGS: usize = 8;
/// Channel events waiting to be polled. When nearly full, no further frame is taken.
pub const MAX_CHANNEL_EVENTS: usize = 8;
/// Inbound ping streams of one peer (ping, "Protocol": at most two).
pub const MAX_INBOUND_PINGS: usize = 2;
/// Ping streams that may end without an answer, in a row, before the channel is given up.
pub const MAX_PING_FAILURES: u8 = 3;

/// Largest message that the node's own protocols write, in bytes without its length (identify peers read
/// 4,096 in one message).
pub const MAX_SERVICE_MESSAGE: usize = 4_096;
/// Least buffer to write such a message into, whole: the frame's length and tag, a yamux header, and the
/// message's length.
pub const SERVICE_WRITE_SIZE: usize = 2 + 16 + 12 + 2 + MAX_SERVICE_MESSAGE;
/// Streams of the node's own protocols that a peer may have open at a time on one channel.
pub const MAX_INBOUND_SERVICES: usize = 6;
/// From a channel's first answered ping until the node's own protocols begin on it: of two channels after a
/// simultaneous dial one is settled on by then.
pub const SERVICES_AFTER: Duration = Duration::from_millis(200);
/// Time that one stream of the node's own protocols may take.
pub const SERVICE_TIMEOUT: Duration = Duration::from_secs(10);
/// From a channel's first answered ping until its peer is asked about itself (`/charon/peerinfo/2.0.0`).
pub const PEER_INFO_FIRST: Duration = Duration::from_secs(1);
/// Time between two such questions; Charon asks as often.
pub const PEER_INFO_INTERVAL: Duration = Duration::from_secs(60);
/// After records could not be handed over, the time until it is tried again.
pub const RECORDS_RETRY: Duration = Duration::from_secs(5);
/// Signatures of records that one member can make us check in a burst: every record of a full cluster twice.
pub const MAX_RECORD_CHECKS: u32 = 2 * MAX_MEMBERS as u32;
/// Time in which a member earns one more.
pub const RECORD_CHECK_EVERY: Duration = Duration::from_millis(100);
/// Longest text that is kept of a member's own word about itself, in bytes.
pub const MAX_INFO_TEXT: usize = 32;
/// Longest agent version of a libp2p identify that is kept, in bytes.
pub const MAX_AGENT: usize = 64;
/// Longest lock hash, in bytes.
pub const MAX_LOCK_HASH: usize = 32;
/// Protocols that the streams of a node can speak, its own among them.
pub const MAX_PROTOCOLS: usize = 24;
/// Inbound streams of one channel that have not agreed on a protocol yet: the accept backlog. A
/// hundred that a member opens at one moment find room beside the node's own.
pub const MAX_NEGOTIATING_STREAMS: usize = 112;
/// Streams of a channel that only the node itself opens, whatever the peer and the embedder hold. Fewer in
/// small tables: an eighth, at least one.
pub const RESERVED_STREAMS: usize = 8;
/// Time in which offered bytes of a stream must be taken; then the stream is reset, so that the others on
/// its connection go on. Shorter than [`PING_TIMEOUT`], or a full stream would look like a dead peer.
pub const STREAM_HOARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that a negotiation (the muxer's, or a stream's) may take, unless configured otherwise.
pub const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two pings, unless configured otherwise.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Time a ping may take before the channel is given up, unless configured otherwise.
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Time a closing channel waits for its last frame to be written, or the peer's streams to end.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);

const _: () = assert!(HANDSHAKE_WRITE_SIZE < HANDSHAKE_READ_SIZE);
const _: () = assert!(CHANNEL_WRITE_SIZE >= 2 + 16 + 12 + 32, "a ping fits");
const _: () = assert!(YAMUX_WINDOW_UPDATE < YAMUX_WINDOW);
const _: () = assert!(MAX_INBOUND_PINGS < DEFAULT_STREAMS);
const _: () = assert!(MAX_CHANNEL_EVENTS >= 4);
// The key, two addresses, our view of the peer's, two short texts, and every protocol's name.
const _: () =
    assert!(39 + 3 * 32 + 2 * 40 + (MAX_PROTOCOLS + 1) * (MAX_PROTOCOL_NAME + 3) <= MAX_SERVICE_MESSAGE);
const _: () = assert!(STREAM_HOARD_TIMEOUT.as_nanos() < PING_TIMEOUT.as_nanos());

// --- discovery (discv5) ---
//
// The pools whose size an embedder chooses stand in `discovery::Config`.

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
/// How long the answer to a TALKREQ is kept, for when the request comes again.
pub const TALK_ANSWER_LIFETIME: Duration = Duration::from_secs(3);
/// When an answer is tried again that found the pool of answers full.
pub const ANSWER_RETRY: Duration = Duration::from_millis(20);
/// Most TALK protocols that an embedder can accept.
pub const MAX_TALK_PROTOCOLS: usize = 16;
/// Longest handshake packet that is kept, to be sent again when its challenge comes again: one with the largest
/// record and any message but a long TALKREQ. If a longer one is lost, the next try of its request begins anew.
pub const MAX_KEPT_HANDSHAKE: usize = 560;
/// Requests for each handshake packet that is kept: few are sent at one time. One for which there is no room is like
/// one that is too long.
pub const REQUESTS_PER_KEPT_HANDSHAKE: usize = 4;
/// How often one handshake packet is sent again when its challenge comes again.
pub const MAX_HANDSHAKE_REPEATS: u8 = 3;
/// Handshakes made while one session is being opened, whatever the peer challenges.
pub const MAX_OPENING_HANDSHAKES: u8 = 6;
/// How often a request goes out again, beside its tries, because the peer began a session anew: a
/// peer that keeps doing so must not keep a request alive.
pub const MAX_REQUEST_RESENDS: u8 = 3;
/// Signatures that are checked for one WHOAREYOU before it counts as used up.
pub const MAX_CHALLENGE_CHECKS: u8 = 4;
/// Messages that one session key encrypts before a new handshake is made; below 2³², so that the
/// counter in a nonce never repeats.
pub const MAX_SESSION_MESSAGES: u32 = 1 << 30;
/// Ephemeral keys of discovery that are made ahead, while challenges are waited for.
pub const EPHEMERALS_AHEAD: usize = 8;
/// Nonces of received packets that a session remembers, to recognise what comes twice.
pub const RECENT_NONCES: usize = 32;
/// Sessions for each place for keys that are not in force any more, or not yet: few change their keys at one time.
pub const SESSIONS_PER_ASIDE: usize = 16;
/// Such places at least, unless there are fewer sessions.
pub const ASIDES_LEAST: usize = 16;
/// TALKREQs that are remembered after their session has forgotten them, so that each is delivered once.
pub const RECENT_TALKS: usize = 256;
/// Bytes that a session saves up, at most, for answers to packets that come twice. Every authentic
/// packet adds its own size, so that repeats never bring more than came.
pub const MAX_REPEAT_CREDIT: u32 = 4096;
/// Signature checks, for handshakes and records, that may be made at once.
pub const SIGNATURE_CHECKS_BURST: u32 = 1000;
/// Signature checks a second that come on top.
pub const SIGNATURE_CHECKS_PER_SECOND: u32 = 500;
/// Signature checks that only handshakes of members, and records from and of them, may use.
pub const SIGNATURE_CHECKS_RESERVED: u32 = 250;
/// WHOAREYOUs to one IPv4 /24 or IPv6 /48 that may be sent at once (loopback and private excepted).
pub const CHALLENGES_PER_PREFIX: u32 = 64;
/// WHOAREYOUs to one prefix a second that come on top.
pub const CHALLENGES_PER_PREFIX_SECOND: u32 = 16;
/// WHOAREYOUs to one prefix that only members may cause, from endpoints known as theirs.
pub const CHALLENGES_PER_PREFIX_RESERVED: u32 = 16;
/// Bytes to unverified endpoints of one prefix, in packets that we begin, that may be sent at once
/// (loopback and private excepted).
pub const BEGUN_BYTES_PER_PREFIX: u32 = 24 * 1024;
/// Such bytes a second that come on top.
pub const BEGUN_BYTES_PER_PREFIX_SECOND: u32 = 3 * 1024;
/// Such bytes that only requests to members, and the embedder's own, may use.
pub const BEGUN_BYTES_PER_PREFIX_RESERVED: u32 = 16 * 1024;
/// Challenges that may be open for one node at one endpoint.
pub const CHALLENGES_PER_PEER: usize = 2;
/// The part of a challenge's life after which another packet of its peer may get one of its own, or
/// take the place of one whose signature checks are used up.
pub const CHALLENGE_HOLD_PART: u32 = 4;
/// Ranges of addresses that an embedder can allow.
pub const MAX_ALLOWED_RANGES: usize = 16;
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
/// Places of a bucket that nodes may take which we know only because they came to us (loopback,
/// private networks and members excepted).
pub const INBOUND_PER_BUCKET: usize = 10;
/// Nodes closest to its target that a lookup asks before it ends (k).
pub const LOOKUP_WIDTH: usize = 16;
/// Queries of one lookup in flight at a time (α).
pub const LOOKUP_PARALLEL: usize = 3;
/// Candidates that a lookup keeps, the nearest first.
pub const LOOKUP_CANDIDATES: usize = 48;
/// Disjoint paths of one lookup, at most.
pub const LOOKUP_PATHS: usize = 3;
/// Matching records that a lookup keeps, the nearest to its target (k).
pub const LOOKUP_RESULTS: usize = 16;
/// Records that were not verified yet, for each lookup that may be under way; one lookup may have those of others.
pub const HEARD_PER_LOOKUP: usize = 8;
/// How long a lookup of the embedder's waits for the lookup of the own id, when that is the first and nobody has
/// answered yet.
pub const JOIN_WAIT: Duration = Duration::from_secs(2);
/// A quick lookup ends when so many nodes, the nearest to the target, have answered ...
pub const LOOKUP_NEAREST: usize = 3;
/// ... and so many answers in a row, none of them empty, told of nobody new among the nearest [`LOOKUP_WIDTH`].
pub const LOOKUP_QUIET: usize = 2;
/// From a session with a node of the table that has not answered a PING yet until it is pinged, at the most: that
/// costs no handshake.
pub const SESSION_CHECK: Duration = Duration::from_millis(50);
/// From when somebody told of a node until it is pinged, at the most, unless it is heard from before: each costs a
/// handshake.
pub const TOLD_CHECK: Duration = Duration::from_secs(30);
/// From when the embedder names a node that is no member until it is pinged, at the most, unless a lookup asks it
/// before: many may be named at one moment.
pub const SEED_CHECK: Duration = Duration::from_secs(10);
/// Candidates of one lookup in one IPv4 /24 or IPv6 /48, so that no single network surrounds a target
/// (loopback, private networks, nodes kept in the table and the target itself excepted).
pub const PREFIX_PER_LOOKUP: usize = 4;

const _: () = assert!(MAX_SESSION_MESSAGES < u32::MAX);
// IV, static header, ids and sizes, signature, ephemeral key, record, PING or FINDNODE, tag.
const _: () = assert!(16 + 23 + 34 + 64 + 33 + MAX_RECORD_SIZE + 64 + 16 <= MAX_KEPT_HANDSHAKE);
const _: () = assert!(MAX_TALK_PAYLOAD > 1024 && MAX_TALK_PAYLOAD < MAX_MESSAGE_SIZE);
const _: () = assert!(BUCKETS >= 17 && BUCKETS < 256);
const _: () = assert!(SIGNATURE_CHECKS_RESERVED < SIGNATURE_CHECKS_BURST);
const _: () = assert!(CHALLENGES_PER_PREFIX_RESERVED < CHALLENGES_PER_PREFIX);
const _: () = assert!(BEGUN_BYTES_PER_PREFIX_RESERVED < BEGUN_BYTES_PER_PREFIX);
const _: () = assert!(INBOUND_PER_BUCKET < BUCKET_SIZE && PREFIX_PER_BUCKET <= INBOUND_PER_BUCKET);
const _: () = assert!(LOOKUP_PATHS <= LOOKUP_PARALLEL && PREFIX_PER_LOOKUP < LOOKUP_WIDTH);
const _: () = assert!(CHALLENGES_PER_PEER == 2, "a challenge is the first or the second of its peer");
const _: () = assert!(LOOKUP_RESULTS <= LOOKUP_WIDTH && LOOKUP_NEAREST <= LOOKUP_WIDTH);
const _: () = assert!(LOOKUP_CANDIDATES > LOOKUP_WIDTH && LOOKUP_PARALLEL <= LOOKUP_WIDTH);
// Records of the largest size: at least three fit into a packet, so sixteen need six packets, and the
// answer is cut after five (15 records). Ordinary records are smaller and all sixteen fit.
const _: () = assert!(3 * MAX_RECORD_SIZE + 24 <= MAX_MESSAGE_SIZE);
