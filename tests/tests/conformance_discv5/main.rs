//! What a discv5 node must do, seen from outside: by the specification (discv5 wire and theory) and
//! by what the public conformance suites of this protocol check.
//!
//! A scripted peer ([`coracle_tests::raw_peer`]) speaks to the node under test. Each scenario is one
//! function over a [`bench::Network`] and runs three ways: against `Discovery` alone in memory (from
//! loopback, IPv4 and IPv6 addresses), against it with native cryptography over real UDP sockets, and, where the node need not be
//! told to do anything, against a whole node of `coracle-tokio`.
//!
//! "Unanswered" is never a matter of waiting: what was asked afterwards was answered, and nothing came
//! before it. Keys and seeds are fixed: peer 3 has the key `[3; 32]`, the node under test `[250; 32]`.

// The helpers below are test code too; the lints know only functions with `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/on_tokio.rs"]
mod adapter;
mod bench;
mod line;
#[path = "../common/node.rs"]
mod node;

/// Makes tests of scenarios that need only a network.
macro_rules! by_any_node {
    ($($scenario:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $scenario() { crate::bench::in_memory(super::$scenario); })*
        }
        mod over_udp {
            $(#[test] fn $scenario() { super::$scenario(&mut crate::bench::Sockets::new()); })*
        }
        mod by_a_node_over_tokio {
            $(#[test] fn $scenario() { super::$scenario(&mut crate::bench::Tokio::new()); })*
        }
    };
}

/// Makes tests of scenarios in which the node under test is told what to do.
macro_rules! by_discovery {
    ($($scenario:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $scenario() { crate::bench::in_memory(super::$scenario); })*
        }
        mod over_udp {
            $(#[test] fn $scenario() { super::$scenario(&mut crate::bench::Sockets::new()); })*
        }
    };
}

mod answers;
mod challenges;
mod handshakes;
mod packets;
mod questions;
mod relaying;
mod sessions;
