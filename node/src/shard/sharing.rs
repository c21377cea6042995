//! Which partitions a shard holds, and with whom.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::layout::Placement;
use quorate_ring::{NodeId, PartitionId};

use super::ShardConfig;
use super::split::Slices;

/// The partitions that a shard holds a replica of.
pub(super) fn held(placement: &Placement, config: &ShardConfig) -> BTreeSet<PartitionId> {
    let slices = Slices::new(placement.partitions(), config.shards);
    placement.partitions_of(config.actor.node).filter(|partition| slices.shard_of(*partition) == config.shard).collect()
}

/// The other nodes that hold a replica of these partitions, each with those that it holds.
pub(super) fn shared(
    placement: &Placement,
    node: NodeId,
    held: &BTreeSet<PartitionId>,
) -> BTreeMap<NodeId, Vec<PartitionId>> {
    let mut shared: BTreeMap<NodeId, Vec<PartitionId>> = BTreeMap::new();
    for partition in held {
        for holder in placement.primaries(*partition).filter(|holder| *holder != node) {
            shared.entry(holder).or_default().push(*partition);
        }
    }
    shared
}

/// The other nodes that hold a partition which this one holds.
pub(super) fn sharing(placement: &Placement, node: NodeId) -> BTreeSet<NodeId> {
    let holders = placement.partitions_of(node).flat_map(|partition| placement.primaries(partition));
    holders.filter(|holder| *holder != node).collect()
}
