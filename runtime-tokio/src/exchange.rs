//! One request, one response: frames with their length before them (an unsigned varint, as libp2p and
//! Charon write it), on a stream of its own, within a size and a time.

use std::{future::Future, io, time::Duration};

use coracle_core::{
    id::PeerId,
    node::ProtocolId,
    wire::varint::{self, VarintError},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{Gone, Handle, OpenError, PeerStream};

/// What one side of an exchange puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the message that is received, without its length.
    pub size: usize,
    /// For the whole call: opening the stream, if it does, sending and receiving.
    pub time: Duration,
}

/// Why an exchange came to nothing, and which side ended it. The stream is reset then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No stream was opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The stream, its connection or the node ended in the middle.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The peer finished before its message was whole.
    #[error("the peer finished before its message was whole")]
    Unfinished,
    /// The peer's message is longer than we take.
    #[error("the peer's message has {len} bytes, more than the {limit} that are taken")]
    TooLong {
        /// Its length, as the peer says.
        len: u64,
        /// [`Limits::size`].
        limit: usize,
    },
    /// The peer's message begins with no length.
    #[error("the peer's message begins with no length: {0}")]
    Length(VarintError),
    /// We gave up: [`Limits::time`] is over.
    #[error("given up after {0:?}")]
    Timeout(Duration),
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        let gone = error.get_ref().and_then(|inner| inner.downcast_ref());
        // An error without a reason is a write after the own end.
        Self::Gone(gone.copied().unwrap_or(Gone::Stream(coracle_core::channel::StreamEnd::Finished)))
    }
}

impl Handle {
    /// Opens a stream to a member, sends the request, and returns the response. `limits.size` is for the
    /// response. Given up (dropped) in the middle, the stream is reset.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(
        &self,
        peer: PeerId,
        protocol: ProtocolId,
        request: &[u8],
        limits: Limits,
    ) -> Result<Vec<u8>, AskError> {
        let exchange = async {
            let mut stream = self.open(peer, protocol).await?;
            stream.send(request).await?;
            stream.receive(limits.size).await
        };
        within(limits.time, exchange).await
    }
}

impl PeerStream {
    /// Reads the request of a stream that a member opened, by [`Handle::ask`] or otherwise; then
    /// [`PeerStream::respond`].
    ///
    /// # Errors
    /// See [`AskError`]. Drop the stream then: the member is told by a reset.
    pub async fn read_request(&mut self, limits: Limits) -> Result<Vec<u8>, AskError> {
        within(limits.time, self.receive(limits.size)).await
    }

    /// Sends the response, and ends the stream. It returns when all of it was handed to the connection; what
    /// then happens to it is not told.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn respond(mut self, response: &[u8], time: Duration) -> Result<(), AskError> {
        within(time, self.send(response)).await
    }

    /// Sends a message, and finishes.
    async fn send(&mut self, message: &[u8]) -> Result<(), AskError> {
        let mut prefix = [0; varint::MAX_LEN];
        let len = varint::write(message.len() as u64, &mut prefix).unwrap_or(0);
        self.write_all(prefix.get(..len).unwrap_or_default()).await?;
        self.write_all(message).await?;
        Ok(self.shutdown().await?)
    }

    /// Receives a message, of which memory is taken as it arrives.
    async fn receive(&mut self, size: usize) -> Result<Vec<u8>, AskError> {
        let mut prefix = [0; varint::MAX_LEN];
        let mut read = 0;
        let len = loop {
            let byte = prefix.get_mut(read..=read).unwrap_or_default();
            if self.read(byte).await? == 0 {
                return Err(AskError::Unfinished);
            }
            read += 1;
            match varint::read(prefix.get(..read).unwrap_or_default()) {
                Ok((len, _)) => break len,
                Err(VarintError::Incomplete) => {}
                Err(error) => return Err(AskError::Length(error)),
            }
        };
        if len > size as u64 {
            return Err(AskError::TooLong { len, limit: size });
        }
        let mut message = Vec::new();
        self.take(len).read_to_end(&mut message).await?;
        if (message.len() as u64) < len { Err(AskError::Unfinished) } else { Ok(message) }
    }
}

async fn within<T>(
    time: Duration,
    exchange: impl Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    timeout(time, exchange).await.unwrap_or(Err(AskError::Timeout(time)))
}
