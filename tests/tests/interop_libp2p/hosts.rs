//! Members: dialled, dialling, both at once, going and coming back.

use std::time::Duration;

use coracle_core::{
    cluster::Origin,
    handshake::HandshakeError,
    node::{Command, Failure, Notice},
};
use coracle_tokio::NoStore;

use crate::{
    node::{Running, config, loopback, peer_id},
    theirs::{Theirs, Told, theirs},
};

const OURS: u8 = 1;

/// A node of ours in a cluster with the keys `members`.
fn ours(members: &[u8]) -> Running {
    let all: Vec<u8> = [&[OURS], members].concat();
    Running::start(config(OURS, &all), &loopback(), NoStore)
}

fn smaller_than_ours() -> u8 {
    (2..50).find(|n| peer_id(*n) < peer_id(OURS)).unwrap()
}

fn larger_than_ours() -> u8 {
    (2..50).find(|n| peer_id(*n) > peer_id(OURS)).unwrap()
}

/// Pings are answered both ways for a while, and no connection ends.
async fn stays_up(ours: &mut Running, host: &mut Theirs) {
    ours.pings(host.peer, 20).await;
    host.pings(peer_id(OURS), 20).await;
    let ended = ours.told().iter().find(|notice| matches!(notice, Notice::ChannelDown { .. }));
    assert_eq!(ended, None);
    let ended =
        host.told().iter().find(|told| matches!(told, Told::Down { .. } | Told::Ping { ok: false, .. }));
    assert_eq!(ended, None);
}

#[tokio::test]
async fn they_dial_us() {
    let mut ours = ours(&[2]);
    let mut host = Theirs::start(2).await;
    host.dial(ours.tcp[0]);
    let up = ours.channel_up(host.peer).await;
    assert_eq!(up.origin, Origin::Inbound);
    assert!(host.up(peer_id(OURS)).await, "they dialled");
    stays_up(&mut ours, &mut host).await;
    let snapshot = ours.handle.snapshot().await.unwrap();
    let channel = snapshot.members[0].channel.unwrap();
    assert_eq!((channel.endpoint, channel.origin), (up.endpoint, up.origin));
    assert!(channel.rtt.is_some());
}

#[tokio::test]
async fn we_dial_them() {
    let mut ours = ours(&[2]);
    let mut host = Theirs::start(2).await;
    ours.request(Command::Hint(host.peer, host.tcp)).await;
    let up = ours.channel_up(host.peer).await;
    assert_eq!((up.endpoint, up.origin), (host.tcp, Origin::Hint));
    assert!(!host.up(peer_id(OURS)).await, "we dialled");
    stays_up(&mut ours, &mut host).await;
}

/// Beside the first ping of a channel none is sent for an hour, unless it is asked for.
#[tokio::test]
async fn we_ping_on_command() {
    let mut config = config(OURS, &[OURS, 2]);
    config.ping_interval = Duration::from_secs(3600);
    let mut ours = Running::start(config, &loopback(), NoStore);
    let host = Theirs::start(2).await;
    host.dial(ours.tcp[0]);
    ours.channel_up(host.peer).await;
    ours.pings(host.peer, 1).await;
    for _ in 0..3 {
        ours.request(Command::Ping(host.peer)).await;
        ours.pings(host.peer, 1).await;
    }
}

#[tokio::test]
async fn they_propose_tls_first() {
    let mut ours = ours(&[2]);
    let mut host = Theirs::start_with_tls_first(2).await;
    host.dial(ours.tcp[0]);
    ours.channel_up(host.peer).await;
    stays_up(&mut ours, &mut host).await;
}

/// Theirs does not deduplicate, so two connections are tolerated; none comes and goes.
#[tokio::test]
async fn both_dial_at_once() {
    for other in [smaller_than_ours(), larger_than_ours()] {
        let mut ours = ours(&[other]);
        let mut host = Theirs::start(other).await;
        host.dial(ours.tcp[0]);
        ours.request(Command::Hint(host.peer, host.tcp)).await;
        ours.channel_up(host.peer).await;
        host.up(peer_id(OURS)).await;
        // Far longer than whatever is decided at the beginning takes.
        ours.pings(host.peer, 20).await;
        host.pings(peer_id(OURS), 20).await;

        let snapshot = ours.handle.snapshot().await.unwrap();
        assert!((1..=2).contains(&snapshot.members[0].channels), "{:?}", snapshot.members[0]);
        let ups = ours.told().iter().filter(|notice| matches!(notice, Notice::ChannelUp { .. })).count();
        let downs: Vec<_> = ours
            .told()
            .iter()
            .filter(|notice| matches!(notice, Notice::ChannelDown { .. }))
            .copied()
            .collect();
        assert!(ups <= 1, "beside the first: {:#?}", ours.told());
        for down in &downs {
            let Notice::ChannelDown { reason, still_connected, .. } = down else { unreachable!() };
            assert_eq!((*reason, *still_connected), (Failure::Duplicate, true));
        }
        assert!(downs.len() <= 1, "{downs:#?}");

        // And from here on nothing changes at all.
        ours.pings(host.peer, 20).await;
        let later: Vec<_> = ours
            .told()
            .iter()
            .filter(|notice| matches!(notice, Notice::ChannelDown { .. }))
            .copied()
            .collect();
        assert_eq!(later, downs);
    }
}

/// They dial although there is a channel of our dialling. With the larger peer id ours stays beside
/// theirs; with the smaller ours gives way. Either way members stay connected all the time.
#[tokio::test]
async fn they_dial_beside_our_channel() {
    for (other, channels) in [(smaller_than_ours(), 2), (larger_than_ours(), 1)] {
        let mut ours = ours(&[other]);
        let mut host = Theirs::start(other).await;
        ours.request(Command::Hint(host.peer, host.tcp)).await;
        ours.channel_up(host.peer).await;
        assert!(!host.up(peer_id(OURS)).await);
        host.dial(ours.tcp[0]);
        assert!(host.up(peer_id(OURS)).await);
        assert_eq!(ours.channel_up(host.peer).await.origin, Origin::Inbound);
        if channels == 1 {
            host.expect("end of our connection", |told| {
                matches!(told, Told::Down { remaining: 1, .. }).then_some(())
            })
            .await;
        }
        ours.pings(host.peer, 20).await;
        host.pings(peer_id(OURS), 20).await;
        assert_eq!(ours.handle.snapshot().await.unwrap().members[0].channels, channels);
        for notice in ours.told() {
            match notice {
                Notice::ChannelDown { reason: Failure::Duplicate, still_connected: true, .. } => {
                    assert_eq!(channels, 1, "{notice:?}");
                }
                Notice::ChannelDown { .. } | Notice::ChannelUp { .. } => panic!("{notice:?}"),
                _ => {}
            }
        }
    }
}

/// They dial again and again and close nothing: the newest two stay.
#[tokio::test]
async fn they_dial_again_and_again() {
    let mut ours = ours(&[2]);
    let mut host = Theirs::start(2).await;
    for _ in 0..5 {
        host.dial(ours.tcp[0]);
        assert!(host.up(peer_id(OURS)).await);
        assert_eq!(ours.channel_up(host.peer).await.origin, Origin::Inbound);
    }
    for _ in 0..3 {
        host.expect("end of an older connection", |told| matches!(told, Told::Down { .. }).then_some(()))
            .await;
    }
    ours.pings(host.peer, 20).await;
    assert_eq!(ours.handle.snapshot().await.unwrap().members[0].channels, 2);
    let connected = ours.told().iter().all(|notice| match notice {
        Notice::ChannelDown { reason, still_connected, .. } => {
            *reason == Failure::Duplicate && *still_connected
        }
        _ => true,
    });
    assert!(connected, "{:#?}", ours.told());
}

/// They close, and come back when we dial again.
#[tokio::test]
async fn they_close_and_we_dial_again() {
    let mut ours = ours(&[2]);
    let mut host = Theirs::start(2).await;
    ours.request(Command::Hint(host.peer, host.tcp)).await;
    ours.channel_up(host.peer).await;
    host.up(peer_id(OURS)).await;
    host.pings(peer_id(OURS), 1).await;
    host.disconnect(peer_id(OURS));
    let still_connected = ours
        .expect("end of the channel", |notice| match notice {
            Notice::ChannelDown { still_connected, .. } => Some(*still_connected),
            _ => None,
        })
        .await;
    assert!(!still_connected);
    ours.channel_up(host.peer).await;
    host.expect("end of the first connection", |told| matches!(told, Told::Down { .. }).then_some(())).await;
    host.up(peer_id(OURS)).await;
    stays_up(&mut ours, &mut host).await;
}

#[tokio::test]
async fn we_shut_down() {
    let mut ours = ours(&[2]);
    let mut host = Theirs::start(2).await;
    host.dial(ours.tcp[0]);
    ours.channel_up(host.peer).await;
    host.up(peer_id(OURS)).await;
    ours.handle.shutdown().await;
    host.expect("end of the connection", |told| match told {
        Told::Down { peer, remaining: 0, .. } if *peer == theirs(peer_id(OURS)) => Some(()),
        _ => None,
    })
    .await;
}

/// Their host has a key that is none of the members'.
#[tokio::test]
async fn a_key_outside_the_lock_is_refused() {
    let mut ours = ours(&[2]);
    let mut host = Theirs::start(3).await;
    host.dial(ours.tcp[0]);
    let refused = ours
        .expect("refusal", |notice| match notice {
            Notice::Refused { reason, .. } => Some(*reason),
            _ => None,
        })
        .await;
    assert_eq!(refused, Failure::NotAMember(host.peer));
    // On their side the last message of the handshake is theirs, so it may count as done for a moment.
    host.expect("end of the connection", |told| match told {
        Told::DialFailed(_) => Some(()),
        Told::Down { remaining: 0, .. } => Some(()),
        _ => None,
    })
    .await;
    assert!(
        !host.told().iter().any(|told| matches!(told, Told::Ping { ok: true, .. })),
        "{:#?}",
        host.told()
    );
    let snapshot = ours.handle.snapshot().await.unwrap();
    assert_eq!(snapshot.counters.inbound_refused, 1);
    assert_eq!((snapshot.members[0].channels, snapshot.members[0].channel), (0, None));
    println!("refused: {refused}; told by us {:?}, by their host {:?}", ours.told(), host.told());
}

/// Where we dial a member another host answers: it does not even learn who we are.
#[tokio::test]
async fn another_key_answers_our_dial() {
    let mut ours = ours(&[2, 3]);
    let mut host = Theirs::start(3).await;
    ours.request(Command::Hint(peer_id(2), host.tcp)).await;
    let reason = ours
        .expect("failed dial", |notice| match notice {
            Notice::DialFailed { peer, reason, .. } if *peer == peer_id(2) => Some(*reason),
            _ => None,
        })
        .await;
    let wrong = HandshakeError::WrongPeer { expected: peer_id(2), found: peer_id(3) };
    assert_eq!(reason, Failure::Handshake(wrong));
    host.expect("failed handshake", |told| matches!(told, Told::InboundFailed(_)).then_some(())).await;
    assert!(!host.told().iter().any(|told| matches!(told, Told::Up { .. })), "{:#?}", host.told());
    let snapshot = ours.handle.snapshot().await.unwrap();
    assert!(snapshot.members.iter().all(|member| member.channels == 0 && member.channel.is_none()));
    println!("not gone on with: {reason}");
}
