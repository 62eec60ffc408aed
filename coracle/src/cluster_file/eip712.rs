//! The signatures of Ethereum accounts in cluster files: typed data (EIP-712) over the configuration's hash, by the
//! creator and by each operator, and over each operator's ENR.
//!
//! The domain has the name `Obol`, the version `1` and the chain id of the network. A message has one field of
//! text: the hash as its `0x` text, or the ENR as it is.

use coracle_core::crypto::{Crypto, RustCrypto, SecretKey};

use super::{
    hash::hex_text, limits::K1_SIGNATURE, network::Network, report::Outcome, signatures, ssz::Root,
    version::Version,
};

/// What is signed.
#[derive(Clone, Copy)]
pub(super) enum Message<'a> {
    /// By the creator: the configuration's hash.
    Creator(&'a Root),
    /// By an operator: the configuration's hash, in the words of the version.
    Operator(Version, &'a Root),
    /// By an operator: the own ENR.
    Enr(&'a str),
}

impl Message<'_> {
    /// The type as the signature has it, and the text of its field.
    fn parts(self) -> (&'static str, String) {
        match self {
            Self::Creator(hash) => ("CreatorConfigHash(string creator_config_hash)", hex_text(hash)),
            Self::Operator(version, hash) if version.names_operator_in_signature() => {
                ("OperatorConfigHash(string operator_config_hash)", hex_text(hash))
            }
            Self::Operator(_, hash) => ("ConfigHash(string config_hash)", hex_text(hash)),
            Self::Enr(enr) => ("ENR(string enr)", enr.to_owned()),
        }
    }

    /// The digest that is signed, on the network with this chain id.
    fn digest(self, chain_id: u64) -> [u8; 32] {
        let text = |text: &str| RustCrypto.keccak256(&[text.as_bytes()]);
        let mut chain = [0; 32];
        for (to, from) in chain.iter_mut().rev().zip(chain_id.to_le_bytes()) {
            *to = from;
        }
        let domain_type = text("EIP712Domain(string name,string version,uint256 chainId)");
        let domain = RustCrypto.keccak256(&[&domain_type, &text("Obol"), &text("1"), &chain]);
        let (kind, value) = self.parts();
        let message = RustCrypto.keccak256(&[&text(kind), &text(&value)]);
        RustCrypto.keccak256(&[b"\x19\x01", &domain, &message])
    }
}

/// Signs for the network with this chain id; V is 27 or 28.
pub(super) fn sign(secret: &SecretKey, message: Message<'_>, chain_id: u64) -> Option<Vec<u8>> {
    let mut signature = signatures::sign(secret, &message.digest(chain_id))?;
    if let Some(v) = signature.last_mut() {
        *v += 27;
    }
    Some(signature)
}

/// Checks a signature of `message` by the account at `address`, both as the file has them.
pub(super) fn check(address: &str, fork_version: [u8; 4], message: Message<'_>, signature: &[u8]) -> Outcome {
    if address.is_empty() {
        return Outcome::failed("the address of the signer", "none");
    }
    let Some(account) = super::fields::address_bytes(address).filter(|bytes| !bytes.is_empty()) else {
        return Outcome::failed("the address of the signer", format!("`{address}`"));
    };
    let name = format!("0x{}", hex::encode(&account));
    if signature.is_empty() {
        return Outcome::failed(format!("a signature by {name}"), "none");
    }
    if !signature.len().is_multiple_of(K1_SIGNATURE) {
        let found = format!("{} bytes", signature.len());
        return Outcome::failed(format!("{K1_SIGNATURE} bytes for each signature"), found);
    }
    let Some(network) = Network::from_fork_version(fork_version) else {
        let fork = hex::encode(fork_version);
        return Outcome::not_checked(format!(
            "the fork version 0x{fork} is of no network whose chain id is known, and the chain id is signed too"
        ));
    };
    let digest = message.digest(network.chain_id);
    let signers: Vec<String> = signature.chunks(K1_SIGNATURE).map(|one| signer(&digest, one)).collect();
    match signers.as_slice() {
        [signer] if *signer == name => Outcome::Verified,
        [signer] => Outcome::failed(
            format!("a signature by {name}"),
            format!(
                "{}, by {signer} (of a contract wallet, only an execution client could tell: ERC-1271)",
                signatures::hex_text(signature)
            ),
        ),
        // No account signs so, and what a contract makes of it cannot be told from here.
        several => Outcome::not_checked(format!(
            "{} signatures in a row are a contract wallet's: whether {name} takes them, only an execution client can \
             tell (ERC-1271); they are by {}",
            several.len(),
            several.join(", ")
        )),
    }
}

fn signer(digest: &[u8; 32], signature: &[u8]) -> String {
    match signatures::recover_address(digest, signature) {
        Ok(address) => format!("0x{}", hex::encode(address)),
        Err(problem) => format!("nobody ({problem})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The account of the secret key made of ones is known from many test suites.
    fn account(byte: u8) -> (SecretKey, String) {
        let secret = SecretKey::from_bytes(&[byte; 32]).expect("in range");
        let address = signatures::address(&RustCrypto.public_key(&secret));
        (secret, format!("0x{}", hex::encode(address)))
    }

    const HOODI: [u8; 4] = [0x10, 0, 9, 0x10];

    #[test]
    fn every_part_counts() {
        let (secret, address) = account(1);
        assert_eq!(address, "0x1a642f0e3c3af545e7acbd38b07251b3990914f1");
        let message = Message::Enr("enr:-x");
        let signature = sign(&secret, message, 560_048).expect("usable");
        let outcome =
            |address: &str, fork, message, signature: &[u8]| check(address, fork, message, signature);
        assert_eq!(outcome(&address, HOODI, message, &signature), Outcome::Verified);
        let upper = address.to_uppercase().replace("0X", "0x");
        assert_eq!(outcome(&upper, HOODI, message, &signature), Outcome::Verified);
        let mut plain = signature.clone();
        plain[64] -= 27;
        assert_eq!(outcome(&address, HOODI, message, &plain), Outcome::Verified);
        let refused = |outcome| matches!(outcome, Outcome::Failed { .. });
        assert!(refused(outcome(&account(2).1, HOODI, message, &signature)));
        assert!(refused(outcome(&address, [0; 4], message, &signature)));
        assert!(refused(outcome(&address, HOODI, Message::Enr("enr:-y"), &signature)));
        for wrong in [&[][..], &signature[..64], &[0; 65], &[0xff; 65]] {
            assert!(refused(outcome(&address, HOODI, message, wrong)));
        }
        for bit in 0..65 * 8 {
            let mut changed = signature.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(outcome(&address, HOODI, message, &changed)), "bit {bit}");
        }
        let open = |outcome| matches!(outcome, Outcome::NotChecked { .. });
        assert!(open(outcome(&address, [9; 4], message, &signature)));
        assert!(open(outcome(&address, HOODI, message, &[&signature[..], &signature].concat())));
    }
}
