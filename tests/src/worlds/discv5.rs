//! Two discv5 nodes, a network that may do anything within a budget, and an attacker who holds no key of theirs.
//!
//! One of them or both begin: a PING to the other, without a session. Every order of deliveries is tried, with
//! packets lost, delivered twice, too late (a timer fires first), replayed, sent back to where they came from, or
//! from another address, and with junk and false challenges between. Time passes for nothing when no packet is
//! under way, and else at the cost of one fault.
//!
//! A world is at rest when both PINGs have ended and nothing is under way. Then the faults stop, and what counts
//! is whether the two can use what they have: each asks the other once more and must be answered.

use std::net::SocketAddr;
use std::time::Duration;

use coracle_core::{
    crypto::{Identity, SecretKey},
    discovery::{
        Config, Discovery, Event, RequestId,
        packet::{self, Auth},
    },
    limits::MAX_PACKET_SIZE,
    record::{Builder, Record},
    rng::Seed,
    time::Instant,
};

use super::{Audited, History, name_of};
use crate::search::World;

/// Who begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// The first node.
    One,
    /// Both, before either has heard of the other.
    Both,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A packet arrives; the number counts those under way, oldest first.
    Deliver(usize),
    /// A packet is lost.
    Lose(usize),
    /// A packet arrives, and will once more.
    Double(usize),
    /// The next timer of a node fires.
    Timer,
    /// A packet of the past arrives again; the number counts all that were ever sent.
    Replay(usize),
    /// A packet of the past is sent back to its sender, as if by the one it was meant for.
    Reflect(usize),
    /// A packet of the past arrives from an address that is not its sender's.
    Elsewhere(usize),
    /// A message that nobody can decrypt arrives at this node, in the other's name and from its address.
    Junk(usize),
    /// A challenge that answers nothing arrives at this node from the other's address.
    FalseChallenge(usize),
}

struct Side {
    identity: Identity<Audited>,
    discovery: Discovery,
    endpoint: SocketAddr,
    history: History,
    asked: Option<RequestId>,
    answered: bool,
}

#[derive(Clone)]
struct Packet {
    from: usize,
    bytes: Vec<u8>,
    name: u128,
}

/// The world.
pub struct Discv5 {
    now: Instant,
    sides: [Side; 2],
    flying: Vec<Packet>,
    sent: Vec<Packet>,
    attacker: bool,
    problem: Option<String>,
}

/// Where the attacker sends from.
const ELSEWHERE: ([u8; 4], u16) = ([10, 0, 0, 9], 9);
/// How many timers may fire until an undisturbed request must have been answered: those of one lost session.
const PATIENCE: u32 = 8;

fn config() -> Config {
    let never = Duration::from_secs(1_000_000);
    Config {
        // Only what this world is about: no PINGs and lookups of the node's own.
        fresh_check: never,
        member_check: never,
        check: never,
        refresh: never,
        bootstrap_retry: never,
        nodes: 8,
        sessions: 4,
        challenges: 8,
        requests: 8,
        responses: 8,
        lookups: 1,
        talks: 1,
        events: 16,
        ..Config::default()
    }
}

impl Side {
    fn new(n: u8, crypto: Audited) -> Self {
        #[allow(clippy::unwrap_used)] // constants
        let identity = Identity::new(crypto, SecretKey::from_bytes(&[n; 32]).unwrap());
        let ip = [10, 0, 0, n];
        #[allow(clippy::unwrap_used)] // constants
        let record = {
            let mut builder = Builder::new();
            builder.set_ip4(Some(ip.into())).unwrap().set_udp4(Some(9000)).unwrap();
            builder.sign(1, &identity).unwrap()
        };
        let discovery = Discovery::new(config(), &record, Seed::new([n; 32]).stream("discovery"));
        let endpoint = SocketAddr::from((ip, 9000));
        Self { identity, discovery, endpoint, history: History::default(), asked: None, answered: false }
    }

    fn at_rest(&self) -> bool {
        self.asked.is_none()
    }
}

impl Discv5 {
    /// A fresh world. With `attacker`, what needs nobody's key may happen too.
    pub fn new(begins: Begins, attacker: bool) -> Self {
        let crypto = Audited::default();
        let mut world = Self {
            now: Instant::from_millis(1),
            sides: [Side::new(1, crypto.clone()), Side::new(2, crypto)],
            flying: Vec::new(),
            sent: Vec::new(),
            attacker,
            problem: None,
        };
        world.ask(0);
        if begins == Begins::Both {
            world.ask(1);
        }
        world
    }

    fn record(&self, at: usize) -> Record {
        self.sides[at].discovery.local_record().clone()
    }

    /// A PING to the other one.
    fn ask(&mut self, at: usize) {
        let (now, other) = (self.now, self.record(1 - at));
        let side = &mut self.sides[at];
        side.history.add(1, now.as_nanos(), &[]);
        side.answered = false;
        match side.discovery.ping(now, &other) {
            Ok(request) => side.asked = Some(request),
            Err(refused) => self.problem = Some(format!("a PING was refused: {refused}")),
        }
        self.drain(at);
    }

    /// Lets a node send what it has to, and reads its events.
    fn drain(&mut self, at: usize) {
        let mut buf = [0; MAX_PACKET_SIZE];
        let side = &mut self.sides[at];
        while let Some((to, len)) = side.discovery.poll_transmit(&side.identity, self.now, &mut buf) {
            let bytes = buf[..len].to_vec();
            let name = name_of(&[&[at as u8], &bytes]);
            let packet = Packet { from: at, bytes, name };
            self.sent.push(packet.clone());
            // What goes to the attacker's address is the attacker's, who has no use for it.
            if to != SocketAddr::from(ELSEWHERE) {
                self.flying.push(packet);
            }
        }
        while let Some(event) = side.discovery.poll_event() {
            match event {
                Event::Pong { request, .. } if Some(request) == side.asked => {
                    (side.asked, side.answered) = (None, true);
                }
                Event::RequestFailed { request, .. } if Some(request) == side.asked => side.asked = None,
                _ => {}
            }
        }
    }

    fn receive(&mut self, at: usize, from: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let side = &mut self.sides[at];
        side.history.add(2, now.as_nanos() ^ u64::from(from.port()), bytes);
        let mut bytes = bytes.to_vec();
        side.discovery.handle_datagram(&side.identity, now, from, &mut bytes);
        self.drain(at);
    }

    fn timer(&mut self) {
        let next = self.sides.iter().filter_map(|side| side.discovery.next_timeout()).min();
        self.now = next.map_or(self.now, |next| next.max(self.now));
        for at in 0..2 {
            let due = self.sides[at].discovery.next_timeout().is_some_and(|next| next <= self.now);
            if due {
                self.sides[at].history.add(3, self.now.as_nanos(), &[]);
                self.sides[at].discovery.handle_timeout(self.now);
                self.drain(at);
            }
        }
    }

    /// Something that looks like a packet of the other one's to anybody who has no key.
    fn forged(&self, at: usize, kind: Step) -> Vec<u8> {
        let (to, from) = (self.sides[at].identity.node_id(), self.sides[1 - at].identity.node_id());
        let crypto = self.sides[at].identity.crypto();
        let mut buf = [0; MAX_PACKET_SIZE];
        let len = if matches!(kind, Step::Junk(_)) {
            packet::begin(&[7; 16], &[8; 12], &Auth::Message { src: from }, &mut buf)
                .and_then(|draft| packet::seal_random(crypto, &to, &draft, 40, &mut buf))
        } else {
            let data = packet::whoareyou(&[7; 16], &[8; 12], &[9; 16], 0);
            packet::seal_whoareyou(crypto, &to, &data, &mut buf)
        };
        buf[..len.unwrap_or(0)].to_vec()
    }

    /// Undisturbed: everything arrives in its order, and time passes when nothing is under way.
    fn calm(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        let mut timers = 0;
        while !done(self) && timers < PATIENCE {
            if self.flying.is_empty() {
                timers += 1;
                self.timer();
            } else {
                self.take(&Step::Deliver(0));
            }
        }
        done(self)
    }
}

impl World for Discv5 {
    type Step = Step;

    fn steps(&self) -> Vec<(Step, u32)> {
        if self.flying.is_empty() && self.sides.iter().all(Side::at_rest) {
            return Vec::new();
        }
        let mut steps = Vec::new();
        let fresh = |at: &usize| self.flying[..*at].iter().all(|p| p.name != self.flying[*at].name);
        for at in (0..self.flying.len()).filter(fresh) {
            steps.extend([(Step::Deliver(at), 0), (Step::Lose(at), 1), (Step::Double(at), 1)]);
        }
        steps.push((Step::Timer, u32::from(!self.flying.is_empty())));
        if self.attacker {
            let past = 0..self.sent.len();
            steps.extend(
                past.flat_map(|at| [Step::Replay(at), Step::Reflect(at), Step::Elsewhere(at)])
                    .map(|step| (step, 1)),
            );
            steps.extend(
                (0..2).flat_map(|at| [Step::Junk(at), Step::FalseChallenge(at)]).map(|step| (step, 1)),
            );
        }
        steps
    }

    fn take(&mut self, step: &Step) {
        let endpoint = |at: usize| self.sides[at].endpoint;
        match *step {
            Step::Deliver(at) => {
                let packet = self.flying.remove(at);
                self.receive(1 - packet.from, self.sides[packet.from].endpoint, &packet.bytes);
            }
            Step::Lose(at) => drop(self.flying.remove(at)),
            Step::Double(at) => {
                let packet = self.flying[at].clone();
                self.receive(1 - packet.from, endpoint(packet.from), &packet.bytes);
            }
            Step::Timer => self.timer(),
            Step::Replay(at) => {
                let packet = self.sent[at].clone();
                self.receive(1 - packet.from, endpoint(packet.from), &packet.bytes);
            }
            Step::Reflect(at) => {
                let packet = self.sent[at].clone();
                self.receive(packet.from, endpoint(1 - packet.from), &packet.bytes);
            }
            Step::Elsewhere(at) => {
                let packet = self.sent[at].clone();
                self.receive(1 - packet.from, ELSEWHERE.into(), &packet.bytes);
            }
            Step::Junk(at) | Step::FalseChallenge(at) => {
                let bytes = self.forged(at, *step);
                self.receive(at, endpoint(1 - at), &bytes);
            }
        }
    }

    fn state(&self) -> u128 {
        let mut flying: Vec<u128> = self.flying.iter().map(|packet| packet.name).collect();
        flying.sort_unstable();
        let flying: Vec<u8> = flying.into_iter().flat_map(u128::to_le_bytes).collect();
        let [a, b] = self.sides.each_ref().map(|side| side.history.name().to_le_bytes());
        name_of(&[&a, &b, &flying, &self.now.as_nanos().to_le_bytes()])
    }

    fn check(&self) -> Result<(), String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if self.sides[0].identity.crypto().reused_a_nonce() {
            return Err("a key sealed two texts under one nonce".into());
        }
        if let Some(side) = self.sides.iter().find(|side| side.discovery.session_count() > 1) {
            return Err(format!("{} has two sessions", side.endpoint));
        }
        Ok(())
    }

    fn settle(mut self) -> Result<(), String> {
        for at in 0..2 {
            self.ask(at);
            if !self.calm(|world| world.sides[at].at_rest()) || !self.sides[at].answered {
                return Err(format!("faults have stopped, and {} is not answered", self.sides[at].endpoint));
            }
        }
        self.check()
    }
}
