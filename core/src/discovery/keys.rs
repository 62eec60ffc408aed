//! Session keys: derived in the handshake, each used for a bounded number of messages (discv5
//! theory, "Handshake Steps" and "Session Cache").

use core::fmt;

use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::packet::{ChallengeData, Nonce};
#[cfg(feature = "alloc")]
use crate::limits::EPHEMERALS_AHEAD;
use crate::{
    crypto::{
        AeadError, Crypto, Identity, PublicKey, RustCrypto, Secret, SecretKey, Signature, TAG_LEN,
        packet_mask,
    },
    id::NodeId,
    limits::MAX_SESSION_MESSAGES,
    rng::Rng,
};

/// The keys of one session as one side holds them. They wipe themselves.
#[derive(Debug)]
pub struct Keys {
    send: Secret<16>,
    receive: Secret<16>,
    sent: u32,
}

impl Keys {
    /// The initiator's side.
    pub fn initiator<C: Crypto>(
        crypto: &C,
        secret: &Secret<33>,
        initiator: &NodeId,
        recipient: &NodeId,
        challenge: &ChallengeData,
    ) -> Self {
        let (send, receive) = derive(crypto, secret, initiator, recipient, challenge);
        Self { send, receive, sent: 0 }
    }

    /// The recipient's side.
    pub fn recipient<C: Crypto>(
        crypto: &C,
        secret: &Secret<33>,
        initiator: &NodeId,
        recipient: &NodeId,
        challenge: &ChallengeData,
    ) -> Self {
        let (receive, send) = derive(crypto, secret, initiator, recipient, challenge);
        Self { send, receive, sent: 0 }
    }

    /// The key to encrypt with.
    pub const fn send(&self) -> &Secret<16> {
        &self.send
    }

    /// The nonce for the next message: the count of messages and 64 random bits. `None` once the key
    /// has encrypted as many messages as it may; then a new handshake is due.
    pub fn next_nonce(&mut self, rng: &mut Rng) -> Option<Nonce> {
        if self.exhausted() {
            return None;
        }
        self.sent += 1;
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.sent.to_be_bytes());
        rng.fill(&mut nonce[4..]);
        Some(nonce)
    }

    /// Whether the key has encrypted as many messages as it may.
    pub const fn exhausted(&self) -> bool {
        self.sent >= MAX_SESSION_MESSAGES
    }

    /// Moves the keys out. What stays is wiped and encrypts nothing more.
    #[cfg(any(feature = "alloc", test))]
    pub(super) fn take(&mut self) -> Self {
        let taken = Self { send: self.send.clone(), receive: self.receive.clone(), sent: self.sent };
        self.send.zeroize();
        self.receive.zeroize();
        self.sent = MAX_SESSION_MESSAGES;
        taken
    }

    /// Makes the key look used `sent` times.
    #[cfg(test)]
    pub(crate) fn pretend_sent(&mut self, sent: u32) {
        self.sent = sent;
    }

    /// Decrypts a message with its tag in place; the plain text comes first in `message`. On failure
    /// the buffer is as it was.
    pub fn open<'m, C: Crypto>(
        &self,
        crypto: &C,
        nonce: &Nonce,
        header: &[u8],
        message: &'m mut [u8],
    ) -> Result<&'m [u8], AeadError> {
        open(crypto, &crypto.aes_gcm_key(&self.receive), nonce, header, message)
    }

    /// The keys made ready, and that of the headers of packets to `peer`.
    pub fn ready<C: Crypto>(&self, crypto: &C, peer: &NodeId) -> ReadyKeys<C> {
        ReadyKeys {
            send: crypto.aes_gcm_key(&self.send),
            receive: crypto.aes_gcm_key(&self.receive),
            mask: packet_mask(crypto, peer),
        }
    }
}

fn open<'m, C: Crypto>(
    crypto: &C,
    key: &C::AesGcmKey,
    nonce: &Nonce,
    header: &[u8],
    message: &'m mut [u8],
) -> Result<&'m [u8], AeadError> {
    let (text, tag) = message.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
    crypto.aes_gcm_open(key, nonce, header, text, tag)?;
    Ok(text)
}

/// The AES keys of one session made ready, so that a packet costs its own encryption and nothing else. 816 bytes
/// with [`RustCrypto`], and wiped on drop if those of the [`Crypto`] are.
pub struct ReadyKeys<C: Crypto> {
    send: C::AesGcmKey,
    receive: C::AesGcmKey,
    mask: C::AesCtrKey,
}

impl<C: Crypto> ReadyKeys<C> {
    /// The key to encrypt with.
    pub const fn send(&self) -> &C::AesGcmKey {
        &self.send
    }

    /// The key that the headers of packets to the peer are masked with.
    pub const fn mask(&self) -> &C::AesCtrKey {
        &self.mask
    }

    /// The same as [`Keys::open`].
    pub fn open<'m>(
        &self,
        crypto: &C,
        nonce: &Nonce,
        header: &[u8],
        message: &'m mut [u8],
    ) -> Result<&'m [u8], AeadError> {
        open(crypto, &self.receive, nonce, header, message)
    }
}

impl<C: Crypto> fmt::Debug for ReadyKeys<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadyKeys(redacted)")
    }
}

impl<C: Crypto> ZeroizeOnDrop for ReadyKeys<C>
where
    C::AesGcmKey: ZeroizeOnDrop,
    C::AesCtrKey: ZeroizeOnDrop,
{
}

const _: () = {
    const fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<ReadyKeys<RustCrypto>>();
};

fn derive<C: Crypto>(
    crypto: &C,
    secret: &Secret<33>,
    initiator: &NodeId,
    recipient: &NodeId,
    challenge: &ChallengeData,
) -> (Secret<16>, Secret<16>) {
    let mut data = [0; 32];
    let info = [&b"discovery v5 key agreement"[..], &initiator.0, &recipient.0];
    crypto.hkdf_sha256(challenge, secret.expose(), &info, &mut data);
    let (mut first, mut second) = ([0; 16], [0; 16]);
    first.copy_from_slice(&data[..16]);
    second.copy_from_slice(&data[16..]);
    let keys = (Secret::new(first), Secret::new(second));
    data.zeroize();
    first.zeroize();
    second.zeroize();
    keys
}

/// Signs a handshake with the node's own key.
pub fn sign_id<C: Crypto>(
    identity: &Identity<C>,
    challenge: &ChallengeData,
    ephemeral: &[u8; 33],
    recipient: &NodeId,
) -> Signature {
    identity.sign(&id_digest(identity.crypto(), challenge, ephemeral, recipient))
}

/// Checks the signature of a handshake. Costs one signature check.
pub fn verify_id<C: Crypto>(
    crypto: &C,
    initiator: &PublicKey,
    challenge: &ChallengeData,
    ephemeral: &[u8; 33],
    recipient: &NodeId,
    signature: &Signature,
) -> bool {
    crypto.verify(initiator, &id_digest(crypto, challenge, ephemeral, recipient), signature)
}

fn id_digest<C: Crypto>(
    crypto: &C,
    challenge: &ChallengeData,
    ephemeral: &[u8; 33],
    recipient: &NodeId,
) -> [u8; 32] {
    crypto.sha256(&[b"discovery v5 identity proof", challenge, ephemeral, &recipient.0])
}

/// An ephemeral key for one handshake.
#[derive(Debug)]
pub struct Ephemeral {
    /// The secret half.
    pub secret: SecretKey,
    /// The public half, compressed.
    pub public: [u8; 33],
}

impl Ephemeral {
    /// Draws one. `None` only if the stream of randomness is broken.
    pub fn draw<C: Crypto>(crypto: &C, rng: &mut Rng) -> Option<Self> {
        // One draw fails with a probability of 2⁻¹²⁸.
        let secret = (0..8).find_map(|_| {
            let mut bytes = rng.array();
            let secret = crypto.secret_key(&bytes);
            bytes.zeroize();
            secret
        })?;
        let public = crypto.public_key(&secret).compressed();
        Some(Self { secret, public })
    }
}

/// Ephemeral keys made while challenges are waited for, so that a handshake does not wait for its key: one for each
/// session that we begin to open, used once. One that was not needed serves a handshake that comes later.
#[cfg(feature = "alloc")]
#[derive(Debug, Default)]
pub(super) struct Ephemerals {
    ready: heapless::Vec<Ephemeral, EPHEMERALS_AHEAD>,
    wanted: usize,
}

#[cfg(feature = "alloc")]
impl Ephemerals {
    /// One more will be needed soon.
    pub(super) fn want(&mut self) {
        self.wanted = (self.wanted + 1).min(EPHEMERALS_AHEAD - self.ready.len());
    }

    /// Makes those that are wanted.
    pub(super) fn prepare<C: Crypto>(&mut self, crypto: &C, rng: &mut Rng) {
        for _ in 0..core::mem::take(&mut self.wanted) {
            // There is room: no more are wanted than that.
            let _ = Ephemeral::draw(crypto, rng).map(|ephemeral| self.ready.push(ephemeral));
        }
    }

    /// One that is ready, or a new one.
    pub(super) fn take<C: Crypto>(&mut self, crypto: &C, rng: &mut Rng) -> Option<Ephemeral> {
        self.ready.pop().or_else(|| {
            self.wanted = self.wanted.saturating_sub(1);
            Ephemeral::draw(crypto, rng)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn nonces_count_and_end() {
        let mut rng = Seed::new([4; 32]).stream("keys");
        let mut keys = Keys { send: Secret::new([1; 16]), receive: Secret::new([2; 16]), sent: 0 };
        let first = keys.next_nonce(&mut rng).unwrap();
        let second = keys.next_nonce(&mut rng).unwrap();
        assert_eq!((&first[..4], &second[..4]), (&[0, 0, 0, 1][..], &[0, 0, 0, 2][..]));
        assert_ne!(first[4..], second[4..]);
        keys.pretend_sent(MAX_SESSION_MESSAGES - 1);
        assert!(keys.next_nonce(&mut rng).is_some());
        assert_eq!(keys.next_nonce(&mut rng), None);
        assert!(keys.exhausted());
    }

    #[test]
    #[cfg(feature = "alloc")]
    fn ephemeral_keys_are_made_ahead_and_used_once() {
        let mut rng = Seed::new([4; 32]).stream("keys");
        let mut keys = Ephemerals::default();
        for _ in 0..EPHEMERALS_AHEAD + 3 {
            keys.want();
        }
        keys.prepare(&RustCrypto, &mut rng);
        assert_eq!((keys.ready.len(), keys.wanted), (EPHEMERALS_AHEAD, 0));
        keys.want();
        assert_eq!(keys.wanted, 0, "there is no room");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..EPHEMERALS_AHEAD + 2 {
            let taken = keys.take(&RustCrypto, &mut rng).unwrap();
            assert!(seen.insert(*taken.secret.expose()));
        }
        keys.want();
        keys.take(&RustCrypto, &mut rng).unwrap();
        assert_eq!(keys.wanted, 0, "what was wanted was made on the spot");
    }

    #[test]
    fn keys_that_moved_are_gone() {
        let mut keys = Keys { send: Secret::new([1; 16]), receive: Secret::new([2; 16]), sent: 5 };
        let taken = keys.take();
        assert_eq!((taken.send.expose(), taken.receive.expose(), taken.sent), (&[1; 16], &[2; 16], 5));
        assert_eq!((keys.send.expose(), keys.receive.expose()), (&[0; 16], &[0; 16]));
        assert!(keys.exhausted());
    }
}
