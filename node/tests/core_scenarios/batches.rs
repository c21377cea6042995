//! Batches: every item is answered once, on its own, under the index that the client knows it by.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_node::limits::{BATCH_REPLY_BYTES, COORDINATIONS_MAX};
use quorate_ring::wire::{PutItem, Request, RequestError, RequestId, Response};
use quorate_ring::{ObjectKey, Value};

use crate::harness::{Answer, Cluster, key, node};

fn keys(count: usize) -> Vec<ObjectKey> {
    (0..count).map(|number| key(&format!("k{number}"))).collect()
}

fn item(key: ObjectKey, value: Bytes) -> PutItem {
    PutItem { key, value: Value::new(value).expect("small"), context: None, ttl_millis: None }
}

fn get_many(keys: Vec<ObjectKey>) -> Request {
    Request::GetMany { keys, r: None, strict: true }
}

fn put_many(items: Vec<PutItem>) -> Request {
    Request::PutMany { items, w: None, durability: None, strict: true }
}

/// The items of all parts of the answer; each part must be one.
fn items(parts: Vec<Answer>) -> BTreeMap<u32, Answer> {
    let mut items = BTreeMap::new();
    for part in parts {
        let Ok(Response::Many(results)) = part else { panic!("a batch was answered {part:?}") };
        for (index, result) in results {
            assert!(items.insert(index, result).is_none(), "item {index} was answered twice");
        }
    }
    items
}

fn finish(cluster: &mut Cluster, id: RequestId) -> BTreeMap<u32, Answer> {
    cluster.settle();
    items(cluster.parts(id))
}

#[test]
fn each_item_is_answered_for_itself() {
    let mut cluster = Cluster::new(4);
    let puts = keys(20).into_iter().enumerate().map(|(index, key)| item(key, Bytes::from(vec![b'v'; index])));
    let id = cluster.begin(node(1), put_many(puts.collect()));
    let stored = finish(&mut cluster, id);
    assert!(stored.len() == 20 && stored.values().all(Result::is_ok));
    let id = cluster.begin(node(2), get_many(keys(21)));
    for (index, found) in finish(&mut cluster, id) {
        let Ok(Response::Found { values, .. }) = found else { panic!("item {index}: {found:?}") };
        let lengths: Vec<usize> = values.iter().map(|value| value.as_bytes().len()).collect();
        assert_eq!(lengths, if index == 20 { vec![] } else { vec![index as usize] });
    }
    let counters = [node(1), node(2)].map(|node| cluster.machines[&node].shard.counters());
    assert_eq!((counters[0].puts, counters[1].gets), (20, 21));
    assert_eq!((cluster.in_flight(node(1)), cluster.in_flight(node(2))), (0, 0));
}

#[test]
fn the_items_of_a_part_keep_their_numbers_in_the_whole() {
    let mut cluster = Cluster::new(4);
    let id = cluster.begin_part(node(1), get_many(keys(3)), Some(vec![4, 0, 9]));
    assert!(finish(&mut cluster, id).into_keys().eq([0, 4, 9]));
}

#[test]
fn an_empty_batch_is_answered_at_once() {
    let mut cluster = Cluster::new(4);
    for request in [get_many(vec![]), put_many(vec![])] {
        let id = cluster.begin(node(1), request);
        assert_eq!(cluster.answer(id), Some(Ok(Response::Many(vec![]))));
    }
    assert_eq!(cluster.in_flight(node(1)), 0);
}

#[test]
fn a_batch_whose_answers_are_large_is_answered_in_parts() {
    let mut cluster = Cluster::new(4);
    let large = Bytes::from(vec![0; BATCH_REPLY_BYTES / 2]);
    for key in keys(5) {
        cluster
            .ask(node(1), Request::Put { item: item(key, large.clone()), w: None, durability: None, strict: true })
            .expect("stored");
    }
    let id = cluster.begin(node(1), get_many(keys(5)));
    cluster.settle();
    let parts = cluster.parts(id);
    assert_eq!(parts.len(), 3, "two, two and one");
    assert!(items(parts).into_keys().eq(0..5));
}

#[test]
fn an_item_that_fails_fails_alone_and_is_counted_once() {
    let mut cluster = Cluster::new(4);
    let keys = keys(20);
    let primaries = cluster.primaries(&keys[0]);
    cluster.disconnect(primaries[0], primaries[1]);
    cluster.disconnect(primaries[0], primaries[2]);
    let id = cluster.begin(primaries[0], get_many(keys.clone()));
    let found = finish(&mut cluster, id);
    let failed = found.values().filter(|answer| matches!(answer, Err(RequestError::ReadQuorum { .. }))).count();
    assert!(found[&0].is_err() && found.values().any(Result::is_ok) && found.len() == keys.len());
    assert_eq!(cluster.machines[&primaries[0]].shard.counters().errors, failed as u64);
}

#[test]
fn overload_refuses_items_and_never_the_whole() {
    let mut cluster = Cluster::new(4);
    cluster.stuck.extend((1..=4).map(node));
    // Room for the batch and one of its two items.
    for number in 2..COORDINATIONS_MAX {
        cluster.begin(node(1), Request::Get { key: key(&format!("k{number}")), r: Some(1), strict: true });
    }
    let id = cluster.begin(node(1), get_many(keys(2)));
    assert_eq!(cluster.answer(id), None, "one item is being worked on");
    cluster.stuck.clear();
    let found = finish(&mut cluster, id);
    assert!(found[&0].is_ok(), "{:?}", found[&0]);
    assert!(matches!(&found[&1], Err(RequestError::Overloaded { .. })), "{:?}", found[&1]);
}
