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
pub(crate) fn heap(config: Config) -> f64 {
    let record = record(&identity::<RustCrypto>(1), 1, 1);
    let mut made = None;
    let info = allocation_counter::measure(|| made = Some(Discovery::new(config, &record, rng(1))));
    info.bytes_current as f64
}

/// The limits of the crate `discv5`, as far as it has any: 16 nodes in each of the 17 buckets that can be full
/// in practice and one that waits, 1,000 sessions; and of the rest what a node uses that does not serve a crowd.
pub(crate) fn equal_limits() -> Config {
    Config {
        nodes: 17 * 17,
        sessions: 1_000,
        challenges: 64,
        prefixes: 64,
        verified_records: 256,
        requests: 32,
        responses: 16,
        lookups: 2,
        talks: 4,
        ..Config::default()
    }
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
}
