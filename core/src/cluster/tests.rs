//! Admission, the book's one rule, and the order and pace of dialling.

mod model;

use core::cell::RefCell;
use std::{collections::BTreeMap, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    crypto::{Identity, RustCrypto, SecretKey},
    limits::{
        ADDRESS_AGAIN, DIAL_BACKOFF_MAX, DIAL_BACKOFF_MIN, DIAL_NEWS_INTERVAL, DIAL_STAGGER, LOOKUP_AFTER,
    },
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

#[test]
fn there_is_room_for_as_many_as_was_asked_for() {
    let own = PublicKey::from_xy([0; 64]);
    let member = |n: usize| {
        let mut xy = [0; 64];
        xy[..2].copy_from_slice(&(n as u16).to_be_bytes());
        MemberConfig::new(PublicKey::from_xy(xy))
    };
    let members: Vec<_> = (0..=MAX_MEMBERS).map(member).collect();
    let rng = || Seed::new([5; 32]).stream("cluster");
    let full = Cluster::new(&RustCrypto, own, &members[..MAX_MEMBERS], 0, rng()).unwrap();
    assert_eq!((full.room(), full.members().count()), (MAX_MEMBERS, MAX_MEMBERS - 1));
    assert_eq!(full.check(&members), Err(ClusterError::TooMany));

    let mut small = Cluster::new(&RustCrypto, own, &members[..3], 4, rng()).unwrap();
    assert_eq!(small.room(), 4);
    assert_eq!(small.check(&members[..5]), Err(ClusterError::NoRoom(4)));
    let now = Instant::ZERO;
    assert!(small.check(&members[..4]).is_ok() && small.add(now, &RustCrypto, 3, &members[3]).is_some());
    assert_eq!(small.add(now, &RustCrypto, 4, &members[4]), None, "no place is left");
    // Who goes leaves a place, and an index, for the next.
    let stay = [members[0].clone(), members[1].clone(), members[3].clone()];
    let gone = small.next_absent(&stay).unwrap();
    assert_eq!(*small.member(gone).public_key(), members[2].public_key);
    small.remove(gone);
    assert_eq!(small.next_absent(&stay), None);
    assert_eq!(small.add(now, &RustCrypto, 2, &members[4]), Some(gone));
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
    for turn in 0..3 {
        let outputs = poll_all(&mut cluster, now);
        let [Output::Dial { endpoint, .. }] = outputs[..] else { panic!("{outputs:?}") };
        origins.push(endpoint.origin);
        // None of them has ended: the next starts a stagger later all the same.
        assert!(turn == 2 || cluster.next_timeout() == Some(now + DIAL_STAGGER));
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

/// The addresses that are to be dialled at this moment, whoever is there.
fn dialled(cluster: &mut Cluster, now: Instant) -> Vec<SocketAddr> {
    let anyone = |output| if let Output::DialAnyone { address } = output { Some(address) } else { None };
    poll_all(cluster, now).into_iter().filter_map(anyone).collect()
}

/// Addresses without a name, while somebody is missing: a pause that grows, from half of it to the whole.
#[test]
fn addresses_are_dialled_while_somebody_is_missing() {
    let mut cluster = cluster();
    let [a, b]: [SocketAddr; 2] = [([127, 0, 0, 9], 1).into(), ([127, 0, 0, 9], 2).into()];
    cluster.handle_address(Instant::from_millis(60_000), a);
    let mut now = Instant::from_millis(1_000);
    assert_eq!(dialled(&mut cluster, now), [], "not before the own record is settled");
    cluster.start(now);
    assert_eq!(dialled(&mut cluster, now), [a]);
    cluster.handle_address(now, a);
    assert_eq!(dialled(&mut cluster, now + ADDRESS_AGAIN), [], "one is under way");
    for doubled in 1..8 {
        cluster.handle_address_ended(now, a, false);
        let longest = (DIAL_BACKOFF_MIN * (1 << doubled)).min(DIAL_BACKOFF_MAX);
        let early = now + longest / 2 - core::time::Duration::from_millis(1);
        assert_eq!(dialled(&mut cluster, early), [], "pause {doubled}");
        assert!(cluster.next_timeout().is_some_and(|at| at > early && at <= now + longest));
        now = now + longest;
        assert_eq!(dialled(&mut cluster, now), [a], "pause {doubled}");
        assert!(cluster.next_timeout().is_none_or(|at| at > now), "the timer spins");
    }
    // A member answered there: it is asked again only after long, if still somebody is missing.
    cluster.handle_address_ended(now, a, true);
    cluster.handle_address(now, b);
    assert_eq!(dialled(&mut cluster, now), [b]);
    cluster.handle_address_ended(now, b, false);
    let members: Vec<_> = cluster.members().map(|(index, _)| index).collect();
    members.iter().for_each(|index| cluster.handle_connected(*index, None, false));
    assert_eq!((cluster.next_timeout(), dialled(&mut cluster, now + ADDRESS_AGAIN)), (None, Vec::new()));
    // Whoever left may be anywhere.
    cluster.handle_disconnected(now, members[0]);
    assert!(cluster.next_timeout().is_some_and(|at| at > now && at <= now + DIAL_BACKOFF_MIN));
    assert_eq!(poll_all(&mut cluster, now), [], "at once would meet the same fault on both sides");
    assert_eq!(dialled(&mut cluster, now + DIAL_BACKOFF_MIN), [a, b]);
    // Their number of failures counts from the last time that somebody was there.
    cluster.handle_address_ended(now, a, false);
    assert_eq!(dialled(&mut cluster, now + DIAL_BACKOFF_MIN * 2), [a]);
    // Of too many the oldest is forgotten.
    for port in 10..10 + crate::limits::MAX_ADDRESSES as u16 {
        cluster.handle_address(now, ([127, 0, 0, 9], port).into());
    }
    let again = dialled(&mut cluster, now);
    assert!(again.len() == crate::limits::MAX_ADDRESSES && !again.contains(&a) && !again.contains(&b));
}

#[test]
fn a_lookup_that_found_no_room_is_asked_for_again() {
    let mut cluster = cluster();
    cluster.start(Instant::ZERO);
    poll_all(&mut cluster, Instant::ZERO);
    let mut now = Instant::ZERO + LOOKUP_AFTER;
    let member = MemberIndex(0);
    for _ in 0..3 {
        assert!(poll_all(&mut cluster, now).contains(&Output::LookUp { member }));
        cluster.handle_lookup_refused(now, member);
        assert_eq!(poll_all(&mut cluster, now), []);
        now = now + LOOKUP_AFTER;
        assert_eq!(cluster.next_timeout(), Some(now));
    }
    cluster.handle_connected(member, None, false);
    cluster.handle_lookup_refused(now, member);
    assert_eq!(poll_all(&mut cluster, now + LOOKUP_AFTER), [], "it has a channel by now");
}

#[test]
fn changes_are_stored_when_the_store_is_free() {
    let mut cluster = cluster();
    assert!(!cluster.has_dirty());
    cluster.handle_record(Instant::ZERO, &record(3, 2, 9), Origin::Exchanged);
    let index = cluster.index_of(&public_key(3)).unwrap();
    assert!(cluster.has_dirty());
    assert_eq!(cluster.poll_dirty(|_| false), None);
    assert_eq!((cluster.poll_dirty(|free| free == index), cluster.has_dirty()), (Some(index), false));
    cluster.handle_store_failed(index);
    assert!(cluster.has_dirty());
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

/// A cluster of two, just started; the other member has seven addresses.
fn with_seven_addresses() -> Cluster {
    let mut members = [MemberConfig::from_lock(record(1, 1, 1)), MemberConfig::from_lock(record(2, 1, 2))];
    members[1].hints.extend((1..=4).map(|port| SocketAddr::from(([127, 0, 0, 9], port))));
    members[1].last_good = Some(([127, 0, 0, 8], 1).into());
    members[1].stored_record = Some(record(2, 2, 3));
    let mut cluster = new(&members).unwrap();
    cluster.start(Instant::ZERO);
    cluster
}

/// How many dials begin until there is nothing to wait for, while none of them ends. `now` is then.
fn hanging_dials(cluster: &mut Cluster, now: &mut Instant) -> usize {
    let mut dials = 0;
    for _ in 0..20 {
        let outputs = poll_all(cluster, *now);
        dials += outputs.iter().filter(|output| matches!(output, Output::Dial { .. })).count();
        let Some(next) = cluster.next_timeout() else { return dials };
        assert!(next > *now, "the timer spins");
        *now = next;
    }
    panic!("there is always something to wait for");
}

/// Every attempt may hang: so many at a time, and the timer does not spin for the rest.
#[test]
fn attempts_at_one_member_are_few_at_a_time() {
    let mut cluster = with_seven_addresses();
    let mut now = Instant::ZERO;
    assert_eq!(hanging_dials(&mut cluster, &mut now), crate::limits::MAX_ATTEMPTS);
    cluster.handle_dial_failed(now, MemberIndex(0));
    assert!(matches!(poll_all(&mut cluster, now)[..], [Output::Dial { .. }]), "the seventh");
    // The round is over when all of them have ended, and not before.
    let reachability = |cluster: &Cluster| cluster.member(MemberIndex(0)).reachability();
    for _ in 0..crate::limits::MAX_ATTEMPTS - 1 {
        cluster.handle_dial_failed(now, MemberIndex(0));
        assert_eq!((poll_all(&mut cluster, now), reachability(&cluster)), (Vec::new(), Reachability::Trying));
    }
    cluster.handle_dial_failed(now, MemberIndex(0));
    assert_eq!(poll_all(&mut cluster, now), [Output::Unreachable { member: MemberIndex(0) }]);
    assert_eq!(reachability(&cluster), Reachability::Failed { rounds: 1 });
}

/// A member that dialled us may be gone again before our attempts at it have ended: those still count.
#[test]
fn attempts_that_outlast_a_channel_still_count() {
    let mut cluster = with_seven_addresses();
    let mut now = Instant::ZERO;
    hanging_dials(&mut cluster, &mut now);
    cluster.handle_connected(MemberIndex(0), None, false);
    cluster.handle_disconnected(now, MemberIndex(0));
    assert_eq!(hanging_dials(&mut cluster, &mut now), 0);
    cluster.handle_dial_failed(now, MemberIndex(0));
    assert_eq!(hanging_dials(&mut cluster, &mut now), 1);
}

/// While dials are held back none begins and the timer does not wait for one; lookups and what else is due go on.
#[test]
fn dials_that_are_held_back_begin_when_they_may() {
    let mut cluster = with_seven_addresses();
    let mut now = Instant::ZERO;
    cluster.hold_dials(true);
    assert!(cluster.holds_dials());
    assert_eq!(hanging_dials(&mut cluster, &mut now), 0);
    assert_eq!(now, Instant::ZERO, "there is nothing to wait for");
    cluster.hold_dials(false);
    assert!(!cluster.holds_dials());
    assert!(matches!(poll_all(&mut cluster, now)[..], [Output::Dial { .. }]));
    // Also within a round.
    cluster.hold_dials(true);
    assert_eq!(hanging_dials(&mut cluster, &mut now), 0);
    assert_eq!(now, Instant::ZERO + LOOKUP_AFTER, "for the lookup, not for the next attempt");
    cluster.hold_dials(false);
    assert!(matches!(poll_all(&mut cluster, now)[..], [Output::Dial { .. }]));
}

#[test]
fn people_are_told_whether_and_why_not() {
    let nowhere = MemberConfig::new(public_key(3));
    let all = [record(1, 1, 1), record(2, 1, 2)].map(MemberConfig::from_lock);
    let mut cluster = new(&[all[0].clone(), all[1].clone(), nowhere]).unwrap();
    let [known, unknown] = [MemberIndex(0), MemberIndex(1)];
    let told = |cluster: &Cluster| [known, unknown].map(|index| cluster.member(index).reachability());
    assert_eq!(told(&cluster), [Reachability::Trying; 2]);
    // It was here before we began to dial.
    cluster.handle_connected(known, None, false);
    cluster.start(Instant::ZERO);
    let outputs = poll_all(&mut cluster, Instant::ZERO);
    assert_eq!(outputs, [Output::LookUp { member: unknown }, Output::Unreachable { member: unknown }]);
    assert_eq!(told(&cluster), [Reachability::Connected, Reachability::NoEndpoint]);
    // What the operator names is dialled at once.
    let hint = ([127, 0, 0, 9], 1).into();
    cluster.handle_hint(Instant::ZERO, unknown, hint);
    let endpoint = Endpoint { address: hint, origin: Origin::Hint };
    assert_eq!(poll_all(&mut cluster, Instant::ZERO), [Output::Dial { member: unknown, endpoint }]);
    // Who was removed is neither dialled nor counted.
    cluster.handle_disconnected(Instant::ZERO, known);
    cluster.remove(known);
    assert_eq!((cluster.next_timeout(), cluster.members().count()), (Some(Instant::ZERO + LOOKUP_AFTER), 1));
}

/// News that come soon after news wait a moment.
#[test]
fn a_second_record_is_dialled_a_moment_after_the_first() {
    let mut cluster = cluster();
    cluster.start(Instant::ZERO);
    poll_all(&mut cluster, Instant::ZERO);
    let now = Instant::from_millis(10_000);
    poll_all(&mut cluster, now);
    let dials = |cluster: &mut Cluster, now| {
        poll_all(cluster, now).into_iter().filter(|output| matches!(output, Output::Dial { .. })).count()
    };
    cluster.handle_record(now, &record(2, 2, 77), Origin::Exchanged);
    assert_eq!(dials(&mut cluster, now), 1);
    cluster.handle_record(now, &record(2, 3, 78), Origin::Exchanged);
    assert_eq!(dials(&mut cluster, now), 0);
    assert_eq!(dials(&mut cluster, now + DIAL_NEWS_INTERVAL), 1);
}

#[test]
fn origins_have_a_word_each() {
    let all = [
        Origin::Hint,
        Origin::Database,
        Origin::Discovered,
        Origin::Exchanged,
        Origin::Lock,
        Origin::Inbound,
    ];
    let words = all.map(|origin| std::format!("{origin:>8}"));
    assert_eq!(words, ["    hint", "database", "  discv5", "  member", "    lock", " inbound"]);
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
