//! The database itself, shared by the handles, the syncer and the readers: what blocks, what fails, and the poison.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use bytes::Bytes;
use rocksdb::{ColumnFamily, DB, ErrorKind, ReadOptions, WriteBatch, WriteOptions};

use super::journal::{self, Journal, Record, Settled};
use super::open_error::OpenError;
use super::options::{JOURNAL, OF_OBJECTS_BESIDE, RocksOptions, family_name};
use crate::storage::page::Page;
use crate::storage::{Change, Column, Completion, Scan, StorageError};

/// More than the tag, the family's number and the two lengths that a change has in a batch beside its bytes.
const CHANGE_OVERHEAD_BYTES: usize = 16;
/// Bytes of a batch that the journal's records are carried out in.
const CARRIED_OUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much nicer than the node's own threads those are that write memtables out: where one of them competes with two of the others for a core it
/// gets a seventh of it (Linux's weights are 335 and 1,024), and all of it where none does.
#[cfg(target_os = "linux")]
const NICE_OF_FLUSHES: i32 = 5;

/// The open database.
pub(super) struct Engine {
    database: DB,
    poison: OnceLock<String>,
    syncs: AtomicU64,
    sync_failed: AtomicBool,
}

/// Bytes of memory that the parts of a store hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreMemory {
    /// Blocks, also of files that are no more until others need the room, and the cache's own table.
    pub block_cache: u64,
    /// What is written and not in files yet.
    pub memtables: u64,
    /// Filters and indexes of the open files.
    pub tables: u64,
}

/// What a read found that must not block.
pub(super) enum InMemory {
    /// The answer.
    Known(Option<Bytes>),
    /// It may be on the disk.
    WouldBlock,
}

impl Engine {
    pub(super) fn open(path: &Path, options: &RocksOptions) -> Result<Self, OpenError> {
        prepare_directory(path)?;
        let open = || DB::open_cf_descriptors(&options.of_database(), path, options.families());
        let opened = at_lower_priority(open).map_err(|source| OpenError::Threads { source })?;
        let database = opened.map_err(|error| OpenError::of_engine(path, &error))?;
        let engine =
            Self { database, poison: OnceLock::new(), syncs: AtomicU64::new(0), sync_failed: AtomicBool::new(false) };
        let set = engine.database.set_options_cf(engine.family(Column::Objects), &OF_OBJECTS_BESIDE);
        set.map_err(|error| OpenError::of_engine(path, &error))?;
        engine.carry_out_journal(path)?;
        Ok(engine)
    }

    /// Makes the changes of all records of the journal in their columns, in order. Dying amid it does no harm: what is left is carried out by
    /// the next one that opens the store, and nothing is read before.
    fn carry_out_journal(&self, path: &Path) -> Result<(), OpenError> {
        let engine_error = |error: rocksdb::Error| OpenError::of_engine(path, &error);
        let mut iterator = self.database.raw_iterator_cf(self.journal());
        let mut batch = WriteBatch::default();
        iterator.seek_to_first();
        while let Some((key, record)) = iterator.item() {
            let changes = journal::decode(record);
            let changes = changes.map_err(|reason| OpenError::Damaged { path: path.to_owned(), reason })?;
            changes.iter().for_each(|change| self.add_change(&mut batch, change));
            batch.delete_cf(self.journal(), key);
            if CARRIED_OUT_BYTES_MAX <= batch.size_in_bytes() {
                self.database.write(std::mem::take(&mut batch)).map_err(engine_error)?;
            }
            iterator.next();
        }
        iterator.status().map_err(engine_error)?;
        self.database.write(batch).map_err(engine_error)
    }

    fn journal(&self) -> &ColumnFamily {
        self.database.cf_handle(JOURNAL).expect("the journal's family was opened")
    }

    /// Adds a change of a column to a batch.
    fn add_change(&self, batch: &mut WriteBatch, change: &Change) {
        let family = self.family(change.column());
        match change {
            Change::Put { key, value, .. } => batch.put_cf(family, key, value),
            Change::Delete { key, .. } => batch.delete_cf(family, key),
            // The engine takes an inverted range into its log and then stumbles over it, at every start again.
            Change::DeleteRange { from, until, .. } if until <= from => {}
            Change::DeleteRange { from, until, .. } => batch.delete_range_cf(family, from, until),
        }
    }

    /// The column's family.
    pub(super) fn family(&self, column: Column) -> &ColumnFamily {
        self.database.cf_handle(family_name(column)).expect("all columns' families were opened")
    }

    /// Writes the changes of a turn, if there are any, as one batch to the log and the memtables. A failure poisons the store.
    pub(super) fn write<'turn>(
        &self,
        changes: impl Iterator<Item = &'turn Change> + Clone,
        journal: &Mutex<Journal>,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        // Until all is done, so that whoever reads meets the journal and the database as of one moment.
        let mut journal = lock(journal);
        let mut batch = WriteBatch::with_capacity_bytes(changes.clone().map(bytes_in_batch).sum());
        // Before the changes, which may remove what is set here. Twice as much as this turn brings, so that what is old is gone before as much is young.
        self.add_settled(
            &mut batch,
            journal.settle(2 * changes.clone().filter(|change| Journal::holds(change)).count()),
        );
        let mut record = Record::new();
        for change in changes {
            if Journal::covers(change.column()) {
                record.push(change);
            }
            // Of what is removed there may be something in the column.
            if !Journal::holds(change) {
                self.add_change(&mut batch, change);
            }
        }
        if !record.is_empty() {
            batch.put_cf(self.journal(), journal.next_key(), &record.bytes);
        }
        self.write_batch(batch, options)?;
        if !record.is_empty() {
            journal.hold(record);
        }
        Ok(())
    }

    /// Makes entries of their columns of all that is in a journal.
    pub(super) fn settle(&self, journal: &Mutex<Journal>, options: &WriteOptions) -> Result<(), StorageError> {
        let mut journal = lock(journal);
        while let Some(settled) = journal.settle_all() {
            let mut batch = WriteBatch::default();
            self.add_settled(&mut batch, settled);
            self.write_batch(batch, options)?;
        }
        Ok(())
    }

    fn write_batch(&self, batch: WriteBatch, options: &WriteOptions) -> Result<(), StorageError> {
        self.usable()?;
        self.database.write_opt(batch, options).map_err(|error| self.poison(error.as_ref()))
    }

    fn add_settled(&self, batch: &mut WriteBatch, settled: Settled) {
        for (column, place, value) in settled.entries {
            batch.put_cf(self.family(column), place.key(), value);
        }
        if let Some((from, until)) = settled.records {
            batch.delete_range_cf(self.journal(), from, until);
        }
    }

    /// Syncs all that was written before the call; a failure poisons the store.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.usable()?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.database.flush_wal(true).map_err(|error| {
            self.sync_failed.store(true, Ordering::Relaxed);
            self.poison(error.as_ref())
        })
    }

    /// Reads an entry if memory has the answer; `memory_only` are options of [`memory_only`].
    pub(super) fn read_in_memory(
        &self,
        column: Column,
        key: &[u8],
        journal: &Mutex<Journal>,
        memory_only: &ReadOptions,
    ) -> Result<InMemory, StorageError> {
        if Journal::covers(column)
            && let Some(value) = lock(journal).get(column, key)
        {
            return Ok(InMemory::Known(Some(value.clone())));
        }
        match self.value(column, key, memory_only) {
            Ok(value) => Ok(InMemory::Known(value)),
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(InMemory::WouldBlock),
            Err(error) => Err(read_error(&error)),
        }
    }

    /// Reads an entry wherever it is.
    pub(super) fn read(&self, column: Column, key: &[u8]) -> Result<Completion, StorageError> {
        let value = self.value(column, key, &ReadOptions::default());
        value.map(Completion::Read).map_err(|error| read_error(&error))
    }

    /// Reads many entries, all from one snapshot.
    pub(super) fn look_up(
        &self,
        column: Column,
        keys: &[Bytes],
        journal: &Mutex<Journal>,
    ) -> Result<Completion, StorageError> {
        let journal = lock(journal);
        let snapshot = self.database.snapshot();
        let mut found: Vec<_> = keys.iter().map(|key| journal.get(column, key).cloned()).collect();
        drop(journal);
        let mut options = ReadOptions::default();
        options.set_snapshot(&snapshot);
        let others: Vec<&Bytes> =
            keys.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(key, _)| key).collect();
        // The engine is told that the keys are in no order, and sorts them to meet each file once.
        let values = self.database.batched_multi_get_cf_opt(self.family(column), others, false, &options);
        for (place, value) in found.iter_mut().filter(|found| found.is_none()).zip(values) {
            let value = value.map_err(|error| read_error(&error))?;
            *place = value.map(|value| Bytes::copy_from_slice(&value));
        }
        Ok(Completion::Found(found))
    }

    /// Reads a page and the record beside it, both from one snapshot. What the journal holds of the page's column is not in it.
    pub(super) fn scan(&self, scan: &Scan, journal: &Mutex<Journal>) -> Result<Completion, StorageError> {
        let journal = lock(journal);
        let snapshot = self.database.snapshot();
        let held = scan.beside.as_ref().and_then(|key| journal.get(Column::Metadata, key).cloned());
        drop(journal);
        let mut options = ReadOptions::default();
        // A scan or a transfer reads each block once: it must not push out what point reads come back for.
        options.fill_cache(false);
        if let Some(until) = &scan.until {
            options.set_iterate_upper_bound(until.to_vec());
        }
        let mut iterator = snapshot.raw_iterator_cf_opt(self.family(scan.column), options);
        let mut page = Page::new(scan);
        iterator.seek(&scan.from);
        while let Some((key, value)) = iterator.item() {
            let entry = || (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            if let ControlFlow::Break(()) = page.offer(key, entry) {
                break;
            }
            iterator.next();
        }
        iterator.status().map_err(|error| read_error(&error))?;
        let stored = |key| snapshot.get_pinned_cf(self.family(Column::Metadata), key);
        let asked = scan.beside.as_ref().filter(|_| held.is_none());
        let stored = asked.map(stored).transpose().map_err(|error| read_error(&error))?.flatten();
        Ok(page.finish(held.or_else(|| stored.map(|value| Bytes::copy_from_slice(&value)))))
    }

    /// All entries of a column in order.
    pub(super) fn entries(
        &self,
        column: Column,
        journal: &Mutex<Journal>,
    ) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let journal = lock(journal);
        let mut iterator = self.database.raw_iterator_cf(self.family(column));
        let mut entries = BTreeMap::new();
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            entries.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            iterator.next();
        }
        iterator.status().map_err(|error| read_error(&error))?;
        entries.extend(journal.entries(column).map(|(key, value)| (Bytes::from(key), value.clone())));
        Ok(entries.into_iter().collect())
    }

    /// Stops the store for good, unless it is stopped already: the first reason stays.
    pub(super) fn poison(&self, reason: &str) -> StorageError {
        StorageError::Poisoned { reason: self.poison.get_or_init(|| reason.to_owned()).clone() }
    }

    pub(super) fn poisoned(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
    }

    /// Refuses if the store is poisoned.
    pub(super) fn usable(&self) -> Result<(), StorageError> {
        self.poisoned().map_or(Ok(()), |reason| Err(StorageError::Poisoned { reason: reason.to_owned() }))
    }

    pub(super) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Relaxed)
    }

    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    pub(super) fn keys_about(&self) -> u64 {
        let keys = self.database.property_int_value_cf(self.family(Column::Objects), "rocksdb.estimate-num-keys");
        keys.ok().flatten().unwrap_or(0)
    }

    pub(super) fn memory(&self) -> StoreMemory {
        let bytes_of =
            |family, property| self.database.property_int_value_cf(family, property).ok().flatten().unwrap_or(0);
        let families = || Column::ALL.map(|column| self.family(column)).into_iter().chain([self.journal()]);
        StoreMemory {
            // One for all families.
            block_cache: bytes_of(self.family(Column::Objects), "rocksdb.block-cache-usage"),
            memtables: families().map(|family| bytes_of(family, "rocksdb.size-all-mem-tables")).sum(),
            tables: families().map(|family| bytes_of(family, "rocksdb.estimate-table-readers-mem")).sum(),
        }
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        // A file that is deleted between listing and asking counts nothing.
        let files = fs::read_dir(self.database.path()).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    }

    fn value(&self, column: Column, key: &[u8], options: &ReadOptions) -> Result<Option<Bytes>, rocksdb::Error> {
        let pinned = self.database.get_pinned_cf_opt(self.family(column), key, options)?;
        Ok(pinned.map(|value| Bytes::copy_from_slice(&value)))
    }
}

/// What a handle has written of late. A panic with it ends the shard, and with that the node.
fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bytes_in_batch(change: &Change) -> usize {
    let bytes = match change {
        Change::Put { key, value, .. } => key.len() + value.len(),
        Change::Delete { key, .. } => key.len(),
        Change::DeleteRange { from, until, .. } => from.len() + until.len(),
    };
    CHANGE_OVERHEAD_BYTES + bytes
}

/// Options of reads that fail rather than touch the disk.
pub(super) fn memory_only() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(rocksdb::ReadTier::BlockCache);
    options
}

/// Opens on a thread of a lower priority, which the threads that the engine starts meanwhile have from it; on one of its own, as nobody gets a
/// higher priority back without being privileged. Whoever writes a memtable out takes a core for some tenths of a second, and what comes in must
/// not queue behind that; but it must be done before the next memtables are full, or all writes wait. So it yields to requests, and not entirely.
fn at_lower_priority<T: Send>(open: impl FnOnce() -> T + Send) -> io::Result<T> {
    let open = || {
        // Elsewhere it would be the priority of the whole process.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(NICE_OF_FLUSHES) {
            tracing::warn!(%error, "memtables are written out at the priority of requests, which will wait for that");
        }
        open()
    };
    thread::scope(|scope| {
        let opening = thread::Builder::new().name("opening".to_owned()).spawn_scoped(scope, open)?;
        Ok(opening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Makes the directory and sees that files can be made in it: RocksDB's own errors do not say which of the two went wrong.
fn prepare_directory(path: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(path).map_err(|source| OpenError::CreateDirectory { path: path.to_owned(), source })?;
    // Not the file LOCK: closing it here would release the lock that this process may hold on it.
    let probe = path.join("writable.probe");
    let probed = fs::write(&probe, []).and_then(|()| fs::remove_file(&probe));
    match probed {
        Err(source) if source.kind() == io::ErrorKind::StorageFull => {
            Err(OpenError::DiskFull { path: path.to_owned(), reason: source.to_string() })
        }
        Err(source) => Err(OpenError::NotWritable { path: path.to_owned(), source }),
        Ok(()) => Ok(()),
    }
}

fn read_error(error: &rocksdb::Error) -> StorageError {
    StorageError::Read { reason: error.to_string() }
}
