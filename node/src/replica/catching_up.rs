//! What anti-entropy asks of the replica side: what is durable, what is missing, what all replicas have.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_ring::version::{Actor, Container, Dot, NodeClock};
use quorate_ring::wire::Durability;
use quorate_ring::{ObjectKey, PartitionId, StoredValue};

use super::clocks::{Ask, Barrier};
use super::{Asker, KeyOperation, Replica, Submitted, layout};
use crate::limits::UNSTRIPPED_MAX;
use crate::storage::{Batch, Column, Operation};

/// A part of the log of dots that is not needed any more: of one actor, the events behind one counter up to, and with, another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prunable {
    /// Of which partition.
    pub partition: PartitionId,
    /// Whose events.
    pub actor: Actor,
    /// Those up to here were pruned before. Parts that follow each other do not overlap: a store has to keep where removed ranges begin and end, and
    /// to compare those that do.
    pub behind: u64,
    /// The last.
    pub up_to: u64,
}

impl Replica {
    /// From now on reads count on all partitions.
    pub fn count_for_reads(&mut self) {
        self.behind.clear();
    }

    /// From now on reads count on no partition, until it has caught up.
    pub fn fall_behind(&mut self) {
        self.behind.clone_from(&self.held);
    }

    /// A partition has caught up with all its other replicas: reads count on it. `true` if it was the last that had to.
    pub fn catch_up(&mut self, partition: PartitionId) -> bool {
        self.behind.remove(&partition) && self.behind.is_empty()
    }

    /// Has everything that was submitted so far made durable, clocks included; `None` if it is.
    pub fn barrier(&mut self) -> Option<Barrier> {
        let (barrier, ask) = self.clocks.take_barrier()?;
        if ask == Ask::Ask {
            let batch = Batch::default();
            self.submit(Operation::Write { batch, durability: Durability::Synced }, Submitted::Barrier(barrier));
        }
        Some(barrier)
    }

    /// Takes note of events of which nothing is left anywhere.
    pub fn close(&mut self, partition: PartitionId, dots: impl Iterator<Item = Dot>) {
        let new: Vec<Dot> = dots.filter(|dot| self.clocks.add(partition, *dot)).collect();
        if !new.is_empty() {
            let mut batch = Batch::default();
            new.iter().for_each(|dot| batch.put(Column::DotLog, layout::dot_log(partition, *dot), Bytes::new()));
            self.store_clock(batch, partition);
        }
    }

    /// Joins the clock of a peer, of whom everything was received that the clock vouches for.
    pub fn join(&mut self, partition: PartitionId, theirs: &NodeClock) {
        self.clocks.join(partition, theirs);
        self.store_clock(Batch::default(), partition);
    }

    fn store_clock(&mut self, mut batch: Batch, partition: PartitionId) {
        batch.put(Column::Metadata, layout::clock(partition), layout::encode(self.clocks.live(partition)));
        self.submit(Operation::Write { batch, durability: Durability::Buffered }, Submitted::Metadata);
    }

    /// Forgets which keys some events touched: all replicas have them for good.
    pub fn prune(&mut self, prunable: &[Prunable]) {
        if prunable.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        for Prunable { partition, actor, behind, up_to } in prunable {
            let until = |counter| layout::behind_dot(*partition, Dot::new(*actor, counter));
            batch.delete_range(Column::DotLog, until(*behind), until(*up_to));
        }
        self.submit(Operation::Write { batch, durability: Durability::Buffered }, Submitted::Metadata);
    }

    /// The partitions whose clock has changed since this was last asked.
    pub fn take_touched(&mut self) -> BTreeSet<PartitionId> {
        let touched = self.clocks.take_touched();
        self.untidy.extend(touched.iter().filter(|partition| self.unstripped.contains_key(*partition)));
        touched
    }

    /// Tidies keys that were stored with more than the clock's base leaves to say, of partitions whose clock was said to have changed since.
    pub fn tidy_unstripped(&mut self) {
        for partition in std::mem::take(&mut self.untidy) {
            let keys = self.unstripped.remove(&partition).unwrap_or_default();
            self.unstripped_keys -= keys.len();
            for key in keys {
                self.handle_key(key, KeyOperation::Tidy { asker: Asker::Nobody });
            }
        }
    }

    /// How many keys wait to be stored with less.
    pub const fn unstripped(&self) -> usize {
        self.unstripped_keys
    }

    /// Notes whether a key is stored with more than it would need if the clock had no gaps.
    pub(super) fn note_stripped(&mut self, key: &ObjectKey, partition: PartitionId, stripped: &Container<StoredValue>) {
        if !stripped.vector().is_empty() {
            if self.unstripped_keys < UNSTRIPPED_MAX {
                let new = self.unstripped.entry(partition).or_default().insert(key.clone());
                self.unstripped_keys += usize::from(new);
            }
        } else if 0 < self.unstripped_keys
            && let Some(keys) = self.unstripped.get_mut(&partition)
        {
            self.unstripped_keys -= usize::from(keys.remove(key));
        }
    }
}
