//! The checks on a file that was read, in the order in which they are reported.
//!
//! Every check ends as verified, failed (with what was expected and what was found), or not checked, with the
//! reason. Only a failed one refuses the file.

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_core::{crypto::RustCrypto, record::Record};

use super::{
    ClusterFile, coverage,
    eip712::{self, Message},
    hash,
    model::Operator,
    report::{Check, CheckKind, Outcome, Report},
    signatures,
    ssz::Root,
    validators,
    version::ByteText,
};

pub(super) fn verify(file: &ClusterFile) -> Report {
    let mut checks = Checks { file, out: Vec::new() };
    checks.hashes();
    checks.threshold();
    checks.counts();
    checks.records();
    checks.node_signatures();
    checks.operator_signatures();
    checks.creator_signature();
    if let Some(lock) = file.lock() {
        checks.out.extend(validators::checks(lock));
    }
    let mut report = Report { checks: checks.out, uncovered: Vec::new() };
    report.uncovered = coverage::uncovered(file, &report);
    report
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
            ByteText::Hex => signatures::hex_text(&hash),
        };
        if computed == stated { Outcome::Verified } else { Outcome::failed(show(computed), show(stated)) }
    }

    fn threshold(&mut self) {
        let definition = self.file.definition();
        let operators = definition.operators.len();
        let fits = (1..=operators as u64).contains(&definition.threshold);
        let outcome = if fits {
            Outcome::Verified
        } else {
            Outcome::failed(format!("1 to {operators}, the number of operators"), definition.threshold)
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
            Outcome::failed(format!("{expected} {what}"), found)
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
                Err(_) if operator.enr.is_empty() => Outcome::failed("a valid, signed ENR", "none"),
                Err(error) => {
                    Outcome::failed("a valid, signed ENR", format!("`{}`: {error}", shown(&operator.enr)))
                }
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
            Some((first, second)) => Outcome::failed(
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
            return self.push(CheckKind::NodeSignature, list.to_owned(), Outcome::not_checked(because));
        }
        let operators = &lock.definition.operators;
        if lock.node_signatures.len() != operators.len() {
            let expected = format!("{} signatures, one for each operator", operators.len());
            let outcome = Outcome::failed(expected, lock.node_signatures.len());
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
                None => Outcome::not_checked(format!(
                    "{version} has no operator signatures: they begin with v1.3.0"
                )),
                Some(position) => Outcome::failed(
                    format!("no signature: {version} has none"),
                    format!("operator {position} has a signature"),
                ),
            };
            return self.push(CheckKind::OperatorSignature, all, outcome);
        }
        if operators.iter().all(Operator::is_unsigned) {
            let because =
                "all operators are unsigned, which is allowed where one person runs the whole cluster";
            return self.push(CheckKind::OperatorSignature, all, Outcome::not_checked(because));
        }
        for (position, operator) in operators.iter().enumerate() {
            let config = Message::Operator(version, &definition.config_hash);
            let fields = [
                ("config_signature", config, &operator.config_signature),
                ("enr_signature", Message::Enr(&operator.enr), &operator.enr_signature),
            ];
            for (field, message, signature) in fields {
                let outcome = if operator.is_unsigned() {
                    Outcome::failed("a signature, since other operators signed", "none")
                } else {
                    eip712::check(&operator.address, definition.fork_version, message, signature)
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
            Outcome::not_checked(format!("{version} names no creator: that begins with v1.4.0"))
        } else if !creator.address.is_empty() || !creator.config_signature.is_empty() {
            let message = Message::Creator(&definition.config_hash);
            eip712::check(&creator.address, definition.fork_version, message, &creator.config_signature)
        } else if definition.operators.iter().any(Operator::is_unsigned) {
            Outcome::not_checked(
                "the creator is unsigned, which is allowed where the operators are unsigned too",
            )
        } else {
            Outcome::failed("a signature, since the operators signed", "none")
        };
        self.push(CheckKind::CreatorSignature, field, outcome);
    }
}

fn node_signature(operator: &Operator, signature: &[u8], lock_hash: &Root) -> Outcome {
    let Ok(record) = Record::from_text(&operator.enr, &RustCrypto) else {
        return Outcome::failed(
            "an operator whose ENR is valid, to check the signature with",
            signatures::hex_text(signature),
        );
    };
    match signatures::verify(record.public_key(), lock_hash, signature) {
        Ok(()) => Outcome::Verified,
        Err(problem) => Outcome::failed(
            format!(
                "a signature over the lock hash by the key 0x{} of the operator's ENR",
                hex::encode(record.public_key().compressed())
            ),
            format!("{}: {problem}", signatures::hex_text(signature)),
        ),
    }
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
