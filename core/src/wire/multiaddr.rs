//! Multiaddresses of the kinds a cluster uses: a host, a TCP or UDP port, and optionally who is
//! expected there. Text (`/ip4/192.0.2.1/tcp/3610/p2p/16Uiu2…`) and binary form.
//!
//! Anything else (relays, QUIC, WebSockets, zones) is an error, not a shorter address: an address
//! that was understood in part would be dialled wrongly.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use crate::{id::PeerId, wire::varint};

/// Longest binary form in bytes: a DNS name of 255, a port, a peer id, and their codes and lengths.
pub const MAX_BINARY: usize = (1 + 2 + 255) + (2 + 2) + (2 + 1 + PeerId::LEN);

// Codes of the multiaddr protocol table.
const IP4: u64 = 4;
const TCP: u64 = 6;
const IP6: u64 = 41;
const DNS: u64 = 53;
const DNS4: u64 = 54;
const DNS6: u64 = 55;
const UDP: u64 = 273;
const P2P: u64 = 421;

/// Why a text or bytes are not an address that we understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultiaddrError {
    /// The address does not begin with a host that we know.
    #[error("the host must be /ip4, /ip6, /dns, /dns4 or /dns6")]
    Host,
    /// The IP address or DNS name is malformed.
    #[error("the IP address or DNS name is malformed")]
    HostValue,
    /// No /tcp or /udp follows the host.
    #[error("the host must be followed by /tcp or /udp")]
    Transport,
    /// The port is not a number from 0 to 65535.
    #[error("the port must be a number from 0 to 65535")]
    Port,
    /// What follows /p2p is not the peer id of a secp256k1 key.
    #[error("/p2p must be followed by the peer id of a secp256k1 key (16Uiu2…)")]
    Peer,
    /// Something follows that is no part of such an address.
    #[error("unsupported part after the port: only /p2p/<peer id> may follow")]
    Trailing,
    /// The binary form is cut off or its lengths do not fit.
    #[error("the address is cut off")]
    Truncated,
}

/// A DNS name of 1 to 255 bytes, without `/`. Whether it resolves is the resolver's to say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(heapless::String<255>);

impl DnsName {
    /// Checks the length and the characters (printable ASCII but `/`).
    pub fn new(name: &str) -> Result<Self, MultiaddrError> {
        let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        let mut own = heapless::String::new();
        if !fits || own.push_str(name).is_err() {
            return Err(MultiaddrError::HostValue);
        }
        Ok(Self(own))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a host is.
// A DNS name is held in place: there is no allocator to ask, and addresses are few.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IP address: /ip4 or /ip6.
    Ip(IpAddr),
    /// A name to resolve to addresses of either kind: /dns.
    Dns(DnsName),
    /// A name to resolve to IPv4 addresses: /dns4.
    Dns4(DnsName),
    /// A name to resolve to IPv6 addresses: /dns6.
    Dns6(DnsName),
}

/// The transport and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// /tcp
    Tcp(u16),
    /// /udp
    Udp(u16),
}

impl Transport {
    /// The port number.
    pub const fn port(self) -> u16 {
        match self {
            Self::Tcp(port) | Self::Udp(port) => port,
        }
    }
}

/// A host, a port, and optionally the peer expected there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multiaddr {
    /// Where the host is.
    pub host: Host,
    /// Transport and port.
    pub transport: Transport,
    /// Who is expected there: /p2p.
    pub peer: Option<PeerId>,
}

impl Multiaddr {
    /// The TCP address `addr`, with nobody named.
    pub const fn tcp(addr: SocketAddr) -> Self {
        Self { host: Host::Ip(addr.ip()), transport: Transport::Tcp(addr.port()), peer: None }
    }

    /// The socket address to dial over TCP; `None` for a name and for UDP.
    pub const fn tcp_addr(&self) -> Option<SocketAddr> {
        match (&self.host, self.transport) {
            (Host::Ip(ip), Transport::Tcp(port)) => Some(SocketAddr::new(*ip, port)),
            _ => None,
        }
    }

    /// Reads the binary form, which must be exactly one address.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MultiaddrError> {
        let mut reader = Reader(bytes);
        let host = match reader.number()? {
            IP4 => Host::Ip(IpAddr::V4(reader.array::<4>()?.into())),
            IP6 => Host::Ip(IpAddr::V6(reader.array::<16>()?.into())),
            DNS => Host::Dns(reader.name()?),
            DNS4 => Host::Dns4(reader.name()?),
            DNS6 => Host::Dns6(reader.name()?),
            _ => return Err(MultiaddrError::Host),
        };
        let transport = match reader.number()? {
            TCP => Transport::Tcp(u16::from_be_bytes(reader.array()?)),
            UDP => Transport::Udp(u16::from_be_bytes(reader.array()?)),
            _ => return Err(MultiaddrError::Transport),
        };
        let peer = if reader.0.is_empty() {
            None
        } else if reader.number()? == P2P {
            Some(PeerId::from_bytes(reader.sized()?).ok_or(MultiaddrError::Peer)?)
        } else {
            return Err(MultiaddrError::Trailing);
        };
        if reader.0.is_empty() { Ok(Self { host, transport, peer }) } else { Err(MultiaddrError::Trailing) }
    }

    /// Writes the binary form at the start of `out` (at most [`MAX_BINARY`] bytes); returns its
    /// length, or `None` when it does not fit.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            let end = at + bytes.len();
            out.get_mut(at..end)?.copy_from_slice(bytes);
            at = end;
            Some(())
        };
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => put(Number::new(IP4).bytes()).and_then(|()| put(&ip.octets()))?,
            Host::Ip(IpAddr::V6(ip)) => put(Number::new(IP6).bytes()).and_then(|()| put(&ip.octets()))?,
            Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name) => {
                put(Number::new(self.dns_code()).bytes())?;
                put(Number::new(name.0.len() as u64).bytes())?;
                put(name.0.as_bytes())?;
            }
        }
        let code = if matches!(self.transport, Transport::Tcp(_)) { TCP } else { UDP };
        put(Number::new(code).bytes())?;
        put(&self.transport.port().to_be_bytes())?;
        if let Some(peer) = self.peer {
            put(Number::new(P2P).bytes())?;
            put(Number::new(PeerId::LEN as u64).bytes())?;
            put(&peer.to_bytes())?;
        }
        Some(at)
    }

    const fn dns_code(&self) -> u64 {
        match self.host {
            Host::Dns4(_) => DNS4,
            Host::Dns6(_) => DNS6,
            _ => DNS,
        }
    }
}

impl fmt::Display for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "/ip4/{ip}")?,
            Host::Ip(IpAddr::V6(ip)) => write!(f, "/ip6/{ip}")?,
            Host::Dns(name) => write!(f, "/dns/{}", name.0)?,
            Host::Dns4(name) => write!(f, "/dns4/{}", name.0)?,
            Host::Dns6(name) => write!(f, "/dns6/{}", name.0)?,
        }
        match self.transport {
            Transport::Tcp(port) => write!(f, "/tcp/{port}")?,
            Transport::Udp(port) => write!(f, "/udp/{port}")?,
        }
        if let Some(peer) = self.peer {
            write!(f, "/p2p/{peer}")?;
        }
        Ok(())
    }
}

impl FromStr for Multiaddr {
    type Err = MultiaddrError;

    /// `/ipfs/` is read as the older name of `/p2p/`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.strip_prefix('/').ok_or(MultiaddrError::Host)?.split('/');
        let kind = parts.next().unwrap_or_default();
        let known = matches!(kind, "ip4" | "ip6" | "dns" | "dns4" | "dns6");
        let value = parts.next().filter(|_| known).ok_or(MultiaddrError::Host)?;
        let host = match kind {
            "ip4" => Host::Ip(value.parse::<Ipv4Addr>().map_err(|_| MultiaddrError::HostValue)?.into()),
            "ip6" => Host::Ip(value.parse::<Ipv6Addr>().map_err(|_| MultiaddrError::HostValue)?.into()),
            "dns4" => Host::Dns4(DnsName::new(value)?),
            "dns6" => Host::Dns6(DnsName::new(value)?),
            _ => Host::Dns(DnsName::new(value)?),
        };
        let transport = match parts.next() {
            Some("tcp") => Transport::Tcp(port(parts.next())?),
            Some("udp") => Transport::Udp(port(parts.next())?),
            _ => return Err(MultiaddrError::Transport),
        };
        let peer = match parts.next() {
            None => None,
            Some("p2p" | "ipfs") => {
                let id = parts.next().ok_or(MultiaddrError::Peer)?;
                Some(id.parse().map_err(|_| MultiaddrError::Peer)?)
            }
            Some(_) => return Err(MultiaddrError::Trailing),
        };
        if parts.next().is_some() {
            return Err(MultiaddrError::Trailing);
        }
        Ok(Self { host, transport, peer })
    }
}

fn port(text: Option<&str>) -> Result<u16, MultiaddrError> {
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(MultiaddrError::Port)
}

/// A varint by value, so that writing one needs no scratch at the caller.
struct Number([u8; 10], usize);

impl Number {
    fn new(value: u64) -> Self {
        let mut bytes = [0; 10];
        let len = varint::write(value, &mut bytes).unwrap_or(0);
        Self(bytes, len)
    }

    fn bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], MultiaddrError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(MultiaddrError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MultiaddrError> {
        self.take(N)?.try_into().map_err(|_| MultiaddrError::Truncated)
    }

    fn number(&mut self) -> Result<u64, MultiaddrError> {
        let (value, len) = varint::read(self.0).map_err(|_| MultiaddrError::Truncated)?;
        self.take(len)?;
        Ok(value)
    }

    fn sized(&mut self) -> Result<&'a [u8], MultiaddrError> {
        let len = usize::try_from(self.number()?).map_err(|_| MultiaddrError::Truncated)?;
        self.take(len)
    }

    fn name(&mut self) -> Result<DnsName, MultiaddrError> {
        let bytes = self.sized()?;
        DnsName::new(core::str::from_utf8(bytes).map_err(|_| MultiaddrError::HostValue)?)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn binary(address: &Multiaddr) -> Vec<u8> {
        let mut out = [0; MAX_BINARY];
        let n = address.write(&mut out).unwrap();
        out[..n].to_vec()
    }

    /// Binary forms as the multiaddr page's protocol table defines them; the first is its own example.
    #[test]
    fn published_forms() {
        let vectors: [(&str, &[u8]); 4] = [
            ("/ip4/127.0.0.1/udp/1234", &[4, 127, 0, 0, 1, 0x91, 2, 4, 0xd2]),
            ("/ip4/127.0.0.1/tcp/4321", &[4, 127, 0, 0, 1, 6, 0x10, 0xe1]),
            ("/dns4/a.b/tcp/1", &[0x36, 3, b'a', b'.', b'b', 6, 0, 1]),
            ("/ip6/::1/tcp/1", &[0x29, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 6, 0, 1]),
        ];
        for (text, bytes) in vectors {
            let address: Multiaddr = text.parse().unwrap();
            assert_eq!(binary(&address), bytes, "{text}");
            assert_eq!(Multiaddr::from_bytes(bytes), Ok(address.clone()));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn with_a_peer() {
        let mut id = [0; 39];
        id[..6].copy_from_slice(&[0, 0x25, 8, 2, 0x12, 0x21]);
        id[6] = 2;
        let id = PeerId::from_bytes(&id).unwrap();
        let text = format!("/dns/node.example/tcp/3610/p2p/{id}");
        let address: Multiaddr = text.parse().unwrap();
        assert_eq!(address.peer, Some(id));
        assert_eq!(address.to_string(), text);
        assert_eq!(Multiaddr::from_bytes(&binary(&address)), Ok(address.clone()));
        assert_eq!(text.replace("/p2p/", "/ipfs/").parse(), Ok(address));
    }

    #[test]
    fn refused_texts() {
        use MultiaddrError as E;
        let long = format!("/dns/{}/tcp/1", "x".repeat(256));
        let refused = [
            ("", E::Host),
            ("ip4/1.2.3.4/tcp/1", E::Host),
            ("/dnsaddr/a/tcp/1", E::Host),
            ("/ip4", E::Host),
            ("/ip4/1.2.3/tcp/1", E::HostValue),
            ("/ip6/fe80::1%eth0/tcp/1", E::HostValue),
            ("/dns//tcp/1", E::HostValue),
            (&long, E::HostValue),
            ("/ip4/1.2.3.4", E::Transport),
            ("/ip4/1.2.3.4/quic/1", E::Transport),
            ("/ip4/1.2.3.4/tcp", E::Port),
            ("/ip4/1.2.3.4/tcp/65536", E::Port),
            ("/ip4/1.2.3.4/tcp/+1", E::Port),
            ("/ip4/1.2.3.4/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", E::Peer),
            ("/ip4/1.2.3.4/tcp/1/ws", E::Trailing),
            ("/ip4/1.2.3.4/tcp/1/", E::Trailing),
        ];
        for (text, error) in refused {
            assert_eq!(text.parse::<Multiaddr>(), Err(error), "{text}");
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(1))]

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80), head in 0usize..6) {
            let mut all = [&[4u8][..], &[41], &[53, 3], &[54], &[55, 1], &[]][head].to_vec();
            all.extend(&bytes);
            if let Ok(address) = Multiaddr::from_bytes(&all) {
                prop_assert_eq!(binary(&address), all);
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }

        #[test]
        fn any_text(text in "(/(ip4|ip6|dns|tcp|udp|p2p)|/|[0-9a-f:.]{1,9}){0,8}") {
            if let Ok(address) = text.parse::<Multiaddr>() {
                prop_assert_eq!(Multiaddr::from_bytes(&binary(&address)), Ok(address));
            }
        }
    }
}
