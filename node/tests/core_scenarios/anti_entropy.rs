//! Replicas compare clocks and fetch what they miss.

use bytes::Bytes;
use quorate_node::Time;
use quorate_node::limits::EXCHANGE_INTERVAL;
use quorate_node::replica::layout;
use quorate_node::storage::Column;
use quorate_ring::ObjectKey;
use quorate_ring::wire::SyncStatus;

use super::harness::{Cluster, key, node, put};

/// Keys that a node misses.
const KEYS: usize = 300;

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
    for number in [1, 2] {
        let store = &mut cluster.machines.get_mut(&node(number)).expect("a node").store;
        let entry: Bytes = store.entries(Column::DotLog).next().expect("there are many").0.clone();
        assert!(store.rot(Column::DotLog, &entry));
    }
    assert!(0 < catch_up(&mut cluster).transfers);
    assert!(keys.iter().all(|key| cluster.stored(node(3), key) == 1));
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

/// Three nodes, and keys of which the third has missed all.
fn missed(keys: usize) -> (Cluster, Vec<ObjectKey>) {
    let mut cluster = Cluster::new(3);
    [1, 2].into_iter().for_each(|other| cluster.disconnect(node(other), node(3)));
    let keys: Vec<ObjectKey> = (0..keys).map(|number| key(&number.to_string())).collect();
    for key in &keys {
        cluster.ask(node(1), put(key, "value", None)).expect("two nodes are connected");
    }
    (cluster, keys)
}

/// Connects the third, and says what it did once there was time enough.
fn catch_up(cluster: &mut Cluster) -> SyncStatus {
    [1, 2].into_iter().for_each(|other| cluster.connect(node(other), node(3)));
    (0..20).for_each(|_| cluster.pass(EXCHANGE_INTERVAL / 2));
    cluster.machines[&node(3)].shard.sync_status(Time::default())
}
