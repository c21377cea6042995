//! The ring: Q partitions, each assigned to one of the members (the Dynamo paper, section 6.2, strategy 3).
//!
//! A [`Ring`] is one immutable assignment. How to come from one to the next is [`crate::claim`]'s business; who may change
//! it, and when, is membership's.

use xxhash_rust::xxh3::xxh3_64;

use crate::limits::NODES_MAX;
use crate::{Capacity, NodeId, PartitionCount, PartitionId, Position, PreferenceList, Quorum, ZoneName};

/// A node that takes part in the ring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Which node.
    pub node: NodeId,
    /// What it shares its fate with. A member without a zone counts as a zone of its own.
    pub zone: Option<ZoneName>,
    /// How much it holds beside its peers.
    pub capacity: Capacity,
}

/// Why something is no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRing {
    /// N is 0 or more than [`Quorum::N_MAX`].
    #[error("n = {n} is not possible: it is from 1 to {max}", max = Quorum::N_MAX)]
    Replicas {
        /// The N that was given.
        n: u8,
    },
    /// There are more members than a cluster may have.
    #[error("{members} members are too many; a cluster has at most {NODES_MAX}")]
    TooManyMembers {
        /// How many there were.
        members: usize,
    },
    /// There are not enough members for N distinct replicas.
    #[error("{members} members cannot hold n = {n} replicas; add members, or choose a smaller n")]
    TooFewMembers {
        /// How many there were.
        members: usize,
        /// The N that was given.
        n: u8,
    },
    /// The members are not in rising order of their ids, or one is there twice.
    #[error("member {node} is listed twice or out of order")]
    MembersOutOfOrder {
        /// The first that is not above the one before it.
        node: NodeId,
    },
    /// There is not exactly one owner for each partition.
    #[error("{owners} owners were given for {partitions} partitions")]
    OwnerCount {
        /// How many there were.
        owners: usize,
        /// How many there should be.
        partitions: PartitionCount,
    },
    /// An owner is no index into the members.
    #[error("partition {partition} is assigned to member number {owner}, but there are only {members}")]
    OwnerUnknown {
        /// The first partition with this fault.
        partition: PartitionId,
        /// The index it has.
        owner: u16,
        /// How many members there are.
        members: usize,
    },
    /// Fewer than N different members own anything, so a partition cannot have N distinct replicas.
    #[error("only {owners} members own partitions; n = {n} replicas need as many owners")]
    TooFewOwners {
        /// How many members own at least one partition.
        owners: usize,
        /// The N that was given.
        n: u8,
    },
}

/// One assignment of all partitions to members: immutable, checked on construction, shared by reference.
///
/// The primaries of a partition are the first N distinct nodes met walking clockwise from it, passing over nodes whose zone
/// already has its share of them: a zone holds at most the smallest number c of a partition's replicas with which N can be
/// reached. With at least N zones c is 1, so all N are in distinct zones. [`crate::claim`] spaces owners so that the walk
/// seldom has to pass over any; the rule holds for every ring.
///
/// ```
/// use quorate_ring::{Capacity, Member, NodeId, PartitionCount, PartitionId, Ring};
///
/// let member = |number| Some(Member { node: NodeId::new(number)?, zone: None, capacity: Capacity::default() });
/// let members: Vec<Member> = (1..=4).filter_map(member).collect();
/// let ring = Ring::new(PartitionCount::new(8)?, 3, members, vec![0, 1, 2, 3, 0, 1, 2, 3])?;
///
/// let primaries: Vec<u32> = ring.primaries(PartitionId::new(2)).map(NodeId::number).collect();
/// assert_eq!(primaries, [3, 4, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    partitions: PartitionCount,
    replicas: u8,
    members: Box<[Member]>,
    owners: Box<[u16]>,
    /// N member indices for each partition, so that a preference list starts with one read.
    primaries: Box<[u16]>,
    fingerprint: u64,
}

impl Ring {
    /// Checks an assignment: `members` by rising id, and for each partition its owner as an index into them.
    ///
    /// # Errors
    /// The first fault, as [`InvalidRing`].
    pub fn new(partitions: PartitionCount, n: u8, members: Vec<Member>, owners: Vec<u16>) -> Result<Self, InvalidRing> {
        check_members(n, &members)?;
        check_owners(partitions, n, members.len(), &owners)?;
        let primaries = primaries_table(usize::from(n), &members, &owners).into();
        let fingerprint = fingerprint(partitions, n, &members, &owners);
        Ok(Self { partitions, replicas: n, members: members.into(), owners: owners.into(), primaries, fingerprint })
    }

    /// Q, the number of partitions.
    pub fn partitions(&self) -> PartitionCount {
        self.partitions
    }

    /// N, the number of replicas of each partition.
    pub fn replicas(&self) -> u8 {
        self.replicas
    }

    /// All members, by rising id.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this id.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.member_index(node).map(|index| &self.members[usize::from(index)])
    }

    /// The node a partition is assigned to.
    ///
    /// # Panics
    /// If the ring has no such partition.
    pub fn owner(&self, partition: PartitionId) -> NodeId {
        self.node_at(self.owners[partition.index()])
    }

    /// For each partition its owner, as an index into [`Self::members`].
    pub fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// The partition a position lies in.
    pub fn partition_of(&self, position: Position) -> PartitionId {
        self.partitions.partition_of(position)
    }

    /// A hash of all that makes this ring: Q, N, members with zones and capacities, owners. Equal rings have equal
    /// fingerprints, on every node and in every release.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Who should hold the keys of a partition, best first.
    ///
    /// # Panics
    /// If the ring has no such partition.
    pub fn preference_list(&self, partition: PartitionId) -> PreferenceList<'_> {
        PreferenceList::new(self, partition)
    }

    /// The N nodes that hold a partition, best first.
    ///
    /// # Panics
    /// If the ring has no such partition.
    pub fn primaries(&self, partition: PartitionId) -> impl ExactSizeIterator<Item = NodeId> + Clone + use<'_> {
        self.primary_indices(partition).iter().map(|index| self.node_at(*index))
    }

    /// Whether a node is one of the N that hold a partition.
    ///
    /// # Panics
    /// If the ring has no such partition.
    pub fn is_primary(&self, node: NodeId, partition: PartitionId) -> bool {
        self.primaries(partition).any(|primary| primary == node)
    }

    /// The partitions that a node holds, in ring order. Looks at all partitions: for a change of the ring, not for a request.
    pub fn partitions_of(&self, node: NodeId) -> impl Iterator<Item = PartitionId> + use<'_> {
        let member = self.member_index(node);
        let holds = move |partition: &PartitionId| {
            member.is_some_and(|member| self.primary_indices(*partition).contains(&member))
        };
        self.partitions.partitions().filter(holds)
    }

    pub(crate) fn primary_indices(&self, partition: PartitionId) -> &[u16] {
        let n = usize::from(self.replicas);
        &self.primaries[partition.index() * n..][..n]
    }

    pub(crate) fn node_at(&self, member: u16) -> NodeId {
        self.members[usize::from(member)].node
    }

    pub(crate) fn member_index(&self, node: NodeId) -> Option<u16> {
        let index = self.members.binary_search_by_key(&node, |member| member.node).ok()?;
        Some(u16::try_from(index).expect("there are at most NODES_MAX members"))
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { partitions, replicas, members, fingerprint, .. } = self;
        write!(f, "Ring({partitions} partitions, n = {replicas}, {} members, {fingerprint:016x})", members.len())
    }
}

pub(crate) fn check_members(n: u8, members: &[Member]) -> Result<(), InvalidRing> {
    if n == 0 || Quorum::N_MAX < n {
        return Err(InvalidRing::Replicas { n });
    }
    if members.len() < usize::from(n) {
        return Err(InvalidRing::TooFewMembers { members: members.len(), n });
    }
    if NODES_MAX < members.len() {
        return Err(InvalidRing::TooManyMembers { members: members.len() });
    }
    match members.windows(2).find(|pair| pair[1].node <= pair[0].node) {
        Some(pair) => Err(InvalidRing::MembersOutOfOrder { node: pair[1].node }),
        None => Ok(()),
    }
}

fn check_owners(partitions: PartitionCount, n: u8, members: usize, owners: &[u16]) -> Result<(), InvalidRing> {
    if owners.len() != partitions.get() as usize {
        return Err(InvalidRing::OwnerCount { owners: owners.len(), partitions });
    }
    let mut owns = vec![false; members];
    for (partition, &owner) in partitions.partitions().zip(owners) {
        match owns.get_mut(usize::from(owner)) {
            Some(owns) => *owns = true,
            None => return Err(InvalidRing::OwnerUnknown { partition, owner, members }),
        }
    }
    match owns.iter().filter(|owns| **owns).count() {
        owners if owners < usize::from(n) => Err(InvalidRing::TooFewOwners { owners, n }),
        _ => Ok(()),
    }
}

/// For each member a number for its zone; members without one get a number to themselves.
pub(crate) fn zone_indices(members: &[Member]) -> Vec<u16> {
    let mut names: Vec<&ZoneName> = members.iter().filter_map(|member| member.zone.as_ref()).collect();
    names.sort_unstable();
    names.dedup();
    let mut alone = names.len();
    let mut zone_index = |member: &Member| {
        let index = match &member.zone {
            Some(zone) => names.binary_search(&zone).expect("all zones were collected above"),
            None => {
                alone += 1;
                alone - 1
            }
        };
        u16::try_from(index).expect("there are no more zones than members")
    };
    members.iter().map(&mut zone_index).collect()
}

/// The most replicas of one partition that one zone has to hold, so that N can be reached: the smallest c for which the zones,
/// each giving at most c of its nodes, have N. `nodes` counts the nodes of each zone that can be used.
pub(crate) fn zone_share_max(n: usize, nodes: &[usize]) -> usize {
    (1..=n).find(|share| n <= nodes.iter().map(|nodes| nodes.min(share)).sum()).unwrap_or(n)
}

/// The first N of each partition's walk, one after the other.
fn primaries_table(n: usize, members: &[Member], owners: &[u16]) -> Vec<u16> {
    let zones = zone_indices(members);
    let share_max = zone_share_max(n, &owning_nodes_by_zone(&zones, owners));
    let mut table = Vec::with_capacity(owners.len() * n);
    for partition in 0..owners.len() {
        let first = table.len();
        for owner in owners[partition..].iter().chain(&owners[..partition]) {
            let zone = zones[usize::from(*owner)];
            let chosen: &[u16] = &table[first..];
            let in_zone = chosen.iter().filter(|other| zones[usize::from(**other)] == zone).count();
            if in_zone < share_max && !chosen.contains(owner) {
                table.push(*owner);
                if table.len() == first + n {
                    break;
                }
            }
        }
        assert_eq!(table.len(), first + n, "the share is so chosen that a whole turn finds N nodes");
    }
    table
}

fn owning_nodes_by_zone(zones: &[u16], owners: &[u16]) -> Vec<usize> {
    let mut owns = vec![false; zones.len()];
    for &owner in owners {
        owns[usize::from(owner)] = true;
    }
    let mut nodes = vec![0; zones.len()];
    for (zone, _) in zones.iter().zip(owns).filter(|(_, owns)| *owns) {
        nodes[usize::from(*zone)] += 1;
    }
    nodes
}

/// Hashes a layout that is the same on every machine: little-endian numbers, each text behind its length.
fn fingerprint(partitions: PartitionCount, n: u8, members: &[Member], owners: &[u16]) -> u64 {
    let mut encoded = Vec::with_capacity(16 + members.len() * 16 + owners.len() * 2);
    encoded.extend(partitions.get().to_le_bytes());
    encoded.push(n);
    encoded.extend((members.len() as u32).to_le_bytes());
    for Member { node, zone, capacity } in members {
        let zone = zone.as_ref().map_or("", ZoneName::as_str);
        encoded.extend(node.number().to_le_bytes());
        encoded.extend(capacity.weight().to_le_bytes());
        encoded.push(u8::try_from(zone.len()).expect("a zone's name has at most 63 bytes"));
        encoded.extend(zone.as_bytes());
    }
    encoded.extend(owners.iter().flat_map(|owner| owner.to_le_bytes()));
    xxh3_64(&encoded)
}
