//! `coracle create cluster`: a cluster for tests, with all that a ceremony leaves at each operator.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use coracle::{
    cluster_file::{Network, Version},
    create::{self, CreateError, ETH, Keystores, NOBODY, Node, Plan},
    key_file,
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    enr::first_record,
    error::CliError,
    output::{NOTE, Output, clean},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How many operators take part
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=256))]
    operators: u16,
    /// How many of them must sign together [default: two thirds, rounded up]
    #[arg(long, value_name = "T")]
    threshold: Option<u16>,
    /// How many validators they run
    #[arg(long, value_name = "M", default_value_t = 1)]
    validators: u32,
    /// The test network
    #[arg(long, value_name = "NAME", default_value = "hoodi", value_parser = network)]
    network: Network,
    /// The version of the cluster files, such as v1.8.0
    #[arg(long = "version", value_name = "VERSION", default_value = Version::NEWEST.as_str(), value_parser = version)]
    file_version: Version,
    /// The cluster's name, after the words that it is for testing only
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
    /// The directory to make; it must be empty or not be there
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Rewards go to this address
    #[arg(long, value_name = "ADDRESS", default_value = NOBODY)]
    fee_recipient_address: String,
    /// Stake goes to this address
    #[arg(long, value_name = "ADDRESS", default_value = NOBODY)]
    withdrawal_address: String,
    /// Partial deposits in ETH, for v1.8.0 and later [default: 1,32]
    #[arg(long, value_name = "ETH", value_delimiter = ',')]
    deposit_amounts: Vec<u64>,
    /// INSECURE: keystores whose passwords protect nothing, for thousands of validators in a test
    #[arg(long)]
    insecure_keystores: bool,
}

#[derive(Serialize)]
struct Created {
    event: &'static str,
    for_testing_only: bool,
    directory: String,
    version: Version,
    network: &'static str,
    operators: usize,
    threshold: usize,
    validators: usize,
    lock_hash: String,
    enrs: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, out: &mut Output) -> Result<ExitCode, CliError> {
    let plan = plan(arguments)?;
    let nodes = (0..arguments.operators).map(|_| node()).collect::<Result<Vec<_>, CliError>>()?;
    let cluster = create::deal(&plan, &nodes, &mut getrandom::fill)?;
    let keystores = if arguments.insecure_keystores { Keystores::Insecure } else { Keystores::Standard };
    create::write_cluster(&arguments.output_dir, &cluster, &nodes, keystores, &mut getrandom::fill)?;
    let created = Created {
        event: "created_cluster",
        for_testing_only: true,
        directory: arguments.output_dir.display().to_string(),
        version: plan.version,
        network: plan.network.name,
        operators: nodes.len(),
        threshold: plan.threshold,
        validators: plan.validators,
        lock_hash: format!("0x{}", hex::encode(cluster.lock.lock_hash)),
        enrs: nodes.into_iter().map(|node| node.enr).collect(),
    };
    out.print(&created, |to| {
        let directory = clean(&created.directory);
        writeln!(
            to,
            "Made a cluster {} for {} in {directory}: {} operators of whom {} sign together, {} validators",
            created.version, created.network, created.operators, created.threshold, created.validators
        )?;
        writeln!(to, "  cluster-definition.json         what the operators agreed on")?;
        writeln!(to, "  node0 to node{:<19}a data directory for each operator:", created.operators - 1)?;
        writeln!(to, "    charon-enr-private-key        the node's key")?;
        writeln!(to, "    cluster-lock.json             the cluster")?;
        writeln!(to, "    deposit-data*.json            the validators' deposits")?;
        writeln!(to, "    validator_keys/               the operator's key shares and their passwords")?;
        writeln!(
            to,
            "{NOTE}note{NOTE:#}: for testing only: this process dealt the validators' keys, and so had them whole"
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn plan(arguments: &Arguments) -> Result<Plan, CliError> {
    let operators = usize::from(arguments.operators);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(now).unwrap_or(0);
    let timestamp = OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .ok_or_else(|| CliError::failed("the clock shows no date", "set the clock"))?;
    let gwei = |eth: &u64| {
        eth.checked_mul(ETH).filter(|_| (1..=2048).contains(eth)).ok_or_else(|| {
            CliError::usage(format!("--deposit-amounts {eth}"), "each deposit is of 1 to 2048 ETH")
        })
    };
    Ok(Plan {
        version: arguments.file_version,
        network: arguments.network,
        name: arguments.name.clone(),
        threshold: arguments.threshold.map_or((2 * operators).div_ceil(3), usize::from),
        validators: arguments.validators as usize,
        timestamp,
        registered_at: seconds,
        fee_recipient: arguments.fee_recipient_address.clone(),
        withdrawal: arguments.withdrawal_address.clone(),
        deposit_amounts: arguments.deposit_amounts.iter().map(gwei).collect::<Result<_, _>>()?,
        consensus_protocol: String::new(),
        gas_limit: 60_000_000,
        compounding: false,
    })
}

/// A new node, whose record has no address yet.
fn node() -> Result<Node, CliError> {
    let secret = key_file::random_key()?;
    Ok(Node { enr: first_record(secret.clone())?.to_string(), secret })
}

fn network(name: &str) -> Result<Network, String> {
    let tests = || Network::all().filter(|network| network.is_test).map(|network| network.name);
    match Network::from_name(name) {
        Some(network) if network.is_test => Ok(network),
        _ => Err(format!("not a test network; there are {}", tests().collect::<Vec<_>>().join(", "))),
    }
}

fn version(text: &str) -> Result<Version, String> {
    Version::from_text(text).ok_or_else(|| {
        let all: Vec<_> = Version::all().map(Version::as_str).collect();
        format!("not a version of cluster files; there are {}", all.join(", "))
    })
}

impl From<CreateError> for CliError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Exists(_) | CreateError::Io { .. } | CreateError::Random(_) => {
                Self::failed(&error, error.help())
            }
            _ => Self::usage(&error, error.help()),
        }
    }
}
