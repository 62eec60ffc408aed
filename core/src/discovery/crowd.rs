//! How many nodes of one address prefix the table holds: counted as they come and go, so that no
//! question looks through the table.

use super::peer::Prefix;
use crate::{
    collections::Keyed,
    limits::{BUCKETS, PREFIX_PER_BUCKET, PREFIX_PER_TABLE},
    rng::Rng,
};

#[derive(Debug, Default)]
struct Count {
    table: u16,
    buckets: [u8; BUCKETS],
}

/// The prefixes in the table.
#[derive(Debug)]
pub(super) struct Crowd {
    counts: Keyed<Prefix, Count>,
}

impl Crowd {
    /// `nodes`: how many the table holds. Each counts for at most two prefixes, one a family.
    pub(super) fn new(nodes: usize, rng: &mut Rng) -> Self {
        Self { counts: Keyed::new(2 * nodes, rng) }
    }

    /// Whether another node of all these prefixes may come into `bucket`.
    pub(super) fn allows(&self, prefixes: &[Prefix], bucket: usize) -> bool {
        prefixes.iter().all(|prefix| {
            let count = self.counts.find(prefix).and_then(|key| self.counts.get(key));
            count.is_none_or(|count| {
                usize::from(count.table) < PREFIX_PER_TABLE
                    && count
                        .buckets
                        .get(bucket)
                        .is_none_or(|in_bucket| usize::from(*in_bucket) < PREFIX_PER_BUCKET)
            })
        })
    }

    /// Counts a node in.
    pub(super) fn add(&mut self, prefixes: &[Prefix], bucket: usize) {
        for prefix in prefixes {
            let key = self.counts.find(prefix).or_else(|| self.counts.insert(*prefix, Count::default()).ok());
            let Some(count) = key.and_then(|key| self.counts.get_mut(key)) else { continue };
            count.table = count.table.saturating_add(1);
            if let Some(in_bucket) = count.buckets.get_mut(bucket) {
                *in_bucket = in_bucket.saturating_add(1);
            }
        }
    }

    /// Counts a node out that was counted in.
    pub(super) fn remove(&mut self, prefixes: &[Prefix], bucket: usize) {
        for prefix in prefixes {
            let Some(key) = self.counts.find(prefix) else { continue };
            let Some(count) = self.counts.get_mut(key) else { continue };
            count.table = count.table.saturating_sub(1);
            if let Some(in_bucket) = count.buckets.get_mut(bucket) {
                *in_bucket = in_bucket.saturating_sub(1);
            }
            if count.table == 0 {
                self.counts.discard(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn what_goes_makes_room() {
        let mut crowd = Crowd::new(4, &mut Seed::new([1; 32]).stream("c"));
        let (a, b) = ([1; 7], [2; 7]);
        crowd.add(&[a, b], 3);
        crowd.add(&[a], 3);
        assert!(!crowd.allows(&[a], 3) && crowd.allows(&[a], 4) && crowd.allows(&[b], 3));
        assert!(!crowd.allows(&[b, a], 3), "each of them must have room");
        crowd.remove(&[a, b], 3);
        assert!(crowd.allows(&[b, a], 3));
        crowd.remove(&[a], 3);
        assert!(crowd.counts.is_empty());
    }

    #[test]
    fn a_prefix_has_a_part_of_the_table() {
        let mut crowd = Crowd::new(64, &mut Seed::new([1; 32]).stream("c"));
        let added = (0..BUCKETS).filter(|bucket| {
            let allowed = crowd.allows(&[[9; 7]], *bucket);
            if allowed {
                crowd.add(&[[9; 7]], *bucket);
            }
            allowed
        });
        assert_eq!(added.count(), PREFIX_PER_TABLE);
    }
}
