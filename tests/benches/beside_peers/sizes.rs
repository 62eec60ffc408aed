//! Memory: what an idle node and a session take.

use coracle_core::{
    crypto::RustCrypto,
    discovery::{Config, Discovery},
};

use crate::{
    backend::identity,
    ours::host::{record, rng},
    peers,
    table::{number, print},
};

/// Bytes on the heap of a machine with this configuration.
fn heap(config: Config) -> f64 {
    let record = record(&identity::<RustCrypto>(1), 1, 1);
    let mut made = None;
    let info = allocation_counter::measure(|| made = Some(Discovery::new(config, &record, rng(1))));
    info.bytes_current as f64
}

/// The limits of the crate `discv5`, as far as it has any: 16 nodes in each of the 17 buckets that can be full
/// in practice and one that waits. It takes memory for all else as it comes; ours has room for what a cluster of
/// sixteen needs.
fn equal_limits() -> Config {
    Config {
        nodes: 17 * 17,
        sessions: 128,
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
    let sets: [(&str, Set); 10] = [
        ("nodes", |config, n| config.nodes = n),
        ("sessions", |config, n| config.sessions = n),
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
    let with = |sessions| Config { sessions, ..Config::default() };
    let session = (heap(with(4096)) - heap(with(2048))) / 2048.0;
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
        line(
            "one session, bytes",
            session,
            "discv5 crate (given)",
            499.0,
            String::new(),
            "256",
            session <= 256.0,
        ),
    ];
    print(&["what", "ours", "peer", "theirs", "ratio", "bar", "met"], &lines);
    println!();
    places();
}
