//! The routing table against a ledger: for every node which record counts, whether it answered where that says, and
//! whether it may leave. Who gets a place is the table's affair; what the places may hold is judged after every step.

use core::{net::SocketAddr, time::Duration};
use std::{collections::BTreeMap, vec::Vec};

use proptest::prelude::*;

use crate::{
    crypto::{Identity, RustCrypto, SecretKey},
    discovery::{
        Config, RecordSource,
        peer::prefix,
        table::{ENTRIES, Offered, SPARES, Table},
    },
    id::NodeId,
    limits::{BUCKET_SIZE, BUCKET_SPARES, BUCKETS, INBOUND_PER_BUCKET, PREFIX_PER_BUCKET, PREFIX_PER_TABLE},
    record::{Builder, Record},
    rng::{Rng, Seed},
    time::Instant,
};

/// Nodes: the first third in a private network, the second in three networks, each of the last in its own.
const NODES: u8 = 60;
const PRIVATE: u8 = 12;
const CROWDED: u8 = 40;

#[derive(Clone, Debug)]
enum Step {
    Keep {
        n: u8,
        seq: u64,
        place: u8,
        member: bool,
    },
    /// Told by another, or by itself, from where that record says or from elsewhere.
    Offer {
        n: u8,
        seq: u64,
        place: u8,
        by: Option<u8>,
        elsewhere: bool,
    },
    Pong {
        n: u8,
        place: u8,
    },
    Silence {
        n: u8,
        place: u8,
    },
    Seen {
        n: u8,
        place: u8,
    },
    Remove {
        n: u8,
    },
    /// Every seed but those in this residue class modulo three is a seed no longer.
    Release {
        stay: u8,
    },
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (n, seq, place) = (0..NODES, 1..5u64, 0..3u8);
    let at = (n.clone(), place.clone());
    prop_oneof![
        1 => (n.clone(), seq.clone(), place.clone(), any::<bool>())
            .prop_map(|(n, seq, place, member)| Step::Keep { n, seq, place, member }),
        10 => (n.clone(), seq, place, proptest::option::of(0..NODES), proptest::bool::weighted(0.1))
            .prop_map(|(n, seq, place, by, elsewhere)| Step::Offer { n, seq, place, by, elsewhere }),
        10 => at.clone().prop_map(|(n, place)| Step::Pong { n, place }),
        3 => at.clone().prop_map(|(n, place)| Step::Silence { n, place }),
        2 => at.prop_map(|(n, place)| Step::Seen { n, place }),
        1 => n.prop_map(|n| Step::Remove { n }),
        1 => (0..3u8).prop_map(|stay| Step::Release { stay }),
        2 => (0..200_000u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// Where a node is with this `place`.
fn endpoint(n: u8, place: u8) -> SocketAddr {
    let port = 9000 + u16::from(place);
    match n {
        ..PRIVATE => ([10, 0, place, n + 1], port),
        PRIVATE..CROWDED => ([9, 9, (n + place) % 3, n + 1], port),
        // With its last place it comes into the crowd.
        _ if place == 2 => ([9, 9, 0, n + 1], port),
        _ => ([20, n, place, 1], port),
    }
    .into()
}

/// Identities, and the records that were needed so far.
#[derive(Default)]
struct People {
    identities: Vec<Identity<RustCrypto>>,
    records: BTreeMap<(u8, u64, u8), Record>,
}

impl People {
    fn new() -> Self {
        let identity = |n| Identity::new(RustCrypto, SecretKey::from_bytes(&[n + 1; 32]).unwrap());
        Self { identities: (0..NODES).map(identity).collect(), records: BTreeMap::new() }
    }

    fn id(&self, n: u8) -> NodeId {
        self.identities[usize::from(n)].node_id()
    }

    fn record(&mut self, n: u8, seq: u64, place: u8) -> Record {
        let Self { identities, records } = self;
        let make = || {
            let mut builder = Builder::new();
            let SocketAddr::V4(at) = endpoint(n, place) else { panic!("all are IPv4") };
            builder.set_ip4(Some(*at.ip())).unwrap().set_udp4(Some(at.port())).unwrap();
            builder.sign(seq, &identities[usize::from(n)]).unwrap()
        };
        records.entry((n, seq, place)).or_insert_with(make).clone()
    }
}

/// What must be so of a node that is in the table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    place: u8,
    kept: bool,
    member: bool,
    /// It answered where its record says, and not since then in vain.
    alive: bool,
}

struct World {
    people: People,
    table: Table,
    rng: Rng,
    now: Instant,
    local: NodeId,
    ledger: BTreeMap<u8, Entry>,
}

impl World {
    fn new(people: People) -> Self {
        let mut rng = Seed::new([4; 32]).stream("table");
        let local = NodeId([0x5a; 32]);
        // So few places that the table itself is full at times.
        let config = Config { nodes: 40, ..Config::default() };
        let table = Table::new(&config, local, &mut rng);
        Self { people, table, rng, now: Instant::from_millis(1), local, ledger: BTreeMap::new() }
    }

    fn bucket(&self, n: u8) -> usize {
        self.table.bucket(&self.people.id(n))
    }

    fn present(&self, n: u8) -> bool {
        self.table.find(&self.people.id(n)).is_some()
    }

    /// How many nodes that are not kept, `n` aside, count for the network of `at`: in the table, and in the bucket.
    fn crowd(&self, at: SocketAddr, bucket: usize, n: u8) -> (usize, usize) {
        let net = prefix(at.ip());
        let alike = self.ledger.iter().filter(|(other, entry)| {
            let own = endpoint(**other, entry.place);
            **other != n && **other >= PRIVATE && !entry.kept && prefix(own.ip()) == net
        });
        let all: Vec<u8> = alike.map(|(other, _)| *other).collect();
        (all.len(), all.iter().filter(|other| self.bucket(**other) == bucket).count())
    }

    fn apply(&mut self, step: &Step) {
        let before: Vec<u8> = self.ledger.keys().copied().collect();
        let mut may_leave = None;
        match *step {
            Step::Keep { n, seq, place, member } => self.keep(n, seq, place, member),
            Step::Offer { n, seq, place, by, elsewhere } => {
                may_leave = self.offer(n, seq, place, by, elsewhere).then_some(n);
            }
            Step::Pong { n, place } => {
                let (id, at) = (self.people.id(n), endpoint(n, place));
                let checked = self.table.answered(&id, at, None, self.now, &mut self.rng);
                assert_eq!(checked.node.is_some(), self.ledger.contains_key(&n));
                if let Some(entry) = self.ledger.get_mut(&n) {
                    entry.alive |= entry.place == place;
                }
            }
            Step::Silence { n, place } => self.silence(n, place),
            Step::Seen { n, place } => {
                self.table.seen_at(&self.people.id(n), endpoint(n, place), self.now, &mut self.rng);
            }
            Step::Remove { n } => {
                self.table.remove(&self.people.id(n));
                self.ledger.remove(&n);
            }
            Step::Release { stay } => {
                let stays: Vec<_> = (0..NODES).filter(|n| n % 3 == stay).map(|n| self.people.id(n)).collect();
                self.table.release_seeds(|id| stays.contains(id));
                for n in before.iter().filter(|n| **n % 3 != stay) {
                    let there = self.present(*n);
                    let Some(entry) = self.ledger.get_mut(n).filter(|e| e.kept && !e.member) else {
                        continue;
                    };
                    entry.kept = false;
                    if !there {
                        self.ledger.remove(n);
                    }
                }
            }
            Step::Pass { ms } => self.pass(ms),
        }
        self.judge(&before, may_leave);
    }

    fn keep(&mut self, n: u8, seq: u64, place: u8, member: bool) {
        let record = self.people.record(n, seq, place);
        let offered = self.table.keep(&record, member, self.now, &mut self.rng);
        let known = self.ledger.get(&n).copied();
        if offered == Offered::Refused {
            assert!(known.is_none() && self.table.len() == 40, "only a full table refuses");
            return;
        }
        let member = member || known.is_some_and(|known| known.member);
        self.take(n, seq, place, offered);
        let entry = self.ledger.get_mut(&n).unwrap();
        (entry.kept, entry.member) = (true, member);
    }

    /// Whether a place was given to a newcomer, so that another may have had to leave.
    fn offer(&mut self, n: u8, seq: u64, place: u8, by: Option<u8>, elsewhere: bool) -> bool {
        let record = self.people.record(n, seq, place);
        let at = if elsewhere { ([30, 1, 1, 1], 1).into() } else { endpoint(n, place) };
        let source = by.map_or(RecordSource::Handshake, |by| RecordSource::Relayed(self.people.id(by)));
        let known = self.ledger.contains_key(&n);
        let offered = self.table.offer(&record, source, at, self.now, &mut self.rng);
        match offered {
            Offered::Unproven => assert!(!known && by.is_none() && elsewhere),
            Offered::PrefixLimit => {
                let crowd = self.crowd(endpoint(n, place), self.bucket(n), n);
                assert!(crowd.0 >= PREFIX_PER_TABLE || crowd.1 >= PREFIX_PER_BUCKET, "{crowd:?}");
                assert!(!self.ledger.get(&n).is_some_and(|entry| entry.kept));
                self.ledger.remove(&n);
            }
            Offered::Refused => assert!(!known),
            _ => self.take(n, seq, place, offered),
        }
        !known && matches!(offered, Offered::Taken(_))
    }

    /// What a record must come to, by its number and content.
    fn take(&mut self, n: u8, seq: u64, place: u8, offered: Offered) {
        let Some(known) = self.ledger.get_mut(&n) else {
            assert!(matches!(offered, Offered::Taken(_)), "{offered:?}");
            let entry = Entry { seq, place, kept: false, member: false, alive: false };
            self.ledger.insert(n, entry);
            return;
        };
        let expected = match seq.cmp(&known.seq) {
            core::cmp::Ordering::Greater => matches!(offered, Offered::Taken(_)),
            core::cmp::Ordering::Equal if known.place != place => offered == Offered::Equivocation,
            _ => matches!(offered, Offered::Known(_)),
        };
        assert!(expected, "{offered:?} for {seq} over {known:?}");
        if seq > known.seq {
            known.alive &= known.place == place;
            (known.seq, known.place) = (seq, place);
        }
    }

    fn silence(&mut self, n: u8, place: u8) {
        let (id, at) = (self.people.id(n), endpoint(n, place));
        self.table.failed(&id, at, self.now, &mut self.rng);
        let there = self.present(n);
        let Some(entry) = self.ledger.get_mut(&n) else { return };
        // At its record's endpoint, or the last at which it answered.
        let contact = self.table.find(&id).and_then(|node| node.contact) == Some(at);
        assert!(there || !entry.kept, "a kept node never leaves");
        if entry.kept && (entry.place == place || contact) {
            entry.alive = false;
        }
        if !there {
            self.ledger.remove(&n);
        }
    }

    /// Time passes: every check that is due begins, where there is somewhere to ask.
    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        let mut last = None;
        while let Some(key) = self.table.due(self.now) {
            assert_ne!(last.replace(key), Some(key), "once");
            let contact = self.table.check_contact(key).unwrap();
            let n = (0..NODES).find(|n| self.people.id(*n) == contact.peer.id).unwrap();
            let asked = (0..3).any(|place| endpoint(n, place) == contact.peer.endpoint);
            assert!(asked, "nobody is asked where it never was");
            self.table.checking(key);
        }
    }

    fn judge(&self, before: &[u8], may_leave: Option<u8>) {
        // Only for a newcomer of its own bucket, or of any when the table is full, and only one.
        let left: Vec<u8> =
            before.iter().filter(|n| self.ledger.contains_key(n) && !self.present(**n)).copied().collect();
        assert!(left.len() <= usize::from(may_leave.is_some()), "{left:?} left");
        assert!(left.iter().all(|n| !self.ledger[n].kept && !self.ledger[n].alive));
    }

    /// Takes note of who made room, and looks at everything.
    fn settle(&mut self) {
        let Self { people, table, ledger, .. } = self;
        ledger.retain(|n, _| table.find(&people.id(*n)).is_some());
        assert_eq!(self.table.len(), self.ledger.len());
        for (n, entry) in &self.ledger {
            let (key, node) = self.table.entry(&self.people.id(*n)).unwrap();
            let at = endpoint(*n, entry.place);
            assert_eq!((node.record.seq(), node.record.udp_endpoints().next()), (entry.seq, Some(at)));
            assert_eq!(
                (node.kept, node.member, node.verified()),
                (entry.kept, entry.member, entry.alive),
                "{n}"
            );
            let scheduled = self.table.checks.of(key.index()).is_some() || node.checking;
            assert!(scheduled || !(entry.kept || entry.alive), "{n} would never be checked again");
            if *n >= PRIVATE && !entry.kept {
                let (all, in_bucket) = self.crowd(at, self.bucket(*n), *n);
                assert!(all < PREFIX_PER_TABLE && in_bucket < PREFIX_PER_BUCKET, "{n}: {all}, {in_bucket}");
            }
        }
        for bucket in 0..BUCKETS {
            let in_list =
                |kind: usize| self.table.lists.iter(kind + bucket).filter_map(|at| self.table.key_at(at));
            let entries: Vec<_> = in_list(ENTRIES).filter_map(|key| self.table.get(key)).collect();
            assert!(entries.len() <= BUCKET_SIZE && in_list(SPARES).count() <= BUCKET_SPARES);
            let global = |at: SocketAddr| self.table.limited(at.ip());
            let came = entries.iter().filter(|e| e.inbound && e.record.udp_endpoints().all(global)).count();
            assert!(came <= INBOUND_PER_BUCKET);
        }
        self.judge_relaying();
    }

    /// Who is told to a stranger on the Internet, and to a neighbour: who answered, whatever it is.
    fn judge_relaying(&self) {
        for (to, near) in [([8, 8, 8, 8], false), ([10, 9, 9, 9], true)] {
            let told = (1..=256).flat_map(|distance| {
                let relayed = self.table.relayable(distance, to.into());
                relayed.map(move |(_, node)| (distance, node.record.node_id()))
            });
            for (distance, id) in told {
                let n = (0..NODES).find(|n| self.people.id(*n) == id).unwrap();
                assert!(self.ledger[&n].alive && (near || n >= PRIVATE), "{n}");
                assert_eq!(distance, self.local.log_distance(&id));
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::testing::cases(8))]

    #[test]
    fn the_table_is_as_in_the_ledger(steps in proptest::collection::vec(step(), 1..250)) {
        let mut world = World::new(People::new());
        for step in &steps {
            world.apply(step);
            world.settle();
        }
    }
}
