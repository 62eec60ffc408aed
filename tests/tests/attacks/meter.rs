//! What a call into the core costs: operations of cryptography, bytes of memory, and for information time.

use std::{cell::Cell, rc::Rc};

use coracle_core::crypto::{AeadError, Crypto, PublicKey, RustCrypto, Secret, SecretKey, Signature, TAG_LEN};

/// Operations so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// On the curve: what costs tens of microseconds.
    pub(crate) points: u64,
    /// Of those, signatures checked.
    pub(crate) checks: u64,
    /// Hashes and ciphers: what costs about one.
    pub(crate) symmetric: u64,
}

impl Work {
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            points: self.points - before.points,
            checks: self.checks - before.checks,
            symmetric: self.symmetric - before.symmetric,
        }
    }
}

/// The ordinary cryptography, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counting(Rc<Cell<Work>>);

impl Counting {
    pub(crate) fn so_far(&self) -> Work {
        self.0.get()
    }

    fn point(&self) -> RustCrypto {
        let work = self.0.get();
        self.0.set(Work { points: work.points + 1, ..work });
        RustCrypto
    }

    fn symmetric(&self) -> RustCrypto {
        let work = self.0.get();
        self.0.set(Work { symmetric: work.symmetric + 1, ..work });
        RustCrypto
    }
}

impl Crypto for Counting {
    type AesGcmKey = <RustCrypto as Crypto>::AesGcmKey;
    type AesCtrKey = <RustCrypto as Crypto>::AesCtrKey;

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.symmetric().sha256(parts)
    }

    fn keccak256(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.symmetric().keccak256(parts)
    }

    fn hkdf_sha256(&self, salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) {
        self.symmetric().hkdf_sha256(salt, ikm, info, out);
    }

    fn public_key(&self, secret: &SecretKey) -> PublicKey {
        self.point().public_key(secret)
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        self.point().decompress(compressed)
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        RustCrypto.secret_key(bytes)
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        self.point().sign(secret, digest)
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        let work = self.0.get();
        self.0.set(Work { checks: work.checks + 1, ..work });
        self.point().verify(public, digest, signature)
    }

    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        self.point().ecdh(secret, public)
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.point().x25519_public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        self.point().x25519(secret, public)
    }

    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        self.symmetric().chacha_seal(key, nonce, ad, buf)
    }

    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        self.symmetric().chacha_open(key, nonce, ad, buf, tag)
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
        self.symmetric().aes_gcm_seal(key, nonce, ad, buf)
    }

    fn aes_gcm_open(
        &self,
        key: &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        self.symmetric().aes_gcm_open(key, nonce, ad, buf, tag)
    }

    fn aes_ctr_key(&self, key: &[u8; 16]) -> Self::AesCtrKey {
        RustCrypto.aes_ctr_key(key)
    }

    fn aes_ctr(&self, key: &Self::AesCtrKey, iv: &[u8; 16], skip: usize, buf: &mut [u8]) {
        self.symmetric().aes_ctr(key, iv, skip, buf);
    }
}

/// Packets of one stretch of a run, and what they cost together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) packets: u64,
    pub(crate) work: Work,
    pub(crate) nanos: u128,
}

impl Stretch {
    /// Thousandths of an operation a packet, on the curve and other.
    pub(crate) fn per_packet(&self) -> (u64, u64) {
        let share = |part: u64| part * 1000 / self.packets.max(1);
        (share(self.work.points), share(self.work.symmetric))
    }
}

/// What calls into one machine cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    /// Bytes that the machine took when it was made.
    pub(crate) at_start: i64,
    /// The most that it held above that.
    pub(crate) above: i64,
    pub(crate) allocations: u64,
    /// The most work for one datagram, its answer included.
    pub(crate) worst: Work,
    /// Of so many datagrams each.
    pub(crate) stretches: Vec<Stretch>,
}

/// Datagrams in one stretch.
pub(crate) const STRETCH: u64 = 10_000;

impl Meter {
    /// Measures a call, and what it allocates.
    pub(crate) fn call<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let mut result = None;
        let info = allocation_counter::measure(|| result = Some(call()));
        self.allocations += info.count_total;
        self.above = self.above.max(info.bytes_max as i64);
        result.unwrap()
    }

    /// Notes what a datagram cost.
    pub(crate) fn datagram(&mut self, work: Work, nanos: u128) {
        if self.stretches.last().is_none_or(|last| last.packets >= STRETCH) {
            self.stretches.push(Stretch::default());
        }
        let last = self.stretches.last_mut().unwrap();
        last.packets += 1;
        last.nanos += nanos;
        last.work.points += work.points;
        last.work.checks += work.checks;
        last.work.symmetric += work.symmetric;
        self.worst.points = self.worst.points.max(work.points);
        self.worst.checks = self.worst.checks.max(work.checks);
        self.worst.symmetric = self.worst.symmetric.max(work.symmetric);
    }
}
