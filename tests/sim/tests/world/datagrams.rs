//! Datagrams: what links do to them, and where they end.

use coracle_sim::{Choices, Faults, MILLION, MILLISECOND, SECOND};

use crate::toy::{Command, Seen, at, ip, world};

/// 2000 pings through a link with these faults, each sent again until it is answered.
fn through(change: impl Fn(&mut Faults)) -> coracle_sim::Counters {
    let mut faults = Faults::none();
    change(&mut faults);
    let (mut sim, nodes) = world(Choices::from_seed(11), faults, 2);
    sim.command(nodes[0], Command::Ping { to: at(2), count: 2000 });
    let done = sim.run_while(
        |sim| sim.machine(nodes[0]).unwrap().seen.last() != Some(&Seen::Ponged(2000)),
        3600 * SECOND,
    );
    assert!(done.unwrap(), "2000 pings are answered in an hour");
    *sim.counters()
}

#[test]
fn rates_are_what_the_plan_says() {
    let share = |part: u64, whole: u64| part * 1000 / whole;
    let lossy = through(|faults| faults.link.loss = 200_000);
    let lost = share(lossy.datagrams_lost, lossy.datagrams_sent);
    assert!((170..230).contains(&lost), "{lost} of 1000 lost");
    let double = through(|faults| faults.link.duplicate = 300_000);
    let doubled = share(double.datagrams_duplicated, double.datagrams_sent);
    assert!((260..340).contains(&doubled), "{doubled} of 1000 doubled");
    let changed = through(|faults| faults.link.corrupt = 100_000);
    let corrupted = share(changed.datagrams_corrupted, changed.datagrams_sent);
    assert!((70..130).contains(&corrupted), "{corrupted} of 1000 changed");
    let clean = through(|_| {});
    assert_eq!(clean.datagrams_sent, 4000);
    assert_eq!(clean.datagrams_delivered, 4000);
}

#[test]
fn a_round_trip_takes_twice_the_latency() {
    let (mut sim, nodes) = world(Choices::from_seed(0), Faults::none(), 2);
    sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
    sim.run_until(20 * MILLISECOND - 1).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, []);
    sim.run_until(20 * MILLISECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::Ponged(1)]);
}

#[test]
fn a_link_can_have_a_plan_of_its_own() {
    let (mut sim, nodes) = world(Choices::from_seed(0), Faults::none(), 3);
    let mut link = Faults::none().link;
    link.loss = MILLION;
    sim.set_link(nodes[1], nodes[0], link);
    sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
    sim.command(nodes[2], Command::Ping { to: at(2), count: 1 });
    sim.run_until(SECOND).unwrap();
    assert!(sim.machine(nodes[1]).unwrap().answered > 2);
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, []);
    assert_eq!(sim.machine(nodes[2]).unwrap().seen, [Seen::Ponged(1)]);
    sim.heal();
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::Ponged(1)]);
}

#[test]
fn a_partition_stops_one_direction_and_heals() {
    let (mut sim, nodes) = world(Choices::from_seed(0), Faults::none(), 2);
    sim.block(nodes[1], nodes[0]);
    sim.command(nodes[0], Command::Ping { to: at(2), count: 3 });
    sim.run_until(5 * SECOND).unwrap();
    assert!(sim.machine(nodes[1]).unwrap().answered > 10, "one way is open");
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, []);
    sim.unblock(nodes[1], nodes[0]);
    sim.partition(&nodes[..1]);
    let answered = sim.machine(nodes[1]).unwrap().answered;
    sim.run_until(10 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().answered, answered);
    sim.heal();
    sim.run_until(11 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen.len(), 3);
}

#[test]
fn a_moved_node_is_reached_at_its_new_address_only() {
    let (mut sim, nodes) = world(Choices::from_seed(0), Faults::none(), 3);
    sim.move_node(nodes[1], &[ip(99)]).unwrap();
    sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
    sim.command(nodes[2], Command::Ping { to: at(99), count: 1 });
    sim.run_until(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, []);
    assert_eq!(sim.machine(nodes[1]).unwrap().seen, [Seen::Moved]);
    assert_eq!(sim.machine(nodes[2]).unwrap().seen, [Seen::Ponged(1)]);
    assert!(sim.counters().datagrams_unreachable > 0);
}

#[test]
fn held_back_datagrams_are_overtaken() {
    let counters = through(|faults| {
        faults.link.reorder = 300_000;
        faults.link.reorder_by = SECOND;
    });
    // An answer held back for longer than a retry makes a second request, and then comes too late.
    assert!(counters.datagrams_reordered > 800);
    assert!(counters.datagrams_sent > 4000);
}

#[test]
fn a_narrow_link_queues_and_drops_what_finds_no_room() {
    let mut faults = Faults::none();
    faults.link.bandwidth = 900;
    faults.link.queue = 90;
    let (mut sim, nodes) = world(Choices::from_seed(0), faults, 2);
    for _ in 0..100 {
        // Nine bytes at once: 10 ms of the link. The retry timer is set anew each time.
        sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
    }
    let answered =
        |sim: &coracle_sim::Sim<_>| sim.machine(nodes[1]).map_or(0, |toy: &crate::toy::Toy| toy.answered);
    sim.run_until(20 * MILLISECOND - 1).unwrap();
    assert_eq!(answered(&sim), 0);
    sim.run_until(20 * MILLISECOND).unwrap();
    assert_eq!(answered(&sim), 1, "10 ms to leave, 10 ms on the way");
    sim.run_until(110 * MILLISECOND - 1).unwrap();
    assert_eq!(answered(&sim), 9);
    sim.run_until(150 * MILLISECOND).unwrap();
    assert_eq!(answered(&sim), 10, "90 bytes are ten datagrams");
    assert_eq!(sim.counters().datagrams_overflowed, 90);
    let (mut sim, nodes) = world(Choices::from_seed(0), faults, 2);
    let mut link = faults.link;
    link.queue = 0;
    sim.set_link(nodes[0], nodes[1], link);
    sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
    sim.run_until(150 * MILLISECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().answered, 1, "an idle link takes anything");
}
