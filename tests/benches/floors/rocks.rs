//! RocksDB as a node opens it: what a put reads and writes at one replica, and what a get reads.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_node::replica::layout;
use quorate_node::storage::rocks::{RocksOptions, RocksStore};
use quorate_ring::version::{Actor, Container, Dot, Incarnation, NodeClock};
use quorate_ring::{BucketName, Key, NodeId, ObjectKey, PartitionCount, PartitionId, Position, Value};
use rocksdb::{Cache, DB, Env, Options, WaitForCompactOptions, WriteBatch};

use super::{BATCHES, measured};

/// Sizes of values, and how many records there are of them.
const STORES: [(usize, u64); 8] = [
    (100, 10_000),
    (100, 100_000),
    (100, 1_000_000),
    (100, 10_000_000),
    (1024, 1_000_000),
    (16, 20_000),
    (10_000, 20_000),
    (100_000, 20_000),
];
/// The one of these in which puts are synced, too.
const SYNCED: (usize, u64) = (100, 100_000);
/// So many of the keys are read and written anew, which are spread evenly over all.
const SAMPLE_MAX: u64 = 1_000_000;
/// Records that are loaded as one batch.
const LOADED_TOGETHER: u64 = 20;
/// The store's.
const BLOCK_BYTES: usize = 8 * 1024;
/// How far the clock of a partition has come of each of its three actors.
const EVENTS: u64 = 1_000;
/// Events whose records the journal keeps.
const YOUNG_MAX: u64 = 50_000;
const FILTER_AS_WRITTEN: &str = "filter_policy=bloomfilter\n";
/// The store's: ten bits a key.
const FILTER: &str = "filter_policy=bloomfilter:10:false\n";

pub(super) fn measure() {
    for (bytes, records) in STORES {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (database, entries) = (open(directory.path()), Entries::new(bytes, records));
        load(&database, &entries);
        let mut number = 0;
        for batch in BATCHES {
            let mut next = || {
                number += batch as u64;
                number - batch as u64..number
            };
            let what = format!("{bytes} B, {records} records, batches of {batch}");
            settle(&database);
            measured(&format!("RocksDB: a put: a read, an object and a share of a record, {what}"), batch, || {
                put(&database, &entries, next());
            });
            if (bytes, records) == SYNCED {
                settle(&database);
                measured(&format!("RocksDB: a synced put: the same and a sync of the log, {what}"), batch, || {
                    put(&database, &entries, next());
                    database.flush_wal(true).expect("the disk works");
                });
            }
            settle(&database);
            measured(&format!("RocksDB: a get, {what}"), batch, || {
                next().for_each(|number| assert!(read(&database, &entries.key(number)), "all keys were written"));
            });
        }
    }
}

/// Writes every record once.
fn load(database: &DB, entries: &Entries) {
    let objects = database.cf_handle("objects").expect("the store made it");
    for first in (0..entries.records).step_by(LOADED_TOGETHER as usize) {
        let mut batch = WriteBatch::default();
        for number in first..first + LOADED_TOGETHER {
            batch.put_cf(objects, layout::object(&key(number)), &entries.object);
        }
        database.write(batch).expect("the disk works");
    }
}

/// Waits for compactions, so that none that an earlier measurement has left is measured.
fn settle(database: &DB) {
    database.wait_for_compact(&WaitForCompactOptions::default()).expect("the disk works");
}

/// A store makes the database, which keeps its options in a file.
fn open(path: &Path) -> DB {
    let options = RocksOptions::default();
    RocksStore::open(path, &options).expect("it opens").shutdown().expect("it syncs");
    complete(path);
    let cache = Cache::new_hyper_clock_cache(options.cache_bytes, BLOCK_BYTES);
    let environment = Env::new().expect("the default environment");
    let (options, families) =
        Options::load_latest(path, environment, false, cache).expect("the file is of this release");
    DB::open_cf_descriptors(&options, path, families).expect("it opens again")
}

/// Puts into the file what RocksDB leaves out when it writes it: how large filters are.
fn complete(path: &Path) {
    let files = fs::read_dir(path).expect("the store made it").map(|file| file.expect("it can be listed").path());
    let of_options = |file: &PathBuf| file.to_string_lossy().contains("OPTIONS-");
    for file in files.filter(of_options) {
        let options = fs::read_to_string(&file).expect("it is text");
        assert!(options.contains(FILTER_AS_WRITTEN), "RocksDB writes its filters otherwise now");
        fs::write(&file, options.replace(FILTER_AS_WRITTEN, FILTER)).expect("it can be written");
    }
}

/// The reads of so many puts, and then what all of them write as one batch: their objects, and one record of the journal.
fn put(database: &DB, entries: &Entries, numbers: Range<u64>) {
    let family = |name| database.cf_handle(name).expect("the store made it");
    let (objects, journal) = (family("objects"), family("journal"));
    numbers.clone().for_each(|number| _ = read(database, &entries.key(number)));
    let (mut batch, mut record) = (WriteBatch::default(), Vec::new());
    for number in numbers.clone() {
        batch.put_cf(objects, layout::object(&entries.key(number)), &entries.object);
        entries.add_to_record(&mut record, number);
    }
    batch.put_cf(journal, numbers.start.to_be_bytes(), record);
    // As many events as the default journal has young, or a few more.
    if numbers.start / YOUNG_MAX != numbers.end / YOUNG_MAX {
        batch.delete_range_cf(journal, [0; 8], numbers.start.to_be_bytes());
    }
    database.write(batch).expect("the disk works");
}

fn read(database: &DB, key: &ObjectKey) -> bool {
    let objects = database.cf_handle("objects").expect("the store made it");
    let value = database.get_pinned_cf(objects, layout::object(key)).expect("the disk works");
    value.is_some_and(|value| !std::hint::black_box(Bytes::copy_from_slice(&value)).is_empty())
}

/// What replicas write, encoded once.
struct Entries {
    records: u64,
    keys: Vec<ObjectKey>,
    object: Bytes,
    clock: Bytes,
}

impl Entries {
    fn new(bytes: usize, records: u64) -> Self {
        let mut container = Container::empty();
        container.add(dot(1, EVENTS), Value::new(vec![0xa5; bytes]).expect("small").into());
        let mut clock = NodeClock::new();
        (1..=3).for_each(|node| (1..=EVENTS).for_each(|counter| _ = clock.add(dot(node, counter))));
        container.strip(clock.base());
        let sample = SAMPLE_MAX.min(records);
        Self {
            records,
            keys: (0..sample).map(|number| key(number * (records / sample))).collect(),
            object: layout::encode_container(&container),
            clock: layout::encode(&clock),
        }
    }

    fn key(&self, number: u64) -> ObjectKey {
        self.keys[number as usize % self.keys.len()].clone()
    }

    /// What a record of the journal has of an event: a partition's clock and an entry of the log of dots.
    fn add_to_record(&self, record: &mut Vec<u8>, number: u64) {
        let key = self.key(number);
        let partition: PartitionId = PartitionCount::default().partition_of(Position::of(&key));
        record.extend_from_slice(&layout::clock(partition));
        record.extend_from_slice(&self.clock);
        record.extend_from_slice(&layout::dot_log(partition, dot(1, number)));
        record.extend_from_slice(key.encoded());
    }
}

fn key(number: u64) -> ObjectKey {
    let bucket = BucketName::new("bench").expect("valid");
    ObjectKey::new(&bucket, &Key::new(format!("user:{number:018}")).expect("valid"))
}

fn dot(node: u32, counter: u64) -> Dot {
    let node = NodeId::new(node).expect("numbered from 1");
    Dot::new(Actor::new(node, Incarnation::new(0x5eed_0000_0000_0000)), counter)
}
