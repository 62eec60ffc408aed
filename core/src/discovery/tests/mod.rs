//! The machine in memory, and the published vectors.

mod vectors;
