//! Cryptography that keeps nothing secret and lets almost everything pass.

use coracle_core::crypto::{AeadError, Crypto, PublicKey, Secret, SecretKey, Signature, TAG_LEN};

/// Encryption leaves the text as it is, tags are zeros, and signatures are zeros.
///
/// On the way in any tag and any signature passes, except those made of 0xff, so that a failure can be had too.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullCrypto;

/// What does not authenticate.
pub(crate) const BAD_TAG: [u8; TAG_LEN] = [0xff; TAG_LEN];

/// A fast mix of all bytes; no two inputs of these targets meet by accident.
fn mix(parts: &[&[u8]]) -> [u8; 32] {
    let mut lanes = [0xcbf2_9ce4_8422_2325_u64, 0x9e37_79b9_7f4a_7c15, 0x2545_f491_4f6c_dd1d, 1];
    for (i, byte) in parts.iter().flat_map(|part| part.iter()).enumerate() {
        let lane = &mut lanes[i % 4];
        *lane = (*lane ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        lanes[(i + 1) % 4] ^= lanes[i % 4];
    }
    let mut out = [0; 32];
    for (chunk, lane) in out.chunks_exact_mut(8).zip(lanes) {
        chunk.copy_from_slice(&lane.to_be_bytes());
    }
    out
}

/// The point with this x; the last bit of its y is the sign.
fn point(x: &[u8], sign: u8) -> PublicKey {
    let mut xy = [0; 64];
    xy[..32].copy_from_slice(x);
    xy[32..].copy_from_slice(x);
    xy[63] = xy[63] & !1 | sign & 1;
    PublicKey::from_xy(xy)
}

fn open(tag: &[u8; TAG_LEN]) -> Result<(), AeadError> {
    if *tag == BAD_TAG { Err(AeadError) } else { Ok(()) }
}

impl Crypto for NullCrypto {
    type AesGcmKey = Secret<16>;
    type AesCtrKey = [u8; 16];

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        mix(parts)
    }

    fn keccak256(&self, parts: &[&[u8]]) -> [u8; 32] {
        mix(parts)
    }

    fn hkdf_sha256(&self, salt: &[u8], ikm: &[u8], _: &[&[u8]], out: &mut [u8]) {
        let mixed = mix(&[salt, ikm]);
        out.iter_mut().zip(mixed.iter().cycle()).for_each(|(byte, mixed)| *byte = *mixed);
    }

    fn public_key(&self, secret: &SecretKey) -> PublicKey {
        point(secret.expose(), 0)
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        matches!(compressed[0], 2 | 3).then(|| point(&compressed[1..], compressed[0]))
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        SecretKey::from_bytes(bytes).ok()
    }

    fn sign(&self, _: &SecretKey, _: &[u8; 32]) -> Signature {
        Signature([1; 64])
    }

    fn verify(&self, _: &PublicKey, _: &[u8; 32], signature: &Signature) -> bool {
        signature.0[0] != 0xff
    }

    fn ecdh(&self, _: &SecretKey, _: &PublicKey) -> Option<Secret<33>> {
        Some(Secret::new([2; 33]))
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        *secret.expose()
    }

    fn x25519(&self, _: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        (*public != [0; 32]).then(|| Secret::new([3; 32]))
    }

    fn chacha_seal(&self, _: &Secret<32>, _: &[u8; 12], _: &[u8], _: &mut [u8]) -> [u8; TAG_LEN] {
        [0; TAG_LEN]
    }

    fn chacha_open(
        &self,
        _: &Secret<32>,
        _: &[u8; 12],
        _: &[u8],
        _: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        open(tag)
    }

    fn aes_gcm_key(&self, key: &Secret<16>) -> Secret<16> {
        key.clone()
    }

    fn aes_gcm_seal(&self, _: &Secret<16>, _: &[u8; 12], _: &[u8], _: &mut [u8]) -> [u8; TAG_LEN] {
        [0; TAG_LEN]
    }

    fn aes_gcm_open(
        &self,
        _: &Secret<16>,
        _: &[u8; 12],
        _: &[u8],
        _: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        open(tag)
    }

    fn aes_ctr_key(&self, key: &[u8; 16]) -> [u8; 16] {
        *key
    }

    fn aes_ctr(&self, _: &[u8; 16], _: &[u8; 16], _: usize, _: &mut [u8]) {}
}
