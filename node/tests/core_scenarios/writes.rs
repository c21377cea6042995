//! Writes: what their clients are told, and what becomes of those that are handed to a primary.

use quorate_node::shard::Counters;
use quorate_ring::NodeId;
use quorate_ring::limits::SIBLINGS_WRITE_MAX;
use quorate_ring::version::ContextToken;
use quorate_ring::wire::{ExchangeId, PeerMessage, ReplicaAnswer, Request, RequestError, Response};

use crate::four;
use crate::harness::{Answer, Cluster, TIMEOUT, put};

fn told(answer: Answer) -> (u32, Option<ContextToken>) {
    match answer {
        Ok(Response::Stored { siblings, context }) => (siblings, context),
        other => panic!("a write was answered {other:?}"),
    }
}

#[test]
fn a_write_gives_a_context_when_nothing_is_beside_it_and_only_then() {
    let (mut cluster, key, primaries, _) = four();
    let delete = |context: &ContextToken| Request::Delete {
        key: key.clone(),
        context: context.clone(),
        w: None,
        durability: None,
        strict: true,
    };
    let (1, Some(first)) = told(cluster.put(primaries[0], &key, "one", None)) else { panic!("one, alone") };
    assert_eq!(told(cluster.put(primaries[1], &key, "two", None)), (2, None), "its client has not seen the other");
    assert_eq!(told(cluster.ask(primaries[2], delete(&first))), (1, None), "nor has one that deletes the first");
    let (_, seen) = cluster.get(primaries[0], &key, None);
    let (1, Some(third)) = told(cluster.put(primaries[0], &key, "three", Some(seen))) else { panic!("one, alone") };
    let (0, Some(gone)) = told(cluster.ask(primaries[1], delete(&third))) else { panic!("nothing left") };
    assert_eq!(told(cluster.put(primaries[2], &key, "four", Some(gone))).0, 1);
    assert_eq!(cluster.get(primaries[0], &key, Some(3)).0, ["four"]);
}

#[test]
fn one_sibling_too_many_is_refused_and_counts_as_nothing_changed() {
    let (mut cluster, key, primaries, _) = four();
    for number in 0..SIBLINGS_WRITE_MAX {
        cluster.put(primaries[0], &key, &number.to_string(), None).expect("stored");
    }
    let error = cluster.put(primaries[0], &key, "one more", None).expect_err("refused");
    assert!(matches!(error, RequestError::TooManySiblings { siblings: 256, bytes } if 0 < bytes), "{error:?}");
    assert_eq!(cluster.in_flight(primaries[0]), 0);
    let (values, context) = cluster.get(primaries[1], &key, None);
    assert_eq!(values.len(), SIBLINGS_WRITE_MAX);
    cluster.put(primaries[1], &key, "merged", Some(context)).expect("a merge is taken");
    let counters = cluster.machines[&primaries[0]].shard.counters();
    assert_eq!(counters, Counters { puts: SIBLINGS_WRITE_MAX as u64 + 1, errors: 1, ..Counters::default() });
}

#[test]
fn deletes_and_puts_are_counted_apart_wherever_they_are_coordinated() {
    let (mut cluster, key, primaries, other) = four();
    let (_, context) = cluster.get(primaries[0], &key, None);
    let delete = Request::Delete { key: key.clone(), context, w: None, durability: None, strict: true };
    for at in [primaries[0], other] {
        cluster.ask(at, delete.clone()).expect("deleted");
        cluster.put(at, &key, "one", None).expect("stored");
        let counters = cluster.machines[&at].shard.counters();
        assert_eq!((counters.puts, counters.errors), (1, 0));
        assert_eq!(counters.deletes, 1);
    }
}

#[test]
fn quorums_of_one_and_of_all_are_kept() {
    let (mut cluster, key, primaries, _) = four();
    cluster.silent.extend([primaries[1], primaries[2]]);
    let with = |wanted| {
        let mut write = put(&key, "one", None);
        if let Request::Put { w, .. } = &mut write {
            *w = Some(wanted);
        }
        write
    };
    cluster.ask(primaries[0], with(1)).expect("stored here");
    let [two, three] = [2, 3].map(|w| cluster.begin(primaries[0], with(w)));
    cluster.settle();
    assert_eq!((cluster.answer(two), cluster.answer(three)), (None, None));
    cluster.silent.remove(&primaries[2]);
    cluster.settle();
    assert!(cluster.answer(two).is_some_and(|answer| answer.is_ok()) && cluster.answer(three).is_none());
    cluster.silent.clear();
    cluster.settle();
    assert!(cluster.answer(three).is_some_and(|answer| answer.is_ok()));
}

#[test]
fn a_write_waits_for_no_replica_whose_connection_broke() {
    let (mut cluster, key, primaries, _) = four();
    cluster.silent.extend([primaries[1], primaries[2]]);
    let id = cluster.begin(primaries[0], put(&key, "one", None));
    cluster.settle();
    cluster.disconnect(primaries[0], primaries[1]);
    assert_eq!(cluster.answer(id), None);
    cluster.disconnect(primaries[0], primaries[2]);
    let error = cluster.answer(id).expect("at once").expect_err("W is 2");
    let RequestError::WriteQuorum { needed: 2, reached: 1, answers } = &error else { panic!("{error:?}") };
    assert!(answers[1..].iter().all(|(_, answer)| *answer == ReplicaAnswer::Silent), "they may have it: {error}");
}

#[test]
fn a_write_is_not_forwarded_twice() {
    let (mut cluster, key, primaries, other) = four();
    let forward =
        PeerMessage::Forward { exchange: ExchangeId(7), timeout_millis: 1000, request: put(&key, "one", None) };
    cluster.tell(primaries[0], other, forward);
    let refusal = RequestError::NoPrimary {
        node: other,
        answers: primaries.iter().map(|primary| (*primary, ReplicaAnswer::NotResponsible)).collect(),
    };
    assert_eq!(forward_reply(&cluster, other), Err(refusal));
    assert_eq!(cluster.sent.len(), 1, "nobody else hears of it");
}

#[test]
fn only_writes_are_forwarded() {
    let (mut cluster, key, primaries, other) = four();
    let request = Request::Get { key, r: None, strict: true };
    cluster.tell(other, primaries[0], PeerMessage::Forward { exchange: ExchangeId(7), timeout_millis: 1000, request });
    let answer = forward_reply(&cluster, primaries[0]);
    assert!(matches!(answer, Err(RequestError::Invalid { .. })), "{answer:?}");
}

/// What a node answers to a forwarded write.
fn forward_reply(cluster: &Cluster, from: NodeId) -> Answer {
    let replies = cluster.sent.iter().filter(|sent| sent.from == from).filter_map(|sent| match &sent.message {
        PeerMessage::ForwardReply { exchange: ExchangeId(7), result } => Some(result.clone()),
        _ => None,
    });
    replies.into_iter().next().expect("an answer")
}

#[test]
fn a_write_that_no_primary_can_be_given_is_refused() {
    let (mut cluster, key, primaries, other) = four();
    primaries.iter().for_each(|primary| cluster.disconnect(other, *primary));
    let error = cluster.put(other, &key, "one", None).expect_err("nobody");
    let answers = primaries.iter().map(|primary| (*primary, ReplicaAnswer::Unreachable)).collect();
    assert_eq!(error, RequestError::NoPrimary { node: other, answers });
}

#[test]
fn a_forwarded_write_is_its_primary_s_alone_to_answer() {
    let (mut cluster, key, primaries, other) = four();
    cluster.silent.insert(other);
    let id = cluster.begin(other, put(&key, "one", None));
    let sent = cluster.sent.back().expect("forwarded");
    let (primary, PeerMessage::Forward { exchange, timeout_millis, .. }) = (sent.to, &sent.message) else {
        panic!("forwarded")
    };
    assert_eq!(u128::from(*timeout_millis), TIMEOUT.as_millis());
    let message =
        PeerMessage::ForwardReply { exchange: *exchange, result: Ok(Response::Stored { siblings: 1, context: None }) };
    let stranger = *primaries.iter().find(|node| **node != primary).expect("two others");
    cluster.tell(stranger, other, message.clone());
    assert_eq!(cluster.answer(id), None, "an answer of another means nothing");
    cluster.disconnect(other, stranger);
    assert_eq!(cluster.answer(id), None, "nor does it matter that another goes away");
    cluster.tell(primary, other, message);
    assert_eq!(told(cluster.answer(id).expect("answered")), (1, None));
}

#[test]
fn a_forwarded_write_that_is_not_answered_in_time_has_an_unknown_outcome() {
    let (mut cluster, key, _, other) = four();
    cluster.silent.insert(other);
    let id = cluster.begin(other, put(&key, "one", None));
    cluster.pass(TIMEOUT);
    let error = cluster.answer(id).expect("at the deadline").expect_err("silence");
    assert!(matches!(error, RequestError::ForwardLost { node, .. } if node == other), "{error:?}");
    assert!(!error.nothing_changed());
}
