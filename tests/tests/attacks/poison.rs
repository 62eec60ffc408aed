//! Answers to FINDNODE that lie in every way.

use std::net::SocketAddr;

use coracle_core::limits::MAX_NODES_RECORDS;
use coracle_tests::raw_peer::{
    PeerRecord, Puppet, RawPeer, bytes_of, log_distance, record_of as peer_record,
};

use crate::{
    size,
    table::{self, row},
    world::{Cx, Foe, Order, PORT, add_foe, add_node, foe, node, record_of, run, world},
};

const NODE: [u8; 4] = [80, 1, 1, 1];
const HONEST: u8 = 8;
/// Where nobody may be sent by anybody's word.
const NEVER: [[u8; 4]; 6] =
    [[10, 0, 0, 9], [192, 168, 1, 1], [127, 0, 0, 1], [224, 0, 0, 1], [0, 0, 0, 0], [169, 254, 1, 1]];
/// Networks of the liars.
const LIARS: u8 = 6;

fn honest(n: u8) -> [u8; 4] {
    [90 + n, 7, 7, 7]
}

fn liar_at(n: u8) -> SocketAddr {
    SocketAddr::from(([60 + n, 6, 6, 6], PORT))
}

/// Liars, each in a network of its own, whose answers are poisoned.
struct Liars {
    node: PeerRecord,
    liars: Vec<Puppet>,
    /// Records that are wrong, each in one way.
    poison: Vec<(PeerRecord, Vec<u8>)>,
    records: u64,
    turn: usize,
}

impl Liars {
    fn new() -> Self {
        let node = peer_record(record_of(1, NODE).as_bytes()).unwrap();
        let mut liars: Vec<_> = (0..LIARS).map(|n| Puppet::new(u16::from(n), liar_at(n))).collect();
        liars[0].fickle = true;
        let mut poison = Vec::new();
        for n in 0..HONEST {
            // A higher number than the owner's, and another endpoint: with the old signature.
            let own = record_of(10 + n, honest(n));
            let true_record = peer_record(own.as_bytes()).unwrap();
            let mut forged = RawPeer::new(10 + n);
            forged.set_record(99, Some(liar_at(0)));
            let mut bytes = bytes_of(forged.record());
            // The signature comes first: two bytes of header each for the list and for it.
            bytes[10] ^= 1;
            poison.push((true_record, bytes));
        }
        for n in 0..120_u16 {
            // Signed well, and at an address that the liar cannot know or that is nobody's.
            let ip = NEVER[usize::from(n) % NEVER.len()];
            let puppet = Puppet::new(1_000 + n, SocketAddr::from((ip, 1 + n)));
            poison.push((puppet.peer.record().clone(), puppet.record()));
        }
        for n in 0..60_u16 {
            // Signed well, then a bit is wrong.
            let puppet = Puppet::new(2_000 + n, SocketAddr::from(([70, 7, n as u8, 7], 9)));
            let mut bytes = puppet.record();
            let at = 4 + usize::from(n) % 64;
            bytes[at] ^= 1 << (n % 8);
            poison.push((puppet.peer.record().clone(), bytes));
        }
        Self { node, liars, poison, records: 0, turn: 0 }
    }
}

impl Foe for Liars {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        for liar in &mut self.liars {
            let bytes = liar.begin(&self.node);
            cx.send(liar.at, (NODE, PORT).into(), &bytes);
        }
        None
    }

    fn hear(&mut self, cx: &mut Cx<'_>, local: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let Some(liar) = self.liars.iter_mut().find(|liar| liar.at == local) else { return };
        if from != SocketAddr::from((NODE, PORT)) {
            return;
        }
        self.turn += 1;
        let (turn, poison, mut told) = (self.turn, &self.poison, 0);
        let answers = liar.hear(&self.node, bytes, |liar, distances| {
            let own = liar.peer.id();
            let fits = |record: &PeerRecord| distances.contains(&log_distance(&own, &record.node_id().raw()));
            // Of every three answers one is at distances that nobody asked for; all are too many packets.
            let wanted = poison.iter().filter(|(record, _)| fits(record) != (turn % 3 == 0));
            let records: Vec<_> =
                wanted.cycle().skip(turn * 5).take(24).map(|(_, bytes)| bytes.clone()).collect();
            told = records.len() as u64;
            records.chunks(3).map(<[_]>::to_vec).take(if turn % 2 == 0 { 5 } else { 8 }).collect()
        });
        self.records += told;
        for answer in answers {
            cx.send(local, from, &answer);
        }
    }

    fn count(&self, _what: &str) -> u64 {
        self.records
    }
}

#[test]
fn poisoned_answers() {
    let mut world = world(6);
    let addresses = (0..LIARS).map(|n| [60 + n, 6, 6, 6]).collect();
    let first = record_of(10, honest(0));
    for n in 0..HONEST {
        let known = if n == 0 { record_of(11, honest(1)) } else { first.clone() };
        add_node(&mut world, 10 + n, honest(n), vec![Order::Add(known, false)]);
    }
    let liars = Liars::new();
    let kept: Vec<_> = liars.liars.iter().map(|liar| liar.record()).collect();
    let mut at_start = vec![Order::Add(first, false)];
    for bytes in kept {
        let record = coracle_core::record::Record::decode(&bytes, &coracle_core::crypto::RustCrypto).unwrap();
        at_start.push(Order::Add(record, false));
    }
    let at = add_node(&mut world, 1, NODE, at_start);
    let liars = add_foe(&mut world, addresses, vec![PORT], liars);
    run(&mut world, 3_000);
    let mut lookups = 0;
    for _ in 0..size(3, 40) {
        for n in 0..HONEST {
            world.command(at, Order::LookUp(record_of(10 + n, honest(n)).node_id()));
            run(&mut world, 4_000);
            lookups += 1;
        }
    }
    let node = node(&world, at);
    let found = node.told.found.iter().filter(|(_, seq)| *seq == Some(1)).count() as u64;
    let told = foe(&world, liars).count("records");
    table::print(
        "poisoned NODES (records)",
        told,
        node,
        &[row("honest nodes found by lookups", found, lookups)],
    );
    assert_eq!(found, lookups);
    let counters = node.counters();
    assert!(counters.record_invalid > 0 && counters.record_scope > 0 && counters.record_distance > 0);
    // Of an answer with too many packets the last come after it ended.
    assert!(counters.nodes_packet > 0 && counters.unsolicited_response > 0);
    // Nobody went where only a lie points: neither a packet nor a place in the table.
    for ip in NEVER {
        assert!(node.ledger.accounts.keys().all(|to| to.ip() != std::net::IpAddr::from(ip)), "{ip:?}");
    }
    for view in node.discovery.nodes() {
        assert_eq!(view.record.seq(), 1, "{:?}", view.record);
    }
    assert_eq!(node.discovery.node_count(), usize::from(HONEST + LIARS));
    // No packet makes us check more signatures than an answer may have records.
    assert!(node.meter.worst.checks <= MAX_NODES_RECORDS as u64, "{:?}", node.meter.worst);
    assert_eq!((node.meter.allocations, node.meter.above), (0, 0));
}
