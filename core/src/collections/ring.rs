//! A bounded queue: first in, first out.

use alloc::boxed::Box;

/// A queue of at most as many values as it was made for.
#[derive(Debug)]
pub struct Ring<T> {
    slots: Box<[Option<T>]>,
    first: usize,
    len: usize,
}

impl<T> Ring<T> {
    /// A queue for `capacity` values.
    pub fn new(capacity: usize) -> Self {
        Self { slots: (0..capacity).map(|_| None).collect(), first: 0, len: 0 }
    }

    /// How many values wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether another value would not fit.
    pub const fn is_full(&self) -> bool {
        self.len == self.slots.len()
    }

    /// Appends a value; gives it back when the queue is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.is_full() {
            return Err(value);
        }
        let at = (self.first + self.len) % self.slots.len();
        self.slots[at] = Some(value);
        self.len += 1;
        Ok(())
    }

    /// Appends a value; when the queue is full the oldest leaves it and is returned.
    pub fn push_over(&mut self, value: T) -> Option<T> {
        if self.slots.is_empty() {
            return Some(value);
        }
        let gone = if self.is_full() { self.pop() } else { None };
        let pushed = self.push(value);
        debug_assert!(pushed.is_ok());
        gone
    }

    /// Takes the oldest value.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let value = self.slots[self.first].take();
        self.first = (self.first + 1) % self.slots.len();
        self.len -= 1;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_around_the_end() {
        let mut ring = Ring::new(3);
        for n in 0..10 {
            ring.push(n).unwrap();
            ring.push(n + 100).unwrap();
            assert_eq!((ring.pop(), ring.pop(), ring.pop()), (Some(n), Some(n + 100), None));
        }
        for n in 0..3 {
            ring.push(n).unwrap();
        }
        assert_eq!(ring.push(3), Err(3));
        assert_eq!(ring.push_over(3), Some(0));
        assert_eq!((ring.pop(), ring.len()), (Some(1), 2));
        assert_eq!(Ring::new(0).push_over(1), Some(1));
    }
}
