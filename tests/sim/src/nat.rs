//! Network address translation: many hosts behind one address.
//!
//! Purpose: the behaviours of RFC 4787, each by itself: which flows share a mapping, who may answer through it,
//! how long it lives, and whether hosts behind one NAT reach each other through its outside.
//!
//! Invariants: an outside port stands for one mapping at a time; a mapping that has expired lets nothing
//! through; the table has a bound; ports come from the choices' lane `nat.port`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::time::{Nanos, SECOND};

/// The first port given to mappings; the last is 65,535.
const FIRST_PORT: u16 = 1024;

/// How many ports there are for mappings.
const PORTS: u64 = 65_536 - FIRST_PORT as u64;

/// A NAT of the simulation, in the order in which they were added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(pub(crate) u32);

impl NatId {
    /// Its number, counted from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nat{}", self.0)
    }
}

impl fmt::Debug for NatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// On what of the remote endpoint a NAT's behaviour depends (RFC 4787, sections 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependence {
    /// On nothing: mapping, one outside port for all destinations; filtering, everybody may answer.
    EndpointIndependent,
    /// On its address: mapping, one outside port a destination address; filtering, who was sent to may answer
    /// from any port.
    AddressDependent,
    /// On its address and port: mapping, one outside port a destination; filtering, only what was sent to may
    /// answer.
    AddressAndPortDependent,
}

impl Dependence {
    /// The part of `remote` that counts.
    const fn key(self, remote: SocketAddr) -> SocketAddr {
        const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        match self {
            Self::EndpointIndependent => SocketAddr::new(NOWHERE, 0),
            Self::AddressDependent => SocketAddr::new(remote.ip(), 0),
            Self::AddressAndPortDependent => remote,
        }
    }
}

/// A NAT. It translates what is of its address's family; to the other family it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatConfig {
    /// Its outside address.
    pub address: IpAddr,
    /// Which flows share an outside port.
    pub mapping: Dependence,
    /// Who may answer through it. (Datagrams; a stream is answered by whom it was dialled to, always.)
    pub filtering: Dependence,
    /// A datagram mapping, and the permission to answer, is forgotten when nothing went out for this long.
    pub idle: Nanos,
    /// A stream is forgotten when nothing passed for this long: what comes later goes nowhere, and nobody is
    /// told.
    pub stream_idle: Nanos,
    /// Whether hosts behind it reach each other by its outside address.
    pub hairpin: bool,
    /// The most mappings at a time; what would need another is dropped.
    pub most: usize,
}

impl NatConfig {
    /// One port for all destinations, and everybody may answer.
    #[must_use]
    pub const fn full_cone(address: IpAddr) -> Self {
        Self {
            address,
            mapping: Dependence::EndpointIndependent,
            filtering: Dependence::EndpointIndependent,
            idle: 120 * SECOND,
            stream_idle: 7440 * SECOND,
            hairpin: false,
            most: 4096,
        }
    }

    /// One port for all destinations; the hosts that were sent to may answer, from any port.
    #[must_use]
    pub const fn restricted(address: IpAddr) -> Self {
        Self { filtering: Dependence::AddressDependent, ..Self::full_cone(address) }
    }

    /// One port for all destinations; only they may answer.
    #[must_use]
    pub const fn port_restricted(address: IpAddr) -> Self {
        Self { filtering: Dependence::AddressAndPortDependent, ..Self::full_cone(address) }
    }

    /// Another port for every destination, and only that one may answer.
    #[must_use]
    pub const fn symmetric(address: IpAddr) -> Self {
        Self { mapping: Dependence::AddressAndPortDependent, ..Self::port_restricted(address) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Datagram,
    Stream,
}

/// A NAT at work.
#[derive(Debug)]
pub(crate) struct Nat {
    pub(crate) config: NatConfig,
    pub(crate) forwards: BTreeMap<u16, SocketAddr>,
    /// Counts reboots and changes of address: a stream from before is forgotten.
    pub(crate) epoch: u32,
    mappings: BTreeMap<(Protocol, u16), Mapping>,
    /// The outside port of (inside socket, key of the destination).
    ports: BTreeMap<(Protocol, SocketAddr, SocketAddr), u16>,
    pub(crate) expired: u64,
}

#[derive(Debug)]
struct Mapping {
    inside: SocketAddr,
    key: SocketAddr,
    last_out: Nanos,
    /// Who may answer, and when they were last sent to.
    allowed: BTreeMap<SocketAddr, Nanos>,
    /// Streams that use it.
    streams: u32,
}

impl Nat {
    pub(crate) const fn new(config: NatConfig) -> Self {
        Self {
            config,
            forwards: BTreeMap::new(),
            epoch: 0,
            mappings: BTreeMap::new(),
            ports: BTreeMap::new(),
            expired: 0,
        }
    }

    /// Forgets every mapping; forwards are configuration, and stay.
    pub(crate) fn reboot(&mut self) {
        self.mappings.clear();
        self.ports.clear();
        self.epoch += 1;
    }

    pub(crate) fn live_mappings(&self, now: Nanos) -> usize {
        self.mappings.values().filter(|mapping| self.lives(mapping, now)).count()
    }

    /// Something goes out from `inside` to `remote`: the outside port it leaves from. `None`: there is no room.
    /// `draw` answers a number below its argument.
    pub(crate) fn outbound(
        &mut self,
        now: Nanos,
        protocol: Protocol,
        inside: SocketAddr,
        remote: SocketAddr,
        draw: impl FnOnce(u64) -> u64,
    ) -> Option<u16> {
        if protocol == Protocol::Datagram
            && let Some((port, _)) = self.forwards.iter().find(|(_, to)| **to == inside)
        {
            return Some(*port);
        }
        let key = self.config.mapping.key(remote);
        let known = self.ports.get(&(protocol, inside, key)).copied();
        let alive = known.filter(|port| {
            self.mappings.get(&(protocol, *port)).is_some_and(|mapping| self.lives(mapping, now))
        });
        let port = match alive {
            Some(port) => port,
            None => self.open(now, protocol, inside, key, draw)?,
        };
        let (idle, answerer) = (self.config.idle, self.config.filtering.key(remote));
        let mapping = self.mappings.get_mut(&(protocol, port))?;
        mapping.last_out = now;
        mapping.streams += u32::from(protocol == Protocol::Stream);
        if mapping.allowed.insert(answerer, now).is_none() {
            mapping.allowed.retain(|_, sent| now.saturating_sub(*sent) < idle);
        }
        Some(port)
    }

    /// Something comes from `remote` to an outside port: the inside socket it is for, if it may pass.
    pub(crate) fn inbound(
        &self,
        now: Nanos,
        protocol: Protocol,
        port: u16,
        remote: SocketAddr,
    ) -> Option<SocketAddr> {
        if let Some(inside) = self.forwards.get(&port) {
            return Some(*inside);
        }
        if protocol == Protocol::Stream {
            return None;
        }
        let mapping = self.mappings.get(&(protocol, port)).filter(|mapping| self.lives(mapping, now))?;
        let sent = mapping.allowed.get(&self.config.filtering.key(remote))?;
        (now.saturating_sub(*sent) < self.config.idle).then_some(mapping.inside)
    }

    /// Who an outside port stands for, whether anything may pass or not.
    pub(crate) fn inside(&self, port: u16) -> Option<SocketAddr> {
        let mapped = self.mappings.get(&(Protocol::Datagram, port)).map(|mapping| mapping.inside);
        self.forwards.get(&port).copied().or(mapped)
    }

    /// A stream that used this outside port has ended.
    pub(crate) fn release(&mut self, port: u16) {
        let ended = self.mappings.get_mut(&(Protocol::Stream, port)).is_some_and(|mapping| {
            mapping.streams = mapping.streams.saturating_sub(1);
            mapping.streams == 0
        });
        if ended {
            self.forget(Protocol::Stream, port);
        }
    }

    fn open(
        &mut self,
        now: Nanos,
        protocol: Protocol,
        inside: SocketAddr,
        key: SocketAddr,
        draw: impl FnOnce(u64) -> u64,
    ) -> Option<u16> {
        if let Some(port) = self.ports.get(&(protocol, inside, key)).copied() {
            self.expired += 1;
            self.forget(protocol, port);
        }
        if self.mappings.len() >= self.config.most {
            self.purge(now);
        }
        if self.mappings.len() >= self.config.most {
            return None;
        }
        let first = draw(PORTS);
        let mut ports =
            (0..PORTS).map(|step| FIRST_PORT + u16::try_from((first + step) % PORTS).unwrap_or(0));
        let free = |port: &u16| {
            let taken = self.mappings.get(&(protocol, *port)).is_some_and(|mapping| self.lives(mapping, now));
            !taken && !self.forwards.contains_key(port)
        };
        let port = ports.find(free)?;
        self.forget(protocol, port);
        let mapping = Mapping { inside, key, last_out: now, allowed: BTreeMap::new(), streams: 0 };
        self.mappings.insert((protocol, port), mapping);
        self.ports.insert((protocol, inside, key), port);
        Some(port)
    }

    fn purge(&mut self, now: Nanos) {
        let dead = self.mappings.iter().filter(|(_, mapping)| !self.lives(mapping, now));
        let dead: Vec<_> = dead.map(|(place, _)| *place).collect();
        for (protocol, port) in dead {
            self.expired += 1;
            self.forget(protocol, port);
        }
    }

    fn forget(&mut self, protocol: Protocol, port: u16) {
        if let Some(mapping) = self.mappings.remove(&(protocol, port)) {
            self.ports.remove(&(protocol, mapping.inside, mapping.key));
        }
    }

    const fn lives(&self, mapping: &Mapping, now: Nanos) -> bool {
        mapping.streams > 0 || now.saturating_sub(mapping.last_out) < self.config.idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(host: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, host], port).into()
    }

    type Kind = fn(IpAddr) -> NatConfig;

    fn nat(config: Kind) -> Nat {
        Nat::new(NatConfig { most: 3, ..config(socket(1, 0).ip()) })
    }

    fn out(nat: &mut Nat, now: Nanos, inside: SocketAddr, remote: SocketAddr) -> Option<u16> {
        nat.outbound(now, Protocol::Datagram, inside, remote, |_| 7)
    }

    #[test]
    fn mapping_and_filtering_are_what_their_names_say() {
        let (inside, there) = (socket(9, 1), socket(2, 5));
        let others = [socket(2, 6), socket(3, 5)];
        let kinds: [(Kind, bool, [bool; 2]); 4] = [
            (NatConfig::full_cone, true, [true, true]),
            (NatConfig::restricted, true, [true, false]),
            (NatConfig::port_restricted, true, [false, false]),
            (NatConfig::symmetric, false, [false, false]),
        ];
        for (kind, shared, answers) in kinds {
            let mut nat = nat(kind);
            let port = out(&mut nat, 0, inside, there).unwrap();
            let passes = |from| nat.inbound(0, Protocol::Datagram, port, from) == Some(inside);
            assert!(passes(there));
            assert_eq!(others.map(passes), answers, "{:?}", nat.config);
            assert_eq!(out(&mut nat, 0, inside, others[1]) == Some(port), shared, "{:?}", nat.config);
        }
    }

    #[test]
    fn mappings_expire_unless_something_goes_out() {
        let mut nat = nat(NatConfig::port_restricted);
        let idle = nat.config.idle;
        let (inside, there, other) = (socket(9, 1), socket(2, 5), socket(3, 5));
        let port = out(&mut nat, 0, inside, there).unwrap();
        out(&mut nat, idle - 1, inside, other);
        assert_eq!(nat.inbound(idle, Protocol::Datagram, port, there), None, "the permission is old");
        assert_eq!(nat.inbound(idle, Protocol::Datagram, port, other), Some(inside));
        assert_eq!(nat.live_mappings(2 * idle - 2), 1);
        assert_eq!(nat.live_mappings(2 * idle - 1), 0);
        let again = out(&mut nat, 2 * idle, inside, there).unwrap();
        assert_eq!((again, nat.expired), (port, 1), "its port is free again");
    }

    #[test]
    fn a_full_table_opens_nothing_until_something_expires() {
        let mut nat = nat(NatConfig::symmetric);
        let idle = nat.config.idle;
        let mut ports: Vec<_> =
            (2..5).map(|host| out(&mut nat, 0, socket(9, 1), socket(host, 1)).unwrap()).collect();
        ports.dedup();
        assert_eq!(ports.len(), 3, "each has a port of its own");
        assert_eq!(out(&mut nat, idle - 1, socket(9, 1), socket(5, 1)), None);
        assert!(out(&mut nat, idle, socket(9, 1), socket(5, 1)).is_some());
    }

    #[test]
    fn a_forward_lets_everybody_in_and_its_host_out_by_the_same_port() {
        let mut nat = nat(NatConfig::symmetric);
        let (inside, stranger) = (socket(9, 1), socket(4, 4));
        nat.forwards.insert(77, inside);
        for protocol in [Protocol::Datagram, Protocol::Stream] {
            assert_eq!(nat.inbound(0, protocol, 77, stranger), Some(inside));
            assert_eq!(nat.inbound(0, protocol, 78, stranger), None);
        }
        assert_eq!(out(&mut nat, 0, inside, stranger), Some(77));
        nat.reboot();
        assert_eq!(nat.inbound(0, Protocol::Datagram, 77, stranger), Some(inside));
    }
}
