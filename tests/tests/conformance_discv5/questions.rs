//! What the node under test takes for an answer to its own requests (discv5 wire, "NODES Response").

use coracle_core::discovery::{Event, RequestId};
use coracle_tests::raw_peer::{Message, PeerRecord, bytes_of, log_distance};

use crate::{
    bench::Machine,
    line::Line,
    sessions::{begun, ping, ponged, record as our_record},
};

by_discovery![
    nodes_at_the_distances_are_taken,
    nodes_at_another_distance_are_refused,
    nodes_from_another_endpoint_or_node_are_refused,
    nodes_that_nobody_asked_for_are_refused,
    nodes_with_a_changing_total_are_refused,
    nodes_are_limited_in_number,
    records_that_do_not_hold_are_refused,
    pongs_that_answer_nothing_are_refused,
    request_ids_are_whole_as_numbers,
    a_higher_number_in_ping_or_pong_is_followed,
    a_lookup_finds_a_node_through_another,
];

/// A running FINDNODE of the node.
struct Asked {
    begun: RequestId,
    id: Vec<u8>,
}

impl Asked {
    fn nodes(&self, total: u64, records: &[&PeerRecord]) -> Message {
        let records = records.iter().map(|record| bytes_of(record)).collect();
        Message::Nodes { id: self.id.clone(), total, records }
    }

    /// Waits for the end, and returns how many records it says were valid.
    fn end(&self, net: &mut impl Machine) -> usize {
        net.event("end of FINDNODE", |event| match event {
            Event::Nodes { request, count, .. } if *request == self.begun => Some(*count),
            Event::RequestFailed { request, reason } if *request == self.begun => panic!("{reason}"),
            _ => None,
        })
    }
}

/// Tells the node to ask `line` for `distances`, and waits for the question.
fn ask(net: &mut impl Machine, line: &mut Line, distances: &[u64]) -> Asked {
    let (record, wanted): (_, Vec<u16>) =
        (our_record(line), distances.iter().map(|distance| *distance as u16).collect());
    let begun = net.with(|discovery, now| discovery.find_node(now, &record, &wanted)).unwrap();
    loop {
        match line.request(net) {
            Message::FindNode { id, distances: asked } if asked == distances => return Asked { begun, id },
            other => line.serve(net, &other),
        }
    }
}

/// Records of nodes that need not run, each with its distance from `line`.
fn strangers(net: &mut impl Machine, line: &Line, numbers: std::ops::Range<u8>) -> Vec<(u64, PeerRecord)> {
    let id = line.peer.id();
    let mut stranger = |number| {
        let peer = Line::reachable(net, number).peer;
        (log_distance(&id, &peer.id()), peer.record().clone())
    };
    numbers.map(&mut stranger).collect()
}

/// The first two different distances among `strangers`, with one record of each.
fn two_distances(strangers: &[(u64, PeerRecord)]) -> ((u64, PeerRecord), (u64, PeerRecord)) {
    let first = strangers[0].clone();
    let second = strangers.iter().find(|(distance, _)| *distance != first.0);
    (first, second.expect("two distances").clone())
}

/// How often the node told of `record`.
fn seen(net: &mut impl Machine, record: &PeerRecord) -> usize {
    let id = record.node_id().raw();
    net.told(|event| matches!(event, Event::RecordSeen { record, .. } if record.node_id().0 == id))
}

fn nodes_at_the_distances_are_taken(net: &mut impl Machine) {
    let mut line = begun(net, 1);
    let ((near, a), (far, b)) = two_distances(&strangers(net, &line, 20..60));
    // In two packets, the second one first.
    let asked = ask(net, &mut line, &[near, far]);
    line.say(net, &asked.nodes(2, &[&b]));
    line.say(net, &asked.nodes(2, &[&a]));
    assert_eq!(asked.end(net), 2);
    assert_eq!((seen(net, &a), seen(net, &b)), (1, 1));
    // Its own record for distance 0, and nothing, are answers too.
    let asked = ask(net, &mut line, &[0]);
    let own = line.peer.record().clone();
    line.say(net, &asked.nodes(1, &[&own]));
    assert_eq!(asked.end(net), 1);
    let asked = ask(net, &mut line, &[near]);
    line.say(net, &asked.nodes(1, &[]));
    assert_eq!(asked.end(net), 0);
}

fn nodes_at_another_distance_are_refused(net: &mut impl Machine) {
    let mut line = begun(net, 1);
    let ((near, a), (_, b)) = two_distances(&strangers(net, &line, 20..60));
    let asked = ask(net, &mut line, &[near]);
    let own = line.peer.record().clone();
    line.say(net, &asked.nodes(1, &[&b, &a, &own]));
    assert_eq!(asked.end(net), 1);
    assert_eq!((seen(net, &a), seen(net, &b)), (1, 0));
    // Nor another node's record for distance 0.
    let asked = ask(net, &mut line, &[0]);
    line.say(net, &asked.nodes(1, &[&b]));
    assert_eq!(asked.end(net), 0);
    assert_eq!(seen(net, &b), 0);
}

/// The session's keys from another port, and the request id in another node's session.
fn nodes_from_another_endpoint_or_node_are_refused(net: &mut impl Machine) {
    let (mut line, mut other) = (begun(net, 1), begun(net, 2));
    let mut elsewhere = Line::new(net, 3);
    elsewhere.peer = line.peer.clone();
    elsewhere.session = line.session;
    elsewhere.peer.draw::<1>();
    let ((near, a), _) = two_distances(&strangers(net, &line, 20..60));
    let asked = ask(net, &mut line, &[near]);
    let packet = elsewhere.say(net, &asked.nodes(1, &[&a]));
    assert_eq!(elsewhere.challenged(net).nonce, packet.nonce, "to keys of another endpoint");
    other.say(net, &asked.nodes(1, &[&a]));
    // The other node's PING is answered after that.
    let ping = other.new_ping();
    other.say(net, &ping);
    let pong = other.answer(net);
    other.check_pong(net, &ping, &pong);
    assert_eq!(seen(net, &a), 0);
    // The request still waits for its true answer.
    line.say(net, &asked.nodes(1, &[&a]));
    assert_eq!(asked.end(net), 1);
    assert_eq!(seen(net, &a), 1);
}

fn nodes_that_nobody_asked_for_are_refused(net: &mut impl Machine) {
    let mut line = begun(net, 1);
    let strangers = strangers(net, &line, 20..60);
    let ((near, a), (_, b)) = two_distances(&strangers);
    let id = line.peer.draw::<8>().to_vec();
    line.say(net, &Message::Nodes { id, total: 1, records: vec![bytes_of(&a)] });
    let asked = ask(net, &mut line, &[near]);
    // Another id than that of the request, one that is longer, one cut short.
    let mut wrong = asked.id.clone();
    wrong[asked.id.len() - 1] ^= 1;
    for id in [wrong, [&asked.id[..], &[0]].concat(), asked.id[..asked.id.len() - 1].to_vec()] {
        line.say(net, &Message::Nodes { id, total: 1, records: vec![bytes_of(&a)] });
    }
    // Another kind of answer.
    let id = asked.id.clone();
    line.say(net, &Message::TalkResp { id: id.clone(), response: bytes_of(&a) });
    line.say(net, &Message::Pong { id, enr_seq: 1, ip: line.at.ip(), port: 1 });
    line.say(net, &asked.nodes(1, &[]));
    assert_eq!(asked.end(net), 0);
    // And once it has its answer, nothing more.
    line.say(net, &asked.nodes(1, &[&a, &b]));
    line.ping(net);
    assert_eq!((seen(net, &a), seen(net, &b)), (0, 0));
    assert_eq!(net.told(|event| matches!(event, Event::Nodes { .. })), 0);
}

/// The first packet says how many there are.
fn nodes_with_a_changing_total_are_refused(net: &mut impl Machine) {
    let mut line = begun(net, 1);
    let ((near, a), (far, b)) = two_distances(&strangers(net, &line, 20..60));
    let asked = ask(net, &mut line, &[near, far]);
    line.say(net, &asked.nodes(2, &[]));
    for total in [0, 1, 3, 5, u64::MAX] {
        line.say(net, &asked.nodes(total, &[&a]));
    }
    line.ping(net);
    assert_eq!(seen(net, &a), 0);
    line.say(net, &asked.nodes(2, &[&b]));
    assert_eq!(asked.end(net), 1);
    assert_eq!((seen(net, &a), seen(net, &b)), (0, 1));
    // None is no number of packets.
    let asked = ask(net, &mut line, &[near]);
    line.say(net, &asked.nodes(0, &[&a]));
    line.say(net, &asked.nodes(1, &[]));
    assert_eq!(asked.end(net), 0);
    assert_eq!(seen(net, &a), 0);
}

/// An answer that announces packets without end has one: at most 5 packets, and at most 16 records.
fn nodes_are_limited_in_number(net: &mut impl Machine) {
    let mut line = begun(net, 1);
    let all = strangers(net, &line, 20..120);
    let far: Vec<&PeerRecord> = all.iter().filter(|(d, _)| *d == 256).map(|(_, record)| record).collect();
    assert!(far.len() > 26, "{}", far.len());
    // One record a packet.
    let asked = ask(net, &mut line, &[256]);
    for record in &far[..10] {
        line.say(net, &asked.nodes(100, &[record]));
    }
    let count = asked.end(net);
    line.ping(net);
    let taken = far[..10].iter().filter(|record| seen(net, record) > 0).count();
    assert!(taken == count && count <= 5, "{count} of 10 packets; {taken} records");
    // Many records a packet: at most 16 of all of them.
    net.events().clear();
    let asked = ask(net, &mut line, &[256]);
    for records in far[..24].chunks(6) {
        line.say(net, &asked.nodes(5, records));
    }
    let count = asked.end(net);
    assert!((6..=16).contains(&count), "{count} of 24 records");
}

fn records_that_do_not_hold_are_refused(net: &mut impl Machine) {
    let mut line = begun(net, 1);
    let ((near, a), _) = two_distances(&strangers(net, &line, 20..60));
    let good = bytes_of(&a);
    let spoiled = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let last = good.len() - 1;
    // In its signature, its number, its last field; cut short; not a record; in a list.
    let mut records = vec![spoiled(10), spoiled(2 + 2 + 64), spoiled(last), vec![0xc0], vec![0xc1, 0x80]];
    records.push([&[0xf8, good.len() as u8][..], &good].concat());
    for record in records {
        let asked = ask(net, &mut line, &[near]);
        line.say(net, &Message::Nodes { id: asked.id.clone(), total: 1, records: vec![record.clone()] });
        // A packet with such a record may be dropped whole or without the record.
        line.say(net, &asked.nodes(1, &[]));
        assert_eq!(asked.end(net), 0, "{record:?}");
    }
    assert_eq!(seen(net, &a), 0);
}

fn pongs_that_answer_nothing_are_refused(net: &mut impl Machine) {
    let (mut line, mut other) = (begun(net, 1), begun(net, 2));
    net.events().clear();
    let begun = ping(net, &line);
    let request = line.request(net);
    let (ip, port) = (line.at.ip(), 4242);
    let pong = |id: &[u8]| Message::Pong { id: id.to_vec(), enr_seq: 1, ip, port };
    let mut wrong = request.id().to_vec();
    wrong[0] ^= 1;
    line.say(net, &pong(&wrong));
    line.say(net, &pong(&[]));
    other.say(net, &pong(request.id()));
    line.say(net, &Message::TalkResp { id: request.id().to_vec(), response: Vec::new() });
    line.ping(net);
    other.ping(net);
    let told =
        net.told(|event| matches!(event, Event::Pong { .. } | Event::Vote { .. } | Event::Reachable { .. }));
    assert_eq!(told, 0, "{:#?}", net.events());
    line.serve(net, &request);
    ponged(net, begun);
}

/// @chainsafe/discv5 reads a request id as a number and repeats it without zeros in front.
fn request_ids_are_whole_as_numbers(net: &mut impl Machine) {
    let mut line = begun(net, 1);
    for _ in 0..20 {
        let begun = ping(net, &line);
        let request = line.request(net);
        assert!(request.id().first().is_some_and(|first| *first != 0), "{request:?}");
        line.serve(net, &request);
        ponged(net, begun);
    }
}

/// The node asks for the record of a peer whose PING or PONG has a higher number than it knows.
fn a_higher_number_in_ping_or_pong_is_followed(net: &mut impl Machine) {
    for in_ping in [true, false] {
        let mut line = Line::reachable(net, if in_ping { 1 } else { 2 });
        let known = our_record(&line);
        net.with(|discovery, now| discovery.add_record(now, &known, true)).unwrap();
        let id = known.node_id();
        let end = net.elapsed() + std::time::Duration::from_secs(60);
        while line.pinged == 0 {
            line.serve_arrived(net);
            assert!(net.elapsed() < end, "a member is pinged");
            net.pass();
        }
        line.peer.set_record(8, Some(line.at));
        line.knows = vec![bytes_of(line.peer.record())];
        if in_ping {
            line.ping(net);
        } else {
            ping(net, &line);
        }
        while net.with(|discovery, _| discovery.record(&id).map(|record| record.seq())) != Some(8) {
            line.serve_arrived(net);
            assert!(net.elapsed() < end, "the newer record was not asked for");
            net.pass();
        }
    }
}

/// The node knows one peer, which knows another.
fn a_lookup_finds_a_node_through_another(net: &mut impl Machine) {
    let (mut between, mut goal) = (begun(net, 1), Line::reachable(net, 2));
    between.knows = vec![bytes_of(goal.peer.record())];
    let known = our_record(&between);
    net.with(|discovery, now| discovery.add_record(now, &known, false)).unwrap();
    let target = our_record(&goal);
    let lookup = net.with(|discovery, now| discovery.lookup(now, target.node_id())).unwrap();
    let end = net.elapsed() + std::time::Duration::from_secs(60);
    loop {
        between.serve_arrived(net);
        goal.serve_arrived(net);
        let done = net.events().iter().find_map(|event| match event {
            Event::LookupDone { lookup: done, found, .. } if *done == lookup => Some(found.clone()),
            _ => None,
        });
        if let Some(found) = done {
            assert_eq!(found.expect("found").as_bytes(), target.as_bytes());
            return;
        }
        assert!(net.elapsed() < end, "the lookup does not end");
        net.pass();
    }
}
