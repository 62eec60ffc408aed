//! Whatever a file of a version can say is written, read back, and the same; and says the same hashes.

use coracle::cluster_file::{
    ClusterFile, Content, Creator, Definition, Deposit, DistributedValidator, Lock, Operator, Registration,
    ValidatorAddresses, Version, config_hash, definition_hash, lock_hash, write,
};
use proptest::{collection::vec, prelude::*, test_runner::RngSeed};

use crate::generator::minor;

/// Text of at most `most` bytes, without NUL.
fn text(most: usize) -> impl Strategy<Value = String> {
    any::<String>().prop_map(move |text| {
        let mut out = String::new();
        for c in text.chars().filter(|c| *c != '\0') {
            if out.len() + c.len_utf8() > most {
                break;
            }
            out.push(c);
        }
        out
    })
}

fn bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), length)
}

fn bytes_or_none(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), bytes(length)]
}

/// Old versions hash whatever text stands there.
fn address(version: Version) -> BoxedStrategy<String> {
    let address = || bytes(20).prop_map(|bytes| format!("0x{}", hex::encode(bytes)));
    if minor(version) <= 2 {
        return prop_oneof![address(), text(60)].boxed();
    }
    let upper = address().prop_map(|text| text.to_uppercase().replace("0X", "0x"));
    prop_oneof![Just(String::new()), address(), upper].boxed()
}

fn addresses(version: Version) -> impl Strategy<Value = ValidatorAddresses> {
    (address(version), address(version))
        .prop_map(|(fee_recipient, withdrawal)| ValidatorAddresses { fee_recipient, withdrawal })
}

fn signature(version: Version) -> BoxedStrategy<Vec<u8>> {
    if minor(version) >= 11 {
        (0usize..4).prop_flat_map(|count| bytes(65 * count)).boxed()
    } else {
        bytes_or_none(65).boxed()
    }
}

fn operator(version: Version) -> impl Strategy<Value = Operator> {
    (address(version), text(300), signature(version), signature(version)).prop_map(
        |(address, enr, config_signature, enr_signature)| Operator {
            address,
            enr,
            config_signature,
            enr_signature,
        },
    )
}

fn definition(version: Version) -> impl Strategy<Value = Definition> {
    let minor = minor(version);
    let texts = (text(256), text(64), text(32), text(32), text(256));
    let numbers = (0u64..=65_536, any::<u64>(), any::<[u8; 4]>(), any::<u64>(), any::<bool>());
    let lists = (
        vec(operator(version), 1..5),
        vec(addresses(version), 0..4),
        vec(any::<u64>(), 0..5),
        addresses(version),
        (address(version), signature(version)),
        (any::<[u8; 32]>(), any::<[u8; 32]>()),
    );
    (texts, numbers, lists).prop_map(move |(texts, numbers, lists)| {
        let (name, uuid, timestamp, dkg_algorithm, consensus_protocol) = texts;
        let (num_validators, threshold, fork_version, target_gas_limit, compounding) = numbers;
        let (operators, validator_addresses, deposit_amounts, common_addresses, creator, hashes) = lists;
        Definition {
            version,
            name,
            uuid,
            timestamp,
            num_validators,
            threshold,
            dkg_algorithm,
            fork_version,
            operators,
            creator: if minor >= 4 {
                Creator { address: creator.0, config_signature: creator.1 }
            } else {
                Creator::default()
            },
            common_addresses: if minor <= 4 { common_addresses } else { ValidatorAddresses::default() },
            validator_addresses: if minor >= 5 { validator_addresses } else { Vec::new() },
            deposit_amounts: if minor >= 8 { deposit_amounts } else { Vec::new() },
            consensus_protocol: if minor >= 9 { consensus_protocol } else { String::new() },
            target_gas_limit: if minor >= 10 { target_gas_limit } else { 0 },
            compounding: minor >= 10 && compounding,
            config_hash: hashes.0,
            definition_hash: hashes.1,
        }
    })
}

fn deposit() -> impl Strategy<Value = Deposit> {
    (bytes_or_none(48), bytes_or_none(32), any::<u64>(), bytes_or_none(96)).prop_map(
        |(public_key, withdrawal_credentials, amount, signature)| Deposit {
            public_key,
            withdrawal_credentials,
            amount,
            signature,
        },
    )
}

fn registration() -> impl Strategy<Value = Registration> {
    (bytes_or_none(20), any::<i64>(), any::<i64>(), bytes_or_none(48), bytes_or_none(96)).prop_map(
        |(fee_recipient, gas_limit, timestamp, public_key, signature)| Registration {
            fee_recipient,
            gas_limit,
            timestamp,
            public_key,
            signature,
        },
    )
}

fn validator(version: Version) -> impl Strategy<Value = DistributedValidator> {
    let minor = minor(version);
    let deposits = match minor {
        0..=5 => vec(deposit(), 0..=0),
        6 | 7 => vec(deposit(), 1..=1),
        _ => vec(deposit(), 0..4),
    };
    (bytes(48), vec(bytes(48), 0..5), deposits, registration()).prop_map(
        move |(public_key, public_shares, deposits, registration)| DistributedValidator {
            public_key,
            public_shares,
            deposits,
            registration: if minor >= 7 { registration } else { Registration::default() },
        },
    )
}

fn lock(version: Version) -> impl Strategy<Value = Lock> {
    let signatures = vec(vec(any::<u8>(), 0..80), 0..5);
    let parts = (definition(version), vec(validator(version), 0..4), vec(any::<u8>(), 0..100));
    (parts, any::<[u8; 32]>(), signatures).prop_map(move |(parts, lock_hash, node_signatures)| Lock {
        definition: parts.0,
        validators: parts.1,
        signature_aggregate: parts.2,
        lock_hash,
        node_signatures: if minor(version) >= 7 { node_signatures } else { Vec::new() },
    })
}

fn any_version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::all().collect::<Vec<_>>())
}

proptest! {
    // Always the same cases; a failure prints the file it shrank to.
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(0x00C0_4AC2),
        cases: 384,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn definitions(definition in any_version().prop_flat_map(definition)) {
        let content = Content::Definition(definition);
        let file = ClusterFile::parse(write::to_json(&content).as_bytes());
        prop_assert_eq!(file.as_ref().map(ClusterFile::content), Ok(&content));
    }

    #[test]
    fn locks(mut lock in any_version().prop_flat_map(lock)) {
        let content = Content::Lock(lock.clone());
        let file = ClusterFile::parse(write::to_json(&content).as_bytes());
        prop_assert_eq!(file.as_ref().map(ClusterFile::content), Ok(&content));
        // Any content has its hashes, and they hold once they are in.
        lock.definition.seal();
        lock.lock_hash = lock_hash(&lock);
        let file = ClusterFile::parse(write::to_json(&Content::Lock(lock)).as_bytes()).unwrap();
        let read = file.lock().unwrap();
        prop_assert_eq!(config_hash(&read.definition), read.definition.config_hash);
        prop_assert_eq!(definition_hash(&read.definition), read.definition.definition_hash);
        prop_assert_eq!(lock_hash(read), read.lock_hash);
        // Whatever it says, it can be checked.
        prop_assert!(file.verify().refused());
    }
}
