//! The node's key on disk, in the form that Charon uses: 64 hexadecimal digits and nothing else.
//!
//! Invariant: an existing file is never written to, whatever it holds. A node whose key is lost or replaced is a
//! stranger to its own cluster.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use coracle_core::crypto::SecretKey;
use zeroize::Zeroizing;

use crate::files::create_new;

/// The most bytes read: the digits, and room for white space around them.
const MAX_BYTES: u64 = 1024;

/// The digits of a key.
const DIGITS: usize = 64;

/// Why a key file could not be made or read. No variant holds anything of the file's content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is a file already; it is as it was.
    #[error("{} exists already; it was left as it is", .0.display())]
    Exists(PathBuf),
    /// There is none.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It is not a key.
    #[error("{} does not hold a key: {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: ContentProblem,
    },
    /// The operating system has no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(getrandom::Error),
    /// The file or its directory cannot be used.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What is wrong with a key file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentProblem {
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
    /// Another number of characters.
    #[error("expected {DIGITS} hexadecimal digits, found {0} characters")]
    Length(usize),
    /// More than any key file has.
    #[error("expected {DIGITS} hexadecimal digits, found more than {MAX_BYTES} bytes")]
    TooLong,
    /// `0x` before the digits.
    #[error("it begins with 0x, and a key file has the {DIGITS} digits only")]
    Prefix,
    /// A character that is no digit.
    #[error("the character at position {0} (counted from 1) is not a hexadecimal digit")]
    Digit(usize),
    /// Zero, or not below the order of the curve.
    #[error("the number in it is not a secp256k1 key")]
    Range,
}

impl KeyFileError {
    /// What can be done about it, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Exists(_) => {
                "`coracle enr` shows its ENR; to make another node, name another directory with --data-dir"
            }
            Self::Missing(_) => {
                "`coracle create enr` makes one, or name the directory that holds it with --data-dir"
            }
            Self::Content { .. } => {
                "put the file back from a backup; Coracle never overwrites it, so move it away yourself if it is worthless"
            }
            Self::Random(_) => "check that /dev/urandom can be read",
            Self::Io { .. } => "check that the directory exists and that this user may read and write it",
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Makes a new key from the operating system's random bytes and stores it at `path`, readable by its owner only.
/// Its directory is made if need be. On return both are on the disk, not only in its cache.
///
/// # Errors
/// [`KeyFileError::Exists`] if there is anything at `path`, key or not.
pub fn create(path: &Path) -> Result<SecretKey, KeyFileError> {
    let secret = random_key()?;
    store(path, &secret)?;
    Ok(secret)
}

/// Stores a key that was made elsewhere at `path`, as [`create`] does.
///
/// # Errors
/// [`KeyFileError::Exists`] if there is anything at `path`, key or not.
pub fn store(path: &Path, secret: &SecretKey) -> Result<(), KeyFileError> {
    let directory = directory_of(path);
    create_directory(directory).map_err(KeyFileError::io(directory))?;
    let mut file = match create_new(path, 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(KeyFileError::Exists(path.to_owned()));
        }
        other => other.map_err(KeyFileError::io(path))?,
    };
    let digits = Zeroizing::new(hex::encode(secret.expose()));
    let written = file.write_all(digits.as_bytes()).and_then(|()| file.sync_all());
    if let Err(source) = written {
        // This very call made the file, so nobody's key is in it.
        let _ = std::fs::remove_file(path);
        return Err(KeyFileError::Io { path: path.to_owned(), source });
    }
    sync_directory(directory).map_err(KeyFileError::io(directory))
}

/// Reads the key at `path`. White space around the digits is accepted.
///
/// # Errors
/// Names the file and what is wrong with it, never what is in it.
pub fn load(path: &Path) -> Result<SecretKey, KeyFileError> {
    let content = |problem| KeyFileError::Content { path: path.to_owned(), problem };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyFileError::Missing(path.to_owned()));
        }
        other => other.map_err(KeyFileError::io(path))?,
    };
    // All its room at once: growing would leave copies of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(KeyFileError::io(path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(content(ContentProblem::TooLong));
    }
    parse(bytes.trim_ascii()).map_err(content)
}

fn parse(digits: &[u8]) -> Result<SecretKey, ContentProblem> {
    if digits.is_empty() {
        return Err(ContentProblem::Empty);
    }
    if digits.starts_with(b"0x") || digits.starts_with(b"0X") {
        return Err(ContentProblem::Prefix);
    }
    if digits.len() != DIGITS {
        return Err(ContentProblem::Length(digits.len()));
    }
    if let Some(position) = digits.iter().position(|byte| !byte.is_ascii_hexdigit()) {
        return Err(ContentProblem::Digit(position + 1));
    }
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, &mut *bytes).map_err(|_| ContentProblem::Length(digits.len()))?;
    SecretKey::from_bytes(&bytes).map_err(|_| ContentProblem::Range)
}

/// A new key from the operating system's random bytes, kept nowhere.
///
/// # Errors
/// The operating system has none.
pub fn random_key() -> Result<SecretKey, KeyFileError> {
    let mut bytes = Zeroizing::new([0; 32]);
    loop {
        getrandom::fill(&mut *bytes).map_err(KeyFileError::Random)?;
        // Out of range once in 2^128 draws.
        if let Ok(secret) = SecretKey::from_bytes(&bytes) {
            return Ok(secret);
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(unix)]
fn create_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

#[cfg(not(unix))]
fn create_directory(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Makes the name of a new file in `directory` last through a loss of power.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(content: &[u8]) -> Result<SecretKey, KeyFileError> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("key");
        std::fs::write(&path, content).expect("written");
        load(&path)
    }

    fn problem(content: &[u8]) -> ContentProblem {
        match loaded(content).expect_err("refused") {
            KeyFileError::Content { problem, .. } => problem,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_was_created_loads() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("new/deeper/key");
        let secret = create(&path).expect("created");
        assert_eq!(load(&path).expect("loaded").expose(), secret.expose());
        let content = std::fs::read_to_string(&path).expect("read");
        assert_eq!(content, hex::encode(secret.expose()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o600);
            assert_eq!(mode(&directory.path().join("new")) & 0o700, 0o700);
        }
    }

    #[test]
    fn two_keys_differ() {
        assert_ne!(random_key().expect("random").expose(), random_key().expect("random").expose());
    }

    #[test]
    fn nothing_is_overwritten() {
        let directory = tempfile::tempdir().expect("temporary directory");
        for content in ["", "not a key", &"11".repeat(32)] {
            let path = directory.path().join("key");
            std::fs::write(&path, content).expect("written");
            assert!(matches!(create(&path), Err(KeyFileError::Exists(_))));
            assert_eq!(std::fs::read_to_string(&path).expect("read"), content);
        }
        assert!(matches!(create(directory.path()), Err(KeyFileError::Exists(_))));
    }

    #[test]
    fn white_space_around_is_accepted() {
        let digits = "0A".repeat(32);
        let secret = loaded(format!(" \t{digits}\r\n\n").as_bytes()).expect("a key");
        assert_eq!(secret.expose(), &[10; 32]);
    }

    #[test]
    fn what_is_no_key_is_said_without_showing_it() {
        assert_eq!(problem(b" \n"), ContentProblem::Empty);
        assert_eq!(problem(&[b'1'; 63]), ContentProblem::Length(63));
        assert_eq!(problem(&[b'1'; 5000]), ContentProblem::TooLong);
        assert_eq!(problem(format!("0x{}", "11".repeat(32)).as_bytes()), ContentProblem::Prefix);
        assert_eq!(problem(format!("{}g1", "11".repeat(31)).as_bytes()), ContentProblem::Digit(63));
        assert_eq!(problem("00".repeat(32).as_bytes()), ContentProblem::Range);
        assert_eq!(problem("ff".repeat(32).as_bytes()), ContentProblem::Range);
        assert_eq!(problem(&[0xff; 64]), ContentProblem::Digit(1));
        let error = loaded(&[b'z'; 64]).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("zz"));
    }

    #[test]
    fn a_missing_file_and_a_directory() {
        let directory = tempfile::tempdir().expect("temporary directory");
        assert!(matches!(load(&directory.path().join("none")), Err(KeyFileError::Missing(_))));
        assert!(matches!(load(directory.path()), Err(KeyFileError::Io { .. })));
    }
}
