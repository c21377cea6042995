//! What becomes of hints, watched for their oracle.

use quorate_node::handoff::hint::layout as hint;
use quorate_node::replica::layout;
use quorate_node::storage::{Change, Column};
use quorate_ring::version::{Dot, NodeClock};
use quorate_ring::wire::{ExchangeId, Handed, HintMessage, ReplicaError};
use quorate_ring::{NodeId, ObjectKey, PartitionId, Position};

use super::{Simulation, index_of};
use crate::oracle::{Violation, hints};
use crate::sometimes::Sometimes;

impl Simulation {
    /// A shard has a batch stored in which hints change. What leaves its disk must be on that of the node that it was for; and what it made
    /// itself it must keep for everybody who does not have it.
    ///
    /// `number` is that of the next hint that the shard stores.
    pub(super) fn watch_hints(&mut self, node: usize, number: &mut u64, changes: &[Change]) -> Result<(), Violation> {
        let keeper = self.nodes[node].id;
        let mut changed: Vec<ObjectKey> = Vec::new();
        for change in changes {
            let (place, value) = match change {
                Change::Put { column: Column::Hints, key, value } => (key, Some(value)),
                Change::Delete { column: Column::Hints, key } => (key, None),
                Change::DeleteRange { column: Column::Hints, .. } => panic!("a shard removed a range of hints"),
                _ => continue,
            };
            let (target, key) = hint::target_and_key(place).expect("a shard stores hints under their keys");
            let stored = value.map(|value| hint::decode(value).expect("what was encoded can be decoded"));
            let dots = stored.map(|stored| stored.dots).unwrap_or_default();
            let (gone, new) = self.kept.change(keeper, (target, &key), &dots, *number);
            *number += u64::from(value.is_some());
            for dot in gone {
                self.check_delivered(keeper, (target, &key), dot, "does not keep it any more")?;
            }
            if new.iter().any(|dot| dot.actor.node == keeper && 1 < dot.counter) {
                self.tallies.note(Sometimes::TenureContinued);
            }
            changed.push(key);
        }
        changed.dedup();
        changed.iter().try_for_each(|key| self.check_kept_for_all(keeper, key))
    }

    fn check_kept_for_all(&self, keeper: NodeId, key: &ObjectKey) -> Result<(), Violation> {
        let partition = self.ring.partition_of(Position::of(key));
        // One that came to hold it after the event was made has it from the others.
        let founding = self.founding_ring();
        let mut primaries = self.primaries_by(keeper, partition);
        primaries.retain(|node| founding.is_primary(*node, partition));
        for (target, dot) in self.kept.not_kept(keeper, key, &primaries) {
            self.check_delivered(keeper, (target, key), dot, "made it and does not keep it for that node")?;
        }
        Ok(())
    }

    /// What a shard tells of its deliveries must be so.
    pub(super) fn watch_deliveries(&mut self, node: usize, shard: usize) -> Result<(), Violation> {
        let machine = &self.nodes[node];
        let (keeper, slices) = (machine.id, machine.slices(&self.ring));
        let Some(process) = &machine.process else { return Ok(()) };
        let figures: Vec<_> = process.shards[shard].hints().map(|kept| (kept.target, kept.outstanding_from)).collect();
        for (target, outstanding_from) in figures {
            let of_shard = |key: &ObjectKey| usize::from(slices.shard_of_key(key)) == shard;
            for (key, dot) in self.kept.tell((keeper, shard), target, outstanding_from, of_shard) {
                self.check_delivered(keeper, (target, &key), dot, "tells that it is delivered")?;
            }
        }
        Ok(())
    }

    /// A message about hints is sent.
    pub(super) fn watch_hand_over(&mut self, node: usize, to: usize, message: &HintMessage) -> Result<(), Violation> {
        let [own, peer] = [node, to].map(|node| self.nodes[node].id);
        match message {
            HintMessage::Hand { exchange, hints, .. } if !hints.is_empty() => {
                let handed = |Handed { key, dots, .. }: &Handed| (key.clone(), dots.clone());
                self.kept.hand(own, *exchange, peer, hints.iter().map(handed).collect());
                Ok(())
            }
            HintMessage::Hand { .. } => Ok(()),
            HintMessage::Taken { exchange, result } => {
                let stored = result.as_ref().map_or(0, |taken| taken.stored as usize);
                self.taken(own, peer, *exchange, stored)
            }
        }
    }

    /// A node says how many of the hints it was handed are on its disk.
    fn taken(&mut self, own: NodeId, keeper: NodeId, exchange: ExchangeId, stored: usize) -> Result<(), Violation> {
        let handed = self.kept.handed(keeper, exchange, own).to_vec();
        if stored < handed.len() {
            self.tallies.note(Sometimes::HintNotTaken);
        }
        for (key, dots) in handed.into_iter().take(stored) {
            for dot in dots {
                self.check_delivered(keeper, (own, &key), dot, "is told so")?;
                // Should it lose its disk before the other hears of it: it was there.
                let entry = layout::dot_log(self.ring.partition_of(Position::of(&key)), dot);
                self.dots.note_synced(own, std::iter::once(entry));
            }
        }
        Ok(())
    }

    /// A node hears how many of the hints that it handed over are on a disk. If that is of one who stays as far as it knows, that is for good, though
    /// it may hear that the other is to leave before it has removed the hint: who receives from those who leave begins only when this node,
    /// too, has acknowledged that.
    pub(super) fn note_settled(&mut self, keeper: NodeId, taker: NodeId, exchange: ExchangeId, stored: usize) {
        for (key, dots) in self.kept.handed(keeper, exchange, taker).to_vec().into_iter().take(stored) {
            let partition = self.ring.partition_of(Position::of(&key));
            if self.staying(keeper, partition).contains(&taker) {
                dots.into_iter().for_each(|dot| self.kept.settle(keeper, &key, dot));
            }
        }
    }

    /// Who holds a partition for good, as far as a node knows.
    fn staying(&self, node: NodeId, partition: PartitionId) -> Vec<NodeId> {
        let machine = &self.nodes[index_of(node)];
        let shard = usize::from(machine.slices(&self.ring).shard_of(partition));
        match &machine.process {
            Some(process) => process.shards[shard].placement().staying(partition).collect(),
            None => self.ring.primaries(partition).collect(),
        }
    }

    /// A node refuses to keep a hint.
    pub(super) fn note_refused(&mut self, node: usize, error: ReplicaError) {
        let bounds = self.plan.cluster.hints.bounds();
        let shards = self.nodes[node].process.iter().flat_map(|process| &process.shards);
        let is_full = |shard: &quorate_node::Shard| {
            let all: u64 = shard.hints().map(|kept| kept.count).sum();
            bounds.all <= all || shard.hints().any(|kept| bounds.of_target <= kept.count)
        };
        if error == ReplicaError::Overloaded && shards.into_iter().any(is_full) {
            self.tallies.note(Sometimes::HintsFull);
        }
    }

    fn check_delivered(
        &self,
        keeper: NodeId,
        (target, key): (NodeId, &ObjectKey),
        dot: Dot,
        why: &str,
    ) -> Result<(), Violation> {
        let partition = self.ring.partition_of(Position::of(key));
        let present = self.staying(keeper, partition);
        let has = |node: &NodeId| self.has_durably(*node, partition, dot);
        // For one that is to give it up, or was not known to hold it for good when this was handed over, there are those that stay.
        let may_be_others = self.members.founding().is_some() || !present.contains(&target);
        let settled = self.kept.is_settled(keeper, key, dot);
        let delivered = has(&target) || may_be_others && (settled || present.iter().any(has));
        hints::check(keeper, (target, key), dot, delivered, why)
    }

    /// Who holds a partition, by what a node goes by.
    pub(super) fn primaries_by(&self, node: NodeId, partition: PartitionId) -> Vec<NodeId> {
        let machine = &self.nodes[index_of(node)];
        match &machine.process {
            Some(process) => {
                let shard = usize::from(machine.slices(&self.ring).shard_of(partition));
                process.shards[shard].placement().primaries(partition).collect()
            }
            None => self.ring.primaries(partition).collect(),
        }
    }

    /// Whether an event was ever on a node's disk for certain.
    fn has_durably(&self, node: NodeId, partition: PartitionId, dot: Dot) -> bool {
        if self.dots.is_synced(node, &layout::dot_log(partition, dot)) {
            return true;
        }
        self.clock_on_disk(node, partition, true).is_some_and(|clock| clock.contains(&dot))
    }

    /// A clock as a node's disk has it, or for certain has it. An event that came with the clock of a whole partition is in no log.
    pub(super) fn clock_on_disk(&self, node: NodeId, partition: PartitionId, durably: bool) -> Option<NodeClock> {
        let machine = &self.nodes[index_of(node)];
        let shard = usize::from(machine.slices(&self.ring).shard_of(partition));
        let store = machine.disks[shard].store.clone();
        // What the disk says is all that an acknowledgement can go by.
        let store = if machine.lied || !durably { store } else { store.crash(0) };
        let clock = store.value(Column::Metadata, &layout::clock(partition))?;
        layout::decode_clock(clock).ok()
    }
}
