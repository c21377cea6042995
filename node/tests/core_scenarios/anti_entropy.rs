//! Replicas compare clocks and fetch what they miss.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_node::Time;
use quorate_node::limits::{EXCHANGE_DELAY, EXCHANGE_INTERVAL, PRUNE_PARTITIONS_MAX, PRUNE_PAUSE};
use quorate_node::replica::layout;
use quorate_node::storage::Column;
use quorate_ring::ObjectKey;
use quorate_ring::wire::SyncStatus;

use super::harness::{Cluster, key, node, put};

/// Keys that a node misses.
pub(crate) const KEYS: usize = 300;

#[test]
fn what_was_missed_is_fetched_from_one_peer_and_not_from_each() {
    let (mut cluster, keys) = missed(KEYS);
    // Both peers compare at about the same time, and both have all of it.
    let status = catch_up(&mut cluster);
    assert!(keys.iter().all(|key| cluster.stored(node(3), key) == 1));
    assert_eq!(status.keys_received, KEYS as u64);
}

#[test]
fn where_the_log_cannot_be_read_the_whole_partition_is_received() {
    let (mut cluster, keys) = missed(KEYS);
    rot_logs(&mut cluster);
    assert!(0 < catch_up(&mut cluster).transfers);
    assert!(keys.iter().all(|key| cluster.stored(node(3), key) == 1));
    assert_eq!(cluster.machines[&node(3)].shard.replica().unstripped(), 0, "nothing is left with a vector of its own");
}

#[test]
fn a_replica_that_begins_receives_whole_partitions_at_the_first_comparison_and_another_asks_twice() {
    let begun = |mut cluster: Cluster| {
        rot_logs(&mut cluster);
        reconnect(&mut cluster);
        cluster.pass(EXCHANGE_DELAY);
        cluster.pass(EXCHANGE_INTERVAL / 4);
        cluster.machines[&node(3)].shard.sync_status(Time::default()).transfers
    };
    assert!(0 < begun(missed(KEYS).0), "it has no event of who wrote them, and no log reaches so far back");
    let mut cluster = Cluster::new(3);
    let keys = write(&mut cluster, KEYS);
    assert!(keys.iter().all(|key| cluster.stored(node(3), key) == 1));
    cut_off(&mut cluster);
    write(&mut cluster, KEYS + 100);
    assert_eq!(begun(cluster), 0, "another peer may be able to name what it missed");
}

#[test]
fn one_key_that_no_peer_can_read_costs_itself_and_nothing_else_is_received_again() {
    let (mut cluster, keys) = missed(KEYS);
    for number in [1, 2] {
        let store = &mut cluster.machines.get_mut(&node(number)).expect("a node").store;
        assert!(store.rot(Column::Objects, &layout::object(&keys[0])));
    }
    let status = catch_up(&mut cluster);
    assert!(keys[1..].iter().all(|key| cluster.stored(node(3), key) == 1));
    assert_eq!((status.keys_received, status.transfers), (KEYS as u64 - 1, 0));
}

#[test]
fn the_log_of_many_partitions_is_pruned_bit_by_bit() {
    let mut cluster = Cluster::of_partitions(256, 3, |_| {});
    cluster.connect_all();
    write(&mut cluster, 4 * 256);
    let logged = |cluster: &Cluster| {
        let entries = cluster.machines[&node(1)].store.entries(Column::DotLog);
        entries.map(|(place, _)| [place[0], place[1]]).collect::<BTreeSet<_>>().len()
    };
    // What both peers have told lets it be pruned, so that two exchanges may end and a pause be over in the same moment.
    let (mut before, at_once_max) = (logged(&cluster), 3 * PRUNE_PARTITIONS_MAX);
    assert!(2 * at_once_max < before, "there is something in nearly all partitions");
    for _ in 0..4 * EXCHANGE_INTERVAL.as_millis() {
        cluster.pass(PRUNE_PAUSE);
        let now = logged(&cluster);
        assert!(before <= now + at_once_max, "of {before} only {now} are left a millisecond later");
        before = now;
    }
    assert_eq!(before, 0, "all have everything");
}

/// Three nodes, and keys of which the third has missed all.
fn missed(keys: usize) -> (Cluster, Vec<ObjectKey>) {
    let mut cluster = Cluster::new(3);
    cut_off(&mut cluster);
    let keys = write(&mut cluster, keys);
    (cluster, keys)
}

/// Disconnects the third.
pub(crate) fn cut_off(cluster: &mut Cluster) {
    [1, 2].into_iter().for_each(|other| cluster.disconnect(node(other), node(3)));
}

/// Connects it again.
pub(crate) fn reconnect(cluster: &mut Cluster) {
    [1, 2].into_iter().for_each(|other| cluster.connect(node(other), node(3)));
}

pub(crate) fn write(cluster: &mut Cluster, keys: usize) -> Vec<ObjectKey> {
    let keys: Vec<ObjectKey> = (0..keys).map(|number| key(&number.to_string())).collect();
    for key in &keys {
        cluster.ask(node(1), put(key, "value", None)).expect("two nodes are connected");
    }
    keys
}

/// The two others cannot read their logs any more.
pub(crate) fn rot_logs(cluster: &mut Cluster) {
    for number in [1, 2] {
        let store = &mut cluster.machines.get_mut(&node(number)).expect("a node").store;
        let entries: Vec<Bytes> = store.entries(Column::DotLog).map(|(place, _)| place.clone()).collect();
        assert!(entries.iter().all(|entry| store.rot(Column::DotLog, entry)) && !entries.is_empty());
    }
}

/// Connects the third, and says what it did once there was time enough.
fn catch_up(cluster: &mut Cluster) -> SyncStatus {
    reconnect(cluster);
    (0..20).for_each(|_| cluster.pass(EXCHANGE_INTERVAL / 2));
    cluster.machines[&node(3)].shard.sync_status(Time::default())
}
