//! Up to where all replicas durably have all events: what is before needs no entry in the log of any of them.
//!
//! Only what peers have *told* of their disks counts, and only what is on the own disk; a peer that later says less than it told was wiped
//! or set back, and needs a transfer of the whole partition.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::version::{Dot, VersionVector};
use quorate_ring::{NodeId, PartitionId};

use super::Peer;
use crate::replica::Prunable;
use crate::replica::clocks::Clocks;

/// How far the log of each partition was pruned by this process.
#[derive(Default)]
pub struct Watermarks {
    pruned: BTreeMap<PartitionId, VersionVector>,
    /// The partitions with events that are logged, as far as is known.
    logged: BTreeSet<PartitionId>,
    /// Those of them that are to be looked at now.
    due: BTreeSet<PartitionId>,
}

impl Watermarks {
    /// Partitions have events that are logged.
    pub fn note_logged(&mut self, partitions: impl Iterator<Item = PartitionId>) {
        self.logged.extend(partitions);
    }

    /// Nothing of a partition is held any more.
    pub fn forget(&mut self, partition: PartitionId) {
        self.pruned.remove(&partition);
        self.logged.remove(&partition);
        self.due.remove(&partition);
    }

    /// Whether events are logged that some replica does not have durably, as far as is known.
    pub fn are_behind(&self) -> bool {
        !self.logged.is_empty() || self.is_due()
    }

    /// These partitions are to be looked at, and those that were behind before.
    pub fn begin(&mut self, partitions: impl Iterator<Item = PartitionId>) {
        self.due.extend(partitions);
        self.due.append(&mut self.logged);
    }

    /// Whether some partitions are to be looked at.
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Moves the watermarks to where all replicas are by now, of the next so many partitions that are to be looked at; gives what needs no log
    /// any more.
    pub fn advance(&mut self, partitions_max: usize, peers: &BTreeMap<NodeId, Peer>, clocks: &Clocks) -> Vec<Prunable> {
        let mut moved = Vec::new();
        for _ in 0..partitions_max {
            let Some(partition) = self.due.pop_first() else { break };
            let pruned = self.pruned.entry(partition).or_default();
            for (actor, own) in clocks.durable(partition).base().iter() {
                let sharers = peers.values().filter(|peer| peer.shares(partition));
                let told = sharers.map(|peer| peer.told(partition).map_or(0, |told| told.counter(actor)));
                let everywhere = told.min().unwrap_or(own).min(own);
                let behind = pruned.counter(actor);
                if behind < everywhere {
                    pruned.join_dot(Dot::new(actor, everywhere));
                    moved.push(Prunable { partition, actor, behind, up_to: everywhere });
                }
            }
            if !pruned.dominates(clocks.base(partition)) {
                self.logged.insert(partition);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use quorate_ring::version::{Actor, Incarnation};

    use super::*;

    #[test]
    fn parts_that_need_no_log_follow_each_other_without_overlap_until_the_partition_is_forgotten() {
        let partition = PartitionId::new(7);
        let actor = Actor::new(NodeId::new(1).expect("not 0"), Incarnation::new(1));
        let (mut clocks, mut watermarks) = (Clocks::default(), Watermarks::default());
        let mut advance_to = |watermarks: &mut Watermarks, up_to| {
            while clocks.base(partition).counter(actor) < up_to {
                clocks.issue(partition, actor);
            }
            let (barrier, _) = clocks.take_barrier().expect("there is something new");
            clocks.reached(barrier);
            watermarks.begin(clocks.take_touched().into_iter());
            watermarks.advance(1, &BTreeMap::new(), &clocks)
        };
        let prunable = |behind, up_to| vec![Prunable { partition, actor, behind, up_to }];
        assert_eq!(advance_to(&mut watermarks, 3), prunable(0, 3));
        assert_eq!(advance_to(&mut watermarks, 4), prunable(3, 4));
        assert_eq!(advance_to(&mut watermarks, 9), prunable(4, 9));
        watermarks.forget(partition);
        assert_eq!(advance_to(&mut watermarks, 10), prunable(0, 10), "it may have been received again");
    }

    #[test]
    fn partitions_are_looked_at_a_few_at_a_time_and_those_that_are_behind_the_next_time_again() {
        let (mut clocks, mut watermarks) = (Clocks::default(), Watermarks::default());
        let actor = Actor::new(NodeId::new(1).expect("not 0"), Incarnation::new(1));
        let partitions: Vec<PartitionId> = (0..5).map(PartitionId::new).collect();
        partitions.iter().for_each(|partition| _ = clocks.issue(*partition, actor));
        let look = |watermarks: &mut Watermarks, clocks: &Clocks| {
            let moved = watermarks.advance(2, &BTreeMap::new(), clocks);
            moved.into_iter().map(|prunable| prunable.partition).collect::<Vec<_>>()
        };
        watermarks.begin(partitions.iter().copied());
        for _ in 0..3 {
            assert!(watermarks.is_due());
            assert_eq!(look(&mut watermarks, &clocks), [], "nothing is durable");
        }
        assert!(!watermarks.is_due() && watermarks.are_behind());
        let (barrier, _) = clocks.take_barrier().expect("there is something new");
        clocks.reached(barrier);
        watermarks.begin(std::iter::empty());
        assert_eq!(look(&mut watermarks, &clocks), partitions[..2]);
        watermarks.forget(partitions[3]);
        assert_eq!(look(&mut watermarks, &clocks), [partitions[2], partitions[4]]);
        assert!(!watermarks.is_due() && !watermarks.are_behind());
    }
}
