//! The cluster file that a running node goes by: read at the start, again when the operator says so, and
//! looked for while there is only a definition.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use coracle::{
    cluster_file::{ClusterFile, Outcome, Report},
    data_dir::DataDir,
    files,
};

use super::{error::CliError, lock_verify};

/// Which file is in use, and which may follow it.
#[derive(Debug)]
pub(super) struct Membership {
    path: PathBuf,
    /// Where the lock is to appear, when the file in use is a definition.
    awaited: PathBuf,
    no_verify: bool,
    is_lock: bool,
    definition_hash: [u8; 32],
    refused: Option<Refused>,
}

/// A file that came to be where the lock is awaited, and is not taken.
#[derive(Debug)]
struct Refused {
    length: u64,
    modified: Option<SystemTime>,
    told: bool,
}

/// A cluster file that was read and checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) path: PathBuf,
    pub(super) file: ClusterFile,
    /// What was not believed, or not checked.
    pub(super) notes: Vec<String>,
}

impl Membership {
    /// Reads the file that is named, or the one in the data directory.
    pub(super) fn open(
        data_dir: &DataDir,
        named: Option<&Path>,
        no_verify: bool,
    ) -> Result<(Self, Checked), CliError> {
        let path = named.map(Path::to_owned).or_else(|| data_dir.cluster_file()).ok_or_else(|| {
            CliError::failed(
                format!("no cluster-lock.json or cluster-definition.json in {}", data_dir.path().display()),
                "name the file with --cluster-file, or its directory with --data-dir",
            )
        })?;
        let checked = read(&path, no_verify)?;
        // Beside a definition that was named, else in the data directory.
        let awaited = path.with_file_name("cluster-lock.json");
        let mut membership =
            Self { path, awaited, no_verify, is_lock: false, definition_hash: [0; 32], refused: None };
        membership.goes_by(&checked);
        Ok((membership, checked))
    }

    /// Of a definition in this directory, unread.
    #[cfg(test)]
    pub(super) fn of(directory: &Path) -> Self {
        let [path, awaited] =
            ["cluster-definition.json", "cluster-lock.json"].map(|name| directory.join(name));
        Self { path, awaited, no_verify: false, is_lock: false, definition_hash: [0; 32], refused: None }
    }

    /// Whether a lock may follow the definition in use.
    pub(super) const fn awaits_lock(&self) -> bool {
        !self.is_lock
    }

    /// The file in use as it is now, or the lock that has come to follow the definition. Nothing is
    /// changed by an error, or before [`Membership::goes_by`] is told.
    pub(super) fn read_again(&self) -> Result<Checked, CliError> {
        if self.awaits_lock() && self.awaited.exists() {
            self.read_lock()
        } else {
            read(&self.path, self.no_verify)
        }
    }

    /// Looks for the lock that is to follow the definition. An error is told once for each file that
    /// comes there, and not before it has stayed the same for two looks: it may be half written.
    pub(super) fn look_for_lock(&mut self) -> Option<Result<Checked, CliError>> {
        let found = fs::metadata(&self.awaited).ok().filter(|_| self.awaits_lock());
        let Some(found) = found else {
            self.refused = None;
            return None;
        };
        let (length, modified) = (found.len(), found.modified().ok());
        let before = self.refused.take().filter(|r| (r.length, r.modified) == (length, modified));
        if before.as_ref().is_some_and(|refused| refused.told) {
            self.refused = before;
            return None;
        }
        match self.read_lock() {
            Ok(checked) => Some(Ok(checked)),
            Err(error) => {
                let told = before.is_some();
                self.refused = Some(Refused { length, modified, told });
                told.then_some(Err(error))
            }
        }
    }

    /// The node goes by this file from now on.
    pub(super) fn goes_by(&mut self, checked: &Checked) {
        self.path.clone_from(&checked.path);
        self.is_lock = checked.file.lock().is_some();
        self.definition_hash = checked.file.definition().definition_hash;
        self.refused = None;
    }

    /// The lock that has come: it must be of the definition in use.
    fn read_lock(&self) -> Result<Checked, CliError> {
        let checked = read(&self.awaited, self.no_verify)?;
        let path = self.awaited.display();
        if checked.file.lock().is_none() {
            return Err(CliError::failed(
                format!("{path} is no lock, but a definition"),
                "put the lock there that the key generation made",
            ));
        }
        let found = checked.file.definition().definition_hash;
        if found != self.definition_hash {
            return Err(CliError::failed(
                format!(
                    "{path} is of another definition: its definition_hash is 0x{}, the one in use has 0x{}",
                    hex::encode(found),
                    hex::encode(self.definition_hash)
                ),
                "get the lock of this cluster, or start the node again to use the other",
            ));
        }
        Ok(checked)
    }
}

fn read(path: &Path, no_verify: bool) -> Result<Checked, CliError> {
    let file = files::read_cluster_file(path)?;
    let notes = verified(&file, path, no_verify)?;
    Ok(Checked { path: path.to_owned(), file, notes })
}

/// Refuses a file of which a check fails; returns notes on what was not believed, or not checked.
fn verified(file: &ClusterFile, path: &Path, no_verify: bool) -> Result<Vec<String>, CliError> {
    let report = file.verify();
    let failed: Vec<String> = report
        .failed()
        .map(|check| match &check.outcome {
            Outcome::Failed { expected, found } => {
                format!("{}: expected {expected}, found {found}", check.field)
            }
            _ => check.field.clone(),
        })
        .collect();
    if !failed.is_empty() && !no_verify {
        return Err(CliError::failed(
            format!("{} is refused: {}", path.display(), failed.join("; ")),
            "get the file again from the cluster's creator; `coracle lock verify` lists every check",
        ));
    }
    let mut notes: Vec<String> =
        failed.into_iter().map(|check| format!("used all the same (--no-verify): {check}")).collect();
    notes.extend(not_checked(&report));
    if !report.is_signed() {
        notes.push(lock_verify::NOT_SIGNED.to_owned());
    }
    Ok(notes)
}

/// How many checks were not made, and why, each reason once. `lock verify` has the list.
fn not_checked(report: &Report) -> Option<String> {
    let mut count = 0;
    let mut reasons: Vec<&str> = Vec::new();
    for check in &report.checks {
        if let Outcome::NotChecked { because } = &check.outcome {
            count += 1;
            if !reasons.contains(&because.as_str()) {
                reasons.push(because);
            }
        }
    }
    (count > 0).then(|| {
        let checks = if count == 1 { "check was" } else { "checks were" };
        format!("{count} {checks} not made on the cluster file: {}", reasons.join("; "))
    })
}
