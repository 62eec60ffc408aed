//! What a runtime needs of a host's storage.

use super::action::StoreItem;

/// A place where records survive a crash. A runtime calls it off its event loop, one item after
/// another, in the order the node asked for them.
pub trait Store: Send + 'static {
    /// What can go wrong; shown to people.
    type Error: core::error::Error + Send + Sync + 'static;

    /// Stores `item` durably: when this returns `Ok`, a crash loses nothing of it.
    fn store(&mut self, item: &StoreItem) -> Result<(), Self::Error>;
}
