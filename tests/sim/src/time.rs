//! Virtual time: nanoseconds since the run began, the clocks nodes see, and the agenda of what comes next.
//!
//! Invariants: what is due at one time happens in the order in which it was put down; time never goes back;
//! nothing here reads a real clock.

use std::collections::BTreeMap;

/// Nanoseconds: of virtual time since the run began, of a node's own clock, or a duration.
pub type Nanos = u64;

/// One microsecond.
pub const MICROSECOND: Nanos = 1_000;
/// One millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
/// One second.
pub const SECOND: Nanos = 1_000_000_000;

/// How a node's own clock relates to virtual time: it shows `offset` at the start of the run, and gains
/// `drift` microseconds a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// What the clock shows at virtual time 0.
    pub offset: Nanos,
    /// Parts in a million by which it runs too fast (negative: too slow). Cut to ±500,000.
    pub drift: i32,
}

impl Clock {
    /// What the clock shows at virtual time `at`.
    #[must_use]
    pub fn shows(self, at: Nanos) -> Nanos {
        let passed = u128::from(at) * self.speed() / 1_000_000;
        saturating(passed).saturating_add(self.offset)
    }

    /// The first virtual time at which the clock shows `local` or later.
    #[must_use]
    pub fn reaches(self, local: Nanos) -> Nanos {
        let passed = u128::from(local.saturating_sub(self.offset)) * 1_000_000;
        saturating(passed.div_ceil(self.speed()))
    }

    fn speed(self) -> u128 {
        let drift = self.drift.clamp(-500_000, 500_000);
        u128::from((1_000_000 + drift).unsigned_abs())
    }
}

fn saturating(nanos: u128) -> Nanos {
    Nanos::try_from(nanos).unwrap_or(Nanos::MAX)
}

/// The place of an entry in an [`Agenda`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(Nanos, u64);

/// What is to happen, ordered by (time, sequence).
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<Slot, T>,
    sequence: u64,
}

impl<T> Agenda<T> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Nanos, entry: T) -> Slot {
        let slot = Slot(at, self.sequence);
        self.sequence += 1;
        self.entries.insert(slot, entry);
        slot
    }

    pub(crate) fn cancel(&mut self, slot: Slot) {
        self.entries.remove(&slot);
    }

    pub(crate) fn next_time(&self) -> Option<Nanos> {
        self.entries.keys().next().map(|slot| slot.0)
    }

    pub(crate) fn pop(&mut self) -> Option<(Nanos, T)> {
        self.entries
            .pop_first()
            .map(|(slot, entry)| (slot.0, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_their_order() {
        let mut agenda = Agenda::new();
        agenda.push(5, 'b');
        agenda.push(1, 'a');
        let gone = agenda.push(5, 'x');
        agenda.push(5, 'c');
        agenda.cancel(gone);
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop()).collect();
        assert_eq!(order, [(1, 'a'), (5, 'b'), (5, 'c')]);
    }

    #[test]
    fn a_clock_reaches_a_deadline_at_the_first_moment_it_shows_it() {
        for drift in [0, 1, -1, 250, -333, 499_999, -500_000] {
            for offset in [0, 7, 1_700_000_000 * SECOND] {
                let clock = Clock { offset, drift };
                for passed in [0, 1, 2, 999, SECOND + 1, 86_400 * SECOND] {
                    let deadline = offset + passed;
                    let at = clock.reaches(deadline);
                    assert!(clock.shows(at) >= deadline);
                    assert!(at == 0 || clock.shows(at - 1) < deadline);
                }
            }
        }
    }
}
