//! What handshakes cost in public-key operations, counted: each key is decompressed once, each signature made or checked
//! once, and nothing is spent on a packet that nobody asked for.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // all of it is a test

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use coracle_core::{
    crypto::{AeadError, Crypto, Identity, PublicKey, RustCrypto, Secret, SecretKey, Signature, TAG_LEN},
    discovery::{
        Config, Discovery, Event,
        packet::{self, Auth},
    },
    handshake::{Initiator, Options, Responder, StaticKey},
    limits::{HANDSHAKE_WRITE_SIZE, MAX_PACKET_SIZE},
    record::{Builder, Record},
    rng::Seed,
    time::Instant,
};

/// Public-key operations done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Work {
    public_keys: u32,
    decompressed: u32,
    signed: u32,
    verified: u32,
    agreed: u32,
    x25519_public: u32,
    x25519: u32,
}

#[derive(Clone, Default)]
struct Counting(Rc<Cell<Work>>);

impl Counting {
    fn count(&self, of: impl FnOnce(&mut Work) -> &mut u32) -> RustCrypto {
        let mut work = self.0.get();
        *of(&mut work) += 1;
        self.0.set(work);
        RustCrypto
    }

    /// What was done since this was last asked.
    fn take(&self) -> Work {
        self.0.take()
    }
}

impl Crypto for Counting {
    type AesGcmKey = <RustCrypto as Crypto>::AesGcmKey;
    type AesCtrKey = <RustCrypto as Crypto>::AesCtrKey;

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto.sha256(parts)
    }

    fn keccak256(&self, parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto.keccak256(parts)
    }

    fn hkdf_sha256(&self, salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) {
        RustCrypto.hkdf_sha256(salt, ikm, info, out);
    }

    fn public_key(&self, secret: &SecretKey) -> PublicKey {
        self.count(|work| &mut work.public_keys).public_key(secret)
    }

    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        self.count(|work| &mut work.decompressed).decompress(compressed)
    }

    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        RustCrypto.secret_key(bytes)
    }

    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        self.count(|work| &mut work.signed).sign(secret, digest)
    }

    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        self.count(|work| &mut work.verified).verify(public, digest, signature)
    }

    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        self.count(|work| &mut work.agreed).ecdh(secret, public)
    }

    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        self.count(|work| &mut work.x25519_public).x25519_public(secret)
    }

    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        self.count(|work| &mut work.x25519).x25519(secret, public)
    }

    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        RustCrypto.chacha_seal(key, nonce, ad, buf)
    }

    fn chacha_open(
        &self,
        key: &Secret<32>,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        RustCrypto.chacha_open(key, nonce, ad, buf, tag)
    }

    fn aes_gcm_key(&self, key: &Secret<16>) -> Self::AesGcmKey {
        RustCrypto.aes_gcm_key(key)
    }

    fn aes_gcm_seal(
        &self,
        key: &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
    ) -> [u8; TAG_LEN] {
        RustCrypto.aes_gcm_seal(key, nonce, ad, buf)
    }

    fn aes_gcm_open(
        &self,
        key: &Self::AesGcmKey,
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AeadError> {
        RustCrypto.aes_gcm_open(key, nonce, ad, buf, tag)
    }

    fn aes_ctr_key(&self, key: &[u8; 16]) -> Self::AesCtrKey {
        RustCrypto.aes_ctr_key(key)
    }

    fn aes_ctr(&self, key: &Self::AesCtrKey, iv: &[u8; 16], skip: usize, buf: &mut [u8]) {
        RustCrypto.aes_ctr(key, iv, skip, buf);
    }
}

/// A node of discovery.
struct Host {
    work: Counting,
    identity: Identity<Counting>,
    discovery: Discovery<Counting>,
    at: SocketAddr,
}

impl Host {
    fn new(n: u8) -> Self {
        let work = Counting::default();
        let identity = Identity::new(work.clone(), SecretKey::from_bytes(&[n; 32]).unwrap());
        let at = SocketAddr::from(([127, 0, 0, 1], 9000 + u16::from(n)));
        let record = signed(&identity, at);
        // It begins nothing of its own accord.
        let day = Duration::from_secs(86_400);
        let config =
            Config { fresh_check: day, check: day, bootstrap_retry: day, refresh: day, ..Config::default() };
        let discovery = Discovery::new(config, &record, Seed::new([n; 32]).stream("discovery"));
        work.take();
        Self { work, identity, discovery, at }
    }
}

fn signed(identity: &Identity<Counting>, at: SocketAddr) -> Record {
    let mut builder = Builder::new();
    let SocketAddr::V4(at) = at else { panic!("IPv4") };
    builder.set_ip4(Some(*at.ip())).unwrap().set_udp4(Some(at.port())).unwrap();
    builder.sign(1, identity).unwrap()
}

/// Carries packets until there are none; returns whether a PONG was told.
fn run(hosts: &mut [Host; 2]) -> bool {
    let mut ponged = false;
    for _ in 0..20 {
        for i in 0..2 {
            let mut buf = [0; MAX_PACKET_SIZE];
            let [a, b] = hosts;
            let (from, to) = if i == 0 { (a, b) } else { (b, a) };
            while let Some((_, len)) = from.discovery.poll_transmit(&from.identity, Instant::ZERO, &mut buf) {
                to.discovery.handle_datagram(&to.identity, Instant::ZERO, from.at, &mut buf[..len]);
            }
            while let Some(event) = from.discovery.poll_event() {
                ponged |= matches!(event, Event::Pong { .. });
            }
        }
    }
    ponged
}

#[test]
fn a_discv5_handshake() {
    let mut hosts = [Host::new(1), Host::new(2)];
    let to = hosts[1].discovery.local_record().clone();
    hosts[0].discovery.ping(Instant::ZERO, &to).unwrap();
    assert!(run(&mut hosts));
    let ours = Work { public_keys: 1, signed: 1, agreed: 1, ..Work::default() };
    assert_eq!(hosts[0].work.take(), ours);
    // Its record and the id signature; the record's key and the ephemeral one.
    let theirs = Work { verified: 2, decompressed: 2, agreed: 1, ..Work::default() };
    assert_eq!(hosts[1].work.take(), theirs);

    // In the session, nothing.
    hosts[0].discovery.ping(Instant::ZERO, &to).unwrap();
    assert!(run(&mut hosts));
    assert_eq!(hosts[0].work.take(), Work::default());
    assert_eq!(hosts[1].work.take(), Work::default());
}

#[test]
fn the_ephemeral_key_is_made_while_the_challenge_is_waited_for() {
    let mut hosts = [Host::new(1), Host::new(2)];
    let to = hosts[1].discovery.local_record().clone();
    hosts[0].discovery.ping(Instant::ZERO, &to).unwrap();
    let [a, b] = &mut hosts;
    let mut buf = [0; MAX_PACKET_SIZE];
    let mut send = |from: &mut Host| {
        from.discovery
            .poll_transmit(&from.identity, Instant::ZERO, &mut buf)
            .map(|(_, len)| buf[..len].to_vec())
    };
    let mut first = send(a).unwrap();
    assert_eq!(a.work.take(), Work::default());
    assert_eq!(send(a), None);
    assert_eq!(a.work.take(), Work { public_keys: 1, ..Work::default() });
    b.discovery.handle_datagram(&b.identity, Instant::ZERO, a.at, &mut first);
    let mut challenge = send(b).unwrap();
    a.discovery.handle_datagram(&a.identity, Instant::ZERO, b.at, &mut challenge);
    send(a).unwrap();
    assert_eq!(a.work.take(), Work { signed: 1, agreed: 1, ..Work::default() });
    assert_eq!(send(a), None);
    assert_eq!(a.work.take(), Work::default(), "none is wanted");
}

#[test]
fn an_unsolicited_handshake_packet() {
    let mut host = Host::new(2);
    let stranger = Host::new(3);
    let record = stranger.discovery.local_record();
    let (src, signature) = (record.node_id(), Signature([5; 64]));
    let public = stranger.identity.public_key().compressed();
    let auth = Auth::Handshake { src, signature, ephemeral: &public, record: record.as_bytes() };
    let mut buf = [0; MAX_PACKET_SIZE];
    let draft = packet::begin(&[1; 16], &[2; 12], &auth, &mut buf).unwrap();
    let key = RustCrypto.aes_gcm_key(&Secret::new([3; 16]));
    let len = packet::seal(&RustCrypto, &host.identity.node_id(), &key, &draft, 20, &mut buf).unwrap();
    host.discovery.handle_datagram(&host.identity, Instant::ZERO, stranger.at, &mut buf[..len]);
    assert_eq!(host.discovery.counters().handshake_unexpected, 1);
    assert_eq!(host.work.take(), Work::default());
}

#[test]
fn a_noise_handshake() {
    let work = [Counting::default(), Counting::default()];
    let [a, b] = [0, 1]
        .map(|i: usize| Identity::new(work[i].clone(), SecretKey::from_bytes(&[1 + i as u8; 32]).unwrap()));
    let mut rng = Seed::new([3; 32]).stream("test");
    let keys = (StaticKey::new(&a, &mut rng), StaticKey::new(&b, &mut rng));
    // Made once a start: the key of each identity, the static key, and the signature over it.
    let start = Work { public_keys: 1, signed: 1, x25519_public: 1, ..Work::default() };
    assert_eq!([work[0].take(), work[1].take()], [start; 2]);
    for _ in 0..2 {
        let mut dialler = Initiator::new(&keys.0, &mut rng, Options::default());
        let mut listener = Responder::new(&keys.1, &mut rng, Options::default());
        let mut buf = [0; HANDSHAKE_WRITE_SIZE];
        while !listener.is_finished() {
            let n = dialler.poll_write(&a, &mut buf);
            assert_eq!(listener.handle_bytes(&b, &mut buf[..n]), Ok(n));
            let n = listener.poll_write(&b, &mut buf);
            assert_eq!(dialler.handle_bytes(&a, &mut buf[..n]), Ok(n));
        }
        let each = Work { verified: 1, decompressed: 1, x25519_public: 1, x25519: 3, ..Work::default() };
        assert_eq!([work[0].take(), work[1].take()], [each; 2]);
    }
}
