//! A shard's handle: what it can do at once it does in the flush, the rest it passes on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use bytes::Bytes;
use quorate_ring::wire::Durability;
use rocksdb::{ReadOptions, WriteBatch, WriteOptions};

use super::Wake;
use super::engine::{Engine, InMemory, memory_only};
use super::readers::{Job, Readers, What};
use super::syncer::Syncer;
use crate::storage::{Change, Column, Completion, Operation, OperationId, Storage, StorageError};

/// More than the tag, the family's number and the two lengths that a change has in a batch beside its bytes.
const CHANGE_OVERHEAD_BYTES: usize = 16;

type Outcome = Result<Completion, StorageError>;

/// One shard's way to the store.
pub struct RocksStorage {
    engine: Arc<Engine>,
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
    pub(super) fn new(engine: Arc<Engine>, syncer: Arc<Syncer>, readers: Arc<Readers>, wake: Wake) -> Self {
        let (sender, inbox) = mpsc::channel();
        Self {
            engine,
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
    fn write(&self, turn: &[(OperationId, Operation)]) -> Result<(), StorageError> {
        self.engine.usable()?;
        let changes = || turn.iter().flat_map(|(_, operation)| operation.changes());
        if changes().next().is_none() {
            return Ok(());
        }
        let columns = Column::ALL.map(|column| self.engine.family(column));
        let mut batch = WriteBatch::with_capacity_bytes(changes().map(bytes_in_batch).sum());
        for change in changes() {
            match change {
                Change::Put { column, key, value } => batch.put_cf(columns[*column as usize], key, value),
                Change::Delete { column, key } => batch.delete_cf(columns[*column as usize], key),
                // The engine takes an inverted range into its log and then stumbles over it, at every start again.
                Change::DeleteRange { from, until, .. } if until <= from => {}
                Change::DeleteRange { column, from, until } => {
                    batch.delete_range_cf(columns[*column as usize], from, until);
                }
            }
        }
        self.engine.write(batch, &self.write_options)?;
        self.syncer.written();
        Ok(())
    }

    /// Reads from memory; or gives what a reader is to look for further.
    fn read(&mut self, id: OperationId, column: Column, key: Bytes) -> Option<What> {
        let outcome = match self.engine.read_in_memory(column, &key, &self.memory_only) {
            Ok(InMemory::Known(value)) => Ok(Completion::Read(value)),
            Ok(InMemory::WouldBlock) => return Some(What::Entry(column, key)),
            Err(error) => Err(error),
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
        let written = self.write(&turn);
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
            jobs.extend(what.map(|what| Job { id, what, outbox: Arc::clone(&self.outbox) }));
        }
        self.submitted = turn;
        self.readers.read(&self.engine, jobs);
        if !synced.is_empty() {
            self.syncer.sync_for(synced, &self.outbox);
        }
    }

    fn poll_completion(&mut self) -> Option<(OperationId, Outcome)> {
        self.completions.pop_front().or_else(|| self.inbox.try_recv().ok())
    }

    fn recover(&self) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.engine.usable()?;
        self.engine.entries(Column::Metadata)
    }
}

fn bytes_in_batch(change: &Change) -> usize {
    let bytes = match change {
        Change::Put { key, value, .. } => key.len() + value.len(),
        Change::Delete { key, .. } => key.len(),
        Change::DeleteRange { from, until, .. } => from.len() + until.len(),
    };
    CHANGE_OVERHEAD_BYTES + bytes
}
