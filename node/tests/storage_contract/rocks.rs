//! What only the engine on a disk can do: be locked, be damaged, fill its disk, sync in the background and share a sync.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "it looks into the files of the store")]

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_node::storage::rocks::{OpenError, RocksOptions, RocksStorage, RocksStore};
use quorate_node::storage::{Batch, Column, Completion, Operation, OperationId, Storage, StorageError};
use quorate_ring::wire::Durability;
use tempfile::TempDir;

use crate::contract::a_poisoned_store_serves_nothing;
use crate::engine::{Engine, key, number, outcomes, read, turn, write};

/// Longest wait for something that another thread does.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// At how many lengths the log is cut off to find what a power loss may leave.
const CUTS: u64 = 64;

/// RocksDB in a directory of its own.
pub(crate) struct RocksEngine {
    handle: RocksStorage,
    store: RocksStore,
    wakes: Wakes,
    /// Bytes of the log that no power loss can take.
    synced_bytes: u64,
    // Dropped last: the directory goes when nothing uses it any more.
    directory: TempDir,
}

impl RocksEngine {
    fn open(directory: TempDir) -> Self {
        let store = RocksStore::open(directory.path(), &unhurried()).expect("it opens");
        let wakes = Wakes::default();
        Self { handle: store.handle(wakes.waker()), store, wakes, synced_bytes: 0, directory }
    }

    /// What is on the disk at one moment, with the log cut to a length.
    fn copy(&self, log_bytes: Option<u64>) -> TempDir {
        let copy = (0..1000).find_map(|_| copy_of_one_moment(self.directory.path()));
        let copy = copy.expect("the background threads come to rest");
        if let Some(bytes) = log_bytes {
            let log = File::options().write(true).open(newest_log(copy.path())).expect("the log's copy");
            log.set_len(bytes).expect("the log is cut");
        }
        copy
    }
}

impl Engine for RocksEngine {
    type Store = RocksStorage;

    fn empty() -> Self {
        Self::open(tempfile::tempdir().expect("a temporary directory"))
    }

    fn store(&mut self) -> &mut RocksStorage {
        &mut self.handle
    }

    fn wait(&mut self) {
        self.wakes.wait();
    }

    fn note_all_synced(&mut self) {
        self.synced_bytes = log_bytes(self.directory.path());
    }

    /// A kill leaves what was handed to the operating system: what a copy of the files shows.
    fn process_crash(self) -> Self {
        Self::open(self.copy(None))
    }

    /// A power loss leaves the log up to anywhere behind its last sync.
    fn power_losses(self) -> Vec<Self> {
        let (low, high) = (self.synced_bytes, log_bytes(self.directory.path()));
        let lengths = (0..=CUTS).map(|cut| low + (high - low) * cut / CUTS);
        lengths.map(|length| Self::open(self.copy(Some(length)))).collect()
    }

    fn restart(self) -> Self {
        let Self { handle, store, directory, .. } = self;
        store.shutdown().expect("the last sync works");
        drop(handle);
        let mut restarted = Self::open(directory);
        restarted.note_all_synced();
        restarted
    }
}

/// Counts the wakes of a handle, and waits for them.
#[derive(Clone, Default)]
struct Wakes(Arc<(Mutex<usize>, Condvar)>);

impl Wakes {
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let Self(shared) = self.clone();
        Arc::new(move || {
            *shared.0.lock().expect("no test panics with it") += 1;
            shared.1.notify_all();
        })
    }

    /// Waits for a wake since the last call.
    fn wait(&self) {
        let wakes = self.0.0.lock().expect("no test panics with it");
        let none = |wakes: &mut usize| *wakes == 0;
        let (mut wakes, _) = self.0.1.wait_timeout_while(wakes, WAIT_MAX, none).expect("no test panics with it");
        assert_ne!(*wakes, 0, "nobody woke the shard");
        *wakes -= 1;
    }

    fn count(&self) -> usize {
        *self.0.0.lock().expect("no test panics with it")
    }
}

/// Options of a store that does not sync until it is asked to.
fn unhurried() -> RocksOptions {
    RocksOptions { sync_interval: Duration::from_secs(3600), ..RocksOptions::default() }
}

/// A copy of the directory, unless files came or went meanwhile: no crash leaves what two moments had.
fn copy_of_one_moment(directory: &Path) -> Option<TempDir> {
    let copy = tempfile::tempdir().expect("a directory for the copy");
    let before = names_and_bytes(directory)?;
    for name in before.keys() {
        fs::copy(directory.join(name), copy.path().join(name)).ok()?;
    }
    (names_and_bytes(directory)? == before).then_some(copy)
}

fn names_and_bytes(directory: &Path) -> Option<BTreeMap<OsString, u64>> {
    let file = |file: DirEntry| Some((file.file_name(), file.metadata().ok()?.len()));
    fs::read_dir(directory).ok()?.map(|found| file(found.ok()?)).collect()
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).expect("the store's directory");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file of the store").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

fn newest_log(directory: &Path) -> PathBuf {
    files(directory, "log").pop().expect("a store has a log")
}

fn log_bytes(directory: &Path) -> u64 {
    fs::metadata(newest_log(directory)).expect("the log is there").len()
}

fn one_object(value: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put(Column::Objects, key(1, "a"), number(value));
    batch
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
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
    engine.store().submit(OperationId(0), Operation::Read { key: key(1, "a") });
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
fn a_garbled_object_fails_its_read_and_nothing_else() {
    let mut engine = RocksEngine::empty();
    write(&mut engine, one_object(1), Durability::Buffered);
    let engine = engine.restart();
    let copy = engine.copy(None);
    let path = files(copy.path(), "sst").pop().expect("a file of objects");
    let mut bytes = fs::read(&path).expect("the file is read");
    bytes[3] ^= 1;
    fs::write(&path, bytes).expect("the file is written");
    let mut engine = RocksEngine::open(copy);
    let outcome = turn(&mut engine, vec![Operation::Read { key: key(1, "a") }]).remove(0);
    assert!(matches!(outcome, Err(StorageError::Read { .. })), "{outcome:?}");
    write(&mut engine, one_object(2), Durability::Synced);
    assert_eq!(read(&mut engine, &key(1, "a")), Some(number(2)));
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
    crate::engine::submit(&mut engine, operations.collect());
    engine.store().flush();
    assert!(outcomes(&mut engine, 100).iter().all(Result::is_ok));
    assert_eq!(engine.store.keys_about(), 100);
    assert!(empty_bytes + 100 * 1024 <= engine.store.disk_bytes());
}
