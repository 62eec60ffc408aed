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
    ip: IpAddr,
    /// The port, from those who can see it.
    port: Option<u16>,
    cast: Instant,
}

/// What a quorum says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voted {
    /// The address.
    pub ip: IpAddr,
    /// The UDP port, if a quorum agrees on that too.
    pub port: Option<u16>,
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
        self.put(Vote { voter, ip: endpoint.ip(), port: Some(endpoint.port()), cast: now });
    }

    /// The same from a member that sees the address only. Of a port that it named for this address
    /// before nothing is taken back.
    pub fn cast_address(&mut self, now: Instant, voter: NodeId, ip: IpAddr) {
        self.expire(now);
        let before = self.slots.iter().flatten().find(|vote| vote.voter == voter && vote.ip == ip);
        let port = before.and_then(|vote| vote.port);
        self.put(Vote { voter, ip, port, cast: now });
    }

    fn put(&mut self, vote: Vote) {
        self.expire(vote.cast);
        let same = |v: &Vote| v.voter == vote.voter && v.ip.is_ipv4() == vote.ip.is_ipv4();
        let slot = match self.slots.iter().position(|slot| slot.as_ref().is_some_and(same)) {
            Some(index) => Some(index),
            None => self.slots.iter().position(Option::is_none),
        };
        if let Some(slot) = slot.and_then(|index| self.slots.get_mut(index)) {
            *slot = Some(vote);
        }
    }

    /// Forgets all votes for an address: it is known to be ours no longer.
    pub fn forget_address(&mut self, ip: IpAddr) {
        for slot in &mut self.slots {
            if slot.is_some_and(|vote| vote.ip == ip) {
                *slot = None;
            }
        }
    }

    /// Forgets the votes of one that is no member any more.
    pub fn forget_voter(&mut self, voter: NodeId) {
        for slot in &mut self.slots {
            if slot.is_some_and(|vote| vote.voter == voter) {
                *slot = None;
            }
        }
    }

    /// What at least `quorum` members agree on for the given family; `None` when they do not.
    ///
    /// The address that is `current` stays while it has the quorum, and so does its port: a vote
    /// more for another that has it too moves nothing. The port needs a quorum of its own: a NAT
    /// may show every peer another, and one liar must not choose it. Changes with every vote and
    /// as votes expire.
    pub fn winner(
        &mut self,
        now: Instant,
        ipv4: bool,
        quorum: usize,
        current: Option<SocketAddr>,
    ) -> Option<Voted> {
        self.expire(now);
        let ips = || self.slots.iter().flatten().map(|vote| vote.ip).filter(|ip| ip.is_ipv4() == ipv4);
        let endpoints =
            || self.slots.iter().flatten().filter_map(|vote| Some(SocketAddr::new(vote.ip, vote.port?)));
        let for_ip = |ip: IpAddr| ips().filter(|other| *other == ip).count();
        let for_endpoint = |endpoint: SocketAddr| endpoints().filter(|e| *e == endpoint).count();
        let current_ip = current.map(|current| current.ip()).filter(|ip| for_ip(*ip) >= quorum);
        let ip = match current_ip {
            Some(ip) => ip,
            None => ips().max_by_key(|ip| (for_ip(*ip), *ip))?,
        };
        if for_ip(ip) < quorum {
            return None;
        }
        let agreed = |endpoint: &SocketAddr| endpoint.ip() == ip && for_endpoint(*endpoint) >= quorum;
        let endpoint = current.filter(agreed).or_else(|| {
            endpoints().filter(agreed).max_by_key(|endpoint| (for_endpoint(*endpoint), *endpoint))
        });
        Some(Voted { ip, port: endpoint.map(|endpoint| endpoint.port()) })
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
        let now = Instant::ZERO;
        let needed = quorum(4, 3);
        votes.cast(now, id(1), lie);
        votes.cast(now, id(1), lie);
        assert_eq!(votes.winner(now, true, needed, None), None, "one member, one vote");
        votes.cast(now, id(2), honest);
        votes.cast(now, id(3), honest);
        assert_eq!(votes.winner(now, true, needed, None), Some(Voted { ip: honest.ip(), port: Some(5) }));
        assert_eq!(votes.winner(now, false, 1, None), None, "families are apart");
        assert_eq!(votes.winner(now + VOTE_LIFETIME, true, 1, None), None, "votes expire");
    }

    #[test]
    fn one_liar_does_not_choose_the_port() {
        let mut votes = Votes::new(4);
        let now = Instant::ZERO;
        votes.cast(now, id(1), ([1, 1, 1, 1], 65_000).into());
        votes.cast(now, id(2), ([1, 1, 1, 1], 5).into());
        let voted = votes.winner(now, true, 2, None).unwrap();
        assert_eq!(voted, Voted { ip: [1, 1, 1, 1].into(), port: None });
    }

    /// A libp2p identify names an address; its port is a connection's, and counts for nothing.
    #[test]
    fn a_vote_for_the_address_alone() {
        let mut votes = Votes::new(4);
        let now = Instant::ZERO;
        let ip: IpAddr = [1, 1, 1, 1].into();
        votes.cast_address(now, id(1), ip);
        votes.cast_address(now, id(2), ip);
        assert_eq!(votes.winner(now, true, 2, None), Some(Voted { ip, port: None }));
        votes.cast(now, id(1), SocketAddr::new(ip, 5));
        votes.cast(now, id(2), SocketAddr::new(ip, 5));
        votes.cast_address(now, id(2), ip);
        assert_eq!(votes.winner(now, true, 2, None), Some(Voted { ip, port: Some(5) }));
        votes.cast_address(now, id(2), [2, 2, 2, 2].into());
        assert_eq!(votes.winner(now, true, 2, None), None, "one member, one vote");
    }

    #[test]
    fn a_port_is_its_voters_own_word_and_of_this_address() {
        let mut votes = Votes::new(4);
        let now = Instant::ZERO;
        let [ip, other]: [IpAddr; 2] = [[1, 1, 1, 1].into(), [2, 2, 2, 2].into()];
        votes.cast(now, id(1), SocketAddr::new(ip, 5));
        votes.cast_address(now, id(2), ip);
        assert_eq!(votes.winner(now, true, 2, None), Some(Voted { ip, port: None }));
        for voter in [1, 2] {
            votes.cast(now, id(voter), SocketAddr::new(other, 6));
            votes.cast_address(now, id(voter), ip);
        }
        assert_eq!(votes.winner(now, true, 2, None), Some(Voted { ip, port: None }));
    }

    #[test]
    fn what_is_forgotten_counts_no_longer() {
        let mut votes = Votes::new(4);
        let now = Instant::ZERO;
        let [a, b]: [IpAddr; 2] = [[1, 1, 1, 1].into(), [2, 2, 2, 2].into()];
        for (voter, ip) in [(1, a), (2, a), (3, b)] {
            votes.cast(now, id(voter), SocketAddr::new(ip, 5));
        }
        votes.forget_voter(id(1));
        assert_eq!(votes.winner(now, true, 2, None), None, "one is left");
        let current = Some(SocketAddr::new(a, 5));
        assert_eq!(votes.winner(now, true, 1, current).map(|voted| voted.ip), Some(a));
        votes.forget_address(a);
        assert_eq!(votes.winner(now, true, 1, current).map(|voted| voted.ip), Some(b));
    }

    #[test]
    fn what_has_the_quorum_stays() {
        let mut votes = Votes::new(6);
        let now = Instant::ZERO;
        let (a, b): (SocketAddr, SocketAddr) = (([1, 1, 1, 1], 5).into(), ([2, 2, 2, 2], 5).into());
        for (voter, endpoint) in [(1, a), (2, a), (3, b), (4, b), (5, b)] {
            votes.cast(now, id(voter), endpoint);
        }
        assert_eq!(votes.winner(now, true, 2, Some(a)).unwrap().ip, a.ip());
        assert_eq!(votes.winner(now, true, 2, None).unwrap().ip, b.ip());
        assert_eq!(votes.winner(now, true, 3, Some(a)).unwrap().ip, b.ip());
    }

    #[test]
    fn quorum_of_the_design() {
        assert_eq!([quorum(4, 0), quorum(4, 3), quorum(7, 6), quorum(10, 3)], [2, 2, 4, 4]);
    }
}
