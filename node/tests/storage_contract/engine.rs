//! What the suite needs of an engine beside the interface: to be started empty, to crash and to be started again; and how the
//! suite drives it.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_node::storage::{Batch, Column, Completion, Operation, OperationId, Scan, Storage, StorageError};
use quorate_ring::wire::Durability;

/// How often a driver waits before it takes a completion for lost.
const WAITS_MAX: usize = 100;

/// What came of an operation.
pub(crate) type Outcome = Result<Completion, StorageError>;

/// An engine with one store, as a machine has it.
pub(crate) trait Engine: Sized {
    /// Its storage.
    type Store: Storage;

    /// With an empty store that syncs only when a synced write asks for it.
    fn empty() -> Self;

    /// The store.
    fn store(&mut self) -> &mut Self::Store;

    /// Returns when more completions may be there.
    fn wait(&mut self);

    /// Called by a test when all that was written is synced, so that a power loss takes none of it.
    fn note_all_synced(&mut self);

    /// What the next process finds after this one was killed.
    fn process_crash(self) -> Self;

    /// What the next process finds after power losses that took more or less of what was not synced; the most first.
    fn power_losses(self) -> Vec<Self>;

    /// Stops as one should and starts again.
    fn restart(self) -> Self;
}

/// The in-memory engine, whose syncs finish when somebody waits for them.
pub(crate) struct MemoryEngine(pub(crate) MemoryStore);

impl Engine for MemoryEngine {
    type Store = MemoryStore;

    fn empty() -> Self {
        Self(MemoryStore::new(SyncPolicy::Explicit))
    }

    fn store(&mut self) -> &mut MemoryStore {
        &mut self.0
    }

    fn wait(&mut self) {
        self.0.sync();
    }

    fn note_all_synced(&mut self) {
        assert_eq!(self.0.unsynced(), 0);
    }

    fn process_crash(self) -> Self {
        Self(self.0.process_crash())
    }

    fn power_losses(self) -> Vec<Self> {
        (0..=self.0.unsynced()).map(|kept| Self(self.0.clone().crash(kept))).collect()
    }

    fn restart(mut self) -> Self {
        self.0.sync();
        Self(self.0.crash(0))
    }
}

/// Runs the operations as one turn and brings their outcomes in the same order.
pub(crate) fn turn<E: Engine>(engine: &mut E, operations: Vec<Operation>) -> Vec<Outcome> {
    let wanted = operations.len();
    submit(engine, operations);
    engine.store().flush();
    outcomes(engine, wanted)
}

/// Submits the operations, numbered from 0.
pub(crate) fn submit<E: Engine>(engine: &mut E, operations: Vec<Operation>) {
    for (number, operation) in (0..).zip(operations) {
        engine.store().submit(OperationId(number), operation);
    }
}

/// Waits for so many completions and brings their outcomes by number.
pub(crate) fn outcomes<E: Engine>(engine: &mut E, wanted: usize) -> Vec<Outcome> {
    let mut outcomes = BTreeMap::new();
    for _ in 0..WAITS_MAX {
        while let Some((id, outcome)) = engine.store().poll_completion() {
            assert!(outcomes.insert(id, outcome).is_none(), "{id:?} completed twice");
        }
        if outcomes.len() >= wanted {
            break;
        }
        engine.wait();
    }
    assert_eq!(outcomes.len(), wanted, "every operation completes once");
    outcomes.into_values().collect()
}

/// Writes as one turn.
pub(crate) fn write<E: Engine>(engine: &mut E, batch: Batch, durability: Durability) {
    assert_eq!(turn(engine, vec![Operation::Write { batch, durability }]), [Ok(Completion::Written)]);
}

/// Reads an object as one turn.
pub(crate) fn read<E: Engine>(engine: &mut E, key: &Bytes) -> Option<Bytes> {
    match turn(engine, vec![Operation::Read { column: Column::Objects, key: key.clone() }]).remove(0) {
        Ok(Completion::Read(value)) => value,
        other => panic!("a read brought {other:?}"),
    }
}

/// What a scan brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) entries: Vec<(Bytes, Bytes)>,
    pub(crate) last: bool,
    pub(crate) beside: Option<Bytes>,
}

/// Scans as one turn.
pub(crate) fn scan<E: Engine>(engine: &mut E, scan: Scan) -> Scanned {
    scanned(turn(engine, vec![Operation::Scan(scan)]).remove(0))
}

/// The scan's part of an outcome.
pub(crate) fn scanned(outcome: Outcome) -> Scanned {
    match outcome {
        Ok(Completion::Scanned { entries, last, beside }) => Scanned { entries, last, beside },
        other => panic!("a scan brought {other:?}"),
    }
}

/// A scan of all objects on one page.
pub(crate) fn whole() -> Scan {
    whole_of(Column::Objects)
}

/// A scan of everything in a column on one page.
pub(crate) fn whole_of(column: Column) -> Scan {
    Scan {
        column,
        from: Bytes::new(),
        until: None,
        infix: Bytes::new(),
        limit: usize::MAX,
        bytes_max: usize::MAX,
        beside: Some(Bytes::from_static(b"clock")),
    }
}

/// The key of an object at a position.
pub(crate) fn key(position: u64, rest: &str) -> Bytes {
    [&position.to_be_bytes()[..], rest.as_bytes()].concat().into()
}

/// Bytes that are a number in words.
pub(crate) fn number(number: usize) -> Bytes {
    number.to_string().into()
}
