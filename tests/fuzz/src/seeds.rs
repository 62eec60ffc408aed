//! What the fuzzer starts from: a few inputs for each target that reach deep, made by honest peers.
//!
//! `cargo run -p coracle-fuzz-targets --example seeds` writes them to `fuzz/seeds`; they are committed.

use coracle_core::{
    crypto::{Crypto, Identity, RustCrypto, Secret, SecretKey, Signature},
    discovery::{
        message::{Message, WireId, encode_find_node, encode_nodes},
        packet::{self, Auth},
    },
    handshake::{Initiator, Options, Responder, StaticKey},
    id::NodeId,
    limits::{HANDSHAKE_WRITE_SIZE, MAX_PACKET_SIZE},
    record::{Builder, Record},
    rng::Seed,
};

use crate::NullCrypto;

/// The seeds of a target: a name and the bytes.
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    match target {
        "record" => records(),
        "packet" => packets(),
        "message" => messages(),
        "handshake" => handshakes(),
        "channel" => channels(),
        "node" => nodes(),
        "scenario" => scenarios(),
        _ => Vec::new(),
    }
}

fn named(seeds: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    seeds.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

fn identity<C: Crypto>(crypto: C, number: u8) -> Identity<C> {
    Identity::new(crypto, SecretKey::from_bytes(&[number; 32]).expect("a key"))
}

fn built(pairs: usize) -> Record {
    let mut builder = Builder::new();
    let done = (|| {
        builder.set_ip4(Some([10, 0, 0, 1].into()))?.set_udp4(Some(3630))?.set_tcp4(Some(3610))?;
        if pairs > 3 {
            builder.set_ip6(Some("2001:db8::1".parse().expect("an address")))?.set_udp6(Some(3630))?;
            builder.set_string(b"attnets", Some(&[0x55; 64]))?.set(b"z", Some(&[0xc2, 1, 2]))?;
        }
        builder.sign(1_700_000_000_000, &identity(RustCrypto, 1))
    })();
    done.expect("it fits")
}

fn records() -> Vec<(String, Vec<u8>)> {
    let (small, large) = (built(3), built(7));
    named([
        ("rlp", small.as_bytes().to_vec()),
        ("rlp-large", large.as_bytes().to_vec()),
        ("text", small.to_string().into_bytes()),
        ("text-padded", format!(" {large}==\n").into_bytes()),
    ])
}

fn packets() -> Vec<(String, Vec<u8>)> {
    let record = built(3);
    let (src, nonce, iv) = (NodeId([9; 32]), [4; 12], [5; 16]);
    let handshake =
        |record| Auth::Handshake { src, signature: Signature([1; 64]), ephemeral: &[2; 33], record };
    let sealed = |auth: Auth<'_>| {
        let mut buf = [0; MAX_PACKET_SIZE];
        let draft = packet::begin(&iv, &nonce, &auth, &mut buf).expect("it fits");
        let id = WireId::new(&[1]).unwrap_or_default();
        let len = Message::Ping { id, enr_seq: 1 }.encode(&mut buf[draft.message()]).expect("it fits");
        let key = Secret::new([0; 16]);
        let len = packet::seal(&NullCrypto, &NodeId([7; 32]), &key, &draft, len, &mut buf).expect("it fits");
        buf[..len].to_vec()
    };
    named([
        ("message", sealed(Auth::Message { src })),
        ("handshake", sealed(handshake(&[]))),
        ("handshake-record", sealed(handshake(record.as_bytes()))),
        ("whoareyou", packet::whoareyou(&iv, &nonce, &[6; 16], 3).to_vec()),
    ])
}

fn messages() -> Vec<(String, Vec<u8>)> {
    let mut buf = [0; MAX_PACKET_SIZE];
    let id = WireId::new(&[1, 2, 3, 4]).unwrap_or_default();
    let records = [built(3), built(7)];
    let mut seeds = Vec::new();
    for (name, message) in [
        ("ping", Message::Ping { id, enr_seq: 7 }),
        ("pong", Message::Pong { id, enr_seq: 7, ip: [10, 0, 0, 1].into(), port: 3630 }),
        ("talk-request", Message::TalkReq { id, protocol: b"charon", request: b"hello" }),
        ("talk-response", Message::TalkResp { id, response: b"" }),
    ] {
        let len = message.encode(&mut buf).expect("it fits");
        seeds.push((name, buf[..len].to_vec()));
    }
    let len = encode_find_node(&mut buf, id, &[0, 255, 256]).expect("it fits");
    seeds.push(("find-node", buf[..len].to_vec()));
    let len = encode_nodes(&mut buf, id, 1, records.iter().map(Record::as_bytes)).expect("it fits");
    seeds.push(("nodes", buf[..len].to_vec()));
    named(seeds)
}

/// What each side of an honest handshake hears, behind the byte that chooses its role.
fn handshakes() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (name, options, head) in [("plain", false, 0), ("early", true, 2), ("real", true, 10)] {
        let [dialler, listener] =
            if head & 8 == 0 { conversation(NullCrypto, options) } else { conversation(RustCrypto, options) };
        seeds.push((format!("dials-{name}"), [vec![head | 1], dialler].concat()));
        seeds.push((format!("listens-{name}"), [vec![head], listener].concat()));
    }
    seeds
}

/// What the dialler and the listener hear. Each is the target's own side, so the other has another key.
fn conversation<C: Crypto + Copy>(crypto: C, early_muxer: bool) -> [Vec<u8>; 2] {
    let heard = |dials: bool| {
        let (own, other) = (identity(crypto, 1), identity(crypto, 2));
        let (a, b) = if dials { (own, other) } else { (other, own) };
        let key = |own: &Identity<C>| {
            let mut rng = Seed::new([3; 32]).stream("handshake");
            let key = StaticKey::new(own, &mut rng);
            (key, rng)
        };
        let options = Options { expected: None, early_muxer };
        let ((a_key, mut a_rng), (b_key, mut b_rng)) = (key(&a), key(&b));
        let mut dialler = Initiator::new(&a_key, &mut a_rng, options);
        let mut listener = Responder::new(&b_key, &mut b_rng, options);
        let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
        let mut buf = [0; HANDSHAKE_WRITE_SIZE];
        while !listener.is_finished() {
            let n = dialler.poll_write(&a, &mut buf);
            to_b.extend_from_slice(&buf[..n]);
            listener.handle_bytes(&b, &mut buf[..n]).expect("an honest peer");
            let n = listener.poll_write(&b, &mut buf);
            to_a.extend_from_slice(&buf[..n]);
            dialler.handle_bytes(&a, &mut buf[..n]).expect("an honest peer");
        }
        if dials { to_a } else { to_b }
    };
    [heard(true), heard(false)]
}

/// Steps of `channel`, by name.
mod step {
    pub(super) const WRITE: &[u8] = &[3];
    pub(super) const EVENTS: &[u8] = &[5];
    pub(super) const PING: &[u8] = &[6];
    pub(super) const CLOSE: &[u8] = &[12];
    pub(super) const NEWS: &[u8] = &[9];
    pub(super) const OPEN: &[u8] = &[8];
    /// Writes 400 bytes on the first stream and finishes it.
    pub(super) const SEND: &[u8] = &[26, 0, 1, 144];
    /// Gives back what was taken from the first stream.
    pub(super) const RELEASE: &[u8] = &[11, 0];

    pub(super) fn yamux(kind: u8, flags: u8, stream: u8, length: u16, text: &[u8]) -> Vec<u8> {
        let length = length.to_be_bytes();
        [&[1, kind, flags, stream, length[0], length[1]], text].concat()
    }

    pub(super) fn data(flags: u8, stream: u8, text: &[u8]) -> Vec<u8> {
        yamux(0, flags, stream, text.len() as u16, text)
    }

    pub(super) fn later(tenths: u8) -> Vec<u8> {
        vec![4, tenths]
    }
}

fn channels() -> Vec<(String, Vec<u8>)> {
    use step::{CLOSE, EVENTS, NEWS, OPEN, PING, RELEASE, SEND, WRITE, data, later, yamux};
    const HELLO: &[u8] = b"\x13/multistream/1.0.0\n\x11/ipfs/ping/1.0.0\n";
    let row = |head: u8, steps: &[&[u8]]| [&[head], steps.concat().as_slice()].concat();
    const HELLO_A: &[u8] = b"\x13/multistream/1.0.0\n\x03/a\n";
    let open = data(1, 1, HELLO);
    let accepted = data(1, 1, HELLO_A);
    named([
        ("pinged", row(2, &[WRITE, &open, WRITE, &data(0, 1, &[7; 32]), WRITE, &data(4, 1, &[]), WRITE])),
        ("pings", row(3, &[WRITE, PING, WRITE, &data(2, 1, HELLO), WRITE, EVENTS, &later(60), WRITE])),
        ("muxer", row(0, &[&[0, 34], b"\x13/multistream/1.0.0\n\x0d/yamux/1.0.0\n", WRITE, EVENTS])),
        (
            "unknown",
            row(2, &[&data(1, 1, b"\x13/multistream/1.0.0\n\x04/x\n"), WRITE, &data(8, 1, &[]), WRITE]),
        ),
        ("windows", row(2, &[&open, &yamux(1, 0, 1, 999, &[]), &yamux(2, 1, 0, 5, &[]), WRITE, &later(255)])),
        ("leaves", row(3, &[PING, WRITE, &yamux(3, 0, 0, 0, &[]), &later(30), CLOSE, WRITE, EVENTS])),
        (
            "accepts",
            row(2, &[&accepted, NEWS, &data(0, 1, &[5; 200]), NEWS, RELEASE, SEND, &data(4, 1, &[]), NEWS]),
        ),
        (
            "opens",
            row(3, &[OPEN, WRITE, &data(2, 1, HELLO_A), NEWS, SEND, &data(4, 1, b"answer"), NEWS, WRITE]),
        ),
        ("hoards", row(2, &[&accepted, &data(0, 1, &[5; 200]), &later(60), WRITE, NEWS])),
        ("large", row(2, &[&open, &[2], &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 250, 0], &[250, 12], WRITE, EVENTS])),
    ])
}

/// Steps of `node`: a record that is stored, then what comes from outside.
fn nodes() -> Vec<(String, Vec<u8>)> {
    const START: &[u8] = &[3, 14, 1, 13, 0, 13, 0];
    let [_, heard] = conversation(NullCrypto, true);
    // The peer's whole side of a handshake on the first connection, in two pieces, each answered.
    let (first, second) = heard.split_at(28);
    let bytes = |piece: &[u8]| [&[4, 0, piece.len() as u8], piece, &[6, 0]].concat();
    let inbound = [START, &[0, 2], &bytes(first), &bytes(&second[..34]), &bytes(&second[34..]), &[11, 20, 0]];
    let record = built(3);
    let mut auth = NodeId([9; 32]).0.to_vec();
    auth.extend_from_slice(&[64, 33]);
    auth.extend_from_slice(&[1; 64]);
    auth.extend_from_slice(&[2; 33]);
    auth.extend_from_slice(record.as_bytes());
    let auth_len = (auth.len() as u16).to_be_bytes();
    let ping: &[u8] = &[1, 0xc2, 1, 1];
    let ordinary = [&[8, 2, 0, 4], [9; 32].as_slice(), &[0, 4], ping].concat();
    let handshake = [&[8, 2, 2], auth_len.as_slice(), &[4], &auth, &[0, 4], ping].concat();
    named([
        ("inbound", inbound.concat()),
        ("dials", [START, &[12, 1, 0, 6, 0, 12, 12, 1, 129, 12, 12, 12]].concat()),
        ("discovery", [START, &ordinary, &handshake, &ordinary, &[12, 12, 11, 8, 0]].concat()),
        ("commands", [START, &[15, 1, 1, 7, 15, 1, 2, 3, 15, 1, 0, 12, 12, 15, 0, 3, 12]].concat()),
        ("store-fails", vec![3, 14, 1, 13, 1, 12, 12, 13, 0, 14, 2, 13, 1, 12, 13, 0]),
    ])
}

fn scenarios() -> Vec<(String, Vec<u8>)> {
    let noise = |seed: u8, len| {
        let mut bytes = vec![0; len];
        Seed::new([seed; 32]).stream("noise").fill(&mut bytes);
        bytes
    };
    named([("calm", Vec::new()), ("short", noise(1, 64)), ("storm", noise(2, 600)), ("long", noise(3, 2000))])
}
