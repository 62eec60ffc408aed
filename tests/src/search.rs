//! A search through every order of events of a small world, for its whole state space.
//!
//! Purpose: where a simulation draws what happens, this tries all of it. A [`World`] says which steps are
//! possible, takes one, and names its state; [`search`] walks through all states breadth first, so that a
//! counterexample is as short as they come. Machines need not be copied or compared: a world is made anew and led
//! along the steps to a state, and a state is named by what every machine was fed, since the same inputs give the
//! same machine. That is why this is our own and no library: the ones there are want states that can be cloned
//! and hashed, and the code under search is the code that ships.
//!
//! A step may cost something (a lost packet, a doubled one); a search has a budget of such faults.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

/// A world small enough to try everything in.
pub trait World {
    /// One thing that may happen.
    type Step: Clone + fmt::Debug;

    /// Everything that may happen now, with what it costs of the budget of faults. Nothing: the world is at rest.
    fn steps(&self) -> Vec<(Self::Step, u32)>;

    /// Lets it happen.
    fn take(&mut self, step: &Self::Step);

    /// The name of the state: equal names have equal futures.
    fn state(&self) -> u128;

    /// What must hold in every state.
    fn check(&self) -> Result<(), String>;

    /// What must hold when the faults stop here. Called in every world at rest.
    fn settle(self) -> Result<(), String>;
}

/// What a search went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub states: u64,
    /// Steps taken from them.
    pub edges: u64,
    /// States at rest, each settled.
    pub at_rest: u64,
    /// The most steps from the start to a state.
    pub deepest: u32,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, edges, at_rest, deepest } = self;
        write!(f, "{states} states, {edges} edges, {at_rest} at rest, at most {deepest} steps deep")
    }
}

/// The shortest way to something that must not be.
#[derive(Clone, Debug)]
pub struct Counterexample<S> {
    /// The steps from the start.
    pub steps: Vec<S>,
    /// What is wrong there.
    pub problem: String,
    /// What had been explored by then.
    pub explored: Explored,
}

impl<S: fmt::Debug> fmt::Display for Counterexample<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (after {})", self.problem, self.explored)?;
        self.steps.iter().enumerate().try_for_each(|(at, step)| writeln!(f, "  {:>2}. {step:?}", at + 1))
    }
}

/// A state on the way: how it was reached.
struct Visited<S> {
    before: Option<usize>,
    step: Option<S>,
    spent: u32,
    depth: u32,
}

/// Walks through all states that `start` leads to with at most `budget` faults.
///
/// # Errors
///
/// The first, and so the shortest, [`Counterexample`].
pub fn search<W: World>(start: impl Fn() -> W, budget: u32) -> Result<Explored, Counterexample<W::Step>> {
    let mut explored = Explored { states: 1, ..Explored::default() };
    let mut visited = vec![Visited { before: None, step: None, spent: 0, depth: 0 }];
    let mut seen = BTreeSet::from([(start().state(), 0)]);
    let mut waiting = VecDeque::from([0]);
    while let Some(at) = waiting.pop_front() {
        let path = path_to(&visited, at);
        let (spent, depth) = (visited[at].spent, visited[at].depth);
        let steps = lead(&start, &path).steps();
        if steps.is_empty() {
            explored.at_rest += 1;
            lead(&start, &path).settle().map_err(|problem| Counterexample {
                steps: path.clone(),
                problem,
                explored,
            })?;
        }
        for (step, cost) in steps {
            if spent + cost > budget {
                continue;
            }
            explored.edges += 1;
            let mut world = lead(&start, &path);
            world.take(&step);
            if let Err(problem) = world.check() {
                let steps = path.into_iter().chain([step]).collect();
                return Err(Counterexample { steps, problem, explored });
            }
            if seen.insert((world.state(), spent + cost)) {
                explored.states += 1;
                explored.deepest = explored.deepest.max(depth + 1);
                waiting.push_back(visited.len());
                visited.push(Visited {
                    before: Some(at),
                    step: Some(step),
                    spent: spent + cost,
                    depth: depth + 1,
                });
            }
        }
    }
    Ok(explored)
}

fn path_to<S: Clone>(visited: &[Visited<S>], mut at: usize) -> Vec<S> {
    let mut path = Vec::with_capacity(visited[at].depth as usize);
    while let (Some(step), Some(before)) = (&visited[at].step, visited[at].before) {
        path.push(step.clone());
        at = before;
    }
    path.reverse();
    path
}

fn lead<W: World>(start: impl Fn() -> W, path: &[W::Step]) -> W {
    let mut world = start();
    path.iter().for_each(|step| world.take(step));
    world
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two counters that wrap at 3; something is wrong where both are 2.
    struct Counters([u8; 2]);

    impl World for Counters {
        type Step = usize;

        fn steps(&self) -> Vec<(usize, u32)> {
            (0..2).filter(|at| self.0[*at] < 3).map(|at| (at, u32::from(self.0[at] == 1))).collect()
        }

        fn take(&mut self, step: &usize) {
            self.0[*step] += 1;
        }

        fn state(&self) -> u128 {
            u128::from(self.0[0]) * 10 + u128::from(self.0[1])
        }

        fn check(&self) -> Result<(), String> {
            if self.0 == [2, 2] { Err("both are 2".into()) } else { Ok(()) }
        }

        fn settle(self) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn every_state_within_the_budget_and_the_shortest_counterexample() {
        // Only one counter may pass from 1 to 2: (0..=3, 0..=1) and the other way round.
        let explored = search(|| Counters([0; 2]), 1).unwrap();
        assert_eq!((explored.states, explored.edges, explored.deepest), (12, 16, 4));
        let found = search(|| Counters([0; 2]), 2).unwrap_err();
        assert_eq!((found.steps.len(), &*found.problem), (4, "both are 2"));
    }
}
