//! Discovery over UDP sockets on loopback: the smallest loop that drives the machine, on tokio.

use std::time::Duration;

use coracle_core::{
    discovery::{Config, Discovery, Event},
    limits::MAX_PACKET_SIZE,
    time::Instant,
};
use tokio::{net::UdpSocket, runtime::Runtime, task::JoinHandle};

use super::host::Host;
use crate::{backend::Backend, measure::Op, runtime};

/// A node on a socket.
struct Socketed<B: Backend> {
    host: Host<B>,
    socket: UdpSocket,
    start: std::time::Instant,
}

impl<B: Backend> Socketed<B> {
    async fn new(number: u32, config: Config) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut host = Host::at(number, socket.local_addr().unwrap(), config);
        assert!(host.discovery.accept_talk(b"bench"));
        Self { host, socket, start: std::time::Instant::now() }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    /// Runs until `on_event` says that it was enough.
    async fn drive(&mut self, mut on_event: impl FnMut(&mut Discovery<B>, Event) -> bool) {
        let mut buf = [0; MAX_PACKET_SIZE];
        loop {
            let now = self.now();
            while let Some((to, len)) = self.host.poll(now, &mut buf) {
                if self.socket.try_send_to(&buf[..len], to).is_err() {
                    let _ = self.socket.send_to(&buf[..len], to).await;
                }
            }
            if let Some(event) = self.host.discovery.poll_event() {
                if on_event(&mut self.host.discovery, event) {
                    return;
                }
                // What that made it owe goes out first.
                continue;
            }
            match self.socket.try_recv_from(&mut buf) {
                Ok((len, from)) => self.host.handle(now, from, &mut buf[..len]),
                Err(_) => self.wait(now).await,
            }
        }
    }

    async fn wait(&mut self, now: Instant) {
        let due = self.host.discovery.next_timeout().map_or(Duration::from_secs(3600), |at| at.since(now));
        tokio::select! {
            _ = self.socket.readable() => {}
            () = tokio::time::sleep(due) => {
                let now = self.now();
                self.host.discovery.handle_timeout(now);
            }
        }
    }

    /// Serves for ever: TALK requests get themselves as the answer.
    fn serve(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut answer = [0; 64];
            self.drive(move |machine, event| {
                if let Event::TalkRequest { id, .. } = event
                    && let Some((_, request)) = machine.talk_request(id)
                {
                    let len = request.len().min(answer.len());
                    answer[..len].copy_from_slice(&request[..len]);
                    machine.respond_talk(id, &answer[..len]).unwrap();
                }
                false
            })
            .await;
        })
    }
}

/// Nodes that meet once.
struct Meeting<B: Backend> {
    runtime: Runtime,
    clients: Vec<Socketed<B>>,
    server: Option<(coracle_core::record::Record, JoinHandle<()>)>,
}

/// A PING to a node that does not know us, until its PONG: a handshake with the record.
pub(crate) fn handshakes<B: Backend>() -> Op {
    const CLIENTS: u64 = 16;
    Op::prepared(
        Meeting::<B> { runtime: runtime(), clients: Vec::new(), server: None },
        CLIENTS,
        |meeting| {
            meeting.clients.clear();
            if let Some((_, before)) = meeting.server.take() {
                before.abort();
                assert!(meeting.runtime.block_on(before).is_err());
            }
            meeting.runtime.block_on(async {
                let server = Socketed::<B>::new(1, Config::default()).await;
                let record = server.host.discovery.local_record().clone();
                meeting.server = Some((record, server.serve()));
                for number in 0..CLIENTS as u32 {
                    meeting.clients.push(Socketed::new(2 + number, super::packets::small()).await);
                }
            });
        },
        |meeting| {
            let Some((record, _)) = &meeting.server else { return };
            meeting.runtime.block_on(async {
                for client in &mut meeting.clients {
                    let now = client.now();
                    client.host.discovery.ping(now, record).unwrap();
                    client.drive(|_, event| matches!(event, Event::Pong { .. })).await;
                }
            });
        },
    )
}

/// TALK requests of which so many are in flight, in a session that there is.
pub(crate) fn talks<B: Backend>(in_flight: usize) -> Op {
    let runtime = runtime();
    // The last answer is kept until the next event is polled.
    let config = Config { talks: in_flight + 16, ..Config::default() };
    let (mut client, server) = runtime.block_on(async {
        let server = Socketed::<B>::new(1, config.clone()).await;
        let record = server.host.discovery.local_record().clone();
        server.serve();
        let mut client = Socketed::<B>::new(2, config).await;
        let now = client.now();
        client.host.discovery.add_record(now, &record, true).unwrap();
        client.drive(|_, event| matches!(event, Event::Reachable { .. })).await;
        (client, record.node_id())
    });
    Op::prepared(
        (),
        in_flight as u64,
        |()| {},
        move |()| {
            runtime.block_on(async {
                let now = client.now();
                for _ in 0..in_flight {
                    client.host.discovery.talk(now, server, b"bench", b"a question of some length").unwrap();
                }
                let mut left = in_flight;
                client
                    .drive(|machine, event| {
                        if let Event::TalkResponse { request, .. } = event {
                            assert_eq!(
                                machine.talk_response(request),
                                Some(&b"a question of some length"[..])
                            );
                            left -= 1;
                        }
                        left == 0
                    })
                    .await;
            });
        },
    )
}
