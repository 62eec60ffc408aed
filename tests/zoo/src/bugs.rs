//! The bugs, and where each is found.

use coracle_core::zoo::Bug;

/// Who finds it.
#[derive(Clone, Copy, Debug)]
pub enum Finder {
    /// The drawn plan of this seed, as every campaign has it (`sim campaign`).
    Campaign(u64),
    /// The search of this world with so many faults (`prove --faults K WORLD`).
    Search(&'static str, u32),
    /// A general property, by its name.
    Property(&'static str),
}

/// One bug.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub bug: Bug,
    /// What it is, in a few words.
    pub what: &'static str,
    pub finder: Finder,
    /// How what is found begins.
    pub rule: &'static str,
}

const fn entry(bug: Bug, what: &'static str, finder: Finder, rule: &'static str) -> Entry {
    Entry { bug, what, finder, rule }
}

/// All of them.
pub const ZOO: &[Entry] = &[
    entry(Bug::PublishedBeforeStored, "a record is published before it is stored", Finder::Campaign(0), "E3"),
    entry(
        Bug::SessionDroppedByJunk,
        "a packet that does not decrypt ends the session",
        Finder::Search("discv5-one", 2),
        "a session has gone",
    ),
    entry(
        Bug::RecordOfAnotherId,
        "the record in a handshake is not bound to the source id",
        Finder::Search("discv5-one-attacked", 2),
        "a session in the other's name",
    ),
    entry(
        Bug::ChallengeEachTime,
        "a new WHOAREYOU for every undecryptable packet",
        Finder::Search("discv5-one", 1),
        "one packet gets two different challenges",
    ),
    entry(
        Bug::UnboundedChallenges,
        "the table of challenges outgrows its bound",
        Finder::Search("discv5-one-attacked", 2),
        "B1",
    ),
    entry(
        Bug::ChallengeOfAnything,
        "a challenge need not answer a packet of ours",
        Finder::Search("discv5-one-attacked", 1),
        "it answers a challenge",
    ),
    entry(
        Bug::SessionBeforeMessage,
        "a session before its first message decrypts",
        Finder::Search("discv5-one-attacked", 2),
        "a session in the other's name",
    ),
    entry(
        Bug::BothCloseDuplicates,
        "after a simultaneous dial each side closes its own",
        Finder::Search("noise-both", 0),
        "C4",
    ),
    entry(Bug::EqualSeqTaken, "the book takes an equal seq with other content", Finder::Campaign(1), "R2"),
    entry(Bug::VotesWithoutQuorum, "one vote moves the address", Finder::Campaign(2), "E7"),
    entry(
        Bug::NonceStartsAgain,
        "the nonce counter starts again while the key stays",
        Finder::Campaign(0),
        "N5",
    ),
    entry(
        Bug::OneKeyBothWays,
        "both directions of a channel have one key",
        Finder::Search("noise-one", 0),
        "N5",
    ),
    entry(
        Bug::SignatureUnchecked,
        "the signature over the static key is not checked",
        Finder::Search("noise-one-attacked", 1),
        "C1",
    ),
    entry(Bug::WindowLeaks, "the muxer's window leaks", Finder::Property("a channel lasts"), "ping"),
    entry(Bug::RemovedStays, "a removed member keeps its channel", Finder::Campaign(3), "C1"),
    entry(Bug::DialsGiveUp, "nobody dials after a few rounds that failed", Finder::Campaign(32), "C2"),
];
