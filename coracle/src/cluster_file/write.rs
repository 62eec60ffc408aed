//! Makes cluster files: definitions and locks of any version as JSON, with the hashes and node signatures
//! computed.
//!
//! What only a key generation can make is never invented here (the module `create`, of the feature of that name,
//! deals keys for tests). [`lock_without_validators`] therefore has no distributed validators: no BLS keys and
//! shares, no deposits, no builder registrations, and an empty `signature_aggregate`, since no key share exists that
//! could sign. Such a lock forms a mesh, passes [`ClusterFile::verify`](super::ClusterFile::verify) without a failed
//! check, and validates nothing.

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_core::crypto::{Crypto, RustCrypto, SecretKey};
use serde_json::{Map, Value, json};

use super::{
    Content, Network,
    eip712::{self, Message},
    hash,
    limits::{self, MAX_OPERATORS},
    model::{
        Creator, Definition, Deposit, DistributedValidator, Lock, Operator, Registration, ValidatorAddresses,
    },
    signatures,
    version::{ByteText, Version},
};

/// Why a file cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// No operators, or too many.
    #[error("a cluster has 1 to {MAX_OPERATORS} operators, not {0}")]
    Operators(usize),
    /// Another number of keys than of operators.
    #[error("{keys} keys for {operators} operators: each node signs the lock")]
    Keys {
        /// The keys given.
        keys: usize,
        /// The operators in the definition.
        operators: usize,
    },
    /// A text that is longer than the file's hashes have room for.
    #[error("the {field} has {found} bytes, and at most {limit} are allowed")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// Its length in bytes.
        found: usize,
        /// The most bytes it may have.
        limit: usize,
    },
    /// A key that cannot sign.
    #[error("the key of operator {0} (counted from 0) cannot sign")]
    Key(usize),
    /// Accounts sign for a chain, and the definition's fork version names none that is known.
    #[error("the fork version is of no network whose chain id is known, so that no account can sign for it")]
    Network,
}

/// The makings of a new definition in which all operators are unsigned.
#[derive(Clone, Debug)]
pub struct NewCluster {
    /// A name for people; at most 256 bytes.
    pub name: String,
    /// A text that no other cluster has, commonly a UUID; at most 64 bytes.
    pub uuid: String,
    /// When it is made, in RFC 3339; at most 32 bytes.
    pub timestamp: String,
    /// The network's genesis fork version.
    pub fork_version: [u8; 4],
    /// The ENR of each operator, in order.
    pub enrs: Vec<String>,
}

/// A definition of the newest version with no validators, sealed. The threshold is ⌈2n/3⌉.
///
/// # Errors
/// No operators, or more than [`MAX_OPERATORS`]; or a text that is too long.
pub fn definition(new: &NewCluster) -> Result<Definition, WriteError> {
    let count = new.enrs.len();
    if count == 0 || count > MAX_OPERATORS {
        return Err(WriteError::Operators(count));
    }
    let texts = [
        ("name", &new.name, limits::MAX_NAME),
        ("uuid", &new.uuid, limits::MAX_UUID),
        ("timestamp", &new.timestamp, limits::MAX_TIMESTAMP),
    ];
    for (field, text, limit) in texts {
        if text.len() > limit {
            return Err(WriteError::TooLong { field, found: text.len(), limit });
        }
    }
    let operator = |enr: &String| Operator { enr: enr.clone(), ..Operator::default() };
    let mut definition = Definition {
        version: Version::NEWEST,
        name: new.name.clone(),
        uuid: new.uuid.clone(),
        timestamp: new.timestamp.clone(),
        num_validators: 0,
        threshold: (2 * count).div_ceil(3) as u64,
        dkg_algorithm: "default".to_owned(),
        fork_version: new.fork_version,
        operators: new.enrs.iter().map(operator).collect(),
        creator: Creator::default(),
        common_addresses: ValidatorAddresses::default(),
        validator_addresses: Vec::new(),
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        target_gas_limit: 36_000_000,
        compounding: false,
        config_hash: [0; 32],
        definition_hash: [0; 32],
    };
    definition.seal();
    Ok(definition)
}

/// A lock over `definition` that names no validators, sealed and signed by the nodes' keys.
///
/// # Errors
/// Another number of keys than of operators. That the keys are those of the ENRs is not checked here:
/// verifying the lock does.
pub fn lock_without_validators(definition: Definition, keys: &[SecretKey]) -> Result<Lock, WriteError> {
    let mut lock = Lock {
        definition,
        validators: Vec::new(),
        signature_aggregate: Vec::new(),
        lock_hash: [0; 32],
        node_signatures: Vec::new(),
    };
    lock.seal(keys)?;
    Ok(lock)
}

impl Definition {
    /// Computes both hashes.
    pub fn seal(&mut self) {
        self.config_hash = hash::config_hash(self);
        self.definition_hash = hash::definition_hash(self);
    }

    /// Puts in the addresses of the accounts of creator and operators, and their signatures (EIP-712) in versions
    /// that have them, and seals. One key for each operator; the creator's is not used before v1.4.
    ///
    /// # Errors
    /// Another number of keys than of operators, or a fork version of no known network.
    pub fn sign(&mut self, creator: &SecretKey, operators: &[SecretKey]) -> Result<(), WriteError> {
        let count = self.operators.len();
        if operators.len() != count {
            return Err(WriteError::Keys { keys: operators.len(), operators: count });
        }
        let chain_id = Network::from_fork_version(self.fork_version).ok_or(WriteError::Network)?.chain_id;
        for (operator, key) in self.operators.iter_mut().zip(operators) {
            operator.address = address_text(key);
        }
        if self.version.has_creator() {
            self.creator.address = address_text(creator);
        }
        // What is signed holds the addresses.
        self.seal();
        if self.version.has_operator_signatures() {
            let config = Message::Operator(self.version, &self.config_hash);
            for (position, (operator, key)) in self.operators.iter_mut().zip(operators).enumerate() {
                let sign = |message| eip712::sign(key, message, chain_id).ok_or(WriteError::Key(position));
                operator.config_signature = sign(config)?;
                operator.enr_signature = sign(Message::Enr(&operator.enr))?;
            }
        }
        if self.version.has_creator() {
            let message = Message::Creator(&self.config_hash);
            self.creator.config_signature =
                eip712::sign(creator, message, chain_id).ok_or(WriteError::Network)?;
        }
        self.seal();
        Ok(())
    }
}

fn address_text(key: &SecretKey) -> String {
    format!("0x{}", hex::encode(signatures::address(&RustCrypto.public_key(key))))
}

impl Lock {
    /// Computes the hashes, and signs the lock hash with each node's key in versions that have such signatures.
    ///
    /// # Errors
    /// Another number of keys than of operators.
    pub fn seal(&mut self, keys: &[SecretKey]) -> Result<(), WriteError> {
        let operators = self.definition.operators.len();
        if keys.len() != operators {
            return Err(WriteError::Keys { keys: keys.len(), operators });
        }
        self.definition.seal();
        self.lock_hash = hash::lock_hash(self);
        self.node_signatures.clear();
        if self.definition.version.has_node_signatures() {
            for (position, key) in keys.iter().enumerate() {
                let signature = signatures::sign(key, &self.lock_hash).ok_or(WriteError::Key(position))?;
                self.node_signatures.push(signature);
            }
        }
        Ok(())
    }
}

/// The file's text: indented JSON in the fields' customary order, with a line feed at the end.
pub fn to_json(content: &Content) -> String {
    let value = match content {
        Content::Definition(definition) => definition_value(definition),
        Content::Lock(lock) => lock_value(lock),
    };
    format!("{value:#}\n")
}

fn definition_value(d: &Definition) -> Value {
    let version = d.version;
    let mut out = Map::new();
    put(&mut out, "name", d.name.as_str());
    if version.has_creator() {
        put(&mut out, "creator", creator_value(&d.creator));
    }
    let operators: Vec<Value> =
        d.operators.iter().map(|operator| operator_value(operator, version)).collect();
    put(&mut out, "operators", operators);
    put(&mut out, "uuid", d.uuid.as_str());
    put(&mut out, "version", version.as_str());
    put(&mut out, "timestamp", d.timestamp.as_str());
    put(&mut out, "num_validators", d.num_validators);
    put(&mut out, "threshold", d.threshold);
    if version.has_validator_addresses() {
        let addresses = d.validator_addresses.iter().map(|each| Value::Object(addresses_map(each)));
        put(&mut out, "validators", addresses.collect::<Vec<_>>());
    } else {
        out.append(&mut addresses_map(&d.common_addresses));
    }
    put(&mut out, "dkg_algorithm", d.dkg_algorithm.as_str());
    put(&mut out, "fork_version", bytes(ByteText::Hex, &d.fork_version));
    if version.has_partial_deposits() {
        let amounts = d.deposit_amounts.iter().map(u64::to_string).collect::<Vec<_>>();
        put(&mut out, "deposit_amounts", amounts);
    }
    if version.has_consensus_protocol() {
        put(&mut out, "consensus_protocol", d.consensus_protocol.as_str());
    }
    if version.has_gas_limit() {
        put(&mut out, "target_gas_limit", d.target_gas_limit);
        put(&mut out, "compounding", d.compounding);
    }
    put(&mut out, "config_hash", bytes(version.byte_text(), &d.config_hash));
    put(&mut out, "definition_hash", bytes(version.byte_text(), &d.definition_hash));
    Value::Object(out)
}

fn operator_value(operator: &Operator, version: Version) -> Value {
    let form = version.byte_text();
    let mut out = Map::new();
    put(&mut out, "address", operator.address.as_str());
    put(&mut out, "enr", operator.enr.as_str());
    if version.has_nonce() {
        put(&mut out, "nonce", 0);
    }
    put(&mut out, "config_signature", bytes(form, &operator.config_signature));
    put(&mut out, "enr_signature", bytes(form, &operator.enr_signature));
    Value::Object(out)
}

fn creator_value(creator: &Creator) -> Value {
    let signature = bytes(ByteText::Hex, &creator.config_signature);
    json!({ "address": creator.address, "config_signature": signature })
}

fn addresses_map(addresses: &ValidatorAddresses) -> Map<String, Value> {
    let mut out = Map::new();
    put(&mut out, "fee_recipient_address", addresses.fee_recipient.as_str());
    put(&mut out, "withdrawal_address", addresses.withdrawal.as_str());
    out
}

fn lock_value(lock: &Lock) -> Value {
    let version = lock.definition.version;
    let form = version.byte_text();
    let mut out = Map::new();
    put(&mut out, "cluster_definition", definition_value(&lock.definition));
    let validators = lock.validators.iter().map(|validator| validator_value(validator, version));
    put(&mut out, "distributed_validators", validators.collect::<Vec<_>>());
    put(&mut out, "signature_aggregate", bytes(form, &lock.signature_aggregate));
    put(&mut out, "lock_hash", bytes(form, &lock.lock_hash));
    if version.has_node_signatures() {
        put(&mut out, "node_signatures", list(form, &lock.node_signatures));
    }
    Value::Object(out)
}

fn validator_value(validator: &DistributedValidator, version: Version) -> Value {
    let mut out = Map::new();
    put(&mut out, "distributed_public_key", bytes(ByteText::Hex, &validator.public_key));
    put(&mut out, "public_shares", list(version.byte_text(), &validator.public_shares));
    if version.has_single_deposit() {
        let none = Deposit::default();
        let deposit = validator.deposits.first().unwrap_or(&none);
        put(&mut out, "deposit_data", deposit_value(deposit));
    }
    if version.has_node_signatures() {
        put(&mut out, "builder_registration", registration_value(&validator.registration));
    }
    if version.has_partial_deposits() {
        let deposits = validator.deposits.iter().map(deposit_value).collect::<Vec<_>>();
        put(&mut out, "partial_deposit_data", deposits);
    }
    Value::Object(out)
}

fn deposit_value(deposit: &Deposit) -> Value {
    json!({
        "pubkey": bytes(ByteText::Hex, &deposit.public_key),
        "withdrawal_credentials": bytes(ByteText::Hex, &deposit.withdrawal_credentials),
        "amount": deposit.amount.to_string(),
        "signature": bytes(ByteText::Hex, &deposit.signature),
    })
}

fn registration_value(registration: &Registration) -> Value {
    json!({
        "message": {
            "fee_recipient": bytes(ByteText::Hex, &registration.fee_recipient),
            "gas_limit": registration.gas_limit,
            "timestamp": registration.timestamp,
            "pubkey": bytes(ByteText::Hex, &registration.public_key),
        },
        "signature": bytes(ByteText::Hex, &registration.signature),
    })
}

fn put(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    map.insert(key.to_owned(), value.into());
}

fn list(form: ByteText, values: &[Vec<u8>]) -> Vec<String> {
    values.iter().map(|value| bytes(form, value)).collect()
}

fn bytes(form: ByteText, value: &[u8]) -> String {
    match form {
        _ if value.is_empty() => String::new(),
        ByteText::Base64 => STANDARD.encode(value),
        ByteText::Hex => format!("0x{}", hex::encode(value)),
    }
}
