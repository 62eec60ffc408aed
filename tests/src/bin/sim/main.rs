//! `sim`: real nodes in simulated worlds, by the thousand; every failure replayed from one line.
//!
//! See `sim --help`, and `ARCHITECTURE.md` for the rules it checks.

mod args;
mod campaign;
mod commands;
mod crowd;
mod interrupt;
mod show;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use commands::Ended;

fn main() -> ExitCode {
    let args = Args::parse();
    // What a run panics with is part of its outcome; the words of the standard hook would only stand in between.
    std::panic::set_hook(Box::new(|_| {}));
    let result = match args.command {
        Command::Run(args) => commands::run(&args),
        Command::Scenario(args) => commands::scenario(&args),
        Command::Scenarios => commands::scenarios(),
        Command::Replay(args) => commands::replay(&args),
        Command::Shrink(args) => commands::shrink(&args),
        Command::Campaign(args) => campaign::run(&args),
        Command::Hash(args) => commands::hash(&args),
        Command::Golden(args) => commands::golden(&args),
        Command::Crowd(args) => crowd::run(&args),
    };
    match result {
        Ok(Ended::Right) => ExitCode::SUCCESS,
        Ok(Ended::Broken) => ExitCode::FAILURE,
        Ok(Ended::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::from(2)
        }
    }
}
