//! Tries everything that can happen to two nodes within a budget of faults: the code that ships, over symbolic
//! terms. Prints what it went through, or the shortest way to what must not be; exit code 1 then.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use clap::Parser;
use coracle_tests::worlds::CATALOGUE;

/// Tries everything that can happen to two nodes, within a budget of faults.
#[derive(Parser)]
struct Arguments {
    /// How many faults a run may have: packets lost, doubled, too late, replayed, forged.
    #[arg(long, default_value_t = 1)]
    faults: u32,
    /// Which worlds; all of them when none is named.
    #[arg(value_name = "WORLD", value_parser = clap::builder::PossibleValuesParser::new(CATALOGUE.iter().map(|w| w.name)))]
    worlds: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen =
        |name: &str| arguments.worlds.is_empty() || arguments.worlds.iter().any(|world| world == name);
    let waiting = Mutex::new(CATALOGUE.iter().filter(|world| chosen(world.name)).collect::<Vec<_>>());
    let failed = Mutex::new(false);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{:<28} {:>6} {:>9} {:>10} {:>8} {:>7} {:>8}",
        "world", "faults", "states", "edges", "at rest", "deepest", "seconds"
    );
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(world) = waiting.lock().ok().and_then(|mut waiting| waiting.pop()) {
                    let begun = Instant::now();
                    let found = (world.search)(arguments.faults);
                    let seconds = begun.elapsed().as_secs_f32();
                    match found {
                        Ok(found) => println!(
                            "{:<28} {:>6} {:>9} {:>10} {:>8} {:>7} {:>8.1}",
                            world.name,
                            arguments.faults,
                            found.states,
                            found.edges,
                            found.at_rest,
                            found.deepest,
                            seconds
                        ),
                        Err(counterexample) => {
                            println!("{}: {counterexample}", world.name);
                            failed.lock().map(|mut failed| *failed = true).unwrap_or_default();
                        }
                    }
                }
            });
        }
    });
    if failed.into_inner().unwrap_or(true) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
