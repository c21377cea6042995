//! Why a node did not start, or what ended it.

use std::net::SocketAddr;

use quorate_client::transport::CredentialsError;

use super::data_directory::DataError;

/// Why a node did not start, or what ended it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its certificates cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The configured members make no ring.
    #[error("the members in the configuration make no ring: {reason}")]
    Ring {
        /// Why not.
        reason: String,
    },
    /// It cannot listen.
    #[error("cannot listen on UDP {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the operating system said; for a port in use, that.
        source: std::io::Error,
    },
    /// It cannot listen for those who ask for metrics.
    #[error("cannot listen on TCP {address} for metrics: {source}")]
    BindMetrics {
        /// Where.
        address: SocketAddr,
        /// What the operating system said; for a port in use, that.
        source: std::io::Error,
    },
    /// Its data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The operating system gives no threads or signals.
    #[error("the operating system refuses a thread, timer or signal: {source}")]
    Thread {
        /// What it said.
        source: std::io::Error,
    },
    /// The store failed while it served; it has stopped rather than guess.
    #[error("the store failed and the node has stopped: {reason}; see to the disk, then start the node again")]
    StorageFailed {
        /// What the store said.
        reason: String,
    },
    /// A shard ended by a bug.
    #[error("a shard panicked; this is a bug, and the log says where")]
    Panicked,
}
