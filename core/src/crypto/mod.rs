//! The cryptography the machines need, as a trait of an instance, and its RustCrypto implementation.
//!
//! The machines are generic over [`Crypto`]; [`RustCrypto`] is the default. Keys and signatures are
//! plain bytes in types that say what they are, so that another implementation needs nothing of
//! ours.

pub mod der;
mod identity;
mod keys;
mod rust_crypto;

pub use identity::{Identity, packet_mask};
pub use keys::{InvalidKey, PublicKey, Secret, SecretKey, Signature};
pub use rust_crypto::RustCrypto;

/// Length of an AEAD tag in bytes, for both AES-GCM and ChaCha20-Poly1305.
pub const TAG_LEN: usize = 16;

/// A message did not authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message does not authenticate")]
pub struct AeadError;

/// The primitives of ENR "v4", discv5 and Noise XX, as an instance.
pub trait Crypto {
    /// An AES-128-GCM key made ready: with its round keys, and what its hash is computed with. Making one ready
    /// costs as much as encrypting a short message, so who uses a key often keeps it so.
    type AesGcmKey: Send + Sync;

    /// An AES-128 key made ready for [`Crypto::aes_ctr`].
    type AesCtrKey: Send + Sync;

    /// SHA-256 of the parts, concatenated.
    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32];

    /// Keccak-256 (the Ethereum one) of the parts, concatenated.
    fn keccak256(&self, parts: &[&[u8]]) -> [u8; 32];

    /// HKDF-SHA-256 (RFC 5869): extract with `salt` and `ikm`, expand with the parts of `info` to
    /// fill `out` (at most 96 bytes here).
    fn hkdf_sha256(&self, salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]);

    /// The public key of a secp256k1 secret key.
    fn public_key(&self, secret: &SecretKey) -> PublicKey;

    /// Decompresses a secp256k1 public key (SEC 1, 33 bytes); `None` when it is not on the curve.
    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey>;

    /// A secret key from random bytes; `None` when they are zero or not below the group's order
    /// (once in 2¹²⁸: draw again).
    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey>;

    /// Signs a 32-byte digest: ECDSA on secp256k1, deterministic nonce (RFC 6979), low `s`.
    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature;

    /// Checks an ECDSA signature over a 32-byte digest. A high `s` is refused, as go-ethereum does.
    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool;

    /// Diffie-Hellman on secp256k1; the result is the shared point, compressed (discv5 theory,
    /// "Identity-Specific Cryptography"). `None` when `public` is not on the curve.
    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>>;

    /// The public key of an X25519 secret (RFC 7748).
    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32];

    /// Diffie-Hellman with X25519; `None` when the result is all zero (a point of small order).
    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>>;

    /// Encrypts `buf` in place with ChaCha20-Poly1305 and returns the tag.
    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN];

    /// Checks the tag and decrypts `buf` in place with ChaCha20-Poly1305. What an error leaves in `buf` is of no use:
    /// some implementations decrypt before they know.
    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError>;

    /// Makes an AES-128-GCM key ready.
    fn aes_gcm_key(&self, key: &Secret<16>) -> Self::AesGcmKey;

    /// Encrypts `buf` in place with AES-128-GCM and returns the tag.
    fn aes_gcm_seal(
        &self,
        key: &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
    ) -> [u8; TAG_LEN];

    /// Checks the tag and decrypts `buf` in place with AES-128-GCM. On an error `buf` is as it was: a packet is tried
    /// under the keys of a session one after the other.
    fn aes_gcm_open(
        &self,
        key: &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError>;

    /// Makes an AES-128 key ready.
    fn aes_ctr_key(&self, key: &[u8; 16]) -> Self::AesCtrKey;

    /// XORs `buf` with the AES-128-CTR key stream (128-bit big-endian counter, starting at `iv`),
    /// `skip` bytes into it: the header masking of discv5.
    fn aes_ctr(&self, key: &Self::AesCtrKey, iv: &[u8; 16], skip: usize, buf: &mut [u8]);
}
