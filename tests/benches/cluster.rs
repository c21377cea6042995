//! Three real nodes and the load on one machine: rates, CPU for each operation, latencies, memory, start times.
//!
//! ```text
//! cargo bench -p quorate-tests -- --seconds 10 --concurrency 256 --shards 1 --keys 1000000 --threads 1 --sync-millis 100
//! ```
//!
//! Closed loop for the rates: so many requests are always under way, each waits for its answer. Open loop for the latencies at a
//! steady rate: requests come at fixed times whether or not others were answered, and wait from the time they should have begun, so a
//! pause of the cluster is counted for everybody whom it would have met.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate_client::Bucket;
use quorate_tests::process::{cpu_time, resident_bytes};
use quorate_tests::{Cluster, ClusterOptions};

/// Puts a second of the open loop: half of the 14,000 that a photo service with half a billion users took in 2017, which is the
/// least that three nodes on two cores should take.
const STEADY_RATE: f64 = 7_000.0;
use tokio::task::JoinSet;

const VALUE_BYTES: usize = 1024;
const SMALL_VALUE_BYTES: usize = 32;
const BATCH: u64 = 512;
/// The caches, connections and the compiler's guesses of the processor settle.
const WARM_UP: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(5);
/// Longest latency that is told apart from longer ones.
const MICROS_MAX: u64 = 60_000_000;

struct Settings {
    seconds: u64,
    concurrency: u64,
    shards: u64,
    keys: u64,
    threads: u64,
    sync_millis: u64,
}

/// What a run of one kind of request came to.
struct Measured {
    rate: f64,
    micros_of_nodes: f64,
    micros_of_generator: f64,
    latencies: Histogram<u64>,
}

#[derive(Clone, Copy)]
enum Kind {
    Put,
    Get,
}

fn main() {
    let settings = Settings::parse();
    let mut runtime = match settings.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if 1 < settings.threads {
        runtime.worker_threads(settings.threads as usize);
    }
    let runtime = runtime.enable_all().build().expect("the operating system gives threads");
    runtime.block_on(bench(&settings));
}

impl Settings {
    fn parse() -> Self {
        let mut settings =
            Self { seconds: 10, concurrency: 256, shards: 1, keys: 1_000_000, threads: 1, sync_millis: 100 };
        // `cargo bench` adds a flag of its own.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().and_then(|value| value.parse().ok());
            let place = match name.as_str() {
                "--seconds" => &mut settings.seconds,
                "--concurrency" => &mut settings.concurrency,
                "--shards" => &mut settings.shards,
                "--keys" => &mut settings.keys,
                "--threads" => &mut settings.threads,
                "--sync-millis" => &mut settings.sync_millis,
                _ => {
                    panic!("unknown flag {name}; the flags are at the top of the bench's source")
                }
            };
            *place = value.unwrap_or_else(|| panic!("{name} takes a number"));
        }
        settings
    }
}

async fn bench(settings: &Settings) {
    let lines = format!("shards = {}\nsync_interval_millis = {}", settings.shards, settings.sync_millis);
    let mut cluster = ClusterOptions::new(3).node_lines(&lines).start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("bench").expect("a valid name");
    let written = Arc::new(AtomicU64::new(0));
    println!("| three nodes and the load on one machine, N = 3, values of 1 KiB | measured |\n|---|---|");

    let puts = closed_loop(&mut cluster, settings, Load::new(Kind::Put, &bucket, &written)).await;
    row_of(&format!("puts, W = 2, {} at a time", settings.concurrency), &puts);
    let gets = closed_loop(&mut cluster, settings, Load::new(Kind::Get, &bucket, &written)).await;
    row_of(&format!("gets, R = 2, {} at a time", settings.concurrency), &gets);
    for (what, rate) in
        [("puts, W = 2, at a steady rate", STEADY_RATE), ("puts, W = 2, at half the highest rate", puts.rate / 2.0)]
    {
        let steady = open_loop(&mut cluster, settings, Load::new(Kind::Put, &bucket, &written), rate).await;
        row_of(what, &steady);
    }

    fill(&client.bucket("small").expect("a valid name"), settings.keys).await;
    idle(&mut cluster, "after the load").await;
    client.close().await;
    start_times(&mut cluster, settings).await;
    idle(&mut cluster, "after a restart").await;
}

/// One kind of request, on keys that are written once each.
#[derive(Clone)]
struct Load {
    kind: Kind,
    bucket: Bucket,
    written: Arc<AtomicU64>,
    value: Bytes,
    chance: Arc<AtomicU64>,
}

impl Load {
    fn new(kind: Kind, bucket: &Bucket, written: &Arc<AtomicU64>) -> Self {
        let (bucket, written) = (bucket.clone(), written.clone());
        let value = (0..VALUE_BYTES as u64).map(|index| mixed(index) as u8).collect::<Vec<_>>().into();
        Self { kind, bucket, written, value, chance: Arc::default() }
    }

    async fn request(&self) {
        match self.kind {
            Kind::Put => {
                let key = key(self.written.fetch_add(1, Ordering::Relaxed));
                self.bucket.put(&key, self.value.clone()).w(2).await.unwrap_or_else(|error| panic!("put: {error}"));
            }
            Kind::Get => {
                let chance = mixed(self.chance.fetch_add(1, Ordering::Relaxed));
                let key = key(chance % self.written.load(Ordering::Relaxed));
                let found = self.bucket.get(&key).r(2).await.unwrap_or_else(|error| panic!("get: {error}"));
                assert_eq!(found.single(), Some(&self.value), "every key was written once");
            }
        }
    }
}

fn key(number: u64) -> String {
    format!("key:{number:012}")
}

/// SplitMix64's finalizer: numbers in a row become numbers without any order.
fn mixed(number: u64) -> u64 {
    let mixed = (number.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(MICROS_MAX, 3).expect("valid bounds")
}

fn record(latencies: &mut Histogram<u64>, begun: Instant) {
    latencies.saturating_record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(MICROS_MAX));
}

/// CPU time of the nodes, and of this process.
fn cpu_times(cluster: &mut Cluster) -> (Duration, Duration) {
    let nodes = cluster.nodes().iter().map(|node| cpu_time(node.process_id())).sum();
    (nodes, cpu_time(std::process::id()))
}

async fn closed_loop(cluster: &mut Cluster, settings: &Settings, load: Load) -> Measured {
    let (measuring, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    for _ in 0..settings.concurrency {
        let (load, measuring, done) = (load.clone(), measuring.clone(), done.clone());
        tasks.spawn(async move {
            let mut latencies = histogram();
            while !done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                load.request().await;
                if measuring.load(Ordering::Relaxed) {
                    record(&mut latencies, begun);
                }
            }
            latencies
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let (begun, before) = (Instant::now(), cpu_times(cluster));
    measuring.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(settings.seconds)).await;
    measuring.store(false, Ordering::Relaxed);
    let (time, after) = (begun.elapsed(), cpu_times(cluster));
    done.store(true, Ordering::Relaxed);
    let mut latencies = histogram();
    while let Some(of_task) = tasks.join_next().await {
        latencies.add(of_task.expect("requests succeed")).expect("the same bounds");
    }
    measured(latencies, time, before, after)
}

async fn open_loop(cluster: &mut Cluster, settings: &Settings, load: Load, rate: f64) -> Measured {
    let mut tasks = JoinSet::new();
    let mut latencies = histogram();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let (begun, before) = (Instant::now(), cpu_times(cluster));
    let mut asked = 0_u64;
    while begun.elapsed() < Duration::from_secs(settings.seconds) {
        ticks.tick().await;
        while (asked as f64) < begun.elapsed().as_secs_f64() * rate {
            let due = begun + Duration::from_secs_f64(asked as f64 / rate);
            let load = load.clone();
            tasks.spawn(async move {
                load.request().await;
                due
            });
            asked += 1;
        }
        while let Some(answered) = tasks.try_join_next() {
            record(&mut latencies, answered.expect("requests succeed"));
        }
    }
    let (time, after) = (begun.elapsed(), cpu_times(cluster));
    while let Some(answered) = tasks.join_next().await {
        record(&mut latencies, answered.expect("requests succeed"));
    }
    measured(latencies, time, before, after)
}

fn measured(
    latencies: Histogram<u64>,
    time: Duration,
    (nodes_before, own_before): (Duration, Duration),
    (nodes_after, own_after): (Duration, Duration),
) -> Measured {
    let requests = latencies.len() as f64;
    Measured {
        rate: requests / time.as_secs_f64(),
        micros_of_nodes: (nodes_after - nodes_before).as_secs_f64() * 1e6 / requests,
        micros_of_generator: (own_after - own_before).as_secs_f64() * 1e6 / requests,
        latencies,
    }
}

fn row_of(what: &str, measured: &Measured) {
    let millis = |quantile| measured.latencies.value_at_quantile(quantile) as f64 / 1000.0;
    let (p50, p99, p999) = (millis(0.5), millis(0.99), millis(0.999));
    let (nodes, generator) = (measured.micros_of_nodes, measured.micros_of_generator);
    row(
        what,
        &format!(
            "{:.0} /s; p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms; CPU {:.0} µs each (nodes {nodes:.0} µs, load {generator:.0} µs)",
            measured.rate,
            nodes + generator
        ),
    );
}

fn row(what: &str, measured: &str) {
    println!("| {what} | {measured} |");
}

/// Writes many small keys in batches.
async fn fill(bucket: &Bucket, keys: u64) {
    let begun = Instant::now();
    let value = Bytes::from(vec![b'v'; SMALL_VALUE_BYTES]);
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
    let rate = keys as f64 / begun.elapsed().as_secs_f64();
    row(
        &format!("puts of {SMALL_VALUE_BYTES} bytes in batches of {BATCH}, W = 2, {keys} keys"),
        &format!("{rate:.0} keys/s"),
    );
}

async fn idle(cluster: &mut Cluster, when: &str) {
    let nodes: Vec<_> = cluster.nodes().iter().map(|node| node.process_id()).collect();
    let busy = || nodes.iter().map(|&process| cpu_time(process)).sum::<Duration>();
    let before = busy();
    tokio::time::sleep(IDLE).await;
    let share = (busy() - before).as_secs_f64() / IDLE.as_secs_f64() / nodes.len() as f64 * 100.0;
    let memory = nodes.iter().map(|&process| resident_bytes(process)).max().expect("there are nodes");
    let memory = memory as f64 / f64::from(1 << 20);
    row(
        &format!("an idle node, {when}, over {} s", IDLE.as_secs()),
        &format!("{memory:.0} MiB of memory, {share:.2} % of a core"),
    );
}

/// From the start of the process until it serves. Two nodes in the same state: what was not yet written out of the log has to be read
/// again by each.
async fn start_times(cluster: &mut Cluster, settings: &Settings) {
    let node = cluster.node(1);
    let ended = node.stop();
    assert_eq!(ended.code, 0, "{}", ended.log);
    let clean = node.start().time.as_millis();
    let node = cluster.node(2);
    node.kill();
    let killed = node.start().time.as_millis();
    cluster.stop_all();
    cluster.start_all();
    cluster.connected().await;
    let what = format!("start of a node with {} keys", settings.keys);
    row(&what, &format!("{clean} ms after a clean stop, {killed} ms after SIGKILL"));
}
