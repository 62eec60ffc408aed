//! No table of a node grows beyond its bound, and its driver makes no mistake (rule B1).

use coracle_core::discovery::Config;
use coracle_core::limits::{
    MAX_ADDRESSES, MAX_ATTEMPTS, MAX_CHANNELS_PER_MEMBER, MAX_PENDING_INBOUND, MAX_PENDING_PER_MEMBER,
};
use coracle_sim::{NodeId, Sim};

use crate::cluster::Actor;

/// Looks at the node's tables and counters.
///
/// # Errors
///
/// The bound that is broken.
pub fn look(sim: &Sim<Actor>, node: NodeId) -> Result<(), String> {
    let Some(node) = sim.machine(node).and_then(Actor::as_node) else { return Ok(()) };
    let node = node.node();
    let others = node.members().count();
    let (discovery, config) = (node.discovery(), Config::default());
    // One more is turned away at a time.
    let each = MAX_CHANNELS_PER_MEMBER + MAX_ATTEMPTS + MAX_PENDING_PER_MEMBER;
    let connections = others * each + MAX_ADDRESSES + MAX_PENDING_INBOUND + 1;
    for (what, count, most) in [
        ("nodes in the table", discovery.node_count(), config.nodes),
        ("sessions", discovery.session_count(), config.sessions),
        ("challenges", discovery.challenge_count(), config.challenges),
        ("connections", node.connections(), connections),
    ] {
        if count > most {
            return Err(format!("B1: {count} {what}, where {most} are allowed"));
        }
    }
    let counters = node.counters();
    if counters.notices_dropped > 0 {
        return Err(format!("B1: notices were dropped: {counters:?}"));
    }
    Ok(())
}
