//! The own record against a few lines that say which address counts: every source, records of our own that others
//! show us, and a store that loses and crashes.

use core::net::Ipv4Addr;
use std::collections::BTreeSet;

use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::limits::MAX_OWN_EXCEEDED;

/// The last byte of an address.
type Last = u8;

/// What is known of the address, the strongest first, and how often that changed what follows.
#[derive(Clone, Debug, Default)]
struct Model {
    configured: Option<Last>,
    resolved: Option<Last>,
    voted: Option<(Last, Option<u16>)>,
    interface: Option<Last>,
}

#[derive(Clone, Debug)]
enum Step {
    Resolve(Vec<Last>),
    Vote(Last, Option<u16>),
    Interfaces(Vec<Last>),
    /// Somebody shows a record of ours: its number beside the last one published, and its address.
    Seen(i8, Last),
    /// The store answers what it was asked: success, or failure that hit the disk or not.
    Store {
        ok: bool,
        landed: bool,
    },
    Wait,
    /// The process dies, with a write in flight that landed or not, and starts again knowing nothing.
    Crash {
        landed: bool,
    },
}

impl Model {
    /// The IPv4 address and UDP port to advertise; `None` while nothing is known.
    fn desired(&self) -> Option<(Last, u16)> {
        let bound = BOUND.udp4.unwrap_or_default();
        let voted = self.voted.map(|(last, port)| (last, port.unwrap_or(bound)));
        let at = |last: Option<Last>| last.map(|last| (last, bound));
        at(self.configured).or(at(self.resolved)).or(voted).or(at(self.interface))
    }

    fn interfaces(&mut self, list: &[Last]) {
        let before = self.interface;
        self.interface = choose(before, list);
        // Members saw us there because we were there.
        if before.is_some() && self.interface != before && self.voted.map(|(last, _)| last) == before {
            self.voted = None;
        }
    }
}

/// The one before stays while it is among them.
fn choose(before: Option<Last>, list: &[Last]) -> Option<Last> {
    before.filter(|last| list.contains(last)).or(list.first().copied())
}

fn ip(last: Last) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let configured = proptest::option::weighted(0.2, 1..5u8);
        configured.prop_map(|configured| Self { configured, ..Self::default() }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let (last, list) = (1..5u8, proptest::collection::vec(1..5u8, 0..3));
        let port = proptest::option::of(4_000..4_002u16);
        prop_oneof![
            2 => list.clone().prop_map(Step::Resolve),
            2 => (last.clone(), port).prop_map(|(last, port)| Step::Vote(last, port)),
            3 => list.prop_map(Step::Interfaces),
            2 => (-2..4i8, last).prop_map(|(beside, last)| Step::Seen(beside, last)),
            2 => (any::<bool>(), any::<bool>()).prop_map(|(ok, landed)| Step::Store { ok, landed }),
            3 => Just(Step::Store { ok: true, landed: true }),
            1 => Just(Step::Wait),
            1 => any::<bool>().prop_map(|landed| Step::Crash { landed }),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match step {
            Step::Resolve(list) => state.resolved = choose(state.resolved, list),
            Step::Vote(last, port) => {
                // Without a word on the port the one of the same address stays.
                let kept = state.voted.filter(|(voted, _)| voted == last).and_then(|(_, port)| port);
                state.voted = Some((*last, port.or(kept)));
            }
            Step::Interfaces(list) => state.interfaces(list),
            Step::Crash { .. } => state = Self { configured: state.configured, ..Self::default() },
            Step::Seen(..) | Step::Store { .. } | Step::Wait => {}
        }
        state
    }
}

struct Node {
    world: World,
    configured: Sources,
    /// Changes of what is desired, in this life of the process, and how often others' records counted.
    changes: u64,
    desired: Option<(Last, u16)>,
    exceeded: u64,
    adopted: u64,
    /// Numbers that the store was asked to hold in this life.
    asked: BTreeSet<u64>,
    /// Records of ours that somebody showed in this life, and that count.
    shown: Vec<Record>,
}

impl Node {
    fn note(&mut self) {
        self.asked.extend(self.world.in_flight.iter().map(Record::seq));
    }

    fn seen(&mut self, beside: i8, last: Last) {
        let newest = self.world.published.last().map_or(5, Record::seq);
        let shown = at(last, newest.saturating_add_signed(beside.into()).max(1));
        match self.world.local.handle_seen(&identity(), &shown) {
            OwnSeen::Known => {}
            OwnSeen::Adopted => {
                self.adopted += 1;
                self.shown.push(shown);
            }
            OwnSeen::Exceeded => {
                self.exceeded += 1;
                self.shown.push(shown);
            }
            OwnSeen::KeyUsedTwice => assert_eq!(self.exceeded, MAX_OWN_EXCEEDED.into(), "not before"),
        }
        assert!(self.exceeded <= MAX_OWN_EXCEEDED.into());
        self.world.drain();
    }

    fn apply(&mut self, step: &Step) {
        let set = |local: &mut LocalRecord, source, list: &[Last]| {
            local.handle_sources(&identity(), |s| s.set(source, list.iter().copied().map(ip)));
        };
        let local = &mut self.world.local;
        match step {
            Step::Resolve(list) => set(local, Source::Resolved, list),
            Step::Interfaces(list) => set(local, Source::Interface, list),
            Step::Vote(last, port) => {
                local.handle_sources(&identity(), |s| s.set_voted(Voted { ip: ip(*last), port: *port }));
            }
            Step::Seen(beside, last) => self.seen(*beside, *last),
            Step::Store { ok, landed } => self.world.apply(&super::Step::Store { ok: *ok, landed: *landed }),
            Step::Wait => self.world.apply(&super::Step::Wait),
            Step::Crash { landed } => {
                // The address is overwritten below.
                self.world.apply(&super::Step::Store { ok: false, landed: *landed });
                self.world.in_flight = None;
                self.world.local = start(self.world.disk.clone(), Some(at(1, 5)), self.configured.clone());
                (self.changes, self.exceeded, self.adopted, self.desired) = (0, 0, 0, None);
                self.asked.clear();
                self.shown.clear();
            }
        }
        self.world.drain();
    }

    /// The store works: what is published is what the sources say, and above all that others hold.
    fn settle(&mut self, model: &Model) {
        for _ in 0..4 {
            self.world.apply(&super::Step::Store { ok: true, landed: true });
            self.note();
            self.world.apply(&super::Step::Wait);
            self.note();
        }
        let Some(newest) = self.world.published.last() else {
            assert!(self.world.local.current().is_none());
            return;
        };
        assert_eq!(self.world.local.current(), Some(newest), "what is in force was published");
        let told = newest.udp_endpoints().next();
        let wanted = model.desired().map(|(last, port)| (ip(last), port).into());
        assert!(wanted.is_none() || told == wanted, "{told:?} for {wanted:?}");
        for shown in &self.shown {
            let above = newest.seq() > shown.seq() || newest.same_content(shown);
            assert!(above, "{} under {}", newest.seq(), shown.seq());
        }
    }
}

impl StateMachineTest for Node {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let ip4 = model.configured.map(|last| Ipv4Addr::new(127, 0, 0, last));
        let configured = Sources::new(&Configured { ip4, ..Configured::default() }, BOUND);
        let mut world = World::new(1);
        world.local = start(None, Some(at(1, 5)), configured.clone());
        (world.in_flight, world.published) = (None, Vec::new());
        world.by_seq.clear();
        world.drain();
        let (asked, shown) = (BTreeSet::new(), Vec::new());
        let mut node =
            Self { world, configured, changes: 0, desired: None, exceeded: 0, adopted: 0, asked, shown };
        node.note();
        node
    }

    fn apply(mut node: Self, model: &Model, step: Step) -> Self {
        node.apply(&step);
        node.note();
        let desired = model.desired();
        node.changes += u64::from(desired != node.desired);
        node.desired = desired;
        let base = node.world.local.base().map(|record| *record.addresses()).unwrap_or_default();
        let told = node.world.local.sources().desired(&base).udp_endpoints().next();
        let expected = desired.map(|(last, port)| (ip(last), port).into());
        assert_eq!(told, expected.or(base.udp_endpoints().next()), "{step:?}");
        // Every number has its reason: a change, or somebody who held one of ours.
        let reasons = 1 + node.changes + node.exceeded + node.adopted;
        assert!(node.asked.len() as u64 <= reasons, "{:?} for {reasons} reasons", node.asked);
        node
    }

    fn teardown(mut node: Self, model: Model) {
        node.settle(&model);
    }
}

prop_state_machine! {
    #![proptest_config(crate::testing::cases(2))]

    #[test]
    fn the_own_record_is_as_its_sources_say(sequential 1..50 => Node);
}
