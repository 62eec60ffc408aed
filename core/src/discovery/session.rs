//! Established sessions: a fixed table, bound to (node id, endpoint), the least recently used one
//! leaving first and members' last (discv5 theory, "Session Cache").
//!
//! A session's keys are replaced only after a message under the new ones was authenticated, and the
//! old ones go on decrypting for a while; what came under them is answered under them, because a peer
//! that still uses them may have lost the new ones. Nothing that fails to decrypt changes a session,
//! and a packet that comes twice proves nothing: it does not keep a session alive, and its answer is
//! paid with bytes that came. Keys are wiped where they stand when their time is over.

use super::{keys::Keys, packet::Nonce, peer::Peer};
use crate::{
    collections::{Deadlines, Key, Keyed, Lists},
    crypto::{Crypto, PublicKey},
    limits::{MAX_REPEAT_CREDIT, RECENT_NONCES},
    rng::Rng,
    time::{Instant, earlier},
};

/// Keys that are not in force, and when their time is over.
#[derive(Debug)]
struct Aside {
    keys: Keys,
    until: Instant,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// The peer's static key: what a new handshake with it needs.
    pub(super) public_key: PublicKey,
    /// Which key change this was, of all sessions: later ones have higher numbers.
    pub(super) serial: u64,
    /// The keys to encrypt with, and to try first.
    keys: Keys,
    /// The keys before.
    previous: Option<Aside>,
    /// Keys of a handshake of ours whose outcome is unknown, because its request was answered under
    /// others: the peer may still begin to use them.
    offered: Option<Aside>,
    /// Fingerprints of the nonces of the packets that came last.
    seen: [u32; RECENT_NONCES],
    next_seen: usize,
    /// Bytes that answers to repeated packets may still have.
    credit: u32,
}

/// Which keys of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// Those in force.
    Current,
    /// Those before.
    Previous,
}

/// A message that was decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// Under which keys. An answer goes out under the same: the peer certainly has them.
    pub(super) generation: Generation,
    /// Whether a packet with this nonce was decrypted before: a retransmission or a replay.
    pub(super) repeated: bool,
    /// Whether the message put keys in force that we had offered.
    pub(super) renewed: bool,
    /// The nonce of its packet.
    pub(super) nonce: Nonce,
}

impl Opened {
    /// The first message under new keys.
    pub(super) const fn fresh(nonce: Nonce) -> Self {
        Self { generation: Generation::Current, repeated: false, renewed: false, nonce }
    }
}

impl Session {
    fn new(public_key: PublicKey, keys: Keys, serial: u64) -> Self {
        Self {
            public_key,
            serial,
            keys,
            previous: None,
            offered: None,
            seen: [0; RECENT_NONCES],
            next_seen: 0,
            credit: 0,
        }
    }

    /// The keys to encrypt with.
    pub(super) fn keys(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// The keys to encrypt an answer with, to a request that came under those of `generation`.
    pub(super) fn answer_keys(&mut self, generation: Generation) -> &mut Keys {
        match (&mut self.previous, generation) {
            (Some(previous), Generation::Previous) => &mut previous.keys,
            _ => &mut self.keys,
        }
    }

    /// Puts other keys in force; those before go aside.
    fn replace(&mut self, keys: Keys, until: Instant) {
        self.previous = Some(Aside { keys: self.keys.take(), until });
        self.keys = keys;
    }

    /// Wipes the keys whose time is over; when the next ones' is.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        for slot in [&mut self.previous, &mut self.offered] {
            if slot.as_ref().is_some_and(|aside| aside.until <= now) {
                *slot = None;
            }
        }
        let until = |slot: &Option<Aside>| slot.as_ref().map(|aside| aside.until);
        earlier(until(&self.previous), until(&self.offered))
    }

    /// Whether another message can be sent.
    pub(super) const fn can_send(&self) -> bool {
        !self.keys.exhausted()
    }

    /// Decrypts a message in place with any keys that the peer may use. `None` when none fits; then
    /// the buffer is as it was.
    pub(super) fn open<C: Crypto>(
        &mut self,
        crypto: &C,
        nonce: &Nonce,
        header: &[u8],
        message: &mut [u8],
    ) -> Option<Opened> {
        let len = (header.len() + message.len()) as u32;
        let mut fits = |keys: &Keys| keys.open(crypto, nonce, header, message).is_ok();
        let mut opened = Opened::fresh(*nonce);
        if fits(&self.keys) {
            // As usual.
        } else if self.previous.as_ref().is_some_and(|aside| fits(&aside.keys)) {
            opened.generation = Generation::Previous;
        } else if let Some(offered) = self.offered.as_mut().filter(|aside| fits(&aside.keys)) {
            let (keys, until) = (offered.keys.take(), offered.until);
            self.offered = None;
            self.replace(keys, until);
            opened.renewed = true;
        } else {
            return None;
        }
        opened.repeated = self.remember(nonce, len);
        Some(opened)
    }

    /// Remembers an authentic packet by its nonce; whether it was known.
    pub(super) fn remember(&mut self, nonce: &Nonce, len: u32) -> bool {
        self.credit = self.credit.saturating_add(len).min(MAX_REPEAT_CREDIT);
        let print = fingerprint(nonce);
        if self.seen.contains(&print) {
            return true;
        }
        self.seen[self.next_seen] = print;
        self.next_seen = (self.next_seen + 1) % RECENT_NONCES;
        false
    }

    /// Pays for an answer to a repeated packet; false when more would go out than came in.
    pub(super) const fn pay(&mut self, len: u32) -> bool {
        let enough = self.credit >= len;
        if enough {
            self.credit -= len;
        }
        enough
    }
}

/// A nonce in four bytes, never zero. A peer's own nonces differ in their count or their random part.
fn fingerprint(nonce: &Nonce) -> u32 {
    let word = |at: usize| nonce[at..at + 4].iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
    (word(0).wrapping_mul(0x9e37_79b1) ^ word(4) ^ word(8).rotate_left(16)).max(1)
}

/// The order in which strangers' sessions leave.
const STRANGERS: usize = 0;
/// The order in which members' sessions leave, when no stranger's is left.
const MEMBERS: usize = 1;

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    sessions: Keyed<Peer, Session>,
    order: Lists,
    /// When keys that are not in force any more are wiped.
    expiries: Deadlines,
    serial: u64,
}

impl Sessions {
    pub(super) fn new(capacity: usize, rng: &mut Rng) -> Self {
        Self {
            sessions: Keyed::new(capacity, rng),
            order: Lists::new(2, capacity),
            expiries: Deadlines::new(capacity),
            serial: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The session with `peer`; using it makes it the last to leave.
    pub(super) fn using(&mut self, peer: &Peer) -> Option<&mut Session> {
        let key = self.sessions.find(peer)?;
        self.used(key);
        self.sessions.get_mut(key)
    }

    /// The session with `peer`, without using it.
    pub(super) fn peek_mut(&mut self, peer: &Peer) -> Option<&mut Session> {
        let key = self.sessions.find(peer)?;
        self.sessions.get_mut(key)
    }

    /// Opens a packet in the session with `peer`. Only a new one that authenticates counts as use:
    /// neither junk nor a replay must decide who is evicted.
    pub(super) fn open(
        &mut self,
        peer: &Peer,
        open: impl FnOnce(&mut Session) -> Option<Opened>,
    ) -> Option<Opened> {
        let key = self.sessions.find(peer)?;
        let opened = open(self.sessions.get_mut(key)?)?;
        if !opened.repeated {
            self.used(key);
        }
        if opened.renewed {
            // Later than those before, which may still be used.
            self.serial += 1;
            let serial = self.serial;
            if let Some(session) = self.sessions.get_mut(key) {
                session.serial = serial;
            }
            self.watch(key, Instant::ZERO);
        }
        Some(opened)
    }

    fn used(&mut self, key: Key) {
        if let Some(list) = self.order.list_of(key.index()) {
            self.order.push(list, key.index());
        }
    }

    /// The session with `peer`.
    pub(super) fn find(&self, peer: &Peer) -> Option<&Session> {
        self.sessions.find(peer).and_then(|key| self.sessions.get(key))
    }

    /// Puts freshly authenticated keys in force. The keys before go on decrypting until `old_until`.
    /// Returns the session that had to leave for a new one, if any.
    pub(super) fn install(
        &mut self,
        peer: Peer,
        public_key: PublicKey,
        keys: Keys,
        old_until: Instant,
        member: bool,
    ) -> Option<Peer> {
        let list = if member { MEMBERS } else { STRANGERS };
        self.serial += 1;
        if let Some(key) = self.sessions.find(&peer) {
            self.order.push(list, key.index());
            if let Some(session) = self.sessions.get_mut(key) {
                session.replace(keys, old_until);
                session.public_key = public_key;
                session.serial = self.serial;
            }
            self.watch(key, Instant::ZERO);
            return None;
        }
        let evicted = if self.sessions.is_full() { self.evict() } else { None };
        if let Ok(key) = self.sessions.insert(peer, Session::new(public_key, keys, self.serial)) {
            self.order.push(list, key.index());
        }
        evicted
    }

    /// Goes on trying the keys of a handshake of ours that was not confirmed, until then.
    pub(super) fn offer(&mut self, peer: &Peer, keys: Keys, until: Instant) {
        let Some(key) = self.sessions.find(peer) else { return };
        if let Some(session) = self.sessions.get_mut(key) {
            session.offered = Some(Aside { keys, until });
        }
        self.watch(key, Instant::ZERO);
    }

    /// When keys are to be wiped next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.next()
    }

    /// Wipes the keys whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(place) = self.expiries.pop(now) {
            if let Some(key) = self.sessions.key_at(place) {
                self.watch(key, now);
            }
        }
    }

    /// Notes when keys of a session are to be wiped next, after wiping those that are.
    fn watch(&mut self, key: Key, now: Instant) {
        match self.sessions.get_mut(key).and_then(|session| session.expire(now)) {
            Some(until) => self.expiries.set(key.index(), until),
            None => self.expiries.clear(key.index()),
        }
    }

    fn evict(&mut self) -> Option<Peer> {
        let place = self.order.first(STRANGERS).or_else(|| self.order.first(MEMBERS))?;
        let key = self.sessions.key_at(place)?;
        let peer = self.sessions.name(key).copied();
        self.remove(key);
        peer
    }

    fn remove(&mut self, key: Key) {
        self.order.remove(key.index());
        self.expiries.clear(key.index());
        // Where it stands, so that its keys are wiped there.
        self.sessions.discard(key);
    }

    /// Removes the session with `peer`.
    pub(super) fn remove_peer(&mut self, peer: &Peer) {
        if let Some(key) = self.sessions.find(peer) {
            self.remove(key);
        }
    }

    /// Removes every session with `id`.
    pub(super) fn remove_node(&mut self, id: &crate::id::NodeId) {
        for place in 0..self.sessions.capacity() {
            if let Some(key) = self.sessions.key_at(place)
                && self.sessions.name(key).is_some_and(|peer| peer.id == *id)
            {
                self.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::{RustCrypto, Secret, TAG_LEN},
        id::NodeId,
        rng::Seed,
    };

    fn keys(n: u8) -> (Keys, Keys) {
        let (a, b, shared) = (NodeId([1; 32]), NodeId([2; 32]), Secret::new([n; 33]));
        let challenge = [n; 63];
        (
            Keys::initiator(&RustCrypto, &shared, &a, &b, &challenge),
            Keys::recipient(&RustCrypto, &shared, &a, &b, &challenge),
        )
    }

    fn peer(n: u8) -> Peer {
        Peer { id: NodeId([n; 32]), endpoint: ([127, 0, 0, 1], u16::from(n)).into() }
    }

    fn public_key() -> PublicKey {
        PublicKey::from_xy([0; 64])
    }

    fn sealed(keys: &Keys, nonce: &Nonce) -> std::vec::Vec<u8> {
        let mut message = std::vec![7; 20];
        let tag =
            RustCrypto.aes_gcm_seal(&RustCrypto.aes_gcm_key(keys.send()), nonce, b"header", &mut message);
        message.extend(tag);
        message
    }

    #[test]
    fn old_keys_decrypt_for_a_while() {
        let mut sessions = Sessions::new(2, &mut Seed::new([1; 32]).stream("s"));
        let (old, new) = (keys(1), keys(2));
        let (now, later) = (Instant::from_millis(10), Instant::from_millis(20));
        sessions.install(peer(1), public_key(), old.1, now, false);
        sessions.install(peer(1), public_key(), new.1, later, false);
        let offered = keys(4);
        sessions.offer(&peer(1), offered.1, later);
        for (keys, at, nonce, expected) in [
            (&new.0, now, [1; 12], Some((Generation::Current, false, false))),
            (&old.0, now, [2; 12], Some((Generation::Previous, false, false))),
            (&old.0, now, [2; 12], Some((Generation::Previous, true, false))),
            (&keys(3).0, now, [4; 12], None),
            (&offered.0, now, [6; 12], Some((Generation::Current, false, true))),
            (&new.0, now, [8; 12], Some((Generation::Previous, false, false))),
            (&old.0, now, [3; 12], None),
            (&offered.0, later, [7; 12], Some((Generation::Current, false, false))),
            (&new.0, later, [9; 12], None),
        ] {
            sessions.expire(at);
            let mut message = sealed(keys, &nonce);
            let opened = sessions.open(&peer(1), |s| s.open(&RustCrypto, &nonce, b"header", &mut message));
            assert_eq!(opened.map(|o| (o.generation, o.repeated, o.renewed)), expected);
            assert!(opened.is_none() || message[..20] == [7; 20]);
        }
        let session = sessions.using(&peer(1)).unwrap();
        assert!(session.open(&RustCrypto, &[0; 12], b"", &mut [0; TAG_LEN - 1]).is_none());
    }

    #[test]
    fn keys_go_when_their_time_is_over_and_are_not_sent_under() {
        let mut sessions = Sessions::new(2, &mut Seed::new([1; 32]).stream("s"));
        let (soon, later) = (Instant::from_millis(10), Instant::from_millis(20));
        sessions.install(peer(1), public_key(), keys(1).1, soon, false);
        assert_eq!(sessions.next_expiry(), None);
        sessions.install(peer(1), public_key(), keys(2).1, soon, false);
        sessions.offer(&peer(1), keys(3).1, later);
        assert_eq!(sessions.next_expiry(), Some(soon));
        let old = *keys(1).1.send().expose();
        let send = |sessions: &mut Sessions| {
            let session = sessions.using(&peer(1)).unwrap();
            *session.answer_keys(Generation::Previous).send().expose()
        };
        assert_eq!(send(&mut sessions), old);
        sessions.expire(soon);
        assert_ne!(send(&mut sessions), old);
        let session = sessions.using(&peer(1)).unwrap();
        assert!(session.previous.is_none() && session.offered.is_some());
        assert_eq!(sessions.next_expiry(), Some(later));
        sessions.expire(later);
        assert!(sessions.using(&peer(1)).unwrap().offered.is_none());
        assert_eq!(sessions.next_expiry(), None);
    }

    #[test]
    fn repeats_are_known_for_long_and_paid_for() {
        let mut session = Session::new(public_key(), keys(1).1, 1);
        let nonce = |n: u32| {
            let mut nonce = [7; 12];
            nonce[..4].copy_from_slice(&n.to_be_bytes());
            nonce
        };
        let known = (0..RECENT_NONCES as u32).filter(|n| session.remember(&nonce(*n), 10)).count();
        assert_eq!(known, 0);
        assert!(session.remember(&nonce(0), 10), "the oldest is still known");
        assert_eq!(session.credit, 10 * (RECENT_NONCES as u32 + 1));
        assert!(session.pay(600) && !session.pay(51) && session.pay(50) && !session.pay(1));
        session.remember(&nonce(99), 1_000_000);
        assert_eq!(session.credit, MAX_REPEAT_CREDIT);
    }

    #[test]
    fn a_replay_does_not_keep_a_session() {
        let mut sessions = Sessions::new(2, &mut Seed::new([1; 32]).stream("s"));
        for n in [1, 2] {
            sessions.install(peer(n), public_key(), keys(n).1, Instant::ZERO, false);
        }
        let nonce = [5; 12];
        let open = |sessions: &mut Sessions, n| {
            let mut message = sealed(&keys(n).0, &nonce);
            sessions.open(&peer(n), |s| s.open(&RustCrypto, &nonce, b"header", &mut message)).unwrap()
        };
        assert!(!open(&mut sessions, 1).repeated && !open(&mut sessions, 2).repeated);
        assert!(open(&mut sessions, 1).repeated);
        let gone = sessions.install(peer(3), public_key(), keys(3).0, Instant::ZERO, false);
        assert_eq!(gone, Some(peer(1)));
    }

    #[test]
    fn strangers_leave_before_members_and_the_idle_first() {
        let mut sessions = Sessions::new(3, &mut Seed::new([1; 32]).stream("s"));
        let now = Instant::ZERO;
        let install = |s: &mut Sessions, n, member| s.install(peer(n), public_key(), keys(n).0, now, member);
        assert_eq!(install(&mut sessions, 1, true), None);
        assert_eq!(install(&mut sessions, 2, false), None);
        assert_eq!(install(&mut sessions, 3, false), None);
        assert!(sessions.using(&peer(2)).is_some());
        // Junk for the one that is next to leave does not keep it.
        assert!(sessions.open(&peer(3), |_| None).is_none());
        assert_eq!(install(&mut sessions, 4, false), Some(peer(3)));
        assert_eq!(install(&mut sessions, 5, true), Some(peer(2)));
        assert_eq!(install(&mut sessions, 6, true), Some(peer(4)));
        assert_eq!(install(&mut sessions, 7, true), Some(peer(1)));
        assert_eq!(sessions.len(), 3);
        sessions.remove_node(&peer(5).id);
        assert!(sessions.find(&peer(5)).is_none() && sessions.find(&peer(6)).is_some());
    }

    #[test]
    fn used_up_keys_send_nothing_more() {
        let mut sessions = Sessions::new(2, &mut Seed::new([1; 32]).stream("s"));
        sessions.install(peer(1), public_key(), keys(1).1, Instant::ZERO, false);
        let session = sessions.using(&peer(1)).unwrap();
        assert!(session.can_send());
        session.keys().pretend_sent(crate::limits::MAX_SESSION_MESSAGES);
        assert!(!session.can_send());
    }

    /// Peers' nonces are a count and a random part, or all random.
    #[test]
    fn a_bit_anywhere_makes_another_fingerprint() {
        let base: Nonce = core::array::from_fn(|i| 0x35 ^ (i as u8 * 17));
        for bit in 0..96 {
            let mut other = base;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(fingerprint(&other), fingerprint(&base), "bit {bit}");
        }
    }
}
