//! Owners while they are being arranged, and what is wrong with them: nodes or zones too close together, data moved.

use crate::ring::{zone_indices, zone_share_max};
use crate::{Member, PartitionCount, Ring};

/// What is wrong with some runs of N successive owners, in one number that orders by what is worst: repeated nodes, then crowded
/// zones, then replicas that have to be copied. Each count is below 2^20 = N_MAX * 65,536, so none spills into the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Faults(i64);

impl Faults {
    const REPEATED_NODE: i64 = 1 << 42;
    const CROWDED_ZONE: i64 = 1 << 21;
    const MOVED_REPLICA: i64 = 1;

    /// Owners that are there a second time in their run.
    pub(super) fn repeated_nodes(self) -> i64 {
        self.0 / Self::REPEATED_NODE
    }

    /// Owners that are too many of their zone in their run.
    pub(super) fn crowded_zones(self) -> i64 {
        self.0 % Self::REPEATED_NODE / Self::CROWDED_ZONE
    }

    /// Owners that did not hold the first partition of their run before.
    pub(super) fn moved_replicas(self) -> i64 {
        self.0 % Self::CROWDED_ZONE
    }

    /// Whether it is about more than moved replicas.
    pub(super) fn is_crowded(self) -> bool {
        Self::CROWDED_ZONE <= self.0
    }

    /// This less the other, as one number: negative if this is better.
    pub(super) fn change_from(self, before: Self) -> i64 {
        self.0 - before.0
    }
}

impl std::iter::Sum for Faults {
    fn sum<I: Iterator<Item = Self>>(faults: I) -> Self {
        Self(faults.map(|faults| faults.0).sum())
    }
}

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

    /// Takes another arrangement's owners.
    pub(super) fn restore(&mut self, owners: Vec<u16>) {
        self.owners = owners;
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
            crowding += same * Faults::REPEATED_NODE + i64::from(self.share_max <= in_zone) * Faults::CROWDED_ZONE;
        }
        crowding
    }

    /// What is wrong with the N successive owners from a partition on.
    pub(super) fn faults(&self, partition: usize) -> Faults {
        let held = self.held.get(partition * self.n..).and_then(|held| held.get(..self.n));
        let mut faults = 0;
        for index in 0..self.n {
            let owner = self.owners[(partition + index) & self.mask];
            let (mut repeated, mut in_zone) = (false, 0);
            for earlier in 0..index {
                let earlier = self.owners[(partition + earlier) & self.mask];
                repeated |= earlier == owner;
                in_zone += usize::from(self.zones[usize::from(earlier)] == self.zones[usize::from(owner)]);
            }
            faults += i64::from(repeated) * Faults::REPEATED_NODE;
            faults += i64::from(self.share_max <= in_zone) * Faults::CROWDED_ZONE;
            faults += i64::from(held.is_some_and(|held| !held.contains(&owner))) * Faults::MOVED_REPLICA;
        }
        Faults(faults)
    }

    /// The faults of all runs that a partition's owner is in.
    pub(super) fn faults_around(&self, partition: usize) -> Faults {
        (0..self.n).map(|back| self.faults(self.step(partition, -(back as isize)))).sum()
    }

    /// The faults of all runs that either owner is in, each run counted once.
    pub(super) fn faults_around_both(&self, one: usize, other: usize) -> Faults {
        let behind = (0..self.n).map(|back| self.step(other, -(back as isize)));
        let only_other = behind.filter(|start| self.n <= one.wrapping_sub(*start) & self.mask);
        [self.faults_around(one), only_other.map(|start| self.faults(start)).sum()].into_iter().sum()
    }

    /// The faults of the whole ring.
    pub(super) fn faults_total(&self) -> Faults {
        (0..self.partitions()).map(|partition| self.faults(partition)).sum()
    }

    /// How many partitions have N successive owners with a repeated node, and how many with a crowded zone.
    pub(super) fn crowded(&self) -> (usize, usize) {
        let count = |is_wrong: fn(Faults) -> bool| {
            (0..self.partitions()).filter(|partition| is_wrong(self.faults(*partition))).count()
        };
        (count(|faults| 0 < faults.repeated_nodes()), count(|faults| 0 < faults.crowded_zones()))
    }

    /// The fewest replicas to copy for members to hold this many partitions' runs: what they hold more of than before.
    pub(super) fn moved_replicas_min(&self, counts: &[usize]) -> i64 {
        let mut held = vec![0; self.zones.len()];
        for member in &self.held {
            held[usize::from(*member)] += 1;
        }
        let gained: usize = counts.iter().zip(held).map(|(count, held)| (count * self.n).saturating_sub(held)).sum();
        if self.held.is_empty() { 0 } else { gained as i64 }
    }
}

fn nodes_by_zone(zones: &[u16]) -> Vec<usize> {
    let mut nodes = vec![0; zones.len()];
    for zone in zones {
        nodes[usize::from(*zone)] += 1;
    }
    nodes
}
