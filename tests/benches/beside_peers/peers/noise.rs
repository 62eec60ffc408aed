//! The crates `libp2p` (its Noise and its TCP transport) and `snow`.

use std::{
    collections::VecDeque,
    hint::black_box,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent},
        upgrade::{InboundConnectionUpgrade as _, OutboundConnectionUpgrade as _, Version},
    },
    identity::Keypair,
    noise, tcp, yamux,
};

use crate::{backend::secret, measure::Op, runtime};

fn keypair(number: u32) -> Keypair {
    let secret = libp2p::identity::secp256k1::SecretKey::try_from_bytes(*secret(number).expose()).unwrap();
    libp2p::identity::secp256k1::Keypair::from(secret).into()
}

#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    reader: Option<Waker>,
}

/// One end of a connection in memory.
struct End {
    read: Arc<Mutex<Way>>,
    write: Arc<Mutex<Way>>,
}

fn ends() -> [End; 2] {
    let [a, b] = [(); 2]
        .map(|()| Arc::new(Mutex::new(Way { bytes: VecDeque::with_capacity(160 << 10), reader: None })));
    [End { read: Arc::clone(&a), write: Arc::clone(&b) }, End { read: b, write: a }]
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut way = self.read.lock().unwrap();
        if way.bytes.is_empty() {
            way.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(io::Read::read(&mut way.bytes, buf))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut way = self.write.lock().unwrap();
        way.bytes.extend(buf);
        if let Some(reader) = way.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn meet([a, b]: [End; 2], configs: &[noise::Config; 2]) -> [noise::Output<End>; 2] {
    let (first, second) = futures::join!(
        configs[0].clone().upgrade_outbound(a, "/noise"),
        configs[1].clone().upgrade_inbound(b, "/noise")
    );
    [first.unwrap().1, second.unwrap().1]
}

fn configs() -> [noise::Config; 2] {
    [1, 2].map(|number| noise::Config::new(&keypair(number)).unwrap())
}

/// Both sides of a handshake with identities.
pub(crate) fn with_identity() -> Op {
    let configs = configs();
    Op::prepared(
        Vec::new(),
        8,
        |ready: &mut Vec<[End; 2]>| ready.extend((0..8).map(|_| ends())),
        move |ready| {
            for ends in ready.drain(..) {
                black_box(futures::executor::block_on(meet(ends, &configs)));
            }
        },
    )
}

/// Both sides of a handshake by `snow`, which knows no identities.
pub(crate) fn without_identity() -> Op {
    let pattern = || "Noise_XX_25519_ChaChaPoly_SHA256".parse().unwrap();
    let keys = [[1; 32], [2; 32]];
    Op::new(move || {
        let builder = |i: usize| snow::Builder::new(pattern()).local_private_key(&keys[i]).unwrap();
        let (mut a, mut b) = (builder(0).build_initiator().unwrap(), builder(1).build_responder().unwrap());
        let (mut message, mut payload) = ([0; 1024], [0; 1024]);
        for turn in 0..3 {
            let (from, to) = if turn % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
            let n = from.write_message(&[], &mut message).unwrap();
            to.read_message(&message[..n], &mut payload).unwrap();
        }
        black_box((a.into_transport_mode().unwrap(), b.into_transport_mode().unwrap()));
    })
}

/// 64 KiB through the encrypted connection, without a muxer.
pub(crate) fn transfer() -> Op {
    let [mut a, mut b] = futures::executor::block_on(meet(ends(), &configs()));
    let (bytes, mut sink) = (vec![7; 64 << 10], vec![0; 64 << 10]);
    Op::new(move || {
        futures::executor::block_on(async {
            let write = async {
                a.write_all(black_box(&bytes)).await.unwrap();
                a.flush().await.unwrap();
            };
            let ((), read) = futures::join!(write, b.read_exact(&mut sink));
            read.unwrap();
        });
        assert_eq!(sink[(64 << 10) - 1], 7);
    })
}

type Tcp = Boxed<(libp2p::PeerId, StreamMuxerBox)>;

fn transport(number: u32) -> Tcp {
    tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&keypair(number)).unwrap())
        .multiplex(yamux::Config::default())
        .boxed()
}

/// A TCP connection over loopback with Noise and yamux agreed on, on both sides.
pub(crate) fn connection() -> Op {
    let runtime = runtime();
    let inside = runtime.enter();
    let (mut dialler, mut listener) = (transport(1), transport(2));
    listener.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address = runtime.block_on(async {
        match listener.next().await.unwrap() {
            TransportEvent::NewAddress { listen_addr, .. } => listen_addr,
            other => panic!("an address, not {other:?}"),
        }
    });
    drop(inside);
    let options = DialOpts { role: libp2p::core::Endpoint::Dialer, port_use: PortUse::New };
    Op::new(move || {
        runtime.block_on(async {
            let dial = dialler.dial(address.clone(), options).unwrap();
            let accept = async {
                loop {
                    if let TransportEvent::Incoming { upgrade, .. } = listener.next().await.unwrap() {
                        return upgrade.await;
                    }
                }
            };
            let (dialled, accepted) = tokio::join!(dial, accept);
            black_box((dialled.unwrap(), accepted.unwrap()));
        });
    })
}
