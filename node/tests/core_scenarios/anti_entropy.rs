//! Replicas compare clocks and fetch what they miss.

use quorate_node::Time;
use quorate_node::limits::EXCHANGE_INTERVAL;
use quorate_ring::ObjectKey;

use super::harness::{Cluster, key, node, put};

/// Keys that a node misses.
const KEYS: usize = 300;

#[test]
fn what_was_missed_is_fetched_from_one_peer_and_not_from_each() {
    let mut cluster = Cluster::new(3);
    [1, 2].into_iter().for_each(|other| cluster.disconnect(node(other), node(3)));
    let keys: Vec<ObjectKey> = (0..KEYS).map(|number| key(&number.to_string())).collect();
    for key in &keys {
        cluster.ask(node(1), put(key, "value", None)).expect("two nodes are connected");
    }
    [1, 2].into_iter().for_each(|other| cluster.connect(node(other), node(3)));
    // Both peers compare at about the same time, and both have all of it.
    (0..10).for_each(|_| cluster.pass(EXCHANGE_INTERVAL / 2));
    assert!(keys.iter().all(|key| cluster.stored(node(3), key) == 1));
    let received = cluster.machines[&node(3)].shard.sync_status(Time::default()).keys_received;
    assert_eq!(received, KEYS as u64);
}
