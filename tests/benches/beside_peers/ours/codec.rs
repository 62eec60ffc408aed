//! Single packets and records: what needs no state but keys.

use std::hint::black_box;

use coracle_core::{
    crypto::{Secret, packet_mask},
    discovery::{
        keys::{Ephemeral, Keys},
        message::{Message, WireId},
        packet::{self, Auth},
    },
    id::NodeId,
    limits::MAX_PACKET_SIZE,
    record::Record,
    rng::Seed,
};

use super::host::{record, rng};
use crate::{
    backend::{Backend, identity},
    measure::Op,
};

const A: NodeId = NodeId([1; 32]);
const B: NodeId = NodeId([2; 32]);

fn keys<C: Backend>(crypto: &C) -> (Keys, Keys) {
    let (shared, challenge) = (Secret::new([7; 33]), [3; 63]);
    (
        Keys::initiator(crypto, &shared, &A, &B, &challenge),
        Keys::recipient(crypto, &shared, &A, &B, &challenge),
    )
}

/// Writes a PING from `A` to `B` as a packet, from the message to the masked header, as a session does whose keys
/// are `kept` ready, or else one that has them in 16 bytes.
fn writer<C: Backend>(crypto: C, kept: bool) -> impl FnMut(&mut [u8; MAX_PACKET_SIZE]) -> usize {
    let (mut keys, _) = keys(&crypto);
    let ready = kept.then(|| keys.ready(&crypto, &B));
    let mut rng = Seed::new([1; 32]).stream("bench");
    let id = WireId::new(&[0x81, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    move |buf| {
        let nonce = keys.next_nonce(&mut rng).unwrap();
        let draft = packet::begin(&rng.array(), &nonce, &Auth::Message { src: A }, buf).unwrap();
        let room = &mut buf[draft.message()];
        let len = Message::Ping { id, enr_seq: 1 }.encode(room).unwrap();
        match &ready {
            Some(ready) => packet::seal_with(&crypto, ready.mask(), ready.send(), &draft, len, buf),
            None => packet::seal(&crypto, &B, &crypto.aes_gcm_key(keys.send()), &draft, len, buf),
        }
        .unwrap()
    }
}

pub(crate) fn ping_encode<C: Backend>(kept: bool) -> Op {
    let mut write = writer(C::make(), kept);
    let mut buf = [0; MAX_PACKET_SIZE];
    Op::new(move || {
        black_box(write(black_box(&mut buf)));
    })
}

pub(crate) fn ping_open<C: Backend>(kept: bool) -> Op {
    let crypto = C::make();
    let (_, keys) = keys(&crypto);
    let ready = kept.then(|| keys.ready(&crypto, &A));
    let mut sealed = [0; MAX_PACKET_SIZE];
    let len = writer(C::make(), kept)(&mut sealed);
    let mask = packet_mask(&crypto, &B);
    let mut buf = [0; MAX_PACKET_SIZE];
    Op::new(move || {
        // It is opened in place, so each time it is another copy.
        let bytes = &mut buf[..len];
        bytes.copy_from_slice(black_box(&sealed[..len]));
        let packet = packet::decode_with(&crypto, &mask, bytes).unwrap();
        let text = match &ready {
            Some(ready) => ready.open(&crypto, &packet.nonce, packet.header, packet.message),
            None => keys.open(&crypto, &packet.nonce, packet.header, packet.message),
        };
        let text = text.unwrap();
        assert!(matches!(black_box(Message::decode(text)), Ok(Message::Ping { .. })));
    })
}

/// A record as text: what the peer reads too.
pub(crate) fn record_text() -> String {
    record(&identity::<coracle_core::crypto::RustCrypto>(1), 1, 1).to_string()
}

pub(crate) fn record_from_text<C: Backend>() -> Op {
    let (crypto, text) = (C::make(), record_text());
    Op::new(move || {
        black_box(Record::from_text(black_box(&text), &crypto).unwrap());
    })
}

pub(crate) fn record_from_rlp<C: Backend>() -> Op {
    let crypto = C::make();
    let bytes = Record::from_text(&record_text(), &crypto).unwrap().as_bytes().to_vec();
    Op::new(move || {
        black_box(Record::decode(black_box(&bytes), &crypto).unwrap());
    })
}

/// One primitive, by which figures of a peer that keeps an operation to itself are scaled.
pub(crate) fn verify<C: Backend>() -> Op {
    let identity = identity::<C>(1);
    let (digest, public) = ([5; 32], *identity.public_key());
    let signature = identity.sign(&digest);
    Op::new(move || assert!(identity.crypto().verify(black_box(&public), &digest, &signature)))
}

/// What a handshake packet with a record costs on the curve, both sides together: an ephemeral key, two agreements, a
/// signature and two checks, and two keys decompressed.
pub(crate) fn handshake_primitives<C: Backend>() -> Op {
    let [a, b] = [1, 2].map(identity::<C>);
    let mut rng = rng(1);
    let compressed = a.public_key().compressed();
    let digest = [5; 32];
    Op::new(move || {
        let crypto = a.crypto();
        let ephemeral = Ephemeral::draw(crypto, &mut rng).unwrap();
        black_box(crypto.ecdh(&ephemeral.secret, b.public_key()));
        let signature = a.sign(black_box(&digest));
        for _ in 0..2 {
            assert!(crypto.verify(black_box(a.public_key()), &digest, &signature));
        }
        black_box(crypto.decompress(black_box(&compressed)));
        let public = crypto.decompress(&ephemeral.public).unwrap();
        black_box(crypto.ecdh(b.secret(), &public));
    })
}

/// The same: AES-128-GCM over 100 bytes with a new key.
pub(crate) fn aes_gcm<C: Backend>() -> Op {
    let (crypto, mut buf, mut key) = (C::make(), [0; 100], [0; 16]);
    Op::new(move || {
        key[0] = buf[0];
        black_box(crypto.aes_gcm_seal(
            &crypto.aes_gcm_key(&Secret::new(key)),
            &[0; 12],
            &[],
            black_box(&mut buf),
        ));
    })
}
