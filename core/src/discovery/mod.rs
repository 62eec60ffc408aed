//! Node Discovery v5.1 as a machine: datagrams and time in, datagrams and events out.
//!
//! Specification: discv5 wire and theory (github.com/ethereum/devp2p). [`packet`], [`message`] and
//! [`keys`] are the codec and the cryptography of a session; they need no allocator. [`Discovery`] is
//! the whole node: sessions, challenges, requests, routing table, lookups.
//!
//! # Driving it
//!
//! After every call that takes the time, call [`Discovery::poll_transmit`] and
//! [`Discovery::poll_event`] until both return `None`; then sleep until
//! [`Discovery::next_timeout`] or a datagram. Packets are encoded at the moment they are polled.
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use coracle_core::{
//!     crypto::{Identity, RustCrypto, SecretKey},
//!     discovery::{Config, Discovery, Event},
//!     limits::MAX_PACKET_SIZE,
//!     record::Builder,
//!     rng::Seed,
//!     time::Instant,
//! };
//!
//! // Two nodes; a real seed comes from the system, and is fresh at each start.
//! let mut nodes = [1, 2].map(|n| {
//!     let identity = Identity::new(RustCrypto, SecretKey::from_bytes(&[n; 32]).unwrap());
//!     let mut builder = Builder::new();
//!     builder.set_ip4(Some([127, 0, 0, n].into())).unwrap().set_udp4(Some(9000)).unwrap();
//!     let record = builder.sign(1, &identity).unwrap();
//!     let rng = Seed::new([n; 32]).stream("discovery");
//!     (identity, Discovery::new(Config::default(), &record, rng))
//! });
//! let now = Instant::from_millis(1);
//! let other = nodes[1].1.local_record().clone();
//! let ping = nodes[0].1.ping(now, &other).unwrap();
//!
//! // The driver's loop, with a network that takes no time.
//! let mut buf = [0; MAX_PACKET_SIZE];
//! let pong = loop {
//!     for (from, to) in [(0, 1), (1, 0)] {
//!         let source = nodes[from].1.local_record().udp_endpoints().next().unwrap();
//!         let (identity, sender) = &mut nodes[from];
//!         let Some((_, len)) = sender.poll_transmit(identity, now, &mut buf) else { continue };
//!         let (identity, receiver) = &mut nodes[to];
//!         receiver.handle_datagram(identity, now, source, &mut buf[..len]);
//!     }
//!     let events = core::iter::from_fn(|| nodes[0].1.poll_event());
//!     if let Some(Event::Pong { request, .. }) = { events }.find(|e| matches!(e, Event::Pong { .. })) {
//!         break request;
//!     }
//! };
//! assert_eq!(pong, ping);
//! # }
//! ```
//!
//! # Invariants
//!
//! - A session belongs to a node id at an endpoint. Its keys are replaced only after a message under
//!   the new ones was authenticated, and nothing that fails to decrypt changes anything.
//! - No signature is checked without a challenge of ours, and only
//!   [`MAX_CHALLENGE_CHECKS`](crate::limits::MAX_CHALLENGE_CHECKS) for one.
//! - Answers go where the request came from, in a session with that endpoint.
//! - A record replaces another of the same node only with a higher sequence number, and is relayed
//!   only after a PONG from an endpoint in it.
//! - A record that a peer tells of is verified before it is used: before its node is contacted, and before it
//!   is handed out, kept or relayed. Most that a lookup is told of are never used.
//! - Every pool is allocated in [`Discovery::new`] and never grows. Same seed and same calls give
//!   the same packets and events.

#[cfg(feature = "alloc")]
mod answer;
#[cfg(feature = "alloc")]
mod asides;
#[cfg(feature = "alloc")]
mod budget;
#[cfg(feature = "alloc")]
mod challenge;
#[cfg(feature = "alloc")]
mod checks;
#[cfg(feature = "alloc")]
mod command;
#[cfg(feature = "alloc")]
mod config;
#[cfg(feature = "alloc")]
mod counters;
#[cfg(feature = "alloc")]
mod crowd;
#[cfg(feature = "alloc")]
mod event;
#[cfg(feature = "alloc")]
mod gathered;
#[cfg(feature = "alloc")]
mod heard;
#[cfg(feature = "alloc")]
mod kept;
pub mod keys;
#[cfg(feature = "alloc")]
mod lookup;
#[cfg(feature = "alloc")]
mod machine;
pub mod message;
#[cfg(feature = "alloc")]
mod nodes;
pub mod packet;
mod peer;
#[cfg(feature = "alloc")]
mod receive;
#[cfg(feature = "alloc")]
mod requests;
#[cfg(feature = "alloc")]
mod responses;
#[cfg(feature = "alloc")]
mod send;
#[cfg(feature = "alloc")]
mod session;
#[cfg(feature = "alloc")]
mod table;
#[cfg(feature = "alloc")]
mod upkeep;
#[cfg(feature = "alloc")]
mod verified;

#[cfg(test)]
mod tests;

#[cfg(feature = "alloc")]
pub use command::Target;
#[cfg(feature = "alloc")]
pub use config::Config;
#[cfg(feature = "alloc")]
pub use counters::Counters;
#[cfg(feature = "alloc")]
pub use event::{Event, LookupId, RecordSource, RequestError, RequestFailure, RequestId, TalkId};
#[cfg(feature = "alloc")]
pub use lookup::{LookupOptions, Wanted};
#[cfg(feature = "alloc")]
pub use machine::{Discovery, NodeView};
pub use peer::{IpRange, Peer, Scope, canonical};
