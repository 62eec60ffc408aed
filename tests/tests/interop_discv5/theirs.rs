//! A node of the crate `discv5` (Sigma Prime), on a UDP socket that we bound.

use std::{net::SocketAddr, sync::Arc};

use coracle_core::{crypto::RustCrypto, id::NodeId, record::Record};
use discv5::{ConfigBuilder, Discv5, Enr, IpMode, ListenConfig, NodeContact};
use enr::CombinedKey;
use tokio::{net::UdpSocket, sync::mpsc};

use crate::{DEADLINE, TALK, reversed, within};

/// What their node told, as far as the tests ask for it.
#[derive(Debug)]
pub(crate) enum Told {
    Session(Enr, SocketAddr),
    Discovered(Enr),
    /// A TALKREQ and its protocol. In [`TALK`] it got its request reversed, in any other nothing.
    Talk {
        protocol: Vec<u8>,
        request: Vec<u8>,
    },
}

/// A node of theirs that runs until it is dropped.
pub(crate) struct Theirs {
    pub(crate) discv5: Discv5,
    pub(crate) endpoint: SocketAddr,
    pub(crate) id: NodeId,
    number: u8,
    socket: Arc<UdpSocket>,
    told: mpsc::UnboundedReceiver<Told>,
    log: Vec<Told>,
}

impl Theirs {
    /// A node with key number `number` (1 to 254) on 127.0.0.1.
    pub(crate) async fn start(number: u8) -> Self {
        Self::start_at(number, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(number: u8, address: SocketAddr) -> Self {
        let socket = Arc::new(UdpSocket::bind(address).await.unwrap());
        let endpoint = socket.local_addr().unwrap();
        let enr = enr(number, 1, endpoint);
        Self::run(number, socket, enr).await
    }

    async fn run(number: u8, socket: Arc<UdpSocket>, enr: Enr) -> Self {
        let endpoint = socket.local_addr().unwrap();
        let (ipv4, ipv6) = if endpoint.is_ipv4() { (Some(&socket), None) } else { (None, Some(&socket)) };
        let listen = ListenConfig::FromSockets { ipv4: ipv4.cloned(), ipv6: ipv6.cloned() };
        // Its own record changes only when a test says so.
        let config = ConfigBuilder::new(listen).disable_enr_update().build();
        let id = NodeId(enr.node_id().raw());
        let mut discv5 = Discv5::new(enr, key(number), config).unwrap();
        discv5.start().await.unwrap();
        let events = discv5.event_stream().await.unwrap();
        let (out, told) = mpsc::unbounded_channel();
        tokio::spawn(listen_to(events, out));
        Self { discv5, endpoint, id, number, socket, told, log: Vec::new() }
    }

    /// The same key and record on the same socket, with everything else forgotten.
    pub(crate) async fn restart(self) -> Self {
        let Self { mut discv5, number, socket, .. } = self;
        let enr = discv5.local_enr();
        discv5.shutdown();
        drop(discv5);
        // It tells nobody when its tasks have let go of the socket.
        within("end of the old node", async {
            while Arc::strong_count(&socket) > 1 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Self::run(number, socket, enr).await
    }

    /// The same key with its next record on another socket, with everything else forgotten.
    pub(crate) async fn start_elsewhere(self) -> Self {
        let Self { discv5, number, endpoint, .. } = self;
        let seq = discv5.local_enr().seq() + 1;
        // The old socket stays bound until its tasks have ended, so the port is another one.
        let socket = Arc::new(UdpSocket::bind(SocketAddr::new(endpoint.ip(), 0)).await.unwrap());
        let enr = enr(number, seq, socket.local_addr().unwrap());
        drop(discv5);
        Self::run(number, socket, enr).await
    }

    pub(crate) fn enr(&self) -> Enr {
        self.discv5.local_enr()
    }

    /// Its record as our type.
    pub(crate) fn record(&self) -> Record {
        ours(&self.enr())
    }

    /// Waits for something to be told, what was told earlier included. It counts once.
    pub(crate) async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&Told) -> Option<T>) -> T {
        let mut checked = 0;
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                while let Some(told) = self.log.get(checked) {
                    if let Some(found) = pick(told) {
                        self.log.remove(checked);
                        return found;
                    }
                    checked += 1;
                }
                self.log.push(self.told.recv().await.unwrap());
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("their node {}: no {what}; told {:#?}", self.number, self.log))
    }

    /// PINGs `enr` and returns the PONG's sequence number and our endpoint in it.
    pub(crate) async fn ping(&self, enr: Enr) -> (u64, SocketAddr) {
        let pong = within("PONG", self.discv5.send_ping(enr)).await.unwrap();
        (pong.enr_seq, SocketAddr::new(pong.ip, pong.port))
    }

    /// FINDNODE to one node: the records as text, sorted.
    pub(crate) async fn find_node(&self, at: Enr, distances: Vec<u64>) -> Vec<String> {
        let found = within("NODES", self.discv5.find_node_designated_peer(at, distances)).await.unwrap();
        let mut found: Vec<_> = found.iter().map(Enr::to_base64).collect();
        found.sort();
        found
    }

    /// Looks `target` up and returns its record if it was among the nearest.
    pub(crate) async fn look_up(&self, target: NodeId) -> Option<Enr> {
        let target = enr::NodeId::new(&target.0);
        let found = within("end of their lookup", self.discv5.find_node(target)).await.unwrap();
        found.into_iter().find(|enr| enr.node_id() == target)
    }

    /// Looks `target` up and returns whom it came upon: ids and sequence numbers.
    pub(crate) async fn look_around(&self, target: NodeId) -> Vec<(NodeId, u64)> {
        let found = self.discv5.find_node(enr::NodeId::new(&target.0)).await.unwrap();
        found.iter().map(|enr| (NodeId(enr.node_id().raw()), enr.seq())).collect()
    }

    /// TALKREQ.
    pub(crate) async fn talk(&self, to: Enr, protocol: &[u8], request: &[u8]) -> Vec<u8> {
        let contact = NodeContact::try_from_enr(to, IpMode::Ip4).unwrap();
        within("TALKRESP", self.discv5.talk_req(contact, protocol.to_vec(), request.to_vec())).await.unwrap()
    }
}

/// The record of the node with key number `number` at `endpoint`, which need not run.
pub(crate) fn enr(number: u8, seq: u64, endpoint: SocketAddr) -> Enr {
    let mut builder = Enr::builder();
    builder.seq(seq);
    match endpoint {
        SocketAddr::V4(v4) => builder.ip4(*v4.ip()).udp4(v4.port()),
        SocketAddr::V6(v6) => builder.ip6(*v6.ip()).udp6(v6.port()),
    };
    builder.build(&key(number)).unwrap()
}

/// A record of theirs as our type.
pub(crate) fn ours(enr: &Enr) -> Record {
    Record::from_text(&enr.to_base64(), &RustCrypto).unwrap()
}

fn key(number: u8) -> CombinedKey {
    CombinedKey::secp256k1_from_bytes(&mut [number; 32]).unwrap()
}

async fn listen_to(mut events: mpsc::Receiver<discv5::Event>, out: mpsc::UnboundedSender<Told>) {
    while let Some(event) = events.recv().await {
        let told = match event {
            discv5::Event::SessionEstablished(enr, socket) => Told::Session(enr, socket),
            discv5::Event::Discovered(enr) => Told::Discovered(enr),
            discv5::Event::TalkRequest(request) => {
                let told =
                    Told::Talk { protocol: request.protocol().to_vec(), request: request.body().to_vec() };
                // Dropped, it answers with nothing, as for an unknown protocol.
                if request.protocol() == TALK {
                    let response = reversed(request.body());
                    request.respond(response).unwrap();
                }
                told
            }
            _ => continue,
        };
        let _ = out.send(told);
    }
}
