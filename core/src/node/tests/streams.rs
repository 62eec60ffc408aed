//! Streams of the embedder between whole nodes.

use super::{net::*, *};
use crate::{channel::StreamEnd, limits::YAMUX_WINDOW};

fn pair() -> Net {
    let mut net = Net::new((0..4).map(|i| member(i, &[0, 1, 2, 3])).collect());
    net.run(Duration::from_secs(4));
    net.hosts.iter_mut().for_each(|host| host.events.clear());
    net
}

/// Host 0 opens a stream to host 1; its name on both sides.
fn open(net: &mut Net) -> (StreamId, StreamId) {
    let now = net.now;
    let here = net.hosts[0].node.open_stream(now, peer(1), ECHO).unwrap();
    net.settle();
    let events = core::mem::take(&mut net.hosts[0].events);
    assert_eq!(events, [StreamEvent::Opened { stream: here }, StreamEvent::Writable { stream: here }]);
    let events = core::mem::take(&mut net.hosts[1].events);
    let [StreamEvent::Accepted { stream: there, peer: from, protocol: ECHO }] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(from, peer(0));
    (here, there)
}

#[test]
fn bytes_go_both_ways_and_both_sides_finish() {
    let mut net = pair();
    let (here, there) = open(&mut net);
    let sent: Vec<u8> = (0..900_000u32).map(|i| (i % 251) as u8).collect();
    let mut at = 0;
    while at < sent.len() {
        let taken = net.write_stream(0, here, &sent[at..], true);
        at += taken;
        net.settle();
        assert!(taken > 0 || net.hosts[0].events.contains(&StreamEvent::Writable { stream: here }));
    }
    assert_eq!(net.hosts[1].inbox[&there], sent);
    assert_eq!(net.hosts[1].events, [StreamEvent::Finished { stream: there }]);
    assert_eq!(net.write_stream(1, there, b"thanks", true), 6);
    net.settle();
    assert_eq!(net.hosts[0].inbox[&here], b"thanks");
    let ended = |stream| StreamEvent::Ended { stream, reason: StreamEnd::Finished };
    assert_eq!(net.hosts[1].events.last(), Some(&ended(there)));
    assert_eq!(net.hosts[0].events.last(), Some(&ended(here)));
    let now = net.now;
    let again = net.hosts[0].node.write_stream(now, here, b"x", false, &mut net.buf);
    assert_eq!(again, Err(StreamError::Gone));
}

/// A reader that stops: the writer may send what was taken and not yet released, and no more.
#[test]
fn a_slow_reader_stops_the_writer() {
    let mut net = pair();
    let (here, there) = open(&mut net);
    net.hosts[1].appetite = 10_000;
    let mut sent = 0;
    loop {
        let taken = net.write_stream(0, here, &[7; 30_000], false);
        sent += taken;
        net.settle();
        if taken == 0 {
            break;
        }
    }
    assert!(sent <= 10_000 + YAMUX_WINDOW as usize, "{sent}");
    assert_eq!(net.hosts[1].inbox[&there].len(), 10_000);
    // It reads on: everything arrives.
    net.hosts[1].appetite = usize::MAX;
    net.hosts[1].node.release(there, 0);
    net.settle();
    assert_eq!(net.hosts[1].inbox[&there].len(), sent);
    assert!(net.hosts[0].events.contains(&StreamEvent::Writable { stream: here }));
}

#[test]
fn ends_say_who_ended_it() {
    let mut net = pair();
    let (here, there) = open(&mut net);
    net.hosts[1].node.reset_stream(there);
    net.settle();
    assert_eq!(net.hosts[0].events, [StreamEvent::Ended { stream: here, reason: StreamEnd::ResetByPeer }]);
    assert_eq!(net.hosts[1].events, []);
    net.hosts[0].events.clear();

    let (here, there) = open(&mut net);
    let now = net.now;
    net.hosts[0].node.limit_stream(now, here, Some(Duration::from_secs(1)));
    net.run(Duration::from_secs(2));
    assert_eq!(net.hosts[0].events, [StreamEvent::Ended { stream: here, reason: StreamEnd::Expired }]);
    assert_eq!(net.hosts[1].events, [StreamEvent::Ended { stream: there, reason: StreamEnd::ResetByPeer }]);
    net.hosts.iter_mut().for_each(|host| host.events.clear());

    let (here, _) = open(&mut net);
    let now = net.now;
    net.hosts[1].node.request(now, Command::Shutdown).unwrap();
    net.settle();
    let lost = net.hosts[0].events.iter().any(|event| {
        matches!(event, StreamEvent::ConnectionLost { conn, peer: who, .. } if *conn == here.conn() && *who == peer(1))
    });
    assert!(lost, "{:?}", net.hosts[0].events);
    let now = net.now;
    assert_eq!(net.hosts[0].node.open_stream(now, peer(1), ECHO), Err(StreamError::NotConnected));
}

#[test]
fn what_cannot_be_opened_is_refused() {
    let mut net = pair();
    let now = net.now;
    let node = &mut net.hosts[0].node;
    assert_eq!(node.open_stream(now, peer(7), ECHO), Err(StreamError::NotAMember));
    assert_eq!(node.open_stream(now, peer(0), ECHO), Err(StreamError::NotAMember), "ourselves");
    assert_eq!(node.open_stream(now, peer(1), ProtocolId(2)), Err(StreamError::UnknownProtocol));
    let opened = (0..200).take_while(|_| node.open_stream(now, peer(1), OTHER).is_ok()).count();
    assert!((100..128).contains(&opened), "{opened}");
    assert_eq!(node.open_stream(now, peer(1), OTHER), Err(StreamError::TooManyStreams));
    net.settle();
    // All of them came about.
    let accepted = net.hosts[1].events.iter().filter(|e| matches!(e, StreamEvent::Accepted { .. })).count();
    assert_eq!(accepted, opened);
    let bad = |f: fn(&mut Config)| {
        let mut config = member(0, &[]);
        f(&mut config);
        Node::new(Instant::ZERO, config).unwrap_err()
    };
    let taken = bad(|config| config.protocols.push("/coracle/records/1.0.0".into()));
    assert!(matches!(taken, ConfigError::Protocols(_)), "{taken}");
    let info = bad(|config| config.info.git_hash = "nonsense".into());
    assert_eq!(info, ConfigError::Info(LocalInfoError::GitHash));
}
