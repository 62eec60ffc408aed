//! The machine in memory, and the published vectors.

mod messages;
mod net;
mod network;
mod two_nodes;
mod vectors;
