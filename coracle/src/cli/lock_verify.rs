//! `coracle lock verify`: every check with its outcome, and what nothing covers.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use coracle::{
    cluster_file::{Check, Outcome, Report, Version},
    files,
};
use serde::Serialize;

use super::{
    error::CliError,
    output::{BAD, GOOD, HEAD, NOTE, Output, clean},
};

/// What to know of a file that is not signed.
pub(super) const NOT_SIGNED: &str = "no signature that was verified stands behind these hashes: they show that the \
                                     file is undamaged, not who made it";

#[derive(Serialize)]
struct Verified<'r> {
    event: &'static str,
    file: String,
    kind: &'static str,
    version: Version,
    accepted: bool,
    /// Whether a checked signature stands behind the hashes.
    signed: bool,
    #[serde(flatten)]
    report: &'r Report,
}

pub(super) fn run(path: &Path, out: &mut Output) -> Result<ExitCode, CliError> {
    let file = files::read_cluster_file(path)?;
    let report = file.verify();
    let verified = Verified {
        event: "lock_verify",
        file: path.display().to_string(),
        kind: kind(file.lock().is_some()),
        version: file.version(),
        accepted: !report.refused(),
        signed: report.is_signed(),
        report: &report,
    };
    out.print(&verified, |to| lines(&verified, to))?;
    Ok(if report.refused() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a cluster file is called.
pub(super) fn kind(is_lock: bool) -> &'static str {
    if is_lock { "lock" } else { "definition" }
}

/// How many checks ended in each way.
pub(super) fn tally(report: &Report) -> String {
    let count =
        |which: fn(&Outcome) -> bool| report.checks.iter().filter(|check| which(&check.outcome)).count();
    format!(
        "{} verified, {} failed, {} not checked",
        count(|outcome| matches!(outcome, Outcome::Verified)),
        count(|outcome| matches!(outcome, Outcome::Failed { .. })),
        count(|outcome| matches!(outcome, Outcome::NotChecked { .. })),
    )
}

fn lines(verified: &Verified<'_>, to: &mut dyn Write) -> io::Result<()> {
    let report = verified.report;
    writeln!(to, "{HEAD}{}{HEAD:#}: cluster {} {}", clean(&verified.file), verified.kind, verified.version)?;
    for check in &report.checks {
        check_lines(check, to)?;
    }
    if !report.uncovered.is_empty() {
        writeln!(to, "{HEAD}covered by no hash and no checked signature{HEAD:#}")?;
    }
    for entry in &report.uncovered {
        writeln!(to, "  {NOTE}not covered{NOTE:#}  {}: {}", clean(&entry.field), clean(&entry.because))?;
    }
    if !verified.signed {
        writeln!(to, "{NOTE}note{NOTE:#}: {NOT_SIGNED}")?;
    }
    if verified.accepted {
        writeln!(to, "{GOOD}accepted{GOOD:#}: {}", tally(report))
    } else {
        writeln!(to, "{BAD}refused{BAD:#}: {}", tally(report))
    }
}

fn check_lines(check: &Check, to: &mut dyn Write) -> io::Result<()> {
    let field = format!("{:<22} {}", check.check.title(), clean(&check.field));
    match &check.outcome {
        Outcome::Verified => writeln!(to, "  {GOOD}verified{GOOD:#}     {field}"),
        Outcome::NotChecked { because } => {
            writeln!(to, "  {NOTE}not checked{NOTE:#}  {field}: {}", clean(because))
        }
        Outcome::Failed { expected, found } => {
            writeln!(to, "  {BAD}failed{BAD:#}       {field}")?;
            writeln!(to, "                 expected {}", clean(expected))?;
            writeln!(to, "                 found    {}", clean(found))
        }
    }
}
