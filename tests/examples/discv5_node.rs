//! Our discovery on a UDP socket of 127.0.0.1, told what to do on standard input: the counterpart of the
//! programs under `tests/interop/`.
//!
//! It prints `record <enr>`, and then obeys one command a line, each answered with one line:
//!
//! ```text
//! add <enr>             added
//! ping <enr>            pong <the peer's sequence number>
//! find <enr> <d,d,..>   nodes <how many valid records> <enr> ...
//! talk <enr> <text>     talked <the response>          (protocol "coracle/test")
//! lookup <node id>      found <enr> | found nothing
//! ```
//!
//! TALKREQs in "coracle/test" are answered with their content reversed. What fails is answered with
//! `failed <why>`. It ends with its input.
//!
//! `cargo run -p coracle-tests --example discv5_node -- <key number, 1 to 254>`

use std::{
    error::Error,
    io::{BufRead as _, Write as _},
    net::{SocketAddr, UdpSocket},
    sync::mpsc::{Receiver, TryRecvError, channel},
    time::Duration,
};

use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    discovery::{Config, Discovery, Event, LookupId, RecordSource, RequestId},
    id::NodeId,
    limits::MAX_PACKET_SIZE,
    record::{Builder, Record},
    rng::Seed,
    time::Instant,
};

const TALK: &[u8] = b"coracle/test";
/// The longest wait for a datagram before the next look at the input.
const TURN: Duration = Duration::from_millis(10);

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let number: u8 = std::env::args().nth(1).ok_or("give a key number, 1 to 254")?.parse()?;
    let mut node = Node::bind(number)?;
    say(&format!("record {}", node.discovery.local_record()));
    let (lines, input) = channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|l| lines.send(l))
    });
    node.run(&input)
}

/// One line, at once.
fn say(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

struct Node {
    identity: Identity<RustCrypto>,
    discovery: Discovery,
    socket: UdpSocket,
    start: std::time::Instant,
    /// Records that came for the FINDNODE under way.
    found: Vec<String>,
}

/// What the command under way waits for.
enum Pending {
    Request(RequestId),
    Lookup(LookupId),
}

impl Node {
    fn bind(number: u8) -> Result<Self, Failure> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let identity = Identity::new(RustCrypto, SecretKey::from_bytes(&[number; 32])?);
        let SocketAddr::V4(at) = socket.local_addr()? else { return Err("no IPv4 address".into()) };
        let record = Builder::new().set_ip4(Some(*at.ip()))?.set_udp4(Some(at.port()))?.sign(1, &identity)?;
        let rng = Seed::new([number; 32]).stream("discovery");
        let mut discovery = Discovery::new(Config::default(), &record, rng);
        discovery.accept_talk(TALK);
        Ok(Self { identity, discovery, socket, start: std::time::Instant::now(), found: Vec::new() })
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    fn run(&mut self, input: &Receiver<String>) -> Result<(), Failure> {
        let mut pending = None;
        loop {
            if pending.is_none() {
                match input.try_recv() {
                    Ok(line) => match self.obey(&line) {
                        Ok(begun) => pending = begun,
                        Err(why) => say(&format!("failed {why}")),
                    },
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            let mut buf = [0; MAX_PACKET_SIZE];
            while let Some((to, len)) = self.discovery.poll_transmit(&self.identity, self.now(), &mut buf) {
                self.socket.send_to(&buf[..len], to)?;
            }
            if let Some(event) = self.discovery.poll_event() {
                self.on_event(event, &mut pending)?;
                continue;
            }
            let due = self.discovery.next_timeout().map_or(TURN, |at| at.since(self.now()).min(TURN));
            self.socket.set_read_timeout(Some(due.max(Duration::from_millis(1))))?;
            let mut packet = [0; MAX_PACKET_SIZE + 1];
            if let Ok((len, from)) = self.socket.recv_from(&mut packet) {
                let now = self.now();
                self.discovery.handle_datagram(&self.identity, now, from, &mut packet[..len]);
            }
            let now = self.now();
            self.discovery.handle_timeout(now);
        }
    }

    /// Begins a command; `None` when it is done at once.
    fn obey(&mut self, line: &str) -> Result<Option<Pending>, Failure> {
        let now = self.now();
        let mut words = line.split_whitespace();
        let command = words.next().ok_or("an empty line")?;
        let whom = words.next().ok_or("no record or node id")?;
        if command == "lookup" {
            return Ok(Some(Pending::Lookup(self.discovery.lookup(now, node_id(whom)?)?)));
        }
        let record = Record::from_text(whom, &RustCrypto)?;
        let rest = words.next().unwrap_or_default();
        let request = match command {
            "add" => {
                self.discovery.add_record(now, &record, false)?;
                say("added");
                return Ok(None);
            }
            "ping" => self.discovery.ping(now, &record)?,
            "find" => {
                let distances: Vec<u16> = rest.split(',').map(str::parse).collect::<Result<_, _>>()?;
                self.found.clear();
                self.discovery.find_node(now, &record, &distances)?
            }
            "talk" => self.discovery.talk(now, &record, TALK, rest.as_bytes())?,
            _ => return Err(format!("unknown command {command:?}").into()),
        };
        Ok(Some(Pending::Request(request)))
    }

    fn on_event(&mut self, event: Event, pending: &mut Option<Pending>) -> Result<(), Failure> {
        let (mut request_begun, mut lookup_begun) = (None, None);
        match *pending {
            Some(Pending::Request(begun)) => request_begun = Some(begun),
            Some(Pending::Lookup(begun)) => lookup_begun = Some(begun),
            None => {}
        }
        let waits_for = |request| request_begun == Some(request);
        let line = match event {
            Event::TalkRequest { id, .. } => {
                let mut answer =
                    self.discovery.talk_request(id).map(|(_, request)| request.to_vec()).unwrap_or_default();
                answer.reverse();
                self.discovery.respond_talk(id, &answer)?;
                return Ok(());
            }
            Event::RecordSeen { record, source: RecordSource::Owner | RecordSource::Relayed(_) } => {
                self.found.push(record.to_string());
                return Ok(());
            }
            Event::Pong { request, enr_seq, .. } if waits_for(request) => format!("pong {enr_seq}"),
            Event::Nodes { request, count, .. } if waits_for(request) => {
                format!("nodes {count} {}", self.found.join(" "))
            }
            Event::TalkResponse { request, .. } if waits_for(request) => {
                let response = self.discovery.talk_response(request).unwrap_or_default();
                format!("talked {}", String::from_utf8_lossy(response))
            }
            Event::RequestFailed { request, reason } if waits_for(request) => format!("failed {reason}"),
            Event::LookupDone { lookup, found, .. } if lookup_begun == Some(lookup) => {
                let found = found.map_or_else(|| "nothing".into(), |record| record.to_string());
                format!("found {found}")
            }
            _ => return Ok(()),
        };
        *pending = None;
        say(&line);
        Ok(())
    }
}

fn node_id(text: &str) -> Result<NodeId, Failure> {
    let mut id = [0; 32];
    for (at, byte) in id.iter_mut().enumerate() {
        let digits = text.get(2 * at..2 * at + 2).ok_or("a node id has 64 hex digits")?;
        *byte = u8::from_str_radix(digits, 16)?;
    }
    Ok(NodeId(id))
}
