//! The driver's part of the streams inside channels: bytes between their buffers and the node.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_std::channel;
use coracle_core::{
    crypto::Crypto,
    id::PeerId,
    limits::YAMUX_WINDOW,
    node::{ConnId, ProtocolId, StreamEvent, StreamId},
    time::Instant,
};
use futures::channel::oneshot;

use super::Driver;
use crate::peer_stream::{Finish, Gone, OpenError, PeerStream, Shared};

/// Bytes that every stream may hold unread, whatever the others of its connection do.
const RESERVE: usize = 16 * 1024;
/// Bytes that the streams of one connection may hold unread beside that, all together.
const POOL: usize = 4 * 1024 * 1024;
/// Most bytes that one stream holds unread.
const WINDOW: usize = YAMUX_WINDOW as usize;
/// From the end of a stream's user, who had finished, until the stream ends as well.
const LINGER: Duration = Duration::from_secs(10);

/// The answer to a wish for a stream.
pub(crate) type Opened = oneshot::Sender<Result<PeerStream, OpenError>>;

/// A stream that the peer was asked for.
#[derive(Debug)]
struct Opening {
    peer: PeerId,
    protocol: ProtocolId,
    answer: Opened,
}

#[derive(Debug)]
struct Entry {
    shared: Arc<Shared>,
    /// Bytes taken from the node and not given back to the peer's window.
    held: usize,
}

/// All streams inside channels.
#[derive(Debug)]
pub(super) struct PeerStreams {
    open: BTreeMap<StreamId, Entry>,
    opening: BTreeMap<StreamId, Opening>,
    /// What the streams of a connection hold beyond their reserve.
    pools: BTreeMap<ConnId, usize>,
    incoming: channel::Sender<PeerStream>,
    attention_tx: channel::Sender<StreamId>,
    pub(super) attention: channel::Receiver<StreamId>,
}

impl PeerStreams {
    pub(super) fn new(incoming: channel::Sender<PeerStream>) -> Self {
        let (attention_tx, attention) = channel::unbounded();
        let (open, opening, pools) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { open, opening, pools, incoming, attention_tx, attention }
    }

    fn add(&mut self, id: StreamId, peer: PeerId, protocol: ProtocolId) -> PeerStream {
        let shared = Shared::new(id, self.attention_tx.clone());
        self.open.insert(id, Entry { shared: Arc::clone(&shared), held: 0 });
        PeerStream::new(peer, protocol, shared)
    }

    /// How many more bytes a stream may hold.
    fn room(&self, id: StreamId) -> usize {
        let held = self.open.get(&id).map_or(0, |entry| entry.held);
        let pool = POOL.saturating_sub(self.pools.get(&id.conn()).copied().unwrap_or(0));
        RESERVE.saturating_sub(held) + pool.min(WINDOW.saturating_sub(held.max(RESERVE)))
    }

    fn set_held(&mut self, id: StreamId, change: impl FnOnce(usize) -> usize) {
        let Some(entry) = self.open.get_mut(&id) else { return };
        let before = entry.held.saturating_sub(RESERVE);
        entry.held = change(entry.held);
        let after = entry.held.saturating_sub(RESERVE);
        let pool = self.pools.entry(id.conn()).or_default();
        *pool = (*pool + after).saturating_sub(before);
        if *pool == 0 {
            self.pools.remove(&id.conn());
        }
    }

    fn end(&mut self, id: StreamId, gone: Gone) {
        self.set_held(id, |_| 0);
        if let Some(entry) = self.open.remove(&id) {
            entry.shared.lock().end(gone);
        } else if let Some(opening) = self.opening.remove(&id) {
            // Whoever asked may have gone.
            let _ = opening.answer.send(Err(gone.into()));
        }
    }

    /// Ends all streams, or those of one connection.
    pub(super) fn end_all(&mut self, of: Option<ConnId>, gone: Gone) {
        let ids = self.open.keys().chain(self.opening.keys()).copied();
        let ids: Vec<_> = ids.filter(|id| of.is_none_or(|conn| id.conn() == conn)).collect();
        for id in ids {
            self.end(id, gone);
        }
    }
}

impl<C: Crypto + Send + Sync + 'static> Driver<C> {
    pub(super) fn open_stream(&mut self, now: Instant, peer: PeerId, protocol: ProtocolId, answer: Opened) {
        match self.node.open_stream(now, peer, protocol) {
            Ok(id) => drop(self.peer_streams.opening.insert(id, Opening { peer, protocol, answer })),
            Err(error) => drop(answer.send(Err(error.into()))),
        }
    }

    /// What the node tells of streams. A stream whose receiver is gone is dropped here, and so is reset.
    pub(super) fn peer_stream_event(&mut self, now: Instant, event: StreamEvent) {
        match event {
            StreamEvent::Opened { stream } => match self.peer_streams.opening.remove(&stream) {
                Some(Opening { peer, protocol, answer }) => {
                    drop(answer.send(Ok(self.peer_streams.add(stream, peer, protocol))));
                }
                None => self.node.reset_stream(stream),
            },
            StreamEvent::Accepted { stream, peer, protocol } => {
                let accepted = self.peer_streams.add(stream, peer, protocol);
                drop(self.peer_streams.incoming.try_send(accepted));
            }
            StreamEvent::Data { stream, offset, len } => self.take(stream, offset, len),
            StreamEvent::Writable { stream } => self.write_stream(now, stream),
            StreamEvent::Finished { stream } => {
                if let Some(entry) = self.peer_streams.open.get(&stream) {
                    let mut state = entry.shared.lock();
                    state.peer_finished = true;
                    state.wake_reader();
                }
            }
            StreamEvent::Ended { stream, reason } => self.peer_streams.end(stream, Gone::Stream(reason)),
            StreamEvent::ConnectionLost { conn, reason, .. } => {
                self.peer_streams.end_all(Some(conn), Gone::Connection(reason));
            }
        }
    }

    /// Bytes arrived: as many as there is room for go into the stream's buffer.
    fn take(&mut self, id: StreamId, offset: usize, len: usize) {
        let n = len.min(self.peer_streams.room(id));
        let Some(connection) = self.streams.get(&id.conn()) else { return };
        let Some(bytes) = connection.received.as_slice().get(offset..offset + n) else { return };
        let Some(entry) = self.peer_streams.open.get(&id) else {
            self.node.reset_stream(id);
            return;
        };
        let mut state = entry.shared.lock();
        if state.dropped {
            // Its user finished and went: nobody reads this.
            drop(state);
            self.node.take(id, len);
            self.node.release(id, len);
            return;
        }
        state.unread.extend(bytes);
        state.wake_reader();
        drop(state);
        self.node.take(id, n);
        self.peer_streams.set_held(id, |held| held + n);
    }

    /// A stream's user did something.
    pub(super) fn attend(&mut self, now: Instant, id: StreamId) {
        let Some(entry) = self.peer_streams.open.get(&id) else { return };
        let shared = Arc::clone(&entry.shared);
        let mut state = shared.lock();
        state.asked = false;
        let (dropped, finish) = (state.dropped, state.finish);
        let released =
            std::mem::take(&mut state.released) + if dropped { state.unread.drain(..).len() } else { 0 };
        drop(state);
        if dropped && finish == Finish::Open {
            self.peer_streams.end(id, Gone::Stopped);
            self.node.reset_stream(id);
            return;
        }
        if released > 0 {
            self.peer_streams.set_held(id, |held| held.saturating_sub(released));
            self.node.release(id, released);
        }
        if dropped {
            self.node.limit_stream(now, id, Some(LINGER));
        }
        self.write_stream(now, id);
    }

    /// Sends what a stream's user wrote, as far as the node takes it.
    fn write_stream(&mut self, now: Instant, id: StreamId) {
        let Some(entry) = self.peer_streams.open.get(&id) else { return };
        let shared = Arc::clone(&entry.shared);
        let mut state = shared.lock();
        let finish = state.finish == Finish::Wanted;
        if state.unsent.is_empty() {
            if finish {
                self.node.finish_stream(id);
                state.finish = Finish::Done;
                state.wake_writer();
            }
            return;
        }
        let bytes = state.unsent.make_contiguous();
        // Refused: the stream is over, and its end is told or about to be.
        let Ok(written) = self.node.write_stream(now, id, bytes, finish, &mut self.buf) else { return };
        if written.len > 0
            && let Some(connection) = self.streams.get(&written.conn)
        {
            connection.write(&self.buf[..written.len]);
        }
        if written.taken > 0 {
            state.unsent.drain(..written.taken);
            if finish && state.unsent.is_empty() {
                state.finish = Finish::Done;
            }
            state.wake_writer();
        }
    }
}
