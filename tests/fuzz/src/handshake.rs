//! The handshake's bytes, as either side gets them (rules N3, N6, N8).

use coracle_core::{
    crypto::{Crypto, Identity, PublicKey, RustCrypto, SecretKey},
    handshake::{Finished, HandshakeError, HandshakeState, Initiator, Options, Responder, StaticKey},
    limits::{HANDSHAKE_READ_SIZE, HANDSHAKE_WRITE_SIZE},
    rng::Seed,
};

use crate::NullCrypto;

/// Key of this side, and of whom a peer is expected to be, if anybody.
const OWN: [u8; 32] = [1; 32];
const PEER: [u8; 32] = [2; 32];

/// The first byte decides on the role (1), the early muxer (2), whether a certain peer is expected (4), on
/// real cryptography (8), and on the size of pieces; the rest is what the peer sends.
pub fn handshake(data: &[u8]) {
    let Some((&head, bytes)) = data.split_first() else { return };
    if head & 8 == 0 { with(NullCrypto, head, bytes) } else { with(RustCrypto, head, bytes) }
}

fn with<C: Crypto + Copy>(crypto: C, head: u8, bytes: &[u8]) {
    let whole = Side::new(crypto, head).run(bytes, bytes.len().max(1));
    let pieces = Side::new(crypto, head).run(bytes, 1 + usize::from(head >> 4));
    // Rule N8: how the bytes are cut changes nothing.
    assert_eq!(whole.end, pieces.end);
    if matches!(whole.end, End::Open | End::Finished(_)) {
        assert_eq!(whole.said, pieces.said);
        assert_eq!(whole.left, pieces.left);
    }
}

/// How a run ended.
#[derive(Debug, PartialEq)]
enum End {
    /// More bytes are needed.
    Open,
    Failed(HandshakeError),
    Finished(PublicKey),
}

struct Outcome {
    end: End,
    said: Vec<u8>,
    left: Vec<u8>,
}

enum Machine {
    Dials(Initiator),
    Listens(Responder),
}

struct Side<C: Crypto> {
    identity: Identity<C>,
    machine: Machine,
}

impl<C: Crypto + Copy> Side<C> {
    fn new(crypto: C, head: u8) -> Self {
        let identity = |secret| Identity::new(crypto, SecretKey::from_bytes(secret).expect("a key"));
        let (own, peer) = (identity(&OWN), identity(&PEER));
        let expected = (head & 4 != 0).then(|| peer.peer_id());
        let options = Options { expected, early_muxer: head & 2 != 0 };
        let mut rng = Seed::new([3; 32]).stream("handshake");
        let key = StaticKey::new(&own, &mut rng);
        let machine = if head & 1 == 0 {
            Machine::Listens(Responder::new(&key, &mut rng, options))
        } else {
            Machine::Dials(Initiator::new(&key, &mut rng, options))
        };
        Self { identity: own, machine }
    }

    fn say(&mut self, said: &mut Vec<u8>) -> usize {
        let mut buf = [0; HANDSHAKE_WRITE_SIZE];
        let n = match &mut self.machine {
            Machine::Dials(machine) => machine.poll_write(&self.identity, &mut buf),
            Machine::Listens(machine) => machine.poll_write(&self.identity, &mut buf),
        };
        said.extend_from_slice(&buf[..n]);
        n
    }

    fn hear(&mut self, bytes: &mut [u8]) -> Result<usize, HandshakeError> {
        match &mut self.machine {
            Machine::Dials(machine) => machine.handle_bytes(&self.identity, bytes),
            Machine::Listens(machine) => machine.handle_bytes(&self.identity, bytes),
        }
    }

    fn state(&self) -> HandshakeState {
        match &self.machine {
            Machine::Dials(machine) => machine.state(),
            Machine::Listens(machine) => machine.state(),
        }
    }

    fn run(mut self, bytes: &[u8], piece: usize) -> Outcome {
        let (mut said, mut pending) = (Vec::new(), Vec::new());
        let mut pieces = bytes.chunks(piece);
        loop {
            let wrote = self.say(&mut said);
            let taken = match self.hear(&mut pending) {
                Ok(taken) => taken,
                Err(error) => {
                    assert_eq!(self.state(), HandshakeState::Failed);
                    assert_eq!(self.say(&mut said), 0, "a dead machine says nothing");
                    assert_eq!(self.hear(&mut pending), Err(HandshakeError::Ended));
                    return Outcome { end: End::Failed(error), said, left: pending };
                }
            };
            assert!(taken <= pending.len());
            pending.drain(..taken);
            if wrote == 0 && taken == 0 {
                let open = self.state() != HandshakeState::Finished;
                // Rule N6: a peer cannot make it wait for more than one message.
                assert!(!open || pending.len() < HANDSHAKE_READ_SIZE, "{} bytes wait", pending.len());
                match pieces.next() {
                    Some(piece) => pending.extend_from_slice(piece),
                    None => break,
                }
            }
        }
        let own = *self.identity.public_key();
        let end = self.finish().map_or(End::Open, |finished| End::Finished(*finished.peer()));
        assert_ne!(end, End::Finished(own), "never with ourselves");
        Outcome { end, said, left: pending }
    }

    fn finish(self) -> Option<Finished> {
        match self.machine {
            Machine::Dials(machine) => machine.finish().ok(),
            Machine::Listens(machine) => machine.finish().ok(),
        }
    }
}
