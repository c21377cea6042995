//! What a replica keeps in the store, and how it is encoded.
//!
//! | column | key | value |
//! |---|---|---|
//! | objects | position (8 bytes), object key | format, stripped container |
//! | dot log | partition (2), node (4), incarnation (8), counter (8) | object key |
//! | metadata | `c`, partition (2) | format, node clock |
//! | metadata | `p`, node (4) | format, incarnations met of a peer |
//! | metadata | `t`, partition (2) | format, incarnation of this node and that of the actor it is when it next holds the partition |
//! | metadata | `layout` | format, the node's copy of the layout |
//! | metadata | `identity` | see [`crate::start`] |
//! | hints | laid out by `handoff` | |
//!
//! Numbers are big-endian, so that a partition is one contiguous range and the log of an actor is in the order of its events.
//! Values are MessagePack behind one byte of format.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_ring::version::{Container, Dot, NodeClock};
use quorate_ring::{NodeId, ObjectKey, PartitionCount, PartitionId, Position, StoredValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format that this build writes.
const FORMAT: u8 = 1;
const POSITION_BYTES: usize = 8;
/// About what a value's dot, lengths and the vector take when encoded.
const VALUE_OVERHEAD_BYTES: usize = 96;
const CLOCK_PREFIX: u8 = b'c';
const PEER_PREFIX: u8 = b'p';
const TENURE_PREFIX: u8 = b't';
const COPY_KEY: &[u8] = b"layout";

/// Bytes in the store that are not what this build writes: damage, or a newer release's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged {what}: {reason}")]
pub struct Damaged {
    /// What should have been there.
    pub what: &'static str,
    /// What was wrong.
    pub reason: String,
}

/// Where an object is stored.
pub fn object(key: &ObjectKey) -> Bytes {
    object_at(Position::of(key), key)
}

fn object_at(position: Position, key: &ObjectKey) -> Bytes {
    let mut bytes = BytesMut::with_capacity(POSITION_BYTES + key.encoded().len());
    bytes.put_u64(position.point());
    bytes.put_slice(key.encoded());
    bytes.freeze()
}

/// The first place behind an object's.
pub fn behind(key: &ObjectKey) -> Bytes {
    let mut bytes = BytesMut::with_capacity(POSITION_BYTES + key.encoded().len() + 1);
    bytes.put_u64(Position::of(key).point());
    bytes.put_slice(key.encoded());
    bytes.put_u8(0);
    bytes.freeze()
}

/// Which object is stored in a place.
pub fn object_key(place: &Bytes) -> Result<ObjectKey, Damaged> {
    let damaged = |reason: String| Damaged { what: "object's key", reason };
    let parts = place.split_at_checked(POSITION_BYTES);
    let (_, encoded) = parts.ok_or_else(|| damaged(format!("{} bytes", place.len())))?;
    ObjectKey::decode(place.slice_ref(encoded)).map_err(|error| damaged(error.to_string()))
}

/// The range of a partition's objects: its first place, and the first behind it if there is one.
pub fn partition(count: PartitionCount, partition: PartitionId) -> (Bytes, Option<Bytes>) {
    let place = |position: u64| Bytes::copy_from_slice(&position.to_be_bytes());
    let end = count.last_position(partition).point().checked_add(1);
    (place(count.first_position(partition).point()), end.map(place))
}

/// A place behind those of all objects: behind the position is the length of a bucket's name, which is short.
pub fn behind_all() -> Bytes {
    Bytes::from_static(&[u8::MAX; POSITION_BYTES + 1])
}

/// What follows the position in the place of every object of a bucket.
pub fn bucket_infix(bucket: &str) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + bucket.len());
    bytes.put_u8(u8::try_from(bucket.len()).expect("a bucket name has at most 64 bytes"));
    bytes.put_slice(bucket.as_bytes());
    bytes.freeze()
}

/// Where the log of a dot is stored.
pub fn dot_log(partition: PartitionId, dot: Dot) -> Bytes {
    let mut bytes = BytesMut::with_capacity(22);
    bytes.put_u16(partition.number());
    bytes.put_u32(dot.actor.node.number());
    bytes.put_u64(dot.actor.incarnation.number());
    bytes.put_u64(dot.counter);
    bytes.freeze()
}

/// The first place behind the log of a dot.
pub fn behind_dot(partition: PartitionId, dot: Dot) -> Bytes {
    let mut bytes = BytesMut::from(&dot_log(partition, dot)[..]);
    bytes.put_u8(0);
    bytes.freeze()
}

/// Where a partition's clock is stored.
pub fn clock(partition: PartitionId) -> Bytes {
    of_partition(CLOCK_PREFIX, partition)
}

/// Whose clock is stored in a place, if it is a clock's.
pub fn clock_partition(place: &[u8]) -> Option<PartitionId> {
    partition_at(CLOCK_PREFIX, place)
}

/// Where the incarnations met of a peer are stored.
pub fn peer(node: NodeId) -> Bytes {
    let [a, b, c, d] = node.number().to_be_bytes();
    Bytes::copy_from_slice(&[PEER_PREFIX, a, b, c, d])
}

/// Where it is stored as what actor this node makes the events of a partition that it holds again.
pub fn tenure(partition: PartitionId) -> Bytes {
    of_partition(TENURE_PREFIX, partition)
}

/// Which partition's actor is stored in a place, if it is such.
pub fn tenure_partition(place: &[u8]) -> Option<PartitionId> {
    partition_at(TENURE_PREFIX, place)
}

fn of_partition(prefix: u8, partition: PartitionId) -> Bytes {
    let [high, low] = partition.number().to_be_bytes();
    Bytes::copy_from_slice(&[prefix, high, low])
}

fn partition_at(prefix: u8, place: &[u8]) -> Option<PartitionId> {
    match place {
        [first, high, low] if *first == prefix => Some(PartitionId::new(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// The first place of a partition's log, and one behind all of them.
pub fn dot_logs(partition: PartitionId) -> (Bytes, Bytes) {
    let mut behind = BytesMut::from(&partition.number().to_be_bytes()[..]);
    let first = behind.clone().freeze();
    behind.put_slice(&[u8::MAX; 21]);
    (first, behind.freeze())
}

/// Where the node's copy of the layout is stored.
pub fn copy() -> Bytes {
    Bytes::from_static(COPY_KEY)
}

/// Whose incarnations are stored in a place, if it is a peer's.
pub fn peer_node(place: &[u8]) -> Option<NodeId> {
    match place {
        [PEER_PREFIX, a, b, c, d] => NodeId::new(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

/// Encodes a container.
pub fn encode_container(container: &Container<StoredValue>) -> Bytes {
    let values: usize =
        container.values().map(|(_, stored)| stored.value.as_bytes().len() + VALUE_OVERHEAD_BYTES).sum();
    encode_sized(container, values + VALUE_OVERHEAD_BYTES)
}

/// Encodes what is stored.
pub fn encode<T: Serialize>(stored: &T) -> Bytes {
    encode_sized(stored, VALUE_OVERHEAD_BYTES)
}

/// `bytes_about` spares the buffer from growing step by step.
fn encode_sized<T: Serialize>(stored: &T, bytes_about: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(bytes_about);
    bytes.push(FORMAT);
    rmp_serde::encode::write(&mut bytes, stored).expect("writing our own types to memory does not fail");
    bytes.into()
}

/// Decodes a stored container.
///
/// # Errors
/// [`Damaged`] with what was wrong.
pub fn decode_container(bytes: &[u8]) -> Result<Container<StoredValue>, Damaged> {
    decode("object", bytes)
}

/// Decodes a stored clock.
///
/// # Errors
/// [`Damaged`] with what was wrong.
pub fn decode_clock(bytes: &[u8]) -> Result<NodeClock, Damaged> {
    decode("node clock", bytes)
}

/// Decodes what is stored; `what` is for the error.
///
/// # Errors
/// [`Damaged`] with what was wrong.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Damaged> {
    let damaged = |reason: String| Damaged { what, reason };
    match bytes.split_first() {
        Some((&FORMAT, body)) => rmp_serde::from_slice(body).map_err(|error| damaged(error.to_string())),
        Some((format, _)) => Err(damaged(format!("format {format}; this release reads format {FORMAT}"))),
        None => Err(damaged("it is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ring::{BucketName, Key};

    #[test]
    fn an_object_lies_in_its_partition_and_gives_its_key_back() {
        let count = PartitionCount::new(8).expect("valid");
        let bucket = BucketName::new("b").expect("valid");
        for number in 0..200 {
            let key = ObjectKey::new(&bucket, &Key::new(format!("key {number}")).expect("valid"));
            let place = object(&key);
            let (first, end) = partition(count, count.partition_of(Position::of(&key)));
            assert!(first <= place && end.is_none_or(|end| place < end));
            assert!(place < behind(&key));
            assert_eq!(object_key(&place), Ok(key));
        }
    }

    #[test]
    fn a_place_that_is_no_object_s_is_damage() {
        let place = object(&ObjectKey::new(&BucketName::new("b").expect("valid"), &Key::new("k").expect("valid")));
        for bytes in 0..place.len() - 1 {
            assert!(object_key(&place.slice(..bytes)).is_err(), "{bytes} bytes");
        }
    }

    #[test]
    fn stored_bytes_of_another_format_are_refused() {
        assert!(decode_container(&[]).is_err());
        assert!(decode_container(&[2, 0x92]).is_err());
        assert!(decode_container(&[FORMAT, 0xc1]).is_err());
    }
}
