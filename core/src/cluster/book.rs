//! The address book's entries: where an endpoint of a member is known from, and which record counts.

use core::{fmt, net::SocketAddr};

/// How an endpoint or a record is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The operator named it.
    Hint,
    /// Our database, from an earlier run.
    Database,
    /// A peer told us by discv5: the member itself in a handshake, or another in an answer.
    Discovered,
    /// A member told us inside its channel (`/coracle/records/1.0.0`).
    Exchanged,
    /// The cluster file.
    Lock,
    /// The member dialled us.
    Inbound,
}

impl Origin {
    /// A word for logs and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Database => "database",
            Self::Discovered => "discv5",
            Self::Exchanged => "member",
            Self::Lock => "lock",
            Self::Inbound => "inbound",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A TCP endpoint of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    /// How it is known.
    pub origin: Origin,
}

/// What became of a record that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// Not a member's key.
    NotAMember,
    /// Nothing new: the same content, or a lower sequence number.
    Known,
    /// The same sequence number with other content: the first is kept, the member did wrong.
    Conflict,
    /// Taken: it is the member's newest record now.
    Updated,
}
