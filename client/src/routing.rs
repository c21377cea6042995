//! Which nodes to ask for a key, best first: its primaries, so that a request takes one hop less (the Dynamo paper, section 6.4,
//! client-driven coordination).
//!
//! Only the order is decided here. Asking, and trying the next one, is [`crate::operation`]'s business.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_ring::wire::{Request, RingDescription};
use quorate_ring::{InvalidRing, Member, NodeId, ObjectKey, PartitionId, Position, Ring, ZoneName};

use crate::Time;
use crate::latency::Latencies;
use crate::throttle::Throttle;

/// Nodes beside the primaries that one round of attempts may try. Any node can forward, so a few are enough when all primaries are
/// cut off from this client but not from the rest of the cluster.
const OTHERS_MAX: usize = 3;
/// How long a node stays at the end of the list after the first failure to reach it; doubled with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest that it stays there without a new failure.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Of so many reads one is asked of whomever it would be asked if all were as fast: so a node that has become fast again is noticed.
const PROBE_INTERVAL: u64 = 128;

/// What a request does, which is what it may risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may be asked of several nodes.
    Read,
    /// It may not.
    Write,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The node answered.
    Answer,
    /// The node had too much to do.
    Overloaded,
    /// It was not sent, because the node would have had too much to do.
    HeldBack,
    /// Another one was faster, or the time was over.
    Nothing,
}

/// What a request is about, and so who is best asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The key at this position: its primaries.
    Position(Position),
    /// A partition: its primaries.
    Partition(PartitionId),
    /// This node and no other.
    Node(NodeId),
    /// Any node.
    Any,
}

impl Target {
    /// What a request is about. A batch is about its first item; a status is anybody's.
    pub fn of(request: &Request) -> Self {
        let first = match request {
            Request::Get { key, .. } | Request::GetRepaired { key } | Request::Delete { key, .. } => Some(key),
            Request::Put { item, .. } => Some(&item.key),
            Request::GetMany { keys, .. } => keys.first(),
            Request::PutMany { items, .. } => items.first().map(|item| &item.key),
            Request::Scan { partition, .. } => return Self::Partition(*partition),
            Request::Ring | Request::Status | Request::Layout | Request::ChangeLayout(_) => None,
        };
        first.map_or(Self::Any, Self::from)
    }
}

impl From<&ObjectKey> for Target {
    fn from(key: &ObjectKey) -> Self {
        Self::Position(Position::of(key))
    }
}

#[derive(Clone, Copy, Debug)]
struct Unreachable {
    failures: u32,
    until: Time,
}

/// The ring, which of its nodes could lately not be reached, how fast they answer, and how much they take.
#[derive(Clone, Debug)]
pub struct Router {
    description: RingDescription,
    ring: Ring,
    /// Where this client is, if it says so.
    zone: Option<ZoneName>,
    unreachable: BTreeMap<NodeId, Unreachable>,
    latencies: Latencies,
    /// Of those that have refused something.
    throttles: BTreeMap<NodeId, Throttle>,
}

impl Router {
    /// Routes by this ring.
    ///
    /// # Errors
    /// [`InvalidRing`] if the description is not of a possible ring.
    pub fn new(description: RingDescription) -> Result<Self, InvalidRing> {
        let ring = ring_of(&description)?;
        Ok(Self {
            description,
            ring,
            zone: None,
            unreachable: BTreeMap::new(),
            latencies: Latencies::default(),
            throttles: BTreeMap::new(),
        })
    }

    /// Prefers the nodes of this zone: the way to them is the shortest, or costs nothing.
    #[must_use]
    pub fn near(mut self, zone: Option<ZoneName>) -> Self {
        self.zone = zone;
        self
    }

    /// Routes by another ring from now on and returns whether it is another. What is known of nodes that stay is kept.
    ///
    /// # Errors
    /// [`InvalidRing`]; the old ring then stays.
    pub fn replace(&mut self, description: RingDescription) -> Result<bool, InvalidRing> {
        if description == self.description {
            return Ok(false);
        }
        self.ring = ring_of(&description)?;
        self.description = description;
        self.unreachable.retain(|node, _| self.ring.member(*node).is_some());
        self.latencies.retain(|node| self.ring.member(node).is_some());
        self.throttles.retain(|node, _| self.ring.member(*node).is_some());
        Ok(true)
    }

    /// The ring as the cluster told it.
    pub fn description(&self) -> &RingDescription {
        &self.description
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Where a node listens, as `host:port`.
    pub fn address(&self, node: NodeId) -> Option<&str> {
        let members = &self.description.members;
        let index = members.binary_search_by_key(&node, |member| member.node).ok()?;
        Some(&members[index].address)
    }

    /// Whom to ask, best first, each once: the primaries, those of this client's zone before others and starting with another one for each
    /// `spread` so that load is spread, then a few others. Primaries that answer clearly later than others come after them, and nodes that
    /// could lately not be reached last.
    pub fn candidates(&self, target: Target, access: Access, spread: u64, now: Time) -> Vec<NodeId> {
        let mut candidates = match target {
            Target::Node(node) => return vec![node],
            Target::Any => Vec::with_capacity(OTHERS_MAX),
            Target::Position(position) => self.primaries(self.ring.partition_of(position), spread),
            Target::Partition(partition) if self.has(partition) => self.primaries(partition, spread),
            Target::Partition(_) => Vec::new(),
        };
        if access == Access::Write || !spread.is_multiple_of(PROBE_INTERVAL) {
            let slow = self.latencies.slow(&candidates, now);
            if !slow.is_empty() {
                candidates.sort_by_key(|node| slow.contains(node)); // Stable, as below.
            }
        }
        self.append_others(&mut candidates, spread, now);
        if !self.unreachable.is_empty() {
            candidates.sort_by_key(|node| self.is_unreachable(*node, now)); // Stable: the order is otherwise kept.
        }
        candidates
    }

    fn has(&self, partition: PartitionId) -> bool {
        partition.index() < self.ring.owners().len()
    }

    fn primaries(&self, partition: PartitionId, spread: u64) -> Vec<NodeId> {
        let n = usize::from(self.ring.replicas());
        let mut primaries = Vec::with_capacity(n + OTHERS_MAX);
        primaries.extend(self.ring.primaries(partition));
        primaries.rotate_left(modulo(spread, n));
        if self.zone.is_some() {
            primaries.sort_by_key(|node| !self.is_near(*node)); // Stable, as above.
        }
        primaries
    }

    fn is_near(&self, node: NodeId) -> bool {
        self.ring.member(node).is_some_and(|member| member.zone.is_some() && member.zone == self.zone)
    }

    /// Prefers others that can be reached, without looking at all of a large cluster when most can.
    fn append_others(&self, candidates: &mut Vec<NodeId>, spread: u64, now: Time) {
        let members = self.ring.members();
        let primaries = candidates.len();
        let (before, after) = members.split_at(modulo(spread, members.len()));
        for reachable in [true, false] {
            for member in after.iter().chain(before) {
                if candidates.len() == primaries + OTHERS_MAX {
                    return;
                }
                if self.is_unreachable(member.node, now) != reachable && !candidates.contains(&member.node) {
                    candidates.push(member.node);
                }
            }
        }
    }

    /// Whether a node could lately not be reached.
    pub fn is_unreachable(&self, node: NodeId, now: Time) -> bool {
        self.unreachable.get(&node).is_some_and(|unreachable| now < unreachable.until)
    }

    /// Notes that a node could not be reached, or was silent: it comes last for a while, longer each time in a row. Many requests
    /// that meet the same failure count as one.
    pub fn note_unreachable(&mut self, node: NodeId, now: Time) {
        if self.ring.member(node).is_none() {
            return; // Else the table could outgrow the ring.
        }
        let entry = self.unreachable.entry(node).or_insert(Unreachable { failures: 0, until: now });
        if now < entry.until {
            return;
        }
        let wait = BACKOFF_FIRST.saturating_mul(1 << entry.failures.min(16)).min(BACKOFF_MAX);
        *entry = Unreachable { failures: entry.failures + 1, until: now + wait };
    }

    /// Notes that a node is asked, beside others already if that is a hedge.
    pub fn note_asked(&mut self, node: NodeId, now: Time, access: Access, beside: usize) {
        if self.ring.member(node).is_none() {
            return; // As above.
        }
        self.latencies.note_asked(node, now);
        match (access, beside) {
            (Access::Read, 0) => self.latencies.note_read(),
            (Access::Read, _) => self.latencies.note_hedged(),
            (Access::Write, _) => {}
        }
    }

    /// Notes what became of an attempt, after so long.
    pub fn note_took(&mut self, node: NodeId, now: Time, took: Duration, heard: Heard) {
        if self.ring.member(node).is_none() {
            return;
        }
        match heard {
            Heard::Answer => {
                self.unreachable.remove(&node);
                self.latencies.note_answered(node, now, took);
                if let Some(throttle) = self.throttles.get_mut(&node) {
                    throttle.note_taken(now);
                }
            }
            // How soon it refuses says nothing of how soon it answers.
            Heard::Overloaded => {
                self.unreachable.remove(&node);
                self.latencies.note_refused(node);
                self.throttles.entry(node).or_insert_with(|| Throttle::new(now)).note_refused(now);
            }
            Heard::HeldBack => {
                self.throttles.entry(node).or_insert_with(|| Throttle::new(now)).note_refused(now);
            }
            Heard::Nothing => self.latencies.note_unanswered(node, now, took),
        }
    }

    /// Of 2³² requests to a node, how many to hold back, because it would most likely refuse them.
    pub fn held_back(&self, node: NodeId, now: Time) -> u64 {
        self.throttles.get(&node).map_or(0, |throttle| throttle.held_back(now))
    }

    /// How long a read waits for a node before another is asked as well, if the budget for that lasts until then.
    pub fn hedge_after(&self, node: NodeId, target: Target, now: Time) -> Duration {
        let primaries = || match target {
            Target::Position(position) => self.ring.primaries(self.ring.partition_of(position)).collect(),
            Target::Partition(partition) if self.has(partition) => self.ring.primaries(partition).collect(),
            Target::Partition(_) | Target::Node(_) | Target::Any => Vec::new(),
        };
        self.latencies.hedge_after(node, primaries, now)
    }

    /// Whether a read may be asked of another node as well only because the first is slow: one read in ten, and a few more at first.
    pub fn may_hedge(&self) -> bool {
        self.latencies.may_hedge()
    }

    /// Notes that a node was reached.
    pub fn note_reachable(&mut self, node: NodeId) {
        self.unreachable.remove(&node);
    }

    /// Whether anything is noted against a node, so that callers need not write what is already so.
    pub fn is_noted(&self, node: NodeId) -> bool {
        self.unreachable.contains_key(&node)
    }
}

fn modulo(number: u64, count: usize) -> usize {
    let count = u64::try_from(count).expect("a count of nodes is small");
    usize::try_from(number % count).expect("less than a count of nodes")
}

fn ring_of(description: &RingDescription) -> Result<Ring, InvalidRing> {
    let RingDescription { partitions, replicas, members, owners, .. } = description;
    let member = |member: &quorate_ring::wire::MemberDescription| Member {
        node: member.node,
        zone: member.zone.clone(),
        capacity: member.capacity,
    };
    Ring::new(*partitions, *replicas, members.iter().map(member).collect(), owners.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{description, node};

    #[test]
    fn every_primary_comes_first_for_some_spread() {
        let router = Router::new(description(5, 3)).expect("possible");
        let target = Target::Partition(PartitionId::new(1));
        let primaries: Vec<_> = router.ring().primaries(PartitionId::new(1)).collect();
        let firsts: Vec<_> =
            (0..3).map(|spread| router.candidates(target, Access::Write, spread, Time::default())[0]).collect();
        assert_eq!(firsts, primaries);
    }

    #[test]
    fn primaries_of_the_clients_zone_come_first_unless_they_cannot_be_reached() {
        let mut zoned = description(6, 3);
        for (index, member) in zoned.members.iter_mut().enumerate() {
            member.zone = Some(ZoneName::new(["a", "b", "c"][index % 3]).expect("a label"));
        }
        let zone = ZoneName::new("b").expect("a label");
        let mut router = Router::new(zoned).expect("possible").near(Some(zone.clone()));
        let target = Target::Partition(PartitionId::new(1));
        let firsts = |router: &Router| -> Vec<NodeId> {
            let first = |spread| router.candidates(target, Access::Write, spread, Time::default())[0];
            (0..3).map(first).collect()
        };
        let near: Vec<NodeId> = firsts(&router);
        assert!(near.iter().all(|node| router.ring().member(*node).expect("one").zone.as_ref() == Some(&zone)));
        router.note_unreachable(near[0], Time::default());
        assert!(!firsts(&router).contains(&near[0]));
    }

    #[test]
    fn unreachable_node_comes_last_until_its_time_is_over() {
        let mut router = Router::new(description(5, 3)).expect("possible");
        let target = Target::Partition(PartitionId::new(0));
        let first = router.candidates(target, Access::Write, 0, Time::default())[0];
        router.note_unreachable(first, Time::default());
        let candidates = router.candidates(target, Access::Write, 0, Time::default());
        assert_eq!((candidates.len(), candidates.last()), (5, Some(&first)));
        assert_eq!(router.candidates(target, Access::Write, 0, Time::default() + BACKOFF_FIRST)[0], first);
        let later = Time::default() + BACKOFF_FIRST;
        router.note_unreachable(first, later);
        assert_ne!(
            router.candidates(target, Access::Write, 0, later + BACKOFF_FIRST)[0],
            first,
            "longer the second time"
        );
        router.note_reachable(first);
        assert_eq!(router.candidates(target, Access::Write, 0, Time::default())[0], first);
    }

    #[test]
    fn others_that_can_be_reached_are_preferred() {
        let mut router = Router::new(description(30, 3)).expect("possible");
        for number in 1..30 {
            router.note_unreachable(node(number), Time::default());
        }
        let candidates = router.candidates(Target::Partition(PartitionId::new(0)), Access::Write, 0, Time::default());
        assert_eq!(candidates[0], node(30));
    }

    #[test]
    fn impossible_rings_and_partitions_are_no_panic() {
        let mut impossible = description(5, 3);
        impossible.owners[0] = 9;
        assert!(Router::new(impossible.clone()).is_err());
        let mut router = Router::new(description(5, 3)).expect("possible");
        assert!(router.replace(impossible).is_err());
        assert!(!router.replace(description(5, 3)).expect("possible"));
        assert!(
            !router
                .candidates(Target::Partition(PartitionId::new(60_000)), Access::Write, 0, Time::default())
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn candidates_are_distinct_members_and_hold_all_primaries(
            nodes in 3u32..12, point: u64, spread: u64, down in proptest::collection::vec(1u32..12, 0..12),
        ) {
            let mut router = Router::new(description(nodes, 3)).expect("possible");
            for number in down {
                router.note_unreachable(node(number), Time::default());
            }
            let position = Position::new(point);
            let candidates = router.candidates(Target::Position(position), Access::Write, spread, Time::default());
            let mut distinct = candidates.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), candidates.len());
            prop_assert!(candidates.iter().all(|node| router.ring().member(*node).is_some()));
            for primary in router.ring().primaries(router.ring().partition_of(position)) {
                prop_assert!(candidates.contains(&primary));
            }
            let unreachable: Vec<bool> = candidates.iter().map(|node| router.is_unreachable(*node, Time::default())).collect();
            prop_assert!(unreachable.is_sorted());
        }
    }
}
