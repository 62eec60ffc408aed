//! The rules N1 to N5 and N8 on the real machines, the published vector, and `snow` as a second opinion.

use alloc::{vec, vec::Vec};

use super::{xx::KeyPair, *};
use crate::{
    crypto::{Identity, RustCrypto, Secret, SecretKey},
    limits::{self, HANDSHAKE_WRITE_SIZE},
    rng::{Rng, Seed},
};

mod attacks;
mod chunking;
mod exhaustive;
mod vectors;

pub(crate) fn identity(n: u8) -> Identity<RustCrypto> {
    Identity::new(RustCrypto, SecretKey::from_bytes(&[n; 32]).unwrap())
}

fn node(n: u8, side: &str) -> (Identity<RustCrypto>, StaticKey, Rng) {
    let identity = identity(n);
    let key = StaticKey::new(&identity, &mut Seed::new([n; 32]).stream("static key"));
    (identity, key, Seed::new([0; 32]).stream(side))
}

/// One side with everything it needs, so that a test reads like a conversation.
pub(crate) struct Party {
    pub(crate) identity: Identity<RustCrypto>,
    pub(crate) machine: Machine,
}

pub(crate) enum Machine {
    Initiator(Initiator),
    Responder(Responder),
}

impl Party {
    pub(crate) fn initiator(n: u8, options: Options) -> Self {
        let (identity, key, mut rng) = node(n, "initiator");
        Self { identity, machine: Machine::Initiator(Initiator::new(&key, &mut rng, options)) }
    }

    pub(crate) fn responder(n: u8, options: Options) -> Self {
        let (identity, key, mut rng) = node(n, "responder");
        Self { identity, machine: Machine::Responder(Responder::new(&key, &mut rng, options)) }
    }

    /// Everything the machine has to say now.
    pub(crate) fn say(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        loop {
            let mut buf = [0; HANDSHAKE_WRITE_SIZE];
            let n = match &mut self.machine {
                Machine::Initiator(m) => m.poll_write(&self.identity, &mut buf),
                Machine::Responder(m) => m.poll_write(&self.identity, &mut buf),
            };
            if n == 0 {
                return said;
            }
            assert!(said.len() <= HANDSHAKE_WRITE_SIZE, "it goes on for ever");
            said.extend_from_slice(&buf[..n]);
        }
    }

    pub(crate) fn hear(&mut self, bytes: &mut [u8]) -> Result<usize, HandshakeError> {
        match &mut self.machine {
            Machine::Initiator(m) => m.handle_bytes(&self.identity, bytes),
            Machine::Responder(m) => m.handle_bytes(&self.identity, bytes),
        }
    }

    pub(crate) fn state(&self) -> HandshakeState {
        match &self.machine {
            Machine::Initiator(m) => m.state(),
            Machine::Responder(m) => m.state(),
        }
    }

    pub(crate) fn finish(self) -> Option<Finished> {
        match self.machine {
            Machine::Initiator(m) => m.finish().ok(),
            Machine::Responder(m) => m.finish().ok(),
        }
    }
}

/// How often each side may speak until both are done: lines, message 1 or 2, message 3.
const TURNS: usize = 3;

/// Lets both talk until nobody has anything to say. Each message passes through `wire`, which may
/// change it; it is told who speaks (0 the initiator) and how often that side spoke before.
pub(crate) fn talk(
    a: &mut Party,
    b: &mut Party,
    mut wire: impl FnMut(usize, usize, &mut Vec<u8>),
) -> Result<(), HandshakeError> {
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    for round in 0..100 {
        let mut from_a = a.say();
        let mut from_b = b.say();
        if from_a.is_empty() && from_b.is_empty() {
            return Ok(());
        }
        if !from_a.is_empty() {
            wire(0, round, &mut from_a);
        }
        if !from_b.is_empty() {
            wire(1, round, &mut from_b);
        }
        to_b.extend(from_a);
        to_a.extend(from_b);
        let n = b.hear(&mut to_b)?;
        to_b.drain(..n);
        let n = a.hear(&mut to_a)?;
        to_a.drain(..n);
    }
    panic!("they never end")
}

/// Two finished handshakes: the initiator is node 1, the responder node 2.
pub(crate) fn finished_pair(a: Options, b: Options) -> (Finished, Finished) {
    let (mut a, mut b) = (Party::initiator(1, a), Party::responder(2, b));
    talk(&mut a, &mut b, |_, _, _| ()).unwrap();
    (a.finish().unwrap(), b.finish().unwrap())
}

pub(crate) const QUIET: Options = Options { expected: None, early_muxer: false };

#[test]
fn both_sides_see_the_same() {
    let (a, b) = finished_pair(Options::default(), Options::default());
    assert_eq!(a.hash(), b.hash());
    assert_eq!(a.peer(), identity(2).public_key());
    assert_eq!(b.peer(), identity(1).public_key());
    assert_eq!((a.role(), b.role()), (Role::Initiator, Role::Responder));
    // Mirrored keys: what one seals the other opens.
    let (mut a_out, mut a_in) = a.admit(|_| true).unwrap().into_ciphers();
    let (mut b_out, mut b_in) = b.admit(|_| true).unwrap().into_ciphers();
    for (out, input) in [(&mut a_out, &mut b_in), (&mut b_out, &mut a_in)] {
        let mut text = *b"hello-----------tag-------------";
        let tag = out.seal(&RustCrypto, &[], &mut text[..5]).unwrap();
        text[5..21].copy_from_slice(&tag);
        assert_eq!(input.open(&RustCrypto, &[], &mut text[..21]), Ok(5));
        assert_eq!(&text[..5], b"hello");
    }
}

#[test]
fn muxers_are_agreed_early_or_late_or_not() {
    let early = Options::default();
    for (a, b, agreed) in
        [(early, early, true), (early, QUIET, false), (QUIET, early, false), (QUIET, QUIET, false)]
    {
        let (a, b) = finished_pair(a, b);
        assert_eq!((a.early_muxer(), b.early_muxer()), (agreed, agreed));
    }
}

#[test]
fn a_refused_key_gets_no_further() {
    let (a, b) = finished_pair(Options::default(), Options::default());
    let stranger = *identity(2).public_key();
    assert_eq!(a.admit(|key| *key != stranger).unwrap_err(), Refused { peer: identity(2).peer_id() });
    assert!(b.admit(|key| *key == *identity(1).public_key()).is_ok());
}

#[test]
fn another_peer_is_refused_before_our_identity_is_shown() {
    let expected = identity(3).peer_id();
    let mut a = Party::initiator(1, Options { expected: Some(expected), ..Options::default() });
    let mut b = Party::responder(2, Options::default());
    let mut said_by_a = Vec::new();
    let result = talk(&mut a, &mut b, |who, _, bytes| {
        if who == 0 {
            said_by_a.extend_from_slice(bytes);
        }
    });
    assert_eq!(result, Err(HandshakeError::WrongPeer { expected, found: identity(2).peer_id() }));
    assert_eq!(said_by_a.len(), 28 + 2 + 32, "the lines and message 1, nothing else");
    assert_eq!(a.say(), []);
    assert_eq!(a.hear(&mut []), Err(HandshakeError::Ended));
    assert_eq!(HandshakeError::Ended.fault(), Fault::Caller);
}

#[test]
fn who_is_expected_is_let_in_by_both_sides() {
    let expect = |n: u8| Options { expected: Some(identity(n).peer_id()), ..Options::default() };
    let (a, b) = finished_pair(expect(2), expect(1));
    assert_eq!((a.peer_id(), b.peer_id()), (identity(2).peer_id(), identity(1).peer_id()));
    let (mut a, mut b) = (Party::initiator(1, expect(2)), Party::responder(2, expect(3)));
    let (expected, found) = (identity(3).peer_id(), identity(1).peer_id());
    assert_eq!(talk(&mut a, &mut b, |_, _, _| ()), Err(HandshakeError::WrongPeer { expected, found }));
}

/// Who answered is known between messages 2 and 3, so that it can still be turned away unseen.
#[test]
fn a_dialler_knows_the_peer_before_it_shows_itself() {
    let (mut a, mut b) = (Party::initiator(1, QUIET), Party::responder(2, QUIET));
    let peer = |party: &Party| match &party.machine {
        Machine::Initiator(machine) => machine.peer().copied(),
        Machine::Responder(_) => None,
    };
    assert_eq!(peer(&a), None);
    b.hear(&mut a.say()).unwrap();
    a.hear(&mut b.say()).unwrap();
    assert_eq!((peer(&a), a.state()), (None, HandshakeState::Noise));
    b.hear(&mut a.say()).unwrap();
    a.hear(&mut b.say()).unwrap();
    assert_eq!(peer(&a), Some(*identity(2).public_key()));
    a.say();
    assert_eq!((peer(&a), a.state()), (None, HandshakeState::Finished));
}

/// The public half of an ephemeral key costs a multiplication: it is made while the peer is waited for, not
/// before our lines are out, and once.
#[test]
fn ephemeral_keys_are_made_while_the_peer_is_waited_for() {
    let crypto = crate::testing::Cheap::exact();
    let identity = Identity::new(crypto.clone(), SecretKey::from_bytes(&[1; 32]).unwrap());
    let mut rng = Seed::new([7; 32]).stream("handshake");
    let key = StaticKey::new(&identity, &mut rng);
    let before = crypto.operations();
    let mut buf = [0; HANDSHAKE_WRITE_SIZE];
    let mut header = *b"\x13/multistream/1.0.0\n";
    let mut noise = *b"\x07/noise\n";

    let mut a = Initiator::new(&key, &mut rng, QUIET);
    assert_eq!((a.poll_write(&identity, &mut buf), crypto.operations()), (28, before));
    assert_eq!((a.poll_write(&identity, &mut buf), crypto.operations()), (0, before + 1));
    a.handle_bytes(&identity, &mut header).unwrap();
    a.handle_bytes(&identity, &mut noise).unwrap();
    assert_eq!((a.poll_write(&identity, &mut buf), crypto.operations()), (2 + 32, before + 1));

    let mut b = Responder::new(&key, &mut rng, QUIET);
    b.handle_bytes(&identity, &mut header).unwrap();
    assert_eq!((b.poll_write(&identity, &mut buf), crypto.operations()), (20, before + 1));
    b.handle_bytes(&identity, &mut noise).unwrap();
    assert_eq!((b.poll_write(&identity, &mut buf), crypto.operations()), (8, before + 1));
    assert_eq!((b.poll_write(&identity, &mut buf), crypto.operations()), (0, before + 2));
}

#[test]
fn our_own_key_is_refused() {
    let (mut a, mut b) = (Party::initiator(1, QUIET), Party::responder(1, QUIET));
    assert_eq!(talk(&mut a, &mut b, |_, _, _| ()), Err(HandshakeError::OwnKey));
}

#[test]
fn a_machine_is_not_finished_before_its_time() {
    let mut a = Party::initiator(1, QUIET);
    assert_eq!(a.say().len(), 28);
    let Machine::Initiator(machine) = a.machine else { unreachable!() };
    assert!(!machine.is_finished());
    assert!(machine.finish().is_err_and(|machine| machine.state() == HandshakeState::Multistream));
    let Machine::Responder(machine) = Party::responder(2, QUIET).machine else { unreachable!() };
    assert!(!machine.is_finished());
    assert!(machine.finish().is_err_and(|machine| machine.state() == HandshakeState::Multistream));
}

#[test]
fn a_dialler_that_prefers_tls_is_led_to_noise() {
    let mut b = Party::responder(2, QUIET);
    let mut hello = b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n\x03ls\n".to_vec();
    let n = hello.len();
    assert_eq!(b.hear(&mut hello), Ok(n));
    assert_eq!(b.say(), b"\x13/multistream/1.0.0\n\x03na\n\x03na\n");
    let mut noise = b"\x07/noise\n".to_vec();
    assert_eq!(b.hear(&mut noise), Ok(8));
    assert_eq!(b.say(), b"\x07/noise\n");
    assert_eq!(b.state(), HandshakeState::Noise);
}

#[test]
fn a_flood_of_proposals_ends() {
    let mut b = Party::responder(2, QUIET);
    let mut flood = b"\x13/multistream/1.0.0\n".to_vec();
    (0..=limits::MAX_PROPOSALS).for_each(|_| flood.extend(b"\x03/a\n"));
    assert_eq!(b.hear(&mut flood), Err(HandshakeError::TooManyProposals));
    assert_eq!(b.say(), []);
}

#[test]
fn a_server_without_noise_is_named() {
    let mut a = Party::initiator(1, QUIET);
    a.say();
    let mut answer = b"\x13/multistream/1.0.0\n\x03na\n".to_vec();
    assert_eq!(a.hear(&mut answer), Err(HandshakeError::NotNoise));
    let mut a = Party::initiator(1, QUIET);
    a.say();
    let mut answer = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    assert!(matches!(a.hear(&mut answer), Err(HandshakeError::Multistream(_))));
}

#[test]
fn the_least_buffer_is_enough_and_less_writes_nothing() {
    // The most a responder ever owes at once: every refusal, the acceptance and message 2.
    let mut a = Party::initiator(1, Options::default());
    let mut b = Party::responder(2, Options::default());
    let mut to_b = b"\x13/multistream/1.0.0\n".to_vec();
    (0..limits::MAX_PROPOSALS).for_each(|_| to_b.extend(b"\x03/a\n"));
    to_b.extend(b"\x07/noise\n");
    let mut small = [0; HANDSHAKE_WRITE_SIZE - 1];
    let Machine::Initiator(machine) = &mut a.machine else { unreachable!() };
    assert_eq!(machine.poll_write(&a.identity, &mut small), 0);
    assert_eq!(small, [0; HANDSHAKE_WRITE_SIZE - 1]);
    assert_eq!(a.say().len(), 28);
    assert!(a.hear(&mut b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec()).is_ok());
    to_b.extend(a.say());
    let n = to_b.len();
    assert_eq!(b.hear(&mut to_b), Ok(n));
    let Machine::Responder(machine) = &mut b.machine else { unreachable!() };
    assert_eq!(machine.poll_write(&b.identity, &mut small), 0);
    let mut enough = [0; HANDSHAKE_WRITE_SIZE];
    let n = machine.poll_write(&b.identity, &mut enough);
    assert!(n > HANDSHAKE_WRITE_SIZE - 4, "{n}");
    assert_eq!(machine.poll_write(&b.identity, &mut enough), 0);
    let mut rest = enough[20 + 4 * usize::from(limits::MAX_PROPOSALS) + 8..n].to_vec();
    let n = rest.len();
    assert_eq!(a.hear(&mut rest), Ok(n));
}

/// Keys for tests that build Noise messages by hand.
fn pair(secret: [u8; 32]) -> KeyPair {
    KeyPair::new(&RustCrypto, Secret::new(secret))
}

/// Rule N8: what does not authenticate uses no nonce up, so what was said in its place is still heard.
#[test]
fn a_failed_decryption_leaves_the_state() {
    let [mut send, mut receive] = [(), ()].map(|()| CipherState::new(Secret::new([1; 32])));
    for round in 0..3 {
        let mut text = vec![round; 8];
        let tag = send.seal(&RustCrypto, b"ad", &mut text).unwrap();
        text.extend(tag);
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert_eq!(receive.open(&RustCrypto, b"ad", &mut changed), Err(cipher::CipherError::Decrypt));
        }
        assert_eq!(receive.open(&RustCrypto, b"ad", &mut text), Ok(8));
        assert_eq!(text[..8], [round; 8]);
    }
}

#[test]
fn nonces_end_before_they_repeat() {
    let mut cipher = CipherState::new(Secret::new([1; 32]));
    cipher.set_nonce(limits::MAX_NOISE_NONCE);
    let mut text = vec![0; 8];
    assert!(cipher.seal(&RustCrypto, &[], &mut text).is_ok());
    assert_eq!(cipher.seal(&RustCrypto, &[], &mut text), Err(cipher::CipherError::Exhausted));
    assert_eq!(cipher.open(&RustCrypto, &[], &mut [0; 32]), Err(cipher::CipherError::Exhausted));
}

/// Rule N5: in many sessions of the same two nodes no key is used twice with one nonce, neither in the
/// handshakes nor in the channels after them.
#[test]
fn no_key_is_used_twice_with_one_nonce() {
    let crypto = crate::testing::Cheap::recording();
    let secrets = [1, 2].map(|n| SecretKey::from_bytes(&[n; 32]).unwrap());
    let identities = secrets.map(|secret| Identity::new(crypto.clone(), secret));
    let mut rng = Seed::new([7; 32]).stream("handshake");
    let keys = [0, 1].map(|n| StaticKey::new(&identities[n], &mut rng));
    let mut hashes = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let mut a = Initiator::new(&keys[0], &mut rng, Options::default());
        let mut b = Responder::new(&keys[1], &mut rng, Options::default());
        let mut buf = [0; HANDSHAKE_WRITE_SIZE];
        for _ in 0..TURNS {
            let n = a.poll_write(&identities[0], &mut buf);
            assert_eq!(b.handle_bytes(&identities[1], &mut buf[..n]), Ok(n));
            let n = b.poll_write(&identities[1], &mut buf);
            assert_eq!(a.handle_bytes(&identities[0], &mut buf[..n]), Ok(n));
        }
        assert!(a.is_finished() && b.is_finished());
        for finished in [a.finish().ok(), b.finish().ok()].map(Option::unwrap) {
            hashes.insert(*finished.hash());
            let (mut send, _) = finished.admit(|_| true).unwrap().into_ciphers();
            for _ in 0..10 {
                send.seal(&crypto, &[], &mut [0; 5]).unwrap();
            }
        }
    }
    assert_eq!(hashes.len(), 100, "one for both sides, another for every connection");
    let mut sealed = crypto.sealed();
    let count = sealed.len();
    sealed.sort_unstable();
    sealed.dedup();
    // Two static keys and two payloads in each handshake, and what each side sent after it.
    assert_eq!((count, sealed.len()), (100 * (4 + 20), count));
    std::println!("{count} messages sealed, each with a key and nonce of its own");
}

/// Rule N7: these wipe themselves, or this does not compile. Their fields are looked at where they stand
/// (`wipes_by_its_fields`).
#[test]
fn what_holds_secrets_wipes_itself() {
    const fn wipes<T: zeroize::ZeroizeOnDrop>() {}
    const {
        wipes::<Secret<32>>();
        wipes::<SecretKey>();
        wipes::<KeyPair>();
        wipes::<StaticKey>();
        wipes::<CipherState>();
        wipes::<Initiator>();
        wipes::<Responder>();
        wipes::<Finished>();
        wipes::<Admitted>();
        assert!(core::mem::needs_drop::<Initiator>() && core::mem::needs_drop::<Responder>());
    }
}

/// Rule N6: what a peer that has proven nothing makes us hold.
#[test]
fn a_pending_handshake_is_small() {
    assert!(size_of::<Initiator>() <= 768, "{}", size_of::<Initiator>());
    assert!(size_of::<Responder>() <= 768, "{}", size_of::<Responder>());
}
