//! The side that dialled.

use super::{
    HandshakeState, Options,
    error::HandshakeError,
    finished::{Finished, Peer, Role},
    messages,
    payload::{self, StaticKey},
    wipe::{wipes, wipes_by_its_fields},
    xx::{self, Ephemeral},
};
use crate::{
    crypto::{Crypto, Identity, PublicKey, Secret},
    id::PeerId,
    limits::HANDSHAKE_WRITE_SIZE,
    rng::Rng,
    wire::multistream,
};

/// The dialling side of a handshake: proposes `/noise`, sends messages 1 and 3.
///
/// Drive it like everything here: feed what arrived to [`Initiator::handle_bytes`], then call
/// [`Initiator::poll_write`] until it returns 0. It ends with [`Initiator::finish`], or with an
/// error; a deadline is the caller's to keep.
#[derive(Debug)]
pub struct Initiator {
    state: State,
    static_key: StaticKey,
    expected: Option<PeerId>,
    early_muxer: bool,
}

enum State {
    Propose { ephemeral: Ephemeral },
    AwaitHeader { ephemeral: Ephemeral },
    AwaitNoise { ephemeral: Ephemeral },
    SendMessage1 { ephemeral: Ephemeral },
    AwaitMessage2(xx::AwaitMessage2),
    SendMessage3(xx::SendMessage3, Peer),
    Done(Finished),
    Failed,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Propose { .. } => "Propose",
            Self::AwaitHeader { .. } => "AwaitHeader",
            Self::AwaitNoise { .. } => "AwaitNoise",
            Self::SendMessage1 { .. } => "SendMessage1",
            Self::AwaitMessage2(_) => "AwaitMessage2",
            Self::SendMessage3(..) => "SendMessage3",
            Self::Done(_) => "Done",
            Self::Failed => "Failed",
        })
    }
}

impl Initiator {
    /// A handshake with whoever answers, or, with `options.expected`, with that peer only: another
    /// one is an error before our identity is sent. The ephemeral key is drawn here.
    pub fn new(static_key: &StaticKey, rng: &mut Rng, options: Options) -> Self {
        Self {
            state: State::Propose { ephemeral: Ephemeral::new(Secret::new(rng.array())) },
            static_key: static_key.clone(),
            expected: options.expected,
            early_muxer: options.early_muxer,
        }
    }

    /// Takes whole messages from the start of `bytes` and returns how many bytes that were; offer
    /// the rest again together with what arrives later. Takes nothing while something is to be
    /// written, and nothing after the end. Messages are decrypted in place.
    ///
    /// # Errors
    /// What the peer did wrong; the machine is dead then.
    pub fn handle_bytes<C: Crypto>(
        &mut self,
        identity: &Identity<C>,
        bytes: &mut [u8],
    ) -> Result<usize, HandshakeError> {
        let mut taken = 0;
        loop {
            let rest = bytes.get_mut(taken..).unwrap_or_default();
            match self.step(identity, rest)? {
                0 => return Ok(taken),
                n => taken += n,
            }
        }
    }

    /// Takes one message; 0 when none is whole or expected. Any error leaves `Failed` behind.
    fn step<C: Crypto>(&mut self, identity: &Identity<C>, bytes: &mut [u8]) -> Result<usize, HandshakeError> {
        match core::mem::replace(&mut self.state, State::Failed) {
            State::AwaitHeader { ephemeral } => {
                let (found, taken) = messages::header(bytes)?;
                self.state =
                    if found { State::AwaitNoise { ephemeral } } else { State::AwaitHeader { ephemeral } };
                Ok(taken)
            }
            State::AwaitNoise { ephemeral } => {
                let Some((line, taken)) = multistream::read_line(bytes)? else {
                    self.state = State::AwaitNoise { ephemeral };
                    return Ok(0);
                };
                if line != messages::NOISE {
                    return Err(HandshakeError::NotNoise);
                }
                self.state = State::SendMessage1 { ephemeral };
                Ok(taken)
            }
            State::AwaitMessage2(noise) => {
                let Some((message, taken)) = messages::message(bytes, 2)? else {
                    self.state = State::AwaitMessage2(noise);
                    return Ok(0);
                };
                self.state = self.read_message_2(identity, noise, message)?;
                Ok(taken)
            }
            State::Failed => Err(HandshakeError::Ended),
            other => {
                self.state = other;
                Ok(0)
            }
        }
    }

    fn read_message_2<C: Crypto>(
        &self,
        identity: &Identity<C>,
        noise: xx::AwaitMessage2,
        message: &mut [u8],
    ) -> Result<State, HandshakeError> {
        let len = message.len();
        let (noise, remote_static, at) =
            noise.read(identity.crypto(), message).map_err(|e| messages::noise_error(e, 2, len))?;
        let payload = message.get(at).unwrap_or_default();
        let (key, muxers) = payload::verify(identity, &remote_static, payload)?;
        let found = PeerId::from_public_key(&key);
        match self.expected {
            Some(expected) if expected != found => Err(HandshakeError::WrongPeer { expected, found }),
            _ => Ok(State::SendMessage3(noise, Peer::new(key, self.early_muxer, muxers)?)),
        }
    }

    /// Writes what is owed at the start of `buf`; returns its length, 0 when nothing is owed.
    /// `buf` must hold [`HANDSHAKE_WRITE_SIZE`] bytes: in a smaller one nothing is written.
    pub fn poll_write<C: Crypto>(&mut self, identity: &Identity<C>, buf: &mut [u8]) -> usize {
        if buf.len() < HANDSHAKE_WRITE_SIZE {
            return 0;
        }
        let crypto = identity.crypto();
        let (state, written) = match core::mem::replace(&mut self.state, State::Failed) {
            State::Propose { ephemeral } => {
                let written = messages::write_lines(buf, [multistream::HEADER, messages::NOISE]);
                (State::AwaitHeader { ephemeral }, written)
            }
            State::SendMessage1 { ephemeral } => {
                let ephemeral = ephemeral.into_pair(crypto);
                let sent = messages::write_message(buf, |out| {
                    xx::write_message_1(crypto, &[], ephemeral, out, 0).ok()
                });
                sent.map_or((State::Failed, 0), |(noise, n)| (State::AwaitMessage2(noise), n))
            }
            State::SendMessage3(noise, peer) => {
                let sent = messages::write_message(buf, |out| {
                    let payload = out.get_mut(xx::PAYLOAD_3..)?;
                    let len = self.static_key.write_payload(self.early_muxer, payload)?;
                    noise.write(crypto, &self.static_key.pair, out, len).ok()
                });
                sent.map_or((State::Failed, 0), |(transport, n)| {
                    (State::Done(Finished::new(Role::Initiator, peer, transport)), n)
                })
            }
            other => (other, 0),
        };
        self.state = state;
        if written == 0 {
            self.prepare(crypto);
        }
        written
    }

    /// Does ahead what will be needed, while the peer's answer is on its way.
    fn prepare(&mut self, crypto: &impl Crypto) {
        if let State::AwaitHeader { ephemeral } | State::AwaitNoise { ephemeral } = &mut self.state {
            ephemeral.prepare(crypto);
        }
    }

    /// Where the handshake stands.
    pub const fn state(&self) -> HandshakeState {
        match self.state {
            State::Propose { .. } | State::AwaitHeader { .. } | State::AwaitNoise { .. } => {
                HandshakeState::Multistream
            }
            State::SendMessage1 { .. } | State::AwaitMessage2(_) | State::SendMessage3(..) => {
                HandshakeState::Noise
            }
            State::Done(_) => HandshakeState::Finished,
            State::Failed => HandshakeState::Failed,
        }
    }

    /// Who answered, proven, once message 2 was read and until message 3 is written: whoever is not
    /// wanted is turned away without being shown our own identity.
    pub const fn peer(&self) -> Option<&PublicKey> {
        match &self.state {
            State::SendMessage3(_, peer) => Some(&peer.key),
            _ => None,
        }
    }

    /// Whether [`Initiator::finish`] will succeed.
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// Hands over the finished handshake, or gives the machine back.
    #[allow(clippy::result_large_err)] // the machine itself, moved
    pub fn finish(self) -> Result<Finished, Self> {
        match self.state {
            State::Done(finished) => Ok(finished),
            state => Err(Self { state, ..self }),
        }
    }
}

wipes_by_its_fields!(Initiator { secret: state, static_key; public: expected, early_muxer });

impl zeroize::ZeroizeOnDrop for State {}
const _: fn(&State) = |state| match state {
    State::Propose { ephemeral }
    | State::AwaitHeader { ephemeral }
    | State::AwaitNoise { ephemeral }
    | State::SendMessage1 { ephemeral } => wipes(ephemeral),
    State::AwaitMessage2(noise) => wipes(noise),
    State::SendMessage3(noise, _) => wipes(noise),
    State::Done(finished) => wipes(finished),
    State::Failed => {}
};
