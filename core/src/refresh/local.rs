//! The machine: sources in, a stored and then published record out.

use crate::{
    crypto::{Crypto, Identity},
    limits::{MAX_OWN_EXCEEDED, STORE_RETRY},
    record::{Addresses, BuildError, Builder, Record},
    refresh::Sources,
    time::Instant,
    zoo::{self, Bug},
};

/// What is known when the node starts.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The own record that the store holds.
    pub stored: Option<Record>,
    /// The own record in the cluster file.
    pub lock: Option<Record>,
    /// The wall clock in milliseconds since 1970, for the first number when nothing is stored.
    pub wall_clock_ms: u64,
}

/// Why no newer record can be made. The one in force stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// It would not be a valid record.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The sequence number is at its end (2⁶⁴ − 1): this key can have no newer record.
    #[error("the record's sequence number is at its end: this key can have no newer record")]
    SequenceExhausted,
}

/// What a record of our own key means that somebody showed us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnSeen {
    /// Nothing: it is not ours, not newer, or what is in force.
    Known,
    /// It says what we would say, under a higher number: it is adopted as it is.
    Adopted,
    /// It says something else: a record above it follows.
    Exceeded,
    /// As before, and that has happened too often by now: another process uses our key, which none may. The
    /// record in force stays until the address changes, so that the two do not race each other upwards; a record
    /// signed then may be below what the others hold, until this node is started again without the other.
    KeyUsedTwice,
}

/// What the machine wants, or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Store this record durably, then say [`LocalRecord::handle_stored`].
    Store(Record),
    /// This record is in force from now on: send it.
    Published(Record),
    /// Storing failed; the old record stays in force and the store is asked again later.
    StoreFailed,
    /// No newer record can be made for the address; the old one stays in force.
    Failed(RefreshError),
}

/// What becomes of the newest record.
#[derive(Debug)]
enum Phase {
    /// The record in force is what the sources want (or nothing can be done about it).
    Settled,
    /// `next` waits to be handed out for storing.
    Due,
    /// `next` is being stored.
    Storing,
    /// Storing `next` failed; it is tried again at this time.
    Retry(Instant),
    /// `next` is stored and waits to be handed out for publishing.
    Stored,
}

/// The node's own record, from what is known of its address.
///
/// Drive it with `handle_*`, then [`LocalRecord::poll`] until `None`.
#[derive(Debug)]
pub struct LocalRecord {
    sources: Sources,
    wall_clock_ms: u64,
    lock_seq: Option<u64>,
    /// The record in force.
    current: Option<Record>,
    /// `current` has been handed out as published.
    announced: bool,
    /// The record on its way to be stored and published.
    next: Option<Record>,
    phase: Phase,
    failed: Option<Output>,
    /// Highest number that the store was ever asked to hold: a record whose storing failed may be on
    /// the disk all the same, so its number is not given to another content (rule E2).
    highest: Option<u64>,
    /// What the sources wanted when building failed: it is not tried again until that changes.
    gave_up_on: Option<Addresses>,
    /// The number that the record in force must exceed, since somebody showed one of ours with it.
    floor: Option<u64>,
    /// How often that happened.
    exceeded: u8,
}

impl LocalRecord {
    /// Starts from what is stored, else from the cluster file's record, else from nothing. Records
    /// of other keys are ignored. [`LocalRecord::poll`] says at once what follows.
    pub fn new<C: Crypto>(identity: &Identity<C>, start: Start, sources: Sources) -> Self {
        let own = |record: &Record| record.public_key() == identity.public_key();
        let stored = start.stored.filter(own);
        let lock = start.lock.filter(own);
        let lock_seq = lock.as_ref().map(Record::seq);
        let highest = stored.as_ref().map(Record::seq);
        // A store that is behind the cluster file (an old backup) is no better than the file.
        let (current, is_stored) = match (stored, lock) {
            (Some(stored), Some(lock)) if lock.seq() > stored.seq() => (Some(lock), false),
            (Some(stored), _) => (Some(stored), true),
            (None, lock) => (lock, false),
        };
        let highest = highest.map(|seq| seq.max(lock_seq.unwrap_or(0)));
        let mut local = Self {
            sources,
            wall_clock_ms: start.wall_clock_ms,
            lock_seq,
            current,
            announced: false,
            next: None,
            phase: Phase::Settled,
            failed: None,
            highest,
            gave_up_on: None,
            floor: None,
            exceeded: 0,
        };
        local.update(identity);
        if matches!(local.phase, Phase::Settled) && !is_stored {
            // The file's own record holds as it is. The store is to know it too, so that the next
            // number follows from it.
            local.next.clone_from(&local.current);
            local.phase = Phase::Due;
        }
        local
    }

    /// The record in force, once published. It changes only when [`Output::Published`] is polled.
    pub fn current(&self) -> Option<&Record> {
        self.current.as_ref().filter(|_| self.announced)
    }

    /// The record of the store or cluster file that the start began from, published or not.
    pub fn base(&self) -> Option<&Record> {
        self.current.as_ref()
    }

    /// What is known of the address.
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Changes what is known of the address, and makes a new record if that changes the record.
    pub fn handle_sources<C: Crypto>(&mut self, identity: &Identity<C>, change: impl FnOnce(&mut Sources)) {
        change(&mut self.sources);
        self.update(identity);
    }

    /// Somebody showed a verified record of our own: our store was lost, or another process has our key
    /// (rule E5).
    pub fn handle_seen<C: Crypto>(&mut self, identity: &Identity<C>, seen: &Record) -> OwnSeen {
        let newest = self.next.as_ref().or(self.current.as_ref());
        // Not the highest number ever asked for: a record that was never stored is in nobody's hands.
        let ours = newest.map_or(0, Record::seq);
        let known = |record: &Option<Record>| record.as_ref().is_some_and(|r| r.same_content(seen));
        let foreign = seen.public_key() != identity.public_key();
        let past = seen.seq() < ours || self.floor.is_some_and(|floor| seen.seq() <= floor);
        if foreign || past || known(&self.next) || known(&self.current) {
            return OwnSeen::Known;
        }
        if self.exceeded >= MAX_OWN_EXCEEDED {
            return OwnSeen::KeyUsedTwice;
        }
        let highest = self.highest.unwrap_or(0).max(seen.seq());
        self.highest = Some(highest);
        let writing = matches!(self.phase, Phase::Storing | Phase::Stored);
        let current = self.current.as_ref().map(|r| *r.addresses()).unwrap_or_default();
        if !writing
            && seen.seq() > ours
            && seen.seq() == highest
            && *seen.addresses() == self.sources.desired(&current)
        {
            // Only the number was lost.
            self.floor = seen.seq().checked_sub(1);
            self.next = Some(seen.clone());
            self.phase = Phase::Due;
            return OwnSeen::Adopted;
        }
        self.exceeded += 1;
        self.floor = Some(seen.seq());
        self.update(identity);
        OwnSeen::Exceeded
    }

    /// The record given out with [`Output::Store`] is on the disk.
    ///
    /// If the address changed while it was written, it is published all the same, and the record
    /// with the new address follows with the next number.
    pub fn handle_stored(&mut self) {
        if matches!(self.phase, Phase::Storing) {
            self.phase = Phase::Stored;
        }
    }

    /// The record given out with [`Output::Store`] could not be stored.
    pub fn handle_store_failed<C: Crypto>(&mut self, identity: &Identity<C>, now: Instant) {
        if matches!(self.phase, Phase::Storing) {
            self.failed = Some(Output::StoreFailed);
            self.phase = Phase::Retry(now + STORE_RETRY);
            self.update(identity);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Phase::Retry(at) = self.phase
            && now >= at
        {
            self.phase = Phase::Due;
        }
    }

    /// When [`LocalRecord::handle_timeout`] is next of use.
    pub fn next_timeout(&self) -> Option<Instant> {
        if let Phase::Retry(at) = self.phase { Some(at) } else { None }
    }

    /// The next thing to do or tell; `None` when there is nothing.
    pub fn poll<C: Crypto>(&mut self, identity: &Identity<C>) -> Option<Output> {
        if let Some(output) = self.failed.take() {
            // The old record stays in force: whoever waits for one may go on with it.
            return Some(output);
        }
        match self.phase {
            Phase::Due => {
                let early = zoo::has(Bug::PublishedBeforeStored);
                self.phase = if early { Phase::Stored } else { Phase::Storing };
                self.highest = self.next.as_ref().map(Record::seq).max(self.highest);
                self.next.clone().map(Output::Store)
            }
            Phase::Stored => {
                self.current = self.next.take();
                self.announced = true;
                self.phase = Phase::Settled;
                self.update(identity);
                self.current.clone().map(Output::Published)
            }
            Phase::Settled if !self.announced => self.announce(),
            // Storing the first record failed: the one in force before is better than none.
            Phase::Retry(_) if !self.announced => self.announce(),
            Phase::Settled | Phase::Storing | Phase::Retry(_) => None,
        }
    }

    fn announce(&mut self) -> Option<Output> {
        let record = self.current.clone()?;
        self.announced = true;
        Some(Output::Published(record))
    }

    /// Compares what the sources want with the newest record, and signs another where they differ.
    fn update<C: Crypto>(&mut self, identity: &Identity<C>) {
        // One record at a time: what is being written is finished first.
        if matches!(self.phase, Phase::Storing | Phase::Stored) {
            return;
        }
        let current = self.current.as_ref().map(|r| *r.addresses()).unwrap_or_default();
        let desired = self.sources.desired(&current);
        let behind = |record: &Record| self.floor.is_some_and(|floor| record.seq() <= floor);
        if self.next.as_ref().is_some_and(|next| *next.addresses() == desired && !behind(next)) {
            return;
        }
        if self.current.as_ref().is_some_and(|record| !behind(record)) && desired == current {
            // Back where it was before anything was published: nothing is owed.
            self.next = None;
            self.phase = Phase::Settled;
            return;
        }
        if self.gave_up_on == Some(desired) {
            return;
        }
        self.replace(identity, &desired);
    }

    /// Signs a record with these addresses and the next number.
    fn replace<C: Crypto>(&mut self, identity: &Identity<C>, desired: &Addresses) {
        match self.sign(identity, desired) {
            Ok(record) => {
                self.next = Some(record);
                if !matches!(self.phase, Phase::Retry(_)) {
                    self.phase = Phase::Due;
                }
            }
            Err(error) => {
                self.gave_up_on = Some(*desired);
                self.failed = Some(Output::Failed(error));
            }
        }
    }

    fn sign<C: Crypto>(&self, identity: &Identity<C>, desired: &Addresses) -> Result<Record, RefreshError> {
        let after = |seq: u64| seq.checked_add(1).ok_or(RefreshError::SequenceExhausted);
        let seq = match (self.highest, self.lock_seq) {
            (Some(highest), _) => after(highest)?,
            (None, Some(lock)) => after(lock)?.max(self.wall_clock_ms),
            (None, None) => self.wall_clock_ms.max(1),
        };
        let mut builder = self.current.as_ref().map(Builder::from_record).unwrap_or_default();
        Ok(builder.set_addresses(desired)?.sign(seq, identity)?)
    }
}
