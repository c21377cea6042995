//! Rings that were committed, and which of two histories of them counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Change, Wish};
use crate::{NodeId, Ring};

/// Which epoch. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpochId {
    /// How many there were before it, and itself.
    pub number: u64,
    /// Over all that makes it, the epochs before it among that: two that are equal have the same history.
    pub hash: u64,
}

/// A ring that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    before: EpochId,
    id: EpochId,
    /// Who owns what.
    pub ring: Arc<Ring>,
    /// What was wished of each node that ever had a role.
    fulfils: BTreeMap<NodeId, Wish>,
    /// How many of them were removed by force.
    removed: usize,
}

impl Epoch {
    pub(super) fn new(before: EpochId, ring: Arc<Ring>, fulfils: BTreeMap<NodeId, Wish>) -> Self {
        let mut encoded = Vec::new();
        encoded.extend(before.number.to_le_bytes());
        encoded.extend(before.hash.to_le_bytes());
        encoded.extend(ring.fingerprint().to_le_bytes());
        for (node, Wish { stamp, change }) in &fulfils {
            encoded.extend(node.number().to_le_bytes());
            encoded.extend(stamp.counter.to_le_bytes());
            encoded.extend(stamp.by.number().to_le_bytes());
            match change {
                // Zone and capacity are in the ring's fingerprint.
                Change::Take(role) => {
                    encoded.push(0);
                    encoded.extend((role.address.len() as u64).to_le_bytes());
                    encoded.extend(role.address.as_bytes());
                }
                Change::Leave { forced } => encoded.push(1 + u8::from(*forced)),
            }
        }
        let id = EpochId { number: before.number.saturating_add(1), hash: xxh3_64(&encoded) };
        let removed = fulfils.values().filter(|wish| wish.change.is_forced()).count();
        Self { before, id, ring, fulfils, removed }
    }

    /// Which one it is.
    pub const fn id(&self) -> EpochId {
        self.id
    }

    /// Which one was before it; none before the first.
    pub const fn before(&self) -> EpochId {
        self.before
    }

    /// Its place in the history, from 1.
    pub const fn number(&self) -> u64 {
        self.id.number
    }

    /// What was wished of a node when this was committed; nothing of one that never had a role.
    pub fn wish(&self, node: NodeId) -> Option<&Wish> {
        self.fulfils.get(&node)
    }

    /// What was wished of each node, by rising node.
    pub fn wishes(&self) -> impl Iterator<Item = (NodeId, &Wish)> {
        self.fulfils.iter().map(|(node, wish)| (*node, wish))
    }

    pub(super) const fn fulfils(&self) -> &BTreeMap<NodeId, Wish> {
        &self.fulfils
    }

    /// What the next epoch has of a node of which this is wished: who was removed by force stays so.
    pub(super) fn next<'a>(&'a self, node: NodeId, wish: &'a Wish) -> &'a Wish {
        self.wish(node).filter(|fulfilled| fulfilled.change.is_forced()).unwrap_or(wish)
    }

    /// How many nodes were removed by force, by this epoch or one before it.
    pub(super) const fn removed(&self) -> usize {
        self.removed
    }

    /// Whether a node was removed by force, by this epoch or one before it.
    pub(super) fn is_removed(&self, node: NodeId) -> bool {
        self.wish(node).is_some_and(|wish| wish.change.is_forced())
    }

    /// Whether the next epoch has something else of a node than this has.
    pub(super) fn differs_from(&self, node: NodeId, wish: &Wish) -> bool {
        match self.wish(node) {
            Some(fulfilled) => fulfilled.change != self.next(node, wish).change,
            None => matches!(wish.change, Change::Take(_)),
        }
    }
}

/// The live epochs of a copy, from the oldest, or what has their ids.
pub(super) struct History<'a, T> {
    pub(super) epochs: &'a [T],
    /// How many nodes the last of them has removed by force.
    pub(super) removed: usize,
}

impl<'a> History<'a, Arc<Epoch>> {
    pub(super) fn of(epochs: &'a [Arc<Epoch>]) -> Self {
        Self { epochs, removed: epochs.last().map_or(0, |last| last.removed) }
    }
}

/// The history that counts, from the first epoch that neither side has dropped.
pub(super) fn join<T: Clone>(one: &History<'_, T>, other: &History<'_, T>, id: impl Fn(&T) -> EpochId) -> Vec<T> {
    let first = |history: &History<'_, T>| history.epochs.first().map_or(0, |epoch| id(epoch).number);
    let oldest = first(one).max(first(other));
    let rank = |history: &History<'_, T>| {
        let live = history.epochs.iter().filter(|epoch| oldest <= id(epoch).number).cloned().collect::<Vec<_>>();
        // One that ended before what the other has dropped loses. Then the one counts that has removed more by force; then, where they first
        // differ, the greater; if they do not, the longer.
        let ids: Vec<EpochId> = live.iter().map(&id).collect();
        ((!live.is_empty(), history.removed, ids), live)
    };
    let ((one, one_live), (other, other_live)) = (rank(one), rank(other));
    if one < other { other_live } else { one_live }
}
