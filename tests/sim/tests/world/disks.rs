//! What crashes leave on disks.

use std::net::{Ipv4Addr, SocketAddr};

use coracle_sim::{Choices, Context, Faults, MILLION, MILLISECOND, Machine, Output, SECOND, Sim};

use crate::toy::{Command, LOG, PORT, RECORD, Seen, at, ip, world};

fn save(key: u8, value: u8) -> Command {
    Command::Save { key, value }
}

#[test]
fn a_crash_loses_only_what_was_not_yet_durable() {
    for (lose, left) in [(0, 2), (MILLION, 1)] {
        let mut faults = Faults::none();
        faults.disk.lose = lose;
        let (mut sim, nodes) = world(Choices::from_seed(0), faults, 1);
        sim.command(nodes[0], save(1, 10));
        sim.run_for(MILLISECOND).unwrap();
        assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::Saved]);
        sim.command(nodes[0], save(2, 20));
        assert_eq!(sim.durable(nodes[0]).unwrap().len(), 1);
        sim.crash(nodes[0]);
        assert!(sim.machine(nodes[0]).is_none());
        assert!(!sim.command(nodes[0], save(3, 30)), "nobody is there");
        sim.restart(nodes[0]);
        let toy = sim.machine(nodes[0]).unwrap();
        assert_eq!(toy.restored.len(), left);
        assert_eq!(toy.restored[&vec![1]], [10]);
        sim.run_for(SECOND).unwrap();
        assert_eq!(sim.machine(nodes[0]).unwrap().seen, [], "no word of older writes");
    }
}

#[test]
fn what_was_confirmed_survives_in_every_chaos() {
    for seed in 0..60 {
        let mut sim_choices = Choices::from_seed(seed);
        let mut faults = Faults::drawn(&mut sim_choices);
        faults.chaos.crash = 50_000;
        faults.disk.latency = 300 * MILLISECOND;
        let (mut sim, nodes) = world(sim_choices, faults, 1);
        let mut confirmed = 0;
        for value in 1..=200 {
            let saved = |sim: &coracle_sim::Sim<crate::toy::Toy>| {
                let toy = sim.machine(nodes[0]);
                toy.map_or(0, |toy| toy.seen.iter().filter(|seen| **seen == Seen::Saved).count())
            };
            let before = saved(&sim);
            sim.command(nodes[0], save(1, value));
            sim.run_for(SECOND).unwrap();
            if saved(&sim) > before {
                confirmed = value;
            }
            let durable = sim.durable(nodes[0]).unwrap().get(&vec![1]);
            assert!(durable.map_or(0, |value| value[0]) >= confirmed, "seed {seed}");
        }
        assert!(confirmed > 0, "seed {seed}");
    }
}

#[test]
fn every_write_can_be_the_last_one() {
    for lost in [0, 1] {
        for crash_at in 1..=5_u8 {
            let mut faults = Faults::none();
            faults.disk.lose = lost * MILLION;
            let (mut sim, nodes) = world(Choices::from_seed(0), faults, 1);
            sim.crash_at_write(nodes[0], crash_at.into());
            for value in 1..=5 {
                sim.command(nodes[0], save(0, value));
                sim.run_for(SECOND).unwrap();
            }
            assert_eq!(sim.writes(nodes[0]), crash_at.into());
            sim.restart(nodes[0]);
            let restored = &sim.machine(nodes[0]).unwrap().restored;
            let value = restored.get(&vec![0]).map_or(0, |value| value[0]);
            assert_eq!(u32::from(value), u32::from(crash_at) - lost);
        }
    }
}

#[test]
fn a_failed_write_is_reported_and_changes_nothing() {
    let mut faults = Faults::none();
    faults.disk.fail = MILLION;
    let (mut sim, nodes) = world(Choices::from_seed(0), faults, 1);
    sim.command(nodes[0], save(1, 1));
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::NotSaved]);
    assert!(sim.durable(nodes[0]).unwrap().is_empty());
    sim.heal();
    sim.command(nodes[0], save(1, 1));
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::NotSaved, Seen::Saved]);
}

/// What is left of a log of ten records, of which five were synced, after a crash in the midst of the rest.
fn log_after_crash(seed: u64, change: impl Fn(&mut Faults)) -> Vec<u8> {
    let mut faults = Faults::none();
    change(&mut faults);
    let (mut sim, nodes) = world(Choices::from_seed(seed), faults, 1);
    for at in 0..5 {
        sim.command(nodes[0], Command::Log { at });
    }
    assert!(sim.durable(nodes[0]).unwrap().is_empty(), "in the cache only");
    sim.command(nodes[0], Command::Sync);
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::Saved]);
    for at in 5..10 {
        sim.command(nodes[0], Command::Log { at });
    }
    sim.command(nodes[0], Command::Sync);
    sim.crash(nodes[0]);
    sim.restart(nodes[0]);
    let log = sim.machine(nodes[0]).unwrap().restored[LOG].clone();
    for at in 0..5 {
        assert_eq!(
            record(&log, at),
            [u8::try_from(at + 1).unwrap(); RECORD],
            "seed {seed}: it was confirmed"
        );
    }
    log
}

fn record(log: &[u8], at: usize) -> &[u8] {
    let end = log.len().min((at + 1) * RECORD);
    log.get(at * RECORD..end).unwrap_or_default()
}

/// (records whole, torn, missing) of the five that were not confirmed.
fn census(log: &[u8]) -> (usize, usize, usize) {
    let whole = |at: &usize| record(log, *at) == [u8::try_from(at + 1).unwrap(); RECORD];
    let missing = |at: &usize| record(log, *at).iter().all(|byte| *byte == 0);
    let (whole, missing) = ((5..10).filter(whole).count(), (5..10).filter(missing).count());
    (whole, 5 - whole - missing, missing)
}

#[test]
fn unsynced_writes_are_lost_torn_and_reordered_and_synced_ones_are_not() {
    let half = MILLION / 2;
    let (mut reordered, mut torn) = (0, 0);
    for seed in 0..60 {
        let log = log_after_crash(seed, |faults| {
            (faults.disk.lose, faults.disk.tear, faults.disk.reorder) = (half, half, MILLION);
        });
        let (_, broken, missing) = census(&log);
        torn += broken;
        let last = record(&log, 9).first().is_some_and(|byte| *byte != 0);
        reordered += usize::from(last && missing > 0);

        let in_order = log_after_crash(seed, |faults| (faults.disk.lose, faults.disk.tear) = (half, half));
        let (whole, broken, missing) = census(&in_order);
        assert!(broken <= 1, "seed {seed}");
        assert!(record(&in_order, 5 + whole + broken).is_empty(), "seed {seed}: a hole, {missing} missing");
    }
    assert!(reordered > 10 && torn > 20, "{reordered} reordered, {torn} torn");
    assert_eq!(census(&log_after_crash(0, |_| {})), (5, 0, 0));
    assert_eq!(census(&log_after_crash(0, |faults| faults.disk.lose = MILLION)), (0, 0, 5));
    assert_eq!(census(&log_after_crash(0, |faults| faults.disk.tear = MILLION)).1, 1, "the rest is lost");
}

#[test]
fn a_crash_point_may_be_any_operation() {
    for crash_at in 1..=4 {
        let mut faults = Faults::none();
        faults.disk.lose = MILLION;
        let (mut sim, nodes) = world(Choices::from_seed(0), faults, 1);
        sim.crash_at_write(nodes[0], crash_at);
        for command in [Command::Log { at: 0 }, Command::Sync, save(1, 1), Command::Log { at: 1 }] {
            sim.command(nodes[0], command);
            sim.run_for(SECOND).unwrap();
        }
        assert_eq!(sim.writes(nodes[0]), crash_at);
        assert!(sim.machine(nodes[0]).is_none());
        let disk = sim.durable(nodes[0]).unwrap();
        let log = disk.get(LOG).map_or(0, Vec::len);
        assert_eq!(log, if crash_at > 2 { RECORD } else { 0 }, "at {crash_at}");
        assert_eq!(disk.contains_key([1].as_slice()), crash_at > 3, "at {crash_at}");
    }
}

/// Announces a value after it has asked for it to be stored, without waiting: a bug to be caught.
struct Hasty;

impl Machine for Hasty {
    type Command = ();
    type Observation = &'static str;

    fn handle_start(&mut self, cx: &mut Context<'_, &'static str>) {
        cx.bind(PORT);
    }

    fn handle_command(&mut self, cx: &mut Context<'_, &'static str>, (): ()) {
        let from: SocketAddr = (Ipv4Addr::UNSPECIFIED, PORT).into();
        cx.send(from, at(1), b"before");
        cx.put(b"key", b"value");
        cx.send(from, at(1), b"after");
        cx.observe("after");
        cx.set_deadline(Some(0));
    }
}

#[test]
fn nothing_counts_that_is_done_after_the_crash_point() {
    let mut sim = Sim::new(Choices::from_seed(0), Faults::none());
    let node = sim.add_node(ip(1), |_| Hasty).unwrap();
    sim.observe(|_, step| {
        let late = |output: &Output<_>| match output {
            Output::Sent { bytes, .. } => bytes == b"after",
            Output::Observed(_) => true,
            _ => false,
        };
        match step.outputs.iter().any(late) {
            true => Err("it went on after its crash".to_owned()),
            false => Ok(()),
        }
    });
    sim.crash_at_write(node, 1);
    assert!(sim.command(node, ()));
    assert!(sim.machine(node).is_none());
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.counters().datagrams_sent, 1);
    assert_eq!(sim.counters().crashes, 1);
    sim.restart(node);
    sim.command(node, ());
    let failure = sim.run_for(SECOND).unwrap_err();
    assert_eq!(failure.message, "it went on after its crash", "the eye is open");
    assert_eq!(sim.failure(), Some(&failure));
}
