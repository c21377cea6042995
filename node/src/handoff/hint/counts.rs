//! How much is kept for whom: in memory, so that bounds are checked and delivery planned without reading.

use std::collections::BTreeMap;

use quorate_ring::{NodeId, PartitionId, WallTime};

use super::bounds::HintBounds;
use crate::Time;

/// More hints than a shard makes in a millisecond, as a power of two.
const NUMBERS_A_MILLISECOND_LOG2: u32 = 16;

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
    /// All hints for it with a smaller number than this are delivered; 0 while some may be left that were found at the start.
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
    bounds: HintBounds,
}

impl Counts {
    /// Nothing kept yet.
    pub fn new(bounds: HintBounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// The wall clock shows this. Hints are numbered by it, as if many had been made in each millisecond before: so the numbers of all
    /// shards of a node, and of its earlier processes, can be compared. Should the clock be set back across a restart, whoever waits for a
    /// number waits longer.
    pub fn set_wall(&mut self, wall: WallTime) {
        self.sequence = self.sequence.max(wall.as_millis() << NUMBERS_A_MILLISECOND_LOG2);
    }

    /// A hint was found at the start. It counts as made before all that are numbered.
    pub fn found(&mut self, now: Time, target: NodeId, partition: PartitionId, bytes: usize) {
        let next = std::mem::replace(&mut self.sequence, 0);
        self.change(now, target, partition, None, Some(bytes));
        self.sequence = next;
    }

    /// Whether hints, each for another node, may be made or changed: of so many bytes before, if there was one, and then. What does not
    /// grow may always be.
    pub fn has_room(&self, changes: impl IntoIterator<Item = (NodeId, Option<usize>, usize)>) -> bool {
        let (mut all, mut grows) = (self.all, false);
        for (target, old, new) in changes {
            let mut count = self.targets.get(&target).map(|known| known.count).unwrap_or_default();
            count.change(old, Some(new));
            all.change(old, Some(new));
            let grown = old.is_none_or(|old| old < new);
            if grown && (self.bounds.of_target < count.number || self.bounds.of_target_bytes < count.bytes) {
                return false;
            }
            grows |= grown;
        }
        !grows || all.number <= self.bounds.all && all.bytes <= self.bounds.all_bytes
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
    fn what_was_found_is_outstanding_from_the_beginning_and_takes_no_number() {
        let mut counts = Counts::default();
        counts.set_wall(WallTime::from_millis(1));
        let next = counts.sequence();
        counts.found(Time::default(), node(1), PartitionId::new(0), 10);
        counts.found(Time::default(), node(2), PartitionId::new(0), 10);
        assert!(
            counts.targets().all(|(_, count)| count.outstanding_from == 0) && counts.sequence() == next && 0 < next
        );
    }

    #[test]
    fn numbers_never_go_back() {
        let mut counts = Counts::default();
        counts.set_wall(WallTime::from_millis(5));
        counts.change(Time::default(), node(1), PartitionId::new(0), None, Some(1));
        let next = counts.sequence();
        counts.set_wall(WallTime::from_millis(3));
        assert_eq!(counts.sequence(), next);
        counts.set_wall(WallTime::from_millis(6));
        assert!(next < counts.sequence());
    }

    #[test]
    fn nothing_is_added_beyond_a_node_s_bound_or_that_of_all() {
        let bounds = HintBounds { of_target: 2, of_target_bytes: 100, all: 3, all_bytes: 150, ..HintBounds::default() };
        let mut counts = Counts::new(bounds);
        counts.change(Time::default(), node(1), PartitionId::new(0), None, Some(60));
        assert!(counts.has_room([(node(1), None, 40)]) && !counts.has_room([(node(1), None, 41)]));
        assert!(counts.has_room([(node(1), Some(60), 100)]) && !counts.has_room([(node(1), Some(60), 101)]));
        assert!(counts.has_room([(node(2), None, 90)]) && !counts.has_room([(node(2), None, 91)]), "bytes of all");
        assert!(!counts.has_room([(node(2), None, 50), (node(3), None, 50)]), "together they are too many bytes");
        counts.change(Time::default(), node(1), PartitionId::new(1), None, Some(1));
        assert!(
            !counts.has_room([(node(1), None, 1)]) && counts.has_room([(node(1), Some(1), 2)]),
            "the third of a node"
        );
        counts.change(Time::default(), node(2), PartitionId::new(0), None, Some(1));
        assert!(!counts.has_room([(node(2), None, 1)]), "the fourth of all");
    }

    #[test]
    fn what_does_not_grow_has_room_even_beyond_a_bound() {
        let mut counts = Counts::new(HintBounds { of_target: 1, all: 1, ..HintBounds::default() });
        // Found at a start, with larger bounds before it.
        counts.change(Time::default(), node(1), PartitionId::new(0), None, Some(10));
        counts.change(Time::default(), node(1), PartitionId::new(1), None, Some(10));
        assert!(counts.has_room([(node(1), Some(10), 9)]) && !counts.has_room([(node(1), Some(10), 11)]));
    }
}
