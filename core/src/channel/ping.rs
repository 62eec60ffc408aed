//! `/ipfs/ping/1.0.0` (libp2p ping): 32 bytes there and back, on one long-lived stream each way.

use core::time::Duration;

use crate::{
    crypto::Crypto,
    limits::MAX_PING_FAILURES,
    time::{Instant, earlier},
};

/// Length of a ping in bytes.
pub(super) const PING_LEN: usize = 32;

/// The answering side of one inbound ping stream: collects a ping, owes it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    bytes: [u8; PING_LEN],
    filled: usize,
    sent: usize,
}

impl Echo {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; PING_LEN], filled: 0, sent: 0 }
    }

    /// Takes bytes of one ping; none while the last one is not answered.
    pub(super) fn handle(&mut self, input: &[u8]) -> usize {
        let room = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let n = room.len().min(input.len());
        room[..n].copy_from_slice(&input[..n]);
        self.filled += n;
        n
    }

    /// What is to be sent back, nothing until the ping is whole.
    pub(super) fn owed(&self) -> &[u8] {
        if self.filled == PING_LEN { self.bytes.get(self.sent..).unwrap_or_default() } else { &[] }
    }

    /// `n` bytes of [`Echo::owed`] were sent.
    pub(super) const fn sent(&mut self, n: usize) {
        self.sent += n;
        if self.sent >= PING_LEN {
            *self = Self::new();
        }
    }
}

/// The asking side: when to ping, what was sent, and how long the answer took.
#[derive(Debug)]
pub(super) struct Pinger {
    interval: Option<Duration>,
    timeout: Duration,
    /// Where the bytes of the pings come from, with `count`.
    seed: [u8; 32],
    count: u64,
    asking: Asking,
    next: Option<Instant>,
    deadline: Option<Instant>,
    failures: u8,
    /// The peer speaks the protocol and is not going away.
    enabled: bool,
    last_rtt: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Asking {
    Idle,
    /// As soon as the stream is ready.
    Wanted,
    Sending {
        bytes: [u8; PING_LEN],
        sent: usize,
        heard: usize,
        at: Instant,
    },
}

/// The peer answered with other bytes, or more than were sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrongEcho;

impl Pinger {
    pub(super) const fn new(seed: [u8; 32], interval: Option<Duration>, timeout: Duration) -> Self {
        Self {
            interval,
            timeout,
            seed,
            count: 0,
            asking: Asking::Idle,
            next: None,
            deadline: None,
            failures: 0,
            enabled: true,
            last_rtt: None,
        }
    }

    pub(super) const fn interval(&self) -> Option<Duration> {
        self.interval
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) const fn last_rtt(&self) -> Option<Duration> {
        self.last_rtt
    }

    /// Schedules the first ping for `now`, if pings are sent on their own at all.
    pub(super) fn begin(&mut self, now: Instant) {
        self.next = self.interval.map(|_| now);
    }

    /// Asks now; false when that is under way, or the peer does not speak it.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        if !self.enabled || !matches!(self.asking, Asking::Idle) {
            return false;
        }
        self.asking = Asking::Wanted;
        self.next = None;
        self.deadline = Some(now + self.timeout);
        true
    }

    /// Asks no more.
    pub(super) const fn disable(&mut self) {
        self.enabled = false;
        self.asking = Asking::Idle;
        self.next = None;
        self.deadline = None;
    }

    /// Whether a stream is needed: a ping waits to be sent or answered.
    pub(super) const fn is_asking(&self) -> bool {
        !matches!(self.asking, Asking::Idle)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        earlier(self.next, self.deadline)
    }

    /// Starts a ping whose time has come; false when one was not answered in time.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return false;
        }
        if self.next.is_some_and(|next| next <= now) {
            self.next = None;
            self.ask(now);
        }
        true
    }

    /// The bytes to write on the ping stream now.
    pub(super) fn owed(&mut self, crypto: &impl Crypto, now: Instant) -> &[u8] {
        if matches!(self.asking, Asking::Wanted) {
            let bytes = crypto.sha256(&[&self.seed, &self.count.to_le_bytes()]);
            self.count = self.count.wrapping_add(1);
            self.asking = Asking::Sending { bytes, sent: 0, heard: 0, at: now };
        }
        match &self.asking {
            Asking::Sending { bytes, sent, .. } => bytes.get(*sent..).unwrap_or_default(),
            _ => &[],
        }
    }

    /// `n` bytes of [`Pinger::owed`] were written at `now`.
    pub(super) const fn sent(&mut self, now: Instant, n: usize) {
        if n == 0 {
            return;
        }
        if let Asking::Sending { sent, at, .. } = &mut self.asking {
            *sent += n;
            *at = now;
        }
    }

    /// Takes an answer's bytes; the round-trip time once it is whole.
    pub(super) fn handle(&mut self, now: Instant, input: &[u8]) -> Result<Option<Duration>, WrongEcho> {
        if !self.enabled {
            // The answer to what was asked before one side went away.
            return Ok(None);
        }
        let Asking::Sending { bytes, sent, heard, at } = &mut self.asking else { return Err(WrongEcho) };
        let end = *heard + input.len();
        if end > *sent || bytes.get(*heard..end) != Some(input) {
            return Err(WrongEcho);
        }
        *heard = end;
        if end < PING_LEN {
            return Ok(None);
        }
        let rtt = now.since(*at);
        self.asking = Asking::Idle;
        self.failures = 0;
        self.deadline = None;
        self.next = self.interval.map(|interval| now + interval);
        self.last_rtt = Some(rtt);
        Ok(Some(rtt))
    }

    /// The stream ended. An unanswered ping is asked again on another stream, within its deadline;
    /// false when that happened too often.
    pub(super) const fn handle_stream_end(&mut self) -> bool {
        if matches!(self.asking, Asking::Idle) {
            return true;
        }
        self.asking = Asking::Wanted;
        self.failures += 1;
        self.failures < MAX_PING_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::RustCrypto;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_echo_gives_back_one_ping_at_a_time() {
        let mut echo = Echo::new();
        assert_eq!(echo.handle(&[7; 40]), 32);
        assert_eq!(echo.handle(&[8; 8]), 0, "not before it was answered");
        assert_eq!(echo.owed(), [7; 32]);
        echo.sent(20);
        assert_eq!(echo.owed(), [7; 12]);
        echo.sent(12);
        assert_eq!(echo.owed(), []);
        assert_eq!(echo.handle(&[8; 8]), 8);
    }

    #[test]
    fn a_ping_is_measured_from_its_last_byte() {
        let mut pinger = Pinger::new([1; 32], Some(SECOND), SECOND);
        pinger.begin(Instant::ZERO);
        assert!(pinger.handle_timeout(Instant::ZERO));
        assert!(!pinger.ask(Instant::ZERO), "one at a time");
        let bytes = pinger.owed(&RustCrypto, Instant::ZERO).to_vec();
        pinger.sent(Instant::from_millis(1), 32);
        assert_eq!(pinger.handle(Instant::from_millis(3), &bytes[..5]), Ok(None));
        let rtt = pinger.handle(Instant::from_millis(5), &bytes[5..]);
        assert_eq!(rtt, Ok(Some(Duration::from_millis(4))));
        assert_eq!(pinger.next_timeout(), Some(Instant::from_millis(1005)));
        assert_eq!(pinger.handle(Instant::from_millis(6), &[0]), Err(WrongEcho), "nobody asked");
    }

    #[test]
    fn wrong_or_early_bytes_are_refused() {
        let mut pinger = Pinger::new([1; 32], None, SECOND);
        assert!(pinger.ask(Instant::ZERO));
        let bytes = pinger.owed(&RustCrypto, Instant::ZERO).to_vec();
        pinger.sent(Instant::ZERO, 16);
        assert_eq!(pinger.handle(Instant::ZERO, &bytes[..17]), Err(WrongEcho), "not sent yet");
        pinger.sent(Instant::ZERO, 16);
        assert_eq!(pinger.handle(Instant::ZERO, &[bytes[0] ^ 1]), Err(WrongEcho));
        assert!(!pinger.handle_timeout(Instant::ZERO + SECOND), "too late");
    }
}
