//! Accepted connections that have not authenticated: few, short, and nobody's to take from the members.

use std::{format, println};

use super::*;
use crate::{
    handshake::{HandshakeError, Initiator, Options, Responder},
    limits::{
        HANDSHAKE_READ_SIZE, HANDSHAKE_TIMEOUT, MAX_PENDING_INBOUND, MAX_PENDING_PER_MEMBER,
        MAX_PENDING_PER_SOURCE,
    },
    node::conns::Conn,
    wire::multistream::LineError,
};

fn running(config: Config) -> Node {
    let mut node = node(config);
    settle(&mut node, Instant::ZERO);
    node
}

/// What accepts connections.
struct Door {
    node: Node,
}

impl Door {
    /// The name of a connection from there, if the node keeps it.
    fn accept(&mut self, now: Instant, from: &str) -> Option<ConnId> {
        let before = self.node.connections();
        let conn = self.node.accept(now, SocketAddr::new(from.parse().unwrap(), 9));
        drain(&mut self.node, now);
        (self.node.connections() > before).then_some(conn)
    }

    fn fill(&mut self, from: &str) -> usize {
        (0..1000).take_while(|_| self.accept(Instant::ZERO, from).is_some()).count()
    }
}

#[test]
fn a_source_has_few_places_and_all_together_have_not_many() {
    let mut door = Door { node: running(config()) };
    assert_eq!(door.fill("192.0.2.1"), MAX_PENDING_PER_SOURCE);
    // One host has a whole /64; an IPv4 address is one also in its IPv6 form.
    assert_eq!(door.fill("2001:db8::1"), MAX_PENDING_PER_SOURCE);
    assert_eq!(door.fill("2001:db8::2:ffff:1"), 0);
    assert_eq!(door.fill("::ffff:192.0.2.1"), 0);
    let rest: usize = (2..20).map(|n| door.fill(&format!("192.0.2.{n}"))).sum();
    assert_eq!(rest, MAX_PENDING_INBOUND - 2 * MAX_PENDING_PER_SOURCE);
    assert!(door.node.counters().inbound_without_room > 10);
    // Nobody has authenticated in time: every place is free again.
    let later = Instant::ZERO + HANDSHAKE_TIMEOUT;
    door.node.handle_timeout(later);
    let (actions, _) = drain(&mut door.node, later);
    let closed = actions.iter().filter(|action| matches!(action, Action::Close { .. })).count();
    assert_eq!((closed, door.node.connections()), (MAX_PENDING_INBOUND, 0));
}

#[test]
fn a_flood_does_not_lock_members_out() {
    let mut config = config();
    config.members[1].hints.push("192.0.2.77:3610".parse().unwrap());
    config.members[2].last_good = Some("[2001:db8:7::1]:3610".parse().unwrap());
    let mut door = Door { node: running(config) };
    let dials = door.node.connections();
    let flood: usize = (0..30).map(|n| door.fill(&format!("198.51.100.{n}"))).sum();
    assert_eq!(flood, MAX_PENDING_INBOUND);
    assert_eq!(door.fill("192.0.2.77"), MAX_PENDING_PER_MEMBER, "where a member is known to be");
    assert_eq!(door.fill("2001:db8:7::ffff"), MAX_PENDING_PER_MEMBER);
    assert_eq!(door.fill("192.0.2.78"), 0, "where nobody is known to be");
    assert_eq!(door.node.connections() - dials, MAX_PENDING_INBOUND + 2 * MAX_PENDING_PER_MEMBER);
}

/// Whoever sends a byte now and then has the same deadline as who sends nothing: it counts from the
/// acceptance.
#[test]
fn slow_senders_have_the_same_deadline() {
    let mut door = Door { node: running(config()) };
    let conn = door.accept(Instant::ZERO, "192.0.2.1").unwrap();
    let mut sent = b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec();
    let mut now = Instant::ZERO;
    while door.node.connections() > 0 {
        assert!(now < Instant::ZERO + HANDSHAKE_TIMEOUT, "it is held too long");
        now = now + Duration::from_millis(250);
        if !sent.is_empty() {
            assert!(door.node.handle_bytes(now, conn, &mut sent[..1]) <= 1);
        }
        door.node.handle_timeout(now);
        let (actions, _) = drain(&mut door.node, now);
        if let Some(Action::Notify(Notice::Refused { reason, .. })) = actions.first() {
            assert_eq!((*reason, now), (Failure::Timeout, Instant::ZERO + HANDSHAKE_TIMEOUT));
        }
    }
}

/// What speaks another protocol is refused at its first wrong byte, and does not hold its place.
#[test]
fn another_protocol_is_refused_at_its_first_wrong_byte() {
    const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";
    let mut door = Door { node: running(config()) };
    let mut refused = 0;
    for right in 0..HEADER.len() {
        for wrong in (0..=255).filter(|byte| *byte != HEADER[right]) {
            let conn = door.accept(Instant::ZERO, "192.0.2.1").unwrap();
            let mut bytes = HEADER[..right].to_vec();
            assert_eq!(door.node.handle_bytes(Instant::ZERO, conn, &mut bytes), 0);
            assert!(drain(&mut door.node, Instant::ZERO).0.is_empty());
            bytes.push(wrong);
            door.node.handle_bytes(Instant::ZERO, conn, &mut bytes);
            let (actions, _) = drain(&mut door.node, Instant::ZERO);
            let reason = Failure::Handshake(HandshakeError::Multistream(LineError::NotMultistream));
            let told =
                |a: &Action| matches!(a, Action::Notify(Notice::Refused { reason: r, .. }) if *r == reason);
            assert!(actions.iter().any(told), "{right} {wrong}: {actions:?}");
            assert_eq!(door.node.connections(), 0);
            refused += 1;
        }
    }
    for greeting in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-OpenSSH"] {
        let conn = door.accept(Instant::ZERO, "192.0.2.1").unwrap();
        door.node.handle_bytes(Instant::ZERO, conn, &mut greeting[..1].to_vec());
        drain(&mut door.node, Instant::ZERO);
        assert_eq!(door.node.connections(), 0);
    }
    println!("{refused} wrong bytes refused, each when it came");
}

/// Rule N6: what a peer makes us hold, in each phase in which it may stall, and when it was refused.
#[test]
fn memory_for_a_peer_is_bounded_in_every_phase() {
    let mut door = Door { node: running(config()) };
    let slots = |node: &Node| node.conns.capacity();
    let (before, memories) = (slots(&door.node), door.node.memories.len());
    println!("a connection, in any phase: {} bytes, of which", size_of::<Option<Conn>>());
    println!("  handshake as dialler {}, as listener {}", size_of::<Initiator>(), size_of::<Responder>());
    println!("  channel {}, beside its streams from the pool", size_of::<crate::channel::Channel>());
    println!("bytes not taken, with the driver: up to {HANDSHAKE_READ_SIZE} before there is a channel");
    println!("places in this node (room for {} members): {before}", door.node.cluster.room());
    // Message 1 may be any point: the basepoint here.
    let message_1 = [&b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20\x09"[..], &[0; 31]].concat();
    let stages: [&[u8]; 6] = [
        b"",
        b"\x13/multistream",
        b"\x13/multistream/1.0.0\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20half of a key",
        &message_1,
    ];
    for stage in stages {
        let conn = door.accept(Instant::ZERO, "192.0.2.1").unwrap();
        let taken = door.node.handle_bytes(Instant::ZERO, conn, &mut stage.to_vec());
        let (actions, _) = drain(&mut door.node, Instant::ZERO);
        let answered = actions.iter().any(|action| matches!(action, Action::Write { len, .. } if *len > 100));
        assert_eq!(answered, stage.len() == message_1.len(), "message 2");
        assert_eq!(door.node.connections(), 1);
        assert!(stage.len() - taken < HANDSHAKE_READ_SIZE);
        assert_eq!((slots(&door.node), door.node.memories.len()), (before, memories));
        let late = Instant::ZERO + HANDSHAKE_TIMEOUT;
        println!("stalled after {} bytes: one place, {} bytes not taken", stage.len(), stage.len() - taken);
        door.node.handle_event(late, Event::Closed(conn));
        drain(&mut door.node, late);
        assert_eq!(door.node.connections(), 0);
    }
    // A whole handshake by a key outside the cluster.
    let identity = Identity::new(RustCrypto, key(9));
    let mut rng = Seed::new([9; 32]).stream("stranger");
    let static_key = StaticKey::new(&identity, &mut rng);
    let mut stranger = Initiator::new(&static_key, &mut rng, Options::default());
    let conn = door.accept(Instant::ZERO, "192.0.2.1").unwrap();
    let mut buf = [0; MIN_BUFFER];
    loop {
        let n = stranger.poll_write(&identity, &mut buf);
        if n == 0 {
            break;
        }
        assert_eq!(door.node.handle_bytes(Instant::ZERO, conn, &mut buf[..n]), n);
        loop {
            match door.node.poll(Instant::ZERO, &mut buf) {
                Action::Write { len, .. } => {
                    stranger.handle_bytes(&identity, &mut buf[..len]).unwrap();
                    door.node.handle_event(Instant::ZERO, Event::Writable(conn));
                }
                Action::Notify(Notice::Refused { reason, .. }) => {
                    assert_eq!(reason, Failure::NotAMember(identity.peer_id()));
                }
                Action::Wait(_) => break,
                _ => {}
            }
        }
    }
    assert_eq!((door.node.connections(), slots(&door.node), door.node.memories.len()), (0, before, memories));
    println!("refused after its handshake: nothing");
}
