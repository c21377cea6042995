//! What repair costs, and what trouble costs the foreground: each figure as a ratio within this run.
//!
//! ```text
//! cargo bench -p quorate-tests --bench repair -- [idle] [outage] [foreground] [metadata] [slow] [overload] [--seconds 10] [--keys 1000000]
//! ```
//!
//! Without a name all parts are run. The three nodes (five for `slow`'s last row) and the load share this machine's cores.

mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_client::{Bucket, Client};
use quorate_node::storage::Column;
use quorate_ring::NodeId;
use quorate_tests::process::{cpu_time, pin, resident_bytes};
use quorate_tests::{Cluster, ClusterOptions, store};

use load::{Kind, Load, Measured, VALUE_BYTES, closed_loop, fill, key, open_loop, open_loop_until, row, row_of, value};

/// Pairs of nodes of a cluster of three.
const PAIRS: u64 = 3;
/// The default ring's; at three nodes every pair shares all.
const PARTITIONS: u64 = 1024;
/// Practically never: the longest that may be configured.
const NO_EXCHANGES: &str = "exchange_interval_millis = 3600000";
/// How long what is measured in virtual quiet is looked at.
const QUIET: Duration = Duration::from_secs(20);
const BATCH: u64 = 256;

struct Settings {
    seconds: u64,
    keys: u64,
    parts: Vec<String>,
}

fn main() {
    let settings = Settings::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("the operating system gives threads").block_on(bench(&settings));
}

impl Settings {
    fn parse() -> Self {
        const PARTS: [&str; 6] = ["idle", "outage", "foreground", "metadata", "slow", "overload"];
        let mut settings = Self { seconds: 10, keys: 1_000_000, parts: Vec::new() };
        // `cargo bench` adds a flag of its own.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse().ok());
                value.unwrap_or_else(|| panic!("{argument} takes a number"))
            };
            match argument.as_str() {
                "--seconds" => settings.seconds = number(),
                "--keys" => settings.keys = number(),
                part if PARTS.contains(&part) => settings.parts.push(part.to_owned()),
                _ => panic!("unknown argument {argument}; there are --seconds, --keys and {}", PARTS.join(", ")),
            }
        }
        settings
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|named| named == part)
    }
}

async fn bench(settings: &Settings) {
    println!("| three nodes and the load on one machine, N = 3 | measured |\n|---|---|");
    if settings.has("idle") {
        idle().await;
    }
    if settings.has("outage") {
        for keys in [settings.keys / 10, settings.keys] {
            outages(keys).await;
        }
    }
    if settings.has("foreground") {
        foreground(settings).await;
        catching_up(settings).await;
    }
    if settings.has("metadata") {
        metadata().await;
    }
    if settings.has("slow") {
        slow(settings).await;
    }
    if settings.has("overload") {
        overload(settings).await;
    }
}

fn options() -> ClusterOptions {
    ClusterOptions::new(3).node_lines("shards = 1")
}

/// Waits as an operator would.
fn wait_converged(cluster: &Cluster) {
    cluster.quorate(["wait", "--converged", "--at-most", "10m"]).run().ends_with(0);
}

fn busy(cluster: &mut Cluster) -> Duration {
    cluster.nodes().iter().map(|node| cpu_time(node.process_id())).sum()
}

/// In sync and with nobody asking for anything: what comparing clocks costs.
async fn idle() {
    let mut cluster = options().network().start().await;
    let client = cluster.client().await;
    fill(&client.bucket("b").expect("valid"), 10_000, &value(32)).await;
    client.close().await;
    wait_converged(&cluster);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let exchanges = async |cluster: &Cluster| {
        let mut sum = 0;
        for number in 1..=3 {
            sum += cluster.status(number).await.sync.exchanges;
        }
        sum
    };
    let (count, bytes, used) = (exchanges(&cluster).await, cluster.network().bytes(), busy(&mut cluster));
    tokio::time::sleep(QUIET).await;
    let (bytes, used) = (cluster.network().bytes() - bytes, busy(&mut cluster) - used);
    let count = exchanges(&cluster).await - count;
    let each = bytes as f64 / count as f64;
    row(
        &format!("idle anti-entropy, {PARTITIONS} partitions, {PAIRS} pairs of nodes, over {} s", QUIET.as_secs()),
        &format!(
            "{count} exchanges; {each:.0} bytes of UDP for each, all partitions together: {:.2} for each partition (goal 100); \
             {:.2} % of a core for each node",
            each / PARTITIONS as f64,
            used.as_secs_f64() / QUIET.as_secs_f64() / 3.0 * 100.0,
        ),
    );
}

/// One node is down while some of the keys change: what it costs to bring it up to date.
async fn outages(keys: u64) {
    let mut cluster = options().network().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    fill(&bucket, keys, &value(32)).await;
    wait_converged(&cluster);
    // What a node's return costs that missed nothing: handshakes, probes of the path's MTU, and comparisons.
    let (return_bytes, _) = back_after(&mut cluster, &client, async || ()).await;
    row(
        &format!("a node comes back that missed nothing of {keys} keys"),
        &format!("{return_bytes} bytes on the network"),
    );
    for missed in [1_000, 10_000, 100_000] {
        outage(&mut cluster, &client, &bucket, (keys, missed.min(keys)), return_bytes).await;
    }
    client.close().await;
}

/// Kills a node, does something, and starts it again: how many bytes were on the network and how long it took until all were in sync.
async fn back_after(cluster: &mut Cluster, client: &Client, meanwhile: impl AsyncFnOnce()) -> (u64, Duration) {
    cluster.node(3).kill();
    until_missed(client, 3).await;
    meanwhile().await;
    // What the two others still had to tell each other is not the outage's.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let bytes = cluster.network().bytes();
    let begun = Instant::now();
    cluster.node(3).start();
    wait_converged(cluster);
    (cluster.network().bytes() - bytes, begun.elapsed())
}

async fn outage(
    cluster: &mut Cluster,
    client: &Client,
    bucket: &Bucket,
    (keys, missed): (u64, u64),
    return_bytes: u64,
) {
    let stride = keys / missed;
    let mut changed = 0;
    let overwriting = async || changed = overwrite(bucket, (0..missed).map(|number| number * stride)).await;
    let (bytes, time) = back_after(cluster, client, overwriting).await;
    let received = client.status(NodeId::new(3).expect("not 0")).await.expect("it is up").sync;
    row(
        &format!("{missed} of {keys} keys changed (1 KiB each) while a node was down"),
        &format!(
            "{:.1} MB changed; {} keys received; on the network {:.2} x that (goal 1.25), {:.2} x less what its return costs; \
             in sync {:.1} s after its start",
            changed as f64 / 1e6,
            received.keys_received,
            bytes as f64 / changed as f64,
            (bytes - return_bytes.min(bytes)) as f64 / changed as f64,
            time.as_secs_f64(),
        ),
    );
}

/// Waits until the others have noticed that a node is gone.
async fn until_missed(client: &Client, missing: u32) {
    let missed = async || {
        let statuses = client.statuses().await;
        let up = statuses.iter().filter_map(|(_, status)| status.as_ref().ok());
        let sees = |peer: &quorate_ring::wire::PeerStatus| peer.node.number() == missing && peer.connected;
        (!up.flat_map(|status| &status.peers).any(sees)).then_some(())
    };
    quorate_tests::wait::until_async("a node is missed", quorate_tests::wait::BOUND, missed).await;
}

/// Replaces what these keys hold with a KiB each, and says how much that is with the keys.
async fn overwrite(bucket: &Bucket, numbers: impl Iterator<Item = u64>) -> u64 {
    let (numbers, value): (Vec<u64>, Bytes) = (numbers.collect(), value(VALUE_BYTES));
    let mut changed = 0;
    for numbers in numbers.chunks(BATCH as usize) {
        let keys: Vec<String> = numbers.iter().map(|number| key(*number)).collect();
        let found = bucket.get_many(&keys).await;
        let write = |(key, found): (&String, Result<quorate_client::Found, quorate_client::Error>)| {
            let found = found.unwrap_or_else(|error| panic!("get_many: {error}"));
            quorate_client::Write::new(key.clone(), value.clone()).context(found.context())
        };
        for result in bucket.put_many(keys.iter().zip(found).map(write)).await {
            result.unwrap_or_else(|error| panic!("put_many: {error}"));
        }
        changed += keys.iter().map(|key| (key.len() + value.len()) as u64).sum::<u64>();
    }
    changed
}

/// Puts at full speed, with clocks compared and without, in turns.
async fn foreground(settings: &Settings) {
    const ROUNDS: usize = 4;
    let lines = format!("shards = 1\n{NO_EXCHANGES}");
    let mut clusters = [
        ClusterOptions::new(3).node_lines("shards = 1").start().await,
        ClusterOptions::new(3).node_lines(&lines).start().await,
    ];
    let mut rates = [Vec::new(), Vec::new()];
    let mut costs = [Vec::new(), Vec::new()];
    let mut loads = Vec::new();
    for cluster in &clusters {
        let client = cluster.client().await;
        loads.push(Load::new(Kind::Put, &client.bucket("b").expect("valid"), &Arc::default()));
    }
    for round in 0..ROUNDS {
        // The order is turned over each time, so that neither has the better half of it.
        for index in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let measured = closed_loop(&mut clusters[index], settings.seconds / 2, 256, loads[index].clone()).await;
            rates[index].push(measured.rate);
            costs[index].push(measured.micros());
        }
    }
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    let ([with, without], [cost_with, cost_without]) =
        ([mean(&rates[0]), mean(&rates[1])], [mean(&costs[0]), mean(&costs[1])]);
    row(
        &format!("puts with anti-entropy against without, {ROUNDS} rounds each in turns"),
        &format!(
            "{with:.0} /s against {without:.0} /s: {:.3} (goal 0.97); CPU {cost_with:.0} µs each against {cost_without:.0} µs",
            with / without
        ),
    );
}

/// Puts at a steady rate while a node comes back and is brought up to date.
async fn catching_up(settings: &Settings) {
    const RATE: f64 = 2_000.0;
    const MISSED: u64 = 100_000;
    let mut cluster = options().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    let load = Load::new(Kind::Put, &bucket, &Arc::default());
    let healthy = open_loop(&mut cluster, settings.seconds, load.clone(), RATE).await;
    row_of(&format!("puts at {RATE} /s, all in sync"), &healthy);
    cluster.node(3).kill();
    until_missed(&client, 3).await;
    fill(&client.bucket("missed").expect("valid"), MISSED, &value(VALUE_BYTES)).await;
    cluster.node(3).start();
    let over = Arc::new(AtomicBool::new(false));
    let waiting = {
        let (over, command) = (over.clone(), cluster.quorate(["wait", "--converged", "--at-most", "10m"]));
        std::thread::spawn(move || {
            command.run().ends_with(0);
            over.store(true, Ordering::Relaxed);
        })
    };
    let until_over = async move {
        while !over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let begun = Instant::now();
    let busy = open_loop_until(&mut cluster, load, RATE, until_over).await;
    waiting.join().expect("the cluster converges");
    row_of(
        &format!("the same while a node receives {MISSED} keys of 1 KiB, for {:.1} s", begun.elapsed().as_secs_f64()),
        &busy,
    );
    row("p99 of these two", &ratio(&busy, &healthy, 0.99, 1.5));
}

fn ratio(one: &Measured, other: &Measured, quantile: f64, goal: f64) -> String {
    format!("{:.2} x (goal {goal})", one.millis(quantile) / other.millis(quantile))
}

/// What is stored beside keys and values once nothing happens any more.
async fn metadata() {
    const KEYS: u64 = 10_000;
    let mut cluster = options().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    let small = value(32);
    fill(&bucket, KEYS, &small).await;
    overwrite(&bucket, 0..KEYS).await;
    let deleted: Vec<String> = (KEYS / 2..KEYS).map(key).collect();
    for (key, found) in deleted.iter().zip(bucket.get_many(&deleted).await) {
        let found = found.unwrap_or_else(|error| panic!("get_many: {error}"));
        bucket.delete(key).context(found.context()).await.unwrap_or_else(|error| panic!("delete: {error}"));
    }
    client.close().await;
    // The first tells that all have the same, the second is after the logs were pruned for it.
    wait_converged(&cluster);
    tokio::time::sleep(Duration::from_secs(8)).await;
    cluster.stop_all();
    let data = cluster.node(1).data();
    let objects = store::entries(&data, Column::Objects);
    let stored: usize = objects.iter().map(|(place, object)| place.len() + object.len()).sum();
    let own = objects.len() * (key(0).len() + VALUE_BYTES);
    row(
        &format!("{KEYS} keys written, written again, and half of them deleted: what one node stores"),
        &format!(
            "{} objects; {:.1} bytes each beside key and value (position, bucket, one actor and counter); {} entries in the \
             log of events, {} hints, nothing of the deleted",
            objects.len(),
            (stored - own) as f64 / objects.len() as f64,
            store::entries(&data, Column::DotLog).len(),
            store::entries(&data, Column::Hints).len(),
        ),
    );
}

/// Reads and writes while a node stands still, and while one gets a fiftieth of the time.
async fn slow(settings: &Settings) {
    const RATE: f64 = 1_000.0;
    let mut cluster = options().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    let written = Arc::new(AtomicU64::new(0));
    let puts = Load::new(Kind::Put, &bucket, &written);
    let gets = Load::new(Kind::Get, &bucket, &written);
    open_loop(&mut cluster, settings.seconds, puts, RATE).await;
    // Elsewhere, since what fails would be missed by gets.
    let puts = Load::new(Kind::Put, &client.bucket("meanwhile").expect("valid"), &Arc::default());
    let healthy = open_loop(&mut cluster, settings.seconds, gets.clone(), RATE).await;
    row_of(&format!("gets at {RATE} /s, R = 2, all well"), &healthy);

    let stutter = Stutter::begin(cluster.node(3).process_id());
    let stuttering = open_loop(&mut cluster, settings.seconds, gets.clone(), RATE).await;
    let put = open_loop(&mut cluster, settings.seconds, puts.clone(), RATE).await;
    stutter.end();
    row_of("the same while a node runs for 2 ms of every 100", &stuttering);
    row("p99.9 of these two", &ratio(&stuttering, &healthy, 0.999, 3.0));
    row_of(&format!("puts at {RATE} /s, W = 2, meanwhile"), &put);

    cluster.node(3).pause();
    let paused = open_loop(&mut cluster, settings.seconds, gets, RATE).await;
    let put = open_loop(&mut cluster, settings.seconds, puts, RATE).await;
    cluster.node(3).resume();
    row_of("gets from the moment a node stands still", &paused);
    row("p99.9 of that against all well", &ratio(&paused, &healthy, 0.999, 3.0));
    row_of("puts after that, W = 2", &put);
}

/// A process that is stopped most of the time.
struct Stutter {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Stutter {
    fn begin(process: u32) -> Self {
        use rustix::process::{Pid, Signal, kill_process};
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let signal = move |signal| {
            let process = Pid::from_raw(process.cast_signed()).expect("a process has a number");
            kill_process(process, signal).expect("our child runs");
        };
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                signal(Signal::STOP);
                std::thread::sleep(Duration::from_millis(98));
                signal(Signal::CONT);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { over, thread }
    }

    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("signals can be sent");
    }
}

/// Three times as many puts as the cluster can store. The nodes have one core and the load the other, for what a load three times as high
/// costs by itself is not the cluster's.
async fn overload(settings: &Settings) {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let mut cluster = options().start().await;
    cluster.nodes().iter_mut().for_each(|node| pin(node.process_id(), 0));
    pin(std::process::id(), 1);
    let client = cluster.client().await;
    let load = Load::new(Kind::Put, &client.bucket("b").expect("valid"), &Arc::default()).timeout(TIMEOUT);
    let peak = closed_loop(&mut cluster, settings.seconds, 256, load.clone()).await;
    row_of("puts, 256 at a time, the nodes on one core and the load on another", &peak);
    let memory = |cluster: &mut Cluster| {
        let most = cluster.nodes().iter().map(|node| resident_bytes(node.process_id())).max();
        most.expect("there are nodes") as f64 / f64::from(1 << 20)
    };
    let before = memory(&mut cluster);
    let flooded = open_loop(&mut cluster, settings.seconds, load, peak.rate * 3.0).await;
    row_of("puts at three times that rate", &flooded);
    row(
        "goodput against the peak; memory of the largest node before and after",
        &format!("{:.2} (goal 0.9); {before:.0} MiB, {:.0} MiB", flooded.rate / peak.rate, memory(&mut cluster)),
    );
}
