//! Streams for others than the channel itself: the node's own protocols, and the embedder's.
//!
//! Payload is stored in neither direction. What arrived is offered where it lies, in the caller's
//! receive buffer ([`StreamNews::Data`]); what is to be sent is encrypted from the caller's slice
//! into the caller's buffer ([`Channel::write_stream`]).

use super::{
    Channel, FRAME_PREFIX,
    app::{App, StreamNews},
    mux::{NO_HEADER, Receiving},
    stream::{Phase, Stream},
    write::Out,
};
use crate::{crypto::Crypto, time::Instant};

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the payload that are in the frame. When fewer than given, the rest can go on after
    /// [`StreamNews::Writable`].
    pub taken: usize,
    /// Length of the frame at the start of the buffer; 0: there is none.
    pub len: usize,
}

/// Bytes that wait for a stream's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The stream.
    pub stream: u32,
    /// Its protocol's number.
    pub protocol: u8,
    /// Where they begin in the bytes that [`Channel::handle_bytes`] did not take.
    pub offset: usize,
    /// How many they are.
    pub len: usize,
}

impl Channel {
    /// Opens a stream for the protocol with this number; returns its yamux id. `keep_room` leaves the
    /// last places of the table ([`RESERVED_STREAMS`](crate::limits::RESERVED_STREAMS)) to the node's own
    /// protocols. `None`: no place is free, or the channel is not ready or going away.
    pub fn open_stream(&mut self, now: Instant, protocol: u8, keep_room: bool) -> Option<u32> {
        let now = self.clock.advance(now);
        if !self.is_ready() {
            return None;
        }
        let keep = if keep_room { self.mux.reserve() } else { usize::from(!self.mux.has_ping_stream()) };
        self.mux.open(now, protocol, keep)
    }

    /// The next news of a stream whose protocol's number is `wanted`, stream by stream in the order
    /// things happened on it. `writable`: the caller could write now, so that
    /// [`StreamNews::Writable`] is of use.
    pub fn poll_stream(&mut self, writable: bool, wanted: impl Fn(u8) -> bool) -> Option<StreamNews> {
        if !self.is_ready() || !(self.mux.news || writable) {
            return None;
        }
        let count = self.mux.streams.end();
        let mut left = false;
        for i in 0..count {
            let at = (self.mux.news_from + i) % count;
            let Some(app) = self.mux.streams.at(at).and_then(|stream| stream.app.as_ref()) else { continue };
            if !wanted(app.protocol) {
                left = true;
                continue;
            }
            if let Some(news) = self.news_of(at, writable) {
                self.mux.news_from = (at + 1) % count;
                return Some(news);
            }
        }
        self.mux.news = left && self.mux.news;
        None
    }

    fn news_of(&mut self, at: usize, writable: bool) -> Option<StreamNews> {
        let hand = self.in_hand.map(|hand| FRAME_PREFIX + hand.consumed);
        let stream = self.mux.streams.at_mut(at)?;
        let (id, can_write) = (stream.id, stream.can_write());
        let ended = matches!(stream.phase, Phase::Ended);
        let app = stream.app.as_mut().filter(|app| !app.dropped)?;
        if app.agreed && !app.agreed_told {
            app.agreed_told = true;
            app.wants_write |= app.ours;
            let protocol = app.protocol;
            return Some(if app.ours {
                StreamNews::Opened { stream: id, protocol }
            } else {
                StreamNews::Accepted { stream: id, protocol }
            });
        }
        if let (Some(offer), Some(offset)) = (self.mux.offer.as_mut(), hand)
            && offer.stream == id
            && !offer.told
        {
            offer.told = true;
            return Some(StreamNews::Data { stream: id, offset, len: offer.len });
        }
        if core::mem::take(&mut app.finish_owed) {
            return Some(StreamNews::Finished { stream: id });
        }
        if let Some(end) = app.end.take() {
            app.dropped = true;
            if ended {
                self.mux.streams.remove(at);
            }
            return Some(StreamNews::Ended { stream: id, end });
        }
        if writable && can_write && app.wants_write {
            app.wants_write = false;
            return Some(StreamNews::Writable { stream: id });
        }
        None
    }

    /// The bytes that wait for a stream's user now, told or not.
    pub fn offered(&mut self) -> Option<Offered> {
        let hand = self.in_hand?;
        let offer = self.mux.offer?;
        let protocol = self.app(offer.stream)?.protocol;
        Some(Offered { stream: offer.stream, protocol, offset: FRAME_PREFIX + hand.consumed, len: offer.len })
    }

    /// The user copied the first `n` offered bytes of `stream`. They count against its window until
    /// [`Channel::release`]. True when all that was offered is taken: offer the bytes in hand again.
    pub fn take(&mut self, stream: u32, n: usize) -> bool {
        let Self { in_hand: Some(hand), mux, events, .. } = self else { return false };
        let Some(offer) = mux.offer.as_mut().filter(|offer| offer.stream == stream) else { return false };
        let n = n.min(offer.len);
        offer.len -= n;
        let all = offer.len == 0;
        hand.consumed += n;
        if let Some(app) = mux.find(stream).and_then(|stream| stream.app.as_mut()) {
            // At most a window, since it was let in.
            app.held = app.held.saturating_add(n as u32);
            app.hoard = app.hoard.filter(|_| !all);
        }
        if all {
            mux.offer = None;
        }
        if let Receiving::Data { stream, left, fin } = mux.receiving {
            let left = left.saturating_sub(n as u32);
            mux.receiving = Receiving::Data { stream, left, fin };
            if left == 0 {
                mux.receiving = NO_HEADER;
                if fin {
                    mux.handle_fin(stream, events);
                }
            }
        }
        all
    }

    /// The user is done with `n` bytes that it took: the peer may send as many more, and what the user
    /// had no room for is offered again.
    pub fn release(&mut self, stream: u32, n: usize) {
        if let Some(offer) = &mut self.mux.offer {
            offer.told = false;
            self.mux.news = true;
        }
        let Some(stream) = self.mux.find(stream) else { return };
        let Some(app) = &mut stream.app else { return };
        let n = u32::try_from(n).unwrap_or(u32::MAX).min(app.held);
        app.held -= n;
        stream.consume(n as usize);
    }

    /// Writes one frame with what the channel owes and then as much of `payload` as has room in `buf`
    /// and in the peer's window; with `whole`, all of it or nothing. With `finish` the stream is finished
    /// once all of `payload` is written. `None`: there is no such stream, or it is finished.
    ///
    /// `buf` as in [`Channel::poll_write`].
    pub fn write_stream<C: Crypto>(
        &mut self,
        crypto: &C,
        now: Instant,
        stream: u32,
        payload: Payload<'_>,
        buf: &mut [u8],
    ) -> Option<Written> {
        let now = self.clock.advance(now);
        let open = |stream: &mut Stream| stream.app.is_some() && !stream.fin_owed && stream.is_agreed();
        if !self.is_ready() || !self.mux.find(stream).is_some_and(open) {
            return None;
        }
        let mut taken = 0;
        let len = self.write_frame(crypto, now, buf, |channel, out| {
            channel.write_owed(crypto, now, out);
            if channel.is_ready() {
                taken = channel.write_payload(stream, payload, out);
            }
        });
        Some(Written { taken, len })
    }

    fn write_payload(&mut self, id: u32, payload: Payload<'_>, out: &mut Out<'_>) -> usize {
        let Some(stream) = self.mux.find(id) else { return 0 };
        let taken = stream.write_app(payload.bytes, payload.whole, out);
        let all = taken == payload.bytes.len();
        if let Some(app) = &mut stream.app {
            app.wants_write = !all;
        }
        if all && payload.finish {
            stream.fin_owed = true;
            stream.write_fin(out);
            if stream.is_over() {
                self.mux.remove(id, super::StreamEnd::Finished);
            }
        }
        taken
    }

    /// Asks for [`StreamNews::Writable`] once there is room.
    pub fn want_write(&mut self, stream: u32) {
        if let Some(app) = self.app_mut(stream) {
            app.wants_write = true;
        }
    }

    /// Sends no more on a stream, after what was written. The peer's direction stays open.
    pub fn finish_stream(&mut self, stream: u32) -> bool {
        let Some(stream) = self.mux.find(stream).filter(|stream| stream.app.is_some()) else { return false };
        stream.fin_owed = true;
        true
    }

    /// Ends a stream at once, in both directions. Nothing more is told of it. True when bytes in hand
    /// waited for it: offer them again.
    pub fn reset_stream(&mut self, id: u32) -> bool {
        if self.mux.forget_ended(id) {
            return false;
        }
        let Some(stream) = self.mux.find(id) else { return false };
        let Some(app) = &mut stream.app else { return false };
        app.dropped = true;
        app.end = None;
        stream.reset();
        let waited = self.mux.offer.is_some_and(|offer| offer.stream == id);
        self.mux.offer = self.mux.offer.filter(|_| !waited);
        waited
    }

    /// The end of a stream that is over is not told any more.
    pub(crate) fn forget_end(&mut self, stream: u32) {
        self.mux.forget_ended(stream);
    }

    /// Ends a stream with [`StreamEnd::Expired`](super::StreamEnd::Expired) at this time, if it is not over
    /// by then; `None` takes the limit away.
    pub fn limit_stream(&mut self, stream: u32, at: Option<Instant>) -> bool {
        let Some(app) = self.app_mut(stream) else { return false };
        app.expires = at;
        true
    }

    /// Whether any stream is open, or its end not told yet, whose protocol's number is `wanted`.
    pub fn has_streams(&self, wanted: impl Fn(u8) -> bool) -> bool {
        let apps = self.mux.streams.iter().filter_map(|stream| stream.app.as_ref());
        apps.into_iter().any(|app| !app.dropped && wanted(app.protocol))
    }

    /// The number of a stream's protocol, while the stream lives.
    pub fn stream_protocol(&mut self, stream: u32) -> Option<u8> {
        self.app(stream).map(|app| app.protocol)
    }

    fn app(&mut self, stream: u32) -> Option<App> {
        self.mux.find(stream)?.app
    }

    fn app_mut(&mut self, stream: u32) -> Option<&mut App> {
        self.mux.find(stream)?.app.as_mut()
    }
}

/// What is to be written on a stream.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// All of them in this frame, or none.
    pub whole: bool,
    /// Nothing follows them.
    pub finish: bool,
}

impl<'a> Payload<'a> {
    /// As many of these bytes as fit; more may follow.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, whole: false, finish: false }
    }
}
