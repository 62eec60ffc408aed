//! The side that was dialled.

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
    crypto::{Crypto, Identity, Secret},
    id::PeerId,
    limits::{HANDSHAKE_WRITE_SIZE, MAX_PROPOSALS},
    rng::Rng,
    wire::multistream,
};

/// The answering side of a handshake: answers `na` until `/noise` is proposed, sends message 2.
///
/// Driven like [`Initiator`](super::Initiator). Whom it talks to is known after message 3, and
/// admission ([`Finished::admit`]) comes before any byte of data. Before that it says nothing that
/// a stranger could not know but our own identity, which message 2 carries.
#[derive(Debug)]
pub struct Responder {
    state: State,
    /// Lines not written yet: they go out in this order.
    owed: OwedLines,
    proposals: u8,
    static_key: StaticKey,
    expected: Option<PeerId>,
    early_muxer: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct OwedLines {
    header: bool,
    refusals: u8,
    noise: bool,
}

enum State {
    AwaitHeader { ephemeral: Ephemeral },
    AwaitProposal { ephemeral: Ephemeral },
    AwaitMessage1 { ephemeral: Ephemeral },
    SendMessage2(xx::SendMessage2),
    AwaitMessage3(xx::AwaitMessage3),
    Done(Finished),
    Failed,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::AwaitHeader { .. } => "AwaitHeader",
            Self::AwaitProposal { .. } => "AwaitProposal",
            Self::AwaitMessage1 { .. } => "AwaitMessage1",
            Self::SendMessage2(_) => "SendMessage2",
            Self::AwaitMessage3(_) => "AwaitMessage3",
            Self::Done(_) => "Done",
            Self::Failed => "Failed",
        })
    }
}

impl Responder {
    /// Waits for a dialler. The ephemeral key is drawn here. With `options.expected`, any other
    /// peer is an error at message 3 (rarely wanted: [`Finished::admit`] is the usual door).
    pub fn new(static_key: &StaticKey, rng: &mut Rng, options: Options) -> Self {
        Self {
            state: State::AwaitHeader { ephemeral: Ephemeral::new(Secret::new(rng.array())) },
            owed: OwedLines::default(),
            proposals: 0,
            static_key: static_key.clone(),
            expected: options.expected,
            early_muxer: options.early_muxer,
        }
    }

    /// Takes whole messages from the start of `bytes` and returns how many bytes that were; offer
    /// the rest again together with what arrives later. Takes nothing after the end: those bytes
    /// are the channel's. Messages are decrypted in place.
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
                self.owed.header |= found;
                self.state =
                    if found { State::AwaitProposal { ephemeral } } else { State::AwaitHeader { ephemeral } };
                Ok(taken)
            }
            State::AwaitProposal { ephemeral } => {
                let Some((line, taken)) = multistream::read_line(bytes)? else {
                    self.state = State::AwaitProposal { ephemeral };
                    return Ok(0);
                };
                let accepted = line == messages::NOISE;
                self.count_proposal(accepted)?;
                self.state = if accepted {
                    State::AwaitMessage1 { ephemeral }
                } else {
                    State::AwaitProposal { ephemeral }
                };
                Ok(taken)
            }
            State::AwaitMessage1 { ephemeral } => {
                let Some((message, taken)) = messages::message(bytes, 1)? else {
                    self.state = State::AwaitMessage1 { ephemeral };
                    return Ok(0);
                };
                let len = message.len();
                // The libp2p payload of message 1 is empty.
                if len != xx::PAYLOAD_1 {
                    return Err(HandshakeError::WrongLength { message: 1, len });
                }
                let ephemeral = ephemeral.into_pair(identity.crypto());
                let noise = xx::read_message_1(identity.crypto(), &[], ephemeral, message)
                    .map_err(|e| messages::noise_error(e, 1, len))?;
                self.state = State::SendMessage2(noise);
                Ok(taken)
            }
            State::AwaitMessage3(noise) => {
                let Some((message, taken)) = messages::message(bytes, 3)? else {
                    self.state = State::AwaitMessage3(noise);
                    return Ok(0);
                };
                self.state = State::Done(self.read_message_3(identity, noise, message)?);
                Ok(taken)
            }
            State::Failed => Err(HandshakeError::Ended),
            other => {
                self.state = other;
                Ok(0)
            }
        }
    }

    fn count_proposal(&mut self, accepted: bool) -> Result<(), HandshakeError> {
        if accepted {
            self.owed.noise = true;
            return Ok(());
        }
        if self.proposals == MAX_PROPOSALS {
            return Err(HandshakeError::TooManyProposals);
        }
        self.proposals += 1;
        self.owed.refusals += 1;
        Ok(())
    }

    fn read_message_3<C: Crypto>(
        &self,
        identity: &Identity<C>,
        noise: xx::AwaitMessage3,
        message: &mut [u8],
    ) -> Result<Finished, HandshakeError> {
        let len = message.len();
        let (transport, remote_static, at) =
            noise.read(identity.crypto(), message).map_err(|e| messages::noise_error(e, 3, len))?;
        let payload = message.get(at).unwrap_or_default();
        let (key, muxers) = payload::verify(identity, &remote_static, payload)?;
        let found = PeerId::from_public_key(&key);
        match self.expected {
            Some(expected) if expected != found => Err(HandshakeError::WrongPeer { expected, found }),
            _ => Ok(Finished::new(Role::Responder, Peer::new(key, self.early_muxer, muxers)?, transport)),
        }
    }

    /// Writes what is owed at the start of `buf`; returns its length, 0 when nothing is owed.
    /// `buf` must hold [`HANDSHAKE_WRITE_SIZE`] bytes: in a smaller one nothing is written.
    pub fn poll_write<C: Crypto>(&mut self, identity: &Identity<C>, buf: &mut [u8]) -> usize {
        if buf.len() < HANDSHAKE_WRITE_SIZE || matches!(self.state, State::Failed) {
            return 0;
        }
        let lines = self.write_lines(buf);
        let rest = buf.get_mut(lines..).unwrap_or_default();
        match core::mem::replace(&mut self.state, State::Failed) {
            State::SendMessage2(noise) => {
                let crypto = identity.crypto();
                let sent = messages::write_message(rest, |out| {
                    let payload = out.get_mut(xx::PAYLOAD_2..)?;
                    let len = self.static_key.write_payload(self.early_muxer, payload)?;
                    noise.write(crypto, &self.static_key.pair, out, len).ok()
                });
                match sent {
                    Some((noise, n)) => {
                        self.state = State::AwaitMessage3(noise);
                        lines + n
                    }
                    None => 0,
                }
            }
            other => {
                self.state = other;
                if let State::AwaitMessage1 { ephemeral } = &mut self.state
                    && lines == 0
                {
                    // While message 1 is on its way.
                    ephemeral.prepare(identity.crypto());
                }
                lines
            }
        }
    }

    fn write_lines(&mut self, buf: &mut [u8]) -> usize {
        let owed = core::mem::take(&mut self.owed);
        let header = owed.header.then_some(multistream::HEADER);
        let refusals = (0..owed.refusals).map(|_| multistream::NOT_AVAILABLE);
        let noise = owed.noise.then_some(messages::NOISE);
        messages::write_lines(buf, header.into_iter().chain(refusals).chain(noise))
    }

    /// Where the handshake stands.
    pub const fn state(&self) -> HandshakeState {
        match self.state {
            State::AwaitHeader { .. } | State::AwaitProposal { .. } => HandshakeState::Multistream,
            State::AwaitMessage1 { .. } | State::SendMessage2(_) | State::AwaitMessage3(_) => {
                HandshakeState::Noise
            }
            State::Done(_) => HandshakeState::Finished,
            State::Failed => HandshakeState::Failed,
        }
    }

    /// Whether [`Responder::finish`] will succeed.
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

wipes_by_its_fields!(Responder {
    secret: state, static_key;
    public: owed, proposals, expected, early_muxer
});

impl zeroize::ZeroizeOnDrop for State {}
const _: fn(&State) = |state| match state {
    State::AwaitHeader { ephemeral }
    | State::AwaitProposal { ephemeral }
    | State::AwaitMessage1 { ephemeral } => wipes(ephemeral),
    State::SendMessage2(noise) => wipes(noise),
    State::AwaitMessage3(noise) => wipes(noise),
    State::Done(finished) => wipes(finished),
    State::Failed => {}
};
