//! What the tests of the whole share: real nodes in the simulator, and observers that watch them from outside.
//!
//! - [`sim_node`]: a [`coracle_core::node::Node`] as a machine of `coracle-sim`;
//! - [`intruder`]: a machine that knows a key and dials where it is not wanted;
//! - [`observers`]: the rules E1 to E3, C1 and C3 of the design, checked after every event;
//! - [`cluster`]: a cluster of such nodes, and whether its mesh is full;
//! - [`search`]: a search through every order of events of a small world;
//! - `symbolic`, `worlds`: cryptography as terms, and the small worlds over it. Only with the feature `symbolic`.

pub mod cluster;
pub mod intruder;
pub mod observers;
pub mod search;
pub mod sim_node;
#[cfg(feature = "symbolic")]
pub mod symbolic;
#[cfg(feature = "symbolic")]
pub mod worlds;
