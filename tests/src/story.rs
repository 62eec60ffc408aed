//! What happened in a run, as people and tools read it: one list of moments.
//!
//! Purpose: the simulator's own story is about datagrams, streams and crashes; here the protocol's words are put
//! between them (a record is published, a channel comes about, a packet is a WHOAREYOU). A [`Story`] is made of
//! owned, plain data, and is what [`report`](crate::report) draws.

mod tell;

pub(crate) use tell::Teller;

use serde::Serialize;

/// A run from beginning to end.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    /// The plan's name.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// How to have this run again.
    pub replay: String,
    /// The nodes, by number: the operators first.
    pub lanes: Vec<Lane>,
    /// How many of them are operators.
    pub operators: usize,
    /// Which of these lie: the mesh is the others'.
    pub liars: Vec<usize>,
    /// When everything was healed, in microseconds like all times here.
    pub heal_us: u64,
    /// When the mesh was full after that.
    pub full_us: Option<u64>,
    /// When it ended.
    pub end_us: u64,
    /// From when to when faults came by themselves.
    pub faults_us: (u64, u64),
    /// The rates of these faults, in words.
    pub faults: Vec<String>,
    /// The rule that was broken.
    pub broken: Option<BrokenRule>,
    /// What happened, in order.
    pub moments: Vec<Moment>,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// Its first address.
    pub address: String,
}

/// A rule that was broken.
#[derive(Clone, Debug, Serialize)]
pub struct BrokenRule {
    /// Its name.
    pub rule: String,
    /// What was seen.
    pub message: String,
    /// When.
    pub at_us: u64,
    /// Which nodes it is about.
    pub nodes: Vec<usize>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When.
    pub at_us: u64,
    /// What.
    pub kind: Kind,
    /// To which node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// What other node it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<usize>,
    /// For a packet that arrived: when it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_us: Option<u64>,
    /// More, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// What a [`Moment`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The node starts.
    Start,
    /// It crashes.
    Crash,
    /// It has another address.
    Move,
    /// A datagram from `other` arrived.
    Packet,
    /// A datagram to `other` did not arrive.
    Drop,
    /// The node publishes a record of its own.
    Publish,
    /// The node learned a newer record of `other`.
    Learn,
    /// The node dials `other`.
    Dial,
    /// A dial failed.
    DialFailed,
    /// The node has a channel with `other`.
    Up,
    /// A channel ended.
    Down,
    /// The node looks `other` up.
    LookUp,
    /// The node says that `other` cannot be reached.
    Unreachable,
    /// It refused a connection.
    Refuse,
    /// Nothing passes any more from the node to `other`.
    Cut,
    /// It passes again.
    Rejoin,
    /// An incident of the plan.
    #[default]
    Incident,
    /// All is healed.
    Heal,
    /// The mesh is full.
    Full,
    /// A rule is broken.
    Broken,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Crash => "crash",
            Self::Move => "move",
            Self::Packet => "packet",
            Self::Drop => "drop",
            Self::Publish => "publish",
            Self::Learn => "learn",
            Self::Dial => "dial",
            Self::DialFailed => "dial-failed",
            Self::Up => "up",
            Self::Down => "down",
            Self::LookUp => "look-up",
            Self::Unreachable => "unreachable",
            Self::Refuse => "refuse",
            Self::Cut => "cut",
            Self::Rejoin => "rejoin",
            Self::Incident => "incident",
            Self::Heal => "heal",
            Self::Full => "full",
            Self::Broken => "broken",
        }
    }
}
