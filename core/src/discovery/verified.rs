//! Records that were verified before, by the digest of their bytes: the same bytes again cost no
//! signature check, and their key is not decompressed again.
//!
//! Only a digest goes in whose record's signature held, so nothing wrong can be made known. When it is
//! full the one that was used least recently leaves, which costs a check and nothing else.
//!
//! The digest is SipHash-2-4 of 128 bits under a secret of this start, not SHA-256, which would cost more than all else
//! that a known record does. Nobody needs to be convinced by it but ourselves, and whoever sends records never sees
//! one, nor the secret: to pass for a known record, other bytes have to meet one of a thousand digests, with a chance
//! of 2⁻¹¹⁸ a try, and a try that fails costs one signature check of a bounded number.

use siphasher::sip128::SipHasher24;

use crate::{
    collections::{Keyed, Lists},
    record::Owner,
    rng::Rng,
};

/// What a record's bytes are known by.
pub(super) type Digest = [u8; 16];

/// What is known of a record's bytes.
pub(super) struct Known {
    pub(super) digest: Digest,
    /// Whose record it is, if these bytes were verified before.
    pub(super) owner: Option<Owner>,
}

#[derive(Debug)]
pub(super) struct Verified {
    digests: Keyed<Digest, Owner>,
    order: Lists,
    hasher: SipHasher24,
}

impl Verified {
    pub(super) fn new(capacity: usize, rng: &mut Rng) -> Self {
        let secret = rng.array();
        // The index may hash digests under the same secret: nobody sees either.
        let digests = Keyed::with_secret(capacity, secret);
        Self { digests, order: Lists::new(1, capacity), hasher: SipHasher24::new_with_key(&secret) }
    }

    /// The digest of a record's bytes.
    fn digest(&self, bytes: &[u8]) -> Digest {
        self.hasher.hash(bytes).as_bytes()
    }

    /// What is known of a record's bytes.
    pub(super) fn known(&mut self, bytes: &[u8]) -> Known {
        let digest = self.digest(bytes);
        Known { digest, owner: self.owner(&digest) }
    }

    fn owner(&mut self, digest: &Digest) -> Option<Owner> {
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
        let digests = [1, 2, 3].map(|n| verified.digest(&[n; 150]));
        let remember =
            |verified: &mut Verified, n: u8| verified.remember(&digests[usize::from(n) - 1], owner(n));
        remember(&mut verified, 1);
        remember(&mut verified, 2);
        assert_eq!((verified.owner(&digests[0]), verified.owner(&digests[2])), (Some(owner(1)), None));
        remember(&mut verified, 3);
        remember(&mut verified, 3);
        let known = digests.map(|digest| verified.owner(&digest));
        assert_eq!(known, [Some(owner(1)), None, Some(owner(3))]);
    }

    #[test]
    fn a_digest_is_of_all_bytes_and_of_one_start() {
        let [one, other] = [1, 2].map(|seed| Verified::new(2, &mut Seed::new([seed; 32]).stream("v")));
        let bytes = [7; 150];
        assert_eq!(one.digest(&bytes), one.digest(&bytes));
        assert_ne!(one.digest(&bytes), other.digest(&bytes), "the secret is another");
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert_ne!(one.digest(&bytes), one.digest(&changed), "byte {at}");
        }
        assert_ne!(one.digest(&bytes), one.digest(&bytes[..149]));
    }
}
