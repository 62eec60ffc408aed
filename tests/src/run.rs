//! A plan carried out, watched, and judged.
//!
//! Purpose: [`run`] is the one way from a [`Plan`] to an [`Outcome`]: chaos, then healing, then the deadline, then
//! a while in which nothing may happen. Same plan, same outcome, same hash.

mod filter;
mod stage;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use coracle_sim::{Choices, Counters, Failure, Faults, Nanos, Sim, TraceHash};

use crate::cluster::{Actor, home, secret};
use crate::intruder::Intruder;
use crate::plan::{Lie, Plan};
use crate::run::filter::Filtered;
use crate::run::stage::Stage;
use crate::story::Story;

/// What is kept of a run beside its result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Everything that happened, for a report.
    pub story: bool,
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The first rule that was broken.
    pub broken: Option<Failure>,
    /// From the healing to the full mesh.
    pub healed_in: Option<Nanos>,
    /// The hash over everything that happened; `None` after a panic.
    pub hash: Option<TraceHash>,
    /// Events that reached a node.
    pub steps: u64,
    /// Virtual time at the end.
    pub time: Nanos,
    /// What happened how often.
    pub counters: Counters,
    /// What the observers counted.
    pub seen: Seen,
    /// Faults that the rates brought, those that were spared included.
    pub faults: u64,
    /// What happened, if it was asked for.
    pub story: Option<Story>,
}

/// What the observers counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Datagrams and writes together: what could be left out of a run.
    pub packets: u64,
    /// Channels that came about.
    pub channels: u64,
    /// Records that were published.
    pub records: u64,
    /// (key, nonce) pairs.
    pub nonces: u64,
    /// Bytes a minute to an endpoint that never answered, beyond what came from there: the most.
    pub unverified: u64,
    /// Dials of intruders.
    pub intrusions: u64,
    /// Databases that were lost.
    pub databases_lost: u64,
    /// Second processes with a key.
    pub twins: u64,
    /// Times that a node was shown a newer record of its own that it had forgotten, and adopted it.
    pub own_adopted: u64,
    /// Times that it was shown one that says something else, and went above it, or said that it does so no more.
    pub own_exceeded: u64,
    /// Times that a member was found to have signed two contents under one number.
    pub conflicts: u64,
    /// Members removed.
    pub removals: u64,
    /// Lies told, of each kind of [`Lie::ALL`].
    pub lies: [u64; Lie::ALL.len()],
}

impl Seen {
    /// Adds those of another run; of what is a maximum, the larger.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.channels += other.channels;
        self.records += other.records;
        self.nonces += other.nonces;
        self.unverified = self.unverified.max(other.unverified);
        self.intrusions += other.intrusions;
        self.databases_lost += other.databases_lost;
        self.twins += other.twins;
        self.own_adopted += other.own_adopted;
        self.own_exceeded += other.own_exceeded;
        self.conflicts += other.conflicts;
        self.removals += other.removals;
        for (lies, others) in self.lies.iter_mut().zip(other.lies) {
            *lies += others;
        }
    }

    /// What went wrong, by name, beside what the simulator's own counters have.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let lies = Lie::ALL.map(Lie::name).into_iter().zip(self.lies);
        let others = [
            ("intruders", self.intrusions),
            ("databases_lost", self.databases_lost),
            ("second_processes", self.twins),
            ("own_records_adopted", self.own_adopted),
            ("own_records_exceeded", self.own_exceeded),
            ("record_conflicts", self.conflicts),
            ("members_removed", self.removals),
        ];
        others.into_iter().chain(lies)
    }
}

/// Carries out a plan.
#[must_use]
pub fn run(plan: &Plan, options: Options) -> Outcome {
    let faults = Rc::new(Cell::new(0));
    let counted = Rc::clone(&faults);
    let carried_out = catch_unwind(AssertUnwindSafe(|| {
        let source = Filtered::new(plan.seed, plan.only_faults.as_deref(), counted);
        let choices = Choices::from_source(format!("plan {} {}", plan.name, plan.seed), source);
        Stage::new(plan, choices.without_recording(), options).play()
    }));
    let mut outcome = carried_out.unwrap_or_else(|panic| Outcome {
        broken: Some(panicked(&text(panic.as_ref()))),
        healed_in: None,
        hash: None,
        steps: 0,
        time: 0,
        counters: Counters::default(),
        seen: Seen::default(),
        faults: 0,
        story: None,
    });
    outcome.faults = faults.get();
    outcome
}

/// A panic as a failure like any other.
fn panicked(message: &str) -> Failure {
    let mut sim = Sim::<Actor>::new(Choices::from_raw_bytes(&[]), Faults::none());
    let nobody = sim.add_node(home(0), |boot| Actor::Intruder(Intruder::new(&secret(0), &boot)));
    sim.fail(nobody.expect("a free address"), "panic", message)
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}
