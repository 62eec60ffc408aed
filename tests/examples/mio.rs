//! A node over mio: one thread, one `Poll`, no executor. Two of them meet on loopback.
//!
//! mio tells each change once: a socket is read or written until it says `WouldBlock`.
//!
//! Run it: `cargo run -p coracle-tests --example mio`

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind::WouldBlock, Read as _, Write as _},
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use coracle_core::{
    limits::{CHANNEL_READ_SIZE, MAX_PACKET_SIZE},
    node::{Action, ConnId, DialError, Event, Node, Notice},
    time::Instant,
};
use mio::{Events, Interest, Poll, Token, net};

mod setup;

const UDP: Token = Token(0);
const LISTENER: Token = Token(1);

struct Connection {
    stream: net::TcpStream,
    connecting: bool,
    received: Vec<u8>,
    unwritten: Vec<u8>,
}

struct Host {
    node: Node,
    start: std::time::Instant,
    poll: Poll,
    udp: net::UdpSocket,
    listener: net::TcpListener,
    connections: BTreeMap<ConnId, Connection>,
    /// mio's names of the connections.
    tokens: BTreeMap<Token, ConnId>,
    made: usize,
    deadline: Option<Instant>,
}

fn main() -> io::Result<()> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut sockets = Vec::new();
    for _ in 0..2 {
        sockets.push((net::UdpSocket::bind(any)?, net::TcpListener::bind(any)?));
    }
    let tcp = [sockets[0].1.local_addr()?, sockets[1].1.local_addr()?];
    let answered = &AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (i, (udp, listener)) in sockets.into_iter().enumerate() {
            let config = setup::config(i, udp.local_addr()?.port(), tcp[i].port(), tcp[1 - i]);
            threads.push(scope.spawn(move || Host::new(config, udp, listener)?.run(answered)));
        }
        threads.into_iter().try_for_each(|thread| thread.join().expect("the loop does not panic"))
    })?;
    println!("both have a channel and an answered ping");
    Ok(())
}

impl Host {
    fn new(
        config: coracle_core::node::Config,
        mut udp: net::UdpSocket,
        mut listener: net::TcpListener,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut udp, UDP, Interest::READABLE)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let node = Node::new(Instant::ZERO, config).map_err(io::Error::other)?;
        let (connections, tokens) = (BTreeMap::new(), BTreeMap::new());
        let start = std::time::Instant::now();
        Ok(Self { node, start, poll, udp, listener, connections, tokens, made: 0, deadline: None })
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    /// The loop. Each side stays until both have had an answer.
    fn run(&mut self, answered: &AtomicUsize) -> io::Result<()> {
        let (mut events, mut told) = (Events::with_capacity(64), false);
        while answered.load(Ordering::Relaxed) < 2 {
            if self.act()? && !std::mem::replace(&mut told, true) {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            // At most so long, since the other thread ends us without an event.
            let most = std::time::Duration::from_millis(100);
            let wait = self.deadline.map_or(most, |at| at.since(self.now()).min(most));
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    UDP => self.read_datagrams()?,
                    LISTENER => self.accept()?,
                    token => self.tokens.get(&token).copied().map_or(Ok(()), |conn| self.serve(conn))?,
                }
            }
            self.node.handle_timeout(self.now());
        }
        Ok(())
    }

    fn read_datagrams(&mut self) -> io::Result<()> {
        let (mut packet, local) = ([0; MAX_PACKET_SIZE], self.udp.local_addr()?);
        while let Some((len, from)) = ready(self.udp.recv_from(&mut packet))? {
            self.node.handle_datagram(self.now(), local, from, &mut packet[..len]);
            self.act()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Some((stream, from)) = ready(self.listener.accept())? {
            let conn = ConnId::accepted(self.made as u64);
            self.add(conn, stream, false)?;
            self.node.handle_event(self.now(), Event::Accepted { conn, from });
        }
        Ok(())
    }

    fn add(&mut self, conn: ConnId, mut stream: net::TcpStream, connecting: bool) -> io::Result<()> {
        let token = Token(2 + self.made);
        self.made += 1;
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.tokens.insert(token, conn);
        let connection = Connection { stream, connecting, received: Vec::new(), unwritten: Vec::new() };
        self.connections.insert(conn, connection);
        Ok(())
    }

    /// Something changed: finishes dialling, writes and reads what it can.
    fn serve(&mut self, conn: ConnId) -> io::Result<()> {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&conn) else { return Ok(()) };
        if connection.connecting {
            if connection.stream.take_error()?.is_some() {
                self.forget(conn);
                self.node.handle_event(now, Event::DialFailed(conn, DialError::Other));
                return Ok(());
            }
            if connection.stream.peer_addr().is_err() {
                return Ok(()); // not yet
            }
            connection.connecting = false;
            self.node.handle_event(now, Event::Connected(conn));
        }
        if !connection.unwritten.is_empty()
            && let Ok(Some(n)) = ready(connection.stream.write(&connection.unwritten))
        {
            connection.unwritten.drain(..n);
            if connection.unwritten.is_empty() {
                self.node.handle_event(now, Event::Writable(conn));
            }
        }
        let mut chunk = [0; 4096];
        // What is not taken stays, and beyond a whole frame nothing more is read.
        while connection.received.len() < CHANNEL_READ_SIZE {
            match ready(connection.stream.read(&mut chunk)) {
                Ok(Some(n)) if n > 0 => connection.received.extend_from_slice(&chunk[..n]),
                Ok(None) => break,
                _ => {
                    self.forget(conn);
                    self.node.handle_event(now, Event::Closed(conn));
                    return Ok(());
                }
            }
            let taken = self.node.handle_bytes(now, conn, &mut connection.received);
            connection.received.drain(..taken);
        }
        Ok(())
    }

    fn forget(&mut self, conn: ConnId) {
        self.connections.remove(&conn);
        self.tokens.retain(|_, other| *other != conn);
    }

    /// Does what the node says until it says "wait". Whether a ping was answered.
    fn act(&mut self) -> io::Result<bool> {
        let (mut buf, mut answered) = (vec![0; CHANNEL_READ_SIZE], false);
        loop {
            let now = self.now();
            match self.node.poll(now, &mut buf) {
                // A datagram that the system does not take is lost, as any may be.
                Action::Send { to, len } => drop(self.udp.send_to(&buf[..len], to)),
                Action::Dial { conn, to } => match net::TcpStream::connect(to) {
                    Ok(stream) => self.add(conn, stream, true)?,
                    Err(_) => self.node.handle_event(now, Event::DialFailed(conn, DialError::Other)),
                },
                Action::Write { conn, len } => {
                    if let Some(connection) = self.connections.get_mut(&conn) {
                        connection.unwritten.extend_from_slice(&buf[..len]);
                    }
                    self.serve(conn)?;
                }
                Action::Close { conn } => self.forget(conn),
                Action::Resume { conn } => {
                    if let Some(connection) = self.connections.get_mut(&conn) {
                        let taken = self.node.handle_bytes(now, conn, &mut connection.received);
                        connection.received.drain(..taken);
                    }
                    self.serve(conn)?;
                }
                // A real host writes to a disk, and answers when that is done.
                Action::Store { id, .. } => self.node.handle_event(now, Event::Stored(id)),
                Action::Resolve { id, .. } => self.node.handle_event(now, Event::Resolved(id, &[])),
                Action::Stream(_) => {} // no protocols are configured
                Action::Notify(notice) => answered |= matches!(notice, Notice::Ping { .. }),
                Action::Wait(deadline) => {
                    self.deadline = deadline;
                    return Ok(answered);
                }
            }
        }
    }
}

/// `None`: not now.
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
