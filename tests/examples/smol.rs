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
}

struct Connection {
    stream: net::TcpStream,
    /// Dropped, it reads no more.
    reading: Option<smol::Task<()>>,
    received: ReceiveBuffer,
}

struct Host {
    node: Node,
    clock: setup::Clock,
    udp: net::UdpSocket,
    connections: BTreeMap<ConnId, Connection>,
    to_loop: channel::Sender<Input>,
    done: setup::Done,
    buf: Vec<u8>,
}

fn main() -> io::Result<()> {
    setup::two(|node, clock, udp, listener, done| {
        let (udp, listener) = (net::UdpSocket::try_from(udp)?, net::TcpListener::try_from(listener)?);
        let (to_loop, inputs) = channel::bounded(64);
        smol::spawn(datagrams(udp.clone(), to_loop.clone())).detach();
        smol::spawn(accept(listener, to_loop.clone())).detach();
        let (connections, buf) = (BTreeMap::new(), vec![0; CHANNEL_READ_SIZE]);
        smol::spawn(Host { node, clock, udp, connections, to_loop, done, buf }.run(inputs)).detach();
        Ok(())
    })
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

impl Host {
    async fn run(mut self, inputs: channel::Receiver<Input>) {
        loop {
            let wait = self.act().map(|at| at.since(self.clock.now()));
            let timeout = async {
                wait.map_or_else(Timer::never, Timer::after).await;
                None
            };
            match future::or(async { inputs.recv().await.ok() }, timeout).await {
                Some(input) => self.handle(input),
                None => self.node.handle_timeout(self.clock.now()),
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.clock.now();
        match input {
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
        let (now, to_loop) = (self.clock.now(), self.to_loop.clone());
        let Some(Connection { stream, reading, received }) = self.connections.get_mut(&conn) else { return };
        received.offer(|bytes| self.node.handle_bytes(now, conn, bytes));
        if reading.is_none() && received.has_room() {
            let (mut stream, mut chunk) = (stream.clone(), vec![0; 16 * 1024]);
            *reading = Some(smol::spawn(async move {
                let len = stream.read(&mut chunk).await.unwrap_or(0);
                chunk.truncate(len);
                let _ = to_loop.send(Input::Bytes(conn, chunk)).await;
            }));
        }
    }

    /// Does what the node says until it says "wait": until when.
    fn act(&mut self) -> Option<Instant> {
        loop {
            let (now, to_loop) = (self.clock.now(), self.to_loop.clone());
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
                    // A connection that broke is told by its reader.
                    let write = async move { stream.write_all(&bytes).await.map_or((), |()| ()) };
                    smol::spawn(async move { (write.await, to_loop.send(Input::Written(conn)).await) })
                        .detach();
                }
                Action::Close { conn } => drop(self.connections.remove(&conn)),
                Action::Resume { conn } => self.offer(conn),
                Action::Wait(deadline) => return deadline,
                other => setup::elsewhere(&mut self.node, now, other, &self.done),
            }
        }
    }
}
