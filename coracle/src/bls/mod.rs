//! BLS12-381 as validators use it: keys of 48 bytes, signatures of 96 bytes (consensus-specs, "BLS signatures";
//! the ciphersuite with proofs of possession), and keys that are shared among operators.
//!
//! The arithmetic is that of the crate `blst`. Every function takes any bytes; none of them panics.

mod scalar;
mod sharing;
mod signature;

use blst::min_pk;
use zeroize::Zeroizing;

use scalar::Scalar;

pub use sharing::{Shared, first_off_polynomial, recover};
pub use signature::{Signed, aggregate_verifies, failing};

/// The domain separation tag of Ethereum's signatures.
const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// A public key: a point of the right group that is not the point at infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(min_pk::PublicKey);

/// A secret key, or an operator's share of one. Wiped when dropped; it prints redacted.
#[derive(Clone)]
pub struct SecretKey(min_pk::SecretKey);

/// Random bytes cannot be had, or an argument is outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlsError {
    /// Not a number from 1 to the order of the group less 1.
    #[error("the number is not a BLS secret key")]
    SecretKey,
    /// A threshold that cannot be met, or that one operator meets alone.
    #[error("a threshold of {threshold} does not fit {shares} shares: it is from 2 to the number of shares")]
    Threshold {
        /// The threshold.
        threshold: usize,
        /// The shares.
        shares: usize,
    },
}

impl PublicKey {
    /// Reads a compressed key; `None` if the bytes are none, or the point is not one that a secret key can have.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        min_pk::PublicKey::key_validate(bytes).ok().filter(|_| bytes.len() == 48).map(Self)
    }

    /// The compressed form.
    pub fn to_bytes(&self) -> [u8; 48] {
        self.0.compress()
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

impl SecretKey {
    /// A key derived from 32 random bytes (the KeyGen of the BLS signatures draft).
    ///
    /// # Errors
    /// Never in practice: the derivation refuses only material that is too short.
    pub fn from_random(material: &[u8; 32]) -> Result<Self, BlsError> {
        min_pk::SecretKey::key_gen(material, &[]).map(Self).map_err(|_| BlsError::SecretKey)
    }

    /// Reads a key, big-endian.
    ///
    /// # Errors
    /// Zero, or not below the order of the group.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BlsError> {
        min_pk::SecretKey::from_bytes(bytes).map(Self).map_err(|_| BlsError::SecretKey)
    }

    /// The key itself, big-endian.
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Its public key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.sk_to_pk())
    }

    /// Signs a message, commonly a signing root.
    pub fn sign(&self, message: &[u8]) -> [u8; 96] {
        self.0.sign(message, DST, &[]).compress()
    }

    /// The sum of keys. Its signature of a message is the aggregate of theirs.
    ///
    /// # Errors
    /// The sum is zero, as that of no keys is.
    pub fn sum<'k>(keys: impl IntoIterator<Item = &'k Self>) -> Result<Self, BlsError> {
        let mut sum = Scalar::ZERO;
        for key in keys {
            sum = sum.add(&Scalar::from_secret(key));
        }
        let bytes = Zeroizing::new(sum.to_be_bytes());
        sum.wipe();
        Self::from_bytes(&bytes)
    }
}

/// Calls `each` on every item and keeps their order; on all processors where there are `many` items or more, that
/// is, where the work is worth a thread.
pub(crate) fn map_all<T: Sync, U: Send>(items: &[T], many: usize, each: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if items.len() < many || threads == 1 {
        return items.iter().map(each).collect();
    }
    let of = |part: &[T]| part.iter().map(&each).collect::<Vec<U>>();
    let of = &of;
    std::thread::scope(|scope| {
        let parts = items.chunks(items.len().div_ceil(threads));
        let begun: Vec<_> = parts
            .map(|part| (part, std::thread::Builder::new().spawn_scoped(scope, move || of(part))))
            .collect();
        // A part whose thread could not begin is done here.
        let done = |(part, thread): (&[T], std::io::Result<std::thread::ScopedJoinHandle<'_, Vec<U>>>)| {
            thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| of(part))
        };
        begun.into_iter().flat_map(done).collect()
    })
}

/// From how many points on a thread is worth it.
const MANY_POINTS: usize = 64;

/// Reads many keys, on all processors.
pub fn read_keys<B: AsRef<[u8]> + Sync>(keys: &[B]) -> Vec<Option<PublicKey>> {
    map_all(keys, MANY_POINTS, |bytes| PublicKey::from_bytes(bytes.as_ref()))
}

#[cfg(test)]
mod tests;
