//! An identity of a foe: it speaks the protocol well, and lies.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{HANDSHAKE, Message, Packet, PeerRecord, RawPeer, Session, WHOAREYOU, bytes_of};

/// A peer with a key of its own.
#[derive(Clone, Debug)]
pub struct Puppet {
    /// What it speaks with.
    pub peer: RawPeer,
    /// Where it is.
    pub at: SocketAddr,
    /// Whether every second packet of an answer names another total.
    pub fickle: bool,
    /// By the id of the node it has to do with.
    sessions: BTreeMap<[u8; 32], Session>,
    /// Its last challenge to each node.
    challenges: BTreeMap<[u8; 32], Packet>,
}

impl Puppet {
    /// The one with this number, its record naming where it is.
    pub fn new(number: u16, at: SocketAddr) -> Self {
        let mut key = [77; 32];
        key[1..3].copy_from_slice(&number.to_be_bytes());
        let peer = RawPeer::with_key(&key, Some(at));
        Self { peer, at, fickle: false, sessions: BTreeMap::new(), challenges: BTreeMap::new() }
    }

    /// Its record as it is sent.
    pub fn record(&self) -> Vec<u8> {
        bytes_of(self.peer.record())
    }

    /// The packet with which it begins.
    pub fn begin(&mut self, node: &PeerRecord) -> Vec<u8> {
        self.peer.random_packet().encode(&node.node_id().raw())
    }

    /// What it answers to a packet of the node. `nodes`: what it answers to a FINDNODE of these distances.
    ///
    /// # Panics
    ///
    /// If the node's handshake or message is wrong.
    pub fn hear(
        &mut self,
        node: &PeerRecord,
        bytes: &[u8],
        nodes: impl FnOnce(&Self, &[u64]) -> Vec<Vec<Vec<u8>>>,
    ) -> Vec<Vec<u8>> {
        let dest = node.node_id().raw();
        let Some(packet) = Packet::decode(&self.peer.id(), bytes) else { return Vec::new() };
        let message = match packet.flag {
            WHOAREYOU => {
                let handshake = self.peer.handshake(node, &packet);
                self.sessions.insert(dest, handshake.session);
                let ping = Message::Ping { id: self.peer.draw::<4>().to_vec(), enr_seq: 1 };
                let packet = self.peer.handshake_packet(&handshake, &ping.encode());
                return vec![packet.encode(&dest)];
            }
            HANDSHAKE => {
                let Some(challenge) = self.challenges.remove(&dest) else { return Vec::new() };
                let accepted = self.peer.accept(node, &challenge, &packet);
                self.sessions.insert(dest, accepted.session);
                accepted.message
            }
            _ => {
                let session = self.sessions.get(&dest);
                let text = session.and_then(|session| packet.open(&session.receive));
                let Some(text) = text else {
                    let challenge = self.peer.challenge(packet.nonce, 0);
                    self.challenges.insert(dest, challenge.clone());
                    return vec![challenge.encode(&dest)];
                };
                Message::decode(&text).unwrap()
            }
        };
        let id = message.id().to_vec();
        let seq = self.peer.record().seq();
        let answers = match message {
            Message::Ping { .. } => {
                let endpoint = node.udp4_socket().unwrap();
                let (ip, port) = ((*endpoint.ip()).into(), endpoint.port());
                vec![Message::Pong { id, enr_seq: seq, ip, port }]
            }
            Message::FindNode { distances, .. } => {
                let packets = nodes(self, &distances);
                let total = packets.len() as u64;
                let other = |turn: usize| if self.fickle { turn as u64 % 2 } else { 0 };
                let answer =
                    |(turn, records)| Message::Nodes { id: id.clone(), total: total + other(turn), records };
                packets.into_iter().enumerate().map(answer).collect()
            }
            Message::TalkReq { .. } => vec![Message::TalkResp { id, response: Vec::new() }],
            _ => Vec::new(),
        };
        let Some(session) = self.sessions.get(&dest).copied() else { return Vec::new() };
        answers.iter().map(|answer| self.peer.sealed(&session, &answer.encode()).encode(&dest)).collect()
    }
}
