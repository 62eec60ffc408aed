//! Start-up: from a process's start to its first packet, and to the full mesh on loopback.

use std::{
    collections::BTreeMap,
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
use coracle_tokio::{Handle, Listen, NoStore, Sockets};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    backend::{identity, secret},
    ours::host::record_at,
};

const TRIES: usize = 3;
/// After which a mesh is given up.
const DEADLINE: Duration = Duration::from_secs(120);

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
    // What was told on the way says why it took so long.
    lines.for_each(|line| println!("    {}", line.unwrap()));
    assert!(child.wait().unwrap().success());
    assert_eq!(line, "mesh");
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
        let mut full = tokio::task::JoinSet::new();
        let mut nodes = Vec::new();
        for (number, sockets) in (1..).zip(sockets) {
            let node = coracle_tokio::start(sockets, config(number, &records), NoStore).unwrap();
            // At once: what a node tells waits for 1,024 notices only.
            full.spawn(all_up(node.clone(), node.notices()));
            nodes.push(node);
        }
        let mut told = BTreeMap::new();
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while let Ok(Some(one)) = tokio::time::timeout_at(deadline, full.join_next()).await {
            one.unwrap().into_iter().for_each(|(what, times)| *told.entry(what).or_insert(0) += times);
        }
        println!("{}", if full.is_empty() { "mesh" } else { "no mesh" });
        println!("{told:?}");
        for node in &nodes {
            let view = node.snapshot().await.unwrap();
            let missing = view.members.iter().filter(|member| member.channel.is_none()).count();
            if missing > 0 {
                println!("{missing} missing; {:?}", view.counters);
            }
        }
        std::process::exit(0);
    });
}

/// Waits until a node has a channel with every other member; what it told meanwhile.
async fn all_up(node: Handle, mut notices: Receiver<Notice>) -> BTreeMap<String, u32> {
    let mut told = BTreeMap::new();
    loop {
        let what = match notices.recv().await {
            Ok(Notice::DialFailed { reason, .. }) => format!("dial failed: {reason:?}"),
            Ok(Notice::Refused { reason, .. }) => format!("refused: {reason:?}"),
            Ok(Notice::ChannelDown { reason, .. }) => format!("channel down: {reason:?}"),
            Ok(Notice::ChannelUp { .. }) => "channel up".to_owned(),
            Ok(Notice::Dialling { .. }) => "dialling".to_owned(),
            Ok(_) => continue,
            Err(RecvError::Lagged(_)) => "notices missed".to_owned(),
            Err(RecvError::Closed) => panic!("a node stopped"),
        };
        let over = what == "channel up" || what == "notices missed";
        *told.entry(what).or_insert(0) += 1;
        if over && node.snapshot().await.unwrap().members.iter().all(|member| member.channel.is_some()) {
            return told;
        }
    }
}
