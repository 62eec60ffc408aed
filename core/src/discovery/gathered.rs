//! What a lookup of the embedder's gathers. It is large, so the table's own lookups, which hand nothing to anybody,
//! have none.

use crate::{id::NodeId, limits::LOOKUP_RESULTS, record::Record};

/// Records that one lookup saw.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The newest of the target.
    pub(super) found: Option<Record>,
    /// Those that are wanted, the nearest to the target first.
    pub(super) results: heapless::Vec<Record, LOOKUP_RESULTS>,
}

impl Gathered {
    /// Takes in a record that was seen.
    pub(super) fn take_in(&mut self, target: &NodeId, record: &Record, wanted: bool) {
        let id = record.node_id();
        if id == *target && self.found.as_ref().is_none_or(|known| known.seq() < record.seq()) {
            self.found = Some(record.clone());
        }
        if !wanted {
            return;
        }
        let distance = target.xor(&id);
        let at = self.results.partition_point(|other| target.xor(&other.node_id()) < distance);
        if let Some(known) = self.results.get_mut(at).filter(|known| known.node_id() == id) {
            if known.seq() < record.seq() {
                *known = record.clone();
            }
            return;
        }
        if self.results.is_full() {
            if at == self.results.len() {
                return;
            }
            self.results.pop();
        }
        let _ = self.results.insert(at, record.clone());
    }
}
