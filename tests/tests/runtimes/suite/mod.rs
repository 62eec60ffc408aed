//! What every adapter must do. `adapter` is the one under test.

use super::adapter;

mod cancellation;
mod leaks;
mod lifecycle;
pub(crate) mod mesh;
#[path = "../../common/node.rs"]
pub(crate) mod node;
mod recording;
mod storage;
mod streams;
