//! An attacker's end of a connection: the handshake that ships, with keys that are no member's, and lies.

use coracle_core::{
    crypto::{Identity, PublicKey, SecretKey, Signature},
    handshake::{Initiator, Options, Responder, StaticKey},
    limits::HANDSHAKE_WRITE_SIZE,
    rng::Seed,
};

use super::super::Audited;
use super::super::audited::Lie;

/// What an outsider shows for its identity. Its static key is always its own, or it could not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Face {
    /// Its own key, with a signature that holds.
    Own,
    /// A member's key, with a signature by its own.
    Claimed(usize),
    /// A member's key, with the signature over that member's static key, which everybody is shown who dials it.
    Copied(usize),
}

/// What is known of a member: its key, and its signature over its static key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) public: PublicKey,
    pub(super) signature: Signature,
}

enum Machine {
    Dialler(Initiator),
    Answerer(Responder),
}

/// One connection's end.
pub(super) struct Outsider {
    identity: Identity<Audited>,
    machine: Option<Machine>,
    held: Vec<u8>,
}

impl Outsider {
    /// With this face; `dials`: which side it is.
    pub(super) fn new(face: Face, dials: bool, members: &[Shown]) -> Self {
        let member = |n: usize| members.get(n).copied();
        let lie = match face {
            Face::Own => None,
            Face::Claimed(n) => member(n).map(|shown| Lie { public: shown.public, signature: None }),
            Face::Copied(n) => {
                member(n).map(|shown| Lie { public: shown.public, signature: Some(shown.signature) })
            }
        };
        let secret = SecretKey::from_bytes(&[99; 32]).expect("not zero");
        let identity = Identity::new(Audited::lying(lie), secret);
        let mut rng = Seed::new([99; 32]).stream("outsider");
        let key = StaticKey::new(&identity, &mut rng);
        let machine = if dials {
            Machine::Dialler(Initiator::new(&key, &mut rng, Options::default()))
        } else {
            Machine::Answerer(Responder::new(&key, &mut rng, Options::default()))
        };
        Self { identity, machine: Some(machine), held: Vec::new() }
    }

    /// Takes what arrives, and answers.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let taken = match &mut self.machine {
            Some(Machine::Dialler(machine)) => machine.handle_bytes(&self.identity, &mut self.held),
            Some(Machine::Answerer(machine)) => machine.handle_bytes(&self.identity, &mut self.held),
            None => Ok(0),
        };
        match taken {
            Ok(taken) => drop(self.held.drain(..taken)),
            Err(_) => self.machine = None,
        }
        self.write()
    }

    /// What it has to say.
    pub(super) fn write(&mut self) -> Vec<u8> {
        let mut buf = [0; HANDSHAKE_WRITE_SIZE];
        let mut out = Vec::new();
        loop {
            let len = match &mut self.machine {
                Some(Machine::Dialler(machine)) => machine.poll_write(&self.identity, &mut buf),
                Some(Machine::Answerer(machine)) => machine.poll_write(&self.identity, &mut buf),
                None => 0,
            };
            if len == 0 {
                return out;
            }
            out.extend_from_slice(&buf[..len]);
        }
    }

    /// Whether its own handshake is through, and how many bytes came after that.
    pub(super) fn finished(&self) -> Option<usize> {
        let finished = match &self.machine {
            Some(Machine::Dialler(machine)) => machine.is_finished(),
            Some(Machine::Answerer(machine)) => machine.is_finished(),
            None => false,
        };
        finished.then_some(self.held.len())
    }

    /// Whether it is the dialling side.
    pub(super) const fn dials(&self) -> bool {
        matches!(self.machine, Some(Machine::Dialler(_)))
    }

    /// The signature it was shown.
    pub(super) fn shown(&self) -> Option<Signature> {
        self.identity.crypto().last_seen_signature()
    }
}
