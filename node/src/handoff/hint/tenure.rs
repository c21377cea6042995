//! Whose events a node makes that coordinates a write in the place of its primaries.

use std::collections::BTreeMap;

use quorate_ring::version::{Actor, Dot, Incarnation, VersionVector};
use quorate_ring::{NodeId, ObjectKey, PartitionId};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::limits::TENURE_KEYS_MAX;

/// For each partition that this node coordinates though it is no primary: the actor of its events.
///
/// A fallback does not know the partition's events, so it must fill with no base, and a container's vector claims *all* earlier events of an
/// actor on the key. So it never makes two events of one actor on a key without knowing the first:
///
/// ```text
/// (none) ──first event──▶ Tenure of a new actor ──everything delivered, or a key's earlier event is not at hand, or too many keys──▶ (none)
/// ```
///
/// What was made in a tenure lives in the hints for all the primaries, each of which holds the key's whole past in the tenure. While
/// one of them is there the next event builds on it. If none is, all are delivered, and a new tenure begins. So does one at each
/// start: an actor that makes no more events needs no memory.
#[derive(Debug)]
pub struct Tenures {
    node: NodeId,
    random: ChaCha8Rng,
    open: BTreeMap<PartitionId, Tenure>,
    /// Keys remembered in all tenures, to bound them.
    keys: usize,
}

/// The events of one actor on one partition.
#[derive(Debug)]
struct Tenure {
    actor: Actor,
    counter: u64,
    /// Of each key its last event.
    last: BTreeMap<ObjectKey, u64>,
}

impl Tenures {
    /// No tenure; their actors are drawn from this generator.
    pub const fn new(node: NodeId, random: ChaCha8Rng) -> Self {
        Self { node, random, open: BTreeMap::new(), keys: 0 }
    }

    /// The dot that the next event on a key gets, of which all is known that this vector covers. It is made with [`Self::issued`], or
    /// not at all: then the next one gets this dot, so that no gap is left that nothing could ever fill.
    pub fn next(&mut self, partition: PartitionId, key: &ObjectKey, known: &VersionVector) -> Dot {
        let forgotten = self.open.get(&partition).is_some_and(|tenure| {
            tenure.last.get(key).is_some_and(|last| !known.covers(&Dot::new(tenure.actor, *last)))
        });
        if forgotten {
            self.end(partition);
        }
        if TENURE_KEYS_MAX <= self.keys {
            (self.open, self.keys) = (BTreeMap::new(), 0);
        }
        let (node, random) = (self.node, &mut self.random);
        let tenure = self.open.entry(partition).or_insert_with(|| Tenure {
            actor: Actor::new(node, Incarnation::new(random.random())),
            counter: 0,
            last: BTreeMap::new(),
        });
        Dot::new(tenure.actor, tenure.counter + 1)
    }

    /// The event with the dot of [`Self::next`] is made.
    pub fn issued(&mut self, partition: PartitionId, key: &ObjectKey, dot: Dot) {
        if let Some(tenure) = self.open.get_mut(&partition).filter(|tenure| tenure.actor == dot.actor) {
            assert_eq!(tenure.counter + 1, dot.counter, "an actor's events are made in order");
            tenure.counter = dot.counter;
            self.keys += usize::from(tenure.last.insert(key.clone(), dot.counter).is_none());
        }
    }

    /// Ends a partition's tenure: its actor makes no more events.
    pub fn end(&mut self, partition: PartitionId) {
        if let Some(tenure) = self.open.remove(&partition) {
            self.keys -= tenure.last.len();
        }
    }

    /// Whether a partition's tenure is this actor's.
    pub fn is_open(&self, partition: PartitionId, actor: Actor) -> bool {
        self.open.get(&partition).is_some_and(|tenure| tenure.actor == actor)
    }

    /// The partitions that have one.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.open.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ring::{BucketName, Key};
    use rand::SeedableRng;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(&BucketName::new("b").expect("valid"), &Key::new(name.to_owned()).expect("valid"))
    }

    fn issue(tenures: &mut Tenures, partition: PartitionId, key: &ObjectKey, known: &VersionVector) -> Dot {
        let dot = tenures.next(partition, key, known);
        tenures.issued(partition, key, dot);
        dot
    }

    fn tenures() -> Tenures {
        Tenures::new(NodeId::new(4).expect("not 0"), ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn one_actor_makes_the_events_of_a_partition_while_each_key_s_last_is_known() {
        let (mut tenures, partition, nothing) = (tenures(), PartitionId::new(1), VersionVector::new());
        let first = issue(&mut tenures, partition, &key("a"), &nothing);
        let second = issue(&mut tenures, partition, &key("b"), &nothing);
        assert_eq!((first.counter, second), (1, Dot::new(first.actor, 2)));
        let known: VersionVector = [first].into_iter().collect();
        assert_eq!(issue(&mut tenures, partition, &key("a"), &known), Dot::new(first.actor, 3));
        assert_ne!(issue(&mut tenures, PartitionId::new(2), &key("c"), &nothing).actor, first.actor);
    }

    #[test]
    fn an_event_on_a_key_whose_last_one_is_not_known_is_another_actor_s() {
        let (mut tenures, partition, nothing) = (tenures(), PartitionId::new(1), VersionVector::new());
        let first = issue(&mut tenures, partition, &key("a"), &nothing);
        let second = issue(&mut tenures, partition, &key("a"), &nothing);
        assert!(second.actor != first.actor && second.counter == 1);
    }

    #[test]
    fn an_actor_whose_tenure_is_over_is_never_used_again() {
        let (mut tenures, partition, nothing) = (tenures(), PartitionId::new(1), VersionVector::new());
        let first = issue(&mut tenures, partition, &key("a"), &nothing);
        tenures.end(partition);
        assert_eq!(tenures.partitions().count(), 0);
        assert_ne!(issue(&mut tenures, partition, &key("b"), &nothing).actor, first.actor);
    }

    #[test]
    fn an_event_that_is_not_made_leaves_no_gap() {
        let (mut tenures, partition, nothing) = (tenures(), PartitionId::new(1), VersionVector::new());
        let given_up = tenures.next(partition, &key("a"), &nothing);
        assert_eq!(issue(&mut tenures, partition, &key("b"), &nothing), given_up);
    }
}
