//! The same choices, the same run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;

use coracle_sim::{
    Ask, Boot, Cause, Choices, Context, Counters, Enumerator, Event, Faults, Lane, MILLISECOND, Machine,
    NatConfig, NodeId, Output, Recording, SECOND, Sim, Source, Step, StreamId, TraceHash,
};

use crate::toy::{Command, PORT, Seen, Toy, at, ip, world};

/// Four nodes that ping, echo and save through everything that can go wrong.
fn chaos(mut choices: Choices) -> Sim<Toy> {
    let faults = Faults::drawn(&mut choices);
    let (mut sim, nodes) = world(choices, faults, 4);
    let mut nat = NatConfig::symmetric(ip(200));
    (nat.most, nat.idle) = (2, 5 * SECOND);
    let nat = sim.add_nat(nat).unwrap();
    sim.move_behind(nodes[3], Some(nat), &[ip(201)]).unwrap();
    sim.observe(stream_ledger());
    for round in 0..40_u8 {
        let mut draw = |name, most| {
            let drawn = sim.choices().lane(name, 0).choose(most);
            usize::try_from(drawn).unwrap()
        };
        let who = nodes[draw("test.who", 4)];
        let whom = nodes[draw("test.whom", 4)];
        let outside = sim.nat_of(whom).and_then(|nat| sim.nat_address(nat));
        let to = SocketAddr::new(outside.unwrap_or(sim.addresses(whom)[0]), PORT);
        let value = round;
        sim.command(who, Command::Ping { to, count: 5 });
        sim.command(who, Command::Echo { to, length: 30_000 });
        sim.run_for(100 * MILLISECOND).unwrap();
        sim.command(who, Command::Save { key: 0, value });
        sim.command(who, Command::Save { key: 1, value });
        sim.command(who, Command::Log { at: round.into() });
        sim.command(who, Command::Sync);
        sim.command(who, Command::Log { at: round.into() });
        match sim.choices().lane("test.blow", 0).choose(8) {
            3 => sim.unblock(who, whom),
            4 => sim.block(who, whom),
            5 => sim.move_node(who, &[ip(100 + round)]).unwrap(),
            6 => sim.crash(who),
            7 => sim.restart(who),
            _ => {}
        }
        let pause = sim.choices().lane("test.pause", 0).choose(SECOND);
        sim.run_for(pause).unwrap();
    }
    sim.heal();
    sim.run_for(60 * SECOND).unwrap();
    sim
}

/// Every stream is opened once and dies once, and nothing is heard of one that is not alive.
fn stream_ledger() -> impl FnMut(&Sim<Toy>, &Step<'_, Seen>) -> Result<(), String> {
    let mut alive: BTreeSet<(NodeId, StreamId)> = BTreeSet::new();
    move |_, step| {
        let node = step.node;
        let known = match step.cause {
            Cause::Crash => {
                alive.retain(|(of, _)| *of != node);
                true
            }
            Cause::Event(Event::Accepted { stream, .. }) => alive.insert((node, stream)),
            Cause::Event(Event::Closed { stream, .. } | Event::DialFailed { stream, .. }) => {
                alive.remove(&(node, stream))
            }
            Cause::Event(Event::Connected { stream, .. } | Event::Writable(stream))
            | Cause::Bytes { stream, .. } => alive.contains(&(node, stream)),
            _ => true,
        };
        for output in step.outputs {
            match output {
                Output::Dialled { stream, .. } => {
                    alive.insert((node, *stream));
                }
                Output::Closed(stream) => {
                    alive.remove(&(node, *stream));
                }
                _ => {}
            }
        }
        if known { Ok(()) } else { Err(format!("{:?} out of turn", step.cause)) }
    }
}

fn hash(seed: u64) -> TraceHash {
    chaos(Choices::from_seed(seed)).trace_hash()
}

#[test]
fn the_same_seed_twice_gives_the_same_hash_and_another_another() {
    for seed in 0..6 {
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
        assert_ne!(hash(seed), hash(seed + 1), "seed {seed}");
    }
}

#[test]
fn a_recording_replays_the_run() {
    for seed in 0..6 {
        let sim = chaos(Choices::from_seed(seed));
        let bytes = sim.recording().to_bytes();
        let again = chaos(Choices::from_recording(Recording::from_bytes(&bytes).unwrap()));
        assert_eq!(again.trace_hash(), sim.trace_hash(), "seed {seed}");
        assert_eq!(again.recording(), sim.recording(), "seed {seed}");
        assert_eq!(again.counters(), sim.counters(), "seed {seed}");
    }
}

#[test]
fn the_hash_is_the_same_on_every_machine_and_in_every_build() {
    // Renew it on purpose only: it changes with the order of draws, the text of the trace, and the toy.
    let golden = "d6a3ae6ccb28eaa5244349e5225dc268755723c0dd2caae118d83e274b074844";
    assert_eq!(hash(1).to_string(), golden);
}

#[test]
fn any_bytes_are_a_run() {
    for seed in 0..6_u8 {
        let bytes: Vec<u8> =
            (0..4000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0] ^ seed).collect();
        let one = chaos(Choices::from_raw_bytes(&bytes)).trace_hash();
        let two = chaos(Choices::from_raw_bytes(&bytes)).trace_hash();
        assert_eq!(one, two);
    }
    chaos(Choices::from_raw_bytes(&[]));
}

#[test]
fn a_few_seeds_see_every_kind_of_fault() {
    let mut sum = Counters::default();
    for seed in 0..30 {
        sum.add(chaos(Choices::from_seed(seed)).counters());
    }
    let never: Vec<_> = sum.all().filter(|(_, count)| *count == 0).collect();
    assert!(never.is_empty(), "never seen: {never:?} of {sum:?}");
}

#[test]
fn a_complaint_ends_the_run_and_says_how_to_have_it_again() {
    let (mut sim, nodes) = world(Choices::from_seed(77), Faults::none(), 2);
    sim.observe(|sim, step| match sim.machine(step.node) {
        Some(toy) if toy.answered == 3 => Err("three are too many".to_owned()),
        _ => Ok(()),
    });
    sim.command(nodes[0], Command::Ping { to: at(2), count: 9 });
    let failure = sim.run_until(SECOND).unwrap_err();
    assert_eq!(failure.node, nodes[1]);
    let text = failure.to_string();
    assert!(text.contains("three are too many"), "{text}");
    assert!(text.contains("replay it with seed 77"), "{text}");
    assert!(text.contains("10.0.0.2:4000 receives 10.0.0.1:4000 9 B"), "{text}");
    assert_eq!(sim.run_until(9 * SECOND), Err(failure), "it stays failed");
    assert_eq!(sim.machine(nodes[1]).unwrap().answered, 3);
}

#[test]
fn a_machine_that_spins_is_stopped() {
    struct Spinner;
    impl Machine for Spinner {
        type Command = ();
        type Observation = ();
        fn handle_start(&mut self, cx: &mut Context<'_, ()>) {
            cx.set_deadline(Some(0));
        }
        fn handle_timeout(&mut self, cx: &mut Context<'_, ()>) {
            cx.set_deadline(Some(0));
        }
    }
    let mut sim = Sim::new(Choices::from_seed(0), Faults::none());
    sim.add_node(ip(1), |_| Spinner).unwrap();
    let failure = sim.run_until(SECOND).unwrap_err();
    assert!(failure.message.contains("spins"), "{failure}");
}

#[test]
fn every_start_has_a_seed_of_its_own() {
    let seeds = Rc::new(RefCell::new(Vec::new()));
    let mut sim = Sim::new(Choices::from_seed(5), Faults::none());
    for number in 1..=2 {
        let seeds = Rc::clone(&seeds);
        let factory = move |boot: Boot<'_>| {
            seeds.borrow_mut().push(boot.seed);
            Toy::new(&boot)
        };
        let node = sim.add_node(ip(number), factory).unwrap();
        sim.crash(node);
        sim.restart(node);
    }
    let mut seeds = seeds.take();
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 4);
}

#[test]
fn an_address_has_one_owner() {
    let (mut sim, nodes) = world(Choices::from_seed(0), Faults::none(), 2);
    assert_eq!(sim.move_node(nodes[0], &[ip(9), ip(2)]).unwrap_err().ip, ip(2));
    assert_eq!(sim.addresses(nodes[0]), [ip(1)]);
    assert!(sim.add_node(ip(1), |boot| Toy::new(&boot)).is_err());
    assert_eq!(sim.nodes().count(), 2);
    sim.move_node(nodes[0], &[ip(9), ip(1)]).unwrap();
    sim.move_node(nodes[0], &[ip(9)]).unwrap();
    sim.add_node(ip(1), |boot| Toy::new(&boot)).unwrap();
}

#[test]
fn an_enumeration_tries_every_loss_once() {
    let mut walk = Enumerator::on_lanes(&["link.loss"]);
    let mut hashes = Vec::new();
    let mut answered = 0;
    for choices in &mut walk {
        let mut faults = Faults::none();
        faults.link.loss = 1;
        let (mut sim, nodes) = world(choices, faults, 2);
        sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
        sim.run_until(500 * MILLISECOND).unwrap();
        answered += usize::from(!sim.machine(nodes[0]).unwrap().seen.is_empty());
        hashes.push(sim.trace_hash());
        // What was tried can be had again by itself.
        let again = Choices::from_recording(sim.recording().clone());
        let (mut sim, nodes) = world(again, faults, 2);
        sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
        sim.run_until(500 * MILLISECOND).unwrap();
        assert_eq!(hashes.last(), Some(&sim.trace_hash()));
    }
    // Each of three tries: the request is lost, or its answer is, or neither, which ends it.
    assert_eq!(hashes.len(), 1 + 2 + 4 + 8);
    assert_eq!(answered, 1 + 2 + 4);
    assert!(walk.is_exhaustive());
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 15, "no two runs are the same");
}

/// A source of one's own: every question is answered with the wildest answer.
struct Wildest;

impl Source for Wildest {
    fn answer(&mut self, _lane: Lane, ask: Ask) -> u64 {
        ask.largest()
    }
}

#[test]
fn a_source_can_be_ones_own() {
    let mut faults = Faults::none();
    faults.link.loss = 1;
    let (mut sim, nodes) = world(Choices::from_source("the wildest", Wildest), faults, 2);
    sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
    sim.run_until(500 * MILLISECOND).unwrap();
    assert_eq!(sim.counters().datagrams_lost, sim.counters().datagrams_sent);
}
