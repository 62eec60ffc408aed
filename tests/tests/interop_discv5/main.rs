//! Our discovery against the crate `discv5` (Sigma Prime) over real loopback sockets, both
//! directions (discv5 wire; design, section 5).
//!
//! Keys and seeds are fixed: "node 3" has the key `[3; 32]` and, if it is ours, that seed.

// The helpers below are test code too; the lints know only functions with `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/on_tokio.rs"]
mod adapter;
mod bootnode;
mod either;
mod messages;
mod network;
#[path = "../common/node.rs"]
mod node;
mod ours;
mod sessions;
mod theirs;

use node::{DEADLINE, within};

/// The TALK protocol that both kinds of nodes answer, by reversing the request.
const TALK: &[u8] = b"coracle/test";

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}
