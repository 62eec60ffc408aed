//! What is due next, over the places of several pools.

use super::Lists;

/// A queue of places of `POOLS` pools: first in, first out, each place at most once. It cannot
/// overflow, whatever is added and however late it is emptied.
#[derive(Debug)]
pub struct Ready<const POOLS: usize> {
    list: Lists,
    starts: [usize; POOLS],
}

impl<const POOLS: usize> Ready<POOLS> {
    /// An empty queue over pools of these capacities.
    pub fn new(capacities: [usize; POOLS]) -> Self {
        let mut places = 0;
        let starts = capacities.map(|capacity| {
            places += capacity;
            places - capacity
        });
        Self { list: Lists::new(1, places), starts }
    }

    /// Adds place `index` of `pool`, unless it waits already.
    pub fn add(&mut self, pool: usize, index: usize) {
        let place = self.starts.get(pool).map_or(usize::MAX, |start| start.saturating_add(index));
        if self.list.list_of(place).is_none() {
            self.list.push(0, place);
        }
    }

    /// Takes the place that waits longest: its pool and index.
    pub fn pop(&mut self) -> Option<(usize, usize)> {
        let place = self.list.first(0)?;
        self.list.remove(place);
        let pool = self.starts.iter().rposition(|start| *start <= place)?;
        Some((pool, place - self.starts[pool]))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_waits_once() {
        let mut ready = Ready::new([2, 0, 3]);
        for _ in 0..5 {
            ready.add(2, 1);
            ready.add(0, 1);
            ready.add(2, 0);
        }
        assert_eq!((ready.pop(), ready.pop()), (Some((2, 1)), Some((0, 1))));
        ready.add(2, 1);
        assert_eq!((ready.pop(), ready.pop(), ready.pop()), (Some((2, 0)), Some((2, 1)), None));
        assert!(ready.is_empty());
    }
}
