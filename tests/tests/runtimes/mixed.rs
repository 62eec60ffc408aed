//! One cluster over both adapters: they differ in nothing that a peer could see.

use coracle_core::node::Command;

use crate::{on_async_std, on_tokio};

macro_rules! mesh_of {
    ($nodes:expr) => {
        for (own, node) in &mut $nodes {
            for other in (1..=4).filter(|other| other != own) {
                node.channel_up(on_tokio::suite::node::peer_id(other)).await;
                node.pings(on_tokio::suite::node::peer_id(other), 2).await;
            }
        }
    };
}

/// Operators 1 and 2 over tokio, 3 and 4 over async-std. All are told where the first is, and find the others
/// through it.
#[tokio::test]
async fn two_and_two() {
    use on_async_std::suite::node as async_std_node;
    use on_tokio::suite::node as tokio_node;

    let all = [1, 2, 3, 4];
    let config = |own| tokio_node::config(own, &all);
    let mut over_tokio = [1, 2].map(|own| {
        let listen = tokio_node::loopback();
        (own, tokio_node::Running::start(config(own), &listen, coracle_tokio::NoStore))
    });
    let mut over_async_std = [3, 4].map(|own| {
        let listen = async_std_node::loopback();
        (own, async_std_node::Running::start(config(own), &listen, coracle_async_std::NoStore))
    });
    let hint = Command::Hint(tokio_node::peer_id(1), over_tokio[0].1.tcp[0]);
    over_tokio[1].1.request(hint.clone()).await;
    for (_, node) in &over_async_std {
        node.request(hint.clone()).await;
    }
    mesh_of!(over_tokio);
    mesh_of!(over_async_std);

    // Either kind ends in good order, and the other kind is told at once.
    over_async_std[0].1.handle.shutdown().await;
    over_tokio[0].1.channel_down().await;
    over_tokio[1].1.handle.shutdown().await;
    over_async_std[1].1.channel_down().await;
}
