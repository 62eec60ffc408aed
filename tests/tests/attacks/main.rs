//! Attacks on discovery, whole: our nodes and those who attack them in the simulator, with counts (design,
//! section 5, table of attacks).
//!
//! Each test prints what was sent, what was dropped and why (the node's own counters), how the honest fared, and
//! what it cost. Nothing is drawn but from fixed seeds, and no time is asserted. Sizes are such that the whole takes
//! some seconds; the full ones, 10⁶ packets and 10⁴ identities, with:
//!
//! `ATTACKS=full cargo test --release -p coracle-tests --test attacks -- --nocapture`

// The helpers below are test code too; the lints know only functions with `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod floods;
mod forge;
mod ledger;
mod meter;
mod poison;
mod sessions;
mod sybils;
mod table;
mod world;

/// The size of an attack: a part of it, unless the full one is asked for.
fn size(part: u64, full: u64) -> u64 {
    if std::env::var("ATTACKS").is_ok_and(|value| value == "full") { full } else { part }
}
