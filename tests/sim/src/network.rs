//! The way between two nodes, and the datagrams on it.
//!
//! Invariants: a datagram is lost, doubled, held back or changed only by a choice of its own lane, one for each
//! kind of fault and ordered pair of nodes; who owns an address is looked up when the datagram arrives, so that
//! one sent before a move does not follow it; a NAT translates what leaves when it is sent, and what comes in
//! when it arrives.

use std::net::{IpAddr, SocketAddr};

use crate::faults::Link;
use crate::machine::NodeId;
use crate::nat::{Nat, NatId, Protocol};
use crate::story::{DropReason, Mishap, PacketId, What};
use crate::time::{MICROSECOND, Nanos, SECOND};
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

    /// Puts a datagram on its way. `from` is a bound socket, or any address with a bound port; or, `forged`,
    /// whatever the sender writes, which no NAT translates.
    pub(crate) fn send_datagram(
        &mut self,
        node: NodeId,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
        forged: bool,
    ) {
        self.counters.datagrams_sent += 1;
        let packet = Packet { id: PacketId(self.next_packet), sender: node, sent_at: self.now };
        self.next_packet += 1;
        let receiver = self.likely_owner(to);
        let source = if forged { Some(from) } else { self.bound_source(node, from, to) };
        let length = bytes.len();
        let shown = source.unwrap_or(from);
        self.tell(node, || What::Sent { packet: packet.id, from: shown, to, receiver, length });
        let Some(from) = source else {
            self.trace.line(format_args!("{node} cannot send from {from} to {to}"), &[]);
            self.drop_datagram(packet, to, receiver, DropReason::Unreachable);
            return;
        };
        let translated = if forged { Some(from) } else { self.translate(node, Protocol::Datagram, from, to) };
        let Some(from) = translated else {
            self.trace.line(format_args!("{node} {from} -> {to} finds its NAT full"), &[]);
            self.drop_datagram(packet, to, receiver, DropReason::NatFull);
            return;
        };
        let owner = receiver.unwrap_or(NOBODY);
        let lane = pair(node, owner);
        let link = self.link(node, owner);
        let Ok(queued) = self.enqueue(node, owner, bytes.len()) else {
            self.trace.line(format_args!("{node} {from} -> {to} finds the queue full"), &[]);
            self.drop_datagram(packet, to, receiver, DropReason::QueueFull);
            return;
        };
        if self.choices.lane("link.loss", lane).chance(link.loss) {
            self.trace.line(format_args!("{node} {from} -> {to} lost"), &[]);
            self.drop_datagram(packet, to, receiver, DropReason::Lost);
            return;
        }
        if self.choices.lane("link.duplicate", lane).chance(link.duplicate) {
            self.counters.datagrams_duplicated += 1;
            self.mishandle(packet, Mishap::Duplicated);
            self.launch_datagram(packet, owner, queued, (from, to), bytes.to_vec());
        }
        self.launch_datagram(packet, owner, queued, (from, to), bytes.to_vec());
    }

    /// Sends this many bytes into the link. Answers how long it takes until the last of them has left; or, if
    /// there is no room in the queue, after how long there will be.
    pub(crate) fn enqueue(&mut self, from: NodeId, to: NodeId, length: usize) -> Result<Nanos, Nanos> {
        let Link { bandwidth, queue, .. } = self.link(from, to);
        if bandwidth == 0 {
            return Ok(0);
        }
        let time = |bytes: u64| {
            let nanos = (u128::from(bytes) * u128::from(SECOND)).div_ceil(u128::from(bandwidth));
            Nanos::try_from(nanos).unwrap_or(Nanos::MAX)
        };
        let length = length as u64;
        let idle_at = self.busy.entry((from, to)).or_default();
        let waiting = idle_at.saturating_sub(self.now);
        let bearable = time(queue.saturating_sub(length));
        if waiting > 0 && (waiting > bearable || length > queue) {
            let until = if length > queue { 0 } else { bearable };
            return Err(waiting - until);
        }
        let total = waiting.saturating_add(time(length));
        *idle_at = self.now.saturating_add(total);
        Ok(total)
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
            DropReason::QueueFull => &mut counters.datagrams_overflowed,
            DropReason::Blocked => &mut counters.datagrams_blocked,
            DropReason::Unreachable => &mut counters.datagrams_unreachable,
            DropReason::Filtered => &mut counters.datagrams_filtered,
            DropReason::NatFull => &mut counters.nat_full,
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
        queued: Nanos,
        (from, to): (SocketAddr, SocketAddr),
        mut bytes: Vec<u8>,
    ) {
        let lane = pair(packet.sender, owner);
        let link = self.link(packet.sender, owner);
        let mut delay = queued.saturating_add(self.delay(packet.sender, owner));
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
        let located = self.locate(packet.sender, Protocol::Datagram, from, to);
        let bound = |node: NodeId, local: SocketAddr| {
            let host = self.host(node);
            host.is_some_and(|host| host.up && host.datagram_ports.contains(&local.port()))
        };
        let (node, local) = match located {
            Ok((node, local)) if bound(node, local) => (node, local),
            missed => {
                let (receiver, reason) = match missed {
                    Ok((node, _)) => (Some(node), DropReason::Unreachable),
                    Err(reason) => (self.likely_owner(to), reason),
                };
                self.trace.line(format_args!("{from} -> {to} finds nobody"), &[]);
                self.drop_datagram(packet, to, receiver, reason);
                return None;
            }
        };
        if self.is_blocked(packet.sender, node) {
            self.trace.line(format_args!("{from} -> {to} is blocked"), &[]);
            self.drop_datagram(packet, to, Some(node), DropReason::Blocked);
            return None;
        }
        self.counters.datagrams_delivered += 1;
        Some(Delivery::Datagram { node, packet, local, from, bytes })
    }

    // NATs.

    /// The NAT that this node stands behind, as far as addresses of this family go.
    fn nat_before(&self, node: NodeId, of: IpAddr) -> Option<NatId> {
        let nat = self.host(node)?.nat?;
        let address = self.nats.get(nat.index())?.config.address;
        (address.is_ipv4() == of.is_ipv4()).then_some(nat)
    }

    /// The NAT with this outside address.
    fn nat_at(&self, ip: IpAddr) -> Option<&Nat> {
        self.nats.iter().find(|nat| nat.config.address == ip)
    }

    /// Who would get what is sent to this address, if it may pass: for links and lanes, not for delivery.
    pub(crate) fn likely_owner(&self, to: SocketAddr) -> Option<NodeId> {
        let inside = self.nat_at(to.ip()).and_then(|nat| nat.inside(to.port()));
        self.owners.get(&inside.unwrap_or(to).ip()).copied()
    }

    /// Where something that goes from `node` to `to` seems to come from, once it is outside of the node's NAT;
    /// within it, or without one, from where it does. `None`: the NAT is full.
    pub(crate) fn translate(
        &mut self,
        node: NodeId,
        protocol: Protocol,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<SocketAddr> {
        let Some(nat) = self.nat_before(node, to.ip()) else {
            return Some(from);
        };
        let owner = self.owners.get(&to.ip());
        if owner.is_some_and(|owner| self.nat_before(*owner, to.ip()) == Some(nat)) {
            return Some(from);
        }
        let Self { nats, choices, counters, now, .. } = self;
        let nat_box = nats.get_mut(nat.index())?;
        let draw = |below| choices.lane("nat.port", u64::from(nat.0)).choose(below);
        let port = nat_box.outbound(*now, protocol, from, to, draw);
        counters.nat_expired += std::mem::take(&mut nat_box.expired);
        Some(SocketAddr::new(nat_box.config.address, port?))
    }

    /// Whom something sent by `sender` to `to` reaches now, and at which of its sockets.
    pub(crate) fn locate(
        &self,
        sender: NodeId,
        protocol: Protocol,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<(NodeId, SocketAddr), DropReason> {
        let before = self.nat_before(sender, to.ip());
        let Some(nat) = self.nat_at(to.ip()) else {
            let owner = self.owners.get(&to.ip()).copied().ok_or(DropReason::Unreachable)?;
            let behind = self.nat_before(owner, to.ip());
            let reached = behind.is_none() || behind == before;
            return if reached { Ok((owner, to)) } else { Err(DropReason::Unreachable) };
        };
        let from_inside = before.and_then(|nat| self.nats.get(nat.index()));
        if from_inside.is_some_and(|own| own.config.address == nat.config.address && !own.config.hairpin) {
            return Err(DropReason::Filtered);
        }
        let inside = nat.inbound(self.now, protocol, to.port(), from).ok_or(DropReason::Filtered)?;
        let owner = self.owners.get(&inside.ip()).copied().ok_or(DropReason::Unreachable)?;
        let behind = self.nat_before(owner, inside.ip()).and_then(|own| self.nats.get(own.index()));
        let there = behind.is_some_and(|own| own.config.address == nat.config.address);
        if there { Ok((owner, inside)) } else { Err(DropReason::Unreachable) }
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
