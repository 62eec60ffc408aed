//! `CipherState` and `SymmetricState` of the Noise framework (revision 34, sections 5.1 and 5.2),
//! for the one suite libp2p uses: ChaChaPoly and SHA-256.

use super::wipe::wipes_by_its_fields;
use crate::{
    crypto::{AeadError, Crypto, Secret, TAG_LEN},
    limits::MAX_NOISE_NONCE,
    zoo::{self, Bug},
};

/// Exactly as long as a hash, so it is the first hash itself (Noise, "InitializeSymmetric").
const PROTOCOL_NAME: &[u8; 32] = b"Noise_XX_25519_ChaChaPoly_SHA256";

/// Why a message could not be opened or sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CipherError {
    /// The tag does not match.
    Decrypt,
    /// Every nonce of this key was used.
    Exhausted,
}

impl From<AeadError> for CipherError {
    fn from(AeadError: AeadError) -> Self {
        Self::Decrypt
    }
}

/// A key and its next nonce. The nonce rises with every success and never repeats (rule N5).
#[derive(Debug)]
pub(crate) struct CipherState {
    key: Secret<32>,
    nonce: u64,
}

wipes_by_its_fields!(CipherState { secret: key; public: nonce });

impl CipherState {
    pub(crate) const fn new(key: Secret<32>) -> Self {
        Self { key, nonce: 0 }
    }

    /// Encrypts `buf` in place and returns the tag.
    pub(crate) fn seal(
        &mut self,
        crypto: &impl Crypto,
        ad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CipherError> {
        let nonce = self.next_nonce()?;
        let tag = crypto.chacha_seal(&self.key, &nonce, ad, buf);
        self.nonce += 1;
        Ok(tag)
    }

    /// Decrypts `sealed` (text and tag) in place and returns the length of the text. On an error the state is as
    /// it was (rule N8), and what `sealed` holds is of no use.
    pub(crate) fn open(
        &mut self,
        crypto: &impl Crypto,
        ad: &[u8],
        sealed: &mut [u8],
    ) -> Result<usize, CipherError> {
        let nonce = self.next_nonce()?;
        let (text, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(CipherError::Decrypt)?;
        crypto.chacha_open(&self.key, &nonce, ad, text, tag)?;
        self.nonce += 1;
        Ok(text.len())
    }

    fn next_nonce(&self) -> Result<[u8; 12], CipherError> {
        if self.nonce > MAX_NOISE_NONCE {
            return Err(CipherError::Exhausted);
        }
        let mut nonce = [0; 12];
        let count = if zoo::has(Bug::NonceStartsAgain) { self.nonce % 4 } else { self.nonce };
        nonce[4..].copy_from_slice(&count.to_le_bytes());
        Ok(nonce)
    }

    /// Moves the counter, to test the end of it.
    #[cfg(test)]
    pub(crate) const fn set_nonce(&mut self, nonce: u64) {
        self.nonce = nonce;
    }
}

/// Chaining key, handshake hash, and the cipher once there is a key.
pub(super) struct SymmetricState {
    chaining_key: Secret<32>,
    hash: [u8; 32],
    cipher: Option<CipherState>,
}

wipes_by_its_fields!(SymmetricState { secret: chaining_key, cipher; public: hash });

impl SymmetricState {
    pub(super) fn new(crypto: &impl Crypto, prologue: &[u8]) -> Self {
        let chaining_key = Secret::new(*PROTOCOL_NAME);
        let mut state = Self { chaining_key, hash: *PROTOCOL_NAME, cipher: None };
        state.mix_hash(crypto, prologue);
        state
    }

    pub(super) const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    pub(super) fn mix_hash(&mut self, crypto: &impl Crypto, data: &[u8]) {
        self.hash = crypto.sha256(&[&self.hash, data]);
    }

    pub(super) fn mix_key(&mut self, crypto: &impl Crypto, input: &Secret<32>) {
        let (chaining_key, key) = self.derive(crypto, input.expose());
        self.chaining_key = chaining_key;
        self.cipher = Some(CipherState::new(key));
    }

    /// Encrypts `buf[..len]` in place, appends the tag when there is a key, and mixes the result
    /// into the hash. Returns the length; `None` when the tag has no room.
    pub(super) fn encrypt_and_hash(
        &mut self,
        crypto: &impl Crypto,
        buf: &mut [u8],
        len: usize,
    ) -> Option<usize> {
        let sealed_len = match &mut self.cipher {
            None => len,
            Some(cipher) => {
                let (text, rest) = buf.split_at_mut_checked(len)?;
                let tag_out = rest.first_chunk_mut::<TAG_LEN>()?;
                *tag_out = cipher.seal(crypto, &self.hash, text).ok()?;
                len + TAG_LEN
            }
        };
        self.mix_hash(crypto, buf.get(..sealed_len)?);
        Some(sealed_len)
    }

    /// The reverse: decrypts `sealed` in place, mixing what arrived into the hash; returns the length
    /// of the text.
    pub(super) fn decrypt_and_hash(
        &mut self,
        crypto: &impl Crypto,
        sealed: &mut [u8],
    ) -> Result<usize, CipherError> {
        let next = crypto.sha256(&[&self.hash, sealed]);
        let len = match &mut self.cipher {
            None => sealed.len(),
            Some(cipher) => cipher.open(crypto, &self.hash, sealed)?,
        };
        self.hash = next;
        Ok(len)
    }

    /// The two transport ciphers, initiator's sending one first (Noise, "Split").
    pub(super) fn split(&self, crypto: &impl Crypto) -> (CipherState, CipherState) {
        let (a, b) = self.derive(crypto, &[]);
        let b = if zoo::has(Bug::OneKeyBothWays) { a.clone() } else { b };
        (CipherState::new(a), CipherState::new(b))
    }

    /// The HKDF of Noise with two outputs, which is RFC 5869's with an empty info.
    fn derive(&self, crypto: &impl Crypto, input: &[u8]) -> (Secret<32>, Secret<32>) {
        let mut out = zeroize::Zeroizing::new([0; 64]);
        crypto.hkdf_sha256(self.chaining_key.expose(), input, &[], &mut out[..]);
        let (mut a, mut b) = ([0; 32], [0; 32]);
        a.copy_from_slice(&out[..32]);
        b.copy_from_slice(&out[32..]);
        let both = (Secret::new(a), Secret::new(b));
        zeroize::Zeroize::zeroize(&mut a);
        zeroize::Zeroize::zeroize(&mut b);
        both
    }
}
