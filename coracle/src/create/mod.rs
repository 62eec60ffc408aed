//! Clusters for tests and demonstrations: a definition and a lock of any version, with real keys and signatures
//! throughout, and what a key generation ceremony leaves at each operator.
//!
//! One process deals all key shares here, and has every validator's whole key in its hands while it does: that is
//! the very thing that distributed validators are to avoid. So this refuses networks on which stake is worth
//! something, and every file says that it is for testing, as far as its format lets it.

mod files;

use coracle_core::crypto::SecretKey;
use zeroize::Zeroizing;

use crate::{
    bls::{self, BlsError},
    cluster_file::{
        Content, Definition, Deposit, DistributedValidator, Lock, Network, Registration, ValidatorAddresses,
        Version,
        limits::{MAX_OPERATORS, MAX_VALIDATORS},
        roots,
        write::{self, WriteError},
    },
};

pub use files::{Keystores, NOTICE_FILE, write_cluster, write_node};

/// What begins every text that is free: names, descriptions and passwords.
pub const TESTING_ONLY: &str = "for testing only";

/// 1 ETH in Gwei.
pub const ETH: u64 = 1_000_000_000;

/// An address that nobody has the key of, for rewards and stake that nobody wants.
pub const NOBODY: &str = "0x000000000000000000000000000000000000dead";

/// Where random bytes come from; [`getrandom::fill`] outside tests.
pub type Random<'r> = dyn FnMut(&mut [u8]) -> Result<(), getrandom::Error> + 'r;

/// What kind of cluster to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The version of its files.
    pub version: Version,
    /// The network: one for tests.
    pub network: Network,
    /// A name for people, after [`TESTING_ONLY`].
    pub name: String,
    /// How many operators must sign together, at least 2.
    pub threshold: usize,
    /// How many validators, at least 1.
    pub validators: usize,
    /// When it is made, in RFC 3339, at most 32 bytes; a part of the hashes.
    pub timestamp: String,
    /// The moment in the registrations with builders, in seconds since 1970.
    pub registered_at: i64,
    /// Rewards go there.
    pub fee_recipient: String,
    /// Stake goes there.
    pub withdrawal: String,
    /// Partial deposits in Gwei (v1.8 and later). With none there are deposits of 1 and of 32 ETH.
    pub deposit_amounts: Vec<u64>,
    /// The preferred consensus protocol (v1.9 and later); may be empty.
    pub consensus_protocol: String,
    /// The block gas limit to ask for.
    pub gas_limit: u64,
    /// Whether rewards compound (v1.10 and later).
    pub compounding: bool,
}

/// One operator's node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its key.
    pub secret: SecretKey,
    /// Its ENR, signed with that key.
    pub enr: String,
}

/// A cluster that was dealt.
#[derive(Debug)]
pub struct Cluster {
    /// Its lock, sealed and signed.
    pub lock: Lock,
    /// The key shares of each operator, in the validators' order.
    pub shares: Vec<Vec<bls::SecretKey>>,
    /// The deposits of all validators, by amount.
    pub deposits: Vec<Vec<Deposit>>,
}

/// Why a cluster could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Stake on this network is worth something.
    #[error("{} is not a test network, and one process deals all keys of such a cluster", .0.name)]
    Network(Network),
    /// No validators, or too many.
    #[error("a cluster for tests has 1 to {MAX_VALIDATORS} validators, not {0}")]
    Validators(usize),
    /// A threshold that does not fit.
    #[error(transparent)]
    Bls(#[from] BlsError),
    /// The definition cannot be made.
    #[error(transparent)]
    Definition(#[from] WriteError),
    /// An address that is none.
    #[error("`{0}` is not an Ethereum address: 0x and 40 hexadecimal digits")]
    Address(String),
    /// The operating system has no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(#[from] getrandom::Error),
    /// There is something already, and it was left as it is.
    #[error("{} exists already; it was left as it is", .0.display())]
    Exists(std::path::PathBuf),
    /// A file cannot be written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl CreateError {
    /// What can be done about it, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Network(_) => {
                "real validators need a key generation ceremony, in which nobody has a whole key"
            }
            Self::Validators(_) | Self::Bls(_) | Self::Definition(_) | Self::Address(_) => {
                "give another value"
            }
            Self::Random(_) => "check that /dev/urandom can be read",
            Self::Exists(_) => "name another directory, or move this one away",
            Self::Io { .. } => "check that the disk has room and that this user may write there",
        }
    }
}

/// Makes a cluster of these nodes: deals the validators' keys, and has everybody sign. The accounts of creator and
/// operators are made for it and forgotten.
///
/// # Errors
/// See [`CreateError`].
pub fn deal(plan: &Plan, nodes: &[Node], random: &mut Random<'_>) -> Result<Cluster, CreateError> {
    if !plan.network.is_test {
        return Err(CreateError::Network(plan.network));
    }
    if plan.validators == 0 || plan.validators > MAX_VALIDATORS {
        return Err(CreateError::Validators(plan.validators));
    }
    let mut definition = definition(plan, nodes, random)?;
    let creator = account(random)?;
    let operators = nodes.iter().map(|_| account(random)).collect::<Result<Vec<_>, _>>()?;
    definition.sign(&creator, &operators)?;

    let mut shares: Vec<Vec<bls::SecretKey>> = vec![Vec::with_capacity(plan.validators); nodes.len()];
    let mut deposits = vec![Vec::with_capacity(plan.validators); amounts(plan).len()];
    let mut validators = Vec::with_capacity(plan.validators);
    for _ in 0..plan.validators {
        let secret = bls_key(random)?;
        let coefficients = (1..plan.threshold).map(|_| bls_key(random)).collect::<Result<Vec<_>, _>>()?;
        let dealt = secret.split(&coefficients, nodes.len())?;
        let made = signed_deposits(plan, &secret);
        for (all, deposit) in deposits.iter_mut().zip(&made) {
            all.push(deposit.clone());
        }
        validators.push(validator(plan, &secret, &dealt, made));
        for (all, share) in shares.iter_mut().zip(dealt) {
            all.push(share);
        }
    }
    let mut lock = Lock {
        definition,
        validators,
        signature_aggregate: Vec::new(),
        lock_hash: [0; 32],
        node_signatures: Vec::new(),
    };
    let keys: Vec<SecretKey> = nodes.iter().map(|node| node.secret.clone()).collect();
    lock.seal(&keys)?;
    lock.signature_aggregate = bls::SecretKey::sum(shares.iter().flatten())?.sign(&lock.lock_hash).to_vec();
    Ok(Cluster { lock, shares, deposits })
}

fn definition(plan: &Plan, nodes: &[Node], random: &mut Random<'_>) -> Result<Definition, CreateError> {
    if nodes.len() > MAX_OPERATORS || plan.threshold < 2 || plan.threshold > nodes.len() {
        return Err(BlsError::Threshold { threshold: plan.threshold, shares: nodes.len() }.into());
    }
    for address in [&plan.fee_recipient, &plan.withdrawal] {
        let digits = address.strip_prefix("0x").unwrap_or_default();
        if digits.len() != 40 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(CreateError::Address(address.clone()));
        }
    }
    let mut uuid = [0; 16];
    random(&mut uuid)?;
    let separator = if plan.name.is_empty() { "" } else { ": " };
    // Checks the lengths of texts and makes what all versions have.
    let mut out = write::definition(&write::NewCluster {
        name: format!("{TESTING_ONLY}{separator}{}", plan.name),
        uuid: crate::keystore::uuid(uuid),
        timestamp: plan.timestamp.clone(),
        fork_version: plan.network.fork_version,
        enrs: nodes.iter().map(|node| node.enr.clone()).collect(),
    })?;
    let version = plan.version;
    let addresses =
        ValidatorAddresses { fee_recipient: plan.fee_recipient.clone(), withdrawal: plan.withdrawal.clone() };
    out.version = version;
    out.num_validators = plan.validators as u64;
    out.threshold = plan.threshold as u64;
    if version.has_validator_addresses() {
        out.validator_addresses = vec![addresses; plan.validators];
    } else {
        out.common_addresses = addresses;
    }
    if version.has_partial_deposits() {
        out.deposit_amounts.clone_from(&plan.deposit_amounts);
    }
    if version.has_consensus_protocol() {
        out.consensus_protocol.clone_from(&plan.consensus_protocol);
    }
    out.target_gas_limit = if version.has_gas_limit() { plan.gas_limit } else { 0 };
    out.compounding = version.has_gas_limit() && plan.compounding;
    Ok(out)
}

fn validator(
    plan: &Plan,
    secret: &bls::SecretKey,
    shares: &[bls::SecretKey],
    deposits: Vec<Deposit>,
) -> DistributedValidator {
    let version = plan.version;
    let mut out = DistributedValidator {
        public_key: secret.public_key().to_bytes().to_vec(),
        public_shares: shares.iter().map(|share| share.public_key().to_bytes().to_vec()).collect(),
        ..DistributedValidator::default()
    };
    if version.has_single_deposit() || version.has_partial_deposits() {
        out.deposits = deposits;
    }
    if version.has_node_signatures() {
        let mut registration = Registration {
            fee_recipient: address_bytes(&plan.fee_recipient),
            gas_limit: i64::try_from(plan.gas_limit).unwrap_or(i64::MAX),
            timestamp: plan.registered_at,
            public_key: out.public_key.clone(),
            signature: Vec::new(),
        };
        let root = roots::registration(&registration, plan.network.fork_version);
        registration.signature = secret.sign(&root).to_vec();
        out.registration = registration;
    }
    out
}

/// The amounts of each validator's deposits, in rising order, each once.
fn amounts(plan: &Plan) -> Vec<u64> {
    if !plan.version.has_partial_deposits() {
        return vec![32 * ETH];
    }
    if plan.deposit_amounts.is_empty() {
        return vec![ETH, 32 * ETH];
    }
    let mut amounts = plan.deposit_amounts.clone();
    amounts.sort_unstable();
    amounts.dedup();
    amounts
}

fn signed_deposits(plan: &Plan, secret: &bls::SecretKey) -> Vec<Deposit> {
    // An address as credentials: the prefix 1, or 2 where rewards compound.
    let compounding = plan.version.has_gas_limit() && plan.compounding;
    let mut credentials = vec![if compounding { 2 } else { 1 }];
    credentials.resize(12, 0);
    credentials.extend(address_bytes(&plan.withdrawal));
    let deposit = |amount| {
        let mut deposit = Deposit {
            public_key: secret.public_key().to_bytes().to_vec(),
            withdrawal_credentials: credentials.clone(),
            amount,
            signature: Vec::new(),
        };
        deposit.signature = secret.sign(&roots::deposit(&deposit, plan.network.fork_version)).to_vec();
        deposit
    };
    amounts(plan).into_iter().map(deposit).collect()
}

/// The bytes of an address that was checked before.
fn address_bytes(text: &str) -> Vec<u8> {
    hex::decode(text.trim_start_matches("0x")).unwrap_or_default()
}

fn draw(random: &mut Random<'_>) -> Result<Zeroizing<[u8; 32]>, CreateError> {
    let mut bytes = Zeroizing::new([0; 32]);
    random(&mut *bytes)?;
    Ok(bytes)
}

fn bls_key(random: &mut Random<'_>) -> Result<bls::SecretKey, CreateError> {
    Ok(bls::SecretKey::from_random(&*draw(random)?)?)
}

/// A key of an account: drawn again in the one case in 2^128 that the bytes are none.
fn account(random: &mut Random<'_>) -> Result<SecretKey, CreateError> {
    loop {
        if let Ok(key) = SecretKey::from_bytes(&*draw(random)?) {
            return Ok(key);
        }
    }
}

impl Cluster {
    /// The lock file's text.
    pub fn lock_json(&self) -> String {
        write::to_json(&Content::Lock(self.lock.clone()))
    }

    /// The definition file's text.
    pub fn definition_json(&self) -> String {
        write::to_json(&Content::Definition(self.lock.definition.clone()))
    }
}
