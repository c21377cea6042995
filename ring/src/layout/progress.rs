//! How far a node is on the way from epoch to epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::EpochId;
use crate::NodeId;

/// How far a node is. Only the node itself says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Progress {
    // First, for the order goes by it.
    /// Rises with each change.
    pub sequence: u64,
    /// Its writes go to all live epochs up to this one.
    pub acknowledged: EpochId,
    /// It holds all that it is to hold up to this one.
    pub synced: EpochId,
    /// It reads by this one, or one after it.
    pub reading: EpochId,
}

/// Takes over what nodes said later. `true` if that is anything.
pub(super) fn merge(known: &mut BTreeMap<NodeId, Progress>, others: &BTreeMap<NodeId, Progress>) -> bool {
    let mut changed = false;
    for (node, progress) in others {
        if known.get(node).is_none_or(|known| known < progress) {
            known.insert(*node, *progress);
            changed = true;
        }
    }
    changed
}
