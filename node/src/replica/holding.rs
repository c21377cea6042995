//! Which partitions a shard holds a replica of, and how that changes while it runs.
//!
//! ```text
//!           hold                       catch_up
//! (none) ─────────▶ behind, and empty ──────────▶ held
//!    ▲                     │                       │
//!    └─────── release: what is stored is removed ──┘
//! ```
//!
//! A partition that is held again begins with an empty clock, so its events must not be numbered on from before: from then on they are those
//! of another actor, which is chosen when the partition is released, in the batch that removes it.

use quorate_ring::version::{Actor, Incarnation};
use quorate_ring::wire::{Durability, ReplicaError};
use quorate_ring::{ObjectKey, PartitionId, Position};

use super::{Replica, Submitted, layout};
use crate::storage::{Batch, Column, Operation};

impl Replica {
    /// Whether this shard holds a replica of a partition.
    pub fn holds(&self, partition: PartitionId) -> bool {
        self.held.contains(&partition)
    }

    /// From now on this shard holds a replica of a partition: an empty one, on which reads do not count until it has caught up.
    ///
    /// # Panics
    /// If something of it is still going on.
    pub fn hold(&mut self, partition: PartitionId) {
        assert!(self.is_idle_for(partition), "what was going on before it was released is over");
        self.held.insert(partition);
        self.behind.insert(partition);
    }

    /// From now on reads do not count on a partition that this shard holds, until it has caught up.
    pub fn fall_behind_in(&mut self, partition: PartitionId) {
        if self.holds(partition) {
            self.behind.insert(partition);
        }
    }

    /// From now on this shard holds no replica of a partition, and what is stored of it is removed. If it ever holds it again, its events there
    /// will be those of this incarnation.
    pub fn release(&mut self, partition: PartitionId, next: Incarnation) {
        let in_it = |key: &ObjectKey| self.partitions.partition_of(Position::of(key)) == partition;
        let keys: Vec<_> = self.slots.keys().filter(|key| in_it(key)).cloned().collect();
        self.unreadable = std::mem::take(&mut self.unreadable).into_iter().filter(|(key, _)| !in_it(key)).collect();
        for key in keys {
            let slot = self.slots.get_mut(&key).expect("it is there");
            for operation in std::mem::take(&mut slot.queue) {
                self.waiting -= 1;
                self.waiting_bytes -= operation.bytes();
                self.refuse(&key, operation, ReplicaError::NotResponsible);
            }
        }
        self.held.remove(&partition);
        self.behind.remove(&partition);
        self.arriving.remove(&partition);
        self.unstripped_keys -= self.unstripped.remove(&partition).map_or(0, |keys| keys.len());
        self.clocks.forget(partition);
        self.tenures.insert(partition, next);

        let mut batch = Batch::default();
        let (first, until) = layout::partition(self.partitions, partition);
        batch.delete_range(Column::Objects, first, until.unwrap_or_else(layout::behind_all));
        let (first, until) = layout::dot_logs(partition);
        batch.delete_range(Column::DotLog, first, until);
        batch.delete(Column::Metadata, layout::clock(partition));
        batch.put(Column::Metadata, layout::tenure(partition), layout::encode(&(self.actor.incarnation, next)));
        self.submit(Operation::Write { batch, durability: Durability::Buffered }, Submitted::Metadata);
    }

    /// As what actor this node makes its events in a partition.
    pub fn actor_of(&self, partition: PartitionId) -> Actor {
        match self.tenures.get(&partition) {
            Some(incarnation) => Actor::new(self.actor.node, *incarnation),
            None => self.actor,
        }
    }
}
