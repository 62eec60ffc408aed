//! One of the two nodes, what it was fed, and the rules that it is watched by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use coracle_core::{
    crypto::{Identity, SecretKey},
    discovery::{
        Config, Discovery, Event, RequestId,
        packet::{self, ChallengeData, Nonce},
    },
    id::NodeId,
    record::{Builder, Record},
    rng::Seed,
    time::Instant,
};

use super::super::{Audited, History, name_of};
use crate::symbolic::Symbolic;

/// How long a challenge of this world's nodes may be answered.
const CHALLENGE_LIFETIME: Duration = Duration::from_secs(2);
/// Challenges of this world's nodes: so few that two attacks overfill the pool.
const CHALLENGES: usize = 2;
/// Sessions: one for each name and address that there are.
const SESSIONS: usize = 4;

fn config() -> Config {
    let never = Duration::from_secs(1_000_000);
    Config {
        // Only what this world is about: no PINGs and lookups of the node's own.
        fresh_check: never,
        member_check: never,
        check: never,
        refresh: never,
        bootstrap_retry: never,
        challenge_lifetime: CHALLENGE_LIFETIME,
        nodes: 8,
        sessions: SESSIONS,
        challenges: CHALLENGES,
        requests: 8,
        responses: 8,
        lookups: 1,
        talks: 1,
        prefixes: 8,
        verified_records: 8,
        events: 16,
        ..Config::default()
    }
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// The node that sent it.
    pub(super) from: usize,
    /// Where it goes.
    pub(super) to: SocketAddr,
    /// Whom its header is masked for.
    pub(super) dest: NodeId,
    pub(super) bytes: Vec<u8>,
    /// The same with the header unmasked, and where that ends.
    pub(super) open: Vec<u8>,
    pub(super) header: usize,
    pub(super) name: u128,
}

impl Packet {
    /// Unmasks what node `from` sent to this address: it is for one of these.
    pub(super) fn read(from: usize, to: SocketAddr, bytes: &[u8], dests: &[NodeId]) -> Option<Self> {
        let (dest, open, header) = dests.iter().find_map(|dest| {
            let mut open = bytes.to_vec();
            let header = packet::decode(&Symbolic, dest, &mut open).ok()?.header.len();
            Some((*dest, open, header))
        })?;
        let name = name_of(&[&[from as u8], to.to_string().as_bytes(), bytes]);
        Some(Self { from, to, dest, bytes: bytes.to_vec(), open, header, name })
    }

    pub(super) fn is_challenge(&self) -> bool {
        self.open[24] == 1
    }

    pub(super) fn nonce(&self) -> Nonce {
        self.open[25..37].try_into().expect("a nonce has twelve bytes")
    }

    fn is_handshake(&self) -> bool {
        self.open[24] == 2
    }
}

/// The key of the `n`th party.
pub(super) fn key(n: usize) -> SecretKey {
    SecretKey::from_bytes(&[n as u8 + 1; 32]).expect("not zero")
}

/// The record with this number of whoever has this identity.
pub(super) fn record(identity: &Identity<Audited>, endpoint: SocketAddr, seq: u64) -> Record {
    let SocketAddr::V4(endpoint) = endpoint else { panic!("these worlds have IPv4 only") };
    let mut builder = Builder::new();
    builder.set_ip4(Some(*endpoint.ip())).expect("room for an address");
    builder.set_udp4(Some(endpoint.port())).expect("room for a port");
    builder.sign(seq, identity).expect("room for all of it")
}

/// What arrived, for the rules.
#[derive(Clone, Copy)]
pub(super) struct Arrived {
    /// The name of the datagram.
    pub(super) name: u128,
    /// Whether the other node sent exactly this to this one.
    pub(super) genuine: bool,
    /// Whether it is a challenge that answers no packet of this node.
    pub(super) idle_challenge: bool,
}

pub(super) struct Side {
    pub(super) identity: Identity<Audited>,
    pub(super) discovery: Discovery<Audited>,
    pub(super) endpoint: SocketAddr,
    pub(super) history: History,
    pub(super) asked: Option<RequestId>,
    pub(super) answered: bool,
    /// The challenge that each packet of whoever from wherever got, when, and after how many sessions.
    challenges: BTreeMap<(Nonce, NodeId, SocketAddr), (ChallengeData, Instant, u64)>,
    /// Packets that sessions came from.
    sessions: BTreeSet<u128>,
    /// Bytes from and WHOAREYOU bytes to each address.
    bytes: BTreeMap<SocketAddr, (usize, usize)>,
    /// There was a session with the other node where it is.
    connected: bool,
}

impl Side {
    pub(super) fn new(n: usize, endpoint: SocketAddr, crypto: Audited) -> Self {
        let identity = Identity::new(crypto, key(n));
        let local = record(&identity, endpoint, 2);
        let discovery = Discovery::new(config(), &local, Seed::new([n as u8 + 1; 32]).stream("discovery"));
        Self {
            identity,
            discovery,
            endpoint,
            history: History::default(),
            asked: None,
            answered: false,
            challenges: BTreeMap::new(),
            sessions: BTreeSet::new(),
            bytes: BTreeMap::new(),
            connected: false,
        }
    }

    pub(super) fn at_rest(&self) -> bool {
        self.asked.is_none()
    }

    pub(super) fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let dropped = |side: &Self| {
            let counters = side.discovery.counters();
            counters.malformed_packet
                + counters.own_id
                + counters.challenge_unsolicited
                + counters.handshake_unexpected
        };
        let before = dropped(self);
        self.bytes.entry(from).or_default().0 += bytes.len();
        self.discovery.handle_datagram(&self.identity, now, from, &mut bytes.to_vec());
        // What is dropped for one of these reasons is dropped before anything is changed.
        if dropped(self) == before {
            self.history.add(2, now.as_nanos() ^ u64::from(from.port()), bytes);
        }
    }

    /// What this node sent: rules of what it may.
    pub(super) fn sent(
        &mut self,
        now: Instant,
        packet: &Packet,
        arrived: Option<Arrived>,
    ) -> Result<(), String> {
        if packet.is_handshake() && arrived.is_some_and(|arrived| arrived.idle_challenge) {
            return Err("it answers a challenge that answers no packet of its own".into());
        }
        if !packet.is_challenge() {
            return Ok(());
        }
        let account = self.bytes.entry(packet.to).or_default();
        account.1 += packet.bytes.len();
        if account.1 > account.0 {
            return Err(format!("D1: more bytes of WHOAREYOU to {} than came from there", packet.to));
        }
        // Nobody but those who wait for the other's handshake keep a challenge.
        let counters = self.discovery.counters();
        let made_room = counters.challenge_crowded_out + counters.challenge_replaced > 0;
        let data: ChallengeData = packet.open[..].try_into().map_err(|_| "a WHOAREYOU of another size")?;
        let answered = (packet.nonce(), packet.dest, packet.to);
        let established = counters.sessions_established;
        let (first, at, sessions) = *self.challenges.entry(answered).or_insert((data, now, established));
        let open = sessions == established && now.since(at) < CHALLENGE_LIFETIME && !made_room;
        if first != data && open {
            return Err("one packet gets two different challenges, while the first can be answered".into());
        }
        self.challenges.insert(answered, (data, if first == data { at } else { now }, established));
        Ok(())
    }

    /// Reads its events. `other`: who the other node is.
    pub(super) fn events(&mut self, other: NodeId, arrived: Option<Arrived>) -> Result<(), String> {
        let genuine = arrived.is_some_and(|arrived| arrived.genuine);
        while let Some(event) = self.discovery.poll_event() {
            match event {
                Event::SessionEstablished { id, .. } if id == other => {
                    if !genuine {
                        return Err("a session in the other's name from what the other did not send".into());
                    }
                    if arrived.is_some_and(|arrived| !self.sessions.insert(arrived.name)) {
                        return Err("two sessions from one packet".into());
                    }
                }
                Event::Pong { request, .. } if Some(request) == self.asked => {
                    (self.asked, self.answered) = (None, true);
                    if !genuine {
                        return Err("an answer in the other's name that the other did not give".into());
                    }
                }
                Event::RequestFailed { request, .. } if Some(request) == self.asked => self.asked = None,
                _ => {}
            }
        }
        Ok(())
    }

    /// Rules of every state.
    pub(super) fn check(&mut self, other: NodeId, endpoint: SocketAddr) -> Result<(), String> {
        let (discovery, config) = (&self.discovery, config());
        for (what, count, most) in [
            ("sessions", discovery.session_count(), config.sessions),
            ("challenges", discovery.challenge_count(), config.challenges),
            ("nodes", discovery.node_count(), config.nodes),
        ] {
            if count > most {
                return Err(format!("B1: {count} {what}, where {most} are allowed"));
            }
        }
        if let Some(known) = discovery.record(&other)
            && known.seq() < 2
        {
            return Err(format!("the record {} of the other came back", known.seq()));
        }
        let connected = discovery.has_session(&other, endpoint);
        if self.connected && !connected {
            return Err("a session has gone, though there was room".into());
        }
        self.connected |= connected;
        Ok(())
    }
}
