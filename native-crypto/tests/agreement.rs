//! Both implementations of `Crypto` give the same results, refusals included, and those that are published.

#![allow(clippy::unwrap_used)] // all of it is a test

use coracle_core::crypto::{AeadError, Crypto, PublicKey, RustCrypto, Secret, SecretKey, Signature};
use coracle_native_crypto::NativeCrypto;
use proptest::prelude::*;

/// The order of secp256k1's group.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    core::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

/// `order − s`: the other half of the same signature.
fn high(mut signature: [u8; 64]) -> [u8; 64] {
    let mut borrow = 0_i16;
    for i in (0..32).rev() {
        let digit = i16::from(ORDER[i]) - i16::from(signature[32 + i]) - borrow;
        borrow = i16::from(digit < 0);
        signature[32 + i] = digit.rem_euclid(256) as u8;
    }
    signature
}

fn edge_number() -> impl Strategy<Value = [u8; 32]> {
    let around = (-2_i16..3).prop_map(|by| {
        let mut number = ORDER;
        number[31] = (i16::from(number[31]) + by) as u8;
        number
    });
    let small = (0_u8..3).prop_map(|last| {
        let mut number = [0; 32];
        number[31] = last;
        number
    });
    prop_oneof![4 => any::<[u8; 32]>(), 1 => around, 1 => small, 1 => Just([0xff; 32])]
}

fn secret_key() -> impl Strategy<Value = SecretKey> {
    edge_number().prop_filter_map("in range", |bytes| SecretKey::from_bytes(&bytes).ok())
}

fn joined(a: [u8; 32], b: [u8; 32]) -> [u8; 64] {
    core::array::from_fn(|i| if i < 32 { a[i] } else { b[i - 32] })
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(48);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn keys_and_signatures(secret in secret_key(), digest in edge_number(), flip in 0_usize..64) {
        let native = NativeCrypto::new();
        let public = RustCrypto.public_key(&secret);
        prop_assert_eq!(native.public_key(&secret), public);
        prop_assert_eq!(native.decompress(&public.compressed()), Some(public));
        let signature = RustCrypto.sign(&secret, &digest);
        prop_assert_eq!(native.sign(&secret, &digest), signature);
        let mut wrong = signature;
        wrong.0[flip] ^= 1;
        let mut off_curve = *public.xy();
        off_curve[flip] ^= 1;
        let off_curve = PublicKey::from_xy(off_curve);
        for (key, signature, holds) in [
            (&public, signature, true),
            (&public, wrong, false),
            (&public, Signature(high(signature.0)), false),
            (&off_curve, signature, false),
        ] {
            prop_assert_eq!(RustCrypto.verify(key, &digest, &signature), holds);
            prop_assert_eq!(native.verify(key, &digest, &signature), holds);
        }
        prop_assert!(RustCrypto.ecdh(&secret, &off_curve).is_none());
        prop_assert!(native.ecdh(&secret, &off_curve).is_none());
    }

    #[test]
    fn any_signature_and_key(
        r in edge_number(), s in edge_number(), digest in edge_number(), x in edge_number(), tag in 0_u8..8,
    ) {
        let native = NativeCrypto::new();
        let mut compressed = [tag; 33];
        compressed[1..].copy_from_slice(&x);
        let public = RustCrypto.decompress(&compressed);
        prop_assert_eq!(native.decompress(&compressed), public);
        let public = public.unwrap_or_else(|| PublicKey::from_xy(joined(x, r)));
        let signature = Signature(joined(r, s));
        let holds = RustCrypto.verify(&public, &digest, &signature);
        prop_assert_eq!(native.verify(&public, &digest, &signature), holds);
        prop_assert_eq!(
            RustCrypto.secret_key(&r).map(|key| *key.expose()),
            native.secret_key(&r).map(|key| *key.expose())
        );
    }

    #[test]
    fn agreement_on_secp256k1(a in secret_key(), b in secret_key()) {
        let native = NativeCrypto::new();
        let ours = native.ecdh(&a, &RustCrypto.public_key(&b)).map(|shared| *shared.expose());
        prop_assert!(ours.is_some());
        prop_assert_eq!(ours, RustCrypto.ecdh(&b, &native.public_key(&a)).map(|shared| *shared.expose()));
    }

    #[test]
    fn agreement_on_curve25519(secret: [u8; 32], public in edge_number()) {
        let (native, secret) = (NativeCrypto::new(), Secret::new(secret));
        prop_assert_eq!(native.x25519_public(&secret), RustCrypto.x25519_public(&secret));
        let [ours, theirs] = [native.x25519(&secret, &public), RustCrypto.x25519(&secret, &public)]
            .map(|shared| shared.map(|shared| *shared.expose()));
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn chacha20_poly1305(
        key: [u8; 32],
        nonce: [u8; 12],
        ad in proptest::collection::vec(any::<u8>(), 0..100),
        text in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::collection::vec(any::<u8>(), 4_000..4_200),
        ],
        flip: usize,
    ) {
        let (native, key) = (NativeCrypto::new(), Secret::new(key));
        let (mut ours, mut theirs) = (text.clone(), text.clone());
        let tag = native.chacha_seal(&key, &nonce, &ad, &mut ours);
        prop_assert_eq!(RustCrypto.chacha_seal(&key, &nonce, &ad, &mut theirs), tag);
        prop_assert_eq!(&ours, &theirs);

        // A bit of the text or of the tag is wrong.
        let (mut bent, mut bent_tag) = (ours.clone(), tag);
        match flip % (bent.len() + 16) {
            at if at < bent.len() => bent[at] ^= 0x10,
            at => bent_tag[at - bent.len()] ^= 0x10,
        }
        let mut twin = bent.clone();
        prop_assert_eq!(native.chacha_open(&key, &nonce, &ad, &mut bent, &bent_tag), Err(AeadError));
        prop_assert_eq!(RustCrypto.chacha_open(&key, &nonce, &ad, &mut twin, &bent_tag), Err(AeadError));

        prop_assert_eq!(native.chacha_open(&key, &nonce, &ad, &mut ours, &tag), Ok(()));
        prop_assert_eq!(RustCrypto.chacha_open(&key, &nonce, &ad, &mut theirs, &tag), Ok(()));
        prop_assert_eq!(&ours, &text);
        prop_assert_eq!(&theirs, &text);
    }

    #[test]
    fn hashes_and_masks(
        key: [u8; 16],
        iv: [u8; 16],
        skip in 0_usize..200,
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..4),
        len in 0_usize..97,
    ) {
        let native = NativeCrypto::new();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(native.sha256(&parts), RustCrypto.sha256(&parts));
        prop_assert_eq!(native.keccak256(&parts), RustCrypto.keccak256(&parts));
        let (mut ours, mut theirs) = ([0; 96], [0; 96]);
        native.hkdf_sha256(&key, &iv, &parts, &mut ours[..len]);
        RustCrypto.hkdf_sha256(&key, &iv, &parts, &mut theirs[..len]);
        native.aes_ctr(&native.aes_ctr_key(&key), &iv, skip, &mut ours);
        RustCrypto.aes_ctr(&RustCrypto.aes_ctr_key(&key), &iv, skip, &mut theirs);
        prop_assert_eq!(ours, theirs);
    }
}

/// Points of small order and their other encodings, u-coordinates of Curve25519 (as listed in RFC 7748, section 6.1's
/// note and known since): every one gives a result of zero.
#[test]
fn points_of_small_order_are_refused() {
    let small: [[u8; 32]; 7] = [
        [0; 32],
        core::array::from_fn(|i| u8::from(i == 0)),
        bytes("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        bytes("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        bytes("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        bytes("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        bytes("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ];
    let (native, secret) = (NativeCrypto::new(), Secret::new([7; 32]));
    for mut point in small {
        for _ in 0..2 {
            assert!(native.x25519(&secret, &point).is_none(), "{point:x?}");
            assert!(RustCrypto.x25519(&secret, &point).is_none(), "{point:x?}");
            // The highest bit is not looked at.
            point[31] ^= 0x80;
        }
    }
}

#[test]
fn the_largest_frame() {
    let (native, key) = (NativeCrypto::new(), Secret::new([1; 32]));
    let mut frame = vec![3; 65_519];
    let tag = native.chacha_seal(&key, &[2; 12], &[], &mut frame);
    let mut sealed = frame.clone();
    assert_eq!(native.chacha_open(&Secret::new([4; 32]), &[2; 12], &[], &mut sealed, &tag), Err(AeadError));
    native.chacha_open(&key, &[2; 12], &[], &mut frame, &tag).unwrap();
    assert!(frame.iter().all(|byte| *byte == 3));
}

fn published<C: Crypto>(crypto: &C) {
    // RFC 8439, section 2.8.2.
    let mut text =
        *b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
sunscreen would be it.";
    let key = Secret::new(core::array::from_fn(|i| 0x80 + i as u8));
    let nonce = bytes("070000004041424344454647");
    let tag = crypto.chacha_seal(&key, &nonce, &bytes::<12>("50515253c0c1c2c3c4c5c6c7"), &mut text);
    assert_eq!(tag, bytes("1ae10b594f09e26a7e902ecbd0600691"));
    assert_eq!(text[..16], bytes::<16>("d31a8d34648e60db7b86afbc53ef7ec2"));

    // RFC 7748, section 6.1.
    let alice = Secret::new(bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
    let bob = bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    let public = bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    assert_eq!(crypto.x25519_public(&alice), public);
    let shared = crypto.x25519(&alice, &bob).unwrap();
    assert_eq!(*shared.expose(), bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"));

    // discv5 wire test vectors, "Cryptographic Primitives": ECDH, id signature, AES-GCM.
    let secret =
        SecretKey::from_bytes(&bytes("fb757dc581730490a1d7a00deea65e9b1936924caaea8f44d476014856b68736"));
    let secret = secret.unwrap();
    let public = bytes("039961e4c2356d61bedb83052c115d311acb3a96f5777296dcf297351130266231");
    let shared = crypto.ecdh(&secret, &crypto.decompress(&public).unwrap()).unwrap();
    assert_eq!(*shared.expose(), bytes("033b11a2a1f214567e1537ce5e509ffd9b21373247f2a3ff6841f4976f53165e7e"));
    let key = crypto.aes_gcm_key(&Secret::new(bytes("9f2d77db7004bf8a1a85107ac686990b")));
    let ad = bytes::<32>("93a7400fa0d6a694ebc24d5cf570f65d04215b6ac00757875e3f3a5f42107903");
    let mut text = bytes::<4>("01c20101");
    let tag = crypto.aes_gcm_seal(&key, &bytes("27b5af763c446acd2749fe8e"), &ad, &mut text);
    assert_eq!((text, tag), (bytes("a5d12a2d"), bytes("94b8ccb3ba55558229867dc13bfa3648")));

    // RFC 6979's method on secp256k1, as the ecosystem tests it: key 1, SHA-256 of "Satoshi Nakamoto".
    let one = SecretKey::from_bytes(&core::array::from_fn(|i| u8::from(i == 31))).unwrap();
    let signature = crypto.sign(&one, &crypto.sha256(&[b"Satoshi Nakamoto"]));
    let expected = concat!(
        "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8",
        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
    );
    assert_eq!(signature.0, bytes::<64>(expected));
}

#[test]
fn published_vectors_hold_for_both() {
    published(&RustCrypto);
    published(&NativeCrypto::new());
}
