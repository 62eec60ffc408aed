//! The node database: what is stored stays, nothing goes back, and a file that is not ours stays as it is.

// `clippy.toml` allows these inside test functions; here every function is one of a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use coracle::database::{self, Applied, Change, Database, DatabaseError, Endpoints};
use coracle_core::{
    crypto::{Identity, RustCrypto, SecretKey},
    record::{Builder, Record},
};

fn identity(number: u8) -> Identity<RustCrypto> {
    Identity::new(RustCrypto, SecretKey::from_bytes(&[number; 32]).unwrap())
}

fn record(number: u8, seq: u64, port: u16) -> Record {
    let mut builder = Builder::new();
    builder.set_ip4(Some([127, 0, 0, 1].into())).unwrap().set_tcp4(Some(port)).unwrap();
    builder.sign(seq, &identity(number)).unwrap()
}

fn in_new_directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("coracle.redb");
    (directory, path)
}

#[test]
fn what_was_stored_is_there_after_reopening() {
    let (directory, path) = in_new_directory();
    let reached = Endpoints { tcp: Some("127.0.0.1:9000".parse().unwrap()) };
    let then = Endpoints { tcp: Some("[::1]:9001".parse().unwrap()) };
    let key = *identity(2).public_key();
    {
        let database = Database::open(&path).unwrap();
        assert_eq!(database.own_record(identity(1).public_key()).unwrap(), None);
        assert!(database.peers().unwrap().is_empty());
        let changes = [
            Change::Own(record(1, 5, 1)),
            Change::Peer(record(2, 6, 2)),
            Change::Peer(record(3, 7, 3)),
            Change::Reached(key, reached),
            Change::Reached(key, then),
            Change::Reached(key, Endpoints::default()),
        ];
        let mut stored = [Applied::Stored; 6];
        stored[5] = Applied::Same;
        assert_eq!(database.apply(&changes).unwrap(), stored);
    }
    let database = Database::open(&path).unwrap();
    assert_eq!(database.own_record(identity(1).public_key()).unwrap(), Some(record(1, 5, 1)));
    assert_eq!(
        database.own_record(identity(2).public_key()).unwrap(),
        None,
        "another key has another record"
    );
    let peers = database.peers().unwrap();
    assert_eq!(peers.len(), 2);
    let peer = &peers[&key.compressed()];
    assert_eq!(peer.record, Some(record(2, 6, 2)));
    assert_eq!(peer.endpoints, then);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn records_only_go_forward() {
    let (_directory, path) = in_new_directory();
    let database = Database::open(&path).unwrap();
    for change in [Change::Own as fn(Record) -> Change, Change::Peer] {
        let apply = |record| database.apply(&[change(record)]).unwrap()[0];
        assert_eq!(apply(record(1, 5, 1)), Applied::Stored);
        assert_eq!(apply(record(1, 5, 1)), Applied::Same);
        assert_eq!(apply(record(1, 5, 2)), Applied::Kept, "equal seq, other content: the first stays");
        assert_eq!(apply(record(1, 4, 3)), Applied::Kept);
        assert_eq!(apply(record(1, 6, 4)), Applied::Stored);
        assert_eq!(apply(record(1, 5, 1)), Applied::Kept);
    }
    let key = *identity(1).public_key();
    assert_eq!(database.own_record(&key).unwrap(), Some(record(1, 6, 4)));
    assert_eq!(database.peers().unwrap()[&key.compressed()].record, Some(record(1, 6, 4)));
}

#[test]
fn one_at_a_time_has_it_open() {
    let (_directory, path) = in_new_directory();
    let key = *identity(1).public_key();
    let missing = database::read_own_record(&path, &key);
    assert!(matches!(missing, Err(DatabaseError::Missing(_))), "{missing:?}");
    let first = Database::open(&path).unwrap();
    first.apply(&[Change::Own(record(1, 5, 1))]).unwrap();
    assert!(matches!(Database::open(&path), Err(DatabaseError::InUse(_))));
    assert!(matches!(database::read_own_record(&path, &key), Err(DatabaseError::InUse(_))));
    drop(first);
    assert_eq!(database::read_own_record(&path, &key).unwrap(), Some(record(1, 5, 1)));
    Database::open(&path).unwrap();
}

/// Earlier builds had a field for discovery's endpoint, which nothing ever filled.
#[test]
fn fields_of_other_builds_are_ignored() {
    let (_directory, path) = in_new_directory();
    drop(Database::open(&path).unwrap());
    let key = identity(2).public_key().compressed();
    {
        let raw = redb::Database::open(&path).unwrap();
        let write = raw.begin_write().unwrap();
        let old = br#"{"udp":"127.0.0.1:9000","tcp":"127.0.0.1:9001"}"#.as_slice();
        write
            .open_table(redb::TableDefinition::<&[u8; 33], &[u8]>::new("endpoints"))
            .unwrap()
            .insert(&key, old)
            .unwrap();
        write.commit().unwrap();
    }
    let endpoints = Database::open(&path).unwrap().peers().unwrap()[&key].endpoints;
    assert_eq!(endpoints, Endpoints { tcp: Some("127.0.0.1:9001".parse().unwrap()) });
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let (_directory, path) = in_new_directory();
    drop(Database::open(&path).unwrap());
    {
        let raw = redb::Database::open(&path).unwrap();
        let write = raw.begin_write().unwrap();
        write
            .open_table(redb::TableDefinition::<&str, u64>::new("meta"))
            .unwrap()
            .insert("schema", database::SCHEMA + 1)
            .unwrap();
        write.commit().unwrap();
    }
    for _ in 0..2 {
        let error = Database::open(&path).expect_err("newer");
        assert!(
            matches!(error, DatabaseError::Newer { found, .. } if found == database::SCHEMA + 1),
            "{error}"
        );
        assert!(error.to_string().contains("coracle.redb"), "{error}");
    }
}

#[test]
fn a_database_of_another_program_is_refused() {
    let (_directory, path) = in_new_directory();
    drop(redb::Database::create(&path).unwrap());
    let error = Database::open(&path).expect_err("not ours");
    assert!(matches!(error, DatabaseError::Corrupted { .. }), "{error}");
}

#[test]
fn what_is_no_database_is_left_as_it_is() {
    let (_directory, path) = in_new_directory();
    drop(Database::open(&path).unwrap());
    let whole = std::fs::read(&path).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    for content in [b"not a database".to_vec(), vec![0; 100_000], whole[..100].to_vec(), half, Vec::new()] {
        std::fs::write(&path, &content).unwrap();
        let error = Database::open(&path).expect_err("no database");
        assert!(matches!(error, DatabaseError::Corrupted { .. }), "{} bytes: {error:?}", content.len());
        assert!(std::fs::read(&path).unwrap() == content, "{} bytes were changed", content.len());
    }
}

#[test]
fn directories_are_not_databases() {
    let directory = tempfile::tempdir().unwrap();
    let error = Database::open(directory.path()).expect_err("a directory");
    assert!(matches!(error, DatabaseError::Io { .. }), "{error:?}");
    let error = Database::open(&directory.path().join("none/coracle.redb")).expect_err("no directory");
    assert!(matches!(error, DatabaseError::Io { .. } | DatabaseError::Missing(_)), "{error:?}");
}

const CRASH_PATH: &str = "CORACLE_TEST_CRASH_PATH";

/// Not a test of its own: what the next one starts in another process, to kill it. It does nothing without the
/// variable.
#[test]
fn writer_to_be_killed() {
    let Some(path) = std::env::var_os(CRASH_PATH) else { return };
    let database = Database::open(Path::new(&path)).unwrap();
    let stored = database.own_record(identity(1).public_key()).unwrap();
    for seq in stored.map_or(1, |record| record.seq() + 1).. {
        database.apply(&[Change::Own(record(1, seq, 1)), Change::Peer(record(2, seq, 1))]).unwrap();
        // Straight to the pipe: what is printed was confirmed.
        println!("stored {seq}");
    }
}

/// Starts the writer, kills it once `enough` says so of the last number that it confirmed, and gives that number.
fn killed_writer(path: &Path, mut enough: impl FnMut(&mpsc::Receiver<u64>)) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer_to_be_killed", "--nocapture"])
        .env(CRASH_PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (send, confirmed) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut last = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(seq) = line.rsplit("stored ").next().and_then(|seq| seq.trim().parse().ok()) {
                last = seq;
                let _ = send.send(seq);
            }
        }
        last
    });
    enough(&confirmed);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn a_killed_process_loses_nothing_that_was_confirmed() {
    let (_directory, path) = in_new_directory();
    let mut newest = 0;
    for round in 0..8u64 {
        let last = killed_writer(&path, |confirmed| {
            if round < 5 {
                // While the process starts, or while it makes the file.
                std::thread::sleep(Duration::from_millis(3 * round));
            } else {
                // Between or within two writes.
                confirmed.iter().nth(2 + round as usize).expect("the writer goes on until it is killed");
            }
        });
        newest = newest.max(last);
        let database = Database::open(&path).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let own = database.own_record(identity(1).public_key()).unwrap().map_or(0, |record| record.seq());
        assert!(own >= newest, "round {round}: {newest} was confirmed, {own} is stored");
        let peers = database.peers().unwrap();
        let peer = peers.get(&identity(2).public_key().compressed());
        let peer = peer.and_then(|peer| peer.record.as_ref()).map_or(0, Record::seq);
        assert_eq!(own, peer, "round {round}: changes are stored together or not at all");
    }
    assert!(newest > 10);
}

#[test]
fn a_damaged_database_is_an_error_and_not_a_panic() {
    let (_directory, path) = in_new_directory();
    {
        let database = Database::open(&path).unwrap();
        for number in 1..20 {
            database.apply(&[Change::Own(record(number, 1, 1)), Change::Peer(record(number, 1, 1))]).unwrap();
        }
    }
    let whole = std::fs::read(&path).unwrap();
    // Bytes that are in use: changing zeros in free space shows nothing.
    let used: Vec<_> = whole.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    let mut refused = 0;
    for step in 0..120 {
        let at = used[step * used.len() / 120];
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        let read = Database::open(&path).and_then(|database| {
            database.own_record(identity(1).public_key())?;
            database.peers()
        });
        match read {
            Ok(peers) => assert_eq!(peers.len(), 19, "byte {at}: an older state"),
            Err(DatabaseError::Corrupted { .. }) => {
                refused += 1;
                assert!(std::fs::read(&path).unwrap() == damaged, "byte {at}: the file was changed");
            }
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(refused > 0, "no damage was seen");
}
