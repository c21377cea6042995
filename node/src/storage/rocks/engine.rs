//! The database itself, shared by the handles, the syncer and the readers: what blocks, what fails, and the poison.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use rocksdb::{ColumnFamily, DB, ErrorKind, ReadOptions, WriteBatch, WriteOptions};

use super::open_error::OpenError;
use super::options::{RocksOptions, family_name};
use crate::storage::page::Page;
use crate::storage::{Column, Completion, Scan, StorageError};

/// The open database.
pub(super) struct Engine {
    database: DB,
    poison: OnceLock<String>,
    syncs: AtomicU64,
    sync_failed: AtomicBool,
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
        let database = DB::open_cf_descriptors(&options.of_database(), path, options.families())
            .map_err(|error| OpenError::of_engine(path, &error))?;
        Ok(Self { database, poison: OnceLock::new(), syncs: AtomicU64::new(0), sync_failed: AtomicBool::new(false) })
    }

    /// The column's family.
    pub(super) fn family(&self, column: Column) -> &ColumnFamily {
        self.database.cf_handle(family_name(column)).expect("all columns' families were opened")
    }

    /// Writes to the log and the memtables; a failure poisons the store.
    pub(super) fn write(&self, batch: WriteBatch, options: &WriteOptions) -> Result<(), StorageError> {
        self.usable()?;
        self.database.write_opt(batch, options).map_err(|error| self.poison(error.as_ref()))
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
        memory_only: &ReadOptions,
    ) -> Result<InMemory, StorageError> {
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
    pub(super) fn look_up(&self, column: Column, keys: &[Bytes]) -> Result<Completion, StorageError> {
        let snapshot = self.database.snapshot();
        let mut options = ReadOptions::default();
        options.set_snapshot(&snapshot);
        // The engine is told that the keys are in no order, and sorts them to meet each file once.
        let found = self.database.batched_multi_get_cf_opt(self.family(column), keys, false, &options);
        let values = found.into_iter().map(|value| Ok(value?.map(|value| Bytes::copy_from_slice(&value))));
        values.collect::<Result<_, _>>().map(Completion::Found).map_err(|error| read_error(&error))
    }

    /// Reads a page and the record beside it, both from one snapshot.
    pub(super) fn scan(&self, scan: &Scan) -> Result<Completion, StorageError> {
        let snapshot = self.database.snapshot();
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
        let metadata = |key| snapshot.get_pinned_cf(self.family(Column::Metadata), key);
        let beside = scan.beside.as_ref().map(metadata).transpose().map_err(|error| read_error(&error))?.flatten();
        Ok(page.finish(beside.map(|value| Bytes::copy_from_slice(&value))))
    }

    /// All entries of a column in order.
    pub(super) fn entries(&self, column: Column) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let mut iterator = self.database.raw_iterator_cf(self.family(column));
        let mut entries = Vec::new();
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            entries.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            iterator.next();
        }
        iterator.status().map_err(|error| read_error(&error))?;
        Ok(entries)
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

/// Options of reads that fail rather than touch the disk.
pub(super) fn memory_only() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(rocksdb::ReadTier::BlockCache);
    options
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
