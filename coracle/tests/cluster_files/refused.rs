//! Files that are wrong in one way each, and the words in which they are refused.

use coracle::cluster_file::{ClusterFile, Content, FileError, Problem, Version, write};
use serde_json::{Value, json};

use crate::generator;

fn lock_json(version: &str) -> Value {
    let version = Version::from_text(version).unwrap();
    serde_json::from_str(&generator::files(version)[1].1).unwrap()
}

/// The error of a lock of `version` with the value at `pointer` replaced.
fn error_with(version: &str, pointer: &str, value: Value) -> String {
    let mut tree = lock_json(version);
    *tree.pointer_mut(pointer).unwrap() = value;
    ClusterFile::parse(tree.to_string().as_bytes()).expect_err("refused").to_string()
}

#[test]
fn what_is_no_cluster_file() {
    for text in ["[]", "7", "\"v1.7.0\"", "{}", "{\"cluster_definition\":null}"] {
        let error = ClusterFile::parse(text.as_bytes()).expect_err(text);
        assert_eq!(error, FileError::NotAClusterFile, "{text}");
    }
    for text in ["", "{", "{\"version\":\"v1.7.0\"", "\u{feff}{}"] {
        assert!(matches!(ClusterFile::parse(text.as_bytes()), Err(FileError::Json(_))), "{text}");
    }
}

#[test]
fn an_unknown_version_names_the_supported_ones() {
    let error = error_with("v1.7.0", "/cluster_definition/version", json!("v1.12.0"));
    assert!(error.starts_with("cluster_definition.version: version `v1.12.0` is not supported"), "{error}");
    for version in Version::all() {
        assert!(error.contains(version.as_str()), "{error}");
    }
    let error = error_with("v1.7.0", "/cluster_definition/version", json!("9".repeat(1_000_000)));
    assert!(error.len() < 300, "an error is for reading");
}

#[test]
fn wrong_types_name_the_path() {
    let first = "/cluster_definition/operators/0";
    for (pointer, value, expected) in [
        (
            format!("{first}/enr"),
            json!(5),
            "cluster_definition.operators[0].enr: expected text, found a number",
        ),
        (first.to_owned(), json!("x"), "cluster_definition.operators[0]: expected an object, found text"),
        (
            "/cluster_definition/operators".to_owned(),
            json!({}),
            "cluster_definition.operators: expected a list, found an object",
        ),
        (
            "/cluster_definition/threshold".to_owned(),
            json!("2"),
            "cluster_definition.threshold: expected a number, found text",
        ),
        (
            "/cluster_definition/threshold".to_owned(),
            json!(-2),
            "cluster_definition.threshold: -2 is out of range: a whole number from 0 to 2^64 - 1",
        ),
        (
            "/cluster_definition/num_validators".to_owned(),
            json!(65537),
            "cluster_definition.num_validators: 65537 is out of range: at most 65536",
        ),
        (
            "/distributed_validators/1/public_shares/2".to_owned(),
            json!("0x1234"),
            "distributed_validators[1].public_shares[2]: expected 48 bytes, found 2 bytes",
        ),
        (
            "/distributed_validators/1/partial_deposit_data/0/amount".to_owned(),
            json!("+5"),
            "distributed_validators[1].partial_deposit_data[0].amount: not a number of Gwei: it begins with a sign",
        ),
        ("/lock_hash".to_owned(), json!("0x12"), "lock_hash: expected 32 bytes, found 1 bytes"),
        ("/lock_hash".to_owned(), json!(null), "lock_hash: missing"),
        (
            format!("{first}/address"),
            json!("0x1234"),
            "cluster_definition.operators[0].address: expected 20 bytes or none, found 2 bytes",
        ),
        (
            "/cluster_definition/name".to_owned(),
            json!("n".repeat(257)),
            "cluster_definition.name: 257 bytes of text, and at most 256 are allowed",
        ),
        (
            "/cluster_definition/name".to_owned(),
            json!("a\0b"),
            "cluster_definition.name: holds a NUL character, which the hashes of old versions cannot see",
        ),
        (
            format!("{first}/config_signature"),
            json!("0x1234"),
            "cluster_definition.operators[0].config_signature: expected 65 bytes for each signature, \
             32 signatures at most, found 2 bytes",
        ),
    ] {
        assert_eq!(error_with("v1.11.0", &pointer, value), expected, "{pointer}");
    }
}

#[test]
fn encodings_do_not_mix() {
    let base64 = lock_json("v1.1.0").pointer("/lock_hash").unwrap().clone();
    let error = error_with("v1.2.0", "/lock_hash", base64);
    assert!(error.starts_with("lock_hash: not hexadecimal:"), "{error}");
    let hex = lock_json("v1.2.0").pointer("/lock_hash").unwrap().clone();
    let error = error_with("v1.1.0", "/lock_hash", hex);
    assert!(error.starts_with("lock_hash: "), "{error}");
}

#[test]
fn operators_must_be_there_and_few() {
    let pointer = "/cluster_definition/operators";
    assert_eq!(error_with("v1.7.0", pointer, json!(null)), "cluster_definition.operators: missing");
    assert_eq!(
        error_with("v1.7.0", pointer, json!([])),
        "cluster_definition.operators: empty, and a cluster has at least one operator"
    );
    let one = lock_json("v1.7.0").pointer("/cluster_definition/operators/0").unwrap().clone();
    assert_eq!(
        error_with("v1.7.0", pointer, json!(vec![one; 257])),
        "cluster_definition.operators: 257 operators, and at most 256 are allowed"
    );
}

#[test]
fn a_nonce_must_be_zero() {
    let error = error_with("v1.0.0", "/cluster_definition/operators/1/nonce", json!(1));
    assert_eq!(error, "cluster_definition.operators[1].nonce: must be 0");
}

#[test]
fn a_validators_own_fee_recipient_must_be_empty() {
    let mut tree = lock_json("v1.4.0");
    tree["distributed_validators"][0]["fee_recipient_address"] = json!("0x12");
    let error = ClusterFile::parse(tree.to_string().as_bytes()).expect_err("refused");
    assert_eq!(error.to_string(), "distributed_validators[0].fee_recipient_address: must be empty");
}

#[test]
fn two_operators_with_one_key() {
    let mut definition = generator::definition(Version::NEWEST, 3);
    definition.operators[2].enr = definition.operators[0].enr.clone();
    definition.seal();
    let file = ClusterFile::from(Content::Definition(definition));
    let failed: Vec<_> = file.verify().failed().map(|check| format!("{:?}", check.outcome)).collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].contains("operators 0 and 2 have one key"), "{failed:?}");
    assert_eq!(
        file.members().expect_err("refused").to_string(),
        "operators[2].enr: operators 0 and 2 (counted from 0) have the same key"
    );
}

#[test]
fn an_enr_that_does_not_parse_names_its_operator() {
    let mut definition = generator::definition(Version::NEWEST, 3);
    definition.operators[1].enr = "enr:-nonsense".to_owned();
    definition.seal();
    let file = ClusterFile::from(Content::Definition(definition));
    let report = file.verify();
    let failed: Vec<_> = report.failed().map(|check| check.field.as_str()).collect();
    assert_eq!(failed, ["operators[1].enr"]);
    assert!(matches!(
        file.members(),
        Err(FileError::Field { problem: Problem::Enr { position: 1, .. }, .. })
    ));
}

#[test]
fn thresholds_out_of_range() {
    for threshold in [0, 4, u64::MAX] {
        let mut definition = generator::definition(Version::NEWEST, 3);
        definition.threshold = threshold;
        definition.seal();
        let report = ClusterFile::from(Content::Definition(definition)).verify();
        let failed: Vec<_> = report.failed().map(|check| check.field.as_str()).collect();
        assert_eq!(failed, ["threshold"]);
    }
}

/// The fields of the checks that failed in a lock of the newest version that `change` was applied to, and that was
/// sealed again by nodes and key shares. The accounts did not sign again.
fn failed_after(change: impl Fn(&mut coracle::cluster_file::Lock)) -> Vec<String> {
    let mut made = generator::made(Version::NEWEST, 4);
    change(&mut made.cluster.lock);
    made.seal();
    change(&mut made.cluster.lock);
    let text = write::to_json(&Content::Lock(made.cluster.lock));
    let report = ClusterFile::parse(text.as_bytes()).unwrap().verify();
    report.failed().map(|check| check.field.clone()).collect()
}

#[test]
fn signatures_that_are_missing_or_of_another_length() {
    assert_eq!(failed_after(|_| ()), Vec::<String>::new());
    assert_eq!(failed_after(|lock| lock.node_signatures.clear()), ["node_signatures"]);
    assert_eq!(failed_after(|lock| lock.node_signatures.truncate(2)), ["node_signatures"]);
    assert_eq!(failed_after(|lock| lock.node_signatures = vec![Vec::new(); 3]).len(), 3);
    let dummy = |lock: &mut coracle::cluster_file::Lock| {
        for signature in &mut lock.node_signatures {
            signature.truncate(32);
        }
        lock.signature_aggregate.truncate(32);
    };
    assert_eq!(
        failed_after(dummy),
        ["node_signatures[0]", "node_signatures[1]", "node_signatures[2]", "signature_aggregate"]
    );
    assert_eq!(failed_after(|lock| lock.signature_aggregate.clear()), ["signature_aggregate"]);
    assert_eq!(
        failed_after(|lock| lock.definition.operators[1].enr_signature.clear()),
        ["cluster_definition.operators[1].enr_signature"]
    );
    let unsigned = |lock: &mut coracle::cluster_file::Lock| {
        let operator = &mut lock.definition.operators[1];
        operator.address.clear();
        operator.config_signature.clear();
        operator.enr_signature.clear();
    };
    // The configuration names who signs, so that nobody signed this one.
    let mut expected = CONFIG_SIGNATURES.to_vec();
    expected.insert(2, "cluster_definition.operators[1].enr_signature");
    assert_eq!(failed_after(unsigned), expected);
    assert_eq!(failed_after(|lock| lock.definition.creator = Default::default()), CONFIG_SIGNATURES);
}

/// Every signature of the configuration.
const CONFIG_SIGNATURES: [&str; 4] = [
    "cluster_definition.operators[0].config_signature",
    "cluster_definition.operators[1].config_signature",
    "cluster_definition.operators[2].config_signature",
    "cluster_definition.creator.config_signature",
];

#[test]
fn lists_of_another_length_than_stated() {
    let fewer = |lock: &mut coracle::cluster_file::Lock| drop(lock.validators.drain(1..));
    assert_eq!(failed_after(fewer), ["distributed_validators"]);
    let addresses =
        |lock: &mut coracle::cluster_file::Lock| drop(lock.definition.validator_addresses.drain(1..));
    let mut expected = CONFIG_SIGNATURES.to_vec();
    expected.insert(0, "cluster_definition.validators");
    expected.push("distributed_validators[1].builder_registration.message.fee_recipient");
    assert_eq!(failed_after(addresses), expected);
    let shares = |lock: &mut coracle::cluster_file::Lock| drop(lock.validators[1].public_shares.drain(1..));
    // The list is too short, and so cannot make up the key.
    assert_eq!(failed_after(shares), ["distributed_validators[1].public_shares"; 2]);
}
