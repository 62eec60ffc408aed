//! From files to a running node: the configuration, and the store that the runtime writes to.

use std::{
    borrow::Borrow,
    time::{SystemTime, UNIX_EPOCH},
};

use coracle_core::{
    cluster::MemberConfig,
    crypto::{Crypto as _, PublicKey, RustCrypto, SecretKey},
    id::PeerId,
    node::{Config, LocalInfo, Store, StoreItem, StoredPeer},
    rng::Seed,
};

use crate::{
    cluster_file::{ClusterFile, FileError},
    database::{Applied, Change, Database, DatabaseError, Endpoints},
};

/// Why a node cannot be configured from these files. The cluster file is the caller's to name: it comes here parsed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The cluster file's operators cannot form a mesh.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The key is none of the operators'.
    #[error("this node's key ({own}) is none of the {operators} operators' keys in the cluster file")]
    NotAnOperator {
        /// Our peer id.
        own: PeerId,
        /// Operators in the file.
        operators: usize,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl HostError {
    /// What can be done about it, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::File(error) => error.help(),
            Self::Database(error) => error.help(),
            Self::NotAnOperator { .. } => {
                "use the data directory of one of the operators, or the cluster file that this key belongs to"
            }
            Self::Random(_) => "a system without random bytes cannot run a node: see its documentation",
        }
    }
}

/// Operators that a cluster can have more, later, than it has when its node starts.
pub const MORE_MEMBERS: usize = 8;

/// A node's configuration from its key, its cluster file and its database. What the operator
/// configures (addresses, hints, bootnodes) is left to the caller.
///
/// # Errors
/// The file's operators cannot form a mesh, the key is not among them, or the database is unreadable.
pub fn configure(secret: SecretKey, file: &ClusterFile, database: &Database) -> Result<Config, HostError> {
    let own_key = RustCrypto.public_key(&secret);
    let members = members(&own_key, file, database)?;
    let own = members.iter().find(|member| member.public_key == own_key);
    let lock_record = own.and_then(|own| own.lock_record.clone());
    let mut config = Config::new(secret, fresh_seed()?, members);
    config.member_room = config.members.len() + MORE_MEMBERS;
    config.lock_record = lock_record;
    config.stored_record = database.own_record(&own_key)?;
    config.wall_clock_ms = wall_clock_ms();
    config.info.lock_hash = lock_hash(file);
    Ok(config)
}

/// What Charon's peerinfo protocol says of a cluster file: its lock hash, or nothing before there is a lock.
fn lock_hash(file: &ClusterFile) -> Vec<u8> {
    file.lock().map(|lock| lock.lock_hash.to_vec()).unwrap_or_default()
}

/// `info` once this is the cluster file.
#[must_use]
pub fn info_with(info: &LocalInfo, file: &ClusterFile) -> LocalInfo {
    LocalInfo { lock_hash: lock_hash(file), ..info.clone() }
}

/// The members of a cluster file, with what the database knows of each.
///
/// # Errors
/// The file's operators cannot form a mesh, `own` is not among them, or the database is unreadable.
pub fn members(
    own: &PublicKey,
    file: &ClusterFile,
    database: &Database,
) -> Result<Vec<MemberConfig>, HostError> {
    let members = file.members()?;
    if !members.iter().any(|member| member.record.public_key() == own) {
        let own = PeerId::from_public_key(own);
        return Err(HostError::NotAnOperator { own, operators: members.len() });
    }
    let mut peers = database.peers()?;
    let configs = members.into_iter().map(|member| {
        let known = peers.remove(&member.record.public_key().compressed()).unwrap_or_default();
        MemberConfig {
            stored_record: known.record,
            last_good: known.endpoints.tcp,
            ..MemberConfig::from_lock(member.record)
        }
    });
    Ok(configs.collect())
}

fn fresh_seed() -> Result<Seed, HostError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(HostError::Random)?;
    Ok(Seed::new(bytes))
}

/// Milliseconds since 1970; 0 by a clock that stands before that.
fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The node database as a runtime's [`Store`], whole or shared.
#[derive(Debug)]
pub struct DatabaseStore<D = Database>(pub D);

/// Why an item is not in the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The database holds an own record with the same or a higher sequence number and other
    /// content: another process has used this key and this database meanwhile.
    #[error("the database holds a newer record of this node than the one to store (seq {seq})")]
    Behind {
        /// The number of the record that was not stored.
        seq: u64,
    },
}

impl<D: Borrow<Database> + Send + 'static> Store for DatabaseStore<D> {
    type Error = StoreError;

    fn store(&mut self, item: &StoreItem) -> Result<(), StoreError> {
        let database: &Database = self.0.borrow();
        match item {
            StoreItem::Own(record) => {
                let applied = database.apply(&[Change::Own(record.clone())])?;
                // What is published must be what is stored (rule E3).
                if applied.contains(&Applied::Kept) {
                    return Err(StoreError::Behind { seq: record.seq() });
                }
            }
            StoreItem::Peer(StoredPeer { public_key, record, last_good }) => {
                let record = record.iter().map(|record| Change::Peer(record.clone()));
                let reached = last_good.map(|tcp| Change::Reached(*public_key, Endpoints { tcp: Some(tcp) }));
                database.apply(&record.chain(reached).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }
}
