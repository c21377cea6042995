//! Real clusters for tests and benches: `quorate node` processes on loopback, in temporary directories, that can be killed,
//! stopped, continued, wiped, set back and cut off from each other. Nothing here outlives the test that made it, however that test ends.
//!
//! ```no_run
//! # async fn example() {
//! use quorate_tests::Cluster;
//!
//! let mut cluster = Cluster::start(3).await;
//! let client = cluster.client().await;
//! cluster.node(2).kill();
//! assert!(cluster.quorate(["status", "--json"]).run().code != 0);
//! # drop(client);
//! # }
//! ```
//!
//! Everything panics with the whole story where something is not as a test needs it: a failed test shows its nodes' logs.

pub mod binary;
mod certificates;
mod cluster;
mod network;
mod node;
mod ports;
pub mod process;
pub mod store;
pub mod wait;

pub use binary::{Quorate, Run, Running};
pub use cluster::{Cluster, ClusterOptions, SCRUBBING};
pub use network::Network;
pub use node::{Ended, Node, Ready};
