//! A fixed pool of values, each under a key that is never mistaken for a later tenant of its place.

use alloc::boxed::Box;

const NONE: u32 = u32::MAX;

/// Names a value of a [`Slab`] or [`Keyed`](super::Keyed). After the value is removed the key finds
/// nothing, even when another value lives in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The place, below the pool's capacity.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// The next free place while this one is free; else what its owner marked it with.
    mark: u32,
    value: Option<T>,
}

/// A pool of at most as many values as it was made for. Inserting and removing take constant time.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Box<[Slot<T>]>,
    free: u32,
    len: usize,
}

impl<T> Slab<T> {
    /// A pool for `capacity` values (below 2³²).
    pub fn new(capacity: usize) -> Self {
        let last = capacity.saturating_sub(1);
        let slots = (0..capacity)
            .map(|i| Slot { generation: 0, mark: if i == last { NONE } else { i as u32 + 1 }, value: None })
            .collect();
        Self { slots, free: if capacity == 0 { NONE } else { 0 }, len: 0 }
    }

    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether another value would not fit.
    pub const fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// How many values fit.
    pub const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Puts a value in; gives it back when the pool is full.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        self.insert_marked(value, 0)
    }

    /// The same, with a mark that costs no memory.
    #[inline]
    pub fn insert_marked(&mut self, value: T, mark: u32) -> Result<Key, T> {
        let index = self.free;
        let Some(slot) = self.slots.get_mut(index as usize) else { return Err(value) };
        self.free = slot.mark;
        slot.value = Some(value);
        slot.mark = mark;
        self.len += 1;
        Ok(Key { index, generation: slot.generation })
    }

    /// What the value under `key` was marked with.
    pub fn mark(&self, key: Key) -> Option<u32> {
        let slot = self.slots.get(key.index()).filter(|slot| slot.generation == key.generation)?;
        slot.value.as_ref().map(|_| slot.mark)
    }

    /// The value under `key`.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key.index()).filter(|slot| slot.generation == key.generation)?.value.as_ref()
    }

    /// The value under `key`, to change.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(key.index()).filter(|slot| slot.generation == key.generation)?.value.as_mut()
    }

    /// Takes the value under `key` out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index()).filter(|slot| slot.generation == key.generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.mark = self.free;
        self.free = key.index;
        self.len -= 1;
        Some(value)
    }

    /// Drops the value under `key` where it stands; whether there was one. What wipes itself on drop
    /// leaves no copy in its place then, which taking it out would.
    pub fn discard(&mut self, key: Key) -> bool {
        let slot = self.slots.get_mut(key.index()).filter(|slot| slot.generation == key.generation);
        let Some(slot) = slot.filter(|slot| slot.value.is_some()) else { return false };
        slot.value = None;
        slot.generation = slot.generation.wrapping_add(1);
        slot.mark = self.free;
        self.free = key.index;
        self.len -= 1;
        true
    }

    /// The key of the value that lives in place `index`, if one does.
    pub fn key_at(&self, index: usize) -> Option<Key> {
        let slot = self.slots.get(index)?;
        slot.value.is_some().then_some(Key { index: index as u32, generation: slot.generation })
    }

    /// All values with their keys, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let key = Key { index: index as u32, generation: slot.generation };
            Some((key, slot.value.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_only_its_own_value() {
        let mut slab = Slab::new(2);
        let a = slab.insert('a').unwrap();
        let b = slab.insert('b').unwrap();
        assert_eq!(slab.insert('c'), Err('c'));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        let c = slab.insert('c').unwrap();
        assert_eq!(c.index(), a.index());
        assert_eq!((slab.get(a), slab.get(b), slab.get(c)), (None, Some(&'b'), Some(&'c')));
        assert_eq!(slab.key_at(0), Some(c));
        assert!(slab.discard(c) && !slab.discard(c) && !slab.discard(a));
        assert_eq!((slab.len(), slab.get(c)), (1, None));
        assert!(slab.insert('d').is_ok_and(|d| d.index() == c.index()));
        assert!(Slab::<u8>::new(0).insert(1).is_err());
    }
}
