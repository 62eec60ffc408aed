//! Who is pinged, and who is then told to others (discv5 theory, "Node Table").

use std::collections::BTreeSet;

use coracle_tests::raw_peer::{bytes_of, log_distance};

use crate::{bench::Network, line::Line};

by_any_node![
    bystanders_are_pinged_and_relayed,
    who_never_answers_a_ping_is_not_relayed,
    a_newer_record_in_a_handshake_takes_the_place_of_the_old,
];

/// Peers that completed a handshake.
fn bystanders(net: &mut impl Network, numbers: std::ops::Range<u8>) -> Vec<Line> {
    let mut lines: Vec<Line> = numbers.map(|number| Line::reachable(net, number)).collect();
    let records: Vec<Vec<u8>> = lines.iter().map(|line| bytes_of(line.peer.record())).collect();
    for line in &mut lines {
        line.knows.clone_from(&records);
        line.ping(net);
    }
    lines
}

/// The records of `lines`, by their distances from the node.
fn asked_for(net: &impl Network, lines: &[Line]) -> (Vec<u64>, BTreeSet<Vec<u8>>) {
    let own = net.record().node_id().raw();
    let distances: BTreeSet<u64> = lines.iter().map(|line| log_distance(&own, &line.peer.id())).collect();
    let records = lines.iter().map(|line| bytes_of(line.peer.record())).collect();
    (distances.into_iter().collect(), records)
}

/// Five peers shake hands, are pinged, and then stand in answers to somebody else: within a minute.
fn bystanders_are_pinged_and_relayed(net: &mut impl Network) {
    let mut lines = bystanders(net, 11..16);
    let (distances, expected) = asked_for(net, &lines);
    let mut asker = Line::new(net, 1);
    let end = net.elapsed() + std::time::Duration::from_secs(60);
    loop {
        for line in &mut lines {
            line.serve_arrived(net);
        }
        if lines.iter().all(|line| line.pinged > 0) {
            let found: BTreeSet<_> = asker.find_node(net, &distances).into_iter().collect();
            if expected.is_subset(&found) {
                println!("{} of {} relayed", expected.len(), expected.len());
                return;
            }
        }
        let pinged: Vec<_> = lines.iter().map(|line| line.pinged).collect();
        assert!(net.elapsed() < end, "not all relayed within a minute; PINGs: {pinged:?}");
        net.pass();
    }
}

/// Of two peers one answers no PING: only the other is told to others.
fn who_never_answers_a_ping_is_not_relayed(net: &mut impl Network) {
    let mut lines = bystanders(net, 11..13);
    let (distances, _) = asked_for(net, &lines);
    let mut asker = Line::new(net, 1);
    let (dead, mut alive) = (lines.remove(0), lines.remove(0));
    while alive.pinged == 0 {
        alive.serve_arrived(net);
        net.pass();
    }
    // Both were tried by then, since both came within a moment; more PINGs to the silent one change nothing.
    for _ in 0..20 {
        alive.serve_arrived(net);
        net.pass();
    }
    let found = asker.find_node(net, &distances);
    assert!(found.contains(&bytes_of(alive.peer.record())), "{found:?}");
    assert!(!found.contains(&bytes_of(dead.peer.record())), "it answered no PING");
}

/// The record goes only forward, and the next challenge names the newest.
fn a_newer_record_in_a_handshake_takes_the_place_of_the_old(net: &mut impl Network) {
    let mut line = bystanders(net, 11..12).remove(0);
    let mut asker = Line::new(net, 1);
    while line.pinged == 0 {
        line.serve_arrived(net);
        net.pass();
    }
    let distance = log_distance(&net.record().node_id().raw(), &line.peer.id());
    for (seq, expected) in [(1, 1), (5, 5), (3, 5), (6, 6)] {
        line.peer.set_record(seq, Some(line.at));
        line.knows = vec![bytes_of(line.peer.record())];
        // A handshake with that record, whatever the challenge says.
        line.forget();
        let pinged = line.pinged;
        line.ping(net);
        line.forget();
        let challenge = line.ask_for_challenge(net);
        let known = u64::from_be_bytes(challenge.authdata[16..].try_into().unwrap());
        assert_eq!(known, expected, "after a record with number {seq}");
        let ping = line.new_ping();
        line.answer_challenge(net, &challenge, &ping);
        let pong = line.answer(net);
        line.check_pong(net, &ping, &pong);
        let end = net.elapsed() + std::time::Duration::from_secs(60);
        // What is told to others is never older.
        loop {
            line.serve_arrived(net);
            let found = asker.find_node(net, &[distance]);
            let seqs: Vec<u64> = found
                .iter()
                .map(|record| coracle_tests::raw_peer::record_of(record).expect("a record"))
                .filter(|record| record.node_id().raw() == line.peer.id())
                .map(|record| record.seq())
                .collect();
            assert!(seqs.iter().all(|seq| *seq == expected), "{seqs:?}");
            if !seqs.is_empty() {
                break;
            }
            assert!(
                net.elapsed() < end,
                "not relayed with number {expected}; {} PINGs",
                line.pinged - pinged
            );
            net.pass();
        }
    }
}
