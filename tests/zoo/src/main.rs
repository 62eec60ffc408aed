//! Puts known bugs back, one at a time, and shows what finds each. Exit code 1 when one is not found, or when
//! something is found with none put back.
//!
//! Without arguments each is looked for where it is known to be found, which takes seconds; first all those places
//! are looked at without a bug. `--from-zero` looks for it in campaigns from seed 0 on, and shrinks what it finds:
//! that is the table of `tests/ZOO.md`.

mod bugs;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use bugs::{Entry, Finder, ZOO};
use clap::Parser;
use coracle_core::zoo::put_back;
use coracle_tests::plan::Plan;
use coracle_tests::run::{Options, run};
use coracle_tests::shrink::{shrink, size};
use coracle_tests::worlds::{CATALOGUE, PROPERTIES};

/// Puts known bugs back, and shows what finds each.
#[derive(Parser)]
struct Arguments {
    /// Search campaigns from seed 0 on, and shrink what is found.
    #[arg(long)]
    from_zero: bool,
    /// Give up after this many seeds.
    #[arg(long, default_value_t = 400)]
    seeds: u64,
    /// Runs that the shrinking of one plan may take.
    #[arg(long, default_value_t = 300)]
    budget: u64,
    /// Only bugs whose names contain this.
    #[arg(default_value = "")]
    name: String,
}

/// What was found, how far one had to look, and how long the shortest way there is.
struct Found {
    rule: String,
    looked: String,
    length: String,
    /// Until it was found; shrinking comes after that.
    seconds: f32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = ZOO.iter().filter(|entry| format!("{:?}", entry.bug).contains(&arguments.name));
    let chosen: Vec<&Entry> = chosen.collect();
    let mut failed = false;
    put_back(None);
    let mut looked_at = BTreeSet::new();
    for entry in chosen.iter().filter(|entry| looked_at.insert(format!("{:?}", entry.finder))) {
        if let Some(found) = look(entry, &arguments, false) {
            println!("without any bug, {:?} finds: {}", entry.finder, found.rule);
            failed = true;
        }
    }
    println!("| bug | found by | looked through | seconds | shortest | what is found |");
    println!("|---|---|---|---|---|---|");
    for entry in chosen {
        put_back(Some(entry.bug));
        let found = look(entry, &arguments, arguments.from_zero);
        put_back(None);
        match found {
            Some(Found { rule, looked, length, seconds }) => {
                let by = finder(entry.finder);
                println!("| {} | {by} | {looked} | {seconds:.1} | {length} | {rule} |", entry.what);
                if !rule.starts_with(entry.rule) {
                    println!("{:?} is found by another rule than {:?}", entry.bug, entry.rule);
                    failed = true;
                }
            }
            None => {
                println!("{:?} is not found by {:?}", entry.bug, entry.finder);
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn finder(finder: Finder) -> String {
    match finder {
        Finder::Campaign(_) => "campaign".into(),
        Finder::Search(world, faults) => format!("search `{world}`, {faults} faults"),
        Finder::Property(name) => format!("property: {name}"),
    }
}

fn look(entry: &Entry, arguments: &Arguments, from_zero: bool) -> Option<Found> {
    let begun = Instant::now();
    let seconds = || begun.elapsed().as_secs_f32();
    match entry.finder {
        Finder::Campaign(seed) if !from_zero => campaign(seed, seed + 1, None),
        Finder::Campaign(_) => campaign(0, arguments.seeds, Some(arguments.budget)),
        Finder::Search(world, faults) => {
            let world = CATALOGUE.iter().find(|known| known.name == world)?;
            let found = (world.search)(faults).err()?;
            Some(Found {
                seconds: seconds(),
                rule: found.problem,
                looked: format!("{} states", found.explored.states),
                length: format!("{} steps", found.steps.len()),
            })
        }
        Finder::Property(name) => {
            let (_, property) = PROPERTIES.iter().find(|(known, _)| *known == name)?;
            let rule = property().err()?;
            Some(Found { rule, looked: "one case".into(), length: "–".into(), seconds: seconds() })
        }
    }
}

/// The first of these seeds whose drawn plan breaks a rule.
fn campaign(from: u64, until: u64, budget: Option<u64>) -> Option<Found> {
    let begun = Instant::now();
    (from..until).find_map(|seed| {
        let plan = Plan::drawn(seed);
        let broken = run(&plan, Options::default()).broken?;
        let seconds = begun.elapsed().as_secs_f32();
        let length =
            budget.and_then(|budget| shrink(&plan, budget, |_, _| ControlFlow::Continue(()), |_| {}));
        Some(Found {
            rule: match broken.message.starts_with(&broken.invariant) {
                true => broken.message.clone(),
                false => format!("{}: {}", broken.invariant, broken.message),
            },
            looked: format!("{} seeds (seed {seed})", seed + 1 - from),
            length: length.map_or_else(|| "–".into(), |shrunk| size(&shrunk.plan)),
            seconds,
        })
    })
}
