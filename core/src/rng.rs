//! Randomness without a source of its own: one seed a start, split into one named stream a machine.
//!
//! A stream is ChaCha20 with *fast key erasure*: every refill first replaces its own key, and bytes
//! are wiped as they are handed out, so that a captured state tells nothing that was drawn before.
//! The cipher works on the state in place and wipes its own copy of the key.
//! One more draw in one stream disturbs no other.

use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of the key, with which a refill begins.
const KEY: usize = 32;
/// Bytes that one refill makes: four blocks of the cipher, which it does at once where it can.
const REFILL: usize = 256;

/// The one seed of a start: 32 bytes that the host draws from its system's generator.
///
/// A simulator passes a number of its own; then everything the core does is repeatable.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Wraps 32 bytes. They must be unpredictable wherever secrets matter, and fresh at each start.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The stream called `name`. The same seed and name give the same stream.
    pub fn stream(&self, name: &str) -> Rng {
        let mut hash = Sha256::new();
        hash.update(b"coracle rng stream v1");
        hash.update(self.0);
        hash.update(name.as_bytes());
        Rng::from_key(hash.finalize().into())
    }
}

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(redacted)")
    }
}

/// One stream of random bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Rng {
    /// The next key, and then what is handed out until the next refill.
    state: [u8; REFILL],
    used: usize,
}

impl Rng {
    fn from_key(key: [u8; KEY]) -> Self {
        let mut state = [0; REFILL];
        state[..KEY].copy_from_slice(&key);
        Self { state, used: REFILL }
    }

    /// Fills `out`.
    pub fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used == REFILL {
                self.refill();
            }
            let n = out.len().min(REFILL - self.used);
            let (now, later) = out.split_at_mut(n);
            let source = &mut self.state[self.used..self.used + n];
            now.copy_from_slice(source);
            source.zeroize();
            self.used += n;
            out = later;
        }
    }

    fn refill(&mut self) {
        let mut key = [0; KEY];
        key.copy_from_slice(&self.state[..KEY]);
        let mut cipher = ChaCha20::new((&key).into(), (&[0; 12]).into());
        key.zeroize();
        // What is encrypted is zero, so what comes out is the key stream. Since it is read, these writes stay.
        self.state = [0; REFILL];
        cipher.apply_keystream(&mut self.state);
        self.used = KEY;
    }

    /// An array of random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// Several such arrays, drawn at once.
    pub fn arrays<const N: usize, const M: usize>(&mut self) -> [[u8; N]; M] {
        let mut out = [[0; N]; M];
        self.fill(out.as_flattened_mut());
        out
    }

    /// A random number.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number in `0..n` (0 for `n` = 0). The bias is below n / 2⁶⁴: good for choices and jitter.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(n)) >> 64) as u64
    }
}

impl core::fmt::Debug for Rng {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Rng(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let seed = Seed::new([7; 32]);
        let a: [u8; 600] = seed.stream("a").array();
        assert_eq!(a, seed.stream("a").array());
        assert_ne!(a, seed.stream("b").array());
        // Chunking changes nothing.
        let mut stream = seed.stream("a");
        let mut b = [0; 600];
        for chunk in b.chunks_mut(37) {
            stream.fill(chunk);
        }
        assert_eq!(a, b);
    }

    #[test]
    fn the_stream_is_chacha20_and_the_key_goes_on() {
        // RFC 8439, appendix A.1, test vector 1: the key stream of an all-zero key.
        let mut stream = Rng::from_key([0; 32]);
        let start = [
            0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28,
            0xbd, 0xd2, 0x19, 0xb8, 0xa0, 0x8d, 0xed, 0x1a, 0xa8, 0x36, 0xef, 0xcc, 0x8b, 0x77, 0x0d, 0xc7,
        ];
        let after = [0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d];
        assert_eq!(stream.array(), after);
        assert_eq!(stream.state[..KEY], start);
    }

    #[test]
    fn what_was_drawn_is_gone() {
        let mut stream = Seed::new([1; 32]).stream("x");
        let drawn: [u8; 32] = stream.array();
        assert!(!stream.state.windows(32).any(|w| w == drawn));
        assert!(stream.state[KEY..KEY + 32].iter().all(|b| *b == 0));
    }

    #[test]
    fn below_stays_below() {
        let mut stream = Seed::new([2; 32]).stream("x");
        assert_eq!(stream.below(0), 0);
        assert!((0..1000).all(|_| stream.below(7) < 7));
    }
}
