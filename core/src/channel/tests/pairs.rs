//! Two channels in memory.

use std::{cell::RefCell, collections::BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::crypto::{AeadError, Crypto, PublicKey, Secret, SecretKey, Signature};

/// Two channels and the bytes on the way, delivered in pieces of the given sizes.
struct Pair {
    ends: [Channel; 2],
    /// Written by the other end, and not arrived yet.
    wire: [Vec<u8>; 2],
    /// Arrived, not taken.
    pending: [Vec<u8>; 2],
    chunks: Vec<usize>,
    turn: usize,
    buf: usize,
    now: Instant,
    seen: [Vec<ChannelEvent>; 2],
}

impl Pair {
    fn new(options: (Options, Options), config: ChannelConfig, chunks: &[usize], buf: usize) -> Self {
        let (a, b) = finished_pair(options.0, options.1);
        Self {
            ends: [channel(a, config.clone()), channel(b, config)],
            wire: Default::default(),
            pending: Default::default(),
            chunks: chunks.to_vec(),
            turn: 0,
            buf,
            now: Instant::ZERO,
            seen: Default::default(),
        }
    }

    /// Lets everything arrive that is on the way, and what it causes.
    fn settle(&mut self, crypto: &impl Crypto) {
        loop {
            let mut moved = false;
            for i in 0..2 {
                let mut buf = vec![0; self.buf];
                loop {
                    let n = self.ends[i].poll_write(crypto, self.now, &mut buf);
                    if n == 0 {
                        break;
                    }
                    self.wire[1 - i].extend_from_slice(&buf[..n]);
                    moved = true;
                }
                let chunk = self.chunks[self.turn % self.chunks.len()].min(self.wire[i].len());
                self.turn += 1;
                self.pending[i].extend(self.wire[i].drain(..chunk));
                let n = self.ends[i].handle_bytes(crypto, self.now, &mut self.pending[i]).unwrap();
                self.pending[i].drain(..n);
                moved |= chunk > 0 || n > 0;
                self.seen[i].extend(events(&mut self.ends[i]));
            }
            if !moved {
                assert_eq!(self.wire, [const { Vec::new() }; 2]);
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for end in &mut self.ends {
            end.handle_timeout(self.now);
        }
    }
}

const BIG: &[usize] = &[usize::MAX];

#[test]
fn two_channels_become_ready_and_ping_each_other() {
    for (a, b, early) in [
        (Options::default(), Options::default(), true),
        (QUIET, Options::default(), false),
        (QUIET, QUIET, false),
    ] {
        let mut pair = Pair::new((a, b), ChannelConfig::default(), BIG, CHANNEL_READ_SIZE);
        pair.settle(&RustCrypto);
        for seen in &pair.seen {
            let rtt = Duration::ZERO;
            assert_eq!(seen[..], [ChannelEvent::Ready { early }, ChannelEvent::Pong { rtt }]);
        }
        let due = pair.ends[0].next_timeout().unwrap();
        assert_eq!(due, Instant::ZERO + crate::limits::PING_INTERVAL);
        pair.pass(crate::limits::PING_INTERVAL);
        pair.settle(&RustCrypto);
        assert_eq!(pair.seen[0].len(), 3, "the next ping");
        assert_eq!(pair.ends[0].open_streams(), 2, "one ping stream each way, kept open");
    }
}

proptest! {
    #![proptest_config(crate::testing::cases(10))]

    /// Rule N8: chunks and buffer sizes change nothing in what happens.
    #[test]
    fn any_chunking_gives_the_same(
        chunks in proptest::collection::vec(1usize..200, 1..12),
        buf in CHANNEL_WRITE_SIZE..400,
        early: bool,
    ) {
        let options = if early { Options::default() } else { QUIET };
        let run = |chunks: &[usize], buf| {
            let mut pair = Pair::new((options, options), ChannelConfig::default(), chunks, buf);
            pair.settle(&RustCrypto);
            pair.pass(crate::limits::PING_INTERVAL);
            pair.settle(&RustCrypto);
            pair.seen
        };
        prop_assert_eq!(run(BIG, CHANNEL_READ_SIZE), run(&chunks, buf));
    }
}

/// More pings than a window holds: both sides give windows back.
#[test]
fn windows_are_given_back() {
    let mut pair = Pair::new((QUIET, QUIET), silent(), BIG, 4096);
    pair.settle(&RustCrypto);
    let pings = 5 * crate::limits::YAMUX_WINDOW as usize / (4 * 32);
    for _ in 0..pings {
        assert!(pair.ends[0].ping(pair.now));
        pair.settle(&RustCrypto);
    }
    assert_eq!(pair.seen[0].len(), 1 + pings);
    assert_eq!(pair.ends[0].open_streams(), 1);
}

#[test]
fn a_measured_round_trip() {
    let mut pair = Pair::new((QUIET, QUIET), silent(), BIG, 4096);
    pair.settle(&RustCrypto);
    // The first ping opens the stream; the second is measured alone.
    assert!(pair.ends[0].ping(pair.now));
    pair.settle(&RustCrypto);
    assert!(pair.ends[0].ping(pair.now));
    let mut buf = [0; CHANNEL_WRITE_SIZE];
    let n = pair.ends[0].poll_write(&RustCrypto, pair.now, &mut buf);
    pair.wire[1].extend_from_slice(&buf[..n]);
    pair.now = pair.now + Duration::from_millis(7);
    pair.settle(&RustCrypto);
    assert_eq!(pair.ends[0].last_rtt(), Some(Duration::from_millis(7)));
}

#[test]
fn closing_is_graceful_on_both_sides() {
    let mut pair = Pair::new((QUIET, QUIET), ChannelConfig::default(), BIG, 4096);
    pair.settle(&RustCrypto);
    pair.ends[0].close(pair.now);
    assert!(!pair.ends[0].is_closed(), "the GO_AWAY is not written yet");
    pair.settle(&RustCrypto);
    let requested = ChannelEvent::Closed { by: Side::Local, reason: CloseReason::Requested };
    assert_eq!(pair.seen[0].last(), Some(&requested));
    assert!(pair.ends[0].is_closed());
    assert_eq!(pair.ends[0].next_timeout(), None);
    // The other side has streams of the leaver's open: it waits for their end, though not for ever.
    assert!(!pair.ends[1].is_closed());
    pair.pass(CLOSE_GRACE);
    pair.settle(&RustCrypto);
    let left = ChannelEvent::Closed { by: Side::Peer, reason: CloseReason::WentAway(0) };
    assert_eq!(pair.seen[1].last(), Some(&left));
    assert!(!pair.ends[1].ping(pair.now));
}

/// Rule N5, over handshakes and channels: no key encrypts twice with one nonce.
#[test]
fn no_nonce_is_used_twice() {
    let crypto = Recording(RefCell::new(BTreeSet::new()));
    let mut pair = Pair::new((QUIET, QUIET), ChannelConfig::default(), &[17, 3], CHANNEL_WRITE_SIZE);
    for _ in 0..50 {
        pair.settle(&crypto);
        pair.pass(crate::limits::PING_INTERVAL);
    }
    pair.ends[1].close(pair.now);
    pair.settle(&crypto);
    let keys: BTreeSet<_> = crypto.0.borrow().iter().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), 2, "one key a direction");
    assert!(crypto.0.borrow().len() > 200);
}

/// RustCrypto that insists on a fresh (key, nonce) for every encryption.
struct Recording(RefCell<BTreeSet<([u8; 32], [u8; 12])>>);

impl Crypto for Recording {
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
        RustCrypto.public_key(secret)
    }
    fn decompress(&self, compressed: &[u8; 33]) -> Option<PublicKey> {
        RustCrypto.decompress(compressed)
    }
    fn secret_key(&self, bytes: &[u8; 32]) -> Option<SecretKey> {
        RustCrypto.secret_key(bytes)
    }
    fn sign(&self, secret: &SecretKey, digest: &[u8; 32]) -> Signature {
        RustCrypto.sign(secret, digest)
    }
    fn verify(&self, public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
        RustCrypto.verify(public, digest, signature)
    }
    fn ecdh(&self, secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
        RustCrypto.ecdh(secret, public)
    }
    fn x25519_public(&self, secret: &Secret<32>) -> [u8; 32] {
        RustCrypto.x25519_public(secret)
    }
    fn x25519(&self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        RustCrypto.x25519(secret, public)
    }
    fn chacha_seal(&self, key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        let fresh = self.0.borrow_mut().insert((*key.expose(), *nonce));
        assert!(fresh, "nonce {nonce:x?} again under one key");
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
