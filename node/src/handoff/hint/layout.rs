//! How hints are stored, in [`crate::storage::Column::Hints`].
//!
//! | key | value |
//! |---|---|
//! | node the hint is for (4 bytes), position (8), object key | format, filled container, events |
//!
//! Numbers are big-endian, so that what is kept for a node lies in ring order, and each partition's is one contiguous range.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_ring::version::{Container, Dot};
use quorate_ring::{NodeId, ObjectKey, PartitionCount, PartitionId, Position, StoredValue};
use serde::{Deserialize, Serialize};

use crate::replica::layout::{self, Damaged};

const TARGET_BYTES: usize = 4;

/// What is kept of a key for a node: all that was written while it was away, merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHint {
    /// Filled; its vector covers the events.
    pub container: Container<StoredValue>,
    /// The events that were not delivered, beside those of the container's values.
    pub dots: Vec<Dot>,
}

impl StoredHint {
    /// Takes in a further write of the key.
    pub fn merge(&mut self, container: Container<StoredValue>, dots: impl IntoIterator<Item = Dot>) {
        self.container.sync(container);
        for dot in dots {
            if let Err(place) = self.dots.binary_search(&dot) {
                self.dots.insert(place, dot);
            }
        }
    }
}

/// Where a hint is stored.
pub fn place(target: NodeId, key: &ObjectKey) -> Bytes {
    at(target, &layout::object(key))
}

/// The first place behind a hint's.
pub fn behind(target: NodeId, key: &ObjectKey) -> Bytes {
    at(target, &layout::behind(key))
}

/// The range of what is kept for a node of a partition: the first place, and the first behind it.
pub fn partition(target: NodeId, count: PartitionCount, partition: PartitionId) -> (Bytes, Bytes) {
    let (from, until) = layout::partition(count, partition);
    let until = until.map_or_else(|| behind_all(target), |until| at(target, &until));
    (at(target, &from), until)
}

/// The first place of a position or behind it.
pub fn from_position(target: NodeId, position: Position) -> Bytes {
    at(target, &position.point().to_be_bytes())
}

/// The first place behind everything that is kept for a node.
pub fn behind_all(target: NodeId) -> Bytes {
    match target.number().checked_add(1) {
        Some(next) => Bytes::copy_from_slice(&next.to_be_bytes()),
        // No place is as long and as high as this.
        None => Bytes::from_static(&[u8::MAX; 64]),
    }
}

/// Whose hint is stored in a place, and of which key.
///
/// # Errors
/// That it is none.
pub fn target_and_key(place: &Bytes) -> Result<(NodeId, ObjectKey), Damaged> {
    let damaged = |reason: String| Damaged { what: "hint's key", reason };
    let (target, _) = place.split_first_chunk::<TARGET_BYTES>().ok_or_else(|| damaged("too short".to_owned()))?;
    let target = NodeId::new(u32::from_be_bytes(*target)).ok_or_else(|| damaged("it is for no node".to_owned()))?;
    Ok((target, layout::object_key(&place.slice(TARGET_BYTES..))?))
}

/// Encodes a hint.
pub fn encode(hint: &StoredHint) -> Bytes {
    layout::encode(hint)
}

/// Decodes a stored hint.
///
/// # Errors
/// [`Damaged`] with what was wrong.
pub fn decode(bytes: &[u8]) -> Result<StoredHint, Damaged> {
    layout::decode("hint", bytes)
}

fn at(target: NodeId, place: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(TARGET_BYTES + place.len());
    bytes.put_u32(target.number());
    bytes.put_slice(place);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ring::{BucketName, Key};

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    #[test]
    fn a_hint_lies_in_its_node_s_range_of_its_partition_and_gives_its_key_back() {
        let count = PartitionCount::new(8).expect("valid");
        for target in [node(1), node(300), node(u32::MAX)] {
            for number in 0..100 {
                let bucket = BucketName::new("b").expect("valid");
                let key = ObjectKey::new(&bucket, &Key::new(format!("key {number}")).expect("valid"));
                let stored = place(target, &key);
                let (first, end) = partition(target, count, count.partition_of(Position::of(&key)));
                assert!(first <= stored && stored < end && stored < behind(target, &key));
                assert!(from_position(target, Position::of(&key)) <= stored && stored < behind_all(target));
                assert_eq!(target_and_key(&stored), Ok((target, key)));
            }
        }
    }

    #[test]
    fn a_place_that_is_no_hint_s_is_damage() {
        for bytes in 0..12 {
            assert!(target_and_key(&Bytes::from(vec![1; bytes])).is_err(), "{bytes} bytes");
        }
        assert!(target_and_key(&Bytes::from(vec![0; 20])).is_err());
    }
}
