//! Peers: what a node does for those that ask it, and how it learns from them that its store is not what it was.

use quorate_node::replica::layout;
use quorate_node::start::Standing;
use quorate_node::storage::Column;
use quorate_node::{Input, Output};
use quorate_ring::NodeId;
use quorate_ring::limits::KNOWN_INCARNATIONS_MAX;
use quorate_ring::version::{Actor, Container, Dot, Incarnation};
use quorate_ring::wire::{Durability, ExchangeId, PeerMessage, Protocol, ReplicaError};
use quorate_ring::{ObjectKey, PartitionId, StoredValue, Value};

use crate::four;
use crate::harness::{Cluster, bucket, key, node};

const EXCHANGE: ExchangeId = ExchangeId(7);

/// The messages on their way from a node.
fn said(cluster: &mut Cluster, from: NodeId) -> Vec<PeerMessage> {
    cluster.sent.drain(..).filter(|sent| sent.from == from).map(|sent| sent.message).collect()
}

/// A value under a dot of another node.
fn written() -> (Dot, Container<StoredValue>) {
    let dot = Dot::new(Actor::new(node(9), Incarnation::new(9)), 1);
    let mut container = Container::empty();
    container.add(dot, Value::new("one").expect("small").into());
    (dot, container)
}

fn scan(partition: PartitionId) -> PeerMessage {
    PeerMessage::Scan { exchange: EXCHANGE, timeout_millis: 1000, bucket: bucket(), partition, after: None, limit: 1 }
}

#[test]
fn a_node_that_does_not_hold_a_key_says_so_and_stores_nothing() {
    let (mut cluster, key, primaries, other) = four();
    let ((dot, container), timeout_millis) = (written(), 1000);
    let partition = cluster.partition(&key);
    let questions = [
        PeerMessage::Read { exchange: EXCHANGE, timeout_millis, key: key.clone(), stand_in: false },
        PeerMessage::Replicate {
            exchange: EXCHANGE,
            timeout_millis,
            key: key.clone(),
            dot,
            container: container.clone(),
            durability: Durability::Buffered,
            hint_for: None,
        },
        scan(partition),
        PeerMessage::Repair { key: key.clone(), container, exchange: None },
    ];
    for question in questions {
        cluster.tell(primaries[0], other, question);
    }
    let not_responsible = ReplicaError::NotResponsible;
    let answers = [
        PeerMessage::ReadReply { exchange: EXCHANGE, result: Err(not_responsible) },
        PeerMessage::ReplicateReply { exchange: EXCHANGE, result: Err(not_responsible) },
        PeerMessage::ScanReply { exchange: EXCHANGE, result: Err(not_responsible) },
    ];
    assert_eq!(said(&mut cluster, other), answers);
    cluster.settle();
    assert_eq!(cluster.stored(other, &key), 0);
}

#[test]
fn a_page_of_a_partition_that_is_not_there_is_refused() {
    let (mut cluster, _, primaries, _) = four();
    for missing in [8, 9] {
        cluster.tell(primaries[1], primaries[0], scan(PartitionId::new(missing)));
        let refusal = PeerMessage::ScanReply { exchange: EXCHANGE, result: Err(ReplicaError::NotResponsible) };
        assert_eq!(said(&mut cluster, primaries[0]), [refusal]);
    }
}

#[test]
fn a_repair_needs_no_answer() {
    let (mut cluster, key, primaries, _) = four();
    cluster.tell(
        primaries[1],
        primaries[0],
        PeerMessage::Repair { key: key.clone(), container: written().1, exchange: None },
    );
    cluster.settle();
    assert_eq!((cluster.stored(primaries[0], &key), cluster.sent.len()), (1, 0));
}

#[test]
fn a_peer_is_told_which_of_its_incarnations_were_met_and_the_store_remembers_them() {
    let mut cluster = Cluster::apart(4, |_| {});
    let mut met = Vec::new();
    for number in [5, 5, 6, 5, 7] {
        let incarnation = Incarnation::new(number);
        cluster.input(node(1), Input::PeerConnected { peer: node(2), incarnation, protocol: Protocol::NEWEST });
        assert_eq!(said(&mut cluster, node(1)), [PeerMessage::Known { incarnations: met.clone() }]);
        if !met.contains(&incarnation) {
            met.push(incarnation);
        }
        cluster.settle();
        assert_eq!(remembered(&cluster), met);
    }
    (100..200).for_each(|number| {
        cluster.input(
            node(1),
            Input::PeerConnected { peer: node(2), incarnation: Incarnation::new(number), protocol: Protocol::NEWEST },
        );
    });
    cluster.sent.clear();
    cluster.settle();
    let last: Vec<_> = (200 - KNOWN_INCARNATIONS_MAX as u64..200).map(Incarnation::new).collect();
    assert_eq!(remembered(&cluster), last);
}

/// Which incarnations of node 2 the store of node 1 remembers.
fn remembered(cluster: &Cluster) -> Vec<Incarnation> {
    let stored = cluster.machines[&node(1)].store.value(Column::Metadata, &layout::peer(node(2))).expect("remembered");
    layout::decode("peer's incarnations", stored).expect("decodes")
}

#[test]
fn only_the_first_shard_tells_peers_what_was_met() {
    let mut cluster = Cluster::apart(4, |config| (config.shard, config.shards) = (1, 2));
    cluster.connect(node(1), node(2));
    assert_eq!(cluster.sent.len(), 0);
    cluster.settle();
    assert!(cluster.machines[&node(1)].store.is_empty());
    // It is connected all the same, and can ask for what it holds: the second half.
    let in_second_half = |key: &ObjectKey| 4 <= cluster.partition(key).number();
    let key = (0..).map(|number| key(&format!("k{number}"))).find(in_second_half).expect("half of all keys");
    let primaries = cluster.primaries(&key);
    cluster.connect(primaries[0], primaries[1]);
    cluster.put(primaries[0], &key, "one", None).expect("two of three");
}

/// Of node 1: whether reads count on it, and how often it told of a loss and of a proof.
fn standing(cluster: &Cluster) -> (bool, usize, usize) {
    let told =
        |is: fn(&Output) -> bool| cluster.told.iter().filter(|(at, output)| *at == node(1) && is(output)).count();
    let lost = told(|output| matches!(output, Output::LossFound { .. }));
    let proven = told(|output| matches!(output, Output::Proven));
    (cluster.machines[&node(1)].shard.replica().is_complete(), lost, proven)
}

fn known(cluster: &mut Cluster, from: u32, incarnations: &[u64]) {
    let incarnations = incarnations.iter().copied().map(Incarnation::new).collect();
    cluster.tell(node(from), node(1), PeerMessage::Known { incarnations });
}

#[test]
fn a_peer_that_met_an_incarnation_which_the_store_forgot_shows_a_loss_and_it_is_told_once() {
    let mut cluster = Cluster::apart(4, |config| config.ancestors = [Incarnation::new(50)].into());
    assert_eq!(standing(&cluster), (true, 0, 0));
    known(&mut cluster, 2, &[50, 1]);
    assert_eq!(standing(&cluster), (true, 0, 0), "itself and its ancestor");
    known(&mut cluster, 3, &[50, 66, 1]);
    assert_eq!(standing(&cluster), (false, 1, 0));
    let lost = |output: &Output| matches!(output, Output::LossFound { by, lost } if (*by, &lost[..]) == (node(3), &[Incarnation::new(66)]));
    assert!(cluster.told.iter().any(|(at, output)| *at == node(1) && lost(output)));
    known(&mut cluster, 3, &[]);
    assert_eq!(standing(&cluster), (false, 1, 0), "that others know of none does not bring it back");
    known(&mut cluster, 4, &[66, 67, 1]);
    assert_eq!(standing(&cluster), (false, 2, 0), "one more");
    known(&mut cluster, 2, &[50, 67, 66, 1]);
    assert_eq!(standing(&cluster), (false, 2, 0), "all are known by now");
}

#[test]
fn a_lost_store_is_not_proven_by_anything_that_peers_say() {
    let mut cluster = Cluster::apart(4, |config| config.standing = Standing::Lost);
    (2..=4).for_each(|peer| known(&mut cluster, peer, &[]));
    (2..=3).for_each(|peer| known(&mut cluster, peer, &[66]));
    assert_eq!(standing(&cluster), (false, 1, 0), "what was lost with it is told once, to be remembered");
}

#[test]
fn an_empty_store_counts_once_every_peer_that_shares_a_partition_has_spoken() {
    // Of eight nodes, the two before and the two behind share partitions with node 1.
    let mut cluster = Cluster::apart(8, |config| config.standing = Standing::Unproven);
    for (peer, expected) in [(5, false), (2, false), (8, false), (3, false), (3, false), (7, true), (6, true)] {
        assert!(!standing(&cluster).0 || expected);
        known(&mut cluster, peer, &[1]);
        assert_eq!(standing(&cluster), (expected, 0, usize::from(expected)), "after node {peer}");
    }
}

#[test]
fn an_empty_store_that_a_peer_knows_better_is_lost_whatever_the_others_say() {
    let mut cluster = Cluster::apart(4, |config| config.standing = Standing::Unproven);
    known(&mut cluster, 2, &[66]);
    (2..=4).for_each(|peer| known(&mut cluster, peer, &[1]));
    assert_eq!(standing(&cluster), (false, 1, 0));
}
