//! The permissioned cluster: who its members are, where each was last known, and when to dial.
//!
//! A machine without I/O of its own: it is told of records, of dials that failed and of channels
//! that came and went, and answers who is admitted, which endpoint to dial next, and which member
//! has to be looked up. It never forgets a member's newest record; members come and go only by the
//! operator's act, in places that are allocated once.
//!
//! Invariants: a key outside the cluster is never admitted (rule C1), nor is our own, coming from
//! outside; a record replaces another only with a strictly higher sequence number; attempts to one
//! member race, none waits for another to time out.

mod anyone;
mod book;
mod dial;
mod member;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::net::SocketAddr;

pub use book::{Endpoint, Origin, RecordOutcome};
pub use dial::DialOutcome;
pub use member::{Member, MemberConfig, Reachability};

use self::anyone::Anyone;
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
    /// More members than the node was given room for when it was made.
    #[error("the node has room for {0} members: start it again to have more")]
    NoRoom(usize),
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
    /// Dial this address, which the operator named without saying whose it is, and tell how it ended.
    DialAnyone {
        /// Where.
        address: SocketAddr,
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
    /// Never more than it was allocated for. The place of one that was removed is kept for the next.
    members: Vec<Member>,
    room: usize,
    anyone: Anyone,
    rng: Rng,
    /// The node may dial: its own record is settled.
    started: bool,
    /// Enough dials are under way: no further one begins.
    held: bool,
}

impl Cluster {
    /// Takes the members, our own key among them, and allocates places for `room` of them (or for as
    /// many as there are, if that is more; ourselves included).
    pub fn new<C: Crypto>(
        crypto: &C,
        own: PublicKey,
        members: &[MemberConfig],
        room: usize,
        rng: Rng,
    ) -> Result<Self, ClusterError> {
        let room = room.clamp(members.len().min(MAX_MEMBERS), MAX_MEMBERS);
        let places = Vec::with_capacity(room.saturating_sub(1));
        let mut cluster =
            Self { own, members: places, room, anyone: Anyone::default(), rng, started: false, held: false };
        cluster.check(members)?;
        for (position, config) in members.iter().enumerate().filter(|(_, config)| config.public_key != own) {
            cluster.add(Instant::ZERO, crypto, position, config);
        }
        Ok(cluster)
    }

    /// Whether these can be the members.
    pub fn check(&self, members: &[MemberConfig]) -> Result<(), ClusterError> {
        if members.len() > MAX_MEMBERS {
            return Err(ClusterError::TooMany);
        }
        for (i, member) in members.iter().enumerate() {
            if let Some(j) = members[..i].iter().position(|m| m.public_key == member.public_key) {
                return Err(ClusterError::Duplicate(j, i));
            }
        }
        if !members.iter().any(|member| member.public_key == self.own) {
            return Err(ClusterError::NotAMember);
        }
        if members.len() > self.room {
            return Err(ClusterError::NoRoom(self.room));
        }
        Ok(())
    }

    /// Most members there can be, ourselves included.
    pub const fn room(&self) -> usize {
        self.room
    }

    /// Adds a member at its position in the cluster file; it is dialled at once. `None` when there is no
    /// place, which [`Cluster::check`] tells before. A place that was another's is taken over.
    pub fn add<C: Crypto>(
        &mut self,
        now: Instant,
        crypto: &C,
        position: usize,
        config: &MemberConfig,
    ) -> Option<MemberIndex> {
        let mut member = Member::new(crypto, position, config);
        if self.started {
            member.dial_soon(now);
        }
        let index = match self.members.iter().position(Member::is_removed) {
            Some(free) => free,
            None if self.members.len() + 1 < self.room => self.members.len(),
            None => return None,
        };
        match self.members.get_mut(index) {
            Some(place) => *place = member,
            None => self.members.push(member),
        }
        Some(MemberIndex(index as u16))
    }

    /// The next member that is none of these.
    pub fn next_absent(&self, members: &[MemberConfig]) -> Option<MemberIndex> {
        self.index_where(|member| !members.iter().any(|m| m.public_key == *member.public_key()))
    }

    /// Removes a member. Its place, and with it its index, goes to the next that is added.
    pub fn remove(&mut self, index: MemberIndex) {
        self.member_mut(index).remove();
    }

    /// What a newer cluster file says of a member that stays. Its record there is to be offered besides.
    pub fn update(&mut self, now: Instant, index: MemberIndex, position: usize, config: &MemberConfig) {
        self.member_mut(index).update(now, position, config);
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
        self.members().find(|(_, member)| is(member)).map(|(index, _)| index)
    }

    /// All members but ourselves: in the cluster file's order, until members are added or removed.
    pub fn members(&self) -> impl Iterator<Item = (MemberIndex, &Member)> {
        let all = self.members.iter().enumerate().map(|(i, member)| (MemberIndex(i as u16), member));
        all.filter(|(_, member)| !member.is_removed())
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
        self.members().filter(|(_, member)| member.is_connected()).count()
    }

    fn is_someone_absent(&self) -> bool {
        self.members().any(|(_, member)| !member.is_connected())
    }

    /// Begins to dial: the own record is settled.
    pub fn start(&mut self, now: Instant) {
        if !self.started {
            self.started = true;
            self.members.iter_mut().for_each(|member| member.dial_soon(now));
            self.anyone.start(now);
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

    /// Adds an address that the operator names without saying whose it is: it is dialled while any
    /// member has no channel. Of too many the oldest is forgotten.
    pub fn handle_address(&mut self, now: Instant, address: SocketAddr) {
        self.anyone.add(now, address);
    }

    /// A dial of such an address ended. `reached`: a member answered there.
    pub fn handle_address_ended(&mut self, now: Instant, address: SocketAddr, reached: bool) {
        let Self { anyone, rng, .. } = self;
        anyone.ended(now, rng, address, reached);
    }

    /// A member has a channel. `dialled` is the endpoint that led there, if we dialled it; it is
    /// remembered as the last good one. `attempt`: that was an [`Output::Dial`] of this member.
    pub fn handle_connected(&mut self, index: MemberIndex, dialled: Option<SocketAddr>, attempt: bool) {
        self.member_mut(index).connected(dialled, attempt);
    }

    /// A member has lost its last channel.
    pub fn handle_disconnected(&mut self, now: Instant, index: MemberIndex) {
        let Self { members, rng, anyone, .. } = self;
        members[index.position()].disconnected(now, rng);
        anyone.someone_left(now);
    }

    /// The next thing to do, or `None` until [`Cluster::next_timeout`].
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        if !self.started {
            return None;
        }
        if self.is_someone_absent()
            && let Some(address) = self.anyone.poll(now)
        {
            return Some(Output::DialAnyone { address });
        }
        let Self { members, rng, held, .. } = self;
        members.iter_mut().enumerate().find_map(|(i, member)| {
            let member_index = MemberIndex(i as u16);
            Some(match member.poll(now, rng, !*held)? {
                DialOutcome::Dial(endpoint) => Output::Dial { member: member_index, endpoint },
                DialOutcome::LookUp => Output::LookUp { member: member_index },
                DialOutcome::Unreachable => Output::Unreachable { member: member_index },
            })
        })
    }

    /// Whether dials of members are held back from now on: [`Cluster::poll`] names none meanwhile.
    pub const fn hold_dials(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether they are.
    pub const fn holds_dials(&self) -> bool {
        self.held
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
        let anyone = self.anyone.next_timeout().filter(|_| self.is_someone_absent());
        self.members.iter().map(|member| member.next_timeout(!self.held)).fold(anyone, earlier)
    }
}
