//! The Ethereum networks that cluster files name by their genesis fork version.

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its customary name.
    pub name: &'static str,
    /// The genesis fork version of its beacon chain.
    pub fork_version: [u8; 4],
    /// The chain id of its execution layer (EIP-155).
    pub chain_id: u64,
    /// Whether stake on it is worth nothing.
    pub is_test: bool,
}

/// Every network whose chain id is known.
const NETWORKS: [Network; 7] = [
    network("mainnet", [0x00, 0x00, 0x00, 0x00], 1, false),
    network("gnosis", [0x00, 0x00, 0x00, 0x64], 100, false),
    network("hoodi", [0x10, 0x00, 0x09, 0x10], 560_048, true),
    network("sepolia", [0x90, 0x00, 0x00, 0x69], 11_155_111, true),
    network("holesky", [0x01, 0x01, 0x70, 0x00], 17_000, true),
    network("chiado", [0x00, 0x00, 0x00, 0x6f], 10_200, true),
    network("goerli", [0x00, 0x00, 0x10, 0x20], 5, true),
];

const fn network(name: &'static str, fork_version: [u8; 4], chain_id: u64, is_test: bool) -> Network {
    Network { name, fork_version, chain_id, is_test }
}

impl Network {
    /// Every network that is known.
    pub fn all() -> impl Iterator<Item = Self> {
        NETWORKS.into_iter()
    }

    /// The network with this genesis fork version; `None` for a private or unknown one.
    pub fn from_fork_version(fork_version: [u8; 4]) -> Option<Self> {
        Self::all().find(|network| network.fork_version == fork_version)
    }

    /// The network of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|network| network.name == name)
    }
}
