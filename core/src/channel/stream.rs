//! One yamux stream: its windows, what it owes, and what is spoken on it.

use super::{
    app::{App, StreamEnd},
    ping::{Echo, Pinger},
    protocols::Protocols,
    select::{OwedLines, Select},
    write::Out,
    yamux::{ACK, FIN, HEADER_LEN, Header, Kind, RST, SYN, YamuxError},
};
use crate::{
    crypto::Crypto,
    limits::{YAMUX_WINDOW, YAMUX_WINDOW_UPDATE},
    time::{Instant, earlier},
    zoo::{self, Bug},
};

/// One stream. All sizes are in bytes of data frames (yamux, "Flow Control").
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// What we may still send.
    pub(super) send_window: u32,
    /// What the peer may still send.
    receive_window: u32,
    /// Taken from the stream and not given back to its window.
    consumed: u32,
    pub(super) syn_owed: bool,
    ack_owed: bool,
    pub(super) fin_owed: bool,
    fin_sent: bool,
    fin_received: bool,
    pub(super) lines: OwedLines,
    /// Until when a protocol must be agreed on.
    pub(super) deadline: Option<Instant>,
    pub(super) phase: Phase,
    /// What its user sees; `None` for pings, and until the peer has named a protocol.
    pub(super) app: Option<App>,
}

/// What is spoken on a stream.
#[allow(clippy::large_enum_variant)] // streams are slots of one table: the largest decides anyway
#[derive(Debug)]
pub(super) enum Phase {
    /// Agreeing on a protocol that the peer proposes.
    Listening(Select),
    /// Agreeing on what we propose.
    Proposing(Select),
    /// The peer pings us.
    Echo(Echo),
    /// We ping the peer: the state is in [`Pinger`].
    Probe,
    /// Bytes of a protocol that others speak: they go to the stream's user, and come from it.
    App,
    /// Given up: a reset is owed, data is thrown away.
    Reset,
    /// Over for yamux: the place is kept until its user was told.
    Ended,
}

/// What remains of a stream after it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It stays.
    Stays,
    /// Its slot is free.
    Ended,
}

impl Stream {
    /// A stream that the peer opened.
    pub(super) const fn inbound(id: u32, deadline: Instant) -> Self {
        let phase = Phase::Listening(Select::listen());
        Self::new(id, false, OwedLines { header: false, refusals: 0, name: None }, deadline, phase)
    }

    /// A stream that we open, for pings or for a user.
    pub(super) fn outbound(
        id: u32,
        select: (Select, OwedLines),
        deadline: Instant,
        app: Option<App>,
    ) -> Self {
        Self { app, ..Self::new(id, true, select.1, deadline, Phase::Proposing(select.0)) }
    }

    const fn new(id: u32, ours: bool, lines: OwedLines, deadline: Instant, phase: Phase) -> Self {
        Self {
            id,
            send_window: YAMUX_WINDOW,
            receive_window: YAMUX_WINDOW,
            consumed: 0,
            syn_owed: ours,
            ack_owed: !ours,
            fin_owed: false,
            fin_sent: false,
            fin_received: false,
            lines,
            deadline: Some(deadline),
            phase,
            app: None,
        }
    }

    /// Whether we ping on it.
    pub(super) const fn is_probe(&self) -> bool {
        self.app.is_none() && matches!(self.phase, Phase::Proposing(_) | Phase::Probe)
    }

    /// Whether this is the stream with this id, and not over.
    pub(super) const fn is(&self, id: u32) -> bool {
        self.id == id && !matches!(self.phase, Phase::Ended)
    }

    /// Yamux is through with it; its user may still have to be told, for the first reason that there was.
    pub(super) fn end(&mut self, end: StreamEnd) {
        self.phase = Phase::Ended;
        self.tell_end(end);
    }

    /// Gives it up for this reason: a reset is owed, and the user is told.
    pub(super) fn give_up(&mut self, end: StreamEnd) {
        self.tell_end(end);
        self.reset();
    }

    fn tell_end(&mut self, end: StreamEnd) {
        self.deadline = None;
        if let Some(app) = self.app.as_mut().filter(|app| !app.dropped) {
            app.end.get_or_insert(end);
        }
    }

    /// When something about it is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Reset | Phase::Ended) {
            // Whatever limit it had: it only waits to be written, or told.
            return None;
        }
        earlier(self.deadline, self.app.as_ref().and_then(App::next_timeout))
    }

    /// Whether its protocol is agreed on.
    pub(super) const fn is_agreed(&self) -> bool {
        matches!(self.phase, Phase::App)
    }

    /// Whether both sides have finished.
    pub(super) const fn is_over(&self) -> bool {
        self.fin_sent && self.fin_received
    }

    /// Whether its user may write now.
    pub(super) fn can_write(&self) -> bool {
        matches!(self.phase, Phase::App) && self.lines.is_empty() && !self.fin_owed && self.send_window > 0
    }

    /// A data frame of `length` bytes begins.
    pub(super) fn handle_data(&mut self, length: u32) -> Result<(), YamuxError> {
        if self.fin_received && length > 0 {
            return Err(YamuxError::DataAfterFin(self.id));
        }
        let left = self.receive_window.checked_sub(length).ok_or(YamuxError::WindowExceeded(self.id))?;
        self.receive_window = left;
        Ok(())
    }

    /// The peer lets us send `delta` more.
    pub(super) fn handle_window_update(&mut self, delta: u32) -> Result<(), YamuxError> {
        self.send_window = self.send_window.checked_add(delta).ok_or(YamuxError::WindowOverflow(self.id))?;
        Ok(())
    }

    /// `n` bytes of data were taken.
    pub(super) const fn consume(&mut self, n: usize) {
        // At most a window, since `handle_data` let it in.
        self.consumed = self.consumed.saturating_add(n as u32);
    }

    /// The peer sends no more. Whether it had both sides closed then.
    pub(super) const fn handle_fin(&mut self) -> bool {
        self.fin_received = true;
        self.fin_sent
    }

    /// Gives the stream up: a reset is owed.
    pub(super) fn reset(&mut self) {
        self.phase = Phase::Reset;
        self.deadline = None;
    }

    /// Writes what the user has, as far as there is room; with `whole`, all of it or nothing. Returns
    /// how much that was.
    pub(super) fn write_app(&mut self, bytes: &[u8], whole: bool, out: &mut Out<'_>) -> usize {
        if !self.can_write() {
            return 0;
        }
        let (flags, id, window) = (self.flags(), self.id, self.send_window);
        let sent = if whole && (out.data_room() < bytes.len() || (window as usize) < bytes.len()) {
            0
        } else {
            out.bytes(flags, id, window, bytes)
        };
        if sent > 0 {
            self.handle_sent(sent);
        }
        sent
    }

    /// Writes what is owed, as far as `out` and the peer's window have room.
    pub(super) fn write(
        &mut self,
        crypto: &impl Crypto,
        now: Instant,
        pinger: &mut Pinger,
        protocols: &Protocols,
        out: &mut Out<'_>,
    ) -> Written {
        if matches!(self.phase, Phase::Ended) {
            return Written::Stays;
        }
        if matches!(self.phase, Phase::Reset) {
            // One that the peer never heard of needs no reset.
            let gone = self.syn_owed || out.header(Header::new(Kind::WindowUpdate, RST, self.id, 0));
            return if gone { Written::Ended } else { Written::Stays };
        }
        self.write_lines(protocols, out);
        self.write_payload(crypto, now, pinger, out);
        self.write_window_update(out);
        self.write_fin(out);
        if self.is_over() { Written::Ended } else { Written::Stays }
    }

    fn write_lines(&mut self, protocols: &Protocols, out: &mut Out<'_>) {
        if self.lines.is_empty() {
            return;
        }
        let (flags, id, mut lines) = (self.flags(), self.id, self.lines);
        let sent = out.data(flags, id, self.send_window, |room| lines.write(protocols, room));
        if sent > 0 {
            self.lines = lines;
            self.handle_sent(sent);
        }
    }

    fn write_payload(&mut self, crypto: &impl Crypto, now: Instant, pinger: &mut Pinger, out: &mut Out<'_>) {
        // What was agreed on is confirmed before it is spoken.
        if !self.lines.is_empty() {
            return;
        }
        let (flags, id, window) = (self.flags(), self.id, self.send_window);
        let sent = match &mut self.phase {
            Phase::Echo(echo) => {
                let sent = out.bytes(flags, id, window, echo.owed());
                echo.sent(sent);
                sent
            }
            Phase::Probe if !self.fin_sent => {
                let sent = out.bytes(flags, id, window, pinger.owed(crypto, now));
                pinger.sent(now, sent);
                sent
            }
            _ => 0,
        };
        if sent > 0 {
            self.handle_sent(sent);
        }
    }

    fn write_window_update(&mut self, out: &mut Out<'_>) {
        let delta = if self.fin_received || self.consumed < YAMUX_WINDOW_UPDATE { 0 } else { self.consumed };
        if delta == 0 && !self.ack_owed {
            return;
        }
        let given = if zoo::has(Bug::WindowLeaks) { delta / 2 } else { delta };
        if out.header(Header::new(Kind::WindowUpdate, self.flags(), self.id, given)) {
            self.consumed -= delta;
            self.receive_window = self.receive_window.saturating_add(given);
            self.ack_owed = false;
        }
    }

    pub(super) fn write_fin(&mut self, out: &mut Out<'_>) {
        let ended = self.fin_owed || (self.fin_received && matches!(self.phase, Phase::Echo(_)));
        let owes = match &self.phase {
            Phase::Echo(echo) => !echo.owed().is_empty(),
            _ => false,
        };
        if ended && !self.fin_sent && !owes && self.lines.is_empty() {
            self.fin_sent = out.header(Header::new(Kind::Data, FIN | self.flags(), self.id, 0));
        }
    }

    const fn flags(&self) -> u16 {
        (if self.syn_owed { SYN } else { 0 }) | (if self.ack_owed { ACK } else { 0 })
    }

    const fn handle_sent(&mut self, n: usize) {
        self.send_window -= n as u32;
        self.syn_owed = false;
        self.ack_owed = false;
    }
}

/// A header and the least data that is worth a frame.
const _: () = assert!(HEADER_LEN + 1 < crate::limits::CHANNEL_WRITE_SIZE - 18);
