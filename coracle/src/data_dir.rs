//! The data directory, with the names that Charon gives its files, so that both can use one directory in turn.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::files::{ReadError, read_bounded};

/// The directory used when none is named, in the current one.
pub const DEFAULT: &str = ".charon";

/// For how long after its last renewal Charon's key lock counts as held. Charon renews it every second.
pub const KEY_LOCK_STALE_AFTER: Duration = Duration::from_secs(5);

/// The most bytes read of a key lock.
const MAX_KEY_LOCK_BYTES: usize = 64 * 1024;

/// A data directory. Making one touches nothing on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

/// Why the data directory cannot be used now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another program uses the key at this moment.
    #[error(
        "{} was renewed {}: `{command}` is using this key",
        .path.display(), age(*.since)
    )]
    KeyInUse {
        /// The key lock.
        path: PathBuf,
        /// The program, as it calls itself.
        command: String,
        /// How long ago it was renewed; `None` if that lies in the future.
        since: Option<Duration>,
    },
    /// The key lock is there and cannot be understood.
    #[error("{} is not a key lock: {why}", .path.display())]
    KeyLockUnreadable {
        /// The key lock.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl DataDirError {
    /// What can be done about it, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::KeyInUse { .. } => {
                "one key must not run twice: stop the other program, then wait five seconds"
            }
            Self::KeyLockUnreadable { .. } => {
                "make sure that no Charon uses this directory, then remove the file"
            }
            Self::Read(error) => error.help(),
        }
    }
}

impl DataDir {
    /// The directory at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's key: see [`key_file`](crate::key_file).
    pub fn key_file(&self) -> PathBuf {
        self.path.join("charon-enr-private-key")
    }

    /// The file by which a running Charon says that it uses the key.
    pub fn key_lock(&self) -> PathBuf {
        self.path.join("charon-enr-private-key.lock")
    }

    /// The cluster lock.
    pub fn cluster_lock(&self) -> PathBuf {
        self.path.join("cluster-lock.json")
    }

    /// The cluster definition.
    pub fn cluster_definition(&self) -> PathBuf {
        self.path.join("cluster-definition.json")
    }

    /// The node database: see [`database`](crate::database).
    pub fn database(&self) -> PathBuf {
        self.path.join("coracle.redb")
    }

    /// The cluster file to use: the lock, or the definition where there is no lock yet. `None` with neither.
    pub fn cluster_file(&self) -> Option<PathBuf> {
        [self.cluster_lock(), self.cluster_definition()].into_iter().find(|path| path.exists())
    }

    /// Refuses while Charon's key lock is fresh at `now`: one key must not run in two processes.
    ///
    /// # Errors
    /// The lock is fresh, or cannot be understood, in which case nobody can tell.
    pub fn check_key_lock(&self, now: SystemTime) -> Result<(), DataDirError> {
        let path = self.key_lock();
        let bytes = match read_bounded(&path, MAX_KEY_LOCK_BYTES) {
            Err(ReadError::Missing(_)) => return Ok(()),
            other => other?,
        };
        let unreadable = |why: String| DataDirError::KeyLockUnreadable { path: path.clone(), why };
        let lock: KeyLock = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let renewed = OffsetDateTime::parse(&lock.timestamp, &Rfc3339)
            .map_err(|error| unreadable(format!("its timestamp is not RFC 3339: {error}")))?;
        // A time to come counts as fresh, as it does for Charon: two clocks may differ.
        let since = now.duration_since(SystemTime::from(renewed)).ok();
        match since {
            Some(since) if since > KEY_LOCK_STALE_AFTER => Ok(()),
            _ => Err(DataDirError::KeyInUse { path, command: lock.command, since }),
        }
    }
}

impl Default for DataDir {
    fn default() -> Self {
        Self::new(DEFAULT)
    }
}

#[derive(serde::Deserialize)]
struct KeyLock {
    timestamp: String,
    #[serde(default)]
    command: String,
}

fn age(since: Option<Duration>) -> String {
    match since {
        Some(since) => format!("{:.1} s ago", since.as_secs_f32()),
        None => "by a clock ahead of this one".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENEWED: &str = "2026-03-04T05:06:07.123456789+02:00";

    fn check(content: &str, seconds_later: i64) -> Result<(), DataDirError> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let data_dir = DataDir::new(directory.path());
        std::fs::write(data_dir.key_lock(), content).expect("written");
        let renewed = OffsetDateTime::parse(RENEWED, &Rfc3339).expect("a time");
        data_dir.check_key_lock((renewed + time::Duration::seconds(seconds_later)).into())
    }

    #[test]
    fn a_key_lock_is_fresh_for_five_seconds() {
        let lock = format!(
            "{{\"command\":\"charon run\",\"timestamp\":\"{RENEWED}\",\"cluster_lock_hash\":\"0x1\"}}"
        );
        for (later, free) in [(-100, false), (0, false), (5, false), (6, true), (1_000_000, true)] {
            assert_eq!(check(&lock, later).is_ok(), free, "{later} s later");
        }
        let error = check(&lock, 2).expect_err("fresh").to_string();
        assert!(error.ends_with("was renewed 2.0 s ago: `charon run` is using this key"), "{error}");
    }

    #[test]
    fn no_key_lock_is_no_hindrance_and_a_broken_one_is() {
        let directory = tempfile::tempdir().expect("temporary directory");
        assert!(DataDir::new(directory.path()).check_key_lock(SystemTime::UNIX_EPOCH).is_ok());
        assert!(DataDir::new(directory.path().join("none")).check_key_lock(SystemTime::UNIX_EPOCH).is_ok());
        for content in ["", "{}", "{\"timestamp\":5}", "{\"timestamp\":\"yesterday\"}", "\u{fffd}"] {
            let error = check(content, 1000).expect_err(content);
            assert!(matches!(error, DataDirError::KeyLockUnreadable { .. }), "{content}: {error}");
        }
    }

    #[test]
    fn the_lock_comes_before_the_definition() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let data_dir = DataDir::new(directory.path());
        assert_eq!(data_dir.cluster_file(), None);
        std::fs::write(data_dir.cluster_definition(), "{}").expect("written");
        assert_eq!(data_dir.cluster_file(), Some(data_dir.cluster_definition()));
        std::fs::write(data_dir.cluster_lock(), "{}").expect("written");
        assert_eq!(data_dir.cluster_file(), Some(data_dir.cluster_lock()));
    }
}
