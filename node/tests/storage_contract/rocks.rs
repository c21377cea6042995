//! What only the engine on a disk can do: be locked, be damaged, fill its disk, sync in the background and share a sync.
#![expect(clippy::disallowed_methods, reason = "it looks into the files of the store")]

use std::env;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_node::storage::rocks::{DamagedLog, OpenError, RocksOptions, RocksStore};
use quorate_node::storage::{Batch, Column, Completion, Operation, OperationId, Storage, StorageError};
use quorate_ring::wire::Durability;
use tempfile::TempDir;

use crate::contract::a_poisoned_store_serves_nothing;
use crate::disk::{RocksEngine, WAIT_MAX, Wakes, files, unhurried};
use crate::engine::{Engine, key, number, outcomes, read, scan, submit, turn, whole_of, write};

fn one_object(value: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put(Column::Objects, key(1, "a"), number(value));
    batch
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < WAIT_MAX, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_buffered_write_is_synced_in_the_background() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = RocksOptions { sync_interval: Duration::from_millis(1), ..RocksOptions::default() };
    let store = RocksStore::open(directory.path(), &options).expect("it opens");
    let mut handle = store.handle(Arc::new(|| ()));
    for syncs in 0..3 {
        assert_eq!(store.syncs(), syncs, "nothing is synced at rest");
        handle.submit(OperationId(0), Operation::Write { batch: one_object(1), durability: Durability::Buffered });
        handle.flush();
        wait_until("the write is synced", || store.syncs() == syncs + 1);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn who_writes_memtables_out_yields_to_requests_but_less_than_who_compacts() {
    let _engine = RocksEngine::empty();
    // The nineteenth field, by which larger numbers yield; the second is the thread's name.
    let nice = |stat: &str| -> i32 {
        stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(17)?.parse().ok()).expect("a number")
    };
    let threads = fs::read_dir("/proc/self/task")
        .expect("its threads")
        .map(|thread| thread.expect("a thread").path().join("stat"));
    // One may end meanwhile.
    let stats: Vec<String> = threads.filter_map(|stat| fs::read_to_string(stat).ok()).collect();
    let of = |name: &str| stats.iter().filter(|stat| stat.contains(name)).map(|stat| nice(stat)).collect::<Vec<_>>();
    let (own, flushing, compacting) = (
        nice(&fs::read_to_string("/proc/thread-self/stat").expect("its own")),
        of("(rocksdb:high)"),
        of("(rocksdb:low)"),
    );
    assert!(!flushing.is_empty() && flushing.iter().all(|nice| *nice == (own + 5).min(19)), "{flushing:?}");
    assert!(!compacting.is_empty() && compacting.iter().all(|nice| *nice == 19), "{compacting:?}");
}

#[test]
fn synced_writes_of_several_shards_share_syncs() {
    let engine = RocksEngine::empty();
    let wakes = Wakes::default();
    let mut handles: Vec<_> = (0..4).map(|_| engine.store.handle(wakes.waker())).collect();
    for turn in 0..25 {
        for handle in &mut handles {
            let write = Operation::Write { batch: one_object(turn), durability: Durability::Synced };
            handle.submit(OperationId(turn as u64), write);
            handle.flush();
        }
    }
    let mut completed = 0;
    while completed < 100 {
        for (_, outcome) in handles.iter_mut().filter_map(Storage::poll_completion) {
            assert_eq!(outcome, Ok(Completion::Written));
            completed += 1;
        }
    }
    assert!(1 <= engine.store.syncs() && engine.store.syncs() <= 50, "{} syncs for 100 writes", engine.store.syncs());
}

#[test]
fn a_cold_read_is_done_by_a_reader_and_a_warm_one_at_once() {
    let mut engine = RocksEngine::empty();
    write(&mut engine, one_object(1), Durability::Buffered);
    assert_eq!(read(&mut engine, &key(1, "a")), Some(number(1)));
    assert_eq!(engine.wakes.count(), 0, "a read from the memtable wakes nobody");
    // Opening writes the log's content into a file, of which nothing is cached yet.
    let mut engine = engine.restart();
    assert_eq!(files(engine.directory.path(), "sst").len(), 1);
    submit_read(&mut engine);
    wait_until("a reader brought the value", || engine.wakes.count() == 1);
    assert_eq!(engine.store().poll_completion().map(|done| done.0), Some(OperationId(0)));
    submit_read(&mut engine);
    assert_eq!(engine.store().poll_completion().map(|done| done.0), Some(OperationId(0)));
    assert_eq!(engine.wakes.count(), 1, "the second read was answered from the cache");
}

fn submit_read(engine: &mut RocksEngine) {
    engine.store().submit(OperationId(0), Operation::Read { column: Column::Objects, key: key(1, "a") });
    engine.store().flush();
}

#[test]
fn a_store_in_use_is_refused_and_stays_locked() {
    let engine = RocksEngine::empty();
    for _ in 0..2 {
        let refused = RocksStore::open(engine.directory.path(), &unhurried()).err();
        assert!(matches!(refused, Some(OpenError::InUse { .. })), "{refused:?}");
    }
    let RocksEngine { handle, store, directory, .. } = engine;
    drop((handle, store));
    assert!(RocksStore::open(directory.path(), &unhurried()).is_ok());
}

#[test]
fn a_directory_that_cannot_be_used_is_named_with_the_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").expect("a file");
    let refused = RocksStore::open(&file.join("store"), &unhurried()).err().expect("it does not open");
    assert!(matches!(refused, OpenError::CreateDirectory { .. }), "{refused:?}");
    assert!(refused.to_string().contains("file/store cannot be created: "), "{refused}");
    // A directory in the place of the probe stands for a missing permission, which the superuser would have.
    let store = directory.path().join("store");
    fs::create_dir_all(store.join("writable.probe")).expect("a directory in the way");
    let refused = RocksStore::open(&store, &unhurried()).err();
    assert!(matches!(refused, Some(OpenError::NotWritable { .. })), "{refused:?}");
}

#[test]
fn a_store_that_lost_or_garbled_a_file_is_refused_as_damaged() {
    let mut engine = RocksEngine::empty();
    write(&mut engine, one_object(1), Durability::Buffered);
    let engine = engine.restart();
    let lost = engine.copy(None);
    fs::remove_file(files(lost.path(), "sst").pop().expect("a file of objects")).expect("it is removed");
    let garbled = engine.copy(None);
    fs::write(garbled.path().join("CURRENT"), "MANIFEST-nowhere").expect("it is overwritten");
    for copy in [lost, garbled] {
        let refused = RocksStore::open(copy.path(), &unhurried()).err();
        assert!(matches!(refused, Some(OpenError::Damaged { .. })), "{refused:?}");
    }
}

#[test]
fn a_log_that_is_garbled_in_its_middle_is_refused_unless_it_is_to_be_cut_off() {
    let mut engine = RocksEngine::empty();
    (1..=20).for_each(|number| write(&mut engine, one_object(number), Durability::Synced));
    let copy = engine.copy(None);
    let log = files(copy.path(), "log").pop().expect("a log");
    let mut bytes = fs::read(&log).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).expect("it can be written");
    let refused = RocksStore::open(copy.path(), &unhurried()).err();
    assert!(matches!(refused, Some(OpenError::Damaged { .. })), "{refused:?}");
    let cut_off = RocksOptions { damaged_log: DamagedLog::CutOff, ..unhurried() };
    let store = RocksStore::open(copy.path(), &cut_off).expect("the writes before it are there");
    assert!((1..20).contains(&store.keys_about()), "{}", store.keys_about());
}

#[test]
fn a_store_that_lacks_a_column_gets_it_and_keeps_the_others() {
    let mut engine = RocksEngine::empty();
    write(&mut engine, one_object(1), Durability::Synced);
    let RocksEngine { handle, store, directory, .. } = engine;
    store.shutdown().expect("the last sync works");
    drop((handle, store));
    drop_family(&directory, "hints");
    let mut engine = RocksEngine::open(directory);
    assert_eq!(read(&mut engine, &key(1, "a")), Some(number(1)));
    let mut batch = Batch::default();
    batch.put(Column::Hints, key(2, "b"), number(2));
    write(&mut engine, batch, Durability::Buffered);
    assert_eq!(scan(&mut engine.restart(), whole_of(Column::Hints)).entries, [(key(2, "b"), number(2))]);
}

/// Leaves the store as a release made it that had not this family.
fn drop_family(directory: &TempDir, name: &str) {
    let options = rocksdb::Options::default();
    let families = || rocksdb::DB::list_cf(&options, directory.path()).expect("a store");
    let mut database = rocksdb::DB::open_cf(&options, directory.path(), families()).expect("it opens");
    database.drop_cf(name).expect("it was there");
    drop(database);
    assert!(!families().iter().any(|family| family == name));
}

#[test]
fn a_garbled_object_fails_its_read_and_nothing_else() {
    let mut engine = RocksEngine::empty();
    write(&mut engine, one_object(1), Durability::Buffered);
    let mut engine = garbled(engine.restart());
    let column = Column::Objects;
    let read_and_look_up =
        vec![Operation::Read { column, key: key(1, "a") }, Operation::Lookup { column, keys: vec![key(1, "a")] }];
    for outcome in turn(&mut engine, read_and_look_up) {
        assert!(matches!(outcome, Err(StorageError::Read { .. })), "{outcome:?}");
    }
    write(&mut engine, one_object(2), Durability::Synced);
    assert_eq!(read(&mut engine, &key(1, "a")), Some(number(2)));
}

#[test]
fn what_is_at_hand_of_an_object_hides_nothing_from_lookups_and_is_forgotten_when_something_cannot_be_read() {
    let mut engine = RocksEngine::empty();
    write(&mut engine, one_object(1), Durability::Buffered);
    let mut engine = garbled(engine.restart());
    let (column, lost) = (Column::Objects, key(2, "b"));
    let mut batch = Batch::default();
    batch.put(column, lost.clone(), number(2));
    write(&mut engine, batch, Durability::Buffered);
    (0..4).for_each(|_| assert_eq!(read(&mut engine, &lost), Some(number(2))));
    // Behind the back of the handle that has it at hand, as a disk that forgets.
    let mut other = engine.store.handle(engine.wakes.waker());
    let mut batch = Batch::default();
    batch.delete(column, lost.clone());
    other.submit(OperationId(0), Operation::Write { batch, durability: Durability::Buffered });
    other.flush();
    assert_eq!(read(&mut engine, &lost), Some(number(2)));
    let looked_up = turn(&mut engine, vec![Operation::Lookup { column, keys: vec![lost.clone()] }]).remove(0);
    assert_eq!(looked_up, Ok(Completion::Found(vec![None])));
    let scanned = turn(&mut engine, vec![Operation::Scan(whole_of(column))]).remove(0);
    assert!(matches!(scanned, Err(StorageError::Read { .. })), "{scanned:?}");
    assert_eq!(read(&mut engine, &lost), None);
}

/// The store with a bit of its newest file flipped.
fn garbled(engine: RocksEngine) -> RocksEngine {
    let copy = engine.copy(None);
    let path = files(copy.path(), "sst").pop().expect("a file of objects");
    let mut bytes = fs::read(&path).expect("the file is read");
    bytes[3] ^= 1;
    fs::write(&path, bytes).expect("the file is written");
    RocksEngine::open(copy)
}

#[test]
fn a_garbled_block_stays_in_the_way_of_scans_and_ends_the_store_when_compaction_meets_it() {
    let mut engine = RocksEngine::empty();
    write(&mut engine, one_object(1), Durability::Buffered);
    let mut engine = garbled(engine.restart());
    write(&mut engine, one_object(2), Durability::Synced);
    assert_eq!(read(&mut engine, &key(1, "a")), Some(number(2)), "it was written anew");
    let outcome = turn(&mut engine, vec![Operation::Scan(whole_of(Column::Objects))]).remove(0);
    assert!(matches!(outcome, Err(StorageError::Read { .. })), "{outcome:?}");
    // Of a small memtable nearly each write makes a file, until there are so many that they are merged.
    let options = RocksOptions { memtable_bytes: 64 * 1024, ..unhurried() };
    let mut engine = RocksEngine::open_with(engine.copy(None), &options);
    let large = || {
        let mut batch = Batch::default();
        batch.put(Column::Objects, key(1, "a"), Bytes::from(vec![0; 64 * 1024]));
        vec![Operation::Write { batch, durability: Durability::Buffered }]
    };
    wait_until("files were merged", || match turn(&mut engine, large()).remove(0) {
        Ok(_) => false,
        Err(StorageError::Poisoned { reason }) => reason.contains("Corruption"),
        Err(error) => panic!("{error:?}"),
    });
}

#[test]
fn after_a_shutdown_every_operation_fails() {
    let RocksEngine { mut handle, store, directory: _directory, .. } = RocksEngine::empty();
    store.shutdown().expect("it is empty");
    a_poisoned_store_serves_nothing(&mut handle);
}

#[test]
fn a_disk_that_takes_no_more_poisons_all_handles() {
    const CHILD: &str = "QUORATE_TEST_FULL_DISK";
    if env::var_os(CHILD).is_some() {
        return fill_the_disk();
    }
    // A process whose files may not grow beyond a megabyte or half of one: what the shell's unit makes of it.
    let limited =
        "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --exact rocks::a_disk_that_takes_no_more_poisons_all_handles";
    let this = env::current_exe().expect("the path of this test");
    let child = Command::new("sh").arg("-c").arg(limited).arg(this).env(CHILD, "1").output().expect("a shell");
    let printed = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && printed.contains("1 passed"), "{printed}");
}

fn fill_the_disk() {
    let mut engine = RocksEngine::empty();
    let mut other = engine.store.handle(Arc::new(|| ()));
    let failed = (0..100).find_map(|position| {
        let mut batch = Batch::default();
        batch.put(Column::Objects, key(position, "large"), Bytes::from(vec![0; 64 * 1024]));
        turn(&mut engine, vec![Operation::Write { batch, durability: Durability::Buffered }]).remove(0).err()
    });
    let Some(StorageError::Poisoned { reason }) = failed else { panic!("it took everything: {failed:?}") };
    assert_eq!(engine.store.poisoned(), Some(reason.as_str()));
    a_poisoned_store_serves_nothing(&mut other);
    a_poisoned_store_serves_nothing(&mut engine.handle);
    assert_eq!(engine.store.shutdown(), Err(StorageError::Poisoned { reason }));
}

#[test]
fn the_estimates_grow_with_what_is_stored() {
    let mut engine = RocksEngine::empty();
    let empty_bytes = engine.store.disk_bytes();
    let operations = (0..100).map(|position| {
        let mut batch = Batch::default();
        batch.put(Column::Objects, key(position, "k"), Bytes::from(vec![7; 1024]));
        Operation::Write { batch, durability: Durability::Buffered }
    });
    submit(&mut engine, operations.collect());
    engine.store().flush();
    assert!(outcomes(&mut engine, 100).iter().all(Result::is_ok));
    assert_eq!(engine.store.keys_about(), 100);
    assert!(empty_bytes + 100 * 1024 <= engine.store.disk_bytes());
    assert_eq!(engine.restart().store.keys_about(), 100);
}
