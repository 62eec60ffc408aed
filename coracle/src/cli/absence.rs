//! Why members are not connected: told when it changes and every few minutes, not at every attempt.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use coracle_core::{
    cluster::{Origin, Reachability},
    id::PeerId,
    node::{Notice, Snapshot},
};
use serde_json::{Map, Value, json};

use super::events::{Names, Told, Weight, because};

/// Time between two words on one member, when its reasons change.
const LEAST: Duration = Duration::from_secs(10);
/// Time between two words on one member, when they do not.
const REMINDER: Duration = Duration::from_secs(300);
/// Addresses of one member of which the last failure is remembered: more than are dialled in a round.
const MOST: usize = 16;

/// What is known of the members without a channel.
#[derive(Debug, Default)]
pub(super) struct Absences {
    members: BTreeMap<PeerId, Absence>,
    /// Addresses of nobody in particular, and why nobody was reached there.
    anyone: BTreeMap<SocketAddr, String>,
}

#[derive(Debug, Default)]
struct Absence {
    /// The last failure at each address.
    tried: BTreeMap<SocketAddr, (Origin, String)>,
    /// What was told last, and when.
    told: Option<(String, Instant)>,
}

impl Absences {
    /// Takes note. Returns whether a person is to see this notice itself.
    pub(super) fn hear(&mut self, notice: &Notice) -> bool {
        match *notice {
            Notice::DialFailed { peer, endpoint, origin, reason, .. } => {
                let tried = &mut self.members.entry(peer).or_default().tried;
                if tried.len() < MOST || tried.contains_key(&endpoint) {
                    tried.insert(endpoint, (origin, reason.to_string()));
                }
            }
            Notice::ChannelUp { peer, .. } | Notice::MemberRemoved { peer } => {
                self.members.remove(&peer);
            }
            // Addresses may have changed: what was found out about the old ones is of no use.
            Notice::PeerRecord { peer, .. } => {
                self.members.entry(peer).or_default().tried.clear();
            }
            Notice::AnyoneFailed { endpoint, reason, .. } => {
                let reason = reason.to_string();
                return self.anyone.insert(endpoint, reason.clone()) != Some(reason);
            }
            // `report` says it, with more.
            Notice::Unreachable { .. } => return false,
            _ => {}
        }
        true
    }

    /// What there is to tell at `now`.
    pub(super) fn report(&mut self, now: Instant, snapshot: &Snapshot, names: &Names) -> Vec<Told> {
        let mut report = Vec::new();
        for member in &snapshot.members {
            let failed =
                matches!(member.reachability, Reachability::NoEndpoint | Reachability::Failed { .. });
            if member.channel.is_some() || !failed {
                continue;
            }
            let absence = self.members.entry(member.peer_id).or_default();
            let why = absence.why(member.reachability);
            let due = absence.told.as_ref().is_none_or(|(told, at)| {
                let pause = if *told == why { REMINDER } else { LEAST };
                now.saturating_duration_since(*at) >= pause
            });
            if due {
                report.push(absence.tell(&member.peer_id, &why, member.reachability, names));
                absence.told = Some((why, now));
            }
        }
        report
    }
}

impl Absence {
    fn why(&self, reachability: Reachability) -> String {
        if self.tried.is_empty() {
            return because(reachability);
        }
        let tried = self.tried.iter().map(|(at, (origin, reason))| format!("{at} ({origin}): {reason}"));
        tried.collect::<Vec<_>>().join("; ")
    }

    fn tell(&self, peer: &PeerId, why: &str, reachability: Reachability, names: &Names) -> Told {
        let tried: Vec<Value> = self
            .tried
            .iter()
            .map(|(at, (origin, reason))| json!({"endpoint": at, "found": origin.name(), "reason": reason}))
            .collect();
        let name = names.of(peer);
        let object = [
            ("event", "not_connected".into()),
            ("peer", peer.to_string().into()),
            ("operator", name.clone().into()),
            ("because", because(reachability).into()),
            ("tried", tried.into()),
        ];
        Told {
            weight: Weight::Trouble,
            line: format!("{name} is not connected: {why}; it is tried on"),
            object: object.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use coracle_core::{
        crypto::{Crypto as _, RustCrypto, SecretKey},
        node::{ConnId, Counters, DialError, Failure, MemberSnapshot},
    };

    use super::*;

    fn failed(peer: PeerId, port: u16, error: DialError) -> Notice {
        Notice::DialFailed {
            peer,
            conn: ConnId::accepted(0),
            endpoint: ([127, 0, 0, 1], port).into(),
            origin: Origin::Lock,
            reason: Failure::Dial(error),
        }
    }

    #[test]
    fn told_on_change_and_now_and_then() {
        let key = RustCrypto.public_key(&SecretKey::from_bytes(&[1; 32]).unwrap());
        let peer = PeerId::from_public_key(&key);
        let member = MemberSnapshot {
            position: 0,
            peer_id: peer,
            record: None,
            reachability: Reachability::Failed { rounds: 1 },
            agent: Default::default(),
            info: None,
            channel: None,
            channels: 0,
        };
        let snapshot = Snapshot { record: None, members: vec![member], counters: Counters::default() };
        let names = Names::by_position([peer]);
        let (mut absences, start) = (Absences::default(), Instant::now());
        let mut told = 0;
        for second in 0..600 {
            assert!(absences.hear(&failed(peer, 1, DialError::Refused)));
            if second == 300 {
                absences.hear(&failed(peer, 2, DialError::TimedOut));
            }
            for line in absences.report(start + Duration::from_secs(second), &snapshot, &names) {
                assert!(line.line.contains("127.0.0.1:1 (lock): connection refused"), "{}", line.line);
                assert_eq!(line.line.contains("timed out"), second >= 300);
                told += 1;
            }
        }
        assert_eq!(told, 2, "at once, and at the change, which the first reminder goes with");
        absences.hear(&Notice::MemberRemoved { peer });
        assert!(absences.members.is_empty());
    }
}
