//! Why a store could not be opened, in terms an operator can act on.

use std::io;
use std::path::{Path, PathBuf};

use rocksdb::ErrorKind;

/// Why a store could not be opened. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is not there and cannot be made.
    #[error("the data directory {path} cannot be created: {source}")]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The directory is there but this process may not write to it.
    #[error("the data directory {path} is not writable: {source}")]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A store in this directory is open already.
    #[error("the data directory {path} is in use by another process")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// There is no room for the files that opening makes.
    #[error("the disk of the data directory {path} is full: {reason}")]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// Files are missing or do not hold what was written to them.
    #[error("the store in {path} is damaged: {reason}")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// Something else.
    #[error("the store in {path} cannot be opened: {reason}")]
    Engine {
        /// The directory.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// The operating system gives no threads.
    #[error("the store's threads cannot be started: {source}")]
    Threads {
        /// What the operating system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Sorts what RocksDB said. It tells apart only the kind; the rest is in its words.
    pub(super) fn of_engine(path: &Path, error: &rocksdb::Error) -> Self {
        let path = path.to_owned();
        let reason = error.to_string();
        if reason.contains("lock file") || reason.contains("lock hold by current process") {
            Self::InUse { path }
        } else if reason.contains("No space left on device") {
            Self::DiskFull { path, reason }
        } else if error.kind() == ErrorKind::Corruption {
            Self::Damaged { path, reason }
        } else {
            Self::Engine { path, reason }
        }
    }
}
