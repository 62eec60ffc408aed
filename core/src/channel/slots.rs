//! The places of a channel's streams: allocated once, and looked through only as far as any are taken. There is room
//! for many streams and few are open, and every action of a node asks all of its channels what they owe.

use alloc::boxed::Box;

use super::stream::Stream;

/// The stream table of a channel: all the memory that it takes from the heap. One that an ended
/// channel gave back serves the next.
#[derive(Debug)]
pub struct Memory(Box<[Option<Stream>]>);

impl Memory {
    /// Room for `streams` streams open at once, both directions together (at least 2: one is ours
    /// to ping with, whatever the peer opens).
    pub fn new(streams: usize) -> Self {
        Self(core::iter::repeat_with(|| None).take(streams.max(2)).collect())
    }
}

/// The table while a channel has it.
#[derive(Debug)]
pub(super) struct Slots {
    places: Box<[Option<Stream>]>,
    /// From this place on none is taken.
    end: usize,
}

impl Slots {
    /// An empty table.
    pub(super) fn new(memory: Memory) -> Self {
        Self { places: memory.0, end: 0 }
    }

    /// Gives the memory back, empty.
    pub(super) fn into_memory(mut self) -> Memory {
        self.places[..self.end].fill_with(|| None);
        Memory(self.places)
    }

    /// How many streams have room.
    pub(super) const fn capacity(&self) -> usize {
        self.places.len()
    }

    /// The place behind the last that is taken.
    pub(super) const fn end(&self) -> usize {
        self.end
    }

    /// All streams, by place.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.places[..self.end].iter().flatten()
    }

    /// All streams, by place, to change.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.places[..self.end].iter_mut().flatten()
    }

    /// The stream in a place.
    pub(super) fn at(&self, place: usize) -> Option<&Stream> {
        self.places.get(place)?.as_ref()
    }

    /// The stream in a place, to change.
    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut Stream> {
        self.places.get_mut(place)?.as_mut()
    }

    /// Where the first stream is that `is` holds for.
    pub(super) fn position(&self, is: impl Fn(&Stream) -> bool) -> Option<usize> {
        self.places[..self.end].iter().position(|place| place.as_ref().is_some_and(&is))
    }

    /// Puts a stream into the first free place; false when there is none.
    pub(super) fn insert(&mut self, stream: Stream) -> bool {
        let Some(free) = self.places.iter().position(Option::is_none) else { return false };
        self.places[free] = Some(stream);
        self.end = self.end.max(free + 1);
        true
    }

    /// Frees a place.
    pub(super) fn remove(&mut self, place: usize) {
        if let Some(place) = self.places.get_mut(place) {
            *place = None;
        }
        while let Some(before) = self.end.checked_sub(1)
            && self.places[before].is_none()
        {
            self.end = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        channel::select::{Protocol, Select},
        time::Instant,
    };

    fn stream(id: u32) -> Stream {
        Stream::outbound(id, Select::propose(Protocol::Ping), Instant::ZERO, None)
    }

    #[test]
    fn what_is_looked_through_ends_with_the_last_stream() {
        let mut slots = Slots::new(Memory::new(4));
        assert_eq!((slots.capacity(), slots.end(), slots.position(|_| true)), (4, 0, None));
        assert!((0..4).all(|id| slots.insert(stream(id))) && !slots.insert(stream(9)));
        slots.remove(1);
        slots.remove(2);
        assert_eq!((slots.end(), slots.at(1).is_none(), slots.position(|s| s.id == 3)), (4, true, Some(3)));
        slots.remove(3);
        assert_eq!((slots.end(), slots.iter().count()), (1, 1));
        assert!(slots.insert(stream(5)));
        assert_eq!(
            (slots.end(), slots.iter().map(|s| s.id).collect::<std::vec::Vec<_>>()),
            (2, std::vec![0, 5])
        );
        slots.remove(7);
        assert_eq!(slots.end(), 2);
        let again = Slots::new(slots.into_memory());
        assert!(again.places.iter().all(Option::is_none) && again.capacity() == 4);
    }
}
