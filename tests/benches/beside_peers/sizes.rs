//! Memory: what an idle node and a session take.

use coracle_core::{
    crypto::RustCrypto,
    discovery::{Config, Discovery},
};
use coracle_native_crypto::NativeCrypto;

use crate::{
    backend::{Backend, identity},
    ours::host::{record, rng},
    peers,
    table::{number, print},
};

/// Bytes on the heap of a machine with this configuration.
fn heap(config: Config) -> f64 {
    heap_with::<RustCrypto>(config)
}

fn heap_with<B: Backend>(config: Config) -> f64 {
    let record = record(&identity::<RustCrypto>(1), 1, 1);
    let mut made = None;
    let info = allocation_counter::measure(|| made = Some(Discovery::<B>::new(config, &record, rng(1))));
    info.bytes_current as f64
}

/// Bytes of each session more, with its keys kept ready or without.
fn session<B: Backend>(kept: bool) -> f64 {
    let with = |sessions| {
        heap_with::<B>(Config { sessions, kept_keys: if kept { sessions } else { 0 }, ..Config::default() })
    };
    (with(4096) - with(2048)) / 2048.0
}

/// The limits of the crate `discv5`, as far as it has any: 16 nodes in each of the 17 buckets that can be full
/// in practice and one that waits. It keeps no keys ready. It takes memory for all else as it comes; ours has room
/// for what a cluster of sixteen needs.
fn equal_limits() -> Config {
    Config {
        nodes: 17 * 17,
        sessions: 128,
        kept_keys: 0,
        challenges: 32,
        prefixes: 64,
        verified_records: 256,
        requests: 32,
        responses: 16,
        lookups: 2,
        talks: 4,
        events: 16,
        ..Config::default()
    }
}

/// Sets a limit.
type Set = fn(&mut Config, usize);

/// What each limit costs, in bytes for each that it allows.
fn places() {
    let sets: [(&str, Set); 11] = [
        ("nodes", |config, n| config.nodes = n),
        ("sessions", |config, n| config.sessions = n),
        ("kept_keys", |config, n| (config.kept_keys, config.sessions) = (n, 2048)),
        ("challenges", |config, n| config.challenges = n),
        ("prefixes", |config, n| config.prefixes = n),
        ("verified_records", |config, n| config.verified_records = n),
        ("requests", |config, n| config.requests = n),
        ("responses", |config, n| config.responses = n),
        ("lookups", |config, n| config.lookups = n),
        ("talks", |config, n| config.talks = n),
        ("events", |config, n| config.events = n),
    ];
    let lines: Vec<_> = sets
        .into_iter()
        .map(|(limit, set)| {
            let with = |n| {
                let mut config = Config::default();
                set(&mut config, n);
                heap(config)
            };
            vec![limit.to_owned(), number((with(2048) - with(1024)) / 1024.0)]
        })
        .collect();
    print(&["limit", "bytes for each"], &lines);
}

/// Prints the table of sizes.
pub(crate) fn run() {
    let idle = peers::discv5::idle() as f64;
    let line = |what: &str, ours: f64, peer: &str, theirs: f64, ratio: String, bar: &str, met: bool| {
        let met = if met { "yes" } else { "no" };
        [what, &number(ours), peer, &number(theirs), &ratio, bar, met].map(str::to_owned).to_vec()
    };
    let equal = heap(equal_limits());
    let default = heap(Config::default());
    let lines = [
        line(
            "idle node, equal limits, bytes",
            equal,
            "discv5 crate",
            idle,
            format!("{:.3}", equal / idle),
            "0.5",
            equal <= idle * 0.5,
        ),
        line(
            "idle node, default limits, bytes",
            default,
            "discv5 crate",
            idle,
            format!("{:.3}", default / idle),
            "none",
            true,
        ),
    ];
    let sessions = [
        ("one session, keys not kept, bytes", session::<RustCrypto>(false), 256.0),
        ("one session, keys kept, default", session::<RustCrypto>(true), 1100.0),
        ("one session, keys kept, native", session::<NativeCrypto>(true), 1100.0),
    ];
    let sessions = sessions.map(|(what, bytes, bar)| {
        line(what, bytes, "discv5 crate (given)", 499.0, String::new(), &number(bar), bytes <= bar)
    });
    let lines: Vec<_> = lines.into_iter().chain(sessions).collect();
    print(&["what", "ours", "peer", "theirs", "ratio", "bar", "met"], &lines);
    println!();
    places();
}
