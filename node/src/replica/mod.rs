//! The replica side of a shard: what this node stores of its partitions, and one operation per key at a time
//! (Riak's `riak_kv_vnode`; the rules are those of the design's section on server-wide clocks).
//!
//! A key that is being worked on has a slot:
//!
//! ```text
//!          submit            Reading ──read fails──▶ every waiting operation is told, slot gone
//! (none) ─────────▶ Reading ──read──▶ run queue ──nothing waits──▶ (none)
//!                                      │  ▲
//!                               changes│  │written: acknowledge
//!                                      ▼  │
//!                                    Writing ──write fails──▶ the store is poisoned: everybody is told
//! ```
//!
//! While a slot lives its container is known, so the next operations need not read it again; and they start only when the write
//! before them is as durable as that asked, so nobody is shown what could still vanish with this process. All changes that wait are one write
//! (`queue`).
//!
//! A write's dot is issued, its clock advanced and its batch submitted in one step. As the store keeps writes in order, a clock
//! on disk never claims an event whose data is not there.

mod arriving;
mod catching_up;
pub mod clocks;
mod expiry;
mod holding;
pub mod layout;
pub mod mending;
mod operation;
mod pages;
mod queue;
mod recovered;
mod set_back;
mod slot;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_ring::limits::{SIBLINGS_BYTES_MAX, SIBLINGS_WRITE_MAX};
use quorate_ring::version::{Actor, Container, Dot, Incarnation, NodeClock, VersionVector};
use quorate_ring::wire::{Durability, HeldObject, ReplicaError, ReplicaRead};
use quorate_ring::{NodeId, ObjectKey, PartitionCount, PartitionId, Position, StoredValue, Value, WallTime};

use self::arriving::Arriving;
pub use self::arriving::Merging;
pub use self::catching_up::Prunable;
use self::clocks::{Barrier, Clocks};
use self::layout::Damaged;
use self::mending::Unreadable;
pub(crate) use self::operation::bytes_of;
pub use self::operation::{Asker, Event, Evidence, KeyOperation, Page, Report, WriteRefusal};
pub use self::recovered::Recovered;
pub use self::set_back::SET_BACK;
use self::slot::{Slot, State};
use crate::Time;
use crate::coordinator::CoordinationId;
use crate::limits::{KEY_QUEUE_MAX, REPLICA_BYTES_MAX, REPLICA_OPERATIONS_MAX};
use crate::storage::{Batch, Column, Completion, Operation, OperationId, Owner, StorageError};

/// All that one shard of a node stores, and what is going on with it.
pub struct Replica {
    actor: Actor,
    partitions: PartitionCount,
    /// What the wall clock shows.
    wall: WallTime,
    /// The partitions that this shard holds a replica of.
    held: BTreeSet<PartitionId>,
    /// Partitions that it held before, each with the incarnation that makes its events when it holds it again: its clock then begins anew,
    /// and no event may be numbered twice.
    tenures: BTreeMap<PartitionId, Incarnation>,
    /// Those of them of which something that was acknowledged may be missing.
    behind: BTreeSet<PartitionId>,
    clocks: Clocks,
    /// Keys that were stored with more in their vector than the clock's base says, and can be stored with less once it has grown.
    unstripped: BTreeMap<PartitionId, BTreeSet<ObjectKey>>,
    unstripped_keys: usize,
    /// Those of these partitions whose clock has changed since.
    untidy: BTreeSet<PartitionId>,
    /// Partitions that are being received as a whole: up to where, and what is known of keys before that which are not here.
    arriving: BTreeMap<PartitionId, Arriving>,
    slots: BTreeMap<ObjectKey, Slot>,
    /// Keys that were found to be unreadable, until they are mended.
    unreadable: BTreeMap<ObjectKey, Unreadable>,
    unreadable_next: u64,
    /// Faults of the disk that were mended.
    mended: u64,
    /// Operations waiting or running, to bound them.
    waiting: usize,
    /// Bytes of the values in them.
    waiting_bytes: usize,
    submitted: BTreeMap<OperationId, Submitted>,
    operation_next: u64,
    operations: VecDeque<(OperationId, Operation)>,
    reports: VecDeque<Report>,
    poisoned: Option<String>,
}

/// What a storage operation on its way was for.
enum Submitted {
    Key(ObjectKey),
    Scan(Asker, PartitionId),
    Barrier(Barrier),
    /// The keys of a page, and whether a clock was joined with them.
    Page {
        keys: Vec<ObjectKey>,
        joins: bool,
    },
    /// Something that nobody waits for.
    Metadata,
}

impl Replica {
    /// The replica side as the store left it: `clocks` are all that were recovered, of the partitions that are `held`; reads count on
    /// none of these until [`Self::count_for_reads`].
    pub fn new(
        actor: Actor,
        partitions: PartitionCount,
        held: BTreeSet<PartitionId>,
        clocks: BTreeMap<PartitionId, NodeClock>,
        tenures: BTreeMap<PartitionId, Incarnation>,
    ) -> Self {
        Self {
            actor,
            partitions,
            wall: WallTime::default(),
            behind: held.clone(),
            held,
            tenures,
            clocks: Clocks::recovered(clocks),
            unstripped: BTreeMap::new(),
            unstripped_keys: 0,
            untidy: BTreeSet::new(),
            arriving: BTreeMap::new(),
            slots: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            unreadable_next: 0,
            mended: 0,
            waiting: 0,
            waiting_bytes: 0,
            submitted: BTreeMap::new(),
            operation_next: 0,
            operations: VecDeque::new(),
            reports: VecDeque::new(),
            poisoned: None,
        }
    }

    /// The clocks of the partitions.
    pub const fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// The last partition that this shard holds a replica of.
    pub fn last_held(&self) -> Option<PartitionId> {
        self.held.last().copied()
    }

    /// Whether everything that was ever acknowledged from this store is in it.
    pub fn is_complete(&self) -> bool {
        self.behind.is_empty()
    }

    /// Whether this shard holds a partition, and everything of it that was ever acknowledged from this store is in it.
    pub fn is_complete_for(&self, partition: PartitionId) -> bool {
        self.holds(partition) && !self.behind.contains(&partition)
    }

    /// The partitions of which something that was acknowledged may be missing.
    pub fn behind(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.behind.iter().copied()
    }

    /// Why the store takes nothing more, if that is so.
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    /// Operations waiting or running.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes of the values in operations waiting or running.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether so much waits that what nobody waits for any more is refused: three quarters of what may.
    fn is_nearly_full(&self) -> bool {
        REPLICA_OPERATIONS_MAX / 4 * 3 <= self.waiting || REPLICA_BYTES_MAX / 4 * 3 <= self.waiting_bytes
    }

    /// Whether nothing waits or runs for a key of a partition.
    pub fn is_idle_for(&self, partition: PartitionId) -> bool {
        !self.slots.keys().any(|key| self.partitions.partition_of(Position::of(key)) == partition)
    }

    /// The partitions that this shard holds a replica of.
    pub const fn held(&self) -> &BTreeSet<PartitionId> {
        &self.held
    }

    /// The next operation for the store.
    pub fn poll_operation(&mut self) -> Option<(OperationId, Operation)> {
        self.operations.pop_front()
    }

    /// The next thing to tell the rest of the shard.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Takes an operation on a key.
    pub fn handle_key(&mut self, key: ObjectKey, operation: KeyOperation) {
        if self.poisoned.is_some() {
            return self.refuse(&key, operation, ReplicaError::StorageFailed);
        }
        let queued = self.slots.get(&key).map_or(0, |slot| slot.queue.len());
        let bytes = operation.bytes();
        if KEY_QUEUE_MAX <= queued
            || REPLICA_OPERATIONS_MAX <= self.waiting
            || (0 < bytes && REPLICA_BYTES_MAX < self.waiting_bytes + bytes)
        {
            return self.refuse(&key, operation, ReplicaError::Overloaded);
        }
        self.waiting += 1;
        self.waiting_bytes += bytes;
        match self.slots.get_mut(&key) {
            Some(slot) => slot.queue.push_back(operation),
            None => {
                let (column, place) = (Column::Objects, layout::object(&key));
                let read = match &operation {
                    // What is at hand of it may be what the disk has lost.
                    KeyOperation::Restore { .. } => Operation::Lookup { column, keys: vec![place] },
                    _ => Operation::Read { column, key: place },
                };
                self.submit(read, Submitted::Key(key.clone()));
                self.slots.insert(key, Slot::reading(operation));
            }
        }
    }

    /// Drops a write event that waits and is not made yet: its coordinator has given it up.
    pub fn take_back(&mut self, key: &ObjectKey, given_up: CoordinationId) {
        if let Some(slot) = self.slots.get_mut(key) {
            let is_given_up = |operation: &KeyOperation| matches!(operation, KeyOperation::Write { coordination, .. } if *coordination == given_up);
            slot.queue.retain(|operation| {
                let given_up = is_given_up(operation);
                if given_up {
                    self.waiting -= 1;
                    self.waiting_bytes -= operation.bytes();
                }
                !given_up
            });
        }
    }

    /// Takes the outcome of a storage operation.
    pub fn handle_completion(&mut self, now: Time, id: OperationId, result: Result<Completion, StorageError>) {
        let Some(submitted) = self.submitted.remove(&id) else { return };
        match submitted {
            Submitted::Key(key) => self.key_completed(now, key, result),
            Submitted::Page { keys, .. } => {
                keys.into_iter().for_each(|key| self.key_completed(now, key, result.clone()));
            }
            Submitted::Scan(asker, partition) => self.scan_completed(asker, partition, result),
            Submitted::Barrier(barrier) if result.is_ok() => {
                self.clocks.reached(barrier);
                self.reports.push_back(Report::Reached(barrier));
            }
            // A failure has poisoned the store, which is told above.
            Submitted::Barrier(_) | Submitted::Metadata => {}
        }
    }

    /// Remembers which incarnations of a peer were met.
    pub fn remember_peer(&mut self, peer: NodeId, incarnations: &[Incarnation]) {
        let mut batch = Batch::default();
        batch.put(Column::Metadata, layout::peer(peer), layout::encode(&incarnations));
        self.submit(Operation::Write { batch, durability: Durability::Buffered }, Submitted::Metadata);
    }

    fn submit(&mut self, operation: Operation, submitted: Submitted) {
        let id = OperationId::new(Owner::Replica, self.operation_next);
        self.operation_next += 1;
        self.operations.push_back((id, operation));
        self.submitted.insert(id, submitted);
    }

    fn key_completed(&mut self, now: Time, key: ObjectKey, result: Result<Completion, StorageError>) {
        let Some(mut slot) = self.slots.remove(&key) else { return };
        self.waiting_bytes -= std::mem::take(&mut slot.writing_bytes);
        match (std::mem::replace(&mut slot.state, State::Idle), result) {
            (State::Reading, Ok(Completion::Read(stored))) => self.read_completed(now, key, slot, stored.as_deref()),
            (State::Reading, Ok(Completion::Found(found))) => {
                self.read_completed(now, key, slot, found.first().and_then(Option::as_deref));
            }
            (State::Writing { askers, container }, Ok(Completion::Written)) => {
                askers.into_iter().for_each(|asker| self.tell_stored(asker, Ok(())));
                self.run(now, key, slot, container);
            }
            (State::Writing { askers, .. }, _) => {
                askers.into_iter().for_each(|asker| self.tell_stored(asker, Err(ReplicaError::StorageFailed)));
                self.fail(&key, slot);
            }
            (State::Reading | State::Idle, result) => {
                let reason = result
                    .err()
                    .map_or_else(|| "the store answered with something else".to_owned(), |error| error.to_string());
                self.reports.push_back(Report::Damaged { reason });
                match self.poisoned {
                    Some(_) => self.fail(&key, slot),
                    None => self.cannot_read(key, slot),
                }
            }
        }
    }

    fn read_completed(&mut self, now: Time, key: ObjectKey, slot: Slot, stored: Option<&[u8]>) {
        match self.decode(&key, stored) {
            Ok(container) => {
                self.unreadable.remove(&key);
                self.run(now, key, slot, container);
            }
            Err(_) => self.cannot_read(key, slot),
        }
    }

    fn is_storing_metadata(&self) -> bool {
        let joins =
            |submitted: &Submitted| matches!(submitted, Submitted::Metadata | Submitted::Page { joins: true, .. });
        self.submitted.values().any(joins)
    }

    /// An operation that changes something is over.
    fn tell_stored(&mut self, asker: Asker, result: Result<(), ReplicaError>) {
        self.waiting -= 1;
        self.reports.push_back(Report::Stored { asker, result });
    }

    fn read(
        &self,
        partition: PartitionId,
        asker: Asker,
        key: &ObjectKey,
        mut container: Container<StoredValue>,
    ) -> Report {
        container.fill(self.clocks.base(partition));
        if let Asker::Scrubber { node, exchange } = asker {
            // The clock of this very instant: an event that the key's next operation brings is not in the container.
            let held = HeldObject { container, clock: self.clocks.live(partition).clone() };
            return Report::Held { node, exchange, held };
        }
        let result = Ok(ReplicaRead { container, complete: self.is_complete_for(partition) });
        Report::Read { asker, key: key.clone(), result }
    }

    /// Makes a write event: issues its dot and gives the filled container with it.
    fn make(
        &mut self,
        partition: PartitionId,
        stored: &Container<StoredValue>,
        event: Event,
        context: &VersionVector,
    ) -> Result<(Dot, Container<StoredValue>), WriteRefusal> {
        let mut container = stored.clone();
        container.fill(self.clocks.base(partition));
        container.discard(context);
        container.expire(self.wall);
        if let Event::Put(value, _) = &event {
            refuse_too_many(&container, value)?;
        }
        let dot = self.clocks.issue(partition, self.actor_of(partition));
        match event {
            Event::Put(value, ttl) => {
                let expires_at = ttl.map(|ttl| self.wall + ttl.duration());
                container.add(dot, StoredValue { value, expires_at });
            }
            Event::Delete => container.record(dot),
        }
        Ok((dot, container))
    }

    /// Merges a peer's filled container; gives the filled result and the dots that are new to this replica.
    fn merge(
        &mut self,
        partition: PartitionId,
        stored: &Container<StoredValue>,
        theirs: Container<StoredValue>,
        dots: Vec<Dot>,
    ) -> (Container<StoredValue>, Vec<Dot>) {
        let vouched: Vec<Dot> = theirs.values().map(|(dot, _)| *dot).chain(dots).collect();
        let mut merged = stored.clone();
        merged.fill(self.clocks.base(partition));
        merged.sync(theirs);
        merged.expire(self.wall);
        let dots = vouched.into_iter().filter(|dot| self.clocks.add(partition, *dot)).collect();
        (merged, dots)
    }

    fn strip(&self, partition: PartitionId, mut container: Container<StoredValue>) -> Container<StoredValue> {
        container.strip(self.clocks.base(partition));
        container
    }

    /// Submits the one atomic batch of a key's changes: the object, the clock and the log of the new dots.
    fn store(
        &mut self,
        key: &ObjectKey,
        partition: PartitionId,
        stripped: &Container<StoredValue>,
        dots: &[Dot],
        durability: Durability,
    ) {
        let mut batch = Batch::default();
        self.put(&mut batch, key, partition, stripped, dots);
        if !dots.is_empty() {
            batch.put(Column::Metadata, layout::clock(partition), layout::encode(self.clocks.live(partition)));
        }
        self.submit(Operation::Write { batch, durability }, Submitted::Key(key.clone()));
    }

    /// Puts an object and the log of its new dots into a batch.
    fn put(
        &mut self,
        batch: &mut Batch,
        key: &ObjectKey,
        partition: PartitionId,
        stripped: &Container<StoredValue>,
        dots: &[Dot],
    ) {
        if stripped.is_empty() {
            batch.delete(Column::Objects, layout::object(key));
        } else {
            batch.put(Column::Objects, layout::object(key), layout::encode_container(stripped));
        }
        for dot in dots {
            batch.put(Column::DotLog, layout::dot_log(partition, *dot), key.encoded().clone());
        }
        self.note_stripped(key, partition, stripped);
        if let Some(written) = self.arriving.get_mut(&partition).and_then(|arriving| arriving.written.as_mut()) {
            written.insert(key.clone());
        }
    }

    fn decode(&mut self, key: &ObjectKey, stored: Option<&[u8]>) -> Result<Container<StoredValue>, Damaged> {
        let decoded = stored.map_or_else(|| Ok(self.absent(key)), layout::decode_container);
        if let Err(error) = &decoded {
            self.reports.push_back(Report::Damaged { reason: error.to_string() });
        }
        decoded
    }

    /// The store takes nothing more.
    pub fn poison(&mut self, reason: String) {
        if self.poisoned.is_none() {
            self.poisoned = Some(reason.clone());
            self.reports.push_back(Report::Poisoned { reason });
        }
    }

    /// Tells everybody who waits for a key that its storage failed.
    fn fail(&mut self, key: &ObjectKey, slot: Slot) {
        for operation in slot.queue {
            self.waiting -= 1;
            self.waiting_bytes -= operation.bytes();
            self.refuse(key, operation, ReplicaError::StorageFailed);
        }
    }

    fn refuse(&mut self, key: &ObjectKey, operation: KeyOperation, error: ReplicaError) {
        self.reports.push_back(match operation {
            KeyOperation::Read { asker, .. } => Report::Read { asker, key: key.clone(), result: Err(error) },
            KeyOperation::Merge { asker, .. }
            | KeyOperation::Replicate { asker, .. }
            | KeyOperation::Tidy { asker }
            | KeyOperation::Mend { asker, .. }
            | KeyOperation::Restore { asker, .. } => Report::Stored { asker, result: Err(error) },
            KeyOperation::Write { coordination, .. } => {
                Report::Refused { coordination, reason: WriteRefusal::Replica(error) }
            }
        });
    }
}

/// A write that replaces nothing must not make a key that no message can carry. Replication and repair are never refused.
pub(crate) fn refuse_too_many(container: &Container<StoredValue>, added: &Value) -> Result<(), WriteRefusal> {
    let siblings = container.siblings();
    let bytes: usize = container.values().map(|(_, stored)| stored.value.as_bytes().len()).sum();
    if siblings != 0 && (SIBLINGS_WRITE_MAX <= siblings || SIBLINGS_BYTES_MAX < bytes + added.as_bytes().len()) {
        return Err(WriteRefusal::TooManySiblings { siblings, bytes });
    }
    Ok(())
}
