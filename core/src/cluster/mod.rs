//! The permissioned cluster: who its members are, where each was last known, and when to dial.
//!
//! A machine without I/O of its own: it is told of records, of dials that failed and of channels
//! that came and went, and answers who is admitted, which endpoint to dial next, and which member
//! has to be looked up. It never forgets a member's newest record; a member is only ever removed
//! by the operator.
//!
//! Invariants: a key outside the cluster is never admitted (rule C1), nor is our own, coming from
//! outside; a record replaces another only with a strictly higher sequence number; attempts to one
//! member race, none waits for another to time out.

mod book;
mod dial;
mod member;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use core::net::SocketAddr;

pub use book::{Endpoint, Origin, RecordOutcome};
pub use dial::DialOutcome;
pub use member::{Member, MemberConfig, Reachability};

use crate::{
    crypto::{Crypto, PublicKey},
    id::{NodeId, PeerId},
    limits::MAX_MEMBERS,
    record::Record,
    rng::Rng,
    time::{Instant, earlier},
};

/// A member's place in the cluster's table; stable while the member stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub(crate) u16);

impl MemberIndex {
    /// The position, from 0.
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

/// Why a set of members is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// More members than [`MAX_MEMBERS`].
    #[error("the cluster has more than {MAX_MEMBERS} members")]
    TooMany,
    /// Two members have one key; both positions are named.
    #[error("members {0} and {1} have the same key")]
    Duplicate(usize, usize),
    /// Our own key is not among the members.
    #[error("our own key is not a member of the cluster")]
    NotAMember,
}

/// What the cluster wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Dial this endpoint, and tell how it ended.
    Dial {
        /// The member to reach.
        member: MemberIndex,
        /// Where, and how that is known.
        endpoint: Endpoint,
    },
    /// No known endpoint answers: look the member up through the others.
    LookUp {
        /// The member to find.
        member: MemberIndex,
    },
    /// Every known endpoint failed, or none is known. Told once, until it is reached again.
    Unreachable {
        /// The member that cannot be reached.
        member: MemberIndex,
    },
}

/// The members other than ourselves.
#[derive(Debug)]
pub struct Cluster {
    own: PublicKey,
    members: Box<[Member]>,
    rng: Rng,
    /// The node may dial: its own record is settled.
    started: bool,
}

impl Cluster {
    /// Takes the members, our own key among them.
    pub fn new<C: Crypto>(
        crypto: &C,
        own: PublicKey,
        members: &[MemberConfig],
        rng: Rng,
    ) -> Result<Self, ClusterError> {
        if members.len() > MAX_MEMBERS {
            return Err(ClusterError::TooMany);
        }
        for (i, member) in members.iter().enumerate() {
            if let Some(j) = members[..i].iter().position(|m| m.public_key == member.public_key) {
                return Err(ClusterError::Duplicate(j, i));
            }
        }
        if !members.iter().any(|member| member.public_key == own) {
            return Err(ClusterError::NotAMember);
        }
        let members = members
            .iter()
            .enumerate()
            .filter(|(_, config)| config.public_key != own)
            .map(|(position, config)| Member::new(crypto, position, config))
            .collect();
        Ok(Self { own, members, rng, started: false })
    }

    /// Whether a verified key may have a channel: it is a member's, and not our own.
    pub fn admits(&self, key: &PublicKey) -> bool {
        *key != self.own && self.index_of(key).is_some()
    }

    /// Where a key stands among the members (our own does not).
    pub fn index_of(&self, key: &PublicKey) -> Option<MemberIndex> {
        self.index_where(|member| member.public_key() == key)
    }

    /// Where a node id stands among the members.
    pub fn index_of_node(&self, id: &NodeId) -> Option<MemberIndex> {
        self.index_where(|member| member.node_id() == *id)
    }

    /// Where a peer id stands among the members.
    pub fn index_of_peer(&self, id: &PeerId) -> Option<MemberIndex> {
        self.index_where(|member| member.peer_id() == *id)
    }

    fn index_where(&self, is: impl Fn(&Member) -> bool) -> Option<MemberIndex> {
        self.members.iter().position(is).map(|i| MemberIndex(i as u16))
    }

    /// All members but ourselves, in the cluster file's order.
    pub fn members(&self) -> impl Iterator<Item = (MemberIndex, &Member)> {
        self.members.iter().enumerate().map(|(i, member)| (MemberIndex(i as u16), member))
    }

    /// One member.
    pub fn member(&self, index: MemberIndex) -> &Member {
        &self.members[index.position()]
    }

    fn member_mut(&mut self, index: MemberIndex) -> &mut Member {
        &mut self.members[index.position()]
    }

    /// Members that have a channel now.
    pub fn connected(&self) -> usize {
        self.members.iter().filter(|member| member.is_connected()).count()
    }

    /// Begins to dial: the own record is settled.
    pub fn start(&mut self, now: Instant) {
        if !self.started {
            self.started = true;
            self.members.iter_mut().for_each(|member| member.dial_soon(now));
        }
    }

    /// Offers a verified record. Only a member's own, with a higher sequence number than the one
    /// known, is taken; then a member without a channel is dialled there at once.
    pub fn handle_record(&mut self, now: Instant, record: &Record, origin: Origin) -> RecordOutcome {
        let Some(index) = self.index_of(record.public_key()) else {
            return RecordOutcome::NotAMember;
        };
        self.member_mut(index).offer_record(now, record, origin)
    }

    /// Adds an endpoint that the operator names for a member.
    pub fn handle_hint(&mut self, now: Instant, index: MemberIndex, endpoint: SocketAddr) {
        self.member_mut(index).add_hint(now, endpoint);
    }

    /// A dial ended without a channel.
    pub fn handle_dial_failed(&mut self, now: Instant, index: MemberIndex) {
        let Self { members, rng, .. } = self;
        members[index.position()].dial_failed(now, rng);
    }

    /// A lookup that [`Output::LookUp`] asked for found no room: it is asked for again soon.
    pub fn handle_lookup_refused(&mut self, now: Instant, index: MemberIndex) {
        self.member_mut(index).look_up_later(now);
    }

    /// A member has a channel. `dialled` is the endpoint that led there, if we dialled it; it is
    /// remembered as the last good one.
    pub fn handle_connected(&mut self, index: MemberIndex, dialled: Option<SocketAddr>) {
        self.member_mut(index).connected(dialled);
    }

    /// A member has lost its last channel.
    pub fn handle_disconnected(&mut self, now: Instant, index: MemberIndex) {
        let Self { members, rng, .. } = self;
        members[index.position()].disconnected(now, rng);
    }

    /// The next thing to do, or `None` until [`Cluster::next_timeout`].
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        if !self.started {
            return None;
        }
        let Self { members, rng, .. } = self;
        members.iter_mut().enumerate().find_map(|(i, member)| {
            let member_index = MemberIndex(i as u16);
            Some(match member.poll(now, rng)? {
                DialOutcome::Dial(endpoint) => Output::Dial { member: member_index, endpoint },
                DialOutcome::LookUp => Output::LookUp { member: member_index },
                DialOutcome::Unreachable => Output::Unreachable { member: member_index },
            })
        })
    }

    /// The next member whose entry changed and should be stored, once for each change, among those
    /// that `free` allows.
    pub fn poll_dirty(&mut self, free: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        self.members.iter_mut().enumerate().find_map(|(i, member)| {
            let index = MemberIndex(i as u16);
            (free(index) && member.take_dirty()).then_some(index)
        })
    }

    /// Whether [`Cluster::poll_dirty`] has something to say for a member that is free.
    pub fn has_dirty(&self) -> bool {
        self.members.iter().any(Member::is_dirty)
    }

    /// Storing a member's entry failed: it is owed again.
    pub fn handle_store_failed(&mut self, index: MemberIndex) {
        self.member_mut(index).mark_dirty();
    }

    /// When [`Cluster::poll`] has something new to say.
    pub fn next_timeout(&self) -> Option<Instant> {
        if !self.started {
            return None;
        }
        self.members.iter().map(Member::next_timeout).fold(None, earlier)
    }
}
