//! A discv5 peer with full control of the wire: it says what a test tells it to say, right or wrong.
//!
//! Packets, messages, RLP and the key schedule are written here a second time, from the
//! specification and over the cryptographic crates alone, and records are those of the crate `enr`:
//! so they are an oracle for `coracle-core`'s, of which nothing is used.

use std::net::{IpAddr, SocketAddr};

use enr::Enr;
use hkdf::Hkdf;
use k256::{
    ecdsa::{
        Signature, SigningKey, VerifyingKey,
        signature::hazmat::{PrehashSigner as _, PrehashVerifier as _},
    },
    elliptic_curve::sec1::ToSec1Point as _,
};
use sha2::{Digest as _, Sha256};

pub use self::{
    message::Message,
    packet::{HANDSHAKE, ORDINARY, Packet, WHOAREYOU},
    puppet::Puppet,
    rlp::Rlp,
};

mod message;
mod packet;
mod puppet;
mod rlp;

/// A record of the crate `enr`.
pub type PeerRecord = Enr<SigningKey>;

/// The two keys of a session, as this side uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Encrypts what this side sends.
    pub send: [u8; 16],
    /// Decrypts what it receives.
    pub receive: [u8; 16],
}

/// The authdata of a handshake packet, and the keys it leads to.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the fields are the specification's
pub struct Handshake {
    pub src: [u8; 32],
    pub signature_size: u8,
    pub key_size: u8,
    pub signature: Vec<u8>,
    pub ephemeral: Vec<u8>,
    pub record: Vec<u8>,
    pub session: Session,
}

impl Handshake {
    fn authdata(&self) -> Vec<u8> {
        let mut authdata = self.src.to_vec();
        authdata.extend([self.signature_size, self.key_size]);
        for part in [&self.signature, &self.ephemeral, &self.record] {
            authdata.extend(part);
        }
        authdata
    }
}

/// What a handshake packet to this peer held.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The keys.
    pub session: Session,
    /// The message.
    pub message: Message,
    /// The record as RLP; empty when it was left out.
    pub record: Vec<u8>,
}

/// A peer: a key, a record, and a source of bytes that is the same in each run.
#[derive(Clone, Debug)]
pub struct RawPeer {
    key: SigningKey,
    record: PeerRecord,
    drawn: u64,
}

impl RawPeer {
    /// The peer with the key `[number; 32]` (1 to 254) whose record names no endpoint.
    pub fn new(number: u8) -> Self {
        Self::with_key(&[number; 32], None)
    }

    /// The peer with this key, whose first record names `endpoint`.
    pub fn with_key(key: &[u8; 32], endpoint: Option<SocketAddr>) -> Self {
        let key = SigningKey::from_slice(key).unwrap();
        let record = record(&key, 1, endpoint);
        Self { key, record, drawn: 0 }
    }

    /// The same peer with a new record.
    pub fn set_record(&mut self, seq: u64, endpoint: Option<SocketAddr>) {
        self.record = record(&self.key, seq, endpoint);
    }

    /// The key, for signing what should not be signed.
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The record.
    pub const fn record(&self) -> &PeerRecord {
        &self.record
    }

    /// The node id.
    pub fn id(&self) -> [u8; 32] {
        self.record.node_id().raw()
    }

    /// Bytes that never come twice.
    pub fn draw<const N: usize>(&mut self) -> [u8; N] {
        self.drawn += 1;
        let mut bytes = [0; N];
        for (turn, chunk) in bytes.chunks_mut(32).enumerate() {
            let seed = [self.drawn.to_be_bytes(), (turn as u64).to_be_bytes()].concat();
            let block = sha256(&[b"raw peer", &self.id(), &seed]);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        bytes
    }

    /// An ordinary packet with nothing in it yet.
    pub fn ordinary(&mut self) -> Packet {
        Packet::new(self.draw(), ORDINARY, self.draw(), self.id().to_vec())
    }

    /// A packet that nobody can decrypt: it asks for a challenge (discv5 theory, step 1).
    pub fn random_packet(&mut self) -> Packet {
        let mut packet = self.ordinary();
        packet.message = self.draw::<44>().to_vec();
        packet
    }

    /// A message in a session.
    pub fn sealed(&mut self, session: &Session, text: &[u8]) -> Packet {
        let mut packet = self.ordinary();
        packet.seal(&session.send, text);
        packet
    }

    /// A challenge for the packet with `nonce`.
    pub fn challenge(&mut self, nonce: [u8; 12], enr_seq: u64) -> Packet {
        let mut authdata = self.draw::<16>().to_vec();
        authdata.extend(enr_seq.to_be_bytes());
        Packet::new(self.draw(), WHOAREYOU, nonce, authdata)
    }

    /// The answer to a challenge of `to`, with the record in it (discv5 theory, step 3).
    pub fn handshake(&mut self, to: &PeerRecord, challenge: &Packet) -> Handshake {
        let ephemeral = SigningKey::from_slice(&self.draw::<32>()).unwrap();
        let public = compressed(ephemeral.verifying_key());
        let (id, dest) = (self.id(), to.node_id().raw());
        let data = challenge.header();
        let secret = ecdh(&ephemeral, &to.public_key());
        let (send, receive) = derive(&secret, &data, &id, &dest);
        let signature = sign(&self.key, &id_digest(&data, &public, &dest)).to_vec();
        Handshake {
            src: id,
            signature_size: signature.len() as u8,
            key_size: public.len() as u8,
            signature,
            ephemeral: public,
            record: bytes_of(&self.record),
            session: Session { send, receive },
        }
    }

    /// The packet of a handshake, around a message.
    pub fn handshake_packet(&mut self, handshake: &Handshake, text: &[u8]) -> Packet {
        let mut packet = Packet::new(self.draw(), HANDSHAKE, self.draw(), handshake.authdata());
        packet.seal(&handshake.session.send, text);
        packet
    }

    /// Checks the answer of `from` to a challenge of this peer (discv5 theory, step 4), and panics
    /// with what is wrong with it.
    pub fn accept(&self, from: &PeerRecord, challenge: &Packet, packet: &Packet) -> Accepted {
        assert_eq!(packet.flag, HANDSHAKE, "a handshake packet: {packet:?}");
        let (head, rest) = packet.authdata.split_at(34);
        assert_eq!((&head[..32], &head[32..]), (&from.node_id().raw()[..], &[64, 33][..]), "authdata-head");
        let (signature, rest) = rest.split_at(64);
        let (ephemeral, record) = rest.split_at(33);
        let (src, dest, data) = (from.node_id().raw(), self.id(), challenge.header());
        let digest = id_digest(&data, ephemeral, &dest);
        let signature = Signature::from_slice(signature).expect("an id signature of 64 bytes");
        from.public_key().verify_prehash(&digest, &signature).expect("the id signature holds");
        let ephemeral = VerifyingKey::from_sec1_bytes(ephemeral).expect("a point of the curve");
        let (receive, send) = derive(&ecdh(&self.key, &ephemeral), &data, &src, &dest);
        let text = packet.open(&receive).expect("a message under the new keys");
        let message = Message::decode(&text).expect("a message");
        Accepted { session: Session { send, receive }, message, record: record.to_vec() }
    }
}

/// A record as RLP.
pub fn bytes_of(record: &PeerRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    alloy_rlp::Encodable::encode(record, &mut bytes);
    bytes
}

/// Reads a record from its RLP and verifies it.
pub fn record_of(bytes: &[u8]) -> Option<PeerRecord> {
    alloy_rlp::Decodable::decode(&mut &*bytes).ok()
}

/// A signed record.
pub fn record(key: &SigningKey, seq: u64, endpoint: Option<SocketAddr>) -> PeerRecord {
    let mut builder = Enr::builder();
    builder.seq(seq);
    match endpoint.map(|endpoint| (endpoint.ip(), endpoint.port())) {
        Some((IpAddr::V4(ip), port)) => builder.ip4(ip).udp4(port),
        Some((IpAddr::V6(ip), port)) => builder.ip6(ip).udp6(port),
        None => &mut builder,
    };
    builder.build(key).unwrap()
}

/// The logarithmic distance of two node ids.
pub fn log_distance(a: &[u8; 32], b: &[u8; 32]) -> u64 {
    let first = a.iter().zip(b).position(|(a, b)| a != b);
    first.map_or(0, |at| 256 - 8 * at as u64 - u64::from((a[at] ^ b[at]).leading_zeros()))
}

/// Signs a digest as the scheme "v4" does.
pub fn sign(key: &SigningKey, digest: &[u8; 32]) -> [u8; 64] {
    let signature: Signature = key.sign_prehash(digest).unwrap();
    signature.to_bytes().into()
}

/// What an id signature signs.
pub fn id_digest(challenge_data: &[u8], ephemeral: &[u8], dest: &[u8; 32]) -> [u8; 32] {
    sha256(&[b"discovery v5 identity proof", challenge_data, ephemeral, dest])
}

fn compressed(key: &VerifyingKey) -> Vec<u8> {
    key.to_sec1_point(true).as_bytes().to_vec()
}

fn ecdh(secret: &SigningKey, public: &VerifyingKey) -> Vec<u8> {
    let public = k256::PublicKey::from_sec1_bytes(&compressed(public)).unwrap();
    let point = public.to_projective() * secret.as_nonzero_scalar().as_ref();
    point.to_affine().to_sec1_point(true).as_bytes().to_vec()
}

/// The initiator's and the recipient's key.
fn derive(
    secret: &[u8],
    challenge_data: &[u8],
    initiator: &[u8; 32],
    recipient: &[u8; 32],
) -> ([u8; 16], [u8; 16]) {
    let info = [&b"discovery v5 key agreement"[..], initiator, recipient].concat();
    let mut keys = [0; 32];
    Hkdf::<Sha256>::new(Some(challenge_data), secret).expand(&info, &mut keys).unwrap();
    (*keys.first_chunk().unwrap(), *keys.last_chunk().unwrap())
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}
