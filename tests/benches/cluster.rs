//! Three real nodes and the load on one machine: rates, CPU for each operation, latencies, memory, start times.
//!
//! ```text
//! cargo bench -p quorate-tests --bench cluster -- --seconds 10 --concurrency 256 --shards 1 --keys 1000000 --threads 1 --sync-millis 100
//! ```

mod load;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use quorate_client::Bucket;
use quorate_tests::process::{cpu_time, resident_bytes};
use quorate_tests::{Cluster, ClusterOptions};

use load::{Kind, Load, closed_loop, fill, open_loop, row, row_of, value};

/// Puts a second of the open loop: half of the 14,000 that a photo service with half a billion users took in 2017, which is the
/// least that three nodes on two cores should take.
const STEADY_RATE: f64 = 7_000.0;
const SMALL_VALUE_BYTES: usize = 32;
const IDLE: Duration = Duration::from_secs(5);

struct Settings {
    seconds: u64,
    concurrency: u64,
    shards: u64,
    keys: u64,
    threads: u64,
    sync_millis: u64,
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

    let puts =
        closed_loop(&mut cluster, settings.seconds, settings.concurrency, Load::new(Kind::Put, &bucket, &written))
            .await;
    row_of(&format!("puts, W = 2, {} at a time", settings.concurrency), &puts);
    let gets =
        closed_loop(&mut cluster, settings.seconds, settings.concurrency, Load::new(Kind::Get, &bucket, &written))
            .await;
    row_of(&format!("gets, R = 2, {} at a time", settings.concurrency), &gets);
    for (what, rate) in
        [("puts, W = 2, at a steady rate", STEADY_RATE), ("puts, W = 2, at half the highest rate", puts.rate / 2.0)]
    {
        let steady = open_loop(&mut cluster, settings.seconds, Load::new(Kind::Put, &bucket, &written), rate).await;
        row_of(what, &steady);
    }

    fill_timed(&client.bucket("small").expect("a valid name"), settings.keys).await;
    idle(&mut cluster, "after the load").await;
    client.close().await;
    start_times(&mut cluster, settings).await;
    idle(&mut cluster, "after a restart").await;
}

/// Writes many small keys in batches.
async fn fill_timed(bucket: &Bucket, keys: u64) {
    let begun = Instant::now();
    fill(bucket, keys, &value(SMALL_VALUE_BYTES)).await;
    let rate = keys as f64 / begun.elapsed().as_secs_f64();
    let what = format!("puts of {SMALL_VALUE_BYTES} bytes in batches, W = 2, {keys} keys");
    row(&what, &format!("{rate:.0} keys/s"));
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
