//! What the store costs: CPU per put and per read of one shard, memory at rest, and the time to open.
//!
//! `cargo bench -p quorate-node --bench storage`. A put is what a replica writes for one event: an object of a kilobyte, a node
//! clock of a hundred bytes and an entry of the dot log. CPU is of the shard's thread and, apart from it, of the whole process
//! with RocksDB's own threads, as Linux counts them; so the figures hold on a machine that does other things too.
#![expect(clippy::disallowed_methods, reason = "it measures, and looks into /proc")]

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_node::storage::rocks::{RocksOptions, RocksStorage, RocksStore};
use quorate_node::storage::{Batch, Column, Completion, Operation, OperationId, Storage};
use quorate_ring::wire::Durability;

/// As in a node.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PUTS: u64 = 200_000;
const MANY_KEYS: u64 = 1_000_000;
const FEW_KEYS: u64 = 10_000;
const SYNCED_PUTS: u64 = 2_000;
/// How often the few keys are read, because Linux brings a thread's count up to date only every few milliseconds.
const ROUNDS: u64 = 20;

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    let (store, mut shard) = open(&at("idle"));
    println!("at rest, empty:                    {:>8.1} MiB", resident_mebibytes());
    let idle = Cost::begin();
    std::thread::sleep(Duration::from_secs(2));
    println!("at rest, CPU:                      {:>8.2} % of a core", idle.process_micros() / 20_000.0);
    few_keys(&mut shard);
    drop((store, shard));
    few_keys_cold(&at("idle"));
    for (name, puts_per_turn) in [("1", 1), ("8", 8), ("64", 64)] {
        let (store, mut shard) = open(&at(name));
        put_many(&mut shard, PUTS, puts_per_turn);
        drop((store, shard));
    }
    synced_puts(&at("synced"));
    many_keys(&at("many"));
}

fn open(path: &Path) -> (RocksStore, RocksStorage) {
    let store = RocksStore::open(path, &RocksOptions::default()).expect("it opens");
    let shard: Thread = std::thread::current();
    let handle = store.handle(Arc::new(move || shard.unpark()));
    (store, handle)
}

/// Reads that the memtable answers.
fn few_keys(shard: &mut RocksStorage) {
    for number in 0..FEW_KEYS {
        put(shard, number, Durability::Buffered);
    }
    run(shard, FEW_KEYS);
    read_rounds("read, memtable", shard, 0);
    read_rounds("read, memtable, absent key", shard, FEW_KEYS);
}

/// Reads that the readers answer first, and the block cache afterwards.
fn few_keys_cold(path: &Path) {
    let (_store, mut shard) = open(path);
    measured("read, by the readers", FEW_KEYS, || read_each(&mut shard, 0..FEW_KEYS));
    read_rounds("read, block cache", &mut shard, 0);
    read_rounds("read, files, absent key", &mut shard, FEW_KEYS);
    println!("at rest, 10 MB read:               {:>8.1} MiB", resident_mebibytes());
}

fn read_rounds(name: &str, shard: &mut RocksStorage, first: u64) {
    measured(name, ROUNDS * FEW_KEYS, || (0..ROUNDS).for_each(|_| read_each(shard, first..first + FEW_KEYS)));
    measured(&format!("{name}, 50 a turn"), ROUNDS * FEW_KEYS, || {
        for turn in (0..ROUNDS * FEW_KEYS).step_by(50) {
            (turn..turn + 50).for_each(|number| submit_read(shard, first + number % FEW_KEYS));
            run(shard, 50);
        }
    });
}

fn put_many(shard: &mut RocksStorage, puts: u64, puts_per_turn: u64) {
    measured(&format!("put, {puts_per_turn} a turn"), puts, || {
        for first in (0..puts).step_by(puts_per_turn as usize) {
            (first..first + puts_per_turn).for_each(|number| put(shard, number, Durability::Buffered));
            run(shard, puts_per_turn);
        }
    });
}

fn synced_puts(path: &Path) {
    let (store, mut shard) = open(path);
    for at_once in [1, 64] {
        let syncs = store.syncs();
        let began = Instant::now();
        for first in (0..SYNCED_PUTS).step_by(at_once) {
            (first..first + at_once as u64).for_each(|number| put(&mut shard, number, Durability::Synced));
            run(&mut shard, at_once as u64);
        }
        let micros = began.elapsed().as_secs_f64() * 1e6 / SYNCED_PUTS as f64;
        println!("synced put, {at_once:>2} at once:            {micros:>8.1} us each, {} syncs", store.syncs() - syncs);
    }
}

fn many_keys(path: &Path) {
    let (store, mut shard) = open(path);
    put_many(&mut shard, MANY_KEYS, 64);
    println!("after a million puts:              {:>8.1} MiB", resident_mebibytes());
    store.shutdown().expect("the last sync works");
    drop((store, shard));
    let began = Instant::now();
    let (store, mut shard) = open(path);
    println!("opening a million keys:            {:>8.3} s", began.elapsed().as_secs_f64());
    println!("keys about {}, {} MB on disk", store.keys_about(), store.disk_bytes() / 1_000_000);
    println!("at rest, a million keys:           {:>8.1} MiB", resident_mebibytes());
    measured("read, million keys, first", FEW_KEYS, || read_each(&mut shard, 0..FEW_KEYS));
    measured("read, million keys, second", FEW_KEYS, || read_each(&mut shard, 0..FEW_KEYS));
    measured("read, million keys, absent", FEW_KEYS, || read_each(&mut shard, MANY_KEYS..MANY_KEYS + FEW_KEYS));
    println!("after these reads:                 {:>8.1} MiB", resident_mebibytes());
}

fn put(shard: &mut RocksStorage, number: u64, durability: Durability) {
    let position = mixed(number);
    let partition = (position >> 54).to_be_bytes();
    let dot = [&partition[6..], &number.to_be_bytes()].concat();
    let mut batch = Batch { changes: Vec::with_capacity(3) };
    batch.put(Column::Objects, key(number), noise(number, 1024));
    batch.put(Column::Metadata, Bytes::copy_from_slice(&partition), noise(number, 100));
    batch.put(Column::DotLog, dot.into(), key(number));
    shard.submit(OperationId(number), Operation::Write { batch, durability });
}

fn read_each(shard: &mut RocksStorage, numbers: std::ops::Range<u64>) {
    for number in numbers {
        submit_read(shard, number);
        run(shard, 1);
    }
}

fn submit_read(shard: &mut RocksStorage, number: u64) {
    shard.submit(OperationId(number), Operation::Read { column: Column::Objects, key: key(number) });
}

/// Flushes and waits for so many completions.
fn run(shard: &mut RocksStorage, mut wanted: u64) {
    shard.flush();
    while 0 < wanted {
        match shard.poll_completion() {
            Some((_, outcome)) => {
                let completion = outcome.expect("the disk works");
                assert!(matches!(completion, Completion::Read(_) | Completion::Written));
                wanted -= 1;
            }
            None => std::thread::park(),
        }
    }
}

fn key(number: u64) -> Bytes {
    [&mixed(number).to_be_bytes()[..], format!("\u{5}usersuser{number:09}").as_bytes()].concat().into()
}

/// Bytes of which about half compress, cut out of the same ones so that they cost nothing to make.
fn noise(seed: u64, bytes: usize) -> Bytes {
    static NOISE: LazyLock<Bytes> =
        LazyLock::new(|| (0..8192).flat_map(|part| [mixed(part), part]).flat_map(u64::to_le_bytes).collect());
    let first = (mixed(seed) % 100_000) as usize;
    NOISE.slice(first..first + bytes)
}

/// The finaliser of splitmix64: a bijection that scatters consecutive numbers.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn measured(name: &str, operations: u64, work: impl FnOnce()) {
    let cost = Cost::begin();
    work();
    let each = |micros: f64| micros / operations as f64;
    let wall = cost.began.elapsed().as_secs_f64() * 1e6;
    let (thread, process) = (each(cost.thread_micros()), each(cost.process_micros()));
    println!("{name:<34} {thread:>8.2} us thread {process:>8.2} us process {:>8.2} us wall", each(wall));
}

/// Clocks of CPU and time since a moment.
struct Cost {
    began: Instant,
    thread_nanos: u64,
    process_ticks: u64,
}

impl Cost {
    fn begin() -> Self {
        Self { began: Instant::now(), thread_nanos: thread_nanos(), process_ticks: process_ticks() }
    }

    fn thread_micros(&self) -> f64 {
        (thread_nanos() - self.thread_nanos) as f64 / 1e3
    }

    /// In steps of ten milliseconds.
    fn process_micros(&self) -> f64 {
        (process_ticks() - self.process_ticks) as f64 * 10_000.0
    }
}

fn thread_nanos() -> u64 {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    field(&statistics, 0)
}

fn process_ticks() -> u64 {
    let statistics = fs::read_to_string("/proc/self/stat").expect("Linux counts it");
    let (_, behind_name) = statistics.rsplit_once(')').expect("the name is in parentheses");
    field(behind_name, 11) + field(behind_name, 12)
}

fn resident_mebibytes() -> f64 {
    let statistics = fs::read_to_string("/proc/self/statm").expect("Linux counts it");
    field(&statistics, 1) as f64 * 4.0 / 1024.0
}

fn field(statistics: &str, index: usize) -> u64 {
    statistics.split_whitespace().nth(index).expect("it is there").parse().expect("it is a number")
}
