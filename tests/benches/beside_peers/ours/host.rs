//! A discovery node without a network, and a puppet that says to it what it is told to.

use std::net::{Ipv4Addr, SocketAddr};

use coracle_core::{
    crypto::Identity,
    discovery::{
        Config, Discovery, Event,
        keys::{self, Ephemeral, Keys},
        message::{self, Message, WireId},
        packet::{self, Auth},
    },
    limits::MAX_PACKET_SIZE,
    record::{Builder, Record},
    rng::{Rng, Seed},
    time::Instant,
};

use crate::backend::{Backend, identity};

pub(crate) type Buf = [u8; MAX_PACKET_SIZE];

/// Where the node with this number is.
pub(crate) fn endpoint(number: u32) -> SocketAddr {
    (Ipv4Addr::from(0x7f00_0000 + number), 9000).into()
}

/// The record of the node with this number, at [`endpoint`].
pub(crate) fn record<B: Backend>(identity: &Identity<B>, number: u32, seq: u64) -> Record {
    record_at(identity, endpoint(number), seq)
}

pub(crate) fn record_at<B: Backend>(identity: &Identity<B>, endpoint: SocketAddr, seq: u64) -> Record {
    let SocketAddr::V4(at) = endpoint else { panic!("IPv4 only here") };
    let mut builder = Builder::new();
    builder
        .set_ip4(Some(*at.ip()))
        .unwrap()
        .set_udp4(Some(at.port()))
        .unwrap()
        .set_tcp4(Some(at.port()))
        .unwrap();
    builder.sign(seq, identity).unwrap()
}

pub(crate) fn rng(number: u32) -> Rng {
    let mut seed = [3; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    Seed::new(seed).stream("discovery")
}

/// A node of ours.
pub(crate) struct Host<B: Backend> {
    pub(crate) identity: Identity<B>,
    pub(crate) discovery: Discovery<B>,
    pub(crate) endpoint: SocketAddr,
}

impl<B: Backend> Host<B> {
    pub(crate) fn new(number: u32, config: Config) -> Self {
        Self::at(number, endpoint(number), config)
    }

    pub(crate) fn at(number: u32, endpoint: SocketAddr, config: Config) -> Self {
        let identity = identity::<B>(number);
        let record = record_at(&identity, endpoint, 1);
        Self { discovery: Discovery::new(config, &record, rng(number)), identity, endpoint }
    }

    pub(crate) fn handle(&mut self, now: Instant, from: SocketAddr, bytes: &mut [u8]) {
        self.discovery.handle_datagram(&self.identity, now, from, bytes);
    }

    pub(crate) fn poll(&mut self, now: Instant, buf: &mut Buf) -> Option<(SocketAddr, usize)> {
        self.discovery.poll_transmit(&self.identity, now, buf)
    }

    /// Throws away what it would send, and returns what it tells.
    pub(crate) fn settle(&mut self, now: Instant) -> Vec<Event> {
        while self.poll(now, &mut [0; MAX_PACKET_SIZE]).is_some() {}
        std::iter::from_fn(|| self.discovery.poll_event()).collect()
    }
}

/// A peer with a session, made of the public codec alone.
pub(crate) struct Puppet<B: Backend> {
    pub(crate) identity: Identity<B>,
    pub(crate) record: Record,
    pub(crate) endpoint: SocketAddr,
    keys: Keys,
    rng: Rng,
}

impl<B: Backend> Puppet<B> {
    /// Opens a session with `host`.
    pub(crate) fn connect(number: u32, host: &mut Host<B>, now: Instant) -> Self {
        let (identity, endpoint, mut rng) = (identity::<B>(number), endpoint(number), rng(number));
        let record = record(&identity, number, 1);
        let mut buf = [0; MAX_PACKET_SIZE];
        let len = unknown_packet(&identity, host, &mut rng, &mut buf);
        host.handle(now, endpoint, &mut buf[..len]);
        let (_, len) = host.poll(now, &mut buf).expect("a WHOAREYOU");
        let crypto = identity.crypto();
        let packet = packet::decode(crypto, &identity.node_id(), &mut buf[..len]).unwrap();
        let Auth::WhoAreYou { data, .. } = packet.auth else { panic!("a WHOAREYOU") };
        let data = *data;
        let (len, keys) = handshake(&identity, &record, host, &data, &mut rng, &mut buf);
        host.handle(now, endpoint, &mut buf[..len]);
        assert!(host.discovery.has_session(&identity.node_id(), endpoint));
        host.settle(now);
        Self { identity, record, endpoint, keys, rng }
    }

    /// Reads the id of a request that a node sent to it.
    pub(crate) fn request_id(&self, bytes: &mut [u8]) -> WireId {
        let crypto = self.identity.crypto();
        let packet = packet::decode(crypto, &self.identity.node_id(), bytes).unwrap();
        let text = self.keys.open(crypto, &packet.nonce, packet.header, packet.message).unwrap();
        Message::decode(text).unwrap().id()
    }

    /// A packet for `host` with what `write` writes.
    pub(crate) fn say(
        &mut self,
        host: &Host<B>,
        buf: &mut Buf,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> usize {
        let nonce = self.keys.next_nonce(&mut self.rng).unwrap();
        let auth = Auth::Message { src: self.identity.node_id() };
        let draft = packet::begin(&self.rng.array(), &nonce, &auth, buf).unwrap();
        let len = write(&mut buf[draft.message()]);
        let crypto = self.identity.crypto();
        packet::seal(
            crypto,
            &host.identity.node_id(),
            &crypto.aes_gcm_key(self.keys.send()),
            &draft,
            len,
            buf,
        )
        .unwrap()
    }

    /// An answer with these records.
    pub(crate) fn nodes(&mut self, host: &Host<B>, id: WireId, records: &[Record], buf: &mut Buf) -> usize {
        let records = records.iter().map(Record::as_bytes);
        self.say(host, buf, |room| message::encode_nodes(room, id, 1, records).unwrap())
    }
}

/// A packet that nobody can decrypt, from `identity` to `host`.
pub(crate) fn unknown_packet<B: Backend>(
    identity: &Identity<B>,
    host: &Host<B>,
    rng: &mut Rng,
    buf: &mut Buf,
) -> usize {
    let auth = Auth::Message { src: identity.node_id() };
    let draft = packet::begin(&rng.array(), &rng.array(), &auth, buf).unwrap();
    packet::seal_random(identity.crypto(), &host.identity.node_id(), &draft, 32, buf).unwrap()
}

/// A handshake packet with a PING from `identity` to `host`, for the challenge `data`.
pub(crate) fn handshake<B: Backend>(
    identity: &Identity<B>,
    record: &Record,
    host: &Host<B>,
    data: &packet::ChallengeData,
    rng: &mut Rng,
    buf: &mut Buf,
) -> (usize, Keys) {
    let (crypto, dest, src) = (identity.crypto(), host.identity.node_id(), identity.node_id());
    let Ephemeral { secret, public: ephemeral } = Ephemeral::draw(crypto, rng).unwrap();
    let shared = crypto.ecdh(&secret, host.identity.public_key()).unwrap();
    let mut keys = Keys::initiator(crypto, &shared, &src, &dest, data);
    let signature = keys::sign_id(identity, data, &ephemeral, &dest);
    let auth = Auth::Handshake { src, signature, ephemeral: &ephemeral, record: record.as_bytes() };
    let nonce = keys.next_nonce(rng).unwrap();
    let draft = packet::begin(&rng.array(), &nonce, &auth, buf).unwrap();
    let ping = Message::Ping { id: WireId::new(&[1]).unwrap(), enr_seq: record.seq() };
    let len = ping.encode(&mut buf[draft.message()]).unwrap();
    (packet::seal(crypto, &dest, &crypto.aes_gcm_key(keys.send()), &draft, len, buf).unwrap(), keys)
}
