//! A dealt cluster on the disk, laid out as Charon does it: a directory for each node with its key, the lock, the
//! deposits, and a keystore with its password for each validator. Nothing is ever overwritten.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Cluster, CreateError, ETH, Node, Random, TESTING_ONLY};
use crate::{
    bls,
    cluster_file::{Deposit, Network, roots},
    data_dir::DataDir,
    files::create_new,
    key_file, keystore,
};

/// The file beside all others that says what they are for, since a key file has no room for it.
pub const NOTICE_FILE: &str = "FOR_TESTING_ONLY.txt";

/// Files for everybody, and files for their owner.
const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

/// How hard it is to try passwords on the keystores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keystores {
    /// As EIP-2335 shows it: a fraction of a second for each keystore.
    Standard,
    /// Not at all, for many keys in little time. The files are called `keystore-insecure-*`, as Charon calls such.
    Insecure,
}

impl Keystores {
    fn rounds(self) -> u32 {
        match self {
            Self::Standard => keystore::ROUNDS,
            Self::Insecure => keystore::INSECURE_ROUNDS,
        }
    }

    fn stem(self) -> &'static str {
        match self {
            Self::Standard => "keystore",
            Self::Insecure => "keystore-insecure",
        }
    }
}

/// Writes the cluster to `directory`, which must be empty or not be there: the definition, and `node0`, `node1` and
/// so on with all that each operator has after a ceremony.
///
/// # Errors
/// [`CreateError::Exists`] where there is anything. After another error some files may be there.
pub fn write_cluster(
    directory: &Path,
    cluster: &Cluster,
    nodes: &[Node],
    keystores: Keystores,
    random: &mut Random<'_>,
) -> Result<(), CreateError> {
    fs::create_dir_all(directory).map_err(failed(directory))?;
    if fs::read_dir(directory).map_err(failed(directory))?.next().is_some() {
        return Err(CreateError::Exists(directory.to_owned()));
    }
    write_notice(directory, keystores)?;
    write(&directory.join("cluster-definition.json"), cluster.definition_json().as_bytes(), PUBLIC)?;
    for (index, node) in nodes.iter().enumerate() {
        let data_dir = DataDir::new(directory.join(format!("node{index}")));
        make_directory(data_dir.path())?;
        let path = data_dir.key_file();
        key_file::store(&path, &node.secret).map_err(|error| match error {
            key_file::KeyFileError::Exists(path) => CreateError::Exists(path),
            key_file::KeyFileError::Io { path, source } => CreateError::Io { path, source },
            other => CreateError::Io { path: path.clone(), source: io::Error::other(other) },
        })?;
        write_node(&data_dir, cluster, index, keystores, random)?;
    }
    Ok(())
}

/// Writes what the operator at `index` has after a ceremony, but for the node's key, into a directory that is there.
///
/// # Errors
/// [`CreateError::Exists`] for the first file that is there already.
pub fn write_node(
    data_dir: &DataDir,
    cluster: &Cluster,
    index: usize,
    keystores: Keystores,
    random: &mut Random<'_>,
) -> Result<(), CreateError> {
    write_notice(data_dir.path(), keystores)?;
    write(&data_dir.cluster_lock(), cluster.lock_json().as_bytes(), PUBLIC)?;
    let network = Network::from_fork_version(cluster.lock.definition.fork_version);
    for deposits in &cluster.deposits {
        let path =
            data_dir.path().join(deposit_file_name(deposits.first().map_or(0, |deposit| deposit.amount)));
        write(
            &path,
            deposit_json(deposits, network, cluster.lock.definition.fork_version).as_bytes(),
            PUBLIC,
        )?;
    }
    let directory = data_dir.path().join("validator_keys");
    make_directory(&directory)?;
    let shares = cluster.shares.get(index).map_or(&[][..], Vec::as_slice);
    let mut jobs = Vec::with_capacity(shares.len());
    for share in shares {
        jobs.push((share, Draws::new(random)?));
    }
    let description = format!("{TESTING_ONLY}: a key share dealt by one process");
    let texts = bls::map_all(&jobs, 2, |(share, draws)| {
        keystore::seal(share, &draws.password, &description, keystores.rounds(), &draws.fresh)
    });
    for (at, (text, (_, draws))) in texts.iter().zip(&jobs).enumerate() {
        let stem = format!("{}-{at}", keystores.stem());
        write(&directory.join(format!("{stem}.json")), text.as_bytes(), SECRET)?;
        write(&directory.join(format!("{stem}.txt")), draws.password.as_bytes(), SECRET)?;
    }
    Ok(())
}

/// What is random in a keystore.
struct Draws {
    password: String,
    fresh: keystore::Fresh,
}

impl Draws {
    fn new(random: &mut Random<'_>) -> Result<Self, CreateError> {
        let mut password = [0; 16];
        let mut fresh = keystore::Fresh { salt: [0; 32], iv: [0; 16], uuid: [0; 16] };
        for bytes in [&mut password[..], &mut fresh.salt, &mut fresh.iv, &mut fresh.uuid] {
            random(bytes)?;
        }
        // All of the file is the password, so that the words can only stand inside it.
        Ok(Self { password: format!("{}-{}", TESTING_ONLY.replace(' ', "-"), hex::encode(password)), fresh })
    }
}

/// Charon's names: without the amount where it is 32 ETH.
fn deposit_file_name(amount: u64) -> String {
    if amount == 32 * ETH {
        return "deposit-data.json".to_owned();
    }
    let (whole, rest) = (amount / ETH, amount % ETH);
    let fraction = format!(".{rest:09}");
    format!("deposit-data-{whole}{}eth.json", fraction.trim_end_matches('0').trim_end_matches('.'))
}

/// The form that the staking deposit tools write, sorted by key.
fn deposit_json(deposits: &[Deposit], network: Option<Network>, fork_version: [u8; 4]) -> String {
    let mut sorted: Vec<&Deposit> = deposits.iter().collect();
    sorted.sort_by(|a, b| a.public_key.cmp(&b.public_key));
    let value = |deposit: &&Deposit| {
        json!({
            "pubkey": hex::encode(&deposit.public_key),
            "withdrawal_credentials": hex::encode(&deposit.withdrawal_credentials),
            "amount": deposit.amount,
            "signature": hex::encode(&deposit.signature),
            "deposit_message_root": hex::encode(roots::deposit_message(deposit)),
            "deposit_data_root": hex::encode(roots::deposit_data(deposit)),
            "fork_version": hex::encode(fork_version),
            "network_name": network.map_or("unknown", |network| network.name),
            "deposit_cli_version": "2.7.0",
            "comment": TESTING_ONLY,
        })
    };
    let list: Vec<_> = sorted.iter().map(value).collect();
    format!("{:#}\n", serde_json::Value::Array(list))
}

fn write_notice(directory: &Path, keystores: Keystores) -> Result<(), CreateError> {
    let mut text = "FOR TESTING ONLY\n\n\
        A program made everything in this directory for a test or a demonstration: node keys, the cluster, and the\n\
        validators' keys, which one process dealt and so had whole. Whoever ran it can have copied all of them.\n\
        Never use any of it where stake is worth something.\n\n\
        The cluster's name, the keystores' descriptions, their passwords and the deposits say so too;\n\
        charon-enr-private-key has room for the key only.\n"
        .to_owned();
    if keystores == Keystores::Insecure {
        text.push_str("\nThe keystores are insecure on purpose: their passwords hardly slow anybody down.\n");
    }
    write(&directory.join(NOTICE_FILE), text.as_bytes(), PUBLIC)
}

fn make_directory(path: &Path) -> Result<(), CreateError> {
    fs::create_dir(path).map_err(failed(path))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CreateError> {
    create_new(path, mode).and_then(|mut file| io::Write::write_all(&mut file, bytes)).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CreateError {
    let path: PathBuf = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::AlreadyExists => CreateError::Exists(path.clone()),
        _ => CreateError::Io { path: path.clone(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deposit_files_have_charons_names() {
        for (amount, name) in [
            (32 * ETH, "deposit-data.json"),
            (ETH, "deposit-data-1eth.json"),
            (256 * ETH, "deposit-data-256eth.json"),
            (ETH + ETH / 2, "deposit-data-1.5eth.json"),
            (ETH + 1, "deposit-data-1.000000001eth.json"),
        ] {
            assert_eq!(deposit_file_name(amount), name);
        }
    }
}
