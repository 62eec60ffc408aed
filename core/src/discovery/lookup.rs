//! Iterative lookups (discv5 theory, "Lookup"): ask the nodes nearest to a target for nodes nearer
//! still, α at a time, until the k nearest have answered.
//!
//! A query that is not answered soon frees its place for another, but still counts when it is
//! answered late; a deadline ends each query, and another the whole lookup. A lookup may go along
//! disjoint paths: what one path learns is not asked by another, so that liars on one path do not
//! lead the others astray. No address prefix has more than a few of the candidates.

use core::{net::SocketAddr, time::Duration};

use super::{
    gathered::Gathered,
    peer::{Prefix, prefix},
    requests::Contact,
};
use crate::{
    collections::{Key, Slab},
    crypto::PublicKey,
    id::NodeId,
    limits::{
        LOOKUP_CANDIDATES, LOOKUP_NEAREST, LOOKUP_PARALLEL, LOOKUP_PATHS, LOOKUP_QUIET, LOOKUP_RESULTS,
        LOOKUP_WIDTH, MAX_QUERY_DISTANCES, PREFIX_PER_LOOKUP,
    },
    record::Record,
    time::Instant,
};

/// Distances that one query names: the target's from the node asked, and those beside it.
const DISTANCES: usize = 8;

const _: () = assert!(DISTANCES <= MAX_QUERY_DISTANCES);

/// Whose records a lookup gathers. All nodes are asked whatever it is.
#[derive(Clone, Copy, Debug, Default)]
pub enum Wanted {
    /// Everybody's.
    #[default]
    Any,
    /// Members'.
    Members,
    /// Those of which this is true.
    Matching(fn(&Record) -> bool),
}

/// What a lookup is for, and when it has enough.
///
/// ```
/// # use coracle_core::discovery::{LookupOptions, Wanted};
/// let members = LookupOptions { wanted: Wanted::Members, enough: Some(3), ..LookupOptions::default() };
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LookupOptions {
    /// Whose records are gathered; the nearest
    /// [`LOOKUP_RESULTS`] are kept, for
    /// [`Discovery::lookup_results`](super::Discovery::lookup_results).
    pub wanted: Wanted,
    /// Ends as soon as so many records were gathered.
    pub enough: Option<usize>,
    /// Ends as soon as any record of the target was seen (there may be a newer one elsewhere).
    pub until_found: bool,
    /// Ends once a few of the nearest have answered and bring no news, before all of them were asked: a third of the
    /// cost, for who only wants to know whoever is near. Not for the record of one certain node: those near it could
    /// hide it, who otherwise have to be all of them.
    pub quick: bool,
    /// Disjoint paths, from 1 to [`LOOKUP_PATHS`]. With more than one, each has a part of the queries.
    pub paths: usize,
}

impl Default for LookupOptions {
    /// Everything, along one path, until all of the nearest have answered.
    fn default() -> Self {
        Self { wanted: Wanted::Any, enough: None, until_found: false, quick: false, paths: 1 }
    }
}

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
    Asked,
    Answered,
    Failed,
}

#[derive(Debug)]
struct Candidate {
    id: NodeId,
    endpoint: SocketAddr,
    public_key: PublicKey,
    state: State,
    /// When it was asked.
    asked: Instant,
    path: u8,
    /// The prefix for which it counts.
    prefix: Option<Prefix>,
}

/// One lookup.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) target: NodeId,
    pub(super) origin: LookupOrigin,
    options: LookupOptions,
    paths: usize,
    /// The nearest first.
    candidates: heapless::Vec<Candidate, LOOKUP_CANDIDATES>,
    pub(super) deadline: Instant,
    /// It has nobody to ask yet: it begins when the table knows more, or then.
    pub(super) waits_until: Option<Instant>,
    /// What it gathers, if it is the embedder's: the table's own are only to ask.
    pub(super) gathered: Option<Key>,
    /// It gathered what it was to.
    has_enough: bool,
    pub(super) answered: usize,
    /// Somebody new among the nearest since the last answer was complete.
    news: bool,
    /// Answers in a row without such news.
    quiet: usize,
    /// It knows the nearest without asking all of them.
    settled: bool,
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
    /// Nothing is left to ask, or there is enough.
    Done,
}

/// How long a lookup waits for one query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until another node is asked beside it.
    pub(super) soft: Duration,
    /// Until it is given up.
    pub(super) hard: Duration,
}

impl Lookup {
    pub(super) fn new(
        target: NodeId,
        origin: LookupOrigin,
        options: LookupOptions,
        deadline: Instant,
    ) -> Self {
        Self {
            target,
            origin,
            options,
            paths: 1,
            candidates: heapless::Vec::new(),
            deadline,
            waits_until: None,
            gathered: None,
            has_enough: options.enough == Some(0),
            answered: 0,
            news: false,
            quiet: 0,
            settled: false,
            done: false,
        }
    }

    /// Takes in a node to ask, if it is among the nearest known on its path: that of the node `by`
    /// which told of it. False when too many of its prefix are in already, if that is `limited`.
    pub(super) fn add(&mut self, contact: &Contact, by: Option<&NodeId>, limited: bool) -> bool {
        let id = contact.peer.id;
        let distance = self.target.xor(&id);
        let mut at = self.candidates.partition_point(|other| self.target.xor(&other.id) < distance);
        if self.candidates.get(at).is_some_and(|other| other.id == id) {
            return true;
        }
        let prefix = limited.then(|| prefix(contact.peer.endpoint.ip()));
        let alike = self.candidates.iter().filter(|other| prefix.is_some() && other.prefix == prefix);
        if alike.count() >= PREFIX_PER_LOOKUP {
            return false;
        }
        let teller = by.and_then(|by| self.candidates.iter().find(|other| other.id == *by));
        let path = teller.map_or(0, |teller| teller.path);
        let mine = |other: &&Candidate| other.path == path;
        let full = self.candidates.iter().filter(mine).count() >= LOOKUP_CANDIDATES / self.paths;
        if full || self.candidates.is_full() {
            // The farthest of its path leaves for it.
            let last = self.candidates.iter().rposition(|other| other.path == path);
            let Some(last) = last.filter(|last| *last >= at) else { return true };
            self.candidates.remove(last);
        }
        at = at.min(self.candidates.len());
        self.news |= at < LOOKUP_WIDTH;
        let candidate = Candidate {
            id,
            endpoint: contact.peer.endpoint,
            public_key: contact.public_key,
            state: State::New,
            asked: Instant::ZERO,
            path,
            prefix,
        };
        let inserted = self.candidates.insert(at, candidate);
        debug_assert!(inserted.is_ok(), "there was room");
        true
    }

    /// Whether it can do without the signatures of those whom it does not ask: nobody's record is chosen by what
    /// stands in it, and no path can crowd out another.
    pub(super) const fn is_patient(&self) -> bool {
        matches!(self.options.wanted, Wanted::Any) && self.options.enough.is_none() && self.paths == 1
    }

    /// Whether a node is among those to ask, or was.
    pub(super) fn has(&self, id: &NodeId) -> bool {
        self.candidates.iter().any(|candidate| candidate.id == *id)
    }

    /// Forgets a node: what was told of it is not true.
    pub(super) fn forget(&mut self, id: &NodeId) {
        self.candidates.retain(|candidate| candidate.id != *id);
    }

    /// Shares the nodes to begin with out among the paths.
    pub(super) fn split(&mut self) {
        let most = self.options.paths.clamp(1, LOOKUP_PATHS);
        self.paths = most.min(self.candidates.len()).max(1);
        for (i, candidate) in self.candidates.iter_mut().enumerate() {
            candidate.path = (i % self.paths) as u8;
        }
    }

    /// Takes in a record that was seen.
    pub(super) fn found(&mut self, pool: &mut Slab<Gathered>, record: &Record, member: bool) {
        let Some(gathered) = self.gathered.and_then(|key| pool.get_mut(key)) else { return };
        let wanted = match self.options.wanted {
            Wanted::Any => true,
            Wanted::Members => member,
            Wanted::Matching(matches) => matches(record),
        };
        gathered.take_in(&self.target, record, wanted);
        self.has_enough |= self.options.until_found && gathered.found.is_some()
            || self.options.enough.is_some_and(|enough| gathered.results.len() >= enough);
    }

    /// The query to `id` ended.
    pub(super) fn ended(&mut self, id: &NodeId, answered: bool) {
        self.answered += usize::from(answered);
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.id == *id) {
            candidate.state = if answered { State::Answered } else { State::Failed };
        }
    }

    /// The answer of `id` is complete: it told of so many. Whether a quick lookup now knows the nearest, without
    /// asking all of them: a few have answered, and the latest answers told of nobody new. The table's own are never
    /// quick, because whom they ask knows this node afterwards.
    pub(super) fn settle(&mut self, id: &NodeId, told: usize) -> bool {
        self.quiet = if core::mem::take(&mut self.news) { 0 } else { self.quiet + usize::from(told > 0) };
        let mut nearest = self.candidates.iter().filter(|c| c.state != State::Failed).take(LOOKUP_NEAREST);
        let answered = nearest.all(|candidate| candidate.id == *id || candidate.state == State::Answered);
        self.settled = self.options.quick && self.paths == 1 && answered && self.quiet >= LOOKUP_QUIET;
        self.settled
    }

    /// The nearest that were not found to be dead.
    pub(super) fn nearest(&self) -> heapless::Vec<NodeId, LOOKUP_RESULTS> {
        let alive = self.candidates.iter().filter(|candidate| candidate.state != State::Failed);
        alive.map(|candidate| candidate.id).take(LOOKUP_RESULTS).collect()
    }

    /// What is next. A node in [`Step::Ask`] counts as asked, until [`Lookup::ended`] or
    /// [`Lookup::put_off`].
    pub(super) fn step(&mut self, now: Instant, patience: Patience) -> Step {
        if now >= self.deadline || self.settled || self.has_enough {
            return Step::Done;
        }
        if let Some(until) = self.waits_until {
            return Step::Wait(until);
        }
        let mut wake = self.deadline;
        for candidate in &mut self.candidates {
            if candidate.state == State::Asked {
                let (patient_until, until) =
                    (candidate.asked + patience.soft, candidate.asked + patience.hard);
                if now >= until {
                    candidate.state = State::Failed;
                    continue;
                }
                wake = wake.min(if now < patient_until { patient_until } else { until });
            }
        }
        let mut pending = false;
        for path in 0..self.paths {
            let (next, waiting) = self.next_on(path as u8, now, patience.soft);
            pending |= waiting || next.is_some();
            let Some(candidate) = next.and_then(|next| self.candidates.get_mut(next)) else { continue };
            (candidate.state, candidate.asked) = (State::Asked, now);
            let contact = Contact::new(candidate.id, candidate.endpoint, candidate.public_key);
            return Step::Ask(contact, distances(candidate.id.log_distance(&self.target)));
        }
        if pending { Step::Wait(wake) } else { Step::Done }
    }

    /// Whom a path asks next, if it may ask now; and whether it waits for anybody who counts.
    fn next_on(&self, path: u8, now: Instant, patience: Duration) -> (Option<usize>, bool) {
        let (mut active, mut pending, mut next, mut near) = (0, false, None, 0);
        for (i, candidate) in self.candidates.iter().enumerate().filter(|(_, c)| c.path == path) {
            let nearest = near < LOOKUP_WIDTH.div_ceil(self.paths);
            match candidate.state {
                State::New if nearest => next = next.or(Some(i)),
                State::Asked => {
                    active += usize::from(now < candidate.asked + patience);
                    pending |= nearest;
                }
                State::New | State::Answered | State::Failed => {}
            }
            near += usize::from(candidate.state != State::Failed);
        }
        let may_ask = active < LOOKUP_PARALLEL / self.paths;
        (next.filter(|_| may_ask), pending || (next.is_some() && !may_ask))
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

    const PATIENCE: Patience =
        Patience { soft: Duration::from_millis(100), hard: Duration::from_millis(20_000) };

    fn lookup() -> Lookup {
        with(LookupOptions::default())
    }

    fn with(options: LookupOptions) -> Lookup {
        Lookup::new(NodeId([0; 32]), LookupOrigin::User, options, Instant::from_millis(10_000))
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
        assert_eq!(distances(256), [256, 255, 254, 253, 252, 251, 250, 249]);
        assert_eq!(distances(250), [250, 251, 249, 252, 248, 253, 247, 254]);
        assert_eq!(distances(1), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn the_nearest_are_asked_a_few_at_a_time() {
        let mut lookup = lookup();
        for n in [9, 3, 7, 5, 1, 3] {
            lookup.add(&contact(n), None, false);
        }
        assert_eq!(
            [ask(&mut lookup, 0), ask(&mut lookup, 0), ask(&mut lookup, 0)],
            [Some(1), Some(3), Some(5)]
        );
        assert_eq!(ask(&mut lookup, 0), None);
        lookup.ended(&contact(3).peer.id, true);
        lookup.add(&contact(2), None, false);
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
            lookup.add(&contact(n + 1), None, false);
        }
        let mut asked = 0;
        while let Some(n) = ask(&mut lookup, 0) {
            lookup.ended(&contact(n).peer.id, true);
            asked += 1;
        }
        assert_eq!(asked, LOOKUP_WIDTH);
        lookup.add(&contact(0), None, false);
        assert!(matches!(lookup.step(Instant::from_millis(10_000), PATIENCE), Step::Done));
        // The list is bounded, and the far end leaves.
        for n in 0..=255 {
            lookup.add(&contact(n), None, false);
        }
        assert_eq!(lookup.candidates.len(), LOOKUP_CANDIDATES);
    }

    #[test]
    fn a_quick_one_ends_once_the_nearest_bring_no_news() {
        let after = |mut lookup: Lookup, told| {
            for n in 1..=16 {
                lookup.add(&contact(n), None, false);
            }
            let mut asked = 0;
            while let Some(n) = ask(&mut lookup, 0) {
                asked += 1;
                lookup.settle(&contact(n).peer.id, told);
                lookup.ended(&contact(n).peer.id, true);
            }
            assert!(matches!(lookup.step(Instant::from_millis(0), PATIENCE), Step::Done));
            asked
        };
        let quick = || with(LookupOptions { quick: true, ..LookupOptions::default() });
        assert_eq!(after(quick(), 9), LOOKUP_NEAREST.max(1 + LOOKUP_QUIET));
        assert_eq!(after(quick(), 0), LOOKUP_WIDTH, "an empty answer says nothing about who is near");
        assert_eq!(after(lookup(), 9), LOOKUP_WIDTH);
    }

    #[test]
    fn each_query_has_a_deadline_of_its_own() {
        let mut lookup = lookup();
        lookup.add(&contact(1), None, false);
        let patience = Patience { hard: Duration::from_millis(400), ..PATIENCE };
        let at = Instant::from_millis;
        assert!(matches!(lookup.step(at(0), patience), Step::Ask(..)));
        assert!(matches!(lookup.step(at(10), patience), Step::Wait(until) if until == at(100)));
        assert!(matches!(lookup.step(at(100), patience), Step::Wait(until) if until == at(400)));
        assert!(matches!(lookup.step(at(400), patience), Step::Done));
    }

    #[test]
    fn paths_do_not_share_what_they_learn() {
        let mut lookup = with(LookupOptions { paths: 2, ..LookupOptions::default() });
        lookup.add(&contact(100), None, false);
        lookup.add(&contact(120), None, false);
        lookup.split();
        assert_eq!(
            (ask(&mut lookup, 0), ask(&mut lookup, 0), ask(&mut lookup, 0)),
            (Some(100), Some(120), None)
        );
        // A liar on the first path knows everybody near; what the second learns is asked all the same.
        for n in 1..=40 {
            lookup.add(&contact(n), Some(&contact(100).peer.id), false);
        }
        lookup.add(&contact(60), Some(&contact(120).peer.id), false);
        for n in [100, 120] {
            lookup.ended(&contact(n).peer.id, true);
        }
        assert_eq!(
            (ask(&mut lookup, 10), ask(&mut lookup, 10), ask(&mut lookup, 10)),
            (Some(1), Some(60), None)
        );
        let on = |path| lookup.candidates.iter().filter(|c| c.path == path).count();
        assert_eq!((on(0), on(1)), (LOOKUP_CANDIDATES / 2, 2));
        // With one node to begin with there is one path.
        let mut single = with(LookupOptions { paths: 3, ..LookupOptions::default() });
        single.add(&contact(1), None, false);
        single.split();
        assert_eq!(single.paths, 1);
    }

    #[test]
    fn one_network_does_not_surround_a_target() {
        let mut lookup = lookup();
        let taken = (0..200).filter(|n| lookup.add(&contact(*n), None, true)).count();
        assert_eq!((taken, lookup.candidates.len()), (PREFIX_PER_LOOKUP, PREFIX_PER_LOOKUP));
        assert!(lookup.add(&contact(201), None, false), "one that is exempt");
    }
}
