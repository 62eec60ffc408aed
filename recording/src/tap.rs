//! The node with a recorder beside it, if somebody asked for one.

use std::{net::SocketAddr, time::Duration};

use coracle_core::{
    crypto::{Crypto, RustCrypto},
    id::PeerId,
    node::{
        Action, Command, ConnId, DialError, Event, Node, ProtocolId, RequestError, RequestId, StreamError,
        StreamId, StreamWrite,
    },
    time::Instant,
};

use super::{Recorder, hash, info, list, member, or, written};

/// A node whose every input and action is written down, if there is a recorder. The methods are the node's own.
#[derive(Debug)]
pub struct Tapped<C: Crypto = RustCrypto> {
    node: Node<C>,
    recorder: Option<Recorder>,
}

impl<C: Crypto> Tapped<C> {
    /// A fresh node, and the recorder that has [begun](Recorder::begin) with its configuration.
    pub const fn new(node: Node<C>, recorder: Option<Recorder>) -> Self {
        Self { node, recorder }
    }

    /// The node, for what changes nothing.
    pub const fn node(&self) -> &Node<C> {
        &self.node
    }

    /// [`Node::handle_datagram`].
    pub fn handle_datagram(&mut self, now: Instant, local: SocketAddr, from: SocketAddr, bytes: &mut [u8]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.line(format_args!(
                "datagram {} {local} {from} {}",
                now.as_nanos(),
                hex::encode(&*bytes)
            ));
        }
        self.node.handle_datagram(now, local, from, bytes);
    }

    /// [`Node::accept`].
    pub fn accept(&mut self, now: Instant, from: SocketAddr) -> ConnId {
        let conn = self.node.accept(now, from);
        if let Some(recorder) = &mut self.recorder {
            recorder.line(format_args!("accepted {} {conn} {from}", now.as_nanos()));
        }
        conn
    }

    /// [`Node::handle_bytes`].
    pub fn handle_bytes(&mut self, now: Instant, conn: ConnId, bytes: &mut [u8]) -> usize {
        let before = self.recorder.is_some().then(|| hex::encode(&*bytes));
        let taken = self.node.handle_bytes(now, conn, bytes);
        if let Some((recorder, before)) = self.recorder.as_mut().zip(before) {
            recorder.line(format_args!("bytes {} {conn} {taken} {before}", now.as_nanos()));
        }
        taken
    }

    /// [`Node::handle_event`].
    pub fn handle_event(&mut self, now: Instant, event: Event<'_>) {
        if let Some(recorder) = &mut self.recorder {
            let at = now.as_nanos();
            match event {
                Event::Connected(conn) => recorder.line(format_args!("connected {at} {conn}")),
                Event::DialFailed(conn, why) => {
                    recorder.line(format_args!("dial-failed {at} {conn} {}", dial_error(why)));
                }
                Event::Writable(conn) => recorder.line(format_args!("writable {at} {conn}")),
                Event::Closed(conn) => recorder.line(format_args!("closed {at} {conn}")),
                Event::Stored(id) => recorder.line(format_args!("stored {at} {id:?}")),
                Event::StoreFailed(id) => recorder.line(format_args!("store-failed {at} {id:?}")),
                Event::Resolved(id, to) => recorder.line(format_args!("resolved {at} {id:?} {}", list(to))),
                Event::Interfaces(are) => recorder.line(format_args!("interfaces {at} {}", list(are))),
                Event::WallClock(ms) => recorder.line(format_args!("wall-clock {at} {ms}")),
            }
        }
        self.node.handle_event(now, event);
    }

    /// [`Node::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.line(format_args!("timeout {}", now.as_nanos()));
        }
        self.node.handle_timeout(now);
    }

    /// [`Node::request`].
    pub fn request(&mut self, now: Instant, command: Command) -> Result<RequestId, RequestError> {
        if let Some(recorder) = &mut self.recorder {
            let at = now.as_nanos();
            match &command {
                Command::Ping(peer) => {
                    recorder.line(format_args!("ping {at} {}", hex::encode(peer.to_bytes())))
                }
                Command::LookUp(id) => {
                    recorder.line(format_args!("look-up {at} {}", hex::encode(id.as_bytes())))
                }
                Command::Hint(peer, endpoint) => {
                    recorder.line(format_args!("hint {at} {} {endpoint}", hex::encode(peer.to_bytes())));
                }
                Command::Address(endpoint) => recorder.line(format_args!("address {at} {endpoint}")),
                Command::SetMembers(members) => {
                    let members: Vec<String> = members.iter().map(member).collect();
                    recorder.line(format_args!("members {at} {} {}", members.len(), members.join(" ")));
                }
                Command::SetInfo(of) => recorder.line(format_args!("info {at} {}", info(of))),
                Command::Bootnodes(records) => {
                    let records: Vec<String> = records.iter().map(|r| hex::encode(r.as_bytes())).collect();
                    recorder.line(format_args!("bootnodes {at} {}", list(&records)));
                }
                Command::Shutdown => recorder.line(format_args!("shutdown {at}")),
            }
        }
        self.node.request(now, command)
    }

    /// [`Node::open_stream`].
    pub fn open_stream(
        &mut self,
        now: Instant,
        peer: PeerId,
        protocol: ProtocolId,
    ) -> Result<StreamId, StreamError> {
        if let Some(recorder) = &mut self.recorder {
            let peer = hex::encode(peer.to_bytes());
            recorder.line(format_args!("open {} {peer} {}", now.as_nanos(), protocol.0));
        }
        self.node.open_stream(now, peer, protocol)
    }

    /// [`Node::write_stream`].
    pub fn write_stream(
        &mut self,
        now: Instant,
        stream: StreamId,
        bytes: &[u8],
        finish: bool,
        buf: &mut [u8],
    ) -> Result<StreamWrite, StreamError> {
        let result = self.node.write_stream(now, stream, bytes, finish, buf);
        if let Some(recorder) = &mut self.recorder {
            recorder.line(format_args!(
                "write {} {stream} {finish} {} {}",
                now.as_nanos(),
                written(&result, buf),
                hex::encode(bytes)
            ));
        }
        result
    }

    /// [`Node::take`].
    pub fn take(&mut self, stream: StreamId, n: usize) {
        self.stream_line("take", stream, &n.to_string());
        self.node.take(stream, n);
    }

    /// [`Node::release`].
    pub fn release(&mut self, stream: StreamId, n: usize) {
        self.stream_line("release", stream, &n.to_string());
        self.node.release(stream, n);
    }

    /// [`Node::finish_stream`].
    pub fn finish_stream(&mut self, stream: StreamId) {
        self.stream_line("finish", stream, "");
        self.node.finish_stream(stream);
    }

    /// [`Node::reset_stream`].
    pub fn reset_stream(&mut self, stream: StreamId) {
        self.stream_line("reset", stream, "");
        self.node.reset_stream(stream);
    }

    /// [`Node::limit_stream`].
    pub fn limit_stream(&mut self, now: Instant, stream: StreamId, time: Option<Duration>) {
        if let Some(recorder) = &mut self.recorder {
            let time = or(time.map(|time| time.as_nanos()));
            recorder.line(format_args!("limit {} {stream} {time}", now.as_nanos()));
        }
        self.node.limit_stream(now, stream, time);
    }

    /// A line of something that takes no time; its moment is written as 0.
    fn stream_line(&mut self, word: &str, stream: StreamId, rest: &str) {
        if let Some(recorder) = &mut self.recorder {
            recorder.line(format_args!("{word} 0 {stream} {rest}"));
        }
    }

    /// [`Node::poll`].
    pub fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Action {
        let action = self.node.poll(now, buf);
        if let Some(recorder) = &mut self.recorder {
            recorder.line(format_args!("poll {} {}", now.as_nanos(), hash(&action, buf)));
        }
        action
    }
}

const fn dial_error(error: DialError) -> &'static str {
    match error {
        DialError::Refused => "refused",
        DialError::Unreachable => "unreachable",
        DialError::TimedOut => "timed-out",
        DialError::Other => "other",
    }
}
