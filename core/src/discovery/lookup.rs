//! Iterative lookups (discv5 theory, "Lookup"): ask the nodes nearest to a target for nodes nearer
//! still, α at a time, until the k nearest have answered.
//!
//! A query that is not answered soon frees its place for another, but still counts when it is
//! answered late; a deadline ends the whole lookup.

use core::{net::SocketAddr, time::Duration};

use super::requests::Contact;
use crate::{
    crypto::PublicKey,
    id::NodeId,
    limits::{LOOKUP_CANDIDATES, LOOKUP_PARALLEL, LOOKUP_WIDTH, MAX_QUERY_DISTANCES},
    record::Record,
    time::Instant,
};

/// Distances that one query names: the target's from the node asked, and those beside it.
const DISTANCES: usize = 3;

const _: () = assert!(DISTANCES <= MAX_QUERY_DISTANCES);

/// Whose lookup it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookupOrigin {
    /// The embedder's.
    User,
    /// The table's, of the own id.
    Own,
    /// The table's, to refresh a bucket.
    Refresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Asked { patient_until: Instant },
    Answered,
    Failed,
}

#[derive(Debug)]
struct Candidate {
    id: NodeId,
    distance: [u8; 32],
    endpoint: SocketAddr,
    public_key: PublicKey,
    state: State,
}

/// One lookup.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) target: NodeId,
    pub(super) origin: LookupOrigin,
    /// The nearest first.
    candidates: heapless::Vec<Candidate, LOOKUP_CANDIDATES>,
    pub(super) deadline: Instant,
    /// The newest record of the target that was seen.
    pub(super) found: Option<Record>,
    pub(super) answered: usize,
    /// It ended, and the embedder has not been told yet.
    pub(super) done: bool,
}

/// What a lookup does next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Ask this node for these distances.
    Ask(Contact, heapless::Vec<u16, MAX_QUERY_DISTANCES>),
    /// Wait for an answer, or until then.
    Wait(Instant),
    /// Nothing is left to ask.
    Done,
}

impl Lookup {
    pub(super) fn new(target: NodeId, origin: LookupOrigin, deadline: Instant) -> Self {
        Self {
            target,
            origin,
            candidates: heapless::Vec::new(),
            deadline,
            found: None,
            answered: 0,
            done: false,
        }
    }

    /// Takes in a node to ask, if it is among the nearest known.
    pub(super) fn add(&mut self, contact: &Contact) {
        let id = contact.peer.id;
        let distance = self.target.xor(&id);
        let at = self.candidates.partition_point(|other| other.distance < distance);
        if self.candidates.get(at).is_some_and(|other| other.id == id) {
            return;
        }
        if self.candidates.is_full() {
            if at == self.candidates.len() {
                return;
            }
            self.candidates.pop();
        }
        let candidate = Candidate {
            id,
            distance,
            endpoint: contact.peer.endpoint,
            public_key: contact.public_key,
            state: State::New,
        };
        let inserted = self.candidates.insert(at, candidate);
        debug_assert!(inserted.is_ok(), "there was room");
    }

    /// Takes in a record of the target.
    pub(super) fn found(&mut self, record: &Record) {
        if self.found.as_ref().is_none_or(|known| known.seq() < record.seq()) {
            self.found = Some(record.clone());
        }
    }

    /// The query to `id` ended.
    pub(super) fn ended(&mut self, id: &NodeId, answered: bool) {
        self.answered += usize::from(answered);
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.id == *id) {
            candidate.state = if answered { State::Answered } else { State::Failed };
        }
    }

    /// What is next. A node in [`Step::Ask`] counts as asked, until [`Lookup::ended`] or
    /// [`Lookup::put_off`].
    pub(super) fn step(&mut self, now: Instant, patience: Duration) -> Step {
        if now >= self.deadline {
            return Step::Done;
        }
        let alive = || 0..self.candidates.len();
        let mut nearest = alive().filter(|i| self.candidates[*i].state != State::Failed).take(LOOKUP_WIDTH);
        let (mut active, mut pending, mut wake) = (0, false, self.deadline);
        for candidate in self.candidates.iter() {
            if let State::Asked { patient_until } = candidate.state
                && now < patient_until
            {
                active += 1;
                wake = wake.min(patient_until);
            }
        }
        let mut next = None;
        for i in nearest.by_ref() {
            match self.candidates[i].state {
                State::New => next = next.or(Some(i)),
                State::Asked { .. } => pending = true,
                State::Answered | State::Failed => {}
            }
        }
        match next {
            Some(i) if active < LOOKUP_PARALLEL => {
                let target = self.target;
                let candidate = &mut self.candidates[i];
                candidate.state = State::Asked { patient_until: now + patience };
                let contact = Contact::new(candidate.id, candidate.endpoint, candidate.public_key);
                Step::Ask(contact, distances(candidate.id.log_distance(&target)))
            }
            None if !pending => Step::Done,
            _ => Step::Wait(wake),
        }
    }

    /// The query that [`Lookup::step`] asked for could not be made now.
    pub(super) fn put_off(&mut self, id: &NodeId) {
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.id == *id) {
            candidate.state = State::New;
        }
    }
}

/// Which distances to ask a node for whose own distance to the target is `distance`. The target
/// itself is asked for its record.
fn distances(distance: u16) -> heapless::Vec<u16, MAX_QUERY_DISTANCES> {
    let mut out = heapless::Vec::new();
    if distance == 0 {
        let _ = out.push(0);
        return out;
    }
    let mut reach = 0;
    while out.len() < DISTANCES && reach < 256 {
        for candidate in [distance.checked_add(reach), distance.checked_sub(reach)] {
            let Some(candidate) = candidate.filter(|d| (1..=256).contains(d) && !out.contains(d)) else {
                continue;
            };
            if out.len() < DISTANCES {
                let _ = out.push(candidate);
            }
        }
        reach += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(first: u8) -> Contact {
        let mut id = [0; 32];
        id[0] = first;
        Contact::new(NodeId(id), ([127, 0, 0, 1], 1).into(), PublicKey::from_xy([0; 64]))
    }

    const PATIENCE: Duration = Duration::from_millis(100);

    fn lookup() -> Lookup {
        Lookup::new(NodeId([0; 32]), LookupOrigin::User, Instant::from_millis(10_000))
    }

    fn ask(lookup: &mut Lookup, ms: u64) -> Option<u8> {
        match lookup.step(Instant::from_millis(ms), PATIENCE) {
            Step::Ask(contact, _) => Some(contact.peer.id.0[0]),
            Step::Wait(_) | Step::Done => None,
        }
    }

    #[test]
    fn distances_lie_beside_the_targets() {
        assert_eq!(distances(0), [0]);
        assert_eq!(distances(256), [256, 255, 254]);
        assert_eq!(distances(250), [250, 251, 249]);
        assert_eq!(distances(1), [1, 2, 3]);
    }

    #[test]
    fn the_nearest_are_asked_a_few_at_a_time() {
        let mut lookup = lookup();
        for n in [9, 3, 7, 5, 1, 3] {
            lookup.add(&contact(n));
        }
        assert_eq!(
            [ask(&mut lookup, 0), ask(&mut lookup, 0), ask(&mut lookup, 0)],
            [Some(1), Some(3), Some(5)]
        );
        assert_eq!(ask(&mut lookup, 0), None);
        lookup.ended(&contact(3).peer.id, true);
        lookup.add(&contact(2));
        assert_eq!(ask(&mut lookup, 10), Some(2));
        // The slow ones give their place up but are still waited for.
        assert_eq!(ask(&mut lookup, 100), Some(7));
        for n in [1, 2, 5, 7] {
            lookup.ended(&contact(n).peer.id, n != 5);
        }
        assert_eq!(ask(&mut lookup, 100), Some(9));
        assert!(matches!(lookup.step(Instant::from_millis(150), PATIENCE), Step::Wait(_)));
        assert!(matches!(lookup.step(Instant::from_millis(9_000), PATIENCE), Step::Wait(_)));
        lookup.put_off(&contact(9).peer.id);
        assert_eq!(ask(&mut lookup, 9_100), Some(9));
        lookup.ended(&contact(9).peer.id, true);
        assert!(matches!(lookup.step(Instant::from_millis(9_100), PATIENCE), Step::Done));
        assert_eq!(lookup.answered, 5);
    }

    #[test]
    fn it_ends_with_the_width_or_the_deadline() {
        let mut lookup = lookup();
        for n in 0..40 {
            lookup.add(&contact(n + 1));
        }
        let mut asked = 0;
        while let Some(n) = ask(&mut lookup, 0) {
            lookup.ended(&contact(n).peer.id, true);
            asked += 1;
        }
        assert_eq!(asked, LOOKUP_WIDTH);
        lookup.add(&contact(0));
        assert!(matches!(lookup.step(Instant::from_millis(10_000), PATIENCE), Step::Done));
        // The list is bounded, and the far end leaves.
        for n in 0..=255 {
            lookup.add(&contact(n));
        }
        assert_eq!(lookup.candidates.len(), LOOKUP_CANDIDATES);
    }
}
