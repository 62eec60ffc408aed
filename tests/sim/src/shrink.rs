//! From a failure to a small one: fewer things in the plan, fewer faults in the recording.
//!
//! Purpose: a run that fails after ten thousand decisions says little; the same failure after ten says where to
//! look. What is shrunk is either a [`Plan`] of the user's (who takes part, what happens when) or the
//! [`Recording`] of what was drawn; one after the other is best, the plan first.
//!
//! Invariants: a candidate is taken only if its run fails the same invariant
//! ([`Failure::invariant`]), so that one bug is not exchanged for another; every candidate is simpler than what
//! it came from; the number of runs is bounded; nothing is drawn, so the same failure shrinks to the same end.

use std::fmt;
use std::ops::ControlFlow;

use crate::choices::Choices;
use crate::failure::Failure;
use crate::recording::Recording;

/// What a run is made from, in a form that can be made simpler.
///
/// A `Vec` of plans is one (fewer elements, then simpler ones), and so is a number (smaller), so that a plan of
/// one's own mostly gathers what its fields answer:
///
/// ```
/// use coracle_sim::Plan;
///
/// #[derive(Clone)]
/// struct Campaign {
///     loss: u64,
///     moves: Vec<u64>,
/// }
///
/// impl Plan for Campaign {
///     fn simpler(&self) -> Vec<Self> {
///         let moves = self.moves.simpler().into_iter().map(|moves| Self { moves, ..self.clone() });
///         let loss = self.loss.simpler().into_iter().map(|loss| Self { loss, ..self.clone() });
///         moves.chain(loss).collect()
///     }
/// }
///
/// let first = &Campaign { loss: 9, moves: vec![5, 7] }.simpler()[0];
/// assert!(first.moves.is_empty());
/// ```
pub trait Plan: Clone {
    /// Simpler plans, the boldest step first. Each must be simpler by a measure that ends somewhere, or only
    /// the budget ends the shrinking.
    fn simpler(&self) -> Vec<Self>;
}

impl Plan for u64 {
    /// 0, then ever closer from below.
    fn simpler(&self) -> Vec<Self> {
        let mut step = *self;
        let mut smaller = Vec::new();
        while step > 0 {
            smaller.push(self - step);
            step /= 2;
        }
        smaller
    }
}

impl<T: Plan> Plan for Vec<T> {
    /// Without all elements, without halves of them, and so on down to single ones; then each element simpler.
    fn simpler(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        let mut size = self.len();
        while size > 0 {
            for start in (0..self.len()).step_by(size) {
                let end = self.len().min(start + size);
                simpler.push([&self[..start], &self[end..]].concat());
            }
            size /= 2;
        }
        for (place, element) in self.iter().enumerate() {
            for instead in element.simpler() {
                let mut plan = self.clone();
                plan[place] = instead;
                simpler.push(plan);
            }
        }
        simpler
    }
}

/// How far a shrinking is, told after every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Runs made.
    pub runs: u64,
    /// How many of them were simpler and failed alike.
    pub accepted: u64,
    /// The most runs there will be.
    pub budget: u64,
}

/// What a shrinking came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk<T> {
    /// The simplest that still fails.
    pub smallest: T,
    /// How it fails.
    pub failure: Failure,
    /// Runs made.
    pub runs: u64,
    /// How many of them were simpler and failed alike.
    pub accepted: u64,
    /// False if the budget or a break ended it: more runs might find something simpler.
    pub finished: bool,
}

/// Who is told of progress, and says whether to go on.
type Tell<'a> = Box<dyn FnMut(&Progress) -> ControlFlow<()> + 'a>;

/// Makes failures smaller, within a budget of runs for each.
pub struct Shrinker<'a> {
    budget: u64,
    tell: Tell<'a>,
    stopped: bool,
}

impl<'a> Shrinker<'a> {
    /// One that makes so many runs at most a failure.
    #[must_use]
    pub fn new(budget: u64) -> Self {
        Self { budget, tell: Box::new(|_| ControlFlow::Continue(())), stopped: false }
    }

    /// Tells its progress after every run. A break ends the shrinking, and any that this one would begin later.
    #[must_use]
    pub fn on_progress(mut self, tell: impl FnMut(&Progress) -> ControlFlow<()> + 'a) -> Self {
        self.tell = Box::new(tell);
        self
    }

    /// Whether a break has ended it.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Shrinks a plan that failed with `failure`. `run` must do the same for the same plan.
    pub fn plan<P: Plan>(
        &mut self,
        plan: P,
        failure: Failure,
        run: impl FnMut(&P) -> Result<(), Failure>,
    ) -> Shrunk<P> {
        let mut hunt = Hunt::new(self, plan, failure, run);
        loop {
            let before = hunt.accepted;
            let mut place = 0;
            let mut candidates = hunt.smallest.simpler();
            while place < candidates.len() && !hunt.is_spent() {
                // What could be left out here may also be left out after it: go on at the same place.
                if hunt.offer(candidates[place].clone()) {
                    candidates = hunt.smallest.simpler();
                } else {
                    place += 1;
                }
            }
            if hunt.accepted == before || hunt.is_spent() {
                return hunt.end();
            }
        }
    }

    /// Shrinks the recording of a run that failed with `failure`: whole lanes fall silent, tails are cut off,
    /// ranges become 0 (the mildest answer), and what is left becomes smaller. `run` must do the same for the
    /// same choices.
    pub fn recording(
        &mut self,
        recording: &Recording,
        failure: Failure,
        mut run: impl FnMut(Choices) -> Result<(), Failure>,
    ) -> Shrunk<Recording> {
        let lanes = Lanes::of(recording);
        let mut hunt = Hunt::new(self, lanes, failure, |lanes: &Lanes| {
            run(Choices::from_recording(lanes.to_recording()))
        });
        loop {
            let before = hunt.accepted;
            hunt.silence_names();
            hunt.silence_lanes();
            hunt.cut_tails();
            hunt.clear_ranges();
            hunt.lower_values();
            if hunt.accepted == before || hunt.is_spent() {
                let shrunk = hunt.end();
                return Shrunk {
                    smallest: shrunk.smallest.to_recording(),
                    failure: shrunk.failure,
                    runs: shrunk.runs,
                    accepted: shrunk.accepted,
                    finished: shrunk.finished,
                };
            }
        }
    }
}

impl fmt::Debug for Shrinker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shrinker").field("budget", &self.budget).finish_non_exhaustive()
    }
}

/// One shrinking: the simplest so far, and the runs it took.
struct Hunt<'s, 'a, T, R> {
    shrinker: &'s mut Shrinker<'a>,
    smallest: T,
    failure: Failure,
    run: R,
    runs: u64,
    accepted: u64,
}

impl<'s, 'a, T, R: FnMut(&T) -> Result<(), Failure>> Hunt<'s, 'a, T, R> {
    const fn new(shrinker: &'s mut Shrinker<'a>, first: T, failure: Failure, run: R) -> Self {
        Self { shrinker, smallest: first, failure, run, runs: 0, accepted: 0 }
    }

    const fn is_spent(&self) -> bool {
        self.shrinker.stopped || self.runs >= self.shrinker.budget
    }

    /// Runs a candidate, and takes it if it fails alike.
    fn offer(&mut self, candidate: T) -> bool {
        if self.is_spent() {
            return false;
        }
        self.runs += 1;
        let failed = (self.run)(&candidate).err();
        let alike = failed.filter(|failure| failure.invariant == self.failure.invariant);
        let taken = alike.is_some();
        if let Some(failure) = alike {
            self.accepted += 1;
            self.smallest = candidate;
            self.failure = failure;
        }
        let budget = self.shrinker.budget;
        let progress = Progress { runs: self.runs, accepted: self.accepted, budget };
        self.shrinker.stopped |= (self.shrinker.tell)(&progress).is_break();
        taken
    }

    fn end(self) -> Shrunk<T> {
        Shrunk {
            finished: !self.is_spent(),
            smallest: self.smallest,
            failure: self.failure,
            runs: self.runs,
            accepted: self.accepted,
        }
    }
}

/// A recording unpacked: names and indexes ascend. A lane that ends in zeros is the same as one without them.
#[derive(Clone)]
struct Lanes(Vec<(String, u64, Vec<u64>)>);

impl Lanes {
    fn of(recording: &Recording) -> Self {
        let lanes = recording.lanes().map(|(name, index, answers)| (name.to_owned(), index, answers));
        let mut lanes = Self(lanes.collect());
        lanes.trim();
        lanes
    }

    fn to_recording(&self) -> Recording {
        Recording::from_lanes(self.0.iter().map(|(name, index, answers)| (name.as_str(), *index, answers)))
    }

    fn trim(&mut self) {
        for (_, _, answers) in &mut self.0 {
            let used = answers.iter().rposition(|answer| *answer != 0).map_or(0, |last| last + 1);
            answers.truncate(used);
        }
        self.0.retain(|(_, _, answers)| !answers.is_empty());
    }
}

impl<R: FnMut(&Lanes) -> Result<(), Failure>> Hunt<'_, '_, Lanes, R> {
    /// Offers the lanes with this change. True if it was taken; then lanes may have gone.
    fn change(&mut self, change: impl FnOnce(&mut Lanes)) -> bool {
        let mut lanes = self.smallest.clone();
        change(&mut lanes);
        lanes.trim();
        self.offer(lanes)
    }

    fn silence_names(&mut self) {
        let mut names: Vec<String> = self.smallest.0.iter().map(|lane| lane.0.clone()).collect();
        names.dedup();
        for name in names {
            self.change(|lanes| lanes.0.retain(|lane| lane.0 != name));
        }
    }

    fn silence_lanes(&mut self) {
        let mut size = self.smallest.0.len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < self.smallest.0.len() && !self.is_spent() {
                let end = self.smallest.0.len().min(start + size);
                if !self.change(|lanes| drop(lanes.0.drain(start..end))) {
                    start = end;
                }
            }
            size /= 2;
        }
    }

    fn cut_tails(&mut self) {
        let mut place = 0;
        while let Some(lane) = self.smallest.0.get(place) {
            let (lanes, mut step) = (self.smallest.0.len(), lane.2.len() / 2);
            while step > 0 && self.smallest.0.len() == lanes && !self.is_spent() {
                let length = self.smallest.0[place].2.len();
                if step >= length || !self.change(|lanes| lanes.0[place].2.truncate(length - step)) {
                    step /= 2;
                }
            }
            place += usize::from(self.smallest.0.len() == lanes);
        }
    }

    fn clear_ranges(&mut self) {
        let longest = self.smallest.0.iter().map(|lane| lane.2.len()).max().unwrap_or(0);
        let mut size = longest.div_ceil(2);
        while size > 0 {
            let mut place = 0;
            while place < self.smallest.0.len() && !self.is_spent() {
                place += usize::from(self.clear_ranges_of(place, size));
            }
            size /= 2;
        }
    }

    /// Clears what it can of one lane in steps of `size`. False if that ended the lane.
    fn clear_ranges_of(&mut self, place: usize, size: usize) -> bool {
        let lanes = self.smallest.0.len();
        let mut start = 0;
        while let Some(rest) = self.smallest.0[place].2.get(start..).filter(|rest| !rest.is_empty()) {
            let end = start + rest.len().min(size);
            let idle = rest.iter().take(size).all(|answer| *answer == 0);
            let taken = !idle && self.change(|lanes| lanes.0[place].2[start..end].fill(0));
            if taken && self.smallest.0.len() < lanes {
                return false;
            }
            start = end;
        }
        true
    }

    fn lower_values(&mut self) {
        let mut place = 0;
        while place < self.smallest.0.len() {
            let mut at = 0;
            while at < self.smallest.0[place].2.len() && !self.is_spent() {
                self.lower_value(place, at);
                at += 1;
            }
            place += 1;
        }
    }

    /// The smallest value in this place that still fails (0 does not, or it would be gone).
    fn lower_value(&mut self, place: usize, at: usize) {
        let (mut passes, mut fails) = (0, self.smallest.0[place].2[at]);
        while passes + 1 < fails && !self.is_spent() {
            let middle = passes + (fails - passes) / 2;
            if self.change(|lanes| lanes.0[place].2[at] = middle) {
                fails = middle;
            } else {
                passes = middle;
            }
        }
    }
}
