//! Cluster files of every version: read, verified, changed value by value, and fed with anything.

// `clippy.toml` allows these inside test functions; here every function is one of a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod any_bytes;
mod changes;
mod collected;
mod coverage;
mod diff;
mod fixtures;
mod generator;
mod made;
mod parts;
mod refused;
mod round_trip;
