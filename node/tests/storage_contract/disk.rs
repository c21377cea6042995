//! RocksDB as an engine of the suite: crashes are copies of the directory, power losses cut the log in the copy.
#![expect(clippy::disallowed_types, reason = "it copies and cuts the files of the store")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use quorate_node::storage::rocks::{RocksOptions, RocksStorage, RocksStore};
use tempfile::TempDir;

use crate::engine::Engine;

/// Longest wait for something that another thread does.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);
/// At how many lengths the log is cut off to find what a power loss may leave.
const CUTS: u64 = 64;

/// RocksDB in a directory of its own.
pub(crate) struct RocksEngine {
    pub(crate) handle: RocksStorage,
    pub(crate) store: RocksStore,
    pub(crate) wakes: Wakes,
    /// Bytes of the log that no power loss can take.
    synced_bytes: u64,
    // Dropped last: the directory goes when nothing uses it any more.
    pub(crate) directory: TempDir,
}

impl RocksEngine {
    pub(crate) fn open(directory: TempDir) -> Self {
        Self::open_with(directory, &unhurried())
    }

    pub(crate) fn open_with(directory: TempDir, options: &RocksOptions) -> Self {
        let store = RocksStore::open(directory.path(), options).expect("it opens");
        let wakes = Wakes::default();
        Self { handle: store.handle(wakes.waker()), store, wakes, synced_bytes: 0, directory }
    }

    /// What is on the disk at one moment, with the log cut to a length.
    pub(crate) fn copy(&self, log_bytes: Option<u64>) -> TempDir {
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
        drop((handle, store));
        let mut restarted = Self::open(directory);
        restarted.note_all_synced();
        restarted
    }
}

/// Counts the wakes of a handle, and waits for them.
#[derive(Clone, Default)]
pub(crate) struct Wakes(Arc<(Mutex<usize>, Condvar)>);

impl Wakes {
    pub(crate) fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
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

    pub(crate) fn count(&self) -> usize {
        *self.0.0.lock().expect("no test panics with it")
    }
}

/// Options of a store that does not sync until it is asked to, and of whose journal some is always young and some old.
pub(crate) fn unhurried() -> RocksOptions {
    RocksOptions { sync_interval: Duration::from_secs(3600), journal_bytes: 300, ..RocksOptions::default() }
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

pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
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
