//! The stage of one run: the cluster, what is to happen when, and what must be so at the end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use coracle_core::cluster::{MemberConfig, Reachability};
use coracle_core::id::PeerId;
use coracle_core::limits::MAX_OWN_EXCEEDED;
use coracle_core::node::{Command, Notice};
use coracle_core::refresh::OwnSeen;
use coracle_sim::{Choices, Clock, Failure, MILLISECOND, Nanos, NatConfig, NatId, NodeId, SECOND};

use crate::cluster::{Cluster, Order, Trouble, home, record, secret};
use crate::liar::{Lies, Told};
use crate::plan::{BehindNat, Lie, NatKind, Plan, STREAM_IDLE_MS, What};
use crate::run::{Options, Outcome, Seen};
use crate::sim_node::{PORT, Setup};
use crate::story::Teller;
use crate::wire;

/// The bootnode's key, and its position among the addresses.
const BOOTNODE: ([u8; 32], u8) = ([200; 32], 199);
/// The first key of those who lie and are no members, and its position among the addresses.
const LIAR: u8 = 201;
/// A dial that is under way when all is healed is a channel by then, or none.
const DIALS_END: Nanos = SECOND;
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
    clocks_behind: Vec<Rc<Cell<u64>>>,
    /// Compressed keys of those who are removed, as the set-ups share them, and how many incidents removed whom.
    removed: Rc<RefCell<BTreeSet<[u8; 33]>>>,
    removals: BTreeMap<u8, u32>,
    /// Second processes that run, by whose key they have.
    twins: BTreeMap<u8, Vec<NodeId>>,
    next_twin: u8,
    moves: Vec<u64>,
    /// Who dials with which key, and whom: made when needed.
    intruders: BTreeMap<Option<u8>, NodeId>,
    intrusions: u64,
    /// How often each lie was told.
    told: Told,
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
        let clocks_behind: Vec<Rc<Cell<u64>>> = (0..plan.operators).map(|_| Rc::default()).collect();
        let removed: Rc<RefCell<BTreeSet<[u8; 33]>>> = Rc::default();
        let bootnode = record(BOOTNODE.0, home(BOOTNODE.1), 1);
        let told = Told::default();
        let lies = |liar: &crate::plan::Liar| Lies { kinds: liar.lies.clone(), told: Rc::clone(&told) };
        let mut cluster = Cluster::with(choices, first, plan.operators, |position, setup| {
            setup.notices_moves = !plan.unseen_moves;
            setup.clock_behind_ms = Rc::clone(&clocks_behind[position]);
            setup.removed = Rc::clone(&removed);
            let liar = plan.liars.iter().find(|liar| liar.operator.map(usize::from) == Some(position));
            setup.lies = liar.map(lies);
            if plan.bootnode {
                setup.bootnodes = vec![bootnode.clone()];
            }
        });
        if plan.bootnode {
            let own = MemberConfig::from_lock(bootnode.clone());
            let setup = Setup::new(BOOTNODE.0, vec![own], None);
            cluster.add(home(BOOTNODE.1), setup);
        }
        cluster.liars = plan.liars.iter().filter_map(|liar| liar.operator.map(usize::from)).collect();
        let strangers = plan.liars.iter().filter(|liar| liar.operator.is_none());
        for (position, stranger) in (LIAR..).zip(strangers) {
            let own = record([position; 32], home(position), 1);
            wire::know(&own.node_id());
            let mut setup = Setup::new([position; 32], vec![MemberConfig::from_lock(own)], None);
            setup.bootnodes =
                cluster.members.iter().filter_map(|member| member.lock_record.clone()).collect();
            setup.nonces = Some(Rc::clone(&cluster.book().nonces));
            setup.lies = Some(lies(stranger));
            cluster.add(home(position), setup);
        }
        for clock in &plan.clocks {
            let node = cluster.nodes[usize::from(clock.operator)];
            let clock = Clock { offset: clock.ahead_ms * MILLISECOND, drift: clock.drift_ppm };
            cluster.sim.set_clock(node, clock);
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
            clocks_behind,
            removed,
            removals: BTreeMap::new(),
            twins: BTreeMap::new(),
            next_twin: 0,
            moves: vec![0; usize::from(plan.operators)],
            intruders: BTreeMap::new(),
            intrusions: 0,
            told,
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
        let own_seen = |which: fn(OwnSeen) -> bool| {
            let seen =
                |notice: &Notice| matches!(notice, Notice::OwnRecordSeen { outcome, .. } if which(*outcome));
            book.notices.iter().filter(|(.., notice)| seen(notice)).count() as u64
        };
        let conflict = |notice: &Notice| matches!(notice, Notice::RecordConflict { .. });
        let seen = Seen {
            packets: counters.datagrams_sent + counters.segments_delivered,
            channels: book.ups.len() as u64,
            records: book.publications.len() as u64,
            nonces: book.nonces.borrow().len() as u64,
            unverified: book.ledger.most,
            intrusions: self.intrusions,
            databases_lost: book.databases_lost.len() as u64,
            twins: u64::from(self.next_twin),
            own_adopted: own_seen(|outcome| outcome == OwnSeen::Adopted),
            own_exceeded: own_seen(|outcome| outcome != OwnSeen::Adopted),
            conflicts: book.notices.iter().filter(|(.., notice)| conflict(notice)).count() as u64,
            lies: Lie::ALL.map(|lie| self.told.borrow().get(&lie).copied().unwrap_or(0)),
            removals: self.removals.values().map(|count| u64::from(*count)).sum(),
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
        self.end_all();
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
        self.everybody_has_the_newest().map_err(|broken| (Some(healed_in), broken))?;
        self.count_records().map_err(|broken| (Some(healed_in), broken))?;
        Ok(healed_in)
    }

    fn broken(&mut self, rule: &str, message: &str) -> Box<Failure> {
        let node = self.cluster.nodes[0];
        Box::new(self.cluster.sim.fail(node, rule, message))
    }

    /// C4: one channel a pair, and it stays. A dial that was under way when the mesh was full may yet end, and give
    /// way.
    fn stay_calm(&mut self) -> Result<(), Box<Failure>> {
        let calm = self.plan.calm_ms * MILLISECOND;
        let dials = DIALS_END.min(calm);
        self.cluster.sim.run_for(dials).map_err(Box::new)?;
        let before = (self.cluster.book().ups.len(), self.cluster.book().downs.len());
        self.cluster.sim.run_for(calm - dials).map_err(Box::new)?;
        let changes = {
            let book = self.cluster.book();
            let lies = |peer| book.liars.contains(&peer);
            let ups: Vec<_> = book.ups[before.0..].iter().filter(|up| !lies(up.peer)).collect();
            let downs: Vec<_> = book.downs[before.1..].iter().filter(|down| !lies(down.peer)).collect();
            (!ups.is_empty() || !downs.is_empty()).then(|| format!("channels flap: {ups:?} {downs:?}"))
        };
        match changes.or_else(|| self.cluster.gap()) {
            Some(message) => Err(self.broken("C4", &message)),
            None => Ok(()),
        }
    }

    /// Ends what must not last: second processes, and removals.
    fn end_all(&mut self) {
        for twin in std::mem::take(&mut self.twins).into_values().flatten() {
            self.cluster.sim.crash(twin);
        }
        if !self.removed.borrow().is_empty() {
            self.removed.borrow_mut().clear();
            self.tell_members();
        }
    }

    /// R1: in the end each has everybody's newest record. (Of a key that two processes had, the newest may be the
    /// one's that is gone: they do not race, rule E5.)
    fn everybody_has_the_newest(&mut self) -> Result<(), Box<Failure>> {
        // Two processes do not race, and say so: then, and only then, the newest may be the one's that is gone.
        let raced: BTreeSet<PeerId> = {
            let book = self.cluster.book();
            let used_twice = |notice: &Notice| {
                matches!(notice, Notice::OwnRecordSeen { outcome: OwnSeen::KeyUsedTwice, .. })
            };
            let told = book.notices.iter().filter(|(.., notice)| used_twice(notice));
            let keys = told.filter_map(|(_, node, _)| book.entries.get(node));
            keys.map(|entry| PeerId::from_public_key(&entry.public_key)).collect()
        };
        let seen = |here: usize, there: usize| -> Option<(u64, u64)> {
            let peer = self.cluster.peer(there);
            let own = self.cluster.member(there)?.node().record()?.clone();
            let known = self.cluster.member(here)?.view(&peer)?.record?;
            let shared = self.cluster.book().shared_keys.contains(&peer) && raced.contains(&peer);
            (!shared && !known.same_content(&own)).then(|| (known.seq(), own.seq()))
        };
        let honest: Vec<usize> = self.cluster.honest().collect();
        let pairs = honest.iter().flat_map(|here| honest.iter().map(move |there| (*here, *there)));
        let old = pairs.filter(|(here, there)| here != there).find_map(|(here, there)| {
            let (known, newest) = seen(here, there)?;
            Some(format!("operator {here} has record {known} of operator {there}, whose newest is {newest}"))
        });
        if let Some(message) = old {
            return Err(self.broken("R1", &message));
        }
        let adopting = self.cluster.book().adopting.iter().next().map(|(node, seq)| (*node, *seq));
        adopting.map_or(Ok(()), |(node, seq)| {
            Err(self.broken(
                "E5",
                &format!("operator {} adopted {seq}, which never came into force", node.index()),
            ))
        })
    }

    /// E6: no more records than changes of address, and one; E5: and few more after the loss of a database, or
    /// where another process has the key.
    fn count_records(&mut self) -> Result<(), Box<Failure>> {
        for (operator, moves) in self.moves.clone().into_iter().enumerate() {
            let node = self.cluster.nodes[operator];
            if self.cluster.liars.contains(&operator) {
                continue;
            }
            // Who is behind a NAT learns its address from the others, which takes a record more each time.
            if self.plan.nats.iter().any(|nat| usize::from(nat.operator) == operator) {
                continue;
            }
            let numbers: BTreeSet<u64> = {
                let book = self.cluster.book();
                book.publications.iter().filter(|(whose, _)| *whose == node).map(|(_, r)| r.seq()).collect()
            };
            let unusual = self.unusual_starts(u8::try_from(operator).unwrap_or(u8::MAX));
            let most = moves + 1 + unusual * (1 + u64::from(MAX_OWN_EXCEEDED));
            if numbers.len() as u64 > most {
                let message = format!("operator {operator} moved {moves} times and published {numbers:?}");
                return Err(self.broken(if unusual == 0 { "E6" } else { "E5" }, &message));
            }
        }
        Ok(())
    }

    /// Starts after which the others may show a node a record of its own that it does not know.
    fn unusual_starts(&self, operator: u8) -> u64 {
        let count = |which: fn(&What) -> bool| {
            let own = self.plan.incidents.iter().filter(|i| i.what.operators().contains(&operator));
            own.filter(|incident| which(&incident.what)).count() as u64
        };
        let twins = count(|what| matches!(what, What::Twin { .. }));
        let losses = count(|what| matches!(what, What::LoseDatabase { .. }));
        let starts = count(|what| {
            matches!(what, What::Crash { .. } | What::CrashAtWrite { .. } | What::LoseDatabase { .. })
        });
        if twins > 0 || losses > 0 { 1 + starts } else { 0 }
    }

    /// C5: whoever has no channel is said to be unreachable.
    fn apart_and_told(&mut self, gap: &str) -> Result<(), Box<Failure>> {
        let honest: Vec<usize> = self.cluster.honest().collect();
        for here in honest.clone() {
            for there in honest.iter().copied().filter(|there| *there != here) {
                let peer = self.cluster.peer(there);
                let view = self.cluster.member(here).and_then(|node| node.view(&peer));
                let told = view.is_some_and(|view| {
                    let unreachable =
                        matches!(view.reachability, Reachability::Failed { .. } | Reachability::NoEndpoint);
                    view.channel.is_some() || unreachable
                });
                if !told {
                    let message =
                        format!("operator {here} does not say that it cannot reach operator {there}: {gap}");
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
            What::LoseDatabase { operator, clock_behind_ms, .. } => {
                let node = self.node(operator);
                self.clocks_behind[usize::from(operator)].set(clock_behind_ms);
                self.cluster.sim.crash(node);
                self.cluster.sim.lose_disk(node);
                self.cluster.book_mut().lose_database(node);
            }
            What::Twin { operator, .. } => self.start_twin(operator),
            What::Remove { operator, .. } => {
                *self.removals.entry(operator).or_default() += 1;
                self.removed.borrow_mut().insert(self.key(operator));
                self.tell_members();
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
            What::Twin { operator, .. } => {
                let twins = self.twins.entry(operator).or_default();
                if !twins.is_empty() {
                    self.cluster.sim.crash(twins.remove(0));
                }
            }
            What::Remove { operator, .. } => {
                self.removed.borrow_mut().remove(&self.key(operator));
                self.tell_members();
            }
            What::Move { .. }
            | What::MoveAll
            | What::RebootNat { .. }
            | What::JumpClock { .. }
            | What::Intrude { .. } => {}
        }
    }

    fn key(&self, operator: u8) -> [u8; 33] {
        self.cluster.members[usize::from(operator)].public_key.compressed()
    }

    fn start_twin(&mut self, operator: u8) {
        let position = usize::from(operator);
        let lock_record = self.cluster.members[position].lock_record.clone();
        let members = self.cluster.members.iter().map(|member| self.as_it_was(member)).collect();
        let mut setup = Setup::new(secret(operator), members, lock_record);
        setup.nonces = Some(Rc::clone(&self.cluster.book().nonces));
        let peer = self.cluster.peer(position);
        self.cluster.book_mut().share_key(peer);
        self.next_twin += 1;
        let at = IpAddr::V4(Ipv4Addr::new(10, 8, 0, self.next_twin));
        let twin = self.cluster.add(at, setup);
        self.cluster.book_mut().untold.insert(twin);
        self.twins.entry(operator).or_default().push(twin);
    }

    /// The member as an old backup has it: with the record that it published half of its records ago.
    fn as_it_was(&self, member: &MemberConfig) -> MemberConfig {
        let book = self.cluster.book();
        let own = book.publications.iter().filter(|(_, record)| *record.public_key() == member.public_key);
        let published: Vec<_> = own.collect();
        let old = published.get(published.len() / 2).map(|(_, record)| record.clone());
        MemberConfig { lock_record: old.or_else(|| member.lock_record.clone()), ..member.clone() }
    }

    /// Everybody but those who are removed reads the lock file again.
    fn tell_members(&mut self) {
        let removed = self.removed.borrow().clone();
        let gone = |member: &MemberConfig| removed.contains(&member.public_key.compressed());
        let members: Vec<_> = self.cluster.members.iter().filter(|member| !gone(member)).cloned().collect();
        let peers = self.cluster.members.iter().filter(|member| gone(member));
        self.cluster.book_mut().removed = peers.map(|m| PeerId::from_public_key(&m.public_key)).collect();
        for (position, node) in self.cluster.nodes.clone().into_iter().enumerate() {
            if !gone(&self.cluster.members[position]) {
                self.cluster.sim.command(node, Order::Node(Command::SetMembers(members.clone())));
            }
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
    let mut config = match behind.kind {
        NatKind::FullCone => NatConfig::full_cone(outside),
        NatKind::Restricted => NatConfig::restricted(outside),
        NatKind::PortRestricted => NatConfig::port_restricted(outside),
        NatKind::Symmetric => NatConfig::symmetric(outside),
    };
    if behind.idle_ms > 0 {
        config.idle = behind.idle_ms * MILLISECOND;
        config.stream_idle = behind.idle_ms.max(STREAM_IDLE_MS) * MILLISECOND;
    }
    if behind.room > 0 {
        config.most = usize::from(behind.room);
    }
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
