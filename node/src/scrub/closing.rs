//! Gaps in a clock that nobody can fill any more, and their closing (the design's rule for claims of "nothing is missing").
//!
//! An actor whose store lost its last writes is over, and events that it had made may be nowhere: they stay as gaps before those that did
//! arrive. What came after a gap is logged for ever, and containers that know of it keep their vectors. To close a gap is to add its
//! events to the clock as of no key. Had anybody one of them as a value, that value would pass for obsolete from then on, and be lost; so
//! a replica closes its gaps only if all of this is so, in this order:
//!
//! 1. They have stood for a horizon, as have the connections of *every member with every other*, each in the life that all know it in. So
//!    what an earlier life of anybody sent is not under way, and what was begun before the gap was seen is over.
//! 2. Every member, and whoever was one and is connected, has said so of itself, and that it keeps no hint of the partition, and that it is none
//!    of these actors. Hints go to
//!    replicas and never back, so from then on only replicas can have an event, or know of one.
//! 3. The replica has gone through the whole partition and *shared* every container that knows of events beyond the gaps: the other replicas
//!    have it on their disks, too. A repair may have brought one that knows of an event (a delete, or what replaced it) whose dot its clock
//!    does not list. If only some replicas had it when the gap is closed, they would differ for ever under the same clock.
//! 4. Every other replica, complete and with the same gaps, says that it has done all this: then none has these events, for a replica that
//!    had one would have it in its clock, and all hold the same of what is known of them.
//!
//! That stays so whatever happens then, as nothing can make these events again. So each replica closes its own gaps when it finds all
//! agreed. One that is late is told by anti-entropy, unless it has lost anything since, and with it perhaps what was shared: then it
//! receives the partition as a whole.
//!
//! Nothing is remembered over a restart, and all is forgotten when any connection of this node comes or goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use quorate_ring::limits::CLOSING_ACTORS_MAX;
use quorate_ring::version::{Actor, Incarnation, NodeClock};
use quorate_ring::wire::ExchangeId;
use quorate_ring::{NodeId, ObjectKey, PartitionId};
use xxhash_rust::xxh3::Xxh3;

use crate::Time;
use crate::anti_entropy::hash_of;

/// The closing of gaps in one shard: one partition at a time.
#[derive(Debug, Default)]
pub struct Closing {
    /// The life in which each node is that there is a connection to.
    met: BTreeMap<NodeId, Incarnation>,
    /// When a connection last came or went.
    changed_at: Time,
    /// Of each partition that has gaps of actors that are over.
    gaps: BTreeMap<PartitionId, Gaps>,
    /// The partitions that are to be looked at, and have not been.
    pub queue: VecDeque<PartitionId>,
    /// When it is next looked where there are gaps.
    pub due: Option<Time>,
    /// What is going on.
    pub state: State,
    /// Events that were closed since the start because all replicas agreed.
    pub closed: u64,
}

/// Who may be an actor.
#[derive(Clone, Copy, Debug)]
pub enum Members<'a> {
    /// The members that the cluster began with.
    Fixed,
    /// These, and others before.
    Changed(&'a BTreeSet<NodeId>),
}

/// The gaps of a partition.
#[derive(Debug)]
struct Gaps {
    /// Of what the clock says of the actors that have them.
    hash: u64,
    since: Time,
    /// Whether all that this replica knows of events in and beyond them is shared.
    shared: bool,
}

/// What is being done about a partition.
///
/// ```text
/// Resting ──gaps have stood for long──▶ Asking ──all members are at rest──▶ Reading ◀──after a pause──┐
///   ▲  ▲ │                                                                    │ a page              │
///   │  │ │ all was shared before                                              ▼                     │
///   │  │ ▼                                                                 Sharing ──stored by all──▶ Pausing
///   │  Agreeing ◀────────────────────────the last page is stored by all───────┘
///   │    │ all other replicas agree
///   │    ▼
///   └─(closed)
/// ```
///
/// From anywhere it goes on with the next partition when somebody says no, cannot be asked, or is too late, and when the gaps are not
/// the same any more; this one is tried again later.
#[derive(Debug, Default)]
pub enum State {
    /// Nothing.
    #[default]
    Resting,
    /// All members are asked whether they are at rest.
    Asking {
        /// Which partition.
        partition: PartitionId,
        /// Who has not answered.
        waiting: BTreeMap<ExchangeId, NodeId>,
        /// When it is looked again whether this node is at rest, once all others are.
        again: Time,
        /// When it is too late.
        until: Time,
    },
    /// A page is being read.
    Reading {
        /// Of which partition.
        partition: PartitionId,
        /// Behind which key.
        after: Option<ObjectKey>,
        /// The reading.
        exchange: ExchangeId,
    },
    /// What a page knows of events beyond the gaps is being stored by all replicas.
    Sharing {
        /// Of which partition.
        partition: PartitionId,
        /// Up to which key; to the partition's end if there is none.
        through: Option<ObjectKey>,
        /// Who has not stored it, this node among them.
        waiting: BTreeMap<ExchangeId, NodeId>,
        /// When it is too late.
        until: Time,
    },
    /// The next page is read after a pause, or when the budget of background work allows it.
    Pausing {
        /// Of which partition.
        partition: PartitionId,
        /// Behind which key.
        after: Option<ObjectKey>,
        /// Until when.
        until: Time,
    },
    /// The other replicas are asked whether they have done the same.
    Agreeing {
        /// Of which partition.
        partition: PartitionId,
        /// Who has not answered.
        waiting: BTreeMap<ExchangeId, NodeId>,
        /// When it is too late.
        until: Time,
    },
}

impl Closing {
    /// The shard begins.
    pub fn begin(&mut self, now: Time, due: Time) {
        self.changed_at = now;
        self.due = Some(due);
    }

    /// There is a connection to a node, in this life of its.
    pub fn handle_connected(&mut self, now: Time, node: NodeId, incarnation: Incarnation) {
        self.met.insert(node, incarnation);
        self.forget(now);
    }

    /// The connection to a node is gone.
    pub fn handle_disconnected(&mut self, now: Time, node: NodeId) {
        self.met.remove(&node);
        self.forget(now);
    }

    /// All is as if a connection had changed now: gaps have to stand for a horizon again.
    pub fn forget(&mut self, now: Time) {
        self.changed_at = now;
        self.gaps.clear();
        self.queue.clear();
        self.state = State::Resting;
    }

    /// A hash over the members and the life in which each is; nothing if there is one without a connection.
    pub fn view(&self, own: Actor, members: impl Iterator<Item = NodeId>) -> Option<u64> {
        let mut lives: Vec<(NodeId, Incarnation)> =
            members.map(|node| Some((node, self.life_of(own, node)?))).collect::<Option<_>>()?;
        lives.sort_unstable();
        let mut hash = Xxh3::new();
        for (node, incarnation) in lives {
            hash.update(&node.number().to_le_bytes());
            hash.update(&incarnation.number().to_le_bytes());
        }
        Some(hash.digest())
    }

    /// The life in which a node is connected, or this node is.
    pub fn life_of(&self, own: Actor, node: NodeId) -> Option<Incarnation> {
        if node == own.node { Some(own.incarnation) } else { self.met.get(&node).copied() }
    }

    /// When a connection last came or went.
    pub const fn changed_at(&self) -> Time {
        self.changed_at
    }

    /// Who is connected.
    pub fn connected(&self) -> impl Iterator<Item = NodeId> {
        self.met.keys().copied()
    }

    /// What a clock says of the actors that have gaps and that no node may be now. With equal views it is the same actors, if the clocks say
    /// the same of them.
    ///
    /// Where members never changed, a node that is connected is the actor of its life. Where they have, it may have given the partition up since,
    /// and only it can tell: it is asked whether it is at rest. One that is neither a member nor connected has handed over all that it had, or
    /// was declared dead.
    pub fn gaps_in(&self, own: Actor, clock: &NodeClock, members: Members<'_>) -> NodeClock {
        let is_over = |actor: &Actor| match (self.life_of(own, actor.node), members) {
            (Some(life), Members::Fixed) => life != actor.incarnation,
            (Some(_), Members::Changed(_)) => true,
            (None, Members::Fixed) => false,
            (None, Members::Changed(members)) => !members.contains(&actor.node),
        };
        let over: Vec<Actor> = clock.actors_with_gaps().filter(is_over).take(CLOSING_ACTORS_MAX).collect();
        clock.with_gaps(|actor| over.binary_search(&actor).is_ok())
    }

    /// These are the gaps of a partition now.
    pub fn note_gaps(&mut self, now: Time, partition: PartitionId, gaps: &NodeClock) {
        let hash = hash_of(gaps);
        if gaps.is_empty() {
            self.gaps.remove(&partition);
        } else if self.gaps.get(&partition).is_none_or(|known| known.hash != hash) {
            self.gaps.insert(partition, Gaps { hash, since: now, shared: false });
        }
    }

    /// The partitions whose gaps have been the same for so long.
    pub fn standing_for(&self, now: Time, horizon: Duration) -> VecDeque<PartitionId> {
        self.gaps.iter().filter(|(_, gaps)| gaps.since + horizon <= now).map(|(partition, _)| *partition).collect()
    }

    /// The hash of a partition's gaps when they were last noted, and whether all that is known of them is shared.
    pub fn known(&self, partition: PartitionId) -> Option<(u64, bool)> {
        self.gaps.get(&partition).map(|gaps| (gaps.hash, gaps.shared))
    }

    /// All that this replica knows of the gaps of a partition is shared.
    pub fn note_shared(&mut self, partition: PartitionId) {
        if let Some(gaps) = self.gaps.get_mut(&partition) {
            gaps.shared = true;
        }
    }

    /// The next partition to look at.
    pub fn take_next(&mut self) -> Option<PartitionId> {
        self.state = State::Resting;
        self.queue.pop_front()
    }

    /// Whether a page is being read.
    pub const fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading { .. })
    }

    /// How many partitions are known to have gaps of actors that are over.
    pub fn partitions_with_gaps(&self) -> usize {
        self.gaps.len()
    }

    /// Somebody has answered what it was asked. `true` if it was the last, and `None` if nobody asked that.
    pub fn handle_answer(&mut self, from: NodeId, exchange: ExchangeId) -> Option<bool> {
        let (State::Asking { waiting, .. } | State::Sharing { waiting, .. } | State::Agreeing { waiting, .. }) =
            &mut self.state
        else {
            return None;
        };
        if waiting.get(&exchange) != Some(&from) {
            return None;
        }
        waiting.remove(&exchange);
        Some(waiting.is_empty())
    }

    /// When an answer is too late, or a pause is over.
    pub const fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Asking { until, .. }
            | State::Sharing { until, .. }
            | State::Pausing { until, .. }
            | State::Agreeing { until, .. } => Some(*until),
            State::Resting | State::Reading { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ring::version::Dot;

    const PARTITION: PartitionId = PartitionId::new(3);

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn actor(number: u32, life: u64) -> Actor {
        Actor::new(node(number), Incarnation::new(life))
    }

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    fn clock(dots: &[(Actor, u64)]) -> NodeClock {
        let mut clock = NodeClock::new();
        dots.iter().for_each(|(actor, counter)| _ = clock.add(Dot::new(*actor, *counter)));
        clock
    }

    #[test]
    fn a_view_is_the_same_for_all_who_know_all_in_the_same_lives() {
        let members = || [2, 1, 3].map(node).into_iter();
        let (mut one, mut other) = (Closing::default(), Closing::default());
        one.handle_connected(at(1), node(2), Incarnation::new(20));
        assert_eq!(one.view(actor(1, 10), members()), None);
        one.handle_connected(at(1), node(3), Incarnation::new(30));
        other.handle_connected(at(2), node(3), Incarnation::new(30));
        other.handle_connected(at(2), node(1), Incarnation::new(10));
        assert!(one.view(actor(1, 10), members()).is_some());
        assert_eq!(one.view(actor(1, 10), members()), other.view(actor(2, 20), members()));
        other.handle_connected(at(3), node(3), Incarnation::new(31));
        assert_ne!(one.view(actor(1, 10), members()), other.view(actor(2, 20), members()));
    }

    #[test]
    fn gaps_of_an_actor_that_some_node_is_now_are_none_to_close() {
        let mut closing = Closing::default();
        closing.handle_connected(at(1), node(2), Incarnation::new(20));
        let (over, lives, unknown) = (actor(2, 19), actor(2, 20), actor(3, 1));
        let known = clock(&[(over, 2), (lives, 2), (unknown, 2), (actor(1, 9), 1)]);
        assert_eq!(closing.gaps_in(actor(1, 10), &known, Members::Fixed), clock(&[(over, 2)]));
        let before = clock(&[(actor(1, 9), 5)]);
        assert_eq!(closing.gaps_in(actor(1, 10), &before, Members::Fixed), before);
    }

    #[test]
    fn where_members_have_changed_who_is_connected_is_asked_and_who_is_gone_is_over() {
        let mut closing = Closing::default();
        closing.handle_connected(at(1), node(2), Incarnation::new(20));
        let (lives, gone, away) = (actor(2, 20), actor(3, 1), actor(4, 1));
        let members = BTreeSet::from([1, 2, 4].map(node));
        let gaps =
            closing.gaps_in(actor(1, 10), &clock(&[(lives, 2), (gone, 2), (away, 2)]), Members::Changed(&members));
        assert_eq!(gaps, clock(&[(lives, 2), (gone, 2)]));
    }

    #[test]
    fn gaps_stand_since_they_were_first_the_same_and_no_connection_changed() {
        let mut closing = Closing::default();
        closing.note_gaps(at(1), PARTITION, &clock(&[(actor(2, 1), 3)]));
        closing.note_gaps(at(5), PARTITION, &clock(&[(actor(2, 1), 3)]));
        let horizon = Duration::from_millis(10);
        assert!(closing.standing_for(at(10), horizon).is_empty());
        assert_eq!(closing.standing_for(at(11), horizon), [PARTITION]);
        closing.note_shared(PARTITION);
        closing.note_gaps(at(7), PARTITION, &clock(&[(actor(2, 1), 4)]));
        assert_eq!(closing.known(PARTITION).map(|(_, shared)| shared), Some(false));
        assert!(closing.standing_for(at(16), horizon).is_empty());
        assert_eq!(closing.standing_for(at(17), horizon), [PARTITION]);
        closing.handle_disconnected(at(8), node(9));
        assert_eq!((closing.known(PARTITION), closing.changed_at()), (None, at(8)));
        closing.note_gaps(at(9), PARTITION, &NodeClock::new());
        assert_eq!(closing.known(PARTITION), None);
    }

    #[test]
    fn the_last_answer_is_told_and_those_of_others_are_not_taken() {
        let mut closing = Closing::default();
        let waiting = BTreeMap::from([(ExchangeId(1), node(2)), (ExchangeId(2), node(3))]);
        closing.state = State::Agreeing { partition: PARTITION, waiting, until: at(9) };
        assert_eq!(closing.handle_answer(node(3), ExchangeId(1)), None);
        assert_eq!(closing.handle_answer(node(2), ExchangeId(1)), Some(false));
        assert_eq!(closing.handle_answer(node(3), ExchangeId(2)), Some(true));
        assert_eq!(closing.handle_answer(node(3), ExchangeId(2)), None);
    }
}
