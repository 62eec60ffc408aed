//! One type for nodes of either cryptography, so that a test can speak to them alike.

use coracle_core::crypto::{AeadError, Crypto, PublicKey, RustCrypto, Secret, SecretKey, Signature, TAG_LEN};
use coracle_native_crypto::NativeCrypto;

type RustGcm = <RustCrypto as Crypto>::AesGcmKey;
type NativeGcm = <NativeCrypto as Crypto>::AesGcmKey;

/// [`RustCrypto`] or [`NativeCrypto`].
pub(crate) enum Either {
    Rust,
    Native(NativeCrypto),
}

/// A key of one of them.
pub(crate) enum GcmKey {
    Rust(Box<RustGcm>),
    Native(Box<NativeGcm>),
}

/// Calls one of them, whichever it is.
macro_rules! either {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        match $self {
            Either::Rust => RustCrypto.$call($($argument),*),
            Either::Native(native) => native.$call($($argument),*),
        }
    };
}

impl Crypto for Either {
    type AesGcmKey = GcmKey;
    // Both have the same.
    type AesCtrKey = <RustCrypto as Crypto>::AesCtrKey;

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        either!(self.sha256(parts))
    }

    fn keccak256(&self, parts: &[&[u8]]) -> [u8; 32] {
        either!(self.keccak256(parts))
    }

    fn hkdf_sha256(&self, salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) {
        either!(self.hkdf_sha256(salt, ikm, info, out));
    }

    fn public_key(&self, secret: &SecretKey) -> PublicKey {
        either!(self.public_key(secret))
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        either!(self.decompress(compressed))
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        either!(self.secret_key(bytes))
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        either!(self.sign(secret, digest))
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        either!(self.verify(public, digest, signature))
    }

    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        either!(self.ecdh(secret, public))
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        either!(self.x25519_public(secret))
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        either!(self.x25519(secret, public))
    }

    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        either!(self.chacha_seal(key, nonce, ad, buf))
    }

    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        either!(self.chacha_open(key, nonce, ad, buf, tag))
    }

    fn aes_gcm_key(&self, key: &Secret<16>) -> GcmKey {
        match self {
            Self::Rust => GcmKey::Rust(Box::new(RustCrypto.aes_gcm_key(key))),
            Self::Native(native) => GcmKey::Native(Box::new(native.aes_gcm_key(key))),
        }
    }

    fn aes_gcm_seal(&self, key: &GcmKey, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        match (self, key) {
            (Self::Rust, GcmKey::Rust(key)) => RustCrypto.aes_gcm_seal(key, nonce, ad, buf),
            (Self::Native(native), GcmKey::Native(key)) => native.aes_gcm_seal(key, nonce, ad, buf),
            _ => panic!("a key of the other cryptography"),
        }
    }

    fn aes_gcm_open(
        &self,
        key: &GcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        match (self, key) {
            (Self::Rust, GcmKey::Rust(key)) => RustCrypto.aes_gcm_open(key, nonce, ad, buf, tag),
            (Self::Native(native), GcmKey::Native(key)) => native.aes_gcm_open(key, nonce, ad, buf, tag),
            _ => panic!("a key of the other cryptography"),
        }
    }

    fn aes_ctr_key(&self, key: &[u8; 16]) -> Self::AesCtrKey {
        either!(self.aes_ctr_key(key))
    }

    fn aes_ctr(&self, key: &Self::AesCtrKey, iv: &[u8; 16], skip: usize, buf: &mut [u8]) {
        either!(self.aes_ctr(key, iv, skip, buf));
    }
}
