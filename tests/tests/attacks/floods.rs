//! 10⁶ packets from sources that are made up, while an honest peer keeps talking.

use std::net::SocketAddr;

use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    id::NodeId,
    limits::{SIGNATURE_CHECKS_BURST, SIGNATURE_CHECKS_PER_SECOND},
    record::{Builder, Record},
    rng::{Rng, Seed},
};
use coracle_sim::MILLISECOND;

use crate::{
    forge, size,
    table::{self, row},
    world::{Cx, Foe, Order, PORT, add_foe, add_node, foe, node, record_of, run, world},
};

const NODE: [u8; 4] = [80, 1, 1, 1];
const HONEST: [u8; 4] = [81, 2, 2, 2];
const MEMBER: [u8; 4] = [82, 3, 3, 3];
/// Packets in each millisecond.
const BURST: u64 = 10;

/// Writes all that can be written without seeing an answer, from everywhere.
struct Flood {
    target: Record,
    left: u64,
    sent: u64,
    rng: Rng,
    /// Records of its own that hold, for handshakes that cost the most.
    own: Vec<Record>,
    /// An id at an endpoint that was sent an ordinary packet, and so is perhaps challenged.
    begun: (Record, SocketAddr),
    honest: SocketAddr,
}

impl Flood {
    fn new(packets: u64, target: Record, honest: SocketAddr) -> Self {
        let rng = Seed::new([66; 32]).stream("flood");
        let own: Vec<_> = (0..64_u8).map(own_record).collect();
        let begun = (own[0].clone(), SocketAddr::from(([1, 1, 1, 1], 1)));
        Self { target, left: packets, sent: 0, rng, own, begun, honest }
    }

    fn source(&mut self) -> SocketAddr {
        // Everywhere that is somewhere: 24 million addresses.
        let [a, b, c, d] = self.rng.array::<4>();
        SocketAddr::from(([20 + a % 40, b, c, d | 1], 1024 + u16::from(d)))
    }

    fn packet(&mut self) -> (SocketAddr, Vec<u8>) {
        let dest = self.target.node_id();
        let from = self.source();
        let rng = &mut self.rng;
        let bytes = match self.sent % 8 {
            0 | 4 => {
                let len = rng.below(200) as usize;
                forge::junk(NodeId(rng.array()), dest, len, rng)
            }
            1 => {
                // Known by a record that holds; its forged handshake follows.
                let record = self.own[rng.below(64) as usize].clone();
                self.begun = (record, from);
                forge::junk(self.begun.0.node_id(), dest, 44, rng)
            }
            2 | 3 => {
                let (record, at) = self.begun.clone();
                let point = record.public_key().compressed();
                let bytes = forge::handshake(record.node_id(), dest, &point, record.as_bytes(), rng);
                return (at, bytes);
            }
            5 => {
                let point = self.own[0].public_key().compressed();
                forge::handshake(NodeId(rng.array()), dest, &point, &[], rng)
            }
            6 => return (self.honest, forge::challenge(dest, rng)),
            _ => forge::garbage(rng),
        };
        (from, bytes)
    }
}

fn own_record(n: u8) -> Record {
    let identity = Identity::new(RustCrypto, SecretKey::from_bytes(&[100 + n; 32]).unwrap());
    let mut builder = Builder::new();
    builder.set_ip4(Some([66, 6, 6, n].into())).unwrap().set_udp4(Some(PORT)).unwrap();
    builder.sign(1, &identity).unwrap()
}

impl Foe for Flood {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        let to = self.target.udp_endpoints().next().unwrap();
        for _ in 0..BURST.min(self.left) {
            let (from, bytes) = self.packet();
            cx.forge(from, to, &bytes);
            self.sent += 1;
            self.left -= 1;
        }
        (self.left > 0).then(|| cx.now() + MILLISECOND)
    }

    fn count(&self, _what: &str) -> u64 {
        self.sent
    }
}

#[test]
fn a_million_packets_from_nowhere() {
    let packets = size(22_000, 1_000_000);
    let mut world = world(1);
    let target = record_of(1, NODE);
    let at = add_node(&mut world, 1, NODE, vec![Order::Add(record_of(3, MEMBER), true)]);
    let honest = add_node(&mut world, 2, HONEST, vec![Order::Ping(target.clone())]);
    run(&mut world, 3_000);
    let before = node(&world, at).told.clone();
    assert_eq!(node(&world, honest).told.answered, 1);
    let flood = Flood::new(packets, target.clone(), SocketAddr::from((HONEST, PORT)));
    let flood = add_foe(&mut world, vec![[66, 6, 6, 6]], vec![], flood);
    let mut member = None;
    for turn in 0..packets / BURST / 250 {
        let order = if turn % 2 == 0 { Order::Ping(target.clone()) } else { Order::Talk(target.clone()) };
        world.command(honest, order);
        if turn == 2 {
            // A member begins in the midst of it, and every few seconds begins anew.
            member = Some(add_node(&mut world, 3, MEMBER, vec![Order::Ping(target.clone())]));
        }
        run(&mut world, 250);
    }
    run(&mut world, 3_000);
    let (ours, theirs, member) = (node(&world, at), node(&world, honest), node(&world, member.unwrap()));
    assert_eq!(foe(&world, flood).count("sent"), packets);
    table::print(
        "packets from nowhere",
        packets,
        ours,
        &[
            row("honest requests answered", theirs.told.answered, theirs.told.asked),
            row("a member's first requests", member.told.answered, member.told.asked),
        ],
    );
    // The honest peer loses nothing, and what it asked came once.
    assert_eq!((theirs.told.answered, theirs.told.failed), (theirs.told.asked, 0));
    assert_eq!(ours.told.talks - before.talks, theirs.told.asked / 2);
    assert_eq!((member.told.answered, member.told.asked), (1, 1));
    // Every packet of the flood is accounted for by a reason.
    let counters = ours.counters();
    assert!(counters.received >= packets);
    let dropped = counters.malformed_packet
        + counters.undecryptable
        + counters.handshake_unexpected
        + counters.handshake_signature
        + counters.handshake_checks_used_up
        + counters.handshake_record
        + counters.signature_budget
        + counters.challenge_unsolicited;
    assert!(dropped >= packets, "{dropped} of {packets}");
    // Memory does not grow, and the work for a packet is the same at the end as at the beginning.
    assert_eq!((ours.meter.allocations, ours.meter.above), (0, 0));
    let seconds = world.now() / 1_000_000_000 + 1;
    let most = u64::from(SIGNATURE_CHECKS_BURST) + seconds * u64::from(SIGNATURE_CHECKS_PER_SECOND);
    assert!(counters.signature_checks <= most, "{} signature checks", counters.signature_checks);
    table::is_flat(&ours.meter);
    assert!(ours.meter.worst.points <= 12 && ours.meter.worst.symmetric <= 60, "{:?}", ours.meter.worst);
    assert!(ours.ledger.to_unverified > 0 && ours.ledger.worst <= 1000);
}
