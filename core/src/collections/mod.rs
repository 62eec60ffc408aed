//! Bounded, deterministic containers: everything is allocated once, when it is made, and never again.
//!
//! None of them iterates in an order that depends on a hash, and none grows: an insertion that does
//! not fit is an answer (`Err` with the value), never a reallocation.

mod deadlines;
mod index;
mod keyed;
mod lists;
mod ready;
mod ring;
mod slab;

pub use deadlines::Deadlines;
pub use index::{Index, Print};
pub use keyed::Keyed;
pub use lists::Lists;
pub use ready::Ready;
pub use ring::Ring;
pub use slab::{Key, Slab};
