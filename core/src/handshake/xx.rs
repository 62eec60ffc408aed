//! The pattern XX of the Noise framework, message by message:
//!
//! ```text
//! -> e
//! <- e, ee, s, es
//! -> s, se
//! ```
//!
//! Each state is a type, and each message consumes it: a message out of order does not compile.
//! Nothing here knows libp2p: payloads are bytes, the prologue is the caller's.

use core::ops::Range;

use super::{
    cipher::{CipherError, CipherState, SymmetricState},
    wipe::wipes_by_its_fields,
};
use crate::crypto::{Crypto, Secret, TAG_LEN};

/// Length of an X25519 key in bytes.
pub(super) const KEY_LEN: usize = 32;
/// Where the payload begins in messages 1, 2 and 3.
pub(super) const PAYLOAD_1: usize = KEY_LEN;
pub(super) const PAYLOAD_2: usize = KEY_LEN + KEY_LEN + TAG_LEN;
pub(super) const PAYLOAD_3: usize = KEY_LEN + TAG_LEN;

/// An X25519 key pair.
#[derive(Clone, Debug)]
pub(super) struct KeyPair {
    pub(super) secret: Secret<32>,
    pub(super) public: [u8; KEY_LEN],
}

impl KeyPair {
    pub(super) fn new(crypto: &impl Crypto, secret: Secret<32>) -> Self {
        let public = crypto.x25519_public(&secret);
        Self { secret, public }
    }

    fn dh(&self, crypto: &impl Crypto, public: &[u8; KEY_LEN]) -> Result<Secret<32>, XxError> {
        crypto.x25519(&self.secret, public).ok_or(XxError::SmallOrder)
    }
}

wipes_by_its_fields!(KeyPair { secret: secret; public: public });

/// An ephemeral key that may still lack its public half, which costs a multiplication.
pub(super) struct Ephemeral {
    secret: Secret<32>,
    public: Option<[u8; KEY_LEN]>,
}

impl Ephemeral {
    pub(super) const fn new(secret: Secret<32>) -> Self {
        Self { secret, public: None }
    }

    /// Computes the public half, if that was not done yet: to be called while the peer is waited for.
    pub(super) fn prepare(&mut self, crypto: &impl Crypto) {
        self.public.get_or_insert_with(|| crypto.x25519_public(&self.secret));
    }

    pub(super) fn into_pair(self, crypto: &impl Crypto) -> KeyPair {
        let public = self.public.unwrap_or_else(|| crypto.x25519_public(&self.secret));
        KeyPair { secret: self.secret, public }
    }
}

wipes_by_its_fields!(Ephemeral { secret: secret; public: public });

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum XxError {
    /// Shorter than its keys and tags, or (writing) the buffer is.
    Short,
    /// A tag does not match.
    Decrypt,
    /// A key whose Diffie-Hellman result everybody knows.
    SmallOrder,
}

impl From<CipherError> for XxError {
    fn from(_: CipherError) -> Self {
        Self::Decrypt
    }
}

/// What both sides end with.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) send: CipherState,
    pub(super) receive: CipherState,
    /// The handshake hash: equal on both sides exactly when they saw the same messages.
    pub(super) hash: [u8; 32],
}

wipes_by_its_fields!(Transport { secret: send, receive; public: hash });

/// Initiator: message 1 was sent.
pub(super) struct AwaitMessage2 {
    symmetric: SymmetricState,
    ephemeral: KeyPair,
}

/// Initiator: message 2 was read.
pub(super) struct SendMessage3 {
    symmetric: SymmetricState,
    remote_ephemeral: [u8; KEY_LEN],
}

/// Responder: message 1 was read.
pub(super) struct SendMessage2 {
    symmetric: SymmetricState,
    ephemeral: KeyPair,
    remote_ephemeral: [u8; KEY_LEN],
    shared: Secret<32>,
}

/// Responder: message 2 was sent.
pub(super) struct AwaitMessage3 {
    symmetric: SymmetricState,
    ephemeral: KeyPair,
}

wipes_by_its_fields!(AwaitMessage2 { secret: symmetric, ephemeral; public: });
wipes_by_its_fields!(SendMessage3 { secret: symmetric; public: remote_ephemeral });
wipes_by_its_fields!(SendMessage2 { secret: symmetric, ephemeral, shared; public: remote_ephemeral });
wipes_by_its_fields!(AwaitMessage3 { secret: symmetric, ephemeral; public: });

/// Writes message 1 around the payload that lies at `buf[PAYLOAD_1..][..payload]`; returns its length.
pub(super) fn write_message_1(
    crypto: &impl Crypto,
    prologue: &[u8],
    ephemeral: KeyPair,
    buf: &mut [u8],
    payload: usize,
) -> Result<(AwaitMessage2, usize), XxError> {
    let mut symmetric = SymmetricState::new(crypto, prologue);
    let (e, rest) = buf.split_first_chunk_mut::<KEY_LEN>().ok_or(XxError::Short)?;
    *e = ephemeral.public;
    symmetric.mix_hash(crypto, e);
    let len = symmetric.encrypt_and_hash(crypto, rest, payload).ok_or(XxError::Short)?;
    Ok((AwaitMessage2 { symmetric, ephemeral }, PAYLOAD_1 + len))
}

/// Reads message 1; the payload, not encrypted, lies at `message[PAYLOAD_1..]`.
pub(super) fn read_message_1(
    crypto: &impl Crypto,
    prologue: &[u8],
    ephemeral: KeyPair,
    message: &mut [u8],
) -> Result<SendMessage2, XxError> {
    let mut symmetric = SymmetricState::new(crypto, prologue);
    let (e, rest) = message.split_first_chunk_mut::<KEY_LEN>().ok_or(XxError::Short)?;
    // `ee` belongs to message 2, and is computed here because it tells a useless key at once.
    let shared = ephemeral.dh(crypto, e)?;
    symmetric.mix_hash(crypto, e);
    symmetric.decrypt_and_hash(crypto, rest)?;
    Ok(SendMessage2 { symmetric, ephemeral, remote_ephemeral: *e, shared })
}

impl SendMessage2 {
    /// Writes message 2 around the payload that lies at `buf[PAYLOAD_2..][..payload]`; returns its length.
    pub(super) fn write(
        mut self,
        crypto: &impl Crypto,
        local_static: &KeyPair,
        buf: &mut [u8],
        payload: usize,
    ) -> Result<(AwaitMessage3, usize), XxError> {
        let (e, rest) = buf.split_first_chunk_mut::<KEY_LEN>().ok_or(XxError::Short)?;
        *e = self.ephemeral.public;
        self.symmetric.mix_hash(crypto, e);
        self.symmetric.mix_key(crypto, &self.shared);
        let es = local_static.dh(crypto, &self.remote_ephemeral)?;
        let len = write_static(&mut self.symmetric, crypto, local_static, &es, rest, payload)?;
        let next = AwaitMessage3 { symmetric: self.symmetric, ephemeral: self.ephemeral };
        Ok((next, KEY_LEN + len))
    }
}

impl AwaitMessage2 {
    /// Reads message 2; returns the responder's static key and where the payload lies in `message`.
    pub(super) fn read(
        mut self,
        crypto: &impl Crypto,
        message: &mut [u8],
    ) -> Result<(SendMessage3, [u8; KEY_LEN], Range<usize>), XxError> {
        let (e, rest) = message.split_first_chunk_mut::<KEY_LEN>().ok_or(XxError::Short)?;
        let ee = self.ephemeral.dh(crypto, e)?;
        self.symmetric.mix_hash(crypto, e);
        self.symmetric.mix_key(crypto, &ee);
        let (remote_static, len) = read_static(&mut self.symmetric, crypto, &self.ephemeral, rest)?;
        let next = SendMessage3 { symmetric: self.symmetric, remote_ephemeral: *e };
        Ok((next, remote_static, PAYLOAD_2..PAYLOAD_2 + len))
    }
}

impl SendMessage3 {
    /// Writes message 3 around the payload that lies at `buf[PAYLOAD_3..][..payload]`; returns its length.
    pub(super) fn write(
        mut self,
        crypto: &impl Crypto,
        local_static: &KeyPair,
        buf: &mut [u8],
        payload: usize,
    ) -> Result<(Transport, usize), XxError> {
        let se = local_static.dh(crypto, &self.remote_ephemeral)?;
        let len = write_static(&mut self.symmetric, crypto, local_static, &se, buf, payload)?;
        let (send, receive) = self.symmetric.split(crypto);
        Ok((Transport { send, receive, hash: *self.symmetric.hash() }, len))
    }
}

impl AwaitMessage3 {
    /// Reads message 3; returns the initiator's static key and where the payload lies in `message`.
    pub(super) fn read(
        mut self,
        crypto: &impl Crypto,
        message: &mut [u8],
    ) -> Result<(Transport, [u8; KEY_LEN], Range<usize>), XxError> {
        let (remote_static, len) = read_static(&mut self.symmetric, crypto, &self.ephemeral, message)?;
        let (receive, send) = self.symmetric.split(crypto);
        let transport = Transport { send, receive, hash: *self.symmetric.hash() };
        Ok((transport, remote_static, PAYLOAD_3..PAYLOAD_3 + len))
    }
}

/// The second half of messages 2 and 3: own static key, its Diffie-Hellman, the payload.
fn write_static(
    symmetric: &mut SymmetricState,
    crypto: &impl Crypto,
    local_static: &KeyPair,
    shared: &Secret<32>,
    buf: &mut [u8],
    payload: usize,
) -> Result<usize, XxError> {
    let (key, rest) = buf.split_at_mut_checked(PAYLOAD_3).ok_or(XxError::Short)?;
    key[..KEY_LEN].copy_from_slice(&local_static.public);
    symmetric.encrypt_and_hash(crypto, key, KEY_LEN).ok_or(XxError::Short)?;
    symmetric.mix_key(crypto, shared);
    let len = symmetric.encrypt_and_hash(crypto, rest, payload).ok_or(XxError::Short)?;
    Ok(PAYLOAD_3 + len)
}

/// Reads the same: the peer's static key, and the length of its payload.
fn read_static(
    symmetric: &mut SymmetricState,
    crypto: &impl Crypto,
    ephemeral: &KeyPair,
    bytes: &mut [u8],
) -> Result<([u8; KEY_LEN], usize), XxError> {
    let (sealed_key, payload) = bytes.split_first_chunk_mut::<PAYLOAD_3>().ok_or(XxError::Short)?;
    if payload.len() < TAG_LEN {
        return Err(XxError::Short);
    }
    symmetric.decrypt_and_hash(crypto, sealed_key)?;
    let mut remote_static = [0; KEY_LEN];
    remote_static.copy_from_slice(&sealed_key[..KEY_LEN]);
    let shared = ephemeral.dh(crypto, &remote_static)?;
    symmetric.mix_key(crypto, &shared);
    let len = symmetric.decrypt_and_hash(crypto, payload)?;
    Ok((remote_static, len))
}
