//! The crate `discv5` (Sigma Prime) over loopback sockets, all of it on one thread.

use std::{future::Future, net::Ipv4Addr};

use discv5::{ConfigBuilder, Discv5, Enr, Event, IpMode, ListenConfig, NodeContact};
use enr::CombinedKey;
use tokio::runtime::Runtime;

use crate::{backend::secret, measure::Op, runtime};

/// A node that has not been started; a free port is found by binding it for a moment.
fn node(number: u32) -> Discv5 {
    let free = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let key = CombinedKey::secp256k1_from_bytes(&mut secret(number).expose().clone()).unwrap();
    let enr = Enr::builder().ip4(Ipv4Addr::LOCALHOST).udp4(port).tcp4(port).build(&key).unwrap();
    let listen = ListenConfig::Ipv4 { ip: Ipv4Addr::LOCALHOST, port };
    Discv5::new(enr, key, ConfigBuilder::new(listen).disable_enr_update().build()).unwrap()
}

async fn started(number: u32) -> Discv5 {
    let mut node = node(number);
    node.start().await.unwrap();
    node
}

/// A node that answers TALK requests with what it was asked.
async fn server() -> Discv5 {
    let server = started(1).await;
    let mut events = server.event_stream().await.unwrap();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::TalkRequest(request) = event {
                let answer = request.body().to_vec();
                request.respond(answer).unwrap();
            }
        }
    });
    server
}

struct Meeting {
    runtime: Runtime,
    server: Option<Discv5>,
    clients: Vec<Discv5>,
}

/// A PING to a node that does not know us, until its PONG.
pub(crate) fn handshakes() -> Op {
    const CLIENTS: u64 = 16;
    Op::prepared(
        Meeting { runtime: runtime(), server: None, clients: Vec::new() },
        CLIENTS,
        |meeting| {
            for mut node in meeting.clients.drain(..).chain(meeting.server.take()) {
                node.shutdown();
            }
            meeting.runtime.block_on(async {
                meeting.server = Some(server().await);
                for number in 0..CLIENTS as u32 {
                    meeting.clients.push(started(2 + number).await);
                }
                settle().await;
            });
        },
        |meeting| {
            let Some(server) = &meeting.server else { return };
            let enr = server.local_enr();
            meeting.runtime.block_on(async {
                for client in &meeting.clients {
                    client.send_ping(enr.clone()).await.unwrap();
                }
            });
        },
    )
}

/// TALK requests of which so many are in flight.
pub(crate) fn talks(in_flight: usize) -> Op {
    let runtime = runtime();
    let (client, server) = runtime.block_on(async {
        let (client, server) = (started(2).await, server().await);
        client.send_ping(server.local_enr()).await.unwrap();
        (client, server)
    });
    let contact = NodeContact::try_from_enr(server.local_enr(), IpMode::Ip4).unwrap();
    let ask = move || talk(&client, contact.clone());
    Op::prepared(
        server,
        in_flight as u64,
        |_| {},
        move |_| {
            let all = futures::future::join_all((0..in_flight).map(|_| ask()));
            assert!(runtime.block_on(all).iter().all(|answer| answer == b"a question of some length"));
        },
    )
}

fn talk(client: &Discv5, to: NodeContact) -> impl Future<Output = Vec<u8>> + use<> {
    let answer = client.talk_req(to, b"bench".to_vec(), b"a question of some length".to_vec());
    async move { answer.await.unwrap() }
}

/// Bytes on the heap of a node that runs and knows nobody.
pub(crate) fn idle() -> u64 {
    let runtime = runtime();
    let mut made = None;
    let start = async {
        let node = started(1).await;
        settle().await;
        node
    };
    let info = allocation_counter::measure(|| made = Some(runtime.block_on(start)));
    let _inside = runtime.enter();
    drop(made);
    info.bytes_current as u64
}

/// Its tasks begin.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
