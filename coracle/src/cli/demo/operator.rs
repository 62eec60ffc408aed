//! One operator of the demo: its directory, its sockets, its node.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use coracle::{
    data_dir::DataDir,
    database::Database,
    files,
    host::{self, DatabaseStore},
    key_file,
};
use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    id::PeerId,
    node::{ChannelView, Notice, Snapshot},
    record::{Addresses, Builder, Record},
};
use coracle_tokio::{BindError, Listen};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::{
    CliError,
    runtime::{Handle, Runtime, Sockets},
};

/// Something that an operator's node said.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) operator: usize,
    pub(super) notice: Notice,
}

pub(super) struct Operator {
    pub(super) name: String,
    index: usize,
    runtime: Runtime,
    pub(super) secret: SecretKey,
    /// The record in the cluster lock.
    pub(super) first_record: Record,
    pub(super) data_dir: DataDir,
    ip: Ipv4Addr,
    sockets: Option<Sockets>,
    listening: (String, String),
    handle: Option<Handle>,
    pub(super) last: Option<Snapshot>,
}

impl Operator {
    /// Makes the key and the record; the sockets are bound first, so that the record is true.
    pub(super) fn make(index: usize, runtime: Runtime, directory: &Path) -> Result<Self, CliError> {
        let data_dir = DataDir::new(directory.join(format!("operator-{}", index + 1)));
        let secret = key_file::create(&data_dir.key_file())?;
        let (ip, sockets) = bind(runtime, own_ip(index, 1))?;
        let identity = Identity::new(RustCrypto, secret.clone());
        let bound = sockets.bound();
        let addresses =
            Addresses { ip4: Some(ip), udp4: bound.udp4, tcp4: bound.tcp4, ..Addresses::default() };
        let first_record =
            Builder::new().set_addresses(&addresses).and_then(|builder| builder.sign(1, &identity)).map_err(
                |error| CliError::failed(format!("cannot make a record: {error}"), "report this as a bug"),
            )?;
        let mut operator = Self {
            name: format!("operator {}", index + 1),
            index,
            runtime,
            secret,
            first_record,
            data_dir,
            ip,
            sockets: None,
            listening: (String::new(), String::new()),
            handle: None,
            last: None,
        };
        operator.hold(sockets);
        Ok(operator)
    }

    pub(super) fn peer_id(&self) -> PeerId {
        self.first_record.peer_id()
    }

    /// Starts the node from its files, as `coracle run` does.
    pub(super) fn start(&mut self, to: mpsc::UnboundedSender<Told>) -> Result<(), CliError> {
        let path = self.data_dir.cluster_lock();
        let file = files::read_cluster_file(&path)?;
        let secret = key_file::load(&self.data_dir.key_file())?;
        let database = Database::open(&self.data_dir.database())?;
        let mut config =
            host::configure(secret, &file, &database).map_err(|error| CliError::host(&path, error))?;
        config.configured.ip4 = Some(self.ip);
        config.ping_interval = std::time::Duration::from_secs(1);
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => bind(self.runtime, self.ip)?.1,
        };
        let handle = sockets
            .start(config, DatabaseStore(database))
            .map_err(|error| CliError::failed(error, "report this as a bug"))?;
        let mut notices = handle.notices();
        let operator = self.index;
        tokio::spawn(async move {
            loop {
                match notices.recv().await {
                    Ok(notice) => drop(to.send(Told { operator, notice })),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        self.handle = Some(handle);
        Ok(())
    }

    /// Stops the node; its files stay.
    pub(super) async fn stop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.shutdown().await;
        }
    }

    /// Takes another address and other ports.
    pub(super) fn move_away(&mut self) -> Result<(), CliError> {
        let (ip, sockets) = bind(self.runtime, own_ip(self.index, 2))?;
        self.ip = ip;
        self.hold(sockets);
        Ok(())
    }

    /// Where it listens now: TCP, UDP.
    pub(super) fn listening(&self) -> (&str, &str) {
        (&self.listening.0, &self.listening.1)
    }

    /// Takes a fresh snapshot; a stopped node has none.
    pub(super) async fn look(&mut self) {
        self.last = match &self.handle {
            Some(handle) => handle.snapshot().await.ok(),
            None => None,
        };
    }

    /// The channel to the operator with this peer id, as of the last look.
    pub(super) fn channel_to(&self, peer: PeerId) -> Option<ChannelView> {
        let members = &self.last.as_ref()?.members;
        members.iter().find(|member| member.peer_id == peer)?.channel
    }

    /// Other operators with one channel (of two after a simultaneous dial, one is still to be given
    /// up) and a measured ping, as of the last look.
    pub(super) fn pairs(&self) -> usize {
        let members = self.last.iter().flat_map(|snapshot| &snapshot.members);
        let measured = |channel: ChannelView| channel.rtt.is_some();
        members.filter(|member| member.channels == 1 && member.channel.is_some_and(measured)).count()
    }

    fn hold(&mut self, sockets: Sockets) {
        let text =
            |addresses: Vec<SocketAddr>| addresses.first().map_or_else(String::new, SocketAddr::to_string);
        self.listening = (text(sockets.tcp_addresses()), text(sockets.udp_addresses()));
        self.sockets = Some(sockets);
    }
}

/// An address of the operator's own on loopback: 127.0.`place`.`operator`.
fn own_ip(index: usize, place: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, place, u8::try_from(index + 1).unwrap_or(u8::MAX))
}

/// Binds free ports of `ip`, or of 127.0.0.1 where the system has no other loopback address.
fn bind(runtime: Runtime, ip: Ipv4Addr) -> Result<(Ipv4Addr, Sockets), BindError> {
    let at = |ip: Ipv4Addr| {
        let any = SocketAddr::new(IpAddr::V4(ip), 0);
        Sockets::bind(runtime, Listen { tcp: vec![any], udp: vec![any] }).map(|sockets| (ip, sockets))
    };
    match at(ip) {
        Err(error) if error.source.kind() == io::ErrorKind::AddrNotAvailable => at(Ipv4Addr::LOCALHOST),
        other => other,
    }
}
