//! What the tests of the whole share: real nodes in the simulator, and observers that watch them from outside.
//!
//! - [`sim_node`]: a [`coracle_core::node::Node`] as a machine of `coracle-sim`;
//! - [`slots`]: its database on a disk that tears what was not confirmed;
//! - [`intruder`]: a machine that knows a key and dials where it is not wanted;
//! - [`liar`]: a whole node whose words are changed before they are sealed;
//! - [`observers`]: the rules of the design that hold after every event;
//! - [`golden`]: hashes that must not change by accident;
//! - [`nonces`]: every encryption of every node, for one of them;
//! - [`cluster`]: a cluster of such nodes, and whether its mesh is full;
//! - [`plan`]: one run written out: who, which faults, what happens when, by when the mesh must be full;
//! - [`run`]: a plan carried out and judged; [`shrink`]: a smaller one that fails alike;
//! - [`wire`]: what an outsider can read of a packet; [`story`]: what happened, for people, and [`report`]: the same as a
//!   page;
//! - [`raw_peer`]: a discv5 peer with a codec of its own, that can say anything;
//! - [`search`]: a search through every order of events of a small world;
//! - `symbolic`, `worlds`: cryptography as terms, and the small worlds over it. Only with the feature `symbolic`, and in the
//!   unit tests.

pub mod cluster;
pub mod golden;
pub mod intruder;
pub mod liar;
mod memo;
pub mod nonces;
pub mod observers;
pub mod plan;
pub mod raw_peer;
pub mod report;
pub mod run;
pub mod search;
pub mod shrink;
pub mod sim_node;
pub mod slots;
pub mod story;
#[cfg(any(test, feature = "symbolic"))]
pub mod symbolic;
pub mod wire;
#[cfg(any(test, feature = "symbolic"))]
pub mod worlds;
