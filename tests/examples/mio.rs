//! A node over mio: one thread, one `Poll`, no executor. Two of them meet on loopback.
//!
//! mio tells each change once: a socket is read or written until it says `WouldBlock`. There are few sockets, so all
//! of them are looked at, whichever changed.
//!
//! Run it: `cargo run -p coracle-tests --example mio`

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read as _, Write as _},
    thread,
};

use coracle_core::{
    limits::{CHANNEL_READ_SIZE, MAX_PACKET_SIZE},
    node::{Action, ConnId, DialError, Event, Node, ReceiveBuffer},
    time::Instant,
};
use mio::{Events, Interest, Poll, Token, net};

mod setup;

struct Connection {
    stream: net::TcpStream,
    connecting: bool,
    received: ReceiveBuffer,
    unwritten: Vec<u8>,
}

struct Host {
    node: Node,
    clock: setup::Clock,
    poll: Poll,
    udp: net::UdpSocket,
    listener: net::TcpListener,
    connections: BTreeMap<ConnId, Connection>,
    done: setup::Done,
    buf: Vec<u8>,
}

fn main() -> io::Result<()> {
    setup::two(|node, clock, udp, listener, done| {
        let (udp, listener) = (net::UdpSocket::from_std(udp), net::TcpListener::from_std(listener));
        let (poll, connections, buf) = (Poll::new()?, BTreeMap::new(), vec![0; CHANNEL_READ_SIZE]);
        let host = Host { node, clock, poll, udp, listener, connections, done, buf };
        thread::spawn(|| host.run());
        Ok(())
    })
}

impl Host {
    fn run(mut self) -> io::Result<()> {
        self.poll.registry().register(&mut self.udp, Token(0), Interest::READABLE)?;
        self.poll.registry().register(&mut self.listener, Token(0), Interest::READABLE)?;
        let (mut events, mut packet) = (Events::with_capacity(64), [0; MAX_PACKET_SIZE]);
        let local = self.udp.local_addr()?;
        loop {
            let wait = self.act()?.map(|at| at.since(self.clock.now()));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => self.node.handle_timeout(self.clock.now()),
            }
            while let Ok((len, from)) = self.udp.recv_from(&mut packet) {
                self.node.handle_datagram(self.clock.now(), local, from, &mut packet[..len]);
                self.act()?;
            }
            while let Ok((stream, from)) = self.listener.accept() {
                let conn = self.node.accept(self.clock.now(), from);
                self.add(conn, stream, false)?;
            }
            for conn in self.connections.keys().copied().collect::<Vec<_>>() {
                self.serve(conn);
            }
        }
    }

    fn add(&mut self, conn: ConnId, mut stream: net::TcpStream, connecting: bool) -> io::Result<()> {
        self.poll.registry().register(&mut stream, Token(0), Interest::READABLE | Interest::WRITABLE)?;
        let (received, unwritten) = (ReceiveBuffer::new(), Vec::new());
        self.connections.insert(conn, Connection { stream, connecting, received, unwritten });
        Ok(())
    }

    /// Finishes dialling, writes and reads what it can.
    fn serve(&mut self, conn: ConnId) {
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection
            .serve(conn, &mut self.node, now)
            .is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
        {
            let failed = Event::DialFailed(conn, DialError::Other);
            let event = if connection.connecting { failed } else { Event::Closed(conn) };
            self.node.handle_event(now, event);
            self.connections.remove(&conn);
        }
    }

    /// Does what the node says until it says "wait": until when.
    fn act(&mut self) -> io::Result<Option<Instant>> {
        loop {
            let now = self.clock.now();
            match self.node.poll(now, &mut self.buf) {
                // A datagram that the system does not take is lost, as any may be.
                Action::Send { to, len } => drop(self.udp.send_to(&self.buf[..len], to)),
                Action::Dial { conn, to } => match net::TcpStream::connect(to) {
                    Ok(stream) => self.add(conn, stream, true)?,
                    Err(_) => self.node.handle_event(now, Event::DialFailed(conn, DialError::Other)),
                },
                Action::Write { conn, len } => {
                    let Some(connection) = self.connections.get_mut(&conn) else { continue };
                    connection.unwritten.extend_from_slice(&self.buf[..len]);
                    self.serve(conn);
                }
                Action::Close { conn } => drop(self.connections.remove(&conn)),
                Action::Resume { conn } => self.serve(conn),
                Action::Wait(deadline) => return Ok(deadline),
                other => setup::elsewhere(&mut self.node, now, other, &self.done),
            }
        }
    }
}

impl Connection {
    /// Ends with an error: mostly `WouldBlock`, until there is more to do.
    fn serve(&mut self, conn: ConnId, node: &mut Node, now: Instant) -> io::Result<()> {
        if self.connecting {
            self.stream.take_error()?.map_or(Ok(()), Err)?;
            self.stream.peer_addr().map_err(|_| ErrorKind::WouldBlock)?;
            self.connecting = false;
            node.handle_event(now, Event::Connected(conn));
        }
        let written = self.write(conn, node, now);
        self.received.offer(|bytes| node.handle_bytes(now, conn, bytes));
        let mut chunk = [0; 4096];
        while self.received.has_room() {
            let n = self.stream.read(&mut chunk)?;
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.received.extend(&chunk[..n]);
            self.received.offer(|bytes| node.handle_bytes(now, conn, bytes));
        }
        written
    }

    fn write(&mut self, conn: ConnId, node: &mut Node, now: Instant) -> io::Result<()> {
        while !self.unwritten.is_empty() {
            let n = self.stream.write(&self.unwritten)?;
            self.unwritten.drain(..n);
            if self.unwritten.is_empty() {
                node.handle_event(now, Event::Writable(conn));
            }
        }
        Ok(())
    }
}
