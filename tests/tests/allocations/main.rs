//! After `Node::new` the core allocates nothing: a cluster meshes, moves, loses packets, crashes and is cut,
//! with a counting allocator around every call into a node; and two nodes whose embedders use streams.
//!
//! `Node::snapshot`, which makes an owned copy for people, is not called by a driver, and not counted here.

use std::cell::Cell;

use coracle_core::cluster::MemberConfig;
use coracle_core::crypto::{Crypto as _, RustCrypto, SecretKey};
use coracle_core::node::{Command, Config, Node};
use coracle_core::rng::Seed;
use coracle_core::time::Instant;
use coracle_sim::{Choices, Faults, MILLISECOND, SECOND};
use coracle_tests::cluster::{Cluster, Order, home};
use coracle_tests::sim_node::PORT;

mod streams;

thread_local! {
    /// Calls into the core, and allocations in them.
    static COUNTED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Counts what one call allocates.
fn count(call: &mut dyn FnMut()) {
    let info = allocation_counter::measure(call);
    let (calls, allocations) = COUNTED.get();
    COUNTED.set((calls + 1, allocations + info.count_total));
}

#[test]
fn the_core_allocates_nothing_after_new() {
    for seed in 0..6 {
        let mut choices = Choices::from_seed(seed);
        let mut faults = Faults::drawn(&mut choices);
        faults.link.loss = 100_000;
        faults.streams.broken = 2_000;
        faults.chaos.crash = 0;
        COUNTED.set((0, 0));
        let mut cluster = Cluster::with(choices, faults, 4, |_, setup| {
            setup.meter = count;
            // Notes of the encryptions allocate, and they are not the core's.
            setup.nonces = None;
        });
        for turn in 0..8_u8 {
            let position = usize::from(turn % 4);
            cluster.run(8 * SECOND);
            cluster.move_to(position, home(100 + turn));
            let (node, other) = (cluster.nodes[position], cluster.peer((position + 1) % 4));
            let id = cluster.member(position).unwrap().view(&other).unwrap().node_id;
            for command in [
                Command::Ping(other),
                Command::LookUp(id),
                Command::Hint(other, (home(200), PORT).into()),
                // Refused: we are no other member.
                Command::Ping(cluster.peer(position)),
                Command::Address((home(201), PORT).into()),
                // One is removed, and is back at once, in a place that was allocated at the start.
                Command::SetMembers(without(&cluster.members, (position + 2) % 4)),
                Command::SetMembers(cluster.members.clone()),
            ] {
                cluster.sim.command(node, Order::Node(command));
            }
        }
        cluster.sim.crash(cluster.nodes[1]);
        cluster.run(20 * SECOND);
        cluster.heal();
        let took = cluster.expect_mesh(120 * SECOND);
        cluster.sim.command(cluster.nodes[2], Order::Node(Command::Shutdown));
        cluster.run(10 * SECOND);
        let (calls, allocations) = COUNTED.get();
        println!(
            "seed {seed}: {allocations} allocations in {calls} calls, {} s, healed in {} ms",
            cluster.sim.now() / SECOND,
            took / MILLISECOND
        );
        assert!(calls > 5_000, "seed {seed}: too little happened: {calls} calls");
        assert_eq!(allocations, 0, "seed {seed}: the core allocated");
    }
}

fn without(members: &[MemberConfig], gone: usize) -> Vec<MemberConfig> {
    let kept = members.iter().enumerate().filter(|(position, _)| *position != gone);
    kept.map(|(_, member)| member.clone()).collect()
}

/// The counter counts.
#[test]
fn an_allocation_would_be_seen() {
    COUNTED.set((0, 0));
    count(&mut || drop(Vec::<u8>::with_capacity(9)));
    assert_eq!(COUNTED.get(), (1, 1));
}

/// What `coracle_core::node` says of memory ("Memory" on its page), in bytes.
const fn documented(members: usize, streams: usize) -> usize {
    2_250_000 + (members - 1) * (56_000 + 900 * streams)
}

#[test]
fn a_node_needs_what_its_page_says() {
    let mut close = true;
    for (members, streams) in [(2, 16), (4, 128), (10, 128), (10, 512), (40, 32)] {
        let mut node = None;
        let info = allocation_counter::measure(|| {
            let keys = (1..=members as u8).map(|n| SecretKey::from_bytes(&[n; 32]).unwrap());
            let members = keys.map(|key| MemberConfig::new(RustCrypto.public_key(&key))).collect();
            let own = SecretKey::from_bytes(&[1; 32]).unwrap();
            let mut config = Config::new(own, Seed::new([0; 32]), members);
            config.streams = streams;
            node = Some(Node::new(Instant::ZERO, config).unwrap());
        });
        let (kept, said) = (info.bytes_current as usize, documented(members, streams));
        println!("{members} members, {streams} streams: {kept} bytes, {said} by the page");
        close &= kept <= said && kept * 10 > said * 8;
    }
    assert!(close, "correct the page, and `documented` here");
}
