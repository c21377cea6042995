//! What one copy of a layout has that another one lacks: so two come to the same, and little more is sent than that in which they differ.
//!
//! One side says what it has, in short ([`Summary`]); the other gives what is missing there ([`Delta`]). A copy that takes a delta which was made
//! for it, or for an earlier state of it, is as if it had taken the whole copy ([`Layout::merge`]), or ignores all of it: where an epoch that it
//! had has lost against a rival meanwhile, the delta builds on what is gone. Whoever compares again later finds what is still missing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::encoded::{self, EncodedEpoch, InvalidLayout};
use super::epoch::{self, History};
use super::{Epoch, EpochId, Layout, Progress, Wish};
use crate::NodeId;
use crate::limits::{LIVE_EPOCHS_MAX, NODES_MAX};
use crate::wire::bounded::at_most;

/// What a copy of a layout has, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The live epochs, from the oldest.
    #[serde(deserialize_with = "at_most::<LIVE_EPOCHS_MAX, _, _>")]
    epochs: Vec<EpochId>,
    /// How many nodes the last of them has removed by force.
    removed: usize,
    /// Over all wishes.
    wishes: u64,
    #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
    progress: Vec<(NodeId, Said)>,
}

/// Which progress a node has told of. One that lost its disk may tell of another under a sequence that it used before: the hash tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    sequence: u64,
    hash: u32,
}

/// What a copy of a layout has that another one lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EncodedDelta")]
pub struct Delta {
    /// Its live epochs, from the oldest.
    ids: Vec<EpochId>,
    /// Those of them that the other one does not have.
    #[serde(serialize_with = "encoded::epochs")]
    epochs: Vec<Arc<Epoch>>,
    /// All, if the other one has others.
    #[serde(serialize_with = "encoded::pairs")]
    wishes: BTreeMap<NodeId, Wish>,
    /// What the other one does not know, or knows an earlier one of.
    #[serde(serialize_with = "encoded::pairs")]
    progress: BTreeMap<NodeId, Progress>,
}

#[derive(Deserialize)]
struct EncodedDelta {
    #[serde(deserialize_with = "at_most::<LIVE_EPOCHS_MAX, _, _>")]
    ids: Vec<EpochId>,
    #[serde(deserialize_with = "at_most::<LIVE_EPOCHS_MAX, _, _>")]
    epochs: Vec<EncodedEpoch>,
    #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
    wishes: Vec<(NodeId, Wish)>,
    #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
    progress: Vec<(NodeId, Progress)>,
}

impl Layout {
    /// What this copy has, in short.
    pub fn summary(&self) -> Summary {
        Summary {
            epochs: self.ids().collect(),
            removed: self.history().removed,
            wishes: self.wishes_hash,
            progress: self.progress.iter().map(|(node, progress)| (*node, Said::of(progress))).collect(),
        }
    }

    /// What this copy has that one with this summary lacks; nothing if it lacks nothing.
    pub fn delta(&self, other: &Summary) -> Option<Delta> {
        let said: BTreeMap<NodeId, Said> = other.progress.iter().copied().collect();
        let is_new = |(node, progress): &(&NodeId, &Progress)| said.get(*node).is_none_or(|said| said.lacks(progress));
        let progress: BTreeMap<_, _> = self.progress.iter().filter(is_new).map(|(node, new)| (*node, *new)).collect();
        let ids: Vec<EpochId> = self.ids().collect();
        let have_other_wishes = other.wishes != self.wishes_hash;
        let lacks_epochs = epoch::join(&other.history(), &self.history_of(&ids), |id| *id) != other.epochs;
        if !lacks_epochs && !have_other_wishes && progress.is_empty() {
            return None;
        }
        let is_unknown = |epoch: &&Arc<Epoch>| !other.epochs.contains(&epoch.id());
        let epochs = self.epochs.iter().filter(is_unknown).cloned().collect();
        let wishes = if have_other_wishes { self.wishes.as_ref().clone() } else { BTreeMap::new() };
        Some(Delta { ids, epochs, wishes, progress })
    }

    /// Whether a copy with this summary has, or may have, something that this one lacks.
    pub fn lacks(&self, other: &Summary) -> bool {
        let ids: Vec<EpochId> = self.ids().collect();
        let is_new = |(node, said): &(NodeId, Said)| self.progress.get(node).is_none_or(|known| said.is_new_to(known));
        other.wishes != self.wishes_hash
            || epoch::join(&self.history_of(&ids), &other.history(), |id| *id) != ids
            || other.progress.iter().any(is_new)
    }

    /// Takes over what a delta has and this copy does not, or nothing at all if it builds on an epoch that is not here. `true` if this copy changes.
    pub fn apply(&mut self, delta: &Delta) -> bool {
        self.resolved(delta).is_some_and(|epochs| self.join(&delta.wishes, &delta.progress, &epochs))
    }

    /// The history that a delta speaks of, as far as it is not older than all that is live here.
    fn resolved(&self, delta: &Delta) -> Option<Vec<Arc<Epoch>>> {
        let oldest = self.epochs[0].number();
        let found = |id: &EpochId| delta.epochs.iter().chain(&self.epochs).find(|epoch| epoch.id() == *id).cloned();
        let recent = delta.ids.iter().filter(|id| oldest <= id.number);
        let epochs: Vec<Arc<Epoch>> = recent.map(found).collect::<Option<_>>()?;
        epochs.windows(2).all(|pair| pair[1].before() == pair[0].id()).then_some(epochs)
    }

    /// This copy's history, of which these are the ids.
    fn history_of<'a>(&self, ids: &'a [EpochId]) -> History<'a, EpochId> {
        History { epochs: ids, removed: self.history().removed }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = EpochId> + use<'_> {
        self.epochs.iter().map(|epoch| epoch.id())
    }
}

impl Summary {
    fn history(&self) -> History<'_, EpochId> {
        History { epochs: &self.epochs, removed: self.removed }
    }
}

/// How much it is.
impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [epochs, wishes, progress] = [self.epochs.len(), self.wishes.len(), self.progress.len()];
        write!(f, "{epochs} epochs, {wishes} wishes, progress of {progress}")
    }
}

impl Said {
    fn of(progress: &Progress) -> Self {
        let Progress { sequence, acknowledged, synced, reading } = *progress;
        let mut encoded = [[0; 8]; 6];
        for (place, id) in encoded.chunks_exact_mut(2).zip([acknowledged, synced, reading]) {
            place.copy_from_slice(&[id.number.to_le_bytes(), id.hash.to_le_bytes()]);
        }
        let [.., a, b, c, d] = xxh3_64(encoded.as_flattened()).to_be_bytes();
        Self { sequence, hash: u32::from_be_bytes([a, b, c, d]) }
    }

    /// Whether whoever knows what was said then may learn something. Of two under one sequence it is not known which one counts.
    fn lacks(self, progress: &Progress) -> bool {
        self.sequence < progress.sequence || self.sequence == progress.sequence && self != Self::of(progress)
    }

    /// Whether what was said then may be news to who knows something.
    fn is_new_to(self, known: &Progress) -> bool {
        known.sequence < self.sequence || known.sequence == self.sequence && self != Self::of(known)
    }
}

impl TryFrom<EncodedDelta> for Delta {
    type Error = InvalidLayout;

    fn try_from(EncodedDelta { ids, epochs, wishes, progress }: EncodedDelta) -> Result<Self, InvalidLayout> {
        let decoded = |epoch: EncodedEpoch| epoch.decoded().map(Arc::new);
        Ok(Self {
            ids,
            epochs: epochs.into_iter().map(decoded).collect::<Result<_, _>>()?,
            wishes: encoded::checked(wishes)?,
            progress: progress.into_iter().collect(),
        })
    }
}
