//! Working through what waits for a key: reads are answered, and then the changes that wait are made one after the other and written as one
//! (the group commit of databases, of a key).
//!
//! ```text
//! waits:     read  put  merge  read  put  put (synced)
//! answered:  read              read                     at once, by what is stored for certain
//! one write:       put  merge        put                all are told when it is done
//! the next:                               put (synced)  with what comes until then
//! ```
//!
//! Were each change written by itself, a key with many writers would cost more the longer its queue is: each change writes all siblings anew, and
//! the longer changes take, the more of them have not seen each other. Written together they cost less each as the queue grows.
//!
//! A read that overtakes changes shows the key without them. None of them has been acknowledged by this replica then, so they may as well
//! have come later. It must not be answered once they are begun: the clock's base, with which it is filled, says that they are known.

use quorate_ring::version::{Container, Dot};
use quorate_ring::wire::{Durability, ReplicaError};
use quorate_ring::{ObjectKey, PartitionId, Position, StoredValue};

use super::slot::{Slot, State};
use super::{Asker, KeyOperation, Replica, Report};
use crate::Time;
use crate::limits::KEY_CHANGES_MAX;

/// Changes of a key that are made, and are to be written as one.
struct Changes {
    /// What they come to: as it is stored while there are none, then filled or stripped.
    container: Container<StoredValue>,
    /// Who is told when it is stored.
    askers: Vec<Asker>,
    /// What of it is new here.
    dots: Vec<Dot>,
    /// When it counts as stored, for all of them alike.
    durability: Durability,
    /// Of the values that they brought.
    bytes: usize,
}

impl Changes {
    const fn none(stored: Container<StoredValue>) -> Self {
        Self { container: stored, askers: Vec::new(), dots: Vec::new(), durability: Durability::Buffered, bytes: 0 }
    }

    fn is_none(&self) -> bool {
        self.askers.is_empty()
    }

    /// Whether an operation's turn comes while these wait to be written.
    fn takes(&self, operation: &KeyOperation) -> bool {
        let joins = match operation {
            KeyOperation::Write { durability, .. }
            | KeyOperation::Merge { durability, .. }
            | KeyOperation::Replicate { durability, .. } => *durability == self.durability,
            KeyOperation::Read { .. }
            | KeyOperation::Tidy { .. }
            | KeyOperation::Mend { .. }
            | KeyOperation::Restore { .. } => false,
        };
        self.is_none() || (joins && self.askers.len() < KEY_CHANGES_MAX)
    }

    fn add(
        &mut self,
        asker: Asker,
        container: Container<StoredValue>,
        dots: impl IntoIterator<Item = Dot>,
        durability: Durability,
    ) {
        self.container = container;
        self.askers.push(asker);
        self.dots.extend(dots);
        self.durability = durability;
    }
}

impl Replica {
    /// Works through a key's queue, from a container that is stored for certain (stripped), until something must be written or nothing waits.
    pub(super) fn run(&mut self, now: Time, key: ObjectKey, mut slot: Slot, stored: Container<StoredValue>) {
        let partition = self.partitions.partition_of(Position::of(&key));
        if slot.reads_first() && stored.has_expired(self.wall) {
            // What was once said to be gone must not be shown again after a restart, or by a clock that is set back: its removal is stored first.
            self.waiting += 1;
            slot.queue.push_front(KeyOperation::Tidy { asker: Asker::Nobody });
        }
        let mut changes = Changes::none(stored);
        while self.poisoned.is_none()
            && let Some(operation) = slot.queue.pop_front_if(|operation| changes.takes(operation))
        {
            let (bytes, before) = (operation.bytes(), changes.askers.len());
            self.waiting_bytes -= bytes;
            self.work(now, partition, &key, operation, &mut changes);
            changes.bytes += if before < changes.askers.len() { bytes } else { 0 };
        }
        if self.poisoned.is_some() {
            changes.askers.into_iter().for_each(|asker| self.tell_stored(asker, Err(ReplicaError::StorageFailed)));
            return self.fail(&key, slot);
        }
        if !changes.is_none() {
            let container = self.strip(partition, changes.container);
            self.store(&key, partition, &container, &changes.dots, changes.durability);
            self.write_on(key, slot, changes.askers, container, changes.bytes);
        }
    }

    /// A slot's changes are being written: what they bring counts until that is done.
    pub(super) fn write_on(
        &mut self,
        key: ObjectKey,
        mut slot: Slot,
        askers: Vec<Asker>,
        container: Container<StoredValue>,
        bytes: usize,
    ) {
        slot.state = State::Writing { askers, container };
        slot.writing_bytes = bytes;
        self.waiting_bytes += bytes;
        self.slots.insert(key, slot);
    }

    /// Does what an operation asks, as far as nothing is to be stored for it.
    fn work(
        &mut self,
        now: Time,
        partition: PartitionId,
        key: &ObjectKey,
        operation: KeyOperation,
        changes: &mut Changes,
    ) {
        match operation {
            KeyOperation::Read { asker, deadline } => {
                self.waiting -= 1;
                if now < deadline {
                    let report = self.read(partition, asker, key, changes.container.clone());
                    self.reports.push_back(report);
                }
            }
            KeyOperation::Write { deadline, .. } if deadline <= now => self.waiting -= 1,
            KeyOperation::Write { coordination, event, context, durability, .. } => {
                match self.make(partition, &changes.container, event, &context) {
                    Ok((dot, filled)) => {
                        self.reports.push_back(Report::Made { coordination, dot, container: filled.clone() });
                        changes.add(Asker::Coordinator(coordination), filled, [dot], durability);
                    }
                    Err(reason) => {
                        self.waiting -= 1;
                        self.reports.push_back(Report::Refused { coordination, reason });
                    }
                }
            }
            // Its coordinator has given it up, and it comes by anti-entropy when there is less to do.
            KeyOperation::Replicate { asker, deadline, .. } if deadline <= now && self.is_nearly_full() => {
                self.tell_stored(asker, Err(ReplicaError::Overloaded));
            }
            KeyOperation::Replicate { asker, container, dot, durability, .. } => {
                self.take_in(partition, asker, (container, vec![dot]), durability, changes);
            }
            KeyOperation::Merge { asker, container, dots, durability } => {
                self.take_in(partition, asker, (container, dots), durability, changes);
            }
            KeyOperation::Tidy { asker } => match self.tidied(partition, &changes.container) {
                Some(tidied) => changes.add(asker, tidied, [], Durability::Buffered),
                None => {
                    self.note_stripped(key, partition, &changes.container);
                    self.tell_stored(asker, Ok(()));
                }
            },
            KeyOperation::Restore { asker, container: theirs, clock } => {
                match self.restored(partition, &changes.container, theirs, clock) {
                    Some(restored) => {
                        self.mended += 1;
                        changes.add(asker, restored, [], Durability::Buffered);
                    }
                    None => self.tell_stored(asker, Ok(())),
                }
            }
            // It can be read.
            KeyOperation::Mend { asker, .. } => self.tell_stored(asker, Ok(())),
        }
    }

    /// Merges what a peer has of the key, and the events that it vouches for.
    fn take_in(
        &mut self,
        partition: PartitionId,
        asker: Asker,
        (theirs, dots): (Container<StoredValue>, Vec<Dot>),
        durability: Durability,
        changes: &mut Changes,
    ) {
        if self.is_set_back(partition, &theirs, &dots) {
            self.tell_stored(asker, Err(ReplicaError::StorageFailed));
            return self.set_back();
        }
        let (merged, dots) = self.merge(partition, &changes.container, theirs, dots);
        let unchanged =
            changes.is_none() && dots.is_empty() && self.strip(partition, merged.clone()) == changes.container;
        // What the clock has by a join that is still being stored is not stored: this waits behind it.
        if unchanged && durability == Durability::Buffered && !self.is_storing_metadata() {
            self.tell_stored(asker, Ok(()));
        } else {
            changes.add(asker, merged, dots, durability);
        }
    }
}
