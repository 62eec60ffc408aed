//! Start-up: from a process's start to its first packet, and to the full mesh on loopback.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use coracle_core::{
    cluster::MemberConfig,
    crypto::RustCrypto,
    node::{Config, Notice},
    record::Record,
    rng::Seed,
};
use coracle_tokio::{Listen, NoStore, Sockets};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    backend::{identity, secret},
    ours::host::record_at,
};

const TRIES: usize = 3;

fn own_program(arguments: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).stdout(Stdio::piped());
    command
}

/// Measures all and prints it. Wall-clock time: it is what an operator waits for.
pub(crate) fn run() {
    let first: Vec<_> = (0..TRIES).map(|_| first_packet()).collect();
    report("process start to the first packet", first);
    for operators in [4, 10, 64] {
        let took: Vec<_> = (0..TRIES).map(|_| mesh(operators)).collect();
        let channels = operators * (operators - 1) / 2;
        report(&format!("process start to the full mesh of {operators} operators ({channels} pairs)"), took);
    }
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let (least, median) = (took[0], took[took.len() / 2]);
    println!("{what}: {median:.1?} (median of {}; least {least:.1?})", took.len());
}

/// A node whose only other member is a socket of ours.
fn first_packet() -> Duration {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let to = socket.local_addr().unwrap().port();
    let start = Instant::now();
    let mut child = own_program(&["node".to_owned(), to.to_string()]).spawn().unwrap();
    socket.recv_from(&mut [0; 1500]).unwrap();
    let took = start.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

fn mesh(operators: u32) -> Duration {
    let start = Instant::now();
    let mut child = own_program(&["operators".to_owned(), operators.to_string()]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let took = start.elapsed();
    assert_eq!(line, "mesh");
    assert!(child.wait().unwrap().success());
    took
}

fn bind() -> Sockets {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Sockets::bind(&Listen { tcp: vec![any], udp: vec![any] }).unwrap()
}

/// The record of a node at these ports.
fn lock_record(number: u32, udp: u16, tcp: u16) -> Record {
    let identity = identity::<RustCrypto>(number);
    let record = record_at(&identity, (Ipv4Addr::LOCALHOST, udp).into(), 1);
    let mut builder = coracle_core::record::Builder::from_record(&record);
    builder.set_tcp4(Some(tcp)).unwrap();
    builder.sign(1, &identity).unwrap()
}

fn config(number: u32, records: &[Record]) -> Config {
    let members = records.iter().cloned().map(MemberConfig::from_lock).collect();
    let mut config = Config::new(secret(number), Seed::new([number as u8; 32]), members);
    config.lock_record = records.get(number as usize - 1).cloned();
    config
}

/// The child of [`first_packet`].
pub(crate) fn node(to: u16) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sockets = bind();
        let bound = sockets.bound();
        let records =
            [lock_record(1, bound.udp4.unwrap_or(0), bound.tcp4.unwrap_or(0)), lock_record(2, to, to)];
        let _node = coracle_tokio::start(sockets, config(1, &records), NoStore).unwrap();
        std::future::pending::<()>().await;
    });
}

/// The child of [`mesh`]: all operators in one process.
pub(crate) fn operators(count: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sockets: Vec<_> = (0..count).map(|_| bind()).collect();
        let records: Vec<_> = (1..)
            .zip(&sockets)
            .map(|(number, sockets)| {
                let bound = sockets.bound();
                lock_record(number, bound.udp4.unwrap_or(0), bound.tcp4.unwrap_or(0))
            })
            .collect();
        let nodes: Vec<_> = (1..)
            .zip(sockets)
            .map(|(number, sockets)| {
                coracle_tokio::start(sockets, config(number, &records), NoStore).unwrap()
            })
            .collect();
        let full = nodes.iter().map(|node| tokio::spawn(all_up(node.notices(), count as usize - 1)));
        for full in full.collect::<Vec<_>>() {
            full.await.unwrap();
        }
        println!("mesh");
        std::process::exit(0);
    });
}

/// Waits until a node has had a channel with so many members.
async fn all_up(mut notices: tokio::sync::broadcast::Receiver<Notice>, members: usize) {
    let mut up = std::collections::BTreeSet::new();
    while up.len() < members {
        match notices.recv().await {
            Ok(Notice::ChannelUp { peer, .. }) => drop(up.insert(peer)),
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => panic!("{missed} notices were missed"),
            Err(RecvError::Closed) => panic!("a node stopped"),
        }
    }
}
