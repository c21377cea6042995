//! Capacity: what a cluster carries, predicted from what each thing costs of a processor.
//!
//! The production core of every node and the production logic of the client run in virtual time, on machines of so many cores. A thread that has
//! work waits for a core; its turn takes what all that it does in it costs by the [`ServiceTimes`], and what it sends leaves when the turn
//! ends. So batches, quorums, fan-out, hedges and admission are the real ones, and only costs are given. It is an engine of its own and
//! not the one that looks for faults: that one lets a client do one thing at a time, checks every write with oracles, and knows no processors.
//!
//! ```text
//! cluster      threads, turns, and the way of a message    station   who has a core, and who waits for one
//! generator    who asks for what, and when                 times     what everything costs
//! calibrate    costs from measurements                     search    how many nodes, how high a rate
//! ```
//!
//! Not in it: faults, disks that have to be waited for (writes are `buffered`, reads are from the cache), a network that is full, and what other
//! programs do on the machines.

pub mod calibrate;
mod cluster;
mod generator;
pub mod search;
pub mod station;
pub mod times;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use hdrhistogram::Histogram;
use quorate_ring::Quorum;
use quorate_ring::limits::VALUE_BYTES_MAX;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::Serialize;

use self::cluster::Cluster;
use self::times::{Amounts, NETWORK_MAX, ServiceTimes};
use crate::plan::span::Span;

/// Most nodes that can be asked about.
pub const NODES_MAX: u32 = 200;
/// Most clients in a closed loop.
pub const CLIENTS_MAX: u32 = 10_000;
/// The highest rate that can be asked about.
pub const RATE_MAX: f64 = 10_000_000.0;
/// Most cores of a machine.
pub const CORES_MAX: usize = 1_024;
/// Most records: all of them are stored before anything is measured.
pub const RECORDS_MAX: u32 = 1_000_000;
/// The largest value that can be asked about.
pub const VALUE_BYTES: usize = VALUE_BYTES_MAX;

/// A cluster and what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Hardware {
    /// How many nodes there are.
    pub nodes: u32,
    /// N, R and W.
    pub quorum: Quorum,
    /// On what they run.
    pub machines: Machines,
    /// How many shards a node has.
    pub shards: u8,
    /// How long a message is on its way between two machines, or two processes of one.
    pub network: Span,
    /// What everything costs.
    pub times: ServiceTimes,
}

/// On what nodes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machines {
    /// Each node on one of its own, with so many cores; clients are elsewhere, and have as much of a processor as they need.
    Own(NonZeroUsize),
    /// All nodes and the client's process on one, with so many cores.
    Shared(NonZeroUsize),
}

/// What is asked of a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// How requests come.
    pub arrivals: Arrivals,
    /// The part of them that read, from 0 to 1; the others replace a value.
    pub reads: f64,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// How many records there are.
    pub records: u32,
    /// Which of them are asked for.
    pub distribution: Distribution,
}

/// Which records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// All equally often.
    Uniform,
    /// By Zipf's law with YCSB's constant. Clients that meet on the records in demand make siblings there, and writes that have to read first.
    Zipfian,
}

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// At random, so many a second, whether or not others were answered.
    Poisson(f64),
    /// So many a second, at equal distances, whether or not others were answered: as `quorate bench --rate` asks.
    Steady(f64),
    /// So many clients, each of which waits for its answer.
    Closed(NonZeroU32),
}

impl Arrivals {
    /// How many come in a second, if the answers do not decide that.
    pub const fn rate(self) -> Option<f64> {
        match self {
            Self::Poisson(rate) | Self::Steady(rate) => Some(rate),
            Self::Closed(_) => None,
        }
    }
}

/// How much is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// What chance begins with.
    pub seed: u64,
    /// How many requests are measured.
    pub requests: u32,
}

/// What is predicted of a cluster under a load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Requests answered in a second.
    pub rate: f64,
    /// The part of the requests that failed.
    pub failed: f64,
    /// Whether more was asked than could be answered: what waits grows without end.
    pub saturated: bool,
    /// The busy part of all cores of the machines with nodes.
    pub utilisation: f64,
    /// The same of the busiest machine.
    pub utilisation_max: f64,
    /// The part of the time in which the busiest thread of a node has a core.
    pub thread_utilisation_max: f64,
    /// Packets and events that wait for a node's threads, as a mean over time and nodes.
    pub queue: f64,
    /// From when a request was to begin to its answer, in microseconds.
    pub latency_micros: Latency,
    /// Microseconds of a processor for each request, of all nodes together.
    pub cpu_micros_nodes: f64,
    /// The same, of the client.
    pub cpu_micros_client: f64,
    /// How much was done of everything, for each request.
    #[serde(skip)]
    pub amounts: Amounts,
}

/// Latencies, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half of the requests take at most this.
    pub p50: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1,000.
    #[serde(rename = "p99.9")]
    pub p999: u64,
    /// All of them.
    pub max: u64,
}

/// Why nothing can be predicted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Impossible {
    /// A key's replicas are on as many nodes.
    #[error("{nodes} nodes cannot hold {n} replicas of each key: expected {n} to {NODES_MAX} nodes")]
    Nodes {
        /// How many there are to be.
        nodes: u32,
        /// N.
        n: u8,
    },
    /// A number is out of range.
    #[error("{what} is {value}: expected {expected}")]
    Range {
        /// Which.
        what: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// No cluster answers so soon.
    #[error("a p99 of {wanted} cannot be kept: with next to nothing else to do it is {least} already")]
    TooSoon {
        /// What was asked for.
        wanted: Span,
        /// What it is where nobody waits for anybody.
        least: Span,
    },
    /// The rate is too high for any cluster that can be asked about.
    #[error(
        "more than {NODES_MAX} nodes would be needed: one of {nodes} carries {most:.0} requests a second of {wanted:.0}"
    )]
    TooMuch {
        /// What was asked for.
        wanted: f64,
        /// How many nodes were tried last.
        nodes: u32,
        /// What they carry.
        most: f64,
    },
    /// Nothing was answered.
    #[error("not one request was answered within {0:?} of virtual time")]
    Silent(Duration),
}

/// Predicts what comes of a load.
///
/// # Errors
/// What of it cannot be.
pub fn predict(hardware: &Hardware, load: &Load, extent: Extent) -> Result<Prediction, Impossible> {
    check(hardware, load)?;
    Cluster::new(hardware, load, extent).run()
}

fn check(hardware: &Hardware, load: &Load) -> Result<(), Impossible> {
    let n = hardware.quorum.n();
    if !(u32::from(n)..=NODES_MAX).contains(&hardware.nodes) {
        return Err(Impossible::Nodes { nodes: hardware.nodes, n });
    }
    let within = |what, value: f64, low: f64, high: f64| {
        let range = || Impossible::Range { what, value: value.to_string(), expected: format!("{low} to {high}") };
        if (low..=high).contains(&value) { Ok(()) } else { Err(range()) }
    };
    within("the part of reads", load.reads, 0.0, 1.0)?;
    within("bytes of a value", load.value_bytes as f64, 0.0, VALUE_BYTES as f64)?;
    within("records", load.records.into(), 1.0, RECORDS_MAX.into())?;
    within("shards of a node", hardware.shards.into(), 1.0, 64.0)?;
    within(
        "seconds on the network",
        hardware.network.duration().as_secs_f64(),
        0.0,
        NETWORK_MAX.duration().as_secs_f64(),
    )?;
    let (Machines::Own(cores) | Machines::Shared(cores)) = hardware.machines;
    within("cores of a machine", cores.get() as f64, 1.0, CORES_MAX as f64)?;
    match load.arrivals {
        Arrivals::Poisson(rate) | Arrivals::Steady(rate) => within("requests a second", rate, 0.1, RATE_MAX),
        Arrivals::Closed(clients) => within("clients", clients.get().into(), 1.0, CLIENTS_MAX.into()),
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| histogram.value_at_quantile(part));
        Self { p50, p99, p999, max: histogram.max() }
    }
}

/// Draws from the exponential distribution of a mean.
fn exponential(random: &mut ChaCha8Rng, mean: f64) -> f64 {
    -(1.0 - random.random::<f64>()).ln() * mean
}
