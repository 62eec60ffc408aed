//! The table at the end.

use crate::measure::{Allocations, Cost, Op, measure};

/// What our figure stands beside.
pub(crate) enum Theirs {
    /// An operation that the peer lets us call.
    Measured(Op),
    /// A figure that was measured inside the peer, in nanoseconds, on a machine on which a primitive took
    /// [`Primitive::reference`]; here it counts as that much longer as the primitive takes longer here.
    Given(f64, Primitive, Allocations),
}

/// A primitive that both machines were measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Primitive {
    /// ECDSA verification by k256.
    Verify,
    /// AES-128-GCM over 100 bytes with a new key.
    AesGcm,
}

impl Primitive {
    const fn reference(self) -> f64 {
        match self {
            Self::Verify => 60_000.0,
            Self::AesGcm => 250.0,
        }
    }
}

/// How long the primitives take here, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here {
    pub(crate) verify: f64,
    pub(crate) aes_gcm: f64,
}

impl Here {
    /// The least of both.
    pub(crate) fn least(self, other: Self) -> Self {
        Self { verify: self.verify.min(other.verify), aes_gcm: self.aes_gcm.min(other.aes_gcm) }
    }

    fn scale(self, primitive: Primitive) -> f64 {
        let here = match primitive {
            Primitive::Verify => self.verify,
            Primitive::AesGcm => self.aes_gcm,
        };
        here / primitive.reference()
    }
}

/// Our side with one backend.
pub(crate) struct Column {
    pub(crate) backend: &'static str,
    pub(crate) native: bool,
    pub(crate) op: Op,
}

/// One operation and its bars.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) ours: Vec<Column>,
    pub(crate) peer: &'static str,
    pub(crate) theirs: Theirs,
    /// Most that ours may take of the peer's time: with the default backend, and with the native one.
    pub(crate) bars: [f64; 2],
    /// Most allocations.
    pub(crate) allocations: Option<f64>,
}

/// A line of the table, as it is printed.
#[derive(Debug, Default)]
pub(crate) struct Line([String; 10]);

pub(crate) const HEAD: [&str; 10] = [
    "operation",
    "backend",
    "ours",
    "peer",
    "theirs",
    "ratio",
    "bar",
    "met",
    "allocations",
    "bytes allocated",
];

impl Row {
    /// Measures the row.
    pub(crate) fn measure(self, rounds: usize) -> Measured {
        let backends: Vec<_> = self.ours.iter().map(|column| (column.backend, column.native)).collect();
        let mut ops: Vec<_> = self.ours.into_iter().map(|column| (column.backend, column.op)).collect();
        let given = match self.theirs {
            Theirs::Measured(op) => {
                ops.push((self.peer, op));
                None
            }
            Theirs::Given(ns, primitive, allocations) => Some((ns, primitive, allocations)),
        };
        let costs = measure(self.title, rounds, &mut ops);
        let Self { title, peer, bars, allocations, .. } = self;
        Measured { title, backends, peer, given, costs, bars, allocations }
    }
}

/// A row with what its operations took.
pub(crate) struct Measured {
    title: &'static str,
    /// The name of each of ours, and whether it is native.
    backends: Vec<(&'static str, bool)>,
    peer: &'static str,
    given: Option<(f64, Primitive, Allocations)>,
    /// Ours, and the peer's if that was measured.
    costs: Vec<Cost>,
    bars: [f64; 2],
    allocations: Option<f64>,
}

impl Measured {
    /// Takes over what took less in another pass.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (cost, other) in self.costs.iter_mut().zip(&other.costs) {
            cost.ns = cost.ns.min(other.ns);
        }
    }

    /// Appends its lines to those of the table.
    pub(crate) fn append(mut self, here: Here, lines: &mut Vec<Line>) {
        let given = self.given.map(|(ns, primitive, allocations)| {
            let cost = Cost { ns: ns * here.scale(primitive), allocations };
            (cost, format!("{} (scaled)", self.peer))
        });
        let theirs = given.or_else(|| Some((self.costs.pop()?, self.peer.to_owned())));
        let Some((theirs, peer)) = theirs else { return };
        for ((backend, native), ours) in self.backends.into_iter().zip(self.costs) {
            let (ratio, bar) = (ours.ns / theirs.ns, self.bars[usize::from(native)]);
            let few = self.allocations.is_none_or(|most| ours.allocations.count <= most);
            let met = match (ratio <= bar, few) {
                (true, true) => "yes",
                (false, true) => "no",
                (true, false) => "no: allocations",
                (false, false) => "no, nor allocations",
            };
            let both = |ours: f64, theirs: f64| format!("{} / {}", number(ours), number(theirs));
            lines.push(Line([
                self.title.to_owned(),
                backend.to_owned(),
                time(ours.ns),
                peer.clone(),
                time(theirs.ns),
                format!("{ratio:.3}"),
                if bar.is_finite() { format!("{bar}") } else { "none".to_owned() },
                met.to_owned(),
                both(ours.allocations.count, theirs.allocations.count),
                both(ours.allocations.bytes, theirs.allocations.bytes),
            ]));
        }
    }
}

fn time(ns: f64) -> String {
    match ns {
        ..1_000.0 => format!("{ns:.0} ns"),
        ..100_000.0 => format!("{:.2} µs", ns / 1e3),
        ..1e6 => format!("{:.0} µs", ns / 1e3),
        _ => format!("{:.1} ms", ns / 1e6),
    }
}

/// Few decimals, where there are any.
pub(crate) fn number(value: f64) -> String {
    if value.is_nan() {
        "?".to_owned()
    } else if (value - value.round()).abs() < 0.05 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// Prints lines under a head, as a table that Markdown reads too.
pub(crate) fn print(head: &[&str], lines: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let row = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!(" {cell:width$} |"));
        println!("|{}", padded.collect::<String>());
    };
    row(&mut head.iter().copied());
    println!("|{}", widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect::<String>());
    for line in lines {
        row(&mut line.iter().map(String::as_str));
    }
}

impl From<Line> for Vec<String> {
    fn from(line: Line) -> Self {
        line.0.into()
    }
}
