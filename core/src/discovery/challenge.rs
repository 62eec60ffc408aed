//! Challenges: the WHOAREYOU packets that wait for their handshake (discv5 theory, "Handshake
//! Steps", step 2).
//!
//! A fixed pool, apart from sessions, in the order in which they end; when it is full the oldest
//! leaves. A repeated undecryptable packet gets the identical WHOAREYOU and does not prolong its
//! life. A second challenge may be open beside the first for one peer, so that a forger who opened
//! the first does not lock the honest peer out: it answers a packet that comes once the first has
//! waited long enough for its handshake.

use core::time::Duration;

use super::{
    packet::{self, ChallengeData, Nonce},
    peer::Peer,
};
use crate::{
    collections::{Key, Keyed, Lists},
    limits::MAX_CHALLENGE_CHECKS,
    rng::Rng,
    time::Instant,
};

/// An open challenge.
#[derive(Debug)]
pub(super) struct Challenge {
    /// The unmasked packet: it is sent again as it is, and the handshake is bound to it.
    pub(super) data: ChallengeData,
    /// The nonce of the packet that it answers.
    nonce: Nonce,
    /// When it was opened.
    opened: Instant,
    /// Signature checks spent on it.
    checks: u8,
}

/// Which of the two challenges of a peer.
type Turn = bool;

/// All open challenges.
#[derive(Debug)]
pub(super) struct Challenges {
    open: Keyed<(Peer, Turn), Challenge>,
    order: Lists,
    lifetime: Duration,
}

impl Challenges {
    pub(super) fn new(capacity: usize, lifetime: Duration, rng: &mut Rng) -> Self {
        Self { open: Keyed::new(capacity, rng), order: Lists::new(1, capacity), lifetime }
    }

    /// The challenge that answers an undecryptable packet: one that is open, or a new one. The
    /// second value tells whether an older one, of anybody, had to leave for it.
    pub(super) fn answer(
        &mut self,
        peer: Peer,
        nonce: &Nonce,
        enr_seq: u64,
        now: Instant,
        rng: &mut Rng,
    ) -> (Option<Key>, bool) {
        self.expire(now);
        let [first, second] = self.of(&peer);
        let (Some(first), second) = (first.or(second), second.filter(|_| first.is_some())) else {
            return self.begin((peer, false), nonce, enr_seq, now, rng);
        };
        if let Some(second) = second {
            let first_asked = self.get(first).is_some_and(|challenge| challenge.nonce == *nonce);
            return (Some(if first_asked { first } else { second }), false);
        }
        let waited = self.get(first).is_some_and(|challenge| {
            challenge.nonce != *nonce && now.since(challenge.opened) >= self.lifetime / 4
        });
        if !waited {
            return (Some(first), false);
        }
        let turn = self.open.name(first).is_some_and(|(_, turn)| !turn);
        self.begin((peer, turn), nonce, enr_seq, now, rng)
    }

    fn begin(
        &mut self,
        name: (Peer, Turn),
        nonce: &Nonce,
        enr_seq: u64,
        now: Instant,
        rng: &mut Rng,
    ) -> (Option<Key>, bool) {
        let crowded = self.open.is_full();
        if crowded
            && let Some(place) = self.order.first(0)
            && let Some(key) = self.open.key_at(place)
        {
            self.close(key);
        }
        let data = packet::whoareyou(&rng.array(), nonce, &rng.array(), enr_seq);
        let challenge = Challenge { data, nonce: *nonce, opened: now, checks: 0 };
        let key = self.open.insert(name, challenge).ok();
        if let Some(key) = key {
            self.order.push(0, key.index());
        }
        (key, crowded)
    }

    /// The open challenges of `peer`.
    pub(super) fn of(&self, peer: &Peer) -> [Option<Key>; 2] {
        [self.open.find(&(*peer, false)), self.open.find(&(*peer, true))]
    }

    pub(super) fn get(&self, key: Key) -> Option<&Challenge> {
        self.open.get(key)
    }

    /// The challenge in place `index`, and whom it is for.
    pub(super) fn at(&self, index: usize) -> Option<(&Peer, &Challenge)> {
        let key = self.open.key_at(index)?;
        Some((&self.open.name(key)?.0, self.open.get(key)?))
    }

    /// Spends one signature check on a challenge; false when none is left.
    pub(super) fn spend_check(&mut self, key: Key) -> bool {
        let Some(challenge) = self.open.get_mut(key) else { return false };
        let left = challenge.checks < MAX_CHALLENGE_CHECKS;
        challenge.checks += u8::from(left);
        left
    }

    /// Closes the challenges of `peer`: its handshake came.
    pub(super) fn close_all(&mut self, peer: &Peer) {
        for key in self.of(peer).into_iter().flatten() {
            self.close(key);
        }
    }

    fn close(&mut self, key: Key) {
        self.order.remove(key.index());
        self.open.remove(key);
    }

    /// Ends the challenges that are too old. They end in the order in which they were opened.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(key) = self.order.first(0).and_then(|place| self.open.key_at(place))
            && self.get(key).is_some_and(|challenge| now.since(challenge.opened) >= self.lifetime)
        {
            self.close(key);
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::NodeId, rng::Seed};

    fn peer(n: u8) -> Peer {
        Peer { id: NodeId([n; 32]), endpoint: ([127, 0, 0, 1], u16::from(n)).into() }
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn a_repeat_gets_the_same_and_a_late_one_a_second() {
        let mut rng = Seed::new([1; 32]).stream("c");
        let mut challenges = Challenges::new(8, Duration::from_secs(2), &mut rng);
        let mut ask = |challenges: &mut Challenges, nonce: u8, ms| {
            let (key, _) = challenges.answer(peer(1), &[nonce; 12], 0, at(ms), &mut rng);
            challenges.get(key.unwrap()).unwrap().data
        };
        let first = ask(&mut challenges, 1, 0);
        assert_eq!(ask(&mut challenges, 1, 10), first);
        assert_eq!(ask(&mut challenges, 2, 20), first, "other requests wait for the one handshake");
        assert_eq!(ask(&mut challenges, 1, 900), first);
        let second = ask(&mut challenges, 3, 900);
        assert_ne!(second, first);
        assert_eq!(ask(&mut challenges, 1, 950), first);
        assert_eq!(ask(&mut challenges, 4, 950), second);
        assert_eq!(challenges.len(), 2);
        // The first ends first; the second is then the only one.
        assert_eq!(ask(&mut challenges, 3, 2100), second);
        assert_eq!(challenges.len(), 1);
        let third = ask(&mut challenges, 5, 2200);
        assert_ne!(third, second);
        assert_eq!(challenges.len(), 2);
        challenges.close_all(&peer(1));
        assert_eq!(challenges.len(), 0);
    }

    #[test]
    fn the_pool_is_bounded_and_so_are_the_checks() {
        let mut rng = Seed::new([1; 32]).stream("c");
        let mut challenges = Challenges::new(2, Duration::from_secs(2), &mut rng);
        for n in 1..=3 {
            let (key, crowded) = challenges.answer(peer(n), &[n; 12], 0, at(0), &mut rng);
            assert!(key.is_some());
            assert_eq!(crowded, n == 3);
        }
        assert_eq!(challenges.len(), 2);
        assert_eq!(challenges.of(&peer(1)), [None, None]);
        let key = challenges.of(&peer(3))[0].unwrap();
        let spent = (0..20).filter(|_| challenges.spend_check(key)).count();
        assert_eq!(spent, usize::from(MAX_CHALLENGE_CHECKS));
        challenges.expire(at(2000));
        assert_eq!(challenges.len(), 0);
    }
}
