//! Clusters that cannot be reached, in whole or in part, and what is said of it.

use std::time::Duration;

use quorate_client::Client;
use quorate_tests::{Cluster, ClusterOptions, Quorate};

use crate::support::{assert_refused, until_missed};

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_cluster_is_told_seed_by_seed() {
    let cluster = ClusterOptions::new(3).prepare();
    let addresses = cluster.addresses();
    let builder = Client::builder().seeds(addresses.clone()).cluster("it").credentials(cluster.credentials());
    let refused = builder.timeout(Duration::from_secs(1)).connect().await;
    let phrases: Vec<_> = addresses.iter().map(String::as_str).chain(["nothing answers there"]).collect();
    assert_refused(refused, &phrases);
    let status = cluster.quorate(["status", "--timeout", "1s"]).run();
    status.ends_with(3).says(&phrases).says(&["check the addresses"]);
    let put = cluster.quorate(["put", "k", "v", "--timeout", "1s", "--json"]).run();
    let error: serde_json::Value = serde_json::from_str(&put.ends_with(3).stderr).expect("errors are JSON too");
    assert_eq!(error["error"]["kind"], "unavailable");
}

#[test]
fn a_missing_setting_is_named_with_the_ways_to_give_it() {
    Quorate::new(["get", "k"]).run().ends_with(2).says(&["--seeds", "QUORATE_SEEDS", "--config"]);
    Quorate::new(["get", "k", "--seeds", ""]).run().ends_with(2).says(&["--seeds is not given, or empty"]);
    let all =
        ["get", "k", "--seeds", "h:1", "--cluster", "c", "--certificate", "c.pem", "--key", "c.key", "--ca", "nowhere"];
    Quorate::new(all).run().ends_with(5).says(&["CA certificate from nowhere", "quorate cert init"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_and_another_name_are_told_apart() {
    let cluster = Cluster::start(3).await;
    let stranger = ClusterOptions::new(3).name("stranger").prepare();
    let file = |cluster: &Cluster, name: &str| cluster.file(name).display().to_string();
    let wrong_ca = cluster.quorate(["status", "--timeout", "2s", "--ca", &file(&stranger, "ca.pem")]).run();
    wrong_ca.ends_with(3).says(&["not signed by this CA", &file(&stranger, "ca.pem")]);
    let wrong_name = cluster.quorate(["status", "--timeout", "2s", "--cluster", "stranger"]).run();
    wrong_name.ends_with(3).says(&["stranger", "belongs to another cluster"]);
    let wrong_certificate = ["--certificate", &file(&stranger, "client.pem"), "--key", &file(&stranger, "client.key")];
    let refused = cluster.quorate(["status", "--timeout", "2s"].iter().chain(&wrong_certificate)).run();
    refused.ends_with(3).says(&["refused this side's certificate"]);
    let mixed = ["--certificate", &file(&cluster, "client.pem"), "--key", &file(&stranger, "client.key")];
    let refused = cluster.quorate(["status"].iter().chain(&mixed)).run();
    refused.ends_with(5).says(&["client.pem", "client.key", "cannot be used together"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fewer_than_w_nodes_alive_the_error_says_who_is_missing() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let bucket = client.bucket("default").expect("valid");
    bucket.put("k", "v").w(3).await.expect("all nodes are up");
    cluster.node(2).kill();
    cluster.node(3).kill();
    until_missed(&client, 1, 2).await;
    until_missed(&client, 1, 3).await;
    // Another client: the first may not have noticed yet.
    let client = cluster.client().await;
    let bucket = client.bucket("default").expect("valid");
    let missing = ["n2 is unreachable", "n3 is unreachable", "2 replicas"];
    assert_refused(bucket.put("k", "new").await, &missing);
    assert_refused(bucket.get("k").await, &missing);
    let put = cluster.quorate(["put", "k", "new", "--timeout", "2s"]).run();
    put.ends_with(3).says(&missing).says(&["quorate status", "--w"]);
    let status = cluster.quorate(["status", "--timeout", "2s"]).run();
    assert!(status.ends_with(3).says(&["n2, n3"]).stdout.contains("down"), "{status}");
    let one = bucket.get("k").r(1).await.expect("one node is enough for r = 1");
    assert_eq!(one.values(), ["v"], "a refused write changed nothing");
}
