//! What lookups are told of nodes, and when it is believed.

use std::{vec, vec::Vec};

use super::{
    messages::{Hand, nodes, opened},
    net::{Net, endpoint, identity, record},
};
use crate::{
    discovery::{
        Config, Event,
        message::{self, Message, WireId},
    },
    id::NodeId,
    limits::LOOKUP_PARALLEL,
    record::Record,
};

/// Node 0 with nobody to ask but the hand, and node 0's question in a lookup of `target`.
fn asked(target: NodeId) -> (Net, Hand, WireId) {
    let (mut net, hand) = opened();
    let node = &mut net.nodes[0].discovery;
    node.add_record(net.now, &hand.record, false).unwrap();
    node.own_lookup_at = None;
    let before = net.log.len();
    node.lookup(net.now, target).unwrap();
    net.run_ms(1);
    let heard = hand.heard(&net, before);
    let mut messages = heard.iter().map(|heard| Message::decode(heard).unwrap());
    let id = messages.find(|m| matches!(m, Message::FindNode { .. })).unwrap().id();
    (net, hand, id)
}

/// Says this of node `n`, though it did not sign it.
fn forged(n: u8, seq: u64, port: u16) -> Vec<u8> {
    let mut bytes = record(&identity(n), seq, endpoint(n, port)).as_bytes().to_vec();
    bytes[10] ^= 1;
    bytes
}

/// Beside this node.
fn beside(n: u8) -> NodeId {
    let mut id = identity(n).node_id();
    id.0[31] ^= 1;
    id
}

fn answer(id: WireId, records: &[&[u8]]) -> Vec<u8> {
    let mut buf = [0; 1280];
    let len = message::encode_nodes(&mut buf, id, 1, records.iter().copied()).unwrap();
    buf[..len].to_vec()
}

#[test]
fn a_forged_record_hides_nobody_and_leads_nowhere() {
    let honest = record(&identity(5), 1, endpoint(5, 9000));
    for order in 0..3 {
        let (mut net, mut hand, id) = asked(beside(5));
        net.add(5, endpoint(5, 9000), Config::default());
        let (lie, other) = (forged(5, 9, 666), forged(5, 8, 667));
        let told: [&[u8]; 3] = match order {
            0 => [&lie, honest.as_bytes(), &other],
            1 => [&lie, &other, honest.as_bytes()],
            _ => [honest.as_bytes(), &lie, &other],
        };
        hand.say(&mut net, &answer(id, &told));
        net.run_ms(10_000);
        let contacted = |port| net.log.iter().any(|(_, _, to, _)| *to == endpoint(5, port));
        assert!(contacted(9000) && !contacted(666) && !contacted(667), "order {order}");
        let counters = net.nodes[0].counters();
        assert_eq!(counters.record_invalid, 2, "order {order}");
        assert_eq!(net.nodes[0].discovery.record(&honest.node_id()), Some(&honest));
        let results: Vec<_> = net.results.iter().flat_map(|(_, ids)| ids.clone()).collect();
        assert!(results.contains(&honest.node_id()), "order {order}: {results:?}");
    }
}

#[test]
fn a_forged_record_alone_is_asked_nothing_and_is_no_result() {
    let (mut net, mut hand, id) = asked(beside(5));
    let lie = forged(5, 9, 666);
    hand.say(&mut net, &answer(id, &[&lie]));
    net.run_ms(10_000);
    assert!(net.log.iter().all(|(_, _, to, _)| *to != endpoint(5, 666)));
    assert!(net.nodes[0].discovery.record(&identity(5).node_id()).is_none());
    assert!(net.events(0).iter().any(|event| matches!(event, Event::LookupDone { .. })));
    assert!(net.results.iter().all(|(_, ids)| !ids.contains(&identity(5).node_id())));
}

#[test]
fn only_records_that_are_used_cost_a_check() {
    let peer = identity(20).node_id();
    let far: Vec<Record> = (30..100)
        .map(|n| record(&identity(n), 1, endpoint(n, 9000)))
        .filter(|record| peer.log_distance(&record.node_id()) == 256)
        .take(7)
        .collect();
    let mut target = far[0].node_id();
    target.0[31] ^= 1;
    let (mut net, mut hand, id) = asked(target);
    let before = net.nodes[0].counters().signature_checks;
    let all: Vec<_> = far.iter().collect();
    let told = nodes(id, 1, &all);
    hand.say(&mut net, &told);
    let checks = net.nodes[0].counters().signature_checks - before;
    assert_eq!(checks, LOOKUP_PARALLEL as u64, "of those who are asked now");
    // Nobody answers: all are asked in the end, each is checked once, and none is in the table.
    net.run_ms(25_000);
    assert_eq!(net.nodes[0].counters().signature_checks - before, 7);
    assert!(far.iter().all(|record| net.nodes[0].discovery.node(&record.node_id()).is_none()));
}

#[test]
fn a_lookup_waits_until_the_node_has_joined() {
    let mut net = Net::of(10);
    let boot = net.nodes[0].record();
    for node in &mut net.nodes[1..9] {
        node.discovery.add_record(net.now, &boot, false).unwrap();
    }
    net.run_ms(5_000);
    let node = &mut net.nodes[9].discovery;
    node.add_record(net.now, &boot, false).unwrap();
    node.lookup(net.now, NodeId([0x55; 32])).unwrap();
    net.run_ms(3_000);
    let found: Vec<_> = net.results.iter().map(|(_, ids)| ids.len()).collect();
    assert_eq!(found, vec![9]);
    // Where nobody answers it ends all the same.
    let mut alone = Net::of(1);
    let dead = record(&identity(50), 1, endpoint(50, 1));
    alone.nodes[0].discovery.add_record(alone.now, &dead, false).unwrap();
    alone.nodes[0].discovery.lookup(alone.now, NodeId([0x55; 32])).unwrap();
    alone.run_ms(20_000);
    assert_eq!(alone.results.len(), 1);
}
