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
