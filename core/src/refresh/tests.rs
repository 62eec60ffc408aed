//! Rules E1 to E4 and E6 over arbitrary histories, against a store that loses and crashes.

mod model;

use core::net::IpAddr;
use std::{collections::BTreeMap, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    crypto::{Identity, RustCrypto, SecretKey},
    limits::STORE_RETRY,
    record::{Addresses, Builder, Record},
    time::Instant,
};

const BOUND: Bound = Bound { udp4: Some(3610), tcp4: Some(3610), udp6: None, tcp6: None };

fn identity() -> Identity<RustCrypto> {
    Identity::new(RustCrypto, SecretKey::from_bytes(&[3; 32]).unwrap())
}

fn at(last: u8, seq: u64) -> Record {
    let mut builder = Builder::new();
    let addresses = Addresses {
        ip4: Some([127, 0, 0, last].into()),
        udp4: Some(3610),
        tcp4: Some(3610),
        ..Addresses::default()
    };
    builder.set_addresses(&addresses).unwrap().sign(seq, &identity()).unwrap()
}

fn configured(last: u8) -> Sources {
    Sources::new(&Configured { ip4: Some([127, 0, 0, last].into()), ..Configured::default() }, BOUND)
}

fn start(stored: Option<Record>, lock: Option<Record>, sources: Sources) -> LocalRecord {
    LocalRecord::new(&identity(), Start { stored, lock, wall_clock_ms: 1_000 }, sources)
}

#[test]
fn equal_means_silence() {
    let mut local = start(Some(at(1, 7)), Some(at(9, 3)), configured(1));
    assert_eq!(local.poll(&identity()), Some(Output::Published(at(1, 7))));
    assert_eq!(local.poll(&identity()), None);
}

#[test]
fn different_means_stored_and_only_then_published() {
    let mut local = start(Some(at(1, 7)), None, configured(2));
    assert_eq!(local.poll(&identity()), Some(Output::Store(at(2, 8))));
    assert_eq!(local.poll(&identity()), None);
    assert_eq!(local.current(), None, "nothing is in force before the store answers");
    local.handle_stored();
    assert_eq!(local.poll(&identity()), Some(Output::Published(at(2, 8))));
    assert_eq!(local.current(), Some(&at(2, 8)));
}

#[test]
fn without_a_store_the_clock_and_the_lock_give_the_number() {
    let mut local = start(None, Some(at(1, 5)), configured(2));
    assert_eq!(local.poll(&identity()), Some(Output::Store(at(2, 1_000))));
    let mut local = start(None, Some(at(1, 5_000)), configured(2));
    assert_eq!(local.poll(&identity()), Some(Output::Store(at(2, 5_001))));
    let mut local = start(None, Some(at(1, 5)), configured(1));
    assert_eq!(
        local.poll(&identity()),
        Some(Output::Store(at(1, 5))),
        "nothing changed: the store learns it"
    );
    local.handle_stored();
    assert_eq!(local.poll(&identity()), Some(Output::Published(at(1, 5))));
    local.handle_sources(&identity(), |s| *s = configured(2));
    assert_eq!(local.poll(&identity()), Some(Output::Store(at(2, 6))), "the next number follows");
}

#[test]
fn a_failed_write_leaves_the_old_record_and_is_tried_again() {
    let mut local = start(Some(at(1, 7)), None, configured(2));
    local.poll(&identity());
    local.handle_store_failed(&identity(), Instant::ZERO);
    assert_eq!(local.poll(&identity()), Some(Output::StoreFailed));
    assert_eq!(local.poll(&identity()), Some(Output::Published(at(1, 7))));
    assert_eq!(local.poll(&identity()), None);
    let again = local.next_timeout().unwrap();
    assert_eq!(again, Instant::ZERO + STORE_RETRY);
    local.handle_timeout(again);
    assert_eq!(local.poll(&identity()), Some(Output::Store(at(2, 8))), "same content, same number");
    local.handle_store_failed(&identity(), again);
    local.handle_sources(&identity(), |s| *s = configured(3));
    local.handle_timeout(again + STORE_RETRY);
    assert_eq!(local.poll(&identity()), Some(Output::StoreFailed));
    assert_eq!(local.poll(&identity()), Some(Output::Store(at(3, 9))), "other content, other number");
}

#[test]
fn the_last_number_is_an_error_not_a_wrap() {
    let mut local = start(Some(at(1, u64::MAX)), None, configured(2));
    assert_eq!(local.poll(&identity()), Some(Output::Failed(RefreshError::SequenceExhausted)));
    assert_eq!(local.poll(&identity()), Some(Output::Published(at(1, u64::MAX))));
    assert_eq!(local.poll(&identity()), None);
}

#[test]
fn records_of_other_keys_are_ignored() {
    let other = Identity::new(RustCrypto, SecretKey::from_bytes(&[4; 32]).unwrap());
    let foreign = Builder::new().sign(50_000, &other).unwrap();
    let mut local = start(Some(foreign.clone()), Some(foreign), configured(2));
    assert_eq!(local.poll(&identity()), Some(Output::Store(at(2, 1_000))));
}

/// What happens to a node, one step at a time.
#[derive(Clone, Debug)]
enum Step {
    Move(u8),
    Interface(u8),
    /// The store answers what it was asked: success, or failure that hit the disk or not.
    Store {
        ok: bool,
        landed: bool,
    },
    Wait,
    /// The process dies and starts again; a write in flight landed or not.
    Crash {
        landed: bool,
        address: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u8).prop_map(Step::Move),
        (0..4u8).prop_map(Step::Interface),
        (any::<bool>(), any::<bool>()).prop_map(|(ok, landed)| Step::Store { ok, landed }),
        Just(Step::Store { ok: true, landed: true }),
        Just(Step::Wait),
        (any::<bool>(), 0..4u8).prop_map(|(landed, address)| Step::Crash { landed, address }),
    ]
}

/// The world around the machine, and the ledger of what it published.
struct World {
    local: LocalRecord,
    disk: Option<Record>,
    /// Everything that was ever on the disk.
    stored: Vec<Record>,
    in_flight: Option<Record>,
    now: Instant,
    published: Vec<Record>,
    by_seq: BTreeMap<u64, Record>,
}

impl World {
    fn new(address: u8) -> Self {
        let local = start(None, Some(at(1, 5)), configured(address));
        let mut world = Self {
            local,
            disk: None,
            stored: Vec::new(),
            in_flight: None,
            now: Instant::ZERO,
            published: Vec::new(),
            by_seq: BTreeMap::new(),
        };
        world.drain();
        world
    }

    fn drain(&mut self) {
        while let Some(output) = self.local.poll(&identity()) {
            match output {
                Output::Store(record) => self.in_flight = Some(record),
                Output::Published(record) => self.publish(record),
                Output::StoreFailed => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn write(&mut self, record: Record) {
        self.stored.push(record.clone());
        self.disk = Some(record);
    }

    fn publish(&mut self, record: Record) {
        // E4: canonical, small, and valid in our own decoder (the crate enr's is held against it
        // in the tests of `record`).
        assert_eq!(Record::decode(record.as_bytes(), &RustCrypto).unwrap(), record);
        // E1.
        let last = self.published.last().map_or(0, Record::seq);
        assert!(record.seq() >= last, "published {} after {last}", record.seq());
        // E2.
        let known = self.by_seq.entry(record.seq()).or_insert_with(|| record.clone());
        assert!(known.same_content(&record), "two contents under {}", record.seq());
        // E3: on the disk, or the cluster file's own.
        assert!(self.stored.contains(&record) || record == at(1, 5), "published before stored");
        self.published.push(record);
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Move(last) => self.local.handle_sources(&identity(), |s| *s = configured(last)),
            Step::Interface(last) => self.local.handle_sources(&identity(), |s| {
                s.set(Source::Interface, [IpAddr::from([10, 0, 0, last + 1])])
            }),
            Step::Store { ok, landed } => {
                if let Some(record) = self.in_flight.take() {
                    if ok || landed {
                        self.write(record);
                    }
                    if ok {
                        self.local.handle_stored();
                    } else {
                        self.local.handle_store_failed(&identity(), self.now);
                    }
                }
            }
            Step::Wait => {
                self.now = self.now + STORE_RETRY;
                self.local.handle_timeout(self.now);
            }
            Step::Crash { landed, address } => {
                if let Some(record) = self.in_flight.take()
                    && landed
                {
                    self.write(record);
                }
                self.local = start(self.disk.clone(), Some(at(1, 5)), configured(address));
            }
        }
        self.drain();
    }
}

proptest! {
    #![proptest_config(crate::testing::cases(1))]

    #[test]
    fn e1_to_e4_through_any_history(first in 0..4u8, steps in proptest::collection::vec(step(), 0..40)) {
        let mut world = World::new(first);
        for step in &steps {
            world.apply(step);
        }
        // The store works again: what is published is what is configured.
        for _ in 0..3 {
            world.apply(&Step::Store { ok: true, landed: true });
            world.apply(&Step::Wait);
        }
        let newest = world.published.last().unwrap();
        prop_assert_eq!(newest.addresses(), &world.local.sources().desired(newest.addresses()));
    }

    #[test]
    fn e6_no_change_no_bump(moves in proptest::collection::vec(0..3u8, 1..20)) {
        let mut world = World::new(1);
        let mut changes = 0;
        let mut last = 1;
        for to in moves {
            changes += u64::from(to != last);
            last = to;
            world.apply(&Step::Move(to));
            world.apply(&Step::Store { ok: true, landed: true });
        }
        let mut numbers: Vec<u64> = world.published.iter().map(Record::seq).collect();
        numbers.dedup();
        prop_assert!(numbers.len() as u64 <= changes + 1);
    }

    /// E6 and E7: lists in another order and the word of one liar of four, whatever he says and
    /// however often, sign nothing.
    #[test]
    fn e7_rotations_and_a_liar_sign_nothing(
        lies in proptest::collection::vec((0..4u8, any::<u16>(), any::<bool>()), 1..40),
    ) {
        let a: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let mut local = start(None, None, Sources::new(&Configured::default(), BOUND));
        local.handle_sources(&identity(), |s| s.set(Source::Interface, a));
        let mut votes = Votes::new(4);
        let mut seen = |local: &mut LocalRecord, voter: u8, endpoint: std::net::SocketAddr| {
            votes.cast(Instant::ZERO, crate::id::NodeId([voter; 32]), endpoint);
            let current = local.sources().voted(true);
            if let Some(voted) = votes.winner(Instant::ZERO, true, quorum(4, 3), current) {
                local.handle_sources(&identity(), |s| s.set_voted(voted));
            }
        };
        for honest in 1..=2 {
            seen(&mut local, honest, ([192, 0, 2, 1], 4000).into());
        }
        prop_assert!(matches!(local.poll(&identity()), Some(Output::Store(_))));
        local.handle_stored();
        prop_assert!(matches!(local.poll(&identity()), Some(Output::Published(_))));
        for (last, port, rotated) in lies {
            seen(&mut local, 3, ([192, 0, 2, last], port).into());
            let list = if rotated { [a[1], a[0]] } else { a };
            local.handle_sources(&identity(), |s| s.set(Source::Interface, list));
            prop_assert_eq!(local.poll(&identity()), None);
        }
    }
}

/// Runs the machine until it is silent, with a store that answers; what was published last.
fn settle(local: &mut LocalRecord) -> Option<Record> {
    let mut published = None;
    while let Some(output) = local.poll(&identity()) {
        match output {
            Output::Store(_) => local.handle_stored(),
            Output::Published(record) => published = Some(record),
            other => panic!("{other:?}"),
        }
    }
    published
}

/// Rule E5: the store was lost, and peers remember.
#[test]
fn an_own_record_seen_is_exceeded_once_or_adopted() {
    let mut local = start(None, None, configured(1));
    assert_eq!(settle(&mut local), Some(at(1, 1_000)));
    assert_eq!(local.handle_seen(&identity(), &at(1, 1_000)), OwnSeen::Known);
    assert_eq!(local.handle_seen(&identity(), &at(2, 999)), OwnSeen::Known);
    // Another content under a higher number; everybody shows it, and it counts once.
    assert_eq!(local.handle_seen(&identity(), &at(2, 5_000)), OwnSeen::Exceeded);
    assert_eq!(local.handle_seen(&identity(), &at(2, 5_000)), OwnSeen::Known);
    assert_eq!(settle(&mut local), Some(at(1, 5_001)));
    assert_eq!(local.handle_seen(&identity(), &at(2, 5_000)), OwnSeen::Known);
    // The same content: adopted as it is.
    assert_eq!(local.handle_seen(&identity(), &at(1, 7_000)), OwnSeen::Adopted);
    assert_eq!(settle(&mut local), Some(at(1, 7_000)));
    // The same number with another content.
    assert_eq!(local.handle_seen(&identity(), &at(3, 7_000)), OwnSeen::Exceeded);
    assert_eq!(settle(&mut local), Some(at(1, 7_001)));
    // Not ours at all.
    let other = Identity::new(RustCrypto, SecretKey::from_bytes(&[4; 32]).unwrap());
    let other = Builder::new().sign(9_000, &other).unwrap();
    assert_eq!(local.handle_seen(&identity(), &other), OwnSeen::Known);
}

/// What is shown under a number that was asked for with another content, and a content that differs elsewhere than
/// in its addresses, are not adopted.
#[test]
fn only_what_cannot_be_anything_else_is_adopted() {
    let mut local = start(Some(at(1, 7)), None, configured(1));
    settle(&mut local);
    for (last, seq) in [(2, 8), (3, 9)] {
        local.handle_sources(&identity(), |s| *s = configured(last));
        assert_eq!(local.poll(&identity()), Some(Output::Store(at(last, seq))));
        local.handle_store_failed(&identity(), Instant::ZERO);
        assert_eq!(local.poll(&identity()), Some(Output::StoreFailed));
        local.handle_timeout(Instant::ZERO + STORE_RETRY);
    }
    local.handle_sources(&identity(), |s| *s = configured(1));
    assert_eq!((local.current(), local.base()), (Some(&at(1, 7)), Some(&at(1, 7))));
    assert_eq!(local.handle_seen(&identity(), &at(1, 8)), OwnSeen::Exceeded);
    assert_eq!(settle(&mut local), Some(at(1, 10)));
    let mut builder = Builder::from_record(&at(1, 10));
    let noted = builder.set_string(b"note", Some(b"x")).unwrap().sign(10, &identity()).unwrap();
    assert_eq!(local.handle_seen(&identity(), &noted), OwnSeen::Exceeded);
    assert_eq!(settle(&mut local).map(|record| record.seq()), Some(11));
}

#[test]
fn one_seen_while_another_is_written_is_exceeded_after_it() {
    let mut local = start(None, None, configured(1));
    assert_eq!(local.poll(&identity()), Some(Output::Store(at(1, 1_000))));
    assert_eq!(local.handle_seen(&identity(), &at(2, 5_000)), OwnSeen::Exceeded);
    local.handle_stored();
    assert_eq!(local.poll(&identity()), Some(Output::Published(at(1, 1_000))));
    assert_eq!(local.poll(&identity()), Some(Output::Store(at(1, 5_001))));
    // Seen before it is stored, and the address goes away and comes back: still owed.
    let mut local = start(Some(at(1, 7)), None, configured(1));
    assert_eq!(settle(&mut local), Some(at(1, 7)));
    assert_eq!(local.handle_seen(&identity(), &at(2, 50)), OwnSeen::Exceeded);
    local.handle_sources(&identity(), |s| *s = configured(3));
    local.handle_sources(&identity(), |s| *s = configured(1));
    assert_eq!(settle(&mut local), Some(at(1, 51)));
}

/// Writes of other records failed, and the address came back to what the file says: the number in force is below
/// those, and below what the others remember of us.
#[test]
fn numbers_that_were_never_published_do_not_hide_one_that_was() {
    let mut local = start(None, Some(at(1, 1)), configured(2));
    let Some(Output::Store(first)) = local.poll(&identity()) else { panic!("nothing to store") };
    local.handle_store_failed(&identity(), Instant::ZERO);
    while local.poll(&identity()).is_some() {}
    local.handle_sources(&identity(), |s| *s = configured(1));
    assert_eq!(local.current(), Some(&at(1, 1)));
    let remembered = at(3, first.seq() - 1);
    assert!(remembered.seq() > 1);
    assert_eq!(local.handle_seen(&identity(), &remembered), OwnSeen::Exceeded);
    assert_eq!(settle(&mut local), Some(at(1, first.seq() + 1)));
}

/// Two processes with one key, each shown what the other publishes: they stop.
#[test]
fn two_processes_with_one_key_do_not_race_upwards() {
    let mut twins = [start(None, None, configured(1)), start(None, None, configured(2))];
    let mut newest = twins.each_mut().map(|twin| settle(twin).unwrap());
    let mut told = 0;
    for _ in 0..50 {
        for i in 0..2 {
            told += u32::from(twins[i].handle_seen(&identity(), &newest[1 - i]) == OwnSeen::KeyUsedTwice);
            if let Some(published) = settle(&mut twins[i]) {
                newest[i] = published;
            }
        }
    }
    let highest = newest.iter().map(Record::seq).max().unwrap();
    assert!(highest <= 1_000 + 2 * u64::from(crate::limits::MAX_OWN_EXCEEDED), "{highest}");
    assert!(told > 0, "people are told");
}
