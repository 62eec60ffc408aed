//! A host of the crate `libp2p`: TCP, Noise, yamux, ping, identify, two protocols of requests and
//! responses, and a secp256k1 identity.

use std::{io, iter, net::SocketAddr, time::Duration};

use coracle_core::id::PeerId;
use futures::{StreamExt as _, future};
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder,
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    identify,
    identity::{Keypair, secp256k1},
    multiaddr::Protocol,
    noise, ping,
    request_response::{self, Message, ProtocolSupport},
    swarm::{NetworkBehaviour, StreamProtocol, SwarmEvent},
    tcp, yamux,
};
use tokio::sync::mpsc;

use crate::{
    frames::Frames,
    node::{DEADLINE, within},
};

/// What their hosts say they are.
pub(crate) const AGENT: &str = "somebody/7.8.9";
/// Both sides speak it: the response is the request.
pub(crate) const ECHO: &str = "/test/echo/1.0.0";
pub(crate) const PEER_INFO: &str = "/charon/peerinfo/2.0.0";
/// For what they ask and are asked; more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    echo: request_response::Behaviour<Frames>,
    peer_info: request_response::Behaviour<Frames>,
}

impl Behaviour {
    fn new(key: &Keypair) -> Self {
        let requests = |name| {
            let protocol = (StreamProtocol::new(name), ProtocolSupport::Full);
            let config = request_response::Config::default();
            let config = config.with_request_timeout(PATIENCE).with_max_concurrent_streams(200);
            request_response::Behaviour::new([protocol], config)
        };
        let identify = identify::Config::new("/test/1.0.0".into(), key.public());
        Self {
            ping: ping::Behaviour::new(fast_ping()),
            identify: identify::Behaviour::new(identify.with_agent_version(AGENT.into())),
            echo: requests(ECHO),
            peer_info: requests(PEER_INFO),
        }
    }
}

/// What their host told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Up {
        peer: libp2p::PeerId,
        dialled: bool,
    },
    Down {
        peer: libp2p::PeerId,
        remaining: u32,
        cause: Option<String>,
    },
    Ping {
        peer: libp2p::PeerId,
        ok: bool,
    },
    DialFailed(String),
    InboundFailed(String),
    Identified {
        agent: String,
        protocols: Vec<String>,
        observed: Multiaddr,
    },
    /// They were asked in the peerinfo protocol.
    AskedForInfo(Vec<u8>),
    Answered(Vec<u8>),
    NotAnswered(String),
}

enum Order {
    Ask(libp2p::PeerId, &'static str, Vec<u8>),
    Dial(SocketAddr),
    Disconnect(libp2p::PeerId),
}

/// A host of theirs that runs until it is dropped.
pub(crate) struct Theirs {
    pub(crate) peer: PeerId,
    pub(crate) tcp: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    incoming: mpsc::UnboundedReceiver<Told>,
    /// What was told and not yet expected.
    log: Vec<Told>,
}

impl Theirs {
    /// A host with the secp256k1 key number `number`.
    pub(crate) async fn start(number: u8) -> Self {
        let builder = SwarmBuilder::with_existing_identity(key(number)).with_tokio();
        let swarm = builder
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(Behaviour::new)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
            .build();
        Self::run(number, swarm).await
    }

    /// The same, but its dials propose `/tls/1.0.0` first, as Charon's do.
    pub(crate) async fn start_with_tls_first(number: u8) -> Self {
        let builder = SwarmBuilder::with_existing_identity(key(number)).with_tokio();
        let tls = |_: &Keypair| Ok::<_, io::Error>(NameOfTls);
        let swarm = builder
            .with_tcp(tcp::Config::default(), (tls, noise::Config::new), yamux::Config::default)
            .unwrap()
            .with_behaviour(Behaviour::new)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
            .build();
        Self::run(number, swarm).await
    }

    async fn run(number: u8, mut swarm: Swarm<Behaviour>) -> Self {
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let tcp = within("listen address", async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return socket_address(&address);
                }
            }
        })
        .await;
        let peer = crate::node::peer_id(number);
        assert_eq!(swarm.local_peer_id().to_base58(), peer.to_string(), "one key, one peer id");
        let (orders, queue) = mpsc::unbounded_channel();
        let (out, incoming) = mpsc::unbounded_channel();
        tokio::spawn(drive(swarm, queue, out));
        Self { peer, tcp, orders, incoming, log: Vec::new() }
    }

    pub(crate) fn dial(&self, to: SocketAddr) {
        assert!(self.orders.send(Order::Dial(to)).is_ok());
    }

    pub(crate) fn disconnect(&self, peer: PeerId) {
        assert!(self.orders.send(Order::Disconnect(theirs(peer))).is_ok());
    }

    pub(crate) fn ask(&self, peer: PeerId, protocol: &'static str, request: Vec<u8>) {
        assert!(self.orders.send(Order::Ask(theirs(peer), protocol, request)).is_ok());
    }

    /// Waits for the next answer, whichever question it is to.
    pub(crate) async fn answer(&mut self) -> Vec<u8> {
        self.expect_within(PATIENCE, "answer", |told| match told {
            Told::Answered(answer) => Some(answer.clone()),
            Told::NotAnswered(why) => panic!("{why}"),
            _ => None,
        })
        .await
    }

    /// Waits for something to be told, what was told earlier included. It counts once.
    pub(crate) async fn expect<T>(&mut self, what: &str, pick: impl FnMut(&Told) -> Option<T>) -> T {
        self.expect_within(DEADLINE, what, pick).await
    }

    async fn expect_within<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut pick: impl FnMut(&Told) -> Option<T>,
    ) -> T {
        let mut checked = 0;
        let found = tokio::time::timeout(limit, async {
            loop {
                while let Some(told) = self.log.get(checked) {
                    if let Some(found) = pick(told) {
                        self.log.remove(checked);
                        return found;
                    }
                    checked += 1;
                }
                self.log.push(self.incoming.recv().await.unwrap());
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("their host {}: no {what}; told {:#?}", self.peer, self.log))
    }

    /// Everything told that was not expected, up to now.
    pub(crate) fn told(&mut self) -> &[Told] {
        while let Ok(told) = self.incoming.try_recv() {
            self.log.push(told);
        }
        &self.log
    }

    /// Waits for a connection; tells whether they dialled it.
    pub(crate) async fn up(&mut self, with: PeerId) -> bool {
        let with = theirs(with);
        self.expect("connection", |told| match told {
            Told::Up { peer, dialled } if *peer == with => Some(*dialled),
            _ => None,
        })
        .await
    }

    /// Waits for `count` answered pings.
    pub(crate) async fn pings(&mut self, with: PeerId, count: usize) {
        let expected = Told::Ping { peer: theirs(with), ok: true };
        for _ in 0..count {
            self.expect("answered ping", |told| (*told == expected).then_some(())).await;
        }
    }
}

fn fast_ping() -> ping::Config {
    ping::Config::new().with_interval(Duration::from_millis(50))
}

fn key(number: u8) -> Keypair {
    secp256k1::Keypair::from(secp256k1::SecretKey::try_from_bytes([number; 32]).unwrap()).into()
}

/// A peer id of ours as their type.
pub(crate) fn theirs(peer: PeerId) -> libp2p::PeerId {
    libp2p::PeerId::from_bytes(&peer.to_bytes()).unwrap()
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

fn socket_address(address: &Multiaddr) -> SocketAddr {
    let mut parts = address.iter();
    match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) => (ip, port).into(),
        _ => panic!("not a TCP address: {address}"),
    }
}

async fn drive(
    mut swarm: Swarm<Behaviour>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    out: mpsc::UnboundedSender<Told>,
) {
    loop {
        let told = tokio::select! {
            order = orders.recv() => {
                match order {
                    Some(Order::Dial(to)) => swarm.dial(multiaddr(to)).unwrap(),
                    Some(Order::Ask(peer, ECHO, request)) => {
                        swarm.behaviour_mut().echo.send_request(&peer, request);
                    }
                    Some(Order::Ask(peer, _, request)) => {
                        swarm.behaviour_mut().peer_info.send_request(&peer, request);
                    }
                    Some(Order::Disconnect(peer)) => swarm.disconnect_peer_id(peer).unwrap(),
                    None => return,
                }
                continue;
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                    Told::Up { peer: peer_id, dialled: endpoint.is_dialer() }
                }
                SwarmEvent::ConnectionClosed { peer_id, num_established, cause, .. } => Told::Down {
                    peer: peer_id,
                    remaining: num_established,
                    cause: cause.map(|cause| cause.to_string()),
                },
                SwarmEvent::Behaviour(event) => match heard(swarm.behaviour_mut(), event) {
                    Some(told) => told,
                    None => continue,
                },
                SwarmEvent::OutgoingConnectionError { error, .. } => Told::DialFailed(error.to_string()),
                SwarmEvent::IncomingConnectionError { error, .. } => Told::InboundFailed(error.to_string()),
                _ => continue,
            },
        };
        let _ = out.send(told);
    }
}

/// What one of their protocols has to tell; requests are answered.
fn heard(behaviour: &mut Behaviour, event: BehaviourEvent) -> Option<Told> {
    match event {
        BehaviourEvent::Ping(event) => Some(Told::Ping { peer: event.peer, ok: event.result.is_ok() }),
        BehaviourEvent::Identify(identify::Event::Received { info, .. }) => Some(Told::Identified {
            agent: info.agent_version,
            protocols: info.protocols.iter().map(ToString::to_string).collect(),
            observed: info.observed_addr,
        }),
        BehaviourEvent::Identify(_) => None,
        BehaviourEvent::Echo(event) => answered(event, |request, channel| {
            let _ = behaviour.echo.send_response(channel, request);
            None
        }),
        BehaviourEvent::PeerInfo(event) => answered(event, |request, channel| {
            let _ = behaviour.peer_info.send_response(channel, crate::services::their_info());
            Some(Told::AskedForInfo(request))
        }),
    }
}

type Exchange = request_response::Event<Vec<u8>, Vec<u8>>;

fn answered(
    event: Exchange,
    answer: impl FnOnce(Vec<u8>, request_response::ResponseChannel<Vec<u8>>) -> Option<Told>,
) -> Option<Told> {
    match event {
        Exchange::Message { message: Message::Request { request, channel, .. }, .. } => {
            answer(request, channel)
        }
        Exchange::Message { message: Message::Response { response, .. }, .. } => {
            Some(Told::Answered(response))
        }
        Exchange::OutboundFailure { error, .. } => Some(Told::NotAnswered(error.to_string())),
        Exchange::InboundFailure { .. } | Exchange::ResponseSent { .. } => None,
    }
}

/// Nothing but the name of libp2p's TLS: enough to propose it.
#[derive(Clone, Copy)]
struct NameOfTls;

impl UpgradeInfo for NameOfTls {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/tls/1.0.0")
    }
}

type Unsupported<C> = future::Ready<Result<(libp2p::PeerId, C), io::Error>>;

impl<C> InboundConnectionUpgrade<C> for NameOfTls {
    type Output = (libp2p::PeerId, C);
    type Error = io::Error;
    type Future = Unsupported<C>;

    fn upgrade_inbound(self, _: C, _: &'static str) -> Unsupported<C> {
        future::err(io::ErrorKind::Unsupported.into())
    }
}

impl<C> OutboundConnectionUpgrade<C> for NameOfTls {
    type Output = (libp2p::PeerId, C);
    type Error = io::Error;
    type Future = Unsupported<C>;

    fn upgrade_outbound(self, _: C, _: &'static str) -> Unsupported<C> {
        future::err(io::ErrorKind::Unsupported.into())
    }
}
