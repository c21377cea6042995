//! The replica side: when it writes and when not, what it refuses, and how it finds that its store was set back.

use std::collections::BTreeMap;

use quorate_node::coordinator::CoordinationId;
use quorate_node::limits::REPLICA_OPERATIONS_MAX;
use quorate_node::replica::{Asker, Event, KeyOperation, Recovered, Replica, Report, layout};
use quorate_node::storage::{Column, Completion, Operation, OperationId};
use quorate_node::{Output, Time};
use quorate_ring::limits::{SIBLINGS_BYTES_MAX, VALUE_BYTES_MAX};
use quorate_ring::version::{Actor, Container, Dot, VersionVector};
use quorate_ring::wire::{Durability, ExchangeId, PeerMessage, PutItem, ReplicaError, Request, RequestError, Response};
use quorate_ring::{NodeId, ObjectKey, PartitionCount, PartitionId, StoredValue, Value};

use crate::four;
use crate::harness::{Cluster, bucket, incarnation, key, node};

const DEADLINE: Time = Time::from_micros(1000);

/// A replica that stands alone.
pub(crate) fn replica() -> Replica {
    let partitions = PartitionCount::new(8).expect("a power of two");
    let held = (0..partitions.get()).map(|number| PartitionId::new(u16::try_from(number).expect("few"))).collect();
    let mut replica =
        Replica::new(Actor::new(node(1), incarnation(node(1))), partitions, held, BTreeMap::new(), BTreeMap::new());
    replica.count_for_reads();
    replica
}

#[test]
fn a_page_of_what_was_released_meanwhile_is_refused_and_not_empty() {
    let mut replica = replica();
    let partition = PartitionId::new(3);
    replica.handle_scan(Asker::Peer { node: node(2), exchange: ExchangeId(7) }, Some(&bucket()), partition, None, 10);
    let (scan, _) = replica.poll_operation().expect("the page is read");
    replica.release(partition, incarnation(node(9)));
    let nothing = Completion::Scanned { entries: Vec::new(), last: true, beside: None };
    replica.handle_completion(Time::default(), scan, Ok(nothing));
    let refused = |report: Report| matches!(report, Report::Page { result: Err(ReplicaError::NotResponsible), .. });
    assert!(replica.poll_report().is_some_and(refused));
    assert!(!replica.is_complete_for(partition));
}

fn read() -> KeyOperation {
    KeyOperation::Read { asker: Asker::Nobody, deadline: DEADLINE }
}

fn write(number: u64) -> KeyOperation {
    KeyOperation::Write {
        coordination: CoordinationId(number),
        event: Event::Delete,
        context: VersionVector::new(),
        durability: Durability::Buffered,
        deadline: DEADLINE,
    }
}

/// Has the store answer that it holds nothing of the key of this operation.
fn holds_nothing(replica: &mut Replica, now: Time, id: OperationId) {
    replica.handle_completion(now, id, Ok(Completion::Read(None)));
}

#[test]
fn what_nobody_waits_for_any_more_is_not_done() {
    for (late, done) in [(-1, 1), (0, 0), (1, 0)] {
        let now = Time::from_micros(DEADLINE.as_micros().checked_add_signed(late).expect("small"));
        let mut replica = replica();
        replica.handle_key(key("read"), read());
        replica.handle_key(key("write"), write(1));
        for _ in 0..2 {
            let (id, _) = replica.poll_operation().expect("each key is read");
            holds_nothing(&mut replica, now, id);
        }
        let reports = std::iter::from_fn(|| replica.poll_report());
        let counts = reports.fold((0, 0), |(reads, made), report| match report {
            Report::Read { .. } => (reads + 1, made),
            Report::Made { .. } => (reads, made + 1),
            other => panic!("{other:?}"),
        });
        assert_eq!((counts, replica.waiting()), ((done, done), done), "{late} microseconds late");
    }
}

#[test]
fn more_operations_than_the_bound_are_refused_on_keys_and_pages_alike() {
    let mut replica = replica();
    let scan =
        |replica: &mut Replica| replica.handle_scan(Asker::Nobody, Some(&bucket()), PartitionId::new(0), None, 1);
    scan(&mut replica);
    for number in 1..REPLICA_OPERATIONS_MAX {
        replica.handle_key(key(&number.to_string()), read());
    }
    assert_eq!((replica.waiting(), replica.poll_report().is_none()), (REPLICA_OPERATIONS_MAX, true));
    replica.handle_key(key("one more"), read());
    scan(&mut replica);
    let overloaded = |report| match report {
        Some(Report::Read { result: Err(error), .. }) => error,
        Some(Report::Page { result: Err(error), .. }) => error,
        other => panic!("{other:?}"),
    };
    let refusals = [0, 1].map(|_| overloaded(replica.poll_report()));
    assert_eq!(refusals, [ReplicaError::Overloaded; 2]);
    assert_eq!(std::iter::from_fn(|| replica.poll_operation()).count(), REPLICA_OPERATIONS_MAX);
}

#[test]
fn only_the_write_that_was_given_up_is_taken_back() {
    let mut replica = replica();
    (1..=4).for_each(|number| replica.handle_key(key("k"), write(number)));
    [1, 3].into_iter().for_each(|number| replica.take_back(&key("k"), CoordinationId(number)));
    assert_eq!(replica.waiting(), 2);
    let mut made = Vec::new();
    while let Some((id, operation)) = replica.poll_operation() {
        let completion =
            if matches!(operation, Operation::Read { .. }) { Completion::Read(None) } else { Completion::Written };
        replica.handle_completion(Time::default(), id, Ok(completion));
        made.extend(std::iter::from_fn(|| replica.poll_report()).filter_map(|report| match report {
            Report::Made { coordination, dot, .. } => Some((coordination.0, dot.counter)),
            _ => None,
        }));
    }
    assert_eq!((made, replica.waiting()), (vec![(2, 1), (4, 2)], 0));
}

/// A container of these events of node 9, and what its sender knows beside them.
pub(crate) fn of_node_9(values: &[u64], known: u64) -> Container<StoredValue> {
    let actor = Actor::new(node(9), incarnation(node(9)));
    let mut container = Container::empty();
    values.iter().for_each(|counter| container.add(Dot::new(actor, *counter), Value::new("v").expect("small").into()));
    container.record(Dot::new(actor, known));
    container
}

/// How many operations a merge needs: one reads the key, one may write it.
fn merge(replica: &mut Replica, container: Container<StoredValue>, durability: Durability) -> usize {
    replica.handle_key(key("k"), KeyOperation::Merge { asker: Asker::Nobody, container, dots: Vec::new(), durability });
    let mut operations = 0;
    while let Some((id, operation)) = replica.poll_operation() {
        operations += 1;
        let completion = match operation {
            Operation::Write { .. } => Completion::Written,
            _ => Completion::Read(Some(layout::encode_container(&of_node_9(&[1, 2], 2)))),
        };
        replica.handle_completion(Time::default(), id, Ok(completion));
    }
    assert!(
        std::iter::from_fn(|| replica.poll_report())
            .all(|report| matches!(report, Report::Stored { result: Ok(()), .. }))
    );
    assert_eq!(replica.waiting(), 0);
    operations
}

#[test]
fn a_merge_that_brings_nothing_is_not_written_unless_it_must_be_synced() {
    use Durability::{Buffered, Synced};
    let mut replica = replica();
    assert_eq!(merge(&mut replica, of_node_9(&[1, 2], 2), Buffered), 2, "the events are new to the clock");
    assert_eq!(merge(&mut replica, of_node_9(&[1, 2], 2), Buffered), 2, "what is stored says what the clock does now");
    let stripped = |replica: &mut Replica, container, durability| {
        replica.handle_key(
            key("k"),
            KeyOperation::Merge { asker: Asker::Nobody, container, dots: Vec::new(), durability },
        );
        let (id, _) = replica.poll_operation().expect("the read");
        let mut stored = of_node_9(&[1, 2], 2);
        stored.strip(replica.clocks().base(partition()));
        replica.handle_completion(Time::default(), id, Ok(Completion::Read(Some(layout::encode_container(&stored)))));
        let Some((id, _)) = replica.poll_operation() else { return false };
        replica.handle_completion(Time::default(), id, Ok(Completion::Written));
        true
    };
    assert!(!stripped(&mut replica, of_node_9(&[1, 2], 2), Buffered), "nothing is new");
    assert!(stripped(&mut replica, of_node_9(&[1, 2], 2), Synced), "but it may not be synced yet");
    assert!(stripped(&mut replica, of_node_9(&[2], 2), Buffered), "an event is obsolete");
    assert!(!stripped(&mut replica, Container::empty(), Buffered));
}

pub(crate) fn partition() -> PartitionId {
    PartitionCount::new(8).expect("a power of two").partition_of(quorate_ring::Position::of(&key("k")))
}

#[test]
fn values_up_to_the_bound_together_are_kept_and_one_byte_more_is_refused() {
    let (mut cluster, key, primaries, _) = four();
    let put = |bytes: usize| Request::Put {
        item: PutItem {
            key: key.clone(),
            value: Value::new(vec![0; bytes]).expect("small enough"),
            context: None,
            ttl_millis: None,
        },
        w: None,
        durability: None,
        strict: true,
    };
    let full = SIBLINGS_BYTES_MAX / VALUE_BYTES_MAX;
    for _ in 0..full {
        cluster.ask(primaries[0], put(VALUE_BYTES_MAX)).expect("within the bound");
    }
    let error = cluster.ask(primaries[0], put(1)).expect_err("refused");
    let (siblings, bytes) = (u32::try_from(full).expect("few"), SIBLINGS_BYTES_MAX as u64);
    assert_eq!(error, RequestError::TooManySiblings { siblings, bytes });
    cluster.ask(primaries[0], put(0)).expect("no byte more");
}

/// Tells a node that another has this event of its, and gives whether it found its store set back.
fn is_set_back_by(cluster: &mut Cluster, at: NodeId, key: &ObjectKey, actor: Actor, counter: u64) -> bool {
    let (mut container, dot) = (Container::empty(), Dot::new(actor, counter));
    container.add(dot, Value::new("v").expect("small").into());
    let (exchange, timeout_millis, durability) = (ExchangeId(7), 1000, Durability::Buffered);
    let message = PeerMessage::Replicate {
        exchange,
        timeout_millis,
        key: key.clone(),
        dot,
        container,
        durability,
        hint_for: None,
    };
    let peer = *cluster.primaries(key).iter().find(|primary| **primary != at).expect("two others");
    cluster.tell(peer, at, message);
    cluster.settle();
    cluster.told.iter().any(|(node, output)| *node == at && matches!(output, Output::LossFound { .. }))
}

#[test]
fn a_store_that_lacks_an_event_of_its_own_actor_was_set_back_and_serves_nothing() {
    let (mut cluster, key, primaries, _) = four();
    let at = primaries[0];
    let own = Actor::new(at, incarnation(at));
    cluster.put(at, &key, "one", None).expect("stored");
    assert!(!is_set_back_by(&mut cluster, at, &key, own, 1), "it has that one");
    let another = Actor::new(at, quorate_ring::version::Incarnation::new(77));
    assert!(!is_set_back_by(&mut cluster, at, &key, another, 9), "not its own: of an earlier life");
    assert!(is_set_back_by(&mut cluster, at, &key, own, 2));
    assert!(!cluster.machines[&at].shard.replica().is_complete());
    let error = cluster.ask(at, Request::Get { key, r: Some(1), strict: true }).expect_err("refused");
    assert!(matches!(&error, RequestError::StorageFailed { reason, .. } if reason.contains("set back")), "{error:?}");
    assert!(cluster.told.iter().any(|(node, output)| *node == at && matches!(output, Output::StorageFailed { .. })));
}

#[test]
fn what_is_damaged_is_refused_until_it_is_mended_from_the_others() {
    let (mut cluster, key, primaries, _) = four();
    cluster.put(primaries[0], &key, "one", None).expect("stored");
    let damage = |cluster: &mut Cluster| {
        let store = &mut cluster.machines.get_mut(&primaries[0]).expect("a node").store;
        store.tamper(Column::Objects, &layout::object(&key), Some(bytes::Bytes::from_static(b"damage")));
    };
    damage(&mut cluster);
    let partition = cluster.partition(&key);
    let scan = |r| Request::Scan { bucket: bucket(), partition, after: None, limit: 1, r: Some(r) };
    let page = cluster.ask(primaries[0], scan(2));
    assert!(matches!(&page, Ok(Response::Page { items, .. }) if items.len() == 1), "another is asked: {page:?}");
    for request in [scan(3), Request::Get { key: key.clone(), r: Some(3), strict: true }] {
        let error = cluster.ask(primaries[0], request).expect_err("R is 3");
        let RequestError::ReadQuorum { needed: 3, answers, .. } = &error else { panic!("{error:?}") };
        assert_eq!(answers[0], (primaries[0], quorate_ring::wire::ReplicaAnswer::StorageFailed));
    }
    assert_eq!(cluster.get(primaries[0], &key, Some(3)).0, ["one"], "the read that met it has had it mended");
    damage(&mut cluster);
    let error = cluster.put(primaries[0], &key, "two", None).expect_err("it cannot be merged with");
    assert!(
        matches!(&error, RequestError::StorageFailed { reason, .. } if reason.contains("cannot be read")),
        "{error:?}"
    );
    cluster.put(primaries[0], &key, "two", None).expect("stored");
    assert_eq!(cluster.get(primaries[0], &key, Some(3)).0, ["one", "two"]);
    let shard = &cluster.machines[&primaries[0]].shard;
    assert_eq!((shard.replica().mended(), shard.replica().unreadable().len()), (2, 0));
}

#[test]
fn a_store_gives_back_the_clocks_and_the_peers_that_were_met() {
    let (mut cluster, key, primaries, _) = four();
    cluster.put(primaries[0], &key, "one", None).expect("stored");
    let machine = &cluster.machines[&primaries[1]];
    let entries: Vec<_> =
        machine.store.entries(Column::Metadata).map(|(place, value)| (place.clone(), value.clone())).collect();
    let recovered = Recovered::read(&entries).expect("readable");
    let partition = cluster.partition(&key);
    assert!(recovered.clocks.keys().eq([&partition]));
    assert_eq!(recovered.clocks.get(&partition), Some(machine.shard.replica().clocks().live(partition)));
    assert_eq!(recovered.clocks[&partition].base().counter(Actor::new(primaries[0], incarnation(primaries[0]))), 1);
    assert_eq!(recovered.known.len(), 3);
    assert!(recovered.known.iter().all(|(peer, met)| *met == [incarnation(*peer)]));
}

#[test]
fn the_log_of_a_replica_names_the_key_of_each_event() {
    let (mut cluster, _, primaries, _) = four();
    let keys: Vec<ObjectKey> = (0..3).map(|number| key(&format!("k{number}"))).collect();
    for key in &keys {
        let at = cluster.primaries(key)[0];
        cluster.put(at, key, "one", None).expect("stored");
        cluster.put(at, key, "two", None).expect("stored");
    }
    for at in primaries {
        let log = cluster.machines[&at].store.entries(Column::DotLog).map(|(_, key)| key);
        let held = keys.iter().filter(|key| cluster.primaries(key).contains(&at));
        let mut expected: Vec<_> = held.flat_map(|key| [key.encoded(), key.encoded()]).collect();
        let mut logged: Vec<_> = log.collect();
        expected.sort();
        logged.sort();
        assert_eq!(logged, expected);
    }
}

#[test]
fn a_read_that_fails_is_refused_and_the_store_goes_on() {
    let (mut cluster, key, primaries, _) = four();
    cluster.put(primaries[0], &key, "one", None).expect("stored");
    cluster.machines.get_mut(&primaries[0]).expect("a node").store.fail_next_read("a bad sector");
    let get = Request::Get { key: key.clone(), r: Some(3), strict: true };
    let error = cluster.ask(primaries[0], get.clone()).expect_err("R is 3");
    let RequestError::ReadQuorum { needed: 3, answers, .. } = &error else { panic!("{error:?}") };
    assert_eq!(answers[0], (primaries[0], quorate_ring::wire::ReplicaAnswer::StorageFailed));
    cluster.ask(primaries[0], get).expect("it can be read again");
}
