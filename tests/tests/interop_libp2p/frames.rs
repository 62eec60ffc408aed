//! Their end of requests and responses: one message each way with its length before it, as Charon frames
//! them.

use std::{io, time::Duration};

use coracle_core::wire::varint;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response::Codec};

/// A message longer than this is read slowly: with a pause after each such part.
const PART: usize = 64 * 1024;
/// Shorter than what it makes of the writer's window.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frames;

impl Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        message: Vec<u8>,
    ) -> io::Result<()> {
        write(io, &message).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        message: Vec<u8>,
    ) -> io::Result<()> {
        write(io, &message).await
    }
}

/// Reads a message, a long one slowly.
pub(crate) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut prefix = Vec::new();
    let len = loop {
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        prefix.push(byte[0]);
        if byte[0] < 0x80 {
            break varint::read(&prefix).unwrap().0;
        }
    };
    let mut message = vec![0; usize::try_from(len).unwrap()];
    for part in message.chunks_mut(PART) {
        io.read_exact(part).await?;
        if len > PART as u64 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(message)
}

/// Writes a message.
pub(crate) async fn write(io: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let mut prefix = [0; varint::MAX_LEN];
    let len = varint::write(message.len() as u64, &mut prefix).unwrap();
    io.write_all(&prefix[..len]).await?;
    io.write_all(message).await
}
