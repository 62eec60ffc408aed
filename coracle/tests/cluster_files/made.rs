//! `create`: what it writes can be read, opened and verified, says what it is for, and stands over nothing.

use std::{collections::BTreeSet, path::Path};

use coracle::{
    bls,
    cluster_file::{ClusterFile, Network, Outcome, Version},
    create::{self, CreateError, ETH, Keystores, Plan},
    data_dir::DataDir,
    key_file, keystore,
};
use coracle_core::crypto::{Crypto, RustCrypto};
use serde_json::Value;

use crate::generator::{self, Draw, Made};

fn written(version: Version, directory: &Path) -> Made {
    let made = Made::new(&Plan { threshold: 3, ..generator::plan(version) }, 4, 50);
    let mut draw = Draw::new(51);
    let mut random = |bytes: &mut [u8]| {
        draw.fill(bytes);
        Ok(())
    };
    create::write_cluster(directory, &made.cluster, &made.nodes, Keystores::Insecure, &mut random).unwrap();
    made
}

fn files_under(directory: &Path) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                out.insert(path.strip_prefix(directory).unwrap().display().to_string());
            }
        }
    }
    out
}

#[test]
fn every_operator_has_what_a_ceremony_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let made = written(Version::NEWEST, directory.path());
    let mut expected: BTreeSet<String> =
        ["FOR_TESTING_ONLY.txt", "cluster-definition.json"].map(str::to_owned).into();
    for node in 0..4 {
        for file in [
            "FOR_TESTING_ONLY.txt",
            "charon-enr-private-key",
            "cluster-lock.json",
            "deposit-data-1eth.json",
            "deposit-data-31eth.json",
            "validator_keys/keystore-insecure-0.json",
            "validator_keys/keystore-insecure-0.txt",
            "validator_keys/keystore-insecure-1.json",
            "validator_keys/keystore-insecure-1.txt",
        ] {
            expected.insert(format!("node{node}/{file}"));
        }
    }
    assert_eq!(files_under(directory.path()), expected);

    for node in 0..4 {
        let data_dir = DataDir::new(directory.path().join(format!("node{node}")));
        let secret = key_file::load(&data_dir.key_file()).unwrap();
        assert_eq!(RustCrypto.public_key(&secret), RustCrypto.public_key(&made.nodes[node].secret));
        let file = ClusterFile::parse(&std::fs::read(data_dir.cluster_lock()).unwrap()).unwrap();
        let report = file.verify();
        assert!(report.checks.iter().all(|check| check.outcome == Outcome::Verified), "{report:#?}");
        let member = &file.members().unwrap()[node];
        assert_eq!(*member.record.public_key(), RustCrypto.public_key(&secret));
        let lock = file.lock().unwrap();
        for (index, validator) in lock.validators.iter().enumerate() {
            let stem = data_dir.path().join(format!("validator_keys/keystore-insecure-{index}"));
            let password = std::fs::read_to_string(stem.with_extension("txt")).unwrap();
            let share =
                keystore::open(&std::fs::read(stem.with_extension("json")).unwrap(), &password).unwrap();
            assert_eq!(share.public_key().to_bytes().to_vec(), validator.public_shares[node]);
        }
        for (at, amount) in [1, 31].into_iter().enumerate() {
            let path = data_dir.path().join(format!("deposit-data-{amount}eth.json"));
            let list: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let mut deposits: Vec<_> =
                lock.validators.iter().map(|validator| &validator.deposits[at]).collect();
            deposits.sort_by(|a, b| a.public_key.cmp(&b.public_key));
            for (json, deposit) in list.iter().zip(deposits) {
                assert_eq!(json["amount"], amount * ETH);
                assert_eq!(json["pubkey"], hex::encode(&deposit.public_key));
                assert_eq!(json["signature"], hex::encode(&deposit.signature));
                assert_eq!(json["fork_version"], "10000910");
                assert_eq!(json["network_name"], "hoodi");
            }
            assert_eq!(list.len(), 2);
        }
    }
}

#[test]
fn every_file_says_that_it_is_for_testing() {
    for version in [Version::NEWEST, Version::from_text("v1.5.0").unwrap()] {
        let directory = tempfile::tempdir().unwrap();
        written(version, directory.path());
        for name in files_under(directory.path()) {
            let text = std::fs::read_to_string(directory.path().join(&name)).unwrap();
            let says = text.to_lowercase().replace('-', " ").contains("for testing only");
            // A key file has room for the key only; the notice stands beside it.
            assert_eq!(says, !name.ends_with("charon-enr-private-key"), "{name}");
        }
    }
}

#[test]
fn nothing_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let made = written(Version::NEWEST, directory.path());
    let before: Vec<_> = files_under(directory.path())
        .into_iter()
        .map(|name| (std::fs::read(directory.path().join(&name)).unwrap(), name))
        .collect();
    let mut draw = Draw::new(52);
    let mut random = |bytes: &mut [u8]| {
        draw.fill(bytes);
        Ok(())
    };
    let again =
        create::write_cluster(directory.path(), &made.cluster, &made.nodes, Keystores::Insecure, &mut random);
    assert!(matches!(again, Err(CreateError::Exists(_))));
    let node = DataDir::new(directory.path().join("node0"));
    let again = create::write_node(&node, &made.cluster, 0, Keystores::Insecure, &mut random);
    assert!(matches!(again, Err(CreateError::Exists(_))));
    for (bytes, name) in before {
        assert_eq!(std::fs::read(directory.path().join(&name)).unwrap(), bytes, "{name}");
    }
}

#[test]
fn what_cannot_be_dealt_is_refused() {
    let plan = generator::plan(Version::NEWEST);
    let nodes = generator::made(Version::NEWEST, 53).nodes;
    let refused = |plan: Plan| {
        let mut draw = Draw::new(54);
        let dealt = create::deal(&plan, &nodes, &mut |bytes| {
            draw.fill(bytes);
            Ok(())
        });
        dealt.expect_err("refused").to_string()
    };
    for name in ["mainnet", "gnosis"] {
        let network = Network::from_name(name).unwrap();
        assert!(refused(Plan { network, ..plan.clone() }).contains("is not a test network"));
    }
    for threshold in [0, 1, 4] {
        assert!(refused(Plan { threshold, ..plan.clone() }).contains("does not fit 3 shares"));
    }
    assert!(refused(Plan { validators: 0, ..plan.clone() }).contains("1 to 65536 validators"));
    assert!(refused(Plan { name: "n".repeat(250), ..plan.clone() }).contains("name has"));
    for address in ["", "0x12", "fefefefefefefefefefefefefefefefefefefefe", "0xzz"] {
        assert!(refused(Plan { withdrawal: address.to_owned(), ..plan.clone() }).contains("not an Ethereum"));
    }
    let failing = create::deal(&plan, &nodes, &mut |_| Err(getrandom::Error::UNSUPPORTED));
    assert!(matches!(failing, Err(CreateError::Random(_))));
}

#[test]
fn any_threshold_of_the_shares_signs_for_the_validator() {
    let made = Made::new(&Plan { threshold: 3, ..generator::plan(Version::NEWEST) }, 4, 55);
    for (index, validator) in made.cluster.lock.validators.iter().enumerate() {
        let shares: Vec<_> =
            made.cluster.shares.iter().map(|of| of[index].public_key()).enumerate().collect();
        let key = bls::PublicKey::from_bytes(&validator.public_key);
        for without in 0..4 {
            let some: Vec<_> = shares.iter().filter(|(at, _)| *at != without).copied().collect();
            assert_eq!(bls::recover(&some), key);
            assert_ne!(bls::recover(&some[..2]), key);
        }
    }
}
