//! For tests only: proptest with a fixed seed, so that every run tries the same cases; and cryptography
//! that costs little, for tests that run the same handshake thousands of times.

use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};
use core::cell::RefCell;

use proptest::test_runner::{Config, RngSeed};

use crate::crypto::{AeadError, Crypto, PublicKey, RustCrypto, Secret, SecretKey, Signature, TAG_LEN};

/// The usual number of cases (`PROPTEST_CASES`) divided by `cost`, from a seed that is fixed unless
/// `PROPTEST_RNG_SEED` gives one. A failure prints its case.
pub(crate) fn cases(cost: u32) -> Config {
    let usual = Config::default();
    let rng_seed = match usual.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0x00C0_4AC1),
        fixed => fixed,
    };
    Config { cases: (usual.cases / cost).max(1), rng_seed, ..usual }
}

/// [`RustCrypto`], with the results of all operations on curves remembered, and (unless it is exact) with
/// a checksum in the place of the channel's cipher: for tests of what happens in which order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cheap {
    known: Rc<RefCell<Known>>,
    sealed: Option<Rc<RefCell<Vec<Sealed>>>>,
    exact: bool,
}

/// Results by operation and input.
type Known = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Key and nonce of a message that was sealed.
pub(crate) type Sealed = ([u8; 32], [u8; 12]);

impl Cheap {
    /// One with the channel's cipher: its answers are those of [`RustCrypto`].
    pub(crate) fn exact() -> Self {
        Self { exact: true, ..Self::default() }
    }

    /// One that writes down what is sealed.
    pub(crate) fn recording() -> Self {
        Self { sealed: Some(Rc::default()), ..Self::default() }
    }

    /// What was sealed so far.
    pub(crate) fn sealed(&self) -> Vec<Sealed> {
        self.sealed.as_ref().map_or_else(Vec::new, |sealed| sealed.borrow().clone())
    }

    /// How many operations on curves it has done, each with an input of its own.
    pub(crate) fn operations(&self) -> usize {
        self.known.borrow().len()
    }

    fn once<const N: usize>(
        &self,
        name: &str,
        input: &[&[u8]],
        compute: impl FnOnce() -> Option<[u8; N]>,
    ) -> Option<[u8; N]> {
        let key = [name.as_bytes()].iter().chain(input).flat_map(|part| part.iter().copied()).collect();
        let mut known = self.known.borrow_mut();
        let answer = known.entry(key).or_insert_with(|| compute().map(|bytes| bytes.to_vec()));
        answer.as_ref().map(|bytes| bytes.as_slice().try_into().unwrap())
    }
}

impl Crypto for Cheap {
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
        let key = || Some(*RustCrypto.public_key(secret).xy());
        PublicKey::from_xy(self.once("public_key", &[secret.expose()], key).unwrap())
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        let key = || RustCrypto.decompress(compressed).map(|key| *key.xy());
        self.once("decompress", &[compressed], key).map(PublicKey::from_xy)
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        RustCrypto.secret_key(bytes)
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        let sign = || Some(RustCrypto.sign(secret, digest).0);
        Signature(self.once("sign", &[secret.expose(), digest], sign).unwrap())
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        let verify = || RustCrypto.verify(public, digest, signature).then_some([]);
        self.once::<0>("verify", &[public.xy(), digest, &signature.0], verify).is_some()
    }

    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        RustCrypto.ecdh(secret, public)
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.once("x25519_public", &[secret.expose()], || Some(RustCrypto.x25519_public(secret))).unwrap()
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        let shared = || RustCrypto.x25519(secret, public).map(|shared| *shared.expose());
        self.once("x25519", &[secret.expose(), public], shared).map(Secret::new)
    }

    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        if let Some(sealed) = &self.sealed {
            sealed.borrow_mut().push((*key.expose(), *nonce));
        }
        if self.exact {
            return RustCrypto.chacha_seal(key, nonce, ad, buf);
        }
        checksum(&[key.expose(), nonce, ad, buf])
    }

    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        if self.exact {
            return RustCrypto.chacha_open(key, nonce, ad, buf, tag);
        }
        if checksum(&[key.expose(), nonce, ad, buf]) == *tag { Ok(()) } else { Err(AeadError) }
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

/// FNV-1a, twice.
fn checksum(parts: &[&[u8]]) -> [u8; TAG_LEN] {
    let mut sum = 0xCBF2_9CE4_8422_2325_u64;
    for byte in parts.iter().copied().flatten() {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    }
    let mut tag = [0; TAG_LEN];
    tag[..8].copy_from_slice(&sum.to_be_bytes());
    tag[8..].copy_from_slice(&sum.rotate_left(17).to_le_bytes());
    tag
}
