//! Coracle's core (manual follows with the node).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "alloc")]
pub mod channel;
#[cfg(feature = "alloc")]
pub mod cluster;
pub mod crypto;
pub mod handshake;
pub mod id;
pub mod limits;
pub mod record;
#[cfg(feature = "alloc")]
pub mod refresh;
pub mod rng;
#[cfg(test)]
mod testing;
pub mod time;
pub mod wire;
