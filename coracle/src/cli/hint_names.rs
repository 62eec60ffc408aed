//! Names among the operator's hints, looked up again: every minute, and soon after an address of them fails.

use std::{sync::Arc, time::Duration};

use coracle_core::{
    cluster::Origin,
    id::PeerId,
    limits::MAX_HINTS,
    node::{Command, Notice},
};
use tokio::{sync::Notify, task::JoinSet, time};
use tracing::debug;

use super::{peer_hint::HintName, runtime::Handle};

/// Time between two queries while nothing fails.
const AGAIN: Duration = Duration::from_secs(60);
/// Least time between two queries of one name.
const LEAST: Duration = Duration::from_secs(5);

/// The names, each with a task that ends with this.
#[derive(Debug)]
pub(super) struct HintNames {
    failed: Vec<(Option<PeerId>, Arc<Notify>)>,
    _tasks: JoinSet<()>,
}

impl HintNames {
    pub(super) fn start(names: impl IntoIterator<Item = HintName>, node: &Handle) -> Self {
        let (mut failed, mut tasks) = (Vec::new(), JoinSet::new());
        for name in names {
            let news = Arc::new(Notify::new());
            failed.push((name.peer, Arc::clone(&news)));
            tasks.spawn(look_up(name, node.clone(), news));
        }
        Self { failed, _tasks: tasks }
    }

    /// Whether an address failed that one of the names may stand for.
    pub(super) fn hear(&self, notice: &Notice) {
        let whose = match *notice {
            Notice::DialFailed { peer, origin: Origin::Hint, .. } | Notice::Unreachable { peer, .. } => {
                Some(peer)
            }
            Notice::AnyoneFailed { .. } => None,
            _ => return,
        };
        self.failed.iter().filter(|(peer, _)| *peer == whose).for_each(|(_, news)| news.notify_one());
    }
}

async fn look_up(name: HintName, node: Handle, failed: Arc<Notify>) {
    loop {
        time::sleep(LEAST).await;
        // Whether it failed or not, in time.
        let _ = time::timeout(AGAIN - LEAST, failed.notified()).await;
        let HintName { peer, name, port } = &name;
        match time::timeout(AGAIN, tokio::net::lookup_host((name.as_str(), *port))).await {
            Ok(Ok(found)) => {
                for address in found.take(MAX_HINTS) {
                    let command = peer.map_or(Command::Address(address), |peer| Command::Hint(peer, address));
                    match node.request(command).await {
                        Ok(Ok(_)) => debug!(name, %address, "resolved"),
                        Ok(Err(error)) => debug!(name, %address, %error, "resolved, and of no use"),
                        Err(_) => return,
                    }
                }
            }
            Ok(Err(error)) => debug!(name, %error, "resolving failed"),
            Err(_) => debug!(name, "resolving takes too long"),
        }
    }
}
