//! A cluster of two on loopback, for the examples beside this directory.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, RustCrypto, SecretKey},
    node::Config,
    refresh::{Bound, Configured},
    rng::Seed,
};

/// The configuration of node `i` (0 or 1), whose UDP and TCP sockets are bound to these ports; the other node's
/// TCP socket is at `other`.
pub(crate) fn config(i: usize, udp: u16, tcp: u16, other: SocketAddr) -> Config {
    // Two keys; the cluster is whoever holds them. A real host reads its own from a file.
    let keys = [1, 2].map(|n| SecretKey::from_bytes(&[n; 32]).expect("a valid key"));
    let mut members = keys.each_ref().map(|key| MemberConfig::new(RustCrypto.public_key(key)));
    members[1 - i].hints.push(other);
    let [first, second] = keys;
    // A real host draws the seed from its system's generator, at each start.
    let seed = Seed::new([i as u8; 32]);
    let mut config = Config::new(if i == 0 { first } else { second }, seed, members.into());
    config.bound = Bound { udp4: Some(udp), tcp4: Some(tcp), ..Bound::default() };
    config.configured = Configured { ip4: Some(Ipv4Addr::LOCALHOST), ..Configured::default() };
    config.ping_interval = Duration::from_millis(100);
    config
}
