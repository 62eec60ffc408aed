//! Cryptography that keeps an eye on how it is used: no key ever seals two texts under one nonce (rule N5).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use coracle_core::crypto::{AeadError, Crypto, PublicKey, Secret, SecretKey, Signature, TAG_LEN};

use super::name_of;
use crate::symbolic::Symbolic;

/// [`Symbolic`], with a record of what was sealed under which key and nonce.
#[derive(Clone, Debug, Default)]
pub struct Audited {
    seals: Rc<RefCell<Seals>>,
}

#[derive(Debug, Default)]
struct Seals {
    texts: BTreeMap<u128, u128>,
    signature_checks: u64,
    reused: bool,
}

impl Audited {
    /// Whether a key has sealed two texts under one nonce.
    pub fn reused_a_nonce(&self) -> bool {
        self.seals.borrow().reused
    }

    /// How many signatures were checked so far.
    pub fn signature_checks(&self) -> u64 {
        self.seals.borrow().signature_checks
    }

    fn seal(&self, key: &[u8], nonce: &[u8; 12], ad: &[u8], text: &[u8]) {
        let mut seals = self.seals.borrow_mut();
        let text = name_of(&[ad, text]);
        if *seals.texts.entry(name_of(&[key, nonce])).or_insert(text) != text {
            seals.reused = true;
        }
    }
}

impl Crypto for Audited {
    type AesGcmKey = Secret<16>;
    type AesCtrKey = [u8; 16];

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        Symbolic.sha256(parts)
    }

    fn keccak256(&self, parts: &[&[u8]]) -> [u8; 32] {
        Symbolic.keccak256(parts)
    }

    fn hkdf_sha256(&self, salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) {
        Symbolic.hkdf_sha256(salt, ikm, info, out);
    }

    fn public_key(&self, secret: &SecretKey) -> PublicKey {
        Symbolic.public_key(secret)
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        Symbolic.decompress(compressed)
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        Symbolic.secret_key(bytes)
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        Symbolic.sign(secret, digest)
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        self.seals.borrow_mut().signature_checks += 1;
        Symbolic.verify(public, digest, signature)
    }

    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        Symbolic.ecdh(secret, public)
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        Symbolic.x25519_public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        Symbolic.x25519(secret, public)
    }

    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        self.seal(key.expose(), nonce, ad, buf);
        Symbolic.chacha_seal(key, nonce, ad, buf)
    }

    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        Symbolic.chacha_open(key, nonce, ad, buf, tag)
    }

    fn aes_gcm_key(&self, key: &Secret<16>) -> Secret<16> {
        key.clone()
    }

    fn aes_gcm_seal(&self, key: &Secret<16>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        self.seal(key.expose(), nonce, ad, buf);
        Symbolic.aes_gcm_seal(key, nonce, ad, buf)
    }

    fn aes_gcm_open(
        &self,
        key: &Secret<16>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        Symbolic.aes_gcm_open(key, nonce, ad, buf, tag)
    }

    fn aes_ctr_key(&self, key: &[u8; 16]) -> [u8; 16] {
        *key
    }

    fn aes_ctr(&self, key: &[u8; 16], iv: &[u8; 16], skip: usize, buf: &mut [u8]) {
        Symbolic.aes_ctr(key, iv, skip, buf);
    }
}
