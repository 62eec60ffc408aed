//! Noise with the libp2p identity, the channel after it, and both over TCP.

use std::{hint::black_box, io};

use coracle_core::{
    channel::{Channel, ChannelConfig, ChannelEvent, Payload, Protocols, StreamNews},
    crypto::Identity,
    handshake::{Admitted, Initiator, Options, Responder, StaticKey},
    limits::{CHANNEL_READ_SIZE, HANDSHAKE_READ_SIZE, HANDSHAKE_WRITE_SIZE},
    rng::{Rng, Seed},
    time::Instant,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    backend::{Backend, identity},
    measure::Op,
    runtime,
};

/// Two identities, their static keys, and randomness.
struct Ends<B: Backend> {
    identities: [Identity<B>; 2],
    keys: [StaticKey; 2],
    rng: Rng,
}

impl<B: Backend> Ends<B> {
    fn new() -> Self {
        let mut rng = Seed::new([3; 32]).stream("bench");
        let identities = [1, 2].map(identity);
        let keys = [0, 1].map(|i| StaticKey::new(&identities[i], &mut rng));
        Self { identities, keys, rng }
    }

    fn meet(&mut self) -> [Admitted; 2] {
        let [a, b] = &self.identities;
        let options = Options { expected: Some(b.peer_id()), ..Options::default() };
        let mut dialler = Initiator::new(&self.keys[0], &mut self.rng, options);
        let mut listener = Responder::new(&self.keys[1], &mut self.rng, Options::default());
        let mut buf = [0; HANDSHAKE_WRITE_SIZE];
        while !listener.is_finished() {
            let n = dialler.poll_write(a, &mut buf);
            assert_eq!(listener.handle_bytes(b, &mut buf[..n]), Ok(n));
            let n = listener.poll_write(b, &mut buf);
            assert_eq!(dialler.handle_bytes(a, &mut buf[..n]), Ok(n));
        }
        let (Ok(a), Ok(b)) = (dialler.finish(), listener.finish()) else { panic!("not finished") };
        [a, b].map(|end| end.admit(|_| true).unwrap())
    }
}

/// Both sides of a handshake, multistream-select and admission included.
pub(crate) fn noise<B: Backend>() -> Op {
    let mut ends = Ends::<B>::new();
    Op::new(move || {
        let _ = black_box(ends.meet());
    })
}

const NOW: Instant = Instant::from_millis(1);

fn quiet() -> ChannelConfig {
    let protocols = Protocols::new(["/bench/1.0.0"]).unwrap();
    ChannelConfig { ping_interval: None, protocols, ..ChannelConfig::default() }
}

/// Two channels, and one frame at a time on its way between them.
struct Pair<B: Backend> {
    crypto: B,
    channels: [Channel; 2],
    /// Where each side writes, and reads.
    write: Vec<u8>,
    read: Vec<u8>,
}

impl<B: Backend> Pair<B> {
    fn new() -> Self {
        let mut ends = Ends::<B>::new();
        let admitted = ends.meet();
        let channels = admitted.map(|end| Channel::new(end, NOW, quiet(), &mut ends.rng));
        let mut pair = Self {
            crypto: B::make(),
            channels,
            write: vec![0; CHANNEL_READ_SIZE],
            read: vec![0; CHANNEL_READ_SIZE],
        };
        pair.settle();
        pair
    }

    /// Lets everything that is owed arrive.
    fn settle(&mut self) {
        let mut idle = 0;
        for side in (0..2).cycle() {
            let n = self.channels[side].poll_write(&self.crypto, NOW, &mut self.write);
            idle = if n == 0 { idle + 1 } else { 0 };
            if idle == 2 {
                return;
            }
            self.read[..n].copy_from_slice(&self.write[..n]);
            let taken = self.channels[1 - side].handle_bytes(&self.crypto, NOW, &mut self.read[..n]);
            assert_eq!(taken, Ok(n));
        }
    }

    /// Opens a stream from the first to the second; its number on both sides.
    fn open(&mut self) -> u32 {
        let stream = self.channels[0].open_stream(NOW, 0, false).unwrap();
        self.settle();
        for side in 0..2 {
            let news = self.channels[side].poll_stream(false, |_| true);
            assert!(
                matches!(news, Some(StreamNews::Opened { .. } | StreamNews::Accepted { .. })),
                "{news:?}"
            );
        }
        stream
    }

    /// Sends `bytes` over a stream into `sink`.
    fn send(&mut self, stream: u32, mut bytes: &[u8], mut sink: &mut [u8]) {
        while !bytes.is_empty() {
            let payload = Payload::new(bytes);
            let written =
                self.channels[0].write_stream(&self.crypto, NOW, stream, payload, &mut self.write).unwrap();
            assert!(written.taken > 0);
            bytes = &bytes[written.taken..];
            // What the network does.
            let frame = &mut self.read[..written.len];
            frame.copy_from_slice(&self.write[..written.len]);
            let channel = &mut self.channels[1];
            while channel.handle_bytes(&self.crypto, NOW, frame) == Ok(0) {
                let offered = channel.offered().unwrap();
                let (taken, rest) = std::mem::take(&mut sink).split_at_mut(offered.len);
                taken.copy_from_slice(&frame[offered.offset..][..offered.len]);
                sink = rest;
                channel.take(stream, offered.len);
                channel.release(stream, offered.len);
            }
        }
        self.settle();
    }
}

/// 64 KiB through a yamux stream in a channel, and the window given back.
pub(crate) fn transfer<B: Backend>() -> Op {
    let mut pair = Pair::<B>::new();
    let stream = pair.open();
    let (bytes, mut sink) = (vec![7; 64 << 10], vec![0; 64 << 10]);
    Op::new(move || {
        pair.send(stream, black_box(&bytes), &mut sink);
        assert_eq!(sink[(64 << 10) - 1], 7);
    })
}

/// One side's connection until streams can be opened in it.
async fn upgrade<M>(
    mut stream: TcpStream,
    mut machine: M,
    mut write: impl FnMut(&mut M, &mut [u8]) -> usize,
    mut read: impl FnMut(&mut M, &mut [u8]) -> usize,
    finished: impl Fn(&M) -> bool,
) -> io::Result<(TcpStream, M)> {
    stream.set_nodelay(true)?;
    let (mut out, mut received, mut len) = ([0; HANDSHAKE_WRITE_SIZE], [0; HANDSHAKE_READ_SIZE], 0);
    loop {
        let n = write(&mut machine, &mut out);
        if n > 0 {
            stream.write_all(&out[..n]).await?;
        }
        if finished(&machine) {
            return Ok((stream, machine));
        }
        let n = stream.read(&mut received[len..]).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        len += n;
        let taken = read(&mut machine, &mut received[..len]);
        received.copy_within(taken..len, 0);
        len -= taken;
    }
}

/// A TCP connection over loopback, Noise, admission, and a channel with its muxer agreed on, on both sides.
pub(crate) fn connection<B: Backend>() -> Op {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let mut ends = Ends::<B>::new();
    let config = quiet();
    Op::new(move || {
        let Ends { identities: [a, b], keys, rng } = &mut ends;
        let options = Options { expected: Some(b.peer_id()), ..Options::default() };
        let dialler = Initiator::new(&keys[0], rng, options);
        let responder = Responder::new(&keys[1], rng, Options::default());
        let dial = async {
            let stream = TcpStream::connect(address).await?;
            let write = |machine: &mut Initiator, out: &mut [u8]| machine.poll_write(a, out);
            let read = |machine: &mut Initiator, bytes: &mut [u8]| machine.handle_bytes(a, bytes).unwrap();
            upgrade(stream, dialler, write, read, Initiator::is_finished).await
        };
        let accept = async {
            let (stream, _) = listener.accept().await?;
            let write = |machine: &mut Responder, out: &mut [u8]| machine.poll_write(b, out);
            let read = |machine: &mut Responder, bytes: &mut [u8]| machine.handle_bytes(b, bytes).unwrap();
            upgrade(stream, responder, write, read, Responder::is_finished).await
        };
        let (dialled, accepted) = runtime.block_on(async { tokio::join!(dial, accept) });
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        let (Ok(a), Ok(b)) = (dialled.1.finish(), accepted.1.finish()) else { panic!("not finished") };
        for end in [a, b] {
            let mut channel = Channel::new(end.admit(|_| true).unwrap(), NOW, config.clone(), rng);
            assert!(matches!(channel.poll_event(), Some(ChannelEvent::Ready { .. })));
        }
        drop((dialled.0, accepted.0));
    })
}
