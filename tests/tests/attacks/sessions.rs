//! Attacks on a session that lives, on one that begins, and with packets of one that lived before.

use std::{collections::VecDeque, net::SocketAddr};

use coracle_core::{
    limits::{MAX_CHALLENGE_CHECKS, MAX_REPEAT_CREDIT},
    record::Record,
    rng::{Rng, Seed},
};
use coracle_sim::MILLISECOND;

use crate::{
    forge, size,
    table::{self, row},
    world::{Cx, Foe, Order, PORT, add_foe, add_node, foe, node, record_of, run, world},
};

const NODE: [u8; 4] = [80, 1, 1, 1];
const PEER: [u8; 4] = [81, 2, 2, 2];
const FOE: [u8; 4] = [66, 6, 6, 6];

fn at(ip: [u8; 4]) -> SocketAddr {
    SocketAddr::from((ip, PORT))
}

/// Sends junk in the name and from the endpoint of each of two peers to the other.
struct Sprayer {
    peers: [Record; 2],
    left: u64,
    sent: u64,
    rng: Rng,
}

impl Foe for Sprayer {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        let [a, b] = &self.peers;
        let rng = &mut self.rng;
        for (from, to) in [(a, b), (b, a)] {
            let (src, dest) = (from.node_id(), to.node_id());
            let point = from.public_key().compressed();
            let bytes = match self.sent % 6 {
                0..3 => {
                    let len = rng.below(1_100) as usize;
                    forge::junk(src, dest, len, rng)
                }
                3 => forge::handshake(src, dest, &point, from.as_bytes(), rng),
                4 => forge::challenge(dest, rng),
                _ => forge::garbage(rng),
            };
            let endpoint = |record: &Record| record.udp_endpoints().next().unwrap();
            cx.forge(endpoint(from), endpoint(to), &bytes);
        }
        self.sent += 2;
        self.left = self.left.saturating_sub(2);
        (self.left > 0).then(|| cx.now() + MILLISECOND)
    }

    fn count(&self, _what: &str) -> u64 {
        self.sent
    }
}

#[test]
fn junk_at_a_live_session() {
    let packets = size(8_000, 200_000);
    let mut world = world(2);
    let (ours, theirs) = (record_of(1, NODE), record_of(2, PEER));
    let one = add_node(&mut world, 1, NODE, vec![]);
    let other = add_node(&mut world, 2, PEER, vec![Order::Ping(ours.clone())]);
    run(&mut world, 3_000);
    let established = [one, other].map(|host| node(&world, host).counters().sessions_established);
    let rng = Seed::new([67; 32]).stream("sprayer");
    let sprayer = Sprayer { peers: [ours.clone(), theirs.clone()], left: packets, sent: 0, rng };
    let sprayer = add_foe(&mut world, vec![FOE], vec![], sprayer);
    for turn in 0..packets / 2 / 250 {
        let talk = turn % 2 == 0;
        for (host, to) in [(one, &theirs), (other, &ours)] {
            world.command(host, if talk { Order::Talk(to.clone()) } else { Order::Ping(to.clone()) });
        }
        run(&mut world, 250);
    }
    run(&mut world, 3_000);
    let sent = foe(&world, sprayer).count("sent");
    for (host, peer) in [(one, &theirs), (other, &ours)] {
        let node = node(&world, host);
        let told = &node.told;
        table::print(
            "junk at a live session",
            sent / 2,
            node,
            &[row("requests answered", told.answered, told.asked)],
        );
        assert_eq!((told.answered, told.failed), (told.asked, 0));
        assert!(node.discovery.has_session(&peer.node_id(), peer.udp_endpoints().next().unwrap()));
        assert!(node.counters().undecryptable >= sent / 4);
        // Every guessed challenge was refused, also those that named the place of a request under way.
        assert!(
            node.counters().challenge_unsolicited >= sent / 2 / 6 - 1
                && node.counters().challenge_conflict == 0
        );
        assert_eq!((node.meter.allocations, node.meter.above), (0, 0));
    }
    // The keys are still those of before: nothing was established anew.
    assert_eq!(established, [one, other].map(|host| node(&world, host).counters().sessions_established));
}

/// Sends a tape, from the endpoints that it came from or from elsewhere, again and again.
struct Replay {
    tape: VecDeque<(SocketAddr, Vec<u8>)>,
    to: SocketAddr,
    sent: u64,
}

impl Foe for Replay {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        for _ in 0..4 {
            let (from, bytes) = self.tape.pop_front()?;
            cx.forge(from, self.to, &bytes);
            self.sent += 1;
        }
        Some(cx.now() + MILLISECOND)
    }

    fn count(&self, _what: &str) -> u64 {
        self.sent
    }
}

/// Two peers talk for a while, then one is gone, and all that it sent comes `times` times more: from its endpoint,
/// or from `elsewhere`.
fn replayed(times: usize, elsewhere: Option<SocketAddr>) {
    let mut world = world(3);
    let ours = record_of(1, NODE);
    let one = add_node(&mut world, 1, NODE, vec![]);
    let other = add_node(&mut world, 2, PEER, vec![]);
    world.command(one, Order::Tape);
    for turn in 0..150 {
        if turn == 50 {
            // So that the tape has two handshakes, and packets under keys of before.
            world.crash(other);
            world.restart(other);
        }
        world.command(
            other,
            match turn % 3 {
                0 => Order::Talk(ours.clone()),
                1 => Order::Ping(ours.clone()),
                _ => Order::FindNode(ours.clone(), vec![0, 256]),
            },
        );
        run(&mut world, 400);
    }
    run(&mut world, 3_000);
    world.crash(other);
    run(&mut world, 200_000);
    let before = (node(&world, one).told.clone(), node(&world, one).counters().clone());
    let account = node(&world, one).ledger.accounts[&at(PEER)];
    let tape = node(&world, one).tape.clone().unwrap();
    assert!(tape.len() > 100, "{} packets", tape.len());
    let all = std::iter::repeat_n(tape, times).flatten();
    let tape: VecDeque<_> = all.map(|(from, bytes)| (elsewhere.unwrap_or(from), bytes)).collect();
    let (packets, bytes) = (tape.len() as u64, tape.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    let replay = add_foe(&mut world, vec![FOE], vec![], Replay { tape, to: at(NODE), sent: 0 });
    run(&mut world, packets / 4 + 2_000);
    assert_eq!(foe(&world, replay).count("sent"), packets);
    let node = node(&world, one);
    let goal = elsewhere.unwrap_or(at(PEER));
    let went = node.ledger.accounts[&goal].went - if elsewhere.is_none() { account.went } else { 0 };
    let new = |now: u64, before: u64| now - before;
    table::print(
        "a trace replayed",
        packets,
        node,
        &[
            row("bytes out of so many in", went, bytes),
            row("requests delivered again", new(node.told.talks, before.0.talks), packets),
            row(
                "votes, and nodes found alive",
                new(node.told.votes + node.told.reachable, before.0.votes + before.0.reachable),
                packets,
            ),
            row(
                "sessions established",
                new(node.counters().sessions_established, before.1.sessions_established),
                packets,
            ),
        ],
    );
    assert_eq!(node.told.talks, before.0.talks);
    assert_eq!((node.told.votes, node.told.reachable), (before.0.votes, before.0.reachable));
    assert_eq!(node.counters().sessions_established, before.1.sessions_established);
    // What was saved up before, at most, comes on top, and only where a session was.
    let saved = if elsewhere.is_none() { u64::from(MAX_REPEAT_CREDIT) } else { 0 };
    assert!(went <= bytes + saved, "{went} bytes for {bytes}");
    assert_eq!((node.meter.allocations, node.meter.above), (0, 0));
}

#[test]
fn a_recorded_trace_replayed() {
    replayed(size(10, 300) as usize, None);
}

#[test]
fn a_recorded_trace_replayed_from_elsewhere() {
    replayed(size(10, 300) as usize, Some(SocketAddr::from(([9, 9, 9, 9], 9))));
}

/// Sends forged handshakes of a peer from its endpoint.
struct Racer {
    peer: Record,
    target: Record,
    /// So many at a time, and how long from one time to the next.
    burst: u64,
    every: u64,
    /// Whether it asks for challenges in the peer's name, too.
    asks: bool,
    sent: u64,
    rng: Rng,
}

impl Foe for Racer {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        let (src, dest) = (self.peer.node_id(), self.target.node_id());
        let (from, to) = (at(PEER), at(NODE));
        let point = self.target.public_key().compressed();
        for n in 0..self.burst {
            let rng = &mut self.rng;
            let bytes = if self.asks && n == 0 {
                forge::junk(src, dest, 44, rng)
            } else {
                forge::handshake(src, dest, &point, self.peer.as_bytes(), rng)
            };
            cx.forge(from, to, &bytes);
            self.sent += 1;
        }
        Some(cx.now() + self.every)
    }

    fn count(&self, _what: &str) -> u64 {
        self.sent
    }
}

/// A member restarts again and again while its handshakes race forged ones, and asks each time: how many of its
/// restarts had an answer within `patience`, of how many, and the time each took until the first answer.
fn raced(burst: u64, every: u64, asks: bool, turns: u64) -> Vec<u64> {
    let mut world = world(4);
    let (ours, theirs) = (record_of(1, NODE), record_of(2, PEER));
    let one = add_node(&mut world, 1, NODE, vec![Order::Add(theirs.clone(), true)]);
    let other = add_node(&mut world, 2, PEER, vec![Order::Add(ours.clone(), true)]);
    run(&mut world, 3_000);
    let rng = Seed::new([68; 32]).stream("racer");
    let racer = Racer { peer: theirs.clone(), target: ours.clone(), burst, every, asks, sent: 0, rng };
    let racer = add_foe(&mut world, vec![FOE], vec![], racer);
    let mut times = Vec::new();
    for turn in 0..turns {
        world.crash(other);
        // Not always at the same moment of the forger's round.
        run(&mut world, 500 + turn * 137 % 1000);
        world.restart(other);
        world.command(other, Order::Ping(ours.clone()));
        let began = world.now();
        let done = world.run_while(
            |world| node(world, other).told.reachable == 0 && node(world, other).told.answered == 0,
            began + 120_000 * MILLISECOND,
        );
        assert!(done.unwrap(), "no session in two minutes");
        times.push((world.now() - began) / MILLISECOND);
    }
    let sent = foe(&world, racer).count("sent");
    let node = node(&world, one);
    let within = |ms: u64| times.iter().filter(|time| **time <= ms).count() as u64;
    table::print(
        "forged handshakes race a member's",
        sent,
        node,
        &[
            row("restarts with a session at the first try", within(200), turns),
            row("within one more try", within(1_500), turns),
            row("within the tries of one request", within(4_000), turns),
        ],
    );
    // Each challenge is worth so many checks. Every one of them went out at least once.
    let counters = node.counters();
    let most = counters.sent * u64::from(MAX_CHALLENGE_CHECKS);
    assert!(counters.signature_checks <= most);
    assert_eq!((node.meter.allocations, node.meter.above), (0, 0));
    times
}

#[test]
fn forged_handshakes_race_an_honest_one() {
    // While a challenge is open, about 45 ms, no more come than are checked.
    let turns = size(4, 100);
    let below = raced(1, 60 * MILLISECOND, false, turns);
    println!("below the limit: {below:?} ms");
    assert!(below.iter().all(|time| *time <= 200), "{below:?}");
    // Ten times as many: the first challenge is used up, and the peer's next try is challenged anew.
    let above = raced(20, 10 * MILLISECOND, false, turns);
    println!("above the limit: {above:?} ms");
    assert!(above.iter().all(|time| *time <= 2_000), "{above:?}");
    // The forger even asks for the challenges itself, in the peer's name, all the time.
    let held = raced(4, 20 * MILLISECOND, true, turns);
    println!("with challenges asked for: {held:?} ms");
    assert!(held.iter().all(|time| *time <= 3_000), "{held:?}");
}
