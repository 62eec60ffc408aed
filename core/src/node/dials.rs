//! How many dials are under way at one moment: few enough that their handshakes end in time.
//!
//! Without this every node of a large cluster begins with all others at once. On a host that is busy with more than
//! a deadline's work then all handshakes are late, are given up, and begin again.

use super::{
    Node,
    conns::{Conn, Stage},
};
use crate::{
    crypto::Crypto,
    limits::{DIAL_HANGS, DIAL_TIMEOUT, MAX_DIALS_AT_ONCE},
    time::Instant,
};

impl<C: Crypto> Node<C> {
    /// Holds the cluster's dials back while enough are under way, and lets them go on afterwards.
    pub(super) fn hold_dials(&mut self, now: Instant) {
        let counts = |conn: &&Conn| conn.is_attempt() && hangs_at(conn).is_none_or(|at| now < at);
        let enough = self.conns.iter().filter(counts).count() >= MAX_DIALS_AT_ONCE;
        self.cluster.hold_dials(enough);
    }

    /// When a dial ceases to count because nobody answers it.
    pub(super) fn next_hang(&self) -> Option<Instant> {
        let dials = self.conns.iter().filter(|conn| conn.is_attempt()).filter_map(hangs_at);
        dials.filter(|at| self.cluster.holds_dials() && self.now < *at).min()
    }
}

/// When a dial that is no connection by then ceases to count.
fn hangs_at(conn: &Conn) -> Option<Instant> {
    let left = DIAL_TIMEOUT.saturating_sub(DIAL_HANGS).as_nanos() as u64;
    let deadline = conn.deadline.filter(|_| matches!(conn.stage, Stage::Dialling))?;
    Some(Instant::from_nanos(deadline.as_nanos().saturating_sub(left)))
}
