//! `coracle lock show`: what a cluster file says, for a person or a program.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use coracle::{
    cluster_file::{ClusterFile, Network, Version},
    files,
};
use coracle_core::{crypto::RustCrypto, record::Record};
use serde::Serialize;

use super::{
    error::CliError,
    lock_verify::{kind, tally},
    output::{BAD, GOOD, HEAD, Output, clean},
    record_view::{RecordView, or_none},
};

#[derive(Serialize)]
struct Shown {
    event: &'static str,
    file: String,
    kind: &'static str,
    version: Version,
    name: String,
    uuid: String,
    timestamp: String,
    fork_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'static str>,
    threshold: u64,
    num_validators: u64,
    definition_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_hash: Option<String>,
    accepted: bool,
    checks: String,
    operators: Vec<Operator>,
    /// The distributed validators' public keys.
    validators: Vec<String>,
}

#[derive(Serialize)]
struct Operator {
    position: usize,
    address: String,
    enr: String,
    /// The parts of the ENR.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordView>,
    /// Why the ENR is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip)]
    summary: String,
}

pub(super) fn run(path: &Path, out: &mut Output) -> Result<ExitCode, CliError> {
    let file = files::read_cluster_file(path)?;
    let shown = shown(path, &file);
    out.print(&shown, |to| lines(&shown, to))?;
    Ok(ExitCode::SUCCESS)
}

fn shown(path: &Path, file: &ClusterFile) -> Shown {
    let definition = file.definition();
    let report = file.verify();
    let operator = |(position, operator): (usize, &coracle::cluster_file::Operator)| {
        let record = Record::from_text(&operator.enr, &RustCrypto);
        Operator {
            position,
            address: operator.address.clone(),
            enr: operator.enr.clone(),
            summary: match &record {
                Ok(record) => summary(record),
                Err(error) => error.to_string(),
            },
            record: record.as_ref().ok().map(RecordView::new),
            problem: record.as_ref().err().map(ToString::to_string),
        }
    };
    let validators = file.lock().map_or(&[][..], |lock| &lock.validators);
    Shown {
        event: "lock_show",
        file: path.display().to_string(),
        kind: kind(file.lock().is_some()),
        version: definition.version,
        name: definition.name.clone(),
        uuid: definition.uuid.clone(),
        timestamp: definition.timestamp.clone(),
        fork_version: hex_text(&definition.fork_version),
        network: Network::from_fork_version(definition.fork_version).map(|network| network.name),
        threshold: definition.threshold,
        num_validators: definition.num_validators,
        definition_hash: hex_text(&definition.definition_hash),
        lock_hash: file.lock().map(|lock| hex_text(&lock.lock_hash)),
        accepted: !report.refused(),
        checks: tally(&report),
        operators: definition.operators.iter().enumerate().map(operator).collect(),
        validators: validators.iter().map(|validator| hex_text(&validator.public_key)).collect(),
    }
}

fn summary(record: &Record) -> String {
    let texts = |endpoints: &mut dyn Iterator<Item = std::net::SocketAddr>| {
        or_none(&endpoints.map(|endpoint| endpoint.to_string()).collect::<Vec<_>>())
    };
    format!(
        "{}  seq {}  tcp {}  udp {}",
        record.peer_id(),
        record.seq(),
        texts(&mut record.tcp_endpoints()),
        texts(&mut record.udp_endpoints())
    )
}

fn lines(shown: &Shown, to: &mut dyn Write) -> io::Result<()> {
    let name = if shown.name.is_empty() { "(no name)" } else { &shown.name };
    writeln!(to, "{HEAD}{}{HEAD:#}: cluster {} {}", clean(name), shown.kind, shown.version)?;
    let mut line = |name: &str, value: &str| {
        if value.is_empty() { Ok(()) } else { writeln!(to, "  {name:<16}{}", clean(value)) }
    };
    line("uuid", &shown.uuid)?;
    line("made", &shown.timestamp)?;
    line("network", &format!("{} {}", shown.network.unwrap_or("unknown, fork version"), shown.fork_version))?;
    line("threshold", &format!("{} of {} operators", shown.threshold, shown.operators.len()))?;
    line("validators", &shown.num_validators.to_string())?;
    line("definition hash", &shown.definition_hash)?;
    line("lock hash", shown.lock_hash.as_deref().unwrap_or_default())?;
    writeln!(to, "{HEAD}operators{HEAD:#}")?;
    for operator in &shown.operators {
        writeln!(to, "  {:<3} {}", operator.position + 1, clean(&operator.summary))?;
        if !operator.address.is_empty() {
            writeln!(to, "      {}", clean(&operator.address))?;
        }
        writeln!(to, "      {}", clean(&operator.enr))?;
    }
    if !shown.validators.is_empty() {
        writeln!(to, "{HEAD}distributed validators{HEAD:#}")?;
    }
    for (index, key) in shown.validators.iter().enumerate() {
        writeln!(to, "  {index:<3} {key}")?;
    }
    let (style, verdict) = if shown.accepted { (GOOD, "accepted") } else { (BAD, "refused") };
    writeln!(to, "{style}{verdict}{style:#}: {} (`coracle lock verify` lists them)", shown.checks)
}

fn hex_text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
