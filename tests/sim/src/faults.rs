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
    /// Bytes of payload that leave in a second; 0: any number.
    pub bandwidth: u64,
    /// Bytes that may wait before a link with a bandwidth. A datagram that finds no room is dropped, a stream
    /// waits. (Where nothing waits, anything may leave, however long it is.)
    pub queue: u64,
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
    /// Segments at which one direction of a stream stalls, per million: it, and what comes after it, is held
    /// back for a while.
    pub stall: u32,
    /// The longest time for which one stalls.
    pub stall_for: Nanos,
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
    /// Crashes at which each write not yet durable is lost or kept by itself, so that a later one may survive an
    /// earlier one, per million. At the others all after the first lost one are lost too.
    pub reorder: u32,
    /// Of the writes to files not yet durable at a crash and not lost, those of which only the first bytes are
    /// there, per million.
    pub tear: u32,
    /// The same for values ([`Context::put`](crate::Context::put)): the first bytes of the new value, then what
    /// the old one has after them. A value is as a rule one in a database, which does not let this happen:
    /// [`Faults::drawn`] leaves it at 0.
    pub tear_values: u32,
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
    /// NATs that lose their mappings, per million and second.
    pub nat_reboot: u32,
    /// Clocks that jump ahead, per million, second and node.
    pub clock_jump: u32,
    /// The longest jump.
    pub clock_jump_by: Nanos,
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
                bandwidth: 0,
                queue: 0,
            },
            streams: StreamFaults { split: 0, broken: 0, silent: 0, stall: 0, stall_for: 0 },
            disk: DiskFaults {
                latency: MILLISECOND,
                jitter: 0,
                fail: 0,
                lose: 0,
                reorder: 0,
                tear: 0,
                tear_values: 0,
            },
            chaos: Chaos {
                crash: 0,
                down_for: 0,
                partition: 0,
                partition_for: 0,
                nat_reboot: 0,
                clock_jump: 0,
                clock_jump_by: 0,
            },
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
        // Each call has lanes of its own, by its place in the order: new faults are drawn last, or seeds that
        // people wrote down would mean another plan.
        let mut plan = Self::none();
        plan.link.latency = MILLISECOND + rate(80 * MILLISECOND);
        plan.link.jitter = rate(60 * MILLISECOND);
        plan.link.loss = ppm(rate(250_000));
        plan.link.duplicate = ppm(rate(100_000));
        plan.link.reorder = ppm(rate(200_000));
        plan.link.reorder_by = 2 * SECOND;
        plan.link.corrupt = ppm(rate(50_000));
        plan.streams.split = ppm(rate(900_000));
        plan.streams.broken = ppm(rate(5_000));
        plan.streams.silent = ppm(rate(900_000));
        plan.disk.latency = rate(20 * MILLISECOND);
        plan.disk.jitter = rate(200 * MILLISECOND);
        plan.disk.fail = ppm(rate(100_000));
        plan.disk.lose = ppm(rate(1_000_000));
        plan.chaos.crash = ppm(rate(10_000));
        plan.chaos.down_for = 20 * SECOND;
        plan.chaos.partition = ppm(rate(10_000));
        plan.chaos.partition_for = 30 * SECOND;
        // 2 KB/s is slower than a handshake can bear, 256 KB/s is seldom felt; one in each of eight doublings.
        let narrow = rate(8);
        plan.link.bandwidth = if narrow == 0 { 0 } else { 256_000 >> (narrow - 1) };
        plan.link.queue = 2_048 + rate(30_000);
        plan.streams.stall = ppm(rate(20_000));
        plan.streams.stall_for = 10 * SECOND;
        plan.disk.reorder = ppm(rate(1_000_000));
        plan.disk.tear = ppm(rate(1_000_000));
        plan.chaos.nat_reboot = ppm(rate(20_000));
        plan.chaos.clock_jump = ppm(rate(5_000));
        plan.chaos.clock_jump_by = 60 * SECOND;
        plan
    }

    /// The same plan with everything that goes wrong taken out. Latencies stay.
    #[must_use]
    pub const fn healed(self) -> Self {
        let none = Self::none();
        Self {
            link: self.link.healed(),
            streams: none.streams,
            disk: DiskFaults { latency: self.disk.latency, jitter: self.disk.jitter, ..none.disk },
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
        let rates: [fn(&Faults) -> u32; 17] = [
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
            |f| u32::try_from(f.link.bandwidth).unwrap(),
            |f| f.streams.stall,
            |f| f.disk.reorder,
            |f| f.disk.tear,
            |f| f.chaos.nat_reboot,
            |f| f.chaos.clock_jump,
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
        assert_eq!(plan.link.healed(), Link { reorder_by: 0, queue: 0, ..plan.link });
        assert_eq!(plan.chaos.crash, 0);
    }
}
