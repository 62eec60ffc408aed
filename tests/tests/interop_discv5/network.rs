//! Lookups through nodes of the other kind, and a network of both.

use std::collections::VecDeque;

use coracle_core::id::NodeId;
use futures::future::join_all;
use tokio::sync::Semaphore;

use crate::{
    DEADLINE,
    ours::Ours,
    theirs::{Theirs, Told},
};

/// We find nodes of both kinds through theirs.
#[tokio::test]
async fn we_look_up_through_theirs() {
    let (mut ours, between) = (Ours::start(1).await, Theirs::start(2).await);
    let (mut our_goal, their_goal) = (Ours::start(3).await, Theirs::start(4).await);
    // Both make themselves known to the one between.
    their_goal.ping(between.enr()).await;
    let record = between.record();
    our_goal.with(move |machine, now| machine.add_record(now, &record, false)).await.unwrap();
    our_goal.reaches(between.id).await;

    let record = between.record();
    ours.with(move |machine, now| machine.add_record(now, &record, false)).await.unwrap();
    for (goal, record) in [(our_goal.id, our_goal.record().clone()), (their_goal.id, their_goal.record())] {
        let found = ours.look_up(goal).await.expect("found");
        assert_eq!(found.as_bytes(), record.as_bytes());
    }
}

/// They find nodes of both kinds through ours.
#[tokio::test]
async fn they_look_up_through_ours() {
    let (theirs, mut between) = (Theirs::start(1).await, Ours::start(2).await);
    let (our_goal, their_goal) = (Ours::start(3).await, Theirs::start(4).await);
    for record in [our_goal.record().clone(), their_goal.record()] {
        let id = record.node_id();
        between.with(move |machine, now| machine.add_record(now, &record, false)).await.unwrap();
        between.reaches(id).await;
    }
    theirs.discv5.add_enr(between.enr()).unwrap();
    for (goal, text) in
        [(our_goal.id, our_goal.record().to_string()), (their_goal.id, their_goal.enr().to_base64())]
    {
        let found = theirs.look_up(goal).await.expect("found");
        assert_eq!(found.to_base64(), text);
    }
}

/// They put an answer of ours together that takes several packets.
#[tokio::test]
async fn they_read_an_answer_of_several_packets() {
    /// Records in an answer, at most; one packet holds about ten of these.
    const RECORDS: usize = 16;
    let (mut theirs, mut between) = (Theirs::start(1).await, Ours::start(2).await);
    let mut known = Vec::new();
    for n in 0..20 {
        let node = Ours::start(30 + n).await;
        let record = node.record().clone();
        between.with(move |machine, now| machine.add_record(now, &record, false)).await.unwrap();
        known.push(node);
    }
    for node in &known {
        between.reaches(node.id).await;
    }
    theirs.discv5.add_enr(between.enr()).unwrap();
    // Whatever it looks for, it asks for the three farthest distances, where nearly all nodes are.
    let mut target = between.id;
    target.0[0] ^= 0x80;
    assert!(theirs.look_up(target).await.is_none(), "there is no such node");
    let mut discovered = std::collections::BTreeSet::new();
    while discovered.len() < RECORDS {
        let id = theirs
            .expect("sixteenth record", |told| match told {
                Told::Discovered(enr) => Some(NodeId(enr.node_id().raw())),
                _ => None,
            })
            .await;
        assert!(known.iter().any(|node| node.id == id) || id == between.id);
        discovered.insert(id);
    }
}

/// How many nodes of each kind there are, and how many of each kind move: eight and two, or, with
/// `INTEROP=full`, twenty and five. (Their nodes wait seconds for everyone who moved.)
fn sizes() -> (u8, usize) {
    if std::env::var("INTEROP").is_ok_and(|value| value == "full") { (20, 5) } else { (8, 2) }
}

/// How many look up at the same time: with all of them, a busy machine answers so late that everything is asked
/// again, and so later still.
const AT_ONCE: usize = 4;

/// Everybody knows the first node only, and finds everybody by lookups. Then some of each kind start again on
/// another port, knowing the first node only, and are found again by everybody, and find everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_finds_everyone() {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (each, move_away) = sizes();
    for n in 0..each {
        ours.push(Ours::start(11 + n).await);
        theirs.push(Theirs::start(101 + n).await);
    }
    let mut network = Network { ours, theirs };
    for at in 1..network.len() {
        network.introduce(at).await;
    }
    let all: Vec<usize> = (0..network.len()).collect();
    network.find_all(&all, &all).await;

    // The first node stays, since the others are told of it.
    let moving: Vec<usize> = (1..=move_away).flat_map(|n| [n, n + usize::from(each)]).collect();
    for at in &moving {
        network = network.moved(*at).await;
        network.introduce(*at).await;
    }
    network.find_all(&all, &moving).await;
    network.find_all(&moving, &all).await;
}

/// Nodes of both kinds. Ours are numbered first.
struct Network {
    ours: Vec<Ours>,
    theirs: Vec<Theirs>,
}

impl Network {
    fn len(&self) -> usize {
        self.ours.len() + self.theirs.len()
    }

    /// Id and sequence number of the record of a node.
    fn name(&self, at: usize) -> (NodeId, u64) {
        match at.checked_sub(self.ours.len()) {
            None => (self.ours[at].id, self.ours[at].record().seq()),
            Some(at) => (self.theirs[at].id, self.theirs[at].enr().seq()),
        }
    }

    /// Tells a node of the first.
    async fn introduce(&self, at: usize) {
        let first = &self.ours[0];
        match at.checked_sub(self.ours.len()) {
            None => {
                let record = first.record().clone();
                let added = self.ours[at].with(move |machine, now| machine.add_record(now, &record, false));
                added.await.unwrap();
            }
            Some(at) => self.theirs[at].discv5.add_enr(first.enr()).unwrap(),
        }
    }

    /// Starts a node again, elsewhere.
    async fn moved(mut self, at: usize) -> Self {
        match at.checked_sub(self.ours.len()) {
            None => {
                let node = self.ours.remove(at).start_elsewhere().await;
                self.ours.insert(at, node);
            }
            Some(at) => {
                let node = self.theirs.remove(at).start_elsewhere().await;
                self.theirs.insert(at, node);
            }
        }
        self
    }

    /// Every node of `seekers` finds the present record of every node of `goals`, a few seekers at a time.
    async fn find_all(&mut self, seekers: &[usize], goals: &[usize]) {
        let names: Vec<(NodeId, u64)> = goals.iter().map(|at| self.name(*at)).collect();
        let mut wanted: Vec<Vec<(NodeId, u64)>> = vec![Vec::new(); self.len()];
        for at in seekers {
            let own = self.name(*at).0;
            wanted[*at] = names.iter().copied().filter(|(id, _)| *id != own).collect();
        }
        let expected: usize = wanted.iter().map(Vec::len).sum();
        let for_theirs = wanted.split_off(self.ours.len());
        let turns = Semaphore::new(AT_ONCE);
        let begun = tokio::time::Instant::now();
        let deadline = begun + DEADLINE * 20;
        let ours =
            self.ours.iter_mut().zip(wanted).map(|(node, goals)| {
                seek(goals, &turns, deadline, async move |id| node.look_around(id).await)
            });
        let theirs =
            self.theirs.iter().zip(for_theirs).map(|(node, goals)| {
                seek(goals, &turns, deadline, async move |id| node.look_around(id).await)
            });
        let (ours, theirs) = tokio::join!(join_all(ours), join_all(theirs));
        let missing: Vec<_> =
            ours.into_iter().chain(theirs).enumerate().filter(|(_, missing)| !missing.is_empty()).collect();
        let found = expected - missing.iter().map(|(_, missing)| missing.len()).sum::<usize>();
        println!("{found} of {expected} found, by {} nodes in {:?}", seekers.len(), begun.elapsed());
        assert!(missing.is_empty(), "not found (seeker: goals): {missing:?}");
    }
}

/// Looks one after the other up, and again those not found with at least that sequence number: a node is relayed
/// only once it was pinged. Whoever a lookup comes upon on its way counts as found too, so that forty nodes need
/// some two hundred lookups and not 1,560. Returns whom it did not find.
async fn seek(
    goals: Vec<(NodeId, u64)>,
    turns: &Semaphore,
    deadline: tokio::time::Instant,
    mut look_around: impl AsyncFnMut(NodeId) -> Vec<(NodeId, u64)>,
) -> Vec<(NodeId, u64)> {
    let mut missing = VecDeque::from(goals);
    while let Some((id, seq)) = missing.pop_front() {
        missing.push_back((id, seq));
        let _turn = turns.acquire().await.unwrap();
        let Ok(found) = tokio::time::timeout_at(deadline, look_around(id)).await else { break };
        for (id, seq) in found {
            missing.retain(|(goal, wanted)| *goal != id || *wanted > seq);
        }
    }
    missing.into()
}
