//! `quorate node`: runs a storage node until it is told to stop.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use clap::Args;
use quorate_node::runtime::config::{ConfigError, NodeConfig, NodeOverrides, SECRET_DEFAULT, SECRET_WHAT};
use quorate_node::runtime::data_directory::DataError;
use quorate_node::runtime::{Ready, RunError, run};
use quorate_node::start::{Forced, NotOurs};
use quorate_node::storage::rocks::OpenError;
use rustix::process::{Signal, getpid, kill_process};

use super::connect::credentials_failure;
use super::exit::Failure;
use super::logging::LogArguments;
use super::output;

/// A whole configuration with all defaults, for `--help`; a test reads it.
const EXAMPLE: &str = r#"[cluster]                     # the same on every node
name = "demo"
partitions = 1024             # parts of the ring; fixed for the cluster's life
replicas = 3                  # n: how many nodes hold each key
read_quorum = 2               # r of requests that do not ask for their own; default: majority of n
write_quorum = 2              # w, likewise
durability = "buffered"       # acknowledged from memory, on disk soon; "synced": acknowledged from the disk
secret = "cluster.secret"     # file that `quorate cert init` made; paths are relative to this file
# join = ["10.0.0.1:7401"]    # instead of members, for a node that is added later: members of the cluster that it is to join
[[cluster.members]]           # the nodes that the cluster begins with, at least n; `quorate cluster` changes them later
node = 1
address = "127.0.0.1:7401"    # where peers and clients reach it (UDP)
zone = "a"                    # nodes of one zone fail together; default: a zone of its own
capacity = 100                # share of the data beside the other nodes'
[[cluster.members]]
node = 2
address = "127.0.0.1:7402"
[[cluster.members]]
node = 3
address = "127.0.0.1:7403"

[node]                        # this node's own
id = 1
data = "data"                 # directory of everything it stores
listen = "127.0.0.1:7401"     # default: the member's address; needed with join
ca = "ca.pem"
certificate = "n1.pem"        # default: n<id>.pem
key = "n1.key"                # default: n<id>.key
shards = 2                    # threads; default: one for each core, at most 4
cache_mib = 256               # memory for blocks of the store; a quarter as much beside it for objects
sync_interval_millis = 100    # longest wait of a buffered write for its fsync
exchange_interval_millis = 2000 # how often clocks are compared with each peer
scrub_pause_millis = 1000     # rest of the scrub between two pages of a quarter of a MiB, in each shard
scrub_round_seconds = 21600   # how often the scrub goes through all that is stored, at most
metrics = "127.0.0.1:9464"    # TCP, OpenMetrics at /metrics; default: nowhere
"#;

/// The part of `--help` after the options.
pub(crate) fn after_help() -> String {
    let indented: Vec<_> = EXAMPLE.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "Flags win over the environment, the environment over the file. The node prints one line to standard output when it \
         serves, logs to standard error, and stops in order at SIGTERM or Ctrl-C.\n\n\
         A whole configuration; values are the defaults where there is one:\n\n{}\n{}",
        indented.concat(),
        super::exit::EXIT_CODES
    )
}

/// Runs a storage node until SIGTERM or Ctrl-C
#[derive(Debug, Args)]
pub(crate) struct NodeArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "QUORATE_NODE_CONFIG", default_value = "node.toml")]
    config: PathBuf,
    /// Which of the cluster's members this node is [default: node.id of the file]
    #[arg(long, value_name = "NUMBER", env = "QUORATE_NODE_ID")]
    id: Option<u32>,
    /// Directory of everything the node stores [default: node.data of the file, else "data" beside it]
    #[arg(long, value_name = "DIRECTORY", env = "QUORATE_NODE_DATA")]
    data: Option<PathBuf>,
    /// UDP address to bind [default: node.listen of the file, else the member's address]
    #[arg(long, value_name = "IP:PORT", env = "QUORATE_NODE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Certificates of the authority [default: node.ca of the file, else "ca.pem" beside it]
    #[arg(long, value_name = "FILE", env = "QUORATE_NODE_CA")]
    ca: Option<PathBuf>,
    /// This node's certificate (default: node.certificate of the file, else `n<id>.pem` beside it)
    #[arg(long, value_name = "FILE", env = "QUORATE_NODE_CERTIFICATE")]
    certificate: Option<PathBuf>,
    /// The certificate's private key (default: node.key of the file, else `n<id>.key` beside it)
    #[arg(long, value_name = "FILE", env = "QUORATE_NODE_KEY")]
    key: Option<PathBuf>,
    /// The cluster's secret [default: cluster.secret of the file, else "cluster.secret" beside it]
    #[arg(long, value_name = "FILE", env = "QUORATE_NODE_SECRET")]
    secret: Option<PathBuf>,
    /// Threads that run the protocol, 1 to 64 [default: node.shards of the file, else one for each core, at most 4]
    #[arg(long, value_name = "NUMBER", env = "QUORATE_NODE_SHARDS")]
    shards: Option<u16>,
    /// Memory for blocks of the store in MiB, and a quarter as much for single objects [default: node.cache_mib of the file, else 256]
    #[arg(long, value_name = "MIB", env = "QUORATE_NODE_CACHE_MIB")]
    cache_mib: Option<u64>,
    /// Longest wait of a buffered write for its fsync [default: node.sync_interval_millis of the file, else 100]
    #[arg(long, value_name = "MILLISECONDS", env = "QUORATE_NODE_SYNC_INTERVAL_MILLIS")]
    sync_interval_millis: Option<u64>,
    /// How often clocks are compared with each peer [default: node.exchange_interval_millis of the file, else 2000]
    #[arg(long, value_name = "MILLISECONDS", env = "QUORATE_NODE_EXCHANGE_INTERVAL_MILLIS")]
    exchange_interval_millis: Option<u64>,
    /// Rest of the scrub between two pages [default: node.scrub_pause_millis of the file, else 1000]
    #[arg(long, value_name = "MILLISECONDS", env = "QUORATE_NODE_SCRUB_PAUSE_MILLIS")]
    scrub_pause_millis: Option<u64>,
    /// How often the scrub goes through all that is stored, at most [default: node.scrub_round_seconds of the file, else 21600]
    #[arg(long, value_name = "SECONDS", env = "QUORATE_NODE_SCRUB_ROUND_SECONDS")]
    scrub_round_seconds: Option<u64>,
    /// TCP address of metrics for monitoring, at /metrics [default: node.metrics of the file, else none]
    #[arg(long, value_name = "IP:PORT", env = "QUORATE_NODE_METRICS")]
    metrics: Option<SocketAddr>,
    /// Take a new identity for what is written from now on: give it once after the machine or its disk was set back to an
    /// older snapshot, which the node cannot see by itself
    #[arg(long)]
    new_incarnation: bool,
    /// Stop when standard input ends: for a parent that must not leave the node behind when it dies
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
    #[command(flatten)]
    log: LogArguments,
}

impl NodeArguments {
    /// Runs the node; returns when it has stopped.
    ///
    /// # Errors
    /// What kept it from starting, or ended it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        self.log.install();
        if self.stop_with_stdin {
            stop_when_stdin_ends();
        }
        let forced = if self.new_incarnation { Forced::NewIncarnation } else { Forced::No };
        let path = self.config.clone();
        let config = NodeConfig::load(&path, self.overrides()).map_err(|error| config_failure(&error))?;
        run(&config, forced, |ready| tell_ready(&config, ready)).map_err(|error| failure(&error))
    }

    fn overrides(self) -> NodeOverrides {
        NodeOverrides {
            id: self.id,
            data: self.data,
            listen: self.listen,
            ca: self.ca,
            certificate: self.certificate,
            key: self.key,
            secret: self.secret,
            shards: self.shards,
            cache_mib: self.cache_mib,
            sync_interval_millis: self.sync_interval_millis,
            exchange_interval_millis: self.exchange_interval_millis,
            scrub_pause_millis: self.scrub_pause_millis,
            scrub_round_seconds: self.scrub_round_seconds,
            metrics: self.metrics,
        }
    }
}

/// Whoever started the node may wait for this line.
fn tell_ready(config: &NodeConfig, ready: &Ready) {
    let (node, cluster, listen) = (config.node, &config.cluster.name, ready.listen);
    let incarnation = ready.verdict.incarnation;
    let line = format!("ready: {node} of cluster {cluster} serves on {listen} as incarnation {incarnation}\n");
    // Whoever started it may also have closed its output, and the node serves all the same.
    if let Err(failure) = output::print(&line) {
        tracing::warn!(failure = failure.message, "cannot print to standard output");
    }
}

fn config_failure(error: &ConfigError) -> Failure {
    Failure::invalid(error).help(match error {
        ConfigError::Read { what: SECRET_WHAT, .. } | ConfigError::Secret { .. } => format!(
            "`quorate cert init` makes a cluster's secret ({SECRET_DEFAULT}) once; every node needs a copy of it, named by \
             cluster.secret or --secret"
        ),
        _ => "`quorate node --help` shows a whole configuration with every default".to_owned(),
    })
}

fn failure(error: &RunError) -> Failure {
    match error {
        RunError::Ring { .. } => Failure::invalid(error),
        RunError::Partitions { .. } | RunError::Replicas { .. } => {
            Failure::invalid(error).help("set cluster.partitions and cluster.replicas to the cluster's")
        }
        RunError::Join { .. } => Failure::invalid(error)
            .help("check cluster.join, cluster.name, the certificates and the secret: a node that joins has them from the cluster"),
        RunError::Credentials(error) => credentials_failure(error, "cert node NUMBER", "node"),
        RunError::BindMetrics { .. } => Failure::local(error).help("choose another address with --metrics"),
        RunError::Bind { source, .. } => Failure::local(error).help(match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another process listens there: stop it, or choose another address with --listen"
            }
            io::ErrorKind::AddrNotAvailable => "it is no address of this machine: choose one with --listen",
            _ => "choose another address with --listen",
        }),
        RunError::Data(data) => data_failure(error, data),
        RunError::SetBack { .. } => Failure::local(error).help(
            "start it once with --new-incarnation: it then takes another identity and catches up with its peers; look after what puts old \
             copies of its disk in place",
        ),
        RunError::Thread { .. }
        | RunError::StorageFailed { .. }
        | RunError::StorageDamaged { .. }
        | RunError::Panicked => Failure::local(error),
    }
}

fn data_failure(error: &RunError, data: &DataError) -> Failure {
    let help = match data {
        DataError::Open(OpenError::InUse { .. }) => {
            "stop the process that has it open; each node has a directory of its own"
        }
        DataError::NotOurs { source: NotOurs::Node { .. } | NotOurs::Cluster { .. }, .. } => {
            "check node.id and node.data: each node has a directory of its own, which stays with it"
        }
        DataError::NotOurs { .. } => "set the configuration back to what the store was made with",
        DataError::NoDirectory { .. } => {
            "node.data (or --data) names a directory, which the node makes if there is nothing: choose another name"
        }
        DataError::Damaged { .. } | DataError::Anonymous { .. } => {
            "move the directory away: the node then starts empty, and its peers have its data too"
        }
        _ => return Failure::local(error),
    };
    Failure::local(error).help(help)
}

/// Standard input of a child ends when its parent does, however it died. The node is then stopped as an operator would.
fn stop_when_stdin_ends() {
    thread::spawn(|| {
        let mut ignored = [0; 64];
        let mut input = io::stdin().lock();
        while input.read(&mut ignored).is_ok_and(|read| 0 < read) {}
        // A process can always signal itself; and if not, there is nobody left to tell.
        let _ = kill_process(getpid(), Signal::TERM);
    });
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn example_of_the_help_is_a_valid_configuration() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("node.toml"), EXAMPLE).expect("written");
        fs::write(directory.path().join("cluster.secret"), "s".repeat(64)).expect("written");
        let config = NodeConfig::load(&directory.path().join("node.toml"), NodeOverrides::default()).expect("valid");
        assert_eq!(config.cluster.members.len(), 3);
    }
}
