//! The load of the benches: one kind of request in a closed or an open loop, and what it came to.
//!
//! Closed loop for the rates: so many requests are always under way, each waits for its answer. Open loop for the latencies at a
//! steady rate: requests come at fixed times whether or not others were answered, and wait from the time they should have begun, so a
//! pause of the cluster is counted for everybody whom it would have met.

// Each bench uses its own part of it.
#![allow(dead_code, reason = "a module of two programs")]

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate_client::{Bucket, Error};
use quorate_tests::Cluster;
use quorate_tests::process::cpu_time;
use tokio::task::JoinSet;

/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 1024;
/// The caches, connections and the compiler's guesses of the processor settle.
const WARM_UP: Duration = Duration::from_secs(2);
/// Longest latency that is told apart from longer ones.
const MICROS_MAX: u64 = 60_000_000;

/// What a run of one kind of request came to.
pub(crate) struct Measured {
    /// Requests that succeeded, a second.
    pub(crate) rate: f64,
    /// Of those that succeeded.
    pub(crate) latencies: Histogram<u64>,
    /// How many failed.
    pub(crate) failed: u64,
    /// How the first of these did.
    first_error: Option<String>,
    micros_of_nodes: f64,
    micros_of_generator: f64,
}

impl Measured {
    /// A percentile of the latencies, in milliseconds.
    pub(crate) fn millis(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Takes in what another run of the same kind came to, of which rates and CPU are left out.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("the same bounds");
        self.failed += other.failed;
    }

    /// CPU of all nodes and the load for one request, in microseconds.
    pub(crate) fn micros(&self) -> f64 {
        self.micros_of_nodes + self.micros_of_generator
    }

    /// CPU of all servers for one request, in microseconds.
    pub(crate) fn micros_of_servers(&self) -> f64 {
        self.micros_of_nodes
    }

    /// Panics if any request failed, and tells how the first did.
    pub(crate) fn assert_none_failed(&self) {
        assert_eq!(self.failed, 0, "requests failed: {}", self.first_error.as_deref().unwrap_or_default());
    }
}

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A new key, W = 2.
    Put,
    /// One of the keys that were put, R = 2.
    Get,
}

/// One kind of request, on keys that are written once each.
#[derive(Clone)]
pub(crate) struct Load {
    kind: Kind,
    bucket: Bucket,
    written: Arc<AtomicU64>,
    value: Bytes,
    chance: Arc<AtomicU64>,
    timeout: Option<Duration>,
}

impl Load {
    /// Requests to a bucket in which so many keys are written.
    pub(crate) fn new(kind: Kind, bucket: &Bucket, written: &Arc<AtomicU64>) -> Self {
        let (bucket, written) = (bucket.clone(), written.clone());
        Self { kind, bucket, written, value: value(VALUE_BYTES), chance: Arc::default(), timeout: None }
    }

    /// How long a request waits, where the client's default is too long.
    pub(crate) fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    async fn request(&self) -> Result<(), Error> {
        match self.kind {
            Kind::Put => {
                let mut put = self.bucket.put(key(self.written.fetch_add(1, Ordering::Relaxed)), self.value.clone());
                if let Some(timeout) = self.timeout {
                    put = put.timeout(timeout);
                }
                put.w(2).await.map(|_| ())
            }
            Kind::Get => {
                let chance = mixed(self.chance.fetch_add(1, Ordering::Relaxed));
                let mut get = self.bucket.get(key(chance % self.written.load(Ordering::Relaxed)));
                if let Some(timeout) = self.timeout {
                    get = get.timeout(timeout);
                }
                let found = get.r(2).await?;
                assert_eq!(found.single(), Some(&self.value), "every key was written once");
                Ok(())
            }
        }
    }
}

/// A value of so many bytes that does not compress well.
pub(crate) fn value(bytes: usize) -> Bytes {
    (0..bytes as u64).map(|index| mixed(index) as u8).collect::<Vec<_>>().into()
}

/// The key of a number.
pub(crate) fn key(number: u64) -> String {
    format!("key:{number:012}")
}

/// SplitMix64's finalizer: numbers in a row become numbers without any order.
pub(crate) fn mixed(number: u64) -> u64 {
    let mixed = (number.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Requests that have ended.
struct Ended {
    latencies: Histogram<u64>,
    failed: u64,
    first_error: Option<String>,
}

impl Ended {
    fn new() -> Self {
        Self { latencies: Histogram::new_with_max(MICROS_MAX, 3).expect("valid bounds"), failed: 0, first_error: None }
    }

    fn record(&mut self, begun: Instant, result: &Result<(), impl Display>) {
        match result {
            Ok(()) => {
                let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(MICROS_MAX);
                self.latencies.saturating_record(micros);
            }
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// CPU time of the nodes that run, and of this process.
fn cpu_times(cluster: &mut Cluster) -> (Duration, Duration) {
    cpu_times_of(&running(cluster))
}

/// The processes of the nodes that run.
pub(crate) fn running(cluster: &mut Cluster) -> Vec<u32> {
    cluster.nodes().iter_mut().filter_map(|node| node.is_running().then(|| node.process_id())).collect()
}

/// CPU time of processes, and of this one.
fn cpu_times_of(processes: &[u32]) -> (Duration, Duration) {
    (processes.iter().map(|process| cpu_time(*process)).sum(), cpu_time(std::process::id()))
}

/// So many requests at a time, for so long.
pub(crate) async fn closed_loop(cluster: &mut Cluster, seconds: u64, concurrency: u64, load: Load) -> Measured {
    let request = move |_| {
        let load = load.clone();
        async move { load.request().await }
    };
    closed_loop_of(&running(cluster), seconds, concurrency, request).await
}

/// So many clients of these servers, each of which asks and waits for its answer, for so long. A request is told which client asks.
pub(crate) async fn closed_loop_of<E, F>(
    servers: &[u32],
    seconds: u64,
    clients: u64,
    request: impl Fn(u64) -> F + Clone + Send + 'static,
) -> Measured
where
    E: Display + Send,
    F: Future<Output = Result<(), E>> + Send,
{
    let (measuring, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (request, measuring, done) = (request.clone(), measuring.clone(), done.clone());
        tasks.spawn(async move {
            let mut ended = Ended::new();
            while !done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let result = request(client).await;
                if measuring.load(Ordering::Relaxed) {
                    ended.record(begun, &result);
                }
            }
            ended
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let (begun, before) = (Instant::now(), cpu_times_of(servers));
    measuring.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    measuring.store(false, Ordering::Relaxed);
    let (time, after) = (begun.elapsed(), cpu_times_of(servers));
    done.store(true, Ordering::Relaxed);
    let mut all = Ended::new();
    while let Some(of_task) = tasks.join_next().await {
        let of_task = of_task.expect("a task ends");
        all.latencies.add(of_task.latencies).expect("the same bounds");
        all.failed += of_task.failed;
        all.first_error = all.first_error.or(of_task.first_error);
    }
    measured(all, time, before, after)
}

/// So many requests a second, for so long.
pub(crate) async fn open_loop(cluster: &mut Cluster, seconds: u64, load: Load, rate: f64) -> Measured {
    open_loop_until(cluster, load, rate, tokio::time::sleep(Duration::from_secs(seconds))).await
}

/// So many requests a second, until something is over.
pub(crate) async fn open_loop_until(
    cluster: &mut Cluster,
    load: Load,
    rate: f64,
    over: impl Future<Output = ()>,
) -> Measured {
    let [measured] = open_loops_until(cluster, [load], rate, over).await;
    measured
}

/// So many requests of each of these kinds a second, in turns, until something is over. CPU is that of each kind's equal share.
pub(crate) async fn open_loops_until<const KINDS: usize>(
    cluster: &mut Cluster,
    loads: [Load; KINDS],
    rate: f64,
    over: impl Future<Output = ()>,
) -> [Measured; KINDS] {
    let mut over = std::pin::pin!(over);
    let (mut tasks, mut ended) = (JoinSet::new(), std::array::from_fn(|_| Ended::new()));
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let (begun, before) = (Instant::now(), cpu_times(cluster));
    let rate_of_all = rate * KINDS as f64;
    let mut asked = 0_usize;
    loop {
        tokio::select! {
            () = &mut over => break,
            _ = ticks.tick() => {}
        }
        while (asked as f64) < begun.elapsed().as_secs_f64() * rate_of_all {
            let due = begun + Duration::from_secs_f64(asked as f64 / rate_of_all);
            let kind = asked % KINDS;
            let load = loads[kind].clone();
            tasks.spawn(async move { (kind, due, load.request().await) });
            asked += 1;
        }
        while let Some(answered) = tasks.try_join_next() {
            let (kind, due, result) = answered.expect("a task ends");
            ended[kind].record(due, &result);
        }
    }
    let (time, after) = (begun.elapsed(), cpu_times(cluster));
    while let Some(answered) = tasks.join_next().await {
        let (kind, due, result) = answered.expect("a task ends");
        ended[kind].record(due, &result);
    }
    let shared = |(nodes, own): (Duration, Duration)| (nodes / KINDS as u32, own / KINDS as u32);
    ended.map(|ended| measured(ended, time, shared(before), shared(after)))
}

fn measured(
    Ended { latencies, failed, first_error }: Ended,
    time: Duration,
    (nodes_before, own_before): (Duration, Duration),
    (nodes_after, own_after): (Duration, Duration),
) -> Measured {
    let requests = latencies.len() as f64;
    let micros = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e6 / requests;
    Measured {
        rate: requests / time.as_secs_f64(),
        micros_of_nodes: micros(nodes_before, nodes_after),
        micros_of_generator: micros(own_before, own_after),
        latencies,
        failed,
        first_error,
    }
}

/// Prints a row of the table.
pub(crate) fn row(what: &str, measured: &str) {
    println!("| {what} | {measured} |");
}

/// Prints what a run came to.
pub(crate) fn row_of(what: &str, measured: &Measured) {
    let (p50, p99, p999) = (measured.millis(0.5), measured.millis(0.99), measured.millis(0.999));
    let (nodes, generator) = (measured.micros_of_nodes, measured.micros_of_generator);
    let told = |first: &String| format!("; {} failed, the first: {first}", measured.failed);
    let failed = measured.first_error.as_ref().map(told).unwrap_or_default();
    row(
        what,
        &format!(
            "{:.0} /s; p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms; CPU {:.0} µs each (nodes {nodes:.0} µs, load {generator:.0} µs){failed}",
            measured.rate,
            nodes + generator
        ),
    );
}

/// Writes as many keys as there are numbers, in batches, W = 2.
pub(crate) async fn fill(bucket: &Bucket, keys: u64, value: &Bytes) {
    const BATCH: u64 = 512;
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (bucket, value, next) = (bucket.clone(), value.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                let numbers = first..(first + BATCH).min(keys);
                if numbers.is_empty() {
                    return;
                }
                for result in bucket.put_many(numbers.map(|number| (key(number), value.clone()))).await {
                    result.unwrap_or_else(|error| panic!("put_many: {error}"));
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("batches succeed");
    }
}
