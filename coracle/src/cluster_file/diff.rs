//! What differs between two cluster files: operators by their keys, validators by theirs, and the other fields.

use coracle_core::{crypto::RustCrypto, record::Record};

use super::{
    ClusterFile,
    model::{Definition, DistributedValidator, Operator},
    signatures::hex_text,
};

/// What became of something from one file to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the second file has it.
    Added,
    /// Only the first file has it.
    Removed,
    /// Both have it, not alike.
    Changed,
}

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An operator, known by the key in its ENR.
    Operator,
    /// A validator, known by its public key.
    Validator,
    /// Another field.
    Field,
}

/// One difference between two files.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// What became of it.
    pub change: Change,
    /// What it is about.
    pub subject: Subject,
    /// Who or what: a peer id, a public key, or the name of a field.
    pub name: String,
    /// What of it changed, where it did: the field's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The value in the first file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The value in the second file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

type Values = Vec<(&'static str, String)>;

/// Every difference from `before` to `after`: operators first, then validators, then the other fields. Signatures
/// and hashes differ as a consequence, and are named where they do.
pub fn differences(before: &ClusterFile, after: &ClusterFile) -> Vec<Difference> {
    let mut out = Vec::new();
    let operators = |file: &ClusterFile| {
        let entry =
            |(position, operator)| (operator_name(operator, position), operator_values(operator, position));
        file.definition().operators.iter().enumerate().map(entry).collect::<Vec<_>>()
    };
    compare(Subject::Operator, operators(before), operators(after), &mut out);
    let validators = |file: &ClusterFile| {
        let entry = |(index, validator): (usize, &DistributedValidator)| {
            (hex_text(&validator.public_key), validator_values(file.definition(), validator, index))
        };
        file.lock().map_or_else(Vec::new, |lock| lock.validators.iter().enumerate().map(entry).collect())
    };
    compare(Subject::Validator, validators(before), validators(after), &mut out);
    let fields = |file: &ClusterFile| {
        let entry = |(name, value): (&'static str, String)| (name.to_owned(), vec![("", value)]);
        fields(file).into_iter().map(entry).collect::<Vec<_>>()
    };
    compare(Subject::Field, fields(before), fields(after), &mut out);
    out
}

fn compare(
    subject: Subject,
    before: Vec<(String, Values)>,
    after: Vec<(String, Values)>,
    out: &mut Vec<Difference>,
) {
    let index = |list: &[(String, Values)]| {
        list.iter()
            .enumerate()
            .map(|(at, (name, _))| (name.clone(), at))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let (old, new) = (index(&before), index(&after));
    for (name, values) in &before {
        match new.get(name).and_then(|at| after.get(*at)) {
            None => out.push(alone(Change::Removed, subject, name, values)),
            Some((_, now)) => out.extend(parts(subject, name, values, now)),
        }
    }
    for (name, values) in after.iter().filter(|(name, _)| !old.contains_key(name)) {
        out.push(alone(Change::Added, subject, name, values));
    }
}

fn alone(change: Change, subject: Subject, name: &str, values: &Values) -> Difference {
    // Of a field its value, of an operator the ENR; of a validator the name says enough.
    let telling = |part: &str| match subject {
        Subject::Field => true,
        Subject::Operator => part == "enr",
        Subject::Validator => false,
    };
    let value = values.iter().find(|(part, _)| telling(part)).map(|(_, value)| value.clone());
    let (before, after) = if change == Change::Removed { (value, None) } else { (None, value) };
    Difference { change, subject, name: name.to_owned(), part: None, before, after }
}

fn parts<'v>(
    subject: Subject,
    name: &'v str,
    before: &'v Values,
    after: &'v Values,
) -> impl Iterator<Item = Difference> + 'v {
    // Both lists have the same parts in the same order.
    let differ = before.iter().zip(after).filter(|((_, before), (_, after))| before != after);
    differ.map(move |((part, before), (_, after))| Difference {
        change: Change::Changed,
        subject,
        name: name.to_owned(),
        part: (!part.is_empty()).then(|| (*part).to_owned()),
        before: Some(before.clone()),
        after: Some(after.clone()),
    })
}

/// The peer id where the ENR is one.
fn operator_name(operator: &Operator, position: usize) -> String {
    match Record::from_text(&operator.enr, &RustCrypto) {
        Ok(record) => record.peer_id().to_string(),
        Err(_) if operator.enr.is_empty() => format!("operator {position}, without an ENR"),
        Err(_) => operator.enr.clone(),
    }
}

fn operator_values(operator: &Operator, position: usize) -> Values {
    vec![
        ("position", position.to_string()),
        ("address", operator.address.clone()),
        ("enr", operator.enr.clone()),
        ("config_signature", hex_text(&operator.config_signature)),
        ("enr_signature", hex_text(&operator.enr_signature)),
    ]
}

fn validator_values(definition: &Definition, validator: &DistributedValidator, index: usize) -> Values {
    let list = |values: &[Vec<u8>]| values.iter().map(|value| hex_text(value)).collect::<Vec<_>>().join(", ");
    let deposits: Vec<String> = validator
        .deposits
        .iter()
        .map(|deposit| {
            let parts = [&deposit.public_key, &deposit.withdrawal_credentials, &deposit.signature];
            format!("{} Gwei {}", deposit.amount, parts.map(|part| hex_text(part)).join(" "))
        })
        .collect();
    let registration = &validator.registration;
    let addresses = definition.validator_addresses.get(index).unwrap_or(&definition.common_addresses);
    vec![
        ("position", index.to_string()),
        ("fee_recipient_address", addresses.fee_recipient.clone()),
        ("withdrawal_address", addresses.withdrawal.clone()),
        ("public_shares", list(&validator.public_shares)),
        ("deposits", deposits.join(", ")),
        (
            "builder_registration",
            format!(
                "{} gas limit {} at {} {} {}",
                hex_text(&registration.fee_recipient),
                registration.gas_limit,
                registration.timestamp,
                hex_text(&registration.public_key),
                hex_text(&registration.signature)
            ),
        ),
    ]
}

fn fields(file: &ClusterFile) -> Values {
    let d = file.definition();
    let mut out = vec![
        ("kind", if file.lock().is_some() { "lock" } else { "definition" }.to_owned()),
        ("version", d.version.to_string()),
        ("name", d.name.clone()),
        ("uuid", d.uuid.clone()),
        ("timestamp", d.timestamp.clone()),
        ("num_validators", d.num_validators.to_string()),
        ("threshold", d.threshold.to_string()),
        ("dkg_algorithm", d.dkg_algorithm.clone()),
        ("fork_version", hex_text(&d.fork_version)),
        ("creator.address", d.creator.address.clone()),
        ("creator.config_signature", hex_text(&d.creator.config_signature)),
        ("deposit_amounts", d.deposit_amounts.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
        ("consensus_protocol", d.consensus_protocol.clone()),
        ("target_gas_limit", d.target_gas_limit.to_string()),
        ("compounding", d.compounding.to_string()),
        ("config_hash", hex_text(&d.config_hash)),
        ("definition_hash", hex_text(&d.definition_hash)),
    ];
    // In a lock each validator shows its own.
    if file.lock().is_none() {
        let mut addresses = vec![&d.common_addresses];
        addresses.extend(&d.validator_addresses);
        let texts = |of: fn(&super::ValidatorAddresses) -> &str| {
            addresses
                .iter()
                .map(|each| of(each))
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join(", ")
        };
        out.push(("fee_recipient_address", texts(|each| &each.fee_recipient)));
        out.push(("withdrawal_address", texts(|each| &each.withdrawal)));
    }
    if let Some(lock) = file.lock() {
        let signatures: Vec<String> =
            lock.node_signatures.iter().map(|signature| hex_text(signature)).collect();
        out.push(("lock_hash", hex_text(&lock.lock_hash)));
        out.push(("signature_aggregate", hex_text(&lock.signature_aggregate)));
        out.push(("node_signatures", signatures.join(", ")));
    }
    out
}
