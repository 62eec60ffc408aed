//! What somebody may do who sees every datagram, can send any from any address, and has keys of its own: replay,
//! send back, send from elsewhere, relay between two who do not speak with each other, put a message under another
//! header, challenge, and answer challenges in anybody's name with its own keys and any record it has.

use std::net::SocketAddr;

use coracle_core::{
    crypto::{Crypto as _, Identity},
    discovery::{
        keys::{self, Keys},
        message::{Message, WireId},
        packet::{self, Auth, ChallengeData, Nonce},
    },
    id::NodeId,
    limits::MAX_PACKET_SIZE,
    record::Record,
};

use super::super::Audited;
use super::side::{Packet, Side, key, record};
use crate::symbolic::Symbolic;

/// Where the attacker is. The other node was there once: its old record says so.
pub(super) const ELSEWHERE: ([u8; 4], u16) = ([10, 0, 9, 9], 9);

/// A nonce that no packet had. Its end is that of the first request of a node.
const NOBODYS: Nonce = [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 0, 0];

/// In whose name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The other node's, from its address.
    Other,
    /// The other node's, from the attacker's address.
    OtherElsewhere,
    /// The attacker's own.
    Own,
}

/// Which record goes along in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// None.
    Nothing,
    /// The attacker's own.
    Own,
    /// The newest of the other node.
    Theirs,
    /// An old one of the other node.
    Stale,
}

/// One thing that an attacker does. Numbers count all packets that were ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A packet of the past arrives again.
    Replay(usize),
    /// A packet of the past comes back to its sender, masked for it, from the one it was meant for.
    Reflect(usize),
    /// A packet of the past arrives from the attacker's address.
    Elsewhere(usize),
    /// A packet that was meant for the attacker arrives at the other node, masked for it, from its sender.
    Relay(usize),
    /// The header of one packet of the past with the message of another.
    Splice(usize, usize),
    /// A message that nobody can decrypt arrives at this node.
    Junk(usize, Name),
    /// A challenge that answers nothing arrives at this node from the other's address.
    FalseChallenge(usize),
    /// A challenge that answers this packet, from where the packet went.
    Challenge(usize),
    /// This challenge is answered with the attacker's keys, in the name of the one who was challenged.
    Handshake(usize, Shown),
}

/// A forged datagram.
pub(super) struct Forged {
    /// At which node it arrives.
    pub(super) at: usize,
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
    /// Keys that the attacker knows and that nobody else should use.
    pub(super) keys: Vec<[u8; 16]>,
}

pub(super) struct Attacker {
    identity: Identity<Audited>,
    pub(super) record: Record,
    stale: [Record; 2],
}

impl Attacker {
    pub(super) fn new() -> Self {
        let identity = Identity::new(Audited::lying(None), key(2));
        let elsewhere = ELSEWHERE.into();
        let record = record(&identity, elsewhere, 7);
        let stale = [0, 1].map(|n| {
            let identity = Identity::new(Audited::lying(None), key(n));
            self::record(&identity, elsewhere, 1)
        });
        Self { identity, record, stale }
    }

    pub(super) fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// Everything that it may do now.
    pub(super) fn attacks(&self, sent: &[Packet]) -> Vec<Attack> {
        let own = self.id();
        let mut attacks = Vec::new();
        for (at, packet) in sent.iter().enumerate() {
            attacks.extend([Attack::Replay(at), Attack::Reflect(at), Attack::Elsewhere(at)]);
            if packet.dest == own {
                attacks.push(Attack::Relay(at));
            }
            if packet.is_challenge() {
                attacks.push(Attack::Handshake(at, Shown::Own));
                if packet.dest != own {
                    let others = [Shown::Nothing, Shown::Theirs, Shown::Stale];
                    attacks.extend(others.map(|shown| Attack::Handshake(at, shown)));
                }
                continue;
            }
            attacks.push(Attack::Challenge(at));
            let alike = |other: &Packet| {
                !other.is_challenge() && other.from == packet.from && other.dest == packet.dest
            };
            let others = (0..sent.len()).filter(|other| *other != at && alike(&sent[*other]));
            attacks.extend(others.map(|other| Attack::Splice(at, other)));
        }
        for at in 0..2 {
            attacks.push(Attack::FalseChallenge(at));
            attacks.extend([Name::Other, Name::OtherElsewhere, Name::Own].map(|name| Attack::Junk(at, name)));
        }
        attacks
    }

    /// What an attack sends.
    pub(super) fn forge(&self, attack: Attack, sides: &[Side; 2], sent: &[Packet]) -> Option<Forged> {
        let as_it_is = |packet: &Packet, at, from| {
            Some(Forged { at, from, bytes: packet.bytes.clone(), keys: Vec::new() })
        };
        let endpoint = |at: usize| sides[at].endpoint;
        match attack {
            Attack::Replay(i) => as_it_is(&sent[i], 1 - sent[i].from, endpoint(sent[i].from)),
            Attack::Elsewhere(i) => as_it_is(&sent[i], 1 - sent[i].from, ELSEWHERE.into()),
            Attack::Reflect(i) => {
                let at = sent[i].from;
                Some(masked_again(&sent[i], &sent[i].open, at, sides, endpoint(1 - at)))
            }
            Attack::Relay(i) => {
                let at = 1 - sent[i].from;
                Some(masked_again(&sent[i], &sent[i].open, at, sides, endpoint(1 - at)))
            }
            Attack::Splice(i, j) => {
                let (head, tail) = (&sent[i], &sent[j]);
                let open = [&head.open[..head.header], &tail.open[tail.header..]].concat();
                let at = 1 - head.from;
                Some(masked_again(head, &open, at, sides, endpoint(head.from)))
            }
            Attack::Junk(at, name) => self.junk(at, name, sides),
            Attack::FalseChallenge(at) => challenge(at, endpoint(1 - at), &NOBODYS, sides),
            Attack::Challenge(i) => challenge(sent[i].from, sent[i].to, &sent[i].nonce(), sides),
            Attack::Handshake(i, shown) => self.handshake(&sent[i], shown, sides),
        }
    }

    fn junk(&self, at: usize, name: Name, sides: &[Side; 2]) -> Option<Forged> {
        let other = &sides[1 - at];
        let (src, from) = match name {
            Name::Other => (other.id(), other.endpoint),
            Name::OtherElsewhere => (other.id(), ELSEWHERE.into()),
            Name::Own => (self.id(), ELSEWHERE.into()),
        };
        let mut buf = [0; MAX_PACKET_SIZE];
        let draft = packet::begin(&[7; 16], &[8; 12], &Auth::Message { src }, &mut buf).ok()?;
        let len = packet::seal_random(&Symbolic, &sides[at].id(), &draft, 40, &mut buf).ok()?;
        Some(Forged { at, from, bytes: buf[..len].to_vec(), keys: Vec::new() })
    }

    fn handshake(&self, challenge: &Packet, shown: Shown, sides: &[Side; 2]) -> Option<Forged> {
        let at = challenge.from;
        let (src, dest) = (challenge.dest, sides[at].id());
        let data: ChallengeData = challenge.open[..].try_into().ok()?;
        let secret = key(8);
        let ephemeral = Symbolic.public_key(&secret).compressed();
        let shared = Symbolic.ecdh(&secret, sides[at].identity.public_key())?;
        let signature = keys::sign_id(&self.identity, &data, &ephemeral, &dest);
        let record: &[u8] = match shown {
            Shown::Nothing => &[],
            Shown::Own => self.record.as_bytes(),
            Shown::Theirs => sides[1 - at].discovery.local_record().as_bytes(),
            Shown::Stale => self.stale[1 - at].as_bytes(),
        };
        let auth = Auth::Handshake { src, signature, ephemeral: &ephemeral, record };
        let (ours, theirs) = (
            Keys::initiator(&Symbolic, &shared, &src, &dest, &data),
            Keys::recipient(&Symbolic, &shared, &src, &dest, &data),
        );
        let mut buf = [0; MAX_PACKET_SIZE];
        let draft = packet::begin(&[6; 16], &[5; 12], &auth, &mut buf).ok()?;
        let ping = Message::Ping { id: WireId::new(&[1])?, enr_seq: 2 };
        let len = ping.encode(&mut buf[draft.message()]).ok()?;
        let len = packet::seal(&Symbolic, &dest, ours.send(), &draft, len, &mut buf).ok()?;
        let known = [*ours.send().expose(), *theirs.send().expose()];
        let keys = if src == self.id() { Vec::new() } else { known.to_vec() };
        Some(Forged { at, from: challenge.to, bytes: buf[..len].to_vec(), keys })
    }
}

/// A packet whose header is masked for the node where it is to arrive.
fn masked_again(packet: &Packet, open: &[u8], at: usize, sides: &[Side; 2], from: SocketAddr) -> Forged {
    let mut bytes = open.to_vec();
    let (iv, rest) = bytes.split_at_mut(16);
    let (mut key, mut seed) = ([0; 16], [0; 16]);
    key.copy_from_slice(&sides[at].id().0[..16]);
    seed.copy_from_slice(iv);
    Symbolic.aes_ctr(&key, &seed, 0, &mut rest[..packet.header - 16]);
    Forged { at, from, bytes, keys: Vec::new() }
}

fn challenge(at: usize, from: SocketAddr, nonce: &[u8; 12], sides: &[Side; 2]) -> Option<Forged> {
    let mut buf = [0; MAX_PACKET_SIZE];
    let data = packet::whoareyou(&[7; 16], nonce, &[9; 16], 0);
    let len = packet::seal_whoareyou(&Symbolic, &sides[at].id(), &data, &mut buf).ok()?;
    Some(Forged { at, from, bytes: buf[..len].to_vec(), keys: Vec::new() })
}
