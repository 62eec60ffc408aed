//! Deadlines by place, the earliest first.

use alloc::boxed::Box;

use crate::time::Instant;

const NONE: u32 = u32::MAX;

/// At most one deadline for each place of a pool: a binary heap that knows where each place stands.
/// Equal deadlines come out by place, so the order never depends on history.
#[derive(Debug)]
pub struct Deadlines {
    heap: Box<[(Instant, u32)]>,
    at: Box<[u32]>,
    len: usize,
}

impl Deadlines {
    /// No deadlines, for the places `0..places`.
    pub fn new(places: usize) -> Self {
        Self {
            heap: (0..places).map(|_| (Instant::ZERO, NONE)).collect(),
            at: (0..places).map(|_| NONE).collect(),
            len: 0,
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        (self.len > 0).then(|| self.heap[0].0)
    }

    /// The deadline of `place`.
    pub fn of(&self, place: usize) -> Option<Instant> {
        self.position(place).map(|i| self.heap[i].0)
    }

    /// Sets the deadline of `place`, replacing the one it had.
    pub fn set(&mut self, place: usize, when: Instant) {
        if place >= self.at.len() {
            return;
        }
        let i = match self.position(place) {
            Some(i) => i,
            None => {
                self.len += 1;
                self.len - 1
            }
        };
        self.put(i, (when, place as u32));
        let i = self.up(i);
        self.down(i);
    }

    /// Removes the deadline of `place`.
    pub fn clear(&mut self, place: usize) {
        let Some(i) = self.position(place) else { return };
        self.at[place] = NONE;
        self.len -= 1;
        if i < self.len {
            self.put(i, self.heap[self.len]);
            let i = self.up(i);
            self.down(i);
        }
    }

    /// Takes a place whose deadline is not after `now`, the earliest first.
    pub fn pop(&mut self, now: Instant) -> Option<usize> {
        let place = self.next().filter(|when| *when <= now).map(|_| self.heap[0].1 as usize)?;
        self.clear(place);
        Some(place)
    }

    fn position(&self, place: usize) -> Option<usize> {
        self.at.get(place).filter(|i| **i != NONE).map(|i| *i as usize)
    }

    fn put(&mut self, i: usize, item: (Instant, u32)) {
        self.heap[i] = item;
        self.at[item.1 as usize] = i as u32;
    }

    fn swap(&mut self, i: usize, j: usize) {
        let (a, b) = (self.heap[i], self.heap[j]);
        self.put(i, b);
        self.put(j, a);
    }

    fn up(&mut self, mut i: usize) -> usize {
        while i > 0 && self.heap[i] < self.heap[(i - 1) / 2] {
            self.swap(i, (i - 1) / 2);
            i = (i - 1) / 2;
        }
        i
    }

    fn down(&mut self, mut i: usize) {
        loop {
            let mut least = i;
            for child in [2 * i + 1, 2 * i + 2] {
                if child < self.len && self.heap[child] < self.heap[least] {
                    least = child;
                }
            }
            if least == i {
                return;
            }
            self.swap(i, least);
            i = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec((0u8..4, 0usize..16, 0u64..50), 0..200)) {
            let mut deadlines = Deadlines::new(16);
            let mut model: BTreeMap<usize, Instant> = BTreeMap::new();
            for (what, place, when) in steps {
                let when = Instant::from_nanos(when);
                match what {
                    0 | 1 => {
                        deadlines.set(place, when);
                        model.insert(place, when);
                    }
                    2 => {
                        deadlines.clear(place);
                        model.remove(&place);
                    }
                    _ => {
                        let mut due: Vec<_> =
                            model.iter().filter(|(_, at)| **at <= when).map(|(p, at)| (*at, *p)).collect();
                        due.sort();
                        let first = due.first().map(|(_, place)| *place);
                        prop_assert_eq!(deadlines.pop(when), first);
                        first.map(|place| model.remove(&place));
                    }
                }
                prop_assert_eq!(deadlines.next(), model.values().min().copied());
                for place in 0..16 {
                    prop_assert_eq!(deadlines.of(place), model.get(&place).copied());
                }
            }
        }
    }
}
