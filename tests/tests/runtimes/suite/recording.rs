//! What real nodes were told over real sockets, told again to fresh ones: they do the same, byte for byte. Those that
//! are recorded use native cryptography, those that replay pure Rust.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use super::adapter::{
    self, Listen, NoStore, Sockets,
    recording::{Recorder, ReplayError, replay},
};
use super::{
    mesh::{listen_at, lock_config, lock_record},
    node::{Running, peer_id, secret},
};
use coracle_core::{
    cluster::MemberConfig,
    node::{Command, Config},
};
use coracle_native_crypto::NativeCrypto;

/// A node of which everything that it is told and does is written down.
fn start_recorded(config: Config, listen: &Listen, recorder: Recorder) -> Running {
    let sockets = Sockets::bind(listen).unwrap();
    let tcp = sockets.tcp_addresses().collect();
    let handle = adapter::start_recorded(NativeCrypto::new(), sockets, config, NoStore, recorder);
    Running::of(handle.unwrap(), tcp)
}

/// A file that the test can read afterwards.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Three nodes mesh, are asked for things, and stop: their recordings.
async fn record_a_mesh() -> Vec<String> {
    let listens: Vec<_> = (0..3).map(|_| listen_at("127.0.0.1")).collect();
    let lock: Vec<_> = (1..).zip(&listens).map(|(number, listen)| lock_record(number, listen)).collect();
    let files: Vec<Shared> = (0..3).map(|_| Shared::default()).collect();
    let mut nodes = Vec::new();
    for ((number, listen), file) in (1_u8..).zip(&listens).zip(&files) {
        let recorder = Recorder::new(file.clone(), [100 + number; 32]);
        nodes.push(start_recorded(lock_config(number, &lock), listen, recorder));
    }
    for (own, node) in (1_u8..).zip(&mut nodes) {
        for other in (1..=3).filter(|other| *other != own) {
            node.channel_up(peer_id(other)).await;
            node.pings(peer_id(other), 2).await;
        }
    }
    nodes[0].request(Command::Ping(peer_id(2))).await;
    nodes[0].request(Command::Hint(peer_id(3), "127.0.0.1:9".parse().unwrap())).await;
    nodes[0].request(Command::Address("127.0.0.1:9".parse().unwrap())).await;
    let members = lock.iter().cloned().map(MemberConfig::from_lock).collect();
    nodes[0].request(Command::SetMembers(members)).await;
    nodes[0].request(Command::LookUp(lock[1].node_id())).await;
    nodes[0]
        .expect("the lookup's end", |notice| {
            matches!(notice, coracle_core::node::Notice::LookedUp { .. }).then_some(())
        })
        .await;
    for node in nodes {
        node.handle.shutdown().await;
    }
    files.iter().map(|file| String::from_utf8(file.0.lock().unwrap().clone()).unwrap()).collect()
}

#[adapter::test]
async fn a_recorded_mesh_does_the_same_again() {
    for (number, text) in (1_u8..).zip(record_a_mesh().await) {
        let replayed = replay(text.as_bytes(), secret(number)).unwrap();
        println!("node {number}: {replayed:?}, {} bytes of recording", text.len());
        assert!(replayed.inputs > 50 && replayed.actions > 50, "{replayed:?}");
        assert!(!text.contains(&hex(secret(number).expose())), "the key is in the recording");

        // Anything that was told otherwise shows.
        let wrong_key = replay(text.as_bytes(), secret(number + 10)).unwrap_err();
        assert!(matches!(wrong_key, ReplayError::Differs { .. } | ReplayError::Config(_)), "{wrong_key}");
        let without: Vec<_> = text.lines().filter(|line| !line.starts_with("datagram ")).collect();
        let differs = replay(without.join("\n").as_bytes(), secret(number)).unwrap_err();
        assert!(matches!(differs, ReplayError::Differs { .. }), "as if no datagram had come: {differs}");
    }
}

#[test]
fn what_is_no_recording_is_refused_with_the_line() {
    for (text, line) in [
        ("", 1),
        ("something else\n", 1),
        ("coracle-recording 1\nseed 00\n", 2),
        ("coracle-recording 1\nfrob 1\n", 2),
    ] {
        let error = replay(text.as_bytes(), secret(1)).unwrap_err();
        assert!(matches!(error, ReplayError::Line { line: found, .. } if found == line), "{text:?}: {error}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
