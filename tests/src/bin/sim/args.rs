//! The command line.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Real Coracle nodes in simulated worlds: virtual clocks, links that lose and reorder, crashes, moves,
/// partitions. Every run follows from its plan, and every plan from its seed.
///
/// Exit code 0: no rule was broken. 1: one was, and the output says how to have it again. 2: the command itself
/// could not be carried out. 130: Ctrl-C ended a campaign or a shrinking early (what it had is printed all the same; a
/// second Ctrl-C ends it at once).
#[derive(Debug, Parser)]
#[command(name = "sim")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Carry out the plan of one seed
    Run(Run),
    /// Carry out a scenario: with one seed, or with all that show the whole of it
    Scenario(Scenario),
    /// List the scenarios
    Scenarios,
    /// Carry out a plan again: a trace file, `seed:7`, `moves:7`, `operators-4:7`, or a plan's JSON
    Replay(Replay),
    /// Make a failing plan smaller while it breaks the same rule
    Shrink(Shrink),
    /// Carry out the plans of many seeds, on all cores
    Campaign(Campaign),
    /// Print the trace hashes of seeds
    Hash(Hash),
    /// Check (or renew) the committed hashes
    Golden(Golden),
    /// Many nodes in one network: clusters of four that share it, for memory and speed
    Crowd(Crowd),
}

/// What a run leaves behind.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// Write a page that shows the run, everything in one file
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Print a Mermaid sequence diagram (for short runs)
    #[arg(long)]
    pub(crate) mermaid: bool,
    /// Print what happened, one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the plan: a trace file for `sim replay`
    #[arg(long, value_name = "FILE.json")]
    pub(crate) trace: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The seed
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Scenario {
    /// Its name; see `sim scenarios`
    pub(crate) name: String,
    /// One seed only
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// A trace file, `seed:7`, `SCENARIO:7`, or a plan's JSON
    #[arg(value_name = "FILE|LINE")]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Shrink {
    /// A trace file, a seed, `SCENARIO:7`, or a plan's JSON
    #[arg(value_name = "SEED|FILE")]
    pub(crate) what: String,
    /// Where the smaller plan goes; the smallest so far is always there
    #[arg(short, long, value_name = "FILE.json")]
    pub(crate) output: PathBuf,
    /// Most runs that are tried
    #[arg(long, default_value_t = 2_000)]
    pub(crate) budget: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Campaign {
    /// The seeds, the last one excluded
    #[arg(long, value_parser = seeds, value_name = "A..B", default_value = "0..1000")]
    pub(crate) seeds: Range<u64>,
    /// Carry out a scenario instead of drawn plans
    #[arg(long)]
    pub(crate) scenario: Option<String>,
    /// Drawn plans of so many operators each; otherwise the seed says how many
    #[arg(long, conflicts_with = "scenario", value_parser = clap::value_parser!(u8).range(1..=40))]
    pub(crate) operators: Option<u8>,
    /// Only every n-th seed, beginning with the i-th (from 0): shards i/n for all i make the whole
    #[arg(long, value_parser = shard, value_name = "I/N", default_value = "0/1")]
    pub(crate) shard: (u64, u64),
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_after: Option<u64>,
    /// Threads; by default as many as there are cores
    #[arg(long)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Where traces of failures go
    #[arg(long, value_name = "DIRECTORY", default_value = "target/sim")]
    pub(crate) traces: PathBuf,
    /// Go on after a failure; otherwise no new seed is begun
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Fail also if no run has seen some kind of fault: then what was covered is less than it seems
    #[arg(long)]
    pub(crate) all_faults: bool,
    /// Print one JSON object for every seed
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Hash {
    /// Seeds, or names such as `moves:7`
    #[arg(required = true, value_name = "SEED")]
    pub(crate) what: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Golden {
    /// Write the hashes instead of checking them (after a change that is meant to change runs)
    #[arg(long)]
    pub(crate) write: bool,
    /// The file
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/hashes.txt"))]
    pub(crate) file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Crowd {
    /// How many nodes
    pub(crate) nodes: u32,
    /// Members of each cluster
    #[arg(long, default_value_t = 4)]
    pub(crate) cluster: u8,
    /// Virtual seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("a range such as 0..1000 is expected")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err("there is no seed in this range".into()) } else { Ok(range) }
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || "two numbers such as 0/4 are expected, the first below the second".to_owned();
    let (shard, of) = text.split_once('/').ok_or_else(wrong)?;
    let pair = shard.parse().ok().zip(of.parse().ok());
    pair.filter(|(shard, of): &(u64, u64)| shard < of).ok_or_else(wrong)
}
