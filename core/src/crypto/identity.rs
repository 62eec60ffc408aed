//! The node's own key together with the cryptography that uses it: what every machine is handed.

use crate::{
    crypto::{Crypto, PublicKey, SecretKey, Signature},
    id::{NodeId, PeerId},
};

/// A node's own key, its public names, and the [`Crypto`] to use. Machines borrow it with each
/// call and keep no copy of the key.
#[derive(Debug)]
pub struct Identity<C> {
    crypto: C,
    secret: SecretKey,
    public: PublicKey,
    node_id: NodeId,
    peer_id: PeerId,
}

impl<C: Crypto> Identity<C> {
    /// Derives the public names of `secret`.
    pub fn new(crypto: C, secret: SecretKey) -> Self {
        let public = crypto.public_key(&secret);
        let node_id = NodeId(crypto.keccak256(&[public.xy()]));
        Self { crypto, secret, public, node_id, peer_id: PeerId::from_public_key(&public) }
    }

    /// The cryptography.
    pub const fn crypto(&self) -> &C {
        &self.crypto
    }

    /// The secret key.
    pub const fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The public key.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The discv5 node id.
    pub const fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The libp2p peer id.
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Signs a digest with the node's key.
    pub fn sign(&self, digest: &[u8; 32]) -> Signature {
        self.crypto.sign(&self.secret, digest)
    }
}
