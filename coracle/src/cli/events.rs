//! A node's notices as people and programs read them.

use std::collections::BTreeMap;

use coracle_core::{
    cluster::{Origin, Reachability},
    id::PeerId,
    node::{Failure, Notice},
    record::Addresses,
    refresh::{OwnSeen, Source},
};
use serde_json::{Map, Value, json};

/// What operators are called.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<PeerId, String>);

impl Names {
    /// Names by position in the cluster file, from 1.
    pub(super) fn by_position(peers: impl IntoIterator<Item = PeerId>) -> Self {
        Self(peers.into_iter().enumerate().map(|(i, peer)| (peer, format!("operator {}", i + 1))).collect())
    }

    /// The name of a peer: its position, or its peer id when it is a stranger.
    pub(super) fn of(&self, peer: &PeerId) -> String {
        self.0.get(peer).cloned().unwrap_or_else(|| peer.to_string())
    }
}

/// How much a notice matters to a person who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Only with `--verbose`.
    Detail,
    /// A step of the story.
    Step,
    /// Good news.
    Good,
    /// Something to look at.
    Trouble,
}

/// A notice in both forms.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) weight: Weight,
    pub(super) line: String,
    /// For `--json`: always with `event`.
    pub(super) object: Map<String, Value>,
}

pub(super) fn told(weight: Weight, line: String, object: Value) -> Told {
    let object = match object {
        Value::Object(object) => object,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    Told { weight, line, object }
}

/// A step of the program's own.
pub(super) fn step(line: impl Into<String>, object: Value) -> Told {
    told(Weight::Step, line.into(), object)
}

/// Both forms of a notice.
pub(super) fn tell(notice: &Notice, names: &Names) -> Told {
    match *notice {
        Notice::Published { seq, ref addresses, source } => published(seq, addresses, source),
        Notice::StoreFailed => told(
            Weight::Trouble,
            "the new record could not be stored: the old one stays in force, and it is tried again"
                .to_owned(),
            json!({"event": "store_failed"}),
        ),
        Notice::RefreshFailed(error) => told(
            Weight::Trouble,
            format!("no newer record can be made: {error}"),
            json!({"event": "refresh_failed", "error": error.to_string()}),
        ),
        Notice::PeerRecord { peer, seq, ref addresses } => told(
            Weight::Step,
            format!("{} has a newer record: seq {seq}, {}", names.of(&peer), endpoints(addresses)),
            json!({"event": "peer_record", "peer": peer.to_string(), "operator": names.of(&peer), "seq": seq,
                   "udp": udp(addresses), "tcp": tcp(addresses)}),
        ),
        Notice::RecordConflict { peer, seq } => told(
            Weight::Trouble,
            format!("{} signed two records with seq {seq}: the first is kept", names.of(&peer)),
            json!({"event": "record_conflict", "peer": peer.to_string(), "operator": names.of(&peer), "seq": seq}),
        ),
        Notice::OwnRecordSeen { seq, outcome } => own_record_seen(seq, outcome),
        _ => connection(notice, names),
    }
}

fn own_record_seen(seq: u64, outcome: OwnSeen) -> Told {
    let (weight, name, what) = match outcome {
        OwnSeen::Known => (Weight::Detail, "known", "it is the one in force"),
        OwnSeen::Adopted => (Weight::Step, "adopted", "it is adopted: the store was behind"),
        OwnSeen::Exceeded => {
            (Weight::Trouble, "exceeded", "it says something else, and one above it follows")
        }
        OwnSeen::KeyUsedTwice => {
            (Weight::Trouble, "key_used_twice", "ANOTHER PROCESS USES THIS NODE'S KEY: stop one of the two")
        }
    };
    told(
        weight,
        format!("a record of this node with seq {seq} was shown by others: {what}"),
        json!({"event": "own_record_seen", "seq": seq, "outcome": name}),
    )
}

fn published(seq: u64, addresses: &Addresses, source: Option<Source>) -> Told {
    let from = source.map_or("files", Source::name);
    told(
        Weight::Good,
        format!("record in force: seq {seq}, {} (from {from})", endpoints(addresses)),
        json!({"event": "published", "seq": seq, "udp": udp(addresses), "tcp": tcp(addresses), "source": from}),
    )
}

/// Notices about connections to members, and strangers.
fn connection(notice: &Notice, names: &Names) -> Told {
    let peer_object = |event: &str, peer: PeerId, more: Value| {
        let mut object = Map::new();
        object.insert("event".into(), event.into());
        object.insert("peer".into(), peer.to_string().into());
        object.insert("operator".into(), names.of(&peer).into());
        if let Value::Object(more) = more {
            object.extend(more);
        }
        Value::Object(object)
    };
    match *notice {
        Notice::Dialling { peer, endpoint, origin, .. } => told(
            Weight::Detail,
            format!("dialling {} at {endpoint} ({origin})", names.of(&peer)),
            peer_object("dialling", peer, json!({"endpoint": endpoint, "found": origin.name()})),
        ),
        Notice::DialFailed { peer, endpoint, origin, reason, .. } => told(
            Weight::Detail,
            format!("{} at {endpoint} ({origin}): {reason}", names.of(&peer)),
            peer_object(
                "dial_failed",
                peer,
                json!({"endpoint": endpoint, "found": origin.name(), "reason": reason.to_string()}),
            ),
        ),
        Notice::DiallingAnyone { endpoint, .. } => told(
            Weight::Detail,
            format!("dialling {endpoint} ({})", Origin::Hint),
            json!({"event": "dialling", "endpoint": endpoint, "found": Origin::Hint.name()}),
        ),
        Notice::AnyoneFailed { endpoint, reason, .. } => told(
            if reason == Failure::Duplicate { Weight::Detail } else { Weight::Trouble },
            format!("{endpoint} ({}): {reason}", Origin::Hint),
            json!({"event": "dial_failed", "endpoint": endpoint, "found": Origin::Hint.name(),
                "reason": reason.to_string()}),
        ),
        Notice::MemberAdded { peer } => told(
            Weight::Good,
            format!("{} is a member now", names.of(&peer)),
            peer_object("member_added", peer, json!({})),
        ),
        Notice::MemberRemoved { peer } => told(
            Weight::Step,
            format!("{} is no member any more: it is cut off", names.of(&peer)),
            peer_object("member_removed", peer, json!({})),
        ),
        Notice::ChannelUp { peer, endpoint, origin, first, .. } => told(
            if first { Weight::Good } else { Weight::Detail },
            format!("channel with {} at {endpoint} ({origin})", names.of(&peer)),
            peer_object("channel_up", peer, json!({"endpoint": endpoint, "found": origin.name()})),
        ),
        Notice::ChannelDown { peer, reason, still_connected, .. } => told(
            if still_connected || reason == Failure::Shutdown { Weight::Detail } else { Weight::Trouble },
            format!("channel with {} ended: {reason}", names.of(&peer)),
            peer_object(
                "channel_down",
                peer,
                json!({"reason": reason.to_string(), "still_connected": still_connected}),
            ),
        ),
        Notice::Ping { peer, rtt, .. } => told(
            Weight::Detail,
            format!("{} answers in {:.2} ms", names.of(&peer), rtt.as_secs_f64() * 1e3),
            peer_object("ping", peer, json!({"rtt_us": micros(rtt)})),
        ),
        Notice::LookingUp { peer } => told(
            Weight::Detail,
            format!("looking {} up through the others", names.of(&peer)),
            peer_object("looking_up", peer, json!({})),
        ),
        Notice::Unreachable { peer, why } => told(
            Weight::Trouble,
            format!("{} is unreachable: {}; it is tried on", names.of(&peer), because(why)),
            peer_object("unreachable", peer, json!({"because": because(why)})),
        ),
        Notice::Refused { from, reason, .. } => told(
            // A peer that thinks better of it is no trouble: of two dials at one moment one is given up.
            if reason == Failure::ClosedByPeer { Weight::Detail } else { Weight::Trouble },
            format!("a connection from {from} came to nothing: {reason}"),
            json!({"event": "refused", "from": from, "reason": reason.to_string()}),
        ),
        Notice::LookedUp { target, found, .. } => told(
            Weight::Step,
            format!("{target:.16} {}", found.map_or("was not found".to_owned(), |at| format!("is at {at}"))),
            json!({"event": "looked_up", "target": target.to_string(), "found": found}),
        ),
        // Everything else is told by `tell`.
        ref other => told(Weight::Detail, format!("{other:?}"), json!({"event": "other"})),
    }
}

/// Why a member cannot be reached, in words.
pub(super) fn because(why: Reachability) -> String {
    match why {
        Reachability::Connected => "it is connected".to_owned(),
        Reachability::Trying => "it is being tried".to_owned(),
        Reachability::NoEndpoint => "no address of it is known".to_owned(),
        Reachability::Failed { .. } => "no known address of it answers".to_owned(),
    }
}

/// Whole microseconds.
pub(super) fn micros(rtt: std::time::Duration) -> u64 {
    u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)
}

fn udp(addresses: &Addresses) -> Vec<String> {
    addresses.udp_endpoints().map(|endpoint| endpoint.to_string()).collect()
}

fn tcp(addresses: &Addresses) -> Vec<String> {
    addresses.tcp_endpoints().map(|endpoint| endpoint.to_string()).collect()
}

fn endpoints(addresses: &Addresses) -> String {
    let all: Vec<String> = tcp(addresses)
        .into_iter()
        .map(|endpoint| format!("{endpoint}/tcp"))
        .chain(udp(addresses).into_iter().map(|endpoint| format!("{endpoint}/udp")))
        .collect();
    if all.is_empty() { "no address".to_owned() } else { all.join(" ") }
}
