//! Nodes find each other, over either family, and again after they moved.

use std::{net::SocketAddr, path::Path};

use coracle::{database::Database, host::DatabaseStore};
use coracle_core::{
    cluster::{MemberConfig, Origin},
    crypto::{Identity, RustCrypto},
    node::{Config, MemberSnapshot, Notice, Snapshot},
    record::{Builder, Record},
    rng::Seed,
};

use super::adapter::{self, Listen, NoStore, Sockets};
use super::node::{Running, config, loopback, peer_id, public_key, secret, within};

/// Ports that nothing listens on now, one TCP and one UDP, of `ip`.
pub(crate) fn listen_at(ip: &str) -> Listen {
    let any = SocketAddr::new(ip.parse().unwrap(), 0);
    let sockets = Sockets::bind(&Listen { tcp: vec![any], udp: vec![any] }).unwrap();
    Listen { tcp: sockets.tcp_addresses().collect(), udp: sockets.udp_addresses().collect() }
}

/// The record of node `number` in the cluster's lock, for the addresses in `listen`.
pub(crate) fn lock_record(number: u8, listen: &Listen) -> Record {
    let mut builder = Builder::new();
    for address in &listen.tcp {
        match address {
            SocketAddr::V4(v4) => builder.set_ip4(Some(*v4.ip())).unwrap().set_tcp4(Some(v4.port())).unwrap(),
            SocketAddr::V6(v6) => builder.set_ip6(Some(*v6.ip())).unwrap().set_tcp6(Some(v6.port())).unwrap(),
        };
    }
    for address in &listen.udp {
        match address {
            SocketAddr::V4(v4) => builder.set_udp4(Some(v4.port())).unwrap(),
            SocketAddr::V6(v6) => builder.set_udp6(Some(v6.port())).unwrap(),
        };
    }
    builder.sign(1, &Identity::new(RustCrypto, secret(number))).unwrap()
}

/// A cluster of nodes 1, 2, … with these records in its lock.
pub(crate) fn lock_config(own: u8, lock: &[Record]) -> Config {
    let mut config = config(own, &[own]);
    config.members = lock.iter().cloned().map(MemberConfig::from_lock).collect();
    config.lock_record = lock.iter().find(|record| *record.public_key() == public_key(own)).cloned();
    config
}

fn member(snapshot: &Snapshot, number: u8) -> &MemberSnapshot {
    snapshot.members.iter().find(|member| member.peer_id == peer_id(number)).unwrap()
}

/// Waits until both have exactly one channel to each other: what simultaneous dials end in.
async fn one_channel(a: &mut Running, b: &mut Running) {
    let (a_id, b_id) = (a.handle.peer_id(), b.handle.peer_id());
    within("single channel", async {
        loop {
            a.pings(b_id, 1).await;
            b.pings(a_id, 1).await;
            let (of_a, of_b) = (a.handle.snapshot().await.unwrap(), b.handle.snapshot().await.unwrap());
            let channels = |snapshot: &Snapshot, id| {
                snapshot.members.iter().find(|member| member.peer_id == id).unwrap().channels
            };
            if (channels(&of_a, b_id), channels(&of_b, a_id)) == (1, 1) {
                return;
            }
        }
    })
    .await;
}

pub(crate) async fn two_nodes_mesh(ip: &str) {
    let listens = [listen_at(ip), listen_at(ip)];
    let lock = [lock_record(1, &listens[0]), lock_record(2, &listens[1])];
    let mut a = Running::start(lock_config(1, &lock), &listens[0], NoStore);
    let mut b = Running::start(lock_config(2, &lock), &listens[1], NoStore);
    a.channel_up(peer_id(2)).await;
    b.channel_up(peer_id(1)).await;
    one_channel(&mut a, &mut b).await;
    // Of two simultaneous dials one was closed, and never was there no channel.
    a.pings(peer_id(2), 10).await;
    b.pings(peer_id(1), 10).await;
    for node in [&mut a, &mut b] {
        let flap = |notice: &&Notice| matches!(notice, Notice::ChannelDown { still_connected: false, .. });
        assert_eq!(node.told().iter().find(flap), None);
    }
    let (of_a, of_b) = (a.handle.snapshot().await.unwrap(), b.handle.snapshot().await.unwrap());
    // The lock's records hold as they are, so nobody signed another.
    assert_eq!((of_a.record.as_ref(), of_b.record.as_ref()), (Some(&lock[0]), Some(&lock[1])));
    let (a_sees, b_sees) = (member(&of_a, 2).channel.unwrap(), member(&of_b, 1).channel.unwrap());
    // One side dialled the other's address in the lock, and both see that one connection.
    assert_ne!(a_sees.origin == Origin::Inbound, b_sees.origin == Origin::Inbound);
    let (dialled, listening) =
        if b_sees.origin == Origin::Inbound { (a_sees, b.tcp[0]) } else { (b_sees, a.tcp[0]) };
    assert_eq!((dialled.origin, dialled.endpoint), (Origin::Lock, listening));
    assert!(a_sees.rtt.is_some() && b_sees.rtt.is_some());
}

#[adapter::test]
async fn two_nodes_mesh_over_ipv4() {
    two_nodes_mesh("127.0.0.1").await;
}

#[adapter::test]
async fn two_nodes_mesh_over_ipv6() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6 loopback");
        return;
    }
    two_nodes_mesh("::1").await;
}

/// As a host does it: what the database holds goes into the configuration, the database into the store.
fn start_from_database(number: u8, lock: &[Record], listen: &Listen, path: &Path, start: u8) -> Running {
    let database = Database::open(path).unwrap();
    let mut config = lock_config(number, lock);
    // A seed is fresh at each start.
    config.seed = Seed::new([number + 100 * start; 32]);
    config.stored_record = database.own_record(&public_key(number)).unwrap();
    let mut peers = database.peers().unwrap();
    for member in &mut config.members {
        let known = peers.remove(&member.public_key.compressed()).unwrap_or_default();
        member.stored_record = known.record;
        member.last_good = known.endpoints.tcp;
    }
    Running::start(config, listen, DatabaseStore(database))
}

/// Two of three stop and come back at other ports with their databases. Neither knows where the other
/// is: they find each other through the third, which stayed.
#[adapter::test]
async fn nodes_that_moved_find_each_other_through_the_third() {
    let directory = tempfile::tempdir().unwrap();
    let path = |number: u8| directory.path().join(format!("{number}.redb"));
    let listens: Vec<_> = (0..3).map(|_| listen_at("127.0.0.1")).collect();
    let lock: Vec<_> = (1..).zip(&listens).map(|(number, listen)| lock_record(number, listen)).collect();
    let start =
        |number: u8, listen: &Listen, start| start_from_database(number, &lock, listen, &path(number), start);
    let mut nodes: Vec<_> = (1..).zip(&listens).map(|(number, listen)| start(number, listen, 1)).collect();
    for (own, node) in (1..).zip(&mut nodes) {
        for other in (1..=3).filter(|other| *other != own) {
            node.channel_up(peer_id(other)).await;
        }
    }

    let mut third = nodes.pop().unwrap();
    for node in nodes {
        node.handle.shutdown().await;
    }
    let moved = [listen_at("127.0.0.1"), listen_at("127.0.0.1")];
    let mut first = start(1, &moved[0], 2);
    let mut second = start(2, &moved[1], 2);

    for (node, other, listen) in [(&mut first, 2, &moved[1]), (&mut second, 1, &moved[0])] {
        let (seq, addresses) = node
            .expect("newer record of the other", |notice| match *notice {
                Notice::PeerRecord { peer, seq, addresses } if peer == peer_id(other) => {
                    Some((seq, addresses))
                }
                _ => None,
            })
            .await;
        assert_eq!(seq, 2, "one more than the lock's, which was stored");
        assert_eq!(addresses.tcp_endpoints().next(), listen.tcp.first().copied());
        node.channel_up(peer_id(other)).await;
        node.channel_up(peer_id(3)).await;
    }
    one_channel(&mut first, &mut second).await;
    one_channel(&mut first, &mut third).await;
    for (node, record) in [(&first, &lock[0]), (&second, &lock[1])] {
        let own = node.handle.snapshot().await.unwrap().record.unwrap();
        assert_eq!(own.seq(), record.seq() + 1);
        assert_ne!(own.addresses(), record.addresses());
    }

    // All of it is in the databases when shutdown returns.
    first.handle.shutdown().await;
    second.handle.shutdown().await;
    for (own, other) in [(1, 2), (2, 1)] {
        let database = Database::open(&path(own)).unwrap();
        assert_eq!(database.own_record(&public_key(own)).unwrap().unwrap().seq(), 2);
        let peers = database.peers().unwrap();
        assert_eq!(peers[&public_key(other).compressed()].record.as_ref().unwrap().seq(), 2);
    }
}

/// A hostname is resolved, and what it stands for goes into the first record already.
#[adapter::test]
#[cfg(target_os = "linux")] // elsewhere 127.0.0.2 is no address of the loopback interface
async fn a_hostname_is_resolved() {
    let mut config = config(1, &[1, 2]);
    config.hostname = Some("localhost".into());
    let mut node = Running::start(config, &listen_at("127.0.0.2"), NoStore);
    let published = node
        .expect("record in force", |notice| match notice {
            Notice::Published { addresses, source, .. } => Some((addresses.ip4, *source)),
            _ => None,
        })
        .await;
    // Not 127.0.0.2, to which the socket is bound.
    assert_eq!(published, ("127.0.0.1".parse().ok(), Some(coracle_core::refresh::Source::Resolved)));
}

/// A node whose key is not in our lock, while ours is in its: neither side has a channel, and both go on.
#[adapter::test]
async fn a_key_outside_the_lock_is_refused_on_both_sides() {
    use coracle_core::{
        handshake::HandshakeError,
        node::{Command, Failure},
    };
    let mut ours = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
    let mut outsider = Running::start(config(3, &[1, 3]), &loopback(), NoStore);
    let refused = |notice: &Notice| match *notice {
        Notice::Refused { reason, .. } => Some(reason),
        _ => None,
    };
    let failed = |notice: &Notice| match *notice {
        Notice::DialFailed { reason, .. } => Some(reason),
        _ => None,
    };
    outsider.request(Command::Hint(peer_id(1), ours.tcp[0])).await;
    let here = ours.expect("refusal", refused).await;
    assert_eq!(here, Failure::NotAMember(peer_id(3)));
    let there = outsider.expect("failed dial", failed).await;
    assert_eq!(there, Failure::ClosedByPeer);
    println!("it dials us. we: {here}; it: {there}");
    // It is told nothing of us where we expect another.
    ours.request(Command::Hint(peer_id(2), outsider.tcp[0])).await;
    let here = ours.expect("failed dial", failed).await;
    let wrong = HandshakeError::WrongPeer { expected: peer_id(2), found: peer_id(3) };
    assert_eq!(here, Failure::Handshake(wrong));
    let there = outsider.expect("refusal", refused).await;
    assert_eq!(there, Failure::ClosedByPeer);
    println!("we dial it. we: {here}; it: {there}");
    for node in [&mut ours, &mut outsider] {
        let snapshot = node.handle.snapshot().await.unwrap();
        assert_eq!((snapshot.members[0].channels, snapshot.members[0].channel), (0, None));
        assert!(snapshot.counters.inbound_refused > 0);
        assert!(!node.told().iter().any(|notice| matches!(notice, Notice::ChannelUp { .. })));
    }
}

/// Nobody listens where the member is said to be: told, and tried again.
#[adapter::test]
async fn a_refused_dial_is_told_and_repeated() {
    use coracle_core::node::{DialError, Failure};
    let nobody = listen_at("127.0.0.1").tcp[0];
    let mut config = config(1, &[1, 2]);
    config.members[1].hints = vec![nobody];
    let mut node = Running::start(config, &loopback(), NoStore);
    for _ in 0..2 {
        let reason = node
            .expect("failed dial", |notice| match notice {
                Notice::DialFailed { endpoint, reason, .. } if *endpoint == nobody => Some(*reason),
                _ => None,
            })
            .await;
        assert_eq!(reason, Failure::Dial(DialError::Refused));
    }
    node.expect("word that it is unreachable", |notice| {
        matches!(notice, Notice::Unreachable { .. }).then_some(())
    })
    .await;
}

/// The embedder changes the members while the node runs: who comes is dialled, who goes is told goodbye and
/// cut off, who stays notices nothing.
#[adapter::test]
async fn members_come_and_go_by_command() {
    use coracle_core::{
        channel::CloseReason,
        node::{Command, Failure},
    };
    let listening = |own, members: &[u8]| Running::start(config(own, members), &loopback(), NoStore);
    let (mut second, mut third) = (listening(2, &[1, 2]), listening(3, &[1, 3]));
    let mut config = config(1, &[1, 2]);
    config.member_room = 3;
    config.members[1].hints.push(second.tcp[0]);
    let members = config.members.clone();
    let mut first = Running::start(config, &loopback(), NoStore);
    first.channel_up(peer_id(2)).await;

    let mut newcomer = MemberConfig::new(public_key(3));
    newcomer.hints.push(third.tcp[0]);
    let all = [members.clone(), vec![newcomer.clone()]].concat();
    first.request(Command::SetMembers(all)).await;
    first.channel_up(peer_id(3)).await;
    third.channel_up(peer_id(1)).await;

    first.request(Command::SetMembers(vec![members[0].clone(), newcomer])).await;
    let down = |notice: &Notice| match *notice {
        Notice::ChannelDown { peer, reason, .. } => Some((peer, reason)),
        _ => None,
    };
    assert_eq!(first.expect("end of a channel", down).await, (peer_id(2), Failure::Removed));
    let told = second.expect("end of a channel", down).await;
    assert_eq!(told, (peer_id(1), Failure::Channel(CloseReason::WentAway(0))));
    first.pings(peer_id(3), 3).await;
    assert_eq!(first.told().iter().find_map(down), None);
    let snapshot = first.handle.snapshot().await.unwrap();
    let peers: Vec<_> = snapshot.members.iter().map(|member| member.peer_id).collect();
    assert_eq!(peers, [peer_id(3)]);
}
