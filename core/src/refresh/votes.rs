//! Votes for our own address: what members see as the source of our packets.
//!
//! One vote a member and family, whatever its subnet; votes expire. A quorum of
//! max(f + 1, majority of the members now connected), at least two, moves the address
//! (f = ⌊(n − 1) / 3⌋), so that fewer liars than the quorum cannot (rule E7).

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

use crate::{
    id::NodeId,
    limits::{MAX_MEMBERS, VOTE_LIFETIME},
    time::Instant,
};

/// One member's word.
#[derive(Clone, Copy, Debug)]
struct Vote {
    voter: NodeId,
    endpoint: SocketAddr,
    cast: Instant,
}

/// The votes in force.
#[derive(Debug)]
pub struct Votes {
    slots: Box<[Option<Vote>]>,
}

impl Votes {
    /// Room for one vote a member and family, for `members` members (at most [`MAX_MEMBERS`]).
    pub fn new(members: usize) -> Self {
        Self { slots: (0..2 * members.min(MAX_MEMBERS)).map(|_| None).collect() }
    }

    /// Takes a member's vote; it replaces the member's earlier one of the same family. The caller
    /// has made sure that `voter` is a member.
    pub fn cast(&mut self, now: Instant, voter: NodeId, endpoint: SocketAddr) {
        self.expire(now);
        let vote = Vote { voter, endpoint, cast: now };
        let same = |v: &Vote| v.voter == voter && v.endpoint.ip().is_ipv4() == endpoint.ip().is_ipv4();
        let slot = match self.slots.iter().position(|slot| slot.as_ref().is_some_and(same)) {
            Some(index) => Some(index),
            None => self.slots.iter().position(Option::is_none),
        };
        if let Some(slot) = slot.and_then(|index| self.slots.get_mut(index)) {
            *slot = Some(vote);
        }
    }

    /// Forgets a member's votes: it is no longer a member.
    pub fn forget(&mut self, voter: &NodeId) {
        for slot in &mut self.slots {
            if slot.is_some_and(|vote| vote.voter == *voter) {
                *slot = None;
            }
        }
    }

    /// Forgets all votes for an address: it is known to be ours no longer.
    pub fn forget_address(&mut self, ip: IpAddr) {
        for slot in &mut self.slots {
            if slot.is_some_and(|vote| vote.endpoint.ip() == ip) {
                *slot = None;
            }
        }
    }

    /// The endpoint of the given family that at least `quorum` members agree on, by its address;
    /// the port is the one most of them named. Changes with every vote and as votes expire.
    pub fn winner(&mut self, now: Instant, ipv4: bool, quorum: usize) -> Option<SocketAddr> {
        self.expire(now);
        let votes = || self.slots.iter().flatten().filter(|vote| vote.endpoint.ip().is_ipv4() == ipv4);
        let ip = votes()
            .map(|vote| vote.endpoint.ip())
            .max_by_key(|ip| (votes().filter(|v| v.endpoint.ip() == *ip).count(), *ip))?;
        if votes().filter(|vote| vote.endpoint.ip() == ip).count() < quorum {
            return None;
        }
        votes()
            .map(|vote| vote.endpoint)
            .filter(|endpoint| endpoint.ip() == ip)
            .max_by_key(|endpoint| (votes().filter(|v| v.endpoint == *endpoint).count(), *endpoint))
    }

    fn expire(&mut self, now: Instant) {
        for slot in &mut self.slots {
            if slot.is_some_and(|vote| now.since(vote.cast) >= VOTE_LIFETIME) {
                *slot = None;
            }
        }
    }
}

/// Votes needed to move the address in a cluster of `members`, of which `connected` others have a
/// channel now: max(f + 1, majority of the connected), at least two.
pub const fn quorum(members: usize, connected: usize) -> usize {
    let faulty = members.saturating_sub(1) / 3;
    let (a, b) = (faulty + 1, connected / 2 + 1);
    let most = if a > b { a } else { b };
    if most > 2 { most } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    #[test]
    fn fewer_than_the_quorum_move_nothing() {
        let mut votes = Votes::new(4);
        let (honest, lie): (SocketAddr, SocketAddr) = (([1, 1, 1, 1], 5).into(), ([6, 6, 6, 6], 6).into());
        votes.cast(Instant::ZERO, id(1), lie);
        votes.cast(Instant::ZERO, id(1), lie);
        assert_eq!(votes.winner(Instant::ZERO, true, quorum(4, 3)), None, "one member, one vote");
        votes.cast(Instant::ZERO, id(2), honest);
        votes.cast(Instant::ZERO, id(3), honest);
        assert_eq!(votes.winner(Instant::ZERO, true, quorum(4, 3)), Some(honest));
        assert_eq!(votes.winner(Instant::ZERO, false, 1), None, "families are apart");
        assert_eq!(votes.winner(Instant::ZERO + VOTE_LIFETIME, true, 1), None, "votes expire");
    }

    #[test]
    fn quorum_of_the_design() {
        assert_eq!([quorum(4, 0), quorum(4, 3), quorum(7, 6), quorum(10, 3)], [2, 2, 4, 4]);
    }
}
