//! Discovery in networks of a thousand nodes and more, in the simulator, with figures.
//!
//! Every node is a whole [`Discovery`](coracle_core::discovery::Discovery) at an address in a /24 of its own. All of
//! them know one bootnode when they join, and nothing else.
//!
//! - [`moved`]: a part of the network moves to other addresses at one moment, and others, who need not have heard of
//!   them before, look for them;
//! - [`sybils`]: one /24 with very many identities wants the tables and the lookups of all the others.
//!
//! The cryptography is the network's choice: the real one, or terms (`symbolic`, with that feature) for the largest.

pub mod host;
pub mod moved;
pub mod network;
pub mod sybils;

/// Part of a whole in hundredths of a per cent, rounded down.
fn share(part: usize, of: usize) -> usize {
    part * 10_000 / of.max(1)
}
