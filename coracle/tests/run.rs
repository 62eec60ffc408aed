//! `coracle run` as an operator meets it: processes, real sockets, kill -9, and what goes wrong.
#![allow(clippy::unwrap_used, clippy::panic)] // a test: every failure is one

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use coracle::{
    cluster_file::{
        Content,
        write::{self, NewCluster},
    },
    data_dir::DataDir,
    database, key_file,
};
use coracle_core::{
    crypto::{Crypto as _, Identity, RustCrypto, SecretKey},
    id::PeerId,
    record::{Addresses, Builder},
};
use serde_json::Value;

/// Far more than anything here takes; only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Operators with keys and one lock whose records name an address that is no longer theirs.
struct Cluster {
    directory: tempfile::TempDir,
    keys: Vec<SecretKey>,
    enrs: Vec<String>,
    lock: String,
}

impl Cluster {
    fn new(operators: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut keys = Vec::new();
        let mut enrs = Vec::new();
        for index in 0..operators {
            let key =
                key_file::create(&DataDir::new(directory.path().join(index.to_string())).key_file()).unwrap();
            let stale = Addresses {
                ip4: Some([127, 0, 0, 1].into()),
                // Discard: nobody answers there.
                udp4: Some(9),
                tcp4: Some(9),
                ..Addresses::default()
            };
            let identity = Identity::new(RustCrypto, key.clone());
            enrs.push(Builder::new().set_addresses(&stale).unwrap().sign(41, &identity).unwrap().to_string());
            keys.push(key);
        }
        let mut cluster = Self { directory, keys, enrs, lock: String::new() };
        cluster.lock = cluster.lock_of(&(0..operators).collect::<Vec<_>>());
        for index in 0..operators {
            fs::write(cluster.data_dir(index).cluster_lock(), &cluster.lock).unwrap();
        }
        cluster
    }

    /// The lock of a cluster of these operators.
    fn lock_of(&self, operators: &[usize]) -> String {
        let definition = write::definition(&NewCluster {
            name: "test".into(),
            uuid: "1".into(),
            timestamp: "2026-01-01T00:00:00Z".into(),
            fork_version: [0x10, 0x00, 0x09, 0x10],
            enrs: operators.iter().map(|index| self.enrs[*index].clone()).collect(),
        })
        .unwrap();
        let keys: Vec<SecretKey> = operators.iter().map(|index| self.keys[*index].clone()).collect();
        write::to_json(&Content::Lock(write::lock_without_validators(definition, &keys).unwrap()))
    }

    /// Puts this lock in the place of an operator's, at once and whole, as a careful operator does.
    fn put_lock(&self, index: usize, lock: &str) {
        let new = self.path(index).join("new");
        fs::write(&new, lock).unwrap();
        fs::rename(new, self.data_dir(index).cluster_lock()).unwrap();
    }

    fn data_dir(&self, index: usize) -> DataDir {
        DataDir::new(self.path(index))
    }

    fn path(&self, index: usize) -> PathBuf {
        self.directory.path().join(index.to_string())
    }

    fn peer_id(&self, index: usize) -> PeerId {
        PeerId::from_public_key(&RustCrypto.public_key(&self.keys[index]))
    }

    /// Starts a node on loopback, with hints at where others are.
    fn run(&self, index: usize, peers: &[&str]) -> Running {
        self.run_over("tokio", index, peers)
    }

    fn run_over(&self, runtime: &str, index: usize, peers: &[&str]) -> Running {
        let mut command = self.command(index, peers);
        command.args(["--runtime", runtime]);
        Running::start(command)
    }

    fn command(&self, index: usize, peers: &[&str]) -> Command {
        let mut command = coracle(&self.path(index));
        command.args(["--json", "run", "--verbose", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
        for peer in peers {
            command.args(["--peer", peer]);
        }
        command
    }
}

fn coracle(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    command.arg("--data-dir").arg(data_dir);
    command
}

/// A node in a process of its own; killed when dropped.
struct Running {
    child: Child,
    events: mpsc::Receiver<Value>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (to, events) = mpsc::channel();
        let lines: BufReader<ChildStdout> = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
                if to.send(event).is_err() {
                    return;
                }
            }
        });
        Self { child, events }
    }

    /// The next event of this kind.
    fn wait_for(&self, kind: &str) -> Value {
        self.next_of(&[kind])
    }

    /// The next event of any of these kinds.
    fn next_of(&self, kinds: &[&str]) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut passed = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self
                .events
                .recv_timeout(left)
                .unwrap_or_else(|error| panic!("no {kinds:?} ({error}) among\n{passed}"));
            if kinds.iter().any(|kind| event["event"] == *kind) {
                return event;
            }
            passed += &format!("{event}\n");
        }
    }

    /// Waits for one of each kind, in any order.
    fn wait_for_all(&self, kinds: &[&str]) -> Vec<Value> {
        let mut missing: Vec<&str> = kinds.to_vec();
        let mut found = Vec::new();
        while !missing.is_empty() {
            let event = self.next_of(&missing);
            missing.retain(|kind| event["event"] != *kind);
            found.push(event);
        }
        found.sort_by_key(|event| kinds.iter().position(|kind| event["event"] == *kind));
        found
    }

    /// The next event of this kind about this operator.
    fn wait_for_peer(&self, kind: &str, peer: PeerId) -> Value {
        loop {
            let event = self.wait_for(kind);
            if event["peer"] == peer.to_string() {
                return event;
            }
        }
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Where it listens for channels.
    fn tcp(&self) -> String {
        let listening = self.wait_for("listening");
        let tcp = listening["addresses"][0].as_str().unwrap();
        tcp.strip_suffix("/tcp").unwrap().to_owned()
    }

    /// The number and text of the record it puts in force.
    fn published(&self) -> (u64, String) {
        let published = self.wait_for("published");
        (published["seq"].as_u64().unwrap(), published["enr"].as_str().unwrap().to_owned())
    }

    /// kill -9.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn operators_find_each_other_and_numbers_follow_each_other() {
    let cluster = Cluster::new(2);
    let first = cluster.run(0, &[]);
    let at_first = first.tcp();
    // Nothing was stored yet: the number is the wall clock's, far above the lock's 41.
    let (seq, enr) = first.published();
    assert!(seq > 1_700_000_000_000, "{seq}");

    // The lock knows nobody's address: the second is told where the first is, in two of the forms.
    let hint = format!("{}@{at_first}", cluster.peer_id(0));
    let second = cluster.run(1, &[&hint, &enr]);
    second.wait_for("channel_up");
    second.wait_for("ping");
    // By discv5 the first learns the second's record, and keeps it through what follows.
    first.wait_for_all(&["channel_up", "peer_record"]);

    first.kill();
    // Another port: another address, and exactly the next number. No hint is needed any more.
    let first = cluster.run(0, &[]);
    assert_eq!(first.published().0, seq + 1);
    first.wait_for("channel_up");
    let told = second.wait_for_all(&["peer_record", "channel_up"]);
    assert_eq!(told[0]["seq"], seq + 1);
    for index in 0..2 {
        let lock = fs::read_to_string(cluster.data_dir(index).cluster_lock()).unwrap();
        assert_eq!(lock, cluster.lock, "the lock file is never rewritten");
    }
}

#[test]
fn kill_at_any_time_never_takes_the_number_back() {
    let cluster = Cluster::new(1);
    let mut last = 0;
    for round in 0..12_u64 {
        let node = cluster.run(0, &[]);
        // From before the first write to well after it.
        thread::sleep(Duration::from_millis(round * 7));
        node.kill();
        let path = cluster.data_dir(0).database();
        let key = RustCrypto.public_key(&cluster.keys[0]);
        if path.exists() {
            let stored = database::Database::open(&path).unwrap().own_record(&key).unwrap();
            let seq = stored.map_or(0, |record| record.seq());
            assert!(seq >= last, "round {round}: {seq} after {last}");
            last = seq;
        }
    }
    let node = cluster.run(0, &[]);
    let (seq, _) = node.published();
    assert!(seq > last, "{seq} after {last}");
}

/// Runs to the end; exit code and standard error.
fn fails(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_is_in_use_is_named() {
    let cluster = Cluster::new(2);
    let running = cluster.run(0, &[]);
    let at = running.tcp();

    let mut command = coracle(&cluster.path(0));
    command.args(["run", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
    let (code, error) = fails(command);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("coracle.redb") && error.contains("help"), "{error}");

    let mut command = coracle(&cluster.path(1));
    command.args(["run", "--tcp", &at, "--udp", "127.0.0.1:0"]);
    let (code, error) = fails(command);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains(&at) && error.contains("tcp") && error.contains("help"), "{error}");
}

#[test]
fn a_tampered_lock_is_refused_unless_told_otherwise() {
    let cluster = Cluster::new(1);
    let path = cluster.data_dir(0).cluster_lock();
    fs::write(&path, cluster.lock.replace("\"name\": \"test\"", "\"name\": \"tess\"")).unwrap();
    let arguments = ["--json", "run", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
    let mut command = coracle(&cluster.path(0));
    command.args(arguments);
    let (code, error) = fails(command);
    assert_eq!(code, 1);
    assert!(
        error.contains("config_hash") && error.contains("expected") && error.contains("found"),
        "{error}"
    );

    let mut command = coracle(&cluster.path(0));
    command.args(arguments).arg("--no-verify");
    let node = Running::start(command);
    assert!(node.wait_for("note")["note"].as_str().unwrap().contains("--no-verify"));
    node.published();
}

/// A record named once is known from then on, even if its node was never met.
#[test]
fn a_record_given_as_a_hint_is_kept() {
    let cluster = Cluster::new(2);
    let newer =
        Addresses { ip4: Some([127, 0, 0, 1].into()), udp4: Some(9), tcp4: Some(10), ..Addresses::default() };
    let identity = Identity::new(RustCrypto, cluster.keys[1].clone());
    let record = Builder::new().set_addresses(&newer).unwrap().sign(42, &identity).unwrap();
    let node = cluster.run(0, &[&record.to_string()]);
    node.tcp();
    node.kill();
    let peers = database::Database::open(&cluster.data_dir(0).database()).unwrap().peers().unwrap();
    assert_eq!(peers[&identity.public_key().compressed()].record, Some(record));
}

/// A file is not refused for what this build cannot check, and what that is is said (design, section 7).
#[test]
fn what_is_not_checked_is_told() {
    let cluster = Cluster::new(1);
    let node = cluster.run(0, &[]);
    let note = node.wait_for("note")["note"].as_str().unwrap().to_owned();
    assert!(note.contains("not made") && note.contains("no validators"), "{note}");
    drop(node);

    // A definition has no node signatures: nothing this build checks says who made it.
    let lock: Value = serde_json::from_str(&cluster.lock).unwrap();
    let path = cluster.directory.path().join("definition.json");
    fs::write(&path, lock["cluster_definition"].to_string()).unwrap();
    let mut command = coracle(&cluster.path(0));
    command
        .args(["--json", "run", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--cluster-file"])
        .arg(path);
    let node = Running::start(command);
    let mut notes = String::new();
    loop {
        let event = node.next_of(&["note", "listening"]);
        if event["event"] == "listening" {
            break;
        }
        notes += event["note"].as_str().unwrap();
    }
    assert!(notes.contains("not who made it"), "{notes}");
}

#[test]
fn a_cluster_file_that_does_not_fit_is_named() {
    let cluster = Cluster::new(1);
    let other = Cluster::new(1);
    let of_others = other.data_dir(0).cluster_lock();
    let bad = cluster.directory.path().join("bad.json");
    let enr = cluster.lock.find("enr:").unwrap();
    fs::write(&bad, format!("{}enr:AAAA{}", &cluster.lock[..enr], &cluster.lock[enr + 8..])).unwrap();
    for (file, says) in [(&of_others, "none of the 1 operators"), (&bad, "operators[0].enr")] {
        let mut command = coracle(&cluster.path(0));
        command.args(["run", "--no-verify", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
        let (code, error) = fails({
            command.arg("--cluster-file").arg(file);
            command
        });
        assert_eq!(code, 1, "{error}");
        assert!(error.contains(&format!("error: {}: ", file.display())), "{error}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn bad_flags_are_explained() {
    let cluster = Cluster::new(1);
    for (flag, value, says) in [
        ("--peer", "nonsense", "PEER_ID@HOST:PORT"),
        ("--bootnode", "enr:AAAA", "--bootnode"),
        ("--tcp", "localhost", "--tcp"),
        ("--external-tcp-port", "0", "--external-tcp-port"),
    ] {
        let mut command = coracle(&cluster.path(0));
        command.args(["run", "--udp", "127.0.0.1:0", flag, value]);
        if flag != "--tcp" {
            command.args(["--tcp", "127.0.0.1:0"]);
        }
        let (code, error) = fails(command);
        assert!(code == 1 || code == 2, "{flag}: {code}");
        assert!(error.contains(says), "{flag}: {error}");
    }
}

/// What could only be ignored is refused.
#[test]
fn flags_that_cannot_all_be_used_are_refused() {
    let cluster = Cluster::new(2);
    let own = format!("{}@127.0.0.1:1", cluster.peer_id(0));
    let hints: Vec<String> = (1..=5).map(|port| format!("{}@127.0.0.1:{port}", cluster.peer_id(1))).collect();
    let five: Vec<&str> = hints.iter().map(String::as_str).collect();
    for (flag, values, says) in [
        ("--tcp", &["127.0.0.1:0", "127.0.0.1:1"][..], "127.0.0.1:0 and 127.0.0.1:1"),
        ("--udp", &["[::1]:0", "127.0.0.1:0", "[::1]:0"], "IPv6"),
        ("--external-ip", &["192.0.2.1", "192.0.2.2"], "192.0.2.2"),
        ("--peer", &[own.as_str()], "this node itself"),
        ("--peer", &five, "at most 4"),
    ] {
        let mut command = coracle(&cluster.path(0));
        command.arg("run");
        for other in ["--tcp", "--udp"].into_iter().filter(|other| *other != flag) {
            command.args([other, "127.0.0.1:0"]);
        }
        for value in values {
            command.args([flag, value]);
        }
        let (code, error) = fails(command);
        assert_eq!(code, 2, "{flag}: {error}");
        assert!(error.contains(&format!("error: {flag}")) && error.contains(says), "{flag}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_in_good_order() {
    for runtime in ["tokio", "async-std"] {
        let cluster = Cluster::new(1);
        let mut node = cluster.run_over(runtime, 0, &[]);
        node.published();
        node.signal("-TERM");
        node.wait_for("stopped");
        assert_eq!(node.child.wait().unwrap().code(), Some(0));
    }
}

/// One operator over each adapter, from the same kind of files.
#[test]
fn the_runtime_makes_no_difference_to_others() {
    let cluster = Cluster::new(2);
    let first = cluster.run_over("async-std", 0, &[]);
    let hint = format!("{}@{}", cluster.peer_id(0), first.tcp());
    let second = cluster.run_over("tokio", 1, &[&hint]);
    first.wait_for_all(&["channel_up", "ping"]);
    second.wait_for_all(&["channel_up", "ping"]);
}

/// The operator changes the members of a running node: who is added is dialled, who is removed cut off,
/// who stays notices nothing. A file that does not hold is refused, and nothing changes.
#[cfg(unix)]
#[test]
fn sighup_reads_the_members_again() {
    let cluster = Cluster::new(3);
    let (first_two, first_and_last) = (cluster.lock_of(&[0, 1]), cluster.lock_of(&[0, 2]));
    cluster.put_lock(0, &first_two);
    let second = cluster.run(1, &[]);
    let third = cluster.run(2, &[]);
    let hints = [1, 2].map(|index| {
        let at = if index == 1 { second.tcp() } else { third.tcp() };
        (cluster.peer_id(index), at)
    });
    let first = cluster.run(0, &[&format!("{}@{}", hints[0].0, hints[0].1), &hints[1].1]);
    first.wait_for_peer("channel_up", cluster.peer_id(1));

    first.signal("-HUP");
    assert_eq!(first.wait_for("cluster_file")["kind"], "lock");

    // All three. Nobody said whose the second hint is: it is tried for the one who is missing.
    cluster.put_lock(0, &cluster.lock);
    first.signal("-HUP");
    first.wait_for_peer("member_added", cluster.peer_id(2));
    first.wait_for_peer("channel_up", cluster.peer_id(2));

    let bad = cluster.lock.replace("\"name\": \"test\"", "\"name\": \"tess\"");
    for (lock, says) in [
        (bad.as_str(), "config_hash"),
        ("{", "cluster-lock.json"),
        (&cluster.lock_of(&[1, 2]), "none of the 2"),
    ] {
        cluster.put_lock(0, lock);
        first.signal("-HUP");
        let refused = first.next_of(&["cluster_file_refused", "member_removed", "channel_down"]);
        assert!(refused["why"].as_str().is_some_and(|why| why.contains(says)), "{refused}");
    }

    cluster.put_lock(0, &first_and_last);
    first.signal("-HUP");
    let down = first.wait_for("channel_down");
    assert_eq!(down["peer"], cluster.peer_id(1).to_string());
    assert!(down["reason"].as_str().unwrap().contains("no member"), "{down}");
    first.wait_for_peer("member_removed", cluster.peer_id(1));
    second.wait_for_peer("channel_down", cluster.peer_id(0));
    // The one that stays answers on the channel it had.
    for _ in 0..2 {
        let next = loop {
            let event = first.next_of(&["ping", "channel_down", "channel_up"]);
            if event["peer"] == cluster.peer_id(2).to_string() {
                break event;
            }
        };
        assert_eq!(next["event"], "ping");
    }
}

/// A definition is enough for a mesh; the lock that comes later is gone by without a channel's end.
#[test]
fn a_definition_is_followed_by_its_lock() {
    let cluster = Cluster::new(2);
    let other = Cluster::new(2);
    let lock: Value = serde_json::from_str(&cluster.lock).unwrap();
    for index in 0..2 {
        let data_dir = cluster.data_dir(index);
        fs::remove_file(data_dir.cluster_lock()).unwrap();
        fs::write(data_dir.cluster_definition(), lock["cluster_definition"].to_string()).unwrap();
    }
    let first = cluster.run(0, &[]);
    let second = cluster.run(1, &[&first.tcp()]);
    first.wait_for_peer("channel_up", cluster.peer_id(1));
    second.wait_for_peer("channel_up", cluster.peer_id(0));

    // Half of it, and another cluster's: neither is taken, and each is told of once.
    for (content, says) in
        [(&cluster.lock[..cluster.lock.len() / 2], "cluster-lock.json"), (&other.lock, "definition_hash")]
    {
        cluster.put_lock(0, content);
        let next = first.next_of(&["cluster_file", "cluster_file_refused"]);
        assert!(next["why"].as_str().is_some_and(|why| why.contains(says)), "{next}");
    }
    for (index, node) in [&first, &second].into_iter().enumerate() {
        cluster.put_lock(index, &cluster.lock);
        let next = node.next_of(&["cluster_file", "cluster_file_refused", "channel_down", "member_removed"]);
        assert_eq!((&next["event"], &next["kind"]), (&"cluster_file".into(), &"lock".into()), "{next}");
        let next = node.next_of(&["ping", "channel_down", "member_removed", "member_added"]);
        assert_eq!(next["event"], "ping", "{next}");
    }
}

/// What members run, how they call themselves, and whether their lock is this one; and that others show a record of
/// this node with a higher number than its own, as after a lost store.
#[test]
fn what_members_say_is_told() {
    let cluster = Cluster::new(3);
    // One has another lock of the same operators, and one no lock yet.
    cluster.put_lock(1, &cluster.lock_of(&[1, 0, 2]));
    let lock: Value = serde_json::from_str(&cluster.lock).unwrap();
    fs::remove_file(cluster.data_dir(2).cluster_lock()).unwrap();
    fs::write(cluster.data_dir(2).cluster_definition(), lock["cluster_definition"].to_string()).unwrap();
    let first = cluster.run(0, &[]);
    let at = first.tcp();
    let (seq, _) = first.published();
    let elsewhere =
        Addresses { ip4: Some([127, 0, 0, 1].into()), udp4: Some(9), tcp4: Some(9), ..Addresses::default() };
    let identity = Identity::new(RustCrypto, cluster.keys[0].clone());
    let lost = Builder::new().set_addresses(&elsewhere).unwrap().sign(seq + 1_000_000, &identity).unwrap();

    let mut command = cluster.command(1, &[&at, &lost.to_string()]);
    command.args(["--nickname", "the second"]);
    let _second = Running::start(command);
    let _third = cluster.run(2, &[&at]);
    let (mut shown, mut published) = (Value::Null, Value::Null);
    let (mut second, mut third) = (Value::Null, Value::Null);
    let complete = |info: &Value| info["version"].as_str().is_some_and(|version| !version.is_empty());
    while !(complete(&second) && complete(&third) && published.is_object()) {
        let event = first.next_of(&["own_record_seen", "published", "peer_info"]);
        let of = match event["event"].as_str() {
            Some("own_record_seen") => &mut shown,
            Some("published") => &mut published,
            _ if event["peer"] == cluster.peer_id(1).to_string() => &mut second,
            _ => &mut third,
        };
        *of = event;
    }
    assert_eq!((shown["seq"].as_u64(), shown["outcome"].as_str()), (Some(lost.seq()), Some("exceeded")));
    assert_eq!(published["seq"].as_u64(), Some(lost.seq() + 1));
    let software = concat!("coracle v", env!("CARGO_PKG_VERSION"));
    for (info, operator, nickname, same_lock) in
        [(second, "operator 2", "the second", Value::Bool(false)), (third, "operator 3", "", Value::Null)]
    {
        assert_eq!(info["operator"], operator, "{info}");
        assert!(info["agent"].as_str().is_some_and(|agent| agent.starts_with("coracle/")), "{info}");
        assert_eq!((info["version"].as_str(), info["nickname"].as_str()), (Some(software), Some(nickname)));
        assert_eq!(info["same_lock"], same_lock, "{info}");
    }
}

/// An address without a peer id, as a number and as a name: the channel's key says who is there. And why one
/// is missing is told with its addresses, once.
#[test]
fn an_address_is_enough_for_a_hint() {
    let cluster = Cluster::new(3);
    let first = cluster.run(0, &[]);
    let at = first.tcp();
    let port = at.rsplit_once(':').unwrap().1;
    for hint in [at.clone(), format!("localhost:{port}"), format!("/ip4/127.0.0.1/tcp/{port}")] {
        // A name that is none yet does not keep a node from starting.
        let nobody = format!("{}:1", "a".repeat(64));
        let second = cluster.run(1, &[&hint, &nobody]);
        let note = loop {
            let note = second.wait_for("note")["note"].as_str().unwrap().to_owned();
            if note.contains("cannot resolve") {
                break note;
            }
        };
        assert!(note.contains("tried again"), "{note}");
        let up = second.wait_for_peer("channel_up", cluster.peer_id(0));
        assert_eq!((&up["endpoint"], &up["found"]), (&at.clone().into(), &"hint".into()), "{hint}");
        let missing = second.wait_for_peer("not_connected", cluster.peer_id(2));
        let tried = &missing["tried"][0];
        assert_eq!(
            (&tried["endpoint"], &tried["found"]),
            (&"127.0.0.1:9".into(), &"lock".into()),
            "{missing}"
        );
        assert!(tried["reason"].as_str().is_some_and(|why| why.contains("refused")), "{missing}");
        second.kill();
        // Otherwise it is known from there.
        fs::remove_file(cluster.data_dir(1).database()).unwrap();
    }
}

/// Every address that is dialled stands in the log, with how it is known and what came of it.
#[test]
fn dials_are_logged() {
    let cluster = Cluster::new(2);
    let mut command = coracle(&cluster.path(0));
    command.args(["--json", "run", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
    command.env("RUST_LOG", "coracle_tokio=debug").stderr(Stdio::piped());
    let mut node = Running::start(command);
    node.wait_for("dial_failed");
    node.child.kill().unwrap();
    let mut log = String::new();
    std::io::Read::read_to_string(&mut node.child.stderr.take().unwrap(), &mut log).unwrap();
    for part in ["dialling", "dial failed", "127.0.0.1:9", "source", "lock", "connection refused"] {
        assert!(log.contains(part), "no {part:?} in\n{log}");
    }
}
