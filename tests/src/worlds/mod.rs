//! The small worlds that [`search`](crate::search) goes through: the code that ships over [`Symbolic`](crate::symbolic::Symbolic) terms.

pub mod audited;
pub mod discv5;
pub mod lasting;
pub mod noise;

pub use audited::Audited;
use discv5::{Begins, Discv5, Variant};
use noise::Noise;

use std::hash::Hasher;

use crate::search::{Counterexample, Explored, World, search};
use siphasher::sip128::{Hasher128, SipHasher13};

/// What a search found.
pub type Found = Result<Explored, Counterexample<String>>;

/// A world with its name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// Searches it, with at most this many faults.
    pub search: fn(u32) -> Found,
}

/// All worlds.
pub const CATALOGUE: &[Entry] = &[
    Entry { name: "discv5-one", search: |faults| discv5(Begins::One, false, false, faults) },
    Entry { name: "discv5-both", search: |faults| discv5(Begins::Both, false, false, faults) },
    Entry { name: "discv5-one-in-order", search: |faults| discv5(Begins::One, true, false, faults) },
    Entry { name: "discv5-both-in-order", search: |faults| discv5(Begins::Both, true, false, faults) },
    Entry { name: "discv5-one-attacked", search: |faults| discv5(Begins::One, true, true, faults) },
    Entry { name: "discv5-both-attacked", search: |faults| discv5(Begins::Both, true, true, faults) },
    Entry { name: "discv5-with-attacker", search: |faults| discv5(Begins::WithAttacker, true, true, faults) },
    Entry { name: "noise-one", search: |faults| named(|| Noise::new(false, false), faults) },
    Entry { name: "noise-both", search: |faults| named(|| Noise::new(true, false), faults) },
    Entry { name: "noise-one-attacked", search: |faults| named(|| Noise::new(false, true), faults) },
    Entry { name: "noise-both-attacked", search: |faults| named(|| Noise::new(true, true), faults) },
];

/// A property that holds for every order of events, by its name.
pub type Property = (&'static str, fn() -> Result<(), String>);

/// Properties of what is too long to be searched.
pub const PROPERTIES: &[Property] = &[("a channel lasts", lasting::a_channel_lasts)];

fn discv5(begins: Begins, in_order: bool, attacked: bool, faults: u32) -> Found {
    named(|| Discv5::new(Variant { begins, in_order, attacked }), faults)
}

fn named<W: World>(start: impl Fn() -> W + Sync, faults: u32) -> Found {
    search(start, faults).map_err(|found| Counterexample {
        steps: found.steps.iter().map(|step| format!("{step:?}")).collect(),
        problem: found.problem,
        explored: found.explored,
    })
}

/// Everything that a machine was fed, as a name of the state that it is in: the same inputs in the same order
/// give the same machine.
#[derive(Clone, Default)]
pub(crate) struct History(SipHasher13);

impl History {
    /// One more input.
    pub(crate) fn add(&mut self, kind: u8, at: u64, bytes: &[u8]) {
        self.0.write_u8(kind);
        self.0.write_u64(at);
        self.0.write_usize(bytes.len());
        self.0.write(bytes);
    }

    pub(crate) fn name(&self) -> u128 {
        self.0.finish128().as_u128()
    }
}

/// A short name of some bytes.
pub(crate) fn name_of(parts: &[&[u8]]) -> u128 {
    let mut history = History::default();
    parts.iter().for_each(|part| history.add(0, 0, part));
    history.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explored(world: &str, faults: u32) -> Explored {
        let entry = CATALOGUE.iter().find(|entry| entry.name == world).unwrap();
        (entry.search)(faults).unwrap_or_else(|found| panic!("{world}: {found}"))
    }

    /// The program `prove` goes further; here the worlds are seen to be what they say, in a debug build.
    #[test]
    fn the_smallest_worlds_hold_their_rules() {
        // Undisturbed, a PING takes a packet without keys, a challenge, a handshake and a PONG.
        let alone = explored("discv5-one", 0);
        assert_eq!((alone.states, alone.edges, alone.at_rest, alone.deepest), (5, 4, 1, 4));
        assert!(explored("discv5-one", 1).states > 50);
        assert!(explored("noise-one", 0).at_rest >= 1);
    }
}
