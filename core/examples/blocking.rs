//! Two nodes over std's own sockets, each driven by one blocking loop: no async, no executor.
//!
//! The sockets do not block; the loop asks each in turn, does what the node says, and sleeps a
//! millisecond when nothing happened. A program that wants to sleep longer would use `poll(2)`.
//!
//! Run it: `cargo run -p coracle-core --example blocking`
#![allow(clippy::expect_used, clippy::panic)] // an example: it ends where it cannot go on
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // a driver has a clock; the core has none

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, RustCrypto, SecretKey},
    limits::{CHANNEL_READ_SIZE, MAX_PACKET_SIZE},
    node::{Action, Config, ConnId, DialError, Event, Node, Notice, ReceiveBuffer},
    refresh::{Bound, Configured},
    rng::Seed,
    time::Instant,
};

/// A TCP connection, with what was received and not taken, and what was not written yet.
struct Connection {
    stream: TcpStream,
    received: ReceiveBuffer,
    unwritten: Vec<u8>,
}

/// Everything one loop owns.
struct Host {
    node: Node,
    start: std::time::Instant,
    udp: UdpSocket,
    listener: TcpListener,
    connections: BTreeMap<ConnId, Connection>,
    buf: Vec<u8>,
    answered_pings: u32,
}

fn main() -> io::Result<()> {
    let keys = [1_u8, 2].map(|n| SecretKey::from_bytes(&[n; 32]).expect("a valid key"));
    let members = keys.each_ref().map(|key| MemberConfig::new(RustCrypto.public_key(key)));
    let sockets = [bind()?, bind()?];
    let hints = [sockets[0].1.local_addr()?, sockets[1].1.local_addr()?];

    let pinged = Arc::new(AtomicUsize::new(0));
    let threads = keys.into_iter().zip(sockets).enumerate().map(|(i, (key, (udp, listener)))| {
        let mut members = members.to_vec();
        members[1 - i].hints.push(hints[1 - i]);
        let mut host = Host::new(i, key, members, udp, listener)?;
        let pinged = Arc::clone(&pinged);
        Ok(thread::spawn(move || host.run_until_pinged(i, &pinged)))
    });
    for thread in threads.collect::<io::Result<Vec<_>>>()? {
        thread.join().expect("the loop does not panic")?;
    }
    println!("both sides have an authenticated, encrypted channel and an answered ping");
    Ok(())
}

fn bind() -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    udp.set_nonblocking(true)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok((udp, listener))
}

impl Host {
    fn new(
        i: usize,
        key: SecretKey,
        members: Vec<MemberConfig>,
        udp: UdpSocket,
        listener: TcpListener,
    ) -> io::Result<Self> {
        // A real host draws the seed from its system's generator at each start.
        let mut config = Config::new(key, Seed::new([i as u8; 32]), members);
        config.bound = Bound {
            udp4: Some(udp.local_addr()?.port()),
            tcp4: Some(listener.local_addr()?.port()),
            ..Bound::default()
        };
        config.configured = Configured { ip4: Some(Ipv4Addr::LOCALHOST), ..Configured::default() };
        config.ping_interval = Duration::from_millis(100);
        let node = Node::new(Instant::ZERO, config).map_err(io::Error::other)?;
        Ok(Self {
            node,
            start: std::time::Instant::now(),
            udp,
            listener,
            connections: BTreeMap::new(),
            buf: vec![0; CHANNEL_READ_SIZE],
            answered_pings: 0,
        })
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    /// The loop. Each side stays until both have had an answer.
    fn run_until_pinged(&mut self, name: usize, pinged: &AtomicUsize) -> io::Result<()> {
        let mut told = false;
        while pinged.load(Ordering::Relaxed) < 2 {
            if self.start.elapsed() > Duration::from_secs(60) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answered ping within a minute"));
            }
            self.act(name)?;
            if self.answered_pings > 0 && !told {
                told = true;
                pinged.fetch_add(1, Ordering::Relaxed);
            }
            let busy = self.read_datagrams()? | self.accept()? | self.serve_connections(name)?;
            if !busy {
                thread::sleep(Duration::from_millis(1));
            }
            self.node.handle_timeout(self.now());
        }
        Ok(())
    }

    fn read_datagrams(&mut self) -> io::Result<bool> {
        let mut packet = [0; MAX_PACKET_SIZE];
        match self.udp.recv_from(&mut packet) {
            Ok((len, from)) => {
                let local = self.udp.local_addr()?;
                self.node.handle_datagram(self.now(), local, from, &mut packet[..len]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn accept(&mut self) -> io::Result<bool> {
        match self.listener.accept() {
            Ok((stream, from)) => {
                let conn = self.node.accept(self.now(), from);
                self.add(conn, stream)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn add(&mut self, conn: ConnId, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.connections
            .insert(conn, Connection { stream, received: ReceiveBuffer::new(), unwritten: Vec::new() });
        Ok(())
    }

    /// Reads and writes what each connection takes.
    fn serve_connections(&mut self, name: usize) -> io::Result<bool> {
        let mut busy = false;
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            let now = self.now();
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            if !connection.unwritten.is_empty()
                && let Ok(n) = connection.stream.write(&connection.unwritten)
            {
                busy = true;
                connection.unwritten.drain(..n);
                if connection.unwritten.is_empty() {
                    self.node.handle_event(now, Event::Writable(conn));
                }
            }
            let mut chunk = [0; 4096];
            match connection.stream.read(&mut chunk) {
                Ok(n) if n > 0 => {
                    busy = true;
                    connection.received.extend(&chunk[..n]);
                    self.offer(conn);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => {
                    self.connections.remove(&conn);
                    self.node.handle_event(now, Event::Closed(conn));
                }
            }
            self.act(name)?;
        }
        Ok(busy)
    }

    fn offer(&mut self, conn: ConnId) {
        let now = self.now();
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.received.offer(|bytes| self.node.handle_bytes(now, conn, bytes));
        }
    }

    /// Does what the node says until it says "wait".
    fn act(&mut self, name: usize) -> io::Result<()> {
        loop {
            let now = self.now();
            match self.node.poll(now, &mut self.buf) {
                // A datagram that the system does not take is lost, as any may be.
                Action::Send { to, len } => drop(self.udp.send_to(&self.buf[..len], to)),
                Action::Dial { conn, to } => self.dial(conn, to)?,
                Action::Write { conn, len } => {
                    if let Some(connection) = self.connections.get_mut(&conn) {
                        connection.unwritten.extend_from_slice(&self.buf[..len]);
                    }
                }
                Action::Close { conn } => drop(self.connections.remove(&conn)),
                Action::Resume { conn } => self.offer(conn),
                // No protocols are configured: this only tells which connections are lost.
                Action::Stream(_) => {}
                // A real host writes to a disk, and answers when that is done.
                Action::Store { id, .. } => self.node.handle_event(now, Event::Stored(id)),
                Action::Resolve { id, .. } => self.node.handle_event(now, Event::Resolved(id, &[])),
                Action::Notify(notice) => {
                    println!("{now:?}  node {}  {notice:?}", name + 1);
                    self.answered_pings += u32::from(matches!(notice, Notice::Ping { .. }));
                }
                Action::Wait(_) => return Ok(()),
            }
        }
    }

    fn dial(&mut self, conn: ConnId, to: SocketAddr) -> io::Result<()> {
        match TcpStream::connect_timeout(&to, Duration::from_secs(1)) {
            Ok(stream) => {
                self.add(conn, stream)?;
                self.node.handle_event(self.now(), Event::Connected(conn));
            }
            Err(_) => self.node.handle_event(self.now(), Event::DialFailed(conn, DialError::Other)),
        }
        Ok(())
    }
}
