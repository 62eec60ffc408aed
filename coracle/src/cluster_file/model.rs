//! What a cluster file says, the same for every version: fields that a version lacks are empty.

use super::{ssz::Root, version::Version};

/// An intended cluster: who takes part, and how the validators are to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The schema version.
    pub version: Version,
    /// A name for people; may be empty.
    pub name: String,
    /// The cluster's unique text.
    pub uuid: String,
    /// When it was made, as written; may be empty.
    pub timestamp: String,
    /// How many distributed validators it is to have.
    pub num_validators: u64,
    /// How many operators must sign together.
    pub threshold: u64,
    /// How the keys are to be generated.
    pub dkg_algorithm: String,
    /// The beacon chain's genesis fork version, which names the network.
    pub fork_version: [u8; 4],
    /// The operators, in their order: it decides each one's key share.
    pub operators: Vec<Operator>,
    /// Who made the definition (v1.4 and later).
    pub creator: Creator,
    /// The addresses of all validators (v1.0 to v1.4).
    pub common_addresses: ValidatorAddresses,
    /// The addresses of each validator (v1.5 and later).
    pub validator_addresses: Vec<ValidatorAddresses>,
    /// Partial deposits in Gwei (v1.8 and later); may be empty.
    pub deposit_amounts: Vec<u64>,
    /// The preferred consensus protocol (v1.9 and later); may be empty.
    pub consensus_protocol: String,
    /// The block gas limit to ask builders for (v1.10 and later).
    pub target_gas_limit: u64,
    /// Whether rewards compound (v1.10 and later).
    pub compounding: bool,
    /// The hash of everything but ENRs and signatures, as the file has it.
    pub config_hash: Root,
    /// The hash of the whole definition, as the file has it.
    pub definition_hash: Root,
}

/// One operator of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operator {
    /// The Ethereum address as written; empty where the creator runs the whole cluster.
    pub address: String,
    /// The node's ENR as written.
    pub enr: String,
    /// The EIP-712 signature of the configuration; empty when unsigned.
    pub config_signature: Vec<u8>,
    /// The EIP-712 signature of the ENR; empty when unsigned.
    pub enr_signature: Vec<u8>,
}

impl Operator {
    /// Whether it has neither an address nor a signature, which Charon allows for all operators together.
    pub fn is_unsigned(&self) -> bool {
        self.address.is_empty() && self.config_signature.is_empty() && self.enr_signature.is_empty()
    }
}

/// Who made a definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Creator {
    /// The Ethereum address as written; may be empty.
    pub address: String,
    /// The EIP-712 signature of the configuration; empty when unsigned.
    pub config_signature: Vec<u8>,
}

/// Where a validator's rewards and its stake go, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidatorAddresses {
    /// Receives the rewards of proposed blocks.
    pub fee_recipient: String,
    /// Receives the stake.
    pub withdrawal: String,
}

/// A cluster after its key generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The definition it was made from.
    pub definition: Definition,
    /// The validators that were made.
    pub validators: Vec<DistributedValidator>,
    /// The BLS signature of all key shares over the lock hash; empty if there is none.
    pub signature_aggregate: Vec<u8>,
    /// The hash of definition and validators, as the file has it.
    pub lock_hash: Root,
    /// Each node's signature over the lock hash (v1.7 and later), in the operators' order.
    pub node_signatures: Vec<Vec<u8>>,
}

/// A validator whose key is shared among the operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistributedValidator {
    /// The validator's BLS public key, 48 bytes.
    pub public_key: Vec<u8>,
    /// The BLS public key of each operator's share, 48 bytes each.
    pub public_shares: Vec<Vec<u8>>,
    /// The signed deposits: one in v1.6 and v1.7, any number from v1.8.
    pub deposits: Vec<Deposit>,
    /// The signed registration with block builders (v1.7 and later).
    pub registration: Registration,
}

/// A signed deposit; all empty where the file has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deposit {
    /// The validator's BLS public key.
    pub public_key: Vec<u8>,
    /// Where the stake goes, 32 bytes.
    pub withdrawal_credentials: Vec<u8>,
    /// In Gwei.
    pub amount: u64,
    /// The BLS signature, 96 bytes.
    pub signature: Vec<u8>,
}

/// A signed registration with block builders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// Receives the rewards, 20 bytes.
    pub fee_recipient: Vec<u8>,
    /// The block gas limit to ask for.
    pub gas_limit: i64,
    /// Seconds since 1970; far negative where Charon wrote no registration.
    pub timestamp: i64,
    /// The validator's BLS public key.
    pub public_key: Vec<u8>,
    /// The BLS signature, 96 bytes.
    pub signature: Vec<u8>,
}
