//! What members say of themselves: told when it is heard, and when it changes.

use std::collections::BTreeMap;

use coracle_core::{
    id::PeerId,
    node::{MemberSnapshot, Snapshot},
};
use serde_json::json;

use super::events::{Names, Told, Weight, told};

/// What was told of each member last.
#[derive(Debug, Default)]
pub(super) struct Acquaintances(BTreeMap<PeerId, Said>);

/// Software, version, nickname, and the lock: whether it is ours, if both have one to compare.
type Said = (String, String, String, Option<bool>);

impl Acquaintances {
    /// What is new since the last time.
    pub(super) fn report(&mut self, snapshot: &Snapshot, names: &Names) -> Vec<Told> {
        let mut news = Vec::new();
        for member in &snapshot.members {
            let said = said(member);
            let (agent, version, nickname, same_lock) = &said;
            if agent.is_empty() && member.info.is_none() || self.0.get(&member.peer_id) == Some(&said) {
                continue;
            }
            let name = names.of(&member.peer_id);
            let other_lock = *same_lock == Some(false);
            let parts = [
                if agent.is_empty() { String::new() } else { format!("runs {agent}") },
                version.clone(),
                if nickname.is_empty() { String::new() } else { format!("calls itself {nickname:?}") },
                if other_lock { "has ANOTHER CLUSTER LOCK than this node".into() } else { String::new() },
            ];
            let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            news.push(told(
                if other_lock { Weight::Trouble } else { Weight::Detail },
                format!("{name} {}", parts.join(", ")),
                json!({"event": "peer_info", "peer": member.peer_id.to_string(), "operator": name,
                    "agent": agent, "version": version, "nickname": nickname, "same_lock": same_lock}),
            ));
            self.0.insert(member.peer_id, said);
        }
        news
    }
}

fn said(member: &MemberSnapshot) -> Said {
    let agent = member.agent.to_string();
    match &member.info {
        None => (agent, String::new(), String::new(), None),
        Some(info) => {
            (agent, format!("{} {}", info.dv_client, info.version), info.nickname.to_string(), info.same_lock)
        }
    }
}
