//! Clusters whose members change while they are written to: who joins, leaves, dies and is replaced, and what a wrong command is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_client::{Bucket, Client};
use quorate_tests::{Cluster, ClusterOptions, wait};
use tokio::task::JoinHandle;

use crate::support::{assert_value, node, status, until_missed};

/// What a change may take on a loaded machine.
const AT_MOST: &str = "100s";

fn options() -> ClusterOptions {
    ClusterOptions::new(3).cluster_line("partitions = 128")
}

/// An application that writes one record after the other, and reads some that it has written, until it is told to stop. Nothing may fail.
struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u32>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let bucket = client.bucket("b").expect("valid");
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let mut written = 0;
            while !told.load(Ordering::Relaxed) {
                let (key, value) = record(written);
                bucket.put(&*key, value).await.unwrap_or_else(|error| panic!("put {key}: {error}"));
                let (key, value) = record(written / 2);
                assert_value(&bucket, &key, &value).await;
                written += 1;
            }
            written
        });
        Self { stop, task }
    }

    /// Stops it; every record is then read by another client, and has to be what was written.
    async fn finish(self, cluster: &Cluster) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        let written = self.task.await.expect("nothing failed for the application");
        assert!(100 < written, "only {written} records were written: this tested nothing");
        let client = cluster.client().await;
        check(&client.bucket("b").expect("valid"), written).await;
        written
    }
}

fn record(number: u32) -> (String, String) {
    (format!("key {number}"), format!("value {number}"))
}

async fn check(bucket: &Bucket, written: u32) {
    for number in 0..written {
        let (key, value) = record(number);
        assert_value(bucket, &key, &value).await;
    }
}

fn run(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.quorate(arguments).run().ends_with(0).stdout.clone()
}

fn join(cluster: &mut Cluster, number: u32) {
    let address = cluster.node(number).address().to_string();
    run(cluster, &["cluster", "join", &number.to_string(), &address]);
}

fn commit_and_wait(cluster: &Cluster) {
    run(cluster, &["cluster", "commit"]);
    run(cluster, &["wait", "--stable", "--at-most", AT_MOST]);
}

fn members(cluster: &Cluster) -> Vec<u64> {
    let ring: serde_json::Value = serde_json::from_str(&run(cluster, &["ring", "--json"])).expect("JSON");
    let members = ring["members"].as_array().expect("a ring has members");
    members.iter().map(|member| member["node"].as_u64().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_three_grows_to_five_and_shrinks_to_three_while_it_is_written_to_and_nobody_notices() {
    let mut cluster = options().start().await;
    let client = cluster.client().await;
    let load = Load::start(&client);
    for number in [4, 5] {
        cluster.add(number).start();
        join(&mut cluster, number);
    }
    commit_and_wait(&cluster);
    assert_eq!(members(&cluster), [1, 2, 3, 4, 5]);
    let held = status(&client, 4).await.partitions;
    assert!((70..=84).contains(&held), "{held} of 384 replicas is no fifth");

    run(&cluster, &["cluster", "leave", "1"]);
    run(&cluster, &["cluster", "leave", "4"]);
    commit_and_wait(&cluster);
    assert_eq!(members(&cluster), [2, 3, 5]);
    tokio::time::sleep(Duration::from_secs(4)).await; // The application's client has the new ring by then: that is what is tested next.
    for number in [1, 4] {
        let ended = cluster.node(number).stop();
        assert_eq!(ended.code, 0, "{}", ended.log);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.finish(&cluster).await;

    // A start that finds another ring than the configuration's is one like any other.
    cluster.node(2).stop();
    cluster.node(2).start();
    run(&cluster, &["wait", "--converged", "--at-most", AT_MOST]);
    assert!(cluster.node(2).log_of_run().contains("not by the configuration's list"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_by_a_new_one_and_every_record_has_three_replicas_again() {
    let mut cluster = options().start().await;
    let client = cluster.client().await;
    let bucket = client.bucket("before").expect("valid");
    for number in 0..300 {
        let (key, value) = record(number);
        bucket.put(&*key, value).w(3).await.expect("all nodes are up");
    }
    cluster.node(2).kill();
    until_missed(&client, 1, 2).await;
    until_missed(&client, 3, 2).await;
    let client = cluster.client().await;
    let load = Load::start(&client);
    cluster.add(4).start();
    join(&mut cluster, 4);
    cluster.quorate(["cluster", "leave", "2", "--force"]).run().ends_with(0);
    commit_and_wait(&cluster);
    assert_eq!(members(&cluster), [1, 3, 4]);
    let written = load.finish(&cluster).await;
    let client = cluster.client().await;
    for (bucket, records) in [("before", 300), ("b", written)] {
        let bucket = client.bucket(bucket).expect("valid");
        for number in 0..records {
            let (key, value) = record(number);
            let found = bucket.get(&*key).r(3).await.unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_eq!(found.values(), [value], "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_while_it_receives_goes_on_when_it_is_back() {
    let mut cluster = options().start().await;
    let client = cluster.client().await;
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.add(4).start();
    join(&mut cluster, 4);
    run(&cluster, &["cluster", "commit"]);
    cluster.node(4).kill();
    let layout = client.layout(node(1)).await.expect("n1 is up");
    assert_eq!(layout.live().len(), 2, "the change was done before the node was killed: this tested nothing");
    let waited = cluster.quorate(["wait", "--stable", "--at-most", "1s"]).run();
    waited.ends_with(3).says(&["the ring changes from epoch 1 to 2"]);
    cluster.node(4).start();
    run(&cluster, &["wait", "--stable", "--at-most", AT_MOST]);
    assert_eq!(members(&cluster), [1, 2, 3, 4]);
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_change_of_the_members_is_refused_and_told_what_would_be_right() {
    let mut cluster = options().start().await;
    let first = cluster.node(1).address().to_string();
    let refused = |arguments: &[&str], phrases: &[&str]| {
        cluster.quorate(arguments).run().ends_with(2).says(phrases);
    };
    refused(&["cluster", "plan"], &["nothing is staged", "cluster join"]);
    refused(&["cluster", "commit"], &["nothing is staged"]);
    refused(&["cluster", "join", "3", "h:1"], &["n3 is a member of the cluster", "such as 4"]);
    refused(&["cluster", "join", "4", "nowhere"], &["expected host:port"]);
    refused(&["cluster", "join", "4", &first], &["is the address of n1"]);
    refused(&["cluster", "join", "4", "h:1", "--capacity", "0"], &["a capacity is a number from 1"]);
    refused(&["cluster", "leave", "9"], &["n9 is no member", "n1, n2, n3"]);
    refused(&["cluster", "leave", "3"], &["2 nodes would be left", "3 replicas", "cluster replace 3"]);
    refused(&["cluster", "replace", "9", "4", "h:1"], &["n9 is no member"]);
    refused(&["cluster", "set", "3"], &["nothing to set"]);
    refused(&["cluster", "commit", "--plan", "x"], &["such as 2-"]);

    let joined = run(&cluster, &["cluster", "join", "4", "127.0.0.1:9", "--zone", "b"]);
    assert!(joined.contains("n4 joins at 127.0.0.1:9") && joined.contains("cluster plan"), "{joined}");
    let plan = run(&cluster, &["cluster", "plan"]);
    assert!(plan.contains("plan 2-") && plan.contains("96 replicas of partitions are copied"), "{plan}");
    assert!(run(&cluster, &["ring"]).contains("staged: n4 joins"));
    let seen: serde_json::Value =
        serde_json::from_str(&run(&cluster, &["cluster", "plan", "--json"])).expect("one JSON object");
    let seen = seen["plan"].as_str().expect("a plan has a name").to_owned();
    let forced = cluster.quorate(["cluster", "leave", "3", "--force"]).run();
    forced.ends_with(0).says(&["warning", "n3 is up"]);
    let refused = cluster.quorate(["cluster", "commit", "--plan", &seen]).run();
    refused.ends_with(2).says(&["has changed since the plan was made"]);
    run(&cluster, &["cluster", "revert"]);
    cluster.quorate(["cluster", "plan"]).run().ends_with(2).says(&["nothing is staged"]);
    run(&cluster, &["wait", "--stable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_join_says_why_and_one_that_finds_nobody_goes_on_asking() {
    let mut cluster = options().start().await;
    cluster.add(4);
    let secret = cluster.file("other.secret");
    std::fs::write(&secret, "as long as a secret has to be, and another").expect("it is ours");
    cluster.node(4).set_flags(&["--secret", secret.to_str().expect("the test's own path")]);
    let ended = cluster.node(4).try_start().expect_err("its secret is another");
    assert_eq!(ended.code, 2, "{}", ended.log);
    assert!(ended.log.contains("was given another secret"), "{}", ended.log);
    cluster.node(4).set_flags(&[]);

    cluster.node(4).edit_config("partitions = 128", "partitions = 64");
    let ended = cluster.node(4).try_start().expect_err("Q never changes");
    assert!(ended.log.contains("has 128 partitions, the configuration says 64"), "{}", ended.log);
    std::fs::remove_dir_all(cluster.node(4).data()).expect("it was made");
    cluster.node(4).edit_config("partitions = 64", "partitions = 128");

    cluster.stop_all();
    let mut alone = cluster.node(4).another_process().start();
    tokio::time::sleep(Duration::from_secs(2)).await; // It could only end, and must not.
    assert!(alone.is_running());
    cluster.node(1).start();
    cluster.node(2).start();
    let waits = async || cluster.quorate(["cluster", "plan"]).run().stderr.contains("nothing is staged").then_some(());
    wait::until_async("the others serve again", wait::BOUND, waits).await;
    let address = cluster.node(4).address().to_string();
    run(&cluster, &["cluster", "join", "4", &address]);
    let connected = async || {
        let client = cluster.client().await;
        let status = client.status(node(1)).await.ok()?;
        status.peers.iter().any(|peer| peer.node == node(4) && peer.connected).then_some(())
    };
    wait::until_async("n4 has found them", wait::BOUND, connected).await;
}
