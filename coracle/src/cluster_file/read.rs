//! From JSON to the model, version by version.
//!
//! What a version lacks is not asked for, and so becomes an unknown field where a file has it. What the program
//! that writes these files leaves out when it is empty may be missing here; all else must be there.

use super::{
    error::{FileError, Problem},
    fields::{Entry, Fields, Length, address_bytes},
    limits::{
        self, ADDRESS, BLS_KEY, BLS_SIGNATURE, K1_SIGNATURE, MAX_DEPOSITS, MAX_OPERATORS, MAX_VALIDATORS,
    },
    model::{
        Creator, Definition, Deposit, DistributedValidator, Lock, Operator, Registration, ValidatorAddresses,
    },
    version::{ByteText, Version},
};

/// Reads a definition.
pub(super) fn definition(fields: &Fields<'_>) -> Result<Definition, FileError> {
    let version = version(fields)?;
    let form = version.byte_text();
    let limit = |bytes: usize| (!version.hashes_text()).then_some(bytes);
    let num_validators = fields.u64("num_validators")?;
    if num_validators > MAX_VALIDATORS as u64 {
        let found = num_validators.to_string();
        return Err(fields.error("num_validators", Problem::OutOfRange { expected: "at most 65536", found }));
    }
    let mut out = Definition {
        version,
        name: fields.text_or_empty("name", limit(limits::MAX_NAME))?,
        uuid: fields.text("uuid", limit(limits::MAX_UUID))?,
        timestamp: fields.text_or_empty("timestamp", limit(limits::MAX_TIMESTAMP))?,
        num_validators,
        threshold: fields.u64("threshold")?,
        dkg_algorithm: fields.text("dkg_algorithm", limit(limits::MAX_DKG_ALGORITHM))?,
        fork_version: fields.array("fork_version", ByteText::Hex)?,
        operators: operators(fields, version)?,
        creator: Creator::default(),
        common_addresses: ValidatorAddresses::default(),
        validator_addresses: Vec::new(),
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        target_gas_limit: 0,
        compounding: false,
        config_hash: fields.array("config_hash", form)?,
        definition_hash: fields.array("definition_hash", form)?,
    };
    if version.has_creator() {
        out.creator = fields.object("creator", |creator| read_creator(creator, version))?.unwrap_or_default();
    }
    if version.has_validator_addresses() {
        let addresses = |entry: &Entry<'_>| entry.object(|fields| validator_addresses(fields, version));
        out.validator_addresses = fields.list("validators", MAX_VALIDATORS, "validators", addresses)?;
    } else {
        out.common_addresses = validator_addresses(fields, version)?;
    }
    if version.has_partial_deposits() {
        out.deposit_amounts =
            fields.list("deposit_amounts", MAX_DEPOSITS, "deposit amounts", |entry| entry.gwei())?;
    }
    if version.has_consensus_protocol() {
        out.consensus_protocol =
            fields.text_or_empty("consensus_protocol", limit(limits::MAX_CONSENSUS_PROTOCOL))?;
    }
    if version.has_gas_limit() {
        out.target_gas_limit = fields.u64_or_zero("target_gas_limit")?;
        out.compounding = fields.bool_or_false("compounding")?;
    }
    Ok(out)
}

/// Reads a lock.
pub(super) fn lock(fields: &Fields<'_>) -> Result<Lock, FileError> {
    let definition = fields
        .object("cluster_definition", definition)?
        .ok_or_else(|| fields.error("cluster_definition", Problem::Missing))?;
    let version = definition.version;
    let form = version.byte_text();
    let validator = |entry: &Entry<'_>| entry.object(|fields| distributed_validator(fields, version));
    let mut out = Lock {
        validators: fields.list("distributed_validators", MAX_VALIDATORS, "validators", validator)?,
        signature_aggregate: fields.bytes("signature_aggregate", form, Length::Any)?,
        lock_hash: fields.array("lock_hash", form)?,
        node_signatures: Vec::new(),
        definition,
    };
    if version.has_node_signatures() {
        let signature = |entry: &Entry<'_>| entry.bytes(form, Length::Any);
        out.node_signatures = fields.list("node_signatures", MAX_OPERATORS, "node signatures", signature)?;
    }
    Ok(out)
}

fn version(fields: &Fields<'_>) -> Result<Version, FileError> {
    let found = fields.text("version", None)?;
    Version::from_text(&found).ok_or_else(|| FileError::UnsupportedVersion {
        path: fields.path_text("version"),
        // An error is for reading: what stands there may be megabytes.
        found: found.chars().take(limits::MAX_VERSION).collect(),
    })
}

fn operators(fields: &Fields<'_>, version: Version) -> Result<Vec<Operator>, FileError> {
    if !fields.has("operators") {
        return Err(fields.error("operators", Problem::Missing));
    }
    let operator = |entry: &Entry<'_>| entry.object(|fields| read_operator(fields, version));
    let operators = fields.list("operators", MAX_OPERATORS, "operators", operator)?;
    if operators.is_empty() {
        return Err(fields.error("operators", Problem::NoOperators));
    }
    Ok(operators)
}

fn read_operator(fields: &Fields<'_>, version: Version) -> Result<Operator, FileError> {
    if version.has_nonce() && fields.u64_or_zero("nonce")? != 0 {
        // The hash has a constant zero there, whatever the file says.
        return Err(fields.error("nonce", Problem::Fixed { expected: "0" }));
    }
    let enr_limit = (!version.hashes_text()).then_some(limits::MAX_ENR);
    Ok(Operator {
        address: address(fields, "address", version)?,
        enr: fields.text_or_empty("enr", enr_limit)?,
        config_signature: signature(fields, "config_signature", version)?,
        enr_signature: signature(fields, "enr_signature", version)?,
    })
}

fn read_creator(fields: &Fields<'_>, version: Version) -> Result<Creator, FileError> {
    Ok(Creator {
        address: address(fields, "address", version)?,
        config_signature: signature(fields, "config_signature", version)?,
    })
}

fn validator_addresses(fields: &Fields<'_>, version: Version) -> Result<ValidatorAddresses, FileError> {
    Ok(ValidatorAddresses {
        fee_recipient: address(fields, "fee_recipient_address", version)?,
        withdrawal: address(fields, "withdrawal_address", version)?,
    })
}

/// An address, kept as it is written. Old versions hash its text, whatever it is.
fn address(fields: &Fields<'_>, key: &'static str, version: Version) -> Result<String, FileError> {
    let text = fields.text_or_empty(key, None)?;
    if !version.hashes_text() && address_bytes(&text).is_none() {
        // Read again as bytes, for the error that says what is wrong.
        fields.bytes(key, ByteText::Hex, Length::EmptyOr(ADDRESS))?;
    }
    Ok(text)
}

fn signature(fields: &Fields<'_>, key: &'static str, version: Version) -> Result<Vec<u8>, FileError> {
    let length = if version.has_signature_lists() {
        Length::Repeated(K1_SIGNATURE, limits::MAX_SIGNATURES)
    } else {
        Length::EmptyOr(K1_SIGNATURE)
    };
    fields.bytes(key, version.byte_text(), length)
}

fn distributed_validator(fields: &Fields<'_>, version: Version) -> Result<DistributedValidator, FileError> {
    let form = version.byte_text();
    // The hashes leave it out, and nothing uses it any more.
    if version.had_validator_fee_recipient()
        && !fields.text_or_empty("fee_recipient_address", None)?.is_empty()
    {
        return Err(fields.error("fee_recipient_address", Problem::Fixed { expected: "empty" }));
    }
    let share = |entry: &Entry<'_>| entry.bytes(form, Length::Exactly(BLS_KEY));
    let mut out = DistributedValidator {
        // Hexadecimal in every version, unlike the shares.
        public_key: fields.bytes("distributed_public_key", ByteText::Hex, Length::Exactly(BLS_KEY))?,
        public_shares: fields.list("public_shares", MAX_OPERATORS, "public shares", share)?,
        ..DistributedValidator::default()
    };
    if version.has_single_deposit() {
        out.deposits = vec![fields.object("deposit_data", deposit)?.unwrap_or_default()];
    }
    if version.has_partial_deposits() {
        let partial = |entry: &Entry<'_>| entry.object(deposit);
        out.deposits = fields.list("partial_deposit_data", MAX_DEPOSITS, "deposits", partial)?;
    }
    if version.has_node_signatures() {
        out.registration = fields.object("builder_registration", registration)?.unwrap_or_default();
    }
    Ok(out)
}

fn deposit(fields: &Fields<'_>) -> Result<Deposit, FileError> {
    Ok(Deposit {
        public_key: fields.bytes("pubkey", ByteText::Hex, Length::EmptyOr(BLS_KEY))?,
        withdrawal_credentials: fields.bytes("withdrawal_credentials", ByteText::Hex, Length::EmptyOr(32))?,
        amount: fields.gwei_or_zero("amount")?,
        signature: fields.bytes("signature", ByteText::Hex, Length::EmptyOr(BLS_SIGNATURE))?,
    })
}

fn registration(fields: &Fields<'_>) -> Result<Registration, FileError> {
    let message = |fields: &Fields<'_>| {
        Ok(Registration {
            fee_recipient: fields.bytes("fee_recipient", ByteText::Hex, Length::EmptyOr(ADDRESS))?,
            gas_limit: fields.i64_or_zero("gas_limit")?,
            timestamp: fields.i64_or_zero("timestamp")?,
            public_key: fields.bytes("pubkey", ByteText::Hex, Length::EmptyOr(BLS_KEY))?,
            signature: Vec::new(),
        })
    };
    let mut out = fields.object("message", message)?.unwrap_or_default();
    out.signature = fields.bytes("signature", ByteText::Hex, Length::EmptyOr(BLS_SIGNATURE))?;
    Ok(out)
}
