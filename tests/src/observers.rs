//! The rules that hold after every event, checked from outside of the nodes.
//!
//! - E1: the published sequence number of a key only ever rises; E2: one (key, number) stands for one content;
//!   E3: what is published is on the node's disk, or is the lock file's record. Both hold on the condition that
//!   confirmed writes survive: after the loss of a database, and for two processes with one key, they hold for what
//!   that database (that process) published, and for the key again once the node has gone above everything (E5);
//!   What the others remember and a node adopts is what its key has published, and comes into force;
//! - C1: a channel is only ever with a member, and with the one whose key the other end really has; who is removed
//!   is cut off in the same step;
//! - C3: the database of a node never goes back, and never loses an entry;
//! - N3: whoever is no member hears nothing after its handshake; N5: a (key, nonce) pair seals one message;
//! - E7: no honest node publishes the address that liars name;
//! - D1, D2: what is sent to an endpoint that never answered stays within what came from it and a budget
//!   ([`ledger`]); R2, E7: records of others only go forward, and an address is one's own or was seen ([`records`]);
//!   C4: two nodes never close each other's channels as duplicates ([`channels`]); B1: no table grows beyond its bound ([`bounds`]).

pub mod bounds;
pub mod channels;
pub mod ledger;
pub mod records;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use coracle_core::cluster::Origin;
use coracle_core::crypto::PublicKey;
use coracle_core::id::PeerId;
use coracle_core::node::{ConnId, Failure, Notice, RequestError};
use coracle_core::record::Record;
use coracle_core::refresh::OwnSeen;
use coracle_sim::{Cause, Event, Nanos, NodeId, Output, Sim, Step};

use crate::cluster::Actor;
use crate::liar::FALSE_ADDRESS;
use crate::nonces::Nonces;
use crate::observers::channels::Channels;
use crate::observers::ledger::Ledger;
use crate::observers::records::Records;
use crate::sim_node::{OWN, Seen, decode_peer, decode_record, peer_key};
use crate::slots;

/// What the observers know of a node.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its key.
    pub public_key: PublicKey,
    /// Its record in the lock file; `None` for who is no member.
    pub lock_record: Option<Record>,
}

/// A channel that came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Up {
    /// When.
    pub at: Nanos,
    /// Whose notice it was.
    pub node: NodeId,
    /// The other end.
    pub peer: PeerId,
    /// How the endpoint was known.
    pub origin: Origin,
}

/// A channel that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down {
    /// When.
    pub at: Nanos,
    /// Whose notice it was.
    pub node: NodeId,
    /// The other end.
    pub peer: PeerId,
    /// Why.
    pub reason: Failure,
}

/// What the observers wrote down.
#[derive(Debug, Default)]
pub struct Book {
    /// Who is who, by node.
    pub entries: BTreeMap<NodeId, Entry>,
    /// The highest number that each key published.
    pub published: BTreeMap<PeerId, u64>,
    /// Records published, by node, in order.
    pub publications: Vec<(NodeId, Record)>,
    /// Channels that came about.
    pub ups: Vec<Up>,
    /// Channels that ended.
    pub downs: Vec<Down>,
    /// When the last ping was answered, by node, member and connection.
    pub pings: BTreeMap<(NodeId, PeerId, ConnId), Nanos>,
    /// All other notices.
    pub notices: Vec<(Nanos, NodeId, Notice)>,
    /// What intruders met, by node.
    pub intruders: Vec<(NodeId, Seen)>,
    /// What was sealed under which key and nonce.
    pub nonces: Rc<RefCell<Nonces>>,
    /// Which channels there are.
    pub channels: Channels,
    /// Bytes by endpoint.
    pub ledger: Ledger,
    /// What each node has of the others.
    pub records: Records,
    /// Nodes whose database was lost once.
    pub databases_lost: BTreeSet<NodeId>,
    /// Keys that two processes had once.
    pub shared_keys: BTreeSet<PeerId>,
    /// Who lies: none of the rules binds it.
    pub liars: BTreeSet<PeerId>,
    /// Who is no member now, whatever the lock file said at first.
    pub removed: BTreeSet<PeerId>,
    /// Processes that nobody tells of a change of members.
    pub untold: BTreeSet<NodeId>,
    /// Nodes that lost their database and have not gone above what they published before.
    behind: BTreeSet<NodeId>,
    /// Numbers that a node has adopted from others and not yet published.
    pub adopting: BTreeMap<NodeId, u64>,
    /// What each node published since its database was there.
    own: BTreeMap<(NodeId, u64), Record>,
    contents: BTreeMap<(PeerId, u64), Record>,
    /// Numbers in the database, by node and key on the disk.
    durable: BTreeMap<(NodeId, Vec<u8>), u64>,
}

impl Book {
    fn members(&self) -> BTreeSet<PeerId> {
        let members = self.entries.values().filter(|entry| entry.lock_record.is_some());
        members.map(|entry| PeerId::from_public_key(&entry.public_key)).collect()
    }

    /// A node's database is lost: what it published before, and what was on its disk, binds it no more, until it
    /// has gone above all of that (rule E5). What it publishes from now on binds it as ever.
    pub fn lose_database(&mut self, node: NodeId) {
        self.databases_lost.insert(node);
        self.behind.insert(node);
        self.own.retain(|(whose, _), _| *whose != node);
        self.durable.retain(|(whose, _), _| *whose != node);
    }

    /// From now on two processes have this key: numbers and contents bind each process by itself.
    pub fn share_key(&mut self, peer: PeerId) {
        self.shared_keys.insert(peer);
    }

    /// Whether this node lies.
    pub fn lies(&self, node: NodeId) -> bool {
        let entry = self.entries.get(&node);
        entry.is_some_and(|entry| self.liars.contains(&PeerId::from_public_key(&entry.public_key)))
    }

    fn publish(&mut self, sim: &Sim<Actor>, node: NodeId, record: &Record) -> Result<(), String> {
        let entry = &self.entries[&node];
        if *record.public_key() != entry.public_key {
            return Err("E4: it published a record of another key".into());
        }
        if record.addresses().ip4 == Some(FALSE_ADDRESS) {
            return Err("E7: liars have moved its address".into());
        }
        let stored = sim.durable(node).and_then(|disk| slots::read(disk, OWN));
        let is_lock = entry.lock_record.as_ref().is_some_and(|lock| lock.as_bytes() == record.as_bytes());
        if !is_lock && stored.is_none_or(|stored| stored != record.as_bytes()) {
            return Err(format!("E3: it published {} before that was stored", record.seq()));
        }
        let (peer, seq) = (record.peer_id(), record.seq());
        let said =
            |known: &Record| known.peer_id() == peer && known.addresses().ip4 == record.addresses().ip4;
        let before = entry.lock_record.as_ref().is_some_and(said)
            || self.publications.iter().any(|(_, known)| said(known));
        let members = self.entries.iter().filter(|(_, entry)| entry.lock_record.is_some());
        let members: Vec<_> =
            members.map(|(node, entry)| (PeerId::from_public_key(&entry.public_key), *node)).collect();
        self.records.publish(node, record, before, &members)?;
        self.adopted(node, record)?;
        self.publications.push((node, record.clone()));
        let before = self.own.range((node, 0)..=(node, u64::MAX)).next_back().map_or(0, |((_, seq), _)| *seq);
        if seq < before {
            return Err(format!("E1: it published {seq} after {before}"));
        }
        let first = self.own.entry((node, seq)).or_insert_with(|| record.clone());
        if !first.same_content(record) {
            return Err(format!("E2: {seq} stands for two contents"));
        }
        let highest = self.published.entry(peer).or_insert(seq);
        let above = *highest;
        *highest = seq.max(above);
        if self.shared_keys.contains(&peer) || (seq <= above && self.behind.contains(&node)) {
            return Ok(());
        }
        self.behind.remove(&node);
        if seq < above {
            return Err(format!("E1: it published {seq} after {above}"));
        }
        let first = self.contents.entry((peer, seq)).or_insert_with(|| record.clone());
        if !first.same_content(record) {
            return Err(format!("E2: {seq} stands for two contents"));
        }
        Ok(())
    }

    /// E5: what was adopted from others is what comes into force next, or something above it.
    fn adopted(&mut self, node: NodeId, record: &Record) -> Result<(), String> {
        let Some(owed) = self.adopting.remove(&node) else { return Ok(()) };
        let mut published = self.publications.iter().map(|(_, published)| published);
        let seq = record.seq();
        if seq < owed {
            Err(format!("E5: it adopted {owed} and published {seq}"))
        } else if seq == owed && !published.any(|before| before.seq() == seq && before.same_content(record)) {
            Err(format!("E5: it adopted {owed}, which its key had never published"))
        } else {
            Ok(())
        }
    }

    fn look_at_disk(&mut self, sim: &Sim<Actor>, node: NodeId) -> Result<(), String> {
        let Some(disk) = sim.durable(node) else { return Ok(()) };
        for entry in self.entries.values() {
            let key = peer_key(&entry.public_key);
            if let Some(bytes) = slots::read(disk, &key) {
                let stored = decode_peer(entry.public_key, &bytes);
                let seq = stored.record.as_ref().map_or(0, Record::seq);
                Self::not_back(&mut self.durable, node, key, seq)?;
            } else if self.durable.contains_key(&(node, key)) {
                return Err("C3: an entry of the database is gone".into());
            }
        }
        if let Some(bytes) = slots::read(disk, OWN) {
            Self::not_back(&mut self.durable, node, OWN.to_vec(), decode_record(&bytes).seq())?;
        } else if self.durable.contains_key(&(node, OWN.to_vec())) {
            return Err("C3: the own record is gone from the database".into());
        }
        Ok(())
    }

    /// C1: whoever was removed has no channel with those who know it, from the same moment on.
    fn cut_off(&self, sim: &Sim<Actor>, node: NodeId) -> Result<(), String> {
        let own = PeerId::from_public_key(&self.entries[&node].public_key);
        let Some(running) = sim.machine(node).and_then(Actor::as_node) else { return Ok(()) };
        match self.removed.iter().find(|peer| **peer != own && running.view(peer).is_some()) {
            Some(peer) if !self.removed.contains(&own) => {
                Err(format!("C1: {peer} was removed, and is a member still"))
            }
            _ => Ok(()),
        }
    }

    /// C1: nor are the channels left that they had.
    fn hung_up(&self, node: NodeId) -> Result<(), String> {
        let own = PeerId::from_public_key(&self.entries[&node].public_key);
        match self.removed.iter().find(|peer| self.channels.has(node, **peer)) {
            Some(peer) if !self.removed.contains(&own) && !self.untold.contains(&node) => {
                Err(format!("C1: {peer} was removed, and keeps its channel"))
            }
            _ => Ok(()),
        }
    }

    fn not_back(
        durable: &mut BTreeMap<(NodeId, Vec<u8>), u64>,
        node: NodeId,
        key: Vec<u8>,
        seq: u64,
    ) -> Result<(), String> {
        let before = durable.insert((node, key), seq).unwrap_or(0);
        if seq < before {
            return Err(format!("C3: the database went back from {before} to {seq}"));
        }
        Ok(())
    }
}

/// Has all rules checked after every event from now on, and written down what happens.
pub fn watch(sim: &mut Sim<Actor>, book: &Rc<RefCell<Book>>) {
    let book = Rc::clone(book);
    sim.observe(move |sim, step| {
        let mut book = book.borrow_mut();
        let book = &mut *book;
        if book.lies(step.node) {
            listen(book, sim, step);
            return Ok(());
        }
        book.ledger.look(sim, step)?;
        book.records.look(sim, step.node, &step.cause)?;
        bounds::look(sim, step.node)?;
        if let Some(cipher) = book.nonces.borrow().reused() {
            return Err(format!("N5: one key and nonce sealed two messages with {cipher}"));
        }
        if step.cause == Cause::Command && book.entries.contains_key(&step.node) {
            book.cut_off(sim, step.node)?;
        }
        if step.cause == Cause::Crash {
            book.channels.crash(step.node);
            book.pings.retain(|(node, ..), _| *node != step.node);
            book.adopting.remove(&step.node);
        }
        if matches!(step.cause, Cause::Event(Event::Stored(_)) | Cause::Crash | Cause::Start(_)) {
            book.look_at_disk(sim, step.node)?;
        }
        for output in step.outputs {
            if let Output::Observed(seen) = output {
                look(book, sim, step, seen)?;
            }
        }
        if step.cause == Cause::Command && book.entries.contains_key(&step.node) {
            book.hung_up(step.node)?;
        }
        Ok(())
    });
}

/// What is to be known of a step of who lies, and is not judged.
fn listen(book: &mut Book, sim: &Sim<Actor>, step: &Step<'_, Seen>) {
    // Who is told something there has been reached, whatever it does then.
    let _ = book.ledger.look(sim, step);
    for output in step.outputs {
        if let Output::Observed(Seen::Published(record)) = output {
            book.publications.push((step.node, (**record).clone()));
        }
    }
}

fn look(book: &mut Book, sim: &Sim<Actor>, step: &Step<'_, Seen>, seen: &Seen) -> Result<(), String> {
    let (at, node) = (sim.now(), step.node);
    match seen {
        Seen::Published(record) => book.publish(sim, node, record)?,
        Seen::ChannelUp { peer, conn, stream, origin } => {
            if !book.members().contains(peer) {
                return Err(format!("C1: a channel with {peer}, which is no member"));
            }
            let own = PeerId::from_public_key(&book.entries[&node].public_key);
            let told = !book.removed.contains(&own) && !book.untold.contains(&node);
            if told && book.removed.contains(peer) {
                return Err(format!("C1: a channel with {peer}, which was removed"));
            }
            if book.entries[&node].lock_record.is_none() {
                return Err(format!("C1: a stranger has a channel with {peer}"));
            }
            let other_end = book.entries.keys().find(|other| {
                let other = sim.machine(**other).and_then(Actor::as_node);
                other.is_some_and(|other| other.has_stream(stream.peer()))
            });
            if let Some(other) = other_end
                && PeerId::from_public_key(&book.entries[other].public_key) != *peer
            {
                return Err(format!("C1: the channel with {peer} leads to {other}"));
            }
            book.channels.up(node, *peer, *conn, *stream);
            book.ups.push(Up { at, node, peer: *peer, origin: *origin });
        }
        Seen::ChannelDown { peer, conn, reason } => {
            book.downs.push(Down { at, node, peer: *peer, reason: *reason });
            // Of two processes with one key each knows its own channels only.
            let own = PeerId::from_public_key(&book.entries[&node].public_key);
            let shared = book.shared_keys.contains(peer) || book.shared_keys.contains(&own);
            let both_closed = book.channels.down(node, *peer, *conn, *reason);
            if !shared && !book.liars.contains(peer) {
                both_closed?;
            }
        }
        Seen::Notice(Notice::Ping { peer, conn, .. }) => {
            book.pings.insert((node, *peer, *conn), at);
        }
        Seen::Notice(notice @ Notice::OwnRecordSeen { seq, outcome: OwnSeen::Adopted }) => {
            book.adopting.insert(node, *seq);
            book.notices.push((at, node, *notice));
        }
        Seen::Notice(notice) => book.notices.push((at, node, *notice)),
        Seen::IntruderHeard(bytes) => return Err(format!("N3: the intruder was told {bytes} bytes")),
        Seen::IntruderFinished | Seen::IntruderClosed => book.intruders.push((node, seen.clone())),
        Seen::Rejected(RequestError::Members(error)) => {
            return Err(format!("C1: it goes on with the old members: {error}"));
        }
        Seen::Rejected(_) => {}
    }
    Ok(())
}
