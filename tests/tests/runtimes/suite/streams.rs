//! Streams inside channels: bytes both ways, ends, back-pressure, and streams that nobody reads.

use std::{io, time::Duration};

use coracle_core::{
    channel::StreamEnd,
    limits::YAMUX_WINDOW,
    node::{Command, Config, ProtocolId, StreamError},
};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, io::AsyncRead};

use super::adapter::{self, AskError, Gone, Incoming, Limits, NoStore, OpenError, futures_io};
use super::node::{DEADLINE, Running, config, loopback, peer_id, within};

const ECHO: ProtocolId = ProtocolId(0);
const SINK: ProtocolId = ProtocolId(1);

fn speaking(own: u8) -> Config {
    let mut config = config(own, &[1, 2]);
    config.protocols = vec!["/test/echo/1.0.0".into(), "/test/sink/1.0.0".into()];
    config
}

/// Two connected nodes that speak both protocols, and the second's incoming streams.
async fn pair() -> (Running, Running, Incoming) {
    let mut a = Running::start(speaking(1), &loopback(), NoStore);
    let mut b = Running::start(speaking(2), &loopback(), NoStore);
    let incoming = b.handle.incoming().expect("nobody took it");
    assert!(b.handle.incoming().is_none());
    a.request(Command::Hint(peer_id(2), b.tcp[0])).await;
    a.channel_up(peer_id(2)).await;
    b.channel_up(peer_id(1)).await;
    a.pings(peer_id(2), 1).await;
    (a, b, incoming)
}

/// `len` bytes that depend on their place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    within("end of a stream", stream.read_to_end(&mut all)).await?;
    Ok(all)
}

/// Echoes every stream of the protocol until the node ends.
async fn echo(mut incoming: Incoming) {
    while let Some(stream) = incoming.accept().await {
        assert_eq!((stream.peer(), stream.protocol()), (peer_id(1), ECHO));
        drop(adapter::spawn(async move {
            let (read, mut write) = futures_io(stream).split();
            if futures::io::copy(read, &mut write).await.is_ok() {
                let _ = write.close().await;
            }
        }));
    }
}

#[adapter::test]
async fn bytes_come_back() {
    let (a, b, incoming) = pair().await;
    let echo = adapter::spawn(echo(incoming));
    // Nothing, a byte, more than a window, and many streams at one time.
    let exchange = async |len: usize| {
        let stream = within("stream", a.handle.open(peer_id(2), ECHO)).await.unwrap();
        let sent = pattern(len);
        let (read, mut write) = futures_io(stream).split();
        let sending = async {
            write.write_all(&sent).await.unwrap();
            write.close().await.unwrap();
        };
        let (heard, ()) = within("echo", futures::future::join(read_to_end(read), sending)).await;
        assert!(heard.unwrap() == sent, "{len} bytes came back otherwise");
    };
    for len in [0, 1, 3 * YAMUX_WINDOW as usize + 1] {
        exchange(len).await;
    }
    let many = (0..20).map(|i| exchange(i * 5_000));
    futures::future::join_all(many).await;
    within("shutdown", b.handle.shutdown()).await;
    within("end of the incoming streams", echo).await.unwrap();
}

#[adapter::test]
async fn what_is_refused_is_told() {
    let (mut a, b, incoming) = pair().await;
    let error = within("refusal", a.handle.open(peer_id(9), ECHO)).await.unwrap_err();
    assert_eq!(error, OpenError::Refused(StreamError::NotAMember));
    let error = within("refusal", a.handle.open(peer_id(2), ProtocolId(7))).await.unwrap_err();
    assert_eq!(error, OpenError::Refused(StreamError::UnknownProtocol));
    // Nobody accepts any more: the stream is agreed on and reset, perhaps before we hear of the one or the other.
    drop(incoming);
    match within("stream", a.handle.open(peer_id(2), ECHO)).await {
        Ok(stream) => {
            let error = read_to_end(futures_io(stream)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        Err(error) => assert_eq!(error, OpenError::Gone(Gone::Stream(StreamEnd::ResetByPeer))),
    }
    within("shutdown", b.handle.shutdown()).await;
    a.channel_down().await;
    let error = within("refusal", a.handle.open(peer_id(2), ECHO)).await.unwrap_err();
    assert_eq!(error, OpenError::Refused(StreamError::NotConnected));
    within("shutdown", a.handle.shutdown()).await;
    assert!(matches!(a.handle.open(peer_id(2), ECHO).await, Err(OpenError::Gone(_))));
}

/// Who does not read stops who writes, and nobody else; nothing is lost.
#[adapter::test]
async fn a_slow_reader_holds_up_its_own_stream_only() {
    let (mut a, _b, mut incoming) = pair().await;
    let slow = within("stream", a.handle.open(peer_id(2), SINK)).await.unwrap();
    let mut slow = futures_io(slow);
    let at_b = within("stream", incoming.accept()).await.unwrap();
    let sent = pattern(4 * YAMUX_WINDOW as usize);
    let mut at = 0;
    // Until pongs have come back again and again and not a byte more was taken.
    let mut quiet = 0;
    while quiet < 4 {
        match slow.write(&sent[at..]).now_or_never() {
            Some(n) => (at, quiet) = (at + n.unwrap(), 0),
            None => {
                quiet += 1;
                a.forget();
                a.pings(peer_id(2), 2).await;
            }
        }
        assert!(at < sent.len(), "nothing held up {at} bytes");
    }
    assert!(at >= YAMUX_WINDOW as usize, "held up before the window: {at}");
    // Another stream of the same connection goes on meanwhile.
    let quick = within("stream", a.handle.open(peer_id(2), ECHO)).await.unwrap();
    let other = within("stream", incoming.accept()).await.unwrap();
    let (mut quick, mut other) = (futures_io(quick), futures_io(other));
    within("quick write", quick.write_all(b"meanwhile")).await.unwrap();
    let mut heard = [0; 9];
    within("quick read", other.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"meanwhile");
    // And the slow one when it is read.
    let rest = async {
        slow.write_all(&sent[at..]).await.unwrap();
        slow.close().await.unwrap();
    };
    let (heard, ()) = within("the rest", futures::future::join(read_to_end(futures_io(at_b)), rest)).await;
    assert!(heard.unwrap() == sent, "{at} bytes and the rest came otherwise");
}

/// Dropped before its end a stream is reset; after it, what was written still arrives.
#[adapter::test]
async fn dropped_streams() {
    let (a, b, mut incoming) = pair().await;
    for finished in [false, true] {
        let stream = within("stream", a.handle.open(peer_id(2), SINK)).await.unwrap();
        let mut stream = futures_io(stream);
        let accepted = within("stream", incoming.accept()).await.unwrap();
        within("write", stream.write_all(&pattern(1000))).await.unwrap();
        if finished {
            within("close", stream.close()).await.unwrap();
            drop(stream);
            assert!(read_to_end(futures_io(accepted)).await.unwrap() == pattern(1000));
        } else {
            within("flush", stream.flush()).await.unwrap();
            drop(stream);
            let error = read_to_end(futures_io(accepted)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
    // The node's end is the streams' end.
    let stream = within("stream", a.handle.open(peer_id(2), SINK)).await.unwrap();
    let accepted = within("stream", incoming.accept()).await.unwrap();
    let waiting = adapter::spawn(async move { read_to_end(futures_io(accepted)).await });
    within("shutdown", b.handle.shutdown()).await;
    assert!(within("the reader's end", waiting).await.unwrap().is_err());
    assert!(read_to_end(futures_io(stream)).await.is_err());
}

/// A wish for a stream, a read or a write that is given up leaves the others as they are.
#[adapter::test]
async fn cancelled_at_any_await() {
    let (a, _b, incoming) = pair().await;
    drop(adapter::spawn(echo(incoming)));
    for polls in 0..4 {
        for _ in 0..3 {
            super::cancellation::cancelled_after(polls, a.handle.open(peer_id(2), ECHO)).await;
        }
        let stream = within("stream", a.handle.open(peer_id(2), ECHO)).await.unwrap();
        let mut stream = futures_io(stream);
        let mut buf = [0; 4];
        super::cancellation::cancelled_after(polls, stream.read(&mut buf)).await;
        within("write", stream.write_all(b"four")).await.unwrap();
        within("read", stream.read_exact(&mut buf)).await.unwrap();
        assert_eq!(&buf, b"four");
        within("close", stream.close()).await.unwrap();
        assert_eq!(read_to_end(stream).await.unwrap(), b"");
    }
    let snapshot = adapter::timeout(DEADLINE, a.handle.snapshot()).await.unwrap().unwrap();
    assert_eq!(snapshot.members[0].channels, 1);
}

/// One message each way; and every way in which that fails says which side ended it.
#[adapter::test]
async fn requests_and_responses() {
    let (mut a, b, mut incoming) = pair().await;
    let limits = Limits { size: 100_000, time: DEADLINE };
    let serving = adapter::spawn(async move {
        while let Some(mut stream) = incoming.accept().await {
            if stream.protocol() != ECHO {
                drop(stream);
                continue;
            }
            match stream.read_request(limits).await.unwrap().as_slice() {
                b"silence" => drop(adapter::spawn(async move {
                    // Kept longer than the other side waits.
                    adapter::sleep(DEADLINE).await;
                    drop(stream);
                })),
                b"reset" => drop(stream),
                b"half" => {
                    let mut stream = futures_io(stream);
                    stream.write_all(&[2, 7]).await.unwrap();
                    stream.close().await.unwrap();
                }
                b"nonsense" => {
                    let mut stream = futures_io(stream);
                    stream.write_all(&[0x80, 0]).await.unwrap();
                    stream.close().await.unwrap();
                }
                request => stream.respond(request, DEADLINE).await.unwrap(),
            }
        }
    });
    let ask = async |request: Vec<u8>, limits| {
        within("answer", a.handle.ask(peer_id(2), ECHO, &request, limits)).await
    };
    for len in [0, 1, 127, 128, 100_000] {
        assert!(ask(pattern(len), limits).await.unwrap() == pattern(len), "{len} bytes");
    }
    let small = Limits { size: 9, ..limits };
    assert_eq!(ask(pattern(10), small).await, Err(AskError::TooLong { len: 10, limit: 9 }));
    let reset = Gone::Stream(StreamEnd::ResetByPeer);
    assert_eq!(ask(b"reset".to_vec(), limits).await, Err(AskError::Gone(reset)));
    assert_eq!(ask(b"half".to_vec(), limits).await, Err(AskError::Unfinished));
    assert!(matches!(ask(b"nonsense".to_vec(), limits).await, Err(AskError::Length(_))));
    let short = Limits { time: Duration::from_millis(50), ..limits };
    assert_eq!(ask(b"silence".to_vec(), short).await, Err(AskError::Timeout(short.time)));
    let refused = within("refusal", a.handle.ask(peer_id(2), SINK, b"?", limits)).await.unwrap_err();
    // The reset may come before both sides have agreed on the protocol.
    assert!([AskError::Gone(reset), AskError::Open(OpenError::Gone(reset))].contains(&refused), "{refused}");
    let stranger = within("refusal", a.handle.ask(peer_id(9), ECHO, b"?", limits)).await;
    assert_eq!(stranger, Err(AskError::Open(OpenError::Refused(StreamError::NotAMember))));
    within("shutdown", b.handle.shutdown()).await;
    within("end of the incoming streams", serving).await.unwrap();
    a.channel_down().await;
}
