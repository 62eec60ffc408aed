//! Cryptography as terms: for searching through every order of events, and for very large networks.
//!
//! Purpose: the rules of a handshake do not depend on the arithmetic behind its primitives. Here each primitive
//! is a *term*: a name and its arguments, in as many bytes as the real one has. Two terms are equal when their
//! names and arguments are (up to a 64-bit hash), and what the real primitive makes hard is not in the interface:
//! nobody who is given a public key, a signature or a sealed message can take it apart, but this module. So an
//! attacker is a program that holds keys of its own and calls [`Crypto`], like everybody else.
//!
//! What a term promises:
//! - `sign(secret, digest)` verifies under the public key of `secret`, for that digest, and nothing else does;
//! - `ecdh(a, public(b)) = ecdh(b, public(a))`, likewise X25519, and no other pair gives the same;
//! - `open(key, nonce, ad, seal(key, nonce, ad, text)) = text`, and any other argument fails;
//! - a hash of the same bytes is the same, and of other bytes another.
//!
//! It protects nothing: a public key carries its secret in plain sight. It is compiled only with the feature
//! `symbolic` of the tests, which no ordinary build turns on.

use std::hash::Hasher;

use coracle_core::crypto::{AeadError, Crypto, PublicKey, Secret, SecretKey, Signature, TAG_LEN};
use siphasher::sip::SipHasher13;

/// [`Crypto`] by terms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Symbolic;

/// What an X25519 public key differs by from its secret: the two must not be mistaken for each other.
const PUBLIC_MARK: u8 = 0x5a;

/// A hash of a term's name and arguments, as a stream of 64-bit words.
struct Term(SipHasher13);

impl Term {
    /// The term `name` of these arguments; where one ends is part of it.
    fn new(name: &str, arguments: &[&[u8]]) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(name.as_bytes());
        for argument in arguments {
            hasher.write_usize(argument.len());
            hasher.write(argument);
        }
        Self(hasher)
    }

    /// The term `name` of these parts, concatenated.
    fn of_concatenated(name: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(name.as_bytes());
        parts.iter().for_each(|part| hasher.write(part));
        Self(hasher)
    }

    /// Fills `out` with the term's bytes.
    fn fill(&self, out: &mut [u8]) {
        let mut word = self.0.finish();
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
            word = next_word(word);
        }
    }

    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

/// The step of SplitMix64: every word leads to another, and none to the same.
const fn next_word(word: u64) -> u64 {
    let mixed = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

/// XORs `buf` with the words that follow from `seed`, `skip` bytes into them.
fn mask(seed: u64, skip: usize, buf: &mut [u8]) {
    let word_at = |index: usize| next_word(seed.wrapping_add((index / 8) as u64)).to_le_bytes();
    let mut word = word_at(skip);
    for (index, byte) in (skip..).zip(buf) {
        if index % 8 == 0 {
            word = word_at(index);
        }
        *byte ^= word[index % 8];
    }
}

/// What only the terms themselves may do: take a public key apart.
fn secret_of(public: &PublicKey) -> [u8; 32] {
    let mut secret = [0; 32];
    secret.copy_from_slice(&public.xy()[..32]);
    secret
}

fn public_of(secret: &[u8; 32]) -> PublicKey {
    let mut xy = [0; 64];
    xy[..32].copy_from_slice(secret);
    PublicKey::from_xy(xy)
}

fn signature(secret: &[u8; 32], digest: &[u8; 32]) -> Signature {
    Signature(Term::new("sign", &[secret, digest]).bytes())
}

/// The same for both orders.
fn shared(name: &str, one: &[u8; 32], other: &[u8; 32]) -> Term {
    Term::new(name, &[one.min(other), one.max(other)])
}

fn seal(name: &str, key: &[u8], nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
    let tag = Term::new(name, &[key, nonce, ad, buf]).bytes();
    mask(Term::new("mask", &[key, nonce]).0.finish(), 0, buf);
    tag
}

fn open(
    name: &str,
    key: &[u8],
    nonce: &[u8; 12],
    ad: &[u8],
    buf: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), AeadError> {
    let seed = Term::new("mask", &[key, nonce]).0.finish();
    mask(seed, 0, buf);
    if Term::new(name, &[key, nonce, ad, buf]).bytes() == *tag {
        return Ok(());
    }
    mask(seed, 0, buf);
    Err(AeadError)
}

impl Crypto for Symbolic {
    type AesGcmKey = Secret<16>;
    type AesCtrKey = [u8; 16];

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        Term::of_concatenated("sha256", parts).bytes()
    }

    fn keccak256(&self, parts: &[&[u8]]) -> [u8; 32] {
        Term::of_concatenated("keccak256", parts).bytes()
    }

    fn hkdf_sha256(&self, salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) {
        let info = Term::of_concatenated("info", info).bytes::<32>();
        Term::new("hkdf", &[salt, ikm, &info]).fill(out);
    }

    fn public_key(&self, secret: &SecretKey) -> PublicKey {
        public_of(secret.expose())
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        let (prefix, x) = compressed.split_first()?;
        let secret = SecretKey::from_bytes(x.try_into().ok()?).ok()?;
        (*prefix == 2).then(|| public_of(secret.expose()))
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        SecretKey::from_bytes(bytes).ok()
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        signature(secret.expose(), digest)
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], given: &Signature) -> bool {
        signature(&secret_of(public), digest) == *given
    }

    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        Some(Secret::new(shared("ecdh", secret.expose(), &secret_of(public)).bytes()))
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        secret.expose().map(|byte| byte ^ PUBLIC_MARK)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        let other = public.map(|byte| byte ^ PUBLIC_MARK);
        (*public != [0; 32]).then(|| Secret::new(shared("x25519", secret.expose(), &other).bytes()))
    }

    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        seal("chacha", key.expose(), nonce, ad, buf)
    }

    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        open("chacha", key.expose(), nonce, ad, buf, tag)
    }

    fn aes_gcm_key(&self, key: &Secret<16>) -> Secret<16> {
        key.clone()
    }

    fn aes_gcm_seal(&self, key: &Secret<16>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        seal("aes-gcm", key.expose(), nonce, ad, buf)
    }

    fn aes_gcm_open(
        &self,
        key: &Secret<16>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        open("aes-gcm", key.expose(), nonce, ad, buf, tag)
    }

    fn aes_ctr_key(&self, key: &[u8; 16]) -> [u8; 16] {
        *key
    }

    fn aes_ctr(&self, key: &[u8; 16], iv: &[u8; 16], skip: usize, buf: &mut [u8]) {
        mask(Term::new("aes-ctr", &[key, iv]).0.finish(), skip, buf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32]).unwrap()
    }

    #[test]
    fn signatures_bind_key_and_digest() {
        let signed = Symbolic.sign(&secret(1), &[9; 32]);
        let public = Symbolic.public_key(&secret(1));
        assert_eq!(Symbolic.decompress(&public.compressed()), Some(public));
        assert!(Symbolic.verify(&public, &[9; 32], &signed));
        assert!(!Symbolic.verify(&public, &[8; 32], &signed));
        assert!(!Symbolic.verify(&Symbolic.public_key(&secret(2)), &[9; 32], &signed));
    }

    #[test]
    fn both_sides_agree_on_a_secret_and_nobody_else() {
        let public = [1, 2, 3].map(|n| Symbolic.public_key(&secret(n)));
        let agreed = Symbolic.ecdh(&secret(1), &public[1]).unwrap();
        assert_eq!(agreed.expose(), Symbolic.ecdh(&secret(2), &public[0]).unwrap().expose());
        assert_ne!(agreed.expose(), Symbolic.ecdh(&secret(3), &public[0]).unwrap().expose());
        let (a, b) = (Secret::new([4; 32]), Secret::new([5; 32]));
        let agreed = Symbolic.x25519(&a, &Symbolic.x25519_public(&b)).unwrap();
        assert_eq!(agreed.expose(), Symbolic.x25519(&b, &Symbolic.x25519_public(&a)).unwrap().expose());
        assert!(Symbolic.x25519(&a, &[0; 32]).is_none());
    }

    #[test]
    fn a_seal_opens_with_the_same_arguments_only() {
        let key = Secret::new([1; 16]);
        let mut text = *b"twenty-one characters";
        let tag = Symbolic.aes_gcm_seal(&key, &[2; 12], b"ad", &mut text);
        let sealed = text;
        assert_ne!(&sealed, b"twenty-one characters");
        for (key, nonce, ad) in [(&Secret::new([3; 16]), 2, "ad"), (&key, 3, "ad"), (&key, 2, "da")] {
            assert!(Symbolic.aes_gcm_open(key, &[nonce; 12], ad.as_bytes(), &mut text, &tag).is_err());
            assert_eq!(text, sealed, "left as it was");
        }
        Symbolic.aes_gcm_open(&key, &[2; 12], b"ad", &mut text, &tag).unwrap();
        assert_eq!(&text, b"twenty-one characters");
    }

    #[test]
    fn masking_goes_on_where_it_stopped() {
        let mut whole = [7; 40];
        Symbolic.aes_ctr(&[1; 16], &[2; 16], 0, &mut whole);
        let mut parts = [7; 40];
        let (head, tail) = parts.split_at_mut(13);
        Symbolic.aes_ctr(&[1; 16], &[2; 16], 0, head);
        Symbolic.aes_ctr(&[1; 16], &[2; 16], 13, tail);
        assert_eq!(whole, parts);
    }
}
