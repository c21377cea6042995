//! From one ring to the next: which partition goes to which node when members join, leave, or change zone or capacity.
//!
//! [`plan`] is a pure function, so every node that plans the same change comes to the same ring. It works in three steps:
//!
//! 1. `target`: how many partitions each member should own, within one of its share by capacity, nearest to what it owns;
//! 2. `sequence` (first ring) or `fill` (later ones): hand out what is free or too much, spacing owners as it goes;
//! 3. `repair`: where that got stuck, swap owners until N successive ones are distinct nodes in distinct zones, at the least
//!    cost in data.
//!
//! The relatives: Riak's claim works on owners alone and may leave the ring's end unspaced; Garage solves a minimum-cost flow
//! over free sets of nodes. Here the ring keeps its walk, and data moved is counted in replicas, not in owners.

mod anneal;
mod arrangement;
mod fill;
mod generator;
mod repair;
mod sequence;
mod target;

use self::arrangement::Arrangement;
use self::target::Targets;
use crate::{InvalidRing, Member, NodeId, PartitionCount, PartitionId, Ring};

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// No ring can have these members and this N.
    #[error(transparent)]
    Ring(#[from] InvalidRing),
    /// The number of partitions is fixed for a cluster's life.
    #[error(
        "the ring has {previous} partitions and cannot change to {wanted}; load the data into a new cluster instead"
    )]
    PartitionsChanged {
        /// What the previous ring has.
        previous: PartitionCount,
        /// What was asked for.
        wanted: PartitionCount,
    },
}

/// The next ring, and what it costs to get there.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The next ring.
    pub ring: Ring,
    /// Partitions that change their owner. 0 for a first ring, as are the other figures of movement.
    pub moved_owners: usize,
    /// Replicas to copy: partitions that a node newly holds, summed over nodes.
    pub moved_replicas: usize,
    /// The fewest replicas that any equally balanced ring would have to copy, if owners needed no spacing.
    pub moved_replicas_min: usize,
    /// Mean load over greatest load, where a node's load is the replicas it holds by its capacity. 1 is perfect.
    pub balance: f64,
    /// The balance if partitions could be divided: below 1 where a large node or zone cannot use its capacity, since it holds no
    /// partition twice.
    pub balance_max: f64,
    /// Partitions from which N successive owners are not distinct nodes. The walk passes over the repeated ones. Unavoidable
    /// for N nodes when Q is no multiple of N.
    pub crowded_nodes: usize,
    /// Partitions from which N successive owners are not as widely spread over zones as they could be. The walk passes over them.
    pub crowded_zones: usize,
}

impl Plan {
    /// The part of all data that has to be copied, from 0 to 1.
    pub fn moved_fraction(&self) -> f64 {
        let replicas = self.ring.partitions().get() as usize * usize::from(self.ring.replicas());
        self.moved_replicas as f64 / replicas as f64
    }
}

/// The ring that should follow `previous` when the members are these; the first ring if there is no previous one.
///
/// Members may be given in any order. The same arguments give the same ring, everywhere.
///
/// ```
/// use quorate_ring::{Capacity, Member, NodeId, PartitionCount, claim};
///
/// let member = |number| Some(Member { node: NodeId::new(number)?, zone: None, capacity: Capacity::default() });
/// let first = claim::plan(None, PartitionCount::default(), 3, (1..=4).filter_map(member).collect())?;
/// let grown = claim::plan(Some(&first.ring), PartitionCount::default(), 3, (1..=5).filter_map(member).collect())?;
///
/// assert!(0.99 < grown.balance);
/// assert!(grown.moved_fraction() <= 0.2);
/// # Ok::<(), claim::InvalidPlan>(())
/// ```
///
/// # Errors
/// [`InvalidPlan`], if no ring can be made of these, or not after `previous`.
pub fn plan(
    previous: Option<&Ring>,
    partitions: PartitionCount,
    n: u8,
    mut members: Vec<Member>,
) -> Result<Plan, InvalidPlan> {
    if let Some(previous) = previous.filter(|previous| previous.partitions() != partitions) {
        return Err(InvalidPlan::PartitionsChanged { previous: previous.partitions(), wanted: partitions });
    }
    members.sort_by_key(|member| member.node);
    crate::ring::check_members(n, &members)?;
    let mut arrangement = Arrangement::new(previous, partitions, usize::from(n), &members);
    let targets = Targets::new(&arrangement, &members);
    match previous {
        None => sequence::arrange(&mut arrangement, &targets),
        Some(_) => fill::fill(&mut arrangement, &targets),
    }
    // The same members again are no reason to move anything.
    if previous.is_none_or(|previous| *previous.members() != members || previous.replicas() != n) {
        repair::repair(&mut arrangement, &targets);
    }
    let ring = Ring::new(partitions, n, members, arrangement.owners().to_vec())?;
    Ok(summary(previous, ring, &arrangement, &targets))
}

/// The partitions that nodes hold in `next` and did not hold in `previous`: what has to be copied, in ring order.
pub fn gains<'a>(previous: &'a Ring, next: &'a Ring) -> impl Iterator<Item = (PartitionId, NodeId)> + use<'a> {
    next.partitions().partitions().flat_map(move |partition| {
        let gained = next.primaries(partition).filter(move |node| !previous.is_primary(*node, partition));
        gained.map(move |node| (partition, node))
    })
}

fn summary(previous: Option<&Ring>, ring: Ring, arrangement: &Arrangement, targets: &Targets) -> Plan {
    let (crowded_nodes, crowded_zones) = arrangement.crowded();
    let mut loads = vec![0_usize; ring.members().len()];
    for partition in ring.partitions().partitions() {
        for member in ring.primary_indices(partition) {
            loads[usize::from(*member)] += 1;
        }
    }
    let owner_moved =
        |partition: &PartitionId| previous.is_some_and(|ring_| ring_.owner(*partition) != ring.owner(*partition));
    Plan {
        moved_owners: ring.partitions().partitions().filter(owner_moved).count(),
        moved_replicas: previous.map_or(0, |previous| gains(previous, &ring).count()),
        moved_replicas_min: previous.map_or(0, |previous| moved_replicas_min(previous, &ring, targets)),
        balance: balance(ring.members(), loads.iter().map(|load| *load as f64)),
        balance_max: balance(ring.members(), targets.shares().iter().copied()),
        crowded_nodes,
        crowded_zones,
        ring,
    }
}

/// Mean over maximum of load by capacity.
fn balance(members: &[Member], loads: impl Iterator<Item = f64> + Clone) -> f64 {
    let capacities = members.iter().map(|member| f64::from(member.capacity.weight()));
    let mean = loads.clone().sum::<f64>() / capacities.clone().sum::<f64>();
    mean / loads.zip(capacities).map(|(load, capacity)| load / capacity).fold(0.0, f64::max)
}

/// What every balanced ring has to copy: the members that hold too little must gain, and those that hold too much must lose.
fn moved_replicas_min(previous: &Ring, next: &Ring, targets: &Targets) -> usize {
    let n = usize::from(next.replicas());
    let (mut gained, mut kept) = (0, 0);
    for (member, share) in next.members().iter().zip(targets.shares()) {
        let held = previous.partitions_of(member.node).count();
        gained += (share.floor() as usize * n).saturating_sub(held);
        kept += held.min(share.ceil() as usize * n);
    }
    gained.max((next.partitions().get() as usize * n).saturating_sub(kept))
}
