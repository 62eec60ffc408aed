//! Every future of the handle may be dropped at any await: nothing is lost and nobody hangs.

use std::{future::Future, pin::pin, time::Duration};

use coracle_core::node::Command;
use futures::{FutureExt as _, future::select};

use super::adapter::{self, NoStore};
use super::node::{Running, config, loopback, peer_id, within};

/// Polls so often, with a moment for the node between two, and drops it then.
pub(super) async fn cancelled_after(polls: u32, future: impl Future) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if future.as_mut().now_or_never().is_some() {
            return;
        }
        adapter::sleep(Duration::from_millis(1)).await;
    }
}

#[adapter::test]
async fn requests_and_snapshots() {
    let node = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
    for polls in 0..4 {
        // More than the queue to the driver holds: an answer nobody waits for must not stay there.
        for _ in 0..100 {
            cancelled_after(polls.min(1), node.handle.snapshot()).await;
            cancelled_after(polls.min(1), node.handle.request(Command::Ping(peer_id(2)))).await;
        }
        cancelled_after(polls, node.handle.snapshot()).await;
        within("snapshot", node.handle.snapshot()).await.unwrap();
    }
}

#[adapter::test]
async fn notices() {
    let mut node = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
    let mut other = Running::start(config(2, &[1, 2]), &loopback(), NoStore);
    node.request(Command::Hint(peer_id(2), other.tcp[0])).await;
    // The receiver in `Running` is never cancelled: it hears everything that the impatient one hears.
    let mut impatient = node.handle.notices();
    let mut heard = Vec::new();
    while heard.len() < 20 {
        let mut got = None;
        cancelled_after(2, async { got = Some(adapter::next(&mut impatient).await) }).await;
        heard.extend(got.map(|notice| notice.unwrap().unwrap()));
    }
    for notice in heard {
        node.expect("the same notice", |told| (*told == notice).then_some(())).await;
    }
    other.channel_up(peer_id(1)).await;
}

/// A shutdown goes on when nobody waits for it any more.
#[adapter::test]
async fn shutdown() {
    for polls in 1..4 {
        let node = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
        cancelled_after(polls, node.handle.shutdown()).await;
        let mut notices = node.handle.notices();
        within("end", async { while adapter::next(&mut notices).await != Ok(None) {} }).await;
        within("second shutdown", node.handle.shutdown()).await;
    }
}

/// Of two futures that are raced the slower is dropped, again and again.
#[adapter::test]
async fn races() {
    let node = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
    for _ in 0..50 {
        let (left, right) = (pin!(node.handle.snapshot()), pin!(node.handle.snapshot()));
        within("either", select(left, right)).await;
    }
}
