//! One TCP connection: a task that reads when there is room, and one that writes what it is told.

use std::{
    convert::Infallible,
    io,
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use async_std::{channel, net::TcpStream, task};
use coracle_core::node::{ConnId, DialError, ReceiveBuffer};
use futures::{
    AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _,
    future::{AbortHandle, abortable},
};

/// Most bytes read at a time.
const CHUNK: usize = 16 * 1024;
/// From the end of a stream until its writer ends as well, whatever it still has to write: a peer that
/// takes no bytes must not keep a task and a descriptor.
const FAREWELL: Duration = Duration::from_secs(2);

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
    pub(crate) received: ReceiveBuffer,
    /// One permit: the reader may read one more chunk.
    credit: channel::Sender<()>,
    reader: AbortHandle,
    /// Closed with the stream: the writer then finishes what it has and shuts the connection down.
    writes: channel::Sender<Vec<u8>>,
    /// Gone with the stream: the writer then has [`FAREWELL`] left.
    _alive: channel::Sender<Infallible>,
}

impl Stream {
    /// Starts both tasks.
    pub(crate) fn start(id: ConnId, stream: TcpStream, to: channel::Sender<FromStream>) -> Self {
        // Handshakes and pings are small and waited for.
        let _ = stream.set_nodelay(true);
        let (read, write) = (stream.clone(), stream);
        let (credit, permits) = channel::bounded(1);
        let _ = credit.try_send(());
        let (read_all, reader) = abortable(read_all(id, read, permits, to.clone()));
        task::spawn(read_all);
        // The node never asks for a write before the one before is done.
        let (writes, queue) = channel::bounded(1);
        let (alive, gone) = channel::bounded(1);
        task::spawn(async move {
            futures::select! {
                () = write_all(id, write, queue, to).fuse() => {}
                () = farewell(gone).fuse() => {}
            }
        });
        Self { received: ReceiveBuffer::new(), credit, reader, writes, _alive: alive }
    }

    /// Lets the reader go on, unless as much as any frame takes is waiting already.
    pub(crate) fn allow_read(&self) {
        if self.received.has_room() {
            // Full: it may already.
            let _ = self.credit.try_send(());
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
pub(crate) async fn dial(id: ConnId, address: SocketAddr, to: channel::Sender<FromStream>) {
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

async fn read_all(
    id: ConnId,
    mut read: TcpStream,
    credit: channel::Receiver<()>,
    to: channel::Sender<FromStream>,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        if credit.recv().await.is_err() {
            return;
        }
        let message = match read.read(&mut chunk).await {
            Ok(n) if n > 0 => FromStream::Bytes(id, chunk[..n].to_vec()),
            _ => FromStream::Closed(id),
        };
        let closed = matches!(message, FromStream::Closed(_));
        if to.send(message).await.is_err() || closed {
            return;
        }
    }
}

/// Ends [`FAREWELL`] after the stream has ended.
async fn farewell(gone: channel::Receiver<Infallible>) {
    // The only answer there is: the other end is gone.
    let _ = gone.recv().await;
    task::sleep(FAREWELL).await;
}

async fn write_all(
    id: ConnId,
    mut write: TcpStream,
    queue: channel::Receiver<Vec<u8>>,
    to: channel::Sender<FromStream>,
) {
    while let Ok(bytes) = queue.recv().await {
        let message = match write.write_all(&bytes).await {
            Ok(()) => FromStream::Written(id),
            Err(_) => FromStream::Closed(id),
        };
        let closed = matches!(message, FromStream::Closed(_));
        if to.send(message).await.is_err() || closed {
            return;
        }
    }
    let _ = write.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The peer takes nothing and stays: what cannot be written does not keep the writer.
    #[async_std::test]
    async fn a_peer_that_takes_nothing_does_not_keep_the_writer() {
        let listener = async_std::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_peer, _) = listener.accept().await.unwrap();
        // Fill both buffers, so that whatever is written next has to wait. The kernel may move bytes to
        // the other side meanwhile: only a while without progress says that they are full.
        let chunk = vec![0; 1 << 20];
        let quiet = Duration::from_millis(200);
        while async_std::future::timeout(quiet, ours.write(&chunk)).await.is_ok() {}
        let (to, from) = channel::bounded(4);
        let stream = Stream::start(ConnId::accepted(0), ours, to);
        stream.write(b"farewell");
        drop(stream);
        // Both tasks hold a sender: the channel ends when both have ended.
        let ended = async_std::future::timeout(Duration::from_secs(30), async {
            while let Ok(message) = from.recv().await {
                assert!(!matches!(message, FromStream::Written(_)), "the buffers were not full");
            }
        });
        ended.await.expect("the writer waits for a peer that takes nothing");
    }
}
