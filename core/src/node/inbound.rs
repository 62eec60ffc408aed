//! Places for accepted connections that have not authenticated: few in all, fewer a source, and some
//! that only members' known addresses can have, so that a flood from elsewhere locks no member out.

use core::net::{IpAddr, Ipv6Addr};

use super::{Node, conns::Conn};
use crate::{
    crypto::Crypto,
    limits::{MAX_PENDING_INBOUND, MAX_PENDING_PER_MEMBER, MAX_PENDING_PER_SOURCE},
};

/// A place that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Of those kept for members' known addresses.
    Reserved,
    /// Of those for everybody.
    Open,
}

impl<C: Crypto> Node<C> {
    /// The place that a connection from this address gets; `None`: it is turned away.
    pub(super) fn place_for(&self, from: IpAddr) -> Option<Place> {
        let source = source(from);
        let pending = |reserved: bool, is: &dyn Fn(&Conn) -> bool| {
            let of_kind = |conn: &&Conn| conn.is_pending_inbound() && conn.reserved == reserved;
            self.conns.iter().filter(of_kind).filter(|conn| is(conn)).count()
        };
        let from_there = |conn: &Conn| self::source(conn.remote.ip()) == source;
        let is_there = |address: IpAddr| self::source(address) == source;
        let members = self.cluster.members();
        let known = members.filter(|(_, m)| m.endpoints().any(|e| is_there(e.address.ip()))).count();
        let most = (self.cluster.room().saturating_sub(1)) * MAX_PENDING_PER_MEMBER;
        if pending(true, &from_there) < known * MAX_PENDING_PER_MEMBER && pending(true, &|_| true) < most {
            return Some(Place::Reserved);
        }
        let room = pending(false, &from_there) < MAX_PENDING_PER_SOURCE
            && pending(false, &|_| true) < MAX_PENDING_INBOUND;
        room.then_some(Place::Open)
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 /64, of which one host has all addresses.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}
