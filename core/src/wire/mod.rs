//! Readers and writers over slices: nothing here allocates, keeps state or knows a machine.

pub mod base58;
pub mod base64url;
pub mod delimited;
pub mod messages;
pub mod multiaddr;
pub mod multistream;
pub mod protobuf;
pub mod rlp;
pub mod varint;
