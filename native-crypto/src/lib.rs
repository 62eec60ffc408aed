//! [`NativeCrypto`]: the cryptography of Coracle by compiled C and assembly where that is faster than the pure Rust
//! of [`RustCrypto`], and by [`RustCrypto`] where it is not.
//!
//! | primitive | by | time against [`RustCrypto`] |
//! |---|---|---|
//! | ECDSA check | libsecp256k1 (crate `secp256k1`) | 0.51 |
//! | ECDSA signature, ECDH, public key, decompression on secp256k1 | the same | 0.70, 0.65, 0.65, 0.63 |
//! | X25519 agreement, public key | graviola (s2n-bignum's proven assembly); dalek where it does not run | 0.39, 0.44 |
//! | ChaCha20-Poly1305 of 32 B, 1 KiB, 64 KiB | ring | 0.11, 0.26, 0.48 |
//! | AES-128-GCM | RustCrypto | see below |
//! | AES-128-CTR, SHA-256, HKDF, Keccak-256 | RustCrypto | nothing else was faster |
//!
//! Those were measured on an AMD EPYC with AVX2, everything in one run; `cargo bench -p coracle-native-crypto` prints the
//! figures of the machine at hand.
//!
//! AES-128-GCM stays with RustCrypto though ring is faster with a key kept ready (0.8 of its time for 40 B, 0.7 for
//! 100 B): a key of ring has 544 bytes and one of graviola 832, where RustCrypto's has 320, so that a session with its
//! keys ready would have 1,534 bytes and not 1,086; ring does not wipe it; and with a new key neither is faster below
//! a kilobyte. What ring would save, 40 ns a packet, is a hundredth of what sending one takes.
//!
//! Results are the same, byte for byte: signatures are RFC 6979 with low `s`, high `s` is refused, and X25519 refuses
//! results that are all zero. `tests/agreement.rs` holds both implementations to that.
//!
//! # Side channels and secrets
//!
//! What touches a secret is constant-time in all three libraries by their authors' word: libsecp256k1's signing, key
//! generation and ECDH (blinded besides, by a number drawn when [`NativeCrypto`] is made), graviola's X25519, and
//! ring's ChaCha20-Poly1305. Verification handles public data and is not. Copies of secret keys made here are wiped,
//! but not the one that ring makes of a ChaCha20 key for each message: it stays on the stack until it is written over.
//! Where that matters more than speed, use [`RustCrypto`].
//!
//! # Platforms
//!
//! Those of ring. A C compiler is needed to build. graviola is used on x86-64 and aarch64, and there only if the
//! processor has what it asks for (found out when the program runs).

use coracle_core::crypto::{AeadError, Crypto, PublicKey, RustCrypto, Secret, SecretKey, Signature, TAG_LEN};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use secp256k1::{All, Message, Secp256k1, ecdh::shared_secret_point, ecdsa};
use zeroize::Zeroize as _;

mod x25519;

/// [`Crypto`] by libsecp256k1, graviola and ring. Making one draws a blinding number from the system; a clone shares it.
#[derive(Clone, Debug)]
pub struct NativeCrypto {
    // Of our own: the crate's global one is blinded anew for every signature, which doubles their cost.
    curve: Secp256k1<All>,
    x25519: x25519::Backend,
}

impl NativeCrypto {
    /// Prepares the libraries.
    pub fn new() -> Self {
        let mut curve = Secp256k1::new();
        let mut blinding = [0; 32];
        // Without it signing is constant-time all the same: blinding is a second line of defence.
        if getrandom::fill(&mut blinding).is_ok() {
            curve.seeded_randomize(&blinding);
        }
        blinding.zeroize();
        Self { curve, x25519: x25519::Backend::detect() }
    }

    /// The libraries in use, for a log: `libsecp256k1, ring, graviola` where all of them are.
    pub const fn libraries(&self) -> &'static str {
        match self.x25519 {
            x25519::Backend::Dalek => "libsecp256k1, ring",
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            x25519::Backend::Graviola => "libsecp256k1, ring, graviola",
        }
    }
}

impl Default for NativeCrypto {
    fn default() -> Self {
        Self::new()
    }
}

/// A secret key in libsecp256k1's form; wiped on drop.
struct Key(secp256k1::SecretKey);

impl Key {
    /// `None` is impossible: a [`SecretKey`] is in range. Callers turn to [`RustCrypto`] rather than end the program.
    fn new(secret: &SecretKey) -> Option<Self> {
        secp256k1::SecretKey::from_byte_array(*secret.expose()).ok().map(Self)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

fn point(public: &PublicKey) -> Option<secp256k1::PublicKey> {
    secp256k1::PublicKey::from_byte_array_uncompressed(public.sec1()).ok()
}

fn coordinates(public: &secp256k1::PublicKey) -> PublicKey {
    let sec1 = public.serialize_uncompressed();
    PublicKey::from_xy(core::array::from_fn(|i| sec1[i + 1]))
}

#[allow(clippy::expect_used)] // the type of `key` has the algorithm's length
fn chacha(key: &Secret<32>) -> LessSafeKey {
    LessSafeKey::new(
        UnboundKey::new(&CHACHA20_POLY1305, key.expose()).expect("a key of the algorithm's length"),
    )
}

impl Crypto for NativeCrypto {
    type AesGcmKey = <RustCrypto as Crypto>::AesGcmKey;
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
        match Key::new(secret) {
            Some(key) => coordinates(&key.0.public_key(&self.curve)),
            None => RustCrypto.public_key(secret),
        }
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        let point = secp256k1::PublicKey::from_byte_array_compressed(*compressed).ok()?;
        Some(coordinates(&point))
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        RustCrypto.secret_key(bytes)
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        match Key::new(secret) {
            Some(key) => {
                Signature(self.curve.sign_ecdsa(Message::from_digest(*digest), &key.0).serialize_compact())
            }
            None => RustCrypto.sign(secret, digest),
        }
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        let Some(public) = point(public) else { return false };
        let Ok(signature) = ecdsa::Signature::from_compact(&signature.0) else { return false };
        self.curve.verify_ecdsa(Message::from_digest(*digest), &signature, &public).is_ok()
    }

    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        let mut xy = shared_secret_point(&point(public)?, &Key::new(secret)?.0);
        let mut shared = [0; 33];
        shared[0] = 2 + (xy[63] & 1);
        shared[1..].copy_from_slice(&xy[..32]);
        let secret = Secret::new(shared);
        xy.zeroize();
        shared.zeroize();
        Some(secret)
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.x25519.public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        self.x25519.agree(secret, public)
    }

    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let sealed = chacha(key).seal_in_place_separate_tag(nonce, Aad::from(ad), buf);
        // Fails only above gigabytes, and no buffer here is longer than 65,535 bytes.
        debug_assert!(sealed.is_ok());
        let mut tag = [0; TAG_LEN];
        if let Ok(sealed) = sealed {
            tag.copy_from_slice(sealed.as_ref());
        }
        tag
    }

    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = chacha(key).open_in_place_separate_tag(nonce, Aad::from(ad), Tag::from(*tag), buf, 0..);
        opened.map(|_| ()).map_err(|_| AeadError)
    }

    fn aes_gcm_key(&self, key: &Secret<16>) -> Self::AesGcmKey {
        RustCrypto.aes_gcm_key(key)
    }

    fn aes_gcm_seal(
        &self,
        key: &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
    ) -> [u8; TAG_LEN] {
        RustCrypto.aes_gcm_seal(key, nonce, ad, buf)
    }

    fn aes_gcm_open(
        &self,
        key: &Self::AesGcmKey,
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
