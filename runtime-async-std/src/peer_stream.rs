//! A stream inside a channel as the embedder holds it: a buffer each way between its task and the driver.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use async_std::channel;
use coracle_core::{
    channel::StreamEnd,
    id::PeerId,
    node::{Failure, ProtocolId, StreamError, StreamId},
};
use futures::{AsyncRead, AsyncWrite};

/// Bytes that a stream holds written and not yet sent; a writer waits for room.
const WRITE_BUFFER: usize = 64 * 1024;
/// Read bytes after which the driver is told; it is told in any case when all is read.
const RELEASE_STEP: usize = 16 * 1024;

/// Why a stream gives and takes nothing any more; the inner error of its [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// The stream is over.
    #[error("the stream is over: {0}")]
    Stream(StreamEnd),
    /// The connection that carried it is over.
    #[error("the connection is over: {0}")]
    Connection(Failure),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl From<Gone> for io::Error {
    fn from(gone: Gone) -> Self {
        let kind = match gone {
            Gone::Stream(StreamEnd::Finished) => io::ErrorKind::BrokenPipe,
            Gone::Stream(StreamEnd::ResetByPeer) => io::ErrorKind::ConnectionReset,
            Gone::Stream(StreamEnd::Expired) => io::ErrorKind::TimedOut,
            Gone::Stream(_) | Gone::Connection(_) | Gone::Stopped => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, gone)
    }
}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The node refuses.
    #[error(transparent)]
    Refused(#[from] StreamError),
    /// It ended before both sides agreed on the protocol.
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// A stream to a member, inside its channel.
///
/// Reading ends where the peer finished; closing finishes our side, and what the peer sends
/// still arrives. Dropped before that, the stream is reset; dropped after, what was written is sent, and
/// what still comes is thrown away.
///
/// What is not read stays in a buffer, at most
/// [`YAMUX_WINDOW`](coracle_core::limits::YAMUX_WINDOW) bytes of it; the peer sends no more until then.
/// When that buffer has no room, because many streams of one connection are not read, the whole
/// connection waits, and after
/// [`STREAM_HOARD_TIMEOUT`](coracle_core::limits::STREAM_HOARD_TIMEOUT) the stream is reset.
pub struct PeerStream {
    peer: PeerId,
    protocol: ProtocolId,
    shared: Arc<Shared>,
}

impl PeerStream {
    pub(crate) fn new(peer: PeerId, protocol: ProtocolId, shared: Arc<Shared>) -> Self {
        Self { peer, protocol, shared }
    }

    /// The member at the other end.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// What is spoken: the position in [`Config::protocols`](coracle_core::node::Config::protocols).
    pub const fn protocol(&self) -> ProtocolId {
        self.protocol
    }

    fn poll_take(&self, cx: &Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        if state.unread.is_empty() && !out.is_empty() {
            return match state.gone {
                _ if state.peer_finished => Poll::Ready(Ok(0)),
                Some(gone) => Poll::Ready(Err(gone.into())),
                None => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        let n = io::Read::read(&mut state.unread, out)?;
        state.released += n;
        if state.released >= RELEASE_STEP || state.unread.is_empty() {
            self.shared.ask(&mut state);
        }
        Poll::Ready(Ok(n))
    }

    fn poll_put(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        if let Some(gone) = state.gone {
            return Poll::Ready(Err(gone.into()));
        }
        if state.finish != Finish::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = bytes.len().min(WRITE_BUFFER - state.unsent.len());
        if n == 0 && !bytes.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.unsent.extend(&bytes[..n]);
        self.shared.ask(&mut state);
        Poll::Ready(Ok(n))
    }

    /// Until everything written was handed to the connection; with `finish`, and our end as well.
    fn poll_sent(&self, cx: &Context<'_>, finish: bool) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        if finish && state.finish == Finish::Open && state.gone.is_none() {
            state.finish = Finish::Wanted;
            self.shared.ask(&mut state);
        }
        if state.unsent.is_empty() && (!finish || state.finish == Finish::Done) {
            return Poll::Ready(Ok(()));
        }
        match state.gone {
            Some(gone) => Poll::Ready(Err(gone.into())),
            None => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_take(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx, false)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx, true)
    }
}

impl Drop for PeerStream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.dropped = true;
        self.shared.ask(&mut state);
    }
}

impl fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, protocol, shared } = self;
        write!(f, "PeerStream({} with {peer}, {protocol:?})", shared.id)
    }
}

/// Streams that members open, in the order in which they did.
#[derive(Debug)]
pub struct Incoming(pub(crate) channel::Receiver<PeerStream>);

impl Incoming {
    /// The next stream that a member opened; `None` when the node has stopped. Streams that nobody
    /// accepts wait, and beyond
    /// [`MAX_NEGOTIATING_STREAMS`](coracle_core::limits::MAX_NEGOTIATING_STREAMS) are reset.
    pub async fn accept(&mut self) -> Option<PeerStream> {
        self.0.recv().await.ok()
    }
}

/// Whether we send more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Open,
    Wanted,
    Done,
}

/// What the embedder's task and the driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    id: StreamId,
    state: Mutex<State>,
    /// Names the stream to the driver. It holds each at most once.
    attention: channel::Sender<StreamId>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) unread: VecDeque<u8>,
    /// Bytes read since the driver last looked.
    pub(crate) released: usize,
    pub(crate) peer_finished: bool,
    pub(crate) unsent: VecDeque<u8>,
    pub(crate) finish: Finish,
    pub(crate) gone: Option<Gone>,
    /// The embedder's end is gone.
    pub(crate) dropped: bool,
    /// The driver was told, and has not looked yet.
    pub(crate) asked: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Shared {
    pub(crate) fn new(id: StreamId, attention: channel::Sender<StreamId>) -> Arc<Self> {
        let state = State {
            unread: VecDeque::new(),
            released: 0,
            peer_finished: false,
            unsent: VecDeque::new(),
            finish: Finish::Open,
            gone: None,
            dropped: false,
            asked: false,
            reader: None,
            writer: None,
        };
        Arc::new(Self { id, state: Mutex::new(state), attention })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, state: &mut State) {
        if !state.asked && state.gone.is_none() {
            // A driver that is gone has said so in every state, or is about to.
            state.asked = self.attention.try_send(self.id).is_ok();
        }
    }
}

impl State {
    pub(crate) fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub(crate) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    pub(crate) fn end(&mut self, gone: Gone) {
        self.gone = Some(gone);
        self.wake_reader();
        self.wake_writer();
    }
}
