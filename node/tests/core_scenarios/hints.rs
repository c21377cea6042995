//! Others stand in for primaries that are away, keep hints, and hand them over.

use std::time::Duration;

use quorate_node::handoff::hint::layout::{self, StoredHint};
use quorate_node::limits::{HAND_PAUSE, HAND_TIMEOUT, SILENCE};
use quorate_node::storage::{Batch, Column, Operation, OperationId, Owner, Storage};
use quorate_node::{Input, SessionId};
use quorate_ring::version::{Actor, Container, Dot, Incarnation};
use quorate_ring::wire::{
    Durability, HintMessage, PeerMessage, ReplicaAnswer, ReplicaError, Request, RequestError, RequestId, Response,
};
use quorate_ring::{NodeId, ObjectKey, StoredValue, Value};

use super::four;
use super::harness::{Cluster, key, node, put, text};

/// A put that lets others stand in, and asks for this W.
fn sloppy(key: &ObjectKey, value: &str, needed: u8) -> Request {
    let mut request = put(key, value, None);
    if let Request::Put { w, strict, .. } = &mut request {
        (*w, *strict) = (Some(needed), false);
    }
    request
}

/// Whom a node keeps hints for, and how many.
fn kept(cluster: &Cluster, at: NodeId) -> Vec<(NodeId, u64)> {
    cluster.machines[&at].shard.hints().map(|kept| (kept.target, kept.count)).collect()
}

/// Seven nodes, a key, its primaries, and the others in preference order.
fn seven() -> (Cluster, ObjectKey, Vec<NodeId>, Vec<NodeId>) {
    let cluster = Cluster::new(7);
    let key = key("k");
    let list = cluster.ring.preference_list(cluster.partition(&key));
    let (primaries, fallbacks) = (list.primaries().collect(), list.fallbacks().collect());
    (cluster, key, primaries, fallbacks)
}

fn cut_off(cluster: &mut Cluster, one: NodeId, others: &[NodeId]) {
    others.iter().filter(|other| **other != one).for_each(|other| cluster.disconnect(one, *other));
}

fn everybody(cluster: &Cluster) -> Vec<NodeId> {
    cluster.machines.keys().copied().collect()
}

#[test]
fn a_hint_counts_for_a_primary_that_is_away_and_is_handed_over_when_it_is_back() {
    let (mut cluster, key, primaries, other) = four();
    cluster.disconnect(primaries[0], primaries[2]);
    cluster.disconnect(other, primaries[2]);
    cluster.ask(primaries[0], sloppy(&key, "one", 3)).expect("three nodes have it");
    assert_eq!(kept(&cluster, other), [(primaries[2], 1)]);
    assert_eq!((cluster.stored(primaries[2], &key), cluster.stored(other, &key)), (0, 0));
    let mark = cluster.machines[&other].shard.hint_sequence();
    assert!(cluster.machines[&other].shard.hints().all(|kept| kept.outstanding_from < mark));
    cluster.connect(other, primaries[2]);
    cluster.settle();
    assert_eq!((kept(&cluster, other), cluster.stored(primaries[2], &key)), (vec![], 1));
    assert_eq!(cluster.machines[&other].store.len(Column::Hints), 0);
    assert_eq!(cluster.machines[&other].shard.hints_waiting(), 0, "nothing more is to be done");
}

#[test]
fn a_strict_write_has_nobody_stand_in() {
    let (mut cluster, key, primaries, other) = four();
    cluster.disconnect(primaries[0], primaries[2]);
    let mut request = put(&key, "one", None);
    if let Request::Put { w, .. } = &mut request {
        *w = Some(3);
    }
    let error = cluster.ask(primaries[0], request).expect_err("one of three is away");
    assert!(matches!(error, RequestError::WriteQuorum { .. }) && error.nothing_changed(), "{error}");
    assert_eq!(kept(&cluster, other), []);
}

/// Begins a sloppy write of W = 3 that waits for a silent primary, for longer than anybody may be silent.
fn begin_long(cluster: &mut Cluster, at: NodeId, key: &ObjectKey) -> RequestId {
    let (id, request) = (RequestId(1_000_000), sloppy(key, "one", 3));
    let input = Input::ClientRequest { session: SessionId(1), id, timeout_millis: 60_000, request, indices: None };
    cluster.input(at, input);
    cluster.settle();
    id
}

/// A key of which a fallback keeps what the third primary lacks, and a get of R = 3 that waits for that one: it is connected, and silent.
fn get_that_waits() -> (Cluster, NodeId, NodeId, RequestId) {
    let (mut cluster, key, primaries, other) = four();
    cluster.disconnect(primaries[0], primaries[2]);
    cluster.disconnect(other, primaries[2]);
    cluster.ask(primaries[0], sloppy(&key, "one", 3)).expect("three nodes have it");
    cluster.connect(primaries[0], primaries[2]);
    cluster.settle();
    cluster.silent.insert(primaries[2]);
    let (id, request) = (RequestId(1_000_000), Request::Get { key, r: Some(3), strict: false });
    let input = Input::ClientRequest { session: SessionId(1), id, timeout_millis: 60_000, request, indices: None };
    cluster.input(primaries[0], input);
    cluster.settle();
    assert_eq!(cluster.answer(id), None, "the third may answer");
    (cluster, primaries[0], primaries[2], id)
}

fn assert_shows(cluster: &mut Cluster, id: RequestId, value: &str) {
    match cluster.answer(id) {
        Some(Ok(Response::Found { values, .. })) => assert_eq!(values.iter().map(text).collect::<Vec<_>>(), [value]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_answers_a_read_for_a_primary_whose_connection_breaks_meanwhile() {
    let (mut cluster, at, third, id) = get_that_waits();
    cluster.disconnect(at, third);
    cluster.settle();
    assert_shows(&mut cluster, id, "one");
}

#[test]
fn another_answers_a_read_for_a_primary_that_falls_silent_meanwhile() {
    let (mut cluster, _, _, id) = get_that_waits();
    cluster.pass(SILENCE);
    cluster.pass(SILENCE);
    assert_shows(&mut cluster, id, "one");
}

#[test]
fn a_primary_that_answers_that_it_is_overloaded_gets_no_hint() {
    let (mut cluster, key, primaries, other) = four();
    cluster.silent.insert(primaries[2]);
    let id = begin_long(&mut cluster, primaries[0], &key);
    let asked = cluster.sent.iter().find_map(|sent| match &sent.message {
        PeerMessage::Replicate { exchange, .. } if sent.to == primaries[2] => Some(*exchange),
        _ => None,
    });
    let reply =
        PeerMessage::ReplicateReply { exchange: asked.expect("it was asked"), result: Err(ReplicaError::Overloaded) };
    cluster.tell(primaries[2], primaries[0], reply);
    cluster.settle();
    let error = cluster.answer(id).expect("answered at once").expect_err("W is 3");
    let RequestError::WriteQuorum { answers, .. } = error else { panic!("{error}") };
    assert!(answers.contains(&(primaries[2], ReplicaAnswer::Overloaded)) && answers.len() == 3, "{answers:?}");
    assert_eq!(kept(&cluster, other), []);
}

#[test]
fn a_primary_that_is_slow_gets_a_hint_only_when_it_is_silent_on_everything() {
    let (mut cluster, key, primaries, other) = four();
    cluster.silent.insert(primaries[2]);
    let id = begin_long(&mut cluster, primaries[0], &key);
    cluster.pass(SILENCE / 2);
    cluster.tell(primaries[2], primaries[0], PeerMessage::Known { incarnations: vec![] });
    cluster.pass(SILENCE / 2);
    assert_eq!((kept(&cluster, other), cluster.answer(id)), (vec![], None), "it said something meanwhile");
    // Something else is asked of it, and from now on it says nothing at all.
    cluster.begin(primaries[0], sloppy(&key, "two", 1));
    cluster.settle();
    cluster.pass(SILENCE);
    cluster.pass(SILENCE);
    assert!(cluster.answer(id).is_some_and(|answer| answer.is_ok()), "another stood in");
    assert!(kept(&cluster, other).contains(&(primaries[2], 1)));
}

#[test]
fn one_that_is_heard_again_is_forgotten_as_silent_before_its_next_probe_would_be_due() {
    let (mut cluster, key, primaries, _) = four();
    cluster.silent.insert(primaries[2]);
    let id = begin_long(&mut cluster, primaries[0], &key);
    (0..40).for_each(|_| cluster.pass(SILENCE / 2));
    assert!(cluster.answer(id).is_some_and(|answer| answer.is_ok()), "another stood in");
    cluster.silent.clear();
    cluster.settle();
    cluster.pass(SILENCE);
    assert_eq!(cluster.machines[&primaries[0]].shard.next_request_deadline(), None);
}

#[test]
fn what_a_primary_sent_before_it_fell_silent_does_not_hide_its_silence() {
    let (mut cluster, key, primaries, other) = four();
    cluster.silent.insert(primaries[2]);
    let id = begin_long(&mut cluster, primaries[0], &key);
    // Under way when it was asked; after it nothing comes, and nothing else is asked of it.
    cluster.tell(primaries[2], primaries[0], PeerMessage::Known { incarnations: vec![] });
    cluster.pass(SILENCE);
    cluster.pass(SILENCE);
    assert!(cluster.answer(id).is_some_and(|answer| answer.is_ok()), "another stood in");
    assert_eq!(kept(&cluster, other), [(primaries[2], 1)]);
}

#[test]
fn the_late_answer_of_a_primary_counts_once_with_its_stand_in() {
    let (mut cluster, key, primaries, fallbacks) = seven();
    let others = everybody(&cluster);
    cut_off(&mut cluster, primaries[2], &others);
    // The second primary is silent, so the third place and its own are two of three.
    cluster.silent.insert(primaries[1]);
    let id = begin_long(&mut cluster, primaries[0], &key);
    assert_eq!(kept(&cluster, fallbacks[0]), [(primaries[2], 1)]);
    let exchange = cluster.sent.iter().find_map(|sent| match &sent.message {
        PeerMessage::Replicate { exchange, .. } if sent.to == primaries[1] => Some(*exchange),
        _ => None,
    });
    let reply = PeerMessage::ReplicateReply { exchange: exchange.expect("it was asked"), result: Ok(()) };
    cluster.tell(primaries[2], primaries[0], reply.clone());
    cluster.tell(fallbacks[0], primaries[0], reply.clone());
    assert_eq!(cluster.answer(id), None, "two places are filled, each twice over");
    cluster.tell(primaries[1], primaries[0], reply);
    cluster.settle();
    assert!(cluster.answer(id).is_some_and(|answer| answer.is_ok()));
}

#[test]
fn a_stand_in_that_refuses_or_goes_away_is_replaced_by_the_next() {
    let (mut cluster, key, primaries, fallbacks) = seven();
    let others = everybody(&cluster);
    cut_off(&mut cluster, primaries[2], &others);
    cluster.silent.extend([fallbacks[0], fallbacks[1]]);
    let id = begin_long(&mut cluster, primaries[0], &key);
    let exchange = cluster.sent.iter().find_map(|sent| match &sent.message {
        PeerMessage::Replicate { exchange, hint_for: Some(_), .. } if sent.to == fallbacks[0] => Some(*exchange),
        _ => None,
    });
    let full = PeerMessage::ReplicateReply {
        exchange: exchange.expect("it was asked"),
        result: Err(ReplicaError::Overloaded),
    };
    cluster.tell(fallbacks[0], primaries[0], full);
    cluster.settle();
    assert_eq!(cluster.answer(id), None, "the next is silent");
    cluster.disconnect(primaries[0], fallbacks[1]);
    cluster.settle();
    assert!(cluster.answer(id).is_some_and(|answer| answer.is_ok()));
    assert_eq!(kept(&cluster, fallbacks[2]), [(primaries[2], 1)]);
}

#[test]
fn where_no_primary_can_be_reached_a_fallback_makes_the_events_and_the_primaries_get_them() {
    let (mut cluster, key, primaries, fallbacks) = seven();
    for primary in &primaries {
        let others = everybody(&cluster);
        cut_off(&mut cluster, *primary, &others);
    }
    cluster.ask(fallbacks[1], sloppy(&key, "one", 2)).expect("two that stand in have it");
    let get = Request::Get { key: key.clone(), r: Some(2), strict: false };
    let (values, context) = match cluster.ask(fallbacks[2], get) {
        Ok(Response::Found { values, context }) => (values, context),
        other => panic!("{other:?}"),
    };
    assert_eq!(values.iter().map(text).collect::<Vec<_>>(), ["one"]);
    let mut second = sloppy(&key, "two", 2);
    if let Request::Put { item, .. } = &mut second {
        item.context = Some(context);
    }
    cluster.ask(fallbacks[1], second).expect("two that stand in have it");
    assert_eq!(kept(&cluster, fallbacks[1]).len(), 3, "for each primary");
    let strict = cluster.ask(fallbacks[1], put(&key, "strict", None)).expect_err("no primary");
    assert!(matches!(strict, RequestError::NoPrimary { .. }));
    for one in everybody(&cluster) {
        primaries.iter().filter(|primary| one < **primary || !primaries.contains(&one)).for_each(|primary| {
            cluster.connect(one, *primary);
        });
    }
    cluster.settle();
    cluster.pass(HAND_PAUSE);
    cluster.pass(HAND_PAUSE);
    assert!(everybody(&cluster).iter().all(|node| kept(&cluster, *node).is_empty()));
    assert_eq!(cluster.get(primaries[1], &key, Some(3)).0, ["two"]);
}

#[test]
fn a_hint_that_has_changed_since_it_was_handed_over_stays() {
    let (mut cluster, key, primaries, other) = four();
    cluster.disconnect(primaries[0], primaries[2]);
    cluster.disconnect(other, primaries[2]);
    cluster.ask(primaries[0], sloppy(&key, "one", 3)).expect("stored");
    cluster.silent.insert(primaries[2]);
    cluster.connect(other, primaries[2]);
    cluster.settle();
    let exchange = cluster.sent.iter().find_map(|sent| match &sent.message {
        PeerMessage::Hint(HintMessage::Hand { exchange, .. }) => Some(*exchange),
        _ => None,
    });
    cluster.ask(primaries[0], sloppy(&key, "two", 3)).expect("stored");
    let taken = quorate_ring::wire::Taken { stored: 1, grant_bytes: 1, pause_millis: 0 };
    let answer = HintMessage::Taken { exchange: exchange.expect("it was handed over"), result: Ok(taken) };
    cluster.tell(primaries[2], other, PeerMessage::Hint(answer));
    cluster.settle();
    assert_eq!(kept(&cluster, other), [(primaries[2], 1)], "the second value is not delivered");
    cluster.silent.clear();
    cluster.settle();
    cluster.pass(HAND_TIMEOUT);
    cluster.pass(HAND_PAUSE);
    assert_eq!((kept(&cluster, other), cluster.stored(primaries[2], &key)), (vec![], 2));
}

#[test]
fn a_node_keeps_no_hint_for_one_that_is_no_primary_and_takes_none_of_a_partition_that_it_does_not_hold() {
    let (mut cluster, key, primaries, other) = four();
    cluster.ask(primaries[0], sloppy(&key, "one", 3)).expect("stored");
    let partition = cluster.partition(&key);
    let exchange = quorate_ring::wire::ExchangeId(7);
    let container = quorate_ring::version::Container::empty();
    let handed = quorate_ring::wire::Handed { key, container, dots: vec![] };
    let hand = HintMessage::Hand { exchange, partition, hints: vec![handed] };
    cluster.silent.insert(primaries[0]);
    cluster.tell(primaries[0], other, PeerMessage::Hint(hand));
    cluster.settle();
    let refused = |message: &PeerMessage| {
        matches!(message, PeerMessage::Hint(HintMessage::Taken { result: Err(ReplicaError::NotResponsible), .. }))
    };
    assert!(cluster.sent.iter().any(|sent| refused(&sent.message)));
    assert_eq!(cluster.machines[&other].store.len(Column::Objects), 0);
}

#[test]
fn a_node_asked_to_take_nothing_says_what_it_could_take() {
    let (mut cluster, _, primaries, other) = four();
    let exchange = quorate_ring::wire::ExchangeId(7);
    let hand = HintMessage::Hand { exchange, partition: quorate_ring::PartitionId::new(0), hints: vec![] };
    cluster.silent.insert(primaries[0]);
    cluster.tell(primaries[0], other, PeerMessage::Hint(hand));
    let answered = |message: &PeerMessage| matches!(message, PeerMessage::Hint(HintMessage::Taken { .. }));
    assert!(cluster.sent.iter().any(|sent| answered(&sent.message)));
    assert_eq!(cluster.machines[&node(1)].shard.hints_waiting(), 0);
    cluster.pass(Duration::from_millis(1));
}

/// A hint for a node as a former process left it in a store, before the shard is asked anything.
fn left_by_a_former_process(cluster: &mut Cluster, at: NodeId, target: NodeId, key: &ObjectKey, counter: u64) {
    let dot = Dot::new(Actor::new(node(1), Incarnation::new(77)), counter);
    let mut container = Container::empty();
    let value = Value::new(bytes::Bytes::from_static(b"left")).expect("small");
    container.add(dot, StoredValue { value, expires_at: None });
    let mut hint = StoredHint::default();
    hint.merge(container, [dot]);
    let mut batch = Batch::default();
    batch.put(Column::Hints, layout::place(target, key), layout::encode(&hint));
    let store = &mut cluster.machines.get_mut(&at).expect("a node").store;
    let operation = Operation::Write { batch, durability: Durability::Buffered };
    store.submit(OperationId::new(Owner::Scrub, 1), operation);
    store.flush();
    while store.poll_completion().is_some() {}
}

#[test]
fn hints_for_a_node_that_is_no_member_any_more_are_shown_and_go_to_the_present_primaries() {
    let mut cluster = Cluster::apart(4, |_| {});
    let key = key("k");
    let primaries = cluster.primaries(&key);
    let other = everybody(&cluster).into_iter().find(|node| !primaries.contains(node)).expect("four nodes, N = 3");
    let gone = node(9);
    left_by_a_former_process(&mut cluster, other, gone, &key, 1);
    left_by_a_former_process(&mut cluster, other, primaries[2], &key, 2);
    cluster.pass(Duration::from_millis(1));
    assert!(cluster.machines[&other].shard.hints_counted());
    assert_eq!(kept(&cluster, other), [(primaries[2], 1), (gone, 1)], "nobody is there to take them");
    assert!(cluster.machines[&other].shard.hints().all(|kept| kept.outstanding_from == 0), "they are of before");
    let mark = cluster.machines[&other].shard.hint_sequence();
    cluster.connect(other, primaries[1]);
    cluster.settle();
    cluster.pass(HAND_PAUSE);
    assert_eq!(
        kept(&cluster, other),
        [(primaries[2], 1)],
        "a primary that is there has taken what was for the one that is gone"
    );
    assert_eq!(cluster.stored(primaries[1], &key), 1);
    cluster.connect(other, primaries[2]);
    cluster.settle();
    cluster.pass(HAND_PAUSE);
    assert!(
        cluster.machines[&other].shard.hints().all(|kept| mark <= kept.outstanding_from),
        "all of before are delivered"
    );
    assert_eq!(cluster.stored(primaries[2], &key), 1);
}
