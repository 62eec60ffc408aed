//! What is due next, over the places of several pools.

use alloc::boxed::Box;

/// The place does not wait.
const FREE: u32 = u32::MAX;
/// Nobody waits behind.
const LAST: u32 = u32::MAX - 1;

/// A queue of places of `POOLS` pools: first in, first out, each place at most once. It cannot
/// overflow, whatever is added and however late it is emptied.
#[derive(Debug)]
pub struct Ready<const POOLS: usize> {
    /// Who waits behind each place.
    after: Box<[u32]>,
    first: u32,
    last: u32,
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
        Self { after: (0..places).map(|_| FREE).collect(), first: LAST, last: LAST, starts }
    }

    /// Adds place `index` of `pool`, unless it waits already.
    pub fn add(&mut self, pool: usize, index: usize) {
        let place = self.starts.get(pool).map_or(usize::MAX, |start| start.saturating_add(index));
        let Some(after) = self.after.get_mut(place).filter(|after| **after == FREE) else { return };
        *after = LAST;
        match self.after.get_mut(self.last as usize) {
            Some(after) if self.first != LAST => *after = place as u32,
            _ => self.first = place as u32,
        }
        self.last = place as u32;
    }

    /// Takes the place that waits longest: its pool and index.
    pub fn pop(&mut self) -> Option<(usize, usize)> {
        let place = self.first as usize;
        self.first = core::mem::replace(self.after.get_mut(place)?, FREE);
        let pool = self.starts.iter().rposition(|start| *start <= place)?;
        Some((pool, place - self.starts[pool]))
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.first == LAST
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
