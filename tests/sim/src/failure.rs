//! What can go wrong with a run, told so that it can be had again.

use std::fmt;
use std::net::IpAddr;

use crate::machine::NodeId;
use crate::time::{Nanos, SECOND};

/// A run that failed: an observer complained, or a machine spins. Its text says what, when, from which choices
/// (the seed that replays it), and the last lines of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name of the invariant that failed: the same for the same kind of failure, whatever its details. The
    /// one an observer was given ([`Sim::observe_as`](crate::Sim::observe_as)); else the word before the first
    /// colon of the complaint (`E1: …`), and else `observer 0`, by the order in which they were added.
    pub invariant: String,
    /// The complaint.
    pub message: String,
    /// The node at whose event it arose.
    pub node: NodeId,
    /// The virtual time.
    pub at: Nanos,
    /// The number of the step.
    pub step: u64,
    /// What the choices came from: `seed 42`, for example.
    pub origin: String,
    /// The last lines of the trace, oldest first.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(
            f,
            "{}: {} (at {}.{:09} s, step {}; replay it with {})",
            self.node,
            self.message,
            self.at / SECOND,
            self.at % SECOND,
            self.step,
            self.origin
        )
    }
}

impl std::error::Error for Failure {}

/// Two nodes cannot have the same address: give one of them another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressTaken {
    /// The address.
    pub ip: IpAddr,
}

impl fmt::Display for AddressTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the address {} is another node's", self.ip)
    }
}

impl std::error::Error for AddressTaken {}
