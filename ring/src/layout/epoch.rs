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
        Self { before, id, ring, fulfils }
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

    /// Whether something else is wished of a node than this has.
    pub(super) fn differs_from(&self, node: NodeId, wish: &Wish) -> bool {
        match self.wish(node) {
            Some(fulfilled) => fulfilled.change != wish.change,
            None => matches!(wish.change, Change::Take(_)),
        }
    }
}

/// The history that counts, from the first epoch that neither side has dropped: of epochs, or of what has their ids.
pub(super) fn join<T: Clone>(one: &[T], other: &[T], id: impl Fn(&T) -> EpochId) -> Vec<T> {
    let first = |epochs: &[T]| epochs.first().map_or(0, |epoch| id(epoch).number);
    let oldest = first(one).max(first(other));
    let from = |epochs: &[T]| epochs.iter().filter(|epoch| oldest <= id(epoch).number).cloned().collect::<Vec<_>>();
    let (one, other) = (from(one), from(other));
    // Where they first differ the greater one counts; if they do not, the longer.
    if one.iter().map(&id).lt(other.iter().map(&id)) { other } else { one }
}
