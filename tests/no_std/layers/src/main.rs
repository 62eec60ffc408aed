//! The layers that need no allocator, in a program without std and without an allocator: a record
//! is signed, decoded and verified, and two nodes run the whole libp2p handshake, on the stack.
//!
//! It links only as long as nothing in those layers reaches for std or for the heap. It exits with
//! 0 when everything held, and with the number of the step that did not otherwise.
#![no_std]
#![no_main]

use core::fmt::Write;

use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    handshake::{Finished, Initiator, Options, Responder, StaticKey},
    limits::{HANDSHAKE_READ_SIZE, HANDSHAKE_WRITE_SIZE},
    record::{Builder, Record},
    rng::Seed,
};

// The C library brings `memcpy` and its like, the start of a program, and a way to print; no allocator of it
// is called.
#[link(name = "c")]
unsafe extern "C" {
    fn write(fd: i32, bytes: *const u8, len: usize) -> isize;
}

/// Standard output.
struct Out;

impl Write for Out {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        // SAFETY: the pointer and the length are those of one slice.
        let written = unsafe { write(1, text.as_ptr(), text.len()) };
        if written < 0 { Err(core::fmt::Error) } else { Ok(()) }
    }
}

/// What a caller puts on its stack, or into its own memory.
fn print_sizes() -> core::fmt::Result {
    writeln!(Out, "{:>6} bytes  a record", size_of::<Record>())?;
    writeln!(Out, "{:>6} bytes  an identity", size_of::<Identity<RustCrypto>>())?;
    writeln!(Out, "{:>6} bytes  a static key", size_of::<StaticKey>())?;
    writeln!(Out, "{:>6} bytes  a handshake that dials", size_of::<Initiator>())?;
    writeln!(Out, "{:>6} bytes  a handshake that listens", size_of::<Responder>())?;
    writeln!(Out, "{:>6} bytes  a finished handshake", size_of::<Finished>())?;
    writeln!(Out, "{HANDSHAKE_READ_SIZE:>6} bytes  a receive buffer for a handshake")?;
    writeln!(Out, "{HANDSHAKE_WRITE_SIZE:>6} bytes  a send buffer for a handshake")
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What the C runtime calls.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    match run() {
        Ok(()) if print_sizes().is_ok() => 0,
        Ok(()) => 2,
        Err(step) => step,
    }
}

fn run() -> Result<(), i32> {
    let seed = Seed::new([7; 32]);
    let alice = identity([1; 32])?;
    let bob = identity([2; 32])?;

    let mut builder = Builder::new();
    builder.set_ip4(Some([127, 0, 0, 1].into())).and_then(|b| b.set_udp4(Some(3610))).map_err(|_| 11)?;
    let record = builder.sign(1, &alice).map_err(|_| 12)?;
    let decoded = Record::decode(record.as_bytes(), &RustCrypto).map_err(|_| 13)?;
    if decoded != record || decoded.peer_id() != alice.peer_id() {
        return Err(14);
    }

    let mut rng = seed.stream("handshake");
    let (alice_key, bob_key) = (StaticKey::new(&alice, &mut rng), StaticKey::new(&bob, &mut rng));
    let expected = Options { expected: Some(bob.peer_id()), ..Options::default() };
    let mut dialler = Initiator::new(&alice_key, &mut rng, expected);
    let mut listener = Responder::new(&bob_key, &mut rng, Options::default());
    let mut to_bob = Pipe::new();
    let mut to_alice = Pipe::new();
    for _ in 0..8 {
        to_bob.fill(|buf| dialler.poll_write(&alice, buf));
        to_bob.drain(|bytes| listener.handle_bytes(&bob, bytes).ok()).ok_or(21)?;
        to_alice.fill(|buf| listener.poll_write(&bob, buf));
        to_alice.drain(|bytes| dialler.handle_bytes(&alice, bytes).ok()).ok_or(22)?;
    }
    let at_alice: Finished = dialler.finish().map_err(|_| 23)?;
    let at_bob: Finished = listener.finish().map_err(|_| 24)?;
    if at_alice.peer_id() != bob.peer_id() || at_bob.peer_id() != alice.peer_id() {
        return Err(25);
    }
    let _channel_at_alice = at_alice.admit(|key| key == bob.public_key()).map_err(|_| 26)?;
    let _channel_at_bob = at_bob.admit(|key| key == alice.public_key()).map_err(|_| 27)?;
    Ok(())
}

fn identity(secret: [u8; 32]) -> Result<Identity<RustCrypto>, i32> {
    Ok(Identity::new(RustCrypto, SecretKey::from_bytes(&secret).map_err(|_| 1)?))
}

/// Bytes on their way.
struct Pipe {
    bytes: [u8; HANDSHAKE_READ_SIZE + HANDSHAKE_WRITE_SIZE],
    len: usize,
}

impl Pipe {
    fn new() -> Self {
        Self { bytes: [0; HANDSHAKE_READ_SIZE + HANDSHAKE_WRITE_SIZE], len: 0 }
    }

    fn fill(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        self.len += write(&mut self.bytes[self.len..]);
    }

    fn drain(&mut self, mut take: impl FnMut(&mut [u8]) -> Option<usize>) -> Option<()> {
        loop {
            let taken = take(&mut self.bytes[..self.len])?;
            if taken == 0 {
                return Some(());
            }
            self.bytes.copy_within(taken..self.len, 0);
            self.len -= taken;
        }
    }
}
