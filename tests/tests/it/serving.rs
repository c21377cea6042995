//! A healthy cluster: quorums, siblings, contexts, deletes that leave nothing.

use bytes::Bytes;
use quorate_tests::{Cluster, store, wait};

use crate::support::{assert_value, until_missed};

const NODES: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn every_pair_of_quorums_serves_puts_gets_and_deletes() {
    let cluster = Cluster::start(NODES).await;
    let client = cluster.client().await;
    let bucket = client.bucket("quorums").expect("a valid name");
    for (r, w) in (1..=3).flat_map(|r| (1..=3).map(move |w| (r, w))) {
        let key = format!("r{r} w{w}");
        let value = Bytes::from(format!("value of {key}"));
        bucket.put(&key, value.clone()).w(w).await.unwrap_or_else(|error| panic!("put {key}: {error}"));
        let seen = async || {
            let found = bucket.get(&key).r(r).await.unwrap_or_else(|error| panic!("get {key}: {error}"));
            // Quorums that meet see the write at once, the others when it has arrived everywhere.
            let fresh = found.values() == [value.clone()];
            assert!(fresh || r + w <= 3, "{key}: {found:?}");
            fresh.then_some(found)
        };
        let found = wait::until_async(&format!("{key} is read"), wait::BOUND, seen).await;
        let deleted = bucket.delete(&key).context(found.context()).w(w).await;
        deleted.unwrap_or_else(|error| panic!("delete {key}: {error}"));
        let gone = async || {
            let found = bucket.get(&key).r(r).await.unwrap_or_else(|error| panic!("get {key}: {error}"));
            assert!(found.values().is_empty() || r + w <= 3, "{key}: {found:?}");
            found.values().is_empty().then_some(())
        };
        wait::until_async(&format!("{key} is gone"), wait::BOUND, gone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_did_not_see_each_other_are_both_kept_and_a_delete_leaves_nothing_in_any_store() {
    let mut cluster = Cluster::start(NODES).await;
    let (one, other) = (cluster.client().await, cluster.client().await);
    let (mine, theirs) = (one.bucket("carts").expect("valid"), other.bucket("carts").expect("valid"));
    for number in 0..100 {
        let key = format!("cart {number}");
        let (left, right) = tokio::join!(mine.put(&key, "mine").w(3), theirs.put(&key, "theirs").w(3));
        left.and(right).expect("all nodes are up");

        let found = mine.get(&key).await.expect("all nodes are up");
        let mut values = found.values().to_vec();
        values.sort();
        assert_eq!(values, ["mine", "theirs"], "{key}: neither had seen the other");

        let merged = theirs.put(&key, "both").context(found.context()).w(3).await.expect("all nodes are up");
        assert_eq!(merged.siblings(), 1, "{key}: a write with the read's context replaces what was read");
        assert_value(&mine, &key, "both").await;

        // The old context covers only what its read saw.
        let late = mine.delete(&key).context(found.context()).w(3).await.expect("all nodes are up");
        assert_eq!(late.siblings(), 1, "{key}");
        assert_value(&theirs, &key, "both").await;

        let found = theirs.get(&key).await.expect("all nodes are up");
        let deleted = theirs.delete(&key).context(found.context()).w(3).await.expect("all nodes are up");
        assert_eq!(deleted.siblings(), 0, "{key}");
        assert!(mine.get(&key).await.expect("all nodes are up").values().is_empty(), "{key}");
    }
    mine.put("last", "kept").w(3).await.expect("all nodes are up");
    cluster.stop_all();
    for node in cluster.nodes() {
        assert_eq!(store::count_objects(&node.data()), 1, "n{}: only the key that was not deleted", node.number());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_from_many_sides_loses_nobodys_change() {
    let cluster = Cluster::start(NODES).await;
    let adders = (0..8).map(|number| {
        let cluster = &cluster;
        async move {
            let client = cluster.client().await;
            let bucket = client.bucket("sets").expect("valid");
            for round in 0..5 {
                let item = format!("{number}-{round}");
                let merge = move |siblings: &[Bytes]| {
                    let texts = siblings.iter().map(|value| std::str::from_utf8(value).expect("text"));
                    let mut items: Vec<_> = texts.flat_map(|text| text.split(' ')).map(str::to_owned).collect();
                    items.push(item.clone());
                    items.sort();
                    items.dedup();
                    items.join(" ")
                };
                // Others writing all the time may make it give up; what it wrote stays, and it says so.
                let update = async || bucket.update("set", merge.clone()).await.ok();
                wait::until_async("the update is through", wait::BOUND, update).await;
            }
        }
    });
    let adders: Vec<_> = adders.collect();
    for_all(adders).await;
    let client = cluster.client().await;
    let bucket = client.bucket("sets").expect("valid");
    let merged = bucket.update("set", |siblings: &[Bytes]| {
        let mut items: Vec<_> = siblings.iter().flat_map(|value| value.split(|&byte| byte == b' ')).collect();
        items.sort_unstable();
        items.dedup();
        items.join(&b' ')
    });
    let value = merged.await.expect("nobody else writes").value().clone();
    let items: Vec<_> = value.split(|&byte| byte == b' ').collect();
    assert_eq!(items.len(), 40, "{}", String::from_utf8_lossy(&value));
}

/// Runs futures of one kind at the same time.
async fn for_all(futures: Vec<impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_lists_every_key_once_with_all_its_siblings() {
    let cluster = Cluster::start(NODES).await;
    let client = cluster.client().await;
    let (bucket, other) = (client.bucket("scanned").expect("valid"), client.bucket("other").expect("valid"));
    let keys: Vec<_> = (0..3000).map(|number| format!("key {number:04}")).collect();
    for result in bucket.put_many(keys.iter().map(|key| (key.clone(), format!("of {key}")))).await {
        result.expect("all nodes are up");
    }
    other.put("key 0001", "of another bucket").await.expect("all nodes are up");
    bucket.put("key 0002", "a sibling").await.expect("all nodes are up");
    let (mut seen, mut siblings, mut scan) = (Vec::new(), 0, bucket.scan());
    while let Some(entry) = scan.next().await.expect("all nodes are up") {
        seen.push(String::from_utf8(entry.key().to_vec()).expect("text"));
        siblings += entry.found().values().len();
    }
    seen.sort();
    assert_eq!(seen, keys);
    assert_eq!(siblings, keys.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_write_has_nobody_stand_in() {
    const KEYS: usize = 20;
    let mut cluster = Cluster::start(4).await;
    let client = cluster.client().await;
    cluster.node(4).kill();
    for by in 1..=3 {
        until_missed(&client, by, 4).await;
    }
    // A refusal may pass, so the command tries again until its time is over.
    let put = |key: &str| cluster.quorate(["put", "--timeout", "1s", "--w", "3", key, "value"]);
    let mut refused = 0;
    for number in 0..KEYS {
        let key = format!("key {number}");
        let strict = put(&key).arg("--strict").run();
        if strict.code != 0 {
            refused += 1;
            strict.ends_with(3).says(&["of the 3 replicas needed stored the write", "n4"]);
        }
        put(&key).run().ends_with(0);
    }
    // n4 is a primary of three quarters of the keys.
    assert!((1..KEYS).contains(&refused), "{refused}");
}
