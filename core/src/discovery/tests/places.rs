//! Who gets a place in the table, and what a lookup may be asked for.

use core::net::SocketAddr;
use std::{vec, vec::Vec};

use super::net::{Net, endpoint, identity, record};
use crate::{
    crypto::{Identity, RustCrypto, SecretKey},
    discovery::{
        Config, Event, LookupOptions, RecordSource, Wanted,
        table::{ENTRIES, Offered, Table},
    },
    id::NodeId,
    limits::{BUCKET_SIZE, INBOUND_PER_BUCKET, LOOKUP_NEAREST, PREFIX_PER_BUCKET},
    record::{Builder, Record},
    rng::{Rng, Seed},
    time::Instant,
};

const NOW: Instant = Instant::from_millis(5);

fn rng() -> Rng {
    Seed::new([3; 32]).stream("places")
}

fn table() -> (Table, NodeId) {
    let local = identity(0).node_id();
    (Table::new(&Config::default(), local, &mut rng()), local)
}

/// Identities in the farthest bucket of `local`.
fn far(local: NodeId) -> impl Iterator<Item = Identity<RustCrypto>> {
    let all = (1_u16..).map(|n| {
        let mut key = [7; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        Identity::new(RustCrypto, SecretKey::from_bytes(&key).unwrap())
    });
    all.filter(move |identity| local.log_distance(&identity.node_id()) == 256)
}

fn at(n: u8, host: u8) -> SocketAddr {
    SocketAddr::from(([9, 9, n, host], 9000))
}

/// Offers a record as its owner would, and lets it answer a PING.
fn comes(table: &mut Table, identity: &Identity<RustCrypto>, seq: u64, from: SocketAddr) -> Offered {
    let offered = table.offer(&record(identity, seq, from), RecordSource::Handshake, from, NOW, &mut rng());
    if matches!(offered, Offered::Taken(_)) {
        table.answered(&identity.node_id(), from, None, NOW, &mut rng());
    }
    offered
}

#[test]
fn a_record_that_changes_does_not_go_round_the_prefix_limit() {
    let (mut table, local) = table();
    let ids: Vec<_> = far(local).take(6).collect();
    for (n, identity) in ids.iter().enumerate() {
        assert!(matches!(comes(&mut table, identity, 1, at(n as u8, 1)), Offered::Taken(_)));
    }
    // All of them move into one network: two find a place there, the others leave.
    let moved: Vec<_> = ids.iter().map(|identity| comes(&mut table, identity, 2, at(100, 1))).collect();
    let taken = moved.iter().filter(|offered| matches!(offered, Offered::Taken(_))).count();
    assert_eq!((taken, table.len()), (PREFIX_PER_BUCKET, PREFIX_PER_BUCKET));
    assert!(moved[PREFIX_PER_BUCKET..].iter().all(|offered| *offered == Offered::PrefixLimit));
    // They left room where they came from, and the two leave it when they go.
    assert!(matches!(comes(&mut table, &ids[5], 3, at(0, 1)), Offered::Taken(_)));
    table.remove(&ids[0].node_id());
    assert!(matches!(comes(&mut table, &ids[4], 3, at(100, 9)), Offered::Taken(_)));
    // A member is exempt, and does not count.
    for identity in &ids[..3] {
        table.keep(&record(identity, 9, at(100, 7)), true, NOW, &mut rng());
    }
    assert!(table.len() >= 5);
}

#[test]
fn every_endpoint_counts_for_its_prefix() {
    let (mut table, local) = table();
    let taken = far(local).take(8).enumerate().filter(|(n, identity)| {
        // Far apart in IPv4, where nobody is; all in one IPv6 network.
        let mut builder = Builder::new();
        builder.set_ip4(Some([9, *n as u8, 9, 9].into())).unwrap().set_udp4(Some(1)).unwrap();
        let ip6 = std::format!("2a00:1:2::{n}").parse().unwrap();
        builder.set_ip6(Some(ip6)).unwrap().set_udp6(Some(9)).unwrap();
        let record = builder.sign(1, identity).unwrap();
        let from = SocketAddr::from((ip6, 9));
        matches!(table.offer(&record, RecordSource::Handshake, from, NOW, &mut rng()), Offered::Taken(_))
    });
    assert_eq!(taken.count(), PREFIX_PER_BUCKET);
}

#[test]
fn those_who_came_get_a_part_of_a_bucket() {
    let (mut table, local) = table();
    let ids: Vec<_> = far(local).take(40).collect();
    for (n, identity) in ids[..14].iter().enumerate() {
        comes(&mut table, identity, 1, at(n as u8, 1));
    }
    assert_eq!(table.lists.len(ENTRIES), INBOUND_PER_BUCKET);
    // Those whom others told of take the rest.
    let teller = table.keep(&record(&ids[39], 1, at(200, 1)), false, NOW, &mut rng());
    assert!(matches!(teller, Offered::Taken(_)));
    let told = RecordSource::Relayed(ids[39].node_id());
    for (n, identity) in ids[14..34].iter().enumerate() {
        let place = at(50 + n as u8, 1);
        table.offer(&record(identity, 1, place), told, at(200, 1), NOW, &mut rng());
        table.answered(&identity.node_id(), place, None, NOW, &mut rng());
    }
    assert_eq!(table.lists.len(ENTRIES), BUCKET_SIZE);
    // Nobody who is there leaves for a newcomer, however many come.
    assert!(ids[..INBOUND_PER_BUCKET].iter().all(|identity| table.find(&identity.node_id()).is_some()));
}

#[test]
fn each_endpoint_is_verified_by_itself() {
    let (mut table, local) = table();
    let identity = far(local).next().unwrap();
    let (v4, v6) = (at(1, 1), SocketAddr::from(("2a00:1:2::3".parse::<core::net::Ipv6Addr>().unwrap(), 9)));
    let mut builder = Builder::new();
    builder.set_ip4(Some([9, 9, 1, 1].into())).unwrap().set_udp4(Some(9000)).unwrap();
    builder.set_ip6(Some("2a00:1:2::3".parse().unwrap())).unwrap().set_udp6(Some(9)).unwrap();
    let both = builder.sign(1, &identity).unwrap();
    table.offer(&both, RecordSource::Handshake, v4, NOW, &mut rng());
    let told = |table: &Table, to: SocketAddr| table.relayable(256, to.ip()).count();
    assert_eq!((told(&table, v4), told(&table, v6)), (0, 0));
    table.answered(&identity.node_id(), v4, None, NOW, &mut rng());
    assert_eq!((told(&table, v4), told(&table, v6)), (1, 0), "nobody is sent to an endpoint that is silent");
    // It is asked there too; that it does not answer there is no failure.
    let key = table.entry(&identity.node_id()).unwrap().0;
    let asked: Vec<_> = (0..4).map(|_| table.check_contact(key).unwrap().peer.endpoint).collect();
    assert!(asked.contains(&v4) && asked.contains(&v6));
    for _ in 0..9 {
        assert!(table.failed(&identity.node_id(), v6, NOW, &mut rng()).is_some());
    }
    assert_eq!(told(&table, v4), 1);
    table.answered(&identity.node_id(), v6, None, NOW, &mut rng());
    assert_eq!((told(&table, v4), told(&table, v6)), (1, 1));
    // Of a record that moves one of them, only that one has to answer again.
    builder.set_ip4(Some([9, 9, 1, 2].into())).unwrap();
    table.offer(&builder.sign(2, &identity).unwrap(), RecordSource::Owner, v6, NOW, &mut rng());
    assert_eq!((told(&table, v4), told(&table, v6)), (0, 1));
}

#[test]
fn seeds_are_swapped_while_running() {
    let mut net = Net::of(4);
    let records: Vec<Record> = net.nodes.iter().map(|node| node.record()).collect();
    let (now, own) = (net.now, &mut net.nodes[0].discovery);
    own.set_seeds(now, &records[..2]).unwrap();
    own.add_record(now, &records[3], true).unwrap();
    net.run_ms(3_000);
    let kept = |net: &Net, n: usize| {
        net.nodes[0].discovery.table.find(&records[n].node_id()).is_some_and(|node| node.kept)
    };
    assert_eq!([1, 2, 3].map(|n| kept(&net, n)), [true, false, true]);
    net.nodes[0].discovery.set_seeds(net.now, &records[2..3]).unwrap();
    assert_eq!([1, 2, 3].map(|n| kept(&net, n)), [false, true, true]);
    // It stays in the table as long as it lives.
    net.run_ms(3_000);
    assert!([1, 2, 3].iter().all(|n| net.nodes[0].discovery.node(&records[*n].node_id()).unwrap().verified));
    net.stop(1);
    net.run_ms(3_600_000);
    assert!(net.nodes[0].discovery.node(&records[1].node_id()).is_none());
}

#[test]
fn the_bucket_refreshed_least_recently_is_next() {
    let mut net = Net::of(2);
    let other = net.nodes[1].record();
    net.nodes[0].discovery.add_record(net.now, &other, true).unwrap();
    net.run_ms(24 * 1_000_000);
    // 24 refreshes and more: every bucket had its turn.
    let discovery = &net.nodes[0].discovery;
    assert!(discovery.refreshed.iter().all(|at| *at > Instant::ZERO), "{:?}", discovery.refreshed);
}

/// Twelve nodes that know each other through one; node 3 counts nodes 0 to 2 as members.
fn network() -> (Net, Vec<Record>) {
    let mut net = Net::of(12);
    let records: Vec<Record> = net.nodes.iter().map(|node| node.record()).collect();
    for i in 1..12 {
        net.nodes[i].discovery.add_record(net.now, &records[0], false).unwrap();
    }
    for member in &records[..3] {
        net.nodes[3].discovery.add_record(net.now, member, true).unwrap();
    }
    net.run_ms(5_000);
    (net, records)
}

/// What a lookup of node 3 gathered, and how many nodes answered.
fn gathered(net: &mut Net, options: LookupOptions) -> (Vec<NodeId>, usize) {
    net.events(3);
    let target = NodeId([0x55; 32]);
    let id = net.nodes[3].discovery.lookup_with(net.now, target, options).unwrap();
    for _ in 0..100 {
        net.run_ms(50);
        let done = net.nodes[3].events.iter().find_map(|event| match event {
            Event::LookupDone { lookup, answered, .. } if *lookup == id => Some(*answered),
            _ => None,
        });
        if let Some(answered) = done {
            let results = net.results.iter().find(|(lookup, _)| *lookup == id).map(|(_, ids)| ids.clone());
            return (results.unwrap_or_default(), answered);
        }
    }
    panic!("the lookup did not end");
}

#[test]
fn lookups_gather_whom_they_are_for() {
    let (mut net, records) = network();
    let mut all: Vec<_> = records.iter().map(Record::node_id).collect();
    all.retain(|id| *id != records[3].node_id());
    let (found, answered) = gathered(&mut net, LookupOptions::default());
    let target = NodeId([0x55; 32]);
    assert!(found.is_sorted_by_key(|id| target.xor(id)));
    // All that it heard of, the one that it asked first included.
    assert!(found.len() >= 9 && answered >= LOOKUP_NEAREST, "{found:?}");
    assert!(found.iter().all(|id| all.contains(id)) && found.contains(&all[0]));
    let options = LookupOptions { wanted: Wanted::Members, ..LookupOptions::default() };
    let mut members = gathered(&mut net, options).0;
    members.sort_by_key(|id| id.0);
    let mut wanted: Vec<_> = records[..3].iter().map(Record::node_id).collect();
    wanted.sort_by_key(|id| id.0);
    assert_eq!(members, wanted);
    let options = LookupOptions {
        wanted: Wanted::Matching(|record| record.udp_endpoints().next() == Some(endpoint(7, 9000))),
        enough: Some(1),
        ..LookupOptions::default()
    };
    let (one, answered) = gathered(&mut net, options);
    assert_eq!(one, vec![records[7].node_id()]);
    assert!(answered < 11, "it stopped early: {answered}");
    let options = LookupOptions { paths: 3, ..LookupOptions::default() };
    assert!(gathered(&mut net, options).0.len() >= 9);
}
