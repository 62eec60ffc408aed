//! Makes a definition and a lock of any version, always the same ones for a seed.
//!
//! Keys, ENRs, hashes and node signatures are real. What this build can neither make nor check is bytes drawn
//! from the seed: BLS keys and signatures, and the EIP-712 signatures of operators and creator.

use coracle::cluster_file::{
    Content, Creator, Definition, Deposit, DistributedValidator, Lock, Operator, Registration,
    ValidatorAddresses, Version, write,
};
use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    record::Builder,
};
use sha2::{Digest, Sha256};

/// Operators in each generated file.
pub(crate) const OPERATORS: usize = 3;
const VALIDATORS: usize = 2;

/// Bytes drawn from a seed, one after the other.
struct Draw {
    seed: u64,
    count: u64,
}

impl Draw {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < length {
            self.count += 1;
            out.extend(
                Sha256::new()
                    .chain_update(self.seed.to_le_bytes())
                    .chain_update(self.count.to_le_bytes())
                    .finalize(),
            );
        }
        out.truncate(length);
        out
    }

    fn address(&mut self) -> String {
        format!("0x{}", hex::encode(self.bytes(20)))
    }

    fn key(&mut self) -> SecretKey {
        SecretKey::from_bytes(&self.bytes(32).try_into().unwrap())
            .expect("all but one draw in 2^128 is a key")
    }

    fn k1_signature(&mut self) -> Vec<u8> {
        let mut signature = self.bytes(64);
        signature.push(27);
        signature
    }
}

/// The minor number of a version.
pub(crate) fn minor(version: Version) -> u8 {
    version.as_str().split('.').nth(1).unwrap().parse().unwrap()
}

/// The ENR of a key, with an address.
pub(crate) fn enr(key: &SecretKey, last_octet: u8) -> String {
    let mut builder = Builder::new();
    builder.set_ip4(Some([127, 0, 0, last_octet].into())).unwrap();
    builder.set_tcp4(Some(3610)).unwrap();
    builder.set_udp4(Some(3630)).unwrap();
    builder.sign(1, &Identity::new(RustCrypto, key.clone())).unwrap().to_string()
}

/// A definition in which nobody signed, as the creator of a cluster run by one person makes it.
pub(crate) fn definition(version: Version, seed: u64) -> Definition {
    let mut draw = Draw { seed, count: 0 };
    let keys: Vec<_> = (0..OPERATORS).map(|_| draw.key()).collect();
    unsigned(version, &mut draw, &keys)
}

/// A lock in which everybody signed who can in that version, and the nodes' keys.
pub(crate) fn lock(version: Version, seed: u64) -> (Lock, Vec<SecretKey>) {
    let mut draw = Draw { seed, count: 0 };
    let keys: Vec<_> = (0..OPERATORS).map(|_| draw.key()).collect();
    let mut definition = unsigned(version, &mut draw, &keys);
    for operator in &mut definition.operators {
        operator.address = draw.address();
        if minor(version) >= 3 {
            operator.config_signature = draw.k1_signature();
            operator.enr_signature = draw.k1_signature();
        }
        if minor(version) >= 11 {
            operator.config_signature.extend(draw.k1_signature());
        }
    }
    if minor(version) >= 4 {
        definition.creator = Creator { address: draw.address(), config_signature: draw.k1_signature() };
    }
    let validators = (0..VALIDATORS).map(|_| validator(version, &mut draw)).collect();
    let mut lock = Lock {
        definition,
        validators,
        signature_aggregate: draw.bytes(96),
        lock_hash: [0; 32],
        node_signatures: Vec::new(),
    };
    lock.seal(&keys).unwrap();
    (lock, keys)
}

/// The two generated files of a version, with the names of their fixtures.
pub(crate) fn files(version: Version) -> [(String, String); 2] {
    let seed = 1000 + u64::from(minor(version));
    [
        (
            format!("definition-{version}.json"),
            write::to_json(&Content::Definition(definition(version, seed))),
        ),
        (format!("lock-{version}.json"), write::to_json(&Content::Lock(lock(version, seed).0))),
    ]
}

fn unsigned(version: Version, draw: &mut Draw, keys: &[SecretKey]) -> Definition {
    let minor = minor(version);
    let addresses = ValidatorAddresses { fee_recipient: draw.address(), withdrawal: draw.address() };
    let operator = |(index, key): (usize, &SecretKey)| Operator {
        enr: enr(key, index as u8 + 1),
        ..Operator::default()
    };
    let mut definition = Definition {
        version,
        name: format!("generated {version}"),
        uuid: hex::encode_upper(draw.bytes(16)),
        timestamp: "2026-01-02T03:04:05+00:00".to_owned(),
        num_validators: VALIDATORS as u64,
        threshold: 2,
        dkg_algorithm: "default".to_owned(),
        fork_version: [0x10, 0, 9, 0x10],
        operators: keys.iter().enumerate().map(operator).collect(),
        creator: Creator::default(),
        common_addresses: if minor <= 4 { addresses } else { ValidatorAddresses::default() },
        validator_addresses: Vec::new(),
        deposit_amounts: if minor >= 8 { vec![1_000_000_000, 31_000_000_000] } else { Vec::new() },
        consensus_protocol: if minor >= 9 { "abft".to_owned() } else { String::new() },
        target_gas_limit: if minor >= 10 { 36_000_000 } else { 0 },
        compounding: minor >= 11,
        config_hash: [0; 32],
        definition_hash: [0; 32],
    };
    if minor >= 5 {
        definition.validator_addresses = (0..VALIDATORS)
            .map(|_| ValidatorAddresses { fee_recipient: draw.address(), withdrawal: draw.address() })
            .collect();
    }
    definition.seal();
    definition
}

fn validator(version: Version, draw: &mut Draw) -> DistributedValidator {
    let minor = minor(version);
    let public_key = draw.bytes(48);
    let deposits = match minor {
        0..=5 => 0,
        6 | 7 => 1,
        _ => 2,
    };
    let mut deposit = || Deposit {
        public_key: public_key.clone(),
        withdrawal_credentials: draw.bytes(32),
        amount: 16_000_000_000,
        signature: draw.bytes(96),
    };
    let deposits = (0..deposits).map(|_| deposit()).collect();
    let registration = if minor >= 7 {
        Registration {
            fee_recipient: draw.bytes(20),
            gas_limit: 30_000_000,
            timestamp: 1_655_733_600,
            public_key: public_key.clone(),
            signature: draw.bytes(96),
        }
    } else {
        Registration::default()
    };
    let public_shares = (0..OPERATORS).map(|_| draw.bytes(48)).collect();
    DistributedValidator { public_key, public_shares, deposits, registration }
}
