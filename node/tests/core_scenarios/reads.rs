//! Reads: whom they ask and when, how long they live, and what they repair.

use std::time::Duration;

use quorate_node::Time;
use quorate_node::limits::{HEDGE_DELAY, LATE_REPLY_TIME, SILENCE};
use quorate_ring::limits::SCAN_ITEMS_MAX;
use quorate_ring::wire::{PeerMessage, ReplicaAnswer, Request, RequestError, Response};
use quorate_ring::{BucketName, Key, ObjectKey, PartitionId};

use crate::four;
use crate::harness::{Cluster, TIMEOUT, bucket, key, put};

const MOMENT: Duration = Duration::from_millis(1);

fn get(key: &ObjectKey, r: u8) -> Request {
    Request::Get { key: key.clone(), r: Some(r), strict: true }
}

fn scan(partition: PartitionId, after: Option<ObjectKey>, limit: u32, r: u8) -> Request {
    Request::Scan { bucket: bucket(), partition, after, limit, r: Some(r) }
}

/// A get of a key, and a page of its partition.
fn both(cluster: &Cluster, key: &ObjectKey, r: u8) -> [Request; 2] {
    [get(key, r), scan(cluster.partition(key), None, 10, r)]
}

/// How many questions to read are on their way.
fn questions(cluster: &Cluster) -> usize {
    let is_question = |message: &PeerMessage| matches!(message, PeerMessage::Read { .. } | PeerMessage::Scan { .. });
    cluster.sent.iter().filter(|sent| is_question(&sent.message)).count()
}

#[test]
fn a_slow_replica_is_passed_over_after_a_while_and_waited_for_a_little_longer() {
    for kind in 0..2 {
        let (mut cluster, key, primaries, _) = four();
        let request = both(&cluster, &key, 2)[kind].clone();
        cluster.silent.insert(primaries[1]);
        let id = cluster.begin(primaries[0], request);
        cluster.settle();
        cluster.pass(HEDGE_DELAY - MOMENT);
        assert_eq!((questions(&cluster), cluster.answer(id)), (1, None), "nobody else is asked yet");
        cluster.pass(MOMENT);
        assert!(cluster.answer(id).is_some_and(|answer| answer.is_ok()), "the third was asked");
        cluster.pass(LATE_REPLY_TIME - MOMENT);
        assert_eq!(cluster.in_flight(primaries[0]), 1, "the slow one may yet show that it is stale");
        cluster.pass(MOMENT);
        assert_eq!(cluster.in_flight(primaries[0]), 0);
    }
}

#[test]
fn a_read_goes_on_asking_while_those_asked_are_silent() {
    for kind in 0..2 {
        let (mut cluster, key, primaries, other) = four();
        let request = both(&cluster, &key, 1)[kind].clone();
        cluster.silent.extend([primaries[0], primaries[1]]);
        let id = cluster.begin(other, request);
        cluster.settle();
        cluster.pass(HEDGE_DELAY);
        cluster.pass(HEDGE_DELAY - MOMENT);
        assert_eq!((questions(&cluster), cluster.answer(id)), (2, None), "the second is silent, too");
        cluster.pass(MOMENT);
        assert!(cluster.answer(id).is_some_and(|answer| answer.is_ok()), "the third was asked");
    }
}

#[test]
fn a_shard_says_which_requests_wait_for_a_peer_and_none_does_for_one_that_is_gone() {
    let (mut cluster, key, primaries, other) = four();
    let waiting = |cluster: &Cluster, at, peer| cluster.machines[&at].shard.waiting_for(peer);
    let [read, page] = both(&cluster, &key, 3);
    cluster.silent.insert(primaries[1]);
    let Request::Put { item, durability, .. } = put(&key, "value", None) else { panic!("a put") };
    let write = Request::Put { item, w: Some(3), durability, strict: true };
    for (count, request) in (1..).zip([read, page, write]) {
        cluster.begin(primaries[0], request);
        cluster.settle();
        let all = primaries.iter().map(|peer| waiting(&cluster, primaries[0], *peer)).sum::<usize>();
        assert_eq!((waiting(&cluster, primaries[0], primaries[1]), all), (count, count));
    }
    cluster.silent.insert(primaries[0]);
    cluster.begin(other, put(&key, "another", None));
    cluster.settle();
    assert_eq!(primaries.iter().map(|peer| waiting(&cluster, other, *peer)).collect::<Vec<_>>(), [1, 0, 0]);
    cluster.disconnect(primaries[0], primaries[1]);
    cluster.disconnect(other, primaries[0]);
    cluster.settle();
    assert_eq!((waiting(&cluster, primaries[0], primaries[1]), waiting(&cluster, other, primaries[0])), (0, 0));
}

#[test]
fn a_read_that_all_have_answered_is_over_at_once() {
    let (mut cluster, key, primaries, _) = four();
    for request in both(&cluster, &key, 3) {
        cluster.ask(primaries[0], request).expect("read");
        assert_eq!(cluster.in_flight(primaries[0]), 0);
    }
}

#[test]
fn silence_fails_a_read_at_its_deadline_and_not_before() {
    for kind in 0..2 {
        let (mut cluster, key, primaries, _) = four();
        let request = both(&cluster, &key, 3)[kind].clone();
        cluster.silent.insert(primaries[2]);
        let id = cluster.begin(primaries[0], request);
        cluster.settle();
        cluster.pass(HEDGE_DELAY);
        cluster.pass(TIMEOUT - HEDGE_DELAY - MOMENT);
        assert_eq!(cluster.answer(id), None);
        cluster.pass(MOMENT);
        let error = cluster.answer(id).expect("answered").expect_err("R is 3");
        let RequestError::ReadQuorum { needed: 3, reached: 2, answers } = &error else { panic!("{error:?}") };
        assert_eq!(answers[2], (primaries[2], ReplicaAnswer::Silent));
    }
}

#[test]
fn another_is_asked_in_place_of_one_whose_connection_breaks() {
    for kind in 0..2 {
        let (mut cluster, key, primaries, _) = four();
        let request = both(&cluster, &key, 2)[kind].clone();
        cluster.silent.insert(primaries[1]);
        let id = cluster.begin(primaries[0], request);
        cluster.settle();
        assert_eq!(cluster.answer(id), None);
        cluster.disconnect(primaries[0], primaries[1]);
        cluster.settle();
        assert!(cluster.answer(id).is_some_and(|answer| answer.is_ok()), "without the passing of time");
    }
}

#[test]
fn requests_that_lose_a_replica_go_on_in_the_order_they_came() {
    let (mut cluster, first, primaries, _) = four();
    let mut others = (0..).map(|number| key(&format!("k{number}")));
    let mut next =
        || others.find(|key| cluster.partition(key) == cluster.partition(&first)).expect("of eight partitions");
    let (second, third) = (next(), next());
    cluster.silent.extend([primaries[1], primaries[2]]);
    // The second asks the other one, as the first waits for this one already.
    for key in [&first, &second, &third] {
        cluster.begin(primaries[0], get(key, 2));
    }
    cluster.settle();
    cluster.sent.clear();
    cluster.disconnect(primaries[0], primaries[1]);
    let asked = cluster.sent.iter().filter_map(|sent| match &sent.message {
        PeerMessage::Read { key, .. } => Some((sent.to, key)),
        _ => None,
    });
    assert!(asked.eq([(primaries[2], &first), (primaries[2], &third)]));
}

#[test]
fn the_stale_are_repaired_and_counted_this_node_among_them() {
    for kind in 0..2 {
        let (mut cluster, key, primaries, _) = four();
        let request = both(&cluster, &key, 3)[kind].clone();
        cluster.disconnect(primaries[0], primaries[1]);
        cluster.disconnect(primaries[0], primaries[2]);
        cluster.put(primaries[1], &key, "one", None).expect("two of three");
        cluster.connect(primaries[0], primaries[1]);
        cluster.connect(primaries[0], primaries[2]);
        cluster.settle();
        assert_eq!(cluster.stored(primaries[0], &key), 0);
        let repairs = |cluster: &Cluster| cluster.machines[&primaries[0]].shard.counters().repairs;
        cluster.ask(primaries[0], request.clone()).expect("read");
        assert_eq!((cluster.stored(primaries[0], &key), repairs(&cluster)), (1, 1));
        cluster.ask(primaries[0], request).expect("read");
        assert_eq!(repairs(&cluster), 1, "nobody is stale any more");
    }
}

/// A write that one replica has missed, and the three.
fn one_is_behind() -> (Cluster, ObjectKey, Vec<quorate_ring::NodeId>) {
    let (mut cluster, key, primaries, _) = four();
    cluster.disconnect(primaries[0], primaries[1]);
    cluster.put(primaries[0], &key, "one", None).expect("two of three");
    cluster.connect(primaries[0], primaries[1]);
    cluster.settle();
    assert_eq!(cluster.stored(primaries[1], &key), 0);
    (cluster, key, primaries)
}

#[test]
fn a_repairing_get_is_answered_when_all_have_stored_what_they_lacked() {
    for at in 0..3 {
        let (mut cluster, key, primaries) = one_is_behind();
        cluster.stuck.insert(primaries[1]);
        let id = cluster.begin(primaries[at], Request::GetRepaired { key: key.clone() });
        cluster.settle();
        assert_eq!(cluster.answer(id), None, "its store has not answered");
        cluster.stuck.clear();
        cluster.settle();
        let Some(Ok(Response::Found { values, .. })) = cluster.answer(id) else { panic!("no answer") };
        assert_eq!((values.len(), cluster.stored(primaries[1], &key)), (1, 1));
        assert_eq!(cluster.in_flight(primaries[at]), 0);
        let repairs = cluster.machines[&primaries[at]].shard.counters().repairs;
        cluster.ask(primaries[at], Request::GetRepaired { key: key.clone() }).expect("all are the same");
        assert_eq!((repairs, cluster.machines[&primaries[at]].shard.counters().repairs), (1, 1));
    }
}

#[test]
fn a_repairing_get_fails_by_name_of_who_is_not_repaired() {
    for goes in [true, false] {
        let (mut cluster, key, primaries) = one_is_behind();
        let id = cluster.begin(primaries[0], Request::GetRepaired { key: key.clone() });
        // All answer, and then the one that is behind does not any more.
        while !cluster.sent.iter().any(|sent| matches!(sent.message, PeerMessage::Repair { .. })) {
            let sent = cluster.sent.pop_front();
            cluster.settle_stores();
            if let Some(sent) = sent {
                cluster.tell(sent.from, sent.to, sent.message);
            }
            cluster.settle_stores();
        }
        cluster.sent.clear();
        match goes {
            true => cluster.disconnect(primaries[0], primaries[1]),
            false => cluster.pass(TIMEOUT),
        }
        let error = cluster.answer(id).expect("answered").expect_err("one is behind still");
        let RequestError::ReadQuorum { needed: 3, reached: 2, answers } = &error else { panic!("{error:?}") };
        let said = if goes { ReplicaAnswer::Unreachable } else { ReplicaAnswer::Silent };
        assert_eq!(answers[1], (primaries[1], said));
        assert_eq!(cluster.in_flight(primaries[0]), 0);
    }
}

#[test]
fn deleted_keys_are_in_no_page_and_those_it_has_are_whole() {
    let (mut cluster, key, primaries, _) = four();
    for value in ["one", "two"] {
        cluster.put(primaries[0], &key, value, None).expect("stored");
    }
    let page = scan(cluster.partition(&key), None, 10, 2);
    let Ok(Response::Page { items, next: None }) = cluster.ask(primaries[1], page.clone()) else { panic!("no page") };
    assert_eq!((items.len(), items[0].values.len()), (1, 2));
    let delete = Request::Delete {
        key: key.clone(),
        context: items[0].context.clone(),
        w: None,
        durability: None,
        strict: true,
    };
    cluster.disconnect(primaries[0], primaries[2]);
    cluster.ask(primaries[0], delete).expect("two of three");
    // The one that missed the delete still has both values; what they are merged with says that they are gone.
    cluster.connect(primaries[0], primaries[2]);
    cluster.settle();
    assert_eq!(cluster.stored(primaries[2], &key), 2);
    let page = cluster.ask(primaries[2], scan(cluster.partition(&key), None, 10, 3));
    assert_eq!(page, Ok(Response::Page { items: vec![], next: None }));
    assert_eq!(cluster.stored(primaries[2], &key), 0);
}

#[test]
fn a_page_is_of_one_bucket_and_one_partition() {
    let (mut cluster, first, primaries, _) = four();
    let partition = cluster.partition(&first);
    let in_bucket = |name: &str, number: u32| {
        let bucket = BucketName::new(name).expect("valid");
        ObjectKey::new(&bucket, &Key::new(format!("k{number}")).expect("valid"))
    };
    let keys: Vec<_> = (0..40).flat_map(|number| ["a", "b", "bb"].map(|name| in_bucket(name, number))).collect();
    for key in &keys {
        cluster.put(cluster.primaries(key)[0], key, "v", None).expect("stored");
    }
    let Ok(Response::Page { items, next: None }) = cluster.ask(primaries[0], scan(partition, None, 100, 2)) else {
        panic!("no page")
    };
    let here = |key: &&ObjectKey| key.bucket() == bucket().as_str() && cluster.partition(key) == partition;
    let mut expected: Vec<_> = keys.iter().filter(here).collect();
    expected.sort_by_key(|key| quorate_ring::Position::of(key));
    assert!(1 < expected.len());
    assert!(items.iter().map(|item| &item.key).eq(expected));
}

#[test]
fn pages_that_cannot_be_are_refused() {
    let (mut cluster, key, primaries, _) = four();
    let partition = cluster.partition(&key);
    let outside = (0..).map(|number| crate::harness::key(&format!("k{number}")));
    let outside = outside.into_iter().find(|key| cluster.partition(key) != partition).expect("of eight partitions");
    let items_max = u32::try_from(SCAN_ITEMS_MAX).expect("few");
    let refused = [
        scan(PartitionId::new(8), None, 1, 2),
        scan(PartitionId::new(9), None, 1, 2),
        scan(partition, None, 0, 2),
        scan(partition, None, items_max + 1, 2),
        scan(partition, None, items_max + 2, 2),
        scan(partition, Some(outside), 1, 2),
        scan(partition, None, 1, 4),
    ];
    for request in refused {
        let answer = cluster.ask(primaries[0], request.clone());
        assert!(matches!(answer, Err(RequestError::Invalid { .. })), "{request:?}: {answer:?}");
    }
    for taken in [scan(partition, None, items_max, 2), scan(partition, Some(key), 1, 2)] {
        cluster.ask(primaries[0], taken).expect("a page");
    }
}

#[test]
fn a_shard_says_when_it_wants_to_be_told_the_time() {
    let (mut cluster, key, primaries, _) = four();
    let wanted = |cluster: &Cluster| cluster.machines[&primaries[0]].shard.next_request_deadline();
    assert_eq!(wanted(&cluster), None);
    cluster.silent.extend([primaries[1], primaries[2]]);
    cluster.begin(primaries[0], get(&key, 2));
    cluster.settle();
    assert_eq!(wanted(&cluster), Some(Time::default() + HEDGE_DELAY), "to ask one more");
    cluster.pass(HEDGE_DELAY);
    assert_eq!(wanted(&cluster), Some(Time::default() + TIMEOUT), "to give up");
    cluster.pass(TIMEOUT);
    assert!(wanted(&cluster).is_some(), "to see whether the silent are back");
    cluster.silent.clear();
    cluster.settle();
    cluster.pass(SILENCE);
    assert_eq!(wanted(&cluster), None);
}

#[test]
fn what_only_a_node_can_answer_is_not_asked_of_a_shard() {
    let (mut cluster, _, primaries, _) = four();
    for request in [Request::Ring, Request::Status] {
        let answer = cluster.ask(primaries[0], request);
        assert!(matches!(answer, Err(RequestError::Invalid { .. })), "{answer:?}");
    }
    let counters = cluster.machines[&primaries[0]].shard.counters();
    assert_eq!((counters.errors, counters.gets), (2, 0));
    cluster.get(primaries[0], &key("k"), None);
    assert_eq!(cluster.machines[&primaries[0]].shard.counters().gets, 1);
}
