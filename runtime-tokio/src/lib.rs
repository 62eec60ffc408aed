//! Drives a Coracle [`Node`] over tokio: sockets, timers, storage.
//!
//! This crate holds no protocol decision. It binds, reads, hands over, polls, writes and sleeps;
//! what it does with a packet or a connection is whatever the node's next action says.
//!
//! ```no_run
//! use coracle_core::{crypto::SecretKey, node::{Config, Notice}, rng::Seed};
//! use coracle_tokio::{Listen, NoStore, Sockets};
//! use tokio::sync::broadcast::error::RecvError;
//!
//! # async fn run(config: Config) -> Result<(), coracle_tokio::StartError> {
//! let listen = Listen { tcp: vec!["0.0.0.0:3610".parse().unwrap()], udp: vec!["0.0.0.0:3630".parse().unwrap()] };
//! let sockets = Sockets::bind(&listen)?;
//! let node = coracle_tokio::start(sockets, config, NoStore)?;
//! let mut notices = node.notices();
//! loop {
//!     match notices.recv().await {
//!         Ok(Notice::ChannelUp { peer, endpoint, origin, .. }) => {
//!             println!("{peer} at {endpoint}, known from {origin}");
//!         }
//!         Ok(_) => {}
//!         Err(RecvError::Lagged(missed)) => println!("{missed} notices were missed"),
//!         Err(RecvError::Closed) => break, // the node has stopped
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Streams to members go through the same handle, once the configuration names protocols for them:
//!
//! ```no_run
//! use coracle_core::{id::PeerId, node::ProtocolId};
//! use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!
//! // `config.protocols = vec!["/example/time/1.0.0".into()]`: the positions are the protocols' numbers.
//! const TIME: ProtocolId = ProtocolId(0);
//!
//! async fn ask(node: &coracle_tokio::Handle, member: PeerId) -> Result<String, Box<dyn std::error::Error>> {
//!     let mut stream = node.open(member, TIME).await?;
//!     stream.write_all(b"now?").await?;
//!     stream.shutdown().await?; // we send no more; the answer still comes
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer).await?;
//!     Ok(answer)
//! }
//!
//! async fn answer(node: &coracle_tokio::Handle) -> std::io::Result<()> {
//!     let Some(mut incoming) = node.incoming() else { return Ok(()) };
//!     while let Some(mut stream) = incoming.accept().await {
//!         let mut question = String::new();
//!         stream.read_to_string(&mut question).await?;
//!         stream.write_all(b"noon").await?;
//!         stream.shutdown().await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Foreign types in the interface
//!
//! Those of `coracle-core`; of tokio `sync::broadcast::Receiver` ([`Handle::notices`]) and the traits
//! `AsyncRead` and `AsyncWrite` ([`PeerStream`]).
//!
//! # Files
//!
//! In the order in which a packet meets them: `sockets` (bind, interfaces), `driver` (the
//! loop), `stream` (one TCP connection), `driver/streams` and `peer_stream` (the streams inside it),
//! `storage` (the store's thread), `handle` (what the embedder holds). The node stands in a
//! [`Tapped`](recording::Tapped), which writes down what it is told and does, if [`start_recorded`] asks for it.

mod driver;
mod exchange;
mod handle;
mod log;
mod peer_stream;
mod sockets;
mod storage;
mod stream;

pub use coracle_recording as recording;
pub use exchange::{AskError, Limits};
pub use handle::{Handle, Stopped};
pub use peer_stream::{Gone, Incoming, OpenError, PeerStream};
pub use sockets::{BindError, Listen, Sockets};
pub use storage::NoStore;

use coracle_core::{
    crypto::{Crypto, RustCrypto},
    node::{Config, ConfigError, Node, Store},
};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The node's configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The storage thread could not be started.
    #[error("cannot start the storage thread: {0}")]
    Thread(std::io::Error),
}

/// Starts a node on the current tokio runtime. The ports of `sockets` go into the configuration;
/// what it held there is replaced.
///
/// Dropping the handle, and every clone of it, shuts the node down in good order.
pub fn start<S: Store>(sockets: Sockets, config: Config, store: S) -> Result<Handle, StartError> {
    start_with(RustCrypto, sockets, config, store)
}

/// The same with another cryptography, such as that of the crate `coracle-native-crypto`.
pub fn start_with<C, S>(crypto: C, sockets: Sockets, config: Config, store: S) -> Result<Handle, StartError>
where
    C: Crypto + Send + Sync + 'static,
    S: Store,
{
    spawn(crypto, sockets, config, store, None)
}

/// The same, and `recorder` writes down everything that the node is told and does. See [`recording`]: what it
/// writes is a secret, and large.
pub fn start_recorded<C, S>(
    crypto: C,
    sockets: Sockets,
    config: Config,
    store: S,
    recorder: recording::Recorder,
) -> Result<Handle, StartError>
where
    C: Crypto + Send + Sync + 'static,
    S: Store,
{
    spawn(crypto, sockets, config, store, Some(recorder))
}

fn spawn<C, S>(
    crypto: C,
    sockets: Sockets,
    mut config: Config,
    store: S,
    mut recorder: Option<recording::Recorder>,
) -> Result<Handle, StartError>
where
    C: Crypto + Send + Sync + 'static,
    S: Store,
{
    config.bound = sockets.bound();
    let clock = driver::Clock::start();
    let now = clock.now();
    if let Some(recorder) = &mut recorder {
        recorder.begin(&mut config, now);
    }
    let node = recording::Tapped::new(Node::with_crypto(now, config, crypto)?, recorder);
    let storage = storage::Storage::start(store).map_err(StartError::Thread)?;
    Ok(driver::Driver::spawn(node, sockets, storage, clock))
}
