//! Signatures: many at once, and one by many keys.

use blst::{
    BLST_ERROR, blst_scalar,
    min_pk::{self, AggregatePublicKey},
};
use coracle_core::crypto::{Crypto, RustCrypto};

use super::{DST, MANY_POINTS, PublicKey, map_all};

/// Bits of the random multipliers that keep bad signatures of a batch from making up for each other.
const BATCH_BITS: usize = 128;

/// A message, who signed it, and the signature.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The signer.
    pub key: PublicKey,
    /// What was signed: a signing root.
    pub message: [u8; 32],
    /// The signature's bytes, whatever they are.
    pub signature: Vec<u8>,
}

/// The indexes of the signatures that do not hold, in order, `most` of them at most. Where all hold, this costs
/// about half of checking each.
pub fn failing(all: &[Signed], most: usize) -> Vec<usize> {
    let signatures = map_all(all, MANY_POINTS, |signed| read(&signed.signature));
    let mut out = Vec::new();
    // Runs still to be checked, the first on top. A run that does not hold is halved.
    let mut runs = vec![(0, all.len())];
    while let Some((from, to)) = runs.pop() {
        if out.len() >= most {
            break;
        }
        let (Some(some), Some(read)) = (all.get(from..to), signatures.get(from..to)) else { continue };
        if hold(some, read) {
            continue;
        }
        if to - from == 1 {
            out.push(from);
            continue;
        }
        let middle = from + (to - from) / 2;
        runs.extend([(middle, to), (from, middle)]);
    }
    out
}

/// Whether `signature` is the aggregate of signatures of one message by all keys. There must be a key.
pub fn aggregate_verifies(keys: &[PublicKey], message: &[u8], signature: &[u8]) -> bool {
    let keys: Vec<_> = keys.iter().map(|key| &key.0).collect();
    let Some(signature) = read(signature) else { return false };
    let Ok(sum) = AggregatePublicKey::aggregate(&keys, false) else { return false };
    let sum = sum.to_public_key();
    sum.validate().is_ok()
        && signature.verify(true, message, DST, &[], &sum, false) == BLST_ERROR::BLST_SUCCESS
}

/// A compressed signature that is a point of the curve. Its group is checked with the signature.
fn read(bytes: &[u8]) -> Option<min_pk::Signature> {
    min_pk::Signature::uncompress(bytes).ok()
}

fn hold(all: &[Signed], signatures: &[Option<min_pk::Signature>]) -> bool {
    let Some(signatures) = signatures.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
        return false;
    };
    match (all, signatures.as_slice()) {
        ([], _) => true,
        ([one], [signature]) => {
            let outcome = signature.verify(true, &one.message, DST, &[], &one.key.0, false);
            outcome == BLST_ERROR::BLST_SUCCESS
        }
        _ => {
            let messages: Vec<&[u8]> = all.iter().map(|one| one.message.as_slice()).collect();
            let keys: Vec<_> = all.iter().map(|one| &one.key.0).collect();
            let outcome = min_pk::Signature::verify_multiple_aggregate_signatures(
                &messages,
                DST,
                &keys,
                false,
                &signatures,
                true,
                &multipliers(all),
                BATCH_BITS,
            );
            outcome == BLST_ERROR::BLST_SUCCESS
        }
    }
}

/// One multiplier each, drawn from a hash of all, so that who made the signatures could not choose them for it.
fn multipliers(all: &[Signed]) -> Vec<blst_scalar> {
    let mut bytes = Vec::new();
    for one in all {
        bytes.extend(one.key.to_bytes());
        bytes.extend(one.message);
        bytes.extend(&one.signature);
    }
    let seed = RustCrypto.sha256(&[b"coracle signatures", &bytes]);
    let multiplier = |index: usize| {
        let mut b = RustCrypto.sha256(&[&seed, &(index as u64).to_le_bytes()]);
        // Never zero.
        b[0] |= 1;
        blst_scalar { b }
    };
    (0..all.len()).map(multiplier).collect()
}
