//! The Ethereum networks that cluster files name by their genesis fork version.

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its customary name.
    pub name: &'static str,
    /// The chain id of its execution layer (EIP-155).
    pub chain_id: u64,
}

impl Network {
    /// The network with this genesis fork version; `None` for a private or unknown one.
    pub fn from_fork_version(fork_version: [u8; 4]) -> Option<Self> {
        let (name, chain_id) = match fork_version {
            [0x00, 0x00, 0x00, 0x00] => ("mainnet", 1),
            [0x00, 0x00, 0x10, 0x20] => ("goerli", 5),
            [0x00, 0x00, 0x00, 0x64] => ("gnosis", 100),
            [0x00, 0x00, 0x00, 0x6f] => ("chiado", 10_200),
            [0x01, 0x01, 0x70, 0x00] => ("holesky", 17_000),
            [0x90, 0x00, 0x00, 0x69] => ("sepolia", 11_155_111),
            [0x10, 0x00, 0x09, 0x10] => ("hoodi", 560_048),
            _ => return None,
        };
        Some(Self { name, chain_id })
    }
}
