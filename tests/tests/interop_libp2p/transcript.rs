//! What stands on the wire before a channel is up: the names of the protocols in the clear, and the sizes of
//! Noise's frames. `cargo test -p coracle-tests --test interop_libp2p transcript -- --nocapture` prints it.

use std::net::SocketAddr;

use coracle_core::node::Command;
use coracle_tokio::NoStore;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use crate::{
    node::{Running, config, loopback, peer_id, within},
    theirs::Theirs,
};

/// The frame that holds both lines by which a dialler proposes yamux inside Noise, with its tag.
const PROPOSAL: usize = "\u{13}/multistream/1.0.0\n\u{d}/yamux/1.0.0\n".len() + 16;
/// The frame that opens the stream for pings: a header of yamux and both lines, with its tag.
const PING: usize = 12 + "\u{13}/multistream/1.0.0\n\u{11}/ipfs/ping/1.0.0\n".len() + 16;
/// Frames of the channel that are looked at, each way.
const FRAMES: usize = 5;

/// One thing that one side sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sent {
    Line(String),
    Frame(usize),
}

/// Stands between a dialler and `to`; tells what passes, with whether the dialler sent it.
async fn eavesdrop(to: SocketAddr) -> (SocketAddr, mpsc::UnboundedReceiver<(bool, Sent)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (out, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (dialler, _) = listener.accept().await.unwrap();
        let listener = tokio::net::TcpStream::connect(to).await.unwrap();
        let ((from_dialler, to_dialler), (from_listener, to_listener)) =
            (dialler.into_split(), listener.into_split());
        tokio::spawn(pass_on(from_dialler, to_listener, true, out.clone()));
        tokio::spawn(pass_on(from_listener, to_dialler, false, out));
    });
    (at, told)
}

/// Until either end closes.
async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    dialler: bool,
    told: mpsc::UnboundedSender<(bool, Sent)>,
) {
    let (mut unread, mut framed) = (Vec::new(), false);
    while let Ok(1..) = from.read_buf(&mut unread).await {
        while let Some((sent, len)) = first(&unread, framed) {
            framed |= sent == Sent::Line("/noise".into());
            // Told before the other side can answer.
            let _ = told.send((dialler, sent));
            if to.write_all(&unread[..len]).await.is_err() {
                return;
            }
            unread.drain(..len);
        }
    }
}

/// What stands first in the bytes, with its length, once it is whole.
fn first(bytes: &[u8], framed: bool) -> Option<(Sent, usize)> {
    if framed {
        let (len, rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes(*len));
        return (rest.len() >= len).then_some((Sent::Frame(len), 2 + len));
    }
    let (len, rest) = bytes.split_first()?;
    let line = rest.get(..usize::from(*len))?;
    let line = line.strip_suffix(b"\n").unwrap();
    Some((Sent::Line(String::from_utf8(line.to_vec()).unwrap()), 1 + usize::from(*len)))
}

/// Prints what passed until both sides have sent some frames of the channel; the lines, and the sizes of the
/// dialler's and the listener's frames.
async fn transcript(
    title: &str,
    told: &mut mpsc::UnboundedReceiver<(bool, Sent)>,
) -> (Vec<String>, Vec<usize>, Vec<usize>) {
    println!("\n{title}");
    let (mut lines, mut dialler, mut listener) = (Vec::new(), Vec::new(), Vec::new());
    while dialler.len() < 2 + FRAMES || listener.len() < 1 + FRAMES {
        let (by_dialler, sent) = within("more of the transcript", told.recv()).await.unwrap();
        let arrow = if by_dialler { "dialler  ->" } else { "listener <-" };
        match sent {
            Sent::Line(line) => {
                println!("{arrow} {line}");
                lines.push(line);
            }
            Sent::Frame(len) => {
                let frames = if by_dialler { &mut dialler } else { &mut listener };
                frames.push(len);
                let what = match (by_dialler, frames.len()) {
                    (true, 1) => "Noise message 1",
                    (false, 1) => "Noise message 2",
                    (true, 2) => "Noise message 3",
                    _ => "encrypted",
                };
                println!("{arrow} {what}, {len} bytes");
            }
        }
    }
    (lines, dialler, listener)
}

#[tokio::test]
async fn transcript_they_dial_us() {
    let mut ours = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
    let host = Theirs::start_with_tls_first(2).await;
    let (at, mut told) = eavesdrop(ours.tcp[0]).await;
    host.dial(at);
    ours.channel_up(host.peer).await;
    let (lines, dialler, _) = transcript("crate libp2p dials us, and proposes TLS first", &mut told).await;
    for line in ["/multistream/1.0.0", "/tls/1.0.0", "na", "/noise"] {
        assert!(lines.iter().any(|sent| sent == line), "{lines:?}");
    }
    assert_eq!(dialler[0], 32, "message 1 is one key");
    // It opens its first stream without waiting for the answer, in the same frame or in another.
    assert!(matches!(dialler[2] - PROPOSAL, 0 | 12), "by multistream: {dialler:?}");
}

#[tokio::test]
async fn transcript_we_dial_them() {
    let mut ours = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
    let host = Theirs::start(2).await;
    let (at, mut told) = eavesdrop(host.tcp).await;
    ours.request(Command::Hint(host.peer, at)).await;
    ours.channel_up(host.peer).await;
    let (_, dialler, _) = transcript("we dial crate libp2p", &mut told).await;
    assert_eq!(dialler[0], 32, "message 1 is one key");
    assert_eq!(dialler[2], PROPOSAL, "by multistream: {dialler:?}");
}

/// Two of ours agree on yamux in the handshake: neither proposes it again.
#[tokio::test]
async fn transcript_two_of_ours() {
    let mut ours = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
    let other = Running::start(config(2, &[1, 2]), &loopback(), NoStore);
    let (at, mut told) = eavesdrop(other.tcp[0]).await;
    ours.request(Command::Hint(peer_id(2), at)).await;
    ours.channel_up(peer_id(2)).await;
    let (_, dialler, listener) = transcript("one of our nodes dials another", &mut told).await;
    assert_eq!((dialler[2], listener[1]), (PING, PING), "streams at once: {dialler:?} {listener:?}");
}
