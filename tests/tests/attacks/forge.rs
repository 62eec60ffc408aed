//! Packets that anybody can write who knows a node's id.

use coracle_core::{
    crypto::{RustCrypto, Signature},
    discovery::packet::{self, Auth},
    id::NodeId,
    limits::MAX_PACKET_SIZE,
    rng::Rng,
};

/// An ordinary packet of `src` for `dest` that decrypts under no key.
pub(crate) fn junk(src: NodeId, dest: NodeId, len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut buf = [0; MAX_PACKET_SIZE];
    let draft = packet::begin(&rng.array(), &rng.array(), &Auth::Message { src }, &mut buf).unwrap();
    let start = draft.message().start;
    rng.fill(&mut buf[start..start + len]);
    let len = packet::seal_random(&RustCrypto, &dest, &draft, len, &mut buf).unwrap();
    buf[..len].to_vec()
}

/// A handshake packet with a made-up signature, around a point that is one, and a record if one is given.
pub(crate) fn handshake(
    src: NodeId,
    dest: NodeId,
    point: &[u8; 33],
    record: &[u8],
    rng: &mut Rng,
) -> Vec<u8> {
    let mut buf = [0; MAX_PACKET_SIZE];
    let mut signature = [1; 64];
    // Below the group's order, so that it is not refused by its form.
    rng.fill(&mut signature[1..32]);
    rng.fill(&mut signature[33..]);
    let auth = Auth::Handshake { src, signature: Signature(signature), ephemeral: point, record };
    let draft = packet::begin(&rng.array(), &rng.array(), &auth, &mut buf).unwrap();
    let start = draft.message().start;
    rng.fill(&mut buf[start..start + 32]);
    let len = packet::seal_random(&RustCrypto, &dest, &draft, 32, &mut buf).unwrap();
    buf[..len].to_vec()
}

/// A WHOAREYOU for a packet whose nonce is guessed; its end, which names the place of a request, is right often.
pub(crate) fn challenge(dest: NodeId, rng: &mut Rng) -> Vec<u8> {
    let mut nonce: [u8; 12] = rng.array();
    (nonce[10], nonce[11]) = (0, nonce[11] % 2);
    let data = packet::whoareyou(&rng.array(), &nonce, &rng.array(), 0);
    let mut buf = [0; MAX_PACKET_SIZE];
    let len = packet::seal_whoareyou(&RustCrypto, &dest, &data, &mut buf).unwrap();
    buf[..len].to_vec()
}

/// Bytes of any kind and length.
pub(crate) fn garbage(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; rng.below(1400) as usize];
    rng.fill(&mut bytes);
    bytes
}
