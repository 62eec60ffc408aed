//! The store: failures are told and repeated, a slow one loses nothing.

use std::sync::{Arc, Mutex, mpsc};

use coracle_core::{
    crypto::{Identity, RustCrypto},
    node::{Command, Notice, Store, StoreItem},
    record::Builder,
};
use futures::{StreamExt as _, channel::mpsc as async_mpsc};

use super::adapter::{self, NoStore};
use super::node::{Running, config, loopback, peer_id, secret, within};

#[derive(Debug, thiserror::Error)]
#[error("the disk is full (as the test wants it)")]
struct Full;

/// Fails a number of times, and then keeps what it is given.
struct Failing {
    times: usize,
    kept: Arc<Mutex<Vec<StoreItem>>>,
}

impl Store for Failing {
    type Error = Full;

    fn store(&mut self, item: &StoreItem) -> Result<(), Full> {
        if self.times > 0 {
            self.times -= 1;
            return Err(Full);
        }
        self.kept.lock().unwrap().push(item.clone());
        Ok(())
    }
}

/// The next word about the own record: `None` is a failure, otherwise the number in force.
async fn own_record(node: &mut Running) -> Option<u64> {
    node.expect("word about the own record", |notice| match notice {
        Notice::StoreFailed => Some(None),
        Notice::Published { seq, .. } => Some(Some(*seq)),
        _ => None,
    })
    .await
}

#[adapter::test]
async fn nothing_is_published_before_it_is_stored() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let store = Failing { times: 2, kept: Arc::clone(&kept) };
    let mut config = config(1, &[1, 2]);
    config.wall_clock_ms = 1_700_000_000_000;
    let mut node = Running::start(config, &loopback(), store);
    assert_eq!(own_record(&mut node).await, None);
    assert_eq!(node.handle.snapshot().await.unwrap().record, None);
    assert_eq!(own_record(&mut node).await, None);
    let seq = own_record(&mut node).await.expect("published after two failures");
    let record = node.handle.snapshot().await.unwrap().record.unwrap();
    assert_eq!(record.seq(), seq);
    assert_eq!(*kept.lock().unwrap(), [StoreItem::Own(record)]);
}

/// The lock's record is stale. It stays in force while the new one cannot be stored.
#[adapter::test]
async fn the_old_record_stays_in_force() {
    let mut builder = Builder::new();
    builder
        .set_ip4(Some([127, 0, 0, 9].into()))
        .unwrap()
        .set_udp4(Some(1))
        .unwrap()
        .set_tcp4(Some(1))
        .unwrap();
    let stale = builder.sign(5, &Identity::new(RustCrypto, secret(1))).unwrap();
    let mut config = config(1, &[1, 2]);
    config.lock_record = Some(stale.clone());
    let mut node = Running::start(config, &loopback(), Failing { times: 1, kept: Arc::default() });
    assert_eq!(own_record(&mut node).await, None);
    assert_eq!(own_record(&mut node).await, Some(stale.seq()));
    assert_eq!(own_record(&mut node).await, Some(stale.seq() + 1));
    let record = node.handle.snapshot().await.unwrap().record.unwrap();
    assert_eq!(record.tcp_endpoints().next(), node.tcp.first().copied());
}

/// Says when a write begins, and does it when it is let.
struct Gated {
    begun: async_mpsc::UnboundedSender<()>,
    gate: mpsc::Receiver<()>,
    kept: Arc<Mutex<Vec<StoreItem>>>,
}

impl Store for Gated {
    type Error = Full;

    fn store(&mut self, item: &StoreItem) -> Result<(), Full> {
        let _ = self.begun.unbounded_send(());
        self.gate.recv().map_err(|_| Full)?;
        self.kept.lock().unwrap().push(item.clone());
        Ok(())
    }
}

#[adapter::test]
async fn shutdown_waits_for_the_store() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (begun, mut begins) = async_mpsc::unbounded();
    let (open, gate) = mpsc::channel();
    let mut slow =
        Running::start(config(1, &[1, 2]), &loopback(), Gated { begun, gate, kept: Arc::clone(&kept) });
    // A slow disk does not hold up the loop.
    within("first write", begins.next()).await.unwrap();
    assert_eq!(slow.handle.snapshot().await.unwrap().record, None);
    open.send(()).unwrap();
    assert!(own_record(&mut slow).await.is_some());

    // A channel that we dialled makes an endpoint known that is worth storing.
    let mut other = Running::start(config(2, &[1, 2]), &loopback(), NoStore);
    slow.request(Command::Hint(peer_id(2), other.tcp[0])).await;
    slow.channel_up(peer_id(2)).await;
    other.channel_up(peer_id(1)).await;
    within("second write", begins.next()).await.unwrap();

    let handle = slow.handle.clone();
    let mut shutdown = adapter::spawn(async move { handle.shutdown().await });
    // The channel's end shows that the node is past everything but its store.
    other
        .expect("end of the channel", |notice| matches!(notice, Notice::ChannelDown { .. }).then_some(()))
        .await;
    assert_eq!(shutdown.try_recv(), Ok(None), "it waits");
    assert_eq!(kept.lock().unwrap().len(), 1);
    // Enough for whatever else was asked for meanwhile; when that is done, nobody waits at the gate.
    for _ in 0..8 {
        let _ = open.send(());
    }
    within("shutdown", shutdown).await.unwrap();
    let endpoint = kept.lock().unwrap().iter().rev().find_map(|item| match item {
        StoreItem::Peer(peer) => peer.last_good,
        StoreItem::Own(_) => None,
    });
    assert_eq!(endpoint, Some(other.tcp[0]));
}

/// An entry that changes while the one before is being written is owed still when the channels are
/// closed, and is stored before the node ends.
#[adapter::test]
async fn shutdown_stores_what_changed_meanwhile() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (begun, mut begins) = async_mpsc::unbounded();
    let (open, gate) = mpsc::channel();
    let mut slow =
        Running::start(config(1, &[1, 2]), &loopback(), Gated { begun, gate, kept: Arc::clone(&kept) });
    within("first write", begins.next()).await.unwrap();
    open.send(()).unwrap();
    assert!(own_record(&mut slow).await.is_some());

    // The other knows where our discovery is, and not where our channels are: only we can dial.
    let udp = slow.handle.snapshot().await.unwrap().record.unwrap().udp_endpoints().next().unwrap();
    let mut builder = Builder::new();
    builder.set_ip4(Some([127, 0, 0, 1].into())).unwrap().set_udp4(Some(udp.port())).unwrap();
    let known = builder.sign(1, &Identity::new(RustCrypto, secret(1))).unwrap();
    let mut others = config(2, &[1, 2]);
    others.members[0].stored_record = Some(known);
    let mut other = Running::start(others, &loopback(), NoStore);
    // Its record and, once we have dialled it, the endpoint are worth storing; one at a time is written.
    slow.expect("record", |notice| matches!(notice, Notice::PeerRecord { .. }).then_some(())).await;
    slow.channel_up(peer_id(2)).await;
    other.channel_up(peer_id(1)).await;
    within("second write", begins.next()).await.unwrap();

    let handle = slow.handle.clone();
    let shutdown = adapter::spawn(async move { handle.shutdown().await });
    other
        .expect("end of the channel", |notice| matches!(notice, Notice::ChannelDown { .. }).then_some(()))
        .await;
    assert_eq!(kept.lock().unwrap().len(), 1);
    for _ in 0..8 {
        let _ = open.send(());
    }
    within("shutdown", shutdown).await.unwrap();
    let record = other.handle.snapshot().await.unwrap().record;
    let kept = kept.lock().unwrap();
    let StoreItem::Peer(last) = kept.last().unwrap() else { panic!("no entry of a member: {kept:?}") };
    assert_eq!((&last.record, last.last_good), (&record, Some(other.tcp[0])));
}
