//! What the embedder holds: commands in, notices and snapshots out.

use std::sync::{Arc, Mutex, PoisonError};

use coracle_core::{
    id::PeerId,
    node::{Command, Notice, ProtocolId, RequestError, RequestId, Snapshot},
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    driver::Opened,
    peer_stream::{Gone, Incoming, OpenError, PeerStream},
};

/// The node has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// A message to the driver.
#[derive(Debug)]
pub(crate) enum ToDriver {
    Request(Command, oneshot::Sender<Result<RequestId, RequestError>>),
    Snapshot(oneshot::Sender<Snapshot>),
    Open(PeerId, ProtocolId, Opened),
}

/// A running node. Clones hold the same node; when the last one is dropped it shuts down.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) peer_id: PeerId,
    pub(crate) to: mpsc::Sender<ToDriver>,
    /// Weak: the driver has the only other sender, so that the notices end when the node does.
    pub(crate) notices: broadcast::WeakSender<Notice>,
    /// Subscribed before the driver ran: goes to whoever asks first.
    pub(crate) from_start: Arc<Mutex<Option<broadcast::Receiver<Notice>>>>,
    /// Goes to whoever asks first.
    pub(crate) incoming: Arc<Mutex<Option<Incoming>>>,
    /// True once the driver has ended and everything is stored.
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Handle {
    /// The node's own peer id.
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Everything the node tells: the first time this is called from the node's start on (the node
    /// runs already when the embedder gets this handle), later from now on. A receiver that falls
    /// more than 1,024 notices behind misses the oldest and is told so; the node never waits for it.
    ///
    /// The receiver says [`Closed`](broadcast::error::RecvError::Closed) once the node has stopped,
    /// whether it was asked to or not, and everything it told before has been received.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        let mut from_start = self.from_start.lock().unwrap_or_else(PoisonError::into_inner);
        from_start.take().unwrap_or_else(|| match self.notices.upgrade() {
            Some(notices) => notices.subscribe(),
            // A node that has stopped tells nothing: a receiver whose sender is gone.
            None => broadcast::channel(1).1,
        })
    }

    /// Asks the node for something. The outer error says that it has stopped, the inner one why it
    /// refuses.
    pub async fn request(&self, command: Command) -> Result<Result<RequestId, RequestError>, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.to.send(ToDriver::Request(command, answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Opens a stream to a member for one of the protocols that the node was configured with. Returns when
    /// the member has agreed to it.
    ///
    /// # Errors
    /// The node refuses, or the stream or the node ended before that.
    pub async fn open(&self, peer: PeerId, protocol: ProtocolId) -> Result<PeerStream, OpenError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.to.send(ToDriver::Open(peer, protocol, answer)).await;
        sent.map_err(|_| Gone::Stopped)?;
        answered.await.map_err(|_| Gone::Stopped)?
    }

    /// The streams that members open: for whoever asks first, `None` later. Members' streams are reset once
    /// it is dropped.
    pub fn incoming(&self) -> Option<Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How things stand now.
    pub async fn snapshot(&self) -> Result<Snapshot, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.to.send(ToDriver::Snapshot(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Closes every channel in good order, finishes what is being stored, and frees the sockets.
    /// Returns when that is done; at once when the node has stopped already.
    pub async fn shutdown(&self) {
        let _ = self.request(Command::Shutdown).await;
        let mut stopped = self.stopped.clone();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}
