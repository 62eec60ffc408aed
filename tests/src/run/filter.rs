//! The draws of a plan: its seed's, of which some faults may be spared.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use coracle_sim::{Ask, Choices, Lane, Source};

/// A seed's answers. Every "it happens" is counted, and only those asked for do happen.
pub(super) struct Filtered {
    seeded: Choices,
    only: Option<BTreeSet<u64>>,
    count: Rc<Cell<u64>>,
}

impl Filtered {
    pub(super) fn new(seed: u64, only: Option<&[u64]>, count: Rc<Cell<u64>>) -> Self {
        let only = only.map(|only| only.iter().copied().collect());
        Self { seeded: Choices::from_seed(seed).without_recording(), only, count }
    }
}

impl Source for Filtered {
    fn answer(&mut self, lane: Lane, ask: Ask) -> u64 {
        let mut draw = self.seeded.lane(lane.name, lane.index);
        match ask {
            Ask::UpTo(largest) => draw.between(0, largest),
            Ask::Chance(rate) => {
                if !draw.chance(rate) {
                    return 0;
                }
                let number = self.count.replace(self.count.get() + 1);
                u64::from(self.only.as_ref().is_none_or(|only| only.contains(&number)))
            }
        }
    }
}
