//! Owners while they are being arranged, and what is wrong with them: nodes or zones too close together, data moved.

use crate::ring::{zone_indices, zone_share_max};
use crate::{Member, PartitionCount, Ring};

/// What one repeated node in N successive owners weighs beside zones and moved replicas: no number of those outweighs it.
const NODE_WEIGHT: i64 = 1 << 32;
/// What one owner too many of a zone weighs beside moved replicas.
const ZONE_WEIGHT: i64 = 1 << 16;

/// An assignment in the making. Partitions without an owner have the index behind the last member, [`Self::nobody`].
pub(super) struct Arrangement {
    n: usize,
    /// Q - 1: Q is a power of two, so masking with it is going around the ring.
    mask: usize,
    owners: Vec<u16>,
    /// The owners to start from.
    before: Vec<u16>,
    /// For each partition the N that held it before. Empty for a first ring.
    held: Vec<u16>,
    /// For each member its zone, and one for nobody.
    zones: Vec<u16>,
    /// How many of N successive owners may be in one zone.
    share_max: usize,
}

impl Arrangement {
    /// What is left of the previous ring's owners when these are the members, by rising id.
    pub(super) fn new(previous: Option<&Ring>, partitions: PartitionCount, n: usize, members: &[Member]) -> Self {
        let nobody = u16::try_from(members.len()).expect("there are at most NODES_MAX members");
        let mut zones = zone_indices(members);
        let share_max = zone_share_max(n, &nodes_by_zone(&zones));
        zones.push(u16::MAX);
        let mut held = Vec::new();
        let mut before = vec![nobody; partitions.get() as usize];
        if let Some(previous) = previous {
            let index = |member: &Member| {
                let index = members.binary_search_by_key(&member.node, |member| member.node);
                index.map_or(nobody, |index| u16::try_from(index).expect("there are at most NODES_MAX members"))
            };
            let renumbered: Vec<u16> = previous.members().iter().map(index).collect();
            before = previous.owners().iter().map(|owner| renumbered[usize::from(*owner)]).collect();
            // Where N changes, fewer or more were held: a partition's old primaries are cut or filled up to the new N.
            for partition in partitions.partitions() {
                let indices = previous.primary_indices(partition).iter().map(|owner| renumbered[usize::from(*owner)]);
                held.extend(indices.chain(std::iter::repeat(nobody)).take(n));
            }
        }
        let mask = partitions.get() as usize - 1;
        Self { n, mask, owners: before.clone(), before, held, zones, share_max }
    }

    pub(super) fn n(&self) -> usize {
        self.n
    }

    pub(super) fn partitions(&self) -> usize {
        self.owners.len()
    }

    pub(super) fn members(&self) -> usize {
        self.zones.len() - 1
    }

    pub(super) fn nobody(&self) -> u16 {
        self.zones.len() as u16 - 1
    }

    pub(super) fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// How many partitions each member owned at the start.
    pub(super) fn owned_before(&self) -> Vec<usize> {
        let mut owned = vec![0; self.zones.len()];
        for owner in &self.before {
            owned[usize::from(*owner)] += 1;
        }
        owned.truncate(self.members());
        owned
    }

    /// For each member its zone.
    pub(super) fn zones(&self) -> &[u16] {
        &self.zones[..self.members()]
    }

    pub(super) fn zone_share_max(&self) -> usize {
        self.share_max
    }

    pub(super) fn has_moved(&self, partition: usize) -> bool {
        self.owners[partition] != self.before[partition]
    }

    pub(super) fn assign(&mut self, partition: usize, member: u16) {
        self.owners[partition] = member;
    }

    pub(super) fn swap(&mut self, one: usize, other: usize) {
        self.owners.swap(one, other);
    }

    /// The partition this many steps clockwise, or counter-clockwise if negative.
    pub(super) fn step(&self, partition: usize, steps: isize) -> usize {
        partition.wrapping_add_signed(steps) & self.mask
    }

    /// Whether a member can own a partition with N successive owners staying spread.
    pub(super) fn fits(&self, member: u16, partition: usize) -> bool {
        self.crowding(member, partition) == 0
    }

    /// How crowded a member would be in a partition: 0 if it fits.
    pub(super) fn crowding(&self, member: u16, partition: usize) -> i64 {
        let zone = self.zones[usize::from(member)];
        let mut crowding = 0;
        for first in 0..self.n {
            let (mut same, mut in_zone) = (0, 0);
            for index in (0..self.n).filter(|index| *index != first) {
                let owner = self.owners[self.step(partition, index as isize - first as isize)];
                same += i64::from(owner == member);
                in_zone += usize::from(self.zones[usize::from(owner)] == zone);
            }
            crowding += same * NODE_WEIGHT + i64::from(self.share_max <= in_zone) * ZONE_WEIGHT;
        }
        crowding
    }

    /// What is wrong with the N successive owners from a partition on: repeated nodes, then crowded zones, then, by how much they
    /// are fewer, the replicas that have to be copied.
    pub(super) fn fault(&self, partition: usize) -> i64 {
        let held = self.held.get(partition * self.n..).and_then(|held| held.get(..self.n));
        let mut fault = 0;
        for index in 0..self.n {
            let owner = self.owners[(partition + index) & self.mask];
            let (mut repeated, mut in_zone) = (false, 0);
            for earlier in 0..index {
                let earlier = self.owners[(partition + earlier) & self.mask];
                repeated |= earlier == owner;
                in_zone += usize::from(self.zones[usize::from(earlier)] == self.zones[usize::from(owner)]);
            }
            fault += i64::from(repeated) * NODE_WEIGHT;
            fault += i64::from(self.share_max <= in_zone) * ZONE_WEIGHT;
            fault += i64::from(held.is_some_and(|held| !held.contains(&owner)));
        }
        fault
    }

    /// The sum of the faults that a partition's owner takes part in.
    pub(super) fn faults_around(&self, partition: usize) -> i64 {
        (0..self.n).map(|back| self.fault(self.step(partition, -(back as isize)))).sum()
    }

    /// Whether a sum of faults is about more than moved replicas.
    pub(super) fn is_crowded(faults: i64) -> bool {
        ZONE_WEIGHT <= faults
    }

    /// How many partitions have N successive owners with a repeated node, and how many with a crowded zone.
    pub(super) fn crowded(&self) -> (usize, usize) {
        let faults = || (0..self.partitions()).map(|partition| self.fault(partition));
        let nodes = faults().filter(|fault| NODE_WEIGHT <= *fault).count();
        (nodes, faults().filter(|fault| ZONE_WEIGHT <= fault % NODE_WEIGHT).count())
    }
}

fn nodes_by_zone(zones: &[u16]) -> Vec<usize> {
    let mut nodes = vec![0; zones.len()];
    for zone in zones {
        nodes[usize::from(*zone)] += 1;
    }
    nodes
}
