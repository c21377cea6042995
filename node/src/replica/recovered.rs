//! What a start finds in the store, beside the objects.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_ring::layout::Layout;
use quorate_ring::version::{Incarnation, NodeClock};
use quorate_ring::{NodeId, PartitionId};

use super::layout::{self, Damaged};

/// What a store remembers at a start, beside the objects.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The clocks of all partitions that have one. A shard is given those of its partitions.
    pub clocks: BTreeMap<PartitionId, NodeClock>,
    /// Which incarnations of each peer this node has met. The first shard is given them.
    pub known: BTreeMap<NodeId, Vec<Incarnation>>,
    /// Of partitions that this node has held before: its incarnation then, and the one that makes its events when it holds it again. A shard
    /// is given those of its partitions.
    pub tenures: BTreeMap<PartitionId, (Incarnation, Incarnation)>,
    /// The node's copy of the layout. The first shard is given it.
    pub layout: Option<Layout>,
}

impl Recovered {
    /// Reads the entries of [`Column::Metadata`](crate::storage::Column::Metadata). Those of other kinds are left out.
    ///
    /// # Errors
    /// That one is damaged.
    pub fn read(entries: &[(Bytes, Bytes)]) -> Result<Self, Damaged> {
        let mut recovered = Self::default();
        for (place, value) in entries {
            if let Some(partition) = layout::clock_partition(place) {
                recovered.clocks.insert(partition, layout::decode_clock(value)?);
            } else if let Some(node) = layout::peer_node(place) {
                recovered.known.insert(node, layout::decode("peer's incarnations", value)?);
            } else if *place == layout::copy() {
                recovered.layout = Some(layout::decode("layout", value)?);
            } else if let Some(partition) = layout::tenure_partition(place) {
                recovered.tenures.insert(partition, layout::decode("incarnation of a partition", value)?);
            }
        }
        Ok(recovered)
    }
}
