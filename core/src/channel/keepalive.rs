//! yamux pings (yamux, "Type Field"), for a peer that does not speak `/ipfs/ping/1.0.0`: a connection that is
//! half open must be noticed there too.

use core::time::Duration;

use super::ping::Pinger;
use crate::time::Instant;

/// Off until the peer has refused the protocol.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Option<Duration>,
    timeout: Duration,
    /// Of the ping under way.
    value: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Off,
    /// Nothing to do until then.
    Waiting(Instant),
    /// A ping is to be written, and answered by then.
    Owed(Instant),
    /// It was written.
    Asked(Instant),
}

impl Keepalive {
    /// With the interval and the timeout of the pings whose place it takes.
    pub(super) const fn instead_of(pinger: &Pinger) -> Self {
        Self { interval: pinger.interval(), timeout: pinger.timeout(), value: 0, state: State::Off }
    }

    /// Begins, if pings are sent on their own at all.
    pub(super) fn begin(&mut self, now: Instant) {
        self.state = self.interval.map_or(State::Off, |interval| State::Waiting(now + interval));
    }

    /// Asks no more.
    pub(super) const fn stop(&mut self) {
        self.state = State::Off;
    }

    /// The value of a ping to write now.
    pub(super) const fn owed(&self) -> Option<u32> {
        if matches!(self.state, State::Owed(_)) { Some(self.value) } else { None }
    }

    /// [`Keepalive::owed`] was written.
    pub(super) const fn sent(&mut self) {
        if let State::Owed(deadline) = self.state {
            self.state = State::Asked(deadline);
        }
    }

    /// An answer arrived; one to nothing says nothing.
    pub(super) fn handle(&mut self, now: Instant, value: u32) {
        if matches!(self.state, State::Asked(_)) && value == self.value {
            self.value = self.value.wrapping_add(1);
            self.begin(now);
        }
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Off => None,
            State::Waiting(at) | State::Owed(at) | State::Asked(at) => Some(at),
        }
    }

    /// False when a ping was not answered in time.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        match self.state {
            State::Waiting(at) if at <= now => {
                self.state = State::Owed(now + self.timeout);
                true
            }
            State::Owed(at) | State::Asked(at) => now < at,
            _ => true,
        }
    }
}
