//! O5: each replica's siblings are exactly the maximal elements of what was delivered to it.
//!
//! Seen from outside a replica: what it is sent, what it has stored, and what it says it has stored. None of its siblings is from
//! elsewhere, none is in the past of another (O4), one that is gone was overwritten by a write that had seen it or has expired
//! (O3), and so was one that was acknowledged and is not there; and none that is gone comes back (O9).

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::version::{Container, Dot};
use quorate_ring::wire::ExchangeId;
use quorate_ring::{NodeId, ObjectKey, StoredValue};

use super::truth::{Truth, WriteId};
use super::{Oracle, Violation, concurrency, dominance};

/// A value of a replica: its event, and its write.
type Held = (Dot, WriteId);
/// A node, and a key.
type Place = (NodeId, ObjectKey);

/// What every replica of every key was sent, and holds.
#[derive(Clone, Debug, Default)]
pub struct Replicas {
    held: BTreeMap<Place, Vec<Held>>,
    delivered: BTreeMap<Place, BTreeSet<Dot>>,
    /// What a process has dropped; what its store forgets when it ends badly is another matter.
    dropped: BTreeMap<Place, BTreeSet<Dot>>,
    /// By who asked for it, and the number of the question: what a replica was asked to store.
    asked: BTreeMap<(NodeId, ExchangeId, NodeId), (ObjectKey, Vec<Held>)>,
}

impl Replicas {
    /// A process starts on what its store holds.
    pub fn start(&mut self, node: NodeId, stored: impl Iterator<Item = (ObjectKey, Container<StoredValue>)>) {
        self.held.retain(|(known, _), _| *known != node);
        self.dropped.retain(|(known, _), _| *known != node);
        self.held.extend(stored.map(|(key, container)| ((node, key), values(&container))));
    }

    /// A replica is sent a container, and asked for an answer if there is an exchange.
    pub fn deliver(
        &mut self,
        to: NodeId,
        from: Option<(NodeId, ExchangeId)>,
        key: &ObjectKey,
        sent: &Container<StoredValue>,
    ) {
        self.delivered.entry((to, key.clone())).or_default().extend(sent.dots());
        if let Some((from, exchange)) = from {
            self.asked.insert((from, exchange, to), (key.clone(), values(sent)));
        }
    }

    /// A replica has a container stored; `None` if it has the key's entry removed. Gives the writes that it drops with this.
    ///
    /// # Errors
    /// If that is not what it should hold.
    pub fn store(
        &mut self,
        truth: &Truth,
        node: NodeId,
        key: ObjectKey,
        stored: Option<&Container<StoredValue>>,
    ) -> Result<Vec<WriteId>, Violation> {
        let now = stored.map(values).unwrap_or_default();
        let place = (node, key);
        let before = self.held.get(&place).map_or(&[][..], Vec::as_slice);
        let delivered = self.delivered.get(&place);
        let wrong = |what: String| Err(Violation::new(Oracle::Maximal, format_args!("{node}, {:?}: {what}", place.1)));
        for (dot, id) in &now {
            let known = dot.actor.node == node
                || delivered.is_some_and(|delivered| delivered.contains(dot))
                || find(before, *dot).is_some();
            if !known {
                return wrong(format!("{id:?} was never delivered"));
            }
            if self.dropped.get(&place).is_some_and(|dropped| dropped.contains(dot)) {
                return wrong(format!("{id:?} was gone and has come back"));
            }
        }
        let writes: Vec<WriteId> = now.iter().map(|(_, id)| *id).collect();
        if let Some(first) = writes.first() {
            concurrency::check(truth, truth.write(*first).key, &writes)?;
        }
        let gone: Vec<Held> = before.iter().filter(|(dot, _)| find(&now, *dot).is_none()).copied().collect();
        dominance::check(truth, gone.iter().map(|(_, id)| *id))?;
        if !gone.is_empty() {
            self.dropped.entry(place.clone()).or_default().extend(gone.iter().map(|(dot, _)| *dot));
        }
        self.held.insert(place, now);
        Ok(gone.into_iter().map(|(_, id)| id).collect())
    }

    /// A replica says that it has stored what it was asked to.
    ///
    /// # Errors
    /// If it has not.
    pub fn acknowledge(
        &mut self,
        truth: &Truth,
        node: NodeId,
        to: NodeId,
        exchange: ExchangeId,
    ) -> Result<(), Violation> {
        let Some((key, asked)) = self.asked.remove(&(to, exchange, node)) else { return Ok(()) };
        let place = (node, key);
        let held = self.held.get(&place).map_or(&[][..], Vec::as_slice);
        let missing = asked
            .iter()
            .find(|(dot, id)| find(held, *dot).is_none() && !truth.is_overwritten(*id) && !truth.has_expired(*id));
        match missing {
            Some((_, id)) => {
                let what = format!("{node}, {:?}: {id:?} is acknowledged and not there", place.1);
                Err(Violation::new(Oracle::Maximal, what))
            }
            None => Ok(()),
        }
    }
}

/// Values are in the order of their dots.
fn find(held: &[Held], dot: Dot) -> Option<usize> {
    held.binary_search_by_key(&dot, |(dot, _)| *dot).ok()
}

fn values(container: &Container<StoredValue>) -> Vec<Held> {
    container.values().filter_map(|(dot, stored)| Some((*dot, WriteId::of(&stored.value)?))).collect()
}
