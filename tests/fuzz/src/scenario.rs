//! A whole cluster in the simulator, whose every decision is made by the fuzzer's bytes.

use coracle_sim::{Ask, Choices, Faults, Lane, MILLISECOND, SECOND, Source};
use coracle_tests::cluster::{Cluster, home};

/// How long things go wrong, and by when the mesh must be full after that.
const CHAOS: u64 = 20 * SECOND;
const DEADLINE: u64 = 120 * SECOND;

/// Two or three members, faults and moves as the bytes say; then everything heals, and the mesh must be full again
/// (rule C2). The observers of `coracle-tests` check the other rules after every event.
pub fn scenario(data: &[u8]) {
    let mut choices = Choices::from_source(format!("{data:?}"), Fuzzed::new(data)).without_recording();
    let members = 2 + u8::from(choices.lane("fuzz.members", 0).choose(2) == 1);
    let faults = Faults::drawn(&mut choices);
    let mut cluster = Cluster::new(choices, faults, members);
    let mut next_home = 100;
    while cluster.sim.now() < CHAOS {
        cluster.run(2500 * MILLISECOND);
        // The first stays where it is: one valid way must be left.
        for position in 1..u64::from(members) {
            if cluster.sim.choices().lane("fuzz.move", position).choose(16) == 1 {
                cluster.move_to(position as usize, home(next_home));
                next_home += 1;
            }
        }
    }
    cluster.heal();
    cluster.expect_mesh(DEADLINE);
}

/// As [`Choices::from_raw_bytes`], but for the nodes' own seeds: these are no decisions of the world, would take
/// 32 bytes a start, and be the same for all nodes once the bytes have run out.
struct Fuzzed {
    raw: Choices,
    seeds: u64,
}

impl Fuzzed {
    fn new(data: &[u8]) -> Self {
        Self { raw: Choices::from_raw_bytes(data).without_recording(), seeds: 0 }
    }
}

impl Source for Fuzzed {
    fn answer(&mut self, lane: Lane, ask: Ask) -> u64 {
        if lane.name == "boot.seed" {
            self.seeds += 1;
            return self.seeds.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & ask.largest();
        }
        match ask {
            Ask::UpTo(largest) => self.raw.lane(lane.name, lane.index).between(0, largest),
            Ask::Chance(rate) => u64::from(self.raw.lane(lane.name, lane.index).chance(rate)),
        }
    }
}
