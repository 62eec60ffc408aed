//! What a node was told and what it did, written down, so that the same can be had again without a network.
//!
//! A [`Recorder`] given to an adapter's `start_recorded` (it is the same in `coracle-tokio` and `coracle-async-std`)
//! writes a line for everything that goes into the node, with its time, and the hash of every action that comes
//! out. [`replay`] feeds the same into a fresh node and compares action by action: a bug seen once in the wild is
//! seen again as often as one likes.
//!
//! ```no_run
//! use coracle_core::crypto::SecretKey;
//! use std::{fs::File, io::BufReader};
//!
//! fn again(key: SecretKey) -> Result<(), Box<dyn std::error::Error>> {
//!     let recording = BufReader::new(File::open("node.recording")?);
//!     // An error names the first line at which the node now does something else.
//!     let same = coracle_recording::replay(recording, key)?;
//!     println!("{} actions, each the same as then", same.actions);
//!     Ok(())
//! }
//! ```
//!
//! A driver of one's own keeps its node in [`Tapped`], which has the node's own methods:
//!
//! ```
//! use coracle_core::{crypto::SecretKey, node::{Config, Node}, rng::Seed, time::Instant};
//! use coracle_recording::{Recorder, Tapped};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (key, seed) = (SecretKey::from_bytes(&[1; 32])?, [2; 32]);
//! # let members = vec![];
//! let mut config = Config::new(key, Seed::new([0; 32]), members);
//! let mut recorder = Recorder::new(std::io::sink(), seed);
//! let now = Instant::ZERO;
//! recorder.begin(&mut config, now); // the seed is the recorder's now
//! # config.members.push(coracle_core::cluster::MemberConfig::new(
//! #     coracle_core::crypto::Crypto::public_key(&coracle_core::crypto::RustCrypto, &SecretKey::from_bytes(&[1; 32])?)));
//! let mut node = Tapped::new(Node::new(now, config)?, Some(recorder));
//! node.handle_timeout(now); // and so on
//! # Ok(())
//! # }
//! ```
//!
//! **A recording is a secret.** It holds the seed, from which the session keys of that run follow, though not the
//! node's own key, which [`replay`] has to be given. A discovery configuration other than the default is not
//! written down, and such a recording cannot be replayed. Its form, line by line, is text: hexadecimal bytes,
//! nanoseconds since the driver's start, and `-` for what is not there.

mod replay;
mod tap;

use std::fmt::{self, Display, Write as _};
use std::io::Write;

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, RustCrypto},
    node::{Action, Config, LocalInfo, StoreItem, StreamError, StreamWrite},
    record::Record,
    rng::Seed,
    time::Instant,
};
use tracing::error;

pub use replay::{ReplayError, Replayed, replay};
pub use tap::Tapped;

/// The first line of every recording.
const MAGIC: &str = "coracle-recording 1";

/// Writes down what a node is told and what it does.
pub struct Recorder {
    /// `None` once writing has failed: what has gaps cannot be replayed.
    out: Option<Box<dyn Write + Send>>,
    seed: [u8; 32],
}

impl Recorder {
    /// A recorder that writes to `out`, which should be buffered; it is flushed when the node has stopped.
    ///
    /// `seed` is this start's, 32 fresh random bytes. It takes the place of the one in the configuration, since
    /// it has to be written down.
    pub fn new(out: impl Write + Send + 'static, seed: [u8; 32]) -> Self {
        Self { out: Some(Box::new(out)), seed }
    }

    /// Puts the seed into the configuration, and writes all of it down but the key: before the node is made of it.
    pub fn begin(&mut self, config: &mut Config, now: Instant) {
        config.seed = Seed::new(self.seed);
        let (bound, configured) = (&config.bound, &config.configured);
        let mut text = format!("{MAGIC}\nseed {}\n", hex::encode(self.seed));
        let mut line = |name: &str, fields: &[String]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} {}", fields.join(" "));
        };
        line("wall-clock-ms", &[config.wall_clock_ms.to_string()]);
        line("ping-interval-ns", &[config.ping_interval.as_nanos().to_string()]);
        line("bound", &[or(bound.udp4), or(bound.tcp4), or(bound.udp6), or(bound.tcp6)]);
        line(
            "configured",
            &[or(configured.ip4), or(configured.ip6), or(configured.udp_port), or(configured.tcp_port)],
        );
        line("hostname", &[or(config.hostname.as_deref().map(hex::encode))]);
        line("lock-record", &[record(config.lock_record.as_ref())]);
        line("stored-record", &[record(config.stored_record.as_ref())]);
        line("member-room", &[config.member_room.to_string()]);
        line("addresses", &[list(&config.addresses)]);
        line("streams", &[config.streams.to_string()]);
        line("info", &[info(&config.info)]);
        for protocol in &config.protocols {
            line("protocol", &[hex::encode(protocol)]);
        }
        line("discovery", &[if config.discovery.is_some() { "other" } else { "-" }.into()]);
        for of in &config.members {
            line("member", &[member(of)]);
        }
        for bootnode in &config.bootnodes {
            line("bootnode", &[record(Some(bootnode))]);
        }
        line("start", &[now.as_nanos().to_string()]);
        self.put(&text);
    }

    fn line(&mut self, what: fmt::Arguments<'_>) {
        self.put(&format!("{what}\n"));
    }

    fn put(&mut self, text: &str) {
        let Some(out) = &mut self.out else { return };
        if let Err(error) = out.write_all(text.as_bytes()) {
            error!(%error, "the recording ends here: it could not be written");
            self.out = None;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(out) = &mut self.out
            && let Err(error) = out.flush()
        {
            error!(%error, "the end of the recording could not be written");
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("writes", &self.out.is_some()).finish_non_exhaustive()
    }
}

/// What stands for an action: a hash over its name, its fields, and every byte that goes with it.
fn hash(action: &Action, buf: &[u8]) -> String {
    let payload: &[u8] = match action {
        Action::Send { len, .. } | Action::Write { len, .. } | Action::Resolve { len, .. } => &buf[..*len],
        Action::Store { item: StoreItem::Own(record), .. } => record.as_bytes(),
        Action::Store { item: StoreItem::Peer(peer), .. } => {
            peer.record.as_ref().map_or(&[], Record::as_bytes)
        }
        _ => &[],
    };
    hex::encode(&RustCrypto.sha256(&[format!("{action:?}").as_bytes(), payload])[..8])
}

/// What stands for a write to a stream: a hash over what was taken, and every byte to send.
fn written(result: &Result<StreamWrite, StreamError>, buf: &[u8]) -> String {
    let frame = result.as_ref().map_or(&[][..], |write| &buf[..write.len]);
    hex::encode(&RustCrypto.sha256(&[format!("{result:?}").as_bytes(), frame])[..8])
}

/// What is said of the node, in five fields.
fn info(info: &LocalInfo) -> String {
    let text = |bytes: &[u8]| if bytes.is_empty() { "-".into() } else { hex::encode(bytes) };
    let (version, git_hash) = (text(info.version.as_bytes()), text(info.git_hash.as_bytes()));
    let (lock_hash, nickname) = (text(&info.lock_hash), text(info.nickname.as_bytes()));
    format!("{version} {git_hash} {lock_hash} {} {nickname}", info.builder_api)
}

/// A member in five fields.
fn member(member: &MemberConfig) -> String {
    let key = hex::encode(member.public_key.compressed());
    let (lock, stored) = (record(member.lock_record.as_ref()), record(member.stored_record.as_ref()));
    format!("{key} {lock} {stored} {} {}", or(member.last_good), list(&member.hints))
}

fn or(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

fn record(record: Option<&Record>) -> String {
    or(record.map(|record| hex::encode(record.as_bytes())))
}

/// Several of something, with commas between them.
fn list(values: &[impl Display]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    if values.is_empty() { "-".into() } else { values.join(",") }
}
