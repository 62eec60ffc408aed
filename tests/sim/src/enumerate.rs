//! Every answer there is, one run after the other.
//!
//! Purpose: where a space of decisions is small (three packets, each lost or not), trying all of it proves what
//! a random search only suggests. An [`Enumerator`] walks it depth first, like an odometer: each run repeats the
//! answers of the one before, but for the last question that has another answer left.
//!
//! Invariants: no two runs get the same answers; when it is done and [`Enumerator::is_exhaustive`], every
//! combination of answers on the chosen lanes was tried; it holds one answer a question, nothing more.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::choices::{Ask, Choices, Lane, Source};

/// A systematic walk through all the answers: an iterator over the [`Choices`] of one run after the other.
///
/// A run must be over, and its choices dropped or at rest, before the next is asked for. Questions on lanes that
/// were not chosen, and those beyond the depth, are answered with 0, the mildest answer.
///
/// ```
/// use coracle_sim::Enumerator;
///
/// let mut walk = Enumerator::on_lanes(&["dice"]);
/// let mut sums = Vec::new();
/// for mut choices in &mut walk {
///     let mut throw = || choices.lane("dice", 0).choose(3);
///     sums.push(throw() + throw());
/// }
/// sums.sort_unstable();
/// assert_eq!(sums, [0, 1, 1, 2, 2, 2, 3, 3, 4]);
/// assert!(walk.is_exhaustive());
/// ```
pub struct Enumerator {
    path: Rc<RefCell<Path>>,
    runs: u64,
    done: bool,
}

/// The answers of the run at hand, and where it stands.
struct Path {
    /// No names: every lane.
    lanes: Vec<&'static str>,
    width: u64,
    depth: usize,
    steps: Vec<Step>,
    at: usize,
    /// Questions of which not every answer is, or was, tried.
    cut: u64,
}

/// A question: which of its answers is tried, and how many there are to try.
struct Step {
    number: u64,
    count: u64,
    largest: u64,
}

impl Step {
    /// The mildest answer first, the wildest second, then the rest from below.
    const fn answer(&self) -> u64 {
        match self.number {
            0 => 0,
            1 => self.largest,
            number => number - 1,
        }
    }
}

impl Default for Enumerator {
    fn default() -> Self {
        Self::on_lanes(&[])
    }
}

impl Enumerator {
    /// A walk through all answers on the lanes with these names (all lanes, if there are none).
    #[must_use]
    pub fn on_lanes(names: &[&'static str]) -> Self {
        let path = Path {
            lanes: names.to_vec(),
            width: u64::MAX,
            depth: usize::MAX,
            steps: Vec::new(),
            at: 0,
            cut: 0,
        };
        Self { path: Rc::new(RefCell::new(path)), runs: 0, done: false }
    }

    /// Tries at most so many answers a question (at least 1): the mildest, the wildest, then the rest from below.
    #[must_use]
    pub fn width(self, most: u64) -> Self {
        self.path.borrow_mut().width = most.max(1);
        self
    }

    /// Tries the other answers of the first so many questions of a run only.
    #[must_use]
    pub fn depth(self, most: usize) -> Self {
        self.path.borrow_mut().depth = most;
        self
    }

    /// How many runs were handed out.
    #[must_use]
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// Whether there is nothing more to try.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Whether everything was tried: it is done, and neither width nor depth left an answer out.
    #[must_use]
    pub fn is_exhaustive(&self) -> bool {
        self.done && self.path.borrow().cut == 0
    }

    /// How many questions had answers that were left out, because of width or depth.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.path.borrow().cut
    }
}

impl Iterator for Enumerator {
    type Item = Choices;

    fn next(&mut self) -> Option<Choices> {
        self.done = self.done || self.runs > 0 && !self.path.borrow_mut().turn();
        if self.done {
            return None;
        }
        self.runs += 1;
        let origin = format!("run {} of an enumeration", self.runs);
        Some(Choices::from_source(origin, Walker(Rc::clone(&self.path))))
    }
}

impl Path {
    /// Turns to the next path. False when all have been walked.
    fn turn(&mut self) -> bool {
        self.steps.truncate(self.at);
        self.at = 0;
        while let Some(mut step) = self.steps.pop() {
            step.number += 1;
            if step.number < step.count {
                self.steps.push(step);
                return true;
            }
        }
        false
    }

    fn answer(&mut self, lane: Lane, ask: Ask) -> u64 {
        if !self.lanes.is_empty() && !self.lanes.contains(&lane.name) {
            return 0;
        }
        if self.at >= self.depth {
            self.cut += 1;
            return 0;
        }
        if self.at == self.steps.len() {
            let largest = ask.largest();
            self.cut += u64::from(largest >= self.width);
            let count = largest.saturating_add(1).min(self.width);
            self.steps.push(Step { number: 0, count, largest });
        }
        let answer = self.steps[self.at].answer();
        self.at += 1;
        answer
    }
}

struct Walker(Rc<RefCell<Path>>);

impl Source for Walker {
    fn answer(&mut self, lane: Lane, ask: Ask) -> u64 {
        self.0.borrow_mut().answer(lane, ask)
    }
}

impl fmt::Debug for Enumerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enumerator")
            .field("runs", &self.runs)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(walk: &mut Enumerator, mut run: impl FnMut(&mut Choices) -> Vec<u64>) -> Vec<Vec<u64>> {
        walk.map(|mut choices| run(&mut choices)).collect()
    }

    #[test]
    fn the_tree_may_depend_on_the_answers() {
        // The first answer says how many more there are.
        let mut walk = Enumerator::default();
        let seen = paths(&mut walk, |choices| {
            let more = choices.lane("more", 0).choose(3);
            (0..more).map(|at| choices.lane("each", at).choose(2)).collect()
        });
        let expected: [&[u64]; 7] = [&[], &[0, 0], &[0, 1], &[1, 0], &[1, 1], &[0], &[1]];
        assert_eq!(seen, expected);
        assert!(walk.is_exhaustive() && walk.is_done());
        assert_eq!(walk.runs(), 7);
        assert!(walk.next().is_none(), "it stays done");
    }

    #[test]
    fn width_and_depth_bound_the_walk_and_are_owned_up_to() {
        let three = |choices: &mut Choices| {
            (0..3).map(|_| choices.lane("x", 0).between(0, u64::MAX)).collect::<Vec<_>>()
        };
        let mut walk = Enumerator::default().width(3).depth(2);
        let seen = paths(&mut walk, three);
        assert_eq!(seen.len(), 9);
        assert_eq!(seen[1], [0, u64::MAX, 0]);
        assert_eq!(seen[2], [0, 1, 0]);
        assert!(walk.is_done() && !walk.is_exhaustive());
        assert!(walk.cut() > 0);
    }

    #[test]
    fn other_lanes_stay_mild_and_a_run_that_asks_nothing_is_the_only_one() {
        let mut walk = Enumerator::on_lanes(&["y"]);
        let seen = paths(&mut walk, |choices| vec![choices.lane("x", 0).choose(9)]);
        assert_eq!(seen, [[0]]);
        assert!(walk.is_exhaustive());
    }
}
