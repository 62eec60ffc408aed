//! Where nodes are and what lies between them: addresses, NATs, partitions.

use std::net::{IpAddr, SocketAddr};

use crate::failure::AddressTaken;
use crate::machine::{Boot, Event, Machine, NodeId};
use crate::nat::{Nat, NatConfig, NatId};
use crate::sim::{NodeConfig, Sim};
use crate::story::What;

impl<M: Machine> Sim<M> {
    /// Gives a node other addresses, where it is. Its streams on lost addresses break; bound ports stay bound.
    ///
    /// # Errors
    ///
    /// [`AddressTaken`] if another node, or a NAT, has one of the addresses; then nothing changed.
    pub fn move_node(&mut self, node: NodeId, addresses: &[IpAddr]) -> Result<(), AddressTaken> {
        self.relocate(node, addresses, addresses)
    }

    fn relocate(&mut self, node: NodeId, addresses: &[IpAddr], kept: &[IpAddr]) -> Result<(), AddressTaken> {
        let taken = |ip| AddressTaken { ip };
        self.world.assign(node, addresses).map_err(taken)?;
        self.world.counters.moves += 1;
        self.world.trace.line(format_args!("{node} moves to {addresses:?}"), &[]);
        self.world.tell(node, || What::Moved { addresses: addresses.to_vec() });
        self.world.abandon_streams(node, Some(kept));
        if self.world.is_up(node) {
            self.world.notify(node, Event::Moved);
        }
        Ok(())
    }

    // NATs.

    /// Adds a NAT with nobody behind it.
    ///
    /// # Errors
    ///
    /// [`AddressTaken`] if a node, or another NAT, has its address.
    pub fn add_nat(&mut self, config: NatConfig) -> Result<NatId, AddressTaken> {
        self.check_free(config.address)?;
        let nat = NatId(u32::try_from(self.world.nats.len()).unwrap_or(u32::MAX));
        let (ip, mapping, filtering) = (config.address, config.mapping, config.filtering);
        self.world.trace.line(format_args!("{nat} at {ip}: {mapping:?}, {filtering:?}"), &[]);
        self.world.nats.push(Nat::new(config));
        Ok(nat)
    }

    /// Adds a node behind a NAT; otherwise as [`Sim::add_node`]. Its addresses are private, and unique all the
    /// same: two nodes behind different NATs cannot share one.
    ///
    /// # Errors
    ///
    /// As [`Sim::add_node`].
    pub fn add_node_behind(
        &mut self,
        nat: NatId,
        config: impl Into<NodeConfig>,
        factory: impl FnMut(Boot<'_>) -> M + 'static,
    ) -> Result<NodeId, AddressTaken> {
        self.add(Some(nat), config.into(), Box::new(factory))
    }

    /// Moves a node behind this NAT, or out into the open, to these addresses. All its streams break.
    ///
    /// # Errors
    ///
    /// As [`Sim::move_node`].
    pub fn move_behind(
        &mut self,
        node: NodeId,
        nat: Option<NatId>,
        addresses: &[IpAddr],
    ) -> Result<(), AddressTaken> {
        self.relocate(node, addresses, &[])?;
        if let Some(host) = self.world.host_mut(node) {
            host.nat = nat;
        }
        self.world.tell(node, || What::BehindNat(nat));
        Ok(())
    }

    /// Has a NAT hand on all that comes to one of its ports, datagrams and streams, to a socket behind it; and
    /// that socket's datagrams leave from that port. `None` ends it. Forwards outlive reboots.
    pub fn forward(&mut self, nat: NatId, port: u16, to: Option<SocketAddr>) {
        let Some(nat) = self.world.nats.get_mut(nat.index()) else {
            return;
        };
        match to {
            Some(to) => nat.forwards.insert(port, to),
            None => nat.forwards.remove(&port),
        };
    }

    /// Has a NAT lose its mappings. Streams through it die in silence.
    pub fn reboot_nat(&mut self, nat: NatId) {
        self.world.reboot_nat(nat, None);
    }

    /// The same, and its outside address is another one from now on.
    ///
    /// # Errors
    ///
    /// [`AddressTaken`] if a node, or another NAT, has the address; then nothing changed.
    pub fn renumber_nat(&mut self, nat: NatId, address: IpAddr) -> Result<(), AddressTaken> {
        self.check_free(address)?;
        self.world.reboot_nat(nat, Some(address));
        Ok(())
    }

    fn check_free(&self, ip: IpAddr) -> Result<(), AddressTaken> {
        let of_nat = self.world.nats.iter().any(|nat| nat.config.address == ip);
        if of_nat || self.world.owners.contains_key(&ip) { Err(AddressTaken { ip }) } else { Ok(()) }
    }

    /// The NAT that a node stands behind.
    #[must_use]
    pub fn nat_of(&self, node: NodeId) -> Option<NatId> {
        self.world.host(node)?.nat
    }

    /// A NAT's outside address.
    #[must_use]
    pub fn nat_address(&self, nat: NatId) -> Option<IpAddr> {
        self.world.nats.get(nat.index()).map(|nat| nat.config.address)
    }

    /// How many mappings of a NAT are alive.
    #[must_use]
    pub fn nat_mappings(&self, nat: NatId) -> usize {
        self.world.nats.get(nat.index()).map_or(0, |nat| nat.live_mappings(self.world.now))
    }

    // Partitions.

    /// Lets nothing pass any more from `from` to `to`. The other direction stays as it is.
    pub fn block(&mut self, from: NodeId, to: NodeId) {
        if self.world.blocked.insert((from, to)) {
            self.world.counters.partitions += 1;
            self.world.trace.line(format_args!("{from} -> {to} is cut"), &[]);
            self.world.tell(None, || What::Cut { from, to });
        }
    }

    /// Takes a [`Sim::block`] back.
    pub fn unblock(&mut self, from: NodeId, to: NodeId) {
        if self.world.blocked.remove(&(from, to)) {
            self.world.trace.line(format_args!("{from} -> {to} passes again"), &[]);
            self.world.tell(None, || What::Rejoined { from, to });
        }
    }

    /// Cuts these nodes off from all others that exist now, both ways.
    pub fn partition(&mut self, nodes: &[NodeId]) {
        for other in self.nodes() {
            if nodes.contains(&other) {
                continue;
            }
            for node in nodes {
                self.block(*node, other);
                self.block(other, *node);
            }
        }
    }
}
