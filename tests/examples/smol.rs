//! A node over smol: the whole driver. Two of them meet on loopback.
//!
//! One loop owns the node. Whatever has to wait is a task that sends what happened to the loop.
//!
//! Run it: `cargo run -p coracle-tests --example smol`

use std::{collections::BTreeMap, io, net::SocketAddr};

use coracle_core::{
    limits::{CHANNEL_READ_SIZE, MAX_PACKET_SIZE},
    node::{Action, ConnId, DialError, Event, Node, ReceiveBuffer},
    time::Instant,
};
use smol::{Timer, channel, future, io::AsyncReadExt as _, io::AsyncWriteExt as _, net};

mod setup;

/// What the tasks tell the loop.
enum Input {
    Datagram(SocketAddr, Vec<u8>),
    Accepted(net::TcpStream, SocketAddr),
    Dialled(ConnId, io::Result<net::TcpStream>),
    /// None at all: the connection is over.
    Bytes(ConnId, Vec<u8>),
    Written(ConnId),
    Timeout,
}

struct Connection {
    stream: net::TcpStream,
    /// Dropped, it reads no more.
    reading: Option<smol::Task<()>>,
    received: ReceiveBuffer,
}

struct Host {
    node: Node,
    start: std::time::Instant,
    udp: net::UdpSocket,
    connections: BTreeMap<ConnId, Connection>,
    to_loop: channel::Sender<Input>,
    buf: Vec<u8>,
}

fn main() -> io::Result<()> {
    smol::block_on(async {
        let (done, both) = channel::bounded(2);
        for (config, udp, listener) in setup::two()? {
            let node = Node::new(Instant::ZERO, config).map_err(io::Error::other)?;
            smol::spawn(run(node, udp.try_into()?, listener.try_into()?, done.clone())).detach();
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
    let (start, connections, buf) = (std::time::Instant::now(), BTreeMap::new(), vec![0; CHANNEL_READ_SIZE]);
    let mut host = Host { node, start, udp, connections, to_loop, buf };
    loop {
        let (deadline, answered) = host.act();
        if answered {
            let _ = done.try_send(host.node.identity().peer_id().to_string());
        }
        let wait = deadline.map(|at| at.since(host.now()));
        let timeout = async {
            wait.map_or_else(Timer::never, Timer::after).await;
            Input::Timeout
        };
        let input = async { inputs.recv().await.unwrap_or(Input::Timeout) };
        host.handle(future::or(input, timeout).await);
    }
}

impl Host {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Timeout => self.node.handle_timeout(now),
            Input::Datagram(from, mut bytes) => self.node.handle_datagram(now, from, from, &mut bytes),
            Input::Accepted(stream, from) => {
                let conn = self.node.accept(now, from);
                self.add(conn, stream);
            }
            Input::Dialled(conn, Ok(stream)) => {
                self.node.handle_event(now, Event::Connected(conn));
                self.add(conn, stream);
            }
            Input::Dialled(conn, Err(_)) => {
                self.node.handle_event(now, Event::DialFailed(conn, DialError::Other));
            }
            Input::Bytes(conn, bytes) if bytes.is_empty() => {
                self.connections.remove(&conn);
                self.node.handle_event(now, Event::Closed(conn));
            }
            Input::Bytes(conn, bytes) => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.reading = None;
                    connection.received.extend(&bytes);
                }
                self.offer(conn);
            }
            Input::Written(conn) => self.node.handle_event(now, Event::Writable(conn)),
        }
    }

    fn add(&mut self, conn: ConnId, stream: net::TcpStream) {
        let connection = Connection { stream, reading: None, received: ReceiveBuffer::new() };
        self.connections.insert(conn, connection);
        self.offer(conn);
    }

    /// Offers what was received, and reads on.
    fn offer(&mut self, conn: ConnId) {
        let now = self.now();
        let Some(Connection { stream, reading, received }) = self.connections.get_mut(&conn) else { return };
        received.offer(|bytes| self.node.handle_bytes(now, conn, bytes));
        if reading.is_none() && received.has_room() {
            let (mut stream, to_loop) = (stream.clone(), self.to_loop.clone());
            *reading = Some(smol::spawn(async move {
                let mut chunk = vec![0; 16 * 1024];
                let len = stream.read(&mut chunk).await.unwrap_or(0);
                chunk.truncate(len);
                let _ = to_loop.send(Input::Bytes(conn, chunk)).await;
            }));
        }
    }

    /// Does what the node says until it says "wait": until when. And whether a ping was answered.
    fn act(&mut self) -> (Option<Instant>, bool) {
        let mut answered = false;
        loop {
            let (now, to_loop) = (self.now(), self.to_loop.clone());
            match self.node.poll(now, &mut self.buf) {
                Action::Send { to, len } => {
                    let (udp, bytes) = (self.udp.clone(), self.buf[..len].to_vec());
                    smol::spawn(async move { udp.send_to(&bytes, to).await }).detach();
                }
                Action::Dial { conn, to } => {
                    let dial = async move { Input::Dialled(conn, net::TcpStream::connect(to).await) };
                    smol::spawn(async move { to_loop.send(dial.await).await }).detach();
                }
                Action::Write { conn, len } => {
                    let Some(connection) = self.connections.get(&conn) else { continue };
                    let (mut stream, bytes) = (connection.stream.clone(), self.buf[..len].to_vec());
                    smol::spawn(async move {
                        // A connection that broke is told by its reader.
                        let _ = stream.write_all(&bytes).await;
                        to_loop.send(Input::Written(conn)).await
                    })
                    .detach();
                }
                Action::Close { conn } => drop(self.connections.remove(&conn)),
                Action::Resume { conn } => self.offer(conn),
                Action::Wait(deadline) => return (deadline, answered),
                other => answered |= setup::elsewhere(&mut self.node, now, other),
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
