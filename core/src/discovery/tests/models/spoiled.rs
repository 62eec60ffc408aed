//! Metamorphic: what anybody can add to a network from outside (junk, replays, broken copies, from true and from
//! false addresses) changes nothing in how a history ends.

use std::vec::Vec;

use proptest::prelude::*;

use crate::{
    discovery::tests::net::{Net, endpoint},
    id::NodeId,
};

const NODES: u8 = 4;

/// One node pings another, then so much time passes.
type Turn = (u8, u8, u64);

/// Something added: to which packet of the past it goes back, and what.
#[derive(Clone, Debug)]
enum Spoil {
    /// Bytes, as if one node had sent them to another.
    Junk(u8, u8, Vec<u8>),
    /// A packet again, where it went, from where it came.
    Replay(usize),
    /// The same from somewhere else.
    Elsewhere(usize),
    /// With one bit changed.
    Flip(usize, usize),
    /// To another node.
    Astray(usize, u8),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let (node, packet) = (0..NODES, any::<usize>());
    prop_oneof![
        (node.clone(), node.clone(), proptest::collection::vec(any::<u8>(), 0..400))
            .prop_map(|(from, to, bytes)| Spoil::Junk(from, to, bytes)),
        packet.prop_map(Spoil::Replay),
        packet.prop_map(Spoil::Elsewhere),
        (packet, any::<usize>()).prop_map(|(packet, bit)| Spoil::Flip(packet, bit)),
        (packet, node).prop_map(|(packet, to)| Spoil::Astray(packet, to)),
    ]
}

fn add(net: &mut Net, spoil: &Spoil) {
    let past = |net: &Net, packet: usize| {
        let (_, from, to, bytes) = &net.log[packet % net.log.len()];
        (*from, *to, bytes.clone())
    };
    let (from, to, bytes) = match spoil {
        Spoil::Junk(from, to, bytes) => (endpoint(*from, 9000), endpoint(*to, 9000), bytes.clone()),
        Spoil::Replay(packet) => past(net, *packet),
        Spoil::Elsewhere(packet) => {
            let (_, to, bytes) = past(net, *packet);
            (endpoint(99, 9), to, bytes)
        }
        Spoil::Flip(packet, bit) => {
            let (from, to, mut bytes) = past(net, *packet);
            if !bytes.is_empty() {
                let bit = bit % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            (from, to, bytes)
        }
        Spoil::Astray(packet, to) => {
            let (from, _, bytes) = past(net, *packet);
            (from, endpoint(*to, 9000), bytes)
        }
    };
    net.send(from, to, bytes);
}

/// Which pings were answered, and whom each node knows in the end: the record's number, and whether it answered.
type End = (Vec<bool>, Vec<Vec<(NodeId, u64, bool)>>);

fn end(turns: &[Turn], spoils: &[Vec<Spoil>]) -> End {
    let mut net = Net::of(NODES);
    let first = net.nodes[0].record();
    for node in &mut net.nodes[1..] {
        node.discovery.add_record(net.now, &first, false).unwrap();
    }
    let mut pings = Vec::new();
    for (turn, (from, by, ms)) in turns.iter().enumerate() {
        let (from, to) = (usize::from(*from), usize::from((from + by) % NODES));
        pings.push((from, net.ping(from, to)));
        net.flush();
        spoils.get(turn).into_iter().flatten().for_each(|spoil| add(&mut net, spoil));
        net.run_ms(*ms);
    }
    // Everything under way ends, and everybody is checked.
    net.run_ms(20_000);
    let answered = pings.iter().map(|(from, ping)| net.ponged(*from, *ping)).collect();
    let known = net.nodes.iter().map(|node| {
        let mut known: Vec<_> =
            node.discovery.nodes().map(|n| (n.record.node_id(), n.record.seq(), n.verified)).collect();
        known.sort_unstable();
        known
    });
    (answered, known.collect())
}

proptest! {
    #![proptest_config(crate::testing::cases(16))]

    #[test]
    fn a_spoiled_history_ends_like_a_clean_one(
        turns in proptest::collection::vec((0..NODES, 1..NODES, 0..1_500u64), 1..8),
        spoils in proptest::collection::vec(proptest::collection::vec(spoil(), 0..6), 8),
    ) {
        let clean = end(&turns, &[]);
        prop_assert!(clean.0.iter().all(|answered| *answered), "nothing is lost here: {:?}", clean.0);
        prop_assert_eq!(end(&turns, &spoils), clean);
    }
}
