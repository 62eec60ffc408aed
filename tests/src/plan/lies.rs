//! Who lies, and about what: Byzantine members, and strangers of the same kind.

use coracle_sim::{Choices, MILLION};
use serde::{Deserialize, Serialize};

use super::{Incident, Plan, What};

/// Somebody that takes part in everything and lies, from the first moment to the last: no healing ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Liar {
    /// Which member it is; none is a stranger, who speaks discv5 with everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<u8>,
    /// What it lies about.
    pub lies: Vec<Lie>,
}

/// A way of lying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// In PONG and identify it says that others are seen at an address where nobody is. All liars name the same.
    Votes,
    /// In PING and PONG it says another sequence number than its record has.
    Numbers,
    /// It signs two contents under one number, and shows one to these and the other to those.
    Equivocation,
    /// Where it passes on a record of somebody, in NODES or in the exchange of records, it is an old one.
    OldRecords,
    /// There it is also one that was changed, or somebody else's.
    WrongRecords,
    /// Its record claims another member's address, that of one who has no part in this, and its own, in turn.
    Addresses,
    /// It closes every second connection that it accepts.
    Refusals,
    /// It stops reading from every second connection once the handshake is through.
    Stalls,
    /// Some of what it seals has a wrong byte in it: an authenticated message that is none.
    Junk,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Votes,
        Self::Numbers,
        Self::Equivocation,
        Self::OldRecords,
        Self::WrongRecords,
        Self::Addresses,
        Self::Refusals,
        Self::Stalls,
        Self::Junk,
    ];

    /// Its name, as counted by a campaign.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Votes => "lies_votes",
            Self::Numbers => "lies_numbers",
            Self::Equivocation => "lies_equivocation",
            Self::OldRecords => "lies_old_records",
            Self::WrongRecords => "lies_wrong_records",
            Self::Addresses => "lies_addresses",
            Self::Refusals => "lies_refusals",
            Self::Stalls => "lies_stalls",
            Self::Junk => "lies_junk",
        }
    }
}

/// The fewest votes that move an address in a cluster of so many, as far as their number says it (rule E7).
const fn least_quorum(members: usize) -> usize {
    let quorum = members.saturating_sub(1) / 3 + 1;
    if quorum < 2 { 2 } else { quorum }
}

impl Plan {
    /// Whether this operator lies.
    #[must_use]
    pub fn lies(&self, operator: u8) -> bool {
        self.liars.iter().any(|liar| liar.operator == Some(operator))
    }

    /// The fewest votes that move an address, as far as the number of members says it (rule E7).
    #[must_use]
    pub fn least_quorum(&self) -> usize {
        least_quorum(usize::from(self.operators))
    }

    /// Whether the members who lie are fewer than a quorum, also of those who are left while others are removed.
    pub(super) fn liars_are_few(&self) -> bool {
        let operators = || 0..self.operators;
        let removed = |operator: &u8| {
            let of = |what: &What| matches!(what, What::Remove { operator: whose, .. } if whose == operator);
            !self.lies(*operator) && self.incidents.iter().any(|incident| of(&incident.what))
        };
        let lying = operators().filter(|operator| self.lies(*operator)).count();
        lying < least_quorum(usize::from(self.operators) - operators().filter(removed).count())
    }

    /// Takes removals back until the members who lie are few.
    pub(super) fn keep_liars_few(&mut self) {
        while !self.liars_are_few() {
            let honest = |incident: &Incident| matches!(incident.what, What::Remove { operator, .. } if !self.lies(operator));
            let Some(last) = self.incidents.iter().rposition(honest) else { break };
            self.incidents.remove(last);
        }
    }

    /// In every fourth plan some members lie, in every fifth some strangers.
    pub(super) fn draw_liars(&mut self, choices: &mut Choices) {
        let most = (u64::from(self.operators.saturating_sub(1)) / 3).max(u64::from(self.operators > 2));
        if most > 0 && choices.lane("plan.liars", 0).chance(MILLION / 4) {
            let mut draw = choices.lane("plan.liars", 1);
            let count = draw.between(1, most);
            for _ in 0..count {
                let operator = draw.choose(u64::from(self.operators)).to_le_bytes()[0];
                if !self.lies(operator) {
                    self.liars.push(Liar { operator: Some(operator), lies: Vec::new() });
                }
            }
        }
        if choices.lane("plan.strangers", 0).chance(MILLION / 5) {
            let count = choices.lane("plan.strangers", 1).between(1, MOST_STRANGERS);
            self.liars.extend((0..count).map(|_| Liar { operator: None, lies: Vec::new() }));
        }
        for (number, liar) in (0..).zip(&mut self.liars) {
            let mut draw = choices.lane("plan.lies", number);
            liar.lies = Lie::ALL.into_iter().filter(|_| draw.chance(MILLION / 2)).collect();
            if liar.lies.is_empty() {
                liar.lies = Lie::ALL.to_vec();
            }
        }
    }
}

/// Strangers that lie, in one drawn plan.
const MOST_STRANGERS: u64 = 3;
