//! Cluster files: `cluster-definition.json` (before key generation) and `cluster-lock.json` (after it), of every
//! version from v1.0.0 to v1.11.0.
//!
//! Pure functions over bytes. [`ClusterFile::parse`] reads a file, strictly: any bytes give a file or a
//! [`FileError`] that names the field. [`ClusterFile::verify`] recomputes the hashes and checks what hangs on them;
//! its [`Report`] lists every check as verified, failed or not checked, and every value that nothing covers.
//! [`ClusterFile::members`] gives the operators with their records. [`mod@write`] makes files.
//!
//! A file that parses is not a file that holds: the caller decides what a failed check means
//! ([`Report::refused`]), so that a person can look at a broken file.

mod coverage;
mod diff;

mod eip712;
mod error;
mod fields;
mod hash;
mod json;
pub mod limits;
mod model;
mod network;
mod read;
mod report;
pub mod roots;
mod signatures;
mod ssz;
mod validators;
mod verify;
mod version;
pub mod write;

use std::cell::RefCell;

use coracle_core::{crypto::RustCrypto, record::Record};

use fields::{Fields, Unknown};
use json::{Json, Path};

pub use coverage::Uncovered;
pub use diff::{Change, Difference, Subject, differences};
pub use error::{FileError, Problem};
pub use hash::{config_hash, definition_hash, lock_hash};
pub use model::{
    Creator, Definition, Deposit, DistributedValidator, Lock, Operator, Registration, ValidatorAddresses,
};
pub use network::Network;
pub use report::{Check, CheckKind, Outcome, Report};
pub use version::Version;

/// A cluster file that was read: a definition or a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFile {
    content: Content,
    unknown: Unknown,
}

/// What a cluster file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A cluster definition: enough to form a mesh, which is how a key generation starts.
    Definition(Definition),
    /// A cluster lock.
    Lock(Lock),
}

/// One operator as the network knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The position in the file, counted from 0.
    pub position: usize,
    /// The operator's Ethereum address as the file has it; empty when it names none.
    pub address: String,
    /// The ENR as the file has it.
    pub enr: String,
    /// The same, parsed and verified.
    pub record: Record,
}

impl ClusterFile {
    /// Reads a definition or a lock, whichever it is.
    ///
    /// # Errors
    /// Anything that is not a cluster file of a supported version, in the form that version has.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        let json = Json::parse(bytes)?;
        let unknown = RefCell::new(Unknown::default());
        let content = {
            let fields = Fields::new(&json, Path::ROOT, &unknown).map_err(|_| FileError::NotAClusterFile)?;
            let content = if fields.has("cluster_definition") {
                Content::Lock(read::lock(&fields)?)
            } else if fields.has("version") {
                Content::Definition(read::definition(&fields)?)
            } else {
                return Err(FileError::NotAClusterFile);
            };
            fields.finish();
            content
        };
        Ok(Self { content, unknown: unknown.into_inner() })
    }

    /// What it is.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The definition: the whole file, or the part of the lock.
    pub fn definition(&self) -> &Definition {
        match &self.content {
            Content::Definition(definition) => definition,
            Content::Lock(lock) => &lock.definition,
        }
    }

    /// The lock, if it is one.
    pub fn lock(&self) -> Option<&Lock> {
        match &self.content {
            Content::Definition(_) => None,
            Content::Lock(lock) => Some(lock),
        }
    }

    /// The schema version.
    pub fn version(&self) -> Version {
        self.definition().version
    }

    /// Checks everything this build can check. Costs the hashing of the whole file, up to four signature checks an
    /// operator, and with the feature `bls` one pairing for each deposit and registration, on all processors.
    pub fn verify(&self) -> Report {
        verify::verify(self)
    }

    /// The operators, in the order of the file.
    ///
    /// # Errors
    /// [`Problem::Enr`] names the first operator whose ENR is no valid record, and [`Problem::SameKey`] two
    /// operators with one key: neither can be part of a mesh.
    pub fn members(&self) -> Result<Vec<Member>, FileError> {
        let mut members: Vec<Member> = Vec::with_capacity(self.definition().operators.len());
        for (position, operator) in self.definition().operators.iter().enumerate() {
            let path = self.operator_path(position, "enr");
            let record = Record::from_text(&operator.enr, &RustCrypto).map_err(|error| {
                FileError::field(&path, Problem::Enr { position, why: error.to_string() })
            })?;
            let same = |member: &&Member| member.record.public_key() == record.public_key();
            if let Some(first) = members.iter().find(same) {
                return Err(FileError::field(
                    &path,
                    Problem::SameKey { first: first.position, second: position },
                ));
            }
            members.push(Member {
                position,
                address: operator.address.clone(),
                enr: operator.enr.clone(),
                record,
            });
        }
        Ok(members)
    }

    /// The path of a field of the definition.
    fn definition_path(&self, field: &str) -> String {
        if self.lock().is_some() { format!("cluster_definition.{field}") } else { field.to_owned() }
    }

    /// The path of a field of an operator.
    fn operator_path(&self, position: usize, field: &str) -> String {
        self.definition_path(&format!("operators[{position}].{field}"))
    }
}

impl From<Content> for ClusterFile {
    /// A file made by a program, with nothing unknown in it.
    fn from(content: Content) -> Self {
        Self { content, unknown: Unknown::default() }
    }
}
