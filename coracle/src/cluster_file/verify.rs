//! The checks on a file that was read, in the order in which they are reported.
//!
//! Every check ends as verified, failed (with what was expected and what was found), or not checked, with the
//! reason. Only a failed one refuses the file.

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_core::{crypto::RustCrypto, record::Record};

use super::{
    ClusterFile,
    coverage::{self, Uncovered},
    hash,
    limits::{BLS_SIGNATURE, K1_SIGNATURE},
    model::{Lock, Operator},
    signatures,
    ssz::Root,
    version::ByteText,
};

/// Why BLS parts are not checked.
pub(super) const BLS_NOT_BUILT: &str = "this build does not check BLS signatures and keys yet";

/// Why EIP-712 signatures are not checked.
const EIP712_NOT_BUILT: &str = "this build does not check EIP-712 signatures yet";

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

    /// Whether a signature that this build checks stands behind the hashes. Without one they show that the file
    /// is undamaged, and not who made it: whoever changes a value can compute them anew.
    pub fn is_signed(&self) -> bool {
        let signed =
            |check: &Check| check.check == CheckKind::NodeSignature && check.outcome == Outcome::Verified;
        self.checks.iter().any(signed)
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed { .. }))
    }
}

pub(super) fn verify(file: &ClusterFile) -> Report {
    let mut checks = Checks { file, out: Vec::new() };
    checks.hashes();
    checks.threshold();
    checks.counts();
    checks.records();
    checks.node_signatures();
    checks.operator_signatures();
    checks.creator_signature();
    checks.bls();
    Report { checks: checks.out, uncovered: coverage::uncovered(file) }
}

struct Checks<'f> {
    file: &'f ClusterFile,
    out: Vec<Check>,
}

impl Checks<'_> {
    fn push(&mut self, check: CheckKind, field: String, outcome: Outcome) {
        self.out.push(Check { check, field, outcome });
    }

    fn hashes(&mut self) {
        let definition = self.file.definition();
        let hashes = [
            (CheckKind::ConfigHash, "config_hash", hash::config_hash(definition), definition.config_hash),
            (
                CheckKind::DefinitionHash,
                "definition_hash",
                hash::definition_hash(definition),
                definition.definition_hash,
            ),
        ];
        for (kind, field, computed, stated) in hashes {
            let outcome = self.compare_hash(computed, stated);
            self.push(kind, self.file.definition_path(field), outcome);
        }
        if let Some(lock) = self.file.lock() {
            let outcome = self.compare_hash(hash::lock_hash(lock), lock.lock_hash);
            self.push(CheckKind::LockHash, "lock_hash".to_owned(), outcome);
        }
    }

    /// Both values in the form that the file uses, so that one can search for them.
    fn compare_hash(&self, computed: Root, stated: Root) -> Outcome {
        let show = |hash: Root| match self.file.version().byte_text() {
            ByteText::Base64 => STANDARD.encode(hash),
            ByteText::Hex => hex_text(&hash),
        };
        if computed == stated { Outcome::Verified } else { failed(show(computed), show(stated)) }
    }

    fn threshold(&mut self) {
        let definition = self.file.definition();
        let operators = definition.operators.len();
        let fits = (1..=operators as u64).contains(&definition.threshold);
        let outcome = if fits {
            Outcome::Verified
        } else {
            failed(format!("1 to {operators}, the number of operators"), definition.threshold)
        };
        self.push(CheckKind::Threshold, self.file.definition_path("threshold"), outcome);
    }

    fn counts(&mut self) {
        let definition = self.file.definition();
        let expected = definition.num_validators;
        let operators = definition.operators.len();
        if definition.version.has_validator_addresses() {
            let found = definition.validator_addresses.len();
            self.count(self.file.definition_path("validators"), expected, found, "entries (num_validators)");
        }
        let Some(lock) = self.file.lock() else { return };
        let found = lock.validators.len();
        self.count("distributed_validators".to_owned(), expected, found, "entries (num_validators)");
        let mut shares = lock.validators.iter().map(|validator| validator.public_shares.len()).enumerate();
        let (field, found) = match shares.find(|(_, found)| *found != operators) {
            Some((index, found)) => (format!("distributed_validators[{index}].public_shares"), found),
            None => ("distributed_validators[].public_shares".to_owned(), operators),
        };
        self.count(field, operators as u64, found, "entries (operators)");
    }

    fn count(&mut self, field: String, expected: u64, found: usize, what: &str) {
        let outcome = if expected == found as u64 {
            Outcome::Verified
        } else {
            failed(format!("{expected} {what}"), found)
        };
        self.push(CheckKind::Counts, field, outcome);
    }

    fn records(&mut self) {
        let operators = &self.file.definition().operators;
        let mut keys = Vec::with_capacity(operators.len());
        for (position, operator) in operators.iter().enumerate() {
            let outcome = match Record::from_text(&operator.enr, &RustCrypto) {
                Ok(record) => {
                    keys.push((position, *record.public_key()));
                    Outcome::Verified
                }
                Err(_) if operator.enr.is_empty() => failed("a valid, signed ENR", "none"),
                Err(error) => failed("a valid, signed ENR", format!("`{}`: {error}", shown(&operator.enr))),
            };
            self.push(CheckKind::OperatorRecord, self.file.operator_path(position, "enr"), outcome);
        }
        keys.sort_unstable_by_key(|(position, key)| (*key, *position));
        let twice = keys.windows(2).find_map(|pair| match pair {
            [(first, a), (second, b)] if a == b => Some((*first, *second)),
            _ => None,
        });
        let outcome = match twice {
            None => Outcome::Verified,
            Some((first, second)) => failed(
                "a key of its own for each operator",
                format!("operators {first} and {second} have one key"),
            ),
        };
        self.push(CheckKind::DistinctKeys, self.file.definition_path("operators"), outcome);
    }

    fn node_signatures(&mut self) {
        let Some(lock) = self.file.lock() else { return };
        let version = lock.definition.version;
        let list = "node_signatures";
        if !version.has_node_signatures() {
            let because = format!("{version} has no node signatures: they begin with v1.7.0");
            self.push(CheckKind::NodeSignature, list.to_owned(), Outcome::NotChecked { because });
            return;
        }
        let operators = &lock.definition.operators;
        if lock.node_signatures.len() != operators.len() {
            let expected = format!("{} signatures, one for each operator", operators.len());
            let outcome = failed(expected, lock.node_signatures.len());
            self.push(CheckKind::NodeSignature, list.to_owned(), outcome);
        }
        for (position, (operator, signature)) in operators.iter().zip(&lock.node_signatures).enumerate() {
            let outcome = node_signature(operator, signature, &lock.lock_hash);
            self.push(CheckKind::NodeSignature, format!("{list}[{position}]"), outcome);
        }
    }

    fn operator_signatures(&mut self) {
        let definition = self.file.definition();
        let version = definition.version;
        let operators = &definition.operators;
        let all = self.file.definition_path("operators");
        let signed =
            |operator: &Operator| !operator.config_signature.is_empty() || !operator.enr_signature.is_empty();
        if !version.has_operator_signatures() {
            let outcome = match operators.iter().position(signed) {
                None => not_checked(format!("{version} has no operator signatures: they begin with v1.3.0")),
                Some(position) => failed(
                    format!("no signature: {version} has none"),
                    format!("operator {position} has a signature"),
                ),
            };
            return self.push(CheckKind::OperatorSignature, all, outcome);
        }
        if operators.iter().all(Operator::is_unsigned) {
            let because =
                "all operators are unsigned, which is allowed where one person runs the whole cluster";
            return self.push(CheckKind::OperatorSignature, all, not_checked(because));
        }
        for (position, operator) in operators.iter().enumerate() {
            let fields = [
                ("config_signature", &operator.config_signature),
                ("enr_signature", &operator.enr_signature),
            ];
            for (field, signature) in fields {
                let outcome = if operator.is_unsigned() {
                    failed("a signature, since other operators signed", "none")
                } else {
                    eip712(&operator.address, signature)
                };
                self.push(CheckKind::OperatorSignature, self.file.operator_path(position, field), outcome);
            }
        }
    }

    fn creator_signature(&mut self) {
        let definition = self.file.definition();
        let version = definition.version;
        let creator = &definition.creator;
        let field = self.file.definition_path("creator.config_signature");
        let outcome = if !version.has_creator() {
            not_checked(format!("{version} names no creator: that begins with v1.4.0"))
        } else if !creator.address.is_empty() || !creator.config_signature.is_empty() {
            eip712(&creator.address, &creator.config_signature)
        } else if definition.operators.iter().any(Operator::is_unsigned) {
            not_checked("the creator is unsigned, which is allowed where the operators are unsigned too")
        } else {
            failed("a signature, since the operators signed", "none")
        };
        self.push(CheckKind::CreatorSignature, field, outcome);
    }

    fn bls(&mut self) {
        let Some(lock) = self.file.lock() else { return };
        let version = lock.definition.version;
        let none = lock.validators.is_empty();
        let not_built = || not_checked(if none { "the lock holds no validators" } else { BLS_NOT_BUILT });
        self.push(CheckKind::KeyShares, "distributed_validators[].public_shares".to_owned(), not_built());
        self.push(CheckKind::AggregateSignature, "signature_aggregate".to_owned(), aggregate(lock));
        if version.has_single_deposit() || version.has_partial_deposits() {
            let field = if version.has_single_deposit() { "deposit_data" } else { "partial_deposit_data" };
            self.push(CheckKind::Deposits, format!("distributed_validators[].{field}"), not_built());
        }
        if version.has_node_signatures() {
            let field = "distributed_validators[].builder_registration";
            self.push(CheckKind::Registrations, field.to_owned(), not_built());
        }
    }
}

fn node_signature(operator: &Operator, signature: &[u8], lock_hash: &Root) -> Outcome {
    let Ok(record) = Record::from_text(&operator.enr, &RustCrypto) else {
        return failed("an operator whose ENR is valid, to check the signature with", hex_text(signature));
    };
    match signatures::verify(record.public_key(), lock_hash, signature) {
        Ok(()) => Outcome::Verified,
        Err(problem) => failed(
            format!(
                "a signature over the lock hash by the key 0x{} of the operator's ENR",
                hex::encode(record.public_key().compressed())
            ),
            format!("{}: {problem}", hex_text(signature)),
        ),
    }
}

/// What can be said of an EIP-712 signature without checking it.
fn eip712(address: &str, signature: &[u8]) -> Outcome {
    if address.is_empty() {
        failed("the address of the signer", "none")
    } else if signature.is_empty() {
        failed(format!("a signature by {}", shown(address)), "none")
    } else if !signature.len().is_multiple_of(K1_SIGNATURE) {
        failed(format!("{K1_SIGNATURE} bytes for each signature"), format!("{} bytes", signature.len()))
    } else {
        not_checked(EIP712_NOT_BUILT)
    }
}

/// What can be said of the aggregate signature without checking it.
fn aggregate(lock: &Lock) -> Outcome {
    let signature = &lock.signature_aggregate;
    let missing_is_allowed = lock.definition.version.may_lack_aggregate();
    match signature.len() {
        BLS_SIGNATURE => not_checked(BLS_NOT_BUILT),
        0 if lock.validators.is_empty() => {
            not_checked("the lock holds no validators, so that no key share could sign")
        }
        0 if missing_is_allowed => not_checked("it is empty, as in the earliest files"),
        0 => failed(format!("a BLS signature of {BLS_SIGNATURE} bytes by all key shares"), "none"),
        length => failed(
            format!("a BLS signature of {BLS_SIGNATURE} bytes"),
            format!("{}: {length} bytes", hex_text(signature)),
        ),
    }
}

fn failed(expected: impl ToString, found: impl ToString) -> Outcome {
    Outcome::Failed { expected: expected.to_string(), found: found.to_string() }
}

fn not_checked(because: impl ToString) -> Outcome {
    Outcome::NotChecked { because: because.to_string() }
}

fn hex_text(bytes: &[u8]) -> String {
    if bytes.is_empty() { "none".to_owned() } else { format!("0x{}", hex::encode(bytes)) }
}

/// Text from a file for a message: what is longer than any ENR is cut.
fn shown(text: &str) -> String {
    const LONGEST: usize = 420;
    let mut out: String = text.chars().take(LONGEST).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
