//! The node's own protocols inside a channel, beside ping.

/// Their names, in the order of their numbers.
pub(super) const NAMES: [&str; 0] = [];
/// How many they are: the embedder's numbers follow.
pub(super) const SERVICES: u8 = NAMES.len() as u8;
