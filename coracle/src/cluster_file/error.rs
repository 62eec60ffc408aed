//! Why a cluster file could not be read.

use super::{limits, version::Version};

/// Why a cluster file could not be read. Each names the field where there is one.
///
/// A file that reads but does not hold together is not an error: its [`Report`](super::Report) says what failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// More bytes than [`limits::MAX_FILE_BYTES`].
    #[error("the file has {bytes} bytes; at most {} are read", limits::MAX_FILE_BYTES)]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
    },
    /// More JSON values than [`limits::MAX_VALUES`].
    #[error("the file holds more than {} JSON values", limits::MAX_VALUES)]
    TooManyValues,
    /// Not JSON, or nested too deeply.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// An object has one key twice. Readers disagree on which one counts, so neither does.
    #[error("{at}: the key `{key}` appears twice", at = place(.path))]
    DuplicateKey {
        /// The path of the object.
        path: String,
        /// The key.
        key: String,
    },
    /// JSON, but neither a definition nor a lock.
    #[error(
        "neither a cluster definition (it has no `version`) nor a cluster lock (it has no `cluster_definition`)"
    )]
    NotAClusterFile,
    /// A version outside v1.0.0 to v1.11.0.
    #[error("{path}: version `{found}` is not supported; supported are {}", supported())]
    UnsupportedVersion {
        /// The path of the version.
        path: String,
        /// What the file says.
        found: String,
    },
    /// A field is missing, or does not hold what it must.
    #[error("{path}: {problem}")]
    Field {
        /// The path of the field, such as `cluster_definition.operators[2].enr`.
        path: String,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is required and not there.
    #[error("missing")]
    Missing,
    /// It is of another JSON type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A number is outside its range.
    #[error("{found} is out of range: {expected}")]
    OutOfRange {
        /// The range.
        expected: &'static str,
        /// The number.
        found: String,
    },
    /// Text that is not of the required form.
    #[error("not {expected}: {why}")]
    NotEncoded {
        /// The form, such as `hexadecimal`.
        expected: &'static str,
        /// The decoder's word.
        why: String,
    },
    /// A byte string of the wrong length.
    #[error("expected {expected}, found {found} bytes")]
    WrongLength {
        /// The lengths that are allowed.
        expected: String,
        /// The length found, in bytes.
        found: usize,
    },
    /// More bytes or entries than the version allows.
    #[error("{found} {what}, and at most {limit} are allowed")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// A list that must not be empty is.
    #[error("empty, and a cluster has at least one operator")]
    NoOperators,
    /// A NUL character in text: v1.0 to v1.2 hash such text like the text without it.
    #[error("holds a NUL character, which the hashes of old versions cannot see")]
    Nul,
    /// A field that must hold its only value holds another.
    #[error("must be {expected}")]
    Fixed {
        /// The only value.
        expected: &'static str,
    },
    /// An operator's ENR that is no valid record.
    #[error("operator {position} of the list has an ENR that is not valid: {why}")]
    Enr {
        /// The operator's position, counted from 0.
        position: usize,
        /// The decoder's word.
        why: String,
    },
    /// Two operators with one key.
    #[error("operators {first} and {second} (counted from 0) have the same key")]
    SameKey {
        /// The first operator's position, counted from 0.
        first: usize,
        /// The second operator's position, counted from 0.
        second: usize,
    },
}

impl FileError {
    pub(super) fn field(path: impl std::fmt::Display, problem: Problem) -> Self {
        Self::Field { path: path.to_string(), problem }
    }

    /// What somebody with this file can do about it, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::TooManyValues => {
                "this is larger than any cluster; check that it is the cluster file"
            }
            Self::Json(_) => {
                "give the cluster-lock.json or cluster-definition.json that the ceremony made, unchanged; the copy may be cut short"
            }
            Self::DuplicateKey { .. } => {
                "no tool writes a key twice: get the file again from the cluster's creator"
            }
            Self::NotAClusterFile => "give a cluster-lock.json or a cluster-definition.json",
            Self::UnsupportedVersion { .. } => "use a newer Coracle, or a file of a supported version",
            Self::Field { problem: Problem::Enr { .. } | Problem::SameKey { .. }, .. } => {
                "every operator needs an own ENR (`coracle create enr` makes one): ask the cluster's creator for a corrected file"
            }
            Self::Field { .. } => {
                "get the file again from the cluster's creator: this one is damaged or was edited"
            }
        }
    }
}

fn supported() -> String {
    Version::all().map(Version::as_str).collect::<Vec<_>>().join(", ")
}

fn place(path: &str) -> &str {
    if path.is_empty() { "the outermost object" } else { path }
}
