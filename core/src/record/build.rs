//! Making records: a builder over sorted pairs, and its signature.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Addresses, Owner, Pairs, Parsed, Record, RecordError, content_digest};
use crate::{
    crypto::{Crypto, Identity},
    limits::MAX_RECORD_SIZE,
    wire::rlp::{self, BufferTooSmall, Reader, RlpError, Writer},
};

/// Why a record could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The record would have more than 300 bytes.
    #[error("the record would be larger than 300 bytes")]
    TooLarge,
    /// The value is not one canonical RLP value.
    #[error("the value is not canonical RLP: {0}")]
    Value(#[from] RlpError),
    /// The result would not decode; the reason is named.
    #[error("the record would be refused: {0}")]
    Invalid(RecordError),
    /// `id` and `secp256k1` follow from the signing key and cannot be set.
    #[error("the keys \"id\" and \"secp256k1\" follow from the signing key")]
    Reserved,
}

impl From<BufferTooSmall> for BuildError {
    fn from(_: BufferTooSmall) -> Self {
        Self::TooLarge
    }
}

/// Collects pairs, in any order, and signs them into a [`Record`].
///
/// ```
/// # use coracle_core::{crypto::{Identity, RustCrypto, SecretKey}, record::Builder};
/// let key = SecretKey::from_bytes(&[1; 32]).unwrap();
/// let identity = Identity::new(RustCrypto, key);
/// let mut builder = Builder::new();
/// builder.set_ip4(Some([127, 0, 0, 1].into()))?.set_udp4(Some(3610))?;
/// let record = builder.sign(1, &identity)?;
/// assert_eq!(record.udp_endpoints().next(), Some("127.0.0.1:3610".parse().unwrap()));
/// # Ok::<(), coracle_core::record::BuildError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// Encoded pairs, sorted by key.
    pairs: heapless::Vec<u8, MAX_RECORD_SIZE>,
}

impl Builder {
    /// A builder without pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder with the pairs of `record`, the unknown ones included.
    pub fn from_record(record: &Record) -> Self {
        let mut builder = Self::new();
        for (key, value) in record.pairs() {
            // They fitted into a record, so they fit here.
            let set = builder.put(key, Some(value.raw));
            debug_assert!(set.is_ok());
        }
        builder
    }

    /// The pairs so far.
    pub fn pairs(&self) -> Pairs<'_> {
        Pairs(Reader::new(&self.pairs))
    }

    /// Sets `key` to one RLP-encoded value, or removes it.
    pub fn set(&mut self, key: &[u8], rlp_value: Option<&[u8]>) -> Result<&mut Self, BuildError> {
        if matches!(key, b"id" | b"secp256k1") {
            return Err(BuildError::Reserved);
        }
        if let Some(value) = rlp_value {
            rlp::check_canonical(&rlp::decode_one(value)?)?;
        }
        self.put(key, rlp_value)
    }

    /// Sets `key` to a string value, or removes it.
    pub fn set_string(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<&mut Self, BuildError> {
        let Some(value) = value else { return self.set(key, None) };
        let mut buf = [0; MAX_RECORD_SIZE];
        let mut writer = Writer::new(&mut buf);
        writer.string(value)?;
        let len = writer.len();
        self.set(key, Some(&buf[..len]))
    }

    /// Sets or removes `ip`.
    pub fn set_ip4(&mut self, ip: Option<Ipv4Addr>) -> Result<&mut Self, BuildError> {
        self.set_string(b"ip", ip.map(|ip| ip.octets()).as_ref().map(|b| &b[..]))
    }

    /// Sets or removes `ip6`.
    pub fn set_ip6(&mut self, ip: Option<Ipv6Addr>) -> Result<&mut Self, BuildError> {
        self.set_string(b"ip6", ip.map(|ip| ip.octets()).as_ref().map(|b| &b[..]))
    }

    /// Sets or removes `udp`.
    pub fn set_udp4(&mut self, port: Option<u16>) -> Result<&mut Self, BuildError> {
        self.set_port(b"udp", port)
    }

    /// Sets or removes `tcp`.
    pub fn set_tcp4(&mut self, port: Option<u16>) -> Result<&mut Self, BuildError> {
        self.set_port(b"tcp", port)
    }

    /// Sets or removes `udp6`.
    pub fn set_udp6(&mut self, port: Option<u16>) -> Result<&mut Self, BuildError> {
        self.set_port(b"udp6", port)
    }

    /// Sets or removes `tcp6`.
    pub fn set_tcp6(&mut self, port: Option<u16>) -> Result<&mut Self, BuildError> {
        self.set_port(b"tcp6", port)
    }

    /// Sets all six address fields; those that are `None` are removed.
    pub fn set_addresses(&mut self, addresses: &Addresses) -> Result<&mut Self, BuildError> {
        self.set_ip4(addresses.ip4)?
            .set_udp4(addresses.udp4)?
            .set_tcp4(addresses.tcp4)?
            .set_ip6(addresses.ip6)?
            .set_udp6(addresses.udp6)?
            .set_tcp6(addresses.tcp6)
    }

    /// Signs the pairs under the sequence number `seq`. The keys `id` and `secp256k1` are those of
    /// `identity`.
    pub fn sign<C: Crypto>(&self, seq: u64, identity: &Identity<C>) -> Result<Record, BuildError> {
        let mut full = self.clone();
        full.put(b"id", Some(b"\x82v4"))?;
        let key = identity.public_key().compressed();
        let mut value = [0; 34];
        value[0] = 0x80 + 33;
        value[1..].copy_from_slice(&key);
        full.put(b"secp256k1", Some(&value))?;

        let mut content = [0; MAX_RECORD_SIZE];
        let mut writer = Writer::new(&mut content);
        writer.u64(seq)?.raw(&full.pairs)?;
        let len = writer.len();
        let content = &content[..len];
        let signature = identity.sign(&content_digest(identity.crypto(), content));

        let mut buf = [0; MAX_RECORD_SIZE];
        let mut writer = Writer::new(&mut buf);
        writer.list(|list| list.string(&signature.0)?.raw(content).map(drop))?;
        let len = writer.len();
        let parsed = Parsed::parse(&buf[..len]).map_err(BuildError::Invalid)?;
        let owner = Owner::new(*identity.public_key(), identity.crypto());
        Record::assemble(&buf[..len], &parsed, owner).map_err(BuildError::Invalid)
    }

    fn set_port(&mut self, key: &[u8], port: Option<u16>) -> Result<&mut Self, BuildError> {
        let Some(port) = port else { return self.set(key, None) };
        let mut buf = [0; 3];
        let mut writer = Writer::new(&mut buf);
        writer.u64(port.into())?;
        let len = writer.len();
        self.set(key, Some(&buf[..len]))
    }

    /// Writes the pairs anew with `key` replaced, inserted or left out.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<&mut Self, BuildError> {
        let mut buf = [0; MAX_RECORD_SIZE];
        let mut writer = Writer::new(&mut buf);
        let mut pending = value;
        for (other, other_value) in self.pairs() {
            if other >= key
                && let Some(value) = pending.take()
            {
                writer.string(key)?.raw(value)?;
            }
            if other != key {
                writer.string(other)?.raw(other_value.raw)?;
            }
        }
        if let Some(value) = pending {
            writer.string(key)?.raw(value)?;
        }
        let len = writer.len();
        self.pairs = heapless::Vec::from_slice(&buf[..len]).map_err(|_| BuildError::TooLarge)?;
        Ok(self)
    }
}
