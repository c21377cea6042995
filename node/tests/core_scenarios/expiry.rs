//! Values that live for a time only: when they are gone, that they stay so, and that nobody fights over them.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_node::Input;
use quorate_node::replica::{Asker, KeyOperation, Replica, Report, layout};
use quorate_node::storage::{Batch, Change, Column, Completion, Operation, Storage};
use quorate_ring::limits::TTL_MILLIS_MAX;
use quorate_ring::version::{Actor, Container, Dot};
use quorate_ring::wire::{Durability, PeerMessage, PutItem, Request, RequestError, Response};
use quorate_ring::{NodeId, ObjectKey, PartitionCount, PartitionId, StoredValue, Value, WallTime};

use crate::four;
use crate::harness::{Cluster, bucket, incarnation, key, node, put};

const SECOND: u64 = 1_000;

fn put_for(key: &ObjectKey, value: &str, ttl_millis: u64) -> Request {
    let Request::Put { item, w, durability, strict } = put(key, value, None) else { unreachable!("it makes a put") };
    Request::Put { item: PutItem { ttl_millis: Some(ttl_millis), ..item }, w, durability, strict }
}

fn set_wall(cluster: &mut Cluster, nodes: &[NodeId], millis: u64) {
    for node in nodes {
        cluster.input(*node, Input::WallClock(WallTime::from_millis(millis)));
    }
}

fn repairs(cluster: &Cluster) -> u64 {
    cluster.machines.values().map(|machine| machine.shard.counters().repairs).sum()
}

#[test]
fn a_value_is_gone_when_its_time_has_come_and_no_store_keeps_anything_of_it() {
    let (mut cluster, key, primaries, _) = four();
    cluster.ask(primaries[0], put_for(&key, "tea", 30 * SECOND)).expect("stored");
    cluster.pass(Duration::from_millis(30 * SECOND - 1));
    assert_eq!(cluster.get(primaries[1], &key, Some(3)).0, ["tea"]);
    cluster.pass(Duration::from_millis(1));
    assert!(cluster.get(primaries[1], &key, Some(3)).0.is_empty());
    for primary in primaries {
        assert_eq!(cluster.machines[&primary].store.len(Column::Objects), 0, "at {primary}");
    }
}

#[test]
fn it_expires_beside_siblings_that_live_on() {
    let (mut cluster, key, primaries, _) = four();
    cluster.ask(primaries[0], put_for(&key, "tea", SECOND)).expect("stored");
    cluster.put(primaries[1], &key, "milk", None).expect("stored");
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.get(primaries[2], &key, None).0, ["milk"]);
    let stored = cluster.put(primaries[2], &key, "sugar", None).expect("stored");
    assert!(matches!(stored, Response::Stored { siblings: 2, .. }), "{stored:?}");
}

#[test]
fn a_ttl_that_cannot_be_is_refused_with_what_can_by_every_node() {
    let (mut cluster, key, primaries, other) = four();
    for at in [primaries[0], other] {
        for ttl_millis in [0, TTL_MILLIS_MAX + 1, u64::MAX] {
            let error = cluster.ask(at, put_for(&key, "tea", ttl_millis)).expect_err("refused");
            let RequestError::Invalid { reason } = &error else { panic!("{error:?}") };
            assert!(reason.contains(&format!("a ttl of {ttl_millis} ms; a ttl is 1 ms to")), "{reason}");
        }
    }
    assert_eq!(cluster.stored(primaries[0], &key), 0);
    cluster.ask(other, put_for(&key, "tea", TTL_MILLIS_MAX)).expect("forwarded with its ttl");
    set_wall(&mut cluster, &primaries, TTL_MILLIS_MAX);
    assert!(cluster.get(primaries[0], &key, None).0.is_empty());
}

#[test]
fn what_has_expired_is_not_shown_again_by_a_clock_that_is_set_back() {
    let (mut cluster, key, primaries, _) = four();
    cluster.ask(primaries[0], put_for(&key, "tea", 30 * SECOND)).expect("stored");
    set_wall(&mut cluster, &primaries, 3_600 * SECOND);
    set_wall(&mut cluster, &primaries, 0);
    assert!(cluster.get(primaries[0], &key, None).0.is_empty());
}

#[test]
fn a_read_says_that_a_value_has_expired_only_once_its_removal_is_stored() {
    let (mut cluster, key, primaries, _) = four();
    let at = primaries[0];
    cluster.ask(at, put_for(&key, "tea", 30 * SECOND)).expect("stored");
    set_wall(&mut cluster, &[at], 30 * SECOND);
    let read = cluster.begin(at, Request::Get { key: key.clone(), r: Some(1), strict: true });
    // The store reads, and is stuck before it has written.
    let store = &mut cluster.machines.get_mut(&at).expect("a node").store;
    store.flush();
    let (id, result) = store.poll_completion().expect("the read");
    cluster.stuck.insert(at);
    cluster.input(at, Input::Completed { id, result });
    cluster.settle();
    assert_eq!((cluster.answer(read), cluster.stored(at, &key)), (None, 1));
    cluster.stuck.remove(&at);
    cluster.settle();
    assert!(matches!(cluster.answer(read), Some(Ok(Response::Found { values, .. })) if values.is_empty()));
    assert_eq!(cluster.stored(at, &key), 0);
}

#[test]
fn a_value_that_arrives_expired_is_known_and_not_kept() {
    let (mut cluster, key, primaries, _) = four();
    let [from, to] = [primaries[0], primaries[1]];
    let actor = Actor::new(from, incarnation(from));
    let expired = |counter| {
        let (mut container, dot) = (Container::empty(), Dot::new(actor, counter));
        container.add(
            dot,
            StoredValue { value: Value::new("tea").expect("small"), expires_at: Some(WallTime::from_millis(1)) },
        );
        container
    };
    set_wall(&mut cluster, &[to], 1);
    // Event 1 was of another key and is not known here, so the clock has a gap and cannot speak for event 2.
    cluster.tell(from, to, PeerMessage::Repair { key: key.clone(), container: expired(2), exchange: None });
    cluster.settle();
    assert_eq!(cluster.stored(to, &key), 0);
    let partition = cluster.partition(&key);
    let clock = cluster.machines[&to].shard.replica().clocks().live(partition);
    assert!(clock.contains(&Dot::new(actor, 2)));
    assert_eq!(cluster.machines[&to].store.len(Column::Objects), 1, "the container says that the event is obsolete");
    let living = {
        let mut container = Container::empty();
        container.add(Dot::new(actor, 2), Value::new("as if it lived").expect("small").into());
        container
    };
    cluster.tell(from, to, PeerMessage::Repair { key: key.clone(), container: living, exchange: None });
    cluster.settle();
    assert_eq!(cluster.stored(to, &key), 0, "nothing brings it back");
}

#[test]
fn pages_leave_out_what_has_expired_and_still_reach_their_end() {
    let mut cluster = Cluster::new(3);
    let mut keys: Vec<ObjectKey> = (0..40).map(|number| key(&number.to_string())).collect();
    let partition = cluster.partition(&keys[0]);
    keys.retain(|key| cluster.partition(key) == partition);
    keys.sort_by_key(|key| (quorate_ring::Position::of(key), key.clone()));
    assert!(2 < keys.len());
    for (index, key) in keys.iter().enumerate() {
        let at = cluster.primaries(key)[0];
        let request = if index % 2 == 0 { put_for(key, "tea", SECOND) } else { put(key, "milk", None) };
        cluster.ask(at, request).expect("stored");
    }
    cluster.pass(Duration::from_secs(1));
    let (mut after, mut live) = (None, Vec::new());
    loop {
        let scan = Request::Scan { bucket: bucket(), partition, after, limit: 1, r: Some(2) };
        let Ok(Response::Page { items, next }) = cluster.ask(node(1), scan) else { panic!("a page") };
        live.extend(items.into_iter().map(|item| item.key));
        after = next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<ObjectKey> = keys.into_iter().skip(1).step_by(2).collect();
    assert_eq!(live, expected);
}

#[test]
fn replicas_whose_clocks_differ_are_repaired_once_and_agree() {
    let (mut cluster, key, primaries, _) = four();
    cluster.ask(primaries[0], put_for(&key, "tea", 30 * SECOND)).expect("stored");
    set_wall(&mut cluster, &primaries[..1], 3_600 * SECOND);
    assert!(cluster.get(primaries[1], &key, Some(3)).0.is_empty(), "one of the three knows better, or thinks so");
    assert_eq!(repairs(&cluster), 2);
    for at in primaries.iter().cycle().take(6) {
        assert!(cluster.get(*at, &key, Some(3)).0.is_empty());
    }
    assert_eq!(repairs(&cluster), 2);
    assert_eq!([0, 1, 2].map(|index| cluster.stored(primaries[index], &key)), [0; 3]);
}

#[test]
fn a_coordinator_whose_clock_is_ahead_shows_nothing_and_repairs_nobody() {
    let (mut cluster, key, primaries, other) = four();
    cluster.ask(primaries[0], put_for(&key, "tea", 30 * SECOND)).expect("stored");
    set_wall(&mut cluster, &[other], 3_600 * SECOND);
    assert!(cluster.get(other, &key, Some(3)).0.is_empty());
    assert_eq!(repairs(&cluster), 0);
    assert_eq!(cluster.get(primaries[0], &key, Some(3)).0, ["tea"]);
}

/// A replica that stands alone, with a stored container of an event that its clock does not know.
fn tidying(container: &Container<StoredValue>, wall: u64) -> Vec<Batch> {
    let partitions = PartitionCount::new(8).expect("a power of two");
    let held = (0..partitions.get()).map(|number| PartitionId::new(u16::try_from(number).expect("few"))).collect();
    let mut replica =
        Replica::new(Actor::new(node(1), incarnation(node(1))), partitions, held, BTreeMap::new(), BTreeMap::new());
    replica.count_for_reads();
    replica.set_wall(WallTime::from_millis(wall));
    replica.handle_key(key("k"), KeyOperation::Tidy { asker: Asker::Nobody });
    let mut written = Vec::new();
    while let Some((id, operation)) = replica.poll_operation() {
        let completion = match operation {
            Operation::Write { batch, durability } => {
                assert_eq!(durability, Durability::Buffered);
                written.push(batch);
                Completion::Written
            }
            _ => Completion::Read(Some(layout::encode_container(container))),
        };
        replica.handle_completion(Default::default(), id, Ok(completion));
    }
    assert!(matches!(replica.poll_report(), Some(Report::Stored { asker: Asker::Nobody, result: Ok(()) })));
    assert_eq!(replica.waiting(), 0);
    written
}

#[test]
fn tidying_drops_what_has_expired_and_does_nothing_where_nothing_changes() {
    let dot = |counter| Dot::new(Actor::new(node(9), incarnation(node(9))), counter);
    let mut stored = Container::empty();
    stored.add(
        dot(1),
        StoredValue { value: Value::new("tea").expect("small"), expires_at: Some(WallTime::from_millis(5)) },
    );
    assert!(tidying(&stored, 4).is_empty());
    let mut expected = Container::empty();
    expected.record(dot(1));
    let change = Change::Put {
        column: Column::Objects,
        key: layout::object(&key("k")),
        value: layout::encode_container(&expected),
    };
    assert_eq!(tidying(&stored, 5), [Batch { changes: vec![change] }]);
    stored.strip(&[dot(1)].into_iter().collect());
    let change = Change::Delete { column: Column::Objects, key: layout::object(&key("k")) };
    assert_eq!(tidying(&stored, 5), [Batch { changes: vec![change] }]);
}
