//! Both adapters from outside, over real sockets: one suite of tests, compiled once over each, and a
//! cluster of both (design, section 8).
//!
//! Keys and seeds are fixed: "node 3" has the key and the seed `[3; 32]`.

// The helpers below are test code too; the lints know only functions with `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// The same tests over either adapter: that is what this program is for.
#![allow(clippy::duplicate_mod)]

mod mixed;
mod on_async_std;
mod on_tokio;
