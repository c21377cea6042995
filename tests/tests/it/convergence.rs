//! After whatever happened, all replicas hold the same again, byte for byte, with nobody reading anything.

use std::time::Duration;

use quorate_client::{Bucket, Client, Outcome};
use quorate_ring::wire::StartKind;
use quorate_tests::{Cluster, ClusterOptions};

use crate::support::{assert_same_stores, assert_value, node, put_surely, status, until_missed, wait_converged};

/// Enough that nearly every partition has some.
const KEYS: u32 = 300;

async fn write_all(bucket: &Bucket, value: &str) {
    for number in 0..KEYS {
        put_surely(bucket, &format!("key {number}"), value).await;
    }
}

/// Deletes the second half of the keys.
async fn delete_some(bucket: &Bucket) {
    for number in KEYS / 2..KEYS {
        let key = format!("key {number}");
        let found = bucket.get(&key).await.expect("two nodes are up");
        bucket.delete(&key).context(found.context()).await.expect("two nodes are up");
    }
}

/// Asserts that n2 and n3 have every key while n1 is away, so that each of them counts; and brings n1 back.
async fn assert_the_others_have_all(cluster: &mut Cluster, client: &Client, bucket: &Bucket) {
    cluster.node(1).kill();
    until_missed(client, 2, 1).await;
    until_missed(client, 3, 1).await;
    for number in 0..KEYS {
        assert_value(bucket, &format!("key {number}"), "value").await;
    }
    cluster.node(1).start();
    wait_converged(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_gets_all_it_missed_without_a_read() {
    let mut cluster = ClusterOptions::new(3).scrubbing().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    write_all(&bucket, "old").await;
    cluster.node(3).kill();
    until_missed(&client, 1, 3).await;
    until_missed(&client, 2, 3).await;
    write_all(&bucket, "new").await;
    delete_some(&bucket).await;
    cluster.node(3).start();
    wait_converged(&cluster);
    let caught_up = client.status(node(3)).await.expect("it is up");
    assert!(u64::from(KEYS) <= caught_up.sync.keys_received, "{:?}", caught_up.sync);
    assert_eq!(assert_same_stores(&mut cluster).await, KEYS as usize / 2, "a deleted key leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_receives_everything_again_and_then_counts_for_reads() {
    let mut cluster = ClusterOptions::new(3).scrubbing().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    write_all(&bucket, "value").await;
    // So that the logs forget what the wiped node will lack.
    wait_converged(&cluster);
    let before = status(&client, 3).await;
    assert_eq!(cluster.node(3).stop().code, 0);
    cluster.node(3).wipe();
    cluster.node(3).start();
    wait_converged(&cluster);
    let after = status(&client, 3).await;
    assert_ne!(after.incarnation, before.incarnation);
    assert!(after.complete, "{:?}", after.sync);
    let log = cluster.node(3).log_of_run();
    assert_eq!(log.matches("this store was emptied or set back").count(), 1, "each shard has found it: {log}");

    assert_the_others_have_all(&mut cluster, &client, &bucket).await;

    assert_eq!(cluster.node(3).stop().code, 0);
    cluster.node(3).start();
    cluster.connected().await;
    assert!(status(&client, 3).await.complete, "it has had everything again long ago");
    let log = cluster.node(3).log_of_run();
    assert!(!log.contains("this store was emptied or set back"), "{log}");
    assert_eq!(assert_same_stores(&mut cluster).await, KEYS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stood_still_for_longer_than_every_timeout_gets_all_it_missed() {
    let mut cluster = ClusterOptions::new(3).scrubbing().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    cluster.node(2).pause();
    until_missed(&client, 1, 2).await;
    until_missed(&client, 3, 2).await;
    write_all(&bucket, "value").await;
    cluster.node(2).resume();
    wait_converged(&cluster);
    assert_eq!(assert_same_stores(&mut cluster).await, KEYS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_an_hour_ago_gets_all_that_came_since() {
    let mut cluster = ClusterOptions::new(3).scrubbing().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    write_all(&bucket, "old").await;
    assert_eq!(cluster.node(2).stop().code, 0);
    let copy = cluster.file("copy");
    cluster.node(2).copy_data(&copy);
    cluster.node(2).start();
    cluster.connected().await;
    write_all(&bucket, "new").await;
    delete_some(&bucket).await;
    wait_converged(&cluster);
    assert_eq!(cluster.node(2).stop().code, 0);
    cluster.node(2).restore_data(&copy);
    cluster.node(2).start();
    wait_converged(&cluster);
    assert!(status(&client, 2).await.complete);
    assert_eq!(assert_same_stores(&mut cluster).await, KEYS as usize / 2, "nothing that was deleted is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_whose_log_is_damaged_says_so_and_never_answers_that_nothing_is_stored() {
    let mut cluster = ClusterOptions::new(3).scrubbing().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    write_all(&bucket, "value").await;
    wait_converged(&cluster);
    cluster.node(2).kill();
    cluster.node(2).damage_store_log();
    cluster.node(1).kill();
    cluster.node(2).start();
    let after = status(&client, 2).await;
    assert_eq!((after.start, after.complete), (StartKind::PossibleLoss, false));
    let log = cluster.node(2).log_of_run();
    assert!(log.contains("the store's log is damaged") && log.contains("look after the disk"), "{log}");
    until_missed(&client, 2, 1).await;
    until_missed(&client, 3, 1).await;

    // Only n3 counts: n2 cannot catch up with n1, which may alone have with it what n2 has lost.
    for number in 0..10 {
        let found = bucket.get(format!("key {number}")).timeout(Duration::from_millis(500)).await;
        let error = found.expect_err("one replica is not two");
        assert_eq!(error.outcome(), Outcome::NothingChanged, "{error}");
    }

    cluster.node(1).start();
    wait_converged(&cluster);
    assert!(status(&client, 2).await.complete);
    assert_the_others_have_all(&mut cluster, &client, &bucket).await;
    assert_eq!(assert_same_stores(&mut cluster).await, KEYS as usize);
}
