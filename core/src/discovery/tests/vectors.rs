//! The published wire vectors (devp2p, discv5-wire-test-vectors.md): every packet decodes, and every
//! packet encodes to the same bytes.

use std::vec::Vec;

use crate::{
    crypto::{Crypto as _, Identity, RustCrypto, Secret, SecretKey},
    discovery::{
        keys::{self, Keys},
        message::{Message, WireId},
        packet::{self, Auth, ChallengeData, Nonce},
    },
    id::NodeId,
    record::Record,
};

const NODE_A: &str = "eef77acb6c6a6eebc5b363a475ac583ec7eccdb42b6481424c60f59aa326547f";
const NODE_B: &str = "66fb62bfbd66b9177a138c1e5cddbe4f7c30c343e94e68df8769459cb1cde628";
const EPHEMERAL: &str = "0288ef00023598499cb6c940146d050d2b1fb914198c327f76aad590bead68b6";
const STATIC: &str = "fb757dc581730490a1d7a00deea65e9b1936924caaea8f44d476014856b68736";
const PUBLIC: &str = "039961e4c2356d61bedb83052c115d311acb3a96f5777296dcf297351130266231";
const CHALLENGE_0: &str = concat!(
    "000000000000000000000000000000006469736376350001010102030405060708090a0b0c0018",
    "0102030405060708090a0b0c0d0e0f100000000000000000",
);
const CHALLENGE_1: &str = concat!(
    "000000000000000000000000000000006469736376350001010102030405060708090a0b0c0018",
    "0102030405060708090a0b0c0d0e0f100000000000000001",
);
const PING: &str = concat!(
    "00000000000000000000000000000000088b3d4342774649325f313964a39e55ea96c005ad52be8c7560413a7008f16c",
    "9e6d2f43bbea8814a546b7409ce783d34c4f53245d08dab84102ed931f66d1492acb308fa1c6715b9d139b81acbdcc",
);
const WHOAREYOU: &str = concat!(
    "00000000000000000000000000000000088b3d434277464933a1ccc59f5967ad1d6035f15e528627dde75cd68292f9e6",
    "c27d6b66c8100a873fcbaed4e16b8d",
);
const HANDSHAKE: &str = concat!(
    "00000000000000000000000000000000088b3d4342774649305f313964a39e55ea96c005ad521d8c7560413a7008f16c",
    "9e6d2f43bbea8814a546b7409ce783d34c4f53245d08da4bb252012b2cba3f4f374a90a75cff91f142fa9be3e0a5f3ef",
    "268ccb9065aeecfd67a999e7fdc137e062b2ec4a0eb92947f0d9a74bfbf44dfba776b21301f8b65efd5796706adff216",
    "ab862a9186875f9494150c4ae06fa4d1f0396c93f215fa4ef524f1eadf5f0f4126b79336671cbcf7a885b1f8bd2a5d83",
    "9cf8",
);
const HANDSHAKE_ENR: &str = concat!(
    "00000000000000000000000000000000088b3d4342774649305f313964a39e55ea96c005ad539c8c7560413a7008f16c",
    "9e6d2f43bbea8814a546b7409ce783d34c4f53245d08da4bb23698868350aaad22e3ab8dd034f548a1c43cd246be9856",
    "2fafa0a1fa86d8e7a3b95ae78cc2b988ded6a5b59eb83ad58097252188b902b21481e30e5e285f19735796706adff216",
    "ab862a9186875f9494150c4ae06fa4d1f0396c93f215fa4ef524e0ed04c3c21e39b1868e1ca8105e585ec17315e755e6",
    "cfc4dd6cb7fd8e1a1f55e49b4b5eb024221482105346f3c82b15fdaae36a3bb12a494683b4a3c7f2ae41306252fed847",
    "85e2bbff3b022812d0882f06978df84a80d443972213342d04b9048fc3b1d5fcb1df0f822152eced6da4d3f6df27e70e",
    "4539717307a0208cd208d65093ccab5aa596a34d7511401987662d8cf62b139471",
);

const IV: [u8; 16] = [0; 16];
const NONCE: Nonce = [0xff; 12];
const ASKED: Nonce = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

fn secret(text: &str) -> SecretKey {
    SecretKey::from_bytes(&array(text)).unwrap()
}

fn nodes() -> (Identity<RustCrypto>, Identity<RustCrypto>) {
    let (a, b) = (Identity::new(RustCrypto, secret(NODE_A)), Identity::new(RustCrypto, secret(NODE_B)));
    assert_eq!(&a.node_id().0[..4], [0xaa, 0xaa, 0x84, 0x19]);
    assert_eq!(&b.node_id().0[..4], [0xbb, 0xbb, 0x9d, 0x04]);
    (a, b)
}

fn ping(enr_seq: u64) -> Message<'static> {
    Message::Ping { id: WireId::new(&[0, 0, 0, 1]).unwrap(), enr_seq }
}

/// Encodes a message packet with the given header and message.
fn encode(auth: &Auth<'_>, key: &Secret<16>, message: &Message<'_>, dest: &NodeId) -> Vec<u8> {
    let mut buf = [0; 1280];
    let draft = packet::begin(&IV, &NONCE, auth, &mut buf).unwrap();
    let len = message.encode(&mut buf[draft.message()]).unwrap();
    let len = packet::seal(&RustCrypto, dest, &RustCrypto.aes_gcm_key(key), &draft, len, &mut buf).unwrap();
    buf[..len].to_vec()
}

#[test]
fn ping_packet() {
    let (a, b) = nodes();
    let mut bytes = hex(PING);
    let key = Secret::new([0; 16]);
    assert_eq!(encode(&Auth::Message { src: a.node_id() }, &key, &ping(2), &b.node_id()), bytes);
    let packet = packet::decode(&RustCrypto, &b.node_id(), &mut bytes).unwrap();
    assert_eq!(packet.auth, Auth::Message { src: a.node_id() });
    assert_eq!(packet.nonce, NONCE);
    let (text, tag) = packet.message.split_last_chunk_mut().unwrap();
    RustCrypto.aes_gcm_open(&RustCrypto.aes_gcm_key(&key), &NONCE, packet.header, text, tag).unwrap();
    assert_eq!(Message::decode(text), Ok(ping(2)));
}

#[test]
fn whoareyou_packet() {
    let (_, b) = nodes();
    let mut bytes = hex(WHOAREYOU);
    let id_nonce = core::array::from_fn(|i| i as u8 + 1);
    let data = packet::whoareyou(&IV, &ASKED, &id_nonce, 0);
    assert_eq!(data[..], hex(CHALLENGE_0));
    let mut buf = [0; 1280];
    let len = packet::seal_whoareyou(&RustCrypto, &b.node_id(), &data, &mut buf).unwrap();
    assert_eq!(buf[..len], bytes);
    let packet = packet::decode(&RustCrypto, &b.node_id(), &mut bytes).unwrap();
    assert_eq!(packet.nonce, ASKED);
    assert_eq!(packet.auth, Auth::WhoAreYou { data: &data, enr_seq: 0 });
    assert!(packet.message.is_empty());
}

/// Decodes a published handshake, checks every part of it, and builds the same bytes again.
fn handshake(vector: &str, challenge: &str, read_key: &str, with_record: bool) {
    let (a, b) = nodes();
    let challenge: ChallengeData = array(challenge);
    let mut bytes = hex(vector);
    let original = bytes.clone();
    let packet = packet::decode(&RustCrypto, &b.node_id(), &mut bytes).unwrap();
    let Auth::Handshake { src, signature, ephemeral, record } = packet.auth else { panic!("{packet:?}") };
    assert_eq!(src, a.node_id());
    assert_eq!(record.is_empty(), !with_record);
    if with_record {
        assert_eq!(Record::decode(record, &RustCrypto).unwrap().node_id(), src);
    }
    assert!(keys::verify_id(&RustCrypto, a.public_key(), &challenge, ephemeral, &b.node_id(), &signature));
    assert!(!keys::verify_id(&RustCrypto, a.public_key(), &challenge, ephemeral, &src, &signature));
    let shared = RustCrypto.decompress(ephemeral).and_then(|key| RustCrypto.ecdh(b.secret(), &key)).unwrap();
    let recipient = Keys::recipient(&RustCrypto, &shared, &src, &b.node_id(), &challenge);
    let (header, auth_record) = (packet.header.to_vec(), record.to_vec());
    let text = recipient.open(&RustCrypto, &packet.nonce, &header, packet.message).unwrap();
    assert_eq!(Message::decode(text), Ok(ping(1)));

    let eph = secret(EPHEMERAL);
    let eph_public = RustCrypto.public_key(&eph).compressed();
    assert_eq!(eph_public, *ephemeral);
    let shared = RustCrypto.ecdh(&eph, b.public_key()).unwrap();
    let initiator = Keys::initiator(&RustCrypto, &shared, &a.node_id(), &b.node_id(), &challenge);
    assert_eq!(initiator.send().expose(), &array(read_key));
    let signature = keys::sign_id(&a, &challenge, &eph_public, &b.node_id());
    let auth = Auth::Handshake { src, signature, ephemeral: &eph_public, record: &auth_record };
    assert_eq!(encode(&auth, initiator.send(), &ping(1), &b.node_id()), original);
}

#[test]
fn handshake_packet() {
    handshake(HANDSHAKE, CHALLENGE_1, "4f9fac6de7567d1e3b1241dffe90f662", false);
}

#[test]
fn handshake_packet_with_record() {
    handshake(HANDSHAKE_ENR, CHALLENGE_0, "53b1c075f41876423154e157470c2f48", true);
}

#[test]
fn ecdh() {
    let public = RustCrypto.decompress(&array(PUBLIC)).unwrap();
    let shared = RustCrypto.ecdh(&secret(STATIC), &public).unwrap();
    assert_eq!(
        shared.expose()[..],
        hex("033b11a2a1f214567e1537ce5e509ffd9b21373247f2a3ff6841f4976f53165e7e")
    );
}

#[test]
fn key_derivation() {
    let (a, b) = nodes();
    let dest = array("0317931e6e0840220642f230037d285d122bc59063221ef3226b1f403ddc69ca91");
    let dest = RustCrypto.decompress(&dest).unwrap();
    let shared = RustCrypto.ecdh(&secret(STATIC), &dest).unwrap();
    let challenge = array(CHALLENGE_0);
    let keys = Keys::initiator(&RustCrypto, &shared, &a.node_id(), &b.node_id(), &challenge);
    assert_eq!(keys.send().expose(), &array("dccc82d81bd610f4f76d3ebe97a40571"));
    let keys = Keys::recipient(&RustCrypto, &shared, &a.node_id(), &b.node_id(), &challenge);
    assert_eq!(keys.send().expose(), &array("ac74bb8773749920b0d3a8881c173ec5"));
}

#[test]
fn id_nonce_signing() {
    let (_, b) = nodes();
    let identity = Identity::new(RustCrypto, secret(STATIC));
    let signature = keys::sign_id(&identity, &array(CHALLENGE_0), &array(PUBLIC), &b.node_id());
    let expected = concat!(
        "94852a1e2318c4e5e9d422c98eaf19d1d90d876b29cd06ca7cb7546d0fff7b48",
        "4fe86c09a064fe72bdbef73ba8e9c34df0cd2b53e9d65528c2c7f336d5dfc6e6",
    );
    assert_eq!(signature.0[..], hex(expected));
}

#[test]
fn aes_gcm() {
    let mut text = hex("01c20101");
    let tag = RustCrypto.aes_gcm_seal(
        &RustCrypto.aes_gcm_key(&Secret::new(array("9f2d77db7004bf8a1a85107ac686990b"))),
        &array("27b5af763c446acd2749fe8e"),
        &hex("93a7400fa0d6a694ebc24d5cf570f65d04215b6ac00757875e3f3a5f42107903"),
        &mut text,
    );
    text.extend(tag);
    assert_eq!(text, hex("a5d12a2d94b8ccb3ba55558229867dc13bfa3648"));
}
