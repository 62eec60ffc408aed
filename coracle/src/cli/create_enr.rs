//! `coracle create enr`: a new key, and its first record.

use std::process::ExitCode;

use coracle::{data_dir::DataDir, key_file};
use serde::Serialize;

use super::{enr::first_record, error::CliError, output::Output, record_view::RecordView};

#[derive(Serialize)]
struct Created {
    event: &'static str,
    key_file: String,
    #[serde(flatten)]
    record: RecordView,
}

pub(super) fn run(data_dir: &DataDir, out: &mut Output) -> Result<ExitCode, CliError> {
    let path = data_dir.key_file();
    let secret = key_file::create(&path)?;
    let record = RecordView::new(&first_record(secret)?);
    let created = Created { event: "created_enr", key_file: path.display().to_string(), record };
    out.print(&created, |to| {
        writeln!(to, "Made the key {}", created.key_file)?;
        writeln!(
            to,
            "Keep a copy of it in a safe place: without it this node is a stranger to its cluster."
        )?;
        writeln!(to, "{}", created.record.enr())
    })?;
    Ok(ExitCode::SUCCESS)
}
