//! The suite over async-std.

#[path = "../../common/on_async_std.rs"]
pub(crate) mod adapter;
#[path = "../suite/mod.rs"]
pub(crate) mod suite;
