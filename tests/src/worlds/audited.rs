//! Cryptography that keeps an eye on how it is used: no key ever seals two texts under one nonce (rule N5), and
//! none that an attacker knows is used for a secret. The attacker has it too, and may lie with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use coracle_core::crypto::{AeadError, Crypto, PublicKey, Secret, SecretKey, Signature, TAG_LEN};

use super::name_of;
use crate::symbolic::Symbolic;

/// [`Symbolic`], with a record of what was sealed under which key and nonce.
#[derive(Clone, Debug, Default)]
pub struct Audited {
    seals: Rc<RefCell<Seals>>,
    lie: Option<Lie>,
}

/// What an attacker says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Lie {
    /// Whose key it has, to believe it.
    pub public: PublicKey,
    /// What it shows for signatures, instead of those that its own key makes.
    pub signature: Option<Signature>,
}

#[derive(Debug, Default)]
struct Seals {
    texts: BTreeMap<u128, u128>,
    keys: BTreeSet<u128>,
    verified: Option<Signature>,
    reused: bool,
}

impl Audited {
    /// Whether a key has sealed two texts under one nonce.
    pub fn reused_a_nonce(&self) -> bool {
        self.seals.borrow().reused
    }

    /// Whether something was sealed with this key.
    pub fn has_used(&self, key: &[u8]) -> bool {
        self.seals.borrow().keys.contains(&name_of(&[key]))
    }

    /// The signature that was checked last.
    pub fn last_seen_signature(&self) -> Option<Signature> {
        self.seals.borrow().verified
    }

    /// For an attacker: the same, with a lie. Its seals are not the honest ones'.
    pub fn lying(lie: Option<Lie>) -> Self {
        Self { seals: Rc::default(), lie }
    }

    fn seal(&self, key: &[u8], nonce: &[u8; 12], ad: &[u8], text: &[u8]) {
        let mut seals = self.seals.borrow_mut();
        let text = name_of(&[ad, text]);
        seals.keys.insert(name_of(&[key]));
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
        self.lie.map_or_else(|| Symbolic.public_key(secret), |lie| lie.public)
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        Symbolic.decompress(compressed)
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        Symbolic.secret_key(bytes)
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        let shown = self.lie.and_then(|lie| lie.signature);
        shown.unwrap_or_else(|| Symbolic.sign(secret, digest))
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        self.seals.borrow_mut().verified = Some(*signature);
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
