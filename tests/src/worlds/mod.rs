//! The small worlds that [`search`](crate::search) goes through: the code that ships over [`Symbolic`] terms.

pub mod audited;
pub mod discv5;

pub use audited::Audited;
use discv5::{Begins, Discv5};

use std::hash::Hasher;

use crate::search::{Counterexample, Explored, World, search};
use siphasher::sip128::{Hasher128, SipHasher13};

/// A world with its name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// Searches it, with at most this many faults.
    pub search: fn(u32) -> Result<Explored, Counterexample<String>>,
}

/// All worlds.
pub const CATALOGUE: &[Entry] = &[
    Entry { name: "discv5-one", search: |faults| named(|| Discv5::new(Begins::One, false), faults) },
    Entry { name: "discv5-both", search: |faults| named(|| Discv5::new(Begins::Both, false), faults) },
    Entry { name: "discv5-one-attacked", search: |faults| named(|| Discv5::new(Begins::One, true), faults) },
    Entry {
        name: "discv5-both-attacked",
        search: |faults| named(|| Discv5::new(Begins::Both, true), faults),
    },
];

fn named<W: World>(start: impl Fn() -> W, faults: u32) -> Result<Explored, Counterexample<String>> {
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
