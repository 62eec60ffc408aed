//! Only the handshake and the channel, over a transport of somebody else's: here a TCP stream of std's and
//! two blocking threads; it may be a serial line or a WebSocket, as long as it keeps the order of bytes.
//!
//! Each side has four duties: write what `poll_write` gives, keep what was not taken, keep a deadline, and
//! let nobody in whom it does not know.
//!
//! Run it: `cargo run -p coracle-core --example handshake`
#![allow(clippy::expect_used)] // an example: it ends where it cannot go on
#![allow(clippy::disallowed_types)] // a driver has a clock; the core has none

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use coracle_core::{
    channel::{Channel, ChannelConfig, ChannelEvent},
    crypto::{Identity, PublicKey, RustCrypto, SecretKey},
    handshake::{Admitted, Initiator, Options, Responder, StaticKey},
    limits::{CHANNEL_READ_SIZE, HANDSHAKE_WRITE_SIZE},
    rng::{Rng, Seed},
    time::Instant,
};

/// One end of the transport, and what it gave that was not taken.
struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let dialled = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    let [alice, bob] = [1, 2].map(|n| {
        let secret = SecretKey::from_bytes(&[n; 32]).expect("a valid key");
        Identity::new(RustCrypto, secret)
    });
    let (alice_key, bob_key) = (*alice.public_key(), *bob.public_key());
    let listening = thread::spawn(move || listen(&bob, &alice_key, accepted));
    dial(&alice, &bob_key, dialled)?;
    listening.join().expect("the thread does not panic")
}

/// The side that dialled: it names whom it expects, and shows its own identity to nobody else.
fn dial(own: &Identity<RustCrypto>, other: &PublicKey, stream: TcpStream) -> io::Result<()> {
    let (mut wire, mut rng) = (Wire::new(stream)?, Seed::new([1; 32]).stream("handshake")); // 32 random bytes
    let static_key = StaticKey::new(own, &mut rng);
    let expected = Some(coracle_core::id::PeerId::from_public_key(other));
    let mut machine = Initiator::new(&static_key, &mut rng, Options { expected, ..Options::default() });
    let finished = loop {
        wire.write(|buf| machine.poll_write(own, buf))?;
        machine = match machine.finish() {
            Ok(finished) => break finished,
            Err(machine) => machine,
        };
        if !wire.read(|bytes| machine.handle_bytes(own, bytes))? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    println!("the dialler has {}", finished.peer_id());
    ping(own, finished.admit(|key| key == other).map_err(io::Error::other)?, wire, &mut rng)
}

/// The side that was dialled: it lets in whom it knows.
fn listen(own: &Identity<RustCrypto>, other: &PublicKey, stream: TcpStream) -> io::Result<()> {
    let (mut wire, mut rng) = (Wire::new(stream)?, Seed::new([2; 32]).stream("handshake")); // 32 random bytes
    let static_key = StaticKey::new(own, &mut rng);
    let mut machine = Responder::new(&static_key, &mut rng, Options::default());
    let finished = loop {
        wire.write(|buf| machine.poll_write(own, buf))?;
        machine = match machine.finish() {
            Ok(finished) => break finished,
            Err(machine) => machine,
        };
        if !wire.read(|bytes| machine.handle_bytes(own, bytes))? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    println!("the listener has {}", finished.peer_id());
    ping(own, finished.admit(|key| key == other).map_err(io::Error::other)?, wire, &mut rng)
}

/// The channel after it, until a ping was answered and the other side has left.
fn ping(own: &Identity<RustCrypto>, admitted: Admitted, mut wire: Wire, rng: &mut Rng) -> io::Result<()> {
    let (start, role) = (std::time::Instant::now(), admitted.finished().role());
    let now = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
    let config = ChannelConfig { ping_interval: Some(Duration::from_millis(10)), ..ChannelConfig::default() };
    let mut channel = Channel::new(admitted, now(), config, rng);
    let mut pings = 0;
    loop {
        channel.handle_timeout(now());
        wire.write(|buf| channel.poll_write(own.crypto(), now(), buf))?;
        while let Some(event) = channel.poll_event() {
            println!("{role:?}: {event:?}");
            match event {
                // The dialler leaves once both have had theirs: the listener's pings come in between.
                ChannelEvent::Pong { .. } => pings += 1,
                ChannelEvent::Closed { .. } if pings > 0 => return Ok(()),
                ChannelEvent::Closed { reason, .. } => return Err(io::Error::other(reason)),
                _ => {}
            }
        }
        if pings == 5 {
            channel.close(now());
            pings += 1;
        } else if !wire.read(|bytes| channel.handle_bytes(own.crypto(), now(), bytes))? {
            channel.handle_eof();
        }
    }
}

impl Wire {
    fn new(stream: TcpStream) -> io::Result<Self> {
        // So that a deadline is kept while nothing arrives.
        stream.set_read_timeout(Some(Duration::from_millis(5)))?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Writes all that a machine has to write.
    fn write(&mut self, mut poll_write: impl FnMut(&mut [u8]) -> usize) -> io::Result<()> {
        let mut buf = vec![0; CHANNEL_READ_SIZE.max(HANDSHAKE_WRITE_SIZE)];
        loop {
            match poll_write(&mut buf) {
                0 => return Ok(()),
                // What went wrong is told by reading.
                n => drop(self.stream.write_all(&buf[..n])),
            }
        }
    }

    /// Waits a moment for more, and offers all that was not taken yet. False at the end of the stream.
    fn read<E: std::error::Error + Send + Sync + 'static>(
        &mut self,
        handle: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> io::Result<bool> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(n) => self.received.extend_from_slice(&chunk[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            // Closed with something unread on the other side's way.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error),
        }
        let taken = handle(&mut self.received).map_err(io::Error::other)?;
        self.received.drain(..taken);
        Ok(true)
    }
}
