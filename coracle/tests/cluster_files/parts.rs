//! Each part of a lock made wrong on its own, with all that stands above it sealed again: the check of that part,
//! and no other, refuses it.

use coracle::{
    bls,
    cluster_file::{CheckKind, ClusterFile, Content, Lock, Outcome, Report, Version, roots},
};

use crate::generator::{self, Made};

fn verified(lock: &Lock) -> Report {
    ClusterFile::from(Content::Lock(lock.clone())).verify()
}

fn failed(lock: &Lock) -> Vec<String> {
    verified(lock).failed().map(|check| check.field.clone()).collect()
}

/// What fails in the newest version once `change` was made and nodes and key shares signed again.
fn failed_after(change: impl FnOnce(&mut Made)) -> Vec<String> {
    let mut made = generator::made(Version::NEWEST, 40);
    change(&mut made);
    made.seal();
    failed(&made.cluster.lock)
}

const SHARES: &str = "distributed_validators[1].public_shares";

#[test]
fn key_shares() {
    assert_eq!(failed_after(|_| ()), [""; 0]);
    let swapped = |made: &mut Made| made.cluster.lock.validators[1].public_shares.swap(0, 2);
    assert_eq!(failed_after(swapped), [SHARES]);
    // The last share is of another validator, the first two make up the key.
    let foreign = |made: &mut Made| {
        let other = made.cluster.lock.validators[0].public_shares[2].clone();
        made.cluster.lock.validators[1].public_shares[2] = other;
    };
    assert_eq!(failed_after(foreign)[0], format!("{SHARES}[2]"));
    let twice = |made: &mut Made| {
        let first = made.cluster.lock.validators[1].public_shares[0].clone();
        made.cluster.lock.validators[1].public_shares[1] = first;
    };
    assert_eq!(failed_after(twice)[0], format!("{SHARES}[1]"));
    let no_key = |made: &mut Made| made.cluster.lock.validators[1].public_shares[1] = vec![0xff; 48];
    assert_eq!(failed_after(no_key), [&format!("{SHARES}[1]"), "signature_aggregate"]);
    let infinity = |made: &mut Made| {
        let share = &mut made.cluster.lock.validators[1].public_shares[1];
        share.fill(0);
        share[0] = 0xc0;
    };
    assert_eq!(failed_after(infinity), [&format!("{SHARES}[1]"), "signature_aggregate"]);
    let same_validator = |made: &mut Made| {
        let first = made.cluster.lock.validators[0].clone();
        made.cluster.lock.validators[1] = first;
    };
    assert_eq!(failed_after(same_validator)[0], "distributed_validators[1].distributed_public_key");
}

#[test]
fn aggregate_signature() {
    let other = |change: fn(&mut Lock, &[Vec<bls::SecretKey>])| {
        let mut made = generator::made(Version::NEWEST, 41);
        change(&mut made.cluster.lock, &made.cluster.shares);
        failed(&made.cluster.lock)
    };
    let without_one = |lock: &mut Lock, shares: &[Vec<bls::SecretKey>]| {
        let sum = bls::SecretKey::sum(shares.iter().flatten().skip(1)).unwrap();
        lock.signature_aggregate = sum.sign(&lock.lock_hash).to_vec();
    };
    assert_eq!(other(without_one), ["signature_aggregate"]);
    let over_another_hash = |lock: &mut Lock, shares: &[Vec<bls::SecretKey>]| {
        let sum = bls::SecretKey::sum(shares.iter().flatten()).unwrap();
        lock.signature_aggregate = sum.sign(&lock.definition.config_hash).to_vec();
    };
    assert_eq!(other(over_another_hash), ["signature_aggregate"]);
    assert_eq!(other(|lock, _| lock.signature_aggregate.fill(0xff)), ["signature_aggregate"]);
}

#[test]
fn deposits() {
    let first = "distributed_validators[0].partial_deposit_data[1]";
    let field = |name: &str| vec![format!("{first}.{name}")];
    let changed = |change: fn(&mut coracle::cluster_file::Deposit)| {
        failed_after(move |made| change(&mut made.cluster.lock.validators[0].deposits[1]))
    };
    assert_eq!(changed(|deposit| deposit.amount += 1), field("signature"));
    assert_eq!(changed(|deposit| deposit.signature.fill(0)), field("signature"));
    assert_eq!(changed(|deposit| deposit.signature.clear()), field("signature"));
    assert_eq!(changed(|deposit| deposit.public_key[47] ^= 1), field("pubkey"));
    // To another account, signed by the validator all the same: here the definition is the witness.
    assert_eq!(changed(|deposit| deposit.withdrawal_credentials[31] ^= 1), field("withdrawal_credentials"));
    assert_eq!(changed(|deposit| deposit.withdrawal_credentials[0] = 1), field("withdrawal_credentials"));
    let other_network = |made: &mut Made| {
        let mut fork = made.cluster.lock.definition.fork_version;
        fork[0] ^= 1;
        let deposit = &mut made.cluster.lock.validators[0].deposits[1];
        let secret = bls::SecretKey::from_random(&[1; 32]).unwrap();
        deposit.signature = secret.sign(&roots::deposit(deposit, fork)).to_vec();
    };
    assert_eq!(failed_after(other_network), field("signature"));
    let swapped = |made: &mut Made| {
        let deposits = &mut made.cluster.lock.validators[0].deposits;
        let first = deposits[0].signature.clone();
        deposits[0].signature = std::mem::replace(&mut deposits[1].signature, first);
    };
    let both = [0, 1].map(|at| format!("distributed_validators[0].partial_deposit_data[{at}].signature"));
    assert_eq!(failed_after(swapped), both);
    assert_eq!(failed_after(|made| made.cluster.lock.validators[0].deposits.clear()), [""; 0]);
}

#[test]
fn registrations() {
    let field = |name: &str| vec![format!("distributed_validators[1].builder_registration{name}")];
    let changed = |change: fn(&mut coracle::cluster_file::Registration)| {
        failed_after(move |made| change(&mut made.cluster.lock.validators[1].registration))
    };
    assert_eq!(changed(|registration| registration.gas_limit += 1), field(".signature"));
    assert_eq!(changed(|registration| registration.timestamp = -1), field(".signature"));
    assert_eq!(changed(|registration| registration.signature[3] ^= 1), field(".signature"));
    assert_eq!(changed(|registration| registration.fee_recipient[0] ^= 1), field(".message.fee_recipient"));
    assert_eq!(changed(|registration| registration.public_key[0] ^= 1), field(".message.pubkey"));
    assert_eq!(changed(|registration| registration.signature.clear()), field(""));
    assert_eq!(changed(|registration| *registration = Default::default()), field(""));
}

#[test]
fn many_failures_are_counted() {
    let mut made = Made::new(
        &coracle::create::Plan { validators: 20, ..generator::plan(Version::NEWEST) },
        generator::OPERATORS,
        42,
    );
    for validator in &mut made.cluster.lock.validators {
        validator.registration.gas_limit += 1;
        validator.deposits.iter_mut().for_each(|deposit| deposit.public_key[0] ^= 1);
    }
    made.seal();
    let report = verified(&made.cluster.lock);
    let of_kind = |kind| report.failed().filter(|check| check.check == kind).collect::<Vec<_>>();
    // The costly search ends with the eighth; what costs nothing is counted.
    assert_eq!(of_kind(CheckKind::Registrations).len(), 8);
    let deposits = of_kind(CheckKind::Deposits);
    assert_eq!(deposits.len(), 9);
    assert_eq!(deposits[8].field, "distributed_validators[].partial_deposit_data");
    assert!(format!("{:?}", deposits[8].outcome).contains("32 more"), "{:?}", deposits[8]);
}

/// The outcome of the check of one field.
fn outcome(report: &Report, field: &str) -> Outcome {
    report.checks.iter().find(|check| check.field == field).unwrap().outcome.clone()
}

#[test]
fn account_signatures() {
    let operator = "cluster_definition.operators[0].config_signature";
    let mut made = generator::made(Version::NEWEST, 43);
    let good = made.cluster.lock.definition.operators[0].config_signature.clone();

    // Several in a row are a contract's.
    made.cluster.lock.definition.operators[0].config_signature = [good.clone(), good.clone()].concat();
    made.seal();
    let report = verified(&made.cluster.lock);
    assert!(!report.refused(), "{:?}", report.failed().collect::<Vec<_>>());
    let Outcome::NotChecked { because } = outcome(&report, operator) else { panic!("{report:?}") };
    let address = made.cluster.lock.definition.operators[0].address.clone();
    assert!(because.starts_with("2 signatures in a row") && because.contains("ERC-1271"), "{because}");
    assert!(because.ends_with(&format!("they are by {address}, {address}")), "{because}");

    // V from 0 as well as from 27.
    made.cluster.lock.definition.operators[0].config_signature = good.clone();
    for operator in &mut made.cluster.lock.definition.operators {
        operator.config_signature[64] -= 27;
        operator.enr_signature[64] -= 27;
    }
    made.seal();
    assert_eq!(failed(&made.cluster.lock), [""; 0]);

    // By somebody else, who may be one of a contract's owners.
    made.cluster.lock.definition.operators[0].config_signature =
        made.cluster.lock.definition.operators[1].config_signature.clone();
    made.seal();
    let report = verified(&made.cluster.lock);
    let Outcome::Failed { expected, found } = outcome(&report, operator) else { panic!("{report:?}") };
    assert!(expected.contains(&address), "{expected}");
    let other = &made.cluster.lock.definition.operators[1].address;
    assert!(found.contains(&format!("by {other}")) && found.contains("execution client"), "{found}");
    assert_eq!(report.failed().count(), 1);
}

#[test]
fn an_unknown_network_leaves_account_signatures_unchecked() {
    let mut definition = generator::lock(Version::NEWEST, 44).definition;
    definition.fork_version = [9, 9, 9, 9];
    definition.seal();
    let report = ClusterFile::from(Content::Definition(definition)).verify();
    assert!(!report.refused());
    let open = report.checks.iter().filter(|check| {
        matches!(&check.outcome, Outcome::NotChecked { because } if because.contains("fork version 0x09090909"))
    });
    assert_eq!(open.count(), 2 * generator::OPERATORS + 1);
    assert!(!report.is_signed());
}
