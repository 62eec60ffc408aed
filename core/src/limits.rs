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
/// After a failed write of the own record, the time until it is tried again.
pub const STORE_RETRY: Duration = Duration::from_secs(2);

// --- cluster ---

/// Endpoints of one member that are dialled in one round.
pub const MAX_ENDPOINTS: usize = 12;
/// Endpoints of one member that the operator can name.
pub const MAX_HINTS: usize = 4;
/// Time between two attempts to one member, unless the one before has failed already.
pub const DIAL_STAGGER: Duration = Duration::from_millis(200);
/// First pause after a round in which every endpoint failed; it doubles each time.
pub const DIAL_BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause between rounds.
pub const DIAL_BACKOFF_MAX: Duration = Duration::from_secs(8);

// Hints, the last good endpoint, and both families of the newest and of the file's record fit.
const _: () = assert!(MAX_ENDPOINTS >= MAX_HINTS + 1 + 2 + 2);

// --- node ---

/// Accepted connections that have not authenticated yet.
pub const MAX_PENDING_INBOUND: usize = 32;
/// Channels that a member may have at one time: one is used, a second is tolerated (peers that do
/// not deduplicate simultaneous dials), more are closed.
pub const MAX_CHANNELS_PER_MEMBER: usize = 2;
/// From the start of a dial until it must be a TCP connection.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(4);
/// From a TCP connection until it must be a channel.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// From the wish to close a channel in good order until it is closed in any.
pub const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Time between two queries of the configured hostname.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(60);
/// Time until a failed hostname query, or one that was never answered, is tried again.
pub const RESOLVE_RETRY: Duration = Duration::from_secs(10);
/// Longest hostname (RFC 1035, section 2.3.4).
pub const MAX_HOSTNAME: usize = 253;
/// Lookups asked for by the embedder that may be under way.
pub const MAX_REQUESTED_LOOKUPS: usize = 8;
/// Notices waiting to be polled, beside four for each member; more are dropped and counted. The
/// driver polls until [`Wait`](crate::node::Action::Wait) after each event, and no event makes so many.
pub const NOTICES_BASE: usize = 32;
