//! Our side of each row.

pub(crate) mod channel;
pub(crate) mod codec;
pub(crate) mod host;
pub(crate) mod packets;
pub(crate) mod sockets;
