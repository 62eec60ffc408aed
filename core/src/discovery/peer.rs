//! Whom a session is with: a node id at an endpoint.

use core::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::id::NodeId;

/// A node id at a canonical endpoint: what sessions, challenges and requests are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node id.
    pub id: NodeId,
    /// The endpoint, canonical (see [`canonical`]).
    pub endpoint: SocketAddr,
}

impl Hash for Peer {
    /// In one piece of whole words, without what the types add: every packet is looked up by it. What an IPv4
    /// endpoint gives is shorter than what an IPv6 one does, so no two peers give the same.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 56];
        bytes[..32].copy_from_slice(&self.id.0);
        bytes[32..34].copy_from_slice(&self.endpoint.port().to_be_bytes());
        let len = match self.endpoint {
            SocketAddr::V4(v4) => {
                bytes[36..40].copy_from_slice(&v4.ip().octets());
                40
            }
            SocketAddr::V6(v6) => {
                bytes[36..40].copy_from_slice(&v6.scope_id().to_be_bytes());
                bytes[40..].copy_from_slice(&v6.ip().octets());
                56
            }
        };
        state.write(&bytes[..len]);
    }
}

/// The one form of an endpoint: an IPv4-mapped IPv6 address becomes IPv4, the flow label goes.
pub fn canonical(endpoint: SocketAddr) -> SocketAddr {
    match endpoint.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, endpoint.port()),
        IpAddr::V6(_) => {
            let mut endpoint = endpoint;
            if let SocketAddr::V6(v6) = &mut endpoint {
                v6.set_flowinfo(0);
            }
            endpoint
        }
    }
}

/// How far an address reaches. A record is relayed only to requesters at least as near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// This host.
    Loopback,
    /// A private network or a link.
    Private,
    /// The Internet.
    Global,
}

impl Scope {
    /// The scope of an address; `None` for those that name no single host (unspecified, multicast,
    /// broadcast, documentation).
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) if ip.is_unspecified() || ip.is_multicast() => None,
            IpAddr::V6(ip) if ip.is_loopback() => Some(Self::Loopback),
            IpAddr::V6(ip) => {
                let [first, second, ..] = ip.segments();
                match first {
                    _ if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 => Some(Self::Private),
                    0x2001 if second == 0x0db8 => None,
                    _ => Some(Self::Global),
                }
            }
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Option<Self> {
        let [a, b, ..] = ip.octets();
        if a == 0 || a >= 224 || ip.is_documentation() {
            return None;
        }
        Some(match (a, b) {
            (127, _) => Self::Loopback,
            (10, _) | (172, 16..=31) | (192, 168) | (169, 254) | (100, 64..=127) => Self::Private,
            _ => Self::Global,
        })
    }

    /// Whether an address of this scope may be told to (or believed from) somebody at `other`.
    pub fn shared_with(self, other: IpAddr) -> bool {
        Self::of(other).is_some_and(|other| other <= self)
    }
}

/// A range of addresses: those that agree with one in its first bits.
///
/// ```
/// # use coracle_core::discovery::IpRange;
/// let range = IpRange::new("10.1.0.0".parse().unwrap(), 16).unwrap();
/// assert!(range.contains("10.1.2.3".parse().unwrap()));
/// assert!(!range.contains("10.2.0.1".parse().unwrap()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    ip: IpAddr,
    bits: u8,
}

impl IpRange {
    /// The addresses that agree with `ip` in the first `bits` bits; `None` when an address of its
    /// family does not have as many.
    pub const fn new(ip: IpAddr, bits: u8) -> Option<Self> {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if bits > most { None } else { Some(Self { ip, bits }) }
    }

    /// Whether `ip` is one of them. An IPv4-mapped address counts as the IPv4 address that it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let apart = u32::from(own) ^ u32::from(ip);
                apart.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let apart = u128::from(own) ^ u128::from(ip);
                apart.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// A prefix by which nodes of one owner are recognised.
#[cfg(feature = "alloc")]
pub(super) type Prefix = [u8; 7];

/// The prefix of an address: /24 for IPv4, /48 for IPv6.
#[cfg(feature = "alloc")]
pub(super) fn prefix(ip: IpAddr) -> Prefix {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [4, a, b, c, 0, 0, 0]
        }
        IpAddr::V6(ip) => {
            let o = ip.octets();
            [6, o[0], o[1], o[2], o[3], o[4], o[5]]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(canonical("[::ffff:1.2.3.4]:5".parse().unwrap()), "1.2.3.4:5".parse().unwrap());
        assert_eq!(canonical("[fe80::1%3]:5".parse().unwrap()), "[fe80::1%3]:5".parse().unwrap());
    }

    #[test]
    fn ranges() {
        let range = |ip: &str, bits| IpRange::new(ip.parse().unwrap(), bits);
        let holds = |range: Option<IpRange>, ip: &str| range.unwrap().contains(ip.parse().unwrap());
        assert!(range("1.2.3.4", 33).is_none() && range("::1", 129).is_none());
        assert!(holds(range("0.0.0.0", 0), "255.1.1.1") && !holds(range("0.0.0.0", 0), "::1"));
        assert!(holds(range("1.2.3.4", 32), "::ffff:1.2.3.4") && !holds(range("1.2.3.4", 32), "1.2.3.5"));
        assert!(holds(range("2a00:1::", 32), "2a00:1:ff::1") && !holds(range("2a00:1::", 32), "2a00:2::"));
    }

    #[test]
    fn scopes() {
        let scope = |text: &str| Scope::of(text.parse().unwrap());
        assert_eq!(scope("127.0.0.9"), Some(Scope::Loopback));
        assert_eq!(scope("::1"), Some(Scope::Loopback));
        assert_eq!(scope("::ffff:127.0.0.1"), Some(Scope::Loopback));
        for private in
            ["10.1.1.1", "172.31.0.1", "192.168.3.4", "169.254.1.1", "100.64.0.1", "fd00::1", "fe80::1"]
        {
            assert_eq!(scope(private), Some(Scope::Private), "{private}");
        }
        for nobody in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1", "::", "ff02::1", "2001:db8::1"]
        {
            assert_eq!(scope(nobody), None, "{nobody}");
        }
        assert_eq!(scope("172.32.0.1"), Some(Scope::Global));
        let (loopback, private, global) =
            ("127.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap(), "8.8.8.8".parse().unwrap());
        assert!(Scope::Loopback.shared_with(loopback) && !Scope::Loopback.shared_with(private));
        assert!(Scope::Private.shared_with(loopback) && Scope::Private.shared_with(private));
        assert!(!Scope::Private.shared_with(global) && Scope::Global.shared_with(global));
    }
}
