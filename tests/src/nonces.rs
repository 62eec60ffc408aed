//! Every encryption of every node, written down: one (key, nonce) pair seals one message (rule N5).
//!
//! [`Spied`] is the cryptography of this library with a note of each sealing. The note is a hash, so that
//! neither keys nor messages are kept. A packet that is sealed again exactly as it was is no reuse: nobody
//! learns anything from it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

use coracle_core::crypto::{AeadError, Crypto, PublicKey, RustCrypto, Secret, SecretKey, Signature, TAG_LEN};

use crate::liar::Liar;
use crate::memo;

/// What was sealed under which key and nonce, by all nodes of a simulation together.
#[derive(Debug, Default)]
pub struct Nonces {
    /// Hash of the key and the nonce, hash of the message and what it is bound to.
    sealed: HashMap<u128, u64>,
    reused: Option<&'static str>,
}

impl Nonces {
    /// The cipher with which a pair was used for two messages, if one was.
    #[must_use]
    pub const fn reused(&self) -> Option<&'static str> {
        self.reused
    }

    /// How many pairs were used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed.len()
    }

    /// Whether nothing was sealed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty()
    }

    fn seal(&mut self, cipher: &'static str, key: &[u8], nonce: &[u8], ad: &[u8], message: &[u8]) {
        let pair = u128::from(hash(1, &[key, nonce])) << 64 | u128::from(hash(2, &[key, nonce]));
        let content = hash(3, &[ad, message]);
        if *self.sealed.entry(pair).or_insert(content) != content {
            self.reused = Some(cipher);
        }
    }
}

fn hash(domain: u8, parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(domain);
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish()
}

/// [`RustCrypto`], and a note of every sealing where somebody wants one.
///
/// With notes it also remembers the results of public-key cryptography, which changes nothing but the time.
#[derive(Clone, Debug, Default)]
pub struct Spied {
    notes: Option<Rc<RefCell<Nonces>>>,
    liar: Option<Rc<Liar>>,
}

impl Spied {
    /// Notes into this book; nothing is noted (and nothing allocated) for `None`.
    #[must_use]
    pub const fn new(notes: Option<Rc<RefCell<Nonces>>>) -> Self {
        Self { notes, liar: None }
    }

    /// The same for one who changes its words before they are sealed.
    pub(crate) fn lying(self, liar: Option<Rc<Liar>>) -> Self {
        Self { liar, ..self }
    }

    fn note(&self, cipher: &'static str, key: &[u8], nonce: &[u8], ad: &[u8], message: &[u8]) {
        if let Some(notes) = &self.notes {
            notes.borrow_mut().seal(cipher, key, nonce, ad, message);
        }
    }
}

impl Crypto for Spied {
    /// The key's bytes, for the notes, and the key made ready.
    type AesGcmKey = (Secret<16>, <RustCrypto as Crypto>::AesGcmKey);
    type AesCtrKey = <RustCrypto as Crypto>::AesCtrKey;

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto.sha256(parts)
    }

    fn keccak256(&self, parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto.keccak256(parts)
    }

    fn hkdf_sha256(&self, salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) {
        RustCrypto.hkdf_sha256(salt, ikm, info, out);
    }

    fn public_key(&self, secret: &SecretKey) -> PublicKey {
        match self.notes {
            Some(_) => memo::public_key(secret),
            None => RustCrypto.public_key(secret),
        }
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        RustCrypto.decompress(compressed)
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        RustCrypto.secret_key(bytes)
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        match self.notes {
            Some(_) => memo::sign(secret, digest),
            None => RustCrypto.sign(secret, digest),
        }
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        match self.notes {
            Some(_) => memo::verify(public, digest, signature),
            None => RustCrypto.verify(public, digest, signature),
        }
    }

    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        match self.notes {
            Some(_) => memo::ecdh(secret, public),
            None => RustCrypto.ecdh(secret, public),
        }
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        match self.notes {
            Some(_) => memo::x25519_public(secret),
            None => RustCrypto.x25519_public(secret),
        }
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        match self.notes {
            Some(_) => memo::x25519(secret, public),
            None => RustCrypto.x25519(secret, public),
        }
    }

    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        if let Some(liar) = &self.liar {
            liar.frame(key.expose(), nonce, buf);
        }
        self.note("ChaCha20-Poly1305", key.expose(), nonce, ad, buf);
        RustCrypto.chacha_seal(key, nonce, ad, buf)
    }

    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        RustCrypto.chacha_open(key, nonce, ad, buf, tag)
    }

    fn aes_gcm_key(&self, key: &Secret<16>) -> Self::AesGcmKey {
        (key.clone(), RustCrypto.aes_gcm_key(key))
    }

    fn aes_gcm_seal(
        &self,
        (bytes, key): &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
    ) -> [u8; TAG_LEN] {
        if let Some(liar) = &self.liar {
            liar.message(bytes.expose(), nonce, buf);
        }
        self.note("AES-128-GCM", bytes.expose(), nonce, ad, buf);
        RustCrypto.aes_gcm_seal(key, nonce, ad, buf)
    }

    fn aes_gcm_open(
        &self,
        (_, key): &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        RustCrypto.aes_gcm_open(key, nonce, ad, buf, tag)
    }

    fn aes_ctr_key(&self, key: &[u8; 16]) -> Self::AesCtrKey {
        RustCrypto.aes_ctr_key(key)
    }

    fn aes_ctr(&self, key: &Self::AesCtrKey, iv: &[u8; 16], skip: usize, buf: &mut [u8]) {
        RustCrypto.aes_ctr(key, iv, skip, buf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_used_for_two_messages_is_noticed_and_a_repetition_is_none() {
        let notes = Rc::new(RefCell::new(Nonces::default()));
        let crypto = Spied::new(Some(Rc::clone(&notes)));
        let seal = |nonce: u8, text: &[u8]| {
            crypto.aes_gcm_seal(
                &crypto.aes_gcm_key(&Secret::new([7; 16])),
                &[nonce; 12],
                b"ad",
                &mut text.to_vec(),
            );
        };
        seal(1, b"one");
        seal(2, b"two");
        seal(1, b"one");
        assert_eq!(notes.borrow().reused(), None);
        assert_eq!(notes.borrow().len(), 2);
        seal(1, b"two");
        assert_eq!(notes.borrow().reused(), Some("AES-128-GCM"));
    }
}
