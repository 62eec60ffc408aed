//! Known bugs of this family of protocols, to be put back one at a time: what has never failed proves nothing.
//!
//! Purpose: the program in `tests/zoo` puts each of them back and shows which of the simulations, searches and
//! properties finds it. Where one would be, the code asks [`has`]; in every build without the feature `zoo` that is
//! a constant `false`, and nothing of a bug is left in the program. With the feature, too, all is as it should be
//! until [`put_back`] is called. Only that program turns it on, in a workspace of its own, so that no build of the
//! main one can have it by unification of features.

/// A bug. `has` it where it would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "alloc"), allow(dead_code))] // most are in the machines
#[cfg_attr(not(feature = "zoo"), allow(unreachable_pub))] // public with the feature
#[repr(u8)]
pub enum Bug {
    /// A record is published before it is stored.
    PublishedBeforeStored = 1,
    /// A packet that does not decrypt ends the session that it claims to be of.
    SessionDroppedByJunk,
    /// The record in a handshake need not be that of the node id that the packet names.
    RecordOfAnotherId,
    /// Every undecryptable packet gets a challenge of its own, in place of the one that is open.
    ChallengeEachTime,
    /// The pool of challenges has more places than configured.
    UnboundedChallenges,
    /// A challenge need not answer a packet of ours.
    ChallengeOfAnything,
    /// A handshake counts as soon as its signature holds, before its message decrypts.
    SessionBeforeMessage,
    /// Of two connections each side closes the one that it dialled.
    BothCloseDuplicates,
    /// A record takes the place of one with the same number and other content.
    EqualSeqTaken,
    /// One vote is enough to move the address.
    VotesWithoutQuorum,
    /// The counter of nonces starts again while the key stays.
    NonceStartsAgain,
    /// Both directions of a channel have one key.
    OneKeyBothWays,
    /// The identity's signature over the channel's static key is not checked.
    SignatureUnchecked,
    /// Part of what was taken from a stream is never given back to its window.
    WindowLeaks,
    /// A removed member keeps its connections.
    RemovedStays,
    /// After a few rounds that failed nobody dials any more.
    DialsGiveUp,
}

/// Whether this bug is in.
#[cfg(not(feature = "zoo"))]
pub(crate) const fn has(_: Bug) -> bool {
    false
}

#[cfg(feature = "zoo")]
static PUT_BACK: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);

/// Puts a bug back in place of the one before, everywhere in this process.
#[cfg(feature = "zoo")]
pub fn put_back(bug: Option<Bug>) {
    PUT_BACK.store(bug.map_or(0, |bug| bug as u8), core::sync::atomic::Ordering::Relaxed);
}

/// Whether this bug is in.
#[cfg(feature = "zoo")]
pub(crate) fn has(bug: Bug) -> bool {
    PUT_BACK.load(core::sync::atomic::Ordering::Relaxed) == bug as u8
}
