//! `large`: discovery in networks of a thousand nodes and more, with figures. See `large --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use coracle_core::crypto::RustCrypto;
use coracle_core::discovery::Config;
use coracle_sim::Failure;
use coracle_tests::large::network::Size;
use coracle_tests::large::{moved, sybils};

/// Discovery in large simulated networks: every node a whole one, every figure from a seed.
///
/// Exit code 0: the bar was met. 1: it was not.
#[derive(Debug, Parser)]
#[command(name = "large")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A part of the network moves at one moment; when others have found them again
    Moved {
        #[command(flatten)]
        network: Network,
        /// Datagrams that are lost, in per cent
        #[arg(long, default_value_t = 10)]
        loss: u32,
        /// Nodes that move
        #[arg(long, default_value_t = 100)]
        moved: u32,
        /// Nodes that look for each of them
        #[arg(long, default_value_t = 3)]
        seekers: u32,
        /// Virtual seconds within which 99 in a hundred searches must have been answered
        #[arg(long, default_value_t = 60)]
        within: u64,
    },
    /// One /24 wants the tables and the lookups; how many lookups of honest nodes find their target
    Sybils {
        #[command(flatten)]
        network: Network,
        /// Identities of the foe
        #[arg(long, default_value_t = 10_000)]
        identities: u16,
        /// How many times a second one of them begins with an honest node
        #[arg(long, default_value_t = 400)]
        rate: u64,
        /// Honest nodes that look others up
        #[arg(long, default_value_t = 250)]
        askers: u32,
        /// Lookups of each of them
        #[arg(long, default_value_t = 8)]
        lookups: u32,
    },
}

#[derive(Debug, clap::Args)]
struct Network {
    /// Nodes
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Virtual seconds for which it runs once all have joined
    #[arg(long, default_value_t = 300)]
    settle: u64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Small pools: a fifth of the memory
    #[arg(long)]
    small: bool,
    /// Cryptography as terms
    #[cfg(feature = "symbolic")]
    #[arg(long)]
    symbolic: bool,
}

impl Network {
    const fn size(&self, loss: u32) -> Size {
        Size { nodes: self.nodes, loss, settle: self.settle, seed: self.seed }
    }

    fn config(&self) -> Config {
        if !self.small {
            return Config::default();
        }
        let (nodes, sessions, verified_records) = (384, 256, 256);
        Config {
            nodes,
            sessions,
            verified_records,
            challenges: 64,
            prefixes: 256,
            requests: 48,
            ..Config::default()
        }
    }

    fn moved(&self, plan: &moved::Plan) -> Result<moved::Outcome, Failure> {
        #[cfg(feature = "symbolic")]
        if self.symbolic {
            return moved::run::<coracle_tests::symbolic::Symbolic>(plan, &self.config());
        }
        moved::run::<RustCrypto>(plan, &self.config())
    }
}

fn run(command: &Command) -> Result<bool, Failure> {
    match command {
        Command::Moved { network, loss, moved, seekers, within } => {
            let (size, moved, seekers, give_up) = (network.size(*loss), *moved, *seekers, 600);
            let outcome = network.moved(&moved::Plan { size, moved, seekers, give_up })?;
            println!("{moved} of {} nodes moved, {loss} % loss, seed {}", network.nodes, network.seed);
            println!("{outcome}{}", memory());
            Ok(outcome.reached_within(99).is_some_and(|millis| millis <= within * 1_000))
        }
        Command::Sybils { network, identities, rate, askers, lookups } => {
            let (size, identities) = (network.size(0), *identities);
            let plan = sybils::Plan { size, identities, rate: *rate, askers: *askers, lookups: *lookups };
            let outcome = sybils::run(&plan, &network.config())?;
            let (nodes, seed) = (network.nodes, network.seed);
            println!("{identities} identities in one /24 against {nodes} honest nodes, seed {seed}");
            println!("{outcome}{}", memory());
            Ok(outcome.worst() >= 9_900)
        }
    }
}

/// The most memory this process had, where the system says so.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| format!(", {} MiB of memory", kib / 1_024)).unwrap_or_default()
}

fn main() -> ExitCode {
    match run(&Args::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("the bar was not met");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("large: {failure}");
            ExitCode::from(2)
        }
    }
}
