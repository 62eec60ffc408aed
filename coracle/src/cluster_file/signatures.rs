//! Signatures of secp256k1 keys in the 65-byte form of cluster files: R ‖ S ‖ V.

use coracle_core::crypto::{Crypto, PublicKey, RustCrypto, SecretKey, Signature};
use k256::ecdsa::{RecoveryId, SigningKey, VerifyingKey};

use super::limits::{ADDRESS, K1_SIGNATURE};

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignatureProblem {
    #[error("it is not 65 bytes (R, S, V)")]
    Length,
    #[error("its last byte (V) is none of 0, 1, 27, 28")]
    RecoveryByte,
    #[error("it was not made by this operator's key over this hash")]
    Mismatch,
    #[error("its last byte (V) is that of another key")]
    OtherRecoveryByte,
    #[error("no key made it")]
    NoKey,
}

/// Checks `signature` by `key` over `hash` as it is. V must fit as well, so that no bit of it is free.
pub(super) fn verify(key: &PublicKey, hash: &[u8; 32], signature: &[u8]) -> Result<(), SignatureProblem> {
    let (rs, recovery) = parts(signature)?;
    if !RustCrypto.verify(key, hash, &Signature(*rs)) {
        return Err(SignatureProblem::Mismatch);
    }
    let recovered = k256::ecdsa::Signature::from_slice(rs)
        .and_then(|signature| VerifyingKey::recover_from_prehash(hash, &signature, recovery));
    match recovered {
        Ok(found) if found.to_sec1_point(true).as_bytes() == key.compressed() => Ok(()),
        _ => Err(SignatureProblem::OtherRecoveryByte),
    }
}

/// The Ethereum address of the key that made `signature` over `digest`.
pub(super) fn recover_address(
    digest: &[u8; 32],
    signature: &[u8],
) -> Result<[u8; ADDRESS], SignatureProblem> {
    let (rs, mut recovery) = parts(signature)?;
    let mut signature = k256::ecdsa::Signature::from_slice(rs).map_err(|_| SignatureProblem::NoKey)?;
    // Both of s and -s are signatures; with the other one the parity turns.
    let low = signature.normalize_s();
    if low != signature {
        signature = low;
        recovery = RecoveryId::new(!recovery.is_y_odd(), recovery.is_x_reduced());
    }
    let key = VerifyingKey::recover_from_prehash(digest, &signature, recovery)
        .map_err(|_| SignatureProblem::NoKey)?;
    let key: &[u8; 33] =
        &key.to_sec1_point(true).as_bytes().try_into().map_err(|_| SignatureProblem::NoKey)?;
    RustCrypto.decompress(key).map(|key| address(&key)).ok_or(SignatureProblem::NoKey)
}

/// The Ethereum address of a key.
pub(super) fn address(key: &PublicKey) -> [u8; ADDRESS] {
    let hash = RustCrypto.keccak256(&[key.xy()]);
    let mut out = [0; ADDRESS];
    for (to, from) in out.iter_mut().rev().zip(hash.iter().rev()) {
        *to = *from;
    }
    out
}

/// A byte string as text, for a message.
pub(super) fn hex_text(bytes: &[u8]) -> String {
    if bytes.is_empty() { "none".to_owned() } else { format!("0x{}", hex::encode(bytes)) }
}

/// R and S, and what V says.
fn parts(signature: &[u8]) -> Result<(&[u8; 64], RecoveryId), SignatureProblem> {
    let whole: &[u8; K1_SIGNATURE] = signature.try_into().map_err(|_| SignatureProblem::Length)?;
    let [rs @ .., v] = whole;
    match v {
        0 | 27 => Ok((rs, RecoveryId::new(false, false))),
        1 | 28 => Ok((rs, RecoveryId::new(true, false))),
        _ => Err(SignatureProblem::RecoveryByte),
    }
}

/// Signs `hash` as it is; V is 0 or 1. `None` when the key is not usable, which a [`SecretKey`] always is.
pub(super) fn sign(secret: &SecretKey, hash: &[u8; 32]) -> Option<Vec<u8>> {
    let key = SigningKey::from_slice(secret.expose()).ok()?;
    let (signature, recovery) = key.sign_prehash_recoverable(hash);
    let mut out = signature.to_bytes().to_vec();
    out.push(recovery.to_byte());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_a_signature_counts() {
        let secret = SecretKey::from_bytes(&[7; 32]).expect("in range");
        let public = RustCrypto.public_key(&secret);
        let hash = [9; 32];
        let signature = sign(&secret, &hash).expect("usable");
        assert_eq!(verify(&public, &hash, &signature), Ok(()));
        for bit in 0..signature.len() * 8 {
            let mut changed = signature.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&public, &hash, &changed).is_err(), "bit {bit}");
        }
        let mut ethereum = signature.clone();
        ethereum[64] += 27;
        assert_eq!(verify(&public, &hash, &ethereum), Ok(()));
        assert_eq!(verify(&public, &[8; 32], &signature), Err(SignatureProblem::Mismatch));
        assert_eq!(verify(&public, &hash, &signature[..64]), Err(SignatureProblem::Length));
    }
}
