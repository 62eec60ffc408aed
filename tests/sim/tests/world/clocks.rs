//! Nodes whose clocks disagree.

use coracle_sim::{Boot, Choices, Clock, Context, Faults, Machine, NodeConfig, SECOND, Sim};

use crate::toy::ip;

/// Notes what its clock shows, every second of it.
#[derive(Default)]
struct Ticker {
    ticks: Vec<u64>,
}

impl Machine for Ticker {
    type Command = ();
    type Observation = ();

    fn handle_start(&mut self, cx: &mut Context<'_, ()>) {
        cx.set_deadline(Some(cx.now() + SECOND));
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, ()>) {
        self.ticks.push(cx.now());
        cx.set_deadline(Some(cx.now() + SECOND));
    }
}

#[test]
fn deadlines_are_in_the_nodes_own_time() {
    let mut sim = Sim::new(Choices::from_seed(0), Faults::none());
    let mut add = |number, offset, drift| {
        let config = NodeConfig { addresses: vec![ip(number)], clock: Clock { offset, drift } };
        sim.add_node(config, |_: Boot<'_>| Ticker::default()).unwrap()
    };
    let true_time = add(1, 0, 0);
    let ahead = add(2, 500 * SECOND, 0);
    let fast = add(3, 0, 100_000);
    sim.run_until(100 * SECOND).unwrap();
    let ticks = |node| &sim.machine(node).unwrap().ticks;
    assert_eq!(ticks(true_time).len(), 100);
    assert_eq!(ticks(ahead).len(), 100);
    assert_eq!(ticks(ahead)[0], 501 * SECOND);
    assert_eq!(ticks(fast).len(), 109);
}

#[test]
fn a_clock_set_back_holds_a_deadline_back() {
    let mut sim = Sim::new(Choices::from_seed(0), Faults::none());
    let config = NodeConfig { addresses: vec![ip(1)], clock: Clock { offset: 10 * SECOND, drift: 0 } };
    let node = sim.add_node(config, |_: Boot<'_>| Ticker::default()).unwrap();
    sim.set_clock(node, Clock::default());
    sim.run_until(11 * SECOND - 1).unwrap();
    assert_eq!(sim.machine(node).unwrap().ticks, []);
    sim.run_until(11 * SECOND).unwrap();
    assert_eq!(sim.machine(node).unwrap().ticks, [11 * SECOND]);
}

#[test]
fn a_clock_that_jumps_ahead_brings_a_deadline_forward() {
    let mut sim = Sim::new(Choices::from_seed(0), Faults::none());
    let node = sim.add_node(ip(1), |_: Boot<'_>| Ticker::default()).unwrap();
    sim.run_until(SECOND / 2).unwrap();
    sim.jump_clock(node, 10 * SECOND);
    sim.run_until(SECOND / 2).unwrap();
    assert_eq!(sim.machine(node).unwrap().ticks, [10 * SECOND + SECOND / 2]);
    assert_eq!(sim.counters().clock_jumps, 1);
}
