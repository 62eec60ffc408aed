//! The vector of cacophony (the suite that every Noise implementation is held against), and the
//! crate `snow` in both directions over random keys.

use super::{pair, *};
use crate::{
    handshake::xx::{self, PAYLOAD_1, PAYLOAD_2, PAYLOAD_3, Transport},
    id::PeerId,
};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn key(text: &str) -> KeyPair {
    pair(hex(text).try_into().unwrap())
}

fn place(payload: &[u8], at: usize) -> [u8; 256] {
    let mut buf = [0; 256];
    buf[at..at + payload.len()].copy_from_slice(payload);
    buf
}

/// Runs the three messages; returns them and both ends.
fn run(prologue: &[u8], keys: [KeyPair; 4], payloads: [&[u8]; 3]) -> ([Vec<u8>; 3], Transport, Transport) {
    let crypto = &RustCrypto;
    let [is, ie, rs, re] = keys;
    let mut m1 = place(payloads[0], PAYLOAD_1);
    let (a, n1) = xx::write_message_1(crypto, prologue, ie, &mut m1, payloads[0].len()).unwrap();
    let sent1 = m1[..n1].to_vec();
    let b = xx::read_message_1(crypto, prologue, re, &mut m1[..n1]).unwrap();
    assert_eq!(&m1[PAYLOAD_1..n1], payloads[0]);

    let mut m2 = place(payloads[1], PAYLOAD_2);
    let (b, n2) = b.write(crypto, &rs, &mut m2, payloads[1].len()).unwrap();
    let sent2 = m2[..n2].to_vec();
    let (a, seen, at) = a.read(crypto, &mut m2[..n2]).unwrap();
    assert_eq!((seen, &m2[at]), (rs.public, payloads[1]));

    let mut m3 = place(payloads[2], PAYLOAD_3);
    let (a, n3) = a.write(crypto, &is, &mut m3, payloads[2].len()).unwrap();
    let sent3 = m3[..n3].to_vec();
    let (b, seen, at) = b.read(crypto, &mut m3[..n3]).unwrap();
    assert_eq!((seen, &m3[at]), (is.public, payloads[2]));
    ([sent1, sent2, sent3], a, b)
}

#[test]
fn cacophony_vector() {
    let keys = [
        key("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"),
        key("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
        key("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"),
        key("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"),
    ];
    let payloads = [
        hex("4c756477696720766f6e204d69736573"),
        hex("4d757272617920526f746862617264"),
        hex("462e20412e20486179656b"),
    ];
    let prologue = hex("4a6f686e2047616c74");
    let (messages, mut a, mut b) = run(&prologue, keys, [&payloads[0], &payloads[1], &payloads[2]]);
    assert_eq!(
        messages[0],
        hex(
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573"
        )
    );
    assert_eq!(
        messages[1],
        hex(concat!(
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843",
            "81cbad1f276e038c48378ffce2b65285e08d6b68aaa3629a5a8639392490e5b9bd5269c2f1e4f488ed8831161f19b781",
            "5528f8982ffe09be9b5c412f8a0db50f8814c7194e83f23dbd8d162c9326ad"
        ))
    );
    assert_eq!(
        messages[2],
        hex(concat!(
            "c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a80ae475b9df0f169ae80a89be0865b57f",
            "58c9fea0d4ec82a286427402f113e4b6ae769a1d95941d49b25030"
        ))
    );
    let hash = hex("c8e5f64e846193be2a834104c2a009868d6c9f3bd3c186299888b488b2f1f58e");
    assert_eq!((&a.hash[..], &b.hash[..]), (&hash[..], &hash[..]));

    // The transport messages that follow, the responder's first.
    let after = [
        ("4361726c204d656e676572", "96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df"),
        (
            "4a65616e2d426170746973746520536179",
            "3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2e5c79c07f5",
        ),
        (
            "457567656e2042f6686d20766f6e2042617765726b",
            "eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09fce024b3a58502ae3f",
        ),
    ];
    for (i, (plain, sealed)) in after.iter().enumerate() {
        let (from, to) = if i % 2 == 0 { (&mut b, &mut a) } else { (&mut a, &mut b) };
        let mut text = hex(plain);
        let tag = from.send.seal(&RustCrypto, &[], &mut text).unwrap();
        text.extend(tag);
        assert_eq!(text, hex(sealed));
        assert_eq!(to.receive.open(&RustCrypto, &[], &mut text), Ok(plain.len() / 2));
    }
}

/// The same keys and payloads give byte for byte what `snow` gives, whichever side it takes.
#[test]
fn snow_agrees_in_both_directions() {
    let mut rng = Seed::new([42; 32]).stream("snow");
    for _ in 0..8 {
        let secrets: [[u8; 32]; 4] = core::array::from_fn(|_| rng.array());
        let payload: [u8; 100] = rng.array();
        let payloads = [&payload[..0], &payload[..100], &payload[..70]];
        let (ours, mut a, mut b) = run(&[], secrets.map(pair), payloads);

        let build = |own: usize, ephemeral: usize| {
            snow::Builder::new("Noise_XX_25519_ChaChaPoly_SHA256".parse().unwrap())
                .local_private_key(&secrets[own])
                .unwrap()
                .fixed_ephemeral_key_for_testing_only(&secrets[ephemeral])
        };
        let mut i = build(0, 1).build_initiator().unwrap();
        let mut r = build(2, 3).build_responder().unwrap();
        let (mut out, mut read) = ([0; 512], [0; 512]);
        for (turn, payload) in payloads.iter().enumerate() {
            let (from, to) = if turn % 2 == 0 { (&mut i, &mut r) } else { (&mut r, &mut i) };
            let n = from.write_message(payload, &mut out).unwrap();
            assert_eq!(out[..n], ours[turn], "message {}", turn + 1);
            // snow reads ours.
            let n = to.read_message(&ours[turn], &mut read).unwrap();
            assert_eq!(&read[..n], *payload);
        }
        assert_eq!(i.get_handshake_hash(), a.hash);
        assert_eq!(r.get_handshake_hash(), b.hash);
        let mut i = i.into_transport_mode().unwrap();
        let mut r = r.into_transport_mode().unwrap();
        let n = i.write_message(b"from snow", &mut out).unwrap();
        assert_eq!(b.receive.open(&RustCrypto, &[], &mut out[..n]), Ok(9));
        let mut text = b"to snow".to_vec();
        let tag = a.send.seal(&RustCrypto, &[], &mut text).unwrap();
        text.extend(tag);
        // Its initiator sent the first message with nonce 0, as ours did.
        assert_eq!(r.read_message(&text, &mut read).unwrap(), 7);
    }
}

/// The secp256k1 key pair of the peer-ids page, and the peer id that follows from it.
#[test]
fn peer_id_vector() {
    let secret = hex("53DADF1D5A164D6B4ACDB15E24AA4C5B1D3461BDBD42ABEDB0A4404D56CED8FB");
    let public = hex("037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99");
    let secret: [u8; 32] = secret.try_into().unwrap();
    let identity = Identity::new(RustCrypto, SecretKey::from_bytes(&secret).unwrap());
    assert_eq!(identity.public_key().compressed()[..], public[..]);
    let mut multihash = vec![0x00, 0x25, 0x08, 0x02, 0x12, 0x21];
    multihash.extend(&public);
    assert_eq!(identity.peer_id().to_bytes()[..], multihash[..]);
    let text = "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY";
    assert_eq!(std::format!("{}", identity.peer_id()), text);
    assert_eq!(text.parse::<PeerId>(), Ok(identity.peer_id()));
    // The other examples of that page are well formed, and no secp256k1 keys.
    for other in [
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
    ] {
        assert!(other.parse::<PeerId>().is_err());
    }
}
