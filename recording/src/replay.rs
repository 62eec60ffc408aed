//! A recording fed into a fresh node.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::str::{FromStr, SplitAsciiWhitespace};
use std::time::Duration;

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, PublicKey, RustCrypto, SecretKey},
    id::{NodeId, PeerId},
    limits::CHANNEL_READ_SIZE,
    node::{
        Action, Command, Config, ConfigError, ConnId, DialError, Event, LocalInfo, Node, ProtocolId,
        ResolveId, StoreId, StreamEvent, StreamId,
    },
    record::Record,
    refresh::{Bound, Configured},
    rng::Seed,
    time::Instant,
};

use super::{MAGIC, hash, written};

/// A recording that gave the same actions again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// What the node was told: datagrams, bytes, events, timeouts, commands.
    pub inputs: u64,
    /// Actions, each the same to the byte.
    pub actions: u64,
}

/// Why a recording could not be replayed, or gave something else.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It could not be read.
    #[error("the recording cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A line makes no sense.
    #[error("line {line} of the recording: {what}: was it cut short, or written by another version?")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The node could not be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node did something else than recorded.
    #[error("line {line} of the recording: the node now does something else: {found}")]
    Differs {
        /// The line, from 1.
        line: u64,
        /// What it does now.
        found: String,
    },
}

/// Feeds a recording into a fresh node with this key, and compares every action.
pub fn replay(recording: impl BufRead, secret: SecretKey) -> Result<Replayed, ReplayError> {
    let mut config = Config::new(secret, Seed::new([0; 32]), Vec::new());
    let mut lines = (1_u64..).zip(recording.lines());
    let mut start = None;
    while start.is_none() {
        let Some((line, text)) = lines.next() else {
            return Err(ReplayError::Line { line: 1, what: "it ends before the start" });
        };
        let text = text?;
        start = configure(&mut config, line, &text).map_err(|what| ReplayError::Line { line, what })?;
    }
    let node = Node::new(start.unwrap_or(Instant::ZERO), config)?;
    let mut player = Player {
        node,
        conns: BTreeMap::new(),
        streams: BTreeMap::new(),
        stores: BTreeMap::new(),
        queries: BTreeMap::new(),
        buf: vec![0; CHANNEL_READ_SIZE],
        replayed: Replayed { inputs: 0, actions: 0 },
    };
    for (line, text) in lines {
        let text = text?;
        match player.step(&text) {
            Ok(()) => {}
            Err(Wrong::Line(what)) => return Err(ReplayError::Line { line, what }),
            Err(Wrong::Differs(found)) => return Err(ReplayError::Differs { line, found }),
        }
    }
    Ok(player.replayed)
}

/// Takes a line of the head. The moment of the start, if it is the last.
fn configure(config: &mut Config, line: u64, text: &str) -> Result<Option<Instant>, &'static str> {
    if line == 1 {
        return if text == MAGIC { Ok(None) } else { Err("this is no recording") };
    }
    let mut fields = Fields(text.split_ascii_whitespace());
    match fields.word()? {
        "seed" => config.seed = Seed::new(fields.array()?),
        "wall-clock-ms" => config.wall_clock_ms = fields.parsed()?,
        "ping-interval-ns" => config.ping_interval = Duration::from_nanos(fields.parsed()?),
        "bound" => {
            config.bound = Bound {
                udp4: fields.maybe()?,
                tcp4: fields.maybe()?,
                udp6: fields.maybe()?,
                tcp6: fields.maybe()?,
            };
        }
        "configured" => {
            config.configured = Configured {
                ip4: fields.maybe()?,
                ip6: fields.maybe()?,
                udp_port: fields.maybe()?,
                tcp_port: fields.maybe()?,
            };
        }
        "hostname" => {
            let name = fields.maybe_bytes()?.map(String::from_utf8).transpose();
            config.hostname = name.map_err(|_| NO_TEXT)?;
        }
        "lock-record" => config.lock_record = fields.record()?,
        "stored-record" => config.stored_record = fields.record()?,
        "member-room" => config.member_room = fields.parsed()?,
        "addresses" => config.addresses = fields.list()?,
        "streams" => config.streams = fields.parsed()?,
        "info" => config.info = fields.info()?,
        "protocol" => config.protocols.push(fields.text()?),
        "discovery" => {
            if fields.word()? != "-" {
                return Err("a discovery configuration of its own, which a recording does not hold");
            }
        }
        "member" => config.members.push(fields.member()?),
        "bootnode" => config.bootnodes.extend(fields.record()?),
        "start" => return Ok(Some(fields.time()?)),
        _ => return Err("an unknown word in its head"),
    }
    Ok(None)
}

const NO_TEXT: &str = "bytes that are no text";

enum Wrong {
    Line(&'static str),
    Differs(String),
}

impl From<&'static str> for Wrong {
    fn from(what: &'static str) -> Self {
        Self::Line(what)
    }
}

/// A node, and the names that it gave to what it asked for.
struct Player {
    node: Node,
    conns: BTreeMap<String, ConnId>,
    streams: BTreeMap<String, StreamId>,
    stores: BTreeMap<String, StoreId>,
    queries: BTreeMap<String, ResolveId>,
    buf: Vec<u8>,
    replayed: Replayed,
}

impl Player {
    fn step(&mut self, text: &str) -> Result<(), Wrong> {
        let mut fields = Fields(text.split_ascii_whitespace());
        let word = fields.word()?;
        let now = fields.time()?;
        if word == "poll" {
            return self.poll(now, fields.word()?);
        }
        self.replayed.inputs += 1;
        let node = &mut self.node;
        match word {
            "datagram" => {
                let (local, from) = (fields.parsed()?, fields.parsed()?);
                node.handle_datagram(now, local, from, &mut fields.bytes()?);
            }
            "accepted" => {
                let name = fields.word()?;
                let conn = self.node.accept(now, fields.parsed()?);
                if conn.to_string() != name {
                    return Err(Wrong::Differs(format!("it accepts {conn}")));
                }
                self.conns.insert(name.to_string(), conn);
            }
            "bytes" => {
                let conn = self.conn(fields.word()?)?;
                let taken: usize = fields.parsed()?;
                let found = self.node.handle_bytes(now, conn, &mut fields.bytes()?);
                if found != taken {
                    return Err(Wrong::Differs(format!("it takes {found} bytes")));
                }
            }
            "timeout" => node.handle_timeout(now),
            "ping" | "look-up" | "hint" | "address" | "members" | "info" | "bootnodes" | "shutdown" => {
                // What it answers shows in what follows.
                let _ = node.request(now, fields.command(word)?);
            }
            "wall-clock" => node.handle_event(now, Event::WallClock(fields.parsed()?)),
            "open" => {
                let opened = node.open_stream(now, fields.peer()?, ProtocolId(fields.parsed()?));
                self.streams.extend(opened.ok().map(|stream| (stream.to_string(), stream)));
            }
            "take" | "release" | "finish" | "reset" | "limit" | "write" => {
                self.stream(word, now, &mut fields)?;
            }
            _ => self.event(word, now, &mut fields)?,
        }
        Ok(())
    }

    /// Something that is done to a stream.
    fn stream(&mut self, word: &str, now: Instant, fields: &mut Fields<'_>) -> Result<(), Wrong> {
        let stream = self.streams.get(fields.word()?).copied().ok_or("a stream that never was")?;
        match word {
            "take" => self.node.take(stream, fields.parsed()?),
            "release" => self.node.release(stream, fields.parsed()?),
            "finish" => self.node.finish_stream(stream),
            "reset" => self.node.reset_stream(stream),
            "limit" => {
                let time = fields.maybe()?.map(Duration::from_nanos);
                self.node.limit_stream(now, stream, time);
            }
            _ => {
                let (finish, expected) = (fields.parsed()?, fields.word()?);
                let result = self.node.write_stream(now, stream, &fields.bytes()?, finish, &mut self.buf);
                if written(&result, &self.buf) != expected {
                    return Err(Wrong::Differs(format!("{result:?}")));
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, word: &str, now: Instant, fields: &mut Fields<'_>) -> Result<(), Wrong> {
        let name = fields.word()?;
        let store = || self.stores.get(name).copied().ok_or("a write that was never asked for");
        let addresses;
        let event = match word {
            "connected" => Event::Connected(self.conn(name)?),
            "dial-failed" => Event::DialFailed(self.conn(name)?, dial_error(fields.word()?)?),
            "writable" => Event::Writable(self.conn(name)?),
            "closed" => Event::Closed(self.conn(name)?),
            "stored" => Event::Stored(store()?),
            "store-failed" => Event::StoreFailed(store()?),
            "resolved" => {
                let id = self.queries.get(name).copied().ok_or("a query that was never asked for")?;
                addresses = fields.list()?;
                Event::Resolved(id, &addresses)
            }
            "interfaces" => {
                addresses = Fields(name.split_ascii_whitespace()).list()?;
                Event::Interfaces(&addresses)
            }
            _ => return Err(Wrong::Line("an unknown word")),
        };
        self.node.handle_event(now, event);
        Ok(())
    }

    fn poll(&mut self, now: Instant, expected: &str) -> Result<(), Wrong> {
        let action = self.node.poll(now, &mut self.buf);
        if hash(&action, &self.buf) != expected {
            return Err(Wrong::Differs(format!("{action:?}")));
        }
        self.replayed.actions += 1;
        match action {
            Action::Dial { conn, .. } => drop(self.conns.insert(conn.to_string(), conn)),
            Action::Store { id, .. } => drop(self.stores.insert(format!("{id:?}"), id)),
            Action::Stream(StreamEvent::Accepted { stream, .. }) => {
                self.streams.insert(stream.to_string(), stream);
            }
            Action::Resolve { id, .. } => drop(self.queries.insert(format!("{id:?}"), id)),
            _ => {}
        }
        Ok(())
    }

    /// The connection of this name.
    fn conn(&self, name: &str) -> Result<ConnId, &'static str> {
        self.conns.get(name).copied().ok_or("a connection that never was")
    }
}

fn dial_error(word: &str) -> Result<DialError, &'static str> {
    Ok(match word {
        "refused" => DialError::Refused,
        "unreachable" => DialError::Unreachable,
        "timed-out" => DialError::TimedOut,
        "other" => DialError::Other,
        _ => return Err("an unknown reason"),
    })
}

/// What is left of a line.
struct Fields<'a>(SplitAsciiWhitespace<'a>);

impl<'a> Fields<'a> {
    fn word(&mut self) -> Result<&'a str, &'static str> {
        self.0.next().ok_or("a field is missing")
    }

    fn parsed<T: FromStr>(&mut self) -> Result<T, &'static str> {
        self.word()?.parse().map_err(|_| "a field cannot be read")
    }

    fn maybe<T: FromStr>(&mut self) -> Result<Option<T>, &'static str> {
        match self.word()? {
            "-" => Ok(None),
            word => word.parse().map(Some).map_err(|_| "a field cannot be read"),
        }
    }

    fn list<T: FromStr>(&mut self) -> Result<Vec<T>, &'static str> {
        match self.word()? {
            "-" => Ok(Vec::new()),
            words => words.split(',').map(|w| w.parse().map_err(|_| "a list cannot be read")).collect(),
        }
    }

    fn time(&mut self) -> Result<Instant, &'static str> {
        self.parsed().map(Instant::from_nanos)
    }

    /// Bytes, which may be none at all: then there is no field.
    fn bytes(&mut self) -> Result<Vec<u8>, &'static str> {
        hex::decode(self.0.next().unwrap_or_default()).map_err(|_| "bytes that are not hexadecimal")
    }

    fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>, &'static str> {
        match self.word()? {
            "-" => Ok(None),
            word => hex::decode(word).map(Some).map_err(|_| "bytes that are not hexadecimal"),
        }
    }

    /// Text as hexadecimal bytes; `-` for none.
    fn text(&mut self) -> Result<String, &'static str> {
        String::from_utf8(self.maybe_bytes()?.unwrap_or_default()).map_err(|_| NO_TEXT)
    }

    fn info(&mut self) -> Result<LocalInfo, &'static str> {
        Ok(LocalInfo {
            version: self.text()?,
            git_hash: self.text()?,
            lock_hash: self.maybe_bytes()?.unwrap_or_default(),
            builder_api: self.parsed()?,
            nickname: self.text()?,
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        self.bytes()?.try_into().map_err(|_| "too many bytes, or too few")
    }

    fn record(&mut self) -> Result<Option<Record>, &'static str> {
        let bytes = self.maybe_bytes()?;
        let record = bytes.map(|bytes| Record::decode(&bytes, &RustCrypto)).transpose();
        record.map_err(|_| "a record that does not verify")
    }

    fn command(&mut self, word: &str) -> Result<Command, &'static str> {
        Ok(match word {
            "ping" => Command::Ping(self.peer()?),
            "look-up" => Command::LookUp(NodeId(self.array()?)),
            "hint" => Command::Hint(self.peer()?, self.parsed()?),
            "address" => Command::Address(self.parsed()?),
            "members" => {
                let count: usize = self.parsed()?;
                Command::SetMembers((0..count).map(|_| self.member()).collect::<Result<_, _>>()?)
            }
            "info" => Command::SetInfo(self.info()?),
            "bootnodes" => {
                let texts: Vec<String> = self.list()?;
                let records = texts.iter().map(|text| Fields(text.split_ascii_whitespace()).record());
                Command::Bootnodes(records.filter_map(Result::transpose).collect::<Result<_, _>>()?)
            }
            _ => Command::Shutdown,
        })
    }

    fn member(&mut self) -> Result<MemberConfig, &'static str> {
        Ok(MemberConfig {
            public_key: self.public_key()?,
            lock_record: self.record()?,
            stored_record: self.record()?,
            last_good: self.maybe()?,
            hints: self.list()?,
        })
    }

    fn public_key(&mut self) -> Result<PublicKey, &'static str> {
        RustCrypto.decompress(&self.array()?).ok_or("a key that is none")
    }

    fn peer(&mut self) -> Result<PeerId, &'static str> {
        PeerId::from_bytes(&self.bytes()?).ok_or("a peer id that is none")
    }
}
