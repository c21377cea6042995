//! Rings and names for this crate's tests.

use quorate_ring::wire::{MemberDescription, RingDescription};
use quorate_ring::{Capacity, ClusterName, NodeId, PartitionCount};

/// The node with this number.
pub(crate) fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("not 0")
}

/// The cluster of the tests.
pub(crate) fn cluster() -> ClusterName {
    ClusterName::new("test").expect("valid")
}

/// A ring of nodes 1, 2, ... that own the 16 partitions (64 from 9 nodes on) in turn.
pub(crate) fn description(nodes: u32, n: u8) -> RingDescription {
    let partitions = PartitionCount::new(if nodes < 9 { 16 } else { 64 }).expect("valid");
    let member = |number| MemberDescription {
        node: node(number),
        address: format!("127.0.0.1:{}", 7400 + number),
        zone: None,
        capacity: Capacity::default(),
    };
    let owner = |partition| u16::try_from(partition % nodes).expect("few");
    RingDescription {
        cluster: cluster(),
        replicas: n,
        partitions,
        members: (1..=nodes).map(member).collect(),
        owners: (0..partitions.get()).map(owner).collect(),
    }
}
