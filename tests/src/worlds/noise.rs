//! Two whole nodes that dial each other, over connections that break, with an attacker on the path and outside.
//!
//! Which end of which connection next reads what is under way to it is free. At the cost of one fault a connection
//! breaks. An attacker, at the cost of one fault each, has a write lost or doubled, flips a bit of it, or puts anything
//! in its place that was ever written on any connection (replay, splice, reflection); and an outsider dials a node or
//! takes a dial, and shows its own identity or a lie. Time stands still until a world is at rest: nothing is under way,
//! or, where both dial, one connection is left. Then faults stop, time passes, and the two must come to one channel in
//! which both have a ping answered.
//!
//! In every state: a channel is with the other member, over a connection that leads there, and whoever has one has
//! taken nothing but what the other wrote (N1, N4, C1); no outsider is told who dials it, or anything after its
//! handshake (C1, N3); no key seals two texts under one nonce (N5). Undisturbed, the two come to one channel at once,
//! and neither is without one after it had one (C4).

mod outsider;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, SecretKey},
    discovery,
    id::PeerId,
    node::{Action, Command, Config, ConnId, Event, MIN_BUFFER, Node, Notice},
    refresh::Bound,
    rng::Seed,
    time::Instant,
};

pub use self::outsider::Face;
use self::outsider::{Outsider, Shown};
use super::{Audited, History, name_of};
use crate::search::World;

/// One thing that may happen. Numbers are those of connections in the order in which they began, 0 or 1 the end
/// (the dialler's, the other), and a write counts all that there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A dial succeeds.
    Connect(usize),
    /// All writes under way to this end arrive.
    Deliver(usize, usize),
    /// The other side's end arrives.
    Close(usize, usize),
    /// A connection breaks.
    Break(usize),
    /// The next write to this end is lost.
    Lose(usize, usize),
    /// The next write arrives at this end, and will once more.
    Double(usize, usize),
    /// The last bit of the next write to this end is another.
    Flip(usize, usize),
    /// Another write arrives at this end in place of the next one.
    Splice(usize, usize, usize),
    /// An outsider dials this node.
    Dial(usize, Face),
    /// An outsider takes this dial.
    Take(usize, Face),
}

#[derive(Default)]
struct End {
    /// The node's name of the connection, once it has one.
    name: Option<ConnId>,
    closed: bool,
    /// Writes under way to this end.
    coming: VecDeque<Vec<u8>>,
    /// Bytes here that were not taken.
    held: Vec<u8>,
    /// All bytes that were written at this end, and that arrived at it.
    written: Vec<u8>,
    read: Vec<u8>,
    up: bool,
}

/// One TCP connection. End 0 is the dialler's.
struct Link {
    /// Whose end each is; `None`: an outsider's.
    who: [Option<usize>; 2],
    connected: bool,
    ends: [End; 2],
    outsider: Option<(Face, Outsider)>,
}

/// The world.
pub struct Noise {
    nodes: [Node<Audited>; 2],
    crypto: Audited,
    both: bool,
    attacked: bool,
    now: Instant,
    deadlines: [Option<Instant>; 2],
    /// What each node was fed that may concern all its connections.
    histories: [History; 2],
    links: Vec<Link>,
    /// Every write of the past.
    writes: Vec<Vec<u8>>,
    members: Vec<Shown>,
    /// Something has disturbed the two: only their own dials have not.
    disturbed: bool,
    pinged: [bool; 2],
    /// How many notices each node has given.
    notices: [u32; 2],
    problem: Option<String>,
}

/// How long the two may take to come together after faults stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a dialler reads before message 2, after which it has a channel: the multistream header and `/noise`.
const BEFORE_PROOF: usize = 28;

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + node as u8], 3610))
}

fn secret(node: usize) -> SecretKey {
    SecretKey::from_bytes(&[1 + node as u8; 32]).expect("not zero")
}

fn node(own: usize, dials: bool, crypto: &Audited) -> Node<Audited> {
    let mut members: Vec<MemberConfig> =
        (0..2).map(|n| MemberConfig::new(crypto.public_key(&secret(n)))).collect();
    if dials {
        members[1 - own].hints.push(address(1 - own));
    }
    let mut config = Config::new(secret(own), Seed::new([own as u8; 32]), members);
    // Discovery has no part in this: none of its packets arrives.
    config.discovery = Some(discovery::Config {
        nodes: 8,
        sessions: 8,
        challenges: 8,
        prefixes: 8,
        verified_records: 8,
        requests: 8,
        responses: 8,
        talks: 1,
        ..discovery::Config::default()
    });
    config.streams = 16;
    config.bound = Bound { udp4: Some(3630), tcp4: Some(3610), ..Bound::default() };
    Node::with_crypto(Instant::ZERO, config, crypto.clone()).expect("a node can be made of this")
}

impl Noise {
    /// Two nodes, of which `both` or the first one knows where the other is.
    pub fn new(both: bool, attacked: bool) -> Self {
        let crypto = Audited::default();
        let mut world = Self {
            nodes: [node(0, true, &crypto), node(1, both, &crypto)],
            crypto,
            both,
            attacked,
            now: Instant::ZERO,
            deadlines: [None; 2],
            histories: Default::default(),
            links: Vec::new(),
            writes: Vec::new(),
            members: Vec::new(),
            disturbed: false,
            pinged: [false; 2],
            notices: [0; 2],
            problem: None,
        };
        (0..2).for_each(|n| world.act(n));
        if attacked {
            world.members = (0..2).map(|n| world.look_at(n)).collect();
        }
        world
    }

    /// What anybody learns who dials a node, and goes away.
    fn look_at(&mut self, n: usize) -> Shown {
        let at = self.dial_in(n, Face::Own);
        let mut moved = true;
        while moved && self.links[at].outsider.as_ref().is_none_or(|(_, outsider)| outsider.shown().is_none())
        {
            moved = false;
            for end in [1, 0] {
                if !self.links[at].ends[end].coming.is_empty() {
                    moved = true;
                    self.arrive(at, end);
                }
            }
        }
        let signature = self.links[at].outsider.as_ref().and_then(|(_, outsider)| outsider.shown());
        self.break_link(at);
        self.links.remove(at);
        self.writes.clear();
        let signature = signature.expect("a responder shows who it is");
        Shown { public: self.crypto.public_key(&secret(n)), signature }
    }

    fn peer(n: usize) -> PeerId {
        PeerId::from_public_key(&Audited::default().public_key(&secret(n)))
    }

    fn end_of(&self, n: usize, conn: ConnId) -> Option<(usize, usize)> {
        self.links.iter().enumerate().find_map(|(at, link)| {
            let end = (0..2).find(|end| link.who[*end] == Some(n) && link.ends[*end].name == Some(conn))?;
            Some((at, end))
        })
    }

    /// Does what a node says until it says "wait".
    fn act(&mut self, n: usize) {
        let mut buf = [0; MIN_BUFFER];
        loop {
            let now = self.now;
            match self.nodes[n].poll(now, &mut buf) {
                Action::Store { id, .. } => self.nodes[n].handle_event(now, Event::Stored(id)),
                Action::Dial { conn, .. } => {
                    let mut link = Link {
                        who: [Some(n), Some(1 - n)],
                        connected: false,
                        ends: Default::default(),
                        outsider: None,
                    };
                    link.ends[0].name = Some(conn);
                    self.links.push(link);
                }
                Action::Write { conn, len } => {
                    self.nodes[n].handle_event(now, Event::Writable(conn));
                    if let Some((link, end)) = self.end_of(n, conn) {
                        self.write(link, end, buf[..len].to_vec());
                    }
                }
                Action::Close { conn } => {
                    if let Some((link, end)) = self.end_of(n, conn) {
                        self.links[link].ends[end].closed = true;
                    }
                }
                Action::Resume { conn } => {
                    if let Some((link, end)) = self.end_of(n, conn) {
                        self.offer(link, end);
                    }
                }
                Action::Notify(notice) => self.notice(n, notice),
                Action::Resolve { id, .. } => self.nodes[n].handle_event(now, Event::Resolved(id, &[])),
                Action::Stream(_) | Action::Send { .. } => {}
                Action::Wait(deadline) => {
                    self.deadlines[n] = deadline;
                    return;
                }
            }
        }
    }

    fn write(&mut self, link: usize, end: usize, bytes: Vec<u8>) {
        let ends = &mut self.links[link].ends;
        ends[end].written.extend_from_slice(&bytes);
        if !ends[1 - end].closed {
            ends[1 - end].coming.push_back(bytes.clone());
        }
        self.writes.push(bytes);
    }

    fn notice(&mut self, n: usize, notice: Notice) {
        self.notices[n] += 1;
        match notice {
            Notice::ChannelUp { peer, conn, .. } => {
                let Some((link, end)) = self.end_of(n, conn) else { return };
                self.links[link].ends[end].up = true;
                let leads_to = self.links[link].who[1 - end];
                if !self.links[link].agrees(end) {
                    self.problem =
                        Some(format!("N4: node {n} has a channel, and read what the other never wrote"));
                }
                if leads_to != Some(1 - n) || peer != Self::peer(1 - n) {
                    self.problem = Some(format!("C1: node {n} has a channel with {leads_to:?} for {peer}"));
                }
            }
            Notice::ChannelDown { still_connected: false, .. } if !self.disturbed => {
                self.problem = Some(format!("C4: node {n} is without a channel, though nothing went wrong"));
            }
            Notice::Ping { .. } => self.pinged[n] = true,
            _ => {}
        }
    }

    /// Offers a node the bytes that it has not taken.
    fn offer(&mut self, link: usize, end: usize) {
        let now = self.now;
        let (Some(n), Some(name)) = (self.links[link].who[end], self.links[link].ends[end].name) else {
            return;
        };
        let held = &mut self.links[link].ends[end].held;
        let taken = self.nodes[n].handle_bytes(now, name, held);
        held.drain(..taken);
    }

    /// All that is under way to an end arrives.
    fn arrive_all(&mut self, link: usize, end: usize) {
        let all = self.links[link].ends[end].coming.drain(..).collect::<Vec<_>>().concat();
        self.links[link].ends[end].coming.push_front(all);
        self.arrive(link, end);
    }

    /// The next write arrives at an end.
    fn arrive(&mut self, link: usize, end: usize) {
        let Some(bytes) = self.links[link].ends[end].coming.pop_front() else { return };
        let before = self.links[link].ends[end].read.len();
        self.links[link].ends[end].read.extend_from_slice(&bytes);
        let Some(n) = self.links[link].who[end] else {
            let answer = self.links[link].outsider.as_mut().map(|(_, outsider)| outsider.receive(&bytes));
            if let Some(answer) = answer.filter(|answer| !answer.is_empty()) {
                self.write(link, end, answer);
            }
            return;
        };
        let fresh = self.links[link].ends[end].name.is_none();
        let notices = self.notices[n];
        if fresh {
            let from =
                self.links[link].who[1 - end].map_or([10, 0, 9, 9], |other| [10, 0, 0, 1 + other as u8]);
            let name = self.nodes[n].accept(self.now, (from, 40_000).into());
            self.links[link].ends[end].name = Some(name);
            self.act(n);
        }
        if !self.links[link].ends[end].closed {
            self.links[link].ends[end].held.extend_from_slice(&bytes);
            self.offer(link, end);
            self.act(n);
        }
        // But for what makes a channel, and what the node tells of, bytes change their own connection only: the
        // others cannot tell when they came. (What they were is part of the connection's name.)
        let state = &self.links[link].ends[end];
        let makes_a_channel = end == 0 && before <= BEFORE_PROOF && state.read.len() > BEFORE_PROOF;
        if fresh || notices != self.notices[n] || state.closed || makes_a_channel {
            self.record(n, 2, link, end);
        }
    }

    /// Something at this end may concern all connections of the node: it comes after all that happened on each.
    fn record(&mut self, n: usize, kind: u8, link: usize, end: usize) {
        let name = format!("{:?}", self.links[link].ends[end].name);
        self.histories[n].add(kind, self.now.as_nanos(), name.as_bytes());
        for link in &self.links {
            for end in (0..2).filter(|end| link.who[*end] == Some(n)) {
                let state = &link.ends[end];
                self.histories[n].add(3, 0, format!("{:?}", state.name).as_bytes());
                self.histories[n].add(4, 0, &state.read);
            }
        }
    }

    /// An end learns that the connection is over.
    fn hang_up(&mut self, link: usize, end: usize) {
        let state = &mut self.links[link].ends[end];
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        state.coming.clear();
        if let (Some(n), Some(name)) = (self.links[link].who[end], self.links[link].ends[end].name) {
            self.record(n, 5, link, end);
            self.nodes[n].handle_event(self.now, Event::Closed(name));
            self.act(n);
        }
    }

    fn break_link(&mut self, link: usize) {
        self.hang_up(link, 0);
        self.hang_up(link, 1);
    }

    /// An outsider's dial; which connection that is.
    fn dial_in(&mut self, n: usize, face: Face) -> usize {
        let mut outsider = Outsider::new(face, true, &self.members);
        let first = outsider.write();
        let at = self.links.len();
        self.links.push(Link {
            who: [None, Some(n)],
            connected: true,
            ends: Default::default(),
            outsider: Some((face, outsider)),
        });
        self.write(at, 0, first);
        at
    }

    /// Everything that may happen without a fault.
    fn moves(&self) -> Vec<Step> {
        let mut moves = Vec::new();
        for (at, link) in self.links.iter().enumerate() {
            if !link.connected && !link.ends[0].closed {
                moves.push(Step::Connect(at));
            }
            for end in 0..2 {
                if link.ends[end].closed || (end == 0 && !link.connected) {
                    continue;
                }
                if !link.ends[end].coming.is_empty() {
                    moves.push(Step::Deliver(at, end));
                } else if link.ends[1 - end].closed
                    && (link.ends[end].name.is_some() || link.who[end].is_none())
                {
                    moves.push(Step::Close(at, end));
                }
            }
        }
        moves
    }

    /// The connection that both use, when it is the only one that either has.
    fn only_link(&self) -> Option<usize> {
        let used = [0, 1].map(|n| {
            let view = self.nodes[n].members().next()?;
            let conn = view.channel.filter(|_| view.channels == 1)?.conn;
            self.end_of(n, conn).map(|(link, _)| link)
        });
        used[0].filter(|_| used[0] == used[1])
    }

    /// Of the connections that there were one is left, and is used: what goes on in it is the world's where only one
    /// dials.
    fn is_settled(&self) -> bool {
        let over = |link: &Link| link.ends.iter().all(|end| end.closed);
        let left = self.only_link();
        left.is_some() && self.links.iter().enumerate().all(|(at, link)| Some(at) == left || over(link))
    }

    fn deliver_all(&mut self) {
        while let Some(step) = self.moves().first().copied() {
            self.take(&step);
        }
    }

    /// Goes to the next moment that anybody waits for.
    fn tick(&mut self) {
        self.now = self.deadlines.iter().flatten().copied().min().unwrap_or(self.now).max(self.now);
        for n in 0..2 {
            self.histories[n].add(6, self.now.as_nanos(), &[]);
            self.nodes[n].handle_timeout(self.now);
            self.act(n);
        }
    }

    fn check_outsiders(&self) -> Result<(), String> {
        for (face, outsider) in self.links.iter().filter_map(|link| link.outsider.as_ref()) {
            match outsider.finished() {
                Some(_) if !outsider.dials() => {
                    return Err(format!("C1: a dialler shows an outsider ({face:?}) who it is"));
                }
                Some(more) if more > 0 => {
                    return Err(format!("N3: an outsider ({face:?}) is told something after its handshake"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl World for Noise {
    type Step = Step;

    fn steps(&self) -> Vec<(Step, u32)> {
        let moves = self.moves();
        if moves.is_empty() || (self.both && self.is_settled()) {
            return Vec::new();
        }
        let mut steps: Vec<(Step, u32)> = moves.iter().map(|step| (*step, 0)).collect();
        let mut bad = Vec::new();
        for step in moves {
            match step {
                Step::Connect(at) => {
                    bad.push(Step::Break(at));
                    if self.attacked {
                        bad.extend(self.faces().map(|face| Step::Take(at, face)));
                    }
                }
                Step::Deliver(at, end) => {
                    bad.push(Step::Break(at));
                    if self.attacked {
                        bad.extend([Step::Lose(at, end), Step::Double(at, end), Step::Flip(at, end)]);
                        let next = self.links[at].ends[end].coming.front();
                        let mut others = BTreeSet::new();
                        let fresh =
                            |i: &usize| Some(&self.writes[*i]) != next && others.insert(&self.writes[*i]);
                        bad.extend((0..self.writes.len()).filter(fresh).map(|i| Step::Splice(at, end, i)));
                    }
                }
                _ => {}
            }
        }
        if self.attacked {
            bad.extend((0..2).flat_map(|n| self.faces().map(move |face| Step::Dial(n, face))));
        }
        bad.dedup();
        steps.extend(bad.into_iter().map(|step| (step, 1)));
        steps
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Connect(at) => {
                self.links[at].connected = true;
                if let (Some(n), Some(name)) = (self.links[at].who[0], self.links[at].ends[0].name) {
                    self.record(n, 7, at, 0);
                    self.nodes[n].handle_event(self.now, Event::Connected(name));
                    self.act(n);
                }
            }
            Step::Deliver(at, end) => self.arrive_all(at, end),
            Step::Close(at, end) => self.hang_up(at, end),
            Step::Break(at) => {
                self.disturbed = true;
                self.break_link(at);
            }
            Step::Lose(at, end) => {
                self.disturbed = true;
                self.links[at].ends[end].coming.pop_front();
            }
            Step::Double(at, end) => {
                self.disturbed = true;
                let coming = &mut self.links[at].ends[end].coming;
                coming.extend(coming.front().cloned());
                coming.rotate_right(1);
                self.arrive(at, end);
            }
            Step::Flip(at, end) => {
                self.disturbed = true;
                if let Some(last) = self.links[at].ends[end].coming.front_mut().and_then(|w| w.last_mut()) {
                    *last ^= 1;
                }
                self.arrive(at, end);
            }
            Step::Splice(at, end, write) => {
                self.disturbed = true;
                if let Some(next) = self.links[at].ends[end].coming.front_mut() {
                    next.clone_from(&self.writes[write]);
                }
                self.arrive(at, end);
            }
            // Not the two's own business: what they have must not suffer.
            Step::Dial(n, face) => drop(self.dial_in(n, face)),
            Step::Take(at, face) => {
                self.disturbed = true;
                self.links[at].who[1] = None;
                self.links[at].outsider = Some((face, Outsider::new(face, false, &self.members)));
                self.take(&Step::Connect(at));
            }
        }
    }

    fn state(&self) -> u128 {
        // Which connection began first is nobody's concern, but by which name its dialler knows it.
        let mut links: Vec<u128> = self.links.iter().map(Link::name).collect();
        links.sort_unstable();
        let links: Vec<u8> = links.into_iter().flat_map(u128::to_le_bytes).collect();
        let [a, b] = self.histories.each_ref().map(|history| history.name().to_le_bytes());
        name_of(&[&a, &b, &links, &[u8::from(self.disturbed)]])
    }

    fn check(&self) -> Result<(), String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if self.crypto.reused_a_nonce() {
            return Err("N5: a key sealed two texts under one nonce".into());
        }
        self.check_outsiders()
    }

    fn settle(mut self) -> Result<(), String> {
        if !self.disturbed && self.only_link().is_none() {
            return Err("C4: nothing went wrong, and the two have not come to one channel".into());
        }
        let until = self.now + PATIENCE;
        self.disturbed = true;
        self.pinged = [false; 2];
        let mut asked = false;
        while self.pinged != [true; 2] {
            self.deliver_all();
            if self.only_link().is_some() && !asked {
                asked = true;
                for n in 0..2 {
                    // Whoever is answered already need not ask.
                    let _ = self.nodes[n].request(self.now, Command::Ping(Self::peer(1 - n)));
                    self.act(n);
                }
                self.deliver_all();
            }
            if self.now >= until {
                return Err(
                    "faults have stopped, and the two do not come to one channel that is answered".into()
                );
            }
            if self.pinged != [true; 2] {
                self.tick();
            }
        }
        self.deliver_all();
        if self.only_link().is_none() {
            return Err("the two have pings answered, and not one channel".into());
        }
        self.check()
    }
}

impl Noise {
    /// The identities that an outsider can show.
    fn faces(&self) -> impl Iterator<Item = Face> + use<> {
        let members = 0..self.members.len();
        std::iter::once(Face::Own).chain(members.flat_map(|n| [Face::Claimed(n), Face::Copied(n)]))
    }
}

impl Link {
    /// Whether all that this end has taken was written by the other.
    fn agrees(&self, end: usize) -> bool {
        let (reader, writer) = (&self.ends[end], &self.ends[1 - end]);
        let taken = reader.read.len() - reader.held.len();
        writer.written.starts_with(&reader.read[..taken])
    }

    fn name(&self) -> u128 {
        let mut history = History::default();
        let face = self.outsider.as_ref().map(|(face, _)| face);
        history.add(0, u64::from(self.connected), format!("{:?} {face:?}", self.who).as_bytes());
        for end in &self.ends {
            history.add(u8::from(end.closed), u64::from(end.up), format!("{:?}", end.name).as_bytes());
            end.coming.iter().for_each(|write| history.add(1, 0, write));
            history.add(2, 0, &end.held);
            history.add(3, 0, &end.written);
            history.add(4, 0, &end.read);
        }
        history.name()
    }
}
