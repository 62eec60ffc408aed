//! `coracle demo`: a cluster of four operators on this machine, two of which move; the mesh heals.
//!
//! Everything is real: keys, records, a cluster lock with validators of which `lock verify` verifies every part,
//! databases, and sockets on loopback. What is not: no ceremony made the validators' keys, this process dealt them.

mod operator;
mod report;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use coracle::{
    cluster_file::{ClusterFile, Content, Network, Outcome, Version},
    create::{self, Keystores, NOBODY, Node, Plan},
};
use coracle_core::node::Notice;
use serde_json::json;
use tokio::sync::mpsc;

use self::{
    operator::{Operator, Told},
    report::Report,
};
use super::{
    error::CliError,
    events::{self, Names},
    live::Live,
    output::Output,
    run::stop_signal,
    runtime::{self, Runtime},
};

/// Operators in the demo, and those that move, by index.
const OPERATORS: usize = 4;
const MOVERS: [usize; 2] = [2, 3];
/// Validators of the cluster.
const VALIDATORS: usize = 2;
/// Longest wait for the first mesh, and for the healed one.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause before the two stop: for a person at a terminal to see the mesh, and for a pipe.
const LOOK: Duration = Duration::from_millis(2500);
const NO_LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The runtime under the operators
    #[arg(long, value_enum, default_value_t)]
    runtime: Runtimes,
    /// Also tell of every dial and ping
    #[arg(long, short)]
    verbose: bool,
}

/// Which runtimes the operators run over.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Runtimes {
    /// All over tokio
    #[default]
    Tokio,
    /// All over async-std, which is no longer developed
    AsyncStd,
    /// The first and the third over tokio, the second and the fourth over async-std
    Mixed,
}

impl Runtimes {
    const fn of(self, operator: usize) -> Runtime {
        match self {
            Self::AsyncStd => Runtime::AsyncStd,
            Self::Mixed if operator % 2 == 1 => Runtime::AsyncStd,
            Self::Tokio | Self::Mixed => Runtime::Tokio,
        }
    }
}

pub(super) fn run(arguments: &Arguments, out: &mut Output) -> Result<ExitCode, CliError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(
            |error| CliError::failed(format!("cannot start threads: {error}"), "free some memory"),
        )?;
    let live = Live::new(out, OPERATORS, arguments.verbose);
    runtime.block_on(async {
        tokio::select! {
            result = Demo::play(live, arguments.runtime) => result,
            () = stop_signal() => Err(CliError::failed("the demo was stopped", "let it run to its end: it takes seconds")),
        }
    })
}

/// The cluster on the stage.
struct Demo<'a> {
    live: Live<'a>,
    names: Names,
    operators: Vec<Operator>,
    told: mpsc::UnboundedReceiver<Told>,
    told_tx: mpsc::UnboundedSender<Told>,
    /// Everything the demo writes; removed at the end.
    _directory: tempfile::TempDir,
}

impl<'a> Demo<'a> {
    async fn play(live: Live<'a>, runtimes: Runtimes) -> Result<ExitCode, CliError> {
        let mut demo = Self::make(live, runtimes)?;
        for index in 0..OPERATORS {
            demo.start(index)?;
        }
        let full = demo.mesh("full mesh", Instant::now()).await?;
        let mut report = Report::new(&demo.operators);
        let healed = match full {
            Some(_) => demo.move_two().await?,
            None => None,
        };
        report.finish(&mut demo.operators).await;
        demo.live.end_table();
        for operator in &mut demo.operators {
            operator.stop().await;
        }
        report.print(&mut demo.live, healed)?;
        Ok(if healed.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Makes keys, records with addresses, and the lock; binds the sockets those addresses name.
    fn make(mut live: Live<'a>, runtimes: Runtimes) -> Result<Self, CliError> {
        let directory = tempfile::Builder::new().prefix("coracle-demo-").tempdir().map_err(|error| {
            CliError::failed(
                format!("cannot make a temporary directory: {error}"),
                "check TMPDIR and its space",
            )
        })?;
        let mut operators = Vec::new();
        for index in 0..OPERATORS {
            operators.push(Operator::make(index, runtimes.of(index), directory.path())?);
        }
        let file = deal(&operators)?;
        let names = Names::by_position(operators.iter().map(Operator::peer_id));
        live.say(
            format!(
                "made {OPERATORS} keys and records, a cluster lock, and the key shares of {VALIDATORS} validators in {}",
                directory.path().display()
            ),
            json!({"event": "made", "operators": OPERATORS, "directory": directory.path().display().to_string()}),
        )?;
        tell_verification(&mut live, &file)?;
        let (told_tx, told) = mpsc::unbounded_channel();
        Ok(Self { live, names, operators, told, told_tx, _directory: directory })
    }

    fn start(&mut self, index: usize) -> Result<(), CliError> {
        let operator = &mut self.operators[index];
        operator.start(self.told_tx.clone())?;
        let (tcp, udp) = operator.listening();
        self.live.tell(
            Some(&operator.name),
            events::step(
                format!("starts on {tcp}/tcp {udp}/udp"),
                json!({"event": "started", "tcp": tcp, "udp": udp}),
            ),
        )
    }

    /// Two operators stop, and start elsewhere with their keys and databases. Neither can be found
    /// by the other at any address that is written down anywhere.
    async fn move_two(&mut self) -> Result<Option<Duration>, CliError> {
        let pause = Instant::now() + if self.live.is_watched() { LOOK } else { NO_LOOK };
        while Instant::now() < pause {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.drain()?;
            self.look().await;
        }
        for index in MOVERS {
            self.operators[index].stop().await;
            let name = self.operators[index].name.clone();
            self.live.tell(Some(&name), events::step("stops", json!({"event": "stopped"})))?;
        }
        let since = Instant::now();
        for index in MOVERS {
            self.operators[index].move_away()?;
            self.start(index)?;
        }
        self.mesh("the mesh has healed", since).await
    }

    /// Waits until every operator has a channel with a measured ping to every other; `None` when it
    /// takes too long.
    async fn mesh(&mut self, done: &str, since: Instant) -> Result<Option<Duration>, CliError> {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                Some(told) = self.told.recv() => {
                    self.tell(&told)?;
                    self.drain()?;
                }
                _ = tick.tick() => {}
            }
            let pairs = self.look().await;
            if pairs == OPERATORS * (OPERATORS - 1) {
                let took = since.elapsed();
                self.drain()?;
                let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                self.live.good(
                    format!("{done}: {pairs} directed pairs, each with a measured ping ({ms} ms)"),
                    json!({"event": "mesh", "mesh": "full", "channels": pairs, "took_ms": ms}),
                )?;
                return Ok(Some(took));
            }
            if since.elapsed() > PATIENCE {
                self.live.say(
                    format!(
                        "the mesh is not full: {pairs} of {} directed pairs",
                        OPERATORS * (OPERATORS - 1)
                    ),
                    json!({"event": "mesh", "mesh": "partial", "channels": pairs}),
                )?;
                return Ok(None);
            }
        }
    }

    /// Looks at every node, shows the table, and counts the directed pairs that are complete.
    async fn look(&mut self) -> usize {
        let mut pairs = 0;
        let mut rows = Vec::new();
        for operator in &mut self.operators {
            operator.look().await;
            pairs += operator.pairs();
            rows.push(report::live_row(operator));
        }
        self.live.rows(&rows);
        pairs
    }

    /// Tells all that the nodes have said so far.
    fn drain(&mut self) -> Result<(), CliError> {
        while let Ok(told) = self.told.try_recv() {
            self.tell(&told)?;
        }
        Ok(())
    }

    fn tell(&mut self, told: &Told) -> Result<(), CliError> {
        // The end of a channel that we see twice, and pings, are for `--verbose` and programs.
        let mut event = events::tell(&told.notice, &self.names);
        if matches!(told.notice, Notice::Unreachable { .. }) {
            event.weight = events::Weight::Step;
        }
        self.live.tell(Some(&self.operators[told.operator].name), event)
    }
}

/// Deals a cluster of these operators, of the newest version, and writes each one's part of it.
fn deal(operators: &[Operator]) -> Result<ClusterFile, CliError> {
    let node = |operator: &Operator| Node {
        secret: operator.secret.clone(),
        enr: operator.first_record.to_string(),
    };
    let plan = Plan {
        version: Version::NEWEST,
        network: Network::from_name("hoodi")
            .ok_or_else(|| CliError::failed("no test network is known", "report this as a bug"))?,
        name: "coracle demo".to_owned(),
        threshold: (2 * OPERATORS).div_ceil(3),
        validators: VALIDATORS,
        timestamp: "2026-01-01T00:00:00Z".to_owned(),
        registered_at: 1_767_225_600,
        fee_recipient: NOBODY.to_owned(),
        withdrawal: NOBODY.to_owned(),
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        gas_limit: 60_000_000,
        compounding: false,
    };
    let nodes: Vec<Node> = operators.iter().map(node).collect();
    let cluster = create::deal(&plan, &nodes, &mut getrandom::fill)?;
    for (index, operator) in operators.iter().enumerate() {
        create::write_node(&operator.data_dir, &cluster, index, Keystores::Insecure, &mut getrandom::fill)?;
    }
    Ok(ClusterFile::from(Content::Lock(cluster.lock)))
}

/// Says how the checks of the lock ended, and what such a cluster is good for.
fn tell_verification(live: &mut Live<'_>, file: &ClusterFile) -> Result<(), CliError> {
    let report = file.verify();
    let (mut verified, mut not_checked, mut failed) = (0, 0, 0);
    for check in &report.checks {
        match check.outcome {
            Outcome::Verified => verified += 1,
            Outcome::NotChecked { .. } => not_checked += 1,
            Outcome::Failed { .. } => failed += 1,
        }
    }
    live.say(
        format!(
            "lock verify ({}): {verified} checks verified, {failed} failed, {not_checked} not checked",
            file.version()
        ),
        json!({"event": "lock_verified", "version": file.version().as_str(), "verified": verified,
               "failed": failed, "not_checked": not_checked}),
    )?;
    live.say(
        format!("for testing only: one process dealt the keys of the {VALIDATORS} validators, and so had them whole"),
        json!({"event": "note", "for_testing_only": true, "validators": VALIDATORS}),
    )?;
    if failed > 0 {
        return Err(CliError::failed("our own lock does not verify", "report this as a bug"));
    }
    Ok(())
}
