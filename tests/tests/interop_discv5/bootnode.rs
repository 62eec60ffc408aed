//! Whole nodes of ours whose only common acquaintance is a node of theirs.

use coracle_core::{cluster::Origin, node::Notice};
use coracle_tokio::NoStore;

use crate::{
    node::{Running, config, loopback, peer_id},
    theirs::Theirs,
};

/// Members know each other's keys and no address: a bootnode of theirs is enough to form the mesh.
#[tokio::test]
async fn members_mesh_through_their_bootnode() {
    let bootnode = Theirs::start(200).await;
    let mut nodes = Vec::new();
    for own in 1..=3 {
        let mut config = config(own, &[1, 2, 3]);
        config.bootnodes = vec![bootnode.record()];
        nodes.push(Running::start(config, &loopback(), NoStore));
    }
    for (own, node) in (1..).zip(&mut nodes) {
        for other in (1..=3).filter(|other| *other != own) {
            let origin = node.channel_up(peer_id(other)).await.origin;
            assert!(matches!(origin, Origin::Discovered | Origin::Inbound), "{origin}");
        }
    }
    // The records came by discv5, signed by the members.
    for (own, node) in (1..).zip(&mut nodes) {
        let found = node.told().iter().any(|notice| matches!(notice, Notice::PeerRecord { .. }));
        assert!(found, "node {own}: {:#?}", node.told());
    }
}
