//! Mending what the disk lost or rotted of a key.
//!
//! **A key that cannot be read** is refused, and never served as empty. Its slot closes each time with a failure, so from the moment at
//! which it was found no event of it is received any more, and all that the lost copy can have accounted for is in the partition's clock of
//! that moment. So what other replicas hold may take its place exactly when they have received every event of that clock, some one,
//! some another: then each event that touched the key is accounted for by one of their containers, as a value or as obsolete, and so by
//! all of them merged. That is why the merged container may be stripped of, and filled with, this replica's base like any other; without
//! the condition, an event that only this disk had, and that may yet be on its way to others as a hint, would pass for obsolete here and be
//! dropped from them, too.
//!
//! Only if *all* nodes say that nobody has such an event, neither as a replica nor as a hint, it is given up
//! ([`Evidence::Gone`]): then it has been on this disk alone, and is lost with it.
//!
//! **Values that are missing though their events are known** cannot be told from obsolete ones by this replica alone. Two replicas with the
//! same clock, and nothing in a container's vector beyond its base, must hold the same; so what one has and the other has not was lost.

use quorate_ring::version::{Container, Dot, NodeClock};
use quorate_ring::wire::{Durability, ReplicaError};
use quorate_ring::{ObjectKey, PartitionId, Position, StoredValue, WallTime};

use super::slot::Slot;
use super::{Evidence, KeyOperation, Replica, Report};
use crate::anti_entropy::hash_of;
use crate::limits::{SCRUB_EXPIRY_MARGIN, UNREADABLE_MAX};

/// A key whose copy here cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Tells it from the same key found unreadable at another time.
    pub number: u64,
    /// The partition's clock when it was found: the lost copy accounted for no event beyond it.
    pub clock: NodeClock,
}

/// Whether a value is compared with other replicas' at all: one that soon expires may be gone at one and not yet at another.
pub fn is_compared(stored: &StoredValue, wall: WallTime) -> bool {
    !stored.is_expired(wall + SCRUB_EXPIRY_MARGIN)
}

impl Replica {
    /// The keys that are known to be unreadable.
    pub const fn unreadable(&self) -> &std::collections::BTreeMap<ObjectKey, Unreadable> {
        &self.unreadable
    }

    /// Whether a partition has a key that is known to be unreadable.
    pub fn is_unreadable_in(&self, partition: PartitionId) -> bool {
        self.unreadable.keys().any(|key| self.partitions.partition_of(Position::of(key)) == partition)
    }

    /// Faults of the disk that were mended since the start.
    pub const fn mended(&self) -> u64 {
        self.mended
    }

    /// Whether a container of a page that was read is stored with something that has expired, or that the base says by now.
    pub fn is_untidy(&self, partition: PartitionId, stored: &Container<StoredValue>) -> bool {
        stored.is_empty() || self.tidied(partition, stored).is_some()
    }

    /// A key was found to be unreadable: it is written anew if what waits for it brings what it takes, and refused else.
    pub(super) fn cannot_read(&mut self, key: ObjectKey, mut slot: Slot) {
        let partition = self.partitions.partition_of(Position::of(&key));
        let waits = slot.queue.iter().position(|operation| matches!(operation, KeyOperation::Mend { .. }));
        let mend = waits.and_then(|index| slot.queue.remove(index));
        let bytes = mend.as_ref().map_or(0, KeyOperation::bytes);
        self.waiting_bytes -= bytes;
        if let Some(KeyOperation::Mend { asker, container, evidence }) = mend {
            let own_unknown = self.is_set_back(partition, &container, &[]);
            if self.suffices(&key, &evidence) && !own_unknown {
                let (merged, dots) = self.merge_anew(partition, container);
                let stripped = self.strip(partition, merged);
                self.store(&key, partition, &stripped, &dots, Durability::Buffered);
                self.unreadable.remove(&key);
                self.mended += 1;
                return self.write_on(key, slot, vec![asker], stripped, bytes);
            }
            self.tell_stored(asker, Err(ReplicaError::StorageFailed));
            if own_unknown {
                self.set_back();
            }
        }
        self.note_unreadable(&key, partition);
        self.fail(&key, slot);
    }

    fn note_unreadable(&mut self, key: &ObjectKey, partition: PartitionId) {
        if self.unreadable.contains_key(key) || UNREADABLE_MAX <= self.unreadable.len() {
            return;
        }
        let unreadable = Unreadable { number: self.unreadable_next, clock: self.clocks.live(partition).clone() };
        self.unreadable_next += 1;
        self.unreadable.insert(key.clone(), unreadable);
        self.reports.push_back(Report::Unreadable(key.clone()));
    }

    fn suffices(&self, key: &ObjectKey, evidence: &Evidence) -> bool {
        self.unreadable.get(key).is_some_and(|known| match evidence {
            Evidence::Received(clock) => clock.dominates(&known.clock),
            Evidence::Gone(number) => *number == known.number,
        })
    }

    /// What others hold, as this replica's own: nothing of what was here is known. Gives the events that are new, too.
    fn merge_anew(
        &mut self,
        partition: PartitionId,
        mut theirs: Container<StoredValue>,
    ) -> (Container<StoredValue>, Vec<Dot>) {
        let values: Vec<Dot> = theirs.dots().collect();
        let new = values.into_iter().filter(|dot| self.clocks.add(partition, *dot)).collect();
        theirs.expire(self.wall);
        (theirs, new)
    }

    /// A stored container with the values that another replica has under the same clock and that are missing here, stripped; nothing if
    /// there are none, or if the clock has gone on since.
    pub(super) fn restored(
        &mut self,
        partition: PartitionId,
        stored: &Container<StoredValue>,
        theirs: Container<StoredValue>,
        clock: u64,
    ) -> Option<Container<StoredValue>> {
        let mut restored = self.strip(partition, stored.clone());
        let theirs = self.strip(partition, theirs);
        if hash_of(self.clocks.live(partition)) != clock || !restored.vector().is_empty() || !theirs.vector().is_empty()
        {
            return None;
        }
        let wall = self.wall;
        let missing = theirs.into_values().filter(|(_, value)| is_compared(value, wall));
        let mut put_back = 0;
        for (dot, value) in missing {
            let held = restored.values().find(|(known, _)| **known == dot).map(|(_, value)| value.clone());
            match held {
                Some(held) if held != value => {
                    let reason = format!("{partition}: two replicas hold different values under {dot}");
                    self.reports.push_back(Report::Damaged { reason });
                }
                Some(_) => {}
                None => put_back += usize::from(restored.restore(dot, value)),
            }
        }
        (0 < put_back).then_some(restored)
    }
}
