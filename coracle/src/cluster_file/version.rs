//! The schema versions of cluster files, and what each of them has.
//!
//! Every difference between versions is a question asked here, so that readers, writers and hashes never
//! compare version numbers themselves.

use std::fmt;

/// A schema version of cluster files, v1.0.0 to v1.11.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    minor: u8,
}

/// How byte strings are written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteText {
    /// Base64 with padding (v1.0 and v1.1).
    Base64,
    /// Hexadecimal digits after `0x` (v1.2 and later).
    Hex,
}

const TEXTS: [&str; 12] = [
    "v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0", "v1.5.0", "v1.6.0", "v1.7.0", "v1.8.0", "v1.9.0",
    "v1.10.0", "v1.11.0",
];

impl Version {
    /// The newest version known, v1.11.0.
    pub const NEWEST: Self = Self { minor: 11 };

    /// Every supported version, oldest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=Self::NEWEST.minor).map(|minor| Self { minor })
    }

    /// The version written exactly like this in a file, such as `v1.7.0`; `None` if it is not supported.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::all().find(|version| version.as_str() == text)
    }

    /// The text in the file, such as `v1.7.0`.
    pub fn as_str(self) -> &'static str {
        TEXTS.get(usize::from(self.minor)).copied().unwrap_or("")
    }

    pub(super) fn byte_text(self) -> ByteText {
        if self.minor <= 1 { ByteText::Base64 } else { ByteText::Hex }
    }

    /// v1.0 to v1.2 hash the text of addresses and keys, and have no length limits.
    pub(super) fn hashes_text(self) -> bool {
        self.minor <= 2
    }

    /// v1.0 and v1.1 have a nonce for each operator, which is always 0.
    pub(super) fn has_nonce(self) -> bool {
        self.minor <= 1
    }

    /// v1.0 leaves the timestamp out of the definition hash.
    pub(super) fn timestamp_in_definition_hash(self) -> bool {
        self.minor >= 1
    }

    /// Operators sign the configuration and their ENR (EIP-712).
    pub(crate) fn has_operator_signatures(self) -> bool {
        self.minor >= 3
    }

    /// Operators sign the configuration under a name of their own, which the creator's signature cannot bear.
    pub(super) fn names_operator_in_signature(self) -> bool {
        self.minor >= 4
    }

    /// The definition names its creator, who signs it.
    pub(crate) fn has_creator(self) -> bool {
        self.minor >= 4
    }

    /// Each validator has its own addresses; before, one pair served all.
    pub(crate) fn has_validator_addresses(self) -> bool {
        self.minor >= 5
    }

    /// Addresses and signatures are hashed at their full width even where they are empty.
    pub(super) fn pads_empty_values(self) -> bool {
        self.minor >= 5
    }

    /// A validator in the lock could once name its own fee recipient.
    pub(super) fn had_validator_fee_recipient(self) -> bool {
        self.minor <= 5
    }

    /// One deposit a validator, in the lock.
    pub(crate) fn has_single_deposit(self) -> bool {
        self.minor == 6 || self.minor == 7
    }

    /// v1.6 hashes the four deposit fields as if they were the validator's own.
    pub(super) fn inlines_deposit_in_hash(self) -> bool {
        self.minor == 6
    }

    /// Builder registrations and the nodes' signatures, in the lock.
    pub(crate) fn has_node_signatures(self) -> bool {
        self.minor >= 7
    }

    /// Several deposits a validator, and their amounts in the definition.
    pub(crate) fn has_partial_deposits(self) -> bool {
        self.minor >= 8
    }

    pub(crate) fn has_consensus_protocol(self) -> bool {
        self.minor >= 9
    }

    /// The gas limit and the compounding flag, in the definition.
    pub(crate) fn has_gas_limit(self) -> bool {
        self.minor >= 10
    }

    /// An EIP-712 signature may be several in a row, as Safe contract wallets give them.
    pub(super) fn has_signature_lists(self) -> bool {
        self.minor >= 11
    }

    /// An aggregate signature may be missing: the earliest locks were written without one.
    pub(super) fn may_lack_aggregate(self) -> bool {
        self.minor <= 1
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_its_own_text() {
        let texts: std::collections::BTreeSet<_> = Version::all().map(Version::as_str).collect();
        assert_eq!(texts.len(), 12);
        assert!(!texts.contains(""));
        assert_eq!(Version::NEWEST.as_str(), "v1.11.0");
        for version in Version::all() {
            assert_eq!(Version::from_text(version.as_str()), Some(version));
        }
        assert_eq!(Version::from_text("v1.12.0"), None);
        assert_eq!(Version::from_text("1.7.0"), None);
    }
}
