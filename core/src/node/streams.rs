//! Streams for the embedder: opened to members and accepted from them, for the protocols that
//! [`Config::protocols`](super::Config::protocols) names.
//!
//! The node stores no payload. What arrived lies in the driver's receive buffer and is offered there
//! ([`StreamEvent::Data`], [`Node::take`]); what is sent goes from the embedder's slice, encrypted, into
//! the driver's write buffer ([`Node::write_stream`]). Back-pressure follows by itself: what is not
//! taken keeps the connection from being read, what is not released keeps the peer's window shut, and a
//! write takes what the peer's window and the connection have room for.
//!
//! A driver's part, for each stream a buffer of up to
//! [`YAMUX_WINDOW`](crate::limits::YAMUX_WINDOW) bytes (the peer cannot send more before a release):
//!
//! 1. `Data { stream, offset, len }`: copy up to `len` bytes from `offset` of the connection's bytes
//!    that were not taken into the stream's buffer, and say `take(stream, n)`. [`Action::Resume`]
//!    follows when all were taken. What was left is offered again after the next `release` on that
//!    connection; left for longer than
//!    [`STREAM_HOARD_TIMEOUT`](crate::limits::STREAM_HOARD_TIMEOUT), the stream is reset.
//! 2. The embedder read `n` bytes out of the buffer: `release(stream, n)`.
//! 3. The embedder wants to write: `write_stream(stream, bytes, finish, buf)`, and write
//!    `buf[..len]` to the connection like any [`Action::Write`]. The rest after `Writable`.

use core::{fmt, time::Duration};

use super::{
    Node,
    action::{Action, ConnId},
    conns::{Conn, Stage},
    notice::Failure,
    services::SERVICES,
};
use crate::{
    channel::{Channel, Payload, StreamEnd, StreamNews},
    cluster::MemberIndex,
    crypto::Crypto,
    id::PeerId,
    time::Instant,
};

/// A protocol of the embedder's: the position of its name in
/// [`Config::protocols`](super::Config::protocols), from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolId(pub u8);

/// Names a stream while it lives. Ordered by connection: all streams of one connection stand together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    conn: ConnId,
    number: u32,
}

impl StreamId {
    /// The connection that carries it.
    pub const fn conn(self) -> ConnId {
        self.conn
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.conn, self.number)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What happened on a stream. For one stream in this order: `Opened` or `Accepted`, any number of `Data`
/// and `Writable`, `Finished`, `Ended`; or [`StreamEvent::ConnectionLost`] in the middle, which ends all
/// streams of a connection. After [`Node::reset_stream`] nothing more is told of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The peer speaks the protocol of a stream that [`Node::open_stream`] opened. `Writable` follows.
    Opened {
        /// The stream.
        stream: StreamId,
    },
    /// A member opened a stream.
    Accepted {
        /// The stream.
        stream: StreamId,
        /// The member.
        peer: PeerId,
        /// The protocol that both agreed on.
        protocol: ProtocolId,
    },
    /// Bytes arrived: see the steps above. Valid until the connection's bytes are touched: copy at once.
    Data {
        /// The stream.
        stream: StreamId,
        /// Where they begin in the connection's bytes that were not taken.
        offset: usize,
        /// How many they are.
        len: usize,
    },
    /// A write that took less than all can go on now.
    Writable {
        /// The stream.
        stream: StreamId,
    },
    /// The peer sends no more: all its bytes were taken. Writing may go on.
    Finished {
        /// The stream.
        stream: StreamId,
    },
    /// The stream is over. Its name means nothing from now on.
    Ended {
        /// The stream.
        stream: StreamId,
        /// Why, and which side did it.
        reason: StreamEnd,
    },
    /// A connection that was a channel is over, and with it all its streams.
    ConnectionLost {
        /// The connection.
        conn: ConnId,
        /// The member.
        peer: PeerId,
        /// Why.
        reason: Failure,
    },
}

/// Why a call about a stream is refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The peer is not a member (or it is ourselves).
    #[error("the peer is not another member of the cluster")]
    NotAMember,
    /// The member has no channel now.
    #[error("the member has no channel now")]
    NotConnected,
    /// The configuration names no such protocol.
    #[error("no such protocol is configured")]
    UnknownProtocol,
    /// As many streams are open on the channel as there is room for.
    #[error("too many streams are open on the channel: end one first")]
    TooManyStreams,
    /// The stream is over, or was never there.
    #[error("the stream is over")]
    Gone,
    /// The stream's protocol is not agreed on yet, or we finished it: nothing can be written.
    #[error("the stream is not open for writing")]
    NotWritable,
}

/// What [`Node::write_stream`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the bytes in the buffer are to be written to the connection"]
pub struct StreamWrite {
    /// Bytes of the payload that were taken.
    pub taken: usize,
    /// The connection to write to.
    pub conn: ConnId,
    /// Write so many bytes of the buffer to it, if not 0; then say
    /// [`Event::Writable`](super::Event::Writable).
    pub len: usize,
}

impl<C: Crypto> Node<C> {
    /// Opens a stream to a member, on the channel in use. [`StreamEvent::Opened`] or
    /// [`StreamEvent::Ended`] follows.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn open_stream(
        &mut self,
        now: Instant,
        peer: PeerId,
        protocol: ProtocolId,
    ) -> Result<StreamId, StreamError> {
        let now = self.now.advance(now);
        let member = self.cluster.index_of_peer(&peer).ok_or(StreamError::NotAMember)?;
        let number = usize::from(protocol.0) + usize::from(SERVICES);
        let number = u8::try_from(number).map_err(|_| StreamError::UnknownProtocol)?;
        if self.channel_config.protocols.name(number).is_empty() {
            return Err(StreamError::UnknownProtocol);
        }
        let conn = self.channel_in_use(member).map(|conn| conn.id).ok_or(StreamError::NotConnected)?;
        let channel = self.channel(conn).filter(|channel| channel.is_ready());
        let channel = channel.ok_or(StreamError::NotConnected)?;
        let number = channel.open_stream(now, number, true).ok_or(StreamError::TooManyStreams)?;
        Ok(StreamId { conn, number })
    }

    /// The first `n` bytes that [`StreamEvent::Data`] offered were copied. They count against the peer's
    /// window until [`Node::release`].
    pub fn take(&mut self, stream: StreamId, n: usize) {
        if let Some((resume, channel)) = self.stream_channel(stream)
            && channel.take(stream.number, n)
        {
            *resume = true;
        }
    }

    /// The embedder is done with `n` bytes that were taken: the peer may send as many more. What waits on
    /// the connection is offered again, also after a release of nothing.
    pub fn release(&mut self, stream: StreamId, n: usize) {
        if let Some((_, channel)) = self.stream_channel(stream) {
            channel.release(stream.number, n);
        }
    }

    /// Writes as much of `bytes` as there is room for as one frame at the start of `buf`, which is as in
    /// [`Node::poll`]. With `finish`, nothing follows on this stream once all was taken. When less than
    /// all is taken, [`StreamEvent::Writable`] says when to go on.
    ///
    /// # Errors
    /// [`StreamError::Gone`], [`StreamError::NotWritable`].
    pub fn write_stream(
        &mut self,
        now: Instant,
        stream: StreamId,
        bytes: &[u8],
        finish: bool,
        buf: &mut [u8],
    ) -> Result<StreamWrite, StreamError> {
        let now = self.now.advance(now);
        let id = stream.number;
        let Self { conns, identity, .. } = self;
        let conn = conns.find(stream.conn).filter(|conn| conn.is_channel()).ok_or(StreamError::Gone)?;
        let Conn { stage: Stage::Channel(channel), writable, resume, .. } = conn else {
            return Err(StreamError::Gone);
        };
        channel.stream_protocol(id).filter(|number| *number >= SERVICES).ok_or(StreamError::Gone)?;
        if !*writable {
            channel.want_write(id);
            return Ok(StreamWrite { taken: 0, conn: stream.conn, len: 0 });
        }
        let payload = Payload { bytes, whole: false, finish };
        let written = channel.write_stream(identity.crypto(), now, id, payload, buf);
        let written = written.ok_or(StreamError::NotWritable)?;
        *writable = written.len == 0;
        *resume |= channel.wants_bytes();
        self.channel_events(now, stream.conn);
        Ok(StreamWrite { taken: written.taken, conn: stream.conn, len: written.len })
    }

    /// Sends no more on a stream, after what was written. What the peer sends still arrives.
    pub fn finish_stream(&mut self, stream: StreamId) {
        if let Some((_, channel)) = self.stream_channel(stream) {
            channel.finish_stream(stream.number);
        }
    }

    /// Ends a stream at once, in both directions: the peer is told, and nothing more is told of it here.
    pub fn reset_stream(&mut self, stream: StreamId) {
        if let Some((resume, channel)) = self.stream_channel(stream) {
            *resume |= channel.reset_stream(stream.number);
        } else if let Some(channel) = self.channel(stream.conn) {
            // It is over already, which need not be told any more.
            channel.forget_end(stream.number);
        }
    }

    /// Ends a stream with [`StreamEnd::Expired`], if it is not over in this time from now; `None` takes the
    /// limit away.
    pub fn limit_stream(&mut self, now: Instant, stream: StreamId, time: Option<Duration>) {
        let now = self.now.advance(now);
        if let Some((_, channel)) = self.stream_channel(stream) {
            channel.limit_stream(stream.number, time.map(|time| now + time));
        }
    }

    /// What streams have to tell the embedder.
    pub(super) fn poll_streams(&mut self) -> Option<Action> {
        if let Some((conn, peer, reason)) = self.lost.pop_front() {
            return Some(Action::Stream(StreamEvent::ConnectionLost { conn, peer, reason }));
        }
        let Self { conns, cluster, .. } = self;
        let event = conns.next_where(|conn| {
            if !conn.is_channel() {
                return None;
            }
            let Conn { id, member: Some(member), stage: Stage::Channel(channel), writable, .. } = conn else {
                return None;
            };
            let news = channel.poll_stream(*writable, |number| number >= SERVICES)?;
            Some(event(*id, cluster.member(*member).peer_id(), news))
        })?;
        Some(Action::Stream(event))
    }

    /// A channel is over: the users of its streams are to be told.
    pub(super) fn connection_lost(
        &mut self,
        now: Instant,
        conn: ConnId,
        member: MemberIndex,
        reason: Failure,
    ) {
        self.services.handle_conn_end(conn, member);
        // Another channel of the member may remain, whose next pong is a while off.
        self.serve(now, member);
        let peer = self.peer_id(member);
        if self.lost.len() < self.lost.capacity() {
            self.lost.push_back((conn, peer, reason));
        } else {
            self.counters.notices_dropped += 1;
        }
    }

    pub(super) fn channel(&mut self, conn: ConnId) -> Option<&mut Channel> {
        match self.conns.find(conn).filter(|conn| conn.is_channel()).map(|conn| &mut conn.stage) {
            Some(Stage::Channel(channel)) => Some(channel),
            _ => None,
        }
    }

    /// The channel of a stream of the embedder's, while the stream lives, and whether its connection
    /// is to be offered again.
    fn stream_channel(&mut self, stream: StreamId) -> Option<(&mut bool, &mut Channel)> {
        let conn = self.conns.find(stream.conn).filter(|conn| conn.is_channel())?;
        let Conn { stage: Stage::Channel(channel), resume, .. } = conn else { return None };
        channel.stream_protocol(stream.number).filter(|number| *number >= SERVICES)?;
        Some((resume, channel))
    }
}

fn event(conn: ConnId, peer: PeerId, news: StreamNews) -> StreamEvent {
    let id = |number| StreamId { conn, number };
    match news {
        StreamNews::Opened { stream, .. } => StreamEvent::Opened { stream: id(stream) },
        StreamNews::Accepted { stream, protocol } => {
            let protocol = ProtocolId(protocol.saturating_sub(SERVICES));
            StreamEvent::Accepted { stream: id(stream), peer, protocol }
        }
        StreamNews::Data { stream, offset, len } => StreamEvent::Data { stream: id(stream), offset, len },
        StreamNews::Writable { stream } => StreamEvent::Writable { stream: id(stream) },
        StreamNews::Finished { stream } => StreamEvent::Finished { stream: id(stream) },
        StreamNews::Ended { stream, end } => StreamEvent::Ended { stream: id(stream), reason: end },
    }
}
