//! What is wanted of a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Capacity, Member, NodeId, ZoneName};

/// What a node is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Role {
    /// Where it is reached, as `host:port` (UDP).
    pub address: String,
    /// What it shares its fate with. Without one it counts as a zone of its own.
    pub zone: Option<ZoneName>,
    /// How much it holds beside its peers.
    pub capacity: Capacity,
}

/// What is wanted of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Change {
    /// To take part as this.
    Take(Role),
    /// To take no part.
    Leave {
        /// It is dead: nobody waits for what it would say. Once that is committed it stays so, whatever is wished of the node later; were
        /// it alive on another side of a split, what it commits there loses.
        forced: bool,
    },
}

impl Change {
    /// Whether a node is removed by force.
    pub(super) const fn is_forced(&self) -> bool {
        matches!(self, Self::Leave { forced: true })
    }
}

/// When something was wished: after all that whoever wished it knew of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// One more than the greatest that was known.
    pub counter: u64,
    /// At which node.
    pub by: NodeId,
}

/// A wish. Of two of the same node the later one counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wish {
    // First, for the order goes by it.
    /// When it was made.
    pub stamp: Stamp,
    /// What it is.
    pub change: Change,
}

impl Role {
    /// As a member of a ring.
    pub(super) fn member(&self, node: NodeId) -> Member {
        Member { node, zone: self.zone.clone(), capacity: self.capacity }
    }
}

/// Takes over wishes that are later ones. `true` if any is. Two with one stamp, which a node makes that has forgotten the first, are told apart by
/// what they are.
pub(super) fn merge(known: &mut Arc<BTreeMap<NodeId, Wish>>, others: &BTreeMap<NodeId, Wish>) -> bool {
    let is_later = |(node, wish): &(&NodeId, &Wish)| known.get(*node).is_none_or(|known| known < *wish);
    let later: Vec<(NodeId, Wish)> = others.iter().filter(is_later).map(|(node, wish)| (*node, wish.clone())).collect();
    if later.is_empty() {
        return false;
    }
    Arc::make_mut(known).extend(later);
    true
}

/// What tells wishes from others. It is sent: the same wherever it is made.
pub(super) fn hash_of(wishes: &BTreeMap<NodeId, Wish>) -> u64 {
    xxh3_64(&rmp_serde::to_vec(wishes).expect("wishes can be encoded"))
}
