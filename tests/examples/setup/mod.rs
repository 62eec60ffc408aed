//! A cluster of two on loopback, and the parts of a host that have nothing to do with a runtime: for the
//! examples beside this directory.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    time::Duration,
};

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, RustCrypto, SecretKey},
    node::{Action, Config, Event, Node, Notice},
    refresh::{Bound, Configured},
    rng::Seed,
    time::Instant,
};

/// Two nodes: the configuration of each, and its sockets, which do not block.
pub(crate) fn two() -> io::Result<[(Config, UdpSocket, TcpListener); 2]> {
    let (first, second) = (sockets()?, sockets()?);
    let other = [second.1.local_addr()?, first.1.local_addr()?];
    let mut nodes = [(0, first), (1, second)].map(|(i, (udp, listener))| {
        // Two keys; the cluster is whoever holds them. A real host reads its own from a file.
        let mut keys = [1, 2].map(|n| SecretKey::from_bytes(&[n; 32]).expect("a valid key")).into_iter();
        let mut members: Vec<_> =
            keys.clone().map(|key| MemberConfig::new(RustCrypto.public_key(&key))).collect();
        members[1 - i].hints.push(other[i]);
        // A real host draws the seed from its system's generator, at each start.
        let seed = Seed::new([i as u8; 32]);
        let mut config = Config::new(keys.nth(i).expect("two keys"), seed, members);
        config.configured = Configured { ip4: Some(Ipv4Addr::LOCALHOST), ..Configured::default() };
        config.ping_interval = Duration::from_millis(100);
        (config, udp, listener)
    });
    for (config, udp, listener) in &mut nodes {
        let (udp4, tcp4) = (udp.local_addr()?.port(), listener.local_addr()?.port());
        config.bound = Bound { udp4: Some(udp4), tcp4: Some(tcp4), ..Bound::default() };
    }
    Ok(nodes)
}

fn sockets() -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    udp.set_nonblocking(true)?;
    listener.set_nonblocking(true)?;
    Ok((udp, listener))
}

/// Does what a node asks for beside sockets. Whether it told of an answered ping.
pub(crate) fn elsewhere(node: &mut Node, now: Instant, action: Action) -> bool {
    match action {
        // A real host writes to a disk, and answers when that is done.
        Action::Store { id, .. } => node.handle_event(now, Event::Stored(id)),
        // A real host asks its resolver.
        Action::Resolve { id, .. } => node.handle_event(now, Event::Resolved(id, &[])),
        // For the embedder: here only pings are of interest, and no protocols are configured.
        other => return matches!(other, Action::Notify(Notice::Ping { .. })),
    }
    false
}
