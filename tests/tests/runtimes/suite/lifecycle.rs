//! Start and end: ports, handles, notices.

use std::io;

use coracle_core::{
    cluster::Origin,
    node::{Command, Notice},
};

use super::adapter::{self, Listen, NoStore, Notices, Sockets, Stopped};
use super::node::{Running, config, loopback, peer_id, within};

/// Two connected nodes, the second of which was told where the first is.
async fn pair() -> (Running, Running) {
    let mut a = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
    let mut b = Running::start(config(2, &[1, 2]), &loopback(), NoStore);
    b.request(Command::Hint(peer_id(1), a.tcp[0])).await;
    a.channel_up(peer_id(2)).await;
    let up = b.channel_up(peer_id(1)).await;
    assert_eq!((up.endpoint, up.origin), (a.tcp[0], Origin::Hint));
    (a, b)
}

async fn end_of(notices: &mut Notices) {
    within("end of the notices", async { while adapter::next(notices).await != Ok(None) {} }).await;
}

#[adapter::test]
async fn shutdown_frees_the_ports() {
    let (a, mut b) = pair().await;
    let listen = Listen {
        tcp: a.tcp.clone(),
        udp: a.handle.snapshot().await.unwrap().record.unwrap().udp_endpoints().collect(),
    };
    assert!(Sockets::bind(&listen).is_err(), "in use");
    a.handle.shutdown().await;
    Sockets::bind(&listen).unwrap();
    // The other side was told at once.
    b.channel_down().await;

    // Nobody is there any more, and that is an answer, not a wait.
    assert_eq!(a.handle.snapshot().await.unwrap_err(), Stopped);
    assert_eq!(a.handle.request(Command::Ping(peer_id(2))).await.unwrap_err(), Stopped);
    within("second shutdown", a.handle.shutdown()).await;
}

#[adapter::test]
async fn the_last_handle_stops_the_node() {
    let (a, mut b) = pair().await;
    let Running { handle, tcp, .. } = a;
    let mut notices = handle.notices();
    let clone = handle.clone();
    drop(handle);
    assert!(clone.snapshot().await.is_ok(), "a clone keeps it");
    drop(clone);
    b.channel_down().await;
    end_of(&mut notices).await;
    Sockets::bind(&Listen { tcp, udp: Vec::new() }).unwrap();
}

#[adapter::test]
async fn a_port_in_use_is_named() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp_taken) =
        (tcp.local_addr().map(|address| (tcp, address)).unwrap(), udp.local_addr().unwrap());
    let error = Sockets::bind(&Listen { tcp: vec![tcp.1], udp: Vec::new() }).unwrap_err();
    assert_eq!(
        (error.address, error.transport, error.source.kind()),
        (tcp.1, "tcp", io::ErrorKind::AddrInUse)
    );
    assert!(error.to_string().contains(&tcp.1.to_string()), "{error}");

    // What was bound before the failure is free again.
    let free = Sockets::bind(&loopback()).unwrap();
    let listen = Listen { tcp: free.tcp_addresses().collect(), udp: vec![udp_taken] };
    drop(free);
    let error = Sockets::bind(&listen).unwrap_err();
    assert_eq!(
        (error.address, error.transport, error.source.kind()),
        (udp_taken, "udp", io::ErrorKind::AddrInUse)
    );
    assert!(error.to_string().contains(&udp_taken.to_string()), "{error}");
    Sockets::bind(&Listen { tcp: listen.tcp, udp: Vec::new() }).unwrap();
}

/// Of two only one could be used, so that the other would be silently closed.
#[adapter::test]
async fn a_second_address_of_one_family_is_refused() {
    let any = |ip: &str| std::net::SocketAddr::new(ip.parse().unwrap(), 0);
    let twice = vec![any("127.0.0.1"), any("::1"), any("127.0.0.2")];
    for (listen, transport) in [
        (Listen { tcp: twice.clone(), udp: Vec::new() }, "tcp"),
        (Listen { tcp: Vec::new(), udp: twice.clone() }, "udp"),
    ] {
        let error = Sockets::bind(&listen).unwrap_err();
        assert_eq!(
            (error.address, error.transport, error.source.kind()),
            (twice[2], transport, io::ErrorKind::InvalidInput)
        );
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}

/// Whoever asks first hears everything, however late: the node runs before its handle is returned.
#[adapter::test]
async fn the_first_notices_are_not_missed() {
    let sockets = Sockets::bind(&loopback()).unwrap();
    let handle = adapter::start(sockets, config(1, &[1, 2]), NoStore).unwrap();
    within("record in force", async { while handle.snapshot().await.unwrap().record.is_none() {} }).await;
    let first = within("notice", adapter::next(&mut handle.notices())).await;
    assert!(matches!(first, Ok(Some(Notice::Published { .. }))), "{first:?}");
}

/// Whoever holds a handle still hears that the node has ended, and whoever asks later hears it at once.
#[adapter::test]
async fn the_notices_end_with_the_node() {
    let sockets = Sockets::bind(&loopback()).unwrap();
    let handle = adapter::start(sockets, config(1, &[1, 2]), NoStore).unwrap();
    let mut from_start = handle.notices();
    let mut later = handle.notices();
    handle.shutdown().await;
    for notices in [&mut from_start, &mut later, &mut handle.notices()] {
        end_of(notices).await;
    }
}

/// A node that is shut down before its record was ever stored ends all the same.
#[adapter::test]
async fn shutdown_at_once() {
    let node = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
    within("shutdown", node.handle.shutdown()).await;
    Sockets::bind(&Listen { tcp: node.tcp, udp: Vec::new() }).unwrap();
}
