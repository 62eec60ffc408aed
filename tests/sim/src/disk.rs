//! A disk: values and files, durable or on their way.
//!
//! A *value* ([`Context::put`](crate::Context::put)) is written through: it is on its way by itself, and its
//! completion is told. A *file* ([`Context::write_at`](crate::Context::write_at)) is written to a cache: what
//! was written can be read at once, and is durable only after a [`Context::sync`](crate::Context::sync) that was
//! asked for later is done.
//!
//! Invariants: values and syncs are done in the order in which they were asked for; one that failed changes
//! nothing; what was confirmed survives every crash; a crash decides everything else, in the order in which it
//! was written.

use std::collections::{BTreeMap, VecDeque};

use crate::machine::WriteId;
use crate::story::Fate;
use crate::time::Nanos;

/// The disk of one node; it outlives crashes.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) durable: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Values and syncs on their way.
    pending: VecDeque<Write>,
    /// Writes to files that no finished sync covers.
    cached: VecDeque<Write>,
    /// Operations asked for since the node was added.
    pub(crate) asked: u64,
    /// The node crashes at the operation with this number, counted from 1.
    pub(crate) crash_at: Option<u64>,
    pub(crate) last_done: Nanos,
}

#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) id: WriteId,
    /// The key, or the name of the file; of a sync nothing.
    pub(crate) key: Vec<u8>,
    pub(crate) change: Change,
    pub(crate) fails: bool,
}

#[derive(Debug)]
pub(crate) enum Change {
    /// A value; `None` removes the key.
    Value(Option<Vec<u8>>),
    /// A part of a file.
    Part { offset: usize, bytes: Vec<u8> },
    /// Everything in the cache until now.
    Sync,
}

impl Change {
    /// How many bytes there are to tear.
    pub(crate) const fn length(&self) -> usize {
        match self {
            Self::Value(Some(bytes)) | Self::Part { bytes, .. } => bytes.len(),
            Self::Value(None) | Self::Sync => 0,
        }
    }

    /// Makes the change to what the key holds, as far as the first `length` bytes of it go.
    fn apply(&self, content: &mut Option<Vec<u8>>, length: usize) {
        match self {
            Self::Value(Some(value)) if length < value.len() => {
                let old = content.take().unwrap_or_default();
                *content = Some([&value[..length], old.get(length..).unwrap_or_default()].concat());
            }
            Self::Value(value) => content.clone_from(value),
            Self::Part { offset, bytes } => {
                let content = content.get_or_insert_default();
                let bytes = &bytes[..length.min(bytes.len())];
                let end = offset.saturating_add(bytes.len());
                content.resize(content.len().max(end), 0);
                content[end - bytes.len()..end].copy_from_slice(bytes);
            }
            Self::Sync => {}
        }
    }
}

impl Disk {
    /// Takes an operation. True if the node is to crash at this one.
    pub(crate) fn begin(&mut self, write: Write) -> bool {
        match write.change {
            Change::Part { .. } => self.cached.push_back(write),
            _ => self.pending.push_back(write),
        }
        self.asked += 1;
        let crash = self.crash_at == Some(self.asked);
        if crash {
            self.crash_at = None;
        }
        crash
    }

    /// Ends the oldest operation on its way, if it is `id`. `Some(true)`: it is durable; `Some(false)`: it
    /// failed.
    pub(crate) fn finish(&mut self, id: WriteId) -> Option<bool> {
        if self.pending.front()?.id != id {
            return None;
        }
        let write = self.pending.pop_front()?;
        let fails = write.fails;
        if !fails {
            self.apply(write, usize::MAX);
        }
        Some(!fails)
    }

    /// What a read shows: everything written so far, durable or not.
    pub(crate) fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut content = self.durable.get(key).cloned();
        let mut unfinished: Vec<&Write> = self.pending.iter().chain(&self.cached).collect();
        unfinished.sort_by_key(|write| write.id);
        for write in unfinished.into_iter().filter(|write| write.key == key) {
            write.change.apply(&mut content, usize::MAX);
        }
        content
    }

    /// Decides everything that is not durable, oldest first; `decide` is asked once for each write.
    pub(crate) fn crash(&mut self, mut decide: impl FnMut(&Write) -> Fate) {
        let mut unfinished: Vec<Write> = self.pending.drain(..).chain(self.cached.drain(..)).collect();
        unfinished.retain(|write| !matches!(write.change, Change::Sync));
        unfinished.sort_by_key(|write| write.id);
        for write in unfinished {
            match decide(&write) {
                Fate::Kept => self.apply(write, usize::MAX),
                Fate::Torn(length) => self.apply(write, length),
                Fate::Lost => {}
            }
        }
        self.last_done = 0;
    }

    fn apply(&mut self, write: Write, length: usize) {
        let Write { id, key, change, .. } = write;
        if matches!(change, Change::Sync) {
            let covered = self.cached.partition_point(|write| write.id < id);
            for write in self.cached.drain(..covered).collect::<Vec<_>>() {
                self.apply(write, usize::MAX);
            }
            return;
        }
        if matches!(change, Change::Value(_)) {
            // It overrules what was written to a file of that name before.
            self.cached.retain(|write| write.id > id || write.key != key);
        }
        let mut content = self.durable.remove(&key);
        change.apply(&mut content, length);
        if let Some(content) = content {
            self.durable.insert(key, content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(id: u64, key: u8, value: Option<u8>, fails: bool) -> Write {
        let change = Change::Value(value.map(|value| vec![value]));
        Write { id: WriteId(id), key: vec![key], change, fails }
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
        assert_eq!(disk.durable[&vec![7]], [1], "a failed write changes nothing");
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
        disk.crash(|write| if write.id.0 % 2 == 0 { Fate::Kept } else { Fate::Lost });
        let kept: Vec<_> = disk.durable.keys().map(|key| key[0]).collect();
        assert_eq!(kept, [1, 2, 4]);
        assert_eq!(disk.finish(WriteId(3)), None);
    }

    #[test]
    fn a_crash_point_is_met_once() {
        let mut disk = Disk { crash_at: Some(2), ..Disk::default() };
        let met: Vec<_> = (1..=4).map(|id| disk.begin(write(id, 0, None, false))).collect();
        assert_eq!(met, [false, true, false, false]);
    }

    fn part(id: u64, offset: usize, bytes: &[u8]) -> Write {
        let change = Change::Part { offset, bytes: bytes.to_vec() };
        Write { id: WriteId(id), key: vec![1], change, fails: false }
    }

    fn sync(id: u64, fails: bool) -> Write {
        Write { id: WriteId(id), key: Vec::new(), change: Change::Sync, fails }
    }

    #[test]
    fn files_are_read_at_once_and_durable_after_a_sync() {
        let mut disk = Disk::default();
        disk.begin(part(1, 0, b"abc"));
        disk.begin(part(2, 5, b"f"));
        disk.begin(sync(3, true));
        disk.begin(sync(4, false));
        disk.begin(part(5, 1, b"XY"));
        assert_eq!(disk.read(&[1]).unwrap(), b"aXY\0\0f");
        assert_eq!(disk.finish(WriteId(3)), Some(false));
        assert!(disk.durable.is_empty(), "a failed sync makes nothing durable");
        assert_eq!(disk.finish(WriteId(4)), Some(true));
        assert_eq!(disk.durable[&vec![1]], b"abc\0\0f", "what came after it is not covered");
        disk.crash(|_| Fate::Torn(1));
        assert_eq!(disk.durable[&vec![1]], b"aXc\0\0f");
    }

    #[test]
    fn a_torn_value_is_the_new_one_and_then_the_old_one() {
        let mut disk = Disk::default();
        disk.durable.insert(vec![1], b"older".to_vec());
        let change = Change::Value(Some(b"new".to_vec()));
        disk.begin(Write { id: WriteId(1), key: vec![1], change, fails: false });
        disk.crash(|write| Fate::Torn(write.change.length() - 1));
        assert_eq!(disk.durable[&vec![1]], b"neder");
    }

    #[test]
    fn a_value_overrules_what_was_written_to_the_file_before() {
        let mut disk = Disk::default();
        disk.begin(part(1, 0, b"abc"));
        disk.begin(write(2, 1, None, false));
        assert_eq!(disk.read(&[1]), None);
        disk.begin(sync(3, false));
        disk.finish(WriteId(2));
        disk.finish(WriteId(3));
        assert!(disk.durable.is_empty());
    }
}
