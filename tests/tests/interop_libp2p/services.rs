//! What runs inside a channel: identify, Charon's peerinfo, and a protocol of the embedder's, one message
//! each way; many at once, and a long one.

use std::time::Duration;

use coracle_core::{
    channel::StreamEnd,
    cluster::Origin,
    node::{Command, PeerInfo, ProtocolId},
    wire::protobuf::{Field, Fields, Value, Writer},
};
use coracle_tokio::{AskError, Gone, Incoming, Limits, NoStore, OpenError};
use futures::future::join_all;
use libp2p::multiaddr::Protocol;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use crate::{
    adapter, frames,
    node::{Running, config, loopback, peer_id, within},
    theirs::{AGENT, ECHO, PEER_INFO, Theirs, Told},
};

const LIMITS: Limits = Limits { size: 1 << 30, time: Duration::from_secs(300) };
const ECHOED: ProtocolId = ProtocolId(0);
const UNKNOWN: ProtocolId = ProtocolId(1);
const OUR_LOCK: [u8; 32] = [0x11; 32];
const THEIR_LOCK: [u8; 32] = [0x22; 32];
/// 2026-01-02 03:04:05 UTC.
const THEIR_START: u64 = 1_767_323_045;

/// A node of ours and a host of theirs, connected; ours echoes. For each direction of the dial.
async fn connected(we_dial: bool) -> (Running, Theirs) {
    let mut config = config(1, &[1, 2]);
    config.protocols = vec![ECHO.into(), "/test/unknown/1.0.0".into()];
    config.info.lock_hash = OUR_LOCK.to_vec();
    config.info.nickname = "ours".into();
    let mut ours = Running::start(config, &loopback(), NoStore);
    let host = Theirs::start(2).await;
    if we_dial {
        ours.request(Command::Hint(host.peer, host.tcp)).await;
    } else {
        host.dial(ours.tcp[0]);
    }
    let up = ours.channel_up(host.peer).await;
    assert_eq!(up.origin == Origin::Inbound, !we_dial);
    drop(adapter::spawn(echo(ours.handle.incoming().unwrap())));
    (ours, host)
}

async fn echo(mut incoming: Incoming) {
    while let Some(mut stream) = incoming.accept().await {
        tokio::spawn(async move {
            let request = frames::read(&mut (&mut stream).compat()).await.unwrap();
            let _ = stream.respond(&request, LIMITS.time).await;
        });
    }
}

/// `len` bytes that depend on their place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn identify() {
    for we_dial in [true, false] {
        let (mut ours, mut host) = connected(we_dial).await;
        let (agent, mut protocols, observed) = host
            .expect("identify", |told| match told {
                Told::Identified { agent, protocols, observed } => {
                    Some((agent.clone(), protocols.clone(), observed.clone()))
                }
                _ => None,
            })
            .await;
        assert!(agent.starts_with("coracle/"), "{agent}");
        protocols.sort();
        let expected = [
            "/charon/peerinfo/2.0.0",
            "/coracle/records/1.0.0",
            "/ipfs/id/1.0.0",
            "/ipfs/id/push/1.0.0",
            "/ipfs/ping/1.0.0",
            ECHO,
            "/test/unknown/1.0.0",
        ];
        assert_eq!(protocols, expected);
        // Where we see them: where they listen, if we dialled.
        let mut parts = observed.iter();
        assert_eq!(parts.next(), Some(Protocol::Ip4([127, 0, 0, 1].into())), "{observed}");
        let Some(Protocol::Tcp(port)) = parts.next() else { panic!("{observed}") };
        let seen = ours.handle.snapshot().await.unwrap().members[0].channel.unwrap().endpoint;
        assert_eq!(port, seen.port());
        if we_dial {
            assert_eq!(port, host.tcp.port());
        }

        let theirs = async {
            loop {
                let agent = ours.handle.snapshot().await.unwrap().members[0].agent.clone();
                if !agent.is_empty() {
                    break agent;
                }
                ours.pings(host.peer, 1).await;
            }
        };
        assert_eq!(within("their agent", theirs).await, AGENT);
    }
}

/// What their hosts say in Charon's peerinfo protocol.
pub(crate) fn their_info() -> Vec<u8> {
    let (mut time, mut out) = ([0; 16], [0; 256]);
    let len = Writer::new(&mut time).varint(1, THEIR_START).finish().unwrap();
    let mut writer = Writer::new(&mut out);
    writer.bytes(1, b"v1.7.1").bytes(2, &THEIR_LOCK).bytes(3, &time[..len]).bytes(4, b"0a1b2c3");
    writer.bytes(5, &time[..len]).varint(6, 1).bytes(7, b"theirs");
    let len = writer.finish().unwrap();
    out[..len].to_vec()
}

/// Asked or answered, ours says the same.
fn assert_ours(message: &[u8]) {
    let fields: Vec<_> = Fields::new(message).map(Result::unwrap).collect();
    let bytes = |wanted| {
        let found = fields.iter().find(|Field { number, .. }| *number == wanted);
        match found.unwrap_or_else(|| panic!("no field {wanted}")).value {
            Value::Bytes(bytes) => bytes,
            ref other => panic!("field {wanted}: {other:?}"),
        }
    };
    assert!(bytes(1).starts_with(b"v"), "the version");
    assert_eq!(bytes(2), OUR_LOCK);
    assert_eq!(bytes(4), b"unknown");
    assert_eq!(bytes(7), b"ours");
    assert_eq!(bytes(8), b"coracle");
    for time in [3, 5] {
        assert!(Fields::new(bytes(time)).all(|field| field.is_ok()));
    }
}

#[tokio::test]
async fn peer_info() {
    for we_dial in [true, false] {
        let (mut ours, mut host) = connected(we_dial).await;
        let asked = host
            .expect("question", |told| match told {
                Told::AskedForInfo(asked) => Some(asked.clone()),
                _ => None,
            })
            .await;
        assert_ours(&asked);
        host.ask(peer_id(1), PEER_INFO, their_info());
        assert_ours(&host.answer().await);

        let known = async {
            loop {
                if let Some(info) = ours.handle.snapshot().await.unwrap().members[0].info.clone() {
                    break info;
                }
                ours.pings(host.peer, 1).await;
            }
        };
        let PeerInfo {
            version, git_hash, dv_client, nickname, same_lock, builder_api, started_at_ms, ..
        } = within("their peerinfo", known).await;
        assert_eq!(
            (&*version, &*git_hash, &*dv_client, &*nickname),
            ("v1.7.1", "0a1b2c3", "charon", "theirs")
        );
        assert_eq!((same_lock, builder_api, started_at_ms), (Some(false), true, Some(THEIR_START * 1000)));
    }
}

#[tokio::test]
async fn requests_and_responses() {
    for we_dial in [true, false] {
        let (ours, mut host) = connected(we_dial).await;
        for len in [0, 1, 127, 128, 20_000, 1 << 20] {
            let sent = pattern(len);
            let answer = ours.handle.ask(host.peer, ECHOED, &sent, LIMITS).await.unwrap();
            assert!(answer == sent, "{len} bytes came back otherwise to us");
            host.ask(peer_id(1), ECHO, sent.clone());
            assert!(host.answer().await == sent, "{len} bytes came back otherwise to them");
        }
        let error = ours.handle.ask(host.peer, UNKNOWN, b"?", LIMITS).await.unwrap_err();
        assert_eq!(error, AskError::Open(OpenError::Gone(Gone::Stream(StreamEnd::Refused))));
        let small = Limits { size: 9, ..LIMITS };
        let error = ours.handle.ask(host.peer, ECHOED, &[7; 10], small).await.unwrap_err();
        assert_eq!(error, AskError::TooLong { len: 10, limit: 9 });
    }
}

#[tokio::test]
async fn a_hundred_streams_at_once() {
    for we_dial in [true, false] {
        let (ours, mut host) = connected(we_dial).await;
        let asks = (0..100).map(|i| {
            let (handle, peer, sent) = (ours.handle.clone(), host.peer, pattern(10_000 + i));
            async move { (handle.ask(peer, ECHOED, &sent, LIMITS).await, sent) }
        });
        for (answer, sent) in within("hundred answers to us", join_all(asks)).await {
            assert!(answer.unwrap() == sent, "{} bytes", sent.len());
        }
        for i in 0..100 {
            host.ask(peer_id(1), ECHO, pattern(10_000 + i));
        }
        let mut lens = Vec::new();
        for _ in 0..100 {
            let answer = host.answer().await;
            assert!(answer == pattern(answer.len()), "{} bytes", answer.len());
            lens.push(answer.len());
        }
        lens.sort_unstable();
        assert!(lens.into_iter().eq(10_000..10_100));
    }
}

/// 64 MiB (or `CORACLE_STREAM_MIB`) there and back over one stream, each side a slow reader.
#[tokio::test]
async fn a_long_message_and_slow_readers() {
    let mib = std::env::var("CORACLE_STREAM_MIB").map_or(64, |mib| mib.parse().unwrap());
    let sent = pattern(mib << 20);
    let (ours, host) = connected(true).await;
    let mut stream = ours.handle.open(host.peer, ECHOED).await.unwrap().compat();
    frames::write(&mut stream, &sent).await.unwrap();
    let answer = frames::read(&mut stream).await.unwrap();
    assert!(answer == sent, "{mib} MiB came back otherwise");
    println!("{mib} MiB there and back over one stream that we opened: bit-exact");
}

/// The same over a stream and a connection of theirs.
#[tokio::test]
async fn a_long_message_and_slow_readers_over_a_stream_of_theirs() {
    let (_ours, mut host) = connected(false).await;
    let sent = pattern(4 << 20);
    host.ask(peer_id(1), ECHO, sent.clone());
    assert!(host.answer().await == sent, "4 MiB came back otherwise");
}
