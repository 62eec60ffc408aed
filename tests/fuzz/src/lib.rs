//! What the fuzzer runs: functions from any bytes to a property that must hold of them.
//!
//! Each target takes a fuzzer's bytes and panics when a property is broken. `fuzz/` (a workspace of
//! its own) drives them with libFuzzer; `tests/replay.rs` runs the seeds committed under `fuzz/seeds`
//! with every `cargo test --workspace`, and no nightly toolchain is needed for either. How to fuzz on
//! stands in `fuzz/README.md`.
//!
//! Where a MAC or a signature would stop any bytes but an honest peer's, the targets use
//! [`NullCrypto`], with which everything authenticates: the fuzzer then sees what a member that has
//! gone bad could do, which is more than any stranger can.

mod channel;
mod cluster_file;
mod discovery;
mod handshake;
mod input;
mod node;
mod null_crypto;
mod record;
mod scenario;
pub mod seeds;

pub use channel::channel;
pub use cluster_file::cluster_file;
pub use discovery::{message, packet};
pub use handshake::handshake;
pub use node::node;
pub use null_crypto::NullCrypto;
pub use record::record;
pub use scenario::scenario;

/// A target: panics when a property is broken.
pub type Target = fn(&[u8]);

/// Every target by name. `fuzz/fuzz_targets` has a program for each.
pub const TARGETS: [(&str, Target); 8] = [
    ("record", record),
    ("packet", packet),
    ("message", message),
    ("handshake", handshake),
    ("channel", channel),
    ("node", node),
    ("cluster_file", cluster_file),
    ("scenario", scenario),
];
