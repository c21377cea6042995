//! What a shard lets in, what waits and what is refused early.

use std::time::Duration;

use bytes::Bytes;
use quorate_node::limits::{
    COORDINATIONS_MAX, LIMIT_MIN, OVERLOAD_PAUSE, PROBE_INTERVAL, REPLICA_BYTES_MAX, STANDING_QUEUE,
};
use quorate_node::{Input, SessionId};
use quorate_ring::limits::VALUE_BYTES_MAX;
use quorate_ring::wire::{ExchangeId, PeerMessage, PutItem, ReplicaError, Request, RequestError, RequestId};
use quorate_ring::{NodeId, ObjectKey, Value};

use crate::four;
use crate::harness::{Cluster, TIMEOUT, key, node};

const MOMENT: Duration = Duration::from_millis(1);

fn get(key: &ObjectKey, r: u8) -> Request {
    Request::Get { key: key.clone(), r: Some(r), strict: true }
}

/// A put of a large value.
fn large(key: &ObjectKey, bytes: &Bytes) -> Request {
    let value = Value::new(bytes.clone()).expect("as large as values are");
    let item = PutItem { key: key.clone(), value, context: None, ttl_millis: None };
    Request::Put { item, w: Some(1), durability: None, strict: true }
}

/// Asks for something on a connection.
fn begin_on(cluster: &mut Cluster, at: NodeId, session: u64, id: u64, request: Request) -> RequestId {
    let (id, session) = (RequestId(id), SessionId(session));
    cluster.input(at, Input::ClientRequest { session, id, timeout_millis: 10_000, request, indices: None });
    id
}

/// Whom a node asked to read a key and have not been told yet.
fn asked(cluster: &Cluster, of: &ObjectKey) -> Vec<NodeId> {
    let of = |message: &PeerMessage| matches!(message, PeerMessage::Read { key, .. } if key == of);
    cluster.sent.iter().filter(|sent| of(&sent.message)).map(|sent| sent.to).collect()
}

#[test]
fn a_client_with_its_share_of_a_half_full_table_is_refused_and_others_are_not() {
    let (mut cluster, _, primaries, _) = four();
    let at = primaries[0];
    cluster.stuck.insert(at);
    let half = COORDINATIONS_MAX as u64 / 2;
    let others: Vec<_> = (0..2).map(|index| format!("other{index}")).map(|name| crate::harness::key(&name)).collect();
    for (session, other) in (2..).zip(&others) {
        let id = begin_on(&mut cluster, at, session, 1_000_000 + session, get(other, 1));
        assert_eq!(cluster.answer(id), None);
    }
    let greedy: Vec<_> = (0..half)
        .map(|id| begin_on(&mut cluster, at, 1, id, get(&crate::harness::key(&format!("k{id}")), 1)))
        .collect();
    let refused: Vec<_> = greedy.into_iter().filter_map(|id| cluster.answer(id)).collect();
    assert_eq!(refused.len(), 2, "the table was half full by then, and it had more than a third");
    assert!(refused.iter().all(|answer| matches!(answer, Err(RequestError::Overloaded { .. }))));
    let late = begin_on(&mut cluster, at, 4, 2_000_000, get(&others[0], 1));
    assert_eq!(cluster.answer(late), None, "there is room for who has less");
}

#[test]
fn a_queue_that_stands_is_cut_and_what_no_longer_fits_is_refused_at_once() {
    const COUNT: u64 = 500;
    let (mut cluster, key, primaries, _) = four();
    let at = primaries[0];
    // All wait for their store for longer than a request may queue, time after time.
    let crowd = |cluster: &mut Cluster, round: u64| {
        cluster.stuck.insert(at);
        let requests = (0..COUNT).map(|number| RequestId(1_000_000 + round * COUNT + number));
        let requests: Vec<_> = requests.map(|id| begin_on(cluster, at, 1 + id.0 % 5, id.0, get(&key, 1))).collect();
        let refused = requests.iter().filter_map(|id| cluster.answer(*id)).collect::<Vec<_>>();
        cluster.pass(STANDING_QUEUE * 2);
        cluster.stuck.clear();
        cluster.settle();
        refused
    };
    let refused: Vec<_> = (0..8).map(|round| crowd(&mut cluster, round)).collect();
    assert!(refused[0].is_empty(), "a burst is let in");
    let last = &refused[7];
    assert!((COUNT as usize / 4..=COUNT as usize - LIMIT_MIN).contains(&last.len()), "{}", last.len());
    let early = |error: &RequestError| matches!(error, RequestError::Overloaded { .. }) && error.nothing_changed();
    assert!(last.iter().all(|answer| answer.as_ref().is_err_and(early)));
    assert_eq!(cluster.machines[&at].shard.counters().overloads, refused.iter().map(Vec::len).sum::<usize>() as u64);
    let limit = |cluster: &Cluster| cluster.machines[&at].shard.request_limit();
    let low = limit(&cluster);
    for _ in 0..3 {
        cluster.pass(STANDING_QUEUE);
        cluster.get(at, &key, Some(1));
    }
    assert!((LIMIT_MIN..COUNT as usize).contains(&low) && low < limit(&cluster), "{low}, {}", limit(&cluster));
}

#[test]
fn values_beyond_the_stores_bytes_are_refused_before_anything_is_done() {
    let (mut cluster, _, _, _) = four();
    let value = Bytes::from(vec![7; VALUE_BYTES_MAX]);
    cluster.stuck.extend((1..=4).map(node));
    let mut refused = Vec::new();
    for number in 0.. {
        let key = key(&format!("large{number}"));
        let at = cluster.primaries(&key)[0];
        if at != node(1) {
            continue;
        }
        let id = cluster.begin(at, large(&key, &value));
        if let Some(answer) = cluster.answer(id) {
            refused.push(answer);
            break;
        }
    }
    let waiting = cluster.machines[&node(1)].shard.replica().waiting_bytes();
    assert!(REPLICA_BYTES_MAX - VALUE_BYTES_MAX < waiting && waiting <= REPLICA_BYTES_MAX, "{waiting}");
    let error = refused.pop().expect("one").expect_err("refused");
    assert!(matches!(error, RequestError::Overloaded { .. }) && error.nothing_changed(), "{error:?}");
    // Reads hold nothing, and get in.
    let id = cluster.begin(node(1), get(&key("large0"), 1));
    assert_eq!(cluster.answer(id), None);
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.machines[&node(1)].shard.replica().waiting_bytes(), 0, "what is given up is taken back");
}

#[test]
fn a_replica_that_is_overloaded_is_passed_over_for_a_moment() {
    let (mut cluster, key, primaries, _) = four();
    let (at, full) = (primaries[0], primaries[1]);
    let exchange = ExchangeId(u64::MAX >> 8);
    let refusal = || PeerMessage::ReplicateReply { exchange, result: Err(ReplicaError::Overloaded) };
    cluster.tell(full, at, refusal());
    cluster.silent.extend([primaries[1], primaries[2]]);
    cluster.begin(at, get(&key, 2));
    assert_eq!(asked(&cluster, &key), [primaries[2]]);
    cluster.sent.clear();
    cluster.pass(OVERLOAD_PAUSE);
    cluster.sent.clear();
    cluster.begin(at, get(&key, 2));
    assert_eq!(asked(&cluster, &key), [full], "the other one has a question open");
    cluster.sent.clear();
    cluster.tell(full, at, refusal());
    cluster.begin(at, get(&key, 3));
    assert_eq!(asked(&cluster, &key).len(), 2, "where all are needed all are asked");
}

#[test]
fn a_slow_replica_is_left_out_and_asked_besides_once_in_a_while() {
    let (mut cluster, key, primaries, _) = four();
    let (at, slow) = (primaries[0], primaries[1]);
    cluster.silent.insert(slow);
    cluster.begin(at, get(&key, 3));
    cluster.settle();
    cluster.pass(Duration::from_millis(50));
    cluster.silent.clear();
    cluster.settle();
    let counters = |cluster: &Cluster| cluster.machines[&at].shard.counters();
    for _ in 0..20 {
        cluster.begin(at, get(&key, 2));
        assert_eq!(asked(&cluster, &key), [primaries[2]]);
        cluster.settle();
    }
    assert_eq!((counters(&cluster).ranked_away, counters(&cluster).probes), (20, 0));
    cluster.pass(PROBE_INTERVAL);
    let id = cluster.begin(at, get(&key, 2));
    assert_eq!(asked(&cluster, &key), [primaries[2], slow]);
    cluster.silent.insert(slow);
    cluster.settle();
    assert!(cluster.answer(id).is_some(), "nobody waits for the one that was asked besides");
    assert_eq!(counters(&cluster).probes, 1);
    for node in primaries {
        let (ranked, waited) = cluster.machines[&at].shard.open_questions(node);
        assert_eq!((ranked, waited), if node == slow { (1, 1) } else { (0, 0) });
    }
}

#[test]
fn a_peer_that_missed_much_is_brought_it_at_the_pace_of_the_budget_and_all_of_it() {
    // Also where what is read at once would be a message larger than any may be.
    for (count, bytes) in [(100, 256 * 1024), (16, 1024 * 1024)] {
        is_brought_what_it_missed(count, bytes);
    }
}

fn is_brought_what_it_missed(count: usize, bytes: usize) {
    let (mut cluster, first, primaries, _) = four();
    let (at, back) = (primaries[0], primaries[1]);
    cluster.disconnect(at, back);
    let others: Vec<_> = (1..=4).map(node).filter(|node| ![at, back].contains(node)).collect();
    others.iter().for_each(|other| cluster.disconnect(*other, back));
    let value = Bytes::from(vec![7; bytes]);
    let keys = (0..).map(|number| key(&format!("k{number}")));
    let keys: Vec<_> = keys.filter(|key| cluster.partition(key) == cluster.partition(&first)).take(count).collect();
    for key in &keys {
        cluster.ask(at, large(key, &value)).expect("stored");
    }
    cluster.connect(at, back);
    let stored = |cluster: &Cluster| keys.iter().filter(|key| cluster.stored(back, key) == 1).count();
    let mut waited = 0;
    for _ in 0..10_000 {
        cluster.pass(MOMENT);
        waited += usize::from(0 < cluster.machines[&back].shard.background_waiting());
        waited += usize::from(0 < cluster.machines[&at].shard.background_waiting());
        if stored(&cluster) == keys.len() {
            break;
        }
    }
    assert_eq!(stored(&cluster), keys.len());
    assert!(10 < waited, "{count} of {bytes} bytes at 16 MiB a second, less what is saved: {waited}");
    cluster.pass(MOMENT);
    assert_eq!(cluster.machines[&back].shard.background_waiting(), 0);
}
