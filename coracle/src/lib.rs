//! The host side of Coracle: what a node needs beyond the protocol itself, on an ordinary machine.
//!
//! - [`cluster_file`] reads, verifies and writes Charon's cluster definitions and locks.

pub mod cluster_file;
