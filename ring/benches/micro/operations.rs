//! What a put and a get are made of, outside of shards and stores.

mod versions;
mod wire;

use std::hint::black_box;

use bytes::Bytes;
use quorate_ring::version::{Actor, ContextKey, Incarnation, VersionVector};
use quorate_ring::{
    BucketName, Capacity, Key, Member, NodeId, ObjectKey, PartitionCount, Position, StoredValue, Value, claim,
};

use crate::harness::Operation;
use versions::seen;

/// Sizes of values that are looked at: a small record, and a page of text.
const VALUE_BYTES: [usize; 2] = [100, 1024];

/// All of them.
pub(crate) fn operations() -> Vec<Operation> {
    placement().into_iter().chain(versions::operations()).chain(contexts()).chain(wire::operations()).collect()
}

fn placement() -> Vec<Operation> {
    let of_key = key();
    let member = |number| Member { node: node(number), zone: None, capacity: Capacity::default() };
    let partitions = PartitionCount::default();
    let ring = claim::plan(None, partitions, 3, (1..=5).map(member).collect()).expect("enough members").ring;
    let position = Position::of(&of_key);
    vec![
        Operation::new("position of a key", move || Position::of(black_box(&of_key))),
        Operation::new("preference list, 3 primaries of 5 nodes", move || {
            let list = ring.preference_list(ring.partition_of(black_box(position)));
            list.primaries().fold(0, |sum, node| sum + node.number())
        }),
    ]
}

fn contexts() -> Vec<Operation> {
    let (secret, of_key, vector) = (ContextKey::new([1; 32]), key(), seen());
    let (secret_again, key_again, token) = (secret.clone(), of_key.clone(), secret.seal(&of_key, &vector));
    vec![
        Operation::new("context: seal, 3 actors", move || secret.seal(black_box(&of_key), black_box(&vector))),
        Operation::new("context: open, 3 actors", move || -> VersionVector {
            secret_again.open(black_box(&key_again), black_box(&token)).expect("genuine")
        }),
    ]
}

fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("numbered from 1")
}

fn actor(number: u32) -> Actor {
    Actor::new(node(number), Incarnation::new(0x5eed_0000_0000_0000 | u64::from(number)))
}

/// A key of 23 bytes in a bucket of 5.
fn key() -> ObjectKey {
    let bucket = BucketName::new("bench").expect("valid");
    ObjectKey::new(&bucket, &Key::new("user:0123456789abcdef01").expect("valid"))
}

fn value(bytes: usize) -> Value {
    Value::new(Bytes::from(vec![0xa5; bytes])).expect("small")
}

fn stored(bytes: usize) -> StoredValue {
    value(bytes).into()
}
