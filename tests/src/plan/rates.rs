//! What goes wrong by itself, and how often.

use coracle_sim::{DiskFaults, Faults, Link, MILLISECOND, StreamFaults};
use serde::{Deserialize, Serialize};

use super::is_default;

/// Bytes that may wait before a narrow link: hardly more than the largest datagram, so that streams wait their turn.
const QUEUE: u64 = 1_500;

/// Rates and delays. `0` everywhere is a quiet network with 10 ms on every way and 1 ms to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// When they begin.
    #[serde(skip_serializing_if = "is_default")]
    pub from_ms: u64,
    /// When they end; 0: with the healing.
    #[serde(skip_serializing_if = "is_default")]
    pub until_ms: u64,
    /// Added to the 10 ms on every way.
    #[serde(skip_serializing_if = "is_default")]
    pub latency_ms: u64,
    /// Up to this much more, drawn for each packet.
    #[serde(skip_serializing_if = "is_default")]
    pub jitter_ms: u64,
    /// Datagrams lost.
    #[serde(skip_serializing_if = "is_default")]
    pub loss: u32,
    /// Datagrams doubled.
    #[serde(skip_serializing_if = "is_default")]
    pub duplicate: u32,
    /// Datagrams held back, so that others overtake them.
    #[serde(skip_serializing_if = "is_default")]
    pub reorder: u32,
    /// Datagrams changed.
    #[serde(skip_serializing_if = "is_default")]
    pub corrupt: u32,
    /// Stream segments split.
    #[serde(skip_serializing_if = "is_default")]
    pub split: u32,
    /// Stream segments at which the stream breaks.
    #[serde(skip_serializing_if = "is_default")]
    pub broken: u32,
    /// Stream ends that are not told that their peer is gone.
    #[serde(skip_serializing_if = "is_default")]
    pub silent: u32,
    /// Stream segments at which the stream stalls, for 5 s at most.
    #[serde(skip_serializing_if = "is_default")]
    pub stall: u32,
    /// KiB that leave in a second on every way; 0: any number.
    #[serde(skip_serializing_if = "is_default")]
    pub bandwidth_kib: u64,
    /// Added to the 1 ms until a write is durable.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_ms: u64,
    /// Up to this much more, drawn for each write.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_jitter_ms: u64,
    /// Writes that fail.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_fail: u32,
    /// Unfinished writes that a crash loses.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_lose: u32,
    /// Crashes at which a later unfinished write may survive an earlier one.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_reorder: u32,
    /// Unfinished writes that a crash keeps a part of.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_tear: u32,
}

impl Rates {
    /// As the simulator takes them.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let none = Faults::none();
        Faults {
            link: Link {
                latency: none.link.latency + self.latency_ms * MILLISECOND,
                jitter: self.jitter_ms * MILLISECOND,
                loss: self.loss,
                duplicate: self.duplicate,
                reorder: self.reorder,
                reorder_by: 2_000 * MILLISECOND,
                corrupt: self.corrupt,
                bandwidth: self.bandwidth_kib * 1_024,
                queue: QUEUE,
            },
            streams: StreamFaults {
                split: self.split,
                broken: self.broken,
                silent: self.silent,
                stall: self.stall,
                stall_for: 5_000 * MILLISECOND,
            },
            disk: DiskFaults {
                latency: none.disk.latency + self.disk_ms * MILLISECOND,
                jitter: self.disk_jitter_ms * MILLISECOND,
                fail: self.disk_fail,
                lose: self.disk_lose,
                reorder: self.disk_reorder,
                tear_values: self.disk_tear,
                ..none.disk
            },
            chaos: none.chaos,
        }
    }

    /// Every rate and delay by its name, to be looked through and switched off one by one.
    pub fn each(&mut self) -> [(&'static str, Rate<'_>); 17] {
        [
            ("loss", Rate::Ppm(&mut self.loss)),
            ("duplicate", Rate::Ppm(&mut self.duplicate)),
            ("reorder", Rate::Ppm(&mut self.reorder)),
            ("corrupt", Rate::Ppm(&mut self.corrupt)),
            ("split", Rate::Ppm(&mut self.split)),
            ("broken", Rate::Ppm(&mut self.broken)),
            ("silent", Rate::Ppm(&mut self.silent)),
            ("disk-fail", Rate::Ppm(&mut self.disk_fail)),
            ("disk-lose", Rate::Ppm(&mut self.disk_lose)),
            ("latency", Rate::Ms(&mut self.latency_ms)),
            ("jitter", Rate::Ms(&mut self.jitter_ms)),
            ("disk", Rate::Ms(&mut self.disk_ms)),
            ("disk-jitter", Rate::Ms(&mut self.disk_jitter_ms)),
            ("stall", Rate::Ppm(&mut self.stall)),
            ("disk-reorder", Rate::Ppm(&mut self.disk_reorder)),
            ("bandwidth", Rate::KiB(&mut self.bandwidth_kib)),
            ("disk-tear", Rate::Ppm(&mut self.disk_tear)),
        ]
    }
}

/// One of the numbers in [`Rates`].
#[derive(Debug)]
pub enum Rate<'a> {
    /// Parts per million.
    Ppm(&'a mut u32),
    /// Milliseconds.
    Ms(&'a mut u64),
    /// KiB a second; 0 is no bound.
    KiB(&'a mut u64),
}

impl Rate<'_> {
    /// Whether it is switched off.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        match self {
            Self::Ppm(rate) => **rate == 0,
            Self::Ms(number) | Self::KiB(number) => **number == 0,
        }
    }

    /// Switches it off.
    pub const fn switch_off(&mut self) {
        match self {
            Self::Ppm(rate) => **rate = 0,
            Self::Ms(number) | Self::KiB(number) => **number = 0,
        }
    }
}
