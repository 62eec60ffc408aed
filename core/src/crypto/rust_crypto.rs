//! [`Crypto`] by the RustCrypto and dalek crates: pure Rust, `no_std`.

use aes::{
    Aes128Enc,
    cipher::{
        InnerIvInit as _, StreamCipher as _, StreamCipherCore as _, StreamCipherCoreWrapper,
        StreamCipherSeek as _, consts::U12,
    },
};
use aes_gcm::{AeadInOut as _, AesGcm, KeyInit as _};
use chacha20poly1305::ChaCha20Poly1305;
use ctr::{CtrCore, flavors::Ctr128BE};
use ecdsa::hazmat::sign_prehashed_rfc6979;
use hkdf::Hkdf;
use k256::{
    NonZeroScalar, Secp256k1,
    ecdsa::{VerifyingKey, signature::hazmat::PrehashVerifier as _},
    elliptic_curve::sec1::ToSec1Point as _,
};
use sha2::{Digest as _, Sha256};
use sha3::Keccak256;
use x25519_dalek::StaticSecret;
use zeroize::Zeroize as _;

use super::{AeadError, Crypto, PublicKey, Secret, SecretKey, Signature, TAG_LEN};

/// The default implementation of [`Crypto`].
///
/// Setting Poly1305 up takes it a microsecond a message on x86-64, five times what short messages need, since the
/// AVX2 code of the crate `poly1305` is not inlined. A program whose channels carry little but short messages can turn
/// that code off with `--cfg poly1305_backend="soft"` in `RUSTFLAGS`: 32 bytes then take a fifth of the time, a
/// kilobyte two thirds, but 64 KiB half as long again (`cargo bench -p coracle-native-crypto -- ChaCha`). The crate has
/// no such choice by size.
#[derive(Clone, Copy, Debug, Default)]
pub struct RustCrypto;

/// The number that a secret key is. Not a `SigningKey`: that computes its public key as it is made.
#[allow(clippy::expect_used)] // a bug of ours, not an input: `SecretKey` checks the range when it is made
fn scalar(secret: &SecretKey) -> zeroize::Zeroizing<NonZeroScalar> {
    let key = k256::SecretKey::from_slice(secret.expose()).expect("a SecretKey is in range");
    zeroize::Zeroizing::new(key.to_nonzero_scalar())
}

fn public_from_point(point: &k256::Sec1Point) -> PublicKey {
    let mut xy = [0; 64];
    let bytes = point.as_bytes();
    if let Some(source) = bytes.get(1..65) {
        xy.copy_from_slice(source);
    }
    PublicKey::from_xy(xy)
}

impl Crypto for RustCrypto {
    /// 320 bytes; wiped on drop.
    type AesGcmKey = AesGcm<Aes128Enc, U12>;

    /// 176 bytes; wiped on drop.
    type AesCtrKey = Aes128Enc;

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize().into()
    }

    fn keccak256(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Keccak256::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize().into()
    }

    fn hkdf_sha256(&self, salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) {
        let (mut prk, hkdf) = Hkdf::<Sha256>::extract(Some(salt), ikm);
        // Fails only above 255 hashes of output, which no caller asks for.
        let expanded = hkdf.expand_multi_info(info, out);
        debug_assert!(expanded.is_ok());
        prk.as_mut_slice().zeroize();
    }

    fn public_key(&self, secret: &SecretKey) -> PublicKey {
        public_from_point(&k256::PublicKey::from_secret_scalar(&scalar(secret)).to_sec1_point(false))
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        // k256 also reads the tag 5, a form without the sign of y that nobody else knows.
        let key = compressed.first().filter(|tag| matches!(tag, 2 | 3));
        let key = key.and_then(|_| k256::PublicKey::from_sec1_bytes(compressed).ok())?;
        Some(public_from_point(&key.to_sec1_point(false)))
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        SecretKey::from_bytes(bytes).ok()
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        let (signature, _) = sign_prehashed_rfc6979::<Secp256k1, Sha256>(&scalar(secret), digest, &[]);
        Signature(signature.to_bytes().into())
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_sec1_bytes(&public.sec1()) else { return false };
        let Ok(signature) = k256::ecdsa::Signature::from_slice(&signature.0) else { return false };
        key.verify_prehash(digest, &signature).is_ok()
    }

    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        let public = k256::PublicKey::from_sec1_bytes(&public.sec1()).ok()?;
        let scalar = scalar(secret);
        let point = public.to_projective() * scalar.as_ref();
        let point = point.to_affine().to_sec1_point(true);
        let bytes: [u8; 33] = point.as_bytes().try_into().ok()?;
        Some(Secret::new(bytes))
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        x25519_dalek::PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes()
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        let secret = StaticSecret::from(*secret.expose());
        let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(*public));
        shared.was_contributory().then(|| Secret::new(shared.to_bytes()))
    }

    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        let cipher = ChaCha20Poly1305::new(key.expose().into());
        seal(&cipher, nonce, ad, buf)
    }

    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        let cipher = ChaCha20Poly1305::new(key.expose().into());
        cipher.decrypt_inout_detached(nonce.into(), ad, buf.into(), tag.into()).map_err(|_| AeadError)
    }

    fn aes_gcm_key(&self, key: &Secret<16>) -> Self::AesGcmKey {
        AesGcm::new(key.expose().into())
    }

    fn aes_gcm_seal(
        &self,
        key: &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
    ) -> [u8; TAG_LEN] {
        seal(key, nonce, ad, buf)
    }

    fn aes_gcm_open(
        &self,
        key: &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        key.decrypt_inout_detached(nonce.into(), ad, buf.into(), tag.into()).map_err(|_| AeadError)
    }

    #[inline]
    fn aes_ctr_key(&self, key: &[u8; 16]) -> Self::AesCtrKey {
        Aes128Enc::new(key.into())
    }

    #[inline]
    fn aes_ctr(&self, key: &Self::AesCtrKey, iv: &[u8; 16], skip: usize, buf: &mut [u8]) {
        let core = CtrCore::<&Aes128Enc, Ctr128BE>::inner_iv_init(key, iv.into());
        if skip == 0 {
            core.apply_keystream_partial(buf.into());
            return;
        }
        // What starts within a block needs a buffer for the rest of it.
        let mut cipher = StreamCipherCoreWrapper::from_core(core);
        cipher.seek(skip);
        cipher.apply_keystream(buf);
    }
}

fn seal<A>(cipher: &A, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN]
where
    A: aes_gcm::AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>,
{
    // Fails only above gigabytes, and no buffer here is longer than 65,535 bytes.
    let sealed = cipher.encrypt_inout_detached(nonce.into(), ad, buf.into());
    debug_assert!(sealed.is_ok());
    sealed.map_or([0; TAG_LEN], Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_does_not_authenticate_is_left_as_it_was() {
        let crypto = RustCrypto;
        let mut buf = *b"some text that is longer than one block of the cipher";
        let plain = buf;
        let [key, other] = [[1; 16], [3; 16]].map(|key| crypto.aes_gcm_key(&Secret::new(key)));
        let tag = crypto.aes_gcm_seal(&key, &[2; 12], b"ad", &mut buf);
        let sealed = buf;
        assert_eq!(crypto.aes_gcm_open(&other, &[2; 12], b"ad", &mut buf, &tag), Err(AeadError));
        assert_eq!(buf, sealed);
        crypto.aes_gcm_open(&key, &[2; 12], b"ad", &mut buf, &tag).unwrap();
        assert_eq!(buf, plain);
    }

    #[test]
    fn signing_is_deterministic_and_verifies() {
        let crypto = RustCrypto;
        let secret = SecretKey::from_bytes(&[9; 32]).unwrap();
        let public = crypto.public_key(&secret);
        assert_eq!(crypto.decompress(&public.compressed()), Some(public));
        let signature = crypto.sign(&secret, &[5; 32]);
        assert_eq!(signature, crypto.sign(&secret, &[5; 32]));
        assert!(crypto.verify(&public, &[5; 32], &signature));
        assert!(!crypto.verify(&public, &[6; 32], &signature));
        assert!(!crypto.verify(&public, &[5; 32], &Signature([0; 64])));
        assert_eq!(crypto.decompress(&[2; 33]).map(|k| k.compressed()), Some([2; 33]));
        for tag in [0, 1, 4, 5, 6, 7] {
            let mut other = public.compressed();
            other[0] = tag;
            assert_eq!(crypto.decompress(&other), None, "tag {tag}");
        }
    }

    #[test]
    fn small_order_points_are_refused() {
        assert!(RustCrypto.x25519(&Secret::new([7; 32]), &[0; 32]).is_none());
    }
}
