//! What is known of the node's address, by source, and what follows for the record.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::votes::Voted;
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

    /// Takes what `source` says now: of each family one usable address, or nothing. The one it
    /// said before stays while it is among them: resolvers and systems list in any order.
    ///
    /// A voted address that was the interface's own and is so no longer goes with it: members saw
    /// us there because we were there.
    pub fn set(&mut self, source: Source, addresses: impl IntoIterator<Item = IpAddr>) {
        let (voted, index) = (Source::Voted.index(), source.index());
        let (mut v4, mut v6) = (None, None);
        for address in addresses {
            match address.to_canonical() {
                IpAddr::V4(ip) if ip.is_unspecified() => {}
                IpAddr::V6(ip) if ip.is_unspecified() => {}
                IpAddr::V4(ip) if v4.is_none() || self.ip4[index] == Some(ip) => v4 = Some(ip),
                IpAddr::V6(ip) if v6.is_none() || self.ip6[index] == Some(ip) => v6 = Some(ip),
                _ => {}
            }
        }
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

    /// Takes what a quorum voted for. Only its own family changes; without a word on the port, the
    /// one of the same address stays.
    pub fn set_voted(&mut self, voted: Voted) {
        let index = Source::Voted.index();
        match voted.ip.to_canonical() {
            IpAddr::V4(ip) => {
                let kept = self.voted_udp.0.filter(|_| self.ip4[index] == Some(ip));
                (self.ip4[index], self.voted_udp.0) = (Some(ip), voted.port.or(kept));
            }
            IpAddr::V6(ip) => {
                let kept = self.voted_udp.1.filter(|_| self.ip6[index] == Some(ip));
                (self.ip6[index], self.voted_udp.1) = (Some(ip), voted.port.or(kept));
            }
        }
    }

    /// What votes say now of a family, with the port advertised for it.
    pub fn voted(&self, ipv4: bool) -> Option<SocketAddr> {
        let index = Source::Voted.index();
        if ipv4 {
            Some(SocketAddr::new(self.ip4[index]?.into(), self.voted_udp.0.or(self.bound.udp4)?))
        } else {
            Some(SocketAddr::new(self.ip6[index]?.into(), self.voted_udp.1.or(self.bound.udp6)?))
        }
    }

    /// The addresses the record should carry, given those of the record in force.
    ///
    /// A family of which nothing is known keeps what it had while there is a socket for it. One
    /// without a socket is left out, unless the operator configured its address.
    pub fn desired(&self, current: &Addresses) -> Addresses {
        let (udp, tcp) = self.configured_ports;
        let mut desired = *current;
        let (has4, has6) = self.has_sockets();
        if let Some((source, ip)) = strongest(&self.ip4, has4) {
            let voted = if source == Source::Voted.index() { self.voted_udp.0 } else { None };
            desired.ip4 = Some(ip);
            desired.udp4 = udp.or(voted).or(self.bound.udp4);
            desired.tcp4 = tcp.or(self.bound.tcp4);
        } else if !has4 {
            (desired.ip4, desired.udp4, desired.tcp4) = (None, None, None);
        }
        if let Some((source, ip)) = strongest(&self.ip6, has6) {
            let voted = if source == Source::Voted.index() { self.voted_udp.1 } else { None };
            desired.ip6 = Some(ip);
            desired.udp6 = udp.or(voted).or(self.bound.udp6);
            desired.tcp6 = tcp.or(self.bound.tcp6);
        } else if !has6 {
            (desired.ip6, desired.udp6, desired.tcp6) = (None, None, None);
        }
        desired
    }

    /// Which source the advertised IPv4 (or else IPv6) address comes from.
    pub fn strongest_source(&self) -> Option<Source> {
        let (has4, has6) = self.has_sockets();
        let (v4, v6) = (strongest(&self.ip4, has4), strongest(&self.ip6, has6));
        let index = v4.map(|(i, _)| i).or(v6.map(|(i, _)| i))?;
        [Source::Configured, Source::Resolved, Source::Voted, Source::Interface].into_iter().nth(index)
    }

    /// Whether there is a socket of each family: IPv4, IPv6.
    const fn has_sockets(&self) -> (bool, bool) {
        let Bound { udp4, tcp4, udp6, tcp6 } = self.bound;
        (udp4.is_some() || tcp4.is_some(), udp6.is_some() || tcp6.is_some())
    }
}

/// The strongest source that knows an address. Without a socket only the operator's word counts.
fn strongest<T: Copy>(by_source: &[Option<T>], has_socket: bool) -> Option<(usize, T)> {
    let counting = if has_socket { by_source.len() } else { 1 };
    by_source.iter().take(counting).enumerate().find_map(|(i, ip)| ip.map(|ip| (i, ip)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTED: Voted = Voted { ip: IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4)), port: Some(77) };
    const BOUND: Bound = Bound { udp4: Some(1), tcp4: Some(2), udp6: None, tcp6: None };

    #[test]
    fn the_strongest_source_wins() {
        let mut sources = Sources::new(&Configured::default(), BOUND);
        let none = Addresses::default();
        assert_eq!(sources.desired(&none), none);
        sources.set(Source::Interface, [IpAddr::from([10, 0, 0, 1])]);
        assert_eq!(sources.desired(&none).udp_endpoints().next(), Some(([10, 0, 0, 1], 1).into()));
        sources.set_voted(VOTED);
        assert_eq!(sources.desired(&none).udp_endpoints().next(), Some(([1, 2, 3, 4], 77).into()));
        assert_eq!(sources.desired(&none).tcp_endpoints().next(), Some(([1, 2, 3, 4], 2).into()));
        sources.set(Source::Resolved, [IpAddr::from([5, 5, 5, 5])]);
        assert_eq!(sources.desired(&none).udp_endpoints().next(), Some(([5, 5, 5, 5], 1).into()));
        assert_eq!(sources.strongest_source(), Some(Source::Resolved));
        let configured =
            Configured { ip4: Some([9, 9, 9, 9].into()), udp_port: Some(40), ..Configured::default() };
        let mut sources = Sources::new(&configured, BOUND);
        sources.set_voted(VOTED);
        assert_eq!(sources.desired(&none).udp_endpoints().next(), Some(([9, 9, 9, 9], 40).into()));
    }

    #[test]
    fn votes_for_an_interface_go_with_it() {
        let first = |sources: &Sources| sources.desired(&Addresses::default()).ip4.unwrap().octets();
        let mut sources = Sources::new(&Configured::default(), BOUND);
        sources.set(Source::Interface, [IpAddr::from([10, 0, 0, 1])]);
        sources.set_voted(Voted { ip: [10, 0, 0, 1].into(), port: Some(1) });
        sources.set(Source::Interface, [IpAddr::from([10, 0, 0, 2])]);
        assert_eq!(first(&sources), [10, 0, 0, 2]);
        // Behind a NAT the vote is for another address than the interface's, and stays.
        sources.set_voted(Voted { port: Some(1), ..VOTED });
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

    #[test]
    fn a_rotated_list_moves_nothing() {
        let mut sources = Sources::new(&Configured::default(), BOUND);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        sources.set(Source::Resolved, [a, b]);
        sources.set(Source::Resolved, [b, a]);
        assert_eq!(sources.desired(&Addresses::default()).ip4, Some([10, 0, 0, 1].into()));
        sources.set(Source::Resolved, [b]);
        assert_eq!(sources.desired(&Addresses::default()).ip4, Some([10, 0, 0, 2].into()));
    }

    #[test]
    fn a_name_does_not_advertise_a_family_without_a_socket() {
        let mut sources = Sources::new(&Configured::default(), BOUND);
        sources.set(Source::Resolved, [IpAddr::from([10, 0, 0, 1]), IpAddr::from([9; 16])]);
        let desired = sources.desired(&Addresses::default());
        assert_eq!((desired.ip4, desired.ip6), (Some([10, 0, 0, 1].into()), None));
        let mut only6 = Sources::new(&Configured::default(), BOUND);
        only6.set(Source::Resolved, [IpAddr::from([9; 16])]);
        assert_eq!(only6.strongest_source(), None, "nothing of it is advertised");
        let configured = Configured { ip6: Some([9; 16].into()), ..Configured::default() };
        let desired = Sources::new(&configured, BOUND).desired(&Addresses::default());
        assert_eq!(desired.ip6, Some([9; 16].into()), "the operator's word counts");
    }

    #[test]
    fn a_vote_without_a_port_keeps_the_one_there_was() {
        let mut sources = Sources::new(&Configured::default(), BOUND);
        let port = |sources: &Sources| sources.desired(&Addresses::default()).udp4;
        sources.set_voted(Voted { port: None, ..VOTED });
        assert_eq!(port(&sources), Some(1), "the bound one");
        sources.set_voted(VOTED);
        sources.set_voted(Voted { port: None, ..VOTED });
        assert_eq!(port(&sources), Some(77));
        sources.set_voted(Voted { ip: [4, 4, 4, 4].into(), port: None });
        assert_eq!(port(&sources), Some(1), "another address");
    }

    #[test]
    fn addresses_that_name_no_host_are_not_ours() {
        let bound = Bound { udp4: Some(1), tcp4: Some(2), udp6: Some(3), tcp6: Some(4) };
        let mut sources = Sources::new(&Configured::default(), bound);
        let (v4, v6) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([9; 16]));
        let nowhere = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        sources.set(Source::Interface, nowhere);
        assert_eq!(sources.on_interfaces(), [None, None]);
        sources.set(Source::Interface, [nowhere[0], nowhere[1], v4, v6]);
        assert_eq!(sources.on_interfaces(), [Some(v4), Some(v6)]);
        let desired = sources.desired(&Addresses::default());
        assert_eq!(
            (desired.udp4, desired.tcp4, desired.udp6, desired.tcp6),
            (Some(1), Some(2), Some(3), Some(4))
        );
        let words =
            [Source::Configured, Source::Resolved, Source::Voted, Source::Interface].map(Source::name);
        assert_eq!(words, ["configured", "hostname", "votes", "interface"]);
    }

    #[test]
    fn ipv6_is_like_ipv4() {
        let bound = Bound { udp6: Some(1), ..Bound::default() };
        let [a, b, c] = [1, 2, 3].map(|n| IpAddr::from([0x2000 + n; 8]));
        let mut sources = Sources::new(&Configured::default(), bound);
        let told = |sources: &Sources| {
            let at = sources.desired(&Addresses::default()).udp_endpoints().next()?;
            Some((at.ip(), at.port()))
        };
        let vote = |sources: &mut Sources, ip, port| sources.set_voted(Voted { ip, port });
        sources.set(Source::Interface, [a, b]);
        assert_eq!(told(&sources), Some((a, 1)), "the first one");
        sources.set(Source::Interface, [b, a]);
        assert_eq!(told(&sources), Some((a, 1)), "it stays while it is among them");
        vote(&mut sources, a, Some(7));
        vote(&mut sources, a, None);
        assert_eq!((told(&sources), sources.voted(false)), (Some((a, 7)), Some(SocketAddr::new(a, 7))));
        assert_eq!(sources.voted(true), None);
        vote(&mut sources, c, None);
        sources.set(Source::Interface, [b]);
        assert_eq!(told(&sources), Some((c, 1)), "it was not the interface's");
        vote(&mut sources, b, Some(8));
        sources.set(Source::Interface, [b]);
        assert_eq!(told(&sources), Some((b, 8)));
        sources.set(Source::Interface, [a]);
        assert_eq!((told(&sources), sources.voted(false)), (Some((a, 1)), None), "it was");
        vote(&mut sources, b, Some(9));
        sources.set(Source::Resolved, [c]);
        assert_eq!(told(&sources), Some((c, 1)), "the port goes with the address");
        assert_eq!(sources.strongest_source(), Some(Source::Resolved));
    }

    #[test]
    fn a_socket_of_either_kind_is_enough() {
        for (bound, ip) in [
            (Bound { tcp4: Some(4), ..Bound::default() }, IpAddr::from([10, 0, 0, 1])),
            (Bound { udp4: Some(4), ..Bound::default() }, IpAddr::from([10, 0, 0, 1])),
            (Bound { tcp6: Some(4), ..Bound::default() }, IpAddr::from([9; 16])),
            (Bound { udp6: Some(4), ..Bound::default() }, IpAddr::from([9; 16])),
        ] {
            let mut sources = Sources::new(&Configured::default(), bound);
            sources.set(Source::Interface, [IpAddr::from([10, 0, 0, 1]), IpAddr::from([9; 16])]);
            let desired = sources.desired(&Addresses::default());
            assert_eq!((desired.ip4.is_some(), desired.ip6.is_some()), (ip.is_ipv4(), ip.is_ipv6()));
            assert_eq!(desired.udp_endpoints().chain(desired.tcp_endpoints()).next(), Some((ip, 4).into()));
        }
    }
}
