//! Which adapter a node runs over. They are alike; the program speaks of both in the words of `coracle-tokio`.

use std::net::SocketAddr;

use coracle_core::{
    node::{Command, Config, Notice, RequestError, RequestId, Snapshot, Store},
    refresh::Bound,
};
use coracle_tokio::{BindError, Listen, StartError, Stopped};
use tokio::sync::broadcast::{self, error::RecvError};

use super::crypto;

/// An adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Runtime {
    /// tokio
    #[default]
    Tokio,
    /// async-std, which is no longer developed
    AsyncStd,
}

/// Bound sockets of either.
pub(super) enum Sockets {
    Tokio(coracle_tokio::Sockets),
    AsyncStd(coracle_async_std::Sockets),
}

impl Sockets {
    pub(super) fn bind(runtime: Runtime, listen: Listen) -> Result<Self, BindError> {
        match runtime {
            Runtime::Tokio => coracle_tokio::Sockets::bind(&listen).map(Self::Tokio),
            Runtime::AsyncStd => {
                let listen = coracle_async_std::Listen { tcp: listen.tcp, udp: listen.udp };
                coracle_async_std::Sockets::bind(&listen).map(Self::AsyncStd).map_err(bind_error)
            }
        }
    }

    pub(super) fn bound(&self) -> Bound {
        match self {
            Self::Tokio(sockets) => sockets.bound(),
            Self::AsyncStd(sockets) => sockets.bound(),
        }
    }

    pub(super) fn tcp_addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Tokio(sockets) => sockets.tcp_addresses().collect(),
            Self::AsyncStd(sockets) => sockets.tcp_addresses().collect(),
        }
    }

    pub(super) fn udp_addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Tokio(sockets) => sockets.udp_addresses().collect(),
            Self::AsyncStd(sockets) => sockets.udp_addresses().collect(),
        }
    }

    /// Starts a node. Must be called inside a tokio runtime.
    pub(super) fn start<S: Store>(self, config: Config, store: S) -> Result<Handle, StartError> {
        let crypto = crypto::make();
        match self {
            Self::Tokio(sockets) => {
                coracle_tokio::start_with(crypto, sockets, config, store).map(Handle::Tokio)
            }
            Self::AsyncStd(sockets) => coracle_async_std::start_with(crypto, sockets, config, store)
                .map(Handle::AsyncStd)
                .map_err(|error| match error {
                    coracle_async_std::StartError::Bind(error) => bind_error(error).into(),
                    coracle_async_std::StartError::Config(error) => error.into(),
                    coracle_async_std::StartError::Thread(error) => StartError::Thread(error),
                }),
        }
    }
}

fn bind_error(error: coracle_async_std::BindError) -> BindError {
    let coracle_async_std::BindError { address, transport, source } = error;
    BindError { address, transport, source }
}

/// A running node over either. Dropped, it shuts down.
#[derive(Clone, Debug)]
pub(super) enum Handle {
    Tokio(coracle_tokio::Handle),
    AsyncStd(coracle_async_std::Handle),
}

impl Handle {
    pub(super) fn notices(&self) -> Notices {
        match self {
            Self::Tokio(handle) => Notices::Tokio(handle.notices()),
            Self::AsyncStd(handle) => Notices::AsyncStd(handle.notices()),
        }
    }

    pub(super) async fn request(&self, command: Command) -> Result<Result<RequestId, RequestError>, Stopped> {
        match self {
            Self::Tokio(handle) => handle.request(command).await,
            Self::AsyncStd(handle) => handle.request(command).await.map_err(stopped),
        }
    }

    pub(super) async fn snapshot(&self) -> Result<Snapshot, Stopped> {
        match self {
            Self::Tokio(handle) => handle.snapshot().await,
            Self::AsyncStd(handle) => handle.snapshot().await.map_err(stopped),
        }
    }

    pub(super) async fn shutdown(&self) {
        match self {
            Self::Tokio(handle) => handle.shutdown().await,
            Self::AsyncStd(handle) => handle.shutdown().await,
        }
    }
}

const fn stopped(_: coracle_async_std::Stopped) -> Stopped {
    Stopped
}

/// What a node tells.
pub(super) enum Notices {
    Tokio(broadcast::Receiver<Notice>),
    AsyncStd(async_broadcast::Receiver<Notice>),
}

impl Notices {
    pub(super) async fn recv(&mut self) -> Result<Notice, RecvError> {
        match self {
            Self::Tokio(notices) => notices.recv().await,
            Self::AsyncStd(notices) => notices.recv().await.map_err(|error| match error {
                async_broadcast::RecvError::Overflowed(missed) => RecvError::Lagged(missed),
                async_broadcast::RecvError::Closed => RecvError::Closed,
            }),
        }
    }
}
