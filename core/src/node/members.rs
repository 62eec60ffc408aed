//! Members who come and go while the node runs, by the operator's act.

use super::{
    Node, PeerStore,
    action::RequestError,
    conns::Conn,
    notice::{Failure, Notice},
};
use crate::{
    cluster::{MemberConfig, MemberIndex, Origin},
    crypto::Crypto,
    time::Instant,
    zoo::{self, Bug},
};

impl<C: Crypto> Node<C> {
    /// Makes these the members. Nothing changes on an error.
    pub(super) fn set_members(&mut self, now: Instant, members: &[MemberConfig]) -> Result<(), RequestError> {
        self.cluster.check(members)?;
        // First those who go: their places are for those who come.
        while let Some(gone) = self.cluster.next_absent(members) {
            self.remove_member(now, gone);
        }
        for (position, config) in members.iter().enumerate() {
            if config.public_key == *self.identity.public_key() {
                continue;
            }
            match self.cluster.index_of(&config.public_key) {
                Some(stays) => self.update_member(now, stays, position, config),
                None => self.add_member(now, position, config),
            }
        }
        Ok(())
    }

    fn add_member(&mut self, now: Instant, position: usize, config: &MemberConfig) {
        let crypto = self.identity.crypto();
        // There is a place, or `check` would have refused.
        let Some(index) = self.cluster.add(now, crypto, position, config) else { return };
        if let Some(record) = self.cluster.member(index).record() {
            let _ = self.discovery.add_record(now, record, true);
        }
        self.notify(Notice::MemberAdded { peer: self.peer_id(index) });
    }

    fn update_member(&mut self, now: Instant, index: MemberIndex, position: usize, config: &MemberConfig) {
        self.cluster.update(now, index, position, config);
        for (record, origin) in
            [(&config.lock_record, Origin::Lock), (&config.stored_record, Origin::Database)]
        {
            if let Some(record) = record.as_ref().filter(|record| *record.public_key() == config.public_key) {
                self.record_seen(now, record, origin, None);
            }
        }
    }

    /// Cuts a member off: its connections, and whatever is under way on its behalf. What the store holds
    /// of it stays there.
    fn remove_member(&mut self, now: Instant, index: MemberIndex) {
        let (peer, node) = (self.peer_id(index), self.cluster.member(index).node_id());
        let cut = |c: &Conn| c.member == Some(index) && c.close.is_none() && !zoo::has(Bug::RemovedStays);
        while let Some(open) = self.conns.find_id(cut) {
            self.fail(now, open, Failure::Removed);
        }
        // Those that say farewell still must not pass for the next member's that has the place.
        for conn in self.conns.iter_mut().filter(|conn| conn.member == Some(index)) {
            conn.member = None;
        }
        if let Some(store) = self.peer_stores.get_mut(index.position()) {
            *store = PeerStore::default();
        }
        if let Some(lookup) = self.member_lookups.get_mut(index.position()) {
            *lookup = None;
        }
        self.services.forget(index);
        self.votes.forget_voter(node);
        self.discovery.remove(now, &node);
        self.cluster.remove(index);
        self.notify(Notice::MemberRemoved { peer });
    }
}
