//! A layout as it is sent and stored. What is read again is checked, so that whoever holds a layout may rely on it: rings that are rings, and
//! epochs of which each follows the one before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::{Change, Epoch, EpochId, Layout, Progress, Wish, wish};
use crate::limits::{ADDRESS_BYTES_MAX, LIVE_EPOCHS_MAX, NODES_MAX};
use crate::wire::bounded::{PARTITIONS_MAX, at_most};
use crate::{InvalidRing, Member, NodeId, PartitionCount, Ring};

/// Why bytes are no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLayout {
    /// There is no live epoch, or there are too many.
    #[error("{epochs} live epochs; a layout has 1 to {LIVE_EPOCHS_MAX}")]
    EpochCount {
        /// How many there were.
        epochs: usize,
    },
    /// An epoch does not follow the one before it.
    #[error("epoch {number} does not follow the one before it")]
    OutOfOrder {
        /// The first of which that is so.
        number: u64,
    },
    /// An epoch's ring is none.
    #[error("epoch {number}: {fault}")]
    Ring {
        /// Which epoch.
        number: u64,
        /// What is wrong.
        fault: InvalidRing,
    },
    /// A node's address is too long.
    #[error("the address of {node} has {bytes} bytes; it may have {ADDRESS_BYTES_MAX}")]
    Address {
        /// Whose.
        node: NodeId,
        /// How long it is.
        bytes: usize,
    },
}

#[derive(Deserialize)]
pub(super) struct Encoded {
    #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
    wishes: Vec<(NodeId, Wish)>,
    #[serde(deserialize_with = "at_most::<LIVE_EPOCHS_MAX, _, _>")]
    epochs: Vec<EncodedEpoch>,
    #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
    progress: Vec<(NodeId, Progress)>,
}

/// The members follow from the wishes, and the id from all of it.
#[derive(Clone, Deserialize)]
pub(super) struct EncodedEpoch {
    before: EpochId,
    partitions: PartitionCount,
    replicas: u8,
    #[serde(deserialize_with = "at_most::<PARTITIONS_MAX, _, _>")]
    owners: Vec<u16>,
    #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
    fulfils: Vec<(NodeId, Wish)>,
}

/// The same, as it is written.
#[derive(Serialize)]
struct WrittenEpoch<'a> {
    before: EpochId,
    partitions: PartitionCount,
    replicas: u8,
    owners: &'a [u16],
    #[serde(serialize_with = "pairs")]
    fulfils: &'a BTreeMap<NodeId, Wish>,
}

/// Writes a map as a list of pairs.
pub(super) fn pairs<T: Serialize, S: Serializer>(map: &BTreeMap<NodeId, T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map)
}

/// The same of one that is shared.
pub(super) fn shared_pairs<T: Serialize, S: Serializer>(
    map: &Arc<BTreeMap<NodeId, T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    pairs(map, serializer)
}

/// Writes epochs so that they can be read as [`EncodedEpoch`]s.
pub(super) fn epochs<S: Serializer>(epochs: &[Arc<Epoch>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(epochs.iter().map(|epoch| WrittenEpoch::of(epoch)))
}

impl TryFrom<Encoded> for Layout {
    type Error = InvalidLayout;

    fn try_from(Encoded { wishes, epochs, progress }: Encoded) -> Result<Self, InvalidLayout> {
        if epochs.is_empty() || LIVE_EPOCHS_MAX < epochs.len() {
            return Err(InvalidLayout::EpochCount { epochs: epochs.len() });
        }
        let epochs: Vec<Arc<Epoch>> =
            epochs.into_iter().map(|epoch| epoch.decoded().map(Arc::new)).collect::<Result<_, _>>()?;
        if let Some(pair) = epochs.windows(2).find(|pair| pair[1].before() != pair[0].id()) {
            return Err(InvalidLayout::OutOfOrder { number: pair[1].number() });
        }
        let wishes = checked(wishes)?;
        let wishes_hash = wish::hash_of(&wishes);
        Ok(Self { wishes: Arc::new(wishes), wishes_hash, epochs, progress: progress.into_iter().collect() })
    }
}

impl<'a> WrittenEpoch<'a> {
    fn of(epoch: &'a Epoch) -> Self {
        Self {
            before: epoch.before(),
            partitions: epoch.ring.partitions(),
            replicas: epoch.ring.replicas(),
            owners: epoch.ring.owners(),
            fulfils: epoch.fulfils(),
        }
    }
}

impl EncodedEpoch {
    pub(super) fn decoded(self) -> Result<Epoch, InvalidLayout> {
        let fulfils = checked(self.fulfils)?;
        let members: Vec<Member> = members(&fulfils).collect();
        let fault = |fault| InvalidLayout::Ring { number: self.before.number.saturating_add(1), fault };
        let ring = Ring::new(self.partitions, self.replicas, members, self.owners).map_err(fault)?;
        Ok(Epoch::new(self.before, Arc::new(ring), fulfils))
    }
}

/// Those who take part.
pub(super) fn members(wishes: &BTreeMap<NodeId, Wish>) -> impl Iterator<Item = Member> {
    wishes.iter().filter_map(|(node, wish)| match &wish.change {
        Change::Take(role) => Some(role.member(*node)),
        Change::Leave { .. } => None,
    })
}

pub(super) fn checked(wishes: Vec<(NodeId, Wish)>) -> Result<BTreeMap<NodeId, Wish>, InvalidLayout> {
    let bytes = |wish: &Wish| match &wish.change {
        Change::Take(role) => role.address.len(),
        Change::Leave { .. } => 0,
    };
    match wishes.iter().find(|(_, wish)| ADDRESS_BYTES_MAX < bytes(wish)) {
        Some((node, wish)) => Err(InvalidLayout::Address { node: *node, bytes: bytes(wish) }),
        None => Ok(wishes.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capacity;
    use crate::layout::Role;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn role(address: &str) -> Role {
        Role { address: address.to_owned(), zone: None, capacity: Capacity::default() }
    }

    /// Three nodes, then a fourth.
    fn encoded() -> Encoded {
        let roles = (1..=3).map(|number| (node(number), role("h:1"))).collect();
        let mut layout = Layout::new(PartitionCount::new(8).expect("a power of two"), 3, roles).expect("enough");
        layout.wish(node(1), node(4), Change::Take(role("h:4")));
        let proposed = layout.propose().expect("it can be").epoch.id();
        layout.commit(node(1), proposed).expect("it was proposed just now");
        layout.acknowledge(node(2));
        let bytes = rmp_serde::to_vec(&layout).expect("it can be encoded");
        rmp_serde::from_slice(&bytes).expect("it was encoded so")
    }

    fn fault(change: impl FnOnce(&mut Encoded)) -> String {
        let mut encoded = encoded();
        change(&mut encoded);
        Layout::try_from(encoded).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        assert!(Layout::try_from(encoded()).is_ok());
        assert_eq!(fault(|layout| layout.epochs.clear()), "0 live epochs; a layout has 1 to 8");
        assert_eq!(fault(|layout| layout.epochs.swap(0, 1)), "epoch 1 does not follow the one before it");
        let twice = fault(|layout| layout.epochs.push(layout.epochs[1].clone()));
        assert_eq!(twice, "epoch 2 does not follow the one before it");
        let other = fault(|layout| layout.epochs[0].owners.swap(0, 1));
        assert_eq!(other, "epoch 2 does not follow the one before it", "what is other has another id");
        let owner = fault(|layout| layout.epochs[1].owners[3] = 9);
        assert_eq!(owner, "epoch 2: partition p3 is assigned to member number 9, but there are only 4");
        let long = fault(|layout| layout.wishes[0].1.change = Change::Take(role(&"h".repeat(260))));
        assert_eq!(long, "the address of n1 has 260 bytes; it may have 259");
    }
}
