//! Hashes that must come out the same on every platform and in every build: `tests/golden/hashes.txt`.
//!
//! After a change that is meant to change what nodes do (or what is traced), renew the file with
//! `cargo run -p coracle-tests --release --bin sim -- golden --write`, and say in the change why.

use crate::plan::{Plan, scenarios};
use crate::run::{Options, run};

/// Drawn plans among the golden ones.
const SEEDS: u64 = 6;

/// The plans whose hashes are kept, with their names: some seeds, and every scenario of four nodes and fewer.
#[must_use]
pub fn plans() -> Vec<(String, Plan)> {
    let drawn = (0..SEEDS).map(|seed| (format!("seed:{seed}"), Plan::drawn(seed)));
    let small = scenarios::ALL.iter().filter(|scenario| (scenario.plan)(1).operators <= 4);
    drawn.chain(small.map(|scenario| (format!("{}:1", scenario.name), (scenario.plan)(1)))).collect()
}

/// One line: the hash of a plan's run, its events, its name.
#[must_use]
pub fn line(name: &str, plan: &Plan) -> String {
    let outcome = run(plan, Options::default());
    let hash = outcome.hash.map_or_else(|| "panic".into(), |hash| hash.to_string());
    format!("{hash} {} {name}", outcome.steps)
}

/// The file as it should be.
#[must_use]
pub fn file() -> String {
    plans().iter().map(|(name, plan)| line(name, plan) + "\n").collect()
}

/// Lines of the file that are not as they should be: what is expected, and what came out.
#[must_use]
pub fn check(file: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expected = file.lines();
    for (name, plan) in plans() {
        let (found, expected) = (line(&name, &plan), expected.next().unwrap_or("(no line)"));
        if found != expected {
            wrong.push(format!("{name}: the file has {expected}, and this run gives {found}"));
        }
    }
    wrong.extend(expected.map(|line| format!("a line too many: {line}")));
    wrong
}
