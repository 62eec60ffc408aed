//! The database of a simulated node: values that a torn write never damages.
//!
//! Purpose: what `redb` promises the `coracle` program, over the simulator's disk. There a commit is written beside
//! the one in force, with its number and a checksum, and counts once it is whole; a start takes the newest that is.
//! Here each key has two slots: a write goes to the one that does not hold the value last confirmed, and a start
//! takes the whole value with the highest number. So the faults `disk-lose`, `disk-reorder` and `disk-tear` may do
//! what they like to a write that was not confirmed: it is there whole, or not at all.
//!
//! Of two writes of one key at most one is under way (the core asks for the next after the last was answered).

use std::collections::BTreeMap;

use coracle_sim::{Context, WriteId};
use sha2::{Digest as _, Sha256};

use crate::sim_node::Seen;

/// Bytes before the value: its number, and the checksum over number and value.
const HEAD: usize = 8 + CHECK;
/// Bytes of the checksum.
const CHECK: usize = 8;

/// Which slot of each key is in force.
#[derive(Debug, Default)]
pub struct Slots {
    keys: BTreeMap<Vec<u8>, Key>,
    under_way: BTreeMap<WriteId, (Vec<u8>, u8)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Key {
    in_force: u8,
    number: u64,
}

impl Slots {
    /// As a start finds them.
    #[must_use]
    pub fn open(disk: &BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        let mut slots = Self::default();
        for key in disk.keys().filter_map(|name| name.split_last().map(|(_, key)| key.to_vec())) {
            if let Some((in_force, number, _)) = newest(&key, |slot| disk.get(slot).cloned()) {
                slots.keys.insert(key, Key { in_force, number });
            }
        }
        slots
    }

    /// Writes a value.
    pub fn put(&mut self, cx: &mut Context<'_, Seen>, key: &[u8], value: &[u8]) -> WriteId {
        let known = self.keys.entry(key.to_vec()).or_insert(Key { in_force: 1, number: 0 });
        known.number += 1;
        let slot = 1 - known.in_force;
        let number = known.number.to_be_bytes();
        let write = cx.put(&name(key, slot), &[&number[..], &check(number, value), value].concat());
        self.under_way.insert(write, (key.to_vec(), slot));
        write
    }

    /// A write is durable, or has failed.
    pub fn finished(&mut self, write: WriteId, durable: bool) {
        let Some((key, slot)) = self.under_way.remove(&write) else { return };
        if let Some(key) = self.keys.get_mut(&key).filter(|_| durable) {
            key.in_force = slot;
        }
    }

    /// The value in force, while the node is up.
    pub fn read(&self, key: &[u8], slot: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        self.keys.contains_key(key).then(|| newest(key, slot))?.map(|(.., value)| value)
    }
}

/// The value of a key on a disk: what a start would find.
#[must_use]
pub fn read(disk: &BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8]) -> Option<Vec<u8>> {
    newest(key, |slot| disk.get(slot).cloned()).map(|(.., value)| value)
}

/// The slot, number and value of the newest whole value.
fn newest(key: &[u8], read: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<(u8, u64, Vec<u8>)> {
    let whole = |slot: u8| {
        let bytes = read(&name(key, slot))?;
        let (head, value) = bytes.split_at_checked(HEAD)?;
        let (number, checksum) = head.split_at(8);
        let number: [u8; 8] = number.try_into().ok()?;
        (check(number, value) == checksum).then(|| (slot, u64::from_be_bytes(number), value.to_vec()))
    };
    [0, 1].into_iter().filter_map(whole).max_by_key(|(_, number, _)| *number)
}

fn name(key: &[u8], slot: u8) -> Vec<u8> {
    [key, &[slot]].concat()
}

fn check(number: [u8; 8], value: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::new().chain_update(number).chain_update(value).finalize();
    std::array::from_fn(|i| digest[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u64, value: &[u8]) -> Vec<u8> {
        let number = number.to_be_bytes();
        [&number[..], &check(number, value), value].concat()
    }

    #[test]
    fn a_write_torn_anywhere_leaves_the_value_before_it() {
        let (old, older, new) = (slot(2, b"the old value"), slot(1, b"older"), slot(3, b"a new one"));
        for length in 0..new.len() {
            // As the simulated disk tears: the first bytes of the new one, then what was there.
            let torn = [&new[..length], older.get(length..).unwrap_or_default()].concat();
            let disk = BTreeMap::from([(name(b"k", 0), torn), (name(b"k", 1), old.clone())]);
            assert_eq!(read(&disk, b"k").unwrap(), b"the old value", "torn at {length}");
            let key = Slots::open(&disk).keys[&b"k".to_vec()];
            assert_eq!((key.in_force, key.number), (1, 2), "the next write spares the value in force");
        }
        let disk = BTreeMap::from([(name(b"k", 0), new), (name(b"k", 1), old)]);
        assert_eq!(read(&disk, b"k").unwrap(), b"a new one");
        assert_eq!(read(&disk, b"other"), None);
    }
}
