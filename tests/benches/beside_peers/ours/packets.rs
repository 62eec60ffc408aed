//! Packets that a whole discovery machine takes in.

use std::{hint::black_box, time::Duration};

use coracle_core::{
    crypto::Identity,
    discovery::{Config, Event},
    limits::MAX_PACKET_SIZE,
    record::Record,
    time::Instant,
};

use super::host::{Buf, Host, Puppet, endpoint, handshake, record, rng, unknown_packet};
use crate::{
    backend::{Backend, identity},
    measure::Op,
};

const START: Instant = Instant::from_millis(1);

/// Packets of as many unknown peers, in turn; each is answered by a challenge of its own.
pub(crate) fn unknown<B: Backend>() -> Op {
    unknown_to(Host::<B>::new(1, Config::default()))
}

/// The same for a machine that has seen something.
pub(crate) fn unknown_to<B: Backend>(mut host: Host<B>) -> Op {
    let packets: Vec<_> = (1_000_000..1_001_024)
        .map(|number| {
            let mut buf = [0; MAX_PACKET_SIZE];
            let len = unknown_packet(&identity(number), &host, &mut rng(number), &mut buf);
            (endpoint(number), buf[..len].to_vec())
        })
        .collect();
    let (mut next, mut buf) = (0, [0; MAX_PACKET_SIZE]);
    Op::new(move || {
        let (from, packet) = &packets[next % packets.len()];
        next += 1;
        let bytes = &mut buf[..packet.len()];
        bytes.copy_from_slice(packet);
        host.handle(START, *from, bytes);
        assert!(black_box(host.poll(START, &mut buf)).is_some());
    })
}

/// A whole handshake packet with a record, which nobody asked for.
pub(crate) fn unsolicited<B: Backend>() -> Op {
    let mut host = Host::<B>::new(1, Config::default());
    let from = identity::<B>(2);
    let mut packet = [0; MAX_PACKET_SIZE];
    let own = record(&from, 2, 1);
    let (len, _) = handshake(&from, &own, &host, &[5; 63], &mut rng(2), &mut packet);
    let mut buf = [0; MAX_PACKET_SIZE];
    Op::new(move || {
        let bytes = &mut buf[..len];
        bytes.copy_from_slice(&packet[..len]);
        host.handle(START, endpoint(2), black_box(bytes));
    })
}

/// A machine that asks a puppet for nodes, and what the puppet answers.
struct Asking<B: Backend> {
    host: Host<B>,
    puppet: Puppet<B>,
    now: Instant,
    answers: Vec<(usize, Buf)>,
}

/// Answers that lie ready at a time: so many that what preparing them has left in the caches weighs little.
const READY: usize = 16;
/// What is asked for.
const DISTANCES: [u16; 8] = [256, 255, 254, 253, 252, 251, 250, 249];

impl<B: Backend> Asking<B> {
    fn new() -> Self {
        let mut host = Host::new(1, Config::default());
        let puppet = Puppet::connect(2, &mut host, START);
        Self { host, puppet, now: START, answers: Vec::new() }
    }

    /// So many records of nodes at the distances that are asked for.
    fn records(&self, count: usize) -> Vec<Record> {
        let near = |identity: &Identity<B>| {
            let distance = identity.node_id().log_distance(&self.puppet.identity.node_id());
            DISTANCES.contains(&distance)
        };
        let all =
            (100..).map(|number| (number, identity::<B>(number))).filter(|(_, identity)| near(identity));
        all.map(|(number, identity)| record(&identity, number, 1)).take(count).collect()
    }

    /// Asks as often as answers shall be ready, which have these records, four each, from the first again after the
    /// last.
    fn ask(&mut self, records: &[Record]) {
        // So that the budget of signature checks is never what is measured.
        self.now = self.now + Duration::from_secs(1);
        self.host.settle(self.now);
        self.answers.clear();
        for records in records.chunks_exact(4).cycle().take(READY) {
            self.host.discovery.find_node(self.now, &self.puppet.record, &DISTANCES).unwrap();
            let mut buf = [0; MAX_PACKET_SIZE];
            let (_, len) = self.host.poll(self.now, &mut buf).unwrap();
            let id = self.puppet.request_id(&mut buf[..len]);
            let len = self.puppet.nodes(&self.host, id, records, &mut buf);
            self.answers.push((len, buf));
        }
    }

    fn hear(&mut self) {
        for (len, answer) in &mut self.answers {
            self.host.discovery.handle_datagram(
                &self.host.identity,
                self.now,
                self.puppet.endpoint,
                &mut answer[..*len],
            );
        }
    }
}

/// An answer with four records that the table has.
pub(crate) fn nodes_known<B: Backend>() -> Op {
    let mut asking = Asking::<B>::new();
    let known = asking.records(4);
    for record in &known {
        asking.host.discovery.add_record(START, record, false).unwrap();
    }
    let checks = move |asking: &Asking<B>| asking.host.discovery.counters().signature_checks;
    let before = checks(&asking);
    Op::prepared(
        asking,
        READY as u64,
        move |asking| asking.ask(&known),
        move |asking| {
            asking.hear();
            assert_eq!(checks(asking), before, "known records are not verified again");
        },
    )
}

/// An answer with four records that were never seen. When all have been, the machine makes way for a new one.
pub(crate) fn nodes_new<B: Backend>() -> Op {
    let asking = Asking::<B>::new();
    let records = asking.records(32 * 4 * READY);
    let mut next = 0;
    Op::prepared(
        asking,
        READY as u64,
        move |asking| {
            if next == records.len() {
                (*asking, next) = (Asking::new(), 0);
            }
            let new = next..next + 4 * READY;
            next = new.end;
            asking.ask(&records[new]);
        },
        |asking| {
            let before = asking.host.discovery.counters().signature_checks;
            asking.hear();
            let checked = asking.host.discovery.counters().signature_checks - before;
            assert_eq!(checked, 4 * READY as u64, "{:?}", asking.host.discovery.counters());
        },
    )
}

/// A configuration for two nodes that meet once.
pub(crate) fn small() -> Config {
    Config {
        nodes: 16,
        sessions: 8,
        challenges: 8,
        prefixes: 8,
        verified_records: 16,
        requests: 8,
        responses: 8,
        lookups: 1,
        talks: 1,
        events: 8,
        ..Config::default()
    }
}

/// Pairs of nodes that lie ready at a time, likewise.
const PAIRS: u64 = 32;

/// Two nodes of which only the first knows the other: a PING with all four packets that it takes, the
/// handshake with the record among them, through both whole machines.
pub(crate) fn handshakes<B: Backend>() -> Op {
    let pair = || [1, 2].map(|number| Host::<B>::new(number, small()));
    Op::prepared(
        Vec::new(),
        PAIRS,
        move |pairs: &mut Vec<[Host<B>; 2]>| {
            pairs.clear();
            pairs.extend((0..PAIRS).map(|_| pair()));
        },
        |pairs| pairs.iter_mut().for_each(|pair| meet(pair)),
    )
}

/// The handshake packet with the record alone: from the challenge in hand until the other side has answered it in a
/// session. `ahead`: the ephemeral key was made while the challenge was waited for.
pub(crate) fn handshake_packets<B: Backend>(ahead: bool) -> Op {
    // They meet again and again, and the record is checked each time.
    let host = |number| Host::<B>::new(number, Config { verified_records: 0, ..small() });
    let pairs: Vec<_> = (0..PAIRS).map(|_| [1, 2].map(host)).collect();
    Op::prepared(
        (pairs, START),
        PAIRS,
        move |(pairs, now)| {
            // So that the budget of signature checks is never what is measured, and all challenges before are over.
            *now = *now + Duration::from_secs(5);
            pairs.iter_mut().for_each(|pair| challenge(pair, *now, ahead));
        },
        |(pairs, now)| {
            for [first, second] in pairs {
                let mut buf = [0; MAX_PACKET_SIZE];
                let (_, len) = first.poll(*now, &mut buf).unwrap();
                second.handle(*now, first.endpoint, &mut buf[..len]);
                assert_eq!(second.discovery.session_count(), 1);
            }
        },
    )
}

/// Lets the first have a challenge of the second, after both have forgotten each other.
fn challenge<B: Backend>([first, second]: &mut [Host<B>; 2], now: Instant, ahead: bool) {
    let ids = [&*first, &*second].map(|host| host.identity.node_id());
    for (host, other) in [(&mut *first, ids[1]), (&mut *second, ids[0])] {
        host.discovery.remove(now, &other);
        host.settle(now);
    }
    first.discovery.ping(now, second.discovery.local_record()).unwrap();
    let mut buf = [0; MAX_PACKET_SIZE];
    let (_, len) = first.poll(now, &mut buf).unwrap();
    second.handle(now, first.endpoint, &mut buf[..len]);
    if ahead {
        assert!(first.poll(now, &mut buf.clone()).is_none());
    }
    let (_, len) = second.poll(now, &mut buf).unwrap();
    first.handle(now, second.endpoint, &mut buf[..len]);
}

fn meet<B: Backend>(pair: &mut [Host<B>; 2]) {
    let [first, second] = pair;
    let request = first.discovery.ping(START, second.discovery.local_record()).unwrap();
    let mut buf = [0; MAX_PACKET_SIZE];
    for _ in 0..2 {
        let (_, len) = first.poll(START, &mut buf).unwrap();
        second.handle(START, first.endpoint, &mut buf[..len]);
        let (_, len) = second.poll(START, &mut buf).unwrap();
        first.handle(START, second.endpoint, &mut buf[..len]);
    }
    let mut events = std::iter::from_fn(|| first.discovery.poll_event());
    assert!(
        events.any(|event| matches!(event, Event::Pong { request: answered, .. } if answered == request))
    );
}
