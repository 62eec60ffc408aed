//! When to dial whom: every known endpoint in turn, a short while apart, then a pause that grows.

use core::{net::SocketAddr, time::Duration};

use super::book::Endpoint;
use crate::{
    limits::{
        DIAL_BACKOFF_MAX, DIAL_BACKOFF_MIN, DIAL_NEWS_INTERVAL, DIAL_STAGGER, LOOKUP_AFTER, MAX_ATTEMPTS,
        MAX_ENDPOINTS,
    },
    rng::Rng,
    time::{Instant, earlier},
    zoo::{self, Bug},
};

/// What a member's dialler wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialOutcome {
    /// Dial this endpoint now.
    Dial(Endpoint),
    /// No endpoint has led to a channel so far, or none is known: look the member up.
    LookUp,
    /// The first round of this outage failed.
    Unreachable,
}

/// The dialling of one member that has no channel.
#[derive(Debug)]
pub(super) struct Dialer {
    /// Endpoints not yet tried in this round, the next one last.
    untried: heapless::Vec<Endpoint, MAX_ENDPOINTS>,
    /// Attempts whose end is not known.
    in_flight: u8,
    phase: Phase,
    /// Rounds that failed since the last channel.
    failures: u8,
    told_unreachable: bool,
    /// When the last round on account of a newer record began, or will.
    news_at: Option<Instant>,
    /// When the member is looked up, unless it has a channel by then. Once a round.
    lookup_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The member has a channel, or dialling has not begun.
    Idle,
    /// A round: the next attempt starts at this time.
    Round(Instant),
    /// Between rounds.
    Pause(Instant),
}

impl Dialer {
    pub(super) const fn new() -> Self {
        Self {
            untried: heapless::Vec::new(),
            in_flight: 0,
            phase: Phase::Idle,
            failures: 0,
            told_unreachable: false,
            news_at: None,
            lookup_at: None,
        }
    }

    /// Starts a round at `at`. Attempts under way go on.
    pub(super) fn round_at(&mut self, at: Instant) {
        self.untried.clear();
        self.phase = Phase::Pause(at);
    }

    /// The member has a channel: nothing more to do. `attempt`: by an attempt, whose end this is.
    pub(super) fn stop(&mut self, attempt: bool) {
        let in_flight = self.in_flight.saturating_sub(u8::from(attempt));
        *self = Self { in_flight, ..Self::new() };
    }

    /// The channel is gone. A round begins soon: at once would meet the same fault on both sides.
    pub(super) fn restart(&mut self, now: Instant, rng: &mut Rng) {
        self.round_at(now + jitter(rng, DIAL_BACKOFF_MIN));
    }

    pub(super) fn attempt_ended(&mut self, now: Instant, rng: &mut Rng) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Phase::Round(at) = &mut self.phase {
            // No waiting for the stagger when the attempt before has failed already.
            *at = now;
        }
        self.end_round_if_over(now, rng);
    }

    /// Known endpoints changed for the better: these are tried at once, or soon when that happens
    /// often: a member that signs records as fast as it can must not make us dial as fast.
    pub(super) fn try_now(&mut self, now: Instant) {
        if self.phase != Phase::Idle {
            self.failures = 0;
            let at = self.news_at.map_or(now, |last| now.max(last + DIAL_NEWS_INTERVAL));
            self.news_at = Some(at);
            self.round_at(at);
        }
    }

    /// The lookup found no room.
    pub(super) fn look_up_later(&mut self, now: Instant) {
        self.lookup_at = Some(now + LOOKUP_AFTER);
    }

    pub(super) fn poll(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        may_dial: bool,
        known: impl FnOnce() -> heapless::Vec<Endpoint, MAX_ENDPOINTS>,
    ) -> Option<DialOutcome> {
        match self.phase {
            Phase::Pause(at) if now >= at && may_dial => {
                self.untried = known();
                // The strongest endpoint stands first in the list and is popped first.
                self.untried.reverse();
                self.phase = Phase::Round(now);
                // A dial to where nobody is may hang for seconds: the others are asked meanwhile.
                self.lookup_at = Some(now + LOOKUP_AFTER);
                self.end_round_if_over(now, rng);
            }
            _ => {}
        }
        if let Phase::Round(at) = self.phase
            && now >= at
            && may_dial
            && usize::from(self.in_flight) < MAX_ATTEMPTS
            && let Some(endpoint) = self.untried.pop()
        {
            self.in_flight = self.in_flight.saturating_add(1);
            self.phase = Phase::Round(now + DIAL_STAGGER);
            return Some(DialOutcome::Dial(endpoint));
        }
        if self.lookup_at.is_some_and(|at| now >= at) {
            self.lookup_at = None;
            return Some(DialOutcome::LookUp);
        }
        if self.failures > 0 && !self.told_unreachable {
            self.told_unreachable = true;
            return Some(DialOutcome::Unreachable);
        }
        None
    }

    /// Whether [`Dialer::poll`] has anything to do: of many members few have at a time.
    pub(super) fn is_due(&self, now: Instant, may_dial: bool) -> bool {
        let unreachable = self.failures > 0 && !self.told_unreachable;
        unreachable || self.next_timeout(may_dial).is_some_and(|at| now >= at)
    }

    pub(super) fn next_timeout(&self, may_dial: bool) -> Option<Instant> {
        let attempt = match self.phase {
            Phase::Idle => None,
            _ if !may_dial => None,
            // All attempts are out: their ends are what is waited for.
            Phase::Round(_) if self.untried.is_empty() => None,
            Phase::Round(_) if usize::from(self.in_flight) >= MAX_ATTEMPTS => None,
            Phase::Round(at) | Phase::Pause(at) => Some(at),
        };
        earlier(attempt, self.lookup_at)
    }

    /// Rounds that failed in the present outage.
    pub(super) const fn failures(&self) -> u8 {
        self.failures
    }

    fn end_round_if_over(&mut self, now: Instant, rng: &mut Rng) {
        if !matches!(self.phase, Phase::Round(_)) || !self.untried.is_empty() || self.in_flight > 0 {
            return;
        }
        let doubled = DIAL_BACKOFF_MIN.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        // Not a second time, if the round took so long that it was done already.
        self.lookup_at = self.lookup_at.and(Some(now));
        self.phase = Phase::Pause(now + jitter(rng, doubled.min(DIAL_BACKOFF_MAX)));
        if self.failures > 2 && zoo::has(Bug::DialsGiveUp) {
            (self.phase, self.lookup_at) = (Phase::Idle, None);
        }
    }
}

/// Between half of `span` and the whole of it.
pub(super) fn jitter(rng: &mut Rng, span: Duration) -> Duration {
    let half = (span.as_nanos() / 2) as u64;
    Duration::from_nanos(half + rng.below(half))
}

/// Adds an endpoint unless its address stands in the list or the list is full.
pub(super) fn push_unique(
    list: &mut heapless::Vec<Endpoint, MAX_ENDPOINTS>,
    address: SocketAddr,
    origin: super::Origin,
) {
    if !list.iter().any(|endpoint| endpoint.address == address) {
        // A full list keeps the stronger endpoints, which were pushed first.
        let _ = list.push(Endpoint { address, origin });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    /// One that is not due says nothing, so nobody needs to ask it; and what is due once is not due for ever.
    #[test]
    fn it_is_due_when_it_has_something_to_say() {
        let mut rng = Seed::new([1; 32]).stream("d");
        let mut dialer = Dialer::new();
        let endpoint = Endpoint { address: ([127, 0, 0, 1], 1).into(), origin: super::super::Origin::Hint };
        let mut poll = |dialer: &mut Dialer, now, may_dial| {
            let due = dialer.is_due(now, may_dial);
            let said =
                dialer.poll(now, &mut rng, may_dial, || heapless::Vec::from_slice(&[endpoint]).unwrap());
            assert!(due || said.is_none(), "{said:?}");
            said
        };
        let at = Instant::from_millis;
        assert_eq!(poll(&mut dialer, at(0), true), None, "idle");
        dialer.round_at(at(10));
        assert!(!dialer.is_due(at(9), true) && dialer.is_due(at(10), true) && !dialer.is_due(at(10), false));
        assert_eq!(poll(&mut dialer, at(9), true), None);
        assert_eq!(poll(&mut dialer, at(10), false), None, "it may not dial");
        assert_eq!(dialer.next_timeout(false), None);
        assert_eq!(poll(&mut dialer, at(10), true), Some(DialOutcome::Dial(endpoint)));
        assert_eq!(poll(&mut dialer, at(10), true), None);
        assert_eq!(dialer.next_timeout(true), Some(at(10) + LOOKUP_AFTER));
        dialer.attempt_ended(at(20), &mut Seed::new([2; 32]).stream("d"));
        assert_eq!(poll(&mut dialer, at(20), false), Some(DialOutcome::LookUp));
        assert_eq!(poll(&mut dialer, at(20), false), Some(DialOutcome::Unreachable));
        assert!(!dialer.is_due(at(20), true), "all was said");
        assert_eq!(poll(&mut dialer, at(20), true), None);
    }
}
