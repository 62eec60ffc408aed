//! Who a node is: its discv5 node id, its libp2p peer id, and the distance between two node ids.

use core::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use crate::{crypto::PublicKey, wire::base58};

/// A discv5 node id: keccak-256 of the uncompressed public key (EIP-778, identity scheme "v4").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 32]);

impl Hash for NodeId {
    /// Without the length, which is always the same: every record is looked up by it, several times.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl NodeId {
    /// The id's 32 bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Logarithmic distance to `other`: 0 for the same id, else the number (1 to 256) of bits in
    /// the XOR of both, leading zeros not counted (discv5 theory, "Nodes, Records and Distances").
    pub fn log_distance(&self, other: &Self) -> u16 {
        for (i, (a, b)) in self.0.iter().zip(&other.0).enumerate() {
            let x = a ^ b;
            if x != 0 {
                return 256 - (8 * i as u16) - x.leading_zeros() as u16;
            }
        }
        0
    }

    /// The XOR distance to `other`, ordered as a big-endian number.
    pub fn xor(&self, other: &Self) -> [u8; 32] {
        core::array::from_fn(|i| self.0[i] ^ other.0[i])
    }
}

impl fmt::Display for NodeId {
    /// All 64 hex digits; with a precision, only that many (`{:.8}`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(64).min(64);
        for i in 0..digits {
            let nibble = (self.0[i / 2] >> (4 * (1 - i % 2))) & 15;
            write!(f, "{nibble:x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:.8}")
    }
}

/// Bytes before the compressed key in a peer id: an identity multihash (0x00, 37 bytes) around the
/// protobuf `PublicKey { type: Secp256k1, data: 33 bytes }` (libp2p peer-ids specification).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x25, 0x08, 0x02, 0x12, 0x21];

/// A libp2p peer id of a secp256k1 key: its compressed public key under a fixed prefix.
///
/// Ordered by its raw bytes, which is what decides between two connections of one pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 33]);

impl PeerId {
    /// Length of the raw form in bytes.
    pub const LEN: usize = 39;

    /// The peer id of a key.
    pub fn from_public_key(key: &PublicKey) -> Self {
        Self(key.compressed())
    }

    /// The compressed public key inside (it may not be a point of the curve, if this peer id came
    /// from text).
    pub const fn compressed_key(&self) -> &[u8; 33] {
        &self.0
    }

    /// The raw multihash bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..6].copy_from_slice(&PEER_ID_PREFIX);
        out[6..].copy_from_slice(&self.0);
        out
    }

    /// Reads the raw multihash bytes; `None` when they are not an inlined secp256k1 key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }
}

impl fmt::Display for PeerId {
    /// Base58btc, beginning with `16Uiu2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 60];
        f.write_str(base58::encode(&self.to_bytes(), &mut text))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 60];
        let text = base58::encode(&self.to_bytes(), &mut text);
        // The first bytes are the same for every key; the last six characters tell peers apart.
        write!(f, "*{}", text.get(text.len().saturating_sub(6)..).unwrap_or(text))
    }
}

/// A text that is not the peer id of a secp256k1 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a libp2p peer id of a secp256k1 key (base58, beginning with 16Uiu2)")]
pub struct PeerIdError;

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 64];
        base58::decode(text, &mut bytes).and_then(Self::from_bytes).ok_or(PeerIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_distance_counts_bits() {
        let zero = NodeId([0; 32]);
        let mut one = [0; 32];
        one[31] = 1;
        let mut top = [0; 32];
        top[0] = 0x80;
        assert_eq!(zero.log_distance(&zero), 0);
        assert_eq!(zero.log_distance(&NodeId(one)), 1);
        assert_eq!(zero.log_distance(&NodeId(top)), 256);
    }
}
