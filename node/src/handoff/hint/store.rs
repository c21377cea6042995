//! The hints that this node keeps: one operation per key at a time, as on the replica side, over the key's hints for all nodes.
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
//! At a start what is kept is counted page by page. Until that is done nothing further is taken: it could be too much.

mod making;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use quorate_ring::layout::Placement;
use quorate_ring::limits::{HAND_DOTS_MAX, HAND_HINTS_MAX};
use quorate_ring::version::{Actor, Container, Dot};
use quorate_ring::wire::{Durability, ReplicaError, ReplicaRead};
use quorate_ring::{NodeId, ObjectKey, PartitionId, Position, StoredValue, WallTime};
use rand::rngs::ChaCha8Rng;

use super::bounds::HintBounds;
use super::counts::Counts;
use super::layout::{self, StoredHint};
pub use super::operation::{HintOperation, HintReport};
use super::tenure::Tenures;
use crate::Time;
use crate::coordinator::CoordinationId;
use crate::limits::{HAND_PAUSE, HINT_OPERATIONS_MAX, KEY_QUEUE_MAX};
use crate::replica::{Asker, Report, WriteRefusal};
use crate::shard::split::Slices;
use crate::storage::{Batch, Column, Completion, Operation, OperationId, Owner, Scan, StorageError};

/// What this shard of a node keeps for others.
pub struct HintStore {
    placement: Arc<Placement>,
    slices: Slices,
    shard: u8,
    slots: BTreeMap<ObjectKey, Slot>,
    /// Operations waiting or running, to bound them.
    waiting: usize,
    submitted: BTreeMap<OperationId, Submitted>,
    operation_next: u64,
    operations: VecDeque<(OperationId, Operation)>,
    reports: VecDeque<HintReport>,
    counts: Counts,
    counted: bool,
    /// Where the counting goes on, and when, after a page that could not be read.
    recount: Option<(Time, Bytes)>,
    tenures: Tenures,
    poisoned: bool,
    /// What the wall clock shows.
    wall: WallTime,
}

/// The hints of a key, by whom they are for, each with its bytes.
type Hints = BTreeMap<NodeId, (StoredHint, usize)>;

/// A hint that is about to be stored.
struct Prepared {
    target: NodeId,
    hint: StoredHint,
    place: Bytes,
    value: Bytes,
}

impl Prepared {
    fn new(target: NodeId, key: &ObjectKey, hint: StoredHint) -> Self {
        let (place, value) = (layout::place(target, key), layout::encode(&hint));
        Self { target, hint, place, value }
    }

    fn bytes(&self) -> usize {
        self.place.len() + self.value.len()
    }

    /// How many bytes of its node's are there already, and how many then.
    fn change(&self, hints: &Hints) -> (NodeId, Option<usize>, usize) {
        (self.target, hints.get(&self.target).map(|(_, bytes)| *bytes), self.bytes())
    }
}

struct Slot {
    state: State,
    queue: VecDeque<HintOperation>,
    /// Whose hints are looked up.
    targets: Vec<NodeId>,
}

enum State {
    /// Nothing: only while the store holds the slot in its hand.
    Idle,
    Reading,
    Writing {
        told: Told,
        hints: Hints,
        /// What is being written has no smaller number than this.
        from: u64,
    },
}

/// Who is told of a write.
#[derive(Clone, Copy)]
enum Told {
    Asker(Asker),
    Delivery(NodeId),
}

/// What a storage operation on its way was for.
enum Submitted {
    Key(ObjectKey),
    Page(NodeId),
    /// The page of the counting that begins here.
    Counting(Bytes),
}

impl HintStore {
    /// Who holds what from now on.
    pub fn set_placement(&mut self, placement: Arc<Placement>) {
        self.placement = placement;
    }

    /// What a store holds that was left by a former process. It begins to count it.
    pub fn new(
        own: NodeId,
        placement: Arc<Placement>,
        (slices, shard): (Slices, u8),
        bounds: HintBounds,
        random: ChaCha8Rng,
    ) -> Self {
        let mut store = Self {
            placement,
            slices,
            shard,
            slots: BTreeMap::new(),
            waiting: 0,
            submitted: BTreeMap::new(),
            operation_next: 0,
            operations: VecDeque::new(),
            reports: VecDeque::new(),
            counts: Counts::new(bounds),
            counted: false,
            recount: None,
            tenures: Tenures::new(own, random),
            poisoned: false,
            wall: WallTime::default(),
        };
        store.count_from(Bytes::new());
        store
    }

    /// How much is kept for whom.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The same, to note what is delivered.
    pub const fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// The wall clock shows this.
    pub fn set_wall(&mut self, wall: WallTime) {
        self.wall = wall;
        self.counts.set_wall(wall);
    }

    /// Every hint with a smaller number than this can be seen by a page that is read from now on: those that are being written may not be.
    pub fn visible_before(&self) -> u64 {
        let being_written = self.slots.values().filter_map(|slot| match slot.state {
            State::Writing { from, .. } => Some(from),
            State::Idle | State::Reading => None,
        });
        being_written.min().unwrap_or_else(|| self.counts.sequence())
    }

    /// Whether what was found at the start is counted.
    pub const fn is_counted(&self) -> bool {
        self.counted
    }

    /// Whether nothing is kept of a partition for anybody, nor about to be; and so since the start, as far as is known.
    pub fn is_empty_of(&self, partition: PartitionId) -> bool {
        let waits = |key: &ObjectKey| self.placement.partition_of(Position::of(key)) == partition;
        let kept = self.counts.targets_of(partition).next().is_some() || self.slots.keys().any(waits);
        self.counted && !self.poisoned && !kept
    }

    /// Whether an actor that this node was in the place of primaries may make further events.
    pub fn may_make_more(&self, partition: PartitionId, actor: Actor) -> bool {
        self.tenures.is_open(partition, actor)
    }

    /// Operations waiting or running.
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// The next operation for the store.
    pub fn poll_operation(&mut self) -> Option<(OperationId, Operation)> {
        self.operations.pop_front()
    }

    /// The next thing to tell the rest of the shard.
    pub fn poll_report(&mut self) -> Option<HintReport> {
        self.reports.pop_front()
    }

    /// Takes an operation on a key's hints.
    pub fn handle_key(&mut self, key: ObjectKey, operation: HintOperation) {
        if self.poisoned {
            return self.refuse(&key, operation, ReplicaError::StorageFailed);
        }
        let adds = matches!(operation, HintOperation::Keep { .. } | HintOperation::Make { .. });
        let queued = self.slots.get(&key).map_or(0, |slot| slot.queue.len());
        // What is delivered makes room, so it is never refused.
        let settles = matches!(operation, HintOperation::Delivered { .. });
        if !settles && (KEY_QUEUE_MAX <= queued || HINT_OPERATIONS_MAX <= self.waiting) || adds && !self.counted {
            return self.refuse(&key, operation, ReplicaError::Overloaded);
        }
        self.waiting += 1;
        if let Some(slot) = self.slots.get_mut(&key) {
            return slot.queue.push_back(operation);
        }
        let partition = self.placement.partition_of(Position::of(&key));
        let targets: BTreeSet<NodeId> =
            self.placement.primaries(partition).chain(self.counts.targets_of(partition)).collect();
        let targets: Vec<NodeId> = targets.into_iter().collect();
        let keys = targets.iter().map(|target| layout::place(*target, &key)).collect();
        self.submit(Operation::Lookup { column: Column::Hints, keys }, Submitted::Key(key.clone()));
        self.slots.insert(key, Slot { state: State::Reading, queue: VecDeque::from([operation]), targets });
    }

    /// Drops a write event that waits and is not made yet: its coordinator has given it up.
    pub fn take_back(&mut self, key: &ObjectKey, given_up: CoordinationId) {
        if let Some(slot) = self.slots.get_mut(key) {
            let waited = slot.queue.len();
            slot.queue.retain(
                |operation| !matches!(operation, HintOperation::Make { coordination, .. } if *coordination == given_up),
            );
            self.waiting -= waited - slot.queue.len();
        }
    }

    /// Reads what is kept for a node of a partition, behind a key if one is named, up to about so many bytes.
    pub fn read_page(&mut self, target: NodeId, partition: PartitionId, after: Option<&ObjectKey>, bytes_max: usize) {
        let (start, until) = layout::partition(target, self.placement.partitions(), partition);
        let scan = Scan {
            column: Column::Hints,
            from: after.map_or(start, |after| layout::behind(target, after)),
            until: Some(until),
            infix: Bytes::new(),
            limit: HAND_HINTS_MAX,
            bytes_max,
            beside: None,
        };
        self.submit(Operation::Scan(scan), Submitted::Page(target));
    }

    /// When the counting goes on that was broken off by a page that could not be read.
    pub fn deadline(&self) -> Option<Time> {
        self.recount.as_ref().map(|(at, _)| *at)
    }

    /// Goes on with what waited for its time.
    pub fn handle_time(&mut self, now: Time) {
        if let Some((_, from)) = self.recount.take_if(|(at, _)| *at <= now) {
            self.count_from(from);
        }
    }

    /// Ends the tenures of which everything is delivered.
    pub fn end_tenures(&mut self) {
        let over = |partition: &PartitionId| self.counts.targets_of(*partition).next().is_none();
        let over: Vec<PartitionId> = self.tenures.partitions().filter(over).collect();
        over.into_iter().for_each(|partition| self.tenures.end(partition));
    }

    /// Takes the outcome of a storage operation.
    pub fn handle_completion(&mut self, now: Time, id: OperationId, result: Result<Completion, StorageError>) {
        let Some(submitted) = self.submitted.remove(&id) else { return };
        if let Err(StorageError::Poisoned { .. }) = &result {
            // The shard tells of it.
            self.poisoned = true;
        }
        match submitted {
            Submitted::Key(key) => self.key_completed(now, key, result),
            Submitted::Page(target) => {
                let read = self
                    .entries(result)
                    .map(|(entries, last)| (entries.into_iter().map(|(_, key, hint, _)| (key, hint)).collect(), last));
                self.reports.push_back(HintReport::Page { target, read });
            }
            Submitted::Counting(from) => self.count(now, from, result),
        }
    }

    fn submit(&mut self, operation: Operation, submitted: Submitted) {
        let id = OperationId::new(Owner::Hints, self.operation_next);
        self.operation_next += 1;
        self.operations.push_back((id, operation));
        self.submitted.insert(id, submitted);
    }

    /// The hints of a page; damaged ones are told of and left out.
    #[expect(clippy::type_complexity, reason = "read at once")]
    fn entries(
        &mut self,
        result: Result<Completion, StorageError>,
    ) -> Option<(Vec<(NodeId, ObjectKey, StoredHint, usize)>, bool)> {
        let (entries, last) = match result {
            Ok(Completion::Scanned { entries, last, .. }) => (entries, last),
            Ok(_) => return None,
            Err(error) => {
                self.damaged(error.to_string());
                return None;
            }
        };
        let mut read = Vec::with_capacity(entries.len());
        for (place, value) in entries {
            let decoded = layout::target_and_key(&place).and_then(|known| Ok((known, layout::decode(&value)?)));
            match decoded {
                Ok(((target, key), hint)) => read.push((target, key, hint, place.len() + value.len())),
                Err(error) => self.damaged(error.to_string()),
            }
        }
        Some((read, last))
    }

    fn damaged(&mut self, reason: String) {
        self.reports.push_back(HintReport::Of(Report::Damaged { reason }));
    }

    fn count_from(&mut self, from: Bytes) {
        let scan = Scan {
            column: Column::Hints,
            from: from.clone(),
            until: None,
            infix: Bytes::new(),
            limit: HAND_HINTS_MAX,
            bytes_max: quorate_ring::limits::HAND_BYTES_MAX as usize,
            beside: None,
        };
        self.submit(Operation::Scan(scan), Submitted::Counting(from));
    }

    /// Counts a page. Those of other shards of the node are passed over without being read.
    fn count(&mut self, now: Time, from: Bytes, result: Result<Completion, StorageError>) {
        let Some((entries, last)) = self.entries(result) else {
            self.recount = (!self.poisoned).then_some((now + HAND_PAUSE, from));
            return;
        };
        let end = entries.last().map(|(target, key, ..)| (*target, key.clone()));
        for (target, key, _, bytes) in entries {
            let partition = self.placement.partition_of(Position::of(&key));
            if self.slices.shard_of(partition) == self.shard {
                self.counts.found(now, target, partition, bytes);
            }
        }
        match end {
            Some((target, key)) if !last => {
                let partition = self.placement.partition_of(Position::of(&key));
                let next = match self.slices.shard_of(partition).cmp(&self.shard) {
                    std::cmp::Ordering::Less => {
                        let first = self
                            .placement
                            .partitions()
                            .partitions()
                            .find(|one| self.slices.shard_of(*one) == self.shard);
                        let first = first.map(|first| self.placement.partitions().first_position(first));
                        first.map_or_else(|| layout::behind_all(target), |first| layout::from_position(target, first))
                    }
                    std::cmp::Ordering::Equal => layout::behind(target, &key),
                    std::cmp::Ordering::Greater => layout::behind_all(target),
                };
                self.count_from(next);
            }
            _ => self.counted = true,
        }
    }

    fn key_completed(&mut self, now: Time, key: ObjectKey, result: Result<Completion, StorageError>) {
        let Some(mut slot) = self.slots.remove(&key) else { return };
        match (std::mem::replace(&mut slot.state, State::Idle), result) {
            (State::Reading, Ok(Completion::Found(found))) => match self.decode(&key, &slot.targets, found) {
                Some(hints) => self.run(now, key, slot, hints),
                None => self.fail(&key, slot),
            },
            (State::Writing { told, hints, .. }, Ok(Completion::Written)) => {
                self.waiting -= 1;
                self.tell(told, Ok(()));
                self.run(now, key, slot, hints);
            }
            (State::Writing { told, .. }, _) => {
                self.waiting -= 1;
                self.tell(told, Err(ReplicaError::StorageFailed));
                self.fail(&key, slot);
            }
            (State::Reading | State::Idle, result) => {
                if let Err(error) = result {
                    self.damaged(error.to_string());
                }
                self.fail(&key, slot);
            }
        }
    }

    fn decode(&mut self, key: &ObjectKey, targets: &[NodeId], found: Vec<Option<Bytes>>) -> Option<Hints> {
        let mut hints = Hints::new();
        for (target, value) in targets.iter().zip(found) {
            let Some(value) = value else { continue };
            match layout::decode(&value) {
                Ok(hint) => hints.insert(*target, (hint, layout::place(*target, key).len() + value.len())),
                Err(error) => {
                    self.damaged(error.to_string());
                    return None;
                }
            };
        }
        Some(hints)
    }

    /// Works through a key's queue until something must be written or nothing waits.
    fn run(&mut self, now: Time, key: ObjectKey, mut slot: Slot, mut hints: Hints) {
        while let Some(operation) = slot.queue.pop_front() {
            let from = self.counts.sequence();
            let written = match operation {
                HintOperation::Read { asker, deadline } => {
                    if now < deadline {
                        let result = Ok(ReplicaRead { container: merged(&hints), complete: true });
                        self.reports.push_back(HintReport::Of(Report::Read { asker, key: key.clone(), result }));
                    }
                    None
                }
                HintOperation::Keep { asker, target, container, dot, durability } => {
                    self.keep(now, &key, &mut hints, asker, (target, container, dot, durability))
                }
                HintOperation::Make { deadline, .. } if deadline <= now => None,
                HintOperation::Make { coordination, event, context, durability, .. } => {
                    self.make(now, &key, &mut hints, coordination, (event, &context, durability))
                }
                HintOperation::Delivered { target, hint } => self.delivered(now, &key, &mut hints, target, &hint),
            };
            match written {
                Some(told) => {
                    slot.state = State::Writing { told, hints, from };
                    self.slots.insert(key, slot);
                    return;
                }
                None => self.waiting -= 1,
            }
        }
    }

    /// Keeps a write for a node. Gives who is to be told when it is written, if anything must be.
    fn keep(
        &mut self,
        now: Time,
        key: &ObjectKey,
        hints: &mut Hints,
        asker: Asker,
        (target, container, dot, durability): (NodeId, Container<StoredValue>, Dot, Durability),
    ) -> Option<Told> {
        let known = hints.get(&target).map(|(hint, _)| hint.clone()).unwrap_or_default();
        let mut hint = known.clone();
        hint.merge(container, [dot]);
        if hint == known && durability == Durability::Buffered {
            self.tell(Told::Asker(asker), Ok(()));
            return None;
        }
        let too_many = HAND_DOTS_MAX < hint.dots.len();
        let prepared = Prepared::new(target, key, hint);
        if too_many || !self.counts.has_room([prepared.change(hints)]) {
            self.tell(Told::Asker(asker), Err(ReplicaError::Overloaded));
            return None;
        }
        let mut batch = Batch::default();
        self.put(now, key, hints, prepared, &mut batch);
        self.submit(Operation::Write { batch, durability }, Submitted::Key(key.clone()));
        Some(Told::Asker(asker))
    }

    /// Drops a hint that was delivered, unless it has changed since it was handed over.
    fn delivered(
        &mut self,
        now: Time,
        key: &ObjectKey,
        hints: &mut Hints,
        target: NodeId,
        handed: &StoredHint,
    ) -> Option<Told> {
        match hints.get(&target) {
            Some((hint, bytes)) if hint == handed => {
                let partition = self.placement.partition_of(Position::of(key));
                self.counts.change(now, target, partition, Some(*bytes), None);
                hints.remove(&target);
                let mut batch = Batch::default();
                batch.delete(Column::Hints, layout::place(target, key));
                let write = Operation::Write { batch, durability: Durability::Buffered };
                self.submit(write, Submitted::Key(key.clone()));
                Some(Told::Delivery(target))
            }
            _ => {
                self.tell(Told::Delivery(target), Ok(()));
                None
            }
        }
    }

    fn put(&mut self, now: Time, key: &ObjectKey, hints: &mut Hints, prepared: Prepared, batch: &mut Batch) {
        let (bytes, Prepared { target, hint, place, value }) = (prepared.bytes(), prepared);
        let old = hints.insert(target, (hint, bytes)).map(|(_, bytes)| bytes);
        self.counts.change(now, target, self.placement.partition_of(Position::of(key)), old, Some(bytes));
        batch.put(Column::Hints, place, value);
    }

    fn tell(&mut self, told: Told, result: Result<(), ReplicaError>) {
        self.reports.push_back(match told {
            Told::Asker(asker) => HintReport::Of(Report::Stored { asker, result }),
            Told::Delivery(target) => HintReport::Settled(target),
        });
    }

    /// Tells everybody who waits for a key that its storage failed.
    fn fail(&mut self, key: &ObjectKey, slot: Slot) {
        for operation in slot.queue {
            self.waiting -= 1;
            self.refuse(key, operation, ReplicaError::StorageFailed);
        }
    }

    fn refuse(&mut self, key: &ObjectKey, operation: HintOperation, error: ReplicaError) {
        self.reports.push_back(match operation {
            HintOperation::Read { asker, .. } => {
                HintReport::Of(Report::Read { asker, key: key.clone(), result: Err(error) })
            }
            HintOperation::Keep { asker, .. } => HintReport::Of(Report::Stored { asker, result: Err(error) }),
            HintOperation::Make { coordination, .. } => {
                HintReport::Of(Report::Refused { coordination, reason: WriteRefusal::Replica(error) })
            }
            HintOperation::Delivered { target, .. } => HintReport::Settled(target),
        });
    }
}

/// All that is kept of a key, for whomever.
fn merged(hints: &Hints) -> Container<StoredValue> {
    let mut merged = Container::default();
    hints.values().for_each(|(hint, _)| merged.sync(hint.container.clone()));
    merged
}
