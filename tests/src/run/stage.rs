//! The stage of one run: the cluster, what is to happen when, and what must be so at the end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use coracle_core::cluster::{MemberConfig, Reachability};
use coracle_sim::{Choices, Failure, MILLISECOND, Nanos, NatConfig, NatId, NodeId};

use crate::cluster::{Cluster, Order, Trouble, home, record, secret};
use crate::plan::{BehindNat, NatKind, Plan, What};
use crate::run::{Options, Outcome, Seen};
use crate::sim_node::{PORT, Setup};
use crate::story::Teller;
use crate::wire;

/// The bootnode's key, and its position among the addresses.
const BOOTNODE: ([u8; 32], u8) = ([200; 32], 199);
/// The key of those who are no members.
const STRANGER: [u8; 32] = [77; 32];

pub(super) struct Stage<'a> {
    plan: &'a Plan,
    cluster: Cluster,
    agenda: Vec<(u64, Act<'a>)>,
    teller: Option<Teller>,
    /// How many incidents hold each direction cut.
    cuts: BTreeMap<(u8, u8), u32>,
    next_address: u32,
    nats: BTreeMap<u8, NatId>,
    lost: Vec<Rc<Cell<bool>>>,
    moves: Vec<u64>,
    /// Who dials with which key, and whom: made when needed.
    intruders: BTreeMap<Option<u8>, NodeId>,
    intrusions: u64,
}

/// Something on the agenda.
#[derive(Clone, Copy)]
enum Act<'a> {
    FaultsBegin,
    FaultsEnd,
    Begin(&'a What),
    End(&'a What),
}

impl<'a> Stage<'a> {
    pub(super) fn new(plan: &'a Plan, choices: Choices, options: Options) -> Self {
        let faults = plan.faults.faults();
        let first = if plan.faults.from_ms == 0 { faults } else { faults.healed() };
        let flags: Vec<Rc<Cell<bool>>> = (0..plan.operators).map(|_| Rc::default()).collect();
        let bootnode = record(BOOTNODE.0, home(BOOTNODE.1), 1);
        let mut cluster = Cluster::with(choices, first, plan.operators, |position, setup| {
            setup.notices_moves = !plan.unseen_moves;
            setup.database_lost = Rc::clone(&flags[position]);
            if plan.bootnode {
                setup.bootnodes = vec![bootnode.clone()];
            }
        });
        if plan.bootnode {
            let own = MemberConfig::from_lock(bootnode.clone());
            let setup = Setup::new(BOOTNODE.0, vec![own], None);
            cluster.add(home(BOOTNODE.1), setup);
        }
        wire::know(&bootnode.node_id());
        for member in &cluster.members {
            if let Some(record) = &member.lock_record {
                wire::know(&record.node_id());
            }
        }
        let teller = options.story.then(|| Teller::begin(&mut cluster, plan));
        let nats = plan.nats.iter().map(|nat| (nat.operator, put_behind(&mut cluster, *nat))).collect();
        Self {
            plan,
            nats,
            cluster,
            agenda: agenda(plan),
            teller,
            cuts: BTreeMap::new(),
            next_address: 0,
            lost: flags,
            moves: vec![0; usize::from(plan.operators)],
            intruders: BTreeMap::new(),
            intrusions: 0,
        }
    }

    pub(super) fn play(mut self) -> Outcome {
        let result = self.judge();
        let (healed_in, broken) = match result {
            Ok(healed_in) => (Some(healed_in), None),
            Err((healed_in, broken)) => (healed_in, Some(*broken)),
        };
        let sim = &self.cluster.sim;
        let book = self.cluster.book();
        let counters = *sim.counters();
        let seen = Seen {
            packets: counters.datagrams_sent + counters.segments_delivered,
            channels: book.ups.len() as u64,
            records: book.publications.len() as u64,
            nonces: book.nonces.borrow().len() as u64,
            unverified: book.ledger.most,
            intrusions: self.intrusions,
            databases_lost: book.databases_lost.len() as u64,
        };
        let story =
            self.teller.map(|teller| teller.end(&self.cluster, self.plan, healed_in, broken.as_ref()));
        Outcome {
            broken,
            healed_in,
            hash: Some(sim.trace_hash()),
            steps: sim.steps(),
            time: sim.now(),
            counters,
            seen,
            faults: 0,
            story,
        }
    }

    /// Chaos, healing, mesh, calm: the time from healing to mesh, or what was broken.
    fn judge(&mut self) -> Result<Nanos, (Option<Nanos>, Box<Failure>)> {
        let before = |failure: Failure| (None, Box::new(failure));
        for (at_ms, act) in std::mem::take(&mut self.agenda) {
            self.cluster.sim.run_until(at_ms * MILLISECOND).map_err(before)?;
            self.act(act);
        }
        self.cluster.sim.run_until(self.plan.heal_ms * MILLISECOND).map_err(before)?;
        for node in self.cluster.nodes.clone() {
            // Of a crash point that was not met, nothing is to come.
            self.cluster.sim.crash_at_write(node, 0);
        }
        self.cluster.heal();
        let deadline = self.plan.deadline_ms * MILLISECOND;
        let healed_in = match self.cluster.mesh_within(deadline) {
            Ok(took) => took,
            Err(Trouble::Failure(failure)) => return Err(before(*failure)),
            Err(Trouble::Gap(gap)) if self.plan.may_stay_apart => {
                self.apart_and_told(&gap).map_err(|broken| (None, broken))?;
                return Ok(deadline);
            }
            Err(Trouble::Gap(gap)) => return Err((None, self.broken("C2", &gap))),
        };
        self.stay_calm().map_err(|broken| (Some(healed_in), broken))?;
        self.count_records().map_err(|broken| (Some(healed_in), broken))?;
        Ok(healed_in)
    }

    fn broken(&mut self, rule: &str, message: &str) -> Box<Failure> {
        let node = self.cluster.nodes[0];
        Box::new(self.cluster.sim.fail(node, rule, message))
    }

    /// C4: one channel a pair, and it stays.
    fn stay_calm(&mut self) -> Result<(), Box<Failure>> {
        let before = (self.cluster.book().ups.len(), self.cluster.book().downs.len());
        self.cluster.sim.run_for(self.plan.calm_ms * MILLISECOND).map_err(Box::new)?;
        let changes = {
            let book = self.cluster.book();
            let (ups, downs) = (&book.ups[before.0..], &book.downs[before.1..]);
            (!ups.is_empty() || !downs.is_empty()).then(|| format!("channels flap: {ups:?} {downs:?}"))
        };
        match changes.or_else(|| self.cluster.gap()) {
            Some(message) => Err(self.broken("C4", &message)),
            None => Ok(()),
        }
    }

    /// E6: no more records than changes of address, and one.
    fn count_records(&mut self) -> Result<(), Box<Failure>> {
        for (operator, moves) in self.moves.clone().into_iter().enumerate() {
            let node = self.cluster.nodes[operator];
            let lost = self.cluster.book().databases_lost.contains(&node);
            let mut numbers: Vec<u64> = {
                let book = self.cluster.book();
                book.publications.iter().filter(|(whose, _)| *whose == node).map(|(_, r)| r.seq()).collect()
            };
            numbers.sort_unstable();
            numbers.dedup();
            // Who is behind a NAT learns its address from the others, which takes a record more each time.
            let natted = self.plan.nats.iter().any(|nat| usize::from(nat.operator) == operator);
            if !lost && !natted && numbers.len() as u64 > moves + 1 {
                let message = format!("operator {operator} moved {moves} times and published {numbers:?}");
                return Err(self.broken("E6", &message));
            }
        }
        Ok(())
    }

    /// C5: whoever has no channel is said to be unreachable.
    fn apart_and_told(&mut self, gap: &str) -> Result<(), Box<Failure>> {
        for here in 0..self.cluster.nodes.len() {
            for there in (0..self.cluster.nodes.len()).filter(|there| *there != here) {
                let peer = self.cluster.peer(there);
                let view = self.cluster.member(here).and_then(|node| node.view(&peer));
                let told = view.is_some_and(|view| {
                    let unreachable =
                        matches!(view.reachability, Reachability::Failed { .. } | Reachability::NoEndpoint);
                    view.channel.is_some() || unreachable
                });
                if !told {
                    let message = format!("{here} does not say that it cannot reach {there}: {gap}");
                    return Err(self.broken("C5", &message));
                }
            }
        }
        Ok(())
    }

    fn act(&mut self, act: Act<'_>) {
        match act {
            Act::FaultsBegin => self.cluster.sim.set_faults(self.plan.faults.faults()),
            Act::FaultsEnd => self.cluster.sim.set_faults(self.plan.faults.faults().healed()),
            Act::Begin(what) => {
                self.cluster.sim.note(None, what.to_string());
                self.begin(what);
            }
            Act::End(what) => self.end(what),
        }
    }

    fn begin(&mut self, what: &What) {
        match *what {
            What::Move { operator } => self.move_away(operator),
            What::MoveAll => (0..self.plan.operators).for_each(|operator| self.move_away(operator)),
            What::Crash { operator, .. } => self.cluster.sim.crash(self.node(operator)),
            What::CrashAtWrite { operator, write, .. } => {
                let node = self.node(operator);
                let written = self.cluster.sim.writes(node);
                self.cluster.sim.crash_at_write(node, written + write);
            }
            What::LoseDatabase { operator, .. } => {
                let node = self.node(operator);
                self.lost[usize::from(operator)].set(true);
                self.cluster.book_mut().databases_lost.insert(node);
                self.cluster.sim.crash(node);
            }
            What::RebootNat { operator } => {
                if let Some(nat) = self.nats.get(&operator) {
                    self.cluster.sim.reboot_nat(*nat);
                }
            }
            What::JumpClock { operator, by_ms } => {
                let node = self.node(operator);
                self.cluster.sim.jump_clock(node, by_ms * MILLISECOND);
            }
            What::Intrude { operator, own_key } => self.intrude(operator, own_key),
            What::Partition { .. } | What::Cut { .. } => {
                for pair in self.pairs(what) {
                    *self.cuts.entry(pair).or_default() += 1;
                    self.cluster.sim.block(self.node(pair.0), self.node(pair.1));
                }
            }
        }
    }

    fn end(&mut self, what: &What) {
        match *what {
            What::Crash { operator, .. }
            | What::CrashAtWrite { operator, .. }
            | What::LoseDatabase { operator, .. } => self.cluster.sim.restart(self.node(operator)),
            What::Partition { .. } | What::Cut { .. } => {
                for pair in self.pairs(what) {
                    let held = self.cuts.entry(pair).or_insert(1);
                    *held -= 1;
                    if *held == 0 {
                        self.cluster.sim.unblock(self.node(pair.0), self.node(pair.1));
                    }
                }
            }
            What::Move { .. }
            | What::MoveAll
            | What::RebootNat { .. }
            | What::JumpClock { .. }
            | What::Intrude { .. } => {}
        }
    }

    fn node(&self, operator: u8) -> NodeId {
        self.cluster.nodes[usize::from(operator)]
    }

    /// The directions that are cut.
    fn pairs(&self, what: &What) -> Vec<(u8, u8)> {
        match what {
            What::Cut { from, to, .. } if from != to => vec![(*from, *to)],
            What::Partition { operators, .. } => {
                let others = |there: &u8| !operators.contains(there);
                let here = operators.iter().copied();
                here.flat_map(|here| {
                    (0..self.plan.operators)
                        .filter(others)
                        .flat_map(move |there| [(here, there), (there, here)])
                })
                .collect()
            }
            _ => Vec::new(),
        }
    }

    fn move_away(&mut self, operator: u8) {
        let address = IpAddr::V4(Ipv4Addr::from(0x0a01_0001 + self.next_address));
        self.next_address += 1;
        self.moves[usize::from(operator)] += 1;
        match self.nats.get(&operator) {
            Some(nat) => self.cluster.sim.renumber_nat(*nat, address).expect("a new address is free"),
            None => self.cluster.move_to(usize::from(operator), address),
        }
    }

    fn intrude(&mut self, operator: u8, own_key: bool) {
        let key = own_key.then_some(operator);
        let cluster = &mut self.cluster;
        let number = u8::try_from(self.intruders.len()).unwrap_or(u8::MAX);
        let intruder = *self.intruders.entry(key).or_insert_with(|| {
            let at = IpAddr::V4(Ipv4Addr::new(10, 9, 0, number + 1));
            cluster.add_intruder(at, key.map_or(STRANGER, secret))
        });
        let victim = self.cluster.nodes[usize::from(operator)];
        let outside = self.nats.get(&operator).and_then(|nat| self.cluster.sim.nat_address(*nat));
        if let Some(ip) = outside.or_else(|| self.cluster.sim.addresses(victim).first().copied()) {
            self.intrusions += 1;
            self.cluster.sim.command(intruder, Order::Dial((ip, PORT).into()));
        }
    }
}

/// Puts an operator behind a NAT that has its address from now on.
fn put_behind(cluster: &mut Cluster, behind: BehindNat) -> NatId {
    let node = cluster.nodes[usize::from(behind.operator)];
    let inside = IpAddr::V4(Ipv4Addr::new(192, 168, behind.operator, 2));
    cluster.sim.move_node(node, &[inside]).expect("an address of its own");
    let outside = home(behind.operator);
    let config = match behind.kind {
        NatKind::FullCone => NatConfig::full_cone(outside),
        NatKind::Restricted => NatConfig::restricted(outside),
        NatKind::PortRestricted => NatConfig::port_restricted(outside),
        NatKind::Symmetric => NatConfig::symmetric(outside),
    };
    let nat = cluster.sim.add_nat(config).expect("the operator has left this address");
    cluster.sim.move_behind(node, Some(nat), &[inside]).expect("its own address");
    if behind.forwarded {
        cluster.sim.forward(nat, PORT, Some((inside, PORT).into()));
    }
    nat
}

/// What is to be done when, in order. The healing ends everything.
fn agenda(plan: &Plan) -> Vec<(u64, Act<'_>)> {
    let mut agenda = Vec::new();
    if plan.faults.from_ms > 0 {
        agenda.push((plan.faults.from_ms, Act::FaultsBegin));
    }
    if plan.faults.until_ms > 0 {
        agenda.push((plan.faults.until_ms, Act::FaultsEnd));
    }
    for incident in &plan.incidents {
        agenda.push((incident.at_ms, Act::Begin(&incident.what)));
        if incident.what.lasts() > 0 {
            agenda.push((incident.at_ms + incident.what.lasts(), Act::End(&incident.what)));
        }
    }
    agenda.retain(|(at, _)| *at < plan.heal_ms);
    agenda.sort_by_key(|(at, _)| *at);
    agenda
}
