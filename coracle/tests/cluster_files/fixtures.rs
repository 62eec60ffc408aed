//! The committed fixtures, one definition and one lock of every version.

use std::path::{Path, PathBuf};

use coracle::cluster_file::{CheckKind, ClusterFile, Content, Outcome, Version, write};

use crate::generator;

/// Where they are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Set to write the fixtures anew.
pub(crate) const WRITE: &str = "CORACLE_WRITE_FIXTURES";

#[test]
fn the_fixtures_are_what_the_generator_makes() {
    for (name, text) in Version::all().flat_map(generator::files) {
        let path = directory().join(&name);
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{name} differs from what the generator makes; {WRITE}=1 writes it anew");
    }
}

#[test]
fn every_fixture_is_accepted_and_every_part_of_it_verified() {
    for version in Version::all() {
        let minor = generator::minor(version);
        for (name, text) in generator::files(version) {
            let file = ClusterFile::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(file.version(), version);
            let report = file.verify();
            assert!(!report.refused(), "{name}: {:#?}", report.failed().collect::<Vec<_>>());
            let (is_lock, operators) = (file.lock().is_some(), generator::OPERATORS);
            let verified = |kind| {
                let of_kind = report.checks.iter().filter(|check| check.check == kind);
                of_kind.filter(|check| check.outcome == Outcome::Verified).count()
            };
            let if_lock = |from: u8, count: usize| if is_lock && minor >= from { count } else { 0 };
            for (kind, count) in [
                (CheckKind::ConfigHash, 1),
                (CheckKind::DefinitionHash, 1),
                (CheckKind::OperatorRecord, operators),
                (CheckKind::LockHash, if_lock(0, 1)),
                (CheckKind::NodeSignature, if_lock(7, operators)),
                (CheckKind::OperatorSignature, if_lock(3, 2 * operators)),
                (CheckKind::CreatorSignature, if_lock(4, 1)),
                (CheckKind::KeyShares, if_lock(0, 1)),
                (CheckKind::AggregateSignature, if_lock(0, 1)),
                (CheckKind::Deposits, if_lock(6, 1)),
                (CheckKind::Registrations, if_lock(7, 1)),
            ] {
                assert_eq!(verified(kind), count, "{name}: {kind:?}");
            }
            // What is not checked is what the version does not have, and in the definitions nobody signed.
            for check in &report.checks {
                if let Outcome::NotChecked { because } = &check.outcome {
                    let words = [version.as_str(), "unsigned"];
                    assert!(words.iter().any(|word| because.contains(word)), "{name}: {because}");
                    assert!(minor < 7 || !is_lock, "{name}: {because}");
                }
            }
            assert_eq!(report.uncovered, [], "{name}");
            assert_eq!(report.is_signed(), is_lock, "{name}");
        }
    }
}

#[test]
fn what_is_written_reads_back_the_same() {
    for version in Version::all() {
        for content in [
            Content::Definition(generator::definition(version, 5)),
            Content::Lock(generator::lock(version, 5)),
        ] {
            let text = write::to_json(&content);
            assert_eq!(ClusterFile::parse(text.as_bytes()).unwrap().content(), &content, "{version}");
        }
    }
}

#[test]
fn members_come_in_the_order_of_the_file() {
    let lock = generator::lock(Version::NEWEST, 6);
    let file = ClusterFile::from(Content::Lock(lock.clone()));
    let members = file.members().unwrap();
    assert_eq!(members.len(), generator::OPERATORS);
    for (index, (member, operator)) in members.iter().zip(&lock.definition.operators).enumerate() {
        assert_eq!(member.position, index);
        assert_eq!(member.enr, operator.enr);
        assert_eq!(member.address, operator.address);
        assert_eq!(member.record.to_string(), operator.enr);
    }
}

#[test]
fn a_lock_without_validators_has_no_failed_check() {
    let nodes = generator::made(Version::NEWEST, 7).nodes;
    let keys: Vec<_> = nodes.into_iter().map(|node| node.secret).collect();
    let new = write::NewCluster {
        name: "demo".to_owned(),
        uuid: "00000000-0000-0000-0000-000000000007".to_owned(),
        timestamp: "2026-01-02T03:04:05+00:00".to_owned(),
        fork_version: [0x10, 0, 9, 0x10],
        enrs: keys.iter().zip(1..).map(|(key, octet)| generator::enr(key, octet)).collect(),
    };
    let lock = write::lock_without_validators(write::definition(&new).unwrap(), &keys).unwrap();
    let text = write::to_json(&Content::Lock(lock.clone()));
    let file = ClusterFile::parse(text.as_bytes()).unwrap();
    let report = file.verify();
    assert!(!report.refused(), "{report:#?}");
    assert_eq!(file.version(), Version::NEWEST);
    assert!(lock.signature_aggregate.is_empty() && lock.validators.is_empty());
    assert_eq!(file.definition().threshold, 2);

    assert_eq!(
        write::lock_without_validators(lock.definition, &keys[1..]),
        Err(write::WriteError::Keys { keys: 2, operators: 3 })
    );
    assert_eq!(
        write::definition(&write::NewCluster { uuid: "5".repeat(65), ..new.clone() }),
        Err(write::WriteError::TooLong { field: "uuid", found: 65, limit: 64 })
    );
    assert_eq!(
        write::definition(&write::NewCluster { enrs: Vec::new(), ..new }),
        Err(write::WriteError::Operators(0))
    );
}
