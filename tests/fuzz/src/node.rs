//! One whole node whose every event is made by the fuzzer, with cryptography that stops nothing.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, SecretKey, TAG_LEN},
    id::{NodeId, PeerId},
    limits::CHANNEL_READ_SIZE,
    node::{
        Action, Command, Config, ConnId, DialError, Event, Node, ProtocolId, StoreId, StreamEvent, StreamId,
    },
    refresh::{Bound, Configured},
    rng::Seed,
    time::Instant,
};

use crate::{NullCrypto, input::Input};

/// Members, the node itself among them.
const MEMBERS: u8 = 3;
/// Actions after one event: more would be a loop without end.
const MANY: usize = 20_000;

/// The bytes are a row of events.
pub fn node(data: &[u8]) {
    let mut input = Input::new(data);
    let mut host = Host::new(input.byte());
    host.act();
    while !input.is_empty() {
        host.step(&mut input);
        host.act();
    }
    let before = *host.node.counters();
    let _ = host.node.snapshot();
    assert_eq!(*host.node.counters(), before, "a look changes nothing");
}

/// A connection as the driver keeps it.
#[derive(Default)]
struct Connection {
    pending: Vec<u8>,
    writing: bool,
}

struct Host {
    node: Node<NullCrypto>,
    now: Instant,
    connections: BTreeMap<ConnId, Connection>,
    dials: Vec<ConnId>,
    stores: Vec<StoreId>,
    streams: Vec<StreamId>,
    deadline: Option<Instant>,
    buf: Vec<u8>,
}

fn secret(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number + 1; 32]).expect("a key")
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number & 15], 3610))
}

impl Host {
    fn new(head: u8) -> Self {
        let members = (0..MEMBERS).map(|number| {
            let mut member = MemberConfig::new(NullCrypto.public_key(&secret(number)));
            if head & 1 != 0 {
                member.hints.push(address(number + 1));
            }
            member
        });
        let mut config = Config::new(secret(0), Seed::new([5; 32]), members.collect());
        config.bound = Bound { udp4: Some(3610), tcp4: Some(3610), ..Bound::default() };
        if head & 2 != 0 {
            config.configured = Configured { ip4: Some([10, 0, 0, 1].into()), ..Configured::default() };
        }
        config.protocols = vec!["/a".into(), "/b".into()];
        config.streams = 8;
        if head & 4 != 0 {
            config.hostname = Some("node.example".into());
        }
        let node = Node::with_crypto(Instant::ZERO, config, NullCrypto).expect("a valid configuration");
        Self {
            node,
            now: Instant::ZERO,
            connections: BTreeMap::new(),
            dials: Vec::new(),
            stores: Vec::new(),
            streams: Vec::new(),
            deadline: None,
            buf: vec![0; CHANNEL_READ_SIZE],
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() & 15 {
            0 => {
                let conn = self.node.accept(self.now, address(input.byte()));
                self.connections.insert(conn, Connection::default());
            }
            1 => {
                let i = usize::from(input.byte());
                if !self.dials.is_empty() {
                    let conn = self.dials.remove(i % self.dials.len());
                    if i & 128 == 0 {
                        self.connections.insert(conn, Connection::default());
                        self.node.handle_event(self.now, Event::Connected(conn));
                    } else {
                        self.node.handle_event(self.now, Event::DialFailed(conn, DialError::Refused));
                    }
                }
            }
            2 | 3 => {
                // A Noise frame, or a handshake message without a tag.
                let (which, tagged) = (input.byte(), input.byte() & 1 != 0);
                let len = usize::from(input.byte());
                let text = input.slice(len);
                let tag: &[u8] = if tagged { &[0; TAG_LEN] } else { &[] };
                let len = (text.len() + tag.len()) as u16;
                self.bytes(which, &[&len.to_be_bytes(), text, tag]);
            }
            4 => {
                let (which, len) = (input.byte(), usize::from(input.byte()));
                let raw = input.slice(len);
                self.bytes(which, &[raw]);
            }
            5 => self.bytes(input.byte(), &[b"\x13/multistream/1.0.0\n\x07/noise\n"]),
            6 => {
                let which = input.byte();
                if let Some(conn) = self.pick(which) {
                    self.writable(conn);
                }
            }
            7 => {
                let which = input.byte();
                if let Some(conn) = self.pick(which) {
                    self.connections.remove(&conn);
                    self.node.handle_event(self.now, Event::Closed(conn));
                }
            }
            8 | 9 => {
                // An ordinary packet or a handshake packet, its header as it has to be.
                let (from, flag) = (input.byte(), input.byte() % 3);
                let auth_len = if flag == 0 { 32 } else { input.u16() & 511 };
                let mut packet = vec![0; 16];
                packet.extend_from_slice(b"discv5\x00\x01");
                packet.push(flag);
                packet.extend_from_slice(&[input.byte(); 12]);
                packet.extend_from_slice(&auth_len.to_be_bytes());
                let auth = input.slice(usize::from(auth_len));
                packet.extend_from_slice(auth);
                let len = usize::from(input.u16() & 1023);
                packet.extend_from_slice(input.slice(len));
                packet.extend_from_slice(&[0; TAG_LEN]);
                self.node.handle_datagram(self.now, address(1), address(from), &mut packet);
            }
            10 => {
                let (from, len) = (input.byte(), usize::from(input.u16() & 2047));
                let mut packet = input.slice(len).to_vec();
                self.node.handle_datagram(self.now, address(1), address(from), &mut packet);
            }
            11 => {
                self.now = self.now + Duration::from_millis(u64::from(input.u16()));
                self.node.handle_timeout(self.now);
            }
            12 => {
                // Exactly when it asked to be woken.
                if let Some(at) = self.deadline {
                    self.now = self.now.max(at);
                    self.node.handle_timeout(self.now);
                }
            }
            13 => {
                let well = input.byte() & 1 == 0;
                if !self.stores.is_empty() {
                    let id = self.stores.remove(0);
                    let event = if well { Event::Stored(id) } else { Event::StoreFailed(id) };
                    self.node.handle_event(self.now, event);
                }
            }
            14 => {
                let ip = address(input.byte()).ip();
                self.node.handle_event(self.now, Event::Interfaces(&[ip]));
            }
            _ => self.command(input),
        }
    }

    fn command(&mut self, input: &mut Input<'_>) {
        let peer = PeerId::from_public_key(&NullCrypto.public_key(&secret(input.byte() & 3)));
        let command = match input.byte() & 7 {
            0 => Command::Ping(peer),
            1 => Command::LookUp(NodeId([input.byte(); 32])),
            2 => Command::Hint(peer, address(input.byte())),
            3 => Command::Shutdown,
            4 => {
                self.streams.extend(self.node.open_stream(self.now, peer, ProtocolId(input.byte() & 1)).ok());
                return;
            }
            _ => return self.use_stream(input),
        };
        let _ = self.node.request(self.now, command);
    }

    fn use_stream(&mut self, input: &mut Input<'_>) {
        let Some(i) = usize::from(input.byte()).checked_rem(self.streams.len()) else { return };
        let id = self.streams[i];
        match input.byte() & 3 {
            0 => self.node.reset_stream(id),
            1 => self.node.finish_stream(id),
            2 => self.node.release(id, usize::from(input.byte())),
            _ => {
                let bytes = vec![0x2a; usize::from(input.u16())];
                let written = self.node.write_stream(self.now, id, &bytes, false, &mut self.buf);
                if let Ok(written) = written {
                    assert!(written.taken <= bytes.len());
                    if written.len > 0 {
                        self.wrote(written.conn, written.len);
                    }
                }
            }
        }
    }

    fn wrote(&mut self, conn: ConnId, len: usize) {
        assert!(len > 0 && len <= self.buf.len());
        let connection = self.connections.get_mut(&conn).expect("a connection that there is");
        assert!(!connection.writing, "a write before the one before was done");
        connection.writing = true;
    }

    fn stream_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Accepted { stream, .. } => self.streams.push(stream),
            StreamEvent::Data { stream, offset, len } => {
                let pending = self.connections.get(&stream.conn()).map_or(0, |c| c.pending.len());
                assert!(len > 0 && offset + len <= pending, "beyond what was received");
                // Every second stream is read by halves.
                self.node
                    .take(stream, if self.streams.len().is_multiple_of(2) { len } else { len.div_ceil(2) });
            }
            StreamEvent::Ended { stream, .. } => self.streams.retain(|other| *other != stream),
            StreamEvent::ConnectionLost { conn, .. } => self.streams.retain(|other| other.conn() != conn),
            StreamEvent::Opened { .. } | StreamEvent::Writable { .. } | StreamEvent::Finished { .. } => {}
        }
    }

    fn pick(&self, which: u8) -> Option<ConnId> {
        let i = usize::from(which).checked_rem(self.connections.len())?;
        self.connections.keys().nth(i).copied()
    }

    fn bytes(&mut self, which: u8, parts: &[&[u8]]) {
        if let Some(conn) = self.pick(which)
            && let Some(connection) = self.connections.get_mut(&conn)
        {
            parts.iter().for_each(|part| connection.pending.extend_from_slice(part));
            self.offer(conn);
        }
    }

    fn offer(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let taken = self.node.handle_bytes(self.now, conn, &mut connection.pending);
        assert!(taken <= connection.pending.len());
        connection.pending.drain(..taken);
    }

    fn writable(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && std::mem::take(&mut connection.writing)
        {
            self.node.handle_event(self.now, Event::Writable(conn));
        }
    }

    fn act(&mut self) {
        for round in 0.. {
            assert!(round < MANY, "actions without end");
            match self.node.poll(self.now, &mut self.buf) {
                Action::Wait(deadline) => {
                    assert!(deadline.is_none_or(|at| at > self.now), "it asks to be woken in the past");
                    self.deadline = deadline;
                    return;
                }
                Action::Write { conn, len } => self.wrote(conn, len),
                Action::Stream(event) => self.stream_event(event),
                Action::Send { len, .. } => assert!(len > 0 && len <= self.buf.len()),
                Action::Dial { conn, .. } => self.dials.push(conn),
                Action::Close { conn } => {
                    self.dials.retain(|dial| *dial != conn);
                    self.connections.remove(&conn);
                }
                Action::Resume { conn } => self.offer(conn),
                Action::Store { id, .. } => self.stores.push(id),
                Action::Resolve { id, .. } => {
                    self.node.handle_event(self.now, Event::Resolved(id, &[[10, 0, 0, 1].into()]));
                }
                Action::Notify(_) => {}
            }
        }
    }
}
