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
