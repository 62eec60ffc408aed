//! Nodes behind NATs: what gets out, what gets back in, and for how long.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use coracle_sim::{
    Choices, CloseReason, DialError, Faults, MILLION, NatConfig, NatId, NodeId, SECOND, Sim, What,
};

use crate::toy::{Command, PORT, Seen, Toy, at, ip, world};

/// The outside address of the first NAT.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn private(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 168, 0, number).into()
}

type Kind = fn(IpAddr) -> NatConfig;

/// Nodes 0 and 1 in the open, 2 and 3 behind one NAT.
fn behind(kind: Kind, change: impl Fn(&mut NatConfig)) -> (Sim<Toy>, Vec<NodeId>, NatId) {
    let (mut sim, mut nodes) = world(Choices::from_seed(8), Faults::none(), 2);
    let mut config = kind(OUTSIDE);
    change(&mut config);
    let nat = sim.add_nat(config).unwrap();
    for number in 1..=2 {
        nodes.push(sim.add_node_behind(nat, private(number), |boot| Toy::new(&boot)).unwrap());
    }
    sim.keep_story(usize::MAX);
    (sim, nodes, nat)
}

fn ping(sim: &mut Sim<Toy>, who: NodeId, to: SocketAddr) -> bool {
    let before = sim.machine(who).unwrap().seen.len();
    sim.command(who, Command::Ping { to, count: 1 });
    sim.run_for(SECOND).unwrap();
    let answered = sim.machine(who).unwrap().seen.len() > before;
    // One that is not answered would be sent again for ever.
    sim.command(who, Command::Ping { to, count: 0 });
    answered
}

/// Where the last datagram that reached this node seemed to come from.
fn source(sim: &Sim<Toy>, node: NodeId) -> SocketAddr {
    let received =
        sim.story().filter(|entry| entry.node == Some(node)).filter_map(|entry| match entry.what {
            What::Received { from, .. } => Some(from),
            _ => None,
        });
    received.last().unwrap()
}

#[test]
fn what_goes_out_is_answered_and_what_nobody_asked_for_does_not_come_in() {
    let (mut sim, nodes, nat) = behind(NatConfig::port_restricted, |_| {});
    assert!(!ping(&mut sim, nodes[0], (private(1), PORT).into()), "private addresses mean nothing outside");
    assert!(!ping(&mut sim, nodes[0], (OUTSIDE, PORT).into()));
    assert!(sim.counters().datagrams_unreachable > 0 && sim.counters().datagrams_filtered > 0);
    assert!(ping(&mut sim, nodes[2], at(1)));
    let outside = source(&sim, nodes[0]);
    assert_eq!(outside.ip(), OUTSIDE);
    assert_eq!(sim.nat_mappings(nat), 1);
    assert!(ping(&mut sim, nodes[0], outside), "the way back is open");
    assert!(!ping(&mut sim, nodes[1], outside), "to whom was sent only");
    assert!(ping(&mut sim, nodes[3], (private(1), PORT).into()), "neighbours speak directly");
    assert_eq!(source(&sim, nodes[2]).ip(), private(2));
}

#[test]
fn cones_show_one_port_and_let_in_whom_they_should() {
    let kinds: [(Kind, bool, bool); 3] = [
        (NatConfig::full_cone, true, true),
        (NatConfig::restricted, true, false),
        (NatConfig::symmetric, false, false),
    ];
    for (kind, one_port, open) in kinds {
        let (mut sim, nodes, _) = behind(kind, |_| {});
        assert!(ping(&mut sim, nodes[2], at(1)));
        let shown = source(&sim, nodes[0]);
        assert_eq!(ping(&mut sim, nodes[1], shown), open);
        assert!(ping(&mut sim, nodes[2], at(2)));
        assert_eq!(source(&sim, nodes[1]) == shown, one_port);
    }
}

#[test]
fn mappings_expire_and_a_reboot_forgets_them() {
    let (mut sim, nodes, nat) = behind(NatConfig::full_cone, |config| config.idle = 30 * SECOND);
    assert!(ping(&mut sim, nodes[2], at(1)));
    let shown = source(&sim, nodes[0]);
    sim.run_for(25 * SECOND).unwrap();
    assert!(ping(&mut sim, nodes[0], shown), "its answer went out, which keeps the mapping");
    sim.run_for(25 * SECOND).unwrap();
    assert!(ping(&mut sim, nodes[0], shown));
    sim.run_for(30 * SECOND).unwrap();
    assert!(!ping(&mut sim, nodes[0], shown));
    assert_eq!(sim.nat_mappings(nat), 0);

    assert!(ping(&mut sim, nodes[2], at(1)));
    assert_eq!(sim.counters().nat_expired, 1);
    let shown = source(&sim, nodes[0]);
    sim.reboot_nat(nat);
    assert!(!ping(&mut sim, nodes[0], shown));
    assert!(ping(&mut sim, nodes[2], at(1)));
    assert_ne!(source(&sim, nodes[0]), shown, "a port drawn anew");

    assert_eq!(sim.renumber_nat(nat, ip(1)).unwrap_err().ip, ip(1));
    let elsewhere: IpAddr = Ipv4Addr::new(192, 0, 2, 99).into();
    sim.renumber_nat(nat, elsewhere).unwrap();
    assert!(ping(&mut sim, nodes[2], at(1)));
    assert_eq!(source(&sim, nodes[0]).ip(), elsewhere);
    assert_eq!(sim.nat_address(nat), Some(elsewhere));
    assert_eq!(sim.counters().nat_reboots, 2);
}

#[test]
fn a_full_table_drops_what_would_need_more() {
    let (mut sim, nodes, _) = behind(NatConfig::symmetric, |config| config.most = 1);
    assert!(ping(&mut sim, nodes[2], at(1)));
    assert!(!ping(&mut sim, nodes[3], at(1)));
    assert!(sim.counters().nat_full > 0);
    sim.run_for(120 * SECOND).unwrap();
    assert!(ping(&mut sim, nodes[3], at(1)), "the other one has expired");
}

#[test]
fn hairpinning_is_an_option() {
    for hairpin in [false, true] {
        let (mut sim, nodes, nat) = behind(NatConfig::full_cone, |config| config.hairpin = hairpin);
        sim.forward(nat, PORT, Some((private(2), PORT).into()));
        assert_eq!(ping(&mut sim, nodes[2], (OUTSIDE, PORT).into()), hairpin);
        if hairpin {
            assert_eq!(source(&sim, nodes[3]).ip(), OUTSIDE, "it seems to come from outside");
        }
        sim.command(nodes[2], Command::Echo { to: (OUTSIDE, PORT).into(), length: 5000 });
        sim.run_for(30 * SECOND).unwrap();
        let expected = if hairpin { Seen::Echoed(5000) } else { Seen::NoDial(DialError::TimedOut) };
        assert_eq!(sim.machine(nodes[2]).unwrap().seen.last(), Some(&expected));
    }
}

#[test]
fn streams_go_out_and_come_in_through_a_forward_only() {
    let (mut sim, nodes, nat) = behind(NatConfig::full_cone, |_| {});
    let echo = |sim: &mut Sim<Toy>, who, to| {
        sim.command(who, Command::Echo { to, length: 100_000 });
        sim.run_for(30 * SECOND).unwrap();
        *sim.machine(who).unwrap().seen.last().unwrap()
    };
    assert_eq!(echo(&mut sim, nodes[2], at(1)), Seen::Echoed(100_000));
    let accepted = sim.story().find_map(|entry| match entry.what {
        What::Opened { remote, accepted: true, .. } => Some(remote),
        _ => None,
    });
    let shown = accepted.unwrap();
    assert_eq!(shown.ip(), OUTSIDE);
    assert_eq!(sim.nat_mappings(nat), 0, "gone with the stream");
    for to in [shown, (OUTSIDE, PORT).into(), (private(1), PORT).into()] {
        assert_eq!(echo(&mut sim, nodes[0], to), Seen::NoDial(DialError::TimedOut));
    }
    sim.forward(nat, 9000, Some((private(1), PORT).into()));
    assert_eq!(echo(&mut sim, nodes[0], (OUTSIDE, 9000).into()), Seen::Echoed(100_000));
    assert!(ping(&mut sim, nodes[0], (OUTSIDE, 9000).into()));
    assert!(ping(&mut sim, nodes[2], at(1)));
    assert_eq!(source(&sim, nodes[0]), (OUTSIDE, 9000).into(), "out by the forward's port");
    sim.forward(nat, 9000, None);
    assert_eq!(echo(&mut sim, nodes[0], (OUTSIDE, 9000).into()), Seen::NoDial(DialError::TimedOut));
}

/// A machine with one stream on which nothing passes unless it is asked to.
fn quiet_stream(idle: u64) -> (Sim<Toy>, Vec<NodeId>, NatId) {
    let (mut sim, nodes, nat) = behind(NatConfig::full_cone, |config| config.stream_idle = idle);
    // Longer than the peer may echo at once: the partition catches it midway.
    sim.command(nodes[2], Command::Echo { to: at(1), length: 3_000_000 });
    sim.run_for(200_000_000).unwrap();
    (sim, nodes, nat)
}

#[test]
fn a_stream_through_a_nat_that_forgot_it_dies_in_silence() {
    let (mut sim, nodes, nat) = quiet_stream(7200 * SECOND);
    sim.reboot_nat(nat);
    sim.run_for(20 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[2]).unwrap().seen, [], "nobody is told");
    sim.run_for(20 * SECOND).unwrap();
    let gone = [Seen::Gone(CloseReason::TimedOut)];
    assert_eq!(sim.machine(nodes[2]).unwrap().seen, gone);

    // A pause longer than the NAT remembers has the same end.
    let (mut sim, nodes, _) = quiet_stream(5 * SECOND);
    sim.partition(&nodes[2..]);
    sim.run_for(10 * SECOND).unwrap();
    sim.heal();
    sim.run_for(40 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[2]).unwrap().seen, gone);
    let (mut sim, nodes, _) = quiet_stream(15 * SECOND);
    sim.partition(&nodes[2..]);
    sim.run_for(10 * SECOND).unwrap();
    sim.heal();
    sim.run_for(40 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[2]).unwrap().seen, [Seen::Echoed(3_000_000)]);
}

#[test]
fn a_node_moves_behind_a_nat_and_out_again() {
    let (mut sim, nodes, nat) = behind(NatConfig::port_restricted, |_| {});
    assert!(ping(&mut sim, nodes[1], at(1)));
    sim.move_behind(nodes[1], Some(nat), &[private(9)]).unwrap();
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().seen.last(), Some(&Seen::Moved));
    assert!(ping(&mut sim, nodes[1], at(1)));
    assert_eq!(source(&sim, nodes[0]).ip(), OUTSIDE);
    assert_eq!(sim.nat_of(nodes[1]), Some(nat));
    assert!(!ping(&mut sim, nodes[0], at(2)));
    sim.move_behind(nodes[1], None, &[ip(2)]).unwrap();
    assert!(ping(&mut sim, nodes[0], at(2)));
    assert_eq!(sim.add_nat(NatConfig::symmetric(ip(2))).unwrap_err().ip, ip(2));
    assert_eq!(sim.move_node(nodes[1], &[OUTSIDE]).unwrap_err().ip, OUTSIDE);
}

#[test]
fn chaos_reboots_nats_and_sets_clocks_ahead() {
    let (mut sim, nodes, nat) = behind(NatConfig::full_cone, |_| {});
    let mut faults = Faults::none();
    faults.chaos.nat_reboot = MILLION / 2;
    faults.chaos.clock_jump = MILLION / 10;
    faults.chaos.clock_jump_by = 10 * SECOND;
    sim.set_faults(faults);
    sim.run_for(100 * SECOND).unwrap();
    assert!((30..70).contains(&sim.counters().nat_reboots), "{:?}", sim.counters());
    assert!((15..80).contains(&sim.counters().clock_jumps), "{:?}", sim.counters());
    sim.heal();
    let before = *sim.counters();
    sim.run_for(100 * SECOND).unwrap();
    assert_eq!(*sim.counters(), before);
    assert!(ping(&mut sim, nodes[2], at(1)));
    assert_eq!(sim.nat_mappings(nat), 1);
}
