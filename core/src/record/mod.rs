//! Ethereum Node Records (EIP-778, identity scheme "v4"): decode, verify once, build, update.
//!
//! A [`Record`] holds the canonical RLP inline. It is verified when it is made from bytes, so a
//! `Record` that exists is a valid one: canonical, sorted, at most 300 bytes, signed by its key.
//! Reading a field allocates nothing. Unknown keys are kept, list-valued ones included.

mod build;
#[cfg(feature = "enr")]
mod enr_bridge;
#[cfg(test)]
mod tests;
mod text;

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

pub use build::{BuildError, Builder};
#[cfg(feature = "enr")]
pub use enr_bridge::BridgeError;

use crate::{
    crypto::{Crypto, PublicKey, Signature},
    id::{NodeId, PeerId},
    limits::MAX_RECORD_SIZE,
    wire::rlp::{self, Item, Reader, RlpError},
};

/// Why bytes or a text are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Over 300 bytes.
    #[error("the record is larger than 300 bytes")]
    TooLarge,
    /// Not canonical RLP, or not of the record's shape.
    #[error("the record is malformed: {0}")]
    Rlp(#[from] RlpError),
    /// Keys must rise strictly, byte by byte.
    #[error("the record's keys are not sorted, or one stands twice")]
    Unsorted,
    /// The `id` is missing or not "v4".
    #[error("the record's identity scheme is not \"v4\"")]
    Scheme,
    /// The `secp256k1` key is missing or no point of the curve.
    #[error("the record has no valid secp256k1 public key")]
    PublicKey,
    /// An address or a port has the wrong form; the key is named.
    #[error("the record's field {0:?} has the wrong length or form")]
    Field(&'static str),
    /// The signature does not hold.
    #[error("the record's signature does not match its content and key")]
    Signature,
    /// The text is not `enr:` and unpadded base64url.
    #[error("the text is not \"enr:\" followed by unpadded base64url")]
    Text,
}

/// The addresses and ports in a record, as they stand there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// `ip`
    pub ip4: Option<Ipv4Addr>,
    /// `udp`
    pub udp4: Option<u16>,
    /// `tcp`
    pub tcp4: Option<u16>,
    /// `ip6`
    pub ip6: Option<Ipv6Addr>,
    /// `udp6`
    pub udp6: Option<u16>,
    /// `tcp6`
    pub tcp6: Option<u16>,
}

impl Addresses {
    /// Where UDP reaches the node: IPv4 first. `udp6` absent means that `udp` serves both (EIP-778).
    pub fn udp_endpoints(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        endpoints(self.ip4, self.udp4, self.ip6, self.udp6)
    }

    /// Where TCP reaches the node: IPv4 first. `tcp6` absent means that `tcp` serves both (EIP-778).
    pub fn tcp_endpoints(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        endpoints(self.ip4, self.tcp4, self.ip6, self.tcp6)
    }
}

fn endpoints(
    ip4: Option<Ipv4Addr>,
    port4: Option<u16>,
    ip6: Option<Ipv6Addr>,
    port6: Option<u16>,
) -> impl Iterator<Item = SocketAddr> {
    let one = |ip: Option<IpAddr>, port: Option<u16>| match (ip, port) {
        (Some(ip), Some(port)) if port != 0 && !ip.is_unspecified() => Some(SocketAddr::new(ip, port)),
        _ => None,
    };
    let v4 = one(ip4.map(IpAddr::V4), port4);
    let v6 = one(ip6.map(IpAddr::V6), port6.or(port4));
    v4.into_iter().chain(v6)
}

/// A verified Ethereum Node Record of the identity scheme "v4".
#[derive(Clone)]
pub struct Record {
    rlp: heapless::Vec<u8, MAX_RECORD_SIZE, u16>,
    /// Where the signed content (the sequence number and the pairs) begins.
    content: u16,
    /// Where the pairs begin.
    pairs: u16,
    seq: u64,
    public_key: PublicKey,
    node_id: NodeId,
    addresses: Addresses,
}

impl Record {
    /// Decodes and verifies a record from its RLP. Costs one signature check.
    pub fn decode<C: Crypto>(bytes: &[u8], crypto: &C) -> Result<Self, RecordError> {
        Form::read(bytes)?.claim(crypto)?.verify(crypto)
    }

    /// Puts the parts together; the caller has checked (or just made) the signature.
    fn assemble(bytes: &[u8], parsed: &Parsed<'_>, owner: Owner) -> Result<Self, RecordError> {
        let rlp = heapless::Vec::from_slice(bytes).map_err(|_| RecordError::TooLarge)?;
        Ok(Self {
            content: (bytes.len() - parsed.content.len()) as u16,
            pairs: (bytes.len() - parsed.pairs.len()) as u16,
            rlp,
            seq: parsed.seq,
            public_key: owner.public_key,
            node_id: owner.node_id,
            addresses: parsed.addresses,
        })
    }

    /// The canonical RLP, at most 300 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.rlp
    }

    /// The sequence number.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The discv5 node id.
    pub const fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The libp2p peer id of the same key.
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_public_key(&self.public_key)
    }

    /// The public key that signed the record.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The signature.
    pub fn signature(&self) -> Signature {
        let mut reader = Reader::new(&self.rlp);
        let signature = reader
            .next_item()
            .and_then(|list| list.list())
            .and_then(|mut list| list.next_item())
            .and_then(|item| item.array());
        debug_assert!(signature.is_ok(), "a record's bytes were parsed before");
        Signature(signature.unwrap_or([0; 64]))
    }

    /// The addresses and ports it carries.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Where UDP reaches the node: IPv4 first, then IPv6.
    pub fn udp_endpoints(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        self.addresses.udp_endpoints()
    }

    /// Where TCP reaches the node: IPv4 first, then IPv6.
    pub fn tcp_endpoints(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        self.addresses.tcp_endpoints()
    }

    /// The value of `key`, as RLP.
    pub fn value(&self, key: &[u8]) -> Option<Item<'_>> {
        self.pairs().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// All keys and values, in their order.
    pub fn pairs(&self) -> Pairs<'_> {
        Pairs(Reader::new(&self.rlp[usize::from(self.pairs)..]))
    }

    /// Whether both say the same: sequence number and pairs. Signatures may differ, since ECDSA
    /// makes many for one content.
    pub fn same_content(&self, other: &Self) -> bool {
        self.rlp[usize::from(self.content)..] == other.rlp[usize::from(other.content)..]
    }
}

impl PartialEq for Record {
    /// Byte for byte, signature included.
    fn eq(&self, other: &Self) -> bool {
        self.rlp == other.rlp
    }
}

impl Eq for Record {}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({:?} seq {}", self.node_id, self.seq)?;
        self.udp_endpoints().try_for_each(|endpoint| write!(f, " {endpoint}/udp"))?;
        self.tcp_endpoints().try_for_each(|endpoint| write!(f, " {endpoint}/tcp"))?;
        f.write_str(")")
    }
}

/// Iterates over the pairs of a [`Record`] or [`Builder`].
#[derive(Clone, Debug)]
pub struct Pairs<'a>(Reader<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], Item<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        // The bytes were checked when the record was made, so an error is the end.
        let key = self.0.next_item().ok()?.string().ok()?;
        Some((key, self.0.next_item().ok()?))
    }
}

/// The hash that the signature is over: keccak-256 of the RLP list of sequence number and pairs.
fn content_digest<C: Crypto>(crypto: &C, content: &[u8]) -> [u8; 32] {
    let mut header = [0; 4];
    let header_len = rlp::list_header(content.len(), &mut header);
    crypto.keccak256(&[&header[..header_len], content])
}

/// Whose a record is: the key in it, uncompressed, and what follows from the key. It costs a square root and a
/// hash, so who may meet the same record again keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    public_key: PublicKey,
    node_id: NodeId,
}

impl Owner {
    pub(crate) fn new<C: Crypto>(public_key: PublicKey, crypto: &C) -> Self {
        Self { public_key, node_id: NodeId(crypto.keccak256(&[public_key.xy()])) }
    }

    /// The node id of the key.
    #[cfg(feature = "alloc")]
    pub(crate) const fn node_id(&self) -> NodeId {
        self.node_id
    }
}

/// A record whose form was read, and nothing else.
pub(crate) struct Form<'a> {
    bytes: &'a [u8],
    parsed: Parsed<'a>,
}

impl<'a> Form<'a> {
    /// Reads the form. Needs no cryptography.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        Ok(Self { bytes, parsed: Parsed::parse(bytes)? })
    }

    /// Reads the key in it.
    pub(crate) fn claim<C: Crypto>(self, crypto: &C) -> Result<Claim<'a>, RecordError> {
        let public_key = crypto.decompress(&self.parsed.key).ok_or(RecordError::PublicKey)?;
        Ok(self.owned_by(Owner::new(public_key, crypto)))
    }

    /// The same, for a caller who met these very bytes before.
    pub(crate) const fn owned_by(self, owner: Owner) -> Claim<'a> {
        Claim { form: self, owner }
    }
}

/// A record whose form and key were read, and whose signature was not checked.
pub(crate) struct Claim<'a> {
    form: Form<'a>,
    owner: Owner,
}

impl Claim<'_> {
    /// Checks the signature.
    pub(crate) fn verify<C: Crypto>(self, crypto: &C) -> Result<Record, RecordError> {
        let parsed = &self.form.parsed;
        let digest = content_digest(crypto, parsed.content);
        if !crypto.verify(&self.owner.public_key, &digest, &parsed.signature) {
            return Err(RecordError::Signature);
        }
        self.trust()
    }

    /// The record, for a caller who verified these very bytes before.
    pub(crate) fn trust(self) -> Result<Record, RecordError> {
        Record::assemble(self.form.bytes, &self.form.parsed, self.owner)
    }
}

#[cfg(feature = "alloc")]
impl Claim<'_> {
    /// The bytes that it was read from.
    pub(crate) const fn as_bytes(&self) -> &[u8] {
        self.form.bytes
    }

    /// Whose it says it is.
    pub(crate) const fn owner(&self) -> Owner {
        self.owner
    }

    /// The node id of the key in it.
    pub(crate) const fn node_id(&self) -> NodeId {
        self.owner.node_id
    }

    /// The key in it.
    pub(crate) const fn public_key(&self) -> &PublicKey {
        &self.owner.public_key
    }

    /// Where it says that UDP reaches the node.
    pub(crate) fn udp_endpoints(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        self.form.parsed.addresses.udp_endpoints()
    }
}

/// A record's parts, before anything is verified.
struct Parsed<'a> {
    signature: Signature,
    content: &'a [u8],
    pairs: &'a [u8],
    seq: u64,
    key: [u8; 33],
    addresses: Addresses,
}

impl<'a> Parsed<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD_SIZE {
            return Err(RecordError::TooLarge);
        }
        let mut list = rlp::decode_one(bytes)?.list()?;
        let signature = Signature(list.next_item()?.array()?);
        let content = list.rest();
        let seq = list.next_item()?.u64()?;
        let pairs = list.rest();
        let mut fields = Fields::default();
        let mut previous: Option<&[u8]> = None;
        while !list.is_empty() {
            let key = list.next_item()?.string()?;
            if previous.is_some_and(|previous| previous >= key) {
                return Err(RecordError::Unsorted);
            }
            previous = Some(key);
            let value = list.next_item()?;
            rlp::check_canonical(&value)?;
            fields.read(key, &value)?;
        }
        if !fields.v4 {
            return Err(RecordError::Scheme);
        }
        let key = fields.key.ok_or(RecordError::PublicKey)?;
        Ok(Self { signature, content, pairs, seq, key, addresses: fields.addresses })
    }
}

/// The fields whose form EIP-778 fixes.
#[derive(Default)]
struct Fields {
    v4: bool,
    key: Option<[u8; 33]>,
    addresses: Addresses,
}

impl Fields {
    fn read(&mut self, key: &[u8], value: &Item<'_>) -> Result<(), RecordError> {
        let to = &mut self.addresses;
        match key {
            b"id" => self.v4 = value.string() == Ok(b"v4"),
            b"secp256k1" => self.key = Some(value.array().map_err(|_| RecordError::PublicKey)?),
            b"ip" => to.ip4 = Some(field("ip", value.array::<4>())?.into()),
            b"ip6" => to.ip6 = Some(field("ip6", value.array::<16>())?.into()),
            b"udp" => to.udp4 = Some(field("udp", value.u16())?),
            b"tcp" => to.tcp4 = Some(field("tcp", value.u16())?),
            b"udp6" => to.udp6 = Some(field("udp6", value.u16())?),
            b"tcp6" => to.tcp6 = Some(field("tcp6", value.u16())?),
            _ => {}
        }
        Ok(())
    }
}

fn field<T>(name: &'static str, value: Result<T, RlpError>) -> Result<T, RecordError> {
    value.map_err(|_| RecordError::Field(name))
}
