//! How much is kept for whom: in memory, so that bounds are checked and delivery planned without reading.

use std::collections::BTreeMap;

use quorate_ring::{NodeId, PartitionId};

use crate::Time;
use crate::limits::{HINT_BYTES_MAX, HINT_TARGET_BYTES_MAX, HINT_TARGET_MAX, HINTS_MAX};

/// A number of hints, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub number: u64,
    /// Their keys and values.
    pub bytes: u64,
}

impl Count {
    fn change(&mut self, old: Option<usize>, new: Option<usize>) {
        self.number = self.number + u64::from(new.is_some()) - u64::from(old.is_some());
        self.bytes = self.bytes + new.unwrap_or(0) as u64 - old.unwrap_or(0) as u64;
    }
}

/// What is kept for one node.
#[derive(Clone, Copy, Debug)]
pub struct TargetCount {
    /// How much.
    pub count: Count,
    /// All hints for it with a smaller number than this are delivered.
    pub outstanding_from: u64,
    /// Since when the oldest may have been kept; of what was found at the start, since the start.
    pub oldest: Time,
}

/// What is kept, by node and partition.
#[derive(Debug, Default)]
pub struct Counts {
    of: BTreeMap<(NodeId, PartitionId), Count>,
    targets: BTreeMap<NodeId, TargetCount>,
    all: Count,
    /// Numbers the hints made.
    sequence: u64,
}

impl Counts {
    /// Whether a hint for this node may be added, or grow, by so many bytes.
    pub fn has_room(&self, target: NodeId, bytes: usize) -> bool {
        let count = self.targets.get(&target).map(|known| known.count).unwrap_or_default();
        let bytes = bytes as u64;
        self.all.number < HINTS_MAX
            && count.number < HINT_TARGET_MAX
            && self.all.bytes + bytes <= HINT_BYTES_MAX
            && count.bytes + bytes <= HINT_TARGET_BYTES_MAX
    }

    /// A hint was made, has grown, or is gone: of so many bytes before and now.
    pub fn change(
        &mut self,
        now: Time,
        target: NodeId,
        partition: PartitionId,
        old: Option<usize>,
        new: Option<usize>,
    ) {
        let fresh = TargetCount { count: Count::default(), outstanding_from: self.sequence, oldest: now };
        let known = self.targets.entry(target).or_insert(fresh);
        known.count.change(old, new);
        if known.count.number == 0 {
            self.targets.remove(&target);
        }
        let place = self.of.entry((target, partition)).or_default();
        place.change(old, new);
        if place.number == 0 {
            self.of.remove(&(target, partition));
        }
        self.all.change(old, new);
        self.sequence += u64::from(new.is_some());
    }

    /// All that was made for a node before the hint of this number, at this time, is delivered.
    pub fn delivered_before(&mut self, target: NodeId, sequence: u64, at: Time) {
        if let Some(known) = self.targets.get_mut(&target) {
            (known.outstanding_from, known.oldest) = (known.outstanding_from.max(sequence), known.oldest.max(at));
        }
    }

    /// The number that the next hint gets.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The nodes for which something is kept.
    pub fn targets(&self) -> impl Iterator<Item = (NodeId, TargetCount)> + '_ {
        self.targets.iter().map(|(target, count)| (*target, *count))
    }

    /// The first partition from this one on of which something is kept for a node.
    pub fn partition_from(&self, target: NodeId, from: PartitionId) -> Option<PartitionId> {
        self.of.range((target, from)..).next().filter(|((known, _), _)| *known == target).map(|((_, found), _)| *found)
    }

    /// The nodes for which something of a partition is kept.
    pub fn targets_of(&self, partition: PartitionId) -> impl Iterator<Item = NodeId> + '_ {
        self.targets.keys().copied().filter(move |target| self.of.contains_key(&(*target, partition)))
    }

    /// All together.
    pub const fn all(&self) -> Count {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    #[test]
    fn counts_come_and_go_by_node_and_partition() {
        let mut counts = Counts::default();
        let [first, second] = [PartitionId::new(1), PartitionId::new(5)];
        counts.change(Time::default(), node(1), second, None, Some(10));
        counts.change(Time::default(), node(1), first, None, Some(20));
        counts.change(Time::default(), node(2), first, None, Some(5));
        counts.change(Time::default(), node(1), first, Some(20), Some(25));
        assert_eq!(counts.all(), Count { number: 3, bytes: 40 });
        assert!(counts.targets_of(first).eq([node(1), node(2)]));
        assert_eq!(counts.partition_from(node(1), PartitionId::new(2)), Some(second));
        assert_eq!(counts.partition_from(node(1), PartitionId::new(6)), None);
        counts.change(Time::default(), node(1), first, Some(25), None);
        counts.change(Time::default(), node(1), second, Some(10), None);
        assert!(counts.targets().map(|(target, count)| (target, count.count.bytes)).eq([(node(2), 5)]));
    }

    #[test]
    fn what_is_outstanding_begins_with_the_first_hint_and_moves_with_what_is_delivered() {
        let mut counts = Counts::default();
        let partition = PartitionId::new(0);
        let outstanding = |counts: &Counts| counts.targets().next().map(|(_, count)| count.outstanding_from);
        counts.change(Time::default(), node(1), partition, None, Some(1));
        assert_eq!(outstanding(&counts), Some(0));
        let mark = counts.sequence();
        counts.change(Time::default(), node(1), partition, None, Some(1));
        counts.change(Time::default(), node(1), partition, Some(1), None);
        counts.delivered_before(node(1), mark, Time::default());
        assert_eq!(outstanding(&counts), Some(mark));
    }

    #[test]
    fn nothing_is_added_beyond_a_node_s_bound() {
        let mut counts = Counts::default();
        assert!(counts.has_room(node(1), 1));
        let most = usize::try_from(HINT_TARGET_BYTES_MAX).expect("it fits");
        counts.change(Time::default(), node(1), PartitionId::new(0), None, Some(most));
        assert!(!counts.has_room(node(1), 1) && counts.has_room(node(2), 1));
    }
}
