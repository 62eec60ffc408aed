//! Session keys that are not in force and still decrypt. Few sessions have any at a time, so they stand in a
//! pool of their own, beside the sessions; when it is full the oldest leave, strangers' first.

use super::keys::Keys;
use crate::{
    collections::{Deadlines, Key, Lists, Slab},
    limits::{ASIDES_LEAST, SESSIONS_PER_ASIDE},
    time::{Instant, earlier},
};

/// Keys, and when their time is over.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) keys: Keys,
    pub(super) until: Instant,
}

/// What one session has beside the keys in force.
#[derive(Debug)]
pub(super) struct Pair {
    /// The place of the session.
    session: u32,
    /// The keys before.
    pub(super) previous: Option<Aside>,
    /// Keys of a handshake of ours whose outcome is unknown, because its request was answered under
    /// others: the peer may still begin to use them.
    pub(super) offered: Option<Aside>,
}

/// Where a session's pair is, in two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u16);

impl Place {
    /// It has none.
    pub(super) const NONE: Self = Self(u16::MAX);
}

/// The pool.
#[derive(Debug)]
pub(super) struct Asides {
    pairs: Slab<Pair>,
    order: Lists,
    /// When keys are wiped.
    expiries: Deadlines,
}

impl Asides {
    /// For so many sessions.
    pub(super) fn new(sessions: usize) -> Self {
        let most = sessions.min(usize::from(Place::NONE.0));
        let capacity = (sessions / SESSIONS_PER_ASIDE).max(ASIDES_LEAST).min(most);
        Self {
            pairs: Slab::new(capacity),
            order: Lists::new(2, capacity),
            expiries: Deadlines::new(capacity),
        }
    }

    fn key(&self, place: Place) -> Option<Key> {
        self.pairs.key_at(usize::from(place.0))
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Pair> {
        let key = self.key(place)?;
        self.pairs.get_mut(key)
    }

    /// The pair in `place`, or a new one for `session`, in the list of those who leave together. Also returns
    /// the session whose pair had to leave.
    pub(super) fn claim(&mut self, place: Place, session: usize, list: usize) -> (Place, Option<usize>) {
        let (mut place, mut evicted) = (place, None);
        if self.key(place).is_none() {
            if self.pairs.is_full()
                && let Some(oldest) = self.order.first(0).or_else(|| self.order.first(1))
            {
                let oldest = Place(oldest as u16);
                evicted = self.get_mut(oldest).map(|pair| pair.session as usize);
                self.free(oldest);
            }
            let pair = Pair { session: session as u32, previous: None, offered: None };
            place = self.pairs.insert(pair).map_or(Place::NONE, |key| Place(key.index() as u16));
        }
        self.order.push(list, usize::from(place.0));
        (place, evicted)
    }

    /// Notes when keys of a pair are to be wiped next, after wiping those that are. A pair with none left
    /// leaves; true then.
    pub(super) fn watch(&mut self, place: Place, now: Instant) -> bool {
        let until = self.get_mut(place).and_then(|pair| pair.expire(now));
        match until {
            Some(until) => self.expiries.set(usize::from(place.0), until),
            None => self.free(place),
        }
        until.is_none()
    }

    /// When keys are to be wiped next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.next()
    }

    /// Wipes the keys whose time is over, of one session; returns it if it has none left.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Option<usize>> {
        let place = Place(self.expiries.pop(now)? as u16);
        let session = self.get_mut(place).map(|pair| pair.session as usize);
        Some(session.filter(|_| self.watch(place, now)))
    }

    /// Wipes a pair.
    pub(super) fn free(&mut self, place: Place) {
        let Some(key) = self.key(place) else { return };
        self.order.remove(key.index());
        self.expiries.clear(key.index());
        // Where it stands, so that its keys are wiped there.
        self.pairs.discard(key);
    }
}

impl Pair {
    /// Wipes the keys whose time is over; when the next ones' is.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        for slot in [&mut self.previous, &mut self.offered] {
            if slot.as_ref().is_some_and(|aside| aside.until <= now) {
                *slot = None;
            }
        }
        let until = |slot: &Option<Aside>| slot.as_ref().map(|aside| aside.until);
        earlier(until(&self.previous), until(&self.offered))
    }
}
