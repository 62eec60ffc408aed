//! After `Discovery::new` the machine allocates nothing: four nodes handshake, look each other up,
//! move and lose packets for a quarter of an hour under a counting allocator.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    discovery::{Config, Discovery, Event},
    limits::MAX_PACKET_SIZE,
    record::{Builder, Record},
    rng::Seed,
    time::Instant,
};

struct Node {
    identity: Identity<RustCrypto>,
    discovery: Discovery,
    endpoint: SocketAddr,
}

type Packet = (SocketAddr, SocketAddr, usize, [u8; MAX_PACKET_SIZE]);

fn record(identity: &Identity<RustCrypto>, seq: u64, endpoint: SocketAddr) -> Record {
    let SocketAddr::V4(to) = endpoint else { panic!("IPv4 only here") };
    let mut builder = Builder::new();
    builder.set_ip4(Some(*to.ip())).unwrap().set_udp4(Some(to.port())).unwrap();
    builder.sign(seq, identity).unwrap()
}

/// Lets everything due at `now` happen. Packets arrive at once; every seventh is lost.
fn settle(nodes: &mut [Node], flying: &mut VecDeque<Packet>, now: Instant, events: &mut [usize; 3]) {
    let mut count = 0_usize;
    loop {
        for node in nodes.iter_mut() {
            let mut buf = [0; MAX_PACKET_SIZE];
            while let Some((to, len)) = node.discovery.poll_transmit(&node.identity, now, &mut buf) {
                count += 1;
                if !count.is_multiple_of(7) {
                    assert!(flying.len() < flying.capacity(), "the test's own queue must not grow");
                    flying.push_back((node.endpoint, to, len, buf));
                }
            }
            while let Some(event) = node.discovery.poll_event() {
                match event {
                    Event::Pong { .. } | Event::Reachable { .. } => events[0] += 1,
                    Event::LookupDone { .. } => events[1] += 1,
                    Event::TalkRequest { id, .. } => node.discovery.respond_talk(id, b"answer").unwrap(),
                    Event::TalkResponse { request, .. } => {
                        assert_eq!(node.discovery.talk_response(request), Some(&b"answer"[..]));
                        events[2] += 1;
                    }
                    _ => {}
                }
            }
        }
        let Some((from, to, len, mut bytes)) = flying.pop_front() else { return };
        if let Some(node) = nodes.iter_mut().find(|node| node.endpoint == to) {
            node.discovery.handle_datagram(&node.identity, now, from, &mut bytes[..len]);
        }
    }
}

fn a_while(nodes: &mut [Node], flying: &mut VecDeque<Packet>) -> [usize; 3] {
    let mut now = Instant::from_millis(1);
    let mut events = [0; 3];
    let mut seq = 1;
    for turn in 0..900_u64 {
        let (a, b) = ((turn % 4) as usize, (turn / 4 % 4) as usize);
        let target = nodes[b].identity.node_id();
        let discovery = &mut nodes[a].discovery;
        // To itself, or while too much is under way, it is refused; that allocates nothing either.
        let _ = discovery.talk(now, target, b"test", b"question");
        if turn.is_multiple_of(5) {
            let _ = discovery.lookup(now, target);
        }
        if turn.is_multiple_of(150) {
            seq += 1;
            let endpoint = SocketAddr::from(([127, 0, 0, a as u8 + 1], 9000 + seq as u16));
            let newer = record(&nodes[a].identity, seq, endpoint);
            nodes[a].endpoint = endpoint;
            nodes[a].discovery.set_local_record(now, &newer);
        }
        let end = now + Duration::from_secs(1);
        loop {
            settle(nodes, flying, now, &mut events);
            let next = nodes.iter().filter_map(|node| node.discovery.next_timeout()).min();
            now = now.max(next.unwrap_or(end).min(end));
            if now == end {
                break;
            }
            for node in nodes.iter_mut() {
                node.discovery.handle_timeout(now);
            }
        }
    }
    events
}

#[test]
fn nothing_is_allocated_after_new() {
    let mut nodes: Vec<Node> = (0..4_u8)
        .map(|n| {
            let identity = Identity::new(RustCrypto, SecretKey::from_bytes(&[n + 1; 32]).unwrap());
            let endpoint = SocketAddr::from(([127, 0, 0, n + 1], 9000));
            let record = record(&identity, 1, endpoint);
            let rng = Seed::new([n; 32]).stream("discovery");
            Node { discovery: Discovery::new(Config::default(), &record, rng), identity, endpoint }
        })
        .collect();
    let records: Vec<Record> = nodes.iter().map(|node| node.discovery.local_record().clone()).collect();
    for (i, node) in nodes.iter_mut().enumerate() {
        assert!(node.discovery.accept_talk(b"test"));
        for (_, record) in records.iter().enumerate().filter(|(j, _)| *j != i) {
            node.discovery.add_record(Instant::ZERO, record, true).unwrap();
        }
    }
    let mut flying = VecDeque::with_capacity(256);
    let mut events = [0; 3];
    let counted = allocation_counter::measure(|| events = a_while(&mut nodes, &mut flying));
    // Much happened: PONGs, lookups and TALK answers in numbers.
    assert!(events.iter().all(|count| *count > 100), "{events:?}");
    assert_eq!(counted.count_total, 0, "{counted:?}");
    // The counter counts.
    assert!(allocation_counter::measure(|| drop(Vec::<u8>::with_capacity(9))).count_total > 0);
}

/// Bytes on the heap of a machine with this configuration.
fn heap(config: Config) -> i64 {
    let identity = Identity::new(RustCrypto, SecretKey::from_bytes(&[1; 32]).unwrap());
    let record = record(&identity, 1, SocketAddr::from(([127, 0, 0, 1], 9000)));
    let rng = Seed::new([1; 32]).stream("discovery");
    let mut made = None;
    let counted = allocation_counter::measure(|| {
        made = Some(Discovery::<RustCrypto>::new(config, &record, rng));
    });
    counted.bytes_current
}

#[test]
fn the_default_configuration_takes_as_much_as_it_says() {
    let said = 1_700_i64 << 10;
    let taken = heap(Config::default());
    assert!((taken - said).abs() < said / 20, "{taken}");
}

#[test]
fn a_small_node_takes_half_of_a_peers_memory() {
    // The limits of the crate `discv5`, which takes 805 kB (`tests/benches/beside_peers/sizes.rs`).
    let small = Config {
        nodes: 17 * 17,
        sessions: 128,
        kept_keys: 0,
        challenges: 32,
        prefixes: 64,
        verified_records: 256,
        requests: 32,
        responses: 16,
        lookups: 2,
        talks: 4,
        events: 16,
        ..Config::default()
    };
    let taken = heap(small);
    assert!(taken < 402_000, "{taken}");
}
