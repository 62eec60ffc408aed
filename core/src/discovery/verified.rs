//! Records that were verified before, by the digest of their bytes: the same bytes again cost no
//! signature check.
//!
//! Only a digest goes in whose record's signature held, so nothing wrong can be made known. When it is
//! full the one that was used least recently leaves, which costs a check and nothing else.

use crate::{
    collections::{Keyed, Lists},
    rng::Rng,
};

/// SHA-256 of a record's bytes.
type Digest = [u8; 32];

#[derive(Debug)]
pub(super) struct Verified {
    digests: Keyed<Digest, ()>,
    order: Lists,
}

impl Verified {
    pub(super) fn new(capacity: usize, rng: &mut Rng) -> Self {
        Self { digests: Keyed::new(capacity, rng), order: Lists::new(1, capacity) }
    }

    /// Whether these bytes were verified before.
    pub(super) fn knows(&mut self, digest: &Digest) -> bool {
        let known = self.digests.find(digest);
        if let Some(key) = known {
            self.order.push(0, key.index());
        }
        known.is_some()
    }

    /// Remembers bytes that were just verified.
    pub(super) fn remember(&mut self, digest: &Digest) {
        if self.knows(digest) {
            return;
        }
        if self.digests.is_full()
            && let Some(oldest) = self.order.first(0).and_then(|place| self.digests.key_at(place))
        {
            self.order.remove(oldest.index());
            self.digests.discard(oldest);
        }
        if let Ok(key) = self.digests.insert(*digest, ()) {
            self.order.push(0, key.index());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn the_least_recently_used_leaves() {
        let mut verified = Verified::new(2, &mut Seed::new([1; 32]).stream("v"));
        verified.remember(&[1; 32]);
        verified.remember(&[2; 32]);
        assert!(verified.knows(&[1; 32]) && !verified.knows(&[3; 32]));
        verified.remember(&[3; 32]);
        verified.remember(&[3; 32]);
        assert!(verified.knows(&[1; 32]) && !verified.knows(&[2; 32]) && verified.knows(&[3; 32]));
    }
}
