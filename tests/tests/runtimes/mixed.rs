//! One cluster over both adapters: they differ in nothing that a peer could see.

use std::time::Duration;

use coracle_core::node::{Command, ProtocolId};
use futures::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;

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

/// 16 MiB (or `CORACLE_STREAM_MIB`) over one stream from the one adapter to the other, whose user reads slowly.
#[tokio::test]
async fn a_long_message_and_a_slow_reader() {
    use on_async_std::suite::node as async_std_node;
    use on_tokio::suite::node as tokio_node;

    let len = std::env::var("CORACLE_STREAM_MIB").map_or(16, |mib| mib.parse::<usize>().unwrap()) << 20;
    // So long that it shares no divisor with anything here.
    let pattern: Vec<u8> = (0..65_521_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let config = |own| {
        let mut config = tokio_node::config(own, &[1, 2]);
        config.protocols = vec!["/test/sink/1.0.0".into()];
        config
    };
    let mut writer = tokio_node::Running::start(config(1), &tokio_node::loopback(), coracle_tokio::NoStore);
    let reader =
        async_std_node::Running::start(config(2), &async_std_node::loopback(), coracle_async_std::NoStore);
    writer.request(Command::Hint(tokio_node::peer_id(2), reader.tcp[0])).await;
    writer.channel_up(tokio_node::peer_id(2)).await;
    let mut to = writer.handle.open(tokio_node::peer_id(2), ProtocolId(0)).await.unwrap();
    let mut from = reader.handle.incoming().unwrap().accept().await.unwrap();
    let mut part = pattern.clone();
    let writing = tokio::spawn(async move {
        let mut left = len;
        while left > 0 {
            let part = &pattern[..left.min(pattern.len())];
            to.write_all(part).await.unwrap();
            left -= part.len();
        }
        to.shutdown().await.unwrap();
        pattern
    });
    let mut read = Vec::with_capacity(len);
    loop {
        match from.read(&mut part).await.unwrap() {
            0 => break,
            n => read.extend_from_slice(&part[..n]),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let pattern = writing.await.unwrap();
    assert_eq!(read.len(), len);
    assert!(
        read.chunks(pattern.len()).all(|part| part == &pattern[..part.len()]),
        "{len} bytes came otherwise"
    );
    println!("{} MiB over one stream to a slow reader: bit-exact", len >> 20);
}
