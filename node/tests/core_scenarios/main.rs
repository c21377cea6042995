//! What the core does, told in scenes of a few inputs. The simulator looks for what nobody thought of; these say what is meant.

mod admission;
mod anti_entropy;
mod batches;
mod expiry;
mod harness;
mod hints;
mod key_queues;
mod peers;
mod placement;
mod reads;
mod replica;
mod scrub;
mod standings;
mod transfers;
mod writes;

use std::time::Duration;

use harness::{Cluster, TIMEOUT, bucket, key, node, put, text};
use quorate_node::Input;
use quorate_node::limits::{COORDINATIONS_MAX, HEDGE_DELAY, KEY_QUEUE_MAX};
use quorate_node::storage::Column;
use quorate_ring::version::{ContextToken, InvalidContext};
use quorate_ring::wire::{PeerMessage, ReplicaAnswer, Request, RequestError, Response};
use quorate_ring::{NodeId, ObjectKey};

/// Four nodes, a key, its three primaries, and the node that is none.
fn four() -> (Cluster, ObjectKey, Vec<NodeId>, NodeId) {
    let cluster = Cluster::new(4);
    let key = key("k");
    let primaries = cluster.primaries(&key);
    let other = (1..=4).map(node).find(|node| !primaries.contains(node)).expect("one of four");
    (cluster, key, primaries, other)
}

#[test]
fn two_clients_writing_without_context_leave_two_siblings() {
    let (mut cluster, key, primaries, _) = four();
    cluster.put(primaries[0], &key, "one", None).expect("stored");
    cluster.put(primaries[1], &key, "two", None).expect("stored");
    let (mut values, _) = cluster.get(primaries[2], &key, None);
    values.sort();
    assert_eq!(values, ["one", "two"]);
}

#[test]
fn a_write_with_the_context_of_a_read_replaces_exactly_what_was_read() {
    let (mut cluster, key, primaries, _) = four();
    cluster.put(primaries[0], &key, "one", None).expect("stored");
    let (_, context) = cluster.get(primaries[1], &key, None);
    cluster.put(primaries[2], &key, "meanwhile", None).expect("stored");
    cluster.put(primaries[1], &key, "two", Some(context)).expect("stored");
    let (mut values, context) = cluster.get(primaries[0], &key, None);
    values.sort();
    assert_eq!(values, ["meanwhile", "two"]);
    cluster.put(primaries[0], &key, "merged", Some(context)).expect("stored");
    assert_eq!(cluster.get(primaries[2], &key, None).0, ["merged"]);
}

#[test]
fn a_delete_with_context_leaves_nothing_in_any_store() {
    let (mut cluster, key, primaries, _) = four();
    cluster.put(primaries[0], &key, "one", None).expect("stored");
    let (_, context) = cluster.get(primaries[1], &key, None);
    let delete = Request::Delete { key: key.clone(), context, w: None, durability: None, strict: true };
    cluster.ask(primaries[2], delete).expect("deleted");
    assert_eq!(cluster.get(primaries[0], &key, None).0, Vec::<String>::new());
    for primary in primaries {
        assert_eq!(cluster.machines[&primary].store.len(Column::Objects), 0, "{primary} keeps no tombstone");
    }
}

#[test]
fn a_write_that_cannot_reach_w_says_who_is_away_and_changes_nothing() {
    let (mut cluster, key, primaries, _) = four();
    cluster.disconnect(primaries[0], primaries[1]);
    cluster.disconnect(primaries[0], primaries[2]);
    let error = cluster.put(primaries[0], &key, "one", None).expect_err("W is 2");
    let RequestError::WriteQuorum { needed: 2, reached: 0, answers } = &error else { panic!("{error:?}") };
    let away = |index: usize| answers.contains(&(primaries[index], ReplicaAnswer::Unreachable));
    assert!(away(1) && away(2) && error.nothing_changed(), "{error}");
    assert_eq!(cluster.stored(primaries[0], &key), 0);
}

#[test]
fn silent_replicas_are_named_at_the_deadline_and_not_before() {
    let (mut cluster, key, primaries, _) = four();
    cluster.silent.extend([primaries[1], primaries[2]]);
    let (read, write) = (Request::Get { key: key.clone(), r: Some(3), strict: true }, put(&key, "one", None));
    let [read, write] = [read, write].map(|request| cluster.begin(primaries[0], request));
    cluster.settle();
    cluster.pass(TIMEOUT - Duration::from_millis(1));
    assert!(cluster.answer(read).is_none() && cluster.answer(write).is_none());
    cluster.pass(Duration::from_millis(1));
    let silent = |error: &RequestError| match error {
        RequestError::ReadQuorum { answers, .. } | RequestError::WriteQuorum { answers, .. } => {
            answers.iter().filter(|(_, answer)| *answer == ReplicaAnswer::Silent).count()
        }
        other => panic!("{other:?}"),
    };
    let [read, write] = [read, write].map(|id| cluster.answer(id).expect("answered").expect_err("failed"));
    assert_eq!((silent(&read), silent(&write)), (2, 2));
    assert!(!write.nothing_changed(), "one store has it, and the silent ones may");
}

#[test]
fn more_requests_than_the_bound_are_refused_as_overload() {
    let (mut cluster, _, _, _) = four();
    cluster.stuck.extend((1..=4).map(node));
    let get = |number: usize| Request::Get { key: key(&format!("k{number}")), r: Some(1), strict: true };
    for number in 0..COORDINATIONS_MAX {
        let id = cluster.begin(node(1), get(number));
        assert!(cluster.answer(id).is_none());
    }
    let refused = cluster.begin(node(1), get(0));
    let error = cluster.answer(refused).expect("at once").expect_err("refused");
    assert!(matches!(&error, RequestError::Overloaded { node: at, .. } if *at == node(1)), "{error:?}");
}

#[test]
fn a_hot_key_has_a_bounded_queue() {
    let (mut cluster, key, primaries, _) = four();
    cluster.stuck.insert(primaries[0]);
    // The first begins the read of the key and waits too.
    let waiting: Vec<_> = (0..KEY_QUEUE_MAX).map(|_| cluster.begin(primaries[0], put(&key, "hot", None))).collect();
    assert!(waiting.into_iter().all(|id| cluster.answer(id).is_none()));
    let refused = cluster.begin(primaries[0], put(&key, "hot", None));
    let error = cluster.answer(refused).expect("at once").expect_err("refused");
    assert!(matches!(error, RequestError::Overloaded { .. }) && error.nothing_changed(), "{error:?}");
}

#[test]
fn a_node_that_is_no_primary_forwards_writes_and_coordinates_reads() {
    let (mut cluster, key, _, other) = four();
    cluster.put(other, &key, "one", None).expect("stored");
    assert_eq!(cluster.get(other, &key, Some(3)).0, ["one"]);
    assert_eq!(cluster.stored(other, &key), 0);
}

#[test]
fn a_forwarded_write_whose_primary_goes_away_has_an_unknown_outcome() {
    let (mut cluster, key, primaries, other) = four();
    cluster.silent.insert(other);
    let id = cluster.begin(other, put(&key, "one", None));
    let to = cluster.sent.back().expect("forwarded").to;
    assert!(primaries.contains(&to));
    cluster.disconnect(other, to);
    let error = cluster.answer(id).expect("at once").expect_err("lost");
    assert_eq!(error, RequestError::ForwardLost { node: other, primary: to });
    assert!(!error.nothing_changed());
}

#[test]
fn a_slow_replica_is_passed_over_and_its_late_reply_still_gets_it_repaired() {
    let (mut cluster, key, primaries, _) = four();
    cluster.disconnect(primaries[0], primaries[1]);
    cluster.put(primaries[0], &key, "one", None).expect("two of three");
    assert_eq!(cluster.stored(primaries[1], &key), 0);
    // Read at a fresh connection: the stale replica is asked and is slow.
    cluster.connect(primaries[0], primaries[1]);
    cluster.settle();
    cluster.silent.insert(primaries[1]);
    let id = cluster.begin(primaries[0], Request::Get { key: key.clone(), r: Some(2), strict: true });
    cluster.settle();
    assert!(cluster.answer(id).is_none());
    cluster.pass(HEDGE_DELAY);
    let answer = cluster.answer(id).expect("the third was asked").expect("read");
    assert!(matches!(answer, Response::Found { values, .. } if text(&values[0]) == "one"));
    cluster.silent.clear();
    cluster.settle();
    assert_eq!(cluster.stored(primaries[1], &key), 1);
}

#[test]
fn a_replica_catching_up_counts_only_when_all_have_answered() {
    let key = key("k");
    let first = Cluster::new(4).primaries(&key)[0];
    let mut cluster = Cluster::with_incomplete(4, &[first.number()]);
    let primaries = cluster.primaries(&key);
    cluster.put(primaries[1], &key, "one", None).expect("stored");
    assert_eq!(cluster.get(primaries[0], &key, Some(2)).0, ["one"]);
    assert_eq!(cluster.get(primaries[0], &key, Some(3)).0, ["one"], "all have answered: there is nothing more to know");
    cluster.disconnect(primaries[0], primaries[1]);
    let error =
        cluster.ask(primaries[0], Request::Get { key: key.clone(), r: Some(2), strict: true }).expect_err("one counts");
    let RequestError::ReadQuorum { needed: 2, answers, .. } = &error else { panic!("{error:?}") };
    assert!(answers.contains(&(primaries[0], ReplicaAnswer::CatchingUp)), "{error}");
    assert!(answers.contains(&(primaries[1], ReplicaAnswer::Unreachable)), "{error}");
}

#[test]
fn a_poisoned_store_refuses_everything() {
    let (mut cluster, key, primaries, _) = four();
    cluster.machines.get_mut(&primaries[0]).expect("a node").store.fail_next_write("broken");
    cluster.put(primaries[0], &key, "one", None).expect("the other two store it");
    for request in [put(&key, "two", None), Request::Get { key: key.clone(), r: Some(1), strict: true }] {
        let error = cluster.ask(primaries[0], request).expect_err("refused");
        assert!(matches!(&error, RequestError::StorageFailed { reason, .. } if reason == "broken"), "{error:?}");
    }
    // As a replica of others' requests it says so too.
    let error = cluster.ask(primaries[1], Request::Get { key, r: Some(3), strict: true }).expect_err("R is 3");
    assert!(
        matches!(&error, RequestError::ReadQuorum { answers, .. }
        if answers.contains(&(primaries[0], ReplicaAnswer::StorageFailed))),
        "{error:?}"
    );
}

#[test]
fn a_failed_storage_leaves_the_outcome_unknown() {
    // Found by the simulator: "nothing changed" was said of a write that its own store had failed to acknowledge, and had written.
    let (mut cluster, key, primaries, _) = four();
    for primary in &primaries {
        cluster.machines.get_mut(primary).expect("a node").store.fail_next_write("broken");
    }
    let error = cluster.put(primaries[0], &key, "one", None).expect_err("no store took it");
    assert!(matches!(error, RequestError::WriteQuorum { reached: 0, .. }), "{error:?}");
    assert!(!error.nothing_changed(), "{error}");
}

#[test]
fn a_write_given_up_before_its_event_is_made_never_happens() {
    // Found by the simulator: the client was told that nothing had changed, and a moment later the event was made all the same.
    let (mut cluster, key, primaries, _) = four();
    cluster.stuck.insert(primaries[0]);
    let id = cluster.begin(primaries[0], put(&key, "one", None));
    cluster.disconnect(primaries[0], primaries[1]);
    cluster.disconnect(primaries[0], primaries[2]);
    let error = cluster.answer(id).expect("at once").expect_err("W is 2");
    assert!(error.nothing_changed(), "{error}");
    cluster.stuck.clear();
    cluster.settle();
    assert_eq!(cluster.stored(primaries[0], &key), 0);
    assert_eq!(cluster.machines[&primaries[0]].shard.replica().waiting(), 0);
}

#[test]
fn pages_of_several_replicas_are_merged_and_follow_each_other() {
    let (mut cluster, _, _, _) = four();
    let partition = cluster.partition(&key("k"));
    let mut keys: Vec<ObjectKey> = (0..200).map(|number| key(&format!("k{number}"))).collect();
    keys.retain(|key| cluster.partition(key) == partition);
    let primaries = cluster.primaries(&key("k"));
    // Each key misses one replica, so no single page has them all.
    for (index, key) in keys.iter().enumerate() {
        let [at, without] = [0, 1].map(|step| primaries[(index + step) % 3]);
        cluster.disconnect(at, without);
        cluster.put(at, key, "v", None).expect("two of three");
        cluster.connect(at, without);
    }
    cluster.settle();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let scan = Request::Scan { bucket: bucket(), partition, after, limit: 3, r: Some(2) };
        let Ok(Response::Page { items, next }) = cluster.ask(primaries[0], scan) else { panic!("no page") };
        assert!(items.len() <= 6, "a merged page ends where the first of its pages does");
        found.extend(items.into_iter().map(|item| item.key));
        match next {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    keys.sort_by_key(|key| (quorate_ring::Position::of(key), key.clone()));
    assert!(10 < keys.len());
    assert_eq!(found, keys);
}

#[test]
fn contexts_that_were_not_given_out_for_the_key_are_refused() {
    let (mut cluster, key, primaries, _) = four();
    cluster.put(primaries[0], &key, "one", None).expect("stored");
    let (_, genuine) = cluster.get(primaries[0], &key, None);
    let (_, foreign) = cluster.get(primaries[0], &harness::key("another"), None);
    let mut forged = genuine.as_bytes().to_vec();
    *forged.last_mut().expect("not empty") ^= 1;
    let token = |bytes: &[u8]| ContextToken::from_bytes(bytes.to_vec().into()).expect("short");
    let cases = [
        (foreign, InvalidContext::Forged),
        (token(&forged), InvalidContext::Forged),
        (token(&forged[..5]), InvalidContext::Truncated { bytes: 5 }),
    ];
    for (context, reason) in cases {
        let error = cluster.put(primaries[0], &key, "two", Some(context)).expect_err("refused");
        assert_eq!(error, RequestError::Context(reason));
    }
    assert_eq!(cluster.get(primaries[0], &key, None).0, ["one"]);
}

#[test]
fn quorums_that_cannot_be_are_refused() {
    let (mut cluster, key, primaries, _) = four();
    for impossible in [0, 4] {
        let get = Request::Get { key: key.clone(), r: Some(impossible), strict: true };
        let mut write = put(&key, "one", None);
        if let Request::Put { w, .. } = &mut write {
            *w = Some(impossible);
        }
        for request in [get, write] {
            let error = cluster.ask(primaries[0], request).expect_err("refused");
            assert!(matches!(error, RequestError::Invalid { .. }), "{error:?}");
        }
    }
    assert_eq!(cluster.stored(primaries[0], &key), 0);
}

#[test]
fn a_reply_that_comes_twice_counts_once() {
    let (mut cluster, key, primaries, _) = four();
    cluster.silent.extend([primaries[1], primaries[2]]);
    let mut write = put(&key, "one", None);
    if let Request::Put { w, .. } = &mut write {
        *w = Some(3);
    }
    let id = cluster.begin(primaries[0], write);
    cluster.settle();
    let exchange = cluster.sent.iter().find_map(|sent| match &sent.message {
        PeerMessage::Replicate { exchange, .. } => Some(*exchange),
        _ => None,
    });
    let exchange = exchange.expect("replicated");
    for _ in 0..2 {
        let message = PeerMessage::ReplicateReply { exchange, result: Ok(()) };
        cluster.input(primaries[0], Input::PeerMessage { from: primaries[1], message });
    }
    assert!(cluster.answer(id).is_none(), "two nodes have it, not three");
    let message = PeerMessage::ReplicateReply { exchange, result: Ok(()) };
    cluster.input(primaries[0], Input::PeerMessage { from: primaries[2], message });
    assert!(cluster.answer(id).expect("three have it").is_ok());
}
