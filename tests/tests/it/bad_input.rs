//! Wrong requests, through the library and through the binary: each is refused in words that help, and changes nothing.

use bytes::Bytes;
use quorate_client::ContextToken;
use quorate_ring::limits::{BUCKET_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use quorate_tests::{Cluster, ClusterOptions};

use crate::support::{assert_refused, assert_value, too_large};

#[tokio::test(flavor = "multi_thread")]
async fn the_library_refuses_what_cannot_be() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    for name in ["", "with space", &"b".repeat(BUCKET_BYTES_MAX + 1)] {
        assert_refused(client.bucket(name), &["bucket"]);
    }
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    assert_refused(bucket.get("").await, &["the key is empty", "1 to 4096 bytes"]);
    assert_refused(bucket.put("", "v").await, &["the key is empty"]);
    assert_refused(bucket.get(&long).await, &["the key has 4097 bytes", "at most 4096"]);
    assert_refused(bucket.put(&long, "v").await, &["the key has 4097 bytes"]);
    assert_refused(bucket.put("k", too_large()).await, &["the value has 8388609 bytes", "8 MiB"]);
    assert_refused(bucket.get("k").r(0).await, &["r = 0 is not possible with n = 3", "1 to 3"]);
    assert_refused(bucket.get("k").r(4).await, &["r = 4 is not possible with n = 3"]);
    assert_refused(bucket.put("k", "v").w(0).await, &["w = 0 is not possible with n = 3"]);
    assert_refused(bucket.put("k", "v").w(4).await, &["w = 4 is not possible with n = 3"]);
    assert!(bucket.get("k").await.expect("all nodes are up").values().is_empty(), "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_key_and_value_are_taken() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let bucket = client.bucket(&"b".repeat(BUCKET_BYTES_MAX)).expect("valid");
    let (key, value) = (vec![0xff; KEY_BYTES_MAX], Bytes::from(vec![b'v'; VALUE_BYTES_MAX]));
    bucket.put(&key, value.clone()).w(3).await.expect("all nodes are up");
    let found = bucket.get(&key).r(3).await.expect("all nodes are up");
    assert!(found.values() == [value], "not the value that was written");
    bucket.put("empty value", "").await.expect("all nodes are up");
    assert_value(&bucket, "empty value", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_this_cluster_did_not_make_for_this_key_is_refused() {
    let cluster = Cluster::start(3).await;
    let other = ClusterOptions::new(1).name("other").cluster_line("replicas = 1").start().await;
    let (client, stranger) = (cluster.client().await, other.client().await);
    let (bucket, foreign) = (client.bucket("b").expect("valid"), stranger.bucket("b").expect("valid"));
    for (bucket, key) in [(&bucket, "key"), (&bucket, "another key"), (&foreign, "key")] {
        bucket.put(key, "value").await.expect("all nodes are up");
    }
    let genuine = bucket.get("key").await.expect("all nodes are up").context();
    let bytes = genuine.as_bytes();
    let token = |bytes: Vec<u8>| ContextToken::from_bytes(bytes.into()).expect("short");
    for index in 1..bytes.len() {
        let mut forged = bytes.to_vec();
        forged[index] ^= 1;
        assert_refused(bucket.put("key", "x").context(token(forged)).await, &["context"]);
    }
    let of_another_key = bucket.get("another key").await.expect("all nodes are up").context();
    assert_refused(bucket.put("key", "x").context(of_another_key).await, &["not made by this cluster for this key"]);
    assert_refused(bucket.put("key", "x").context(token(bytes[..5].to_vec())).await, &["too few"]);
    let cut = token(bytes[..bytes.len() - 1].to_vec());
    assert_refused(bucket.delete("key").context(cut).await, &["not made by this cluster for this key"]);
    let foreign = foreign.get("key").await.expect("the other cluster is up").context();
    assert_refused(bucket.put("key", "x").context(foreign).await, &["not made by this cluster for this key"]);
    assert_value(&bucket, "key", "value").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_refuses_what_cannot_be_with_exit_code_2() {
    let cluster = Cluster::start(3).await;
    let large = cluster.file("large");
    std::fs::write(&large, too_large()).expect("the temporary directory can be written");
    let at_large = format!("@{}", large.display());
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let refused: &[(&[&str], &[&str])] = &[
        (&["put", "", "v"], &["the key is empty"]),
        (&["get", &long], &["the key has 4097 bytes"]),
        (&["put", "k", &at_large], &["the value has 8388609 bytes", "8 MiB", "split it"]),
        (&["put", "k", "v", "--w", "0"], &["0", "--w"]),
        (&["put", "k", "v", "--w", "4"], &["w = 4 is not possible with n = 3"]),
        (&["get", "k", "--r", "4"], &["r = 4 is not possible with n = 3"]),
        (&["get", "k", "--bucket", "no good"], &["bucket", "no good"]),
        (&["put", "k", "v", "--context", "zz"], &["context", "hexadecimal"]),
        (&["put", "k", "v", "--context", "01"], &["context", "too few"]),
        (&["get", "k", "--timeout", "soon"], &["500ms", "soon"]),
        (&["get"], &["KEY"]),
        (&["gat", "k"], &["gat"]),
    ];
    for (arguments, phrases) in refused {
        cluster.quorate(*arguments).run().ends_with(2).says(phrases);
    }
    cluster.quorate(["get", "k"]).run().ends_with(1).says(&["nothing is stored under"]);
    cluster.quorate(["put", "k", "v"]).run().ends_with(0);
    let got = cluster.quorate(["get", "k"]).run();
    assert_eq!(got.ends_with(0).stdout, "v");
    let json = cluster.quorate(["get", "no such key", "--json"]).run();
    let error: serde_json::Value = serde_json::from_str(&json.ends_with(1).stderr).expect("errors are JSON too");
    assert_eq!(error["error"]["kind"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_goes_through_the_command_line() {
    let cluster = Cluster::start(3).await;
    for value in ["one", "two"] {
        cluster.quorate(["put", "k", value]).run().ends_with(0);
    }
    let siblings = cluster.quorate(["get", "k", "--json"]).run();
    let found: serde_json::Value = serde_json::from_str(&siblings.ends_with(0).stdout).expect("JSON");
    assert_eq!(found["values"].as_array().map(Vec::len), Some(2), "{siblings}");
    let context = found["context"].as_str().expect("a context");
    let mut forged = context.to_owned();
    forged.replace_range(4..5, if &context[4..5] == "0" { "1" } else { "0" });
    cluster.quorate(["put", "k", "x", "--context", &forged]).run().ends_with(2).says(&["context", "quorate get"]);
    cluster.quorate(["put", "k", "both", "--context", context]).run().ends_with(0);
    assert_eq!(cluster.quorate(["get", "k"]).run().ends_with(0).stdout, "both");
    cluster.quorate(["delete", "k"]).run().ends_with(0);
    cluster.quorate(["get", "k"]).run().ends_with(1);
}
