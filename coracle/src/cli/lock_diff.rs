//! `coracle lock diff`: what differs between two cluster files.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use coracle::{
    cluster_file::{Change, Difference, Subject, differences},
    files,
};
use serde::Serialize;

use super::{
    error::CliError,
    output::{BAD, GOOD, HEAD, NOTE, Output, clean},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The first cluster file, commonly the older one
    before: PathBuf,
    /// The second cluster file
    after: PathBuf,
}

#[derive(Serialize)]
struct Compared {
    event: &'static str,
    before: String,
    after: String,
    same: bool,
    differences: Vec<Difference>,
}

/// Exit code 0 means that both say the same.
pub(super) fn run(arguments: &Arguments, out: &mut Output) -> Result<ExitCode, CliError> {
    let before = files::read_cluster_file(&arguments.before)?;
    let after = files::read_cluster_file(&arguments.after)?;
    let differences = differences(&before, &after);
    let name = |path: &Path| path.display().to_string();
    let compared = Compared {
        event: "lock_diff",
        before: name(&arguments.before),
        after: name(&arguments.after),
        same: differences.is_empty(),
        differences,
    };
    out.print(&compared, |to| lines(&compared, to))?;
    Ok(if compared.same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lines(compared: &Compared, to: &mut dyn Write) -> io::Result<()> {
    if compared.same {
        return writeln!(to, "{GOOD}the same{GOOD:#}: both files say the same");
    }
    for (subject, title) in [
        (Subject::Operator, "operators"),
        (Subject::Validator, "validators"),
        (Subject::Field, "other fields"),
    ] {
        let mut of_subject = compared.differences.iter().filter(|each| each.subject == subject).peekable();
        if of_subject.peek().is_some() {
            writeln!(to, "{HEAD}{title}{HEAD:#}")?;
        }
        of_subject.try_for_each(|each| difference(each, to))?;
    }
    let count = |change| compared.differences.iter().filter(|each| each.change == change).count();
    writeln!(
        to,
        "{NOTE}different{NOTE:#}: {} added, {} removed, {} changed",
        count(Change::Added),
        count(Change::Removed),
        count(Change::Changed)
    )
}

fn difference(each: &Difference, to: &mut dyn Write) -> io::Result<()> {
    let name = clean(&each.name);
    let part = each.part.as_deref().map(|part| format!(": {part}")).unwrap_or_default();
    match each.change {
        Change::Added => write!(to, "  {GOOD}added{GOOD:#}    {name}")?,
        Change::Removed => write!(to, "  {BAD}removed{BAD:#}  {name}")?,
        Change::Changed => write!(to, "  {NOTE}changed{NOTE:#}  {name}{part}")?,
    }
    writeln!(to)?;
    for (word, value) in [("from", &each.before), ("to", &each.after)] {
        if let Some(value) = value {
            writeln!(to, "           {word:<5}{}", shown(value))?;
        }
    }
    Ok(())
}

/// Long values are cut: `--json` has all of them.
fn shown(value: &str) -> String {
    const LONGEST: usize = 240;
    let mut out: String = value.chars().take(LONGEST).collect();
    if out.len() < value.len() {
        out.push('…');
    }
    if out.is_empty() { "(empty)".to_owned() } else { clean(&out).into_owned() }
}
