//! The in-memory engine: the simulator's disk.
//!
//! It keeps what the process sees (`live`) apart from what the disk would still have after a power loss (`durable`), with every
//! flushed batch that lies between the two, in order. So a test decides what a crash takes: see [`MemoryStore::crash`]. It has no
//! threads and no chance of its own: the same calls bring the same answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use quorate_ring::wire::Durability;
use xxhash_rust::xxh3::Xxh3;

use super::page::Page;
use super::{Change, Column, Completion, Operation, OperationId, Scan, Storage, StorageError};

/// When a [`Durability::Synced`] write completes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Within the flush that writes it: the disk is infinitely fast.
    #[default]
    OnFlush,
    /// Only when [`MemoryStore::sync`] is called, which is the simulator's choice.
    Explicit,
}

/// A store in memory, and what would be left of it after a crash.
///
/// ```text
///              flush             sync
/// submitted ----------> live ----------> durable
///     |                   |                 |
///     | lost by           | lost by         | lost by
///     | process_crash     | crash           | wipe
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    live: Columns,
    durable: Columns,
    /// The changes of each flush since the last sync, oldest first. `durable` and all of these make `live`.
    unsynced: VecDeque<Vec<Change>>,
    policy: SyncPolicy,
    submitted: Vec<(OperationId, Operation)>,
    awaiting_sync: Vec<OperationId>,
    completions: VecDeque<(OperationId, Result<Completion, StorageError>)>,
    poison: Option<String>,
    faults: Faults,
    /// Entries whose bytes are not what was written, as the engine's checksums find when they are read.
    rotten: BTreeSet<(Column, Bytes)>,
    syncs: u64,
}

/// What shall fail next, and with what words.
#[derive(Clone, Debug, Default)]
struct Faults {
    write: Option<String>,
    sync: Option<String>,
    read: Option<String>,
}

impl MemoryStore {
    /// An empty store whose synced writes complete as the policy says.
    pub fn new(policy: SyncPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// A sync finishes: everything flushed so far is durable, and the synced writes among it complete.
    ///
    /// Does nothing to a poisoned store.
    pub fn sync(&mut self) {
        if self.poison.is_some() {
            return;
        }
        if let Some(reason) = self.faults.sync.take() {
            return self.fail_for_good(reason);
        }
        self.syncs += 1;
        for changes in self.unsynced.drain(..) {
            self.durable.apply(changes);
        }
        self.completions.extend(self.awaiting_sync.drain(..).map(|id| (id, Ok(Completion::Written))));
    }

    /// A disk says that a sync is done, and did nothing: the synced writes complete, and a crash takes them all the same.
    pub fn pretend_sync(&mut self) {
        if self.poison.is_none() {
            self.completions.extend(self.awaiting_sync.drain(..).map(|id| (id, Ok(Completion::Written))));
        }
    }

    /// The machine loses power: what is left is what was synced and the first `keep_unsynced` of the flushes since, because a
    /// disk may have got further than it was asked to. Submitted operations and completions not polled are lost.
    #[must_use = "what is left of the store is the returned one"]
    pub fn crash(mut self, keep_unsynced: usize) -> Self {
        let kept = keep_unsynced.min(self.unsynced.len());
        for changes in self.unsynced.drain(..kept) {
            self.durable.apply(changes);
        }
        let rotten = self.rotten;
        Self { live: self.durable.clone(), durable: self.durable, rotten, ..Self::new(self.policy) }
    }

    /// The process dies and the machine goes on: all that was flushed is left, synced or not.
    ///
    /// This includes a flush whose write failed: an engine that reports a failure may still have written.
    #[must_use = "what is left of the store is the returned one"]
    pub fn process_crash(self) -> Self {
        let mut live = self.durable.clone();
        self.unsynced.iter().cloned().for_each(|changes| live.apply(changes));
        let rotten = self.rotten;
        Self { live, durable: self.durable, unsynced: self.unsynced, rotten, ..Self::new(self.policy) }
    }

    /// Everything is gone, as with a replaced disk.
    pub fn wipe(&mut self) {
        *self = Self::new(self.policy);
    }

    /// How many flushes with changes a power loss could still take: the largest useful argument of [`MemoryStore::crash`].
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// How many synced writes wait for [`MemoryStore::sync`].
    pub fn awaiting_sync(&self) -> usize {
        self.awaiting_sync.len()
    }

    /// How often the disk was synced.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Why the store stopped, if it did.
    pub fn poisoned(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    /// The next flush with changes fails and poisons the store. Its changes may be there after a crash, as on a real disk.
    pub fn fail_next_write(&mut self, reason: impl Into<String>) {
        self.faults.write = Some(reason.into());
    }

    /// The next sync fails and poisons the store.
    pub fn fail_next_sync(&mut self, reason: impl Into<String>) {
        self.faults.sync = Some(reason.into());
    }

    /// The next read, lookup or scan fails, and only that one.
    pub fn fail_next_read(&mut self, reason: impl Into<String>) {
        self.faults.read = Some(reason.into());
    }

    /// An entry's bytes change on the disk, or are overwritten with another's. The engine's checksum tells when it is read: reads and
    /// lookups of it, and scans that come to it, fail until it is written anew or removed. `false` if there is no such entry.
    pub fn rot(&mut self, column: Column, key: &Bytes) -> bool {
        let there = self.live.column(column).contains_key(key);
        if there {
            self.rotten.insert((column, key.clone()));
        }
        there
    }

    /// Whether an entry cannot be read any more.
    pub fn is_rotten(&self, column: Column, key: &Bytes) -> bool {
        !self.rotten.is_empty() && self.rotten.contains(&(column, key.clone()))
    }

    /// The entries of a column that cannot be read any more.
    pub fn rotten(&self, column: Column) -> impl Iterator<Item = &Bytes> {
        self.rotten.iter().filter(move |(of, _)| *of == column).map(|(_, key)| key)
    }

    /// Sets an entry, or removes it, behind the back of whoever uses the store: a disk that forgot, or that rotted.
    pub fn tamper(&mut self, column: Column, key: &Bytes, value: Option<Bytes>) {
        let change = match value {
            Some(value) => Change::Put { column, key: key.clone(), value },
            None => Change::Delete { column, key: key.clone() },
        };
        self.live.apply([change.clone()]);
        self.durable.apply([change.clone()]);
        // Otherwise a sync or crash would bring the entry back out of an earlier flush.
        self.unsynced.iter_mut().for_each(|changes| changes.push(change.clone()));
    }

    /// The value of an entry, flushed or synced.
    pub fn value(&self, column: Column, key: &[u8]) -> Option<&Bytes> {
        self.live.column(column).get(key)
    }

    /// How many entries a column has.
    pub fn len(&self, column: Column) -> usize {
        self.live.column(column).len()
    }

    /// Whether no column has an entry.
    pub fn is_empty(&self) -> bool {
        Column::ALL.iter().all(|column| self.len(*column) == 0)
    }

    /// The entries of a column in order.
    pub fn entries(&self, column: Column) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.live.column(column).iter()
    }

    /// A hash of all entries: two stores with the same one hold the same.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Xxh3::new();
        for column in Column::ALL {
            hash.update(&(self.len(column) as u64).to_le_bytes());
            for part in self.entries(column).flat_map(|(key, value)| [key, value]) {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hash.digest()
    }

    fn write(&mut self, turn: &[(OperationId, Operation)]) {
        let changes: Vec<Change> = turn.iter().flat_map(|(_, operation)| operation.changes()).cloned().collect();
        if changes.is_empty() {
            return;
        }
        match self.faults.write.take() {
            Some(reason) => self.fail_for_good(reason),
            None => self.live.apply(changes.iter().cloned()),
        }
        if !self.rotten.is_empty() {
            self.rotten.retain(|(column, key)| !changes.iter().any(|change| touches(change, *column, key)));
        }
        self.unsynced.push_back(changes);
    }

    fn fail_for_good(&mut self, reason: String) {
        let error = StorageError::Poisoned { reason: reason.clone() };
        self.completions.extend(self.awaiting_sync.drain(..).map(|id| (id, Err(error.clone()))));
        self.poison = Some(reason);
    }

    /// Answers an operation of a turn whose changes are all written.
    fn answer(&mut self, id: OperationId, operation: Operation) {
        let outcome = match (&self.poison, operation) {
            (Some(reason), _) => Err(StorageError::Poisoned { reason: reason.clone() }),
            (None, Operation::Write { durability: Durability::Synced, .. }) => return self.awaiting_sync.push(id),
            (None, Operation::Write { durability: Durability::Buffered, .. }) => Ok(Completion::Written),
            (None, Operation::Read { column, key }) => {
                self.read_fault().and_then(|()| self.read(column, &key)).map(Completion::Read)
            }
            (None, Operation::Lookup { column, keys }) => {
                self.read_fault().and_then(|()| self.look_up(column, &keys)).map(Completion::Found)
            }
            (None, Operation::Scan(scan)) => self.read_fault().and_then(|()| self.scan(&scan)),
        };
        self.completions.push_back((id, outcome));
    }

    fn read_fault(&mut self) -> Result<(), StorageError> {
        self.faults.read.take().map_or(Ok(()), |reason| Err(StorageError::Read { reason }))
    }

    fn read(&self, column: Column, key: &Bytes) -> Result<Option<Bytes>, StorageError> {
        if self.is_rotten(column, key) {
            return Err(checksum_is_wrong());
        }
        Ok(self.value(column, key).cloned())
    }

    fn look_up(&self, column: Column, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StorageError> {
        keys.iter().map(|key| self.read(column, key)).collect()
    }

    /// Fails if it comes to a rotten entry before the page is at its end, as a disk does.
    fn scan(&self, scan: &Scan) -> Result<Completion, StorageError> {
        let mut page = Page::new(scan);
        let from = (Bound::Included(&scan.from), Bound::Unbounded);
        for (key, value) in self.live.column(scan.column).range::<Bytes, _>(from) {
            let inside = scan.until.as_ref().is_none_or(|until| key < until);
            if inside && self.is_rotten(scan.column, key) {
                return Err(checksum_is_wrong());
            }
            if let ControlFlow::Break(()) = page.offer(key, || (key.clone(), value.clone())) {
                break;
            }
        }
        let beside = scan.beside.as_ref().map(|key| self.read(Column::Metadata, key)).transpose()?;
        Ok(page.finish(beside.flatten()))
    }
}

impl Storage for MemoryStore {
    fn submit(&mut self, id: OperationId, operation: Operation) {
        self.submitted.push((id, operation));
    }

    fn flush(&mut self) {
        let mut turn = std::mem::take(&mut self.submitted);
        if self.poison.is_none() {
            self.write(&turn);
        }
        turn.drain(..).for_each(|(id, operation)| self.answer(id, operation));
        self.submitted = turn;
        if self.policy == SyncPolicy::OnFlush && !self.awaiting_sync.is_empty() {
            self.sync();
        }
    }

    fn poll_completion(&mut self) -> Option<(OperationId, Result<Completion, StorageError>)> {
        self.completions.pop_front()
    }

    fn recover(&self) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        if self.rotten.iter().any(|(column, _)| *column == Column::Metadata) {
            return Err(checksum_is_wrong());
        }
        Ok(self.entries(Column::Metadata).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// The entries of all columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Columns {
    objects: BTreeMap<Bytes, Bytes>,
    dot_log: BTreeMap<Bytes, Bytes>,
    metadata: BTreeMap<Bytes, Bytes>,
    hints: BTreeMap<Bytes, Bytes>,
}

impl Columns {
    fn column(&self, column: Column) -> &BTreeMap<Bytes, Bytes> {
        match column {
            Column::Objects => &self.objects,
            Column::DotLog => &self.dot_log,
            Column::Metadata => &self.metadata,
            Column::Hints => &self.hints,
        }
    }

    fn column_mut(&mut self, column: Column) -> &mut BTreeMap<Bytes, Bytes> {
        match column {
            Column::Objects => &mut self.objects,
            Column::DotLog => &mut self.dot_log,
            Column::Metadata => &mut self.metadata,
            Column::Hints => &mut self.hints,
        }
    }

    fn apply(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            match change {
                Change::Put { column, key, value } => drop(self.column_mut(column).insert(key, value)),
                Change::Delete { column, key } => drop(self.column_mut(column).remove(&key)),
                Change::DeleteRange { column, from, until } => remove_range(self.column_mut(column), &from, &until),
            }
        }
    }
}

fn remove_range(column: &mut BTreeMap<Bytes, Bytes>, from: &Bytes, until: &Bytes) {
    // Of an inverted range the map would panic.
    if from < until {
        column.extract_if(from..until, |_, _| true).for_each(drop);
    }
}

/// Whether an entry was written or removed by a change.
fn touches(change: &Change, of: Column, entry: &Bytes) -> bool {
    match change {
        Change::Put { column, key, .. } | Change::Delete { column, key } => *column == of && key == entry,
        Change::DeleteRange { column, from, until } => *column == of && from <= entry && entry < until,
    }
}

fn checksum_is_wrong() -> StorageError {
    StorageError::Read { reason: "a block's checksum is wrong".to_owned() }
}
