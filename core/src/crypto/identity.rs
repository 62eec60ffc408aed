//! The node's own key together with the cryptography that uses it: what every machine is handed.

use core::fmt;

use crate::{
    crypto::{Crypto, PublicKey, SecretKey, Signature},
    id::{NodeId, PeerId},
};

/// A node's own key, its public names, and the [`Crypto`] to use. Machines borrow it with each
/// call and keep no copy of the key.
pub struct Identity<C: Crypto> {
    crypto: C,
    secret: SecretKey,
    public: PublicKey,
    node_id: NodeId,
    peer_id: PeerId,
    mask: C::AesCtrKey,
}

impl<C: Crypto> fmt::Debug for Identity<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

impl<C: Crypto> Identity<C> {
    /// Derives the public names of `secret`.
    pub fn new(crypto: C, secret: SecretKey) -> Self {
        let public = crypto.public_key(&secret);
        let node_id = NodeId(crypto.keccak256(&[public.xy()]));
        let mask = packet_mask(&crypto, &node_id);
        Self { crypto, secret, public, node_id, peer_id: PeerId::from_public_key(&public), mask }
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

    /// The key that the headers of discv5 packets to this node are masked with.
    pub const fn mask(&self) -> &C::AesCtrKey {
        &self.mask
    }

    /// Takes another node's id on, with this key.
    #[cfg(test)]
    pub(crate) fn pretend(&mut self, node_id: NodeId) {
        self.node_id = node_id;
        self.mask = packet_mask(&self.crypto, &node_id);
    }

    /// Signs a digest with the node's key.
    pub fn sign(&self, digest: &[u8; 32]) -> Signature {
        self.crypto.sign(&self.secret, digest)
    }
}

/// The key that the headers of discv5 packets to `node` are masked with (discv5 wire, "Header Encryption").
pub fn packet_mask<C: Crypto>(crypto: &C, node: &NodeId) -> C::AesCtrKey {
    crypto.aes_ctr_key(&core::array::from_fn(|i| node.0[i]))
}
