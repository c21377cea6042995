//! Why a configuration was refused. The operator is always at fault, or the disk that holds the file; nothing was changed.

use std::io;
use std::path::PathBuf;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What the file is.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something at one place of the file.
    #[error("{}:{line}:{column}: {message}", path.display())]
    At {
        /// Which file.
        path: PathBuf,
        /// Line from 1.
        line: usize,
        /// Column from 1, in characters.
        column: usize,
        /// What was expected and what was found.
        message: String,
    },
    /// Something in a flag or in the environment.
    #[error("{flag} (or {variable}): {message}")]
    Override {
        /// The flag, as typed.
        flag: &'static str,
        /// The environment variable of the same meaning.
        variable: &'static str,
        /// What was expected and what was found.
        message: String,
    },
    /// The file of the cluster's secret holds no usable secret.
    #[error("the cluster secret {} has {bytes} bytes; expected {min} to {max}", path.display(), min = super::SECRET_BYTES_MIN, max = super::SECRET_BYTES_MAX)]
    Secret {
        /// Which file.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
    },
}
