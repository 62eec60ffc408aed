//! Makes a definition and a lock of any version, always the same ones for a seed.

use coracle::{
    bls,
    cluster_file::{Content, Creator, Definition, Lock, Network, Operator, Version, write},
    create::{self, Cluster, ETH, Node, Plan},
};
use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    record::Builder,
};
use sha2::{Digest, Sha256};

/// Operators in each generated file.
pub(crate) const OPERATORS: usize = 3;
/// Validators in each generated lock.
pub(crate) const VALIDATORS: usize = 2;

/// Bytes drawn from a seed, one after the other.
pub(crate) struct Draw {
    seed: u64,
    count: u64,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    pub(crate) fn fill(&mut self, to: &mut [u8]) {
        for chunk in to.chunks_mut(32) {
            self.count += 1;
            let drawn = Sha256::new()
                .chain_update(self.seed.to_le_bytes())
                .chain_update(self.count.to_le_bytes())
                .finalize();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }

    fn key(&mut self) -> SecretKey {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        SecretKey::from_bytes(&bytes).expect("all but one draw in 2^128 is a key")
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

/// A plan in which every field that the version has says something.
pub(crate) fn plan(version: Version) -> Plan {
    Plan {
        version,
        network: Network::from_name("hoodi").unwrap(),
        name: format!("generated {version}"),
        threshold: 2,
        validators: VALIDATORS,
        timestamp: "2026-01-02T03:04:05+00:00".to_owned(),
        registered_at: 1_767_323_045,
        fee_recipient: format!("0x{}", "fe".repeat(20)),
        withdrawal: format!("0x{}", "1d".repeat(20)),
        deposit_amounts: vec![ETH, 31 * ETH],
        consensus_protocol: "abft".to_owned(),
        gas_limit: 36_000_000,
        compounding: minor(version) >= 11,
    }
}

/// A cluster with everybody's keys.
pub(crate) struct Made {
    pub(crate) cluster: Cluster,
    pub(crate) nodes: Vec<Node>,
}

impl Made {
    pub(crate) fn new(plan: &Plan, operators: usize, seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let node = |index: usize| {
            let secret = draw.key();
            Node { enr: enr(&secret, index as u8 + 1), secret }
        };
        let nodes: Vec<Node> = (0..operators).map(node).collect();
        let cluster = create::deal(plan, &nodes, &mut |bytes| {
            draw.fill(bytes);
            Ok(())
        });
        Self { cluster: cluster.unwrap(), nodes }
    }

    /// Makes hashes, node signatures and the aggregate signature anew; the accounts' signatures stay.
    pub(crate) fn seal(&mut self) {
        let lock = &mut self.cluster.lock;
        let keys: Vec<SecretKey> = self.nodes.iter().map(|node| node.secret.clone()).collect();
        lock.seal(&keys).unwrap();
        let named: Vec<&Vec<u8>> =
            lock.validators.iter().flat_map(|validator| &validator.public_shares).collect();
        let is_named = |share: &&bls::SecretKey| named.contains(&&share.public_key().to_bytes().to_vec());
        let sum = bls::SecretKey::sum(self.cluster.shares.iter().flatten().filter(is_named)).unwrap();
        lock.signature_aggregate = sum.sign(&lock.lock_hash).to_vec();
    }
}

/// A lock in which everybody signed who can in that version, and the nodes' keys.
pub(crate) fn made(version: Version, seed: u64) -> Made {
    Made::new(&plan(version), OPERATORS, seed)
}

/// The lock alone.
pub(crate) fn lock(version: Version, seed: u64) -> Lock {
    made(version, seed).cluster.lock
}

/// A definition in which nobody signed, as the creator of a cluster run by one person makes it.
pub(crate) fn definition(version: Version, seed: u64) -> Definition {
    let mut definition = lock(version, seed).definition;
    definition.creator = Creator::default();
    for operator in &mut definition.operators {
        *operator = Operator { enr: operator.enr.clone(), ..Operator::default() };
    }
    definition.seal();
    definition
}

/// The two generated files of a version, with the names of their fixtures: what was made once is as good as new.
pub(crate) fn files(version: Version) -> [(String, String); 2] {
    use std::{collections::BTreeMap, sync::Mutex};
    static MADE: Mutex<BTreeMap<&str, [(String, String); 2]>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    made.entry(version.as_str())
        .or_insert_with(|| {
            let seed = 1000 + u64::from(minor(version));
            let definition = write::to_json(&Content::Definition(definition(version, seed)));
            let lock = write::to_json(&Content::Lock(lock(version, seed)));
            [(format!("definition-{version}.json"), definition), (format!("lock-{version}.json"), lock)]
        })
        .clone()
}
