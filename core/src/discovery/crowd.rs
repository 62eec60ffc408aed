//! How many nodes of one address prefix the table holds: those that count stand in short lists by a hash of their
//! prefix, so that no question looks through the table.

use core::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::peer::Prefix;
use crate::{
    collections::Lists,
    limits::{PREFIX_PER_BUCKET, PREFIX_PER_TABLE},
    rng::Rng,
};

/// Nodes for each list: so many prefixes share one, when every node has its own.
const NODES_PER_LIST: usize = 4;

/// Prefixes for which one node counts, at most: one a family.
const EACH: usize = 2;

/// The nodes in the table that count for a prefix.
#[derive(Debug)]
pub(super) struct Crowd {
    /// So many lists, over the places of all nodes' prefixes.
    count: usize,
    lists: Lists,
    /// Nobody outside can choose prefixes that share a list.
    secret: [u8; 16],
}

impl Crowd {
    /// `nodes`: how many the table holds.
    pub(super) fn new(nodes: usize, rng: &mut Rng) -> Self {
        let count = nodes / NODES_PER_LIST + 1;
        Self { count, lists: Lists::new(count, EACH * nodes), secret: rng.array() }
    }

    fn list(&self, prefix: &Prefix) -> usize {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        hasher.write(prefix);
        (hasher.finish() % self.count as u64) as usize
    }

    /// Whether another node of all these prefixes may come into `bucket`. `counted` knows which prefix of which node
    /// was counted in (the place of the node, the number of the prefix), and the bucket of the node.
    pub(super) fn allows(
        &self,
        prefixes: &[Prefix],
        bucket: usize,
        counted: impl Fn(usize, usize) -> Option<(Prefix, usize)>,
    ) -> bool {
        prefixes.iter().all(|prefix| {
            let all = self.lists.iter(self.list(prefix));
            let all = all.filter_map(|place| counted(place / EACH, place % EACH));
            let (mut in_table, mut in_bucket) = (0, 0);
            for (_, other) in all.filter(|(other, _)| other == prefix) {
                in_table += 1;
                in_bucket += usize::from(other == bucket);
            }
            in_table < PREFIX_PER_TABLE && in_bucket < PREFIX_PER_BUCKET
        })
    }

    /// Counts the node in place `node` in, which is allowed.
    pub(super) fn add(&mut self, node: usize, prefixes: &[Prefix]) {
        for (place, prefix) in (EACH * node..).zip(prefixes).take(EACH) {
            self.lists.push(self.list(prefix), place);
        }
    }

    /// Counts the node in place `node` out, if it was counted in.
    pub(super) fn remove(&mut self, node: usize) {
        for place in EACH * node..EACH * (node + 1) {
            self.lists.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::BUCKETS, rng::Seed};

    #[test]
    fn what_goes_makes_room() {
        let mut crowd = Crowd::new(4, &mut Seed::new([1; 32]).stream("c"));
        let (a, b) = ([1; 7], [2; 7]);
        let nodes = [[a, b], [b, a], [b, b], [a, a]];
        let counted = |node: usize, n: usize| Some((nodes[node][n], 3));
        crowd.add(0, &nodes[0]);
        crowd.add(3, &[a]);
        assert!(!crowd.allows(&[a], 3, counted) && crowd.allows(&[a], 4, counted));
        assert!(crowd.allows(&[b], 3, counted));
        assert!(!crowd.allows(&[b, a], 3, counted), "each of them must have room");
        crowd.remove(0);
        crowd.remove(0);
        assert!(crowd.allows(&[b, a], 3, counted));
        crowd.add(1, &nodes[1]);
        assert!(!crowd.allows(&[a], 3, counted));
        crowd.remove(3);
        crowd.remove(1);
        assert!((0..crowd.count).all(|list| crowd.lists.is_empty(list)));
    }

    #[test]
    fn a_prefix_has_a_part_of_the_table() {
        let mut crowd = Crowd::new(64, &mut Seed::new([1; 32]).stream("c"));
        let prefix = |node: usize| if node < BUCKETS { [9; 7] } else { [node as u8; 7] };
        let counted = |node, _| Some((prefix(node), node % BUCKETS));
        // Many others share its list.
        (BUCKETS..64).for_each(|node| crowd.add(node, &[prefix(node)]));
        let added = (0..BUCKETS).filter(|bucket| {
            let allowed = crowd.allows(&[[9; 7]], *bucket, counted);
            if allowed {
                crowd.add(*bucket, &[[9; 7]]);
            }
            allowed
        });
        assert_eq!(added.count(), PREFIX_PER_TABLE);
    }
}
