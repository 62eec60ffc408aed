//! The sockets of a node: one UDP and one TCP socket a family.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use async_std::net::{TcpListener, UdpSocket};
use coracle_core::refresh::Bound;
use socket2::{Domain, Protocol, Socket, Type};

/// Where to listen: at most one address a family in each list. Port 0 lets the system choose.
#[derive(Clone, Debug, Default)]
pub struct Listen {
    /// TCP: channels.
    pub tcp: Vec<SocketAddr>,
    /// UDP: discovery.
    pub udp: Vec<SocketAddr>,
}

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({transport}): {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// "tcp" or "udp".
    pub transport: &'static str,
    /// What the system said.
    pub source: io::Error,
}

/// Bound sockets, ready for [`start`](crate::start).
#[derive(Debug, Default)]
pub struct Sockets {
    pub(crate) udp4: Option<UdpSocket>,
    pub(crate) udp6: Option<UdpSocket>,
    pub(crate) tcp4: Option<TcpListener>,
    pub(crate) tcp6: Option<TcpListener>,
}

impl Sockets {
    /// Binds all addresses.
    ///
    /// # Errors
    /// What the system says of an address; [`io::ErrorKind::InvalidInput`] for the second address of
    /// one family in one list, of which only one could be used. Nothing stays bound then.
    pub fn bind(listen: &Listen) -> Result<Self, BindError> {
        one_a_family(&listen.tcp, "tcp")?;
        one_a_family(&listen.udp, "udp")?;
        let mut sockets = Self::default();
        for &address in &listen.tcp {
            let listener =
                listen_tcp(address).map_err(|source| BindError { address, transport: "tcp", source })?;
            *(if address.is_ipv4() { &mut sockets.tcp4 } else { &mut sockets.tcp6 }) = Some(listener);
        }
        for &address in &listen.udp {
            let socket =
                bind_udp(address).map_err(|source| BindError { address, transport: "udp", source })?;
            *(if address.is_ipv4() { &mut sockets.udp4 } else { &mut sockets.udp6 }) = Some(socket);
        }
        Ok(sockets)
    }

    /// The ports the sockets got.
    pub fn bound(&self) -> Bound {
        let [udp4, udp6, tcp4, tcp6] = self.locals().map(|local| local.map(|address| address.port()));
        Bound { udp4, tcp4, udp6, tcp6 }
    }

    /// The TCP addresses, for people and tests.
    pub fn tcp_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let [_, _, tcp4, tcp6] = self.locals();
        tcp4.into_iter().chain(tcp6)
    }

    /// The UDP addresses, for people and tests.
    pub fn udp_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let [udp4, udp6, _, _] = self.locals();
        udp4.into_iter().chain(udp6)
    }

    /// The addresses the sockets can be reached at from elsewhere: what they are bound to, or,
    /// where that is "any", what the interfaces have (loopback and link-local ones left out).
    pub(crate) fn interfaces(&self) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for local in self.locals().into_iter().flatten() {
            if !local.ip().is_unspecified() {
                addresses.push(local.ip());
                continue;
            }
            // Without an answer the interface is simply not a source of addresses.
            for interface in if_addrs::get_if_addrs().unwrap_or_default() {
                let ip = interface.ip();
                if ip.is_ipv4() == local.is_ipv4() && !interface.is_loopback() && !interface.is_link_local() {
                    addresses.push(ip);
                }
            }
        }
        addresses.sort_by_key(|ip| !matches!(ip, IpAddr::V4(v4) if *v4 != Ipv4Addr::UNSPECIFIED));
        addresses.dedup();
        addresses
    }

    fn locals(&self) -> [Option<SocketAddr>; 4] {
        let udp = |socket: &Option<UdpSocket>| socket.as_ref().and_then(|s| s.local_addr().ok());
        let tcp = |listener: &Option<TcpListener>| listener.as_ref().and_then(|l| l.local_addr().ok());
        [udp(&self.udp4), udp(&self.udp6), tcp(&self.tcp4), tcp(&self.tcp6)]
    }
}

fn one_a_family(addresses: &[SocketAddr], transport: &'static str) -> Result<(), BindError> {
    for (i, &address) in addresses.iter().enumerate() {
        if let Some(first) = addresses[..i].iter().find(|first| first.is_ipv4() == address.is_ipv4()) {
            let why = format!("one address a family is possible, and {first} is of the same");
            let source = io::Error::new(io::ErrorKind::InvalidInput, why);
            return Err(BindError { address, transport, source });
        }
    }
    Ok(())
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(std::net::TcpListener::from(socket).into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&address.into())?;
    Ok(std::net::UdpSocket::from(socket).into())
}

fn new_socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own: both can then have the same port.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
