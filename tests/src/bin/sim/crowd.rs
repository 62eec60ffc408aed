//! Many nodes in one discovery network, for speed and memory: clusters of real nodes and one bootnode.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use coracle_core::cluster::MemberConfig;
use coracle_core::record::Record;
use coracle_sim::{Choices, Faults, NodeId, SECOND, Sim, StreamLimits};
use coracle_tests::cluster::{Actor, record};
use coracle_tests::sim_node::{Setup, SimNode};

use crate::args;
use crate::commands::Answer;

fn secret(number: u32) -> [u8; 32] {
    let mut secret = [1; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    secret
}

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + number))
}

fn lock_record(number: u32) -> Record {
    record(secret(number), address(number), 1)
}

pub(crate) fn run(args: &args::Crowd) -> Answer {
    let before = Instant::now();
    let mut sim = Sim::new(Choices::from_seed(args.seed).without_recording(), Faults::none());
    let (send_buffer, receive_buffer) = (131_072, 131_072);
    sim.set_stream_limits(StreamLimits { send_buffer, receive_buffer, ..StreamLimits::default() });
    sim.keep_trace(0);
    let bootnode = lock_record(args.nodes);
    add(
        &mut sim,
        args.nodes,
        Setup::new(secret(args.nodes), vec![MemberConfig::from_lock(bootnode.clone())], None),
    )?;
    let numbers: Vec<u32> = (0..args.nodes).collect();
    let mut nodes = Vec::new();
    for cluster in numbers.chunks(usize::from(args.cluster.max(1))) {
        let members: Vec<_> = cluster.iter().map(|n| MemberConfig::from_lock(lock_record(*n))).collect();
        for number in cluster {
            let mut setup = Setup::new(secret(*number), members.clone(), Some(lock_record(*number)));
            setup.bootnodes = vec![bootnode.clone()];
            nodes.push((add(&mut sim, *number, setup)?, members.len() - 1));
        }
    }
    println!("{} nodes made in {} ms", nodes.len() + 1, before.elapsed().as_millis());
    let began = Instant::now();
    sim.run_until(args.seconds * SECOND)?;
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    let node = |node: NodeId| sim.machine(node).and_then(Actor::as_node).map(SimNode::node);
    let (mut channels, mut expected, mut known) = (0, 0, 0);
    for (id, others) in &nodes {
        let Some(node) = node(*id) else { continue };
        channels += node.members().filter(|member| member.channel.is_some()).count();
        expected += others;
        known += node.discovery().node_count();
    }
    println!(
        "{} virtual seconds in {took} ms: {} times real time, {} events, {} events/s",
        args.seconds,
        args.seconds * 1_000 / took,
        sim.steps(),
        sim.steps() * 1_000 / took,
    );
    println!(
        "{channels} of {expected} channel ends, {} nodes known by a node on average, {} datagrams{}",
        known / nodes.len().max(1),
        sim.counters().datagrams_sent,
        memory().unwrap_or_default(),
    );
    Ok((channels == expected).into())
}

fn add(sim: &mut Sim<Actor>, number: u32, mut setup: Setup) -> Result<NodeId, coracle_sim::AddressTaken> {
    setup.nonces = Some(std::rc::Rc::default());
    sim.add_node(address(number), move |boot| Actor::Node(SimNode::new(&setup, &boot)))
}

/// The most memory this process had, where the system says so.
fn memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(format!(", {} MiB of memory", kib / 1_024))
}
