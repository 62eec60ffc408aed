//! The story of a run as data, and the names of what fails in it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use coracle_sim::{Choices, DropReason, Entry, Faults, MILLISECOND, Mishap, SECOND, Sim, What};

use crate::toy::{Command, Toy, at, ip, world};

/// Two nodes through a bit of everything.
fn eventful(keep: usize) -> Sim<Toy> {
    let mut faults = Faults::none();
    faults.link.loss = 100_000;
    faults.link.duplicate = 100_000;
    faults.link.corrupt = 100_000;
    let (mut sim, nodes) = world(Choices::from_seed(4), faults, 2);
    sim.keep_story(keep);
    sim.command(nodes[0], Command::Ping { to: at(2), count: 40 });
    sim.command(nodes[0], Command::Echo { to: at(2), length: 2000 });
    sim.command(nodes[1], Command::Save { key: 1, value: 1 });
    sim.run_for(2 * SECOND).unwrap();
    sim.block(nodes[0], nodes[1]);
    sim.run_for(SECOND).unwrap();
    sim.heal();
    sim.move_node(nodes[1], &[ip(9)]).unwrap();
    sim.run_for(SECOND).unwrap();
    sim.crash(nodes[1]);
    sim.restart(nodes[1]);
    sim.note(None, "the end");
    sim
}

#[test]
fn the_story_agrees_with_the_counters() {
    let sim = eventful(usize::MAX);
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in sim.story() {
        *seen.entry(entry.what.name()).or_default() += 1;
        match entry.what {
            What::Dropped { reason, .. } => *seen.entry(reason.name()).or_default() += 1,
            What::Mishandled { how, .. } => *seen.entry(how.name()).or_default() += 1,
            _ => {}
        }
    }
    let counters = sim.counters();
    for (name, count) in [
        ("sent", counters.datagrams_sent),
        ("received", counters.datagrams_delivered),
        (DropReason::Lost.name(), counters.datagrams_lost),
        (DropReason::Blocked.name(), counters.datagrams_blocked),
        (DropReason::Unreachable.name(), counters.datagrams_unreachable),
        (Mishap::Duplicated.name(), counters.datagrams_duplicated),
        (Mishap::Corrupted.name(), counters.datagrams_corrupted),
        ("dialled", counters.dials),
        ("put", counters.writes),
        ("cut", counters.partitions),
        ("moved", counters.moves),
        ("crashed", counters.crashes),
        ("healed", 1),
        ("note", 1),
        ("opened", 2),
        ("stored", 1),
    ] {
        assert!(count > 0, "no {name}: a test that sees nothing");
        assert_eq!(seen.get(name), Some(&count), "{name}");
    }
}

#[test]
fn a_packet_keeps_its_name_from_its_sender_to_its_end() {
    let sim = eventful(usize::MAX);
    let mut sent = BTreeMap::new();
    let mut ends: BTreeMap<_, usize> = BTreeMap::new();
    for entry in sim.story() {
        match entry.what {
            What::Sent { packet, from, to, .. } => {
                assert!(sent.insert(packet, (entry.at, entry.node, from, to)).is_none());
            }
            What::Received { packet, local, from, sender, sent_at, .. } => {
                assert_eq!(sent[&packet], (sent_at, Some(sender), from, local));
                assert_eq!(entry.at, sent_at + 10 * MILLISECOND);
                *ends.entry(packet).or_default() += 1;
            }
            What::Dropped { packet, .. } => *ends.entry(packet).or_default() += 1,
            What::Mishandled { packet, how: Mishap::Duplicated } => {
                assert!(sent.contains_key(&packet));
                assert!(ends.insert(packet, 0).is_none());
            }
            _ => {}
        }
    }
    // Sent within the last 10 ms, or ended once, or twice where it was doubled.
    let open = sent.iter().filter(|(packet, _)| ends.get(packet).is_none_or(|ends| *ends == 0)).count();
    assert!(ends.values().all(|ends| *ends <= 2));
    assert!(open <= 2, "{open} packets without an end");
}

#[test]
fn only_the_last_entries_are_kept_and_listeners_hear_all() {
    let all: Vec<Entry> = eventful(usize::MAX).story().cloned().collect();
    let short = eventful(10);
    let kept: Vec<Entry> = short.story().cloned().collect();
    assert_eq!(kept, all[all.len() - 10..]);
    assert_eq!(short.story_dropped(), all.len() as u64 - 10);
    assert!(all.iter().enumerate().all(|(number, entry)| entry.sequence == number as u64));
    assert!(all.is_sorted_by_key(|entry| (entry.at, entry.sequence)));

    let silent = eventful(0);
    assert_eq!(silent.story().count(), 0);
    assert_eq!(silent.trace_hash(), short.trace_hash(), "the story is no part of the run");

    let (mut sim, nodes) = world(Choices::from_seed(4), Faults::none(), 2);
    let heard = Rc::new(RefCell::new(Vec::new()));
    let ear = Rc::clone(&heard);
    sim.on_entry(move |entry| ear.borrow_mut().push(entry.what.name()));
    sim.crash(nodes[0]);
    assert_eq!(*heard.borrow(), ["crashed"]);
    assert_eq!(sim.story().count(), 0);
}

#[test]
fn a_failure_carries_the_name_of_its_invariant() {
    let invariant = |complain: fn(&mut Sim<Toy>)| {
        let (mut sim, nodes) = world(Choices::from_seed(4), Faults::none(), 2);
        complain(&mut sim);
        sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
        sim.run_for(SECOND).unwrap_err().invariant
    };
    assert_eq!(invariant(|sim| sim.observe(|_, _| Err("E1: went back to 3".into()))), "E1");
    assert_eq!(invariant(|sim| sim.observe(|_, _| Err("went back: to 3".into()))), "observer 0");
    assert_eq!(invariant(|sim| sim.observe_as("ledger", |_, _| Err("E1: 3".into()))), "ledger");

    let (mut sim, nodes) = world(Choices::from_seed(4), Faults::none(), 2);
    sim.keep_story(5);
    let failure = sim.fail(nodes[1], "full mesh", "not in time");
    assert_eq!((failure.invariant.as_str(), failure.node), ("full mesh", nodes[1]));
    assert_eq!(sim.run_for(1), Err(failure.clone()));
    assert_eq!(sim.fail(nodes[0], "other", "later"), failure, "the first one stays");
    assert_eq!(sim.story().last().map(|entry| entry.what.name()), Some("failed"));
}
