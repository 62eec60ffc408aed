//! Clients that are no libp2p hosts: garbage, silence, and protocols that we do not have.

use std::{net::SocketAddr, time::Duration};

use coracle_core::{
    crypto::{Identity, RustCrypto},
    handshake::{Initiator, Options, StaticKey},
    node::{Failure, Notice},
    rng::Seed,
};
use coracle_tokio::NoStore;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    node::{Running, config, loopback, peer_id, secret, within},
    theirs::Theirs,
};

const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";
const TLS: &[u8] = b"\x0b/tls/1.0.0\n";
const NOISE: &[u8] = b"\x07/noise\n";
const NA: &[u8] = b"\x03na\n";

fn ours() -> Running {
    Running::start(config(1, &[1, 2]), &loopback(), NoStore)
}

/// Reads until the other side closes, in whatever way.
async fn closed(stream: &mut TcpStream) {
    let mut sink = [0; 1024];
    within("end of the connection", async {
        while matches!(stream.read(&mut sink).await, Ok(n) if n > 0) {}
    })
    .await;
}

async fn refused(ours: &mut Running, from: SocketAddr) -> Failure {
    ours.expect("refusal", |notice| match notice {
        Notice::Refused { from: refused, reason, .. } if *refused == from => Some(*reason),
        _ => None,
    })
    .await
}

async fn expect_bytes(stream: &mut TcpStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    within("answer", stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(read.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// One proposal at a time, the answers read between them, as go-multistream does.
#[tokio::test]
async fn proposals_are_refused_one_by_one() {
    let ours = ours();
    let mut stream = TcpStream::connect(ours.tcp[0]).await.unwrap();
    stream.write_all(&[HEADER, TLS].concat()).await.unwrap();
    expect_bytes(&mut stream, &[HEADER, NA].concat()).await;
    stream.write_all(b"\x0d/quic-v1/1.0\n").await.unwrap();
    expect_bytes(&mut stream, NA).await;
    stream.write_all(NOISE).await.unwrap();
    expect_bytes(&mut stream, NOISE).await;
}

/// All proposals in one packet, without waiting for an answer.
#[tokio::test]
async fn proposals_may_come_at_once() {
    let ours = ours();
    let mut stream = TcpStream::connect(ours.tcp[0]).await.unwrap();
    stream.write_all(&[HEADER, TLS, NOISE].concat()).await.unwrap();
    expect_bytes(&mut stream, &[HEADER, NA, NOISE].concat()).await;
}

#[tokio::test]
async fn endless_proposals_end() {
    let mut ours = ours();
    let mut stream = TcpStream::connect(ours.tcp[0]).await.unwrap();
    let from = stream.local_addr().unwrap();
    // The connection may be reset while this is written.
    let _ = stream.write_all(&[HEADER, &TLS.repeat(100)].concat()).await;
    assert!(matches!(refused(&mut ours, from).await, Failure::Handshake(_)));
    closed(&mut stream).await;
}

#[tokio::test]
async fn garbage_is_refused() {
    let mut ours = ours();
    let mut random = Seed::new([7; 32]).stream("garbage");
    for round in 0..20 {
        let mut stream = TcpStream::connect(ours.tcp[0]).await.unwrap();
        let from = stream.local_addr().unwrap();
        let mut bytes = match round % 3 {
            0 => Vec::new(),
            1 => HEADER.to_vec(),
            _ => [HEADER, NOISE].concat(),
        };
        bytes.extend_from_slice(&random.array::<2000>());
        let _ = stream.write_all(&bytes).await;
        let reason = refused(&mut ours, from).await;
        assert!(matches!(reason, Failure::Handshake(_)), "round {round} (seed [7; 32]): {reason}");
        closed(&mut stream).await;
    }
    // A browser, a TLS client: as a multistream line these are not even whole.
    let greetings =
        [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"];
    let mut streams = Vec::new();
    for greeting in greetings {
        let mut stream = TcpStream::connect(ours.tcp[0]).await.unwrap();
        let _ = stream.write_all(greeting).await;
        streams.push(stream);
    }
    for mut stream in streams {
        let from = stream.local_addr().unwrap();
        assert!(matches!(refused(&mut ours, from).await, Failure::Handshake(_) | Failure::Timeout));
        closed(&mut stream).await;
    }
}

/// Clients that stop at any stage, or dribble, are closed by our deadline; a member that dials
/// meanwhile is served.
#[tokio::test]
async fn half_a_handshake_then_silence() {
    let mut ours = ours();
    let stages =
        [&b""[..], b"\x13/multi", HEADER, &[HEADER, TLS].concat(), &[HEADER, NOISE, &message_one()].concat()];
    let mut silent = Vec::new();
    for stage in stages {
        let mut stream = TcpStream::connect(ours.tcp[0]).await.unwrap();
        stream.write_all(stage).await.unwrap();
        silent.push(stream);
    }
    let dribbling = TcpStream::connect(ours.tcp[0]).await.unwrap();
    let dribbling_from = dribbling.local_addr().unwrap();
    let (mut read, mut write) = dribbling.into_split();
    let dribble = tokio::spawn(async move {
        // Refused proposals, a byte at a time: never quiet for long, and never through.
        for byte in [HEADER, &TLS.repeat(7)].concat() {
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });

    let mut host = Theirs::start(2).await;
    host.dial(ours.tcp[0]);
    ours.channel_up(host.peer).await;

    for mut stream in silent {
        assert_eq!(refused(&mut ours, stream.local_addr().unwrap()).await, Failure::Timeout);
        closed(&mut stream).await;
    }
    assert_eq!(refused(&mut ours, dribbling_from).await, Failure::Timeout);
    let mut sink = Vec::new();
    let _ = within("end of the dribbling connection", read.read_to_end(&mut sink)).await;
    dribble.abort();
    // The member noticed nothing.
    ours.pings(host.peer, 5).await;
    host.pings(peer_id(1), 5).await;
}

/// The first Noise message of a stranger, with its length.
fn message_one() -> Vec<u8> {
    let identity = Identity::new(RustCrypto, secret(9));
    let mut rng = Seed::new([9; 32]).stream("stranger");
    let key = StaticKey::new(&identity, &mut rng);
    let mut initiator = Initiator::new(&key, &mut rng, Options::default());
    let mut buf = [0; 1024];
    let len = initiator.poll_write(&identity, &mut buf);
    assert!(len > 0);
    let mut answer = [HEADER, NOISE].concat();
    let taken = initiator.handle_bytes(&identity, &mut answer).unwrap();
    assert_eq!(taken, answer.len());
    let len = initiator.poll_write(&identity, &mut buf);
    assert_eq!(len, 2 + 32, "message 1 is one key");
    buf[..len].to_vec()
}
