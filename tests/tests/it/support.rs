//! What several modules do with a cluster.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_client::{Bucket, Client, Error, Outcome};
use quorate_node::storage::Column;
use quorate_ring::wire::NodeStatus;
use quorate_ring::{NodeId, limits};
use quorate_tests::{Cluster, Node, store, wait};

/// Writes a key as an application does that must have it written: where the outcome is not known it looks before it writes again.
pub(crate) async fn put_surely(bucket: &Bucket, key: &str, value: &str) {
    let write = async || {
        let found = bucket.get(key).await.ok()?;
        if found.values() == [Bytes::from(value.to_owned())] {
            return Some(());
        }
        match bucket.put(key, value.to_owned()).context(found.context()).await {
            Ok(_) => Some(()),
            Err(error) if error.is_transient() => None,
            Err(error) => panic!("{key}: {error}"),
        }
    };
    wait::until_async(&format!("{key} is written"), wait::BOUND, write).await;
}

/// Asserts that the key has exactly this value.
pub(crate) async fn assert_value(bucket: &Bucket, key: &str, value: &str) {
    let found = bucket.get(key).await.unwrap_or_else(|error| panic!("{key}: {error}"));
    assert_eq!(found.values(), [Bytes::from(value.to_owned())], "{key}");
}

/// Waits until a node has noticed that another is gone.
pub(crate) async fn until_missed(client: &Client, by: u32, missing: u32) {
    let missed = async || {
        let status = client.status(node(by)).await.ok()?;
        status.peers.iter().any(|peer| peer.node == node(missing) && !peer.connected).then_some(())
    };
    wait::until_async(&format!("n{by} misses n{missing}"), wait::BOUND, missed).await;
}

/// What a node says of itself.
pub(crate) async fn status(client: &Client, number: u32) -> NodeStatus {
    let ask = async || client.status(node(number)).await.ok();
    wait::until_async(&format!("n{number} tells its status"), wait::BOUND, ask).await
}

/// Asserts that an error says these, and that nothing was changed.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, phrases: &[&str]) {
    let error = result.expect_err("it must be refused");
    assert_eq!(error.outcome(), Outcome::NothingChanged, "{error}");
    for phrase in phrases {
        assert!(error.to_string().contains(phrase), "expected {phrase:?} in {error}");
    }
}

/// A node's id.
pub(crate) fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("nodes are counted from 1")
}

/// A value that is one byte too large.
pub(crate) fn too_large() -> Vec<u8> {
    vec![b'v'; limits::VALUE_BYTES_MAX + 1]
}

/// Waits as an operator would.
pub(crate) fn wait_converged(cluster: &Cluster) {
    let run = cluster.quorate(["wait", "--converged"]).run();
    run.ends_with(0);
    assert!(run.stdout.starts_with("all replicas hold the same"), "{}", run.stdout);
}

/// Waits until the scrub of every node has begun anew and been through all that is stored.
async fn scrubbed(cluster: &mut Cluster) {
    let client = cluster.client().await;
    let numbers: Vec<_> = cluster.nodes().iter().map(Node::number).collect();
    for number in numbers {
        let before = status(&client, number).await.sync.scrub.rounds;
        let after = async || {
            let scrub = status(&client, number).await.sync.scrub;
            (before + 2 <= scrub.rounds).then_some(scrub)
        };
        let scrub = wait::until_async(&format!("n{number} has scrubbed what it stores"), wait::BOUND, after).await;
        assert_eq!((scrub.faults_mended, scrub.ranges_differing), (0, 0), "n{number}: {scrub:?}");
    }
}

/// Waits until the scrub, which must not find any fault, has been through all that is stored, stops all nodes and compares what their
/// stores hold, byte for byte: N = 3 of them have each object, all the same, and no hint is left. Gives the number of objects.
///
/// The scrub has to come first because it alone finds keys that a node stored with more of their history than their clocks need now, and
/// was killed before it could store them with less: they hold the same values, in more bytes. The cluster must be a
/// [`scrubbing`](quorate_tests::ClusterOptions::scrubbing) one.
pub(crate) async fn assert_same_stores(cluster: &mut Cluster) -> usize {
    const N: usize = 3;
    scrubbed(cluster).await;
    cluster.stop_all();
    let mut copies: BTreeMap<Bytes, Vec<(u32, Bytes)>> = BTreeMap::new();
    for node in cluster.nodes() {
        for (place, object) in store::entries(&node.data(), Column::Objects) {
            copies.entry(place).or_default().push((node.number(), object));
        }
        assert_eq!(store::entries(&node.data(), Column::Hints).len(), 0, "hints of n{}", node.number());
    }
    for (place, copies) in &copies {
        assert_eq!(copies.len(), N, "{place:?} is on {copies:?}");
        assert!(copies.iter().all(|(_, object)| *object == copies[0].1), "{place:?} differs: {copies:?}");
    }
    copies.len()
}
