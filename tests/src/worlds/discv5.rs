//! Two discv5 nodes and a network that may do anything within a budget, an attacker's doings among it.
//!
//! One of them or both begin: a PING to the other, without a session. Which node's packet arrives next is free;
//! packets are lost and delivered twice at the cost of one fault each. Time passes, and a timer fires, when no
//! packet is under way. In the worlds *in order* the packets of one direction keep their order, and overtaking and
//! a timer that fires before a packet arrives are faults too; in the others any packet may arrive next for nothing.
//! An attacker can be added, each of whose doings is a fault.
//!
//! A world is at rest when the PINGs have ended and nothing is under way. Then the faults stop, and what counts
//! is whether the two can use what they have: each asks the other once more and must be answered. In every state
//! the rules of `side` hold: who is believed, what is sent, how much is kept.

mod attacker;
mod side;

use std::net::SocketAddr;

use coracle_core::{limits::MAX_PACKET_SIZE, time::Instant};

pub use self::attacker::{Attack, Name, Shown};
use self::attacker::{Attacker, ELSEWHERE, Forged};
use self::side::{Arrived, Packet, Side};
use super::{Audited, name_of};
use crate::search::World;

/// Who begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// The first node.
    One,
    /// Both, before either has heard of the other.
    Both,
    /// The first node, and it asks the attacker.
    WithAttacker,
}

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Who begins.
    pub begins: Begins,
    /// Packets of one direction keep their order, at no cost; overtaking and lateness are faults.
    pub in_order: bool,
    /// There is an attacker.
    pub attacked: bool,
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
    /// The attacker does something.
    Attack(Attack),
}

/// The world.
pub struct Discv5 {
    now: Instant,
    variant: Variant,
    sides: [Side; 2],
    flying: Vec<Packet>,
    sent: Vec<Packet>,
    attacker: Attacker,
    /// Keys that the attacker knows, in the others' names.
    known_keys: Vec<[u8; 16]>,
    problem: Option<String>,
}

/// How many timers may fire until an undisturbed request must have been answered: those of one lost session.
const PATIENCE: u32 = 8;

impl Discv5 {
    /// A fresh world.
    pub fn new(variant: Variant) -> Self {
        let crypto = Audited::default();
        let side = |n: usize| Side::new(n, ([10, 0, n as u8, 1], 9000).into(), crypto.clone());
        let mut world = Self {
            now: Instant::from_millis(1),
            variant,
            sides: [side(0), side(1)],
            flying: Vec::new(),
            sent: Vec::new(),
            attacker: Attacker::new(),
            known_keys: Vec::new(),
            problem: None,
        };
        world.ask(0, variant.begins == Begins::WithAttacker);
        if variant.begins == Begins::Both {
            world.ask(1, false);
        }
        world
    }

    /// A PING to the other one, or to the attacker.
    fn ask(&mut self, at: usize, the_attacker: bool) {
        let other = &self.sides[1 - at];
        let whom = if the_attacker { &self.attacker.record } else { other.discovery.local_record() }.clone();
        let now = self.now;
        let side = &mut self.sides[at];
        side.history.add(1, now.as_nanos(), &[]);
        side.answered = false;
        match side.discovery.ping(now, &whom) {
            Ok(request) => side.asked = Some(request),
            Err(refused) => self.problem = Some(format!("a PING was refused: {refused}")),
        }
        self.drain(at, None);
    }

    /// Lets a node send what it has to, and reads its events.
    fn drain(&mut self, at: usize, arrived: Option<Arrived>) {
        let mut buf = [0; MAX_PACKET_SIZE];
        let other = self.sides[1 - at].id();
        let known = [other, self.attacker.id()];
        let side = &mut self.sides[at];
        while let Some((to, len)) = side.discovery.poll_transmit(&side.identity, self.now, &mut buf) {
            let packet = Packet::read(at, to, &buf[..len], &known).expect("a packet is for somebody");
            if let Err(problem) = side.sent(self.now, &packet, arrived) {
                self.problem.get_or_insert(problem);
            }
            self.sent.push(packet.clone());
            // What goes to the attacker's address is the attacker's.
            if to != SocketAddr::from(ELSEWHERE) {
                self.flying.push(packet);
            }
        }
        if let Err(problem) = side.events(other, arrived) {
            self.problem.get_or_insert(problem);
        }
    }

    fn receive(&mut self, at: usize, from: SocketAddr, bytes: &[u8]) {
        let own = self.sides[at].id();
        let the_same = |packet: &Packet| packet.from != at && packet.dest == own && packet.bytes == *bytes;
        let genuine = self.sent.iter().any(the_same);
        let arrived = Packet::read(1 - at, from, bytes, &[own]);
        let idle = |packet: Packet| {
            packet.is_challenge()
                && !self.sent.iter().any(|sent| sent.from == at && sent.nonce() == packet.nonce())
        };
        let idle_challenge = arrived.is_some_and(idle);
        let name = name_of(&[bytes]);
        self.sides[at].receive(self.now, from, bytes);
        self.drain(at, Some(Arrived { name, genuine, idle_challenge }));
        self.check_side(at);
    }

    fn check_side(&mut self, at: usize) {
        let (other, endpoint) = (self.sides[1 - at].id(), self.sides[1 - at].endpoint);
        if let Err(problem) = self.sides[at].check(other, endpoint) {
            self.problem.get_or_insert(problem);
        }
    }

    fn timer(&mut self) {
        let next = self.sides.iter().filter_map(|side| side.discovery.next_timeout()).min();
        self.now = next.map_or(self.now, |next| next.max(self.now));
        for at in 0..2 {
            let due = self.sides[at].discovery.next_timeout().is_some_and(|next| next <= self.now);
            if due {
                self.sides[at].history.add(3, self.now.as_nanos(), &[]);
                self.sides[at].discovery.handle_timeout(self.now);
                self.drain(at, None);
                self.check_side(at);
            }
        }
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

    /// What a packet under way may meet.
    fn deliveries(&self) -> Vec<(Step, u32)> {
        let mut steps = Vec::new();
        for at in 0..self.flying.len() {
            let packet = &self.flying[at];
            let before = &self.flying[..at];
            if before.iter().any(|other| other.name == packet.name) {
                continue;
            }
            let first = before.iter().all(|other| other.from != packet.from);
            if first || !self.variant.in_order {
                steps.extend([(Step::Deliver(at), 0), (Step::Lose(at), 1), (Step::Double(at), 1)]);
            } else {
                steps.push((Step::Deliver(at), 1));
            }
        }
        steps
    }
}

impl World for Discv5 {
    type Step = Step;

    fn steps(&self) -> Vec<(Step, u32)> {
        if self.flying.is_empty() && self.sides.iter().all(Side::at_rest) {
            return Vec::new();
        }
        let mut steps = self.deliveries();
        if self.flying.is_empty() || self.variant.in_order {
            steps.push((Step::Timer, u32::from(!self.flying.is_empty())));
        }
        if self.variant.attacked {
            let attacks = self.attacker.attacks(&self.sent);
            steps.extend(attacks.into_iter().map(|attack| (Step::Attack(attack), 1)));
        }
        steps
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Deliver(at) => {
                let packet = self.flying.remove(at);
                self.receive(1 - packet.from, self.sides[packet.from].endpoint, &packet.bytes);
            }
            Step::Lose(at) => drop(self.flying.remove(at)),
            Step::Double(at) => {
                let packet = self.flying[at].clone();
                self.receive(1 - packet.from, self.sides[packet.from].endpoint, &packet.bytes);
            }
            Step::Timer => self.timer(),
            Step::Attack(attack) => {
                let forged = self.attacker.forge(attack, &self.sides, &self.sent);
                if let Some(Forged { at, from, bytes, keys }) = forged {
                    self.known_keys.extend(keys);
                    self.receive(at, from, &bytes);
                }
            }
        }
    }

    fn state(&self) -> u128 {
        // Their order counts only where it is kept, and then within one direction.
        let mut flying: Vec<_> = self.flying.iter().map(|packet| (packet.from, packet.name)).collect();
        if self.variant.in_order {
            flying.sort_by_key(|(from, _)| *from);
        } else {
            flying.sort_unstable();
        }
        let flying: Vec<u8> = flying.into_iter().flat_map(|(_, name)| name.to_le_bytes()).collect();
        let [a, b] = self.sides.each_ref().map(|side| side.history.name().to_le_bytes());
        name_of(&[&a, &b, &flying, &self.now.as_nanos().to_le_bytes()])
    }

    fn check(&self) -> Result<(), String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let crypto = self.sides[0].identity.crypto();
        if crypto.reused_a_nonce() {
            return Err("N5: a key sealed two texts under one nonce".into());
        }
        if self.known_keys.iter().any(|key| crypto.has_used(key)) {
            return Err("a node seals a text with a key that the attacker knows".into());
        }
        Ok(())
    }

    fn settle(mut self) -> Result<(), String> {
        for at in 0..2 {
            self.ask(at, false);
            if !self.calm(|world| world.sides[at].at_rest()) || !self.sides[at].answered {
                return Err(format!("faults have stopped, and {} is not answered", self.sides[at].endpoint));
            }
        }
        self.check()
    }
}
