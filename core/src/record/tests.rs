//! Records against EIP-778's example, the crate `enr`, and arbitrary bytes.

use std::string::ToString;

use ecdsa::hazmat::sign_prehashed_rfc6979;

use super::*;
use crate::crypto::{Identity, RustCrypto, SecretKey};

/// The example record of EIP-778.
const EXAMPLE: &str = "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0gmlwhH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8";

fn identity() -> Identity<RustCrypto> {
    Identity::new(RustCrypto, SecretKey::from_bytes(&[3; 32]).unwrap())
}

fn full() -> Record {
    let mut builder = Builder::new();
    builder
        .set_addresses(&Addresses {
            ip4: Some([10, 0, 0, 1].into()),
            udp4: Some(9000),
            tcp4: Some(9001),
            ip6: Some([1; 16].into()),
            udp6: Some(9002),
            tcp6: None,
        })
        .unwrap()
        .set(b"zz-list", Some(b"\xc3\x01\x02\x03"))
        .unwrap();
    builder.sign(77, &identity()).unwrap()
}

#[test]
fn the_example_of_eip_778() {
    let record = Record::from_text(EXAMPLE, &RustCrypto).unwrap();
    assert_eq!(record.seq(), 1);
    assert_eq!(
        record.node_id().to_string(),
        "a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7"
    );
    assert_eq!(record.udp_endpoints().next(), Some("127.0.0.1:30303".parse().unwrap()));
    assert_eq!(record.tcp_endpoints().next(), None);
    assert_eq!(record.to_string(), EXAMPLE);
    // The example's key signs the same content, with another nonce perhaps: same content, equal text form
    // of everything but the signature.
    let secret = [
        0xb7, 0x1c, 0x71, 0xa6, 0x7e, 0x11, 0x77, 0xad, 0x4e, 0x90, 0x16, 0x95, 0xe1, 0xb4, 0xb9, 0xee, 0x17,
        0xae, 0x16, 0xc6, 0x66, 0x8d, 0x31, 0x3e, 0xac, 0x2f, 0x96, 0xdb, 0xcd, 0xa3, 0xf2, 0x91,
    ];
    let identity = Identity::new(RustCrypto, SecretKey::from_bytes(&secret).unwrap());
    let ours = Builder::from_record(&record).sign(1, &identity).unwrap();
    assert!(ours.same_content(&record));
    assert_eq!(Record::from_text(&std::format!("  {EXAMPLE}==\n"), &RustCrypto).unwrap(), record);
}

#[test]
fn endpoints_are_where_somebody_can_be() {
    let all = |addresses: Addresses| {
        let endpoints = addresses.udp_endpoints().chain(addresses.tcp_endpoints());
        endpoints.map(|endpoint| endpoint.to_string()).collect::<std::vec::Vec<_>>()
    };
    let some = Addresses {
        ip4: Some([10, 0, 0, 1].into()),
        udp4: Some(9000),
        tcp4: Some(9001),
        ip6: Some([0x2000; 8].into()),
        udp6: Some(9002),
        tcp6: None,
    };
    let v6 = "[2000:2000:2000:2000:2000:2000:2000:2000]";
    assert_eq!(
        all(some),
        ["10.0.0.1:9000", &std::format!("{v6}:9002"), "10.0.0.1:9001", &std::format!("{v6}:9001")],
        "`tcp` serves both families"
    );
    let no_port = Addresses { udp4: Some(0), tcp4: None, ..some };
    assert_eq!(all(no_port), [std::format!("{v6}:9002")]);
    let no_host = Addresses { ip4: Some([0; 4].into()), ip6: Some([0; 16].into()), ..some };
    assert!(all(no_host).is_empty());
}

/// What is read of a record before its signature is checked is what it says after that.
#[test]
fn a_claim_says_what_the_record_says() {
    let record = full();
    let claim = Form::read(record.as_bytes()).unwrap().claim(&RustCrypto).unwrap();
    assert!(claim.udp_endpoints().eq(record.udp_endpoints()) && record.udp_endpoints().count() == 2);
    assert_eq!((claim.node_id(), claim.as_bytes()), (record.node_id(), record.as_bytes()));
    assert_eq!(claim.verify(&RustCrypto).unwrap(), record);
}

#[test]
fn round_trips_and_keeps_unknown_keys() {
    let record = full();
    let again = Record::decode(record.as_bytes(), &RustCrypto).unwrap();
    assert_eq!(again, record);
    assert_eq!(again.addresses(), record.addresses());
    assert_eq!(again.signature(), record.signature());
    assert_eq!(again.value(b"zz-list").unwrap().raw, b"\xc3\x01\x02\x03");
    let mut builder = Builder::from_record(&record);
    builder.set_ip4(Some([10, 0, 0, 2].into())).unwrap();
    let moved = builder.sign(78, &identity()).unwrap();
    assert_eq!(moved.value(b"zz-list").unwrap().raw, b"\xc3\x01\x02\x03");
    assert!(!moved.same_content(&record));
    assert_eq!(moved.node_id(), record.node_id());
    let endpoints: std::vec::Vec<_> = moved.udp_endpoints().map(|e| e.to_string()).collect();
    assert_eq!(endpoints, ["10.0.0.2:9000", "[101:101:101:101:101:101:101:101]:9002"]);
    // tcp6 is absent, so tcp serves IPv6 too.
    assert_eq!(moved.tcp_endpoints().map(|e| e.port()).collect::<std::vec::Vec<_>>(), [9001; 2]);
}

#[cfg(feature = "enr")]
#[test]
fn the_crate_enr_agrees() {
    let record = full();
    let theirs = record.to_enr().unwrap();
    assert_eq!(theirs.seq(), record.seq());
    assert_eq!(theirs.node_id().raw(), *record.node_id().as_bytes());
    assert_eq!(theirs.to_base64(), record.to_string());
    assert_eq!(Record::from_enr(&theirs, &RustCrypto).unwrap(), record);
}

#[test]
fn any_flipped_bit_is_refused() {
    let record = full();
    for bit in 0..record.as_bytes().len() * 8 {
        let mut bytes = record.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Record::decode(&bytes, &RustCrypto).is_err(), "bit {bit}");
    }
    for end in 0..record.as_bytes().len() {
        assert!(Record::decode(&record.as_bytes()[..end], &RustCrypto).is_err(), "cut at {end}");
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let record = full();
    let refused = |text: &str| Record::from_text(text, &RustCrypto).unwrap_err();
    assert_eq!(refused("enode:abc"), RecordError::Text);
    assert_eq!(refused("enr:a+b"), RecordError::Text);
    assert_eq!(refused(&std::format!("enr:{}", "A".repeat(401))), RecordError::TooLarge);
    let mut builder = Builder::new();
    assert!(matches!(builder.set(b"id", None), Err(BuildError::Reserved)));
    assert!(matches!(builder.set(b"x", Some(b"\x81\x05")), Err(BuildError::Value(_))));
    assert!(matches!(builder.set_string(b"x", Some(&[0; 299])), Err(BuildError::TooLarge)));
    builder.set_string(b"ip", Some(&[1, 2, 3])).unwrap();
    assert!(matches!(builder.sign(1, &identity()), Err(BuildError::Invalid(RecordError::Field("ip")))));
    let mut wrong = record.as_bytes().to_vec();
    wrong[10] ^= 1;
    assert_eq!(Record::decode(&wrong, &RustCrypto).unwrap_err(), RecordError::Signature);
}

/// ECDSA makes many signatures for one content, and all of them hold.
#[test]
fn another_signature_says_the_same() {
    let record = full();
    let (content, secret) = (&record.rlp[usize::from(record.content)..], [3; 32]);
    let secret = k256::SecretKey::from_slice(&secret).unwrap().to_nonzero_scalar();
    let digest = content_digest(&RustCrypto, content);
    let (signature, _) =
        sign_prehashed_rfc6979::<k256::Secp256k1, sha2::Sha256>(&secret, &digest, b"another nonce");
    let mut bytes = record.as_bytes().to_vec();
    let at = bytes.windows(64).position(|part| part == record.signature().0).unwrap();
    bytes[at..at + 64].copy_from_slice(&signature.to_bytes());
    let again = Record::decode(&bytes, &RustCrypto).unwrap();
    assert!(again.same_content(&record) && again != record && again.signature() != record.signature());
    assert_eq!(again.pairs().count(), record.pairs().count());
}

#[test]
fn the_largest_record_passes_and_one_byte_more_does_not() {
    let sized = |len| {
        let mut builder = Builder::new();
        builder.set_string(b"x", Some(&std::vec![1; len]))?;
        builder.sign(1, &identity())
    };
    let largest = (56..300).filter_map(|len| sized(len).ok()).next_back().unwrap();
    assert_eq!(largest.as_bytes().len(), MAX_RECORD_SIZE);
    assert_eq!(Record::decode(largest.as_bytes(), &RustCrypto).unwrap(), largest);
    assert_eq!(Record::from_text(&largest.to_string(), &RustCrypto).unwrap(), largest);
    assert_eq!(Record::decode(&[0; MAX_RECORD_SIZE + 1], &RustCrypto).unwrap_err(), RecordError::TooLarge);
}

#[test]
fn other_identity_schemes_are_refused() {
    let mut bytes = full().as_bytes().to_vec();
    let at = bytes.windows(2).position(|part| part == b"v4").unwrap();
    bytes[at + 1] = b'5';
    assert_eq!(Record::decode(&bytes, &RustCrypto).unwrap_err(), RecordError::Scheme);
}

proptest::proptest! {
    #![proptest_config(crate::testing::cases(1))]

    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = Record::decode(&bytes, &RustCrypto);
        let _ = Record::from_text(&std::string::String::from_utf8_lossy(&bytes), &RustCrypto);
    }

    /// Whatever decodes encodes to the same bytes, in `enr`'s eyes too (rule E4).
    #[test]
    fn what_we_sign_verifies_everywhere(
        seq in proptest::num::u64::ANY,
        ip in proptest::option::of(proptest::array::uniform4(proptest::num::u8::ANY)),
        udp in proptest::option::of(proptest::num::u16::ANY),
        tcp in proptest::option::of(proptest::num::u16::ANY),
        ip6 in proptest::option::of(proptest::array::uniform16(proptest::num::u8::ANY)),
        extra in proptest::collection::vec(proptest::num::u8::ANY, 0..60),
    ) {
        let mut builder = Builder::new();
        let addresses = Addresses {
            ip4: ip.map(Into::into), udp4: udp, tcp4: tcp, ip6: ip6.map(Into::into), udp6: None, tcp6: tcp,
        };
        builder.set_addresses(&addresses).unwrap().set_string(b"note", Some(&extra)).unwrap();
        let record = builder.sign(seq, &identity()).unwrap();
        proptest::prop_assert!(record.as_bytes().len() <= 300);
        proptest::prop_assert_eq!(record.addresses(), &addresses);
        proptest::prop_assert_eq!(&Record::decode(record.as_bytes(), &RustCrypto).unwrap(), &record);
        #[cfg(feature = "enr")]
        proptest::prop_assert_eq!(record.to_enr().unwrap().to_base64(), record.to_string());
    }
}
