//! A search through every order of events of a small world, for its whole state space.
//!
//! Purpose: where a simulation draws what happens, this tries all of it. A [`World`] says which steps are
//! possible, takes one, and names its state; [`search`] walks through all states, so that a counterexample is as
//! short as they come. Machines need not be copied or compared: a world is made anew and led
//! along the steps to a state, and a state is named by what every machine was fed, since the same inputs give the
//! same machine. That is why this is our own and no library: the ones there are want states that can be cloned
//! and hashed, and the code under search is the code that ships.
//!
//! A step may cost something (a lost packet, a doubled one); a search has a budget of such faults.

use std::collections::BTreeMap;
use std::fmt;

/// A world small enough to try everything in.
pub trait World {
    /// One thing that may happen.
    type Step: Clone + fmt::Debug + Send + Sync;

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
    /// The most steps of the cheapest and shortest way to a state.
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
    state: u128,
    before: Option<(usize, S)>,
    spent: u32,
    depth: u32,
}

/// What one step led to: its cost, the name of the state behind it, and what is wrong there.
struct Edge<S> {
    step: S,
    cost: u32,
    state: u128,
    checked: Result<(), String>,
}

/// What there is behind one state.
struct Expanded<S> {
    edges: Vec<Edge<S>>,
    /// Of a world at rest: whether it can be used.
    settled: Option<Result<(), String>>,
}

/// Fewer states than this are not worth a thread of their own.
const WORTH_A_THREAD: usize = 32;
/// Most states that are expanded before what was found is put together.
const CHUNK: usize = 1 << 14;

/// Walks through all states that `start` leads to with at most `budget` faults, on all cores.
///
/// States that need no fault come first, then those that need one, and so on, and among them those that are
/// nearer: so each is entered once, and a counterexample has as few faults as there can be, and then as few steps.
/// What is found does not depend on the number of cores.
///
/// # Errors
///
/// The first [`Counterexample`].
pub fn search<W: World>(
    start: impl Fn() -> W + Sync,
    budget: u32,
) -> Result<Explored, Counterexample<W::Step>> {
    let first = start().state();
    let mut explored = Explored { states: 1, ..Explored::default() };
    let mut visited = vec![Visited { state: first, before: None, spent: 0, depth: 0 }];
    // The cheapest and shortest way to each state.
    let mut best = BTreeMap::from([(first, 0)]);
    let mut waiting = BTreeMap::from([((0, 0), vec![0])]);
    while let Some(((spent, depth), mut all)) = waiting.pop_first() {
        all.retain(|at| best.get(&visited[*at].state) == Some(at));
        for entries in all.chunks(CHUNK) {
            for (at, expanded) in entries.iter().zip(expand_all(&start, &visited, entries, budget)) {
                if let Some(settled) = expanded.settled {
                    explored.at_rest += 1;
                    settled.map_err(|problem| Counterexample {
                        steps: path_to(&visited, *at),
                        problem,
                        explored,
                    })?;
                }
                explored.deepest = explored.deepest.max(depth);
                for Edge { step, cost, state, checked } in expanded.edges {
                    explored.edges += 1;
                    if let Err(problem) = checked {
                        let steps = path_to(&visited, *at).into_iter().chain([step]).collect();
                        return Err(Counterexample { steps, problem, explored });
                    }
                    let (spent, depth) = (spent + cost, depth + 1);
                    let known = best.get(&state).map(|known| &visited[*known]);
                    explored.states += u64::from(known.is_none());
                    if known.is_none_or(|known| (spent, depth) < (known.spent, known.depth)) {
                        best.insert(state, visited.len());
                        waiting.entry((spent, depth)).or_default().push(visited.len());
                        visited.push(Visited { state, before: Some((*at, step)), spent, depth });
                    }
                }
            }
        }
    }
    Ok(explored)
}

/// Expands these states, in their order.
fn expand_all<W: World>(
    start: &(impl Fn() -> W + Sync),
    visited: &[Visited<W::Step>],
    entries: &[usize],
    budget: u32,
) -> Vec<Expanded<W::Step>> {
    let one = |at: &usize| expand(start, &path_to(visited, *at), budget - visited[*at].spent);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(entries.len() / WORTH_A_THREAD).max(1);
    if threads == 1 {
        return entries.iter().map(one).collect();
    }
    std::thread::scope(|scope| {
        let parts = entries.chunks(entries.len().div_ceil(threads));
        let running: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().map(one).collect::<Vec<_>>())).collect();
        running.into_iter().flat_map(|part| part.join().expect("a world does not panic")).collect()
    })
}

/// Takes every step from one state, within what is left of the budget.
fn expand<W: World>(start: &impl Fn() -> W, path: &[W::Step], left: u32) -> Expanded<W::Step> {
    let world = lead(start, path);
    let mut steps = world.steps();
    if steps.is_empty() {
        return Expanded { edges: Vec::new(), settled: Some(world.settle()) };
    }
    steps.retain(|(_, cost)| *cost <= left);
    // The world that is there serves for the first step.
    let mut there = Some(world);
    let edges = steps.into_iter().map(|(step, cost)| {
        let mut world = there.take().unwrap_or_else(|| lead(start, path));
        world.take(&step);
        Edge { step, cost, state: world.state(), checked: world.check() }
    });
    Expanded { edges: edges.collect(), settled: None }
}

fn path_to<S: Clone>(visited: &[Visited<S>], mut at: usize) -> Vec<S> {
    let mut path = Vec::with_capacity(visited[at].depth as usize);
    while let Some((before, step)) = &visited[at].before {
        path.push(step.clone());
        at = *before;
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
