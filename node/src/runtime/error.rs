//! Why a node did not start, or what ended it.

use std::net::SocketAddr;

use quorate_client::transport::CredentialsError;
use quorate_ring::PartitionCount;

use super::data_directory::DataError;
use crate::replica::SET_BACK;

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
    /// A node of the cluster that it is to join says that it cannot.
    #[error("cannot join the cluster by way of {address}: {reason}")]
    Join {
        /// Who was asked.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The cluster has another number of partitions than is configured.
    #[error(
        "the cluster has {found} partitions, the configuration says {wanted}; their number is fixed when a cluster is created"
    )]
    Partitions {
        /// What it has.
        found: PartitionCount,
        /// What is configured.
        wanted: PartitionCount,
    },
    /// The cluster keeps another number of replicas than is configured.
    #[error(
        "the cluster keeps {found} replicas of each key, the configuration says {wanted}; their number is fixed when a cluster is \
         created"
    )]
    Replicas {
        /// What it has.
        found: u8,
        /// What is configured.
        wanted: u8,
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
    /// The store is an old copy of itself, and nothing beside it had shown that.
    #[error("the store was set back and the node has stopped: {reason}")]
    SetBack {
        /// How that was found.
        reason: String,
    },
    /// A part of the store cannot be read, and compaction has to.
    #[error(
        "a part of the store is damaged and the node has stopped: {reason}; where other nodes hold replicas (n is 2 or more), move its \
         data directory away and start it on an empty one: they bring it what they have; keep the old one until they have"
    )]
    StorageDamaged {
        /// What the store said.
        reason: String,
    },
    /// A shard ended by a bug.
    #[error("a shard panicked; this is a bug, and the log says where")]
    Panicked,
}

impl RunError {
    /// Why the store stopped: RocksDB begins what it says of a block that cannot be what was written with this word.
    pub(super) fn of_storage(reason: String) -> Self {
        match reason.as_str() {
            SET_BACK => Self::SetBack { reason },
            said if said.starts_with("Corruption") => Self::StorageDamaged { reason },
            _ => Self::StorageFailed { reason },
        }
    }
}
