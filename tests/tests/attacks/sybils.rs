//! One network of 10⁴ identities that wants the table and the lookups, before and after a restart.

use std::net::{IpAddr, SocketAddr};

use coracle_core::{
    discovery::NodeView,
    limits::{PREFIX_PER_BUCKET, PREFIX_PER_TABLE},
};
use coracle_sim::{MILLISECOND, NodeId as HostId};
use coracle_tests::raw_peer::{PeerRecord, Puppet, log_distance, record_of as peer_record};

use crate::{
    size,
    table::{self, row},
    world::{Cx, Foe, Order, PORT, World, add_foe, add_node, foe, node, record_of, run, world},
};

const NODE: [u8; 4] = [80, 1, 1, 1];
/// The /24 of the foe.
const NETWORK: [u8; 3] = [66, 6, 6];
const FIRST_PORT: u16 = 30_000;
/// Hosts that the foe has in its network.
const HOSTS: u16 = 250;
/// Honest nodes, each in a network of its own.
const HONEST: u8 = 12;

/// All identities of the network; each begins as often as its turn comes.
struct Sybils {
    node: PeerRecord,
    puppets: Vec<Puppet>,
    next: usize,
    sent: u64,
    asked: u64,
}

fn sybil_at(number: u16) -> SocketAddr {
    let [a, b, c] = NETWORK;
    SocketAddr::from(([a, b, c, 1 + (number % HOSTS) as u8], FIRST_PORT + number / HOSTS))
}

impl Sybils {
    fn new(count: u16) -> Self {
        let node = peer_record(record_of(1, NODE).as_bytes()).unwrap();
        let puppets = (0..count).map(|number| Puppet::new(number, sybil_at(number))).collect();
        Self { node, puppets, next: 0, sent: 0, asked: 0 }
    }

    fn whose(&self, at: SocketAddr) -> Option<usize> {
        let IpAddr::V4(ip) = at.ip() else { return None };
        let number = usize::from(at.port().checked_sub(FIRST_PORT)?) * usize::from(HOSTS);
        Some(number + usize::from(ip.octets()[3] - 1))
    }
}

impl Foe for Sybils {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        for _ in 0..4 {
            let at = self.next % self.puppets.len();
            self.next += 1;
            let bytes = self.puppets[at].begin(&self.node);
            cx.send(self.puppets[at].at, (NODE, PORT).into(), &bytes);
            self.sent += 1;
        }
        Some(cx.now() + 20 * MILLISECOND)
    }

    fn hear(&mut self, cx: &mut Cx<'_>, local: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let Some(at) = self.whose(local).filter(|at| *at < self.puppets.len()) else { return };
        if from != SocketAddr::from((NODE, PORT)) {
            return;
        }
        // To any question: sixteen of ours, at the distances that were asked for.
        let ids: Vec<_> =
            self.puppets.iter().skip(at / 7).take(600).map(|p| (p.peer.id(), p.record())).collect();
        let mut asked = 0;
        let answers = self.puppets[at].hear(&self.node, bytes, |puppet, distances| {
            asked += 1;
            let own = puppet.peer.id();
            let fitting = ids.iter().filter(|(id, _)| distances.contains(&log_distance(&own, id)));
            let records: Vec<_> = fitting.take(16).map(|(_, record)| record.clone()).collect();
            records.chunks(4).map(<[_]>::to_vec).collect()
        });
        self.asked += asked;
        for answer in answers {
            cx.send(local, from, &answer);
            self.sent += 1;
        }
    }

    fn count(&self, what: &str) -> u64 {
        if what == "asked" { self.asked } else { self.sent }
    }
}

fn honest(n: u8) -> [u8; 4] {
    [90 + n, 7, 7, 7]
}

fn is_foe(view: &NodeView<'_>) -> bool {
    view.record.udp_endpoints().any(|at| matches!(at.ip(), IpAddr::V4(ip) if ip.octets()[..3] == NETWORK))
}

/// Looks every honest node up, one after the other; how many were found.
fn look_up_all(world: &mut World, at: HostId) -> u64 {
    let before = node(world, at).told.found.len();
    for n in 0..HONEST {
        world.command(at, Order::LookUp(record_of(10 + n, honest(n)).node_id()));
        run(world, 5_000);
    }
    let found = &node(world, at).told.found[before..];
    found.iter().filter(|(_, seq)| *seq == Some(1)).count() as u64
}

fn judge(world: &World, at: HostId, sybils: HostId, found: u64, when: &str) {
    let node = node(world, at);
    let own = node.identity.node_id();
    let mut buckets = [0_usize; 257];
    let (mut theirs, mut all) = (0, 0);
    for view in node.discovery.nodes() {
        all += 1;
        if is_foe(&view) {
            theirs += 1;
            buckets[usize::from(own.log_distance(&view.record.node_id()))] += 1;
        }
    }
    let fullest = *buckets.iter().max().unwrap();
    let foe = foe(world, sybils);
    table::print(
        when,
        foe.count("sent"),
        node,
        &[
            row("honest nodes found by lookups", found, HONEST.into()),
            row("of the table in the foe's network", theirs as u64, all),
            row("of its identities in the fullest bucket", fullest as u64, PREFIX_PER_BUCKET as u64),
            row("questions of ours that its identities got", foe.count("asked"), node.counters().sent),
        ],
    );
    assert_eq!(found, u64::from(HONEST), "{when}: honest nodes found");
    assert!(
        theirs <= PREFIX_PER_TABLE && fullest <= PREFIX_PER_BUCKET,
        "{when}: {theirs}, {fullest} a bucket"
    );
    assert!(node.counters().prefix_limit > 0 && node.counters().challenge_budget > 0);
    assert_eq!((node.meter.allocations, node.meter.above), (0, 0));
}

#[test]
fn one_network_wants_the_table_and_the_lookups() {
    let identities = size(500, 10_000) as u16;
    // Each gets its turn, at 16 WHOAREYOUs a second.
    let seconds = size(10, 700);
    let mut world = world(5);
    let sybils = Sybils::new(identities);
    let hosts = (1..=HOSTS as u8).map(|host| [NETWORK[0], NETWORK[1], NETWORK[2], host]).collect();
    let ports = (0..=identities / HOSTS).map(|port| FIRST_PORT + port).collect();
    // The foe is there first; of the honest ones our node knows one.
    let sybils = add_foe(&mut world, hosts, ports, sybils);
    let first = record_of(10, honest(0));
    for n in 0..HONEST {
        add_node(
            &mut world,
            10 + n,
            honest(n),
            vec![Order::Add(if n == 0 { record_of(11, honest(1)) } else { first.clone() }, false)],
        );
    }
    let at = add_node(&mut world, 1, NODE, vec![Order::Add(first, false)]);
    run(&mut world, seconds * 1_000);
    let found = look_up_all(&mut world, at);
    judge(&world, at, sybils, found, "one network, while it fills the table");
    world.crash(at);
    world.restart(at);
    // At once: its table has one node, and the foe knows where it is.
    let found = look_up_all(&mut world, at);
    judge(&world, at, sybils, found, "one network, right after a restart");
}
