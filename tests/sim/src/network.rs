//! The way between two nodes, and the datagrams on it.
//!
//! Invariants: a datagram is lost, doubled, held back or changed only by a choice of its own lane, one for each
//! kind of fault and ordered pair of nodes; who owns an address is looked up when the datagram arrives, so that
//! one sent before a move does not follow it.

use std::net::SocketAddr;

use crate::faults::Link;
use crate::machine::NodeId;
use crate::story::{DropReason, Mishap, PacketId, What};
use crate::time::{MICROSECOND, Nanos};
use crate::world::{Delivery, Happening, Packet, World, pair};

/// Stands for "nobody" where a lane is named by a pair of nodes.
const NOBODY: NodeId = NodeId(u32::MAX);

impl World {
    /// The link from one node to another as it is now. To itself a node speaks without faults.
    pub(crate) fn link(&self, from: NodeId, to: NodeId) -> Link {
        if from == to {
            return Link { latency: 50 * MICROSECOND, jitter: 0, ..self.faults.link.healed() };
        }
        let own = self.links.get(&(from, to));
        own.copied().unwrap_or(self.faults.link)
    }

    /// True if nothing passes from one to the other.
    pub(crate) fn is_blocked(&self, from: NodeId, to: NodeId) -> bool {
        self.blocked.contains(&(from, to)) || self.chaos_blocked.contains(&(from, to))
    }

    /// How long something is on its way.
    pub(crate) fn delay(&mut self, from: NodeId, to: NodeId) -> Nanos {
        let link = self.link(from, to);
        let mut lane = self.choices.lane("link.jitter", pair(from, to));
        link.latency + lane.between(0, link.jitter)
    }

    /// Puts a datagram on its way. `from` is a bound socket, or any address with a bound port.
    pub(crate) fn send_datagram(&mut self, node: NodeId, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.counters.datagrams_sent += 1;
        let packet = Packet { id: PacketId(self.next_packet), sender: node, sent_at: self.now };
        self.next_packet += 1;
        let receiver = self.owners.get(&to.ip()).copied();
        let source = self.bound_source(node, from, to);
        let length = bytes.len();
        let shown = source.unwrap_or(from);
        self.tell(node, || What::Sent { packet: packet.id, from: shown, to, receiver, length });
        let Some(from) = source else {
            self.trace.line(format_args!("{node} cannot send from {from} to {to}"), &[]);
            self.drop_datagram(packet, to, receiver, DropReason::Unreachable);
            return;
        };
        let owner = receiver.unwrap_or(NOBODY);
        let lane = pair(node, owner);
        let link = self.link(node, owner);
        if self.choices.lane("link.loss", lane).chance(link.loss) {
            self.trace.line(format_args!("{node} {from} -> {to} lost"), &[]);
            self.drop_datagram(packet, to, receiver, DropReason::Lost);
            return;
        }
        if self.choices.lane("link.duplicate", lane).chance(link.duplicate) {
            self.counters.datagrams_duplicated += 1;
            self.mishandle(packet, Mishap::Duplicated);
            self.launch_datagram(packet, owner, from, to, bytes.to_vec());
        }
        self.launch_datagram(packet, owner, from, to, bytes.to_vec());
    }

    /// Counts and tells the end of a datagram that reaches nobody.
    fn drop_datagram(
        &mut self,
        packet: Packet,
        to: SocketAddr,
        receiver: Option<NodeId>,
        reason: DropReason,
    ) {
        let counters = &mut self.counters;
        let counter = match reason {
            DropReason::Lost => &mut counters.datagrams_lost,
            DropReason::Blocked => &mut counters.datagrams_blocked,
            _ => &mut counters.datagrams_unreachable,
        };
        *counter += 1;
        self.tell(packet.sender, || What::Dropped { packet: packet.id, to, receiver, reason });
    }

    fn mishandle(&mut self, packet: Packet, how: Mishap) {
        self.tell(packet.sender, || What::Mishandled { packet: packet.id, how });
    }

    fn launch_datagram(
        &mut self,
        packet: Packet,
        owner: NodeId,
        from: SocketAddr,
        to: SocketAddr,
        mut bytes: Vec<u8>,
    ) {
        let lane = pair(packet.sender, owner);
        let link = self.link(packet.sender, owner);
        let mut delay = self.delay(packet.sender, owner);
        if self.choices.lane("link.reorder", lane).chance(link.reorder) {
            self.counters.datagrams_reordered += 1;
            self.mishandle(packet, Mishap::HeldBack);
            let mut held = self.choices.lane("link.reorder_by", lane);
            delay += held.between(1, link.reorder_by.max(1));
        }
        if !bytes.is_empty() && self.choices.lane("link.corrupt", lane).chance(link.corrupt) {
            self.counters.datagrams_corrupted += 1;
            self.mishandle(packet, Mishap::Corrupted);
            self.corrupt(lane, &mut bytes);
        }
        let happening = Happening::Datagram { packet, from, to, bytes };
        self.agenda.push(self.now.saturating_add(delay), happening);
    }

    /// Flips a bit, changes a byte, or cuts the end off.
    fn corrupt(&mut self, lane: u64, bytes: &mut Vec<u8>) {
        let mut draw = self.choices.lane("link.corruption", lane);
        let kind = draw.choose(3);
        let at = usize::try_from(draw.choose(bytes.len() as u64)).unwrap_or(0);
        match kind {
            0 => bytes[at] ^= 1 << draw.choose(8),
            1 => bytes[at] ^= draw.between(1, 0xff).to_le_bytes()[0],
            _ => bytes.truncate(at),
        }
    }

    pub(crate) fn arrive_datagram(
        &mut self,
        packet: Packet,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    ) -> Option<Delivery> {
        let owner = self.owners.get(&to.ip()).copied();
        let bound = |node| {
            let host = self.host(node);
            host.is_some_and(|host| host.up && host.datagram_ports.contains(&to.port()))
        };
        let Some(node) = owner.filter(|node| bound(*node)) else {
            self.trace.line(format_args!("{from} -> {to} finds nobody"), &[]);
            self.drop_datagram(packet, to, owner, DropReason::Unreachable);
            return None;
        };
        if self.is_blocked(packet.sender, node) {
            self.trace.line(format_args!("{from} -> {to} is blocked"), &[]);
            self.drop_datagram(packet, to, owner, DropReason::Blocked);
            return None;
        }
        self.counters.datagrams_delivered += 1;
        Some(Delivery::Datagram { node, packet, local: to, from, bytes })
    }

    /// The address a datagram really leaves from, if the node has the address and bound the port.
    fn bound_source(&self, node: NodeId, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let host = self.host(node)?;
        if !host.datagram_ports.contains(&from.port()) {
            return None;
        }
        let ip = if from.ip().is_unspecified() { self.source_for(node, to)? } else { from.ip() };
        let usable = ip.is_ipv4() == to.is_ipv4() && host.addresses.contains(&ip);
        usable.then(|| SocketAddr::new(ip, from.port()))
    }
}
