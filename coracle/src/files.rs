//! Reads whole files of a bounded size, with errors that name the file and say what to do.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::cluster_file::{ClusterFile, FileError, limits::MAX_FILE_BYTES};

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is none.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It is a directory.
    #[error("{} is a directory, not a file", .0.display())]
    Directory(PathBuf),
    /// It has more bytes than anything of its kind.
    #[error("{} has more than {limit} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that are read.
        limit: usize,
    },
    /// The operating system would not let it be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It was read, and is no cluster file.
    #[error("{}: {error}", .path.display())]
    Cluster {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: FileError,
    },
}

impl ReadError {
    /// What can be done about it, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Missing(_) => "check the path",
            Self::Directory(_) => "name the file in it, such as cluster-lock.json",
            Self::TooLarge { .. } => "this is larger than any file of its kind; check the path",
            Self::Io { .. } => "check that this user may read the file and its directory",
            Self::Cluster { error, .. } => error.help(),
        }
    }
}

/// The bytes of the file at `path`, of which there may be `limit`.
///
/// # Errors
/// See [`ReadError`]. The size is bounded as it is read, so that a device or a pipe cannot fill the memory.
pub fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ReadError::Missing(path.to_owned()),
        io::ErrorKind::IsADirectory => ReadError::Directory(path.to_owned()),
        _ => ReadError::Io { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(ReadError::Directory(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Reads and parses the cluster definition or lock at `path`. It is not verified.
///
/// # Errors
/// The file cannot be read, or is no cluster file.
pub fn read_cluster_file(path: &Path) -> Result<ClusterFile, ReadError> {
    let bytes = read_bounded(path, MAX_FILE_BYTES)?;
    ClusterFile::parse(&bytes).map_err(|error| ReadError::Cluster { path: path.to_owned(), error })
}

/// Makes a new file, with this mode where there are modes. A file that is there is an error, and left as it is.
pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_every_sort() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("file");
        std::fs::write(&path, b"12345").expect("written");
        assert_eq!(read_bounded(&path, 5).expect("read"), b"12345");
        assert!(matches!(read_bounded(&path, 4), Err(ReadError::TooLarge { limit: 4, .. })));
        assert!(matches!(read_bounded(directory.path(), 5), Err(ReadError::Directory(_))));
        assert!(matches!(read_bounded(&directory.path().join("none"), 5), Err(ReadError::Missing(_))));
        let error = read_cluster_file(&path).expect_err("no cluster file");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_endless_file_is_cut_off() {
        assert!(matches!(read_bounded(Path::new("/dev/zero"), 10_000), Err(ReadError::TooLarge { .. })));
    }
}
