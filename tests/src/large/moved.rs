//! A part of a network moves at one moment, and others look for those who did.
//!
//! Whoever looks is drawn from the whole network: it need not have heard of whom it looks for, and it may have moved
//! itself. It has lookups one after the other, as a member of a cluster has them, until it holds the new record, and
//! then pings where that says. *Found again* is the moment at which that PING was answered.

use std::fmt;
use std::net::IpAddr;

use coracle_core::crypto::Crypto;
use coracle_core::discovery::Config;
use coracle_sim::{Failure, SECOND};

use super::host::{Order, Search};
use super::network::{Cost, Network, Size, address};

/// What is done to the network.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The network.
    pub size: Size,
    /// How many of its nodes move.
    pub moved: u32,
    /// How many others look for each of them.
    pub seekers: u32,
    /// After how many seconds nobody looks any more.
    pub give_up: u64,
}

/// What became of it. Times in milliseconds since the move.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When each search had the record, in order.
    pub found: Vec<u64>,
    /// When each search was answered from the new place, in order.
    pub reached: Vec<u64>,
    /// All searches.
    pub searches: usize,
    /// Those whose own node moved too.
    pub both_moved: usize,
    /// Lookups that ended without the new record.
    pub failures: u64,
    /// Nodes in a table, on average, before the move.
    pub known: usize,
    /// What it cost.
    pub cost: Cost,
}

/// Carries a plan out.
///
/// # Errors
///
/// None is expected: nobody watches.
///
/// # Panics
///
/// If the plan has more moves than nodes.
pub fn run<C: Crypto + Clone + Default + 'static>(plan: &Plan, config: &Config) -> Result<Outcome, Failure> {
    let mut network = Network::<C>::new(plan.size, config, |_, _| {})?;
    let known = network.known();
    let nodes = network.nodes.len();
    assert!((plan.moved as usize) < nodes, "the bootnode stays");
    // The bootnode has number 0 and stays: those that move are spread over all the others.
    let movers: Vec<usize> =
        (0..plan.moved as usize).map(|n| 1 + n * (nodes - 1) / plan.moved as usize).collect();
    for mover in &movers {
        let to = address(u32::try_from(*mover).unwrap_or(0), 1);
        network.sim.move_node(network.nodes[*mover], &[IpAddr::V4(to)]).expect("a free address");
    }
    let mut both_moved = 0;
    for (turn, mover) in movers.iter().enumerate() {
        for seeker in 0..plan.seekers {
            let drawn = network.draw("seeker", turn as u64 * 64 + u64::from(seeker), nodes - 1);
            let seeker = if drawn >= *mover { drawn + 1 } else { drawn };
            both_moved += usize::from(movers.contains(&seeker));
            network.sim.command(network.nodes[seeker], Order::Seek(network.ids[*mover], 2));
        }
    }
    let searches = movers.len() * plan.seekers as usize;
    let until = network.sim.now() + plan.give_up * SECOND;
    while network.sim.now() < until && times(&network, |search| search.reached).len() < searches {
        network.sim.run_for(SECOND)?;
    }
    let failures = all(&network).map(|search| u64::from(search.failures)).sum();
    Ok(Outcome {
        found: times(&network, |search| search.found),
        reached: times(&network, |search| search.reached),
        searches,
        both_moved,
        failures,
        known,
        cost: network.cost(),
    })
}

fn all<C: Crypto>(network: &Network<C>) -> impl Iterator<Item = &Search> {
    (0..network.nodes.len()).flat_map(|n| network.node(n).searches())
}

fn times<C: Crypto>(network: &Network<C>, when: impl Fn(&Search) -> Option<u64>) -> Vec<u64> {
    let mut times: Vec<_> =
        all(network).filter_map(|search| Some((when(search)? - search.begun) / 1_000_000)).collect();
    times.sort_unstable();
    times
}

impl Outcome {
    /// The time within which this part of all searches, in per cent, was answered from the new place; `None` if
    /// fewer were at all.
    #[must_use]
    pub fn reached_within(&self, per_cent: usize) -> Option<u64> {
        percentile(&self.reached, self.searches, per_cent)
    }
}

/// By the nearest rank, of `all`, of which only those in `times` came about.
fn percentile(times: &[u64], all: usize, per_cent: usize) -> Option<u64> {
    times.get((all * per_cent).div_ceil(100).saturating_sub(1)).copied()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { searches, both_moved, failures, known, cost, .. } = self;
        writeln!(f, "{known} nodes in a table on average before the move")?;
        writeln!(
            f,
            "{searches} searches, {both_moved} of them by nodes that moved too; {failures} lookups in vain"
        )?;
        for (what, times) in [("new record held", &self.found), ("answered from there", &self.reached)] {
            let at = |per_cent| match percentile(times, *searches, per_cent) {
                Some(millis) => format!("{}.{:03} s", millis / 1_000, millis % 1_000),
                None => "never".into(),
            };
            let (half, most, last) = (at(50), at(99), at(100));
            writeln!(f, "{what}: {} of {searches}; median {half}, p99 {most}, last {last}", times.len())?;
        }
        write!(f, "{cost}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_core::crypto::RustCrypto;

    #[test]
    fn a_percentile_counts_those_that_never_came() {
        let times: Vec<u64> = (1..=99).collect();
        assert_eq!(percentile(&times, 100, 50), Some(50));
        assert_eq!(percentile(&times, 100, 99), Some(99));
        assert_eq!(percentile(&times, 100, 100), None);
        assert_eq!(percentile(&[], 0, 99), None);
    }

    /// The same at a size for every day; `.ci/full` has a thousand nodes.
    #[test]
    fn those_who_moved_are_found_again() {
        for (loss, within) in [(10, 60), (30, 180)] {
            let size = Size { nodes: 24, loss, settle: 30, seed: 1 };
            let plan = Plan { size, moved: 5, seekers: 2, give_up: within };
            let outcome = run::<RustCrypto>(&plan, &Config::default()).unwrap();
            let p99 = outcome.reached_within(99);
            assert!(p99.is_some_and(|p99| p99 <= within * 1_000), "loss {loss}, seed 1: {outcome}");
        }
    }
}
