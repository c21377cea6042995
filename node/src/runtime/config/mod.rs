//! What a node is told before it starts: the *cluster* settings, which must be the same on every node, and the *node*
//! settings, which may differ. Read from a TOML file, overridden field by field ([`NodeOverrides`]), and wholly checked here,
//! so that nothing behind this border has to check again.
//!
//! Every complaint about a file names the file, the line and the column, what was expected and what was found. Nothing here
//! opens a socket or touches the data directory.

mod check;
mod error;
mod file;
mod source;

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_ring::wire::Durability;
use quorate_ring::{Capacity, ClusterName, NodeId, PartitionCount, Quorum, ZoneName};

pub use error::ConfigError;
pub use source::Source;

/// N unless the file says otherwise. Three replicas lose nothing with any one node lost, and still read and write then.
pub const REPLICAS_DEFAULT: u8 = 3;
/// The data directory unless told otherwise, beside the file.
pub const DATA_DEFAULT: &str = "data";
/// The certificate authority's file unless told otherwise, beside the file: the name that `quorate cert init` gives it.
pub const CA_DEFAULT: &str = "ca.pem";
/// The file of the cluster's secret unless told otherwise, beside the file: the name that `quorate cert init` gives it.
pub const SECRET_DEFAULT: &str = "cluster.secret";
/// What the secret is called where it cannot be read.
pub const SECRET_WHAT: &str = "the cluster secret";
/// Most shards that are started without being asked for. A core each up to here: four serve more than one disk or network
/// card usually takes, and leave the machine's other cores to compaction and to whatever else runs there.
pub const SHARDS_DEFAULT_MAX: u16 = 4;
/// Most shards of a node.
pub const SHARDS_MAX: u16 = 64;
/// Block cache in MiB unless told otherwise: room for the blocks of a million small keys. It fills only as blocks are read and objects are written out.
pub const CACHE_MIB_DEFAULT: u64 = 256;
/// Largest block cache in MiB (a TiB).
pub const CACHE_MIB_MAX: u64 = 1024 * 1024;
/// Time between background syncs unless told otherwise: what a machine that loses power may lose of buffered writes.
pub const SYNC_INTERVAL_MILLIS_DEFAULT: u64 = 100;
/// Longest time between background syncs (a minute).
pub const SYNC_INTERVAL_MILLIS_MAX: u64 = 60_000;
/// Shortest time between two comparisons of clocks.
pub const EXCHANGE_INTERVAL_MILLIS_MIN: u64 = 100;
/// Longest time between two comparisons of clocks (an hour).
pub const EXCHANGE_INTERVAL_MILLIS_MAX: u64 = 3_600_000;
/// Longest rest of the scrub between two pages (a minute).
pub const SCRUB_PAUSE_MILLIS_MAX: u64 = 60_000;
/// Longest round of the scrub (30 days).
pub const SCRUB_ROUND_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;
/// Fewest bytes of a cluster's secret.
pub const SECRET_BYTES_MIN: usize = 32;
/// Most bytes of a cluster's secret.
pub const SECRET_BYTES_MAX: usize = 4096;

/// Everything a node must know to start, checked.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// What all nodes of the cluster agree on.
    pub cluster: ClusterConfig,
    /// Which of the cluster's members this node is.
    pub node: NodeId,
    /// Directory of everything this node stores; made if it does not exist. One node's own, never shared or copied: a copy
    /// that runs beside its original would give two writes the same identity.
    pub data: PathBuf,
    /// UDP address that the node binds; named by one that joins. Default: the member's address; all interfaces if that is a name and not a number,
    /// since what a name resolves to need not be an address of this machine.
    pub listen: SocketAddr,
    /// PEM file with the certificates of the authority that signed all nodes' and clients' certificates.
    pub ca: PathBuf,
    /// PEM file with this node's certificate, for the name `n<id>.<cluster>.quorate`.
    pub certificate: PathBuf,
    /// PEM file with the private key of the certificate.
    pub key: PathBuf,
    /// Threads that run the protocol, each for its own slice of the partitions; 1 to 64. Rule of thumb: one for each core the
    /// node may use, less one for RocksDB's compaction from four on. Default: the number of cores, at most 4.
    pub shards: NonZeroU16,
    /// Memory for blocks of the store, in bytes, for all shards together; it is taken as blocks are read and objects are written out. Rule of
    /// thumb: as much as the data that is read often, up to a quarter of the machine. What is not in it comes from a reading thread, which costs
    /// twice the CPU even where the operating system has it in memory. A quarter as much is taken beside it for single objects that are read again
    /// and again. Default 256 MiB.
    pub cache_bytes: NonZeroUsize,
    /// Longest time that a `buffered` write waits for its fsync: what a power cut may take back on this node. Shorter costs
    /// more fsyncs; `synced` writes do not wait for it. Default 100 ms.
    pub sync_interval: Duration,
    /// How often the node compares clocks with each of its peers, give or take a quarter: what one has missed it gets after about this
    /// long, and `quorate wait --converged` returns no sooner. In sync it costs a small message. 100 ms to an hour, default 2 s.
    pub exchange_interval: Duration,
    /// How long each shard's scrub rests between two pages of [`SCRUB_PAGE_BYTES`](crate::limits::SCRUB_PAGE_BYTES), which it reads here and
    /// compares with the other replicas; on top of that it yields to clients' requests. Shorter finds faults of a disk sooner and costs
    /// more reading everywhere. 1 ms to a minute, default 1 s: a quarter of a MiB per second and shard.
    pub scrub_pause: Duration,
    /// How long after the beginning of one scrub of all that is stored the next begins, at the soonest, give or take a quarter. 1 s to 30
    /// days, default 6 hours.
    pub scrub_round: Duration,
    /// TCP address at which the node tells its status to a monitoring system, as OpenMetrics text at `/metrics`. Anybody who can reach it
    /// can read it. Default: nowhere.
    pub metrics: Option<SocketAddr>,
}

/// What must be the same on every node of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The cluster's name. Nodes and clients of one name refuse those of another, and certificates are made for it.
    pub name: ClusterName,
    /// N, and the R and W of requests that do not ask for their own. Default: N = 3 with majorities, so that reads see every
    /// acknowledged write and one node may be lost.
    pub quorum: Quorum,
    /// Where a write must be before it is acknowledged, unless the request asks otherwise. `buffered` (default) survives the
    /// process, and the machine after `sync_interval`; `synced` waits for the disk. With N = 3 on machines that do not fail
    /// at the same moment `buffered` is usually right.
    pub durability: Durability,
    /// Q, into how many parts the ring is cut. Fixed for the cluster's life. Default 1024; at least ten for each node there
    /// may ever be.
    pub partitions: PartitionCount,
    /// The nodes that the cluster begins with, by rising id. At least N; none in the configuration of a node that joins a cluster that is
    /// there. A node that has stored who the members are goes by that.
    pub members: Vec<MemberConfig>,
    /// Where a node that joins finds the cluster, as `host:port` (UDP): a member or more of it. Asked at the first start only. Empty where
    /// `members` are named.
    pub join: Vec<String>,
    /// Authenticates the contexts given to clients.
    pub secret: ClusterSecret,
}

impl ClusterConfig {
    /// The member with this id.
    pub fn member(&self, node: NodeId) -> Option<&MemberConfig> {
        self.members.iter().find(|member| member.node == node)
    }
}

/// A node as its peers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberConfig {
    /// Which node. Never given to another machine's data again.
    pub node: NodeId,
    /// Where peers and clients reach it, as `host:port` (UDP).
    pub address: String,
    /// Nodes of one zone fail together; replicas are spread over zones. Default: a zone of its own.
    pub zone: Option<ZoneName>,
    /// Its share of the data, beside the others' capacities. Default 100.
    pub capacity: Capacity,
}

/// A secret that all nodes of a cluster share and nobody else knows. Shown as its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret(Vec<u8>);

impl ClusterSecret {
    /// The secret's bytes, at least [`SECRET_BYTES_MIN`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterSecret({} bytes)", self.0.len())
    }
}

/// Node settings given outside the file, by flags or the environment. They take precedence over the file's; paths are
/// relative to the working directory.
#[derive(Clone, Debug, Default)]
pub struct NodeOverrides {
    /// Instead of `node.id`.
    pub id: Option<u32>,
    /// Instead of `node.data`.
    pub data: Option<PathBuf>,
    /// Instead of `node.listen`.
    pub listen: Option<SocketAddr>,
    /// Instead of `node.ca`.
    pub ca: Option<PathBuf>,
    /// Instead of `node.certificate`.
    pub certificate: Option<PathBuf>,
    /// Instead of `node.key`.
    pub key: Option<PathBuf>,
    /// Instead of `cluster.secret`: the secret is the cluster's, but where it lies is each node's own affair.
    pub secret: Option<PathBuf>,
    /// Instead of `node.shards`.
    pub shards: Option<u16>,
    /// Instead of `node.cache_mib`.
    pub cache_mib: Option<u64>,
    /// Instead of `node.sync_interval_millis`.
    pub sync_interval_millis: Option<u64>,
    /// Instead of `node.exchange_interval_millis`.
    pub exchange_interval_millis: Option<u64>,
    /// Instead of `node.scrub_pause_millis`.
    pub scrub_pause_millis: Option<u64>,
    /// Instead of `node.scrub_round_seconds`.
    pub scrub_round_seconds: Option<u64>,
    /// Instead of `node.metrics`.
    pub metrics: Option<SocketAddr>,
}

impl NodeConfig {
    /// Reads and checks a configuration file, and the cluster's secret that it names.
    ///
    /// # Errors
    /// [`ConfigError`], saying where, what was expected and what was found.
    pub fn load(path: &Path, overrides: NodeOverrides) -> Result<Self, ConfigError> {
        let source = Source::read(path)?;
        let file: file::File = source.parse()?;
        check::node_config(&source, file, overrides)
    }
}

/// Checks an address, as `host:port`.
///
/// # Errors
/// What an address is, if it is none.
pub fn check_address(address: &str) -> Result<(), &'static str> {
    check::split_address(address).map(drop)
}

/// How many shards a node has that was not told: one for each core, at most [`SHARDS_DEFAULT_MAX`].
pub fn default_shards() -> NonZeroU16 {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let shards = u16::try_from(cores).unwrap_or(SHARDS_DEFAULT_MAX).min(SHARDS_DEFAULT_MAX);
    NonZeroU16::new(shards).expect("at least one core and a maximum above 0")
}

#[cfg(test)]
mod tests;
