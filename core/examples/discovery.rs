//! Only discovery: three discv5 nodes on loopback, one thread. The first knows the second, the second the
//! third; the first looks the third up by its id.
//!
//! Run it: `cargo run -p coracle-core --example discovery`
#![allow(clippy::expect_used)] // an example: it ends where it cannot go on
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // a driver has a clock; the core has none

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::Duration,
};

use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    discovery::{Config, Discovery, Event},
    limits::MAX_PACKET_SIZE,
    record::Builder,
    rng::Seed,
    time::Instant,
};

/// A node and its socket.
struct Host {
    identity: Identity<RustCrypto>,
    discovery: Discovery,
    socket: UdpSocket,
}

fn main() -> io::Result<()> {
    let start = std::time::Instant::now();
    let now = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
    let mut hosts = [Host::new(1)?, Host::new(2)?, Host::new(3)?];
    let records = hosts.each_ref().map(|host| host.discovery.local_record().clone());
    for (knows, known) in [(0, 1), (1, 2)] {
        hosts[knows].discovery.add_record(now(), &records[known], false).map_err(io::Error::other)?;
    }
    let target = records[2].node_id();
    while start.elapsed() < Duration::from_secs(60) {
        // The third is found once the second has made sure of it: before that it is not relayed.
        let asked = hosts[1].discovery.node(&target).is_some_and(|node| node.verified);
        if asked && hosts[0].discovery.node(&target).is_none() {
            // Refused while as many are under way as there is room for.
            let _ = hosts[0].discovery.lookup(now(), target);
        }
        for (i, host) in hosts.iter_mut().enumerate() {
            host.turn(now())?;
            while let Some(event) = host.discovery.poll_event() {
                println!("{:?}  node {}  {event:?}", now(), i + 1);
                if matches!(&event, Event::RecordSeen { record, .. } if i == 0 && *record == records[2]) {
                    println!("found at {:?}", records[2].udp_endpoints().next());
                    return Ok(());
                }
            }
        }
        // A program with nothing else to do would wait for the socket, or until `next_timeout`.
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the third was not found within a minute"))
}

impl Host {
    fn new(n: u8) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let identity = Identity::new(RustCrypto, SecretKey::from_bytes(&[n; 32]).expect("a valid key"));
        let mut builder = Builder::new();
        let built = builder.set_ip4(Some(Ipv4Addr::LOCALHOST)).and_then(|builder| {
            builder.set_udp4(socket.local_addr().ok().map(|address| address.port()))?.sign(1, &identity)
        });
        // A real seed is fresh at each start.
        let rng = Seed::new([n; 32]).stream("discovery");
        let record = built.map_err(io::Error::other)?;
        Ok(Self { identity, discovery: Discovery::new(Config::default(), &record, rng), socket })
    }

    /// Reads, lets time pass, and sends what is owed.
    fn turn(&mut self, now: Instant) -> io::Result<()> {
        let mut packet = [0; MAX_PACKET_SIZE];
        loop {
            match self.socket.recv_from(&mut packet) {
                Ok((len, from)) => {
                    self.discovery.handle_datagram(&self.identity, now, from, &mut packet[..len]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.discovery.next_timeout().is_some_and(|at| at <= now) {
            self.discovery.handle_timeout(now);
        }
        while let Some((to, len)) = self.discovery.poll_transmit(&self.identity, now, &mut packet) {
            // A datagram that the system does not take is lost, as any may be.
            let _ = self.socket.send_to(&packet[..len], to);
        }
        Ok(())
    }
}
