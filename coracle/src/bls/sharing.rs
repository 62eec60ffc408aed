//! Keys shared among operators (Shamir): share `i` is the value at `i`, counted from 1, of a polynomial whose
//! value at 0 is the key, and whose degree is the threshold less 1.
//!
//! That public shares lie on one polynomial through the public key is checked for a whole cluster at once. A
//! random combination, of all vectors orthogonal to the values of such polynomials, is zero on honest values
//! (SCRAPE, Cascudo and David 2017, "the dual code"), and on others with a chance of 2^-255. The combination is
//! drawn from a hash of all values, so that who made them could not choose them for it.

use blst::min_pk::AggregatePublicKey;
use coracle_core::crypto::{Crypto, RustCrypto};

use super::{BlsError, PublicKey, SecretKey, scalar::Scalar};

/// Bits of a multiplier.
const SCALAR_BITS: usize = 255;

/// A public key and its public shares, in the operators' order.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The key that the shares make up.
    pub key: PublicKey,
    /// The shares.
    pub shares: Vec<PublicKey>,
}

impl SecretKey {
    /// Splits the key into `shares` shares. Any of them, one more than there are random `coefficients`, make it up
    /// again; fewer tell nothing of it.
    ///
    /// # Errors
    /// No coefficients, which would make each share the key, or as many as shares.
    pub fn split(&self, coefficients: &[Self], shares: usize) -> Result<Vec<Self>, BlsError> {
        let threshold = coefficients.len() + 1;
        if threshold < 2 || threshold > shares {
            return Err(BlsError::Threshold { threshold, shares });
        }
        let mut coefficients: Vec<Scalar> =
            std::iter::once(self).chain(coefficients).map(Scalar::from_secret).collect();
        let share = |index: usize| {
            let mut value = Scalar::evaluate(&coefficients, &position(index));
            let bytes = zeroize::Zeroizing::new(value.to_be_bytes());
            value.wipe();
            Self::from_bytes(&bytes)
        };
        let out = (0..shares).map(share).collect();
        coefficients.iter_mut().for_each(Scalar::wipe);
        out
    }
}

/// The key that the shares make up, given with their indexes counted from 0; `None` without shares, or with one
/// twice.
pub fn recover(shares: &[(usize, PublicKey)]) -> Option<PublicKey> {
    let mut multipliers = Vec::with_capacity(shares.len() * 32);
    for (index, _) in shares {
        // Lagrange's basis polynomial of this share at 0.
        let (mut above, mut below) = (Scalar::from_u64(1), Scalar::from_u64(1));
        for (other, _) in shares.iter().filter(|(other, _)| other != index) {
            above = above.mul(&position(*other));
            below = below.mul(&position(*other).sub(&position(*index)));
        }
        multipliers.extend(above.mul(&below.invert()).to_le_bytes());
    }
    let twice = shares
        .iter()
        .enumerate()
        .any(|(at, (index, _))| shares.iter().take(at).any(|(other, _)| other == index));
    let points: Vec<_> = shares.iter().map(|(_, key)| key.0).collect();
    if twice || points.is_empty() {
        return None;
    }
    let sum =
        AggregatePublicKey::aggregate_with_randomness(&points, &multipliers, SCALAR_BITS, false).ok()?;
    let key = sum.to_public_key();
    key.validate().is_ok().then_some(PublicKey(key))
}

/// The first of these whose shares do not lie, with the key, on one polynomial of degree `threshold` - 1. A
/// threshold that is 0 or above the number of shares fits none.
pub fn first_off_polynomial(all: &[Shared], threshold: usize) -> Option<usize> {
    if let Some(index) = all.iter().position(|one| threshold == 0 || threshold > one.shares.len()) {
        return Some(index);
    }
    if hold_together(all, threshold) {
        return None;
    }
    // Halves, down to the one: the left half holds or has it.
    let (mut from, mut to) = (0, all.len());
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        if all.get(from..middle).is_some_and(|half| hold_together(half, threshold)) {
            from = middle;
        } else {
            to = middle;
        }
    }
    Some(from)
}

/// Whether all of them are as they must be: one multiplication of many points.
fn hold_together(all: &[Shared], threshold: usize) -> bool {
    let seed = seed(all, threshold);
    let mut points = Vec::new();
    let mut multipliers = Vec::new();
    let mut weights = (0, Vec::new());
    for (index, one) in all.iter().enumerate() {
        let count = one.shares.len();
        if weights.0 != count {
            weights = (count, dual_weights(count));
        }
        // Degrees add up: a polynomial of the shares' times this one has a degree below the number of shares.
        let coefficients: Vec<Scalar> =
            (0..=count.saturating_sub(threshold)).map(|power| draw(&seed, index, power)).collect();
        for (at, (weight, key)) in
            weights.1.iter().zip(std::iter::once(&one.key).chain(&one.shares)).enumerate()
        {
            let value = Scalar::evaluate(&coefficients, &Scalar::from_u64(at as u64));
            multipliers.extend(weight.mul(&value).to_le_bytes());
            points.push(key.0);
        }
    }
    let sum = AggregatePublicKey::aggregate_with_randomness(&points, &multipliers, SCALAR_BITS, false);
    // An empty list is one in which nothing is wrong.
    sum.map_or(all.is_empty(), |sum| blst::blst_p1::from(sum) == blst::blst_p1::default())
}

/// For the places 0 to `count`: the inverse of the product of the differences to all others.
fn dual_weights(count: usize) -> Vec<Scalar> {
    let place = |at: usize| Scalar::from_u64(at as u64);
    let weight = |at: usize| {
        let others = (0..=count).filter(|other| *other != at);
        others.fold(place(1), |product, other| product.mul(&place(at).sub(&place(other)))).invert()
    };
    (0..=count).map(weight).collect()
}

fn seed(all: &[Shared], threshold: usize) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(all.len() * 48);
    for one in all {
        bytes.extend((one.shares.len() as u64).to_le_bytes());
        bytes.extend(one.key.to_bytes());
        one.shares.iter().for_each(|share| bytes.extend(share.to_bytes()));
    }
    RustCrypto.sha256(&[b"coracle shares", &(threshold as u64).to_le_bytes(), &bytes])
}

fn draw(seed: &[u8; 32], index: usize, power: usize) -> Scalar {
    let place = [(index as u64).to_le_bytes(), (power as u64).to_le_bytes()].concat();
    Scalar::from_be_bytes(&RustCrypto.sha256(&[seed, &place]))
}

fn position(index: usize) -> Scalar {
    Scalar::from_u64(index as u64 + 1)
}
