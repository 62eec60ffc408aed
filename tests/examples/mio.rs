//! A node over mio: one thread, one `Poll`, no executor. Two of them meet on loopback.
//!
//! mio tells each change once: a socket is read or written until it says `WouldBlock`.
//!
//! Run it: `cargo run -p coracle-tests --example mio`

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind::WouldBlock, Read as _, Write as _},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use coracle_core::{
    limits::{CHANNEL_READ_SIZE, MAX_PACKET_SIZE},
    node::{Action, ConnId, DialError, Event, Node, ReceiveBuffer},
    time::Instant,
};
use mio::{Events, Interest, Poll, Token, net};

mod setup;

const UDP: Token = Token(0);
const LISTENER: Token = Token(1);
/// The first connection's.
const CONNECTION: usize = 2;

struct Connection {
    conn: ConnId,
    stream: net::TcpStream,
    connecting: bool,
    received: ReceiveBuffer,
    unwritten: Vec<u8>,
}

struct Host {
    node: Node,
    start: std::time::Instant,
    poll: Poll,
    udp: net::UdpSocket,
    listener: net::TcpListener,
    connections: BTreeMap<Token, Connection>,
    made: usize,
    buf: Vec<u8>,
}

fn main() -> io::Result<()> {
    let answered = &AtomicUsize::new(0);
    let nodes = setup::two()?;
    thread::scope(|scope| {
        let threads = nodes.map(|(config, udp, listener)| {
            scope.spawn(move || {
                let node = Node::new(Instant::ZERO, config).map_err(io::Error::other)?;
                let (udp, listener) = (net::UdpSocket::from_std(udp), net::TcpListener::from_std(listener));
                let (start, buf) = (std::time::Instant::now(), vec![0; CHANNEL_READ_SIZE]);
                let (poll, connections) = (Poll::new()?, BTreeMap::new());
                Host { node, start, poll, udp, listener, connections, made: 0, buf }.run(answered)
            })
        });
        threads.into_iter().try_for_each(|thread| thread.join().expect("the loop does not panic"))
    })?;
    println!("both have a channel and an answered ping");
    Ok(())
}

impl Host {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    /// The loop. Each side stays until both have had an answer.
    fn run(&mut self, answered: &AtomicUsize) -> io::Result<()> {
        self.poll.registry().register(&mut self.udp, UDP, Interest::READABLE)?;
        self.poll.registry().register(&mut self.listener, LISTENER, Interest::READABLE)?;
        let (mut events, mut told) = (Events::with_capacity(64), false);
        while answered.load(Ordering::Relaxed) < 2 {
            let (deadline, pinged) = self.act()?;
            if pinged && !std::mem::replace(&mut told, true) {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            // At most so long, since the other thread ends us without an event.
            let most = Duration::from_millis(100);
            let wait = deadline.map_or(most, |at| at.since(self.now()).min(most));
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    UDP => self.read_datagrams()?,
                    LISTENER => self.accept()?,
                    token => self.serve(token),
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
            let conn = self.node.accept(self.now(), from);
            self.add(conn, stream, false)?;
        }
        Ok(())
    }

    fn add(&mut self, conn: ConnId, mut stream: net::TcpStream, connecting: bool) -> io::Result<()> {
        let token = Token(CONNECTION + self.made);
        self.made += 1;
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let (received, unwritten) = (ReceiveBuffer::new(), Vec::new());
        self.connections.insert(token, Connection { conn, stream, connecting, received, unwritten });
        Ok(())
    }

    /// Something changed: finishes dialling, writes and reads what it can.
    fn serve(&mut self, token: Token) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let conn = connection.conn;
        if connection.serve(&mut self.node, now).is_err() {
            let dialled = Event::DialFailed(conn, DialError::Other);
            let event = if connection.connecting { dialled } else { Event::Closed(conn) };
            self.node.handle_event(now, event);
            self.connections.remove(&token);
        }
    }

    fn token(&self, conn: ConnId) -> Option<Token> {
        self.connections.iter().find(|(_, connection)| connection.conn == conn).map(|(token, _)| *token)
    }

    /// Does what the node says until it says "wait": until when. And whether a ping was answered.
    fn act(&mut self) -> io::Result<(Option<Instant>, bool)> {
        let mut answered = false;
        loop {
            let now = self.now();
            match self.node.poll(now, &mut self.buf) {
                // A datagram that the system does not take is lost, as any may be.
                Action::Send { to, len } => drop(self.udp.send_to(&self.buf[..len], to)),
                Action::Dial { conn, to } => match net::TcpStream::connect(to) {
                    Ok(stream) => self.add(conn, stream, true)?,
                    Err(_) => self.node.handle_event(now, Event::DialFailed(conn, DialError::Other)),
                },
                Action::Write { conn, len } => {
                    let Some(token) = self.token(conn) else { continue };
                    if let Some(connection) = self.connections.get_mut(&token) {
                        connection.unwritten.extend_from_slice(&self.buf[..len]);
                    }
                    self.serve(token);
                }
                Action::Close { conn } => self.connections.retain(|_, connection| connection.conn != conn),
                Action::Resume { conn } => self.token(conn).into_iter().for_each(|token| self.serve(token)),
                Action::Wait(deadline) => return Ok((deadline, answered)),
                other => answered |= setup::elsewhere(&mut self.node, now, other),
            }
        }
    }
}

impl Connection {
    fn serve(&mut self, node: &mut Node, now: Instant) -> io::Result<()> {
        if self.connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            if self.stream.peer_addr().is_err() {
                return Ok(()); // not yet
            }
            self.connecting = false;
            node.handle_event(now, Event::Connected(self.conn));
        }
        while !self.unwritten.is_empty()
            && let Some(n) = ready(self.stream.write(&self.unwritten))?
        {
            self.unwritten.drain(..n);
            if self.unwritten.is_empty() {
                node.handle_event(now, Event::Writable(self.conn));
            }
        }
        let mut chunk = [0; 4096];
        self.received.offer(|bytes| node.handle_bytes(now, self.conn, bytes));
        while self.received.has_room()
            && let Some(n) = ready(self.stream.read(&mut chunk))?
        {
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend(&chunk[..n]);
            self.received.offer(|bytes| node.handle_bytes(now, self.conn, bytes));
        }
        Ok(())
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
