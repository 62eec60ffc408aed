//! The loop: wait for one thing to happen, tell the node, do what it says until it says "wait".

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_std::{
    channel,
    net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket},
    task,
};
use coracle_core::{
    crypto::Crypto,
    limits::{CHANNEL_READ_SIZE, MAX_NEGOTIATING_STREAMS, MAX_PACKET_SIZE},
    node::{Action, Command, ConnId, Event, Notice, ResolveId, StreamId},
    time::Instant,
};
use coracle_recording::Tapped;
use futures::{
    FutureExt as _,
    future::{AbortHandle, abortable},
};
use tracing::{Instrument as _, debug, trace};

mod streams;

pub(crate) use self::streams::Opened;
use self::streams::PeerStreams;
use crate::{
    handle::{Handle, ToDriver},
    log::log,
    peer_stream::{Gone, Incoming},
    sockets::Sockets,
    storage::{Storage, Written},
    stream::{FromStream, Stream, dial},
};

/// Time between two looks at the wall clock and the interfaces' addresses.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// From the last connection's end until the driver ends as well, if by then members' entries are still
/// owed to the store. What the store has taken on is waited for in any case.
const STORE_GRACE: Duration = Duration::from_secs(2);
/// Datagrams taken at a time before other things have their turn.
const BURST: usize = 64;

/// The node's time: nanoseconds since the driver's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Instant {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(nanos)
    }

    fn at(self, instant: Instant) -> std::time::Instant {
        // A moment beyond what the clock can hold is as good as a year from now.
        let ahead = Duration::from_nanos(instant.as_nanos());
        self.start.checked_add(ahead).unwrap_or_else(|| self.start + Duration::from_secs(31_536_000))
    }
}

/// What woke the loop.
enum Woken {
    Udp4,
    Udp6,
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    Stream(FromStream),
    Stored(Written),
    Resolved(ResolveId, Vec<IpAddr>),
    Message(Option<ToDriver>),
    Attention(StreamId),
    LookAround,
    Timeout,
}

/// Owns the node and everything that touches the system.
pub(crate) struct Driver<C: Crypto> {
    node: Tapped<C>,
    clock: Clock,
    sockets: Sockets,
    storage: Storage,
    streams: BTreeMap<ConnId, Stream>,
    peer_streams: PeerStreams,
    /// Dials under way. One that the node gave up is aborted.
    dials: BTreeMap<ConnId, AbortHandle>,
    stream_tx: channel::Sender<FromStream>,
    stream_rx: channel::Receiver<FromStream>,
    resolved_tx: channel::Sender<(ResolveId, Vec<IpAddr>)>,
    resolved_rx: channel::Receiver<(ResolveId, Vec<IpAddr>)>,
    messages: channel::Receiver<ToDriver>,
    notices: async_broadcast::Sender<Notice>,
    interfaces: Vec<IpAddr>,
    shutting_down: bool,
    /// When the node has to be woken.
    deadline: Option<Instant>,
    buf: Vec<u8>,
}

impl<C: Crypto + Send + Sync + 'static> Driver<C> {
    pub(crate) fn spawn(node: Tapped<C>, sockets: Sockets, storage: Storage, clock: Clock) -> Handle {
        let (to, messages) = channel::bounded(64);
        let (mut notices, from_start) = async_broadcast::broadcast(1024);
        notices.set_overflow(true);
        let subscribe = from_start.clone().deactivate();
        let (done, stopped) = channel::bounded::<Infallible>(1);
        let (stream_tx, stream_rx) = channel::bounded(256);
        let (incoming_tx, incoming) = channel::bounded(MAX_NEGOTIATING_STREAMS);
        let (resolved_tx, resolved_rx) = channel::unbounded();
        let peer_id = node.node().identity().peer_id();
        let driver = Self {
            node,
            clock,
            sockets,
            storage,
            streams: BTreeMap::new(),
            peer_streams: PeerStreams::new(incoming_tx),
            dials: BTreeMap::new(),
            stream_tx,
            stream_rx,
            resolved_tx,
            resolved_rx,
            messages,
            notices,
            interfaces: Vec::new(),
            shutting_down: false,
            deadline: None,
            buf: vec![0; CHANNEL_READ_SIZE],
        };
        let span = tracing::info_span!("node", id = ?peer_id);
        task::spawn(
            async move {
                driver.run().await;
                drop(done);
            }
            .instrument(span),
        );
        Handle {
            peer_id,
            to,
            notices: subscribe,
            from_start: Arc::new(Mutex::new(Some(from_start))),
            incoming: Arc::new(Mutex::new(Some(Incoming(incoming)))),
            stopped,
        }
    }

    async fn run(mut self) {
        self.look_around();
        let mut interfaces = self.clock.now() + LOOK_INTERVAL;
        loop {
            self.act();
            if self.shutting_down && self.node.node().connections() == 0 {
                break;
            }
            let woken = self.wait(interfaces).await;
            if matches!(woken, Woken::LookAround) {
                interfaces = self.clock.now() + LOOK_INTERVAL;
            }
            self.handle(woken);
        }
        self.peer_streams.end_all(None, Gone::Stopped);
        // Writers still have farewells to write; they end with the streams.
        self.streams.clear();
        let grace = async_std::future::timeout(STORE_GRACE, self.write_what_is_owed()).await;
        if grace.is_err() {
            // A write that failed earlier may be due again by now; this is its last chance.
            self.node.handle_timeout(self.clock.now());
            self.act();
        }
        self.storage.finish().await;
        debug!("stopped");
    }

    /// Until every member's newest entry is stored: one that changed while the one before was being
    /// written follows it.
    async fn write_what_is_owed(&mut self) {
        while self.node.node().stores_pending() {
            let Ok(written) = self.storage.from.recv().await else { return };
            self.handle(Woken::Stored(written));
            self.act();
        }
    }

    async fn wait(&mut self, interfaces: Instant) -> Woken {
        let deadline = self.deadline.map(|at| self.clock.at(at));
        futures::select! {
            () = readable(self.sockets.udp4.as_ref()).fuse() => Woken::Udp4,
            () = readable(self.sockets.udp6.as_ref()).fuse() => Woken::Udp6,
            result = accept(self.sockets.tcp4.as_ref()).fuse() => Woken::Accepted(result),
            result = accept(self.sockets.tcp6.as_ref()).fuse() => Woken::Accepted(result),
            message = received(&self.stream_rx).fuse() => Woken::Stream(message),
            written = received(&self.storage.from).fuse() => Woken::Stored(written),
            (id, addresses) = received(&self.resolved_rx).fuse() => Woken::Resolved(id, addresses),
            message = next_message(&self.messages, self.shutting_down).fuse() => Woken::Message(message),
            id = received(&self.peer_streams.attention).fuse() => Woken::Attention(id),
            () = sleep_until(Some(self.clock.at(interfaces))).fuse() => Woken::LookAround,
            () = sleep_until(deadline).fuse() => Woken::Timeout,
        }
    }

    fn handle(&mut self, woken: Woken) {
        let now = self.clock.now();
        match woken {
            Woken::Udp4 => self.read_datagrams(true),
            Woken::Udp6 => self.read_datagrams(false),
            Woken::Accepted(Ok((stream, from))) => {
                let conn = self.node.accept(now, from);
                self.streams.insert(conn, Stream::start(conn, stream, self.stream_tx.clone()));
            }
            Woken::Accepted(Err(error)) => debug!(%error, "accepting a connection failed"),
            Woken::Stream(message) => self.stream_event(now, message),
            Woken::Stored(Written { id, ok: true }) => self.node.handle_event(now, Event::Stored(id)),
            Woken::Stored(Written { id, ok: false }) => self.node.handle_event(now, Event::StoreFailed(id)),
            Woken::Resolved(id, addresses) => self.node.handle_event(now, Event::Resolved(id, &addresses)),
            Woken::Message(message) => self.message(now, message),
            Woken::Attention(id) => self.attend(now, id),
            Woken::LookAround => self.look_around(),
            Woken::Timeout => self.node.handle_timeout(now),
        }
    }

    fn message(&mut self, now: Instant, message: Option<ToDriver>) {
        match message {
            Some(ToDriver::Request(command, answer)) => {
                let shutdown = matches!(command, Command::Shutdown);
                let _ = answer.send(self.node.request(now, command));
                self.shutting_down |= shutdown;
            }
            Some(ToDriver::Open(peer, protocol, answer)) => self.open_stream(now, peer, protocol, answer),
            Some(ToDriver::Snapshot(answer)) => {
                let _ = answer.send(self.node.node().snapshot());
            }
            None => {
                // Every handle is gone.
                let _ = self.node.request(now, Command::Shutdown);
                self.shutting_down = true;
            }
        }
    }

    fn stream_event(&mut self, now: Instant, message: FromStream) {
        match message {
            FromStream::Connected(conn, stream) => {
                // Otherwise the node gave the dial up meanwhile, and has forgotten its name.
                if self.dials.remove(&conn).is_some() {
                    self.streams.insert(conn, Stream::start(conn, stream, self.stream_tx.clone()));
                    self.node.handle_event(now, Event::Connected(conn));
                }
            }
            FromStream::DialFailed(conn, error) => {
                self.dials.remove(&conn);
                self.node.handle_event(now, Event::DialFailed(conn, error));
            }
            FromStream::Bytes(conn, bytes) => {
                if let Some(stream) = self.streams.get_mut(&conn) {
                    stream.received.extend(&bytes);
                    self.offer(now, conn);
                }
            }
            FromStream::Written(conn) => self.node.handle_event(now, Event::Writable(conn)),
            FromStream::Closed(conn) => {
                if self.streams.remove(&conn).is_some() {
                    self.node.handle_event(now, Event::Closed(conn));
                }
            }
        }
    }

    /// Offers what a connection has received; what is not taken stays.
    fn offer(&mut self, now: Instant, conn: ConnId) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        stream.received.offer(|bytes| self.node.handle_bytes(now, conn, bytes));
        stream.allow_read();
    }

    fn read_datagrams(&mut self, v4: bool) {
        let mut packet = [0; MAX_PACKET_SIZE + 1];
        for _ in 0..BURST {
            let socket = if v4 { &self.sockets.udp4 } else { &self.sockets.udp6 };
            let Some(socket) = socket else { return };
            match socket.recv_from(&mut packet).now_or_never() {
                Some(Ok((len, from))) => {
                    let Ok(local) = socket.local_addr() else { return };
                    trace!(%from, len, "datagram");
                    let now = self.clock.now();
                    self.node.handle_datagram(now, local, from, &mut packet[..len]);
                    self.act();
                }
                None => return,
                // ICMP errors of earlier sends surface here; the socket is none the worse.
                Some(Err(error)) => trace!(%error, "receiving a datagram failed"),
            }
        }
    }

    /// Tells the node what the system says without being asked: the time, and the interfaces' addresses.
    fn look_around(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.node.handle_event(self.clock.now(), Event::WallClock(wall_ms));
        let addresses = self.sockets.interfaces();
        if addresses != self.interfaces {
            self.interfaces = addresses;
            self.node.handle_event(self.clock.now(), Event::Interfaces(&self.interfaces));
        }
    }

    /// Does what the node says until it says "wait".
    fn act(&mut self) {
        loop {
            let now = self.clock.now();
            match self.node.poll(now, &mut self.buf) {
                Action::Send { to, len } => self.send(to, len),
                Action::Write { conn, len } => {
                    if let Some(stream) = self.streams.get(&conn) {
                        stream.write(&self.buf[..len]);
                    }
                }
                Action::Dial { conn, to } => {
                    let (dial, handle) = abortable(dial(conn, to, self.stream_tx.clone()));
                    task::spawn(dial);
                    self.dials.insert(conn, handle);
                }
                Action::Close { conn } => {
                    self.streams.remove(&conn);
                    if let Some(dial) = self.dials.remove(&conn) {
                        dial.abort();
                    }
                }
                Action::Resume { conn } => self.offer(now, conn),
                Action::Stream(event) => self.peer_stream_event(now, event),
                Action::Store { id, item } => self.storage.store(id, item),
                Action::Resolve { id, len } => self.resolve(id, len),
                Action::Notify(notice) => {
                    log(&notice);
                    // Nobody listening is fine.
                    let _ = self.notices.try_broadcast(notice);
                }
                Action::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }

    fn send(&self, to: SocketAddr, len: usize) {
        let socket = if to.is_ipv4() { &self.sockets.udp4 } else { &self.sockets.udp6 };
        let Some(socket) = socket else { return };
        // A full buffer loses the packet, as any network may; the node retries.
        if let Some(Err(error)) = socket.send_to(&self.buf[..len], to).now_or_never() {
            trace!(%error, %to, "sending a datagram failed");
        }
    }

    fn resolve(&self, id: ResolveId, len: usize) {
        let name = String::from_utf8_lossy(&self.buf[..len]).into_owned();
        let answers = self.resolved_tx.clone();
        task::spawn(async move {
            let addresses = match (name.as_str(), 0).to_socket_addrs().await {
                Ok(addresses) => addresses.map(|address| address.ip()).collect(),
                Err(error) => {
                    debug!(%error, name, "resolving failed");
                    Vec::new()
                }
            };
            let _ = answers.try_send((id, addresses));
        });
    }
}

async fn readable(socket: Option<&UdpSocket>) {
    match socket {
        // An error shows when the datagram is read.
        Some(socket) => drop(socket.peek_from(&mut [0]).await),
        None => future::pending().await,
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => {
            let result = listener.accept().await;
            if result.is_err() {
                // Out of descriptors, most likely: trying again at once would spin.
                task::sleep(Duration::from_millis(100)).await;
            }
            result
        }
        None => future::pending().await,
    }
}

/// The next message; a channel whose senders are all gone has none.
async fn next_message(messages: &channel::Receiver<ToDriver>, shutting_down: bool) -> Option<ToDriver> {
    if shutting_down { future::pending().await } else { messages.recv().await.ok() }
}

async fn received<T>(from: &channel::Receiver<T>) -> T {
    match from.recv().await {
        Ok(message) => message,
        Err(_) => future::pending().await,
    }
}

async fn sleep_until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => {
            task::sleep(deadline.saturating_duration_since(std::time::Instant::now())).await;
        }
        None => future::pending().await,
    }
}
