//! The simulator, seen from outside: small machines of several kinds, run through everything it offers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clocks;
mod datagrams;
mod determinism;
mod disks;
mod nats;
mod shrinking;
mod story;
mod streams;
mod toy;
