//! The host side of Coracle: what a node needs beyond the protocol itself, on an ordinary machine.
//!
//! - [`cluster_file`] reads, verifies and writes Charon's cluster definitions and locks;
//! - [`key_file`] holds the node's key, and never overwrites it;
//! - [`data_dir`] knows the names in a Charon data directory, and when a Charon is using it;
//! - [`database`] remembers records and endpoints through any crash;
//! - [`host`] makes a node's configuration and store of all that;
//! - [`files`] reads what may be any file at all;
//! - `bls` (feature `bls`) has validators' keys and signatures, and keys shared among operators;
//! - `keystore` and `create` (feature `create`) make whole clusters for tests.
//!
//! The feature `program`, on by default, builds the program and all of that. A library user writes
//! `default-features = false`, and adds `bls` to have the BLS parts of cluster files checked: without it they are
//! reported as not checked, and neither C nor assembly is compiled.

#[cfg(feature = "bls")]
pub mod bls;
pub mod cluster_file;
#[cfg(feature = "create")]
pub mod create;
pub mod data_dir;
pub mod database;
pub mod files;
pub mod host;
pub mod key_file;
#[cfg(feature = "create")]
pub mod keystore;
