//! Simultaneous dials end in one channel, not in none (rule C4): the two sides never close each other's.
//!
//! Purpose: of two channels between two nodes one is closed as a duplicate. If each side closes the one that the
//! other keeps, both are without a channel for a while, and dial again; the mesh is full in the end, so that only
//! who looks at every closing notices.

use std::collections::{BTreeMap, BTreeSet};

use coracle_core::id::PeerId;
use coracle_core::node::{ConnId, Failure};
use coracle_sim::{NodeId, StreamId};

/// The channels of all nodes, as their own notices have them.
#[derive(Debug, Default)]
pub struct Channels {
    live: BTreeMap<(NodeId, PeerId), BTreeMap<ConnId, StreamId>>,
    /// Ends that were closed as duplicates.
    duplicates: BTreeSet<StreamId>,
}

impl Channels {
    /// A channel came about.
    pub fn up(&mut self, node: NodeId, peer: PeerId, conn: ConnId, stream: StreamId) {
        self.live.entry((node, peer)).or_default().insert(conn, stream);
    }

    /// A channel ended.
    ///
    /// # Errors
    ///
    /// If it was closed as a duplicate of channels that the other side has closed as duplicates too.
    pub fn down(&mut self, node: NodeId, peer: PeerId, conn: ConnId, reason: Failure) -> Result<(), String> {
        let Some(live) = self.live.get_mut(&(node, peer)) else { return Ok(()) };
        let Some(stream) = live.remove(&conn).filter(|_| reason == Failure::Duplicate) else { return Ok(()) };
        self.duplicates.insert(stream);
        let gone = |stream: &StreamId| self.duplicates.contains(&stream.peer());
        if !live.is_empty() && live.values().all(gone) {
            return Err(format!("C4: it and {peer} have each closed the channel that the other keeps"));
        }
        Ok(())
    }

    /// Whether a node has a channel with a peer.
    pub fn has(&self, node: NodeId, peer: PeerId) -> bool {
        self.live.get(&(node, peer)).is_some_and(|live| !live.is_empty())
    }

    /// A node crashed.
    pub fn crash(&mut self, node: NodeId) {
        self.live.retain(|(whose, _), _| *whose != node);
    }
}
