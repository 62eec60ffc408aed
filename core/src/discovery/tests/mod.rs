//! The machine in memory, and the published vectors.

mod attacks;
mod hearsay;
mod messages;
mod models;
mod net;
mod network;
mod places;
mod two_nodes;
mod vectors;
