//! What an outsider who knows who is who can read of a discv5 packet: its kind.

use std::cell::RefCell;
use std::collections::BTreeSet;

use coracle_core::crypto::{Crypto as _, RustCrypto};
use coracle_core::id::NodeId;

/// The kind of a discv5 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// An ordinary message, or the random packet that asks for a challenge.
    Message,
    /// A challenge.
    WhoAreYou,
    /// A message with the handshake before it.
    Handshake,
}

impl Flag {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::WhoAreYou => "WHOAREYOU",
            Self::Handshake => "handshake",
        }
    }
}

thread_local! {
    /// Masking keys: the first half of every node id of this thread's simulations.
    static KEYS: RefCell<BTreeSet<[u8; 16]>> = const { RefCell::new(BTreeSet::new()) };
}

/// From now on packets to this node can be told apart.
///
/// # Panics
///
/// Never: a node id has 32 bytes.
pub fn know(id: &NodeId) {
    let key = id.as_bytes()[..16].try_into().expect("16 bytes");
    KEYS.with_borrow_mut(|keys| keys.insert(key));
}

/// The kind of this packet; `None` if it is none, or goes to a node that is not known.
#[must_use]
pub fn flag(packet: &[u8]) -> Option<Flag> {
    let iv: [u8; 16] = packet.get(..16)?.try_into().ok()?;
    let header: [u8; 9] = packet.get(16..25)?.try_into().ok()?;
    KEYS.with_borrow(|keys| {
        keys.iter().find_map(|key| {
            let mut header = header;
            RustCrypto.aes_ctr(&RustCrypto.aes_ctr_key(key), &iv, 0, &mut header);
            match (&header[..6], header[8]) {
                (b"discv5", 0) => Some(Flag::Message),
                (b"discv5", 1) => Some(Flag::WhoAreYou),
                (b"discv5", 2) => Some(Flag::Handshake),
                _ => None,
            }
        })
    })
}
