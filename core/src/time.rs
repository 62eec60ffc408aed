//! Time as the core sees it: a number handed in with every event, never read from a clock.

use core::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Nanoseconds since a moment that the driver chose (its start, usually).
///
/// Only differences mean anything. A driver's time that goes backwards is clamped where it enters
/// a machine ([`Instant::advance`]), so inside the core time never falls.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The driver's moment zero.
    pub const ZERO: Self = Self(0);
    /// The last moment there is: 584 years after [`Instant::ZERO`]. Used for "never".
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after [`Instant::ZERO`].
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after [`Instant::ZERO`].
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since [`Instant::ZERO`].
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Moves this clock forward to `now`, or leaves it where it is when `now` lies in its past;
    /// returns the resulting time.
    pub fn advance(&mut self, now: Self) -> Self {
        *self = (*self).max(now);
        *self
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::FAR_FUTURE`].
    fn add(self, rhs: Duration) -> Self {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::ZERO`].
    fn sub(self, rhs: Duration) -> Self {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1_000)
    }
}

/// The earlier of two deadlines, where `None` is "no deadline".
pub fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_time_never_falls() {
        let second = Duration::from_secs(1);
        assert_eq!(Instant::ZERO - second, Instant::ZERO);
        assert_eq!(Instant::FAR_FUTURE + second, Instant::FAR_FUTURE);
        assert_eq!(Instant::from_millis(1500).since(Instant::from_millis(500)), second);
        let mut clock = Instant::from_millis(5);
        assert_eq!(clock.advance(Instant::from_millis(3)), Instant::from_millis(5));
        assert_eq!(clock.advance(Instant::from_millis(9)), Instant::from_millis(9));
    }
}
