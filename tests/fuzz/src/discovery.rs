//! The codec of discv5: packets and messages.

use coracle_core::{
    crypto::{RustCrypto, Secret},
    discovery::{
        message::{Message, encode_nodes},
        packet::{self, Auth},
    },
    id::NodeId,
    limits::{MAX_PACKET_SIZE, MIN_PACKET_SIZE},
};

use crate::NullCrypto;

/// Whom the packets are for.
const LOCAL: NodeId = NodeId([7; 32]);
/// Under which the test messages are sealed.
const KEY: Secret<16> = Secret::new([0; 16]);

/// A packet as it comes from the wire; with [`NullCrypto`] headers are not masked.
pub fn packet(data: &[u8]) {
    let mut bytes = data.to_vec();
    // With real masking it is noise to all but one in 2^64 inputs: it must still be refused calmly.
    let _ = packet::decode(&RustCrypto, &LOCAL, &mut bytes);
    let mut bytes = data.to_vec();
    let Ok(decoded) = packet::decode(&NullCrypto, &LOCAL, &mut bytes) else { return };
    assert!((MIN_PACKET_SIZE..=MAX_PACKET_SIZE).contains(&data.len()));
    assert_eq!(decoded.header.len() + decoded.message.len(), data.len());
    let iv = *data.first_chunk().expect("a packet has a masking IV");
    let mut out = [0; MAX_PACKET_SIZE];
    let len = match &decoded.auth {
        Auth::WhoAreYou { data: challenge, enr_seq } => {
            let id_nonce = challenge[39..55].try_into().expect("16 bytes");
            assert_eq!(packet::whoareyou(&iv, &decoded.nonce, id_nonce, *enr_seq), **challenge);
            packet::seal_whoareyou(&NullCrypto, &LOCAL, challenge, &mut out)
        }
        auth => {
            let draft = packet::begin(&iv, &decoded.nonce, auth, &mut out).expect("it fitted before");
            let text = decoded.message.len().saturating_sub(16);
            let room = draft.message();
            out[room.start..room.start + text].copy_from_slice(&decoded.message[..text]);
            packet::seal(&NullCrypto, &LOCAL, &KEY, &draft, text, &mut out)
        }
    };
    let header = decoded.header.len();
    if let Ok(len) = len {
        assert_eq!(&out[..header], &data[..header], "the header encodes to what it was");
        let mut sealed = out[..len].to_vec();
        packet::decode(&NullCrypto, &LOCAL, &mut sealed).expect("what we encode decodes");
    }
}

/// A decrypted message.
pub fn message(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return };
    let mut out = vec![0; data.len()];
    let len = message.encode(&mut out).expect("no longer than it was");
    assert_eq!(&out[..len], data, "one encoding a message");
    assert!(message.id().as_bytes().len() <= 8);
    match message {
        Message::FindNode { distances, .. } => assert!(distances.iter().all(|distance| distance <= 256)),
        Message::Nodes { id, total, records } => {
            let len = encode_nodes(&mut out, id, total as u8, records.iter()).expect("no longer than it was");
            if u8::try_from(total).is_ok() {
                assert_eq!(&out[..len], data, "all records are seen");
            }
            records.iter().for_each(crate::record);
        }
        _ => {}
    }
}
