//! Tries everything that can happen to two nodes within a budget of faults: the code that ships, over symbolic
//! terms. Prints what it went through, or the shortest way to what must not be; exit code 1 then.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use coracle_tests::worlds::{CATALOGUE, PROPERTIES};

/// Tries everything that can happen to two nodes, within a budget of faults.
#[derive(Parser)]
struct Arguments {
    /// How many faults a run may have: packets lost, doubled, late, connections broken, an attacker's doings.
    #[arg(long, default_value_t = 1)]
    faults: u32,
    /// Which worlds; all of them when none is named.
    #[arg(value_name = "WORLD", value_parser = clap::builder::PossibleValuesParser::new(CATALOGUE.iter().map(|w| w.name)))]
    worlds: Vec<String>,
}

fn main() -> ExitCode {
    let Arguments { faults, worlds } = Arguments::parse();
    let chosen = |name: &str| worlds.is_empty() || worlds.iter().any(|world| world == name);
    let mut ended = ExitCode::SUCCESS;
    println!(
        "{:<22} {:>6} {:>9} {:>10} {:>8} {:>7} {:>8}",
        "world", "faults", "states", "edges", "at rest", "deepest", "seconds"
    );
    for world in CATALOGUE.iter().filter(|world| chosen(world.name)) {
        let begun = Instant::now();
        let found = (world.search)(faults);
        let seconds = begun.elapsed().as_secs_f32();
        match found {
            Ok(found) => println!(
                "{:<22} {:>6} {:>9} {:>10} {:>8} {:>7} {:>8.1}",
                world.name, faults, found.states, found.edges, found.at_rest, found.deepest, seconds
            ),
            Err(counterexample) => {
                println!("{}: {counterexample}", world.name);
                ended = ExitCode::FAILURE;
            }
        }
    }
    for (name, property) in PROPERTIES.iter().filter(|_| worlds.is_empty()) {
        match property() {
            Ok(()) => println!("{name}: holds"),
            Err(problem) => {
                println!("{name}: {problem}");
                ended = ExitCode::FAILURE;
            }
        }
    }
    ended
}
