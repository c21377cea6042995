//! Where replicas are while one epoch follows another.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{EpochId, Layout};
use crate::{Member, NodeId, PartitionCount, PartitionId, Position, PreferenceList, Ring};

/// Who holds which partition, and whom requests go to: what a [`Layout`] says to those who coordinate requests and hold replicas.
///
/// While more than one epoch is live a partition's **primaries** are those of every live epoch: each is sent every write, and holds it. A write
/// is done when it has its quorum *in each* live epoch; a read goes by one of them, the newest that all have synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// From the oldest; never empty.
    live: Vec<Arc<Ring>>,
    /// Which epochs they are.
    epochs: Vec<EpochId>,
    /// Which of them is read by.
    reads_by: usize,
    /// The newest that all have acknowledged.
    acknowledged: usize,
    /// The newest that this node has synced.
    synced: usize,
    /// Members that were removed by force: nothing is expected of them any more.
    removed: BTreeSet<NodeId>,
}

impl From<Arc<Ring>> for Placement {
    fn from(ring: Arc<Ring>) -> Self {
        Self {
            live: vec![ring],
            epochs: vec![EpochId::default()],
            reads_by: 0,
            acknowledged: 0,
            synced: 0,
            removed: BTreeSet::new(),
        }
    }
}

impl Layout {
    /// Where replicas are, by this copy of the layout, for one of the nodes.
    pub fn placement(&self, own: NodeId) -> Placement {
        Placement {
            live: self.epochs.iter().map(|epoch| epoch.ring.clone()).collect(),
            epochs: self.epochs.iter().map(|epoch| epoch.id()).collect(),
            reads_by: self.index_of(self.reads_by().id()),
            acknowledged: self.index_of(self.acknowledged_by_all().id()),
            synced: self.index_of(self.progress_of(own).synced),
            removed: self.members().filter(|node| self.is_removed(*node)).collect(),
        }
    }
}

impl Placement {
    /// Q, the number of partitions: the same in all epochs.
    pub fn partitions(&self) -> PartitionCount {
        self.last().partitions()
    }

    /// The partition a position lies in.
    pub fn partition_of(&self, position: Position) -> PartitionId {
        self.partitions().partition_of(position)
    }

    /// The live rings, from the oldest. A write needs its quorum in each.
    pub fn live(&self) -> &[Arc<Ring>] {
        &self.live
    }

    /// The ring of the last epoch.
    pub fn last(&self) -> &Arc<Ring> {
        self.live.last().expect("there is always one")
    }

    /// The ring that reads go by.
    pub fn reads_by(&self) -> &Arc<Ring> {
        &self.live[self.reads_by]
    }

    /// The live epochs, from the oldest.
    pub fn epochs(&self) -> &[EpochId] {
        &self.epochs
    }

    /// The last epoch.
    pub fn last_epoch(&self) -> EpochId {
        *self.epochs.last().expect("there is always one")
    }

    /// The epoch that reads go by.
    pub fn read_epoch(&self) -> EpochId {
        self.epochs[self.reads_by]
    }

    /// The number of the newest epoch that all have acknowledged: no write goes by an older one any more. 0 where members never change.
    pub fn acknowledged(&self) -> u64 {
        self.epochs[self.acknowledged].number
    }

    /// The number of the newest epoch that a node's requests count as going by: the last, if the node is a member of the epoch that it reads by. Else
    /// others may not be waiting for it while they go on to a rival of that, and it is the newest that all have acknowledged.
    pub fn goes_by(&self, node: NodeId) -> u64 {
        let takes_part = self.reads_by().member(node).is_some();
        if takes_part { self.last_epoch().number } else { self.acknowledged() }
    }

    /// The newest epoch that all have acknowledged, if this node has not synced it yet: then it is to.
    pub fn epoch_to_sync(&self) -> Option<EpochId> {
        (self.synced < self.acknowledged).then(|| self.epochs[self.acknowledged])
    }

    /// Whether one epoch follows another just now.
    pub fn is_changing(&self) -> bool {
        1 < self.live.len()
    }

    /// Who holds a partition: those that it is read from, best first, and then those of the other live epochs.
    ///
    /// # Panics
    /// If the rings have no such partition.
    pub fn primaries(&self, partition: PartitionId) -> impl Iterator<Item = NodeId> + Clone + use<'_> {
        let others = self.live.iter().enumerate().filter(|(index, _)| *index != self.reads_by);
        let new = move |(index, ring): (usize, &'_ Arc<Ring>)| -> Vec<NodeId> {
            let earlier = || self.live[..index].iter().chain([self.reads_by()]);
            let is_new = |node: &NodeId| !earlier().any(|ring| ring.is_primary(*node, partition));
            ring.primaries(partition).filter(is_new).collect()
        };
        self.reads_by().primaries(partition).chain(others.flat_map(new))
    }

    /// Who holds a partition by the newest epoch that all have acknowledged and by all that follow it. What they are given is left behind
    /// nowhere: others receive it from there only after all have acknowledged that they hold the partition, and an epoch that not all have
    /// acknowledged may lose against a rival, and be gone together with what it placed.
    ///
    /// # Panics
    /// If the rings have no such partition.
    pub fn staying(&self, partition: PartitionId) -> impl Iterator<Item = NodeId> + use<'_> {
        let (acknowledged, later) = self.live[self.acknowledged..].split_first().expect("one of the live ones");
        let stays = move |node: &NodeId| later.iter().all(|ring| ring.is_primary(*node, partition));
        acknowledged.primaries(partition).filter(stays)
    }

    /// Whether a node holds a partition.
    ///
    /// # Panics
    /// If the rings have no such partition.
    pub fn is_primary(&self, node: NodeId, partition: PartitionId) -> bool {
        self.live.iter().any(|ring| ring.is_primary(node, partition))
    }

    /// Which of those who hold a partition make up each live epoch's primaries; nothing if there is one epoch, of which all do.
    ///
    /// # Panics
    /// If the rings have no such partition.
    pub fn quorums(&self, partition: PartitionId) -> Vec<Vec<NodeId>> {
        let changing = if self.is_changing() { &self.live[..] } else { &[] };
        changing.iter().map(|ring| ring.primaries(partition).collect()).collect()
    }

    /// Whom a read asks, best first.
    ///
    /// # Panics
    /// If the rings have no such partition.
    pub fn read_list(&self, partition: PartitionId) -> PreferenceList<'_> {
        self.reads_by().preference_list(partition)
    }

    /// Who may stand in for those a read asks, best first: one who holds the partition by another epoch answers for itself, and not for what it
    /// keeps for others.
    pub fn read_fallbacks<'a>(&'a self, list: PreferenceList<'a>) -> impl Iterator<Item = NodeId> + use<'a> {
        list.fallbacks().filter(move |node| !self.is_primary(*node, list.partition()))
    }

    /// Who may stand in for the holders of a partition, best first: those next in the last epoch that hold it by none.
    ///
    /// # Panics
    /// If the rings have no such partition.
    pub fn fallbacks(&self, partition: PartitionId) -> impl Iterator<Item = NodeId> + use<'_> {
        self.last().preference_list(partition).fallbacks().filter(move |node| !self.is_primary(*node, partition))
    }

    /// The partitions that a node holds, in ring order. Looks at all partitions: for a change of the placement, not for a request.
    pub fn partitions_of(&self, node: NodeId) -> impl Iterator<Item = PartitionId> + use<'_> {
        self.partitions().partitions().filter(move |partition| self.is_primary(node, *partition))
    }

    /// The partitions that this node holds by an epoch that it has not synced yet, and by none that it has, in ring order.
    pub fn unsynced(&self, own: NodeId) -> impl Iterator<Item = PartitionId> + use<'_> {
        self.held_between(own, self.live.len())
    }

    /// Those of them that it is to receive now: every write goes to all who hold them by an epoch that all have acknowledged, so what is received
    /// after that is all.
    pub fn to_receive(&self, own: NodeId) -> impl Iterator<Item = PartitionId> + use<'_> {
        self.held_between(own, self.acknowledged + 1)
    }

    fn held_between(&self, own: NodeId, end: usize) -> impl Iterator<Item = PartitionId> + use<'_> {
        let (synced, due) = self.live[..end.max(self.synced + 1)].split_at(self.synced + 1);
        let holds = move |rings: &[Arc<Ring>], partition| rings.iter().any(|ring| ring.is_primary(own, partition));
        let is_new = move |partition: &PartitionId| holds(due, *partition) && !holds(synced, *partition);
        self.partitions().partitions().filter(is_new)
    }

    /// All members of live epochs, by rising id.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.live.iter().flat_map(|ring| ring.members()).map(|member| member.node).collect()
    }

    /// What the newest epoch that has this node says of it.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.live.iter().rev().find_map(|ring| ring.member(node))
    }

    /// Whether it was removed by force: nothing is expected of it any more.
    pub fn is_removed(&self, node: NodeId) -> bool {
        self.removed.contains(&node)
    }
}
