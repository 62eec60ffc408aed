//! Records that were verified before, by the digest of their bytes: the same bytes again cost no
//! signature check, and their key is not decompressed again.
//!
//! Only a digest goes in whose record's signature held, so nothing wrong can be made known. When it is
//! full the one that was used least recently leaves, which costs a check and nothing else.

use crate::{
    collections::{Keyed, Lists},
    record::Owner,
    rng::Rng,
};

/// SHA-256 of a record's bytes.
pub(super) type Digest = [u8; 32];

#[derive(Debug)]
pub(super) struct Verified {
    digests: Keyed<Digest, Owner>,
    order: Lists,
}

impl Verified {
    pub(super) fn new(capacity: usize, rng: &mut Rng) -> Self {
        Self { digests: Keyed::new(capacity, rng), order: Lists::new(1, capacity) }
    }

    /// Whose record this is, if these bytes were verified before.
    pub(super) fn owner(&mut self, digest: &Digest) -> Option<Owner> {
        let key = self.digests.find(digest)?;
        self.order.push(0, key.index());
        self.digests.get(key).copied()
    }

    /// Remembers bytes that are known to be right.
    pub(super) fn remember(&mut self, digest: &Digest, owner: Owner) {
        if self.owner(digest).is_some() {
            return;
        }
        if self.digests.is_full()
            && let Some(oldest) = self.order.first(0).and_then(|place| self.digests.key_at(place))
        {
            self.order.remove(oldest.index());
            self.digests.discard(oldest);
        }
        if let Ok(key) = self.digests.insert(*digest, owner) {
            self.order.push(0, key.index());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::{PublicKey, RustCrypto},
        rng::Seed,
    };

    #[test]
    fn the_least_recently_used_leaves() {
        let owner = |n| Owner::new(PublicKey::from_xy([n; 64]), &RustCrypto);
        let mut verified = Verified::new(2, &mut Seed::new([1; 32]).stream("v"));
        verified.remember(&[1; 32], owner(1));
        verified.remember(&[2; 32], owner(2));
        assert_eq!((verified.owner(&[1; 32]), verified.owner(&[3; 32])), (Some(owner(1)), None));
        verified.remember(&[3; 32], owner(3));
        verified.remember(&[3; 32], owner(3));
        let known = [1, 2, 3].map(|n| verified.owner(&[n; 32]));
        assert_eq!(known, [Some(owner(1)), None, Some(owner(3))]);
    }
}
