//! `coracle lock show`: what a cluster file says, who its operators are and where they are now, and what of it is
//! verified, for a person or a program.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use coracle::{
    cluster_file::{ClusterFile, Definition, DistributedValidator, Network, Outcome, Report, Version},
    data_dir::DataDir,
    database::{Database, DatabaseError, Peers},
    files,
};
use coracle_core::{crypto::RustCrypto, record::Record};
use serde::Serialize;

use super::{
    error::CliError,
    lock_verify::{kind, tally},
    output::{BAD, GOOD, HEAD, NOTE, Output, clean, table},
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
    #[serde(skip_serializing_if = "String::is_empty")]
    creator: String,
    threshold: u64,
    num_validators: u64,
    definition_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_hash: Option<String>,
    accepted: bool,
    checks: String,
    checked: Vec<Checked>,
    operators: Vec<Operator>,
    validators: Vec<Validator>,
    /// Why the node database says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// How the checks of one kind ended.
#[derive(Serialize)]
struct Checked {
    what: &'static str,
    verified: usize,
    failed: usize,
    not_checked: usize,
    /// Why not, each reason once.
    reasons: Vec<String>,
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
    /// What the node database knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<Known>,
}

#[derive(Serialize)]
struct Known {
    /// The newest record.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordView>,
    /// Where it was last authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<String>,
}

#[derive(Serialize)]
struct Validator {
    public_key: String,
    shares: usize,
    fee_recipient: String,
    withdrawal: String,
    /// In Gwei.
    deposits: Vec<u64>,
    registered: bool,
}

pub(super) fn run(path: &Path, data_dir: &DataDir, out: &mut Output) -> Result<ExitCode, CliError> {
    let file = files::read_cluster_file(path)?;
    // What cannot be read is no reason not to show the file.
    let (peers, note) = match known_peers(&data_dir.database()) {
        Ok(peers) => (peers, None),
        Err(error) => (Peers::new(), Some(format!("where the operators are now is not shown: {error}"))),
    };
    let shown = shown(path, &file, &peers, note);
    out.print(&shown, |to| lines(&shown, to))?;
    Ok(ExitCode::SUCCESS)
}

/// Nobody, where no node ever ran.
fn known_peers(path: &Path) -> Result<Peers, DatabaseError> {
    if path.exists() { Database::open(path)?.peers() } else { Ok(Peers::new()) }
}

fn shown(path: &Path, file: &ClusterFile, peers: &Peers, note: Option<String>) -> Shown {
    let definition = file.definition();
    let report = file.verify();
    let operators = definition.operators.iter().enumerate();
    let validators = file.lock().map_or(&[][..], |lock| &lock.validators).iter().enumerate();
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
        creator: definition.creator.address.clone(),
        threshold: definition.threshold,
        num_validators: definition.num_validators,
        definition_hash: hex_text(&definition.definition_hash),
        lock_hash: file.lock().map(|lock| hex_text(&lock.lock_hash)),
        accepted: !report.refused(),
        checks: tally(&report),
        checked: checked(&report),
        operators: operators.map(|(position, operator)| shown_operator(position, operator, peers)).collect(),
        validators: validators
            .map(|(index, validator)| shown_validator(definition, index, validator))
            .collect(),
        note,
    }
}

fn shown_operator(position: usize, operator: &coracle::cluster_file::Operator, peers: &Peers) -> Operator {
    let record = Record::from_text(&operator.enr, &RustCrypto);
    let peer = record.as_ref().ok().and_then(|record| peers.get(&record.public_key().compressed()));
    Operator {
        position,
        address: operator.address.clone(),
        enr: operator.enr.clone(),
        record: record.as_ref().ok().map(RecordView::new),
        problem: record.as_ref().err().map(ToString::to_string),
        known: peer.map(|peer| Known {
            record: peer.record.as_ref().map(RecordView::new),
            reached: peer.endpoints.tcp.map(|endpoint| endpoint.to_string()),
        }),
    }
}

fn shown_validator(definition: &Definition, index: usize, validator: &DistributedValidator) -> Validator {
    let addresses = definition.validator_addresses.get(index).unwrap_or(&definition.common_addresses);
    let signed = validator.deposits.iter().filter(|deposit| !deposit.signature.is_empty());
    Validator {
        public_key: hex_text(&validator.public_key),
        shares: validator.public_shares.len(),
        fee_recipient: addresses.fee_recipient.clone(),
        withdrawal: addresses.withdrawal.clone(),
        deposits: signed.map(|deposit| deposit.amount).collect(),
        registered: !validator.registration.signature.is_empty(),
    }
}

fn checked(report: &Report) -> Vec<Checked> {
    let mut out: Vec<Checked> = Vec::new();
    for check in &report.checks {
        let what = check.check.title();
        let at = out.iter().position(|checked| checked.what == what).unwrap_or_else(|| {
            out.push(Checked { what, verified: 0, failed: 0, not_checked: 0, reasons: Vec::new() });
            out.len() - 1
        });
        let Some(entry) = out.get_mut(at) else { continue };
        match &check.outcome {
            Outcome::Verified => entry.verified += 1,
            Outcome::Failed { .. } => entry.failed += 1,
            Outcome::NotChecked { because } => {
                entry.not_checked += 1;
                if !entry.reasons.contains(because) {
                    entry.reasons.push(because.clone());
                }
            }
        }
    }
    out
}

fn lines(shown: &Shown, to: &mut dyn Write) -> io::Result<()> {
    let name = if shown.name.is_empty() { "(no name)" } else { &shown.name };
    writeln!(to, "{HEAD}{}{HEAD:#}: cluster {} {}", clean(name), shown.kind, shown.version)?;
    let mut line = |name: &str, value: &str| {
        if value.is_empty() { Ok(()) } else { writeln!(to, "  {name:<16}{}", clean(value)) }
    };
    line("uuid", &shown.uuid)?;
    line("made", &shown.timestamp)?;
    line("by", &shown.creator)?;
    line("network", &format!("{} {}", shown.network.unwrap_or("unknown, fork version"), shown.fork_version))?;
    line("threshold", &format!("{} of {} operators", shown.threshold, shown.operators.len()))?;
    line("validators", &shown.num_validators.to_string())?;
    line("definition hash", &shown.definition_hash)?;
    line("lock hash", shown.lock_hash.as_deref().unwrap_or_default())?;
    operator_lines(shown, to)?;
    validator_lines(shown, to)?;
    check_lines(shown, to)?;
    let (style, verdict) = if shown.accepted { (GOOD, "accepted") } else { (BAD, "refused") };
    writeln!(to, "{style}{verdict}{style:#}: {} (`coracle lock verify` lists them)", shown.checks)
}

fn operator_lines(shown: &Shown, to: &mut dyn Write) -> io::Result<()> {
    let endpoints = |record: &RecordView| {
        format!("tcp {} udp {} seq {}", or_none(&record.tcp), or_none(&record.udp), record.seq)
    };
    let row = |operator: &Operator| {
        let now = operator.known.as_ref().map_or_else(String::new, |known| {
            let reached = known.reached.as_ref().map(|endpoint| format!("reached at {endpoint}"));
            let record = known.record.as_ref().map(endpoints);
            [reached, record].into_iter().flatten().collect::<Vec<_>>().join("; ")
        });
        [
            (operator.position + 1).to_string(),
            operator
                .record
                .as_ref()
                .map_or_else(|| "no valid ENR".to_owned(), |record| record.peer_id.clone()),
            operator.address.clone(),
            operator.record.as_ref().map_or_else(|| operator.problem.clone().unwrap_or_default(), endpoints),
            now,
        ]
    };
    writeln!(to, "{HEAD}operators{HEAD:#}")?;
    let rows: Vec<_> = shown.operators.iter().map(row).collect();
    table(to, ["#", "peer id", "account", "in the file", "now known"], &rows)?;
    for operator in &shown.operators {
        writeln!(to, "  {:<2} {}", operator.position + 1, clean(&operator.enr))?;
    }
    match &shown.note {
        Some(note) => writeln!(to, "{NOTE}note{NOTE:#}: {}", clean(note)),
        None => Ok(()),
    }
}

fn validator_lines(shown: &Shown, to: &mut dyn Write) -> io::Result<()> {
    if shown.validators.is_empty() {
        return Ok(());
    }
    let eth = |gwei: &u64| format!("{} ETH", *gwei as f64 / 1e9);
    let row = |(index, validator): (usize, &Validator)| {
        [
            index.to_string(),
            validator.public_key.clone(),
            validator.withdrawal.clone(),
            validator.fee_recipient.clone(),
            or_none(&validator.deposits.iter().map(eth).collect::<Vec<_>>()),
            if validator.registered { "yes" } else { "no" }.to_owned(),
        ]
    };
    writeln!(to, "{HEAD}distributed validators{HEAD:#}")?;
    let rows: Vec<_> = shown.validators.iter().enumerate().map(row).collect();
    table(
        to,
        ["#", "public key", "withdrawal address", "fee recipient", "signed deposits", "registered"],
        &rows,
    )
}

fn check_lines(shown: &Shown, to: &mut dyn Write) -> io::Result<()> {
    let count = |count: usize| if count == 0 { String::new() } else { count.to_string() };
    let row = |entry: &Checked| {
        let counts = [entry.verified, entry.failed, entry.not_checked].map(count);
        let [verified, failed, not_checked] = counts;
        [entry.what.to_owned(), verified, failed, not_checked, entry.reasons.join("; ")]
    };
    writeln!(to, "{HEAD}checks{HEAD:#}")?;
    let rows: Vec<_> = shown.checked.iter().map(row).collect();
    table(to, ["what", "verified", "failed", "not checked", "because"], &rows)
}

fn hex_text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
