//! Coracle's core: identity, discovery and secure channels for a permissioned Ethereum cluster, as
//! machines without I/O.
//!
//! Every node of a distributed-validator cluster (Obol's Charon, and whatever is compatible with
//! it) holds one secp256k1 key, and the cluster is the set of those keys. This crate gives the node
//! its identity (an ENR that is signed anew when the address changes), finds its peers (discv5), and
//! gives it a mutually authenticated, encrypted channel (Noise XX and yamux, as libp2p speaks them)
//! to exactly the members.
//!
//! Nothing here reads a clock, a socket, a file or a random source: events go in with the time,
//! actions come out. So the same code runs over tokio, over a plain loop, and inside a simulator
//! that replays any failure. The same seed and events give the same actions, byte for byte.
//!
//! # The loop
//!
//! A driver feeds one event, then polls until [`Action::Wait`](node::Action::Wait):
//!
//! ```
//! use coracle_core::{
//!     cluster::MemberConfig,
//!     crypto::{Crypto, RustCrypto, SecretKey},
//!     node::{Action, Config, Event, MIN_BUFFER, Node, Notice, StoreItem},
//!     refresh::{Bound, Configured},
//!     rng::Seed,
//!     time::Instant,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A cluster of two; this is the node with the first key.
//! let keys = [SecretKey::from_bytes(&[1; 32])?, SecretKey::from_bytes(&[2; 32])?];
//! let members = keys.iter().map(|key| MemberConfig::new(RustCrypto.public_key(key))).collect();
//! let [own, _] = keys;
//! let mut config = Config::new(own, Seed::new([7; 32]), members); // a real seed is random
//! config.bound = Bound { udp4: Some(3630), tcp4: Some(3610), ..Bound::default() };
//! config.configured = Configured { ip4: Some([192, 0, 2, 1].into()), ..Configured::default() };
//! config.wall_clock_ms = 1_700_000_000_000;
//!
//! let now = Instant::ZERO;
//! let mut node = Node::new(now, config)?;
//! let mut buf = [0; MIN_BUFFER];
//! let mut published = None;
//! loop {
//!     match node.poll(now, &mut buf) {
//!         // The node has no record yet: it signs one, and publishes it once it is stored.
//!         Action::Store { id, item: StoreItem::Own(record) } => {
//!             assert_eq!(record.seq(), 1_700_000_000_000);
//!             node.handle_event(now, Event::Stored(id));
//!         }
//!         Action::Notify(Notice::Published { seq, .. }) => published = Some(seq),
//!         Action::Send { to, len } => println!("{len} bytes to {to}"),
//!         Action::Wait(_deadline) => break, // wait for an event, or until then
//!         other => println!("{other:?}"),
//!     }
//! }
//! assert_eq!(published, Some(1_700_000_000_000));
//! # Ok(())
//! # }
//! ```
//!
//! # Drivers to read
//!
//! | where | what |
//! |---|---|
//! | `core/examples/in_memory.rs` | two nodes without any I/O: the whole interface; read it first |
//! | `core/examples/blocking.rs` | std's sockets and one blocking loop |
//! | `tests/examples/mio.rs` | one thread, `mio::Poll`, no executor |
//! | `tests/examples/smol.rs` | smol: a loop, and a task for whatever has to wait |
//! | `tests/no_std/node` | without std, on a fixed piece of memory |
//! | `core/examples/handshake.rs` | the handshake and the channel alone, over a transport of your own |
//! | `core/examples/discovery.rs` | discv5 alone |
//! | `coracle-tokio`, `coracle-async-std` | the adapters: a handle, notices, streams |
//!
//! # Layers
//!
//! A module imports only from those above it; the machines never import each other, but for
//! `channel`, which is made from a finished handshake. [`node`] alone routes between them.
//!
//! | module | what it is | needs |
//! |---|---|---|
//! | [`time`], [`id`], [`rng`], [`limits`] | moments, names, named random streams, every bound | – |
//! | [`collections`] | ring, slab, deadlines: bounded and deterministic | `alloc` |
//! | [`crypto`] | the [`Crypto`](crypto::Crypto) trait, and RustCrypto behind it | – |
//! | [`wire`] | RLP, varint, protobuf fields, base58, base64url, multiaddr, over slices | – |
//! | [`record`] | Ethereum Node Records | – |
//! | [`refresh`] | machine: the own record, stored before it is published | `alloc` |
//! | [`discovery`] | machine: discv5; its codec needs no allocator | `alloc` |
//! | [`handshake`] | machine: multistream-select and Noise XX | – |
//! | [`channel`] | machine: Noise frames, yamux, ping | `alloc` |
//! | [`cluster`] | machine: members, admission, address book, dialling | `alloc` |
//! | [`node`] | the machine over all of them | `alloc` |
//!
//! # Foreign types in the interface
//!
//! Those of `core` and `alloc`; the traits `Zeroize` and `ZeroizeOnDrop` on what is secret; what
//! `RustCrypto` has as `AesGcmKey` and `AesCtrKey`, to be held and not looked into; and, with the feature `enr`,
//! `enr::Enr<k256::ecdsa::SigningKey>`. No other crate's type or trait is meant to be seen.
//!
//! # Features
//!
//! - `std` (default): `k256` keeps a precomputed table, which makes signing three times faster. The
//!   core itself is `no_std` with and without it.
//! - `alloc` (default): the modules marked above. They allocate when they are made, and never again.
//! - `enr`: conversions to and from the crate `enr`'s type.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::float_arithmetic)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "alloc")]
pub mod channel;
#[cfg(feature = "alloc")]
pub mod cluster;
#[cfg(feature = "alloc")]
pub mod collections;
pub mod crypto;
pub mod discovery;
pub mod handshake;
pub mod id;
pub mod limits;
#[cfg(feature = "alloc")]
pub mod node;
pub mod record;
#[cfg(feature = "alloc")]
pub mod refresh;
pub mod rng;
#[cfg(test)]
mod testing;
pub mod time;
pub mod wire;
#[cfg(feature = "zoo")]
#[doc(hidden)]
pub mod zoo;
#[cfg(not(feature = "zoo"))]
mod zoo;
