//! The session store against a list: the least recently used first, every key by its number.

use std::{collections::BTreeSet, vec::Vec};

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use crate::{
    crypto::{Crypto as _, RustCrypto, Secret},
    discovery::{
        keys::Keys,
        packet::Nonce,
        peer::Peer,
        session::{Generation, Sessions},
    },
    id::NodeId,
    limits::{MAX_REPEAT_CREDIT, RECENT_NONCES},
    rng::Seed,
    time::Instant,
};

/// Places in the store; there are twice as many peers.
const CAPACITY: usize = 3;
const PEERS: u8 = 6;
/// Slots for ready keys: two sessions share one.
const KEPT: usize = 2;
/// Header and tag of a packet here, beside the text.
const TEXT: usize = 20;
const HEADER: &[u8] = b"header";
const PACKET: u32 = (HEADER.len() + TEXT + 16) as u32;

/// A key by its number, and until when it counts.
type Aside = Option<(u8, u64)>;

#[derive(Clone, Debug)]
struct Known {
    peer: u8,
    member: bool,
    key: u8,
    previous: Aside,
    offered: Aside,
    /// Nonces of distinct packets, the oldest first.
    seen: Vec<u16>,
    credit: u32,
    serial: u64,
}

impl Known {
    fn expire(&mut self, now: u64) {
        for slot in [&mut self.previous, &mut self.offered] {
            *slot = slot.filter(|(_, until)| *until > now);
        }
    }

    fn expiry(&self) -> Option<u64> {
        self.previous.iter().chain(&self.offered).map(|(_, until)| *until).min()
    }

    fn remember(&mut self, nonce: u16) -> bool {
        self.credit = (self.credit + PACKET).min(MAX_REPEAT_CREDIT);
        let repeated = self.seen.contains(&nonce);
        if !repeated {
            self.seen.push(nonce);
            self.seen.drain(..self.seen.len().saturating_sub(RECENT_NONCES));
        }
        repeated
    }
}

/// What a step must answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Answer {
    #[default]
    Nothing,
    Evicted(u8),
    /// Generation is current, repeated, renewed.
    Opened(bool, bool, bool),
    Paid(bool),
}

/// The least recently used first.
#[derive(Clone, Debug, Default)]
struct Model {
    sessions: Vec<Known>,
    keys: u8,
    serial: u64,
    now: u64,
    answer: Answer,
}

#[derive(Clone, Debug)]
enum Step {
    Install {
        peer: u8,
        member: bool,
        old_for: u64,
    },
    Offer {
        peer: u8,
        time: u64,
    },
    Open {
        peer: u8,
        key: u8,
        nonce: u16,
    },
    /// So many packets that all nonces before are forgotten.
    Flood {
        peer: u8,
    },
    Use {
        peer: u8,
    },
    Pay {
        peer: u8,
        len: u32,
    },
    Pass {
        time: u64,
    },
    RemovePeer {
        peer: u8,
    },
    RemoveNode {
        peer: u8,
    },
}

impl Model {
    fn at(&self, peer: u8) -> Option<usize> {
        self.sessions.iter().position(|known| known.peer == peer)
    }

    /// The last to leave, among its kind.
    fn used(&mut self, at: usize) -> &mut Known {
        let known = self.sessions.remove(at);
        self.sessions.push(known);
        self.sessions.last_mut().unwrap()
    }

    fn install(&mut self, peer: u8, member: bool, until: u64) {
        let (key, serial) = (self.keys, self.serial + 1);
        (self.keys, self.serial) = (self.keys + 1, serial);
        if let Some(at) = self.at(peer) {
            let known = self.used(at);
            known.previous = Some((known.key, until));
            (known.key, known.serial, known.member) = (key, serial, member);
            return;
        }
        if self.sessions.len() == CAPACITY {
            let stranger = self.sessions.iter().position(|known| !known.member);
            self.answer = Answer::Evicted(self.sessions.remove(stranger.unwrap_or(0)).peer);
        }
        let (previous, offered) = (None, None);
        let seen = Vec::new();
        self.sessions.push(Known { peer, member, key, previous, offered, seen, credit: 0, serial });
    }

    fn open(&mut self, peer: u8, key: u8, nonce: u16) {
        let Some(at) = self.at(peer) else { return };
        let known = &mut self.sessions[at];
        let is = |slot: Aside| slot.is_some_and(|(number, _)| number == key);
        let (current, renewed) = match key {
            _ if known.key == key => (true, false),
            _ if is(known.previous) => (false, false),
            _ if is(known.offered) => (true, true),
            _ => return,
        };
        if renewed {
            let (key, until) = known.offered.take().unwrap();
            known.previous = Some((known.key, until));
            known.key = key;
            self.serial += 1;
            known.serial = self.serial;
        }
        let repeated = known.remember(nonce);
        if !repeated {
            self.used(at);
        }
        self.answer = Answer::Opened(current, repeated, renewed);
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let (peer, keys) = (0..PEERS, 0..=state.keys);
        prop_oneof![
            4 => (peer.clone(), any::<bool>(), 1..30u64)
                .prop_map(|(peer, member, old_for)| Step::Install { peer, member, old_for }),
            3 => (peer.clone(), 1..30u64).prop_map(|(peer, time)| Step::Offer { peer, time }),
            8 => (peer.clone(), keys, 0..4u16).prop_map(|(peer, key, nonce)| Step::Open { peer, key, nonce }),
            1 => peer.clone().prop_map(|peer| Step::Flood { peer }),
            2 => peer.clone().prop_map(|peer| Step::Use { peer }),
            2 => (peer.clone(), 0..200u32).prop_map(|(peer, len)| Step::Pay { peer, len }),
            3 => (0..15u64).prop_map(|time| Step::Pass { time }),
            1 => peer.clone().prop_map(|peer| Step::RemovePeer { peer }),
            1 => peer.prop_map(|peer| Step::RemoveNode { peer }),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        // Each key has a number of one byte.
        state.keys < 250 && !matches!(step, Step::Open { key, .. } if *key > state.keys)
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.answer = Answer::Nothing;
        match *step {
            Step::Install { peer, member, old_for } => state.install(peer, member, state.now + old_for),
            Step::Offer { peer, time } => {
                let (key, until) = (state.keys, state.now + time);
                state.keys += 1;
                if let Some(at) = state.at(peer) {
                    state.sessions[at].offered = Some((key, until));
                }
            }
            Step::Open { peer, key, nonce } => state.open(peer, key, nonce),
            Step::Flood { peer } => {
                for nonce in flood() {
                    let key = state.at(peer).map(|at| state.sessions[at].key);
                    state.open(peer, key.unwrap_or_default(), nonce);
                }
            }
            Step::Use { peer } => {
                if let Some(at) = state.at(peer) {
                    state.used(at);
                }
            }
            Step::Pay { peer, len } => {
                if let Some(at) = state.at(peer) {
                    let credit = &mut state.sessions[at].credit;
                    state.answer = Answer::Paid(*credit >= len);
                    *credit = credit.checked_sub(len).unwrap_or(*credit);
                }
            }
            Step::Pass { time } => {
                state.now += time;
                let now = state.now;
                state.sessions.iter_mut().for_each(|known| known.expire(now));
            }
            Step::RemovePeer { peer } => state.sessions.retain(|known| known.peer != peer),
            Step::RemoveNode { peer } => state.sessions.retain(|known| known.peer / 2 != peer / 2),
        }
        state
    }
}

fn flood() -> impl Iterator<Item = u16> {
    1_000..1_000 + RECENT_NONCES as u16
}

fn peer(n: u8) -> Peer {
    // Two endpoints a node.
    Peer { id: NodeId([n / 2; 32]), endpoint: ([127, 0, 0, 1], u16::from(n)).into() }
}

/// Ours and the peer's.
fn keys(number: u8) -> [Keys; 2] {
    let (a, b, shared) = (NodeId([1; 32]), NodeId([2; 32]), Secret::new([number; 33]));
    let challenge = [number; 63];
    [
        Keys::recipient(&RustCrypto, &shared, &a, &b, &challenge),
        Keys::initiator(&RustCrypto, &shared, &a, &b, &challenge),
    ]
}

struct Store {
    sessions: Sessions<RustCrypto>,
    /// Keys that were made so far.
    keys: u8,
    now: u64,
}

impl Store {
    fn next_keys(&mut self) -> Keys {
        self.keys += 1;
        let [ours, _] = keys(self.keys - 1);
        ours
    }

    /// The key that an answer to a packet under those of `generation` is sealed with.
    fn sending(&mut self, to: u8, generation: Generation) -> Option<[u8; 16]> {
        self.sessions.sending(&RustCrypto, &peer(to), generation)
    }

    fn open(&mut self, from: u8, key: u8, nonce: u16) -> Answer {
        let [_, theirs] = keys(key);
        let mut full: Nonce = [0; 12];
        full[..2].copy_from_slice(&nonce.to_be_bytes());
        let mut message = std::vec![7; TEXT];
        let tag =
            RustCrypto.aes_gcm_seal(&RustCrypto.aes_gcm_key(theirs.send()), &full, HEADER, &mut message);
        message.extend(tag);
        let sealed = message.clone();
        let opened = self.sessions.open(&RustCrypto, &peer(from), &full, HEADER, &mut message);
        match opened {
            Some(opened) => {
                assert_eq!(message[..TEXT], [7; TEXT]);
                assert_eq!(opened.nonce, full);
                Answer::Opened(opened.generation == Generation::Current, opened.repeated, opened.renewed)
            }
            None => {
                assert_eq!(message, sealed, "left as it was");
                Answer::Nothing
            }
        }
    }

    fn apply(&mut self, step: &Step) -> Answer {
        match *step {
            Step::Install { peer: to, member, old_for } => {
                let (keys, until) = (self.next_keys(), Instant::from_millis(self.now + old_for));
                let evicted = self.sessions.install(peer(to), keys, until, member);
                let number = |peer: Peer| Answer::Evicted(peer.endpoint.port() as u8);
                evicted.map_or(Answer::Nothing, number)
            }
            Step::Offer { peer: to, time } => {
                let keys = self.next_keys();
                self.sessions.offer(&peer(to), keys, Instant::from_millis(self.now + time));
                Answer::Nothing
            }
            Step::Open { peer, key, nonce } => self.open(peer, key, nonce),
            Step::Flood { peer: from } => {
                let sending = self.sending(from, Generation::Current);
                let key = (0..self.keys).find(|n| sending == Some(*keys(*n)[0].send().expose()));
                let answers = flood().map(|nonce| self.open(from, key.unwrap_or_default(), nonce));
                answers.last().unwrap_or_default()
            }
            Step::Use { peer: with } => {
                self.sessions.using(&peer(with));
                Answer::Nothing
            }
            Step::Pay { peer: with, len } => {
                let there = self.sessions.find(&peer(with)).is_some();
                let paid = self.sessions.pay(&peer(with), len);
                if there { Answer::Paid(paid) } else { Answer::Nothing }
            }
            Step::Pass { time } => {
                self.now += time;
                self.sessions.expire(Instant::from_millis(self.now));
                Answer::Nothing
            }
            Step::RemovePeer { peer: gone } => {
                self.sessions.remove_peer(&peer(gone));
                Answer::Nothing
            }
            Step::RemoveNode { peer: gone } => {
                self.sessions.remove_node(&peer(gone).id);
                Answer::Nothing
            }
        }
    }
}

impl StateMachineTest for Store {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        let sessions = Sessions::new(CAPACITY, KEPT, &mut Seed::new([1; 32]).stream("s"));
        Self { sessions, keys: 0, now: 0 }
    }

    fn apply(mut store: Self, model: &Model, step: Step) -> Self {
        assert_eq!(store.apply(&step), model.answer, "{step:?}");
        assert_eq!(store.sessions.len(), model.sessions.len());
        let expiry = model.sessions.iter().filter_map(Known::expiry).min();
        assert_eq!(store.sessions.next_expiry(), expiry.map(Instant::from_millis));
        let there: BTreeSet<u8> = model.sessions.iter().map(|known| known.peer).collect();
        for n in 0..PEERS {
            assert_eq!(store.sessions.find(&peer(n)).is_some(), there.contains(&n), "peer {n}");
        }
        for known in &model.sessions {
            let session = store.sessions.find(&peer(known.peer)).unwrap();
            assert_eq!(session.serial, known.serial);
            assert!(session.can_send());
            let mut sending = |generation| store.sending(known.peer, generation).unwrap();
            let send = |number: u8| *keys(number)[0].send().expose();
            assert_eq!(sending(Generation::Current), send(known.key), "what is sent");
            let answer = known.previous.map_or(known.key, |(key, _)| key);
            assert_eq!(sending(Generation::Previous), send(answer), "answers");
        }
        store
    }
}

prop_state_machine! {
    #![proptest_config(crate::testing::cases(4))]

    #[test]
    fn sessions_are_as_in_the_list(sequential 1..80 => Store);
}
