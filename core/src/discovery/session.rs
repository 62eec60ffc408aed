//! Established sessions: a fixed table, bound to (node id, endpoint), the least recently used one
//! leaving first and members' last (discv5 theory, "Session Cache").
//!
//! A session's keys are replaced only after a message under the new ones was authenticated, and the
//! old ones go on decrypting for a while; what came under them is answered under them, because a peer
//! that still uses them may have lost the new ones. Nothing that fails to decrypt changes a session,
//! and a packet that comes twice proves nothing: it does not keep a session alive, and its answer is
//! paid with bytes that came. Keys are wiped where they stand when their time is over.
//!
//! The AES keys of some sessions are kept ready ([`Kept`]). They are a copy of the keys in force and go with them.

use super::{
    asides::{Aside, Asides, Pair, Place},
    kept::Kept,
    keys::{Keys, ReadyKeys},
    packet::{self, Draft, Nonce, PacketError},
    peer::Peer,
};
use crate::{
    collections::{Key, Keyed, Lists},
    crypto::{Crypto, Secret},
    id::NodeId,
    limits::{MAX_REPEAT_CREDIT, RECENT_NONCES},
    rng::Rng,
    time::Instant,
};

/// A nonce in three bytes, never zero.
type Print = [u8; 3];

/// One session. It is small, because there are many; keys that are not in force stand elsewhere.
#[derive(Debug)]
pub(super) struct Session {
    /// Which key change this was, of all sessions: later ones have higher numbers.
    pub(super) serial: u64,
    /// The keys to encrypt with, and to try first.
    keys: Keys,
    /// The keys before, and those of a handshake that was not confirmed.
    asides: Place,
    /// Bytes that answers to repeated packets may still have.
    credit: u16,
    /// The nonces of the packets that came last, the newest first.
    seen: [Print; RECENT_NONCES],
}

const _: () = assert!(MAX_REPEAT_CREDIT <= u16::MAX as u32);
// With its peer, its place in the index and in the order of use: at most 256 bytes.
const _: () = assert!(size_of::<Session>() <= 144);

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
    fn new(keys: Keys, serial: u64) -> Self {
        Self { serial, keys, asides: Place::NONE, credit: 0, seen: [[0; 3]; RECENT_NONCES] }
    }

    /// The keys to encrypt with.
    #[cfg(test)]
    pub(super) fn keys(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// Puts other keys in force; those before go aside.
    fn replace(&mut self, keys: Keys, until: Instant, pair: &mut Pair) {
        pair.previous = Some(Aside { keys: self.keys.take(), until });
        self.keys = keys;
    }

    /// Whether another message can be sent.
    pub(super) const fn can_send(&self) -> bool {
        !self.keys.exhausted()
    }

    /// Decrypts a message in place with any keys that the peer may use; `ready`: those in force. `None` when none
    /// fits; then the buffer is as it was.
    fn open<C: Crypto>(
        &mut self,
        crypto: &C,
        ready: Option<&ReadyKeys<C>>,
        pair: Option<&mut Pair>,
        nonce: &Nonce,
        header: &[u8],
        message: &mut [u8],
    ) -> Option<Opened> {
        let len = (header.len() + message.len()) as u32;
        let mut opened = Opened::fresh(*nonce);
        let in_force = match ready {
            Some(ready) => ready.open(crypto, nonce, header, message).is_ok(),
            None => self.keys.open(crypto, nonce, header, message).is_ok(),
        };
        if !in_force {
            let mut fits = |keys: &Keys| keys.open(crypto, nonce, header, message).is_ok();
            let pair = pair?;
            if pair.previous.as_ref().is_some_and(|aside| fits(&aside.keys)) {
                opened.generation = Generation::Previous;
            } else {
                let offered = pair.offered.as_mut().filter(|aside| fits(&aside.keys))?;
                let (keys, until) = (offered.keys.take(), offered.until);
                pair.offered = None;
                self.replace(keys, until, pair);
                opened.renewed = true;
            }
        }
        opened.repeated = self.remember(nonce, len);
        Some(opened)
    }

    /// Remembers an authentic packet by its nonce; whether it was known.
    pub(super) fn remember(&mut self, nonce: &Nonce, len: u32) -> bool {
        self.credit = (u32::from(self.credit) + len.min(MAX_REPEAT_CREDIT)).min(MAX_REPEAT_CREDIT) as u16;
        let print = fingerprint(nonce);
        if self.seen.contains(&print) {
            return true;
        }
        self.seen.copy_within(..RECENT_NONCES - 1, 1);
        self.seen[0] = print;
        false
    }

    /// Pays for an answer to a repeated packet; false when more would go out than came in.
    fn pay(&mut self, len: u32) -> bool {
        let left = u32::from(self.credit).checked_sub(len);
        if let Some(left) = left {
            self.credit = left as u16;
        }
        left.is_some()
    }
}

/// A nonce in three bytes. A peer's own nonces differ in their count or their random part.
fn fingerprint(nonce: &Nonce) -> Print {
    let word = |at: usize| nonce[at..at + 4].iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
    let mixed = word(0).wrapping_mul(0x9e37_79b1) ^ word(4) ^ word(8).rotate_left(16);
    // The low byte goes into the others, so that all of it counts.
    let [a, b, c, d] = mixed.wrapping_mul(0x85eb_ca6b).to_be_bytes();
    [a.max(1), b, c ^ d]
}

/// The order in which strangers' sessions leave.
const STRANGERS: usize = 0;
/// The order in which members' sessions leave, when no stranger's is left.
const MEMBERS: usize = 1;

/// What one message is sealed with.
pub(super) enum Sealing {
    /// The keys in force of the session in this place, which are kept ready.
    Kept(usize),
    /// This key.
    With(Secret<16>),
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions<C: Crypto> {
    sessions: Keyed<Peer, Session>,
    order: Lists,
    /// Keys that are not in force.
    asides: Asides,
    /// Keys in force, made ready.
    kept: Kept<C>,
    serial: u64,
}

impl<C: Crypto> Sessions<C> {
    /// Room for `capacity` sessions, and for the ready keys of `kept` of them.
    pub(super) fn new(capacity: usize, kept: usize, rng: &mut Rng) -> Self {
        Self {
            sessions: Keyed::new(capacity, rng),
            order: Lists::new(2, capacity),
            asides: Asides::new(capacity),
            kept: Kept::new(kept.min(capacity)),
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

    /// The nonce and the key of the next message in the session with `peer`: under its keys of `generation`, since
    /// an answer goes out under those that the request came under. An answer to a `repeated` packet is no use of
    /// the session. `None` when there is no session, or its key is used up.
    pub(super) fn next_message(
        &mut self,
        crypto: &C,
        peer: &Peer,
        (generation, repeated): (Generation, bool),
        rng: &mut Rng,
    ) -> Option<(Nonce, Sealing)> {
        let key = self.sessions.find(peer)?;
        if !repeated {
            self.used(key);
        }
        let session = self.sessions.get_mut(key)?;
        let previous = match generation {
            Generation::Current => None,
            Generation::Previous => {
                self.asides.get_mut(session.asides).and_then(|pair| pair.previous.as_mut())
            }
        };
        if let Some(aside) = previous {
            return Some((aside.keys.next_nonce(rng)?, Sealing::With(aside.keys.send().clone())));
        }
        let nonce = session.keys.next_nonce(rng)?;
        let place = key.index();
        self.kept.keep(place, || session.keys.ready(crypto, &peer.id));
        let kept = self.kept.get(place).is_some();
        Some((nonce, if kept { Sealing::Kept(place) } else { Sealing::With(session.keys.send().clone()) }))
    }

    /// Seals a message to `dest` ([`packet::seal`]).
    pub(super) fn seal(
        &self,
        crypto: &C,
        dest: &NodeId,
        sealing: &Sealing,
        draft: &Draft,
        len: usize,
        buf: &mut [u8],
    ) -> Result<usize, PacketError> {
        match sealing {
            Sealing::Kept(place) => {
                // Nothing happens between the choice of keys and this.
                let ready = self.kept.get(*place).ok_or(PacketError::Authdata)?;
                packet::seal_with(crypto, ready.mask(), ready.send(), draft, len, buf)
            }
            Sealing::With(key) => packet::seal(crypto, dest, &crypto.aes_gcm_key(key), draft, len, buf),
        }
    }

    /// Pays for an answer of `len` bytes to a repeated packet; false when more would go out than came in.
    pub(super) fn pay(&mut self, peer: &Peer, len: u32) -> bool {
        let key = self.sessions.find(peer);
        key.and_then(|key| self.sessions.get_mut(key)).is_some_and(|session| session.pay(len))
    }

    /// Opens a packet in the session with `peer`, in place. Only a new one that authenticates counts as use:
    /// neither junk nor a replay must decide who is evicted.
    pub(super) fn open(
        &mut self,
        crypto: &C,
        peer: &Peer,
        nonce: &Nonce,
        header: &[u8],
        message: &mut [u8],
    ) -> Option<Opened> {
        let key = self.sessions.find(peer)?;
        let place = key.index();
        let session = self.sessions.get_mut(key)?;
        let pair = self.asides.get_mut(session.asides);
        let opened = session.open(crypto, self.kept.get(place), pair, nonce, header, message)?;
        if opened.renewed {
            // Later than those before, which may still be used.
            self.serial += 1;
            session.serial = self.serial;
            self.asides.watch(session.asides, Instant::ZERO);
            self.kept.forget(place);
        }
        if opened.generation == Generation::Current {
            self.kept.keep(place, || session.keys.ready(crypto, &peer.id));
        }
        if !opened.repeated {
            self.used(key);
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
        keys: Keys,
        old_until: Instant,
        member: bool,
    ) -> Option<Peer> {
        let list = if member { MEMBERS } else { STRANGERS };
        self.serial += 1;
        let serial = self.serial;
        if let Some(key) = self.sessions.find(&peer) {
            self.order.push(list, key.index());
            self.kept.forget(key.index());
            self.set_aside(key, |session, pair| {
                session.replace(keys, old_until, pair);
                session.serial = serial;
            });
            return None;
        }
        let evicted = if self.sessions.is_full() { self.evict() } else { None };
        if let Ok(key) = self.sessions.insert(peer, Session::new(keys, serial)) {
            self.order.push(list, key.index());
        }
        evicted
    }

    /// Goes on trying the keys of a handshake of ours that was not confirmed, until then.
    pub(super) fn offer(&mut self, peer: &Peer, keys: Keys, until: Instant) {
        if let Some(key) = self.sessions.find(peer) {
            self.set_aside(key, |_, pair| pair.offered = Some(Aside { keys, until }));
        }
    }

    /// Lets `set` put keys of a session aside.
    fn set_aside(&mut self, key: Key, set: impl FnOnce(&mut Session, &mut Pair)) {
        let list = self.order.list_of(key.index()).unwrap_or(STRANGERS);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (place, evicted) = self.asides.claim(session.asides, key.index(), list);
        session.asides = place;
        if let Some(pair) = self.asides.get_mut(place) {
            set(session, pair);
        }
        self.asides.watch(place, Instant::ZERO);
        self.has_none_aside(evicted);
    }

    /// A session has no keys aside any longer.
    fn has_none_aside(&mut self, place: Option<usize>) {
        let key = place.and_then(|place| self.sessions.key_at(place));
        if let Some(session) = key.and_then(|key| self.sessions.get_mut(key)) {
            session.asides = Place::NONE;
        }
    }

    /// When keys are to be wiped next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.asides.next_expiry()
    }

    /// Wipes the keys whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(without) = self.asides.expire(now) {
            self.has_none_aside(without);
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
        self.kept.forget(key.index());
        if let Some(session) = self.sessions.get(key) {
            self.asides.free(session.asides);
        }
        // Where it stands, so that its keys are wiped there.
        self.sessions.discard(key);
    }

    /// The key that an answer to a packet under those of `generation` would be sealed with. Ready keys are the same.
    #[cfg(test)]
    pub(super) fn sending(&mut self, crypto: &C, peer: &Peer, generation: Generation) -> Option<[u8; 16]> {
        let key = self.sessions.find(peer)?;
        let session = self.sessions.get(key)?;
        let tag = |key: &C::AesGcmKey| crypto.aes_gcm_seal(key, &[0; 12], b"", &mut []);
        let ready = self.kept.get(key.index());
        assert!(ready.is_none_or(|ready| tag(ready.send()) == tag(&crypto.aes_gcm_key(session.keys.send()))));
        let mut rng = crate::rng::Seed::new([1; 32]).stream("sending");
        let before = session.keys.send().clone();
        match self.next_message(crypto, peer, (generation, true), &mut rng)?.1 {
            Sealing::Kept(_) => Some(*before.expose()),
            Sealing::With(key) => Some(*key.expose()),
        }
    }

    /// Removes the session with `peer`.
    pub(super) fn remove_peer(&mut self, peer: &Peer) {
        if let Some(key) = self.sessions.find(peer) {
            self.remove(key);
        }
    }

    /// Removes every session with `id`.
    pub(super) fn remove_node(&mut self, id: &NodeId) {
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

    fn sealed(keys: &Keys, nonce: &Nonce) -> std::vec::Vec<u8> {
        let mut message = std::vec![7; 20];
        let tag =
            RustCrypto.aes_gcm_seal(&RustCrypto.aes_gcm_key(keys.send()), nonce, b"header", &mut message);
        message.extend(tag);
        message
    }

    #[test]
    fn old_keys_decrypt_for_a_while() {
        let mut sessions = Sessions::new(2, 2, &mut Seed::new([1; 32]).stream("s"));
        let (old, new) = (keys(1), keys(2));
        let (now, later) = (Instant::from_millis(10), Instant::from_millis(20));
        sessions.install(peer(1), old.1, now, false);
        sessions.install(peer(1), new.1, later, false);
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
            let opened = sessions.open(&RustCrypto, &peer(1), &nonce, b"header", &mut message);
            assert_eq!(opened.map(|o| (o.generation, o.repeated, o.renewed)), expected);
            assert!(opened.is_none() || message[..20] == [7; 20]);
        }
        assert!(sessions.open(&RustCrypto, &peer(1), &[0; 12], b"", &mut [0; TAG_LEN - 1]).is_none());
    }

    #[test]
    fn keys_go_when_their_time_is_over_and_are_not_sent_under() {
        let mut sessions = Sessions::new(2, 2, &mut Seed::new([1; 32]).stream("s"));
        let (soon, later) = (Instant::from_millis(10), Instant::from_millis(20));
        sessions.install(peer(1), keys(1).1, soon, false);
        assert_eq!(sessions.next_expiry(), None);
        sessions.install(peer(1), keys(2).1, soon, false);
        sessions.offer(&peer(1), keys(3).1, later);
        assert_eq!(sessions.next_expiry(), Some(soon));
        let old = *keys(1).1.send().expose();
        let send = |sessions: &mut Sessions<RustCrypto>| {
            sessions.sending(&RustCrypto, &peer(1), Generation::Previous).unwrap()
        };
        assert_eq!(send(&mut sessions), old);
        sessions.expire(soon);
        assert_ne!(send(&mut sessions), old);
        let place = sessions.find(&peer(1)).unwrap().asides;
        let pair = sessions.asides.get_mut(place).unwrap();
        assert!(pair.previous.is_none() && pair.offered.is_some());
        assert_eq!(sessions.next_expiry(), Some(later));
        sessions.expire(later);
        assert!(sessions.find(&peer(1)).unwrap().asides == Place::NONE);
        assert_eq!(sessions.next_expiry(), None);
    }

    #[test]
    fn when_many_change_their_keys_the_oldest_are_forgotten_and_strangers_first() {
        let mut sessions = Sessions::new(64, 2, &mut Seed::new([1; 32]).stream("s"));
        let until = Instant::from_millis(10);
        // One more than there is room for; the first is a member.
        let all = 1..=crate::limits::ASIDES_LEAST as u8 + 1;
        for n in all.clone() {
            for _ in 0..2 {
                sessions.install(peer(n), keys(n).1, until, n == 1);
            }
        }
        let has = |sessions: &mut Sessions<RustCrypto>, n| {
            let place = sessions.find(&peer(n)).unwrap().asides;
            sessions.asides.get_mut(place).is_some_and(|pair| pair.previous.is_some())
        };
        assert!(all.clone().all(|n| has(&mut sessions, n) == (n != 2)));
        sessions.remove_peer(&peer(3));
        sessions.install(peer(2), keys(2).1, until, false);
        assert!(all.clone().filter(|n| *n != 3).all(|n| has(&mut sessions, n)));
        sessions.expire(until);
        assert!(all.filter(|n| *n != 3).all(|n| sessions.find(&peer(n)).unwrap().asides == Place::NONE));
    }

    #[test]
    fn repeats_are_known_for_long_and_paid_for() {
        let mut session = Session::new(keys(1).1, 1);
        let nonce = |n: u32| {
            let mut nonce = [7; 12];
            nonce[..4].copy_from_slice(&n.to_be_bytes());
            nonce
        };
        let known = (0..RECENT_NONCES as u32).filter(|n| session.remember(&nonce(*n), 10)).count();
        assert_eq!(known, 0);
        assert!(session.remember(&nonce(0), 10), "the oldest is still known");
        assert_eq!(session.credit, 10 * (RECENT_NONCES as u16 + 1));
        assert!(session.pay(300) && !session.pay(31) && session.pay(30) && !session.pay(1));
        session.remember(&nonce(99), 1_000_000);
        assert_eq!(u32::from(session.credit), MAX_REPEAT_CREDIT);
    }

    #[test]
    fn a_replay_does_not_keep_a_session() {
        let mut sessions = Sessions::new(2, 2, &mut Seed::new([1; 32]).stream("s"));
        for n in [1, 2] {
            sessions.install(peer(n), keys(n).1, Instant::ZERO, false);
        }
        let nonce = [5; 12];
        let open = |sessions: &mut Sessions<RustCrypto>, n| {
            let mut message = sealed(&keys(n).0, &nonce);
            sessions.open(&RustCrypto, &peer(n), &nonce, b"header", &mut message).unwrap()
        };
        assert!(!open(&mut sessions, 1).repeated && !open(&mut sessions, 2).repeated);
        assert!(open(&mut sessions, 1).repeated);
        let gone = sessions.install(peer(3), keys(3).0, Instant::ZERO, false);
        assert_eq!(gone, Some(peer(1)));
    }

    #[test]
    fn an_answer_to_a_replay_does_not_keep_a_session() {
        for repeated in [false, true] {
            let mut rng = Seed::new([1; 32]).stream("s");
            let mut sessions = Sessions::new(2, 2, &mut rng);
            for n in [1, 2] {
                sessions.install(peer(n), keys(n).1, Instant::ZERO, false);
            }
            let how = (Generation::Current, repeated);
            assert!(sessions.next_message(&RustCrypto, &peer(1), how, &mut rng).is_some());
            let gone = sessions.install(peer(3), keys(3).0, Instant::ZERO, false);
            assert_eq!(gone, Some(peer(if repeated { 1 } else { 2 })));
        }
    }

    #[test]
    fn only_keys_in_force_are_kept_ready() {
        let mut sessions = Sessions::new(2, 2, &mut Seed::new([1; 32]).stream("s"));
        let until = Instant::from_millis(10);
        let (old, new) = (keys(1), keys(2));
        sessions.install(peer(1), old.1, until, false);
        sessions.install(peer(1), new.1, until, false);
        let place = sessions.sessions.find(&peer(1)).unwrap().index();
        let mut open = |keys: &Keys, nonce| {
            let mut message = sealed(keys, &nonce);
            sessions.open(&RustCrypto, &peer(1), &nonce, b"header", &mut message).unwrap();
            sessions.kept.get(place).is_some()
        };
        assert!(!open(&old.0, [1; 12]), "they are not in force any more");
        assert!(open(&new.0, [2; 12]));
    }

    #[test]
    fn few_nonces_have_the_same_fingerprint() {
        let mut rng = Seed::new([1; 32]).stream("s");
        let prints: std::collections::BTreeSet<_> = (0..20_000).map(|_| fingerprint(&rng.array())).collect();
        // Of so many numbers of 24 bits, 12 are expected to meet another.
        assert!(prints.len() > 19_970, "{} of 20,000 differ", prints.len());
    }

    #[test]
    fn strangers_leave_before_members_and_the_idle_first() {
        let mut sessions = Sessions::new(3, 2, &mut Seed::new([1; 32]).stream("s"));
        let now = Instant::ZERO;
        let install = |s: &mut Sessions<RustCrypto>, n, member| s.install(peer(n), keys(n).0, now, member);
        assert_eq!(install(&mut sessions, 1, true), None);
        assert_eq!(install(&mut sessions, 2, false), None);
        assert_eq!(install(&mut sessions, 3, false), None);
        assert!(sessions.using(&peer(2)).is_some());
        // Junk for the one that is next to leave does not keep it.
        assert!(sessions.open(&RustCrypto, &peer(3), &[0; 12], b"", &mut [0; 40]).is_none());
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
        let mut sessions = Sessions::<RustCrypto>::new(2, 2, &mut Seed::new([1; 32]).stream("s"));
        sessions.install(peer(1), keys(1).1, Instant::ZERO, false);
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
