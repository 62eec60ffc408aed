//! What happens at a moment.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::is_default;

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// An operator moves to an address that nobody had before; if it is behind a NAT, the NAT gets the address.
    Move {
        /// Who.
        operator: u8,
    },
    /// All operators move at one moment.
    MoveAll,
    /// An operator's node crashes.
    Crash {
        /// Who.
        operator: u8,
        /// For how long.
        down_ms: u64,
    },
    /// An operator's node crashes in the midst of a write.
    CrashAtWrite {
        /// Who.
        operator: u8,
        /// Which write, counted from 1 at this moment.
        write: u64,
        /// When it is started again, counted from this moment (later again, if it crashes only then).
        down_ms: u64,
    },
    /// An operator's node crashes, and its database is lost.
    LoseDatabase {
        /// Who.
        operator: u8,
        /// For how long it is down.
        down_ms: u64,
        /// By how much the host's wall clock is behind from then on; from 1970 it never goes back further.
        #[serde(default, skip_serializing_if = "is_default")]
        clock_behind_ms: u64,
    },
    /// A second process with an operator's key is started elsewhere, from an old backup: by discv5 and inside its
    /// channels it shows the others old records of everybody, and it signs numbers that the first one has used.
    Twin {
        /// Whose key it has.
        operator: u8,
        /// For how long it runs.
        for_ms: u64,
    },
    /// The lock file of all others is changed to one without this operator, who is not asked, and later back.
    Remove {
        /// Who.
        operator: u8,
        /// For how long.
        for_ms: u64,
    },
    /// These operators are cut off from all others.
    Partition {
        /// Who.
        operators: Vec<u8>,
        /// For how long.
        for_ms: u64,
    },
    /// Nothing passes from one operator to another. The other direction stays as it is.
    Cut {
        /// From whom.
        from: u8,
        /// To whom.
        to: u8,
        /// For how long.
        for_ms: u64,
    },
    /// The NAT of an operator loses its mappings.
    RebootNat {
        /// Whose.
        operator: u8,
    },
    /// An operator's clock jumps ahead.
    JumpClock {
        /// Whose.
        operator: u8,
        /// By how much.
        by_ms: u64,
    },
    /// Somebody who is no member dials an operator.
    Intrude {
        /// Whom.
        operator: u8,
        /// With the operator's own key, not one of nobody's.
        own_key: bool,
    },
}

impl What {
    /// The operators it is about, where it names any.
    #[must_use]
    pub fn operators(&self) -> Vec<u8> {
        match self {
            Self::MoveAll => Vec::new(),
            Self::Move { operator }
            | Self::Crash { operator, .. }
            | Self::CrashAtWrite { operator, .. }
            | Self::LoseDatabase { operator, .. }
            | Self::RebootNat { operator }
            | Self::JumpClock { operator, .. }
            | Self::Twin { operator, .. }
            | Self::Remove { operator, .. }
            | Self::Intrude { operator, .. } => vec![*operator],
            Self::Partition { operators, .. } => operators.clone(),
            Self::Cut { from, to, .. } => vec![*from, *to],
        }
    }

    /// How long it lasts, in milliseconds; 0 for what has no end.
    #[must_use]
    pub const fn lasts(&self) -> u64 {
        match self {
            Self::Crash { down_ms, .. }
            | Self::CrashAtWrite { down_ms, .. }
            | Self::LoseDatabase { down_ms, .. } => *down_ms,
            Self::Partition { for_ms, .. }
            | Self::Cut { for_ms, .. }
            | Self::Twin { for_ms, .. }
            | Self::Remove { for_ms, .. } => *for_ms,
            Self::Move { .. }
            | Self::MoveAll
            | Self::RebootNat { .. }
            | Self::JumpClock { .. }
            | Self::Intrude { .. } => 0,
        }
    }

    /// The same with another length, where it has one.
    pub(crate) const fn set_length(&mut self, ms: u64) {
        match self {
            Self::Crash { down_ms: length, .. }
            | Self::CrashAtWrite { down_ms: length, .. }
            | Self::LoseDatabase { down_ms: length, .. }
            | Self::Partition { for_ms: length, .. }
            | Self::Twin { for_ms: length, .. }
            | Self::Remove { for_ms: length, .. }
            | Self::Cut { for_ms: length, .. } => *length = ms,
            Self::Move { .. }
            | Self::MoveAll
            | Self::RebootNat { .. }
            | Self::JumpClock { .. }
            | Self::Intrude { .. } => {}
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Move { operator } => write!(f, "operator {operator} moves"),
            Self::MoveAll => f.write_str("all operators move"),
            Self::Crash { operator, .. } => write!(f, "operator {operator} crashes"),
            Self::CrashAtWrite { operator, write, .. } => {
                write!(f, "operator {operator} is to crash at write {write} from now")
            }
            Self::LoseDatabase { operator, clock_behind_ms: 0, .. } => {
                write!(f, "operator {operator} loses its database")
            }
            Self::LoseDatabase { operator, .. } => {
                write!(f, "operator {operator} loses its database, and its clock is behind")
            }
            Self::Twin { operator, .. } => {
                write!(f, "a second process runs with the key of operator {operator}")
            }
            Self::Remove { operator, .. } => write!(f, "operator {operator} is removed from the cluster"),
            Self::Partition { operators, .. } => write!(f, "operators {operators:?} are cut off"),
            Self::Cut { from, to, .. } => write!(f, "nothing passes from {from} to {to}"),
            Self::RebootNat { operator } => write!(f, "the NAT of operator {operator} forgets everything"),
            Self::JumpClock { operator, by_ms } => {
                write!(f, "the clock of operator {operator} jumps {by_ms} ms ahead")
            }
            Self::Intrude { operator, own_key: false } => write!(f, "a stranger dials operator {operator}"),
            Self::Intrude { operator, own_key: true } => {
                write!(f, "somebody with its own key dials operator {operator}")
            }
        }
    }
}
