//! What the tests of the whole share: real nodes in the simulator, and observers that watch them from outside.
//!
//! - [`sim_node`]: a [`coracle_core::node::Node`] as a machine of `coracle-sim`;
//! - [`intruder`]: a machine that knows a key and dials where it is not wanted;
//! - [`observers`]: the rules E1 to E3, C1 and C3 of the design, checked after every event;
//! - [`cluster`]: a cluster of such nodes, and whether its mesh is full;
//! - [`raw_peer`]: a discv5 peer with a codec of its own, that can say anything.

pub mod cluster;
pub mod intruder;
pub mod observers;
pub mod raw_peer;
pub mod sim_node;
