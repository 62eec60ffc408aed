//! A node over smol: the whole driver. Two of them meet on loopback.
//!
//! One loop owns the node. Whatever has to wait is a task that sends what happened to the loop.
//!
//! Run it: `cargo run -p coracle-tests --example smol`

use std::{collections::BTreeMap, io, net::Ipv4Addr, net::SocketAddr};

use coracle_core::{
    limits::{CHANNEL_READ_SIZE, MAX_PACKET_SIZE},
    node::{Action, ConnId, DialError, Event, Node, Notice},
    time::Instant,
};
use smol::{Timer, channel, io::AsyncReadExt as _, io::AsyncWriteExt as _, net};

mod setup;

/// What the tasks tell the loop.
enum Input {
    Datagram(SocketAddr, Vec<u8>),
    Accepted(net::TcpStream, SocketAddr),
    Dialled(ConnId, io::Result<net::TcpStream>),
    /// None at all: the connection is over.
    Bytes(ConnId, Vec<u8>),
    Written(ConnId),
}

struct Connection {
    stream: net::TcpStream,
    /// Dropped, it reads no more.
    reading: Option<smol::Task<()>>,
    /// What was received and not taken.
    received: Vec<u8>,
}

struct Host {
    node: Node,
    start: std::time::Instant,
    udp: net::UdpSocket,
    connections: BTreeMap<ConnId, Connection>,
    accepted: u64,
    to_loop: channel::Sender<Input>,
    deadline: Option<Instant>,
}

fn main() -> io::Result<()> {
    smol::block_on(async {
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let udp = net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            sockets.push((udp, net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?));
        }
        let tcp = [sockets[0].1.local_addr()?, sockets[1].1.local_addr()?];
        let (done, both) = channel::bounded(2);
        for (i, (udp, listener)) in sockets.into_iter().enumerate() {
            let config = setup::config(i, udp.local_addr()?.port(), tcp[i].port(), tcp[1 - i]);
            let node = Node::new(Instant::ZERO, config).map_err(io::Error::other)?;
            smol::spawn(run(node, udp, listener, done.clone())).detach();
        }
        println!("{} has a channel and an answered ping", both.recv().await.map_err(io::Error::other)?);
        println!("{} has a channel and an answered ping", both.recv().await.map_err(io::Error::other)?);
        Ok(())
    })
}

async fn run(node: Node, udp: net::UdpSocket, listener: net::TcpListener, done: channel::Sender<String>) {
    let (to_loop, inputs) = channel::bounded(64);
    smol::spawn(datagrams(udp.clone(), to_loop.clone())).detach();
    smol::spawn(accept(listener, to_loop.clone())).detach();
    let (start, connections) = (std::time::Instant::now(), BTreeMap::new());
    let mut host = Host { node, start, udp, connections, accepted: 0, to_loop, deadline: None };
    loop {
        if host.act() {
            let _ = done.try_send(host.node.identity().peer_id().to_string());
        }
        let wait = host.deadline.map(|at| at.since(host.now()));
        let timer = async { wait.map_or_else(Timer::never, Timer::after).await };
        let input = async { inputs.recv().await.ok() };
        let input = smol::future::or(input, async {
            timer.await;
            None
        })
        .await;
        host.handle(input);
    }
}

impl Host {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    fn handle(&mut self, input: Option<Input>) {
        let now = self.now();
        match input {
            None => self.node.handle_timeout(now),
            Some(Input::Datagram(from, mut bytes)) => {
                self.node.handle_datagram(now, from, from, &mut bytes);
            }
            Some(Input::Accepted(stream, from)) => {
                let conn = ConnId::accepted(self.accepted);
                self.accepted += 1;
                self.add(conn, stream);
                self.node.handle_event(now, Event::Accepted { conn, from });
            }
            Some(Input::Dialled(conn, Ok(stream))) => {
                self.add(conn, stream);
                self.node.handle_event(now, Event::Connected(conn));
            }
            Some(Input::Dialled(conn, Err(_))) => {
                self.node.handle_event(now, Event::DialFailed(conn, DialError::Other));
            }
            Some(Input::Bytes(conn, bytes)) if bytes.is_empty() => {
                self.connections.remove(&conn);
                self.node.handle_event(now, Event::Closed(conn));
            }
            Some(Input::Bytes(conn, bytes)) => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.reading = None;
                    connection.received.extend(bytes);
                }
                self.offer(conn);
            }
            Some(Input::Written(conn)) => self.node.handle_event(now, Event::Writable(conn)),
        }
    }

    fn add(&mut self, conn: ConnId, stream: net::TcpStream) {
        self.connections.insert(conn, Connection { stream, reading: None, received: Vec::new() });
        self.offer(conn);
    }

    /// Offers what was received; what is not taken stays, and beyond a whole frame nothing more is read.
    fn offer(&mut self, conn: ConnId) {
        let now = self.now();
        let Some(Connection { stream, reading, received }) = self.connections.get_mut(&conn) else { return };
        let taken = self.node.handle_bytes(now, conn, received);
        received.drain(..taken);
        if reading.is_none() && received.len() < CHANNEL_READ_SIZE {
            let (mut stream, to_loop) = (stream.clone(), self.to_loop.clone());
            *reading = Some(smol::spawn(async move {
                let mut chunk = vec![0; 16 * 1024];
                let len = stream.read(&mut chunk).await.unwrap_or(0);
                let _ = to_loop.send(Input::Bytes(conn, chunk[..len].to_vec())).await;
            }));
        }
    }

    /// Does what the node says until it says "wait". Whether a ping was answered.
    fn act(&mut self) -> bool {
        let (mut buf, mut answered) = (vec![0; CHANNEL_READ_SIZE], false);
        loop {
            let (now, to_loop) = (self.now(), self.to_loop.clone());
            match self.node.poll(now, &mut buf) {
                Action::Send { to, len } => {
                    let (udp, bytes) = (self.udp.clone(), buf[..len].to_vec());
                    smol::spawn(async move { udp.send_to(&bytes, to).await }).detach();
                }
                Action::Dial { conn, to } => {
                    let dial = async move {
                        to_loop.send(Input::Dialled(conn, net::TcpStream::connect(to).await)).await
                    };
                    smol::spawn(dial).detach();
                }
                Action::Write { conn, len } => {
                    let Some(connection) = self.connections.get(&conn) else { continue };
                    let (mut stream, bytes) = (connection.stream.clone(), buf[..len].to_vec());
                    smol::spawn(async move {
                        // A connection that broke is told by its reader.
                        let _ = stream.write_all(&bytes).await;
                        to_loop.send(Input::Written(conn)).await
                    })
                    .detach();
                }
                Action::Close { conn } => drop(self.connections.remove(&conn)),
                Action::Resume { conn } => self.offer(conn),
                // A real host writes to a disk, and answers when that is done.
                Action::Store { id, .. } => self.node.handle_event(now, Event::Stored(id)),
                Action::Resolve { id, .. } => self.node.handle_event(now, Event::Resolved(id, &[])),
                Action::Stream(_) => {} // no protocols are configured
                Action::Notify(notice) => answered |= matches!(notice, Notice::Ping { .. }),
                Action::Wait(deadline) => {
                    self.deadline = deadline;
                    return answered;
                }
            }
        }
    }
}

async fn datagrams(udp: net::UdpSocket, to_loop: channel::Sender<Input>) -> io::Result<()> {
    let mut packet = [0; MAX_PACKET_SIZE];
    loop {
        let (len, from) = udp.recv_from(&mut packet).await?;
        let _ = to_loop.send(Input::Datagram(from, packet[..len].to_vec())).await;
    }
}

async fn accept(listener: net::TcpListener, to_loop: channel::Sender<Input>) -> io::Result<()> {
    loop {
        let (stream, from) = listener.accept().await?;
        let _ = to_loop.send(Input::Accepted(stream, from)).await;
    }
}
