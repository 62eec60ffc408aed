//! The three hashes of a cluster: configuration, definition, lock.
//!
//! Two properties of the scheme, which readers should know of. In v1.0 to v1.4 an empty value is no leaf at all,
//! so that a value moved from a field to an empty neighbour hashes alike; from v1.5 on an empty address or
//! signature hashes like one of zeros. A single changed value is seen in every version.

use super::{
    fields::address_bytes,
    limits::{
        self, ADDRESS, BLS_KEY, BLS_SIGNATURE, K1_SIGNATURE, MAX_DEPOSITS, MAX_OPERATORS, MAX_SIGNATURES,
        MAX_VALIDATORS,
    },
    model::{Creator, Definition, Deposit, DistributedValidator, Lock, Operator, Registration},
    roots,
    ssz::{Leaves, Root},
    version::Version,
};

/// The hash of a definition without ENRs and signatures.
pub fn config_hash(definition: &Definition) -> Root {
    definition_root(definition, Scope::Config)
}

/// The hash of a whole definition.
pub fn definition_hash(definition: &Definition) -> Root {
    definition_root(definition, Scope::Definition)
}

/// The hash of a lock: its definition and its validators.
pub fn lock_hash(lock: &Lock) -> Root {
    let version = lock.definition.version;
    let mut validators = Leaves::default();
    for validator in &lock.validators {
        validators.push(if version.hashes_text() {
            text_validator_root(validator)
        } else {
            validator_root(validator, version)
        });
    }
    let count = lock.validators.len();
    let mut leaves = Leaves::default();
    leaves.push(definition_hash(&lock.definition));
    leaves.push(validators.list_root(count, if version.hashes_text() { count } else { MAX_VALIDATORS }));
    leaves.root()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Config,
    Definition,
}

fn definition_root(definition: &Definition, scope: Scope) -> Root {
    if definition.version.hashes_text() {
        text_root(definition, scope)
    } else {
        sized_root(definition, scope)
    }
}

/// v1.0 to v1.2: mostly the text as it stands in the file.
fn text_root(d: &Definition, scope: Scope) -> Root {
    let mut leaves = Leaves::default();
    leaves.push_bytes(d.uuid.as_bytes());
    leaves.push_bytes(d.name.as_bytes());
    leaves.push_bytes(d.version.as_str().as_bytes());
    leaves.push_u64(d.num_validators);
    leaves.push_u64(d.threshold);
    leaves.push_bytes(d.common_addresses.fee_recipient.as_bytes());
    leaves.push_bytes(d.common_addresses.withdrawal.as_bytes());
    leaves.push_bytes(d.dkg_algorithm.as_bytes());
    leaves.push_bytes(hex_text(&d.fork_version).as_bytes());
    let mut operators = Leaves::default();
    for operator in &d.operators {
        match scope {
            Scope::Config => operators.push_bytes(operator.address.as_bytes()),
            Scope::Definition => operators.push(text_operator_root(operator, d.version)),
        }
    }
    leaves.push(operators.list_root(d.operators.len(), d.operators.len()));
    if scope == Scope::Config || d.version.timestamp_in_definition_hash() {
        leaves.push_bytes(d.timestamp.as_bytes());
    }
    leaves.root()
}

fn text_operator_root(operator: &Operator, version: Version) -> Root {
    let mut leaves = Leaves::default();
    leaves.push_bytes(operator.address.as_bytes());
    leaves.push_bytes(operator.enr.as_bytes());
    if version.has_nonce() {
        leaves.push_u64(0);
    }
    leaves.push_bytes(&operator.config_signature);
    leaves.push_bytes(&operator.enr_signature);
    leaves.root()
}

fn text_validator_root(validator: &DistributedValidator) -> Root {
    let mut leaves = Leaves::default();
    leaves.push_bytes(hex_text(&validator.public_key).as_bytes());
    let mut shares = Leaves::default();
    for share in &validator.public_shares {
        shares.push_bytes(share);
    }
    leaves.push(shares.list_root(validator.public_shares.len(), validator.public_shares.len()));
    leaves.root()
}

/// v1.3 and later: fields of a stated size or greatest size.
fn sized_root(d: &Definition, scope: Scope) -> Root {
    let version = d.version;
    let mut leaves = Leaves::default();
    leaves.push_byte_list(d.uuid.as_bytes(), limits::MAX_UUID);
    leaves.push_byte_list(d.name.as_bytes(), limits::MAX_NAME);
    leaves.push_byte_list(version.as_str().as_bytes(), limits::MAX_VERSION);
    leaves.push_byte_list(d.timestamp.as_bytes(), limits::MAX_TIMESTAMP);
    leaves.push_u64(d.num_validators);
    leaves.push_u64(d.threshold);
    if !version.has_validator_addresses() {
        push_address(&mut leaves, &d.common_addresses.fee_recipient, version);
        push_address(&mut leaves, &d.common_addresses.withdrawal, version);
    }
    leaves.push_byte_list(d.dkg_algorithm.as_bytes(), limits::MAX_DKG_ALGORITHM);
    leaves.push_bytes(&d.fork_version);
    let mut operators = Leaves::default();
    for operator in &d.operators {
        operators.push(operator_root(operator, version, scope));
    }
    leaves.push(operators.list_root(d.operators.len(), MAX_OPERATORS));
    if version.has_creator() {
        leaves.push(creator_root(&d.creator, version, scope));
    }
    if version.has_validator_addresses() {
        let mut addresses = Leaves::default();
        for each in &d.validator_addresses {
            let mut pair = Leaves::default();
            push_address(&mut pair, &each.fee_recipient, version);
            push_address(&mut pair, &each.withdrawal, version);
            addresses.push(pair.root());
        }
        leaves.push(addresses.list_root(d.validator_addresses.len(), MAX_VALIDATORS));
    }
    if version.has_partial_deposits() {
        leaves.push_u64_list(&d.deposit_amounts, MAX_DEPOSITS);
    }
    if version.has_consensus_protocol() {
        leaves.push_byte_list(d.consensus_protocol.as_bytes(), limits::MAX_CONSENSUS_PROTOCOL);
    }
    if version.has_gas_limit() {
        leaves.push_u64(d.target_gas_limit);
        leaves.push_u64(u64::from(d.compounding));
    }
    if scope == Scope::Definition {
        leaves.push_bytes(&d.config_hash);
    }
    leaves.root()
}

fn operator_root(operator: &Operator, version: Version, scope: Scope) -> Root {
    let mut leaves = Leaves::default();
    push_address(&mut leaves, &operator.address, version);
    if scope == Scope::Definition {
        leaves.push_byte_list(operator.enr.as_bytes(), limits::MAX_ENR);
        push_signature(&mut leaves, &operator.config_signature, version);
        push_signature(&mut leaves, &operator.enr_signature, version);
    }
    leaves.root()
}

fn creator_root(creator: &Creator, version: Version, scope: Scope) -> Root {
    let mut leaves = Leaves::default();
    push_address(&mut leaves, &creator.address, version);
    if scope == Scope::Definition {
        push_signature(&mut leaves, &creator.config_signature, version);
    }
    leaves.root()
}

fn push_address(leaves: &mut Leaves, text: &str, version: Version) {
    // A reader has refused any other text; a model made by hand with one gets a hash that fits no file.
    let bytes = address_bytes(text).unwrap_or_else(|| text.as_bytes().to_vec());
    if version.pads_empty_values() { leaves.push_fixed(&bytes, ADDRESS) } else { leaves.push_bytes(&bytes) }
}

fn push_signature(leaves: &mut Leaves, signature: &[u8], version: Version) {
    if version.has_signature_lists() {
        let mut each = Leaves::default();
        for one in signature.chunks(K1_SIGNATURE) {
            each.push_bytes(one);
        }
        leaves.push(each.list_root(signature.len() / K1_SIGNATURE, MAX_SIGNATURES));
    } else if version.pads_empty_values() {
        leaves.push_fixed(signature, K1_SIGNATURE);
    } else {
        leaves.push_bytes(signature);
    }
}

fn validator_root(validator: &DistributedValidator, version: Version) -> Root {
    let mut leaves = Leaves::default();
    leaves.push_fixed(&validator.public_key, BLS_KEY);
    let mut shares = Leaves::default();
    for share in &validator.public_shares {
        shares.push_fixed(share, BLS_KEY);
    }
    leaves.push(shares.list_root(validator.public_shares.len(), MAX_OPERATORS));
    if version.has_single_deposit() {
        let none = Deposit::default();
        let deposit = validator.deposits.first().unwrap_or(&none);
        if version.inlines_deposit_in_hash() {
            roots::push_deposit(&mut leaves, deposit);
        } else {
            leaves.push(roots::deposit_data(deposit));
        }
    }
    if version.has_partial_deposits() {
        let mut deposits = Leaves::default();
        for deposit in &validator.deposits {
            deposits.push(roots::deposit_data(deposit));
        }
        leaves.push(deposits.list_root(validator.deposits.len(), MAX_DEPOSITS));
    }
    if version.has_node_signatures() {
        leaves.push(registration_root(&validator.registration));
    }
    leaves.root()
}

fn registration_root(registration: &Registration) -> Root {
    let mut leaves = Leaves::default();
    leaves.push(roots::registration_message(registration));
    leaves.push_fixed(&registration.signature, BLS_SIGNATURE);
    leaves.root()
}

/// A byte string as files have it.
pub(super) fn hex_text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
