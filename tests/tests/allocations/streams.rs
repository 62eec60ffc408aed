//! Two nodes without any I/O whose embedders open streams, write, read slowly, finish and reset them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use coracle_core::cluster::MemberConfig;
use coracle_core::crypto::{Crypto as _, RustCrypto, SecretKey};
use coracle_core::limits::CHANNEL_READ_SIZE;
use coracle_core::node::{Action, Config, ConnId, Event, Node, ProtocolId, StreamEvent, StreamId};
use coracle_core::refresh::Bound;
use coracle_core::rng::Seed;
use coracle_core::time::Instant;

use super::{COUNTED, count};

const SINK: ProtocolId = ProtocolId(0);
/// Bytes that go over each stream.
const PAYLOAD: usize = 10_000;

/// Calls into the core, counted.
fn counted<T>(call: impl FnOnce() -> T) -> T {
    let (mut call, mut result) = (Some(call), None);
    count(&mut || result = call.take().map(|call| call()));
    result.expect("it was called")
}

/// One end of a connection: its name at the other end, and what arrived here and was not taken.
struct End {
    there: ConnId,
    pending: Vec<u8>,
}

struct Pair {
    nodes: [Node; 2],
    ends: [BTreeMap<ConnId, End>; 2],
    /// What is left to write on a stream.
    unsent: [BTreeMap<StreamId, usize>; 2],
    read: [usize; 2],
    opened: usize,
    finished: usize,
    buf: Vec<u8>,
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + node as u8], 3610))
}

impl Pair {
    fn new() -> Self {
        let nodes = [0, 1].map(|own: usize| {
            let keys = [1, 2].map(|n| SecretKey::from_bytes(&[n; 32]).unwrap());
            let mut members: Vec<_> =
                keys.iter().map(|key| MemberConfig::new(RustCrypto.public_key(key))).collect();
            if own == 0 {
                members[1].hints.push(address(1));
            }
            let mut config = Config::new(keys[own].clone(), Seed::new([own as u8; 32]), members);
            config.bound = Bound { udp4: Some(3630), tcp4: Some(3610), ..Bound::default() };
            config.protocols = vec!["/test/sink/1.0.0".into()];
            Node::new(Instant::ZERO, config).unwrap()
        });
        let mut pair = Self {
            nodes,
            ends: Default::default(),
            unsent: Default::default(),
            read: [0; 2],
            opened: 0,
            finished: 0,
            buf: vec![0; CHANNEL_READ_SIZE],
        };
        pair.settle();
        pair
    }

    /// Until both have nothing left to do.
    fn settle(&mut self) {
        while self.act(0) | self.act(1) {}
    }

    /// Whether there was anything to do.
    fn act(&mut self, n: usize) -> bool {
        let mut busy = false;
        for conn in self.ends[n].keys().copied().collect::<Vec<_>>() {
            busy |= self.offer(n, conn);
        }
        loop {
            let Self { nodes, buf, .. } = self;
            let node = &mut nodes[n];
            let now = Instant::ZERO;
            match counted(|| node.poll(now, buf)) {
                Action::Wait(_) => return busy,
                Action::Store { id, .. } => counted(|| node.handle_event(now, Event::Stored(id))),
                Action::Dial { conn, .. } => {
                    counted(|| node.handle_event(now, Event::Connected(conn)));
                    let there = counted(|| self.nodes[1 - n].accept(now, address(n)));
                    self.ends[n].insert(conn, End { there, pending: Vec::new() });
                    self.ends[1 - n].insert(there, End { there: conn, pending: Vec::new() });
                }
                Action::Write { conn, len } => self.write(n, conn, len),
                Action::Resume { conn } => drop(self.offer(n, conn)),
                Action::Stream(event) => self.stream_event(n, event),
                Action::Close { conn } => panic!("nothing ends: {conn}"),
                Action::Send { .. } | Action::Resolve { .. } | Action::Notify(_) => {}
            }
            busy = true;
        }
    }

    fn offer(&mut self, n: usize, conn: ConnId) -> bool {
        let Some(End { pending, .. }) = self.ends[n].get_mut(&conn) else { return false };
        let node = &mut self.nodes[n];
        let taken = counted(|| node.handle_bytes(Instant::ZERO, conn, pending));
        pending.drain(..taken);
        taken > 0
    }

    fn write(&mut self, n: usize, conn: ConnId, len: usize) {
        let there = self.ends[n][&conn].there;
        let end = self.ends[1 - n].get_mut(&there).unwrap();
        end.pending.extend_from_slice(&self.buf[..len]);
        let node = &mut self.nodes[n];
        counted(|| node.handle_event(Instant::ZERO, Event::Writable(conn)));
    }

    fn stream_event(&mut self, n: usize, event: StreamEvent) {
        let node = &mut self.nodes[n];
        match event {
            StreamEvent::Opened { stream } => {
                self.opened += 1;
                self.unsent[n].insert(stream, PAYLOAD);
            }
            // Half of what is offered, so that the rest is offered again.
            StreamEvent::Data { stream, len, .. } => {
                let half = len.div_ceil(2);
                self.read[n] += half;
                counted(|| node.take(stream, half));
                counted(|| node.release(stream, half));
            }
            StreamEvent::Writable { stream } => self.send(n, stream),
            // The other direction was never used.
            StreamEvent::Finished { stream } => counted(|| node.finish_stream(stream)),
            StreamEvent::Ended { stream, .. } => {
                self.finished += 1;
                self.unsent[n].remove(&stream);
            }
            StreamEvent::Accepted { .. } => {}
            StreamEvent::ConnectionLost { .. } => panic!("{event:?}"),
        }
    }

    fn send(&mut self, n: usize, stream: StreamId) {
        let Some(left) = self.unsent[n].get_mut(&stream) else { return };
        let bytes = vec![0x2a; *left];
        let (node, buf) = (&mut self.nodes[n], &mut self.buf);
        let written = counted(|| node.write_stream(Instant::ZERO, stream, &bytes, true, buf)).unwrap();
        *left -= written.taken;
        if written.len > 0 {
            self.write(n, written.conn, written.len);
        }
    }

    fn open(&mut self, n: usize) -> StreamId {
        let peer = self.nodes[1 - n].identity().peer_id();
        let node = &mut self.nodes[n];
        counted(|| node.open_stream(Instant::ZERO, peer, SINK)).unwrap()
    }
}

#[test]
fn streams_of_the_embedder_allocate_nothing() {
    let mut pair = Pair::new();
    COUNTED.set((0, 0));
    for round in 1..=3 {
        // A hundred at once, both ways; and one a side that is given up at once.
        for _ in 0..50 {
            pair.open(0);
            pair.open(1);
        }
        for n in 0..2 {
            let stream = pair.open(n);
            let node = &mut pair.nodes[n];
            counted(|| node.limit_stream(Instant::ZERO, stream, None));
            counted(|| node.reset_stream(stream));
        }
        pair.settle();
        assert_eq!(pair.read, [50 * PAYLOAD * round; 2]);
        assert_eq!((pair.opened, pair.finished), (100 * round, 200 * round), "round {round}");
    }
    let (calls, allocations) = COUNTED.get();
    println!("{allocations} allocations in {calls} calls, {} bytes over 306 streams", 2 * pair.read[0]);
    assert_eq!(allocations, 0);
}
