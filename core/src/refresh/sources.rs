//! What is known of the node's address, by source, and what follows for the record.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::record::Addresses;

/// Where an address comes from, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The operator configured it; nothing overrides it.
    Configured,
    /// A configured hostname resolved to it.
    Resolved,
    /// A quorum of members sees us there.
    Voted,
    /// It is on a network interface.
    Interface,
}

impl Source {
    const COUNT: usize = 4;

    const fn index(self) -> usize {
        self as usize
    }

    /// A word for logs and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Resolved => "hostname",
            Self::Voted => "votes",
            Self::Interface => "interface",
        }
    }
}

/// What the operator configured. Ports may differ from the bound ones (a forwarded port).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// Advertised IPv4 address.
    pub ip4: Option<Ipv4Addr>,
    /// Advertised IPv6 address.
    pub ip6: Option<Ipv6Addr>,
    /// Advertised UDP port, for both families.
    pub udp_port: Option<u16>,
    /// Advertised TCP port, for both families.
    pub tcp_port: Option<u16>,
}

/// Ports the node's sockets are bound to; `None` where there is no socket of that kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// UDP over IPv4.
    pub udp4: Option<u16>,
    /// TCP over IPv4.
    pub tcp4: Option<u16>,
    /// UDP over IPv6.
    pub udp6: Option<u16>,
    /// TCP over IPv6.
    pub tcp6: Option<u16>,
}

/// Everything known of the node's own address.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    configured_ports: (Option<u16>, Option<u16>),
    bound: Bound,
    ip4: [Option<Ipv4Addr>; Source::COUNT],
    ip6: [Option<Ipv6Addr>; Source::COUNT],
    /// UDP ports that votes came with: a NAT may show another port than the bound one.
    voted_udp: (Option<u16>, Option<u16>),
}

impl Sources {
    /// What is known before the first event.
    pub fn new(configured: &Configured, bound: Bound) -> Self {
        let mut sources =
            Self { configured_ports: (configured.udp_port, configured.tcp_port), bound, ..Self::default() };
        sources.ip4[Source::Configured.index()] = configured.ip4;
        sources.ip6[Source::Configured.index()] = configured.ip6;
        sources
    }

    /// Takes what `source` says now: of each family the first usable address, or nothing.
    ///
    /// A voted address that was the interface's own and is so no longer goes with it: members saw
    /// us there because we were there.
    pub fn set(&mut self, source: Source, addresses: impl IntoIterator<Item = IpAddr>) {
        let (mut v4, mut v6) = (None, None);
        for address in addresses {
            match address.to_canonical() {
                IpAddr::V4(ip) if !ip.is_unspecified() => v4 = v4.or(Some(ip)),
                IpAddr::V6(ip) if !ip.is_unspecified() => v6 = v6.or(Some(ip)),
                _ => {}
            }
        }
        let (voted, index) = (Source::Voted.index(), source.index());
        if source == Source::Interface {
            if self.ip4[voted].is_some() && self.ip4[voted] == self.ip4[index] && v4 != self.ip4[index] {
                (self.ip4[voted], self.voted_udp.0) = (None, None);
            }
            if self.ip6[voted].is_some() && self.ip6[voted] == self.ip6[index] && v6 != self.ip6[index] {
                (self.ip6[voted], self.voted_udp.1) = (None, None);
            }
        }
        self.ip4[index] = v4;
        self.ip6[index] = v6;
    }

    /// The addresses on the interfaces, one of each family.
    pub fn on_interfaces(&self) -> [Option<IpAddr>; 2] {
        let index = Source::Interface.index();
        [self.ip4[index].map(IpAddr::V4), self.ip6[index].map(IpAddr::V6)]
    }

    /// Takes an endpoint that a quorum voted for. Only its own family changes.
    pub fn set_voted(&mut self, endpoint: SocketAddr) {
        let voted = Source::Voted.index();
        match endpoint.ip().to_canonical() {
            IpAddr::V4(ip) => (self.ip4[voted], self.voted_udp.0) = (Some(ip), Some(endpoint.port())),
            IpAddr::V6(ip) => (self.ip6[voted], self.voted_udp.1) = (Some(ip), Some(endpoint.port())),
        }
    }

    /// The addresses the record should carry, given those of the record in force.
    ///
    /// A family of which nothing is known keeps what it had while there is a socket for it, and is
    /// left out when there is none.
    pub fn desired(&self, current: &Addresses) -> Addresses {
        let (udp, tcp) = self.configured_ports;
        let mut desired = *current;
        if let Some((source, ip)) = strongest(&self.ip4) {
            let voted = if source == Source::Voted.index() { self.voted_udp.0 } else { None };
            desired.ip4 = Some(ip);
            desired.udp4 = udp.or(voted).or(self.bound.udp4);
            desired.tcp4 = tcp.or(self.bound.tcp4);
        } else if self.bound.udp4.is_none() && self.bound.tcp4.is_none() {
            (desired.ip4, desired.udp4, desired.tcp4) = (None, None, None);
        }
        if let Some((source, ip)) = strongest(&self.ip6) {
            let voted = if source == Source::Voted.index() { self.voted_udp.1 } else { None };
            desired.ip6 = Some(ip);
            desired.udp6 = udp.or(voted).or(self.bound.udp6);
            desired.tcp6 = tcp.or(self.bound.tcp6);
        } else if self.bound.udp6.is_none() && self.bound.tcp6.is_none() {
            (desired.ip6, desired.udp6, desired.tcp6) = (None, None, None);
        }
        desired
    }

    /// Which source the advertised IPv4 (or else IPv6) address comes from.
    pub fn strongest_source(&self) -> Option<Source> {
        let index = strongest(&self.ip4).map(|(i, _)| i).or(strongest(&self.ip6).map(|(i, _)| i))?;
        [Source::Configured, Source::Resolved, Source::Voted, Source::Interface].into_iter().nth(index)
    }
}

fn strongest<T: Copy>(by_source: &[Option<T>]) -> Option<(usize, T)> {
    by_source.iter().enumerate().find_map(|(i, ip)| ip.map(|ip| (i, ip)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { udp4: Some(1), tcp4: Some(2), udp6: None, tcp6: None };

    #[test]
    fn the_strongest_source_wins() {
        let mut sources = Sources::new(&Configured::default(), BOUND);
        let none = Addresses::default();
        assert_eq!(sources.desired(&none), none);
        sources.set(Source::Interface, [IpAddr::from([10, 0, 0, 1])]);
        assert_eq!(sources.desired(&none).udp_endpoints().next(), Some(([10, 0, 0, 1], 1).into()));
        sources.set_voted(([1, 2, 3, 4], 77).into());
        assert_eq!(sources.desired(&none).udp_endpoints().next(), Some(([1, 2, 3, 4], 77).into()));
        assert_eq!(sources.desired(&none).tcp_endpoints().next(), Some(([1, 2, 3, 4], 2).into()));
        sources.set(Source::Resolved, [IpAddr::from([5, 5, 5, 5])]);
        assert_eq!(sources.desired(&none).udp_endpoints().next(), Some(([5, 5, 5, 5], 1).into()));
        assert_eq!(sources.strongest_source(), Some(Source::Resolved));
        let configured =
            Configured { ip4: Some([9, 9, 9, 9].into()), udp_port: Some(40), ..Configured::default() };
        let mut sources = Sources::new(&configured, BOUND);
        sources.set_voted(([1, 2, 3, 4], 77).into());
        assert_eq!(sources.desired(&none).udp_endpoints().next(), Some(([9, 9, 9, 9], 40).into()));
    }

    #[test]
    fn votes_for_an_interface_go_with_it() {
        let first = |sources: &Sources| sources.desired(&Addresses::default()).ip4.unwrap().octets();
        let mut sources = Sources::new(&Configured::default(), BOUND);
        sources.set(Source::Interface, [IpAddr::from([10, 0, 0, 1])]);
        sources.set_voted(([10, 0, 0, 1], 1).into());
        sources.set(Source::Interface, [IpAddr::from([10, 0, 0, 2])]);
        assert_eq!(first(&sources), [10, 0, 0, 2]);
        // Behind a NAT the vote is for another address than the interface's, and stays.
        sources.set_voted(([1, 2, 3, 4], 1).into());
        sources.set(Source::Interface, [IpAddr::from([10, 0, 0, 3])]);
        assert_eq!(first(&sources), [1, 2, 3, 4]);
    }

    #[test]
    fn a_family_without_a_socket_is_left_out() {
        let stale = Addresses { ip6: Some([1; 16].into()), udp6: Some(1), ..Addresses::default() };
        assert_eq!(Sources::new(&Configured::default(), BOUND).desired(&stale), Addresses::default());
        let kept = Addresses { ip4: Some([1; 4].into()), udp4: Some(1), ..Addresses::default() };
        assert_eq!(Sources::new(&Configured::default(), BOUND).desired(&kept), kept);
    }
}
