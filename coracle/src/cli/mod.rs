//! The command line: one module a command, and what they share.

mod absence;
mod acquaintance;
mod create_cluster;
mod create_enr;
mod crypto;
mod demo;
mod enr;
mod error;
mod events;
mod hint_names;
mod live;
mod lock_diff;
mod lock_show;
mod lock_verify;
mod membership;
mod output;
mod peer_hint;
mod record_view;
mod run;
mod runtime;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use coracle::data_dir::{self, DataDir};

use error::CliError;
use output::Output;

/// What the program's exit codes mean, as `--help` says it.
const EXIT_CODES: &str = "Exit codes:
  0  done, and everything checked holds
  1  it failed, a check failed, or files differ
  2  the command line is wrong
  3  the key, the database or an address is in use by another process";

/// Identity, discovery and secure channels for the operators of a distributed validator cluster, on Charon's own
/// files.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Common {
    /// The directory with the node's key, its cluster file and its database
    #[arg(long, global = true, value_name = "DIR", default_value = data_dir::DEFAULT)]
    data_dir: PathBuf,
    /// Print one JSON object a line, for other programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make something new
    #[command(subcommand)]
    Create(Create),
    /// Show this node's record (ENR), the newest that is known
    Enr(enr::Arguments),
    /// Look at a cluster lock or definition
    #[command(subcommand)]
    Lock(Lock),
    /// Run this node until it is told to stop
    Run(run::Arguments),
    /// See a cluster of four find itself again, on this machine
    Demo(demo::Arguments),
}

#[derive(Debug, Subcommand)]
enum Create {
    /// Make this node's key, and show the ENR to send to the cluster's creator
    Enr,
    /// Make a whole cluster for tests: keys, files and key shares of every operator
    Cluster(create_cluster::Arguments),
}

#[derive(Debug, Subcommand)]
enum Lock {
    /// Check a cluster file: its hashes, records and signatures
    Verify(LockFile),
    /// Show what a cluster file says, and where its operators are now
    Show(LockFile),
    /// Show what differs between two cluster files; exit code 0 if nothing does
    Diff(lock_diff::Arguments),
}

/// The cluster file to look at.
#[derive(Debug, Args)]
struct LockFile {
    /// A cluster-lock.json or cluster-definition.json [default: the one in the data directory]
    file: Option<PathBuf>,
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::new(cli.common.json);
    let data_dir = DataDir::new(cli.common.data_dir);
    if data_dir.path().is_file() {
        let path = data_dir.path().display();
        return CliError::usage(
            format!("--data-dir {path} is a file, not a directory"),
            "name the directory with charon-enr-private-key in it",
        )
        .report();
    }
    let result = match cli.command {
        Command::Create(Create::Enr) => create_enr::run(&data_dir, &mut out),
        Command::Create(Create::Cluster(arguments)) => create_cluster::run(&arguments, &mut out),
        Command::Enr(arguments) => enr::run(&data_dir, &arguments, &mut out),
        Command::Lock(Lock::Verify(file)) => {
            file.path(&data_dir).and_then(|path| lock_verify::run(&path, &mut out))
        }
        Command::Lock(Lock::Show(file)) => {
            file.path(&data_dir).and_then(|path| lock_show::run(&path, &data_dir, &mut out))
        }
        Command::Lock(Lock::Diff(arguments)) => lock_diff::run(&arguments, &mut out),
        Command::Run(arguments) => run::run(&data_dir, &arguments, &mut out),
        Command::Demo(arguments) => demo::run(&arguments, &mut out),
    };
    match result.and_then(|code| out.finish().map(|()| code)) {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

impl LockFile {
    fn path(self, data_dir: &DataDir) -> Result<PathBuf, CliError> {
        self.file.or_else(|| data_dir.cluster_file()).ok_or_else(|| {
            CliError::failed(
                format!("no cluster-lock.json or cluster-definition.json in {}", data_dir.path().display()),
                "name the file, or its directory with --data-dir",
            )
        })
    }
}
