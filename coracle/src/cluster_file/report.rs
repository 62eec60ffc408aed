//! What came of checking a file.

use super::coverage::Uncovered;

/// What was checked on a file, and what nothing covers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The checks, hashes first.
    pub checks: Vec<Check>,
    /// The values that no hash and no checked signature covers.
    pub uncovered: Vec<Uncovered>,
}

/// One check of one field.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What was checked.
    pub check: CheckKind,
    /// The path of the field, such as `cluster_definition.operators[2].enr`.
    pub field: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckKind {
    /// The hash of the configuration.
    ConfigHash,
    /// The hash of the definition.
    DefinitionHash,
    /// The hash of the lock.
    LockHash,
    /// The threshold is between 1 and the number of operators.
    Threshold,
    /// Lists are as long as the file says elsewhere.
    Counts,
    /// An operator's ENR parses, and its signature holds.
    OperatorRecord,
    /// No two operators have one key.
    DistinctKeys,
    /// A node's signature over the lock hash.
    NodeSignature,
    /// An operator's EIP-712 signature.
    OperatorSignature,
    /// The creator's EIP-712 signature.
    CreatorSignature,
    /// The public shares make up the validators' keys.
    KeyShares,
    /// The BLS signature of all shares over the lock hash.
    AggregateSignature,
    /// The validators' signed registrations with builders.
    Registrations,
    /// The validators' signed deposits.
    Deposits,
}

impl CheckKind {
    /// A few words for a person.
    pub fn title(self) -> &'static str {
        match self {
            Self::ConfigHash => "configuration hash",
            Self::DefinitionHash => "definition hash",
            Self::LockHash => "lock hash",
            Self::Threshold => "threshold",
            Self::Counts => "list length",
            Self::OperatorRecord => "ENR",
            Self::DistinctKeys => "distinct keys",
            Self::NodeSignature => "node signature",
            Self::OperatorSignature => "operator signature",
            Self::CreatorSignature => "creator signature",
            Self::KeyShares => "key shares",
            Self::AggregateSignature => "aggregate signature",
            Self::Registrations => "builder registrations",
            Self::Deposits => "deposits",
        }
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Verified,
    /// It does not hold: the file is refused.
    Failed {
        /// What would hold; for a hash, the one computed from the file's content.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// It was not tried.
    NotChecked {
        /// The reason.
        because: String,
    },
}

impl Report {
    /// Whether the file is to be refused: any check failed.
    pub fn refused(&self) -> bool {
        self.failed().next().is_some()
    }

    /// Whether a signature that was checked stands behind the whole file: in a lock the nodes' or the key shares'
    /// over its hash, in a definition the operators' or the creator's. Without one the hashes show that the file
    /// is undamaged, and not who made it: whoever changes a value can compute them anew.
    pub fn is_signed(&self) -> bool {
        let is_lock = self.checks.iter().any(|check| check.check == CheckKind::LockHash);
        let signed = |check: &Check| {
            let by_whom = match check.check {
                CheckKind::NodeSignature | CheckKind::AggregateSignature => is_lock,
                CheckKind::OperatorSignature | CheckKind::CreatorSignature => !is_lock,
                _ => false,
            };
            by_whom && check.outcome == Outcome::Verified
        };
        self.checks.iter().any(signed)
    }

    /// Whether every check of this kind holds, and there is one.
    pub(super) fn verified(&self, kind: CheckKind) -> bool {
        let mut of_kind = self.checks.iter().filter(|check| check.check == kind).peekable();
        of_kind.peek().is_some() && of_kind.all(|check| check.outcome == Outcome::Verified)
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed { .. }))
    }
}

impl Outcome {
    pub(super) fn failed(expected: impl ToString, found: impl ToString) -> Self {
        Self::Failed { expected: expected.to_string(), found: found.to_string() }
    }

    pub(super) fn not_checked(because: impl ToString) -> Self {
        Self::NotChecked { because: because.to_string() }
    }
}
