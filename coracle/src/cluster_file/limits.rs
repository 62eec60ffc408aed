//! The bounds on what a cluster file may hold. Those of v1.3 and later are part of the hash trees.

/// The largest file read, in bytes. A lock of 1,000 validators and 10 operators is about 3 MB.
pub const MAX_FILE_BYTES: usize = 128 * 1024 * 1024;

/// The most JSON values in one file, so that 128 MiB of `[0,0,…]` cannot fill the memory.
pub const MAX_VALUES: usize = 4 * 1024 * 1024;

/// The most operators in a cluster.
pub const MAX_OPERATORS: usize = 256;

/// The most validators in a cluster.
pub const MAX_VALIDATORS: usize = 65_536;

/// The most deposit amounts in a definition, and deposits of one validator.
pub const MAX_DEPOSITS: usize = 256;

/// The most signatures in a row for one operator (v1.11 and later).
pub const MAX_SIGNATURES: usize = 32;

/// The most failures of one sort that are listed one by one, of a lock's validators.
#[cfg(feature = "bls")]
pub const MAX_FAILURES_LISTED: usize = 8;

/// The most unknown fields listed by name; further ones are only counted.
pub const MAX_UNKNOWN_LISTED: usize = 256;

pub(super) const MAX_UUID: usize = 64;
pub(super) const MAX_NAME: usize = 256;
pub(super) const MAX_VERSION: usize = 16;
pub(super) const MAX_TIMESTAMP: usize = 32;
pub(super) const MAX_DKG_ALGORITHM: usize = 32;
pub(super) const MAX_ENR: usize = 1024;
pub(super) const MAX_CONSENSUS_PROTOCOL: usize = 256;

pub(super) const ADDRESS: usize = 20;
pub(super) const HASH: usize = 32;
pub(super) const K1_SIGNATURE: usize = 65;
pub(super) const BLS_KEY: usize = 48;
pub(super) const BLS_SIGNATURE: usize = 96;
