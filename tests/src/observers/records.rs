//! What a node believes of others' records only goes forward (rule R2), and what it says of its own address it
//! knows by itself or has been seen at (rule E7).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use coracle_core::id::PeerId;
use coracle_core::record::Record;
use coracle_sim::{Cause, Event, NodeId, Sim};

use crate::cluster::Actor;

/// What is known of records and addresses.
#[derive(Debug, Default)]
pub struct Records {
    /// The record that each node has of each member.
    held: BTreeMap<(NodeId, PeerId), Record>,
    /// The addresses that each node was told it has.
    told: BTreeMap<NodeId, BTreeSet<IpAddr>>,
    /// Who was reached from each address, or reached it.
    reached: BTreeMap<IpAddr, BTreeSet<NodeId>>,
}

impl Records {
    /// Looks at what a step has changed for its node.
    ///
    /// # Errors
    ///
    /// R2: its record of a member went back, or gave way to another of the same number.
    pub fn look(&mut self, sim: &Sim<Actor>, node: NodeId, cause: &Cause) -> Result<(), String> {
        match cause {
            Cause::Datagram { from, .. } => {
                self.reached.entry(from.ip()).or_default().insert(node);
            }
            Cause::Event(Event::Accepted { remote, .. } | Event::Connected { remote, .. }) => {
                self.reached.entry(remote.ip()).or_default().insert(node);
            }
            // What a start or the operator brings is taken as it is.
            Cause::Start(_) | Cause::Crash | Cause::Command => {
                self.held.retain(|(whose, _), _| *whose != node);
            }
            _ => {}
        }
        let Some(running) = sim.machine(node).and_then(Actor::as_node) else { return Ok(()) };
        let moved = matches!(cause, Cause::Event(Event::Moved)) && running.notices_moves();
        if moved || matches!(cause, Cause::Start(_)) {
            self.told.entry(node).or_default().extend(sim.addresses(node));
        }
        for view in running.node().members() {
            let Some(record) = view.record else { continue };
            match self.held.get(&(node, view.peer_id)) {
                Some(held) if held.as_bytes() == record.as_bytes() => continue,
                Some(held) if record.seq() < held.seq() => {
                    let (old, new) = (held.seq(), record.seq());
                    return Err(format!("R2: its record of {} went back from {old} to {new}", view.peer_id));
                }
                Some(held) if record.seq() == held.seq() && !record.same_content(held) => {
                    let seq = record.seq();
                    return Err(format!(
                        "R2: its record {seq} of {} gave way to another {seq}",
                        view.peer_id
                    ));
                }
                _ => {}
            }
            self.held.insert((node, view.peer_id), record.clone());
        }
        Ok(())
    }

    /// Judges the address in a record that a node publishes. `before`: its key has said so already. `members`: their
    /// nodes.
    ///
    /// # Errors
    ///
    /// E7: the node was never told that it has this address, and fewer members than can move it have seen it there.
    pub fn publish(
        &self,
        node: NodeId,
        record: &Record,
        before: bool,
        members: &[(PeerId, NodeId)],
    ) -> Result<(), String> {
        let Some(ip) = record.addresses().ip4.map(IpAddr::V4) else { return Ok(()) };
        if before || self.told.get(&node).is_some_and(|told| told.contains(&ip)) {
            return Ok(());
        }
        // Of two processes with one key either may have seen it.
        let count = |which: &dyn Fn(&NodeId) -> bool| {
            let chosen = members.iter().filter(|(_, other)| which(other));
            chosen.map(|(peer, _)| *peer).collect::<BTreeSet<_>>().len()
        };
        let witnesses = count(&|other| {
            *other != node && self.reached.get(&ip).is_some_and(|reached| reached.contains(other))
        });
        let least = (count(&|_| true).saturating_sub(1) / 3 + 1).max(2);
        if witnesses < least {
            return Err(format!("E7: it says that it is at {ip}, where {witnesses} members have seen it"));
        }
        Ok(())
    }
}
