//! A record as people and programs read it.

use std::{fmt::Write as _, io};

use coracle_core::record::Record;
use serde::Serialize;

use super::output::{HEAD, clean};

/// The parts of a record.
#[derive(Serialize)]
pub(super) struct RecordView {
    enr: String,
    pub(super) seq: u64,
    pub(super) peer_id: String,
    node_id: String,
    public_key: String,
    pub(super) udp: Vec<String>,
    pub(super) tcp: Vec<String>,
    pairs: Vec<Pair>,
}

#[derive(Serialize)]
struct Pair {
    key: String,
    /// Hexadecimal; of a list, with its RLP header.
    value: String,
}

impl RecordView {
    pub(super) fn new(record: &Record) -> Self {
        Self {
            enr: record.to_string(),
            seq: record.seq(),
            peer_id: record.peer_id().to_string(),
            node_id: record.node_id().to_string(),
            public_key: format!("0x{}", hex::encode(record.public_key().compressed())),
            udp: record.udp_endpoints().map(|endpoint| endpoint.to_string()).collect(),
            tcp: record.tcp_endpoints().map(|endpoint| endpoint.to_string()).collect(),
            pairs: record.pairs().map(|(key, value)| pair(key, &value)).collect(),
        }
    }

    /// The text form.
    pub(super) fn enr(&self) -> &str {
        &self.enr
    }

    /// Everything, a line each.
    pub(super) fn lines(&self, to: &mut dyn io::Write) -> io::Result<()> {
        let mut line = |name: &str, value: &str| writeln!(to, "{HEAD}{name:<12}{HEAD:#}{}", clean(value));
        line("enr", &self.enr)?;
        line("seq", &self.seq.to_string())?;
        line("peer id", &self.peer_id)?;
        line("node id", &self.node_id)?;
        line("public key", &self.public_key)?;
        line("udp", &or_none(&self.udp))?;
        line("tcp", &or_none(&self.tcp))?;
        let mut pairs = String::new();
        for Pair { key, value } in &self.pairs {
            // Writing to a string cannot fail.
            let _ = write!(pairs, "{}{key}={value}", if pairs.is_empty() { "" } else { " " });
        }
        line("keys", &pairs)
    }
}

/// The endpoints, or a word for none.
pub(super) fn or_none(endpoints: &[String]) -> String {
    if endpoints.is_empty() { "none".to_owned() } else { endpoints.join(", ") }
}

fn pair(key: &[u8], value: &coracle_core::wire::rlp::Item<'_>) -> Pair {
    let key_text = String::from_utf8_lossy(key).into_owned();
    let bytes = match value.string() {
        Ok(bytes) => bytes,
        Err(_) => value.raw,
    };
    let value = match key {
        b"id" => String::from_utf8_lossy(bytes).into_owned(),
        _ => hex::encode(bytes),
    };
    Pair { key: key_text, value }
}
