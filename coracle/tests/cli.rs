//! The program as a person or a script meets it.

// `clippy.toml` allows these inside test functions; here every function is one of a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use assert_cmd::{Command, assert::Assert};
use predicates::{prelude::*, str::contains};
use serde_json::Value;

fn coracle(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    command.arg("--data-dir").arg(data_dir);
    command
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn json(assert: &Assert) -> Value {
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "one object a line: {text}");
    serde_json::from_str(&text).unwrap()
}

/// A failure of the program's own: exit code, `error:` with all of `words`, and a `help:` line.
fn fails(command: &mut Command, code: i32, words: &[&str]) {
    let mut assert =
        command.assert().code(code).stdout("").stderr(contains("error: ")).stderr(contains("\nhelp: "));
    for word in words {
        assert = assert.stderr(contains(*word));
    }
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(!stderr.contains('\u{1b}'), "no colours in a pipe: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn create_enr_makes_a_key_once() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("new");
    let created = json(&coracle(&data_dir).args(["--json", "create", "enr"]).assert().success());
    assert_eq!(created["event"], "created_enr");
    let enr = created["enr"].as_str().unwrap();
    assert!(enr.starts_with("enr:-"), "{enr}");
    let key_file = data_dir.join("charon-enr-private-key");
    assert_eq!(created["key_file"], key_file.to_str().unwrap());
    let key = std::fs::read_to_string(&key_file).unwrap();
    assert_eq!(key.len(), 64);
    assert!(key.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)), "lowercase digits only");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    fails(
        coracle(&data_dir).args(["create", "enr"]),
        1,
        &["charon-enr-private-key exists already", "--data-dir"],
    );
    assert_eq!(std::fs::read_to_string(&key_file).unwrap(), key, "byte for byte the same");
    // What is shown later is the same record.
    coracle(&data_dir).arg("enr").assert().success().stdout(format!("{enr}\n")).stderr("");
}

#[test]
fn create_enr_leaves_a_corrupt_key_alone() {
    for content in [&b"rubbish"[..], b"", &[0xff; 64]] {
        let directory = tempfile::tempdir().unwrap();
        let key_file = directory.path().join("charon-enr-private-key");
        std::fs::write(&key_file, content).unwrap();
        fails(coracle(directory.path()).args(["create", "enr"]), 1, &["exists already"]);
        assert_eq!(std::fs::read(&key_file).unwrap(), content);
        fails(coracle(directory.path()).arg("enr"), 1, &["does not hold a key", "backup"]);
        assert_eq!(std::fs::read(&key_file).unwrap(), content);
    }
}

#[test]
fn enr_without_a_key_says_how_to_make_one() {
    let directory = tempfile::tempdir().unwrap();
    fails(
        coracle(directory.path()).arg("enr"),
        1,
        &["charon-enr-private-key does not exist", "coracle create enr"],
    );
}

#[test]
fn enr_verbose_shows_every_part() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("charon-enr-private-key"), "01".repeat(32)).unwrap();
    let assert = coracle(directory.path()).args(["enr", "--verbose"]).assert().success();
    let mut assert = assert.stdout(contains("enr:-"));
    for word in
        ["seq", "peer id", "16Uiu2H", "node id", "public key", "udp", "tcp", "keys", "id=v4 secp256k1="]
    {
        assert = assert.stdout(contains(word));
    }
    assert.stdout(contains("the key alone"));
    let shown = json(&coracle(directory.path()).args(["enr", "--json"]).assert().success());
    assert_eq!(shown["seq"], 0);
    assert_eq!(shown["source"], "key");
    assert_eq!(shown["pairs"][0]["value"], "v4");
    assert_eq!(shown["node_id"].as_str().unwrap().len(), 64);
}

#[test]
fn enr_prefers_the_database_and_then_the_cluster_file() {
    use coracle::{
        cluster_file::{Content, write},
        database::{Change, Database},
    };
    use coracle_core::{
        crypto::{Identity, RustCrypto, SecretKey},
        record::Builder,
    };
    let directory = tempfile::tempdir().unwrap();
    let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
    std::fs::write(directory.path().join("charon-enr-private-key"), "01".repeat(32)).unwrap();
    let identity = Identity::new(RustCrypto, secret);
    let in_file = Builder::new().sign(7, &identity).unwrap();
    let definition = write::definition(&write::NewCluster {
        name: "test".to_owned(),
        uuid: "1".to_owned(),
        timestamp: String::new(),
        fork_version: [0; 4],
        enrs: vec![in_file.to_string()],
    });
    let text = write::to_json(&Content::Definition(definition.unwrap()));
    std::fs::write(directory.path().join("cluster-definition.json"), text).unwrap();
    let shown = || json(&coracle(directory.path()).args(["enr", "--json"]).assert().success());
    assert_eq!((&shown()["source"], &shown()["seq"]), (&"cluster_file".into(), &7.into()));

    let database = Database::open(&directory.path().join("coracle.redb")).unwrap();
    let stored = Builder::new().sign(8, &identity).unwrap();
    database.apply(&[Change::Own(stored)]).unwrap();
    let while_open = shown();
    assert_eq!(while_open["seq"], 7);
    assert!(while_open["note"].as_str().unwrap().contains("another process uses the database"));
    drop(database);
    assert_eq!((&shown()["source"], &shown()["seq"]), (&"database".into(), &8.into()));

    // A database from an old backup is behind the file.
    std::fs::remove_file(directory.path().join("coracle.redb")).unwrap();
    let database = Database::open(&directory.path().join("coracle.redb")).unwrap();
    database.apply(&[Change::Own(Builder::new().sign(6, &identity).unwrap())]).unwrap();
    drop(database);
    assert_eq!((&shown()["source"], &shown()["seq"]), (&"cluster_file".into(), &7.into()));

    std::fs::write(directory.path().join("coracle.redb"), "rubbish").unwrap();
    fails(
        coracle(directory.path()).arg("enr"),
        1,
        &["coracle.redb is not a usable node database", "left as it is"],
    );
}

#[test]
fn lock_verify_accepts_every_fixture() {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("")).unwrap() {
        let path = entry.unwrap().path();
        let report =
            json(&coracle(directory.path()).args(["--json", "lock", "verify"]).arg(&path).assert().success());
        assert_eq!(report["accepted"], true);
        assert!(report["checks"].as_array().unwrap().len() > 5);
        coracle(directory.path())
            .args(["lock", "verify"])
            .arg(&path)
            .assert()
            .success()
            .stdout(contains("verified"))
            .stdout(contains("accepted: "))
            .stderr("");
        coracle(directory.path())
            .args(["lock", "show"])
            .arg(&path)
            .assert()
            .success()
            .stdout(contains("16Uiu2H"));
    }
}

#[test]
fn lock_verify_finds_its_file_in_the_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    fails(coracle(directory.path()).args(["lock", "verify"]), 1, &["no cluster-lock.json", "--data-dir"]);
    std::fs::copy(fixture("lock-v1.7.0.json"), directory.path().join("cluster-lock.json")).unwrap();
    coracle(directory.path()).args(["lock", "verify"]).assert().success().stdout(contains("lock v1.7.0"));
}

#[test]
fn lock_verify_names_what_failed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock.json");
    let text = std::fs::read_to_string(fixture("lock-v1.11.0.json")).unwrap();
    std::fs::write(&path, text.replace("generated v1.11.0", "tampered v1.11.0")).unwrap();
    coracle(directory.path())
        .args(["lock", "verify"])
        .arg(&path)
        .assert()
        .code(1)
        .stdout(contains("refused: "))
        .stdout(predicate::str::is_match("failed +configuration hash +cluster_definition.config_hash\n +expected 0x[0-9a-f]{64}\n +found +0x[0-9a-f]{64}\n").unwrap());
    let report =
        json(&coracle(directory.path()).args(["--json", "lock", "verify"]).arg(&path).assert().code(1));
    assert_eq!(report["accepted"], false);
    assert_eq!(report["checks"][0]["check"], "config_hash");
    assert_eq!(report["checks"][0]["outcome"], "failed");
    assert_eq!(report["uncovered"], serde_json::json!([]));
    // It can be looked at all the same.
    coracle(directory.path())
        .args(["lock", "show"])
        .arg(&path)
        .assert()
        .success()
        .stdout(contains("refused: "));
}

#[test]
fn lock_show_says_where_operators_are_now() {
    use coracle::{
        cluster_file::ClusterFile,
        database::{Change, Database, Endpoints},
    };
    let directory = tempfile::tempdir().unwrap();
    let path = fixture("lock-v1.11.0.json");
    let show =
        || json(&coracle(directory.path()).args(["--json", "lock", "show"]).arg(&path).assert().success());
    let shown = show();
    assert_eq!(shown["operators"][1]["known"], serde_json::Value::Null);
    assert_eq!(shown["validators"][1]["registered"], true);
    let checked = shown["checked"].as_array().unwrap();
    assert!(checked.iter().all(|check| check["failed"] == 0 && check["not_checked"] == 0), "{checked:?}");
    assert_eq!(shown["note"], serde_json::Value::Null);

    let members = ClusterFile::parse(&std::fs::read(&path).unwrap()).unwrap().members().unwrap();
    let database = Database::open(&directory.path().join("coracle.redb")).unwrap();
    let endpoints = Endpoints { tcp: Some("10.9.8.7:3610".parse().unwrap()) };
    database.apply(&[Change::Reached(*members[1].record.public_key(), endpoints)]).unwrap();
    assert!(show()["note"].as_str().unwrap().contains("another process uses the database"));
    drop(database);
    assert_eq!(show()["operators"][1]["known"]["reached"], "10.9.8.7:3610");
    coracle(directory.path())
        .args(["lock", "show"])
        .arg(&path)
        .assert()
        .success()
        .stdout(contains("reached at 10.9.8.7:3610"))
        .stdout(contains("aggregate signature"));
}

#[test]
fn lock_diff_has_an_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let diff = |a: &Path, b: &Path| {
        let mut command = coracle(directory.path());
        command.args(["lock", "diff"]).arg(a).arg(b);
        command
    };
    let old = fixture("lock-v1.10.0.json");
    diff(&old, &old).assert().success().stdout(contains("the same"));
    diff(&old, &fixture("lock-v1.11.0.json"))
        .assert()
        .code(1)
        .stdout(contains("removed  16Uiu2H"))
        .stdout(contains("from enr:-"))
        .stdout(contains("from v1.10.0"))
        .stdout(contains("6 removed").or(contains("5 removed")));
    let compared = json(&diff(&old, &fixture("definition-v1.10.0.json")).arg("--json").assert().code(1));
    assert_eq!(compared["same"], false);
    assert_eq!(compared["differences"][0]["subject"], "operator");
    fails(&mut diff(&old, &directory.path().join("none")), 1, &["does not exist"]);
}

#[test]
fn create_cluster_makes_what_lock_verify_accepts() {
    let directory = tempfile::tempdir().unwrap();
    let create = |output: &str, more: &[&str]| {
        let mut command = coracle(directory.path());
        let fixed = ["create", "cluster", "--insecure-keystores", "--operators", "3", "--output-dir", output];
        command.current_dir(directory.path()).args(fixed).args(more);
        command
    };
    create("new", &["--version", "v1.8.0", "--name", "a trial"])
        .assert()
        .success()
        .stdout(contains("for testing only"));
    let lock = directory.path().join("new/node2/cluster-lock.json");
    let report =
        json(&coracle(directory.path()).args(["--json", "lock", "verify"]).arg(&lock).assert().success());
    for check in report["checks"].as_array().unwrap() {
        assert_eq!(check["outcome"], "verified", "{check}");
    }
    let node = directory.path().join("new/node2");
    coracle(&node).args(["lock", "show"]).assert().success().stdout(contains("for testing only: a trial"));
    fails(&mut create("new", &[]), 1, &["exists already", "left as it is"]);
    let made =
        json(&create("json", &["--json", "--validators", "2", "--network", "sepolia"]).assert().success());
    assert_eq!(
        (&made["network"], &made["threshold"], &made["version"]),
        (&"sepolia".into(), &2.into(), &"v1.11.0".into())
    );
    for (more, words) in [
        (&["--network", "mainnet"][..], "not a test network"),
        (&["--version", "v1.12.0"], "not a version"),
        (&["--threshold", "4"], "does not fit 3 shares"),
        (&["--validators", "0"], "1 to 65536"),
        (&["--deposit-amounts", "0"], "1 to 2048 ETH"),
        (&["--withdrawal-address", "0x12"], "not an Ethereum address"),
    ] {
        create("other", more).assert().code(2).stderr(contains(words));
        assert!(!directory.path().join("other").exists());
    }
}

/// Large files of the worst kinds, with room for a small multiple of the largest file that is read.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded_whatever_the_file() {
    use std::io::Write as _;
    const SIZE: usize = 100_000_000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.json");
    for (before, unit, after) in [
        (r#"{"version":"v1.11.0","uuid":""#, "x", r#""}"#),
        (r#"{"version":"v1.11.0","operators":["#, "{},", "{}]}"),
        ("[", "[],", "[]]"),
        (r#"{"version":"v1.11.0""#, r#","a":1"#, "}"),
        ("", "{\"a\":", "1"),
    ] {
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        let block = unit.repeat(1 << 16);
        file.write_all(before.as_bytes()).unwrap();
        for _ in 0..SIZE / block.len() {
            file.write_all(block.as_bytes()).unwrap();
        }
        file.write_all(after.as_bytes()).unwrap();
        drop(file);
        // In KiB: 100 MB of file, and a tree of at most four million values.
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -v 1500000 && exec \"$0\" lock verify \"$1\""])
            .arg(env!("CARGO_BIN_EXE_coracle"))
            .arg(&path)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{unit}: {error}");
        assert!(error.starts_with("error: ") && error.contains("large.json"), "{unit}: {error}");
        assert!(error.len() < 1000, "{unit}: an error is for reading");
    }
}

#[test]
fn files_that_are_none_are_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("bytes"), [0xff, 0xfe, 0x00]).unwrap();
    std::fs::write(at("empty"), "").unwrap();
    std::fs::write(at("object"), "{}").unwrap();
    std::fs::write(at("twice"), "{\"version\":\"v1.7.0\",\"version\":\"v1.7.0\"}").unwrap();
    std::fs::write(at("newer"), "{\"version\":\"v9.0.0\\u001b[31m\"}").unwrap();
    std::fs::write(at("deep"), "[".repeat(200_000)).unwrap();
    for command in ["verify", "show"] {
        for (name, words) in [
            ("bytes", "not valid JSON"),
            ("empty", "not valid JSON"),
            ("object", "neither a cluster definition"),
            ("twice", "the key `version` appears twice"),
            ("newer", "supported are v1.0.0, v1.1.0"),
            ("deep", "not valid JSON"),
            ("none", "does not exist"),
            ("", "is a directory"),
        ] {
            fails(coracle(directory.path()).args(["lock", command]).arg(at(name)), 1, &[words]);
        }
    }
}

#[cfg(unix)]
#[test]
fn a_name_that_is_not_utf8_is_a_name() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(std::ffi::OsStr::from_bytes(b"lock-\xff.json"));
    fails(coracle(directory.path()).args(["lock", "verify"]).arg(&path), 1, &["does not exist"]);
    std::fs::copy(fixture("lock-v1.7.0.json"), &path).unwrap();
    coracle(directory.path()).args(["lock", "verify"]).arg(&path).assert().success();
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["nonsense"][..], &[], &["lock"], &["enr", "--nonsense"]] {
        coracle(directory.path()).args(arguments).assert().code(2).stderr(contains("Usage"));
    }
    coracle(directory.path()).arg("--help").assert().success().stdout(contains("Exit codes:"));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_coracle"))
        .args(["lock", "show"])
        .arg(fixture("lock-v1.7.0.json"))
        .current_dir(directory.path())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}

#[test]
fn a_file_as_data_directory_is_named() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("written");
    for command in [&["create", "enr"][..], &["enr"], &["run"]] {
        let mut program = assert_cmd::Command::new(env!("CARGO_BIN_EXE_coracle"));
        let assert = program.arg("--data-dir").arg(&file).args(command).assert().code(2);
        assert.stderr(predicates::str::contains("is a file, not a directory"));
    }
}
