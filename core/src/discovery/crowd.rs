//! How many nodes of one address prefix the table holds: counted as they come and go, so that no
//! question looks through the table.

use super::peer::Prefix;
use crate::{
    collections::Keyed,
    limits::{BUCKETS, PREFIX_PER_BUCKET, PREFIX_PER_TABLE},
    rng::Rng,
};

/// How many nodes of one prefix there are. It is small: there are two for each node of the table.
#[derive(Debug, Default)]
struct Count {
    table: u8,
    /// Four buckets in a byte.
    buckets: [u8; BUCKETS / 4],
}

const _: () =
    assert!(PREFIX_PER_TABLE <= u8::MAX as usize && PREFIX_PER_BUCKET < 4 && BUCKETS.is_multiple_of(4));

impl Count {
    /// How many are in `bucket`.
    fn of(&self, bucket: usize) -> usize {
        self.buckets.get(bucket / 4).map_or(0, |four| usize::from(four >> (2 * (bucket % 4)) & 3))
    }

    /// Sets how many are in `bucket`.
    fn set(&mut self, bucket: usize, count: usize) {
        if let Some(four) = self.buckets.get_mut(bucket / 4) {
            let shift = 2 * (bucket % 4);
            *four = *four & !(3 << shift) | (count.min(3) as u8) << shift;
        }
    }
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
                usize::from(count.table) < PREFIX_PER_TABLE && count.of(bucket) < PREFIX_PER_BUCKET
            })
        })
    }

    /// Counts a node in that is allowed.
    pub(super) fn add(&mut self, prefixes: &[Prefix], bucket: usize) {
        for prefix in prefixes {
            let key = self.counts.find(prefix).or_else(|| self.counts.insert(*prefix, Count::default()).ok());
            let Some(count) = key.and_then(|key| self.counts.get_mut(key)) else { continue };
            count.table = count.table.saturating_add(1);
            count.set(bucket, count.of(bucket) + 1);
        }
    }

    /// Counts a node out that was counted in.
    pub(super) fn remove(&mut self, prefixes: &[Prefix], bucket: usize) {
        for prefix in prefixes {
            let Some(key) = self.counts.find(prefix) else { continue };
            let Some(count) = self.counts.get_mut(key) else { continue };
            count.table = count.table.saturating_sub(1);
            count.set(bucket, count.of(bucket).saturating_sub(1));
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
