//! Coracle's core (manual follows with the node).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "alloc")]
pub mod collections;
pub mod crypto;
pub mod discovery;
pub mod id;
pub mod limits;
pub mod record;
pub mod rng;
pub mod time;
pub mod wire;
