//! Nodes that are killed, stopped, paused, set back and wiped while others serve.

use std::time::{Duration, Instant};

use quorate_client::Outcome;
use quorate_ring::wire::StartKind;
use quorate_tests::{Cluster, wait};

use crate::support::{assert_refused, assert_value, put_surely, status, until_missed};

const KEYS: u32 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_missed_by_name_only_where_it_is_needed_and_returns_as_another_incarnation() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    for number in 0..KEYS {
        bucket.put(format!("before {number}"), "old").w(3).await.expect("all nodes are up");
    }
    let before = status(&client, 2).await;
    assert_eq!(before.start, StartKind::First);
    cluster.node(2).kill();

    // At once, before anybody has noticed.
    for number in 0..KEYS {
        put_surely(&bucket, &format!("during {number}"), "new").await;
        assert_value(&bucket, &format!("before {number}"), "old").await;
    }
    until_missed(&client, 1, 2).await;
    until_missed(&client, 3, 2).await;
    // Another client: the first may have a connection to n2 of which it has not noticed that it is dead.
    let (first, client) = (bucket, cluster.client().await);
    let bucket = client.bucket("b").expect("valid");
    bucket.put("w2", "fine").await.expect("two nodes are enough");
    assert_refused(bucket.put("w3", "refused").w(3).await, &["n2 is unreachable", "3 replicas"]);
    assert_refused(bucket.get("w2").r(3).await, &["n2 is unreachable", "of the 3 replicas"]);

    let ready = cluster.node(2).start();
    cluster.connected().await;
    let after = status(&client, 2).await;
    assert_eq!(after.start, StartKind::ProcessCrash, "the machine did not restart, so nothing acknowledged was lost");
    assert_ne!(after.incarnation, before.incarnation);
    assert_eq!(after.incarnation.number(), ready.incarnation);
    for number in 0..KEYS {
        assert_value(&bucket, &format!("before {number}"), "old").await;
        assert_value(&first, &format!("during {number}"), "new").await;
    }
    put_with_all(&bucket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_back_before_it_was_missed_is_not_missed_later() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.node(2).kill();
    cluster.node(2).start();
    // The node with the lower number dials. So n3 has a new connection at once, and gives the old one up some seconds later, at
    // about the time when n1, which waits for the old one to end, has a new one too.
    let dialed = async || status(&client, 2).await.peers.iter().all(|peer| peer.connected).then_some(());
    wait::until_async("n2 is connected again", wait::BOUND, dialed).await;
    let bucket = client.bucket("b").expect("valid");
    let all = async || bucket.get("key").r(3).timeout(Duration::from_millis(500)).await.ok();
    wait::until_async("all nodes answer", wait::BOUND, all).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        let status = status(&client, 3).await;
        assert!(status.peers.iter().all(|peer| peer.connected), "{status:?}");
        bucket.get("key").r(3).await.expect("all nodes are connected");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stopped_in_order_goes_on_as_the_same_incarnation() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    bucket.put("key", "value").w(3).await.expect("all nodes are up");
    let before = status(&client, 1).await;
    let ended = cluster.node(1).stop();
    assert_eq!(ended.code, 0, "{}", ended.log);
    bucket.put("another", "value").await.expect("the client knows at once that the node is gone");
    cluster.node(1).start();
    cluster.connected().await;
    let after = status(&client, 1).await;
    assert_eq!((after.start, after.incarnation), (StartKind::Clean, before.incarnation));
    put_with_all(&bucket).await;
    assert_value(&bucket, "key", "value").await;
    assert_value(&bucket, "another", "value").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_set_back_to_an_older_copy_is_noticed_and_loses_nothing_that_others_have() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    bucket.put("key", "old").w(3).await.expect("all nodes are up");
    assert_eq!(cluster.node(2).stop().code, 0);
    let copy = cluster.file("copy");
    cluster.node(2).copy_data(&copy);
    let first = cluster.node(2).start();
    cluster.connected().await;
    let found = bucket.get("key").await.expect("all nodes are up");
    bucket.put("key", "new").context(found.context()).w(3).await.expect("all nodes are up");
    assert_eq!(cluster.node(2).stop().code, 0);

    cluster.node(2).restore_data(&copy);
    let second = cluster.node(2).start();
    cluster.connected().await;
    assert_ne!(first.incarnation, second.incarnation, "it must not number its writes as it did before");
    let after = status(&client, 2).await;
    assert_eq!(after.start, StartKind::PossibleLoss);
    assert_value(&bucket, "key", "new").await;
    let found = bucket.get("key").await.expect("two nodes have lost nothing");
    bucket.put("key", "newer").context(found.context()).w(3).await.expect("it takes writes");
    assert_value(&bucket, "key", "newer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_does_not_stop_the_others_and_comes_back_by_itself() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    let before = status(&client, 2).await;
    cluster.node(2).pause();
    for number in 0..KEYS {
        put_surely(&bucket, &format!("at once {number}"), "value").await;
    }
    until_missed(&client, 1, 2).await;
    for number in 0..KEYS {
        let key = format!("later {number}");
        bucket.put(&key, "value").await.expect("two nodes are enough");
        assert_value(&bucket, &key, "value").await;
    }
    cluster.node(2).resume();
    cluster.connected().await;
    assert_eq!(status(&client, 2).await.incarnation, before.incarnation, "it never ended");
    put_with_all(&bucket).await;
    for number in 0..KEYS {
        // What it was sent before it was missed it may have done now, beside what was written in its place.
        let found = bucket.get(format!("at once {number}")).await.expect("all nodes are up");
        assert!(!found.is_empty() && found.values().iter().all(|value| value == "value"), "{number}: {found:?}");
    }
}

/// Writes so that every node must store it. The client may need a moment to hear that a node is back; the nodes have.
async fn put_with_all(bucket: &quorate_client::Bucket) {
    let written = bucket.put("needs all three", "value").w(3).await;
    if let Err(error) = &written {
        assert_eq!(error.outcome(), Outcome::NothingChanged, "{error}");
    }
    written.expect("all nodes are connected");
}
