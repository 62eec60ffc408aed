//! What goes wrong, and how often.
//!
//! Purpose: a [`Faults`] is a plan: rates in parts per million, durations in nanoseconds. A run starts with one
//! and may change it at any time; [`Faults::healed`] is the world in which nothing goes wrong any more.
//! [`Counters`](crate::Counters) says what did.

use crate::choices::{Choices, MILLION};
use crate::time::{MILLISECOND, Nanos, SECOND};

/// The plan of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The links between nodes that have none of their own (see [`Sim::set_link`](crate::Sim::set_link)).
    pub link: Link,
    /// Streams.
    pub streams: StreamFaults,
    /// Disks.
    pub disk: DiskFaults,
    /// Blows that fall by themselves.
    pub chaos: Chaos,
}

/// One direction of a link between two nodes. Streams use the same links as datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The least time on the way.
    pub latency: Nanos,
    /// Up to this much is added to it.
    pub jitter: Nanos,
    /// Datagrams lost, per million. (A stream's segment is sent again, and only late.)
    pub loss: u32,
    /// Datagrams that arrive a second time, per million.
    pub duplicate: u32,
    /// Datagrams held back, so that later ones overtake them, per million.
    pub reorder: u32,
    /// The longest time for which one is held back.
    pub reorder_by: Nanos,
    /// Datagrams with a changed bit, a changed byte or a lost end, per million. (Streams have checksums.)
    pub corrupt: u32,
}

/// What happens to streams, beside what their links do to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFaults {
    /// Segments cut in two at a random byte, per million.
    pub split: u32,
    /// Segments at which the whole stream breaks, per million.
    pub broken: u32,
    /// Of the ends that lose their peer (broken stream, crash, move), those that are not told by a reset and
    /// notice only after [`StreamLimits::stall_timeout`](crate::StreamLimits::stall_timeout), per million.
    pub silent: u32,
}

/// What happens on disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFaults {
    /// The least time until a write is durable.
    pub latency: Nanos,
    /// Up to this much is added to it.
    pub jitter: Nanos,
    /// Writes that fail, per million.
    pub fail: u32,
    /// Of the writes not yet durable at a crash, those that are lost, per million.
    pub lose: u32,
}

/// Blows that fall by themselves, drawn anew every virtual second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// Crashes, per million, second and node.
    pub crash: u32,
    /// The longest time until a crashed node starts again.
    pub down_for: Nanos,
    /// One-way partitions, per million, second and ordered pair of nodes.
    pub partition: u32,
    /// The longest time for which one lasts.
    pub partition_for: Nanos,
}

impl Faults {
    /// Nothing goes wrong: 10 ms on every way, 1 ms to the disk.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            link: Link {
                latency: 10 * MILLISECOND,
                jitter: 0,
                loss: 0,
                duplicate: 0,
                reorder: 0,
                reorder_by: 0,
                corrupt: 0,
            },
            streams: StreamFaults { split: 0, broken: 0, silent: 0 },
            disk: DiskFaults { latency: MILLISECOND, jitter: 0, fail: 0, lose: 0 },
            chaos: Chaos { crash: 0, down_for: 0, partition: 0, partition_for: 0 },
        }
    }

    /// A plan of its own for every run: about half the faults are switched off entirely, and the rates of the
    /// others are drawn.
    ///
    /// All faults at once would hide what two of them do together while the others rest.
    #[must_use]
    pub fn drawn(choices: &mut Choices) -> Self {
        let mut next = 0;
        let mut rate = |most: u64| {
            next += 1;
            let on = choices.lane("faults.on", next).chance(MILLION / 2);
            if !on {
                return 0;
            }
            choices.lane("faults.rate", next).between(1, most)
        };
        let ppm = |drawn: u64| u32::try_from(drawn).unwrap_or(MILLION);
        Self {
            link: Link {
                latency: MILLISECOND + rate(80 * MILLISECOND),
                jitter: rate(60 * MILLISECOND),
                loss: ppm(rate(250_000)),
                duplicate: ppm(rate(100_000)),
                reorder: ppm(rate(200_000)),
                reorder_by: 2 * SECOND,
                corrupt: ppm(rate(50_000)),
            },
            streams: StreamFaults {
                split: ppm(rate(900_000)),
                broken: ppm(rate(5_000)),
                silent: ppm(rate(900_000)),
            },
            disk: DiskFaults {
                latency: rate(20 * MILLISECOND),
                jitter: rate(200 * MILLISECOND),
                fail: ppm(rate(100_000)),
                lose: ppm(rate(1_000_000)),
            },
            chaos: Chaos {
                crash: ppm(rate(10_000)),
                down_for: 20 * SECOND,
                partition: ppm(rate(10_000)),
                partition_for: 30 * SECOND,
            },
        }
    }

    /// The same plan with everything that goes wrong taken out. Latencies stay.
    #[must_use]
    pub const fn healed(self) -> Self {
        let none = Self::none();
        Self {
            link: self.link.healed(),
            streams: none.streams,
            disk: DiskFaults { fail: 0, lose: 0, ..self.disk },
            chaos: none.chaos,
        }
    }
}

impl Link {
    /// The same link with everything that goes wrong taken out. Latency and jitter stay.
    #[must_use]
    pub const fn healed(self) -> Self {
        Self { latency: self.latency, jitter: self.jitter, ..Faults::none().link }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_off_in_some_plans_and_on_in_others() {
        let plans: Vec<Faults> = (0..64).map(|seed| Faults::drawn(&mut Choices::from_seed(seed))).collect();
        let rates: [fn(&Faults) -> u32; 11] = [
            |f| f.link.loss,
            |f| f.link.duplicate,
            |f| f.link.reorder,
            |f| f.link.corrupt,
            |f| f.streams.split,
            |f| f.streams.broken,
            |f| f.streams.silent,
            |f| f.disk.fail,
            |f| f.disk.lose,
            |f| f.chaos.crash,
            |f| f.chaos.partition,
        ];
        for (number, rate) in rates.iter().enumerate() {
            let off = plans.iter().filter(|plan| rate(plan) == 0).count();
            assert!((10..54).contains(&off), "fault {number} off in {off} of 64");
        }
    }

    #[test]
    fn choices_run_dry_plan_no_faults() {
        let plan = Faults::drawn(&mut Choices::from_raw_bytes(&[]));
        assert_eq!(plan.healed().link.loss, 0);
        assert_eq!(plan.link.healed(), Link { reorder_by: 0, ..plan.link });
        assert_eq!(plan.chaos.crash, 0);
    }
}
