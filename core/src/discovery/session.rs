//! Established sessions: a fixed table, bound to (node id, endpoint), the least recently used one
//! leaving first and members' last (discv5 theory, "Session Cache").
//!
//! A session's keys are replaced only after a message under the new ones was authenticated, and the
//! old ones go on decrypting for a while; what came under them is answered under them, because a peer
//! that still uses them may have lost the new ones. Nothing that fails to decrypt changes a session.

use super::{keys::Keys, packet::Nonce, peer::Peer};
use crate::{
    collections::{Key, Keyed, Lists},
    crypto::{Crypto, PublicKey},
    limits::RECENT_NONCES,
    rng::Rng,
    time::Instant,
};

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// The peer's static key: what a new handshake with it needs.
    pub(super) public_key: PublicKey,
    /// Which key change this was, of all sessions: later ones have higher numbers.
    pub(super) serial: u64,
    /// The keys to encrypt with, and to try first.
    keys: Keys,
    /// The keys before, until when they still decrypt.
    previous: Option<(Keys, Instant)>,
    /// Keys of a handshake of ours whose outcome is unknown, because its request was answered under
    /// others; until when the peer may still begin to use them.
    offered: Option<(Keys, Instant)>,
    seen: [Nonce; RECENT_NONCES],
    next_seen: usize,
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
}

impl Session {
    fn new(public_key: PublicKey, keys: Keys, serial: u64) -> Self {
        Self {
            public_key,
            serial,
            keys,
            previous: None,
            offered: None,
            seen: [[0; 12]; RECENT_NONCES],
            next_seen: 0,
        }
    }

    /// The keys to encrypt with.
    pub(super) fn keys(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// The keys to encrypt an answer with, to a request that came under those of `generation`.
    pub(super) fn answer_keys(&mut self, generation: Generation) -> &mut Keys {
        match (&mut self.previous, generation) {
            (Some((keys, _)), Generation::Previous) => keys,
            _ => &mut self.keys,
        }
    }

    /// Goes on trying the keys of a handshake of ours that was not confirmed.
    pub(super) fn offer(&mut self, keys: Keys, until: Instant) {
        self.offered = Some((keys, until));
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
        now: Instant,
        nonce: &Nonce,
        header: &[u8],
        message: &mut [u8],
    ) -> Option<Opened> {
        let mut fits = |keys: &Keys| keys.open(crypto, nonce, header, message).is_ok();
        let alive = |slot: &Option<(Keys, Instant)>| slot.as_ref().is_some_and(|(_, until)| now < *until);
        let mut opened = Opened { generation: Generation::Current, repeated: false, renewed: false };
        if fits(&self.keys) {
            // As usual.
        } else if alive(&self.previous) && self.previous.as_ref().is_some_and(|(keys, _)| fits(keys)) {
            opened.generation = Generation::Previous;
        } else if alive(&self.offered) && self.offered.as_ref().is_some_and(|(keys, _)| fits(keys)) {
            let (keys, until) = self.offered.take()?;
            self.previous = Some((core::mem::replace(&mut self.keys, keys), until));
            opened.renewed = true;
        } else {
            return None;
        }
        opened.repeated = self.remember(nonce);
        Some(opened)
    }

    /// Remembers a nonce; whether it was known.
    pub(super) fn remember(&mut self, nonce: &Nonce) -> bool {
        if self.seen.contains(nonce) {
            return true;
        }
        self.seen[self.next_seen] = *nonce;
        self.next_seen = (self.next_seen + 1) % RECENT_NONCES;
        false
    }
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
    serial: u64,
}

impl Sessions {
    pub(super) fn new(capacity: usize, rng: &mut Rng) -> Self {
        Self { sessions: Keyed::new(capacity, rng), order: Lists::new(2, capacity), serial: 0 }
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

    /// Opens a packet in the session with `peer`. Only one that authenticates counts as use: junk
    /// must not decide who is evicted.
    pub(super) fn open(
        &mut self,
        peer: &Peer,
        open: impl FnOnce(&mut Session) -> Option<Opened>,
    ) -> Option<Opened> {
        let key = self.sessions.find(peer)?;
        let opened = open(self.sessions.get_mut(key)?)?;
        self.used(key);
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
                let old = core::mem::replace(&mut session.keys, keys);
                session.previous = Some((old, old_until));
                session.public_key = public_key;
                session.serial = self.serial;
            }
            return None;
        }
        let evicted = if self.sessions.is_full() { self.evict() } else { None };
        if let Ok(key) = self.sessions.insert(peer, Session::new(public_key, keys, self.serial)) {
            self.order.push(list, key.index());
        }
        evicted
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
        self.sessions.remove(key);
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
        let tag = RustCrypto.aes_gcm_seal(keys.send(), nonce, b"header", &mut message);
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
        let session = sessions.using(&peer(1)).unwrap();
        let offered = keys(4);
        session.offer(offered.1, later);
        for (keys, at, nonce, expected) in [
            (&new.0, now, [1; 12], Some((Generation::Current, false, false))),
            (&old.0, now, [2; 12], Some((Generation::Previous, false, false))),
            (&old.0, now, [2; 12], Some((Generation::Previous, true, false))),
            (&old.0, later, [3; 12], None),
            (&keys(3).0, now, [4; 12], None),
            (&new.0, later, [5; 12], Some((Generation::Current, false, false))),
            (&offered.0, later, [6; 12], None),
            (&offered.0, now, [6; 12], Some((Generation::Current, false, true))),
            (&offered.0, later, [7; 12], Some((Generation::Current, false, false))),
            (&new.0, now, [8; 12], Some((Generation::Previous, false, false))),
        ] {
            let mut message = sealed(keys, &nonce);
            let opened = session.open(&RustCrypto, at, &nonce, b"header", &mut message);
            assert_eq!(opened.map(|o| (o.generation, o.repeated, o.renewed)), expected);
            assert!(opened.is_none() || message[..20] == [7; 20]);
        }
        assert!(session.open(&RustCrypto, now, &[0; 12], b"", &mut [0; TAG_LEN - 1]).is_none());
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
}
