//! Lookups through nodes of the other kind, and a network of both.

use coracle_core::id::NodeId;

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

/// Everybody knows the first node only, and finds everybody by lookups.
#[tokio::test]
async fn everyone_finds_everyone() {
    const EACH: u8 = 5;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..EACH {
        ours.push(Ours::start(11 + n).await);
        theirs.push(Theirs::start(101 + n).await);
    }
    let (first, first_enr) = (ours[0].record().clone(), ours[0].enr());
    for node in &ours[1..] {
        let first = first.clone();
        node.with(move |machine, now| machine.add_record(now, &first, false)).await.unwrap();
    }
    for node in &theirs {
        node.discv5.add_enr(first_enr.clone()).unwrap();
    }
    let all: Vec<NodeId> = ours.iter().map(|node| node.id).chain(theirs.iter().map(|node| node.id)).collect();
    let expected = all.len() * (all.len() - 1);

    // A node is relayed once it was pinged, so the first lookups may come too early.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let mut missing: Vec<(usize, NodeId)> = (0..all.len())
        .flat_map(|i| all.iter().map(move |id| (i, *id)))
        .filter(|(i, id)| all[*i] != *id)
        .collect();
    let mut rounds = 0;
    while !missing.is_empty() && tokio::time::Instant::now() < deadline {
        rounds += 1;
        let mut still = Vec::new();
        for (i, id) in missing {
            let found = match i.checked_sub(ours.len()) {
                None => ours[i].look_up(id).await.is_some(),
                Some(i) => theirs[i].look_up(id).await.is_some(),
            };
            if !found {
                still.push((i, id));
            }
        }
        missing = still;
    }
    println!("{} of {expected} found in {rounds} rounds", expected - missing.len());
    assert!(missing.is_empty(), "not found: {missing:?}");
}
