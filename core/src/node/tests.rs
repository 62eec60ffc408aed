//! The node alone, fed by hand: what it does first, and what it refuses.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::{vec, vec::Vec};

use super::*;
use crate::{
    cluster::MemberConfig, crypto::SecretKey, limits::RESOLVE_FIRST_WAIT, record::Record, refresh::Bound,
    rng::Seed,
};

mod dials;
mod inbound;
mod members;
mod net;
mod pairs;
mod services;
mod streams;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn config() -> Config {
    let members = (1..=4).map(|n| MemberConfig::new(RustCrypto.public_key(&key(n)))).collect();
    let mut config = Config::new(key(1), Seed::new([9; 32]), members);
    config.bound = Bound { udp4: Some(3630), tcp4: Some(3610), ..Bound::default() };
    config.wall_clock_ms = 5_000;
    config
}

fn node(config: Config) -> Node {
    Node::new(Instant::ZERO, config).unwrap()
}

/// Everything until `Wait`, and the deadline it names.
fn drain(node: &mut Node, now: Instant) -> (Vec<Action>, Option<Instant>) {
    let mut buf = vec![0; MIN_BUFFER];
    let mut actions = Vec::new();
    loop {
        match node.poll(now, &mut buf) {
            Action::Wait(deadline) => return (actions, deadline),
            action => actions.push(action),
        }
    }
}

/// Answers the store until the record is in force; returns it.
fn settle(node: &mut Node, now: Instant) -> Record {
    let (actions, _) = drain(node, now);
    for action in &actions {
        if let Action::Store { id, item: StoreItem::Own(_) } = action {
            node.handle_event(now, Event::Stored(*id));
        }
    }
    drain(node, now);
    node.record().cloned().unwrap()
}

#[test]
fn nothing_is_dialled_or_answered_before_the_record_is_stored() {
    let mut config = config();
    config.members[1].hints.push("10.0.0.2:1".parse().unwrap());
    let mut node = node(config);
    node.handle_event(Instant::ZERO, Event::Interfaces(&[IpAddr::from([10, 0, 0, 1])]));
    let (actions, _) = drain(&mut node, Instant::ZERO);
    let [Action::Store { id, item: StoreItem::Own(record) }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(record.seq(), 5_000);
    assert!(!node.is_running() && node.record().is_none());
    let from: SocketAddr = "10.0.0.9:9".parse().unwrap();
    node.handle_datagram(Instant::ZERO, from, from, &mut [0; 100]);
    assert_eq!(node.counters().datagrams_before_start, 1);
    node.handle_event(Instant::ZERO, Event::Stored(*id));
    let (actions, _) = drain(&mut node, Instant::ZERO);
    assert!(matches!(actions[0], Action::Notify(Notice::Published { seq: 5_000, .. })), "{actions:?}");
    assert!(actions.iter().any(|action| matches!(action, Action::Dial { .. })), "{actions:?}");
}

#[test]
fn a_hostname_decides_the_first_record_or_is_not_waited_for_longer() {
    for answers in [true, false] {
        let mut config = config();
        config.hostname = Some("node.example".into());
        let mut node = node(config);
        node.handle_event(Instant::ZERO, Event::Interfaces(&[IpAddr::from([10, 0, 0, 1])]));
        let (actions, deadline) = drain(&mut node, Instant::ZERO);
        let [Action::Resolve { id, len: 12 }] = actions[..] else { panic!("{actions:?}") };
        assert_eq!(deadline, Some(Instant::ZERO + RESOLVE_FIRST_WAIT));
        let mut now = Instant::ZERO;
        if answers {
            node.handle_event(now, Event::Resolved(id, &[IpAddr::from([192, 0, 2, 7])]));
        } else {
            now = now + RESOLVE_FIRST_WAIT;
            node.handle_timeout(now);
        }
        let ip = settle(&mut node, now).addresses().ip4.unwrap();
        assert_eq!(ip.octets(), if answers { [192, 0, 2, 7] } else { [10, 0, 0, 1] });
        // It never asks to be woken in the past.
        assert!(drain(&mut node, now).1.unwrap() > now);
    }
}

#[test]
fn votes_of_a_quorum_move_the_address() {
    let mut node = node(config());
    let now = Instant::ZERO;
    settle(&mut node, now);
    let ids: Vec<NodeId> = node.members().map(|member| member.node_id).collect();
    let seen: SocketAddr = "192.0.2.1:3630".parse().unwrap();
    node.voted(now, ids[0], seen);
    node.voted(now, ids[0], seen);
    assert!(drain(&mut node, now).0.is_empty(), "one member is no quorum");
    node.voted(now, NodeId([1; 32]), seen);
    assert!(drain(&mut node, now).0.is_empty(), "a stranger has no vote");
    node.voted(now, ids[1], seen);
    assert_eq!(settle(&mut node, now).udp_endpoints().next(), Some(seen));
}

/// Two running nodes that are members for each other, at one port of two loopback addresses.
fn pair() -> [(Node, SocketAddr); 2] {
    [1, 2].map(|n| {
        let members = (1..=2).map(|n| MemberConfig::new(RustCrypto.public_key(&key(n)))).collect();
        let mut config = Config::new(key(n), Seed::new([n; 32]), members);
        config.bound = Bound { udp4: Some(3630), tcp4: Some(3610), ..Bound::default() };
        config.configured.ip4 = Some([127, 0, 0, n].into());
        config.wall_clock_ms = 5_000;
        let mut node = node(config);
        settle(&mut node, Instant::ZERO);
        (node, ([127, 0, 0, n], 3630).into())
    })
}

/// Carries datagrams until nothing is owed; what each node told, with the answers that could be read.
fn carry(nodes: &mut [(Node, SocketAddr); 2], now: Instant) -> [Vec<(Notice, Option<Vec<u8>>)>; 2] {
    let mut told = [Vec::new(), Vec::new()];
    let mut buf = vec![0; MIN_BUFFER];
    loop {
        let mut idle = true;
        for from in [0, 1] {
            let (sender, source) = &mut nodes[from];
            let source = *source;
            match sender.poll(now, &mut buf) {
                Action::Wait(_) => continue,
                Action::Notify(notice) => {
                    let read = match notice {
                        Notice::TalkResponse { request, .. } => sender.talk_response(request),
                        Notice::TalkRequest { id, .. } => sender.talk_request(id).map(|(_, request)| request),
                        _ => None,
                    };
                    told[from].push((notice, read.map(<[u8]>::to_vec)));
                }
                Action::Send { to, len } => {
                    let (receiver, local) = &mut nodes[1 - from];
                    if *local == to {
                        receiver.handle_datagram(now, to, source, &mut buf[..len]);
                    }
                }
                _ => {}
            }
            idle = false;
        }
        if idle {
            return told;
        }
    }
}

#[test]
fn talk_goes_through_the_node() {
    let mut nodes = pair();
    let now = Instant::from_millis(1);
    let records = [0, 1].map(|i: usize| nodes[i].0.record().cloned().unwrap());
    let ids = records.each_ref().map(Record::node_id);
    let unknown = nodes[0].0.talk(now, ids[1], b"p", b"?");
    assert_eq!(unknown, Err(RequestError::Discovery(discovery::RequestError::UnknownNode)));
    nodes[0].0.request(now, Command::Bootnodes(vec![records[1].clone()])).unwrap();
    assert!(nodes[1].0.accept_talk(b"p"));
    // Three at once to one node, one of them in a protocol that it does not speak.
    let mut talk = |protocol: &[u8], request: &[u8]| nodes[0].0.talk(now, ids[1], protocol, request).unwrap();
    let asked = [talk(b"p", b"first"), talk(b"p", b"second"), talk(b"x", b"third")];
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    // The first opens the session, and the others follow when it was answered.
    for _ in 0..3 {
        let told = carry(&mut nodes, now);
        for (notice, read) in &told[1] {
            let (Notice::TalkRequest { id, from, .. }, Some(read)) = (notice, read) else { continue };
            assert_eq!(*from, ids[0]);
            requests.push(read.clone());
            nodes[1].0.respond_talk(now, *id, &[read.as_slice(), b"!"].concat()).unwrap();
            assert!(nodes[1].0.respond_talk(now, *id, b"twice").is_err());
        }
        for (notice, read) in &told[0] {
            let (Notice::TalkResponse { request, from, len }, Some(read)) = (notice, read) else { continue };
            assert_eq!((*from, *len), (ids[1], read.len()));
            answers.push((*request, read.clone()));
        }
    }
    requests.sort();
    assert_eq!(requests, [b"first".to_vec(), b"second".to_vec()]);
    answers.sort();
    let expected = [(asked[0], b"first!".to_vec()), (asked[1], b"second!".to_vec()), (asked[2], Vec::new())];
    assert_eq!(answers, expected);
    assert!(asked.iter().all(|request| nodes[0].0.talk_response(*request).is_none()));
    // One that nobody answers fails.
    let silent = nodes[0].0.talk(now, ids[1], b"p", b"?").unwrap();
    for ms in (0..4_000).step_by(50) {
        let now = Instant::from_millis(ms);
        nodes[0].0.handle_timeout(now);
        let (actions, _) = drain(&mut nodes[0].0, now);
        if actions
            .iter()
            .any(|a| matches!(a, Action::Notify(Notice::TalkFailed { request }) if *request == silent))
        {
            return;
        }
    }
    panic!("the request did not end");
}

#[test]
fn commands_are_refused_with_a_reason() {
    let mut node = node(config());
    let now = Instant::ZERO;
    let stranger = PeerId::from_public_key(&RustCrypto.public_key(&key(9)));
    let member = PeerId::from_public_key(&RustCrypto.public_key(&key(2)));
    assert_eq!(node.request(now, Command::LookUp(NodeId([1; 32]))), Err(RequestError::NotRunning));
    settle(&mut node, now);
    assert_eq!(node.request(now, Command::Ping(stranger)), Err(RequestError::NotAMember));
    assert_eq!(node.request(now, Command::Ping(member)), Err(RequestError::NotConnected));
    assert!(node.request(now, Command::LookUp(NodeId([1; 32]))).is_ok());
    assert!(node.request(now, Command::Shutdown).is_ok());
    assert_eq!(node.request(now, Command::Ping(member)), Err(RequestError::NotRunning));
    assert_eq!(drain(&mut node, now).1, None, "nothing is left to wait for");
}

#[test]
fn bad_configurations_are_refused() {
    let mut stranger = config();
    stranger.members.remove(0);
    assert_eq!(
        Node::new(Instant::ZERO, stranger).unwrap_err(),
        ConfigError::Cluster(ClusterError::NotAMember)
    );
    let mut hostname = config();
    hostname.hostname = Some("x".repeat(254));
    assert_eq!(Node::new(Instant::ZERO, hostname).unwrap_err(), ConfigError::Hostname);
}

proptest::proptest! {
    #![proptest_config(crate::testing::cases(4))]

    /// Any bytes on any connection, any datagram: an answer or silence, and it goes on.
    #[test]
    fn any_input_is_survived(
        inputs in proptest::collection::vec(
            (proptest::num::u8::ANY, proptest::collection::vec(proptest::num::u8::ANY, 0..300)), 0..20),
    ) {
        let mut node = node(config());
        let mut now = Instant::ZERO;
        settle(&mut node, now);
        let from: SocketAddr = "10.0.0.9:9".parse().unwrap();
        for (kind, mut bytes) in inputs {
            now = now + Duration::from_millis(u64::from(kind) * 10);
            let conn = ConnId::accepted(u64::from(kind % 4));
            match kind % 3 {
                0 => node.handle_datagram(now, from, from, &mut bytes),
                1 => drop(node.accept(now, from)),
                _ => {
                    let taken = node.handle_bytes(now, conn, &mut bytes);
                    proptest::prop_assert!(taken <= bytes.len());
                }
            }
            node.handle_timeout(now);
            drain(&mut node, now);
        }
    }
}
