//! What a driver holds between a connection and [`Node::handle_bytes`](super::Node::handle_bytes).

use alloc::vec::Vec;

use crate::limits::CHANNEL_READ_SIZE;

/// Bytes of one connection that arrived and were not taken yet.
///
/// A driver reads while there is [room](Self::has_room), [adds](Self::extend) what it read, and
/// [offers](Self::offer) after each reading and after [`Action::Resume`](super::Action::Resume). So what is
/// held is bounded by [`CHANNEL_READ_SIZE`] and one reading, and the TCP window closes behind it.
#[derive(Debug, Default)]
pub struct ReceiveBuffer(Vec<u8>);

impl ReceiveBuffer {
    /// An empty one; it allocates when it is added to.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds what arrived.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Whether to read on: less waits than any frame takes.
    pub const fn has_room(&self) -> bool {
        self.0.len() < CHANNEL_READ_SIZE
    }

    /// What arrived and was not taken.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Offers all there is to `take`, which says how much it took from the front: most often
    /// `|bytes| node.handle_bytes(now, conn, bytes)`. The rest stays.
    pub fn offer(&mut self, take: impl FnOnce(&mut [u8]) -> usize) {
        let taken = take(&mut self.0);
        self.0.drain(..taken.min(self.0.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_stays_in_front_of_what_comes() {
        let mut buffer = ReceiveBuffer::new();
        buffer.extend(b"abc");
        buffer.offer(|bytes| {
            assert_eq!(bytes, b"abc");
            2
        });
        buffer.extend(b"de");
        assert_eq!(buffer.as_slice(), b"cde");
        // Taking more than there is takes all.
        buffer.offer(|_| 9);
        assert!(buffer.as_slice().is_empty() && buffer.has_room());
        buffer.extend(&[0; CHANNEL_READ_SIZE]);
        assert!(!buffer.has_room());
    }
}
