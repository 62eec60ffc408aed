//! What may be spent: stocks that refill with time, one for the whole machine or one a prefix.
//!
//! A part of every stock is reserved for members at endpoints that are known as theirs, so that a
//! flood of strangers does not shut them out.

use core::net::IpAddr;

use super::peer::{Prefix, Scope, prefix};
use crate::{
    collections::{Keyed, Lists},
    limits::{
        BEGUN_BYTES_PER_PREFIX, BEGUN_BYTES_PER_PREFIX_RESERVED, BEGUN_BYTES_PER_PREFIX_SECOND,
        CHALLENGES_PER_PREFIX, CHALLENGES_PER_PREFIX_RESERVED, CHALLENGES_PER_PREFIX_SECOND,
        SIGNATURE_CHECKS_BURST, SIGNATURE_CHECKS_PER_SECOND, SIGNATURE_CHECKS_RESERVED,
    },
    rng::Rng,
    time::Instant,
};

const SECOND: u64 = 1_000_000_000;

/// How a stock fills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    most: u32,
    per_second: u32,
    reserved: u32,
}

/// Signature checks of the whole machine.
pub(super) const CHECKS: Rate = Rate {
    most: SIGNATURE_CHECKS_BURST,
    per_second: SIGNATURE_CHECKS_PER_SECOND,
    reserved: SIGNATURE_CHECKS_RESERVED,
};
/// WHOAREYOUs to a prefix.
const CHALLENGES: Rate = Rate {
    most: CHALLENGES_PER_PREFIX,
    per_second: CHALLENGES_PER_PREFIX_SECOND,
    reserved: CHALLENGES_PER_PREFIX_RESERVED,
};
/// Bytes that we begin, to a prefix.
const BEGUN: Rate = Rate {
    most: BEGUN_BYTES_PER_PREFIX,
    per_second: BEGUN_BYTES_PER_PREFIX_SECOND,
    reserved: BEGUN_BYTES_PER_PREFIX_RESERVED,
};

/// A stock of tokens. It begins full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stock {
    left: u32,
    /// Up to when it was refilled.
    at: Instant,
}

impl Stock {
    pub(super) const fn full(rate: Rate, now: Instant) -> Self {
        Self { left: rate.most, at: now }
    }

    /// Takes `cost` out, leaving what is reserved unless `privileged`; false, and nothing taken, when
    /// there is not enough.
    pub(super) fn spend(&mut self, rate: Rate, cost: u32, privileged: bool, now: Instant) -> bool {
        self.refill(rate, now);
        let floor = if privileged { 0 } else { rate.reserved };
        let enough = self.left >= floor.saturating_add(cost);
        if enough {
            self.left -= cost;
        }
        enough
    }

    /// Adds whole tokens only; the time of a part of one is kept for the next call.
    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = u64::try_from(now.since(self.at).as_nanos()).unwrap_or(u64::MAX);
        let missing = u64::from(rate.most - self.left.min(rate.most));
        let each = SECOND / u64::from(rate.per_second.max(1));
        let tokens = passed / each.max(1);
        if tokens >= missing {
            self.left = rate.most;
            self.at = now;
        } else {
            self.left += tokens as u32;
            self.at = self.at + core::time::Duration::from_nanos(tokens * each);
        }
    }
}

/// What a prefix has stocks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// WHOAREYOUs that it gets.
    Challenge,
    /// Bytes that we begin.
    Begun,
}

/// The stocks of the prefixes used last. One that is forgotten starts full again, so a flood over all
/// prefixes shuts nobody out; what it can bring on one prefix is one burst a round.
#[derive(Debug)]
pub(super) struct Prefixes {
    stocks: Keyed<Prefix, [Stock; 2]>,
    order: Lists,
}

impl Prefixes {
    pub(super) fn new(capacity: usize, rng: &mut Rng) -> Self {
        Self { stocks: Keyed::new(capacity, rng), order: Lists::new(1, capacity) }
    }

    /// Spends for a packet to `ip`; false when it must not go. Loopback and private addresses are
    /// exempt.
    pub(super) fn spend(
        &mut self,
        ip: IpAddr,
        kind: Kind,
        cost: u32,
        privileged: bool,
        now: Instant,
    ) -> bool {
        if matches!(Scope::of(ip), Some(Scope::Loopback | Scope::Private)) {
            return true;
        }
        let name = prefix(ip);
        let key = match self.stocks.find(&name) {
            Some(key) => Some(key),
            None => {
                if self.stocks.is_full()
                    && let Some(oldest) = self.order.first(0).and_then(|place| self.stocks.key_at(place))
                {
                    self.order.remove(oldest.index());
                    self.stocks.discard(oldest);
                }
                self.stocks.insert(name, [Stock::full(CHALLENGES, now), Stock::full(BEGUN, now)]).ok()
            }
        };
        let Some(key) = key else { return false };
        self.order.push(0, key.index());
        let Some([challenges, begun]) = self.stocks.get_mut(key) else { return false };
        match kind {
            Kind::Challenge => challenges.spend(CHALLENGES, cost, privileged, now),
            Kind::Begun => begun.spend(BEGUN, cost, privileged, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    const RATE: Rate = Rate { most: 10, per_second: 4, reserved: 3 };

    #[test]
    fn a_stock_is_spent_and_refills_with_time() {
        let mut stock = Stock::full(RATE, Instant::ZERO);
        let strangers = (0..20).filter(|_| stock.spend(RATE, 1, false, Instant::ZERO)).count();
        let members = (0..20).filter(|_| stock.spend(RATE, 1, true, Instant::ZERO)).count();
        assert_eq!((strangers, members), (7, 3), "three of ten are the members'");
        // A quarter of a second a token, however often one looks.
        let spent = (0..1000).filter(|ms| stock.spend(RATE, 1, true, Instant::from_millis(*ms))).count();
        assert_eq!(spent, 3);
        assert!(stock.spend(RATE, 10, true, Instant::from_millis(60_000)), "full, and not more");
        assert!(!stock.spend(RATE, 1, true, Instant::from_millis(60_000)));
    }

    #[test]
    fn prefixes_do_not_share_and_the_oldest_is_forgotten() {
        let mut prefixes = Prefixes::new(2, &mut Seed::new([1; 32]).stream("p"));
        let now = Instant::ZERO;
        let mut count = |ip: &str| {
            let ip = ip.parse().unwrap();
            (0..1000).filter(|_| prefixes.spend(ip, Kind::Challenge, 1, false, now)).count()
        };
        let all = (CHALLENGES_PER_PREFIX - CHALLENGES_PER_PREFIX_RESERVED) as usize;
        assert_eq!((count("9.9.9.1"), count("9.9.9.200"), count("9.9.8.1")), (all, 0, all));
        assert_eq!((count("2a00:1:2::1"), count("2a00:1:2:3::4"), count("9.9.9.1")), (all, 0, all));
        assert_eq!((count("127.0.0.1"), count("10.0.0.1"), count("fd00::1")), (1000, 1000, 1000));
    }
}
