//! The host side of Coracle: what a node needs beyond the protocol itself, on an ordinary machine.
//!
//! - [`cluster_file`] reads, verifies and writes Charon's cluster definitions and locks;
//! - [`key_file`] holds the node's key, and never overwrites it;
//! - [`data_dir`] knows the names in a Charon data directory, and when a Charon is using it;
//! - [`database`] remembers records and endpoints through any crash;
//! - [`host`] makes a node's configuration and store of all that;
//! - [`files`] reads what may be any file at all;
//! - `bls` (feature `bls`) has validators' keys and signatures, and keys shared among operators;
//! - `keystore` and `create` (feature `create`) make whole clusters for tests.
//!
//! # An operator's node, from its directory
//!
#![cfg_attr(feature = "program", doc = "```no_run")]
#![cfg_attr(not(feature = "program"), doc = "```ignore")]
//! use coracle::{data_dir::DataDir, database::Database, files, host, key_file};
//! use coracle_tokio::{Listen, Sockets};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = DataDir::new(".charon");
//! dir.check_key_lock(std::time::SystemTime::now())?; // a Charon that runs has the key already
//! let secret = key_file::load(&dir.key_file())?;
//!
//! let path = dir.cluster_file().ok_or("neither a lock nor a definition")?;
//! let file = files::read_cluster_file(&path)?;
//! if let Some(check) = file.verify().failed().next() {
//!     return Err(format!("{}: {check:?}", path.display()).into());
//! }
//!
//! let database = std::sync::Arc::new(Database::open(&dir.database())?);
//! let config = host::configure(secret, &file, &database)?;
//! let listen = Listen { tcp: vec!["0.0.0.0:3610".parse()?], udp: vec!["0.0.0.0:3630".parse()?] };
//! let store = host::DatabaseStore(database);
//! let node = coracle_tokio::start(Sockets::bind(&listen)?, config, store)?;
//! tokio::signal::ctrl_c().await?; // meanwhile: `node.notices()`, `node.open(…)`, `node.snapshot()`
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `program` | yes | the program `coracle`, both adapters, and all below |
//! | `create` | with `program` | clusters for tests: `create`, `keystore` |
//! | `bls` | with `create` | the BLS parts of cluster files are checked; brings in C and assembly |
//!
//! A library user writes `default-features = false`, and adds `bls` if needed: without it those parts are
//! reported as not checked, and neither C nor assembly is compiled.
//!
//! # Foreign types in the interface
//!
//! Those of `coracle-core`; `getrandom::Error` in errors; `zeroize::Zeroizing` around secret bytes; and serde's
//! traits on what is written as JSON. No type of redb, serde_json or blst.

#[cfg(feature = "bls")]
pub mod bls;
pub mod cluster_file;
#[cfg(feature = "create")]
pub mod create;
pub mod data_dir;
pub mod database;
pub mod files;
pub mod host;
pub mod key_file;
#[cfg(feature = "create")]
pub mod keystore;
