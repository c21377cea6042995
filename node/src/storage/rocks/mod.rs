//! The RocksDB engine: one instance per node, one [`RocksStorage`] handle per shard.
//!
//! ```text
//! shard thread                    write: one batch into the log and the memtables, no fsync
//!   RocksStorage ---------------> read:  memtables and block cache
//!        |  ^
//!        |  +-- completions, wake --+--------------------+
//!        v                          |                    |
//!   synced writes ---------> syncer thread        reader threads <------- reads that would block, lookups, scans
//!                            one fsync for all
//! ```
//!
//! What is overwritten or removed soon is kept out of the memtables (see `journal`), and what is read again and again is at hand in front of
//! them (see `hot`).
//!
//! Every write goes through the write-ahead log and is handed to the operating system before the flush returns, so it survives
//! the process. Nothing here runs while nothing is asked: all threads sleep until woken.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the border of I/O")]

mod engine;
mod handle;
mod hot;
mod journal;
mod open_error;
mod options;
mod readers;
mod syncer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub use engine::StoreMemory;
pub use handle::RocksStorage;
pub use open_error::OpenError;
pub use options::{DamagedLog, RocksOptions};

use engine::Engine;
use hot::HotObjects;
use journal::Journal;
use readers::Readers;
use syncer::Syncer;

use super::StorageError;

/// Wakes a shard: called from the store's threads when a completion waits in the shard's handle.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A node's store on disk.
///
/// Dropping it without [`RocksStore::shutdown`] syncs too, but cannot tell whether that worked. The directory stays locked until
/// the handles are dropped as well.
pub struct RocksStore {
    engine: Arc<Engine>,
    syncer: Arc<Syncer>,
    readers: Arc<Readers>,
    journal_bytes: usize,
    hot_bytes: usize,
    /// How many handles were given.
    handles: AtomicU32,
}

impl RocksStore {
    /// Opens the store in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// That the directory cannot be used or is in use, that the disk is full, or that what is on it is damaged.
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Self, OpenError> {
        let engine = Arc::new(Engine::open(path, options)?);
        let threads = |source| OpenError::Threads { source };
        let syncer = Syncer::start(Arc::clone(&engine), options.sync_interval).map_err(threads)?;
        let readers = Readers::start(&engine, options.reader_threads).map_err(threads)?;
        let (journal_bytes, hot_bytes, handles) = (options.journal_bytes, options.hot_bytes, AtomicU32::new(0));
        Ok(Self { engine, syncer: Arc::new(syncer), readers: Arc::new(readers), journal_bytes, hot_bytes, handles })
    }

    /// A handle for one shard, which is woken by `wake` for completions that did not come within [`super::Storage::flush`].
    pub fn handle(&self, wake: Wake) -> RocksStorage {
        let journal = Journal::new(self.handles.fetch_add(1, Ordering::Relaxed), self.journal_bytes / 2);
        let (engine, syncer, readers) = (&self.engine, &self.syncer, &self.readers);
        let kept = (journal, HotObjects::new(self.hot_bytes));
        RocksStorage::new(Arc::clone(engine), Arc::clone(syncer), Arc::clone(readers), kept, wake)
    }

    /// Stops the store's threads and syncs: afterwards all that was written is on the disk. Handles that are still there fail
    /// every further operation.
    ///
    /// # Errors
    /// Why the store is poisoned, if it is: then what was not synced may be lost.
    pub fn shutdown(&self) -> Result<(), StorageError> {
        self.stop();
        self.engine.usable()?;
        self.engine.poison("the store was shut down");
        Ok(())
    }

    /// Why the store stopped serving, if it did.
    pub fn poisoned(&self) -> Option<&str> {
        self.engine.poisoned()
    }

    /// Whether a sync failed. The kernel may then have dropped what was handed to it and not yet on the disk, without saying so
    /// again; what a restarted process reads back proves nothing.
    pub fn sync_failed(&self) -> bool {
        self.engine.sync_failed()
    }

    /// How often the log was synced.
    pub fn syncs(&self) -> u64 {
        self.engine.syncs()
    }

    /// About how many objects there are. Overwritten and deleted ones count until compaction has met them.
    pub fn keys_about(&self) -> u64 {
        self.engine.keys_about()
    }

    /// Bytes of memory that its parts hold, without what handles have at hand.
    pub fn memory(&self) -> StoreMemory {
        self.engine.memory()
    }

    /// Bytes that the store's files hold, log included.
    pub fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }

    fn stop(&self) {
        self.readers.stop();
        self.syncer.stop();
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        self.stop();
    }
}
