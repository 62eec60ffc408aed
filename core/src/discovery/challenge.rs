//! Challenges: the WHOAREYOU packets that wait for their handshake (discv5 theory, "Handshake
//! Steps", step 2).
//!
//! A fixed pool, apart from sessions, in the order in which they end; when it is full the oldest
//! leaves, a stranger's for a stranger's. A repeated undecryptable packet gets the identical WHOAREYOU
//! and does not prolong its life. A second challenge may be open beside the first for one peer, so
//! that a forger who opened the first does not lock the honest peer out: it answers a packet that
//! comes once the first has waited long enough for its handshake. When a forger holds both, the older
//! one leaves for another packet after that time, and one whose signature checks are used up as well:
//! the peer's next try is challenged afresh.

use core::{
    hash::{Hash, Hasher},
    time::Duration,
};

use super::{
    packet::{self, ChallengeData, Nonce},
    peer::Peer,
};
use crate::{
    collections::{Key, Keyed, Lists, Print},
    limits::{CHALLENGE_HOLD_PART, CHALLENGES_PER_PEER, MAX_CHALLENGE_CHECKS},
    rng::Rng,
    time::Instant,
    zoo::{self, Bug},
};

/// An open challenge.
#[derive(Debug)]
pub(super) struct Challenge {
    /// The unmasked packet: it is sent again as it is, and the handshake is bound to it.
    pub(super) data: ChallengeData,
    /// When it was opened.
    opened: Instant,
    /// Signature checks spent on it.
    checks: u8,
}

impl Challenge {
    /// Whether no more signatures are checked for it.
    const fn is_spent(&self) -> bool {
        self.checks >= MAX_CHALLENGE_CHECKS
    }
}

/// Which challenge: the first or the second of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    peer: Peer,
    second: bool,
}

impl Hash for Name {
    /// Both of a peer hash alike, so that one hash finds both.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.peer.hash(state);
    }
}

/// What an undecryptable packet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// Its challenge; `None` only when there is no room for any.
    pub(super) key: Option<Key>,
    /// It was open already.
    pub(super) repeated: bool,
    /// It answers this very packet.
    pub(super) own: bool,
    /// An older one of the same peer made room for it.
    pub(super) replaced: bool,
    /// An older one, of anybody, made room for it.
    pub(super) crowded: bool,
}

/// The order in which strangers' challenges end.
const STRANGERS: usize = 0;
/// The order in which challenges end of members at endpoints known as theirs.
const MEMBERS: usize = 1;

/// All open challenges.
#[derive(Debug)]
pub(super) struct Challenges {
    open: Keyed<Name, Challenge>,
    order: Lists,
    lifetime: Duration,
    /// None ends before this.
    next_expiry: Instant,
}

impl Challenges {
    pub(super) fn new(capacity: usize, lifetime: Duration, rng: &mut Rng) -> Self {
        Self {
            open: Keyed::new(capacity, rng),
            order: Lists::new(2, capacity),
            lifetime,
            next_expiry: Instant::ZERO,
        }
    }

    /// The challenge that answers an undecryptable packet: one that is open, or a new one. `member`:
    /// whether the peer is one, at an endpoint known as its own.
    pub(super) fn answer(
        &mut self,
        peer: Peer,
        nonce: &Nonce,
        enr_seq: u64,
        member: bool,
        now: Instant,
        rng: &mut Rng,
    ) -> Answered {
        self.expire(now);
        if zoo::has(Bug::ChallengeEachTime) {
            self.close_all(&peer);
        }
        let print = self.print(&peer);
        let open = self.printed(print, &peer);
        let held = |key: Key| self.get(key).map(|challenge| (key, challenge));
        let held = || open.into_iter().flatten().filter_map(held);
        let own = held().find(|(_, challenge)| {
            packet::answered_nonce(&challenge.data) == *nonce && !challenge.is_spent()
        });
        let waited =
            |challenge: &Challenge| now.since(challenge.opened) >= self.lifetime / CHALLENGE_HOLD_PART;
        let again = |key, own| Answered { key, repeated: true, own, replaced: false, crowded: false };
        if let Some((key, _)) = own {
            return again(Some(key), true);
        }
        // The one opened last: the other may make room for one more.
        let newest = held().max_by_key(|(_, challenge)| challenge.opened);
        let Some((newest, last)) = newest else {
            return self.begin((print, Name { peer, second: false }), nonce, enr_seq, member, now, rng);
        };
        let oldest = held().min_by_key(|(_, challenge)| (!challenge.is_spent(), challenge.opened));
        if !waited(last) && !oldest.is_some_and(|(_, oldest)| oldest.is_spent() && waited(oldest)) {
            return again(Some(newest), false);
        }
        let taken = held().count();
        let mut second = self.open.name(newest).is_some_and(|name| !name.second);
        let replaced = taken >= CHALLENGES_PER_PEER || oldest.is_some_and(|(_, oldest)| oldest.is_spent());
        if replaced && let Some((oldest, _)) = oldest {
            second = self.open.name(oldest).is_some_and(|name| name.second);
            self.close(oldest);
        }
        Answered { replaced, ..self.begin((print, Name { peer, second }), nonce, enr_seq, member, now, rng) }
    }

    fn begin(
        &mut self,
        (print, name): (Print, Name),
        nonce: &Nonce,
        enr_seq: u64,
        member: bool,
        now: Instant,
        rng: &mut Rng,
    ) -> Answered {
        let list = if member { MEMBERS } else { STRANGERS };
        // Neither kind leaves the other without half of the pool.
        let mine = self.order.len(list) * 2 >= self.open.capacity();
        let leaving = if mine { list } else { STRANGERS + MEMBERS - list };
        let crowded = self.open.is_full();
        if crowded
            && let Some(place) = self.order.first(leaving).or_else(|| self.order.first(list))
            && let Some(key) = self.open.key_at(place)
        {
            self.close(key);
        }
        let [iv, id_nonce] = rng.arrays();
        let data = packet::whoareyou(&iv, nonce, &id_nonce, enr_seq);
        let challenge = Challenge { data, opened: now, checks: 0 };
        let key = self.open.insert_printed(print, name, challenge).ok();
        if let Some(key) = key {
            self.order.push(list, key.index());
        }
        Answered { key, repeated: false, own: true, replaced: false, crowded }
    }

    /// The open challenges of `peer`.
    pub(super) fn of(&self, peer: &Peer) -> [Option<Key>; 2] {
        if self.open.is_empty() { [None; 2] } else { self.printed(self.print(peer), peer) }
    }

    /// What both challenges of `peer` are found by.
    fn print(&self, peer: &Peer) -> Print {
        self.open.print(&Name { peer: *peer, second: false })
    }

    fn printed(&self, print: Print, peer: &Peer) -> [Option<Key>; 2] {
        let mut both = [None; 2];
        for (key, name) in self.open.printed(print).filter(|(_, name)| name.peer == *peer) {
            both[usize::from(name.second)] = Some(key);
        }
        both
    }

    pub(super) fn get(&self, key: Key) -> Option<&Challenge> {
        self.open.get(key)
    }

    /// The challenge in place `index`, and whom it is for.
    pub(super) fn at(&self, index: usize) -> Option<(&Peer, &Challenge)> {
        let key = self.open.key_at(index)?;
        Some((&self.open.name(key)?.peer, self.open.get(key)?))
    }

    /// Whether a signature may still be checked for a challenge.
    pub(super) fn has_checks(&self, key: Key) -> bool {
        self.get(key).is_some_and(|challenge| !challenge.is_spent())
    }

    /// Spends one signature check on a challenge; false when none is left.
    pub(super) fn spend_check(&mut self, key: Key) -> bool {
        let left = self.has_checks(key);
        if let Some(challenge) = self.open.get_mut(key).filter(|_| left) {
            challenge.checks += 1;
        }
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
        self.open.discard(key);
    }

    /// Ends the challenges that are too old. They end in the order in which they were opened.
    pub(super) fn expire(&mut self, now: Instant) {
        if now < self.next_expiry {
            return;
        }
        self.next_expiry = now + self.lifetime;
        for list in [STRANGERS, MEMBERS] {
            while let Some(key) = self.order.first(list).and_then(|place| self.open.key_at(place))
                && let Some(opened) = self.get(key).map(|challenge| challenge.opened)
            {
                if now.since(opened) < self.lifetime {
                    self.next_expiry = self.next_expiry.min(opened + self.lifetime);
                    break;
                }
                self.close(key);
            }
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
    fn each_ends_on_time_and_nobody_looks_before() {
        let mut rng = Seed::new([1; 32]).stream("c");
        let lifetime = Duration::from_secs(2);
        let mut challenges = Challenges::new(8, lifetime, &mut rng);
        challenges.expire(at(10));
        assert_eq!(challenges.next_expiry, at(10) + lifetime, "none can end sooner");
        for (n, ms, member) in [(1, 100, false), (2, 200, true), (3, 300, false)] {
            challenges.answer(peer(n), &[n; 12], 0, member, at(ms), &mut rng);
        }
        for (ms, left, next) in [(2_099, 3, 2_100), (2_100, 2, 2_200), (2_200, 1, 2_300), (2_300, 0, 4_300)] {
            challenges.expire(at(ms));
            assert_eq!((challenges.len(), challenges.next_expiry), (left, at(next)), "{ms} ms");
        }
    }

    #[test]
    fn peers_hash_apart_and_their_challenges_alike() {
        let challenges = Challenges::new(8, Duration::from_secs(2), &mut Seed::new([1; 32]).stream("c"));
        let print = |n, second| challenges.open.print(&Name { peer: peer(n), second }).mark();
        assert_ne!(print(1, false), print(2, false));
        assert_eq!(print(1, false), print(1, true));
    }

    #[test]
    fn a_repeat_gets_the_same_and_a_late_one_a_second() {
        let mut rng = Seed::new([1; 32]).stream("c");
        let mut challenges = Challenges::new(8, Duration::from_secs(2), &mut rng);
        let mut ask = |challenges: &mut Challenges, nonce: u8, ms| {
            let answered = challenges.answer(peer(1), &[nonce; 12], 0, false, at(ms), &mut rng);
            challenges.get(answered.key.unwrap()).unwrap().data
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
            let answered = challenges.answer(peer(n), &[n; 12], 0, false, at(0), &mut rng);
            assert!(answered.key.is_some());
            assert_eq!(answered.crowded, n == 3);
        }
        assert_eq!(challenges.len(), 2);
        assert_eq!(challenges.of(&peer(1)), [None, None]);
        let key = challenges.of(&peer(3))[0].unwrap();
        let spent = (0..20).filter(|_| challenges.spend_check(key)).count();
        assert_eq!(spent, usize::from(MAX_CHALLENGE_CHECKS));
        challenges.expire(at(2000));
        assert_eq!(challenges.len(), 0);
    }

    #[test]
    fn a_forger_cannot_hold_both_places() {
        let mut rng = Seed::new([1; 32]).stream("c");
        let mut challenges = Challenges::new(8, Duration::from_secs(2), &mut rng);
        let mut ask = |challenges: &mut Challenges, nonce: u8, ms| {
            challenges.answer(peer(1), &[nonce; 12], 0, false, at(ms), &mut rng)
        };
        // The forger asks first, and again as soon as it may.
        assert!(ask(&mut challenges, 1, 0).own && ask(&mut challenges, 2, 500).own);
        let early = ask(&mut challenges, 9, 900);
        assert!(early.repeated && !early.own && !early.replaced);
        // The next try of the peer gets a challenge of its own, and the second place holds for it.
        let tried = ask(&mut challenges, 10, 1_000);
        assert!(tried.own && tried.replaced);
        assert!(!ask(&mut challenges, 3, 1_100).own && !ask(&mut challenges, 4, 1_499).own);
        assert_eq!(ask(&mut challenges, 10, 1_499).key, tried.key);
        assert_eq!(challenges.len(), 2);
        // A challenge whose checks are used up makes room, but not at once.
        let key = tried.key.unwrap();
        while challenges.spend_check(key) {}
        assert!(!challenges.has_checks(key));
        let next = ask(&mut challenges, 10, 1_500);
        assert!(next.own && next.replaced && challenges.has_checks(next.key.unwrap()));
    }

    #[test]
    fn strangers_leave_members_their_half() {
        let mut rng = Seed::new([1; 32]).stream("c");
        let mut challenges = Challenges::new(4, Duration::from_secs(2), &mut rng);
        let mut ask = |challenges: &mut Challenges, n: u8, member| {
            challenges.answer(peer(n), &[n; 12], 0, member, at(u64::from(n)), &mut rng);
        };
        for n in [1, 2] {
            ask(&mut challenges, n, true);
        }
        for n in 10..100 {
            ask(&mut challenges, n, false);
        }
        assert!([1, 2].iter().all(|n| challenges.of(&peer(*n))[0].is_some()));
        // Nor the other way round: as many as there are.
        for n in 100..110 {
            ask(&mut challenges, n, true);
        }
        assert_eq!((challenges.len(), challenges.order.len(STRANGERS)), (4, 2));
    }

    #[test]
    fn members_find_room_among_strangers() {
        let mut rng = Seed::new([1; 32]).stream("c");
        let mut challenges = Challenges::new(8, Duration::from_secs(2), &mut rng);
        let mut ask = |challenges: &mut Challenges, n: u8, member| {
            challenges.answer(peer(n), &[n; 12], 0, member, at(u64::from(n)), &mut rng);
        };
        for n in 10..30 {
            ask(&mut challenges, n, false);
        }
        for n in 30..40 {
            ask(&mut challenges, n, true);
        }
        assert_eq!((challenges.order.len(STRANGERS), challenges.order.len(MEMBERS)), (4, 4));
        let open = |n: u8| challenges.of(&peer(n))[0].is_some();
        assert!((26..30).chain(36..40).all(open), "the last of each kind");
    }

    #[test]
    fn a_spent_challenge_leaves_before_an_older_one() {
        let mut rng = Seed::new([1; 32]).stream("c");
        let mut challenges = Challenges::new(8, Duration::from_secs(2), &mut rng);
        let mut ask = |challenges: &mut Challenges, nonce: u8, ms| {
            challenges.answer(peer(1), &[nonce; 12], 0, false, at(ms), &mut rng)
        };
        let first = ask(&mut challenges, 1, 0).key.unwrap();
        let second = ask(&mut challenges, 2, 500).key.unwrap();
        while challenges.spend_check(second) {}
        let third = ask(&mut challenges, 3, 1_000);
        assert!(third.own && third.replaced && challenges.get(second).is_none());
        let again = ask(&mut challenges, 1, 1_100);
        assert_eq!((again.key, again.own, again.repeated), (Some(first), true, true));
    }
}
