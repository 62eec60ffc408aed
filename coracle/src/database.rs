//! The node database: the node's own record, and of every other operator the newest record and the endpoints at
//! which it was last reached.
//!
//! Invariants: what [`Database::apply`] returned `Ok` for survives any crash; a record is only ever replaced by one
//! with a higher sequence number (rules E1 and C3 of the design); one process at a time has the file open.
//! A file that is no database, or one of a newer Coracle, is left as it is.
//!
//! All calls block on the disk: keep them off an event loop.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use coracle_core::{
    crypto::{PublicKey, RustCrypto},
    record::Record,
};
use redb::{Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::key_file::sync_directory;

/// The schema that this build reads and writes.
pub const SCHEMA: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const SCHEMA_KEY: &str = "schema";
/// The RLP of the node's own record, by compressed public key: a directory may be given another key.
const OWN: TableDefinition<'_, &[u8; 33], &[u8]> = TableDefinition::new("own");
/// The RLP of the others' records, by compressed public key.
const PEERS: TableDefinition<'_, &[u8; 33], &[u8]> = TableDefinition::new("peers");
/// [`Endpoints`] as JSON, by compressed public key.
const ENDPOINTS: TableDefinition<'_, &[u8; 33], &[u8]> = TableDefinition::new("endpoints");

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// Another process has it open.
    #[error("another process uses the database {}", .0.display())]
    InUse(PathBuf),
    /// A newer Coracle made it.
    #[error("the database {} has schema {found}, and this build knows schema {SCHEMA}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
    },
    /// It is damaged, or no database at all.
    #[error("{} is not a usable node database: {why}", .path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is none, and it was only to be read.
    #[error("the database {} does not exist", .0.display())]
    Missing(PathBuf),
    /// The operating system would not let it be read or written.
    #[error("the database {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DatabaseError {
    /// What can be done about it, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::InUse(_) => {
                "one node runs on a data directory: stop the other process, or name another --data-dir"
            }
            Self::Newer { .. } => "use the Coracle that made it, or a newer one; the file was left as it is",
            Self::Corrupted { .. } => {
                "the file was left as it is; move it away to start with an empty one: the node then takes a sequence \
                 number from the clock, and learns the others' records again"
            }
            Self::Missing(_) => "`coracle run` makes it",
            Self::Io { .. } => "check that the disk has room and that this user may read and write the file",
        }
    }
}

/// Something to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The node's own record.
    Own(Record),
    /// Another operator's record.
    Peer(Record),
    /// Where another operator was reached. An endpoint that is `None` leaves the stored one.
    Reached(PublicKey, Endpoints),
}

/// What became of a [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is stored.
    Stored,
    /// The same was stored already.
    Same,
    /// A record with a higher sequence number, or with the same and another content, is stored and stays.
    Kept,
}

/// Where an operator was last reached. Fields that this build does not know are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// It was authenticated here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<SocketAddr>,
}

/// What is known of another operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its newest record.
    pub record: Option<Record>,
    /// Where it was last reached.
    pub endpoints: Endpoints,
}

/// Everything in a database about others, by compressed public key.
pub type Peers = BTreeMap<[u8; 33], Peer>;

/// An open node database. No other process can open it until this is dropped.
#[derive(Debug)]
pub struct Database {
    inner: redb::Database,
    path: PathBuf,
}

impl Database {
    /// Opens the database at `path`, and makes an empty one if there is none.
    ///
    /// # Errors
    /// See [`DatabaseError`]; whatever the error, the file holds what it held.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        if !path.try_exists().map_err(|source| DatabaseError::Io { path: path.to_owned(), source })? {
            make(path)?;
        }
        // The file is small, and a plain open would trust damaged pages, up to a panic.
        let inner = redb::Builder::new()
            .set_check_integrity_on_open(true)
            .open(path)
            .map_err(|error| explain(path, error.into()))?;
        let read = inner.begin_read().map_err(|error| explain(path, error.into()))?;
        check_schema(path, &read)?;
        Ok(Self { inner, path: path.to_owned() })
    }

    /// The node's own record, if one was ever stored for this key.
    ///
    /// # Errors
    /// The disk, or a stored record that does not verify.
    pub fn own_record(&self, key: &PublicKey) -> Result<Option<Record>, DatabaseError> {
        own_record(&self.path, &self.read()?, key)
    }

    /// What is known of all others.
    ///
    /// # Errors
    /// The disk, or a stored value that does not verify.
    pub fn peers(&self) -> Result<Peers, DatabaseError> {
        peers(&self.path, &self.read()?)
    }

    /// Stores changes, all of them or none, in order. When it returns they are on the disk. The answers stand in
    /// the order of the changes.
    ///
    /// # Errors
    /// The disk. It may then hold all of the changes or none.
    pub fn apply(&self, changes: &[Change]) -> Result<Vec<Applied>, DatabaseError> {
        let failed = |error: redb::Error| explain(&self.path, error);
        let mut write = self.inner.begin_write().map_err(|error| failed(error.into()))?;
        write.set_durability(Durability::Immediate).map_err(|error| failed(error.into()))?;
        let mut applied = Vec::with_capacity(changes.len());
        for change in changes {
            applied.push(match change {
                Change::Own(record) => self.put_record(&write, OWN, record)?,
                Change::Peer(record) => self.put_record(&write, PEERS, record)?,
                Change::Reached(key, endpoints) => self.put_endpoints(&write, key, *endpoints)?,
            });
        }
        if applied.contains(&Applied::Stored) {
            write.commit().map_err(|error| failed(error.into()))?;
        } else {
            write.abort().map_err(|error| failed(error.into()))?;
        }
        Ok(applied)
    }

    fn read(&self) -> Result<ReadTransaction, DatabaseError> {
        self.inner.begin_read().map_err(|error| explain(&self.path, error.into()))
    }

    fn put_record(
        &self,
        write: &redb::WriteTransaction,
        table: TableDefinition<'_, &'static [u8; 33], &'static [u8]>,
        record: &Record,
    ) -> Result<Applied, DatabaseError> {
        let failed = |error: redb::Error| explain(&self.path, error);
        let key = record.public_key().compressed();
        let mut table = write.open_table(table).map_err(|error| failed(error.into()))?;
        let stored = match table.get(&key).map_err(|error| failed(error.into()))? {
            Some(bytes) => Some(decode(&self.path, &key, bytes.value())?),
            None => None,
        };
        if let Some(stored) = stored {
            if stored.same_content(record) {
                return Ok(Applied::Same);
            }
            if stored.seq() >= record.seq() {
                return Ok(Applied::Kept);
            }
        }
        table.insert(&key, record.as_bytes()).map_err(|error| failed(error.into()))?;
        Ok(Applied::Stored)
    }

    fn put_endpoints(
        &self,
        write: &redb::WriteTransaction,
        key: &PublicKey,
        new: Endpoints,
    ) -> Result<Applied, DatabaseError> {
        let failed = |error: redb::Error| explain(&self.path, error);
        let key = key.compressed();
        let mut table = write.open_table(ENDPOINTS).map_err(|error| failed(error.into()))?;
        let stored = match table.get(&key).map_err(|error| failed(error.into()))? {
            Some(bytes) => endpoints(&self.path, &key, bytes.value())?,
            None => Endpoints::default(),
        };
        let merged = Endpoints { tcp: new.tcp.or(stored.tcp) };
        if merged == stored {
            return Ok(Applied::Same);
        }
        let json = serde_json::to_vec(&merged).map_err(|error| failed(io::Error::other(error).into()))?;
        table.insert(&key, json.as_slice()).map_err(|error| failed(error.into()))?;
        Ok(Applied::Stored)
    }
}

/// The own record in the database at `path`, which is not made if there is none.
///
/// # Errors
/// [`DatabaseError::InUse`] while a node runs on it, and [`DatabaseError::Missing`] if there is none.
pub fn read_own_record(path: &Path, key: &PublicKey) -> Result<Option<Record>, DatabaseError> {
    match path.try_exists() {
        Ok(true) => Database::open(path)?.own_record(key),
        Ok(false) => Err(DatabaseError::Missing(path.to_owned())),
        Err(source) => Err(DatabaseError::Io { path: path.to_owned(), source }),
    }
}

/// Makes an empty database under another name first, so that a crash leaves either none or a whole one: redb's own
/// file cannot be opened if its making is cut short.
fn make(path: &Path) -> Result<(), DatabaseError> {
    let io = |source| DatabaseError::Io { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let made = fill(&new).and_then(|()| match std::fs::hard_link(&new, path) {
        // Another process was as quick; opening decides between the two.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // A file system without links. Two processes could now race, and the lock on the file decides then.
        Err(_) if !path.exists() => std::fs::rename(&new, path).map_err(io),
        other => other.map_err(io),
    });
    let _ = std::fs::remove_file(&new);
    made?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent).map_err(io),
        _ => sync_directory(Path::new(".")).map_err(io),
    }
}

fn fill(path: &Path) -> Result<(), DatabaseError> {
    let failed = |error: redb::Error| explain(path, error);
    // What a killed process of the same number left.
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(DatabaseError::Io { path: path.to_owned(), source });
        }
        _ => {}
    }
    let database = redb::Database::create(path).map_err(|error| failed(error.into()))?;
    let write = database.begin_write().map_err(|error| failed(error.into()))?;
    {
        let mut meta = write.open_table(META).map_err(|error| failed(error.into()))?;
        meta.insert(SCHEMA_KEY, SCHEMA).map_err(|error| failed(error.into()))?;
        for table in [OWN, PEERS, ENDPOINTS] {
            write.open_table(table).map_err(|error| failed(error.into()))?;
        }
    }
    write.commit().map_err(|error| failed(error.into()))
}

fn check_schema(path: &Path, read: &ReadTransaction) -> Result<(), DatabaseError> {
    let corrupted = |why: &str| DatabaseError::Corrupted { path: path.to_owned(), why: why.to_owned() };
    let meta = match read.open_table(META) {
        Err(redb::TableError::TableDoesNotExist(_)) => {
            return Err(corrupted("it is a database of another program"));
        }
        other => other.map_err(|error| explain(path, error.into()))?,
    };
    let schema =
        meta.get(SCHEMA_KEY).map_err(|error| explain(path, error.into()))?.map(|value| value.value());
    match schema {
        Some(SCHEMA) => Ok(()),
        Some(found) if found > SCHEMA => Err(DatabaseError::Newer { path: path.to_owned(), found }),
        _ => Err(corrupted("it does not say which schema it has")),
    }
}

fn own_record(path: &Path, read: &ReadTransaction, key: &PublicKey) -> Result<Option<Record>, DatabaseError> {
    let table = read.open_table(OWN).map_err(|error| explain(path, error.into()))?;
    let key = key.compressed();
    let stored = table.get(&key).map_err(|error| explain(path, error.into()))?;
    stored.map(|bytes| decode(path, &key, bytes.value())).transpose()
}

fn peers(path: &Path, read: &ReadTransaction) -> Result<Peers, DatabaseError> {
    let failed = |error: redb::Error| explain(path, error);
    let mut out = Peers::new();
    let records = read.open_table(PEERS).map_err(|error| failed(error.into()))?;
    for entry in records.iter().map_err(|error| failed(error.into()))? {
        let (key, bytes) = entry.map_err(|error| failed(error.into()))?;
        out.entry(*key.value()).or_default().record = Some(decode(path, key.value(), bytes.value())?);
    }
    let reached = read.open_table(ENDPOINTS).map_err(|error| failed(error.into()))?;
    for entry in reached.iter().map_err(|error| failed(error.into()))? {
        let (key, bytes) = entry.map_err(|error| failed(error.into()))?;
        out.entry(*key.value()).or_default().endpoints = endpoints(path, key.value(), bytes.value())?;
    }
    Ok(out)
}

fn decode(path: &Path, key: &[u8; 33], bytes: &[u8]) -> Result<Record, DatabaseError> {
    let corrupted = |why: String| DatabaseError::Corrupted {
        path: path.to_owned(),
        why: format!("the record of {}: {why}", hex::encode(key)),
    };
    let record = Record::decode(bytes, &RustCrypto).map_err(|error| corrupted(error.to_string()))?;
    if record.public_key().compressed() != *key {
        return Err(corrupted("it is another node's".to_owned()));
    }
    Ok(record)
}

fn endpoints(path: &Path, key: &[u8; 33], bytes: &[u8]) -> Result<Endpoints, DatabaseError> {
    serde_json::from_slice(bytes).map_err(|error| DatabaseError::Corrupted {
        path: path.to_owned(),
        why: format!("the endpoints of {}: {error}", hex::encode(key)),
    })
}

fn explain(path: &Path, error: redb::Error) -> DatabaseError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => DatabaseError::InUse(path),
        redb::Error::Io(source) if source.kind() == io::ErrorKind::NotFound => DatabaseError::Missing(path),
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            DatabaseError::Corrupted { path, why: source.to_string() }
        }
        redb::Error::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            DatabaseError::Corrupted { path, why: "it is cut short".to_owned() }
        }
        redb::Error::Io(source) => DatabaseError::Io { path, source },
        other => DatabaseError::Corrupted { path, why: other.to_string() },
    }
}
