//! What a machine can do while it is called.
//!
//! Invariants: everything here takes effect at the virtual moment of the call and in the order of the calls;
//! a machine that has reached its crash point in the midst of a call goes on in a vacuum: nothing it does
//! afterwards counts.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::disk::Change;
use crate::machine::{NodeId, StreamId, WriteId};
use crate::story::What;
use crate::time::Nanos;
use crate::world::World;

/// The world as a machine sees it during one call: its clock, its host's sockets, its disk.
pub struct Context<'a, O> {
    world: &'a mut World,
    node: NodeId,
    outputs: &'a mut Vec<Output<O>>,
}

/// Something that a machine did, for observers; see [`Sim::observe`](crate::Sim::observe).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<O> {
    /// [`Context::send`].
    Sent {
        /// The socket, as the machine named it.
        from: SocketAddr,
        /// The receiver.
        to: SocketAddr,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// [`Context::dial`].
    Dialled {
        /// Our end.
        stream: StreamId,
        /// The address dialled.
        to: SocketAddr,
    },
    /// [`Context::write`].
    Wrote {
        /// Our end.
        stream: StreamId,
        /// What was taken of it.
        bytes: Vec<u8>,
    },
    /// [`Context::finish`].
    Finished(StreamId),
    /// [`Context::close`] or [`Context::reset`].
    Closed(StreamId),
    /// [`Context::put`] or [`Context::remove`].
    Put {
        /// The write.
        id: WriteId,
        /// Its key.
        key: Vec<u8>,
        /// Its value; `None` removes the key.
        value: Option<Vec<u8>>,
    },
    /// [`Context::write_at`].
    WroteAt {
        /// The write.
        id: WriteId,
        /// The file.
        file: Vec<u8>,
        /// Where in it.
        offset: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// [`Context::sync`].
    Synced(WriteId),
    /// [`Context::observe`].
    Observed(O),
}

impl<'a, O: fmt::Debug> Context<'a, O> {
    pub(crate) const fn new(world: &'a mut World, node: NodeId, outputs: &'a mut Vec<Output<O>>) -> Self {
        Self { world, node, outputs }
    }

    /// What the node's own clock shows.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.world.local_time(self.node)
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The node's addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        self.world.host(self.node).map_or(&[], |host| &host.addresses)
    }

    /// Asks for [`Machine::handle_timeout`](crate::Machine::handle_timeout) when the node's clock shows `deadline`
    /// or later (at once, if it does already); `None` for never. Replaces the deadline set before.
    pub fn set_deadline(&mut self, deadline: Option<Nanos>) {
        if self.lives() {
            self.world.set_deadline(self.node, deadline);
        }
    }

    /// Tells the outside something.
    pub fn observe(&mut self, observation: O) {
        if self.lives() {
            let node = self.node;
            self.world.trace.line(format_args!("{node} -> {observation:?}"), &[]);
            self.world.tell(node, || What::Observed(format!("{observation:?}")));
            self.outputs.push(Output::Observed(observation));
        }
    }

    /// Receives datagrams on this port, on all addresses of the host, until the machine crashes. Port 0: on any
    /// free one. Answers the port.
    pub fn bind(&mut self, port: u16) -> u16 {
        let port = self.world.choose_port(self.node, port);
        if self.lives()
            && let Some(host) = self.world.host_mut(self.node)
        {
            host.datagram_ports.insert(port);
        }
        port
    }

    /// Accepts streams on this port, on all addresses of the host, until the machine crashes. Port 0: on any
    /// free one. Answers the port.
    pub fn listen(&mut self, port: u16) -> u16 {
        let port = self.world.choose_port(self.node, port);
        if self.lives()
            && let Some(host) = self.world.host_mut(self.node)
        {
            host.listening.insert(port);
        }
        port
    }

    /// Receives and accepts nothing on this port any more. Open streams stay.
    pub fn unbind(&mut self, port: u16) {
        if self.lives()
            && let Some(host) = self.world.host_mut(self.node)
        {
            host.datagram_ports.remove(&port);
            host.listening.remove(&port);
        }
    }

    /// Sends a datagram from a bound port. Where `from` has the unspecified address (`0.0.0.0` or `::`), the
    /// host puts its own. From a port that is not bound, or an address it does not have, nothing is sent.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.send_from(from, to, bytes, false);
    }

    /// Sends a datagram that names whatever source its sender likes, as a host can whose network lets it: nothing
    /// need be bound, the address may be another node's. What comes back goes to whoever has it.
    pub fn forge(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.send_from(from, to, bytes, true);
    }

    fn send_from(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8], forged: bool) {
        if !self.lives() {
            return;
        }
        let (node, length) = (self.node, bytes.len());
        let verb = if forged { "forges to" } else { "sends" };
        self.world.trace.line(format_args!("{node} -> {from} {verb} {to} {length} B"), bytes);
        self.world.send_datagram(node, from, to, bytes, forged);
        let bytes = bytes.to_vec();
        self.outputs.push(Output::Sent { from, to, bytes });
    }

    /// Begins to open a stream. [`Event::Connected`](crate::Event) or [`Event::DialFailed`](crate::Event)
    /// follows.
    pub fn dial(&mut self, to: SocketAddr) -> StreamId {
        if !self.lives() {
            return StreamId(u64::MAX);
        }
        let stream = self.world.dial(self.node, to);
        let node = self.node;
        self.world.trace.line(format_args!("{node} -> {stream} dials {to}"), &[]);
        self.world.tell(node, || What::Dialled { stream, to });
        self.outputs.push(Output::Dialled { stream, to });
        stream
    }

    /// Writes to an open stream, and answers how many of the bytes the send buffer took. Where it is not all of
    /// them, [`Event::Writable`](crate::Event) follows when there is room again. A stream that is not open
    /// takes nothing.
    pub fn write(&mut self, stream: StreamId, bytes: &[u8]) -> usize {
        if !self.lives() {
            return bytes.len();
        }
        let taken = self.world.write_stream(self.node, stream, bytes);
        let (node, length, bytes) = (self.node, bytes.len(), &bytes[..taken]);
        self.world.trace.line(format_args!("{node} -> {stream} writes {taken} of {length} B"), bytes);
        self.world.tell(node, || What::Wrote { stream, length: taken });
        let bytes = bytes.to_vec();
        self.outputs.push(Output::Wrote { stream, bytes });
        taken
    }

    /// How many bytes [`Context::write`] would take now.
    #[must_use]
    pub fn room(&self, stream: StreamId) -> usize {
        self.world.stream_room(self.node, stream)
    }

    /// Asks for one [`Event::Writable`](crate::Event) as soon as there is this much room (cut to the size of the
    /// buffer), even if there is already.
    pub fn notify_writable(&mut self, stream: StreamId, room: usize) {
        if self.lives() {
            self.world.want_room(self.node, stream, room);
        }
    }

    /// Asks to be offered again what [`Machine::handle_bytes`](crate::Machine::handle_bytes) did not take.
    pub fn resume(&mut self, stream: StreamId) {
        if self.lives() {
            self.world.resume_stream(self.node, stream);
        }
    }

    /// Writes no more to a stream, and still reads: what was written arrives, then the peer hears of the end
    /// ([`Machine::handle_finish`](crate::Machine::handle_finish)). When the peer has finished too,
    /// [`Event::Closed`](crate::Event) follows.
    pub fn finish(&mut self, stream: StreamId) {
        if self.lives() && self.world.finish_stream(self.node, stream) {
            let node = self.node;
            self.world.trace.line(format_args!("{node} -> {stream} finishes"), &[]);
            self.world.tell(node, || What::Finished { stream });
            self.outputs.push(Output::Finished(stream));
        }
    }

    /// Closes a stream, both ways: what was written still arrives, what comes in is thrown away. The id is
    /// dead, and no event follows.
    pub fn close(&mut self, stream: StreamId) {
        if self.lives() {
            let node = self.node;
            self.world.trace.line(format_args!("{node} -> {stream} closes"), &[]);
            self.world.close_stream(node, stream);
            self.world.tell(node, || What::Closed { stream, reason: None });
            self.outputs.push(Output::Closed(stream));
        }
    }

    /// Breaks a stream off: what was written and has not arrived is lost. The id is dead, and no event follows.
    pub fn reset(&mut self, stream: StreamId) {
        if self.lives() {
            let node = self.node;
            self.world.trace.line(format_args!("{node} -> {stream} resets"), &[]);
            self.world.reset_stream(node, stream);
            self.world.tell(node, || What::Closed { stream, reason: None });
            self.outputs.push(Output::Closed(stream));
        }
    }

    /// Writes a value to the disk. It is durable once [`Event::Stored`](crate::Event) says so; until then a crash
    /// may lose it or keep it.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> WriteId {
        self.store(key, Some(value))
    }

    /// Removes a key from the disk; otherwise like [`Context::put`].
    pub fn remove(&mut self, key: &[u8]) -> WriteId {
        self.store(key, None)
    }

    fn store(&mut self, key: &[u8], value: Option<&[u8]>) -> WriteId {
        if !self.lives() {
            return WriteId(u64::MAX);
        }
        let change = Change::Value(value.map(<[u8]>::to_vec));
        let id = self.world.change_disk(self.node, key, change);
        let (node, length) = (self.node, value.map_or(0, <[u8]>::len));
        self.world.trace.line(
            format_args!("{node} -> {id} puts {length} B at {}", key.escape_ascii()),
            value.unwrap_or(&[]),
        );
        self.world.tell(node, || {
            let length = value.map(<[u8]>::len);
            What::Put { write: id, key: key.to_vec(), length }
        });
        self.outputs.push(Output::Put { id, key: key.to_vec(), value: value.map(<[u8]>::to_vec) });
        id
    }

    /// Writes to a part of a file, which grows as needed (with zeros, where there is a gap). It is in the cache
    /// only: [`Context::read`] shows it at once, no event follows, and a crash may lose, keep or tear it, and keep
    /// a later one without it, until a [`Context::sync`] asked for after it is done. Files and values have their
    /// names in common; a value written later overrules what the file held.
    pub fn write_at(&mut self, file: &[u8], offset: usize, bytes: &[u8]) -> WriteId {
        if !self.lives() {
            return WriteId(u64::MAX);
        }
        let change = Change::Part { offset, bytes: bytes.to_vec() };
        let id = self.world.change_disk(self.node, file, change);
        let (node, length) = (self.node, bytes.len());
        self.world.trace.line(
            format_args!("{node} -> {id} writes {length} B at {offset} of {}", file.escape_ascii()),
            bytes,
        );
        self.world.tell(node, || What::Put { write: id, key: file.to_vec(), length: Some(length) });
        self.outputs.push(Output::WroteAt { id, file: file.to_vec(), offset, bytes: bytes.to_vec() });
        id
    }

    /// Asks for everything written to files so far to be made durable; it is once
    /// [`Event::Stored`](crate::Event) says so. Where [`Event::StoreFailed`](crate::Event) does, nothing of it is
    /// sure, and a later sync covers it again.
    pub fn sync(&mut self) -> WriteId {
        if !self.lives() {
            return WriteId(u64::MAX);
        }
        let id = self.world.change_disk(self.node, &[], Change::Sync);
        let node = self.node;
        self.world.trace.line(format_args!("{node} -> {id} syncs"), &[]);
        self.world.tell(node, || What::Sync { write: id });
        self.outputs.push(Output::Synced(id));
        id
    }

    /// What a file, or a key, holds: everything written so far, durable or not.
    #[must_use]
    pub fn read(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.world.host(self.node)?.disk.read(name)
    }

    fn lives(&self) -> bool {
        self.world.host(self.node).is_some_and(|host| !host.doomed)
    }
}

impl<O> fmt::Debug for Context<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("node", &self.node).finish_non_exhaustive()
    }
}
