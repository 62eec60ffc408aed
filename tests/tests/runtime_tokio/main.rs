//! The tokio adapter from outside: sockets, storage, start and end (design, section 8).
//!
//! Keys and seeds are fixed: "node 3" has the key and the seed `[3; 32]`.

// The helpers below are test code too; the lints know only functions with `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lifecycle;
mod mesh;
#[path = "../common/node.rs"]
mod node;
mod recording;
mod storage;
