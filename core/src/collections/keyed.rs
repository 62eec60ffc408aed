//! A fixed pool whose values are also found by a name of their own, in constant time.

use core::hash::Hash;

use super::{
    index::{Index, Print},
    slab::{Key, Slab},
};
use crate::rng::Rng;

/// A [`Slab`] with an index over the names of its values.
///
/// The index hashes with a secret key, so that nobody outside can choose names that collide. It is
/// never iterated: values come out by place or by name only, whatever the key.
#[derive(Debug)]
pub struct Keyed<N, V> {
    values: Slab<(N, V)>,
    index: Index,
}

impl<N: Hash + Eq, V> Keyed<N, V> {
    /// A pool for `capacity` values; the secret of the index is drawn from `rng`.
    pub fn new(capacity: usize, rng: &mut Rng) -> Self {
        Self::with_secret(capacity, rng.array())
    }

    /// The same with this secret.
    pub fn with_secret(capacity: usize, secret: [u8; 16]) -> Self {
        Self { values: Slab::new(capacity), index: Index::new(capacity, secret) }
    }

    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether another value would not fit.
    pub const fn is_full(&self) -> bool {
        self.values.is_full()
    }

    /// How many values fit.
    pub const fn capacity(&self) -> usize {
        self.values.capacity()
    }

    /// The key of the value called `name`.
    pub fn find(&self, name: &N) -> Option<Key> {
        // Where there is nothing, there is nothing to look for.
        if self.is_empty() { None } else { self.find_printed(self.print(name), name) }
    }

    /// The print of a name in this pool. Names that hash alike have one print.
    pub fn print(&self, name: &N) -> Print {
        self.index.print(name)
    }

    /// The keys and names of all values with this print; other names may have it too.
    pub fn printed(&self, print: Print) -> impl Iterator<Item = (Key, &N)> {
        self.index.printed(print).filter_map(|place| {
            let key = self.values.key_at(place)?;
            Some((key, self.name(key)?))
        })
    }

    fn find_printed(&self, print: Print, name: &N) -> Option<Key> {
        self.printed(print).find(|(_, other)| *other == name).map(|(key, _)| key)
    }

    /// Puts a value in under a name that must not be in use; gives it back when the pool is full or
    /// the name is taken.
    pub fn insert(&mut self, name: N, value: V) -> Result<Key, V> {
        let print = self.print(&name);
        self.insert_printed(print, name, value)
    }

    /// The same, for a caller who has the name's print.
    #[inline]
    pub fn insert_printed(&mut self, print: Print, name: N, value: V) -> Result<Key, V> {
        if self.is_full() || self.find_printed(print, &name).is_some() {
            return Err(value);
        }
        let key = self.values.insert_marked((name, value), print.mark()).map_err(|(_, value)| value)?;
        self.index.add(print, key.index());
        Ok(key)
    }

    /// The value under `key`.
    pub fn get(&self, key: Key) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// The value under `key`, to change.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut V> {
        self.values.get_mut(key).map(|(_, value)| value)
    }

    /// The name of the value under `key`.
    pub fn name(&self, key: Key) -> Option<&N> {
        self.values.get(key).map(|(name, _)| name)
    }

    /// The key of the value in place `index`.
    pub fn key_at(&self, index: usize) -> Option<Key> {
        self.values.key_at(index)
    }

    /// All values with their keys and names, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &N, &V)> {
        self.values.iter().map(|(key, (name, value))| (key, name, value))
    }

    /// Takes the value under `key` out.
    pub fn remove(&mut self, key: Key) -> Option<V> {
        self.forget_name(key)?;
        self.values.remove(key).map(|(_, value)| value)
    }

    /// Drops the value under `key` where it stands ([`Slab::discard`]); whether there was one.
    pub fn discard(&mut self, key: Key) -> bool {
        self.forget_name(key).is_some() && self.values.discard(key)
    }

    /// Takes the name of a value out of the index.
    fn forget_name(&mut self, key: Key) -> Option<()> {
        self.index.remove(Print::of_mark(self.values.mark(key)?), key.index());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::rng::Seed;

    proptest! {
        #[test]
        fn behaves_like_a_map(seed: [u8; 32], steps in prop::collection::vec((any::<bool>(), 0u8..24), 0..300)) {
            let mut keyed = Keyed::new(16, &mut Seed::new(seed).stream("keyed"));
            let mut model = BTreeMap::new();
            for (n, (insert, name)) in steps.into_iter().enumerate() {
                if insert {
                    let fits = model.len() < 16 && !model.contains_key(&name);
                    prop_assert_eq!(keyed.insert(name, n).is_ok(), fits);
                    if fits {
                        model.insert(name, n);
                    }
                } else {
                    let key = keyed.find(&name);
                    if n % 2 == 0 {
                        let removed = key.and_then(|key| keyed.remove(key));
                        prop_assert_eq!(removed, model.remove(&name));
                    } else {
                        let gone = key.is_some_and(|key| keyed.discard(key));
                        prop_assert_eq!(gone, model.remove(&name).is_some());
                    }
                }
                for name in 0..24 {
                    let found = keyed.find(&name).and_then(|key| keyed.get(key));
                    prop_assert_eq!(found, model.get(&name));
                }
                prop_assert_eq!(keyed.len(), model.len());
            }
        }
    }

    #[test]
    fn a_pool_for_nothing_holds_nothing() {
        let mut keyed = Keyed::new(0, &mut Seed::new([0; 32]).stream("keyed"));
        assert_eq!(keyed.insert(1, 2), Err(2));
        assert_eq!(keyed.find(&1), None);
    }
}
