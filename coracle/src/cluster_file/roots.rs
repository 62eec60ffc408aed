//! What validators' keys sign in a cluster: deposits and registrations with builders, under their domains
//! (consensus-specs phase0, `compute_domain` and `compute_signing_root`; builder-specs, "Signing").

use super::{
    limits::{BLS_KEY, BLS_SIGNATURE, HASH},
    model::{Deposit, Registration},
    ssz::{Leaves, Root},
};

/// `DOMAIN_DEPOSIT`.
const DEPOSIT: [u8; 4] = [3, 0, 0, 0];

/// `DOMAIN_APPLICATION_BUILDER`.
const APPLICATION_BUILDER: [u8; 4] = [0, 0, 0, 1];

/// What a deposit's signature signs, on the network with this genesis fork version.
pub fn deposit(deposit: &Deposit, fork_version: [u8; 4]) -> Root {
    signing_root(deposit_message(deposit), DEPOSIT, fork_version)
}

/// The root of a deposit without its signature.
pub fn deposit_message(deposit: &Deposit) -> Root {
    let mut leaves = Leaves::default();
    push_message(&mut leaves, deposit);
    leaves.root()
}

/// The root of a deposit with its signature.
pub fn deposit_data(deposit: &Deposit) -> Root {
    let mut leaves = Leaves::default();
    push_deposit(&mut leaves, deposit);
    leaves.root()
}

/// What a registration's signature signs, on the network with this genesis fork version.
pub fn registration(registration: &Registration, fork_version: [u8; 4]) -> Root {
    signing_root(registration_message(registration), APPLICATION_BUILDER, fork_version)
}

/// The root of a registration without its signature.
pub(super) fn registration_message(registration: &Registration) -> Root {
    let mut leaves = Leaves::default();
    leaves.push_bytes(&registration.fee_recipient);
    // Negative numbers hash as their two's complement.
    leaves.push_u64(registration.gas_limit.cast_unsigned());
    leaves.push_u64(registration.timestamp.cast_unsigned());
    leaves.push_fixed(&registration.public_key, BLS_KEY);
    leaves.root()
}

pub(super) fn push_deposit(leaves: &mut Leaves, deposit: &Deposit) {
    push_message(leaves, deposit);
    leaves.push_fixed(&deposit.signature, BLS_SIGNATURE);
}

fn push_message(leaves: &mut Leaves, deposit: &Deposit) {
    leaves.push_fixed(&deposit.public_key, BLS_KEY);
    leaves.push_fixed(&deposit.withdrawal_credentials, HASH);
    leaves.push_u64(deposit.amount);
}

/// Both domains are of all forks of a network, and so have no root of validators.
fn signing_root(object: Root, kind: [u8; 4], fork_version: [u8; 4]) -> Root {
    let mut fork = Leaves::default();
    fork.push_bytes(&fork_version);
    fork.push([0; 32]);
    let mut domain = [0; 32];
    for (to, from) in domain.iter_mut().zip(kind.iter().chain(&fork.root())) {
        *to = *from;
    }
    let mut leaves = Leaves::default();
    leaves.push(object);
    leaves.push(domain);
    leaves.root()
}
