//! What a change of the members costs: how much is moved and how fast, and what the foreground feels of it.
//!
//! ```text
//! cargo bench -p quorate-tests --bench elastic -- [moves] [foreground] [--keys 200000] [--rounds 2]
//! ```
//!
//! Without a name both parts are run. The nodes and the load share this machine's cores. Each figure is a ratio within this run, beside
//! what is wanted of it: bytes moved against those of the data that has to move, the rate at which a node fills against the rate at which the
//! same storage engine reads all of one store in order and writes it to another, latencies during a transfer against those without.

mod load;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use quorate_client::{Bucket, Client};
use quorate_node::storage::rocks::{RocksOptions, RocksStorage, RocksStore};
use quorate_node::storage::{Batch, Column, Completion, Operation, OperationId, Scan, Storage};
use quorate_ring::layout::Layout;
use quorate_ring::limits::{SCAN_BYTES_MAX, SCAN_ITEMS_MAX};
use quorate_ring::wire::Durability;
use quorate_ring::{BucketName, Key, NodeId, ObjectKey, PartitionId, Position, Ring};
use quorate_tests::process::cpu_time;
use quorate_tests::{Cluster, ClusterOptions};
use tokio::task::JoinSet;

use load::{Kind, Load, Measured, VALUE_BYTES, fill, key, mixed, open_loops_until, row, row_of, value};

const BUCKET: &str = "b";
/// What may be moved beyond the least.
const MOVED_GOAL: f64 = 1.01;
/// The smallest node's data against its fair share.
const BALANCE_GOAL: f64 = 0.985;
/// A node's rate of filling against the engine's own.
const SPEED_GOAL: f64 = 0.5;
/// p99 during a transfer against without.
const P99_GOAL: f64 = 1.5;
/// A change that takes longer hangs.
const CHANGE_BOUND: Duration = Duration::from_secs(180);
/// How often a change is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a node has to say by what ring it goes.
const ANSWER_TIME: Duration = Duration::from_millis(300);
/// Of each kind in the foreground, a second: about a tenth of what these nodes can do.
const RATE: f64 = 500.0;
const FOREGROUND_KEYS: u64 = 80_000;
const QUIET: Duration = Duration::from_secs(8);

struct Settings {
    keys: u64,
    rounds: usize,
    parts: Vec<String>,
}

fn main() {
    let settings = Settings::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("the operating system gives threads").block_on(bench(&settings));
}

impl Settings {
    fn parse() -> Self {
        const PARTS: [&str; 2] = ["moves", "foreground"];
        let mut settings = Self { keys: 200_000, rounds: 2, parts: Vec::new() };
        // `cargo bench` adds a flag of its own.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse().ok());
                value.unwrap_or_else(|| panic!("{argument} takes a number"))
            };
            match argument.as_str() {
                "--keys" => settings.keys = number(),
                "--rounds" => settings.rounds = number() as usize,
                part if PARTS.contains(&part) => settings.parts.push(part.to_owned()),
                _ => panic!("unknown argument {argument}; there are --keys, --rounds and {}", PARTS.join(", ")),
            }
        }
        settings
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|named| named == part)
    }
}

async fn bench(settings: &Settings) {
    println!("| three to four nodes and the load on one machine, N = 3 | measured |\n|---|---|");
    if settings.has("moves") {
        moves(settings).await;
    }
    if settings.has("foreground") {
        foreground(settings).await;
    }
}

/// What was measured, what is wanted, and whether it is so.
fn at_most(measured: f64, goal: f64) -> String {
    format!("{measured:.3} x (goal at most {goal}: {})", if measured <= goal { "met" } else { "not met" })
}

fn at_least(measured: f64, goal: f64) -> String {
    format!("{measured:.3} (goal at least {goal}: {})", if goal <= measured { "met" } else { "not met" })
}

/// Looks at what nodes say of the ring that they go by.
#[derive(Clone)]
struct Watcher(Client);

impl Watcher {
    async fn ring(&self) -> Arc<Ring> {
        let layouts = self.layouts().await;
        let (node, layout) = layouts.iter().next_back().expect("somebody is up");
        layout.placement(*node).last().clone()
    }

    async fn layouts(&self) -> BTreeMap<NodeId, Layout> {
        // A client learns of a new ring by the answers that it gets.
        let _ = self.0.ring().await;
        let mut layouts = BTreeMap::new();
        for member in self.0.known_ring().members {
            // One that is dead answers nothing.
            if let Ok(Ok(layout)) = tokio::time::timeout(ANSWER_TIME, self.0.layout(member.node)).await {
                layouts.insert(member.node, layout);
            }
        }
        layouts
    }

    /// Waits until all members go by another ring than this, and by it alone.
    async fn until_changed(&self, before: u64) {
        let begun = Instant::now();
        loop {
            let layouts = self.layouts().await;
            let (node, newest) = layouts.iter().max_by_key(|(_, layout)| layout.last().number()).expect("one is up");
            let (id, ring) = (newest.last().id(), newest.placement(*node).last().clone());
            let all = ring.members().iter().all(|member| {
                layouts.get(&member.node).is_some_and(|layout| layout.live().len() == 1 && layout.last().id() == id)
            });
            if all && ring.fingerprint() != before {
                return;
            }
            assert!(begun.elapsed() < CHANGE_BOUND, "a change of the members takes longer than {CHANGE_BOUND:?}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// How long a change took.
struct Taken {
    /// Until nobody lacked anything.
    filled: Duration,
    /// Until all went by the new ring alone.
    whole: Duration,
}

/// A cluster whose members change, and where its nodes tell what links have carried.
struct Growing {
    cluster: Cluster,
    client: Client,
    watcher: Watcher,
    metrics: BTreeMap<u32, SocketAddr>,
    /// Bytes of keys and values in each partition.
    data: BTreeMap<PartitionId, u64>,
}

impl Growing {
    async fn start() -> Self {
        let mut cluster = ClusterOptions::new(3).node_lines("shards = 1").prepare();
        let mut metrics = BTreeMap::new();
        for node in cluster.nodes() {
            let address = free_address();
            node.set_flags(&["--metrics", &address.to_string()]);
            metrics.insert(node.number(), address);
        }
        cluster.start_all();
        cluster.connected().await;
        let client = cluster.client_within(CHANGE_BOUND).await;
        let watcher = Watcher(client.clone());
        Self { cluster, client, watcher, metrics, data: BTreeMap::new() }
    }

    /// Stores so many keys in all replicas, and waits until that is so.
    async fn store(&mut self, keys: u64) {
        let bucket = self.client.bucket(BUCKET).expect("valid");
        fill_distinct(&bucket, keys).await;
        self.cluster.quorate(["wait", "--converged", "--at-most", "100s"]).run().ends_with(0);
        let ring = self.watcher.ring().await;
        let name = BucketName::new(BUCKET).expect("valid");
        for number in 0..keys {
            let key = Key::new(key(number)).expect("valid");
            let bytes = key.as_bytes().len() + VALUE_BYTES;
            let partition = ring.partition_of(Position::of(&ObjectKey::new(&name, &key)));
            *self.data.entry(partition).or_default() += bytes as u64;
        }
    }

    /// Makes a node that waits to be a member.
    fn add(&mut self, number: u32) -> String {
        let address = free_address();
        let node = self.cluster.add(number);
        node.set_flags(&["--metrics", &address.to_string()]);
        node.start();
        let reached = node.address().to_string();
        self.metrics.insert(number, address);
        reached
    }

    fn run(&self, arguments: &[&str]) {
        self.cluster.quorate(arguments).run().ends_with(0);
    }

    /// Bytes that the nodes that run have sent to each other.
    fn sent(&mut self) -> f64 {
        let mut sum = 0.0;
        for node in self.cluster.nodes() {
            if node.is_running() {
                sum += told(self.metrics[&node.number()], "quorate_peer_sent_bytes_total").expect("it runs");
            }
        }
        sum
    }

    fn busy(&mut self) -> Duration {
        let running = self.cluster.nodes().iter_mut().filter_map(|node| node.is_running().then(|| node.process_id()));
        running.map(cpu_time).sum()
    }

    /// Commits what is staged and waits until all members go by the new ring alone.
    async fn commit(&self) -> Taken {
        let before = self.watcher.ring().await.fingerprint();
        self.run(&["cluster", "commit"]);
        let (begun, over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let (addresses, is_over): (Vec<_>, _) = (self.metrics.values().copied().collect(), over.clone());
        // A node that is no member yet tells nobody but who reads its metrics.
        let filling = std::thread::spawn(move || {
            let mut filled = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let lacking =
                    |address: &SocketAddr| told(*address, "quorate_partitions_behind").is_some_and(|count| 0.0 < count);
                if addresses.iter().any(lacking) {
                    filled = begun.elapsed();
                }
                std::thread::sleep(LOOK);
            }
            filled
        });
        self.watcher.until_changed(before).await;
        over.store(true, Ordering::Relaxed);
        Taken { filled: filling.join().expect("it only looks"), whole: begun.elapsed() }
    }

    /// Carries out what is staged: what it moved, against what it had to. Gives the bytes of data moved a second.
    async fn change(&mut self, what: &str, dead: Option<u32>) -> f64 {
        let before = self.watcher.ring().await;
        let (sent, busy) = (self.sent(), self.busy());
        let Taken { filled, whole } = self.commit().await;
        let (sent, busy) = (self.sent() - sent, self.busy().saturating_sub(busy));
        let after = self.watcher.ring().await;
        let gained = || quorate_ring::claim::gains(&before, &after);
        let data: u64 = gained().map(|(partition, _)| self.data.get(&partition).copied().unwrap_or_default()).sum();
        let (moved, least) = (gained().count(), least_moved(&before, &after));
        let dead = dead.map(|node| format!(" (n{node} is dead)")).unwrap_or_default();
        row(
            &format!("{what}{dead}: replicas of partitions moved"),
            &format!(
                "{moved} of {least} that any placement has to move: {}",
                at_most(moved as f64 / least as f64, MOVED_GOAL)
            ),
        );
        row(
            "... balance afterwards: the node with least against its fair share",
            &at_least(balance(&after), BALANCE_GOAL),
        );
        row(
            "... bytes between nodes, all that UDP carries, against those of the keys and values moved",
            &format!(
                "{:.1} MB for {:.1} MB: {:.3} x; all received after {:.1} s, {:.1} MB/s, and done after {:.1} s; CPU of all nodes {:.1} s, \
                 {:.0} µs for each key moved",
                sent / 1e6,
                data as f64 / 1e6,
                sent / data as f64,
                filled.as_secs_f64(),
                data as f64 / 1e6 / filled.as_secs_f64(),
                whole.as_secs_f64(),
                busy.as_secs_f64(),
                busy.as_secs_f64() * 1e6 / (data as f64 / (VALUE_BYTES + key(0).len()) as f64),
            ),
        );
        data as f64 / filled.as_secs_f64()
    }
}

/// Replicas that each node should hold: by its capacity, and none more than all partitions, whose rest is the others'.
fn fair_shares(ring: &Ring) -> BTreeMap<NodeId, f64> {
    let partitions = f64::from(ring.partitions().get());
    let mut left = partitions * f64::from(ring.replicas());
    let mut open: Vec<_> =
        ring.members().iter().map(|member| (member.node, f64::from(member.capacity.weight()))).collect();
    let mut shares = BTreeMap::new();
    loop {
        let capacity: f64 = open.iter().map(|(_, capacity)| capacity).sum();
        let Some(full) = open.iter().position(|(_, own)| partitions <= left * own / capacity) else {
            shares.extend(open.into_iter().map(|(node, own)| (node, left * own / capacity)));
            return shares;
        };
        shares.insert(open.remove(full).0, partitions);
        left -= partitions;
    }
}

fn held(ring: &Ring, node: NodeId) -> usize {
    ring.partitions_of(node).count()
}

/// What nodes have to receive for each to have its fair share, whoever gives it.
fn least_moved(before: &Ring, after: &Ring) -> usize {
    let lacks = |(node, share): (&NodeId, &f64)| (*share as usize).saturating_sub(held(before, *node));
    fair_shares(after).iter().map(lacks).sum()
}

/// Of the node that holds least by its fair share, what part of that.
fn balance(ring: &Ring) -> f64 {
    let part = |(node, share): (&NodeId, &f64)| held(ring, *node) as f64 / share;
    fair_shares(ring).iter().map(part).fold(f64::INFINITY, f64::min)
}

/// What a join, changes of a weight, a replacement and a leave move, and how fast the one that joins is filled.
async fn moves(settings: &Settings) {
    let mut growing = Growing::start().await;
    growing.store(settings.keys).await;
    let mut engine = vec![engine_rate(settings.keys / 4 * 3)];

    let address = growing.add(4);
    growing.run(&["cluster", "join", "4", &address]);
    let filled = growing.change("n4 joins three nodes", None).await;
    engine.push(engine_rate(settings.keys / 4 * 3));
    let engine = engine.iter().sum::<f64>() / engine.len() as f64;
    row(
        "n4's rate of filling against RocksDB's of scanning one store and writing it to another, mean of before and after",
        &format!("{:.1} MB/s, {:.1} MB/s: {}", filled / 1e6, engine / 1e6, at_least(filled / engine, SPEED_GOAL)),
    );

    growing.run(&["cluster", "set", "1", "--capacity", "50"]);
    growing.change("n1 weighs half as much", None).await;
    growing.run(&["cluster", "set", "1", "--capacity", "100"]);
    growing.change("n1 weighs as much as the others again", None).await;

    growing.cluster.node(2).kill();
    let address = growing.add(5);
    growing.run(&["cluster", "replace", "2", "5", &address, "--force"]);
    growing.change("n5 replaces n2", Some(2)).await;

    growing.run(&["cluster", "leave", "4"]);
    growing.change("n4 leaves four nodes", None).await;
    growing.client.close().await;
}

/// Bytes of keys and values a second that the storage engine alone reads from one store in order and writes to another.
fn engine_rate(keys: u64) -> f64 {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    write_unordered(&source, keys);
    let (from, mut reader) = open(&source);
    let (to, mut writer) = open(&target);
    let begun = Instant::now();
    let (mut next, mut bytes) = (Bytes::new(), 0);
    loop {
        let scan = Scan {
            column: Column::Objects,
            from: next,
            until: None,
            infix: Bytes::new(),
            limit: SCAN_ITEMS_MAX,
            bytes_max: SCAN_BYTES_MAX,
            beside: None,
        };
        let Completion::Scanned { entries, last, .. } = done(&mut reader, Operation::Scan(scan)) else {
            panic!("a scan is answered by a page");
        };
        let mut batch = Batch::default();
        next = entries.last().map(|(place, _)| behind(place)).unwrap_or_default();
        for (place, object) in entries {
            bytes += place.len() + object.len();
            batch.put(Column::Objects, place, object);
        }
        let durability = if last { Durability::Synced } else { Durability::Buffered };
        done(&mut writer, Operation::Write { batch, durability });
        if last {
            break;
        }
    }
    let rate = bytes as f64 / begun.elapsed().as_secs_f64();
    from.shutdown().and_then(|()| to.shutdown()).expect("the last sync works");
    rate
}

fn open(path: &Path) -> (RocksStore, RocksStorage) {
    let store = RocksStore::open(path, &RocksOptions::default()).expect("it opens");
    let owner = std::thread::current();
    let handle = store.handle(Arc::new(move || owner.unpark()));
    (store, handle)
}

/// Stores objects as clients write them: in no order.
fn write_unordered(path: &Path, keys: u64) {
    let (store, mut handle) = open(path);
    for first in (0..keys).step_by(64) {
        let mut batch = Batch::default();
        for number in first..(first + 64).min(keys) {
            let place = [&mixed(number).to_be_bytes()[..], b"\x01b", key(number).as_bytes()].concat();
            batch.put(Column::Objects, place.into(), distinct_value(number));
        }
        done(&mut handle, Operation::Write { batch, durability: Durability::Buffered });
    }
    store.shutdown().expect("the last sync works");
}

fn done(handle: &mut RocksStorage, operation: Operation) -> Completion {
    handle.submit(OperationId(0), operation);
    handle.flush();
    loop {
        match handle.poll_completion() {
            Some((_, outcome)) => return outcome.expect("the disk works"),
            None => std::thread::park(),
        }
    }
}

fn behind(place: &Bytes) -> Bytes {
    let mut next = BytesMut::from(place.as_ref());
    next.put_u8(0);
    next.freeze()
}

/// A value that no other is like, cut out of the same bytes so that it costs nothing to make.
fn distinct_value(number: u64) -> Bytes {
    static NOISE: std::sync::LazyLock<Bytes> = std::sync::LazyLock::new(|| value(1 << 20));
    let first = mixed(number) as usize % (NOISE.len() - VALUE_BYTES);
    NOISE.slice(first..first + VALUE_BYTES)
}

/// Writes so many keys, in batches, each with its own value.
async fn fill_distinct(bucket: &Bucket, keys: u64) {
    const BATCH: u64 = 512;
    const TASKS: u64 = 8;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let bucket = bucket.clone();
        tasks.spawn(async move {
            for first in (0..keys).step_by(BATCH as usize).skip(task as usize).step_by(TASKS as usize) {
                let numbers = first..(first + BATCH).min(keys);
                let writes = numbers.map(|number| (key(number), distinct_value(number)));
                for result in bucket.put_many(writes).await {
                    result.unwrap_or_else(|error| panic!("put_many: {error}"));
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("batches succeed");
    }
}

/// Puts and gets at a steady rate while a node joins and leaves again, and while nothing changes, in turns.
async fn foreground(settings: &Settings) {
    let mut growing = Growing::start().await;
    let bucket = growing.client.bucket(BUCKET).expect("valid");
    fill(&bucket, FOREGROUND_KEYS, &value(VALUE_BYTES)).await;
    growing.run(&["wait", "--converged", "--at-most", "100s"]);
    let client = growing.cluster.client().await;
    let bucket = client.bucket(BUCKET).expect("valid");
    let (read, written) = (Arc::new(FOREGROUND_KEYS.into()), Arc::default());
    let puts = Load::new(Kind::Put, &client.bucket("meanwhile").expect("valid"), &written);
    let loads = [puts, Load::new(Kind::Get, &bucket, &read)];
    let mut sums: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
    let mut times = Vec::new();
    open_loops_until(&mut growing.cluster, loads.clone(), RATE, tokio::time::sleep(QUIET / 4)).await;
    for round in 0..settings.rounds {
        let joining = u32::try_from(4 + round).expect("few rounds").to_string();
        let address = growing.add(4 + round as u32);
        let stage: [&[&str]; 2] = [&["cluster", "join", &joining, &address], &["cluster", "leave", &joining]];
        for arguments in stage {
            let quiet = tokio::time::sleep(QUIET);
            add(&mut sums[0], open_loops_until(&mut growing.cluster, loads.clone(), RATE, quiet).await);
            growing.run(arguments);
            let watcher = growing.watcher.clone();
            let before = watcher.ring().await.fingerprint();
            growing.run(&["cluster", "commit"]);
            let begun = Instant::now();
            let over = watcher.until_changed(before);
            let measured = open_loops_until(&mut growing.cluster, loads.clone(), RATE, over).await;
            times.push(format!("{:.1}", begun.elapsed().as_secs_f64()));
            add(&mut sums[1], measured);
        }
        growing.cluster.node(4 + round as u32).stop();
    }
    let [without, with] = sums;
    for (kind, (without, with)) in ["puts, W = 2", "gets, R = 2"].into_iter().zip(without.iter().zip(&with)) {
        row_of(&format!("{kind}, at {RATE} /s, nothing changes"), without);
        row_of(&format!("{kind}, at {RATE} /s, a node joins or leaves, {} times", times.len()), with);
        let ratio = |quantile| with.millis(quantile) / without.millis(quantile);
        row("... p50 and p99 of these two", &format!("{:.2} x; {}", ratio(0.5), at_most(ratio(0.99), P99_GOAL)));
    }
    row(&format!("... {FOREGROUND_KEYS} keys stored; the changes took, in seconds"), &times.join(", "));
}

/// Adds up what runs of each kind came to.
fn add(sums: &mut Vec<Measured>, measured: [Measured; 2]) {
    if sums.is_empty() {
        sums.extend(measured);
    } else {
        sums.iter_mut().zip(&measured).for_each(|(sum, measured)| sum.add(measured));
    }
}

/// What a node tells of itself by this name. Nothing if it does not run.
fn told(metrics: SocketAddr, name: &str) -> Option<f64> {
    let mut stream = TcpStream::connect(metrics).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {metrics}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// A TCP port that nobody listens on.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
