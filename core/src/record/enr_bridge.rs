//! Conversions between [`Record`] and the crate `enr`'s type, for hosts that use both.

use alloc::vec::Vec;

use enr::{Enr, k256::ecdsa::SigningKey};

use super::{Record, RecordError};
use crate::crypto::Crypto;

/// A record that one side accepts and the other does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// Ours refuses it.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The crate `enr` refuses it.
    #[error("the crate enr refuses the record")]
    Enr,
}

impl Record {
    /// From `enr::Enr`; the bytes are verified again, since that type can be changed after its
    /// signature was made.
    pub fn from_enr<C: Crypto>(enr: &Enr<SigningKey>, crypto: &C) -> Result<Self, BridgeError> {
        let mut bytes = Vec::with_capacity(crate::limits::MAX_RECORD_SIZE);
        alloy_rlp::Encodable::encode(enr, &mut bytes);
        Ok(Self::decode(&bytes, crypto)?)
    }

    /// To `enr::Enr`.
    pub fn to_enr(&self) -> Result<Enr<SigningKey>, BridgeError> {
        alloy_rlp::Decodable::decode(&mut self.as_bytes()).map_err(|_| BridgeError::Enr)
    }
}
