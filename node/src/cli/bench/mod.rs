//! `quorate bench`: how fast a cluster is.
//!
//! The workloads are YCSB's (`workload`, `choosing`); requests come in a closed or an open loop (`run`), to records that know their contexts as an
//! application would (`records`). The cluster is any that can be reached, or one that is started for it.

mod choosing;
mod records;
mod report;
mod run;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use quorate_client::{Bucket, Client};
use quorate_node::runtime::cpu_micros;
use quorate_ring::limits::{BATCH_BYTES_MAX, VALUE_BYTES_MAX};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use self::choosing::Distribution;
use self::records::{Quorums, Records};
use self::report::Report;
use self::run::{Loop, Run};
use self::workload::Workload;
use super::connect::{ConnectArguments, failure};
use super::exit::{Failure, FailureKind, Format};
use super::interrupt::unless_interrupted;
use super::keys::WriteArguments;
use super::local::{LocalCluster, Place, meet};
use super::progress::{Progress, Step};
use super::{human, output};

/// Records in one request of the load, at most.
const LOAD_BATCH: u64 = 256;
/// Requests of the load under way at the same time.
const LOADERS: usize = 8;
/// How often progress is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The bucket, where none is named: nobody's data is in it.
const BUCKET: &str = "bench";

/// Measures how fast a cluster is: YCSB's workloads, in a closed or an open loop
///
/// It loads the records first, into a bucket of its own, and leaves them there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorate bench --start 3                          # three nodes on this machine, for as long as it takes
  quorate bench --workload b --clients 1           # one request after the other: latency without load
  quorate bench --workload a --rate 5000           # 5,000 requests a second, whatever the answers")]
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
    /// So many clients, each of which waits for its answer [default: 64]
    #[arg(long, value_name = "NUMBER", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: Option<u32>,
    /// So many requests a second, whether or not others were answered; latencies count from when each was to begin
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    rate: Option<f64>,
    /// For how long it is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = human::parse_duration, allow_hyphen_values = true)]
    time: Duration,
    /// For how long it runs before
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = human::parse_duration, allow_hyphen_values = true)]
    warm_up: Duration,
    /// The records are there already, from a bench with as many
    #[arg(long)]
    loaded: bool,
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
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u32).range(3..=64), conflicts_with = "loaded")]
    start: Option<u32>,
    /// Put the nodes that are started into this new directory and keep it [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIRECTORY", requires = "start")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    write: WriteArguments,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

fn value_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| (1..=VALUE_BYTES_MAX).contains(bytes));
    bytes.ok_or_else(|| format!("a value has 1 to {VALUE_BYTES_MAX} bytes, not {text}"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.1..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| format!("a rate is a number of requests a second from 0.1 to 10000000, not {text}"))
}

impl BenchArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If the workload is wrong, the cluster cannot be reached, or records cannot be stored.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let workload = self.workload()?;
        let Some(nodes) = self.start else {
            let client = self.connect.connect().await?;
            let result = self.measure(&client, workload).await;
            client.close().await;
            return result;
        };
        // Declared first, so removed last: the processes in it must be gone by then.
        let place = Place::make(self.dir.clone(), "quorate-bench-")?;
        let mut cluster = LocalCluster::prepare(place.path(), nodes)?;
        let ids: Vec<_> = cluster.ids().collect();
        for id in ids {
            cluster.start(id).await?;
        }
        let client = cluster.connect(self.connect.timeout()).await?;
        meet(&client).await?;
        let result = self.measure(&client, workload).await;
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

    fn how(&self) -> Loop {
        self.rate.map_or_else(|| Loop::Closed(self.clients.unwrap_or(64)), Loop::Open)
    }

    async fn measure(&self, client: &Client, workload: Workload) -> Result<(), Failure> {
        let bucket = client.bucket(&self.bucket).map_err(|error| failure(&error))?;
        let (format, title) = (self.connect.format(), self.title(&workload));
        if format == Format::Human {
            output::print(&title)?;
        }
        let quorums = Quorums {
            r: self.r,
            w: self.write.w,
            durability: self.write.durability.map(Into::into),
            strict: self.write.strict,
        };
        let partitions = client.known_ring().partitions;
        let (name, count) = (workload.name.clone(), workload.records);
        let records = Arc::new(Records::new(bucket.clone(), partitions, quorums, workload, self.seed));
        let work = async {
            if !self.loaded {
                self.load(&bucket, &records, count).await?;
            }
            self.ask(client, &records, name).await
        };
        let report = unless_interrupted(work, "records that were stored stay").await?;
        match format {
            Format::Json => output::print_json(&report.json())?,
            Format::Human => output::print(&report.describe())?,
        }
        if let Some(shortfall) = report.shortfall() {
            let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
            anstream::eprintln!("{yellow}warning:{yellow:#} {shortfall}");
        }
        let all = report.all();
        match all.first_failure.filter(|_| all.latencies.is_empty()) {
            Some(failure) => Err(Failure::new(FailureKind::Unavailable, format!("no request succeeded: {failure}"))),
            None => Ok(()),
        }
    }

    fn title(&self, workload: &Workload) -> String {
        let kinds: Vec<String> =
            workload.kinds().map(|(kind, share)| format!("{:.0} % {}", share * 100.0, kind.name())).collect();
        let how = match self.how() {
            Loop::Closed(clients) => format!("{} clients, each waits for its answer", human::count(clients.into())),
            Loop::Open(rate) => format!("{} requests a second", human::count(rate.round() as u64)),
        };
        format!(
            "workload {}: {} of {} records of {} bytes, {}\n{how}, for {} after {} of warm-up\n\n",
            workload.name,
            kinds.join(", "),
            human::count(workload.records),
            human::count(workload.value_bytes as u64),
            format!("{:?}", workload.distribution).to_lowercase(),
            human::duration(self.time),
            human::duration(self.warm_up)
        )
    }

    /// Stores the records.
    async fn load(&self, bucket: &Bucket, records: &Arc<Records>, count: u64) -> Result<(), Failure> {
        let mut progress = Progress::start("loading");
        let bytes = self.workload()?.value_bytes as u64;
        let batch = (BATCH_BYTES_MAX as u64 / (bytes + 1)).clamp(1, LOAD_BATCH);
        let mut batches =
            (0..count).step_by(usize::try_from(batch).expect("64 bits")).map(|from| from..(from + batch).min(count));
        let (mut tasks, mut stored) = (JoinSet::new(), 0);
        loop {
            while tasks.len() < LOADERS
                && let Some(range) = batches.next()
            {
                let (bucket, records, w) = (bucket.clone(), records.clone(), self.write.w);
                tasks.spawn(async move {
                    let puts = bucket.put_many(records.batch(range.clone()));
                    let results = if let Some(w) = w { puts.w(w) } else { puts }.await;
                    let stored = |(record, result): (u64, Result<quorate_client::Stored, _>)| {
                        result.map(|stored| records.note_context(record, stored.context()))
                    };
                    let count = range.end - range.start;
                    range.zip(results).try_for_each(stored).map(|()| count)
                });
            }
            let Some(done) = tasks.join_next().await else { break };
            let done = done.expect("a task of the load does not panic").map_err(|error| failure(&error));
            stored +=
                done.map_err(|failure| failure.help("the records of a bench must all be stored before it begins"))?;
            progress.show(Step { records: stored, done: stored, whole: Some(count) });
        }
        progress.finish();
        Ok(())
    }

    /// Warms up, and measures.
    async fn ask(&self, client: &Client, records: &Arc<Records>, workload: String) -> Result<Report, Failure> {
        let (run, how) = (Run::new(records.clone()), self.how());
        let driver = tokio::spawn(run.clone().drive(how));
        let mut progress = Progress::counting("measuring", "requests");
        sleep(self.warm_up).await;
        let (before, own_before) = (cpu_of(client).await, own_cpu());
        let begun = Instant::now();
        run.measure(true);
        let mut next = begun;
        while begun.elapsed() < self.time {
            next += PROGRESS_INTERVAL;
            sleep_until(next.min(begun + self.time)).await;
            progress.show(Step {
                records: run.ended.load(Ordering::Relaxed),
                done: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                whole: u64::try_from(self.time.as_millis()).ok(),
            });
        }
        run.measure(false);
        let (took, own_after) = (begun.elapsed(), own_cpu());
        run.end();
        progress.finish();
        let after = cpu_of(client).await;
        driver.await.map_err(|error| Failure::local(format!("the bench failed: {error}")))?;
        let cpu_of_nodes = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        let cpu_own = own_after.saturating_sub(own_before);
        Ok(Report { workload, how, took, kinds: run.take(), cpu_of_nodes, cpu_own })
    }
}

/// What all nodes together have used of their processors, if all say so.
async fn cpu_of(client: &Client) -> Option<Duration> {
    let statuses = client.statuses().await;
    let micros = statuses.into_iter().map(|(_, status)| status.ok().map(|status| status.cpu_micros));
    micros.sum::<Option<u64>>().map(Duration::from_micros)
}

fn own_cpu() -> Duration {
    Duration::from_micros(cpu_micros().unwrap_or_default())
}
