//! A shard's handle: what it can do at once it does in the flush, the rest it passes on.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate_ring::wire::Durability;
use rocksdb::{ReadOptions, WriteOptions};

use super::Wake;
use super::engine::{Engine, InMemory, memory_only};
use super::hot::HotObjects;
use super::journal::Journal;
use super::readers::{Job, Readers, What};
use super::syncer::Syncer;
use crate::storage::{Column, Completion, Operation, OperationId, Storage, StorageError};

type Outcome = Result<Completion, StorageError>;

/// One shard's way to the store. What it keeps in its journal becomes entries of the columns when it is dropped, so that two handles which
/// write the same entry of [`Column::Metadata`] or [`Column::DotLog`] must follow each other.
pub struct RocksStorage {
    engine: Arc<Engine>,
    journal: Arc<Mutex<Journal>>,
    hot: HotObjects,
    syncer: Arc<Syncer>,
    readers: Arc<Readers>,
    submitted: Vec<(OperationId, Operation)>,
    /// What was done within the flush.
    completions: VecDeque<(OperationId, Outcome)>,
    /// What other threads did.
    inbox: Receiver<(OperationId, Outcome)>,
    outbox: Arc<Outbox>,
    write_options: WriteOptions,
    memory_only: ReadOptions,
}

/// Where other threads leave completions for one handle.
pub(super) struct Outbox {
    sender: Sender<(OperationId, Outcome)>,
    wake: Wake,
}

impl Outbox {
    /// Completes all of the operations with the same outcome and wakes the shard once.
    pub(super) fn send_all(&self, ids: impl IntoIterator<Item = OperationId>, outcome: &Outcome) {
        for id in ids {
            // Fails when the handle is gone, and then nobody waits.
            let _ = self.sender.send((id, outcome.clone()));
        }
        (self.wake)();
    }
}

impl RocksStorage {
    pub(super) fn new(
        engine: Arc<Engine>,
        syncer: Arc<Syncer>,
        readers: Arc<Readers>,
        (journal, hot): (Journal, HotObjects),
        wake: Wake,
    ) -> Self {
        let (sender, inbox) = mpsc::channel();
        Self {
            engine,
            journal: Arc::new(Mutex::new(journal)),
            hot,
            syncer,
            readers,
            submitted: Vec::new(),
            completions: VecDeque::new(),
            inbox,
            outbox: Arc::new(Outbox { sender, wake }),
            write_options: WriteOptions::default(),
            memory_only: memory_only(),
        }
    }

    /// Writes all changes of a turn as one batch.
    fn write(&mut self, turn: &[(OperationId, Operation)]) -> Result<(), StorageError> {
        self.engine.usable()?;
        let changes = turn.iter().flat_map(|(_, operation)| operation.changes());
        if changes.clone().next().is_some() {
            self.engine.write(changes.clone(), &self.journal, &self.write_options)?;
            self.hot.note_written(changes);
            self.syncer.written();
        }
        Ok(())
    }

    /// Makes entries of their columns of all that is in the journal.
    fn settle_journal(&self) -> Result<(), StorageError> {
        self.engine.settle(&self.journal, &self.write_options)?;
        self.syncer.written();
        Ok(())
    }

    /// Reads from memory; or gives what a reader is to look for further.
    fn read(&mut self, id: OperationId, column: Column, key: Bytes) -> Option<What> {
        let hot = if column == Column::Objects { self.hot.get(&key) } else { None };
        let outcome = match hot {
            Some(value) => Ok(Completion::Read(Some(value.clone()))),
            None => match self.engine.read_in_memory(column, &key, &self.journal, &self.memory_only) {
                Ok(InMemory::Known(value)) => {
                    if let (Column::Objects, Some(value)) = (column, &value) {
                        self.hot.note_read(key, value);
                    }
                    Ok(Completion::Read(value))
                }
                Ok(InMemory::WouldBlock) => return Some(What::Entry(column, key)),
                Err(error) => Err(error),
            },
        };
        self.completions.push_back((id, outcome));
        None
    }
}

impl Storage for RocksStorage {
    fn submit(&mut self, id: OperationId, operation: Operation) {
        self.submitted.push((id, operation));
    }

    fn flush(&mut self) {
        if self.submitted.is_empty() {
            return;
        }
        let mut turn = std::mem::take(&mut self.submitted);
        let mut written = self.write(&turn);
        // A column is walked as it is in the database. None of these is, while a node runs.
        let walked = |operation: &Operation| matches!(operation, Operation::Scan(scan) if Journal::covers(scan.column));
        if turn.iter().any(|(_, operation)| walked(operation)) {
            written = written.and_then(|()| self.settle_journal());
        }
        let (mut synced, mut jobs) = (Vec::new(), Vec::new());
        for (id, operation) in turn.drain(..) {
            let what = match (&written, operation) {
                (Err(error), _) => {
                    self.completions.push_back((id, Err(error.clone())));
                    None
                }
                (Ok(()), Operation::Write { durability: Durability::Synced, .. }) => {
                    synced.push(id);
                    None
                }
                (Ok(()), Operation::Write { durability: Durability::Buffered, .. }) => {
                    self.completions.push_back((id, Ok(Completion::Written)));
                    None
                }
                (Ok(()), Operation::Read { column, key }) => self.read(id, column, key),
                (Ok(()), Operation::Lookup { column, keys }) => Some(What::Entries(column, keys)),
                (Ok(()), Operation::Scan(scan)) => Some(What::Page(scan)),
            };
            let job = |what| Job { id, what, journal: Arc::clone(&self.journal), outbox: Arc::clone(&self.outbox) };
            jobs.extend(what.map(job));
        }
        self.submitted = turn;
        self.readers.read(&self.engine, jobs);
        if !synced.is_empty() {
            self.syncer.sync_for(synced, &self.outbox);
        }
    }

    fn poll_completion(&mut self) -> Option<(OperationId, Outcome)> {
        let done = self.completions.pop_front().or_else(|| self.inbox.try_recv().ok());
        // Something on the disk is damaged: whoever looks for what it is must not be shown what it was.
        if let Some((_, Err(StorageError::Read { .. }))) = &done {
            self.hot.clear();
        }
        done
    }

    fn recover(&self) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.engine.usable()?;
        self.engine.entries(Column::Metadata, &self.journal)
    }
}

impl Drop for RocksStorage {
    fn drop(&mut self) {
        // What fails has poisoned the store, and is in the journal for whoever opens it next. So is what a panic left.
        if !std::thread::panicking() {
            let _ = self.settle_journal();
        }
    }
}
