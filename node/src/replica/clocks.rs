//! The node clocks of a shard's partitions, as they are and as they are on the disk for certain.
//!
//! ```text
//!             change                take_barrier            reached
//! (durable) ─────────▶ changed ─────────────────▶ taken ───────────▶ durable
//! ```
//!
//! Peers drop from their logs what a replica's clock says to have, so they are told durable clocks only: what a clock once said
//! must not be lost again with the machine's power.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_ring::PartitionId;
use quorate_ring::version::{Actor, Dot, NodeClock, VersionVector};

/// A barrier, numbered in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Barrier(u64);

/// The clocks of a shard's partitions.
#[derive(Default)]
pub struct Clocks {
    live: BTreeMap<PartitionId, NodeClock>,
    durable: BTreeMap<PartitionId, NodeClock>,
    /// Changed since the last barrier was taken.
    changed: BTreeSet<PartitionId>,
    /// What the barriers under way will make durable.
    taken: VecDeque<(Barrier, Vec<(PartitionId, NodeClock)>)>,
    begun: u64,
    /// Changed since somebody last took them.
    touched: BTreeSet<PartitionId>,
}

static EMPTY: NodeClock = NodeClock::new();

impl Clocks {
    /// The clocks as the store had them. Not yet durable: a process that died may have left them with the operating system only.
    pub fn recovered(live: BTreeMap<PartitionId, NodeClock>) -> Self {
        let changed = live.keys().copied().collect();
        Self { live, changed, ..Self::default() }
    }

    /// The clock of a partition; empty if no event of it was seen.
    pub fn live(&self, partition: PartitionId) -> &NodeClock {
        self.live.get(&partition).unwrap_or(&EMPTY)
    }

    /// What of the clock is on the disk for certain.
    pub fn durable(&self, partition: PartitionId) -> &NodeClock {
        self.durable.get(&partition).unwrap_or(&EMPTY)
    }

    /// What containers of a partition are filled with and stripped of.
    pub fn base(&self, partition: PartitionId) -> &VersionVector {
        self.live(partition).base()
    }

    /// Takes note of an event; `false` if it was seen before.
    pub fn add(&mut self, partition: PartitionId, dot: Dot) -> bool {
        let new = !self.live(partition).contains(&dot);
        if new {
            self.change(partition).add(dot);
        }
        new
    }

    /// The actor's next event. See [`NodeClock::issue`].
    pub fn issue(&mut self, partition: PartitionId, own: Actor) -> Dot {
        self.change(partition).issue(own)
    }

    /// Joins a peer's clock. See [`NodeClock::join`] for when that is allowed.
    pub fn join(&mut self, partition: PartitionId, theirs: &NodeClock) {
        if !self.live(partition).dominates(theirs) {
            self.change(partition).join(theirs);
        }
    }

    /// Forgets the clock of a partition whose replica is removed.
    pub fn forget(&mut self, partition: PartitionId) {
        self.live.remove(&partition);
        self.durable.remove(&partition);
        self.changed.remove(&partition);
        self.touched.remove(&partition);
        self.taken.iter_mut().for_each(|(_, clocks)| clocks.retain(|(taken, _)| *taken != partition));
    }

    /// Takes a barrier: once everything that was submitted to the store before is on the disk, so are the clocks as they are now.
    /// `None` if there is nothing to wait for; the flag says whether the store must be asked, or has been already.
    pub fn take_barrier(&mut self) -> Option<(Barrier, Ask)> {
        if self.changed.is_empty() {
            return self.taken.back().map(|(barrier, _)| (*barrier, Ask::Asked));
        }
        self.begun += 1;
        let changed = std::mem::take(&mut self.changed);
        let clocks = changed.into_iter().map(|partition| (partition, self.live(partition).clone())).collect();
        let barrier = Barrier(self.begun);
        self.taken.push_back((barrier, clocks));
        Some((barrier, Ask::Ask))
    }

    /// A barrier is reached, and with it all before it.
    pub fn reached(&mut self, barrier: Barrier) {
        while let Some((_, clocks)) = self.taken.pop_front_if(|(taken, _)| *taken <= barrier) {
            self.durable.extend(clocks);
        }
    }

    /// The partitions whose clocks have changed since this was last asked.
    pub fn take_touched(&mut self) -> BTreeSet<PartitionId> {
        std::mem::take(&mut self.touched)
    }

    /// Whether there are any.
    pub fn are_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    fn change(&mut self, partition: PartitionId) -> &mut NodeClock {
        self.changed.insert(partition);
        self.touched.insert(partition);
        self.live.entry(partition).or_default()
    }
}

/// Whether the store has been asked for a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// It must be.
    Ask,
    /// It has been, for an earlier one that serves as well.
    Asked,
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ring::NodeId;
    use quorate_ring::version::Incarnation;

    const PARTITION: PartitionId = PartitionId::new(3);

    fn dot(counter: u64) -> Dot {
        Dot::new(Actor::new(NodeId::new(1).expect("not 0"), Incarnation::new(1)), counter)
    }

    #[test]
    fn a_clock_is_durable_as_it_was_when_the_barrier_was_taken() {
        let mut clocks = Clocks::default();
        assert!(clocks.add(PARTITION, dot(1)) && !clocks.add(PARTITION, dot(1)));
        let (first, ask) = clocks.take_barrier().expect("something changed");
        assert_eq!(ask, Ask::Ask);
        clocks.add(PARTITION, dot(2));
        assert!(clocks.durable(PARTITION).is_empty());
        clocks.reached(first);
        assert!(clocks.durable(PARTITION).contains(&dot(1)) && !clocks.durable(PARTITION).contains(&dot(2)));
    }

    #[test]
    fn what_the_store_had_is_there_and_durable_after_a_barrier() {
        let mut stored = NodeClock::new();
        stored.add(dot(1));
        let mut clocks = Clocks::recovered(BTreeMap::from([(PARTITION, stored.clone())]));
        assert_eq!((clocks.live(PARTITION), clocks.durable(PARTITION).is_empty()), (&stored, true));
        let (barrier, _) = clocks.take_barrier().expect("it may be with the operating system only");
        clocks.reached(barrier);
        assert_eq!(clocks.durable(PARTITION), &stored);
    }

    #[test]
    fn nothing_new_waits_for_the_barrier_under_way_and_then_for_none() {
        let mut clocks = Clocks::recovered(BTreeMap::from([(PARTITION, NodeClock::new())]));
        let (barrier, _) = clocks.take_barrier().expect("what was recovered is not durable");
        assert_eq!(clocks.take_barrier(), Some((barrier, Ask::Asked)));
        clocks.reached(barrier);
        assert_eq!(clocks.take_barrier(), None);
    }

    #[test]
    fn a_later_barrier_reaches_the_earlier_ones() {
        let mut clocks = Clocks::default();
        clocks.add(PARTITION, dot(1));
        clocks.take_barrier();
        clocks.add(PARTITION, dot(2));
        let (second, _) = clocks.take_barrier().expect("something changed");
        clocks.reached(second);
        assert!(clocks.durable(PARTITION).contains(&dot(2)));
        assert_eq!(clocks.take_barrier(), None);
    }
}
