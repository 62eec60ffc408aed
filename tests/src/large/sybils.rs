//! One /24 with very many identities, in a network in which every other node has a /24 of its own.
//!
//! Each identity speaks the protocol well: it begins with every node in turn, is pinged and answers, and whatever a
//! node asks it for, it names sixteen of its own at the distances that were asked for. It is there before all others
//! and never rests.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use coracle_core::crypto::RustCrypto;
use coracle_core::discovery::Config;
use coracle_core::limits::PREFIX_PER_TABLE;
use coracle_core::record::Record;
use coracle_sim::{Clock, Failure, NodeConfig, SECOND, Sim};

use super::host::{Cx, Host, LookedUp, Order};
use super::network::{Cost, Network, Size};
use super::share;
use crate::raw_peer::{PeerRecord, Puppet, log_distance, record_of};

/// The foe's /24.
const FOES: [u8; 3] = [66, 6, 6];
const FIRST_PORT: u16 = 30_000;
/// Hosts in it.
const HOSTS: u16 = 250;
/// Pause between two lookups of one node.
const BETWEEN: u64 = 4 * SECOND;

/// All identities of the network.
pub struct Sybils {
    nodes: Vec<PeerRecord>,
    at: HashMap<SocketAddr, usize>,
    puppets: Vec<Puppet>,
    /// Theirs, in the same order.
    ids: Vec<[u8; 32]>,
    next: usize,
    /// Between two packets with which it begins.
    pause: u64,
    begun: u64,
    asked: u64,
}

fn sybil_at(number: u16) -> SocketAddr {
    let [a, b, c] = FOES;
    SocketAddr::from(([a, b, c, 1 + (number % HOSTS) as u8], FIRST_PORT + number / HOSTS))
}

fn is_foe(record: &Record) -> bool {
    record.udp_endpoints().any(|at| matches!(at.ip(), IpAddr::V4(ip) if ip.octets()[..3] == FOES))
}

impl Sybils {
    fn new(count: u16, rate: u64, records: &[Record]) -> Self {
        let nodes: Vec<_> = records.iter().map(|r| record_of(r.as_bytes()).expect("a record")).collect();
        let at =
            records.iter().enumerate().filter_map(|(n, r)| Some((r.udp_endpoints().next()?, n))).collect();
        let puppets: Vec<_> = (0..count).map(|number| Puppet::new(number, sybil_at(number))).collect();
        let ids = puppets.iter().map(|puppet| puppet.peer.id()).collect();
        Self { nodes, at, puppets, ids, next: 0, pause: SECOND / rate.max(1), begun: 0, asked: 0 }
    }

    /// Binds its ports, and begins.
    pub(super) fn start(&self, cx: &mut Cx<'_>) {
        for port in 0..=self.puppets.len() as u16 / HOSTS {
            cx.bind(FIRST_PORT + port);
        }
        cx.set_deadline(Some(cx.now()));
    }

    /// Lets the next identity begin.
    pub(super) fn act(&mut self, cx: &mut Cx<'_>) {
        let (identities, nodes) = (self.puppets.len(), self.nodes.len());
        // Another node each time, and another one for each identity in each round.
        let node = (self.next + self.next / identities) % nodes;
        let puppet = &mut self.puppets[self.next % identities];
        let to = self.nodes[node].udp4_socket().expect("it has one");
        cx.send(puppet.at, to.into(), &puppet.begin(&self.nodes[node]));
        self.next += 1;
        self.begun += 1;
        cx.set_deadline(Some(cx.now() + self.pause));
    }

    /// Answers as the protocol wants it, and lies.
    pub(super) fn hear(&mut self, cx: &mut Cx<'_>, local: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let (Some(node), IpAddr::V4(ip)) = (self.at.get(&from), local.ip()) else { return };
        let row = usize::from(local.port() - FIRST_PORT) * usize::from(HOSTS);
        let number = row + usize::from(ip.octets()[3] - 1);
        let Self { nodes, puppets, ids, asked, .. } = self;
        let Some(own) = ids.get(number).copied() else { return };
        let (before, rest) = puppets.split_at_mut(number);
        let Some((puppet, after)) = rest.split_first_mut() else { return };
        let answers = puppet.hear(&nodes[*node], bytes, |_, distances| {
            *asked += 1;
            // From another place among them each time.
            let start = *asked as usize * 31 % ids.len();
            let turn = ids.iter().enumerate().cycle().skip(start).take(ids.len());
            let fitting = turn.filter(|(_, id)| distances.contains(&log_distance(&own, id)));
            let names: Vec<_> =
                fitting.map(|(place, _)| place).filter(|place| *place != number).take(16).collect();
            let record = |place: &usize| match place.checked_sub(number + 1) {
                Some(place) => after[place].record(),
                None => before[*place].record(),
            };
            names.chunks(4).map(|names| names.iter().map(record).collect()).collect()
        });
        for answer in answers {
            cx.send(local, from, &answer);
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The honest network.
    pub size: Size,
    /// The foe's identities.
    pub identities: u16,
    /// How many times a second one of them begins with a node.
    pub rate: u64,
    /// Honest nodes that look honest nodes up.
    pub askers: u32,
    /// Lookups of each of them, one after the other.
    pub lookups: u32,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Lookups while the foe fills the tables.
    pub usual: Vec<LookedUp>,
    /// The first lookup of each asker right after a restart, when its table has one node.
    pub restarted: Vec<LookedUp>,
    /// Identities of the foe in a table: on average in hundredths, and at the most.
    pub in_a_table: (usize, usize),
    /// Packets with which the foe began.
    pub begun: u64,
    /// Questions that its identities got.
    pub asked: u64,
    /// Nodes in a table on average.
    pub known: usize,
    /// What it cost.
    pub cost: Cost,
}

/// Carries a plan out, with real cryptography.
///
/// # Errors
///
/// None is expected: nobody watches.
///
/// # Panics
///
/// If an address is taken.
pub fn run(plan: &Plan, config: &Config) -> Result<Outcome, Failure> {
    let mut foe = None;
    let mut network = Network::<RustCrypto>::new(plan.size, config, |sim, records| {
        foe = Some(add(sim, plan, records));
    })?;
    let nodes = network.nodes.len();
    // All but the bootnode: without that nobody can begin anew.
    let askers: Vec<_> =
        (0..plan.askers as usize).map(|n| 1 + n * (nodes - 1) / plan.askers as usize).collect();
    for turn in 0..plan.lookups {
        for asker in &askers {
            look_up(&mut network, *asker, turn.into());
        }
        network.sim.run_for(BETWEEN)?;
    }
    // The last of them may take its twenty seconds.
    network.sim.run_for(30 * SECOND)?;
    let known = network.known();
    let in_tables: Vec<_> = (0..nodes)
        .map(|n| network.node(n).discovery().nodes().filter(|view| is_foe(view.record)).count())
        .collect();
    let usual = ended(&network, &askers);
    for (turn, asker) in askers.iter().enumerate() {
        network.sim.crash(network.nodes[*asker]);
        network.sim.restart(network.nodes[*asker]);
        look_up(&mut network, *asker, 1_000_000 + turn as u64);
    }
    network.sim.run_for(30 * SECOND)?;
    let (begun, asked) = match foe.and_then(|foe| network.sim.machine(foe)) {
        Some(Host::Sybils(sybils)) => (sybils.begun, sybils.asked),
        _ => (0, 0),
    };
    Ok(Outcome {
        usual,
        restarted: ended(&network, &askers),
        in_a_table: (
            in_tables.iter().sum::<usize>() * 100 / nodes,
            in_tables.iter().copied().max().unwrap_or(0),
        ),
        begun,
        asked,
        known,
        cost: network.cost(),
    })
}

fn add(sim: &mut Sim<Host<RustCrypto>>, plan: &Plan, records: &[Record]) -> coracle_sim::NodeId {
    let mut sybils = Some(Box::new(Sybils::new(plan.identities, plan.rate, records)));
    let [a, b, c] = FOES;
    let addresses = (1..=HOSTS as u8).map(|host| IpAddr::from([a, b, c, host])).collect();
    let config = NodeConfig { addresses, clock: Clock::default() };
    sim.add_node(config, move |_| Host::Sybils(sybils.take().expect("it starts once")))
        .expect("a free network")
}

/// Has a node look up any other.
fn look_up(network: &mut Network<RustCrypto>, asker: usize, turn: u64) {
    let drawn = network.draw("target", turn * 65_536 + asker as u64, network.nodes.len() - 1);
    let target = if drawn >= asker { drawn + 1 } else { drawn };
    network.sim.command(network.nodes[asker], Order::LookUp(network.ids[target]));
}

fn ended(network: &Network<RustCrypto>, askers: &[usize]) -> Vec<LookedUp> {
    askers.iter().flat_map(|asker| network.node(*asker).looked_up.clone()).collect()
}

impl Outcome {
    /// The lowest part of lookups that found their target, in hundredths of a per cent: over all, over those whose
    /// target was not in the asker's table before, and over those right after a restart.
    #[must_use]
    pub fn worst(&self) -> usize {
        let new: Vec<_> = self.usual.iter().filter(|ended| !ended.known).copied().collect();
        let groups = [&self.usual, &new, &self.restarted].into_iter().filter(|ended| !ended.is_empty());
        groups.map(|ended| share(found(ended), ended.len())).min().unwrap_or(0)
    }
}

fn found(ended: &[LookedUp]) -> usize {
    ended.iter().filter(|ended| ended.found).count()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { usual, restarted, in_a_table: (mean, most), begun, asked, known, cost } = self;
        writeln!(f, "the foe began {begun} times, and was asked for nodes {asked} times")?;
        writeln!(
            f,
            "of {known} nodes in a table on average {}.{:02} are the foe's, at the most {most} (limit {PREFIX_PER_TABLE})",
            mean / 100,
            mean % 100
        )?;
        let new: Vec<_> = usual.iter().filter(|ended| !ended.known).copied().collect();
        for (what, ended) in [
            ("lookups of honest nodes", usual),
            ("of these, of nodes that were not in the table", &new),
            ("lookups right after a restart", restarted),
        ] {
            let (found, all) = (found(ended), ended.len());
            let part = share(found, all);
            writeln!(f, "{what}: {found} of {all} found their target ({}.{:02} %)", part / 100, part % 100)?;
        }
        write!(f, "{cost}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same at a size for every day; `.ci/full` has a thousand nodes and ten thousand identities.
    #[test]
    fn lookups_find_the_honest() {
        let size = Size { nodes: 30, loss: 0, settle: 5, seed: 2 };
        let plan = Plan { size, identities: 100, rate: 50, askers: 8, lookups: 3 };
        let outcome = run(&plan, &Config::default()).unwrap();
        assert!(outcome.worst() >= 9_900 && outcome.in_a_table.1 <= PREFIX_PER_TABLE, "seed 2: {outcome}");
        assert_eq!((outcome.usual.len(), outcome.restarted.len()), (24, 8));
        assert!(outcome.in_a_table.0 > 0 && outcome.asked > 0, "the foe is in the game: {outcome}");
    }
}
