//! Who should hold a partition's keys, best first (the Dynamo paper, sections 4.3 and 4.6).
//!
//! Knows nothing of who is up: callers pass over the nodes that they cannot reach.

use crate::limits::NODES_MAX;
use crate::{NodeId, PartitionId, Ring};

/// What a node is to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplicaKind {
    /// One of the N nodes that hold the partition.
    Primary,
    /// A node that stands in, with a hint, for a primary that cannot be reached.
    Fallback,
}

/// A place in a preference list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replica {
    /// Which node.
    pub node: NodeId,
    /// What it is to the partition.
    pub kind: ReplicaKind,
}

/// All members in the order in which a partition's keys prefer them: the N primaries, then the fallbacks.
///
/// Fallbacks are the other owners as they are met walking clockwise, then the members that own nothing, by rising id: any W
/// reachable nodes must be enough for a write. Making the list and walking it allocate nothing.
#[derive(Clone, Copy, Debug)]
pub struct PreferenceList<'a> {
    ring: &'a Ring,
    partition: PartitionId,
}

impl<'a> PreferenceList<'a> {
    pub(crate) fn new(ring: &'a Ring, partition: PartitionId) -> Self {
        assert!(u32::from(partition.number()) < ring.partitions().get(), "the ring has no such partition");
        Self { ring, partition }
    }

    /// The partition that the list is of.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The N nodes that hold the partition.
    pub fn primaries(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone + use<'a> {
        self.ring.primaries(self.partition)
    }

    /// All other members.
    pub fn fallbacks(&self) -> impl Iterator<Item = NodeId> + use<'a> {
        Fallbacks::new(self.ring, self.partition)
    }

    /// The whole list.
    pub fn iter(&self) -> impl Iterator<Item = Replica> + use<'a> {
        let primaries = self.primaries().map(|node| Replica { node, kind: ReplicaKind::Primary });
        primaries.chain(self.fallbacks().map(|node| Replica { node, kind: ReplicaKind::Fallback }))
    }

    /// Where a node stands in the list, from 0; below N it is a primary. `None` if it is no member.
    pub fn position_of(&self, node: NodeId) -> Option<usize> {
        self.ring.member_index(node)?;
        self.primaries().chain(self.fallbacks()).position(|other| other == node)
    }
}

/// Which members were met, a bit each: no allocation for the largest cluster.
struct Seen([u64; NODES_MAX.div_ceil(64)]);

impl Seen {
    /// Notes a member; says whether it is new.
    fn insert(&mut self, member: u16) -> bool {
        let (word, bit) = (usize::from(member / 64), 1 << (member % 64));
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

/// The walk behind the primaries.
struct Fallbacks<'a> {
    ring: &'a Ring,
    seen: Seen,
    /// How many members are still to come.
    left: usize,
    first: usize,
    /// Steps taken: first once around the partitions, then over the members.
    step: usize,
}

impl<'a> Fallbacks<'a> {
    fn new(ring: &'a Ring, partition: PartitionId) -> Self {
        let mut seen = Seen([0; NODES_MAX.div_ceil(64)]);
        let primaries = ring.primary_indices(partition);
        for primary in primaries {
            seen.insert(*primary);
        }
        Self { ring, seen, left: ring.members().len() - primaries.len(), first: partition.index(), step: 0 }
    }
}

impl Iterator for Fallbacks<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        let owners = self.ring.owners();
        while 0 < self.left {
            let member = match self.step.checked_sub(owners.len()) {
                None => owners[(self.first + self.step) % owners.len()],
                Some(member) => u16::try_from(member).expect("there are at most NODES_MAX members"),
            };
            self.step += 1;
            if self.seen.insert(member) {
                self.left -= 1;
                return Some(self.ring.node_at(member));
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fallbacks<'_> {}
