//! From the simulator's entries and the nodes' notices to moments.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use coracle_core::id::PeerId;
use coracle_core::node::Notice;
use coracle_sim::{Failure, Nanos, NodeId, Output, PacketId, What};

use super::{BrokenRule, Kind, Lane, Moment, Story};
use crate::cluster::Cluster;
use crate::plan::{Plan, Rate};
use crate::sim_node::Seen;
use crate::wire::flag;

/// Listens to a run.
#[derive(Debug)]
pub(crate) struct Teller {
    /// What nodes said, and the kinds of the packets they sent, in order.
    heard: Rc<RefCell<Heard>>,
    lanes: Vec<Lane>,
    /// Packets sent before it listened.
    missed: u64,
}

#[derive(Debug, Default)]
struct Heard {
    moments: Vec<Moment>,
    flags: Vec<&'static str>,
}

impl Teller {
    pub(crate) fn begin(cluster: &mut Cluster, plan: &Plan) -> Self {
        cluster.sim.keep_story(usize::MAX);
        let peers: BTreeMap<PeerId, usize> =
            (0..cluster.nodes.len()).map(|operator| (cluster.peer(operator), operator)).collect();
        let name = |node: NodeId| match node.index() {
            operator if cluster.liars.contains(&operator) => format!("operator {operator}, a liar"),
            operator if operator < usize::from(plan.operators) => format!("operator {operator}"),
            first if plan.bootnode && first == usize::from(plan.operators) => "bootnode".into(),
            _ => "lying stranger".into(),
        };
        let address = |node| cluster.sim.addresses(node).first().map(ToString::to_string).unwrap_or_default();
        let lane = |node| Lane { name: name(node), address: address(node) };
        let lanes = cluster.sim.nodes().map(lane).collect();
        let heard: Rc<RefCell<Heard>> = Rc::default();
        let ears = Rc::clone(&heard);
        cluster.sim.observe(move |sim, step| {
            let mut heard = ears.borrow_mut();
            for output in step.outputs {
                match output {
                    Output::Sent { bytes, .. } => {
                        heard.flags.push(flag(bytes).map_or("", |flag| flag.name()))
                    }
                    Output::Observed(seen) => {
                        if let Some(moment) = said(seen, &peers, sim.now(), step.node) {
                            heard.moments.push(moment);
                        }
                    }
                    _ => {}
                }
            }
            Ok(())
        });
        Self { heard, lanes, missed: cluster.sim.counters().datagrams_sent }
    }

    pub(crate) fn end(
        self,
        cluster: &Cluster,
        plan: &Plan,
        healed_in: Option<Nanos>,
        broken: Option<&Failure>,
    ) -> Story {
        let mut moments = self.entries(cluster);
        moments.extend(self.heard.borrow().moments.iter().cloned());
        let full_us = healed_in.map(|took| plan.heal_ms * 1_000 + took / 1_000);
        if let Some(at_us) = full_us {
            moments.push(Moment { at_us, kind: Kind::Full, ..Moment::default() });
        }
        // Peer ids say nothing to a reader of lanes.
        let named = |failure: &Failure| {
            let complaint = failure.message.strip_prefix(&format!("{}: ", failure.invariant));
            let mut words = complaint.unwrap_or(&failure.message).to_owned();
            for operator in 0..cluster.nodes.len() {
                words = words.replace(&cluster.peer(operator).to_string(), &format!("operator {operator}"));
            }
            let whose = self.lanes.get(failure.node.index()).map_or("", |lane| &lane.name);
            match words.strip_prefix("it ") {
                Some(rest) => format!("{whose} {rest}"),
                None if words.contains("operator ") => words,
                None => format!("{words} (at an event of {whose})"),
            }
        };
        let broken = broken.map(|broken| {
            let message = named(broken);
            let mut nodes: Vec<usize> =
                operators_in(&message).filter(|number| *number < self.lanes.len()).collect();
            if nodes.is_empty() {
                nodes.push(broken.node.index());
            }
            nodes.dedup();
            BrokenRule { rule: broken.invariant.clone(), message, at_us: broken.at / 1_000, nodes }
        });
        if let Some(broken) = &broken {
            let text = broken.message.clone();
            moments.push(Moment { at_us: broken.at_us, kind: Kind::Broken, text, ..Moment::default() });
        }
        moments.sort_by_key(|moment| moment.at_us);
        let mut lanes = self.lanes;
        for node in cluster.sim.nodes().skip(lanes.len()) {
            let address = cluster.sim.addresses(node).first().map(ToString::to_string).unwrap_or_default();
            // A second process with an operator's key is known to the observers, somebody who dials is not.
            let name = if cluster.book().entries.contains_key(&node) { "second process" } else { "intruder" };
            lanes.push(Lane { name: name.into(), address });
        }
        let until = if plan.faults.until_ms == 0 { plan.heal_ms } else { plan.faults.until_ms };
        Story {
            name: plan.name.clone(),
            seed: plan.seed,
            replay: String::new(),
            lanes,
            operators: cluster.nodes.len(),
            liars: cluster.liars.iter().copied().collect(),
            heal_us: plan.heal_ms * 1_000,
            full_us,
            end_us: cluster.sim.now() / 1_000,
            faults_us: (plan.faults.from_ms * 1_000, until * 1_000),
            faults: rates(plan),
            broken,
            moments,
        }
    }

    fn entries(&self, cluster: &Cluster) -> Vec<Moment> {
        let heard = self.heard.borrow();
        let kind_of = |packet: PacketId| {
            let number = packet.0.checked_sub(self.missed).and_then(|number| usize::try_from(number).ok());
            number.and_then(|number| heard.flags.get(number)).copied().unwrap_or_default()
        };
        let mut moments = Vec::new();
        for entry in cluster.sim.story() {
            let index = |node: NodeId| Some(node.index());
            let (kind, other, sent_us, text) = match &entry.what {
                What::Received { packet, sender, sent_at, length, .. } => {
                    let text = format!("{} {length} B", kind_of(*packet));
                    (Kind::Packet, index(*sender), Some(sent_at / 1_000), text)
                }
                What::Dropped { packet, receiver, reason, .. } => {
                    let kind = kind_of(*packet);
                    (Kind::Drop, receiver.and_then(index), None, format!("{kind} {}", reason.name()))
                }
                What::Started { restarts } => (Kind::Start, None, None, format!("start {}", restarts + 1)),
                What::Crashed => (Kind::Crash, None, None, String::new()),
                What::Moved { addresses } => {
                    let address = addresses.first().map(ToString::to_string);
                    (Kind::Move, None, None, address.unwrap_or_default())
                }
                What::Cut { from, to } => (Kind::Cut, index(*to), None, from.to_string()),
                What::Rejoined { from, to } => (Kind::Rejoin, index(*to), None, from.to_string()),
                What::Healed => (Kind::Heal, None, None, String::new()),
                What::Note(text) => (Kind::Incident, None, None, text.clone()),
                _ => continue,
            };
            let node = match &entry.what {
                What::Cut { from, .. } | What::Rejoined { from, .. } => index(*from),
                _ => entry.node.and_then(index),
            };
            let text = if matches!(kind, Kind::Cut | Kind::Rejoin) { String::new() } else { text };
            moments.push(Moment { at_us: entry.at / 1_000, kind, node, other, sent_us, text });
        }
        moments
    }
}

/// The operators that a text names.
fn operators_in(text: &str) -> impl Iterator<Item = usize> + '_ {
    let numbers = text.split("operator ").skip(1);
    numbers.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
}

/// What a node said, if it is worth telling.
fn said(seen: &Seen, peers: &BTreeMap<PeerId, usize>, at: Nanos, node: NodeId) -> Option<Moment> {
    let who = |peer: &PeerId| peers.get(peer).copied();
    let (kind, other, text) = match seen {
        Seen::Published(record) => {
            let address = record.tcp_endpoints().next().map(|endpoint| endpoint.ip().to_string());
            (Kind::Publish, None, format!("seq {} {}", record.seq(), address.unwrap_or_default()))
        }
        Seen::ChannelUp { peer, origin, .. } => (Kind::Up, who(peer), origin.to_string()),
        Seen::ChannelDown { peer, reason, .. } => (Kind::Down, who(peer), reason.to_string()),
        Seen::Notice(notice) => match notice {
            Notice::PeerRecord { peer, seq, .. } => (Kind::Learn, who(peer), format!("seq {seq}")),
            Notice::Dialling { peer, endpoint, origin, .. } => {
                (Kind::Dial, who(peer), format!("{endpoint}, {origin}"))
            }
            Notice::DialFailed { peer, endpoint, reason, .. } => {
                (Kind::DialFailed, who(peer), format!("{endpoint}: {reason}"))
            }
            Notice::LookingUp { peer } => (Kind::LookUp, who(peer), String::new()),
            Notice::Unreachable { peer, why } => (Kind::Unreachable, who(peer), format!("{why:?}")),
            Notice::Refused { from, reason, .. } => (Kind::Refuse, None, format!("{from}: {reason}")),
            _ => return None,
        },
        _ => return None,
    };
    Some(Moment { at_us: at / 1_000, kind, node: Some(node.index()), other, sent_us: None, text })
}

fn rates(plan: &Plan) -> Vec<String> {
    let mut faults = plan.faults;
    let on = faults.each().into_iter().filter(|(_, rate)| !rate.is_off());
    on.map(|(name, rate)| match rate {
        Rate::Ppm(rate) => format!("{name} {}.{} %", *rate / 10_000, *rate / 1_000 % 10),
        Rate::Ms(ms) => format!("{name} {ms} ms"),
        Rate::KiB(kib) => format!("{name} {kib} KiB/s"),
    })
    .collect()
}
