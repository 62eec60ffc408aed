//! A cluster of two on loopback, and the parts of a host that have nothing to do with a runtime: for the
//! examples beside this directory.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::mpsc,
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

/// The time, since the host's start.
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.0.elapsed().as_nanos() as u64)
    }
}

/// Where a node's name goes once a ping of its was answered.
pub(crate) type Done = mpsc::Sender<String>;

/// Starts two nodes, each with sockets that do not block, and waits until both have had an answer.
pub(crate) fn two(
    start: impl Fn(Node, Clock, UdpSocket, TcpListener, Done) -> io::Result<()>,
) -> io::Result<()> {
    let sockets = [sockets()?, sockets()?];
    let at = [sockets[0].1.local_addr()?, sockets[1].1.local_addr()?];
    let (done, answered) = mpsc::channel();
    for (i, (udp, listener)) in sockets.into_iter().enumerate() {
        // Two keys; the cluster is whoever holds them. A real host reads its own from a file.
        let keys = [1, 2].map(|n| SecretKey::from_bytes(&[n; 32]).expect("a valid key"));
        let mut members: Vec<_> =
            keys.iter().map(|key| MemberConfig::new(RustCrypto.public_key(key))).collect();
        members[1 - i].hints.push(at[1 - i]);
        // A real host draws the seed from its system's generator, at each start.
        let seed = Seed::new([i as u8; 32]);
        let mut config = Config::new(keys[i].clone(), seed, members);
        config.configured = Configured { ip4: Some(Ipv4Addr::LOCALHOST), ..Configured::default() };
        let (udp4, tcp4) = (udp.local_addr()?.port(), at[i].port());
        config.bound = Bound { udp4: Some(udp4), tcp4: Some(tcp4), ..Bound::default() };
        config.ping_interval = Duration::from_millis(100);
        let clock = Clock(std::time::Instant::now());
        let node = Node::new(clock.now(), config).map_err(io::Error::other)?;
        start(node, clock, udp, listener, done.clone())?;
    }
    let mut names = BTreeSet::new();
    while names.len() < 2 {
        let name = answered.recv().map_err(io::Error::other)?;
        if !names.contains(&name) {
            println!("{name} has a channel and an answered ping");
            names.insert(name);
        }
    }
    Ok(())
}

fn sockets() -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    udp.set_nonblocking(true)?;
    listener.set_nonblocking(true)?;
    Ok((udp, listener))
}

/// Does what a node asks for beside sockets.
pub(crate) fn elsewhere(node: &mut Node, now: Instant, action: Action, done: &Done) {
    match action {
        // A real host writes to a disk, and answers when that is done.
        Action::Store { id, .. } => node.handle_event(now, Event::Stored(id)),
        // A real host asks its resolver.
        Action::Resolve { id, .. } => node.handle_event(now, Event::Resolved(id, &[])),
        Action::Notify(Notice::Ping { .. }) => drop(done.send(node.identity().peer_id().to_string())),
        // For the embedder: here nothing else is of interest, and no protocols are configured.
        _ => {}
    }
}
