//! The address book against a list of what was said of each member, and the dialler against what it may do: whom it
//! may dial where, how many at a time, and that nobody is ever forgotten.

use std::{collections::BTreeSet, vec};

use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::limits::{MAX_ADDRESSES, MAX_ATTEMPTS, MAX_ENDPOINTS, MAX_HINTS};

/// Keys: our own is 1, and 2 to 5 may be members.
const KEYS: u8 = 5;
const ROOM: usize = 4;

/// What was said of a member.
#[derive(Clone, Debug, Default)]
struct Known {
    position: usize,
    /// Number, last byte of the address, and who said so.
    newest: Option<(u64, u8, Origin)>,
    lock: Option<u8>,
    last_good: Option<SocketAddr>,
    /// The newest first.
    hints: Vec<SocketAddr>,
    connected: bool,
    dirty: bool,
}

impl Known {
    fn from_lock(position: usize, last: u8) -> Self {
        Self { position, newest: Some((1, last, Origin::Lock)), lock: Some(last), ..Self::default() }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let at = |last: u8, origin| Endpoint { address: tcp(last), origin };
        let told = self.newest.filter(|(.., origin)| *origin == Origin::Discovered);
        let mut all: Vec<Endpoint> =
            self.hints.iter().map(|address| Endpoint { address: *address, origin: Origin::Hint }).collect();
        all.extend(told.map(|(_, last, origin)| at(last, origin)));
        all.extend(self.last_good.map(|address| Endpoint { address, origin: Origin::Database }));
        all.extend(self.newest.map(|(_, last, origin)| at(last, origin)));
        all.extend(self.lock.map(|last| at(last, Origin::Lock)));
        let mut seen = BTreeSet::new();
        all.retain(|endpoint| seen.insert(endpoint.address));
        all.truncate(MAX_ENDPOINTS);
        all
    }

    fn hint(&mut self, last: u8) {
        if !self.hints.contains(&hinted(last)) {
            // Of too many the oldest goes.
            self.hints.truncate(MAX_HINTS - 1);
            self.hints.insert(0, hinted(last));
        }
    }

    fn offer(&mut self, seq: u64, last: u8, origin: Origin) -> RecordOutcome {
        let outcome = match self.newest {
            Some((known, ..)) if seq < known => RecordOutcome::Known,
            Some((known, same, _)) if seq == known && last == same => RecordOutcome::Known,
            Some((known, ..)) if seq == known => RecordOutcome::Conflict,
            _ => RecordOutcome::Updated,
        };
        if outcome == RecordOutcome::Updated {
            self.newest = Some((seq, last, origin));
            self.dirty = true;
        }
        outcome
    }
}

impl Model {
    /// A member; the preconditions say that it is one.
    fn of(&mut self, key: u8) -> &mut Known {
        self.members.get_mut(&key).unwrap()
    }
}

fn tcp(last: u8) -> SocketAddr {
    ([127, 0, 0, last], 3610).into()
}

#[derive(Clone, Debug)]
enum Step {
    Offer {
        key: u8,
        seq: u64,
        last: u8,
        origin: Origin,
    },
    Hint {
        key: u8,
        last: u8,
    },
    /// By an attempt that is under way, if there is one; else it dialled us.
    Connected {
        key: u8,
        by_attempt: bool,
    },
    Disconnected {
        key: u8,
    },
    Add {
        key: u8,
        last: u8,
    },
    Remove {
        key: u8,
    },
    /// The cluster file is read again, and names this record and hint.
    Update {
        key: u8,
        last: u8,
    },
    StoreFailed {
        key: u8,
    },
    Stored,
    Address {
        last: u8,
    },
    /// The oldest attempts of everybody fail: so many.
    Fail {
        count: usize,
    },
    Pass {
        ms: u64,
    },
}

#[derive(Clone, Debug)]
struct Model {
    members: BTreeMap<u8, Known>,
    outcome: Option<RecordOutcome>,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let members = (2..=4).map(|key| (key, Known::from_lock(usize::from(key) - 1, key))).collect();
        Just(Self { members, outcome: None }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let (key, last) = (1..=KEYS, 1..8u8);
        let origin = prop_oneof![Just(Origin::Discovered), Just(Origin::Exchanged)];
        prop_oneof![
            4 => (key.clone(), 0..5u64, last.clone(), origin)
                .prop_map(|(key, seq, last, origin)| Step::Offer { key, seq, last, origin }),
            2 => (key.clone(), 1..12u8).prop_map(|(key, last)| Step::Hint { key, last }),
            3 => (key.clone(), any::<bool>()).prop_map(|(key, by_attempt)| Step::Connected { key, by_attempt }),
            3 => key.clone().prop_map(|key| Step::Disconnected { key }),
            1 => (key.clone(), last.clone()).prop_map(|(key, last)| Step::Add { key, last }),
            1 => key.clone().prop_map(|key| Step::Remove { key }),
            1 => (key.clone(), last.clone()).prop_map(|(key, last)| Step::Update { key, last }),
            1 => key.prop_map(|key| Step::StoreFailed { key }),
            2 => Just(Step::Stored),
            1 => last.prop_map(|last| Step::Address { last }),
            4 => (1..6usize).prop_map(|count| Step::Fail { count }),
            6 => (0..3_000u64).prop_map(|ms| Step::Pass { ms }),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        let member = |key: &u8| state.members.get(key);
        match step {
            Step::Hint { key, .. }
            | Step::Remove { key }
            | Step::Update { key, .. }
            | Step::StoreFailed { key } => member(key).is_some(),
            Step::Connected { key, .. } => member(key).is_some_and(|known| !known.connected),
            Step::Disconnected { key } => member(key).is_some_and(|known| known.connected),
            Step::Add { key, .. } => *key != 1 && member(key).is_none() && state.members.len() + 1 < ROOM,
            _ => true,
        }
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.outcome = None;
        match step {
            Step::Offer { key, seq, last, origin } => {
                let known = state.members.get_mut(key).map(|known| known.offer(*seq, *last, *origin));
                state.outcome = Some(known.unwrap_or(RecordOutcome::NotAMember));
            }
            Step::Hint { key, last } => state.of(*key).hint(*last),
            // Where it was dialled, the store tells.
            Step::Connected { key, .. } => state.of(*key).connected = true,
            Step::Disconnected { key } => state.of(*key).connected = false,
            Step::Add { key, last } => {
                state.members.insert(*key, Known::from_lock(9, *last));
            }
            Step::Remove { key } => {
                state.members.remove(key);
            }
            Step::Update { key, last } => {
                let known = state.of(*key);
                (known.position, known.lock) = (7, Some(*last));
                known.hint(*last);
            }
            Step::StoreFailed { key } => state.of(*key).dirty = true,
            Step::Stored => state.members.values_mut().for_each(|known| known.dirty = false),
            Step::Address { .. } | Step::Fail { .. } | Step::Pass { .. } => {}
        }
        state
    }
}

/// Where hints are: on ports of their own.
fn hinted(last: u8) -> SocketAddr {
    ([127, 0, 1, last], 1).into()
}

struct Book {
    cluster: Cluster,
    now: Instant,
    /// Attempts under way: whom, where; the oldest first.
    attempts: Vec<(u8, SocketAddr)>,
    addresses: Vec<SocketAddr>,
    /// Where the last channel of each member was dialled that was not to where the one before was.
    last_good: BTreeMap<u8, SocketAddr>,
    /// Members whose last good endpoint is to be stored.
    changed: BTreeSet<u8>,
    /// Every endpoint that was ever said to be somebody's.
    said: BTreeMap<u8, BTreeSet<SocketAddr>>,
}

impl Book {
    fn index(&self, n: u8) -> Option<MemberIndex> {
        self.cluster.index_of(&public_key(n))
    }

    fn number(&self, index: MemberIndex) -> u8 {
        let found = self.cluster.member(index).public_key();
        (1..=KEYS).find(|n| public_key(*n) == *found).unwrap()
    }

    fn apply(&mut self, step: &Step, model: &Model) {
        let now = self.now;
        match *step {
            Step::Offer { key, seq, last, origin } => {
                let outcome = self.cluster.handle_record(now, &record(key, seq, last), origin);
                assert_eq!(Some(outcome), model.outcome);
            }
            Step::Hint { key, last } => {
                let index = self.index(key).unwrap();
                self.cluster.handle_hint(now, index, hinted(last));
            }
            Step::Connected { key, by_attempt } => self.connected(key, by_attempt),
            Step::Disconnected { key } => {
                let index = self.index(key).unwrap();
                self.cluster.handle_disconnected(now, index);
            }
            Step::Add { key, last } => {
                let config = MemberConfig::from_lock(record(key, 1, last));
                assert!(self.cluster.add(now, &RustCrypto, 9, &config).is_some(), "there is room");
            }
            Step::Remove { key } => {
                let index = self.index(key).unwrap();
                self.cluster.remove(index);
                self.attempts.retain(|(whose, _)| *whose != key);
                self.last_good.remove(&key);
                self.changed.remove(&key);
            }
            Step::Update { key, last } => {
                let index = self.index(key).unwrap();
                let hints = std::vec![hinted(last)];
                let config = MemberConfig { hints, ..MemberConfig::from_lock(record(key, 1, last)) };
                self.cluster.update(now, index, 7, &config);
            }
            Step::StoreFailed { key } => {
                let index = self.index(key).unwrap();
                self.cluster.handle_store_failed(index);
            }
            Step::Stored => self.stored(),
            Step::Address { last } => {
                let address = hinted(100 + last);
                self.cluster.handle_address(now, address);
                self.addresses.retain(|known| *known != address);
                self.addresses.push(address);
            }
            Step::Fail { count } => {
                for (key, _) in self.attempts.drain(..count.min(self.attempts.len())).collect::<Vec<_>>() {
                    if let Some(index) = self.index(key) {
                        self.cluster.handle_dial_failed(now, index);
                    }
                }
            }
            Step::Pass { ms } => self.now = now + core::time::Duration::from_millis(ms),
        }
    }

    fn connected(&mut self, key: u8, by_attempt: bool) {
        let index = self.index(key).unwrap();
        let attempt = self.attempts.iter().position(|(whose, _)| *whose == key).filter(|_| by_attempt);
        let dialled = attempt.map(|at| self.attempts.remove(at).1);
        self.cluster.handle_connected(index, dialled, dialled.is_some());
        if let Some(at) = dialled
            && self.last_good.insert(key, at) != Some(at)
        {
            self.changed.insert(key);
        }
    }

    /// Each change is told once.
    fn stored(&mut self) {
        let told: Vec<_> = core::iter::from_fn(|| self.cluster.poll_dirty(|_| true)).collect();
        let distinct: BTreeSet<_> = told.iter().collect();
        assert_eq!(told.len(), distinct.len(), "once a change");
        self.changed.clear();
    }

    /// All that is wanted now, and whether it may be.
    fn poll(&mut self, model: &Model) {
        let mut anyone = BTreeSet::new();
        while let Some(output) = self.cluster.poll(self.now) {
            match output {
                Output::Dial { member, endpoint } => {
                    let key = self.number(member);
                    let known = &model.members[&key];
                    assert!(!known.connected, "{key} has a channel");
                    // One of this round, which may have begun before the last news.
                    assert!(self.said[&key].contains(&endpoint.address), "{key} was never at {endpoint:?}");
                    self.attempts.push((key, endpoint.address));
                    let mine = self.attempts.iter().filter(|(whose, _)| *whose == key).count();
                    assert!(mine <= MAX_ATTEMPTS, "{mine} attempts at {key}");
                }
                Output::DialAnyone { address } => {
                    assert!(self.addresses.contains(&address) && anyone.insert(address));
                    assert!(model.members.values().any(|known| !known.connected), "nobody is missing");
                    self.cluster.handle_address_ended(self.now, address, false);
                }
                Output::LookUp { member } | Output::Unreachable { member } => {
                    assert!(!model.members[&self.number(member)].connected);
                }
            }
        }
    }
}

impl StateMachineTest for Book {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        let members: Vec<_> = (1..=4).map(|n| MemberConfig::from_lock(record(n, 1, n))).collect();
        let rng = Seed::new([6; 32]).stream("cluster");
        let mut cluster = Cluster::new(&RustCrypto, public_key(1), &members, ROOM, rng).unwrap();
        cluster.start(Instant::ZERO);
        Self {
            cluster,
            now: Instant::ZERO,
            attempts: Vec::new(),
            addresses: Vec::new(),
            last_good: BTreeMap::new(),
            changed: BTreeSet::new(),
            said: BTreeMap::new(),
        }
    }

    fn apply(mut book: Self, model: &Model, step: Step) -> Self {
        book.apply(&step, model);
        assert_eq!(book.cluster.members().count(), model.members.len());
        assert!(!book.cluster.admits(&public_key(1)), "our own key");
        for n in 2..=KEYS {
            assert_eq!(book.cluster.admits(&public_key(n)), model.members.contains_key(&n));
        }
        for (key, known) in &model.members {
            let known = Known { last_good: book.last_good.get(key).copied(), ..known.clone() };
            let index = book.index(*key).unwrap();
            let member = book.cluster.member(index);
            let newest = known.newest.map(|(seq, last, _)| record(*key, seq, last));
            assert_eq!(member.record(), newest.as_ref());
            assert_eq!(member.position(), known.position);
            assert_eq!((member.is_connected(), member.last_good()), (known.connected, known.last_good));
            let endpoints = known.endpoints();
            book.said.entry(*key).or_default().extend(endpoints.iter().map(|endpoint| endpoint.address));
            assert_eq!(member.endpoints().collect::<Vec<_>>(), endpoints, "{step:?}");
            assert_eq!(member.is_dirty(), known.dirty || book.changed.contains(key), "{key} after {step:?}");
            assert_eq!(book.cluster.index_of_node(&member.node_id()), Some(index));
            assert_eq!(book.cluster.index_of_peer(&member.peer_id()), Some(index));
        }
        let connected = model.members.values().filter(|known| known.connected).count();
        assert_eq!(book.cluster.connected(), connected);
        assert!(book.addresses.len() <= MAX_ADDRESSES, "the test names no more");
        book.poll(model);
        // Who has no channel is tried again within the longest pause, if no attempt at it is under way.
        for (key, _) in model.members.iter().filter(|(_, known)| !known.connected) {
            let waiting = book.attempts.iter().any(|(whose, _)| whose == key);
            let member = book.cluster.member(book.index(*key).unwrap());
            let next = member.next_timeout(true);
            let soon = next.is_some_and(|at| at > book.now && at.since(book.now) <= DIAL_BACKOFF_MAX);
            assert!(waiting || soon, "{key} is forgotten: {next:?} after {step:?}");
        }
        book
    }
}

prop_state_machine! {
    #![proptest_config(crate::testing::cases(4))]

    #[test]
    fn the_book_is_as_in_the_list(sequential 1..80 => Book);
}
