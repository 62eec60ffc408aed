//! Failures found, made small, and had again.

use std::ops::ControlFlow;

use coracle_sim::{
    Choices, Event, Failure, Faults, MILLISECOND, Plan, Progress, Recording, SECOND, Shrinker, Sim,
};

use crate::toy::{Command, Seen, Toy, at, world};

/// Pings through loss, duplication and jitter. Two rules to be broken: nobody answers ten
/// requests, and no dial fails.
fn pinging(choices: Choices, faults: Faults, pings: u64, dials: u64) -> (Sim<Toy>, Result<(), Failure>) {
    let (mut sim, nodes) = world(choices, faults, 2);
    sim.observe_as("ten", |sim, step| match sim.machine(step.node) {
        Some(toy) if toy.answered >= 10 => Err(format!("it answered {}", toy.answered)),
        _ => Ok(()),
    });
    sim.observe_as("dial", |_, step| match step.cause {
        coracle_sim::Cause::Event(Event::DialFailed { .. }) => Err("a dial failed".into()),
        _ => Ok(()),
    });
    sim.command(nodes[0], Command::Ping { to: at(2), count: pings });
    for _ in 0..dials {
        sim.command(nodes[0], Command::Echo { to: at(77), length: 1 });
    }
    let result = sim.run_until(60 * SECOND);
    (sim, result)
}

#[derive(Clone, Debug, PartialEq)]
struct Campaign {
    pings: u64,
    dials: u64,
    faults: Vec<u64>,
}

impl Campaign {
    fn run(&self) -> Result<(), Failure> {
        let mut faults = Faults::none();
        faults.link.loss = u32::try_from(self.faults.iter().sum::<u64>()).unwrap();
        pinging(Choices::from_seed(3), faults, self.pings, self.dials).1
    }
}

impl Plan for Campaign {
    fn simpler(&self) -> Vec<Self> {
        let faults = self.faults.simpler().into_iter().map(|faults| Self { faults, ..self.clone() });
        let dials = self.dials.simpler().into_iter().map(|dials| Self { dials, ..self.clone() });
        let pings = self.pings.simpler().into_iter().map(|pings| Self { pings, ..self.clone() });
        faults.chain(dials).chain(pings).collect()
    }
}

#[test]
fn a_plan_shrinks_to_what_the_failure_needs() {
    let plan = Campaign { pings: 50, dials: 3, faults: vec![1000, 20_000, 70_000] };
    let failure = plan.run().unwrap_err();
    assert_eq!(failure.invariant, "ten");
    let mut told: Vec<Progress> = Vec::new();
    let tell = |progress: &Progress| {
        told.push(*progress);
        ControlFlow::Continue(())
    };
    let shrunk = Shrinker::new(500).on_progress(tell).plan(plan, failure, Campaign::run);
    // A request may be sent twice only where something is lost: without loss ten pings are needed.
    assert_eq!(shrunk.smallest, Campaign { pings: 10, dials: 0, faults: vec![] });
    assert!(shrunk.finished);
    assert_eq!(shrunk.failure, shrunk.smallest.run().unwrap_err());
    assert_eq!(told.len() as u64, shrunk.runs);
    assert_eq!(told.last().unwrap().accepted, shrunk.accepted);
    println!("{} runs, {} accepted", shrunk.runs, shrunk.accepted);
}

#[test]
fn a_shrinking_that_is_broken_off_has_what_it_found() {
    let plan = Campaign { pings: 50, dials: 3, faults: vec![1000, 20_000, 70_000] };
    let failure = plan.run().unwrap_err();
    let tell = |progress: &Progress| match progress.accepted {
        2 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let mut shrinker = Shrinker::new(500).on_progress(tell);
    let shrunk = shrinker.plan(plan, failure, Campaign::run);
    assert!(shrinker.is_stopped() && !shrunk.finished);
    assert_eq!(shrunk.accepted, 2);
    assert_eq!(shrunk.failure, shrunk.smallest.run().unwrap_err());
    // Nor does it begin another.
    let again = shrinker.plan(shrunk.smallest, shrunk.failure, Campaign::run);
    assert_eq!((again.runs, again.finished), (0, false));
}

#[test]
fn another_failure_is_not_taken_for_the_same_one() {
    // With fewer pings than ten only the dial fails, which is simpler and wrong.
    let plan = Campaign { pings: 30, dials: 2, faults: vec![] };
    let failure = plan.run().unwrap_err();
    assert_eq!(failure.invariant, "ten");
    let fewer = Campaign { pings: 3, ..plan.clone() }.run().unwrap_err();
    assert_eq!(fewer.invariant, "dial", "the trap is set");
    let shrunk = Shrinker::new(500).plan(plan, failure, Campaign::run);
    assert_eq!(shrunk.failure.invariant, "ten");
    assert_eq!(shrunk.smallest.pings, 10);
}

#[test]
fn a_budget_is_kept() {
    let plan = Campaign { pings: 5000, dials: 0, faults: vec![1, 2, 3, 4] };
    let failure = plan.run().unwrap_err();
    let shrunk = Shrinker::new(4).plan(plan, failure, Campaign::run);
    assert_eq!(shrunk.runs, 4);
    assert!(!shrunk.finished);
}

/// Fails where eight pings take longer than 800 ms, among much else that goes wrong.
fn two_losses(choices: Choices) -> (Recording, Result<(), Failure>) {
    let mut faults = Faults::none();
    faults.link.loss = 300_000;
    faults.link.jitter = 30 * MILLISECOND;
    faults.link.duplicate = 200_000;
    let (mut sim, nodes) = world(choices, faults, 2);
    sim.observe_as("late", |sim, step| {
        let done = step
            .outputs
            .iter()
            .any(|output| matches!(output, coracle_sim::Output::Observed(Seen::Ponged(8))));
        if done && sim.now() > 800 * MILLISECOND { Err(format!("only at {}", sim.now())) } else { Ok(()) }
    });
    sim.command(nodes[0], Command::Ping { to: at(2), count: 8 });
    let result = sim.run_until(60 * SECOND);
    (sim.recording().clone(), result)
}

#[test]
fn a_recording_shrinks_to_the_losses_that_matter_and_replays() {
    for seed in 0..5 {
        let (recording, result) = two_losses(Choices::from_seed(seed));
        let failure = result.expect_err("with so much loss it is late");
        let shrunk =
            Shrinker::new(20_000).recording(&recording, failure.clone(), |choices| two_losses(choices).1);
        assert!(shrunk.finished);
        let small = &shrunk.smallest;
        println!(
            "seed {seed}: {} draws, weight {}, to {} draws, weight {}, in {} runs",
            recording.draws(),
            recording.weight(),
            small.draws(),
            small.weight(),
            shrunk.runs
        );
        // Eight round trips of 20 ms are 160 ms, and a loss adds 200 ms: four are enough, or three and jitter.
        let lost = small.lanes().filter(|(name, ..)| *name == "link.loss");
        let lost: u64 = lost.map(|(_, _, answers)| answers.iter().sum::<u64>()).sum();
        assert!((3..=4).contains(&lost), "seed {seed}: {lost} losses");
        assert!(
            small.weight() * 10 <= recording.weight(),
            "seed {seed}: {:?}",
            small.lanes().collect::<Vec<_>>()
        );
        let bytes = small.to_bytes();
        let again = two_losses(Choices::from_recording(Recording::from_bytes(&bytes).unwrap()));
        assert_eq!(again.1, Err(shrunk.failure.clone()));
        let twice = Shrinker::new(20_000).recording(&recording, failure, |choices| two_losses(choices).1);
        assert_eq!(twice, shrunk, "it shrinks to one end");
    }
}
