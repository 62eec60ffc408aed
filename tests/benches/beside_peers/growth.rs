//! What a packet and a timer cost as the node holds more: in instructions, without cryptography, which would
//! hide the difference.

use std::time::Duration;

use coracle_core::{
    discovery::{
        Config,
        message::{Message, WireId},
    },
    limits::MAX_PACKET_SIZE,
    time::Instant,
};
use coracle_fuzz_targets::NullCrypto;

use crate::{
    backend::{Backend, identity},
    callgrind,
    measure::Op,
    ours::host::{Host, Puppet, record},
    ours::packets,
};

impl Backend for NullCrypto {
    const NAME: &'static str = "none";
    const NATIVE: bool = false;

    fn make() -> Self {
        Self
    }
}

type Node = Host<NullCrypto>;

const START: Instant = Instant::from_millis(1);
/// Runs that are counted.
const RUNS: u64 = 200;

/// A node with so many sessions, peers of some of them, and when that was done.
fn with_sessions(sessions: u32) -> (Node, Vec<Puppet<NullCrypto>>, Instant) {
    let mut host = Node::new(1, Config { sessions: sessions as usize, ..Config::default() });
    let each = (sessions / 8).max(1);
    let (mut puppets, mut now) = (Vec::new(), START);
    for number in 0..sessions {
        // One after the other: signature checks have a budget.
        now = now + Duration::from_millis(10);
        let puppet = Puppet::connect(2 + number, &mut host, now);
        if number % each == 0 {
            puppets.push(puppet);
        }
    }
    (host, puppets, now)
}

/// A PING in a session, and its PONG.
fn packet(sessions: u32) -> Op {
    let (mut host, mut puppets, now) = with_sessions(sessions);
    assert_eq!(host.discovery.session_count(), sessions as usize);
    let mut turn = 0;
    Op::new(move || {
        turn += 1;
        let at = turn % puppets.len();
        let mut buf = [0; MAX_PACKET_SIZE];
        let len = ping(&mut puppets[at], &host, &mut buf);
        host.handle(now, puppets[at].endpoint, &mut buf[..len]);
        assert!(host.poll(now, &mut buf).is_some());
    })
}

fn ping(puppet: &mut Puppet<NullCrypto>, host: &Node, buf: &mut [u8; MAX_PACKET_SIZE]) -> usize {
    let id = WireId::new(&[7]).unwrap();
    puppet.say(host, buf, |room| Message::Ping { id, enr_seq: 1 }.encode(room).unwrap())
}

/// A node whose table holds so many others.
fn with_nodes(nodes: u32) -> Node {
    let mut host = Node::new(1, Config::default());
    for number in 0..nodes {
        let number = 500_000 + number;
        let record = record(&identity::<NullCrypto>(number), number, 1);
        host.discovery.add_record(START, &record, false).unwrap();
    }
    host
}

/// A PING in a session of a node with a table of so many.
fn packet_and_table(nodes: u32) -> Op {
    let mut host = with_nodes(nodes);
    let mut puppet = Puppet::connect(2, &mut host, START);
    Op::new(move || {
        let mut buf = [0; MAX_PACKET_SIZE];
        let len = ping(&mut puppet, &host, &mut buf);
        host.handle(START, puppet.endpoint, &mut buf[..len]);
        assert!(host.poll(START, &mut buf).is_some());
    })
}

/// A PING of ours with its PONG and its timer, beside so many others that wait for theirs.
fn timer(outstanding: u32) -> Op {
    let mut host = Node::new(1, Config { requests: 16_384, ..Config::default() });
    let mut puppet = Puppet::connect(2, &mut host, START);
    for number in 0..outstanding {
        let silent = record(&identity::<NullCrypto>(500_000 + number), 500_000 + number, 1);
        host.discovery.ping(START, &silent).unwrap();
        assert!(host.poll(START, &mut [0; MAX_PACKET_SIZE]).is_some());
    }
    Op::new(move || {
        let mut buf = [0; MAX_PACKET_SIZE];
        host.discovery.ping(START, &puppet.record).unwrap();
        let (_, len) = host.poll(START, &mut buf).unwrap();
        let id = puppet.request_id(&mut buf[..len]);
        let pong = Message::Pong { id, enr_seq: 1, ip: host.endpoint.ip(), port: host.endpoint.port() };
        let len = puppet.say(&host, &mut buf, |room| pong.encode(room).unwrap());
        host.handle(START, puppet.endpoint, &mut buf[..len]);
        while host.discovery.poll_event().is_some() {}
        // Nothing is due; that must cost nothing either.
        host.discovery.handle_timeout(START);
        assert!(host.discovery.next_timeout().is_some());
    })
}

/// The operation called `kind` at a size.
pub(crate) fn operation(kind: &str, size: u32) -> Option<Op> {
    Some(match kind {
        "sessions" => packet(size),
        "table" => packet_and_table(size),
        "unknown-and-table" => packets::unknown_to(with_nodes(size)),
        "outstanding" => timer(size),
        _ => return None,
    })
}

/// Counts everything, and says how flat it is. False when something is not.
pub(crate) fn run() -> bool {
    let kinds: [(&str, &str, &[u32]); 4] = [
        ("sessions", "PING in a session and its PONG, sessions", &[10, 1_000, 100_000]),
        ("table", "the same, nodes in the table", &[10, 100, 1_000]),
        ("unknown-and-table", "unknown packet to WHOAREYOU, nodes in the table", &[10, 100, 1_000]),
        ("outstanding", "PING of ours, its PONG and timer, requests outstanding", &[10, 1_000, 10_000]),
    ];
    let mut flat = true;
    for (kind, title, sizes) in kinds {
        let mut counts = Vec::new();
        for size in sizes {
            let what = ["growth".to_owned(), kind.to_owned(), size.to_string(), RUNS.to_string()];
            let Some(count) = callgrind::count(&what) else { return true };
            counts.push(count as f64 / RUNS as f64);
        }
        let (least, most) =
            (counts.iter().copied().fold(f64::MAX, f64::min), counts.iter().copied().fold(0.0, f64::max));
        let spread = most / least - 1.0;
        let figures: Vec<_> =
            sizes.iter().zip(&counts).map(|(size, count)| format!("{size}: {count:.0}")).collect();
        let verdict = if spread <= 0.2 { "flat" } else { "NOT FLAT" };
        println!("{title}: {} instructions, {:.1} % apart: {verdict}", figures.join(", "), spread * 100.0);
        flat &= spread <= 0.2;
    }
    flat
}
