//! Addresses that the operator names without saying whose they are: dialled while a member is missing.
//! Who is there, the channel's key decides.

use core::net::SocketAddr;

use super::dial::jitter;
use crate::{
    limits::{ADDRESS_AGAIN, DIAL_BACKOFF_MAX, DIAL_BACKOFF_MIN, MAX_ADDRESSES},
    rng::Rng,
    time::{Instant, earlier},
};

#[derive(Debug)]
struct Address {
    address: SocketAddr,
    /// When it is dialled next.
    at: Instant,
    in_flight: bool,
    /// Dials in a row that reached no member.
    failures: u8,
}

/// The addresses, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Anyone(heapless::Vec<Address, MAX_ADDRESSES>);

impl Anyone {
    /// Adds an address, to be dialled at once. Of too many the oldest is forgotten.
    pub(super) fn add(&mut self, now: Instant, address: SocketAddr) {
        if self.find(address).is_some() {
            return;
        }
        if self.0.is_full() {
            self.0.remove(0);
        }
        let _ = self.0.push(Address { address, at: now, in_flight: false, failures: 0 });
    }

    /// The node may dial from now on.
    pub(super) fn start(&mut self, now: Instant) {
        self.0.iter_mut().for_each(|address| address.at = now);
    }

    /// A member has lost its channel: it may be found at any of these.
    pub(super) fn someone_left(&mut self, now: Instant) {
        for address in &mut self.0 {
            address.at = address.at.min(now + DIAL_BACKOFF_MIN);
        }
    }

    pub(super) fn ended(&mut self, now: Instant, rng: &mut Rng, address: SocketAddr, reached: bool) {
        let Some(address) = self.find(address) else { return };
        address.in_flight = false;
        address.failures = if reached { 0 } else { address.failures.saturating_add(1) };
        let pause = if reached {
            ADDRESS_AGAIN
        } else {
            DIAL_BACKOFF_MIN.saturating_mul(1 << address.failures.min(10)).min(DIAL_BACKOFF_MAX)
        };
        address.at = now + jitter(rng, pause);
    }

    /// The next address to dial now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<SocketAddr> {
        let due = self.0.iter_mut().find(|address| !address.in_flight && now >= address.at)?;
        due.in_flight = true;
        Some(due.address)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().filter(|address| !address.in_flight).map(|address| Some(address.at)).fold(None, earlier)
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Address> {
        self.0.iter_mut().find(|known| known.address == address)
    }
}
