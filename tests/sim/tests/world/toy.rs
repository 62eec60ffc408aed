//! The machine of these tests: it counts pings reliably, echoes streams, and saves values.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use coracle_sim::{
    Boot, Choices, CloseReason, Context, DialError, Event, Faults, MILLISECOND, Machine, NodeId, Sim,
    StreamId,
};

pub(crate) const PORT: u16 = 4000;

/// The file of [`Command::Log`], and the length of a record in it.
pub(crate) const LOG: &[u8] = b"log";
pub(crate) const RECORD: usize = 8;

#[derive(Debug)]
pub(crate) enum Command {
    /// Ping this peer until it has answered so often.
    Ping { to: SocketAddr, count: u64 },
    /// Send this many bytes of the pattern, and have them echoed.
    Echo { to: SocketAddr, length: usize },
    /// Write this to the disk.
    Save { key: u8, value: u8 },
    /// Write record number `at` of the log: [`RECORD`] bytes of the value `at + 1`.
    Log { at: usize },
    /// Make the log durable.
    Sync,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Seen {
    Ponged(u64),
    Echoed(usize),
    NoDial(DialError),
    Gone(CloseReason),
    Saved,
    NotSaved,
    Moved,
}

#[derive(Default)]
pub(crate) struct Toy {
    pub(crate) restored: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) answered: u64,
    pub(crate) pings: Option<(SocketAddr, u64, u64)>,
    pub(crate) sends: BTreeMap<StreamId, Transfer>,
    pub(crate) accepted: usize,
}

pub(crate) struct Transfer {
    length: usize,
    written: usize,
    echoed: usize,
}

/// The byte at this place of the stream that `Echo` sends.
pub(crate) fn pattern(at: usize) -> u8 {
    u8::try_from((at * 7 + at / 251) % 256).unwrap()
}

pub(crate) fn ip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

pub(crate) fn at(number: u8) -> SocketAddr {
    (ip(number), PORT).into()
}

/// A world with this many toys, the first at address 1.
pub(crate) fn world(choices: Choices, faults: Faults, count: u8) -> (Sim<Toy>, Vec<NodeId>) {
    let mut sim = Sim::new(choices, faults);
    let nodes = (1..=count).map(|number| sim.add_node(ip(number), |boot| Toy::new(&boot)).unwrap());
    let nodes = nodes.collect();
    (sim, nodes)
}

impl Toy {
    pub(crate) fn new(boot: &Boot<'_>) -> Self {
        Self { restored: boot.disk.clone(), ..Self::default() }
    }

    fn see(&mut self, cx: &mut Context<'_, Seen>, seen: Seen) {
        self.seen.push(seen);
        cx.observe(seen);
    }

    fn ping(&mut self, cx: &mut Context<'_, Seen>) {
        if let Some((to, done, count)) = self.pings
            && done < count
        {
            let from = (Ipv4Addr::UNSPECIFIED, PORT).into();
            cx.send(from, to, &[b"?", done.to_be_bytes().as_slice()].concat());
            cx.set_deadline(Some(cx.now() + 200 * MILLISECOND));
        }
    }

    fn pump(&mut self, cx: &mut Context<'_, Seen>, stream: StreamId) {
        let Some(transfer) = self.sends.get_mut(&stream) else {
            return;
        };
        let rest: Vec<u8> = (transfer.written..transfer.length).map(pattern).collect();
        if !rest.is_empty() {
            transfer.written += cx.write(stream, &rest);
        }
    }
}

impl Machine for Toy {
    type Command = Command;
    type Observation = Seen;

    fn handle_start(&mut self, cx: &mut Context<'_, Seen>) {
        cx.bind(PORT);
        cx.listen(PORT);
    }

    fn handle_datagram(
        &mut self,
        cx: &mut Context<'_, Seen>,
        local: SocketAddr,
        from: SocketAddr,
        bytes: &mut [u8],
    ) {
        let Some((kind, Ok(number))) = bytes.split_first().map(|(k, n)| (*k, n.try_into())) else {
            return;
        };
        let number = u64::from_be_bytes(number);
        if kind == b'?' {
            self.answered += 1;
            bytes[0] = b'!';
            cx.send(local, from, bytes);
        } else if let Some((_, done, _)) = &mut self.pings
            && kind == b'!'
            && number == *done
        {
            *done += 1;
            let done = *done;
            self.see(cx, Seen::Ponged(done));
            self.ping(cx);
        }
    }

    fn handle_bytes(&mut self, cx: &mut Context<'_, Seen>, stream: StreamId, bytes: &mut [u8]) -> usize {
        let Some(transfer) = self.sends.get_mut(&stream) else {
            // The echo takes no more than it can give back.
            let taken = cx.write(stream, bytes);
            return taken;
        };
        for byte in bytes.iter() {
            assert_eq!(*byte, pattern(transfer.echoed), "at {}", transfer.echoed);
            transfer.echoed += 1;
        }
        if transfer.echoed == transfer.length {
            let length = transfer.length;
            self.sends.remove(&stream);
            cx.close(stream);
            self.see(cx, Seen::Echoed(length));
        }
        bytes.len()
    }

    fn handle_event(&mut self, cx: &mut Context<'_, Seen>, event: Event) {
        match event {
            Event::Connected { stream, .. } => self.pump(cx, stream),
            Event::Accepted { .. } => self.accepted += 1,
            Event::Writable(stream) => {
                self.pump(cx, stream);
                cx.resume(stream);
            }
            Event::DialFailed { reason, stream } => {
                self.sends.remove(&stream);
                self.see(cx, Seen::NoDial(reason));
            }
            Event::Closed { reason, stream } => {
                self.sends.remove(&stream);
                self.see(cx, Seen::Gone(reason));
            }
            Event::Stored(_) => self.see(cx, Seen::Saved),
            Event::StoreFailed(_) => self.see(cx, Seen::NotSaved),
            Event::Moved => self.see(cx, Seen::Moved),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, Seen>) {
        self.ping(cx);
    }

    fn handle_command(&mut self, cx: &mut Context<'_, Seen>, command: Command) {
        match command {
            Command::Ping { to, count } => {
                self.pings = Some((to, 0, count));
                self.ping(cx);
            }
            Command::Echo { to, length } => {
                let transfer = Transfer { length, written: 0, echoed: 0 };
                let stream = cx.dial(to);
                self.sends.insert(stream, transfer);
            }
            Command::Save { key, value } => {
                cx.put(&[key], &[value]);
            }
            Command::Log { at } => {
                let value = u8::try_from(at + 1).unwrap();
                cx.write_at(LOG, at * RECORD, &[value; RECORD]);
            }
            Command::Sync => {
                cx.sync();
            }
        }
    }
}
