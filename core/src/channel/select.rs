//! multistream-select inside the encrypted connection: for the muxer, and at the start of every
//! stream. Lines arrive cut anywhere, so one line is collected here; what is owed is kept as flags
//! and encoded when there is room.

use crate::{
    handshake::YAMUX,
    limits::MAX_PROPOSALS,
    wire::multistream::{self, LineError, MAX_LINE},
};

use super::protocols::Protocols;

/// The protocol of pings, as identify names it.
pub(crate) const PING_NAME: &[u8] = b"/ipfs/ping/1.0.0";

/// The protocols that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Yamux,
    Ping,
    /// One of the channel's [`Protocols`].
    App(u8),
}

impl Protocol {
    /// The name of one that every channel speaks.
    pub(super) const fn fixed_name(self) -> Option<&'static [u8]> {
        match self {
            Self::Yamux => Some(YAMUX),
            Self::Ping => Some(PING_NAME),
            Self::App(_) => None,
        }
    }

    fn name(self, protocols: &Protocols) -> &[u8] {
        match self {
            Self::App(number) => protocols.name(number),
            other => other.fixed_name().unwrap_or_default(),
        }
    }
}

/// Why a negotiation ended without agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The peer's lines are not multistream-select 1.0.
    #[error("{0}")]
    Line(#[from] LineError),
    /// We proposed, and the peer does not speak it.
    #[error("the peer does not speak the protocol")]
    NotAvailable,
    /// We proposed, and the answer is neither our proposal nor `na`.
    #[error("the peer answers another protocol than proposed")]
    WrongAnswer,
    /// The peer proposed what we do not speak, too often.
    #[error("the peer made too many proposals")]
    TooManyProposals,
}

/// Lines to be written, in this order: the header, refusals, and a name (proposed or accepted).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwedLines {
    pub(super) header: bool,
    pub(super) refusals: u8,
    pub(super) name: Option<Protocol>,
}

impl OwedLines {
    pub(super) const fn proposal(protocol: Protocol) -> Self {
        Self { header: true, refusals: 0, name: Some(protocol) }
    }

    pub(super) const fn is_empty(&self) -> bool {
        !self.header && self.refusals == 0 && self.name.is_none()
    }

    /// Writes as many whole lines as fit; returns their length.
    pub(super) fn write(&mut self, protocols: &Protocols, out: &mut [u8]) -> usize {
        let mut at = 0;
        while let Some(line) = self.first(protocols) {
            let Some(n) = out.get_mut(at..).and_then(|out| multistream::write_line(line, out)) else { break };
            at += n;
            self.drop_first();
        }
        at
    }

    fn first<'a>(&self, protocols: &'a Protocols) -> Option<&'a [u8]> {
        if self.header {
            Some(multistream::HEADER)
        } else if self.refusals > 0 {
            Some(multistream::NOT_AVAILABLE)
        } else {
            self.name.map(|name| name.name(protocols))
        }
    }

    const fn drop_first(&mut self) {
        if self.header {
            self.header = false;
        } else if self.refusals > 0 {
            self.refusals -= 1;
        } else {
            self.name = None;
        }
    }
}

/// One side of a negotiation.
#[derive(Clone, Debug)]
pub(super) struct Select {
    line: heapless::Vec<u8, MAX_LINE>,
    heard_header: bool,
    side: Side,
}

#[derive(Clone, Copy, Debug)]
enum Side {
    /// We proposed this.
    Proposer(Protocol),
    /// We answer; so many were refused.
    Listener { refused: u8 },
}

impl Select {
    /// Proposes `protocol`: owes its lines at once.
    pub(super) const fn propose(protocol: Protocol) -> (Self, OwedLines) {
        (Self::new(Side::Proposer(protocol)), OwedLines::proposal(protocol))
    }

    /// Waits for proposals.
    pub(super) const fn listen() -> Self {
        Self::new(Side::Listener { refused: 0 })
    }

    const fn new(side: Side) -> Self {
        Self { line: heapless::Vec::new(), heard_header: false, side }
    }

    /// Takes at most one line from `input`; returns the bytes taken and the protocol once agreed.
    /// Answers are added to `owed`. `known` says which proposals are accepted.
    pub(super) fn handle(
        &mut self,
        input: &[u8],
        owed: &mut OwedLines,
        protocols: &Protocols,
        known: impl Fn(&[u8]) -> Option<Protocol>,
    ) -> Result<(usize, Option<Protocol>), SelectError> {
        let (taken, whole) = self.collect(input)?;
        if !whole {
            return Ok((taken, None));
        }
        let line = core::mem::take(&mut self.line);
        let (text, _) = multistream::read_line(&line)?.ok_or(LineError::NoNewline)?;
        if !self.heard_header {
            if text != multistream::HEADER {
                return Err(LineError::NotMultistream.into());
            }
            self.heard_header = true;
            owed.header |= matches!(self.side, Side::Listener { .. });
            return Ok((taken, None));
        }
        let agreed = match &mut self.side {
            Side::Proposer(protocol) if text == protocol.name(protocols) => Some(*protocol),
            Side::Proposer(_) if text == multistream::NOT_AVAILABLE => return Err(SelectError::NotAvailable),
            Side::Proposer(_) => return Err(SelectError::WrongAnswer),
            Side::Listener { refused } => match known(text) {
                Some(protocol) => {
                    owed.name = Some(protocol);
                    Some(protocol)
                }
                None if *refused == MAX_PROPOSALS => return Err(SelectError::TooManyProposals),
                None => {
                    *refused += 1;
                    owed.refusals += 1;
                    None
                }
            },
        };
        Ok((taken, agreed))
    }

    /// Collects bytes up to the end of one line; returns how many, and whether the line is whole.
    fn collect(&mut self, input: &[u8]) -> Result<(usize, bool), SelectError> {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let missing = match multistream::line_len(&self.line)? {
                Some(total) if total == self.line.len() => return Ok((taken, true)),
                Some(total) => total - self.line.len(),
                None => 1,
            };
            let part = &rest[..rest.len().min(missing)];
            if part.is_empty() {
                return Ok((taken, false));
            }
            // `line_len` bounds a line by MAX_LINE.
            let fits = self.line.extend_from_slice(part);
            debug_assert!(fits.is_ok());
            taken += part.len();
        }
    }
}
