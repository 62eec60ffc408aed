//! Our node over tokio against the crate `libp2p` over real loopback sockets, both directions
//! (design, section 6), and against clients that misbehave.
//!
//! Keys and seeds are fixed: "node 3" has the key `[3; 32]` and, if it is ours, that seed.

// The helpers below are test code too; the lints know only functions with `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/on_tokio.rs"]
mod adapter;
mod frames;
mod hosts;
#[path = "../common/node.rs"]
mod node;
mod services;
mod strangers;
mod theirs;
mod transcript;
