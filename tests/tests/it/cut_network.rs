//! A network that is cut, both ways and one way, between nodes that all run: what was acknowledged on any side is everywhere afterwards.

use std::time::Duration;

use bytes::Bytes;
use quorate_client::Client;
use quorate_tests::{Cluster, ClusterOptions, wait};

use crate::support::{assert_same_stores, assert_value, put_surely, until_missed, wait_converged};

const KEYS: u32 = 200;

async fn three() -> (Cluster, Client) {
    let cluster = ClusterOptions::new(3).network().scrubbing().start().await;
    let client = cluster.client().await;
    (cluster, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_split_keep_what_they_acknowledged() {
    let (mut cluster, client) = three().await;
    let bucket = client.bucket("b").expect("valid");
    bucket.put("both", "before").w(3).await.expect("all nodes are up");
    let context = bucket.get("both").r(3).await.expect("all nodes are up");
    cluster.network().split(&[1], &[2, 3]);
    until_missed(&client, 1, 2).await;
    until_missed(&client, 1, 3).await;
    until_missed(&client, 2, 1).await;
    until_missed(&client, 3, 1).await;
    for number in 0..KEYS {
        put_surely(&bucket, &format!("majority {number}"), "value").await;
    }
    // Whichever node takes it: the one alone can store one copy, the two can, too.
    for number in 0..KEYS {
        bucket.put(format!("anywhere {number}"), "value").w(1).await.expect("any one node will do");
    }
    for value in ["one", "two", "three", "four"] {
        bucket.put("both", value).context(context.context()).w(1).await.expect("any one node will do");
    }
    let all = bucket.put("all", "value").w(3).timeout(Duration::from_secs(1)).await;
    assert!(all.expect_err("no side has three").is_transient());

    cluster.network().heal();
    wait_converged(&cluster);
    for number in 0..KEYS {
        assert_value(&bucket, &format!("majority {number}"), "value").await;
        assert_value(&bucket, &format!("anywhere {number}"), "value").await;
    }
    let mut values = bucket.get("both").r(3).await.expect("all are connected").values().to_vec();
    values.sort();
    assert_eq!(
        values,
        ["four", "one", "three", "two"].map(Bytes::from),
        "all were written without knowing of each other"
    );
    assert_same_stores(&mut cluster).await;
}

/// Nothing of what the node sends reaches the others, or nothing of theirs reaches it.
async fn one_way(cut: impl Fn(&Cluster)) {
    let (mut cluster, client) = three().await;
    let bucket = client.bucket("b").expect("valid");
    for number in 0..KEYS {
        put_surely(&bucket, &format!("key {number}"), "old").await;
    }
    cut(&cluster);
    // From the first moment on, while nobody has noticed yet.
    for number in 0..KEYS {
        put_surely(&bucket, &format!("key {number}"), "new").await;
    }
    until_missed(&client, 1, 3).await;
    until_missed(&client, 2, 3).await;
    for number in 0..KEYS / 2 {
        put_surely(&bucket, &format!("key {number}"), "newest").await;
    }
    cluster.network().heal();
    wait_converged(&cluster);
    for number in 0..KEYS {
        let last = if number < KEYS / 2 { "newest" } else { "new" };
        // A write that n3 took and could not tell of is there too: whoever wrote the key again did not know of it.
        let found = bucket.get(format!("key {number}")).await.expect("all are connected");
        assert!(found.values().iter().any(|value| value == last), "key {number}: {found:?}");
        assert!(found.values().iter().all(|value| value == last || value == "new"), "key {number}: {found:?}");
    }
    assert_eq!(assert_same_stores(&mut cluster).await, KEYS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_nobody_hears_gets_all_it_missed() {
    one_way(|cluster| [1, 2].into_iter().for_each(|other| cluster.network().cut_one_way(3, other))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hears_nobody_gets_all_it_missed() {
    one_way(|cluster| [1, 2].into_iter().for_each(|other| cluster.network().cut_one_way(other, 3))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stand_ins_on_both_sides_of_a_split_hand_over_what_they_kept() {
    let mut cluster = ClusterOptions::new(5).network().scrubbing().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    cluster.network().split(&[1, 2], &[3, 4, 5]);
    for (by, missing) in
        [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (5, 2)]
    {
        until_missed(&client, by, missing).await;
    }
    for number in 0..KEYS {
        put_surely(&bucket, &format!("key {number}"), "value").await;
    }
    let hints = async || {
        let kept: u64 = client
            .statuses()
            .await
            .iter()
            .flat_map(|(_, status)| status.iter())
            .map(|status| status.hints.iter().map(|hints| hints.count).sum::<u64>())
            .sum();
        (0 < kept).then_some(kept)
    };
    wait::until_async("somebody keeps hints", wait::BOUND, hints).await;
    let waiting = cluster.quorate(["wait", "--hints", "--at-most", "1s"]).run();
    waiting.ends_with(3).says(&["hints for n"]);
    cluster.network().heal();
    let waiting = cluster.quorate(["wait", "--hints"]).run();
    waiting.ends_with(0);
    assert!(waiting.stdout.starts_with("no hint from before is kept any more"), "{}", waiting.stdout);
    wait_converged(&cluster);
    for number in 0..KEYS {
        assert_value(&bucket, &format!("key {number}"), "value").await;
    }
    assert_eq!(assert_same_stores(&mut cluster).await, KEYS as usize);
}
