//! A disk: keys and values, durable or on their way.
//!
//! Invariants: writes become durable in the order in which they were asked for; one that failed changes
//! nothing; a crash decides each unfinished write by itself, so that a later one may survive an earlier one.

use std::collections::{BTreeMap, VecDeque};

use crate::machine::WriteId;
use crate::time::Nanos;

/// The disk of one node; it outlives crashes.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) durable: BTreeMap<Vec<u8>, Vec<u8>>,
    pending: VecDeque<Write>,
    /// Writes asked for since the node was added.
    pub(crate) asked: u64,
    /// The node crashes at the write with this number, counted from 1.
    pub(crate) crash_at: Option<u64>,
    pub(crate) last_done: Nanos,
}

#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) id: WriteId,
    pub(crate) key: Vec<u8>,
    /// `None` removes the key.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) fails: bool,
}

impl Disk {
    /// Takes a write. True if the node is to crash at this one.
    pub(crate) fn begin(&mut self, write: Write) -> bool {
        self.pending.push_back(write);
        self.asked += 1;
        let crash = self.crash_at == Some(self.asked);
        if crash {
            self.crash_at = None;
        }
        crash
    }

    /// Ends the oldest write, if it is `id`. `Some(true)`: it is durable; `Some(false)`: it failed.
    pub(crate) fn finish(&mut self, id: WriteId) -> Option<bool> {
        if self.pending.front()?.id != id {
            return None;
        }
        let write = self.pending.pop_front()?;
        let fails = write.fails;
        if !fails {
            self.apply(write);
        }
        Some(!fails)
    }

    /// Decides every unfinished write; `keep` is asked once for each.
    pub(crate) fn crash(&mut self, mut keep: impl FnMut(WriteId) -> bool) {
        for write in std::mem::take(&mut self.pending) {
            if keep(write.id) {
                self.apply(write);
            }
        }
        self.last_done = 0;
    }

    fn apply(&mut self, write: Write) {
        match write.value {
            Some(value) => self.durable.insert(write.key, value),
            None => self.durable.remove(&write.key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(id: u64, key: u8, value: Option<u8>, fails: bool) -> Write {
        Write {
            id: WriteId(id),
            key: vec![key],
            value: value.map(|value| vec![value]),
            fails,
        }
    }

    #[test]
    fn writes_are_durable_only_once_finished() {
        let mut disk = Disk::default();
        disk.begin(write(1, 7, Some(1), false));
        disk.begin(write(2, 7, Some(2), true));
        disk.begin(write(3, 7, None, false));
        assert!(disk.durable.is_empty());
        assert_eq!(disk.finish(WriteId(2)), None, "not its turn");
        assert_eq!(disk.finish(WriteId(1)), Some(true));
        assert_eq!(disk.durable[&vec![7]], [1]);
        assert_eq!(disk.finish(WriteId(2)), Some(false));
        assert_eq!(
            disk.durable[&vec![7]],
            [1],
            "a failed write changes nothing"
        );
        assert_eq!(disk.finish(WriteId(3)), Some(true));
        assert!(disk.durable.is_empty());
    }

    #[test]
    fn a_crash_decides_each_unfinished_write_by_itself() {
        let mut disk = Disk::default();
        for id in 1..=4 {
            disk.begin(write(id, u8::try_from(id).unwrap(), Some(0), false));
        }
        disk.finish(WriteId(1));
        disk.crash(|id| id.0 % 2 == 0);
        let kept: Vec<_> = disk.durable.keys().map(|key| key[0]).collect();
        assert_eq!(kept, [1, 2, 4]);
        assert_eq!(disk.finish(WriteId(3)), None);
    }

    #[test]
    fn a_crash_point_is_met_once() {
        let mut disk = Disk {
            crash_at: Some(2),
            ..Disk::default()
        };
        let met: Vec<_> = (1..=4)
            .map(|id| disk.begin(write(id, 0, None, false)))
            .collect();
        assert_eq!(met, [false, true, false, false]);
    }
}
