//! Our discovery machine, alone, on a UDP socket: the smallest loop that drives it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use coracle_core::{
    crypto::{Identity, RustCrypto},
    discovery::{Config, Discovery, Event, RecordSource, RequestId},
    id::NodeId,
    limits::MAX_PACKET_SIZE,
    record::{Builder, Record},
    rng::{Rng, Seed},
    time::Instant,
};
use coracle_native_crypto::NativeCrypto;
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    DEADLINE, TALK,
    either::Either,
    node::{Cryptography, secret},
    reversed,
};

/// Our machine, with either cryptography.
pub(crate) type Machine = Discovery<Either>;

type Job = Box<dyn FnOnce(&mut Machine, Instant) + Send>;

/// What the loop saw, the content of TALK messages included.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Event(Box<Event>),
    /// A peer asked in the protocol [`TALK`], and got its request reversed.
    Asked {
        from: NodeId,
        request: Vec<u8>,
    },
    /// The answer to a TALKREQ of ours.
    Answered {
        request: RequestId,
        response: Vec<u8>,
    },
}

/// A node of ours that runs until it is dropped (its loop ends with the sender of jobs).
pub(crate) struct Ours {
    pub(crate) endpoint: SocketAddr,
    pub(crate) id: NodeId,
    number: u8,
    socket: Arc<UdpSocket>,
    record: Record,
    /// So many of a hundred datagrams are lost, in both directions.
    loss: Arc<AtomicU64>,
    jobs: mpsc::UnboundedSender<Job>,
    incoming: mpsc::UnboundedReceiver<Seen>,
    /// What was seen and not yet expected.
    log: Vec<Seen>,
    task: JoinHandle<()>,
}

impl Ours {
    /// A node with key and seed number `number` (1 to 254) on 127.0.0.1.
    pub(crate) async fn start(number: u8) -> Self {
        Self::start_at(number, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(number: u8, address: SocketAddr) -> Self {
        let socket = Arc::new(UdpSocket::bind(address).await.unwrap());
        let record = signed(number, 1, socket.local_addr().unwrap());
        Self::run(number, socket, record)
    }

    fn run(number: u8, socket: Arc<UdpSocket>, record: Record) -> Self {
        let seed = Seed::new([number; 32]);
        let mut machine = Machine::new(Config::default(), &record, seed.stream("discovery"));
        assert!(machine.accept_talk(TALK));
        let (jobs, queue) = mpsc::unbounded_channel();
        let (out, incoming) = mpsc::unbounded_channel();
        let loss = Arc::new(AtomicU64::new(0));
        let network =
            Network { socket: Arc::clone(&socket), loss: Arc::clone(&loss), rng: seed.stream("network") };
        let crypto = match Cryptography::of(number) {
            Cryptography::Native => Either::Native(NativeCrypto::new()),
            Cryptography::Rust => Either::Rust,
        };
        let identity = Identity::new(crypto, secret(number));
        let task = tokio::spawn(drive(machine, identity, network, queue, out));
        let endpoint = socket.local_addr().unwrap();
        Self {
            endpoint,
            id: record.node_id(),
            number,
            socket,
            record,
            loss,
            jobs,
            incoming,
            log: Vec::new(),
            task,
        }
    }

    /// The same key on the same socket, with everything else forgotten.
    pub(crate) async fn restart(self) -> Self {
        self.task.abort();
        let _ = self.task.await;
        Self::run(self.number, self.socket, self.record)
    }

    /// The same key with its next record on another socket, with everything else forgotten.
    pub(crate) async fn start_elsewhere(self) -> Self {
        self.task.abort();
        let _ = self.task.await;
        let socket = Arc::new(UdpSocket::bind(SocketAddr::new(self.endpoint.ip(), 0)).await.unwrap());
        let record = signed(self.number, self.record.seq() + 1, socket.local_addr().unwrap());
        Self::run(self.number, socket, record)
    }

    /// From now on so many of a hundred datagrams are lost, in whichever direction they go.
    pub(crate) fn lose(&self, percent: u64) {
        self.loss.store(percent, Ordering::Relaxed);
    }

    pub(crate) const fn record(&self) -> &Record {
        &self.record
    }

    /// Our record as the crate's type.
    pub(crate) fn enr(&self) -> discv5::Enr {
        self.record.to_string().parse().unwrap()
    }

    /// Publishes a record with the next sequence number and one more field; returns the number.
    pub(crate) async fn publish_next(&mut self) -> u64 {
        let mut builder = Builder::from_record(&self.record);
        builder.set_string(b"coracle", Some(b"changed")).unwrap();
        let record =
            builder.sign(self.record.seq() + 1, &Identity::new(RustCrypto, secret(self.number))).unwrap();
        self.record = record.clone();
        self.with(move |machine, now| machine.set_local_record(now, &record)).await;
        self.record.seq()
    }

    /// Runs `f` with the machine, and then lets it send and tell.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Machine, Instant) -> T + Send + 'static,
    ) -> T {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |machine, now| {
            let _ = answer.send(f(machine, now));
        });
        assert!(self.jobs.send(job).is_ok(), "node {} has ended", self.number);
        answered.await.unwrap()
    }

    /// Waits for something to be seen, what was seen earlier included. It counts once.
    pub(crate) async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&Seen) -> Option<T>) -> T {
        let mut checked = 0;
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                while let Some(seen) = self.log.get(checked) {
                    if let Some(found) = pick(seen) {
                        self.log.remove(checked);
                        return found;
                    }
                    checked += 1;
                }
                self.log.push(self.incoming.recv().await.unwrap());
            }
        })
        .await;
        match found {
            Ok(found) => found,
            Err(_) => {
                let counters = self.with(|machine, _| machine.counters().clone()).await;
                panic!("node {} (seed {0}): no {what}; seen {:#?}; {counters:#?}", self.number, self.log)
            }
        }
    }

    /// The same for events.
    pub(crate) async fn event<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        self.expect(what, |seen| match seen {
            Seen::Event(event) => pick(event),
            Seen::Asked { .. } | Seen::Answered { .. } => None,
        })
        .await
    }

    /// Waits for a session with `peer`, and tells whether we began it.
    pub(crate) async fn session_with(&mut self, peer: NodeId, at: SocketAddr) -> bool {
        self.event("session", |event| match event {
            Event::SessionEstablished { id, endpoint, initiated_by_us } if *id == peer => {
                assert_eq!(*endpoint, at);
                Some(*initiated_by_us)
            }
            _ => None,
        })
        .await
    }

    /// Waits until `peer` answered a PING: from then on it is relayed.
    pub(crate) async fn reaches(&mut self, peer: NodeId) {
        self.event("PONG to a check", |event| match event {
            Event::Reachable { id, .. } if *id == peer => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits until it has sent nothing for a while: the lookup of its own id after the first session is over too.
    pub(crate) async fn falls_silent(&self) {
        let mut before = None;
        loop {
            let sent = self.with(|machine, _| machine.counters().sent).await;
            if before.replace(sent) == Some(sent) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Looks `target` up and returns the record found.
    pub(crate) async fn look_up(&mut self, target: NodeId) -> Option<Record> {
        let begun = self.with(move |machine, now| machine.lookup(now, target)).await.unwrap();
        self.event("end of the lookup", |event| match event {
            Event::LookupDone { lookup, found, .. } if *lookup == begun => Some(found.clone()),
            _ => None,
        })
        .await
    }

    /// Looks `target` up and returns whom it, and lookups before it, came upon: ids and sequence numbers.
    pub(crate) async fn look_around(&mut self, target: NodeId) -> Vec<(NodeId, u64)> {
        let begun = self.with(move |machine, now| machine.lookup(now, target)).await.unwrap();
        loop {
            self.log.push(self.incoming.recv().await.unwrap());
            let Some(Seen::Event(last)) = self.log.last() else { continue };
            if matches!(**last, Event::LookupDone { lookup, .. } if lookup == begun) {
                break;
            }
        }
        let records = self.log.iter().filter_map(|seen| match seen {
            Seen::Event(event) => match &**event {
                Event::RecordSeen { record, source: RecordSource::Relayed(_) } => Some(record),
                Event::LookupDone { found, .. } => found.as_ref(),
                _ => None,
            },
            Seen::Asked { .. } | Seen::Answered { .. } => None,
        });
        records.map(|record| (record.node_id(), record.seq())).collect()
    }
}

fn signed(number: u8, seq: u64, endpoint: SocketAddr) -> Record {
    let mut builder = Builder::new();
    match endpoint {
        SocketAddr::V4(v4) => builder.set_ip4(Some(*v4.ip())).unwrap().set_udp4(Some(v4.port())).unwrap(),
        SocketAddr::V6(v6) => builder.set_ip6(Some(*v6.ip())).unwrap().set_udp6(Some(v6.port())).unwrap(),
    };
    builder.sign(seq, &Identity::new(RustCrypto, secret(number))).unwrap()
}

/// The socket, and a network that may lose datagrams.
struct Network {
    socket: Arc<UdpSocket>,
    loss: Arc<AtomicU64>,
    rng: Rng,
}

impl Network {
    fn loses(&mut self) -> bool {
        self.rng.below(100) < self.loss.load(Ordering::Relaxed)
    }
}

async fn drive(
    mut machine: Machine,
    identity: Identity<Either>,
    mut network: Network,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    out: mpsc::UnboundedSender<Seen>,
) {
    let start = tokio::time::Instant::now();
    let now = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
    let mut packet = [0; MAX_PACKET_SIZE + 1];
    loop {
        let mut buf = [0; MAX_PACKET_SIZE];
        while let Some((to, len)) = machine.poll_transmit(&identity, now(), &mut buf) {
            if !network.loses() {
                let _ = network.socket.send_to(&buf[..len], to).await;
            }
        }
        if let Some(event) = machine.poll_event() {
            let _ = out.send(told(&mut machine, event));
            continue;
        }
        let due = machine.next_timeout().map_or(Duration::from_secs(3600), |at| at.since(now()));
        tokio::select! {
            received = network.socket.recv_from(&mut packet) => if let Ok((len, from)) = received
                && !network.loses()
            {
                machine.handle_datagram(&identity, now(), from, &mut packet[..len]);
            },
            job = jobs.recv() => match job {
                Some(job) => job(&mut machine, now()),
                None => return,
            },
            () = tokio::time::sleep(due) => machine.handle_timeout(now()),
        }
    }
}

/// Reads what belongs to an event, and answers TALKREQs.
fn told(machine: &mut Machine, event: Event) -> Seen {
    match event {
        Event::TalkRequest { id, from, .. } => {
            let request = machine.talk_request(id).map(|(_, request)| request.to_vec()).unwrap();
            machine.respond_talk(id, &reversed(&request)).unwrap();
            Seen::Asked { from, request }
        }
        Event::TalkResponse { request, len, .. } => {
            let response = machine.talk_response(request).unwrap().to_vec();
            assert_eq!(response.len(), len);
            Seen::Answered { request, response }
        }
        other => Seen::Event(other.into()),
    }
}
