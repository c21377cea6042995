//! O5: each replica's siblings are exactly the maximal elements of what was delivered to it.
//!
//! Seen from outside a replica: what it is sent, what it has stored, and what it says it has stored. None of its siblings is from
//! elsewhere, none is in the past of another (O4), one that is gone was overwritten by a write that had seen it or has expired
//! (O3), and so was one that was acknowledged and is not there; and none that is gone comes back (O9). The same holds of what a node
//! keeps for another: each of its hints is as a replica of its own, until it is handed over.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::version::{Container, Dot};
use quorate_ring::wire::ExchangeId;
use quorate_ring::{NodeId, ObjectKey, StoredValue};

use super::truth::{Truth, WriteId};
use super::{Oracle, Violation, concurrency, dominance};

/// A value of a replica: its event, and its write.
type Held = (Dot, WriteId);
/// A node, whom it keeps it for if it is a hint, and a key.
type Place = (NodeId, Option<NodeId>, ObjectKey);
/// What a replica was asked to store.
type Asked = (Place, Vec<Held>);

/// What every replica of every key was sent, and holds.
#[derive(Clone, Debug, Default)]
pub struct Replicas {
    held: BTreeMap<Place, Vec<Held>>,
    /// Of a node's hints for whomever together: one that makes an event builds on all that it has.
    delivered: BTreeMap<(NodeId, bool, ObjectKey), BTreeSet<Dot>>,
    /// What a process has dropped; what its store forgets when it ends badly is another matter.
    dropped: BTreeMap<Place, BTreeSet<Dot>>,
    /// What disks have lost, and processes not written since.
    lost: BTreeSet<Place>,
    /// Places of replicas that were removed: what is stored there next begins with nothing.
    released: BTreeSet<Place>,
    /// By who asked for it, and the number of the question.
    asked: BTreeMap<(NodeId, ExchangeId, NodeId), Vec<Asked>>,
}

impl Replicas {
    /// A process starts on what its store holds.
    pub fn start(
        &mut self,
        node: NodeId,
        stored: impl Iterator<Item = (Option<NodeId>, ObjectKey, Container<StoredValue>)>,
    ) {
        self.held.retain(|(known, ..), _| *known != node);
        self.dropped.retain(|(known, ..), _| *known != node);
        self.held.extend(stored.map(|(hint_for, key, container)| ((node, hint_for, key), values(&container))));
    }

    /// A replica is sent a container, and asked for an answer if there is an exchange.
    pub fn deliver(
        &mut self,
        to: NodeId,
        from: Option<(NodeId, ExchangeId)>,
        (hint_for, key): (Option<NodeId>, &ObjectKey),
        sent: &Container<StoredValue>,
    ) {
        self.delivered.entry((to, hint_for.is_some(), key.clone())).or_default().extend(sent.dots());
        if let Some((from, exchange)) = from {
            let place = (to, hint_for, key.clone());
            self.asked.entry((from, exchange, to)).or_default().push((place, values(sent)));
        }
    }

    /// A replica's disk has lost a key, or cannot read it any more: what it stores of it next may lack what it held, with nobody's doing, and
    /// have what it had dropped.
    pub fn lose(&mut self, node: NodeId, key: &ObjectKey) {
        let place = (node, None, key.clone());
        self.dropped.remove(&place);
        self.lost.insert(place);
    }

    /// A node holds no replica of a key any more: should it hold one again, that begins with nothing.
    pub fn release(&mut self, node: NodeId, key: &ObjectKey) {
        let place = (node, None, key.clone());
        self.dropped.remove(&place);
        self.released.insert(place);
    }

    /// A node has handed a hint over, and does not keep it any more.
    pub fn drop_hint(&mut self, node: NodeId, target: NodeId, key: ObjectKey) {
        let place = (node, Some(target), key);
        self.held.remove(&place);
        // The next hint of the key knows nothing of this one.
        self.dropped.remove(&place);
    }

    /// A replica has a container stored; `None` if it has the key's entry removed. Gives the writes that it drops with this.
    ///
    /// # Errors
    /// If that is not what it should hold.
    pub fn store(
        &mut self,
        truth: &Truth,
        node: NodeId,
        (hint_for, key): (Option<NodeId>, ObjectKey),
        stored: Option<&Container<StoredValue>>,
    ) -> Result<Vec<WriteId>, Violation> {
        let now = stored.map(values).unwrap_or_default();
        let delivered = |as_hint: bool| self.delivered.get(&(node, as_hint, key.clone()));
        // What it kept for another it hands to itself, should it come to hold the partition.
        let delivered: Vec<_> = delivered(hint_for.is_some()).into_iter().chain(delivered(true)).collect();
        let place = (node, hint_for, key);
        let before = self.held.get(&place).map_or(&[][..], Vec::as_slice);
        let wrong = |what: String| Err(Violation::new(Oracle::Maximal, format_args!("{node}, {:?}: {what}", place.2)));
        for (dot, id) in &now {
            let known = dot.actor.node == node
                || delivered.iter().any(|delivered| delivered.contains(dot))
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
        let anew = self.released.remove(&place);
        let before = if anew { &[][..] } else { before };
        let gone: Vec<Held> = before.iter().filter(|(dot, _)| find(&now, *dot).is_none()).copied().collect();
        if !self.lost.remove(&place) {
            dominance::check(truth, gone.iter().map(|(_, id)| *id))?;
        }
        if !gone.is_empty() {
            self.dropped.entry(place.clone()).or_default().extend(gone.iter().map(|(dot, _)| *dot));
        }
        self.held.insert(place, now);
        Ok(gone.into_iter().map(|(_, id)| id).collect())
    }

    /// A replica says that it has stored so many of what it was asked to, from the first.
    ///
    /// # Errors
    /// If it has not.
    pub fn acknowledge(
        &mut self,
        truth: &Truth,
        node: NodeId,
        to: NodeId,
        exchange: ExchangeId,
        stored: usize,
    ) -> Result<(), Violation> {
        let asked = self.asked.remove(&(to, exchange, node)).unwrap_or_default();
        for (place, asked) in asked.into_iter().take(stored) {
            let held = self.held.get(&place).map_or(&[][..], Vec::as_slice);
            let missing = asked
                .iter()
                .find(|(dot, id)| find(held, *dot).is_none() && !truth.is_overwritten(*id) && !truth.has_expired(*id));
            if let Some((_, id)) = missing {
                let what = format!("{node}, {:?}: {id:?} is acknowledged and not there", place.2);
                return Err(Violation::new(Oracle::Maximal, what));
            }
        }
        Ok(())
    }

    /// Whether what a node was asked to keep for another waits for its answer.
    pub fn is_hint(&self, asked_by: NodeId, exchange: ExchangeId, node: NodeId) -> bool {
        let asked = self.asked.get(&(asked_by, exchange, node));
        asked.is_some_and(|asked| asked.iter().any(|((_, hint_for, _), _)| hint_for.is_some()))
    }
}

/// Values are in the order of their dots.
fn find(held: &[Held], dot: Dot) -> Option<usize> {
    held.binary_search_by_key(&dot, |(dot, _)| *dot).ok()
}

fn values(container: &Container<StoredValue>) -> Vec<Held> {
    container.values().filter_map(|(dot, stored)| Some((*dot, WriteId::of(&stored.value)?))).collect()
}
