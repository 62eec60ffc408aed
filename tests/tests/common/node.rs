//! A whole node of ours over the adapter beside this module, and a log of what it told.

#![allow(dead_code)] // each test program uses another part of it

use std::{future::Future, net::SocketAddr, time::Duration};

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Identity, PublicKey, RustCrypto, SecretKey},
    id::PeerId,
    node::{Command, Config, Notice, Store},
    rng::Seed,
};

use coracle_native_crypto::NativeCrypto;

use super::adapter::{self, Handle, Listen, Notices, Sockets};

/// How long anything may take on a machine that is busy otherwise. Nothing is asserted about time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    adapter::timeout(DEADLINE, future).await.unwrap_or_else(|| panic!("no {what} in {DEADLINE:?}"))
}

pub(crate) fn secret(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32]).unwrap()
}

pub(crate) fn public_key(number: u8) -> PublicKey {
    *Identity::new(RustCrypto, secret(number)).public_key()
}

pub(crate) fn peer_id(number: u8) -> PeerId {
    PeerId::from_public_key(&public_key(number))
}

/// A configuration for the node with key and seed number `own`, in a cluster of `members`.
pub(crate) fn config(own: u8, members: &[u8]) -> Config {
    let members = members.iter().map(|number| MemberConfig::new(public_key(*number))).collect();
    let mut config = Config::new(secret(own), Seed::new([own; 32]), members);
    config.ping_interval = Duration::from_millis(50);
    config
}

/// TCP and UDP on ports of 127.0.0.1 that the system chooses.
pub(crate) fn loopback() -> Listen {
    let any = "127.0.0.1:0".parse().unwrap();
    Listen { tcp: vec![any], udp: vec![any] }
}

/// Which implementation a node uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cryptography {
    Rust,
    Native,
}

impl Cryptography {
    /// What `CORACLE_TEST_CRYPTO` says, `rust` or `native`, for all nodes. Without it nodes with an odd number are
    /// native, so that every test with two of them is one of a mixed cluster.
    pub(crate) fn of(number: u8) -> Self {
        match std::env::var("CORACLE_TEST_CRYPTO").as_deref() {
            Ok("native") => Self::Native,
            Ok("rust") => Self::Rust,
            Ok(other) => panic!("CORACLE_TEST_CRYPTO={other}: rust or native"),
            Err(_) if number % 2 == 1 => Self::Native,
            Err(_) => Self::Rust,
        }
    }
}

/// A running node of ours. Dropped, it shuts down.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    pub(crate) tcp: Vec<SocketAddr>,
    notices: Notices,
    /// What was told and not yet expected.
    log: Vec<Notice>,
}

impl Running {
    pub(crate) fn start<S: Store>(config: Config, listen: &Listen, store: S) -> Self {
        let sockets = Sockets::bind(listen).unwrap();
        let tcp = sockets.tcp_addresses().collect();
        let handle = match Cryptography::of(config.secret.expose()[0]) {
            Cryptography::Native => adapter::start_with(NativeCrypto::new(), sockets, config, store),
            Cryptography::Rust => adapter::start(sockets, config, store),
        };
        Self::of(handle.unwrap(), tcp)
    }

    /// A node that was started otherwise, and listens here.
    pub(crate) fn of(handle: Handle, tcp: Vec<SocketAddr>) -> Self {
        let notices = handle.notices();
        Self { handle, tcp, notices, log: Vec::new() }
    }

    /// Waits for a notice, earlier ones included. It counts once.
    pub(crate) async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&Notice) -> Option<T>) -> T {
        let mut checked = 0;
        let found = adapter::timeout(DEADLINE, async {
            loop {
                while let Some(notice) = self.log.get(checked) {
                    if let Some(found) = pick(notice) {
                        self.log.remove(checked);
                        return found;
                    }
                    checked += 1;
                }
                let notice = adapter::next(&mut self.notices).await.expect("no notice is missed");
                self.log.push(notice.expect("the node runs"));
            }
        })
        .await;
        let id = self.handle.peer_id();
        found.unwrap_or_else(|| panic!("node {id}: no {what}; told {:#?}", self.log))
    }

    /// Everything told that was not expected, up to now.
    pub(crate) fn told(&mut self) -> &[Notice] {
        while let Some(notice) = adapter::try_next(&mut self.notices) {
            self.log.push(notice);
        }
        &self.log
    }

    /// Forgets what was told up to now.
    pub(crate) fn forget(&mut self) {
        self.told();
        self.log.clear();
    }

    pub(crate) async fn channel_up(&mut self, with: PeerId) -> Up {
        self.expect("channel", |notice| match *notice {
            Notice::ChannelUp { peer, endpoint, origin, .. } if peer == with => Some(Up { endpoint, origin }),
            _ => None,
        })
        .await
    }

    pub(crate) async fn channel_down(&mut self) {
        self.expect("end of a channel", |notice| matches!(notice, Notice::ChannelDown { .. }).then_some(()))
            .await;
    }

    /// Waits for `count` answered pings.
    pub(crate) async fn pings(&mut self, with: PeerId, count: usize) {
        for _ in 0..count {
            self.expect("answered ping", |notice| match *notice {
                Notice::Ping { peer, .. } if peer == with => Some(()),
                _ => None,
            })
            .await;
        }
    }

    pub(crate) async fn request(&self, command: Command) {
        within("answer to a command", self.handle.request(command)).await.unwrap().unwrap();
    }
}

/// A channel that came up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Up {
    pub(crate) endpoint: SocketAddr,
    pub(crate) origin: coracle_core::cluster::Origin,
}
