//! The peers' side of each row, where they let others call it.

pub(crate) mod discv5;
pub(crate) mod noise;
pub(crate) mod records;
