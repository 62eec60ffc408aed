//! One TCP connection: a task that reads when there is room, and one that writes what it is told.

use std::{io, net::SocketAddr, sync::Arc};

use coracle_core::{
    limits::CHANNEL_READ_SIZE,
    node::{ConnId, DialError},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

/// Most bytes read at a time.
const CHUNK: usize = 16 * 1024;

/// What a connection's tasks tell the driver.
#[derive(Debug)]
pub(crate) enum FromStream {
    /// A dial succeeded.
    Connected(ConnId, TcpStream),
    /// A dial failed.
    DialFailed(ConnId, DialError),
    /// Bytes arrived.
    Bytes(ConnId, Vec<u8>),
    /// The last write is done.
    Written(ConnId),
    /// The other side closed, or the connection broke.
    Closed(ConnId),
}

/// The driver's end of a connection.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Bytes that arrived and were not taken yet.
    pub(crate) pending: Vec<u8>,
    /// One permit: the reader may read one more chunk.
    credit: Arc<Semaphore>,
    reader: JoinHandle<()>,
    /// Closed with the stream: the writer then finishes what it has and shuts the connection down.
    writes: mpsc::Sender<Vec<u8>>,
}

impl Stream {
    /// Starts both tasks. Must be called inside a tokio runtime.
    pub(crate) fn start(id: ConnId, stream: TcpStream, to: mpsc::Sender<FromStream>) -> Self {
        // Handshakes and pings are small and waited for.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let credit = Arc::new(Semaphore::new(1));
        let reader = tokio::spawn(read_all(id, read, Arc::clone(&credit), to.clone()));
        // The node never asks for a write before the one before is done.
        let (writes, queue) = mpsc::channel(1);
        tokio::spawn(write_all(id, write, queue, to));
        Self { pending: Vec::new(), credit, reader, writes }
    }

    /// Lets the reader go on, unless as much as any frame takes is waiting already.
    pub(crate) fn allow_read(&self) {
        if self.pending.len() < CHANNEL_READ_SIZE && self.credit.available_permits() == 0 {
            self.credit.add_permits(1);
        }
    }

    /// Hands bytes to the writer.
    pub(crate) fn write(&self, bytes: &[u8]) {
        // Room for one is always there; a writer that is gone has said Closed.
        let _ = self.writes.try_send(bytes.to_vec());
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Dials, and tells how it went.
pub(crate) async fn dial(id: ConnId, address: SocketAddr, to: mpsc::Sender<FromStream>) {
    let message = match TcpStream::connect(address).await {
        Ok(stream) => FromStream::Connected(id, stream),
        Err(error) => FromStream::DialFailed(id, dial_error(&error)),
    };
    let _ = to.send(message).await;
}

fn dial_error(error: &io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused,
        io::ErrorKind::TimedOut => DialError::TimedOut,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => DialError::Unreachable,
        _ => DialError::Other,
    }
}

async fn read_all(id: ConnId, mut read: OwnedReadHalf, credit: Arc<Semaphore>, to: mpsc::Sender<FromStream>) {
    loop {
        match credit.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_) => return,
        }
        let mut chunk = Vec::with_capacity(CHUNK);
        let message = match read.read_buf(&mut chunk).await {
            Ok(n) if n > 0 => FromStream::Bytes(id, chunk),
            _ => FromStream::Closed(id),
        };
        let closed = matches!(message, FromStream::Closed(_));
        if to.send(message).await.is_err() || closed {
            return;
        }
    }
}

async fn write_all(
    id: ConnId,
    mut write: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Vec<u8>>,
    to: mpsc::Sender<FromStream>,
) {
    while let Some(bytes) = queue.recv().await {
        let message = match write.write_all(&bytes).await {
            Ok(()) => FromStream::Written(id),
            Err(_) => FromStream::Closed(id),
        };
        let closed = matches!(message, FromStream::Closed(_));
        if to.send(message).await.is_err() || closed {
            return;
        }
    }
    let _ = write.shutdown().await;
}
