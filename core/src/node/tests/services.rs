//! Identify, peerinfo and the exchange of records between whole nodes, and rule E5.

use super::{net::*, *};
use crate::{limits::PEER_INFO_INTERVAL, refresh::OwnSeen};

const EVERYBODY: &[usize] = &[0, 1, 2, 3];

fn mesh(change: impl Fn(usize, &mut Config)) -> Net {
    let configs = (0..4).map(|i| {
        let mut config = member(i, EVERYBODY);
        change(i, &mut config);
        config
    });
    let mut net = Net::new(configs.collect());
    net.run(Duration::from_secs(4));
    assert!(net.meshed());
    net
}

#[test]
fn members_say_what_they_are() {
    let mut net = mesh(|i, config| {
        config.wall_clock_ms = 1_700_000_000_000 + 90_000 * u64::from(i == 2);
        // One has another lock, and one none yet.
        config.info.lock_hash = [&[7; 32][..], &[7; 32], &[], &[9; 32]][i].to_vec();
        config.info.nickname = std::format!("node {i}");
        config.info.builder_api = i == 1;
    });
    for other in 1..4 {
        let view = net.view(0, other);
        assert_eq!(view.agent, concat!("coracle/", env!("CARGO_PKG_VERSION")));
        let info = view.info.unwrap();
        assert_eq!(info.nickname, std::format!("node {other}").as_str());
        assert_eq!((info.dv_client.as_str(), info.git_hash.as_str()), ("coracle", "unknown"));
        let same_lock = [None, Some(true), None, Some(false)][other];
        assert_eq!((info.same_lock, info.builder_api), (same_lock, other == 1));
        assert_eq!(net.view(2, [0, 1, 3][other - 1]).info.unwrap().same_lock, None, "it has none to compare");
        let offset = info.clock_offset_ms - 90_000 * i64::from(other == 2);
        assert!(offset.abs() < 200, "{offset}");
        assert_eq!(info.started_at_ms, Some(1_700_000_000_000 + 90_000 * u64::from(other == 2)));
        assert!(net.view(0, other).channel.unwrap().rtt.is_some());
    }
    // The wall clock of one was set right: the next round says so.
    let now = net.now;
    let right = 1_700_000_000_000 + now.as_nanos() / 1_000_000;
    net.hosts[2].node.handle_event(now, Event::WallClock(right));
    net.run(PEER_INFO_INTERVAL + Duration::from_secs(1));
    let offset = net.view(0, 2).info.unwrap().clock_offset_ms;
    assert!(offset.abs() < 200, "{offset}");
    let snapshot = net.hosts[0].node.snapshot();
    assert_eq!(snapshot.members[0].info.as_ref().unwrap().nickname, "node 1");
}

/// No datagram arrives, so no PONG votes: what identify says of our address counts, and its port does not.
#[test]
fn an_observed_address_is_a_vote() {
    let mut net = mesh(|_, _| {});
    // It is seen at 10.0.0.4 from port 40000, and believes to be elsewhere.
    let wrong = IpAddr::from([10, 0, 0, 99]);
    let now = net.now;
    net.start(3, member(3, EVERYBODY), address(3));
    net.hosts[3].node.handle_event(now, Event::Interfaces(&[wrong]));
    net.run(Duration::from_secs(5));
    let record = net.hosts[3].node.record().unwrap();
    assert_eq!(record.tcp_endpoints().next(), Some(address(3)));
    assert_eq!(record.udp_endpoints().next(), Some((address(3).ip(), 3630).into()));
}

/// Three know where one is, and nothing of each other.
#[test]
fn one_that_is_known_brings_all_together() {
    let mut net = Net::new((0..4).map(|i| member(i, &[0])).collect());
    net.run(Duration::from_secs(10));
    assert!(net.meshed());
    let told = net
        .hosts
        .iter()
        .flat_map(|host| &host.notices)
        .any(|notice| matches!(notice, Notice::Dialling { origin: Origin::Exchanged, .. }));
    assert!(told);
    // A change goes round as well, at once: nobody needs to ask for it.
    let seq = net.hosts[1].node.record().unwrap().seq();
    let now = net.now;
    net.hosts[1].node.handle_event(now, Event::Interfaces(&[IpAddr::from([10, 0, 0, 77])]));
    net.settle();
    let newest = net.hosts[1].node.record().unwrap().clone();
    assert_eq!(newest.seq(), seq + 1);
    for i in [0, 2, 3] {
        assert_eq!(net.view(i, 1).record, Some(&newest), "host {i}");
    }
}

/// Rule E5: a node whose store is lost, and whose clock is wrong, learns its number from the others.
#[test]
fn a_lost_store_is_made_good_by_the_others() {
    let mut net = mesh(|_, _| {});
    let before = net.hosts[1].node.record().unwrap().seq();
    // The same address: the old record is adopted as it is.
    let mut config = member(1, EVERYBODY);
    config.wall_clock_ms = 3;
    net.start(1, config, address(1));
    assert_eq!(net.hosts[1].node.record().unwrap().seq(), 3);
    net.run(Duration::from_secs(5));
    assert_eq!(net.hosts[1].node.record().unwrap().seq(), before);
    assert_eq!(net.hosts[1].own.as_ref().unwrap().seq(), before, "and stored");
    let told = |net: &Net, outcome: OwnSeen| {
        net.hosts[1].notices.contains(&Notice::OwnRecordSeen { seq: before, outcome })
    };
    assert!(told(&net, OwnSeen::Adopted));
    // Another address: one above, once, and everybody takes it.
    let mut config = member(1, EVERYBODY);
    config.wall_clock_ms = 3;
    net.start(1, config, (IpAddr::from([10, 0, 0, 50]), 3610).into());
    net.run(Duration::from_secs(5));
    assert!(told(&net, OwnSeen::Exceeded));
    let newest = net.hosts[1].node.record().unwrap().clone();
    assert_eq!(newest.seq(), before + 1);
    for i in [0, 2, 3] {
        assert_eq!(net.view(i, 1).record, Some(&newest), "host {i}");
    }
}

/// Rule E5: two processes have one key, and everybody is told the record of the second by itself. The first keeps its
/// channels, over which nobody has heard of it: there it is told, and goes above it once.
#[test]
fn another_process_with_the_key_is_told_to_the_first() {
    let mut net = mesh(|_, _| {});
    let before = net.hosts[1].node.record().unwrap().seq();
    let mut config = member(1, EVERYBODY);
    config.seed = Seed::new([99; 32]);
    config.wall_clock_ms = before + 7;
    net.start(4, config, address(4));
    net.run(Duration::from_secs(5));
    let outcomes = |net: &Net| {
        let outcome = |notice: &Notice| match notice {
            Notice::OwnRecordSeen { seq, outcome } => Some((*seq, *outcome)),
            _ => None,
        };
        [1, 4].map(|i: usize| net.hosts[i].notices.iter().filter_map(outcome).collect::<Vec<_>>())
    };
    assert_eq!(outcomes(&net)[0], [(before + 7, OwnSeen::Exceeded)]);
    let newest = net.hosts[1].node.record().unwrap().clone();
    assert_eq!(newest.seq(), before + 8);
    for i in [0, 2, 3] {
        assert_eq!(net.view(i, 1).record, Some(&newest), "host {i}");
    }
    // They do not race each other upwards.
    let told = outcomes(&net);
    net.run(Duration::from_secs(120));
    assert_eq!(outcomes(&net), told);
    assert_eq!(net.hosts[1].node.record(), Some(&newest));
}

/// A stream from before, on a channel that gave way, does not take with it what is owed over the one in use.
#[test]
fn records_are_owed_over_the_channel_in_use() {
    let mut net = mesh(|_, _| {});
    let member = net.hosts[0].node.cluster.index_of_peer(&peer(1)).unwrap();
    let used = net.view(0, 1).channel.unwrap().conn;
    let node = &mut net.hosts[0].node;
    node.services.owe_record(member.position(), None);
    let mut buf = [0; 1024];
    assert_eq!(node.write_records(ConnId::accepted(99), member, &mut buf).0, 0);
    assert!(node.write_records(used, member, &mut buf).0 > 0);
}

#[test]
fn members_that_show_rubbish_are_counted_and_the_channel_stays() {
    let mut net = mesh(|_, _| {});
    let now = net.now;
    let (conn, member) = (ConnId::accepted(0), MemberIndex(0));
    let field =
        |bytes| crate::wire::protobuf::Field { number: 1, value: crate::wire::protobuf::Value::Bytes(bytes) };
    let node = &mut net.hosts[0].node;
    assert!(node.read_record(now, conn, member, field(b"no record")).is_err());
    assert_eq!(node.counters().records_refused, 1);
    // A stranger's is passed over.
    let stranger = Identity::new(RustCrypto, key(9));
    let record = Builder::new().sign(1, &stranger).unwrap();
    assert!(node.read_record(now, conn, member, field(record.as_bytes())).is_ok());
    assert_eq!(node.counters().records_of_strangers, 1);
    // An old one of a member changes nothing.
    let old = Builder::new().sign(1, &Identity::new(RustCrypto, key(3))).unwrap();
    let before = net.view(0, 2).record.unwrap().clone();
    net.hosts[0].node.read_record(now, conn, member, field(old.as_bytes())).unwrap();
    assert_eq!(net.view(0, 2).record, Some(&before));
}
