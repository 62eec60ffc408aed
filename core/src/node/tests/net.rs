//! Nodes in memory, joined by connections alone: every datagram is lost.

use std::collections::BTreeMap;

use super::*;
use crate::record::Record;

pub(super) const ECHO: ProtocolId = ProtocolId(0);
pub(super) const OTHER: ProtocolId = ProtocolId(1);

pub(super) struct Host {
    pub(super) node: Node,
    address: SocketAddr,
    /// Our name of a connection, the other host, and its name there.
    links: BTreeMap<ConnId, (usize, ConnId)>,
    /// Bytes that arrived and were not taken.
    pending: BTreeMap<ConnId, Vec<u8>>,
    pub(super) own: Option<Record>,
    pub(super) notices: Vec<Notice>,
    pub(super) events: Vec<StreamEvent>,
    /// What was read, by stream, and how much more may be read.
    pub(super) inbox: BTreeMap<StreamId, Vec<u8>>,
    pub(super) appetite: usize,
}

pub(super) struct Net {
    pub(super) hosts: Vec<Host>,
    pub(super) now: Instant,
    pub(super) buf: Vec<u8>,
    wrote: bool,
}

pub(super) fn address(i: usize) -> SocketAddr {
    (IpAddr::from([10, 0, 0, i as u8 + 1]), 3610).into()
}

/// Member `i` of a cluster of four, who knows where the members in `knows` are.
pub(super) fn member(i: usize, knows: &[usize]) -> Config {
    let mut config = config();
    config.secret = key(i as u8 + 1);
    config.seed = Seed::new([i as u8 + 50; 32]);
    config.protocols = vec!["/test/echo/1.0.0".into(), "/test/other/1.0.0".into()];
    for other in knows {
        config.members[*other].hints.push(address(*other));
    }
    config
}

pub(super) fn peer(i: usize) -> PeerId {
    PeerId::from_public_key(&RustCrypto.public_key(&key(i as u8 + 1)))
}

impl Net {
    pub(super) fn new(configs: Vec<Config>) -> Self {
        let mut net = Self { hosts: Vec::new(), now: Instant::ZERO, buf: vec![0; 70_000], wrote: false };
        for (i, config) in configs.into_iter().enumerate() {
            net.start(i, config, address(i));
        }
        net
    }

    /// Starts (or replaces) a host whose interface has the address that it is seen at.
    pub(super) fn start(&mut self, i: usize, config: Config, at: SocketAddr) {
        let host = Host {
            node: Node::new(self.now, config).unwrap(),
            address: at,
            links: BTreeMap::new(),
            pending: BTreeMap::new(),
            own: None,
            notices: Vec::new(),
            events: Vec::new(),
            inbox: BTreeMap::new(),
            appetite: usize::MAX,
        };
        if i == self.hosts.len() {
            self.hosts.push(host);
        } else {
            let old = core::mem::replace(&mut self.hosts[i], host);
            for (to, conn) in old.links.into_values() {
                self.close(to, conn);
            }
        }
        self.hosts[i].node.handle_event(self.now, Event::Interfaces(&[at.ip()]));
        self.act(i);
    }

    fn close(&mut self, i: usize, conn: ConnId) {
        self.hosts[i].links.remove(&conn);
        self.hosts[i].pending.remove(&conn);
        self.hosts[i].node.handle_event(self.now, Event::Closed(conn));
        self.act(i);
    }

    /// Does what a node says until it says "wait".
    pub(super) fn act(&mut self, i: usize) {
        loop {
            let now = self.now;
            let action = self.hosts[i].node.poll(now, &mut self.buf);
            match action {
                Action::Wait(_) => return,
                Action::Send { .. } => {}
                Action::Dial { conn, to } => self.dial(i, conn, to),
                Action::Write { conn, len } => self.write(i, conn, len),
                Action::Close { conn } => {
                    self.hosts[i].pending.remove(&conn);
                    if let Some((to, there)) = self.hosts[i].links.remove(&conn) {
                        self.close(to, there);
                    }
                }
                Action::Resume { conn } => self.offer(i, conn),
                Action::Store { id, item } => {
                    if let StoreItem::Own(record) = item {
                        self.hosts[i].own = Some(record);
                    }
                    self.hosts[i].node.handle_event(now, Event::Stored(id));
                }
                Action::Resolve { id, .. } => {
                    self.hosts[i].node.handle_event(now, Event::Resolved(id, &[]));
                }
                Action::Stream(event) => self.stream_event(i, event),
                Action::Notify(notice) => self.hosts[i].notices.push(notice),
            }
        }
    }

    fn dial(&mut self, i: usize, conn: ConnId, to: SocketAddr) {
        let now = self.now;
        let Some(there) = self.hosts.iter().position(|host| host.address == to && host.node.is_running())
        else {
            self.hosts[i].node.handle_event(now, Event::DialFailed(conn, DialError::Refused));
            return;
        };
        let from = SocketAddr::new(self.hosts[i].address.ip(), 40_000);
        self.hosts[i].node.handle_event(now, Event::Connected(conn));
        let name = self.hosts[there].node.accept(now, from);
        self.hosts[i].links.insert(conn, (there, name));
        self.hosts[there].links.insert(name, (i, conn));
    }

    pub(super) fn write(&mut self, i: usize, conn: ConnId, len: usize) {
        if let Some((to, there)) = self.hosts[i].links.get(&conn).copied() {
            self.hosts[to].pending.entry(there).or_default().extend_from_slice(&self.buf[..len]);
        }
        self.wrote = true;
        self.hosts[i].node.handle_event(self.now, Event::Writable(conn));
    }

    fn offer(&mut self, i: usize, conn: ConnId) {
        let host = &mut self.hosts[i];
        if let Some(pending) = host.pending.get_mut(&conn) {
            let taken = host.node.handle_bytes(self.now, conn, pending);
            pending.drain(..taken);
        }
    }

    fn stream_event(&mut self, i: usize, event: StreamEvent) {
        let host = &mut self.hosts[i];
        if let StreamEvent::Data { stream, offset, len } = event {
            let n = len.min(host.appetite);
            let bytes = &host.pending[&stream.conn()][offset..offset + n];
            host.inbox.entry(stream).or_default().extend_from_slice(bytes);
            host.appetite -= n;
            // A release of nothing asks for the same offer again.
            if n > 0 {
                host.node.take(stream, n);
                host.node.release(stream, n);
            }
        } else {
            host.events.push(event);
        }
    }

    /// Writes on a stream; how much was taken.
    pub(super) fn write_stream(&mut self, i: usize, stream: StreamId, bytes: &[u8], finish: bool) -> usize {
        let now = self.now;
        let node = &mut self.hosts[i].node;
        let written = node.write_stream(now, stream, bytes, finish, &mut self.buf).unwrap();
        if written.len > 0 {
            self.write(i, written.conn, written.len);
        }
        self.act(i);
        written.taken
    }

    /// Delivers all that is on the way, and what it causes.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            self.wrote = false;
            for i in 0..self.hosts.len() {
                self.act(i);
                let names: Vec<_> = self.hosts[i].pending.keys().copied().collect();
                for conn in names {
                    let before = self.hosts[i].pending.get(&conn).map_or(0, Vec::len);
                    self.offer(i, conn);
                    self.act(i);
                    moved |= before != self.hosts[i].pending.get(&conn).map_or(0, Vec::len);
                }
            }
            if !moved && !self.wrote {
                return;
            }
        }
        panic!("it never settles");
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now = self.now + Duration::from_millis(50);
            for i in 0..self.hosts.len() {
                self.hosts[i].node.handle_timeout(self.now);
            }
            self.settle();
        }
    }

    pub(super) fn view(&self, i: usize, other: usize) -> MemberView<'_> {
        self.hosts[i].node.members().find(|member| member.peer_id == peer(other)).unwrap()
    }

    pub(super) fn meshed(&self) -> bool {
        self.hosts.iter().all(|host| host.node.members().all(|member| member.channel.is_some()))
    }
}
