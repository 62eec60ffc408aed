//! Signatures by nodes' own keys, in the 65-byte form of cluster files: R ‖ S ‖ V.

use coracle_core::crypto::{Crypto, PublicKey, RustCrypto, SecretKey, Signature};
use k256::ecdsa::{RecoveryId, SigningKey, VerifyingKey};

use super::limits::K1_SIGNATURE;

/// Why a node's signature does not hold.
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
}

/// Checks `signature` by `key` over `hash` as it is. V must fit as well, so that no bit of it is free.
pub(super) fn verify(key: &PublicKey, hash: &[u8; 32], signature: &[u8]) -> Result<(), SignatureProblem> {
    let whole: &[u8; K1_SIGNATURE] = signature.try_into().map_err(|_| SignatureProblem::Length)?;
    let [rs @ .., v] = whole;
    let recovery = match v {
        0 | 27 => RecoveryId::new(false, false),
        1 | 28 => RecoveryId::new(true, false),
        _ => return Err(SignatureProblem::RecoveryByte),
    };
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
