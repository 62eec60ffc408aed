//! A node over smol: the whole driver. Two of them meet on loopback.
//!
//! One loop owns the node. Whatever blocks is a task of its own and sends what happened to the loop: one
//! task for the datagrams, one for the listener, a reader for each connection, one for each dial and write.
//!
//! Run it: `cargo run -p coracle-tests --example smol`

use std::{collections::BTreeMap, io, net::Ipv4Addr, net::SocketAddr};

use coracle_core::{
    limits::{CHANNEL_READ_SIZE, MAX_PACKET_SIZE},
    node::{Action, Command, ConnId, DialError, Event, Node, Notice},
    time::Instant,
};
use smol::{
    Timer,
    channel::{Receiver, Sender, bounded},
    future::{or, pending},
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

mod setup;

/// What the tasks tell the loop.
enum Input {
    Datagram(SocketAddr, Vec<u8>),
    Accepted(TcpStream, SocketAddr),
    Dialled(ConnId, io::Result<TcpStream>),
    Bytes(ConnId, Vec<u8>),
    Written(ConnId),
    Closed(ConnId),
}

struct Connection {
    stream: TcpStream,
    /// What was received and not taken.
    received: Vec<u8>,
    /// One message in it: the reader may read once more.
    allowed: Sender<()>,
}

struct Host {
    node: Node,
    start: std::time::Instant,
    udp: UdpSocket,
    connections: BTreeMap<ConnId, Connection>,
    accepted: u64,
    to_loop: Sender<Input>,
    pings: u32,
    deadline: Option<Instant>,
    buf: Vec<u8>,
}

fn main() -> io::Result<()> {
    smol::block_on(async {
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            sockets.push((udp, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?));
        }
        let tcp = [sockets[0].1.local_addr()?, sockets[1].1.local_addr()?];
        let mut runs = Vec::new();
        for (i, (udp, listener)) in sockets.into_iter().enumerate() {
            let config = setup::config(i, udp.local_addr()?.port(), tcp[i].port(), tcp[1 - i]);
            let node = Node::new(Instant::ZERO, config).map_err(io::Error::other)?;
            runs.push(smol::spawn(run(i + 1, node, udp, listener)));
        }
        for run in runs {
            run.await?;
        }
        println!("both sides have an authenticated, encrypted channel and answered pings");
        Ok(())
    })
}

/// Until the other side has answered three pings, or has ended.
async fn run(name: usize, node: Node, udp: UdpSocket, listener: TcpListener) -> io::Result<()> {
    let (to_loop, inputs) = bounded(64);
    let tasks = [smol::spawn(datagrams(udp.clone(), to_loop.clone())), smol::spawn(accept(listener, to_loop.clone()))];
    let start = std::time::Instant::now();
    let (connections, buf) = (BTreeMap::new(), vec![0; CHANNEL_READ_SIZE]);
    let mut host =
        Host { node, start, udp, connections, accepted: 0, to_loop, pings: 0, deadline: None, buf };
    let mut leaving = false;
    loop {
        host.act(name);
        if host.pings >= 3 && !leaving {
            leaving = host.node.request(host.now(), Command::Shutdown).is_ok();
        } else if leaving && host.node.connections() == 0 {
            break;
        } else {
            let input = host.wait(&inputs).await;
            host.handle(input);
        }
    }
    drop(tasks); // which ends them
    Ok(())
}

impl Host {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    async fn wait(&self, inputs: &Receiver<Input>) -> Option<Input> {
        let timeout = async {
            match self.deadline {
                Some(at) => Timer::after(at.since(self.now())).await,
                None => pending().await,
            };
            None
        };
        or(async { inputs.recv().await.ok() }, timeout).await
    }

    fn handle(&mut self, input: Option<Input>) {
        let now = self.now();
        match input {
            None => self.node.handle_timeout(now),
            Some(Input::Datagram(from, mut bytes)) => {
                let Ok(local) = self.udp.local_addr() else { return };
                self.node.handle_datagram(now, local, from, &mut bytes);
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
            Some(Input::Bytes(conn, bytes)) => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.received.extend(bytes);
                }
                self.offer(conn);
            }
            Some(Input::Written(conn)) => self.node.handle_event(now, Event::Writable(conn)),
            Some(Input::Closed(conn)) => {
                self.connections.remove(&conn);
                self.node.handle_event(now, Event::Closed(conn));
            }
        }
    }

    fn add(&mut self, conn: ConnId, stream: TcpStream) {
        let (allowed, permits) = bounded(1);
        smol::spawn(read(conn, stream.clone(), permits, self.to_loop.clone())).detach();
        self.connections.insert(conn, Connection { stream, received: Vec::new(), allowed });
        self.offer(conn);
    }

    /// Offers what was received; what is not taken stays, and beyond a whole frame nothing more is read.
    fn offer(&mut self, conn: ConnId) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let taken = self.node.handle_bytes(now, conn, &mut connection.received);
        connection.received.drain(..taken);
        if connection.received.len() < CHANNEL_READ_SIZE {
            let _ = connection.allowed.try_send(());
        }
    }

    /// Does what the node says until it says "wait".
    fn act(&mut self, name: usize) {
        loop {
            let (now, to_loop) = (self.now(), self.to_loop.clone());
            match self.node.poll(now, &mut self.buf) {
                Action::Send { to, len } => {
                    let (udp, bytes) = (self.udp.clone(), self.buf[..len].to_vec());
                    smol::spawn(async move { udp.send_to(&bytes, to).await }).detach();
                }
                Action::Dial { conn, to } => smol::spawn(async move {
                    let _ = to_loop.send(Input::Dialled(conn, TcpStream::connect(to).await)).await;
                })
                .detach(),
                Action::Write { conn, len } => {
                    let Some(connection) = self.connections.get(&conn) else { continue };
                    let (mut stream, bytes) = (connection.stream.clone(), self.buf[..len].to_vec());
                    smol::spawn(async move {
                        let input = match stream.write_all(&bytes).await {
                            Ok(()) => Input::Written(conn),
                            Err(_) => Input::Closed(conn),
                        };
                        let _ = to_loop.send(input).await;
                    })
                    .detach();
                }
                Action::Close { conn } => drop(self.connections.remove(&conn)),
                Action::Resume { conn } => self.offer(conn),
                Action::Store { id, .. } => self.node.handle_event(now, Event::Stored(id)), // on a disk, in earnest
                Action::Resolve { id, .. } => self.node.handle_event(now, Event::Resolved(id, &[])),
                Action::Stream(_) => {} // no protocols are configured
                Action::Notify(notice) => {
                    println!("{now:?}  node {name}  {notice:?}");
                    self.pings += u32::from(matches!(notice, Notice::Ping { .. } | Notice::ChannelDown { .. }));
                }
                Action::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }
}

async fn datagrams(udp: UdpSocket, to_loop: Sender<Input>) -> io::Result<()> {
    let mut packet = [0; MAX_PACKET_SIZE + 1];
    loop {
        let (len, from) = udp.recv_from(&mut packet).await?;
        let _ = to_loop.send(Input::Datagram(from, packet[..len].to_vec())).await;
    }
}

async fn accept(listener: TcpListener, to_loop: Sender<Input>) -> io::Result<()> {
    loop {
        let (stream, from) = listener.accept().await?;
        let _ = to_loop.send(Input::Accepted(stream, from)).await;
    }
}

async fn read(conn: ConnId, mut stream: TcpStream, permits: Receiver<()>, to_loop: Sender<Input>) {
    let mut chunk = vec![0; 16 * 1024];
    while permits.recv().await.is_ok() {
        let input = match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => Input::Bytes(conn, chunk[..n].to_vec()),
            _ => Input::Closed(conn),
        };
        let closed = matches!(input, Input::Closed(_));
        if to_loop.send(input).await.is_err() || closed {
            return;
        }
    }
}
