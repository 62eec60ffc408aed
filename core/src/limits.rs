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
