//! The pool of the table's nodes. Each is found by the id in its record, which stands nowhere else.

use super::table::Node;
use crate::{
    collections::{Index, Key, Print, Slab},
    id::NodeId,
    rng::Rng,
};

/// The nodes of the table.
#[derive(Debug)]
pub(super) struct Nodes {
    pool: Slab<Node>,
    index: Index,
}

impl Nodes {
    pub(super) fn new(capacity: usize, rng: &mut Rng) -> Self {
        Self { pool: Slab::new(capacity), index: Index::new(capacity, rng.array()) }
    }

    pub(super) const fn len(&self) -> usize {
        self.pool.len()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.pool.is_full()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.pool.capacity()
    }

    /// The key of the node with this id.
    pub(super) fn find(&self, id: &NodeId) -> Option<Key> {
        if self.pool.is_empty() {
            return None;
        }
        let named = |key: &Key| self.get(*key).is_some_and(|node| node.record.node_id() == *id);
        let mut alike = self.index.printed(self.index.print(id));
        alike.find_map(|place| self.pool.key_at(place).filter(named))
    }

    pub(super) fn get(&self, key: Key) -> Option<&Node> {
        self.pool.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Node> {
        self.pool.get_mut(key)
    }

    pub(super) fn key_at(&self, place: usize) -> Option<Key> {
        self.pool.key_at(place)
    }

    /// All nodes, by place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Node)> {
        self.pool.iter()
    }

    /// Puts a node in whose id is not in use; `None` when there is no room.
    pub(super) fn insert(&mut self, node: Node) -> Option<Key> {
        let print = self.index.print(&node.record.node_id());
        let key = self.pool.insert_marked(node, print.mark()).ok()?;
        self.index.add(print, key.index());
        Some(key)
    }

    /// Takes a node out.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(mark) = self.pool.mark(key) {
            self.index.remove(Print::of_mark(mark), key.index());
            self.pool.discard(key);
        }
    }
}
