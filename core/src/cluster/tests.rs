//! Admission, the book's one rule, and the order and pace of dialling.

mod model;

use core::cell::RefCell;
use std::{collections::BTreeMap, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    crypto::{Identity, RustCrypto, SecretKey},
    limits::{DIAL_BACKOFF_MAX, DIAL_BACKOFF_MIN, DIAL_STAGGER, LOOKUP_AFTER},
    record::{Addresses, Builder},
    rng::Seed,
};

fn identity(n: u8) -> Identity<RustCrypto> {
    Identity::new(RustCrypto, SecretKey::from_bytes(&[n; 32]).unwrap())
}

/// The key of `identity(n)`; each is computed once a thread.
fn public_key(n: u8) -> PublicKey {
    std::thread_local!(static KNOWN: RefCell<BTreeMap<u8, PublicKey>> = RefCell::default());
    KNOWN.with_borrow_mut(|known| *known.entry(n).or_insert_with(|| *identity(n).public_key()))
}

/// Each is signed once a thread.
fn record(n: u8, seq: u64, last: u8) -> Record {
    std::thread_local!(static KNOWN: RefCell<BTreeMap<(u8, u64, u8), Record>> = RefCell::default());
    KNOWN.with_borrow_mut(|known| known.entry((n, seq, last)).or_insert_with(|| signed(n, seq, last)).clone())
}

fn signed(n: u8, seq: u64, last: u8) -> Record {
    let addresses = Addresses {
        ip4: Some([127, 0, 0, last].into()),
        udp4: Some(3610),
        tcp4: Some(3610),
        ..Addresses::default()
    };
    Builder::new().set_addresses(&addresses).unwrap().sign(seq, &identity(n)).unwrap()
}

fn cluster() -> Cluster {
    let members: Vec<_> = (1..=4).map(|n| MemberConfig::from_lock(record(n, 1, n))).collect();
    new(&members).unwrap()
}

fn new(members: &[MemberConfig]) -> Result<Cluster, ClusterError> {
    Cluster::new(&RustCrypto, *identity(1).public_key(), members, 5, Seed::new([5; 32]).stream("cluster"))
}

#[test]
fn only_members_are_admitted_and_not_ourselves() {
    let cluster = cluster();
    assert!(cluster.admits(identity(2).public_key()));
    assert!(!cluster.admits(identity(9).public_key()), "a stranger");
    assert!(!cluster.admits(identity(1).public_key()), "our own key, from outside");
}

#[test]
fn bad_clusters_are_refused() {
    let member = |n| MemberConfig::new(*identity(n).public_key());
    assert_eq!(new(&[member(1), member(2), member(2)]).unwrap_err(), ClusterError::Duplicate(1, 2));
    assert_eq!(new(&[member(2), member(3)]).unwrap_err(), ClusterError::NotAMember);
    assert!(matches!(new(&std::vec![member(1); 257]), Err(ClusterError::TooMany)));
}

/// All that is polled at one moment.
fn poll_all(cluster: &mut Cluster, now: Instant) -> Vec<Output> {
    core::iter::from_fn(|| cluster.poll(now)).collect()
}

#[test]
fn attempts_race_and_rounds_back_off() {
    let mut members = [MemberConfig::from_lock(record(1, 1, 1)), MemberConfig::from_lock(record(2, 1, 2))];
    members[1].hints.push("127.0.0.9:1".parse().unwrap());
    members[1].last_good = Some("127.0.0.8:1".parse().unwrap());
    let mut cluster = new(&members).unwrap();
    let mut now = Instant::ZERO;
    assert_eq!(poll_all(&mut cluster, now), [], "not before the own record is settled");
    cluster.start(now);
    let mut origins = Vec::new();
    for _ in 0..3 {
        for output in poll_all(&mut cluster, now) {
            let Output::Dial { endpoint, .. } = output else { panic!("{output:?}") };
            origins.push(endpoint.origin);
        }
        // None of them has ended: the next starts a stagger later all the same.
        now = now + DIAL_STAGGER;
    }
    assert_eq!(origins, [Origin::Hint, Origin::Database, Origin::Lock]);
    let peer = MemberIndex(0);
    for _ in 0..3 {
        cluster.handle_dial_failed(now, peer);
    }
    assert_eq!(
        poll_all(&mut cluster, now),
        [Output::LookUp { member: peer }, Output::Unreachable { member: peer }]
    );
    // From now on rounds follow, never further apart than the longest pause.
    for _ in 0..20 {
        let next = cluster.next_timeout().unwrap();
        assert!(next > now && next.since(now) <= DIAL_BACKOFF_MAX);
        now = next;
        while let Some(output) = cluster.poll(now) {
            match output {
                Output::Dial { .. } => cluster.handle_dial_failed(now, peer),
                Output::LookUp { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// An attempt that led to a channel has ended too: the next outage does not wait for it.
#[test]
fn a_round_after_a_channel_ends_when_its_attempts_do() {
    let mut cluster = cluster();
    cluster.start(Instant::ZERO);
    let mut now = Instant::ZERO;
    for _ in 0..3 {
        let dials = poll_all(&mut cluster, now);
        for output in &dials {
            let Output::Dial { member, endpoint } = output else { panic!("{output:?}") };
            cluster.handle_connected(*member, Some(endpoint.address), true);
        }
        let members: Vec<MemberIndex> = cluster.members().map(|(index, _)| index).collect();
        assert_eq!(dials.len(), members.len());
        members.iter().for_each(|member| cluster.handle_disconnected(now, *member));
        now = now + DIAL_BACKOFF_MIN;
    }
    for output in poll_all(&mut cluster, now) {
        let Output::Dial { member, .. } = output else { panic!("{output:?}") };
        cluster.handle_dial_failed(now, member);
        assert!(poll_all(&mut cluster, now).contains(&Output::LookUp { member }));
    }
}

/// A dial to where nobody answers may hang for long: the lookup does not wait for its end.
#[test]
fn a_member_is_looked_up_while_its_dial_hangs() {
    let mut cluster = cluster();
    cluster.start(Instant::ZERO);
    let dials = poll_all(&mut cluster, Instant::ZERO);
    let now = cluster.next_timeout().unwrap();
    assert!(now.since(Instant::ZERO) <= LOOKUP_AFTER);
    assert_eq!(poll_all(&mut cluster, now).len(), dials.len());
    assert_eq!(cluster.next_timeout(), None, "once a round");
    for output in dials {
        let Output::Dial { member, .. } = output else { panic!("{output:?}") };
        cluster.handle_dial_failed(now, member);
        assert_eq!(poll_all(&mut cluster, now), [Output::Unreachable { member }], "once a round");
    }
}

#[test]
fn a_new_record_is_dialled_at_once() {
    let mut cluster = cluster();
    cluster.start(Instant::ZERO);
    let now = Instant::from_millis(10);
    for output in poll_all(&mut cluster, now) {
        let Output::Dial { member, .. } = output else { panic!("{output:?}") };
        cluster.handle_dial_failed(now, member);
    }
    poll_all(&mut cluster, now);
    assert_eq!(cluster.handle_record(now, &record(2, 2, 77), Origin::Discovered), RecordOutcome::Updated);
    let Some(Output::Dial { endpoint, .. }) = cluster.poll(now) else { panic!() };
    assert_eq!(
        endpoint,
        Endpoint { address: "127.0.0.77:3610".parse().unwrap(), origin: Origin::Discovered }
    );
    assert_eq!(cluster.poll_dirty(|_| true), cluster.index_of(identity(2).public_key()));
    assert_eq!(cluster.poll_dirty(|_| true), None);
}

/// A member that signs one record after another is not dialled as often, and never takes more
/// than its share of attempts.
#[test]
fn a_flood_of_records_is_not_a_flood_of_dials() {
    let mut cluster = cluster();
    cluster.start(Instant::ZERO);
    let peer = cluster.index_of(identity(2).public_key()).unwrap();
    let mut dials = 0;
    let mut now = Instant::ZERO;
    for seq in 2..200 {
        now = now + core::time::Duration::from_millis(20);
        cluster.handle_record(now, &record(2, seq, seq as u8), Origin::Discovered);
        let of_peer = |output: &&Output| matches!(output, Output::Dial { member, .. } if *member == peer);
        dials += poll_all(&mut cluster, now).iter().filter(of_peer).count();
    }
    // Nothing ended, in four seconds.
    assert!(dials <= crate::limits::MAX_ATTEMPTS, "{dials} attempts under way");
}

proptest! {
    #![proptest_config(crate::testing::cases(4))]

    /// Only a higher number replaces a record; equal numbers with other content are a conflict.
    #[test]
    fn the_book_goes_forward_only(offers in proptest::collection::vec((0..5u64, 0..3u8), 0..20)) {
        let mut cluster = cluster();
        let (mut seq, mut last) = (1, 2);
        for (offered_seq, offered_last) in offers {
            let outcome = cluster.handle_record(
                Instant::ZERO, &record(2, offered_seq, offered_last), Origin::Discovered,
            );
            let expected = if offered_seq > seq {
                (seq, last) = (offered_seq, offered_last);
                RecordOutcome::Updated
            } else if offered_seq == seq && offered_last != last {
                RecordOutcome::Conflict
            } else {
                RecordOutcome::Known
            };
            prop_assert_eq!(outcome, expected);
            let index = cluster.index_of(identity(2).public_key()).unwrap();
            prop_assert_eq!(cluster.member(index).record().unwrap().seq(), seq);
        }
        prop_assert_eq!(
            cluster.handle_record(Instant::ZERO, &record(9, 9, 9), Origin::Discovered),
            RecordOutcome::NotAMember
        );
    }
}
