//! After the last message: who the peer is, and the one door through which it becomes a channel.

use super::{
    cipher::CipherState, error::HandshakeError, payload::Muxers, wipe::wipes_by_its_fields, xx::Transport,
};
use crate::{crypto::PublicKey, id::PeerId};

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We dialled.
    Initiator,
    /// We were dialled.
    Responder,
}

/// Who the peer is and whether yamux follows at once: known before the last message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) key: PublicKey,
    pub(super) early_muxer: bool,
}

impl Peer {
    /// Decides on the muxer from what both sides named (design, section 6 item 4).
    pub(super) fn new(key: PublicKey, ours_named: bool, theirs: Muxers) -> Result<Self, HandshakeError> {
        let early_muxer = match theirs {
            Muxers::Yamux => ours_named,
            Muxers::Unnamed => false,
            Muxers::Others if ours_named => return Err(HandshakeError::NoSharedMuxer),
            Muxers::Others => false,
        };
        Ok(Self { key, early_muxer })
    }
}

/// A finished handshake: the peer's identity is proven, nothing of its data was read (rule N3).
///
/// The only thing to do with it is [`Finished::admit`].
#[derive(Debug)]
#[must_use = "a finished handshake becomes a channel only through `admit`"]
pub struct Finished {
    role: Role,
    peer: Peer,
    transport: Transport,
}

wipes_by_its_fields!(Finished { secret: transport; public: role, peer });

impl Finished {
    pub(super) const fn new(role: Role, peer: Peer, transport: Transport) -> Self {
        Self { role, peer, transport }
    }

    /// The key that signed the other side's Noise key (rule N2).
    pub const fn peer(&self) -> &PublicKey {
        &self.peer.key
    }

    /// Its peer id.
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_public_key(&self.peer.key)
    }

    /// Which side we are.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The handshake hash: the same on both sides, different for every connection (rule N1).
    pub const fn hash(&self) -> &[u8; 32] {
        &self.transport.hash
    }

    /// Whether both sides agreed on yamux inside the handshake.
    pub const fn early_muxer(&self) -> bool {
        self.peer.early_muxer
    }

    /// Asks `allow` about the peer's key; with its yes the connection may become a channel. With a
    /// no every key of the connection is gone.
    pub fn admit(self, allow: impl FnOnce(&PublicKey) -> bool) -> Result<Admitted, Refused> {
        if allow(&self.peer.key) {
            Ok(Admitted { finished: self })
        } else {
            Err(Refused { peer: self.peer_id() })
        }
    }
}

/// An admitted peer: what a channel is made from, and nothing else makes one (rule N3).
#[derive(Debug)]
#[must_use = "an admitted peer becomes a channel with `Channel::new`"]
pub struct Admitted {
    finished: Finished,
}

wipes_by_its_fields!(Admitted { secret: finished; public: });

impl Admitted {
    /// The handshake that was admitted.
    pub const fn finished(&self) -> &Finished {
        &self.finished
    }

    /// Sending and receiving cipher.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))] // the channel is its only user
    pub(crate) fn into_ciphers(self) -> (CipherState, CipherState) {
        (self.finished.transport.send, self.finished.transport.receive)
    }
}

/// The peer proved a key that is not admitted. Close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{peer} is not admitted: its key is not a member's")]
pub struct Refused {
    /// Who it is.
    pub peer: PeerId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::tests::identity;

    #[test]
    fn the_muxer_is_agreed_when_both_name_it_and_later_when_one_names_none() {
        let early = |ours_named, theirs| {
            Peer::new(*identity(2).public_key(), ours_named, theirs).map(|peer| peer.early_muxer)
        };
        assert_eq!(early(true, Muxers::Yamux), Ok(true));
        assert_eq!(early(false, Muxers::Yamux), Ok(false));
        assert_eq!(early(true, Muxers::Unnamed), Ok(false));
        assert_eq!(early(false, Muxers::Unnamed), Ok(false));
        assert_eq!(early(true, Muxers::Others), Err(HandshakeError::NoSharedMuxer));
        assert_eq!(early(false, Muxers::Others), Ok(false));
    }
}
