//! `quorate bench`: how fast a cluster is.
//!
//! The workloads are YCSB's (`workload`, `choosing`); requests come in a closed or an open loop (`run`, `pace`), to records that know their contexts as
//! an application would (`records`), and what they cost is told beside how long they took (`usage`). What is typed decides on a form (`form`): one
//! load (`phase`, `report`), or steps of it (`rows`) that come in a shape (`shapes`), search the highest rate (`search`, `highest`) or draw the curve
//! of latencies (`curve`). The cluster is any that can be reached, or one that is started for it.

mod choosing;
mod curve;
mod drift;
mod form;
mod highest;
mod loading;
mod pace;
mod phase;
mod records;
mod report;
mod rows;
mod run;
mod search;
mod shapes;
mod usage;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use quorate_client::{Bucket, Client};
use quorate_ring::limits::VALUE_BYTES_MAX;
use quorate_ring::{PartitionCount, Quorum};

use self::choosing::Distribution;
use self::form::{Form, FormArguments, Kind};
use self::loading::Loaded;
use self::phase::Requests;
use self::records::{Quorums, Records};
use self::run::Loop;
use self::workload::Workload;
use super::connect::{ConnectArguments, failure};
use super::exit::{Failure, Format};
use super::interrupt::unless_interrupted;
use super::keys::WriteArguments;
use super::local::{LocalCluster, Place, meet};
use super::output;

/// The bucket, where none is named: nobody's data is in it.
const BUCKET: &str = "bench";
/// What is left of a bench that was interrupted.
const STORED_STAY: &str = "records that were stored stay";

/// Measures how fast a cluster is: YCSB's workloads, in a closed or an open loop
///
/// It loads the records first, into a bucket of its own, and leaves them there. One load is measured, or one that comes in a shape.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorate bench --start 3                          # three nodes on this machine, for as long as it takes
  quorate bench --workload b --clients 1           # one request after the other: latency without load
  quorate bench --workload a --rate 5000           # 5,000 requests a second, whatever the answers
  quorate bench --highest --p99 5ms                # how many a second it carries with a p99 below 5 ms
  quorate bench --curve curve.svg                  # and how latencies grow up to there
  quorate bench --shape spike --rate 2000          # how long four times as much is felt")]
pub(crate) struct BenchArguments {
    /// a, b, c, d, e or f of YCSB, or a file in YCSB's format
    #[arg(long, value_name = "NAME", default_value = "a")]
    workload: String,
    /// How many records [default: the workload's, 100000]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    records: Option<u64>,
    /// Bytes of each [default: the workload's, 1000]
    #[arg(long, value_name = "NUMBER", value_parser = value_bytes)]
    value_bytes: Option<usize>,
    /// Which records are asked for [default: as the workload says]
    #[arg(long, value_enum)]
    distribution: Option<Distribution>,
    /// What chance begins with: the same seed asks for the same
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// How many replicas must answer a read, 1 to n [default: the cluster's read_quorum]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    r: Option<u8>,
    /// The bucket of the records
    #[arg(long, value_name = "NAME", default_value = BUCKET)]
    bucket: String,
    /// Start so many nodes on this machine for it, and stop them at the end
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u32).range(3..=64))]
    start: Option<u32>,
    /// Put the nodes that are started into this new directory and keep it [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIRECTORY", requires = "start")]
    dir: Option<PathBuf>,
    /// How many partitions the cluster that is started has, a power of two from 8 to 65536 [default: 1024]
    #[arg(long, value_name = "NUMBER", requires = "start", value_parser = partitions)]
    partitions: Option<PartitionCount>,
    #[command(flatten)]
    form: FormArguments,
    #[command(flatten)]
    write: WriteArguments,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

fn value_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| (1..=VALUE_BYTES_MAX).contains(bytes));
    bytes.ok_or_else(|| format!("a value has 1 to {VALUE_BYTES_MAX} bytes, not {text}"))
}

fn partitions(text: &str) -> Result<PartitionCount, String> {
    let count = text.parse().ok().and_then(|count| PartitionCount::new(count).ok());
    count.ok_or_else(|| format!("partitions are a power of two from 8 to 65536, not {text}"))
}

impl BenchArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If the workload is wrong, options contradict each other, the cluster cannot be reached, or records cannot be stored.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (workload, form) = (self.workload()?, self.form.form()?);
        let Some(nodes) = self.start else {
            let client = self.connect.connect().await?;
            let result = self.measure(&client, workload, form).await;
            client.close().await;
            return result;
        };
        if let Some(setting) = self.connect.given() {
            let ignored = format!("--start starts a cluster of its own, and {setting} names another");
            return Err(Failure::invalid(ignored).help(
                "leave one of them out; a variable of the environment can be unset for one command with `env -u`",
            ));
        }
        // Declared first, so removed last: the processes in it must be gone by then.
        let place = Place::make(self.dir.clone(), "quorate-bench-")?;
        let mut cluster = LocalCluster::prepare(place.path(), nodes, self.partitions.unwrap_or_default())?;
        let ids: Vec<_> = cluster.ids().collect();
        for id in ids {
            cluster.start(id).await?;
        }
        let client = cluster.connect(self.connect.timeout()).await?;
        meet(&client).await?;
        let result = self.measure(&client, workload, form).await;
        client.close().await;
        result?;
        cluster.stop().await
    }

    fn workload(&self) -> Result<Workload, Failure> {
        let mut workload = Workload::named(&self.workload)?;
        workload.records = self.records.unwrap_or(workload.records);
        workload.value_bytes = self.value_bytes.unwrap_or(workload.value_bytes);
        workload.distribution = self.distribution.unwrap_or(workload.distribution);
        Ok(workload)
    }

    async fn measure(&self, client: &Client, workload: Workload, form: Form) -> Result<(), Failure> {
        let (format, ring) = (self.connect.format(), client.known_ring());
        // Before a client refuses each of a million requests for it.
        let quorum = Quorum::majority(ring.replicas).and_then(|majority| majority.with(self.r, self.write.w));
        quorum.map_err(|error| Failure::invalid(error.to_string()))?;
        if format == Format::Human {
            output::print(&format!("{}\n{}\n\n", workload.describe(), form.describe()))?;
        }
        let bucket = client.bucket(&self.bucket).map_err(|error| failure(&error))?;
        let quorums = Quorums {
            r: self.r,
            w: self.write.w,
            durability: self.write.durability.map(Into::into),
            strict: self.write.strict,
        };
        let records = Records::new(bucket.clone(), ring.partitions, quorums, workload.clone(), self.seed);
        let bench = Bench {
            client: client.clone(),
            bucket,
            quorums,
            records: Arc::new(records),
            workload,
            format,
            time: form.time,
            warm_up: form.warm_up,
        };
        unless_interrupted(bench.run(form), STORED_STAY).await
    }
}

/// A bench that is about to begin.
struct Bench {
    client: Client,
    bucket: Bucket,
    quorums: Quorums,
    records: Arc<Records>,
    workload: Workload,
    format: Format,
    /// For how long it is measured, or each step of it.
    time: Duration,
    warm_up: Duration,
}

impl Bench {
    async fn run(&self, form: Form) -> Result<(), Failure> {
        if !form.is_loaded && !matches!(form.kind, Kind::Load) {
            loading::load(self).await?;
        }
        match form.kind {
            Kind::Load => self.tell_loading().await,
            Kind::Steady(how) => self.steady(how).await,
            Kind::Scale { most } => shapes::scale::run(self, most).await,
            Kind::Spike { rate, times } => shapes::spike::run(self, rate, times).await,
            Kind::Soak { how, interval } => shapes::soak::run(self, how, interval).await,
            Kind::Stress { first } => shapes::stress::run(self, first).await,
            Kind::Highest(bound) => highest::run(self, bound).await,
            Kind::Curve(bound, destination) => curve::run(self, bound, destination).await,
        }
    }

    async fn tell_loading(&self) -> Result<(), Failure> {
        let loaded = Loaded::measure(self).await?;
        match self.format {
            Format::Json => output::print_json(&loaded.json()),
            Format::Human => output::print(&loaded.describe()),
        }
    }

    async fn steady(&self, how: Loop) -> Result<(), Failure> {
        let requests = Requests::warmed_up(self, how).await;
        let phase = requests.measure(self.time).await;
        let late_failure = requests.end().await?;
        let report = phase.report().await;
        match self.format {
            Format::Json => output::print_json(&report.json())?,
            Format::Human => output::print(&report.describe())?,
        }
        report.warn_of_shortfall();
        report.some_succeeded(late_failure)
    }
}
