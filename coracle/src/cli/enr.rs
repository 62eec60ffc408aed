//! `coracle enr`: this node's record, the newest that is known.
//!
//! That is the one in the database, if a node ever ran here, unless the one in the cluster file has a higher number
//! (the database may be an old backup); else the one in the cluster file; else the first one, made from the key
//! alone (it is the same each time, and the same that Charon makes).

use std::{io::Write, process::ExitCode};

use clap::Args;
use coracle::{
    data_dir::DataDir,
    database::{self, DatabaseError},
    files, key_file,
};
use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    record::{Builder, Record},
};
use serde::Serialize;

use super::{
    error::CliError,
    output::{HEAD, NOTE, Output, clean},
    record_view::RecordView,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Also show the sequence number, the keys, the addresses, the node id and the peer id
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Serialize)]
struct Shown {
    event: &'static str,
    source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(flatten)]
    record: RecordView,
}

/// Where a record was found.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Database,
    ClusterFile,
    Key,
}

pub(super) fn run(data_dir: &DataDir, arguments: &Arguments, out: &mut Output) -> Result<ExitCode, CliError> {
    let identity = Identity::new(RustCrypto, key_file::load(&data_dir.key_file())?);
    let (stored, note) = match database::read_own_record(&data_dir.database(), identity.public_key()) {
        Ok(record) => (record, None),
        Err(DatabaseError::Missing(_)) => (None, None),
        // A running node is the only one who knows; what is shown then may be older, and is said to be.
        Err(error @ DatabaseError::InUse(_)) => {
            (None, Some(format!("{error}: the node that runs there may have a newer record")))
        }
        Err(error) => return Err(error.into()),
    };
    let (record, source) = match (stored, in_cluster_file(data_dir, &identity)) {
        // As a node that starts here would choose.
        (Some(stored), Some(record)) if record.seq() > stored.seq() => (record, Source::ClusterFile),
        (Some(record), _) => (record, Source::Database),
        (None, Some(record)) => (record, Source::ClusterFile),
        (None, None) => (first(&identity)?, Source::Key),
    };
    let shown = Shown { event: "enr", source, note, record: RecordView::new(&record) };
    out.print(&shown, |to| {
        if !arguments.verbose {
            writeln!(to, "{}", shown.record.enr())?;
        } else {
            shown.record.lines(to)?;
            writeln!(to, "{HEAD}{:<12}{HEAD:#}{}", "source", source.text())?;
        }
        match &shown.note {
            // A line of its own on the other stream, so that a script gets the record only.
            Some(note) => writeln!(anstream::stderr(), "{NOTE}note{NOTE:#}: {}", clean(note)),
            None => Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The record of a key that has no address and no history.
pub(super) fn first_record(secret: SecretKey) -> Result<Record, CliError> {
    first(&Identity::new(RustCrypto, secret))
}

fn first(identity: &Identity<RustCrypto>) -> Result<Record, CliError> {
    Builder::new().sign(0, identity).map_err(|error| {
        CliError::failed(format!("the record cannot be made: {error}"), "report this as a bug")
    })
}

/// Our own record in the cluster file beside the key. A file that cannot be read is no reason not to show one.
fn in_cluster_file(data_dir: &DataDir, identity: &Identity<RustCrypto>) -> Option<Record> {
    let file = files::read_cluster_file(&data_dir.cluster_file()?).ok()?;
    let operators = &file.definition().operators;
    let records = operators.iter().filter_map(|operator| Record::from_text(&operator.enr, &RustCrypto).ok());
    records.into_iter().find(|record| record.public_key() == identity.public_key())
}

impl Source {
    fn text(self) -> &'static str {
        match self {
            Self::Database => "the node database",
            Self::ClusterFile => "the cluster file",
            Self::Key => "the key alone",
        }
    }
}
