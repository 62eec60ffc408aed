//! The node's own record: where its address comes from, and how a new record is born.
//!
//! A machine ([`LocalRecord`]) that compares what is known of the node's address with the record in
//! force. Where they agree it is silent. Where they differ it signs a new record with a higher
//! sequence number, asks for it to be stored, and only once that is confirmed publishes it.
//!
//! Rules (each a property test): E1 the published sequence number only rises; E2 one sequence
//! number never stands for two contents; E3 stored before published; E4 what is published is
//! canonical and verifies; E6 no change of address, no new record.
//!
//! Specification: EIP-778 (records), discv5 theory "Maintaining The Local Node Record".

mod local;
mod sources;
#[cfg(test)]
mod tests;
mod votes;

pub use local::{LocalRecord, Output, OwnSeen, RefreshError, Start};
pub use sources::{Bound, Configured, Source, Sources};
pub use votes::{Voted, Votes, quorum};
