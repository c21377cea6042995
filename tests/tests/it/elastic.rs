//! Clusters that grow and shrink while they are written to, and nobody notices. What is killed meanwhile: `elastic_crashes`; what is
//! refused: `elastic_refused`.

use quorate_client::Client;
use quorate_tests::{Cluster, ClusterOptions, SCRUBBING, store, wait};

use crate::application::{Load, Patience};
use crate::support::{assert_same_stores, node, status, wait_converged};

/// What a change may take on a loaded machine.
pub(crate) const AT_MOST: &str = "100s";

pub(crate) fn options(nodes: u32) -> ClusterOptions {
    ClusterOptions::new(nodes).scrubbing()
}

/// Runs a command that must succeed, and gives what it prints.
pub(crate) fn run(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.quorate(arguments).run().ends_with(0).stdout.clone()
}

/// Starts new nodes, and stages that they join.
pub(crate) fn join(cluster: &mut Cluster, numbers: &[u32]) {
    for &number in numbers {
        cluster.add(number).start();
        let address = cluster.node(number).address().to_string();
        run(cluster, &["cluster", "join", &number.to_string(), &address]);
    }
}

fn leave(cluster: &Cluster, numbers: &[u32]) {
    for number in numbers {
        run(cluster, &["cluster", "leave", &number.to_string()]);
    }
}

pub(crate) fn commit_and_wait(cluster: &Cluster) {
    run(cluster, &["cluster", "commit"]);
    run(cluster, &["wait", "--stable", "--at-most", AT_MOST]);
}

pub(crate) fn members(cluster: &Cluster) -> Vec<u64> {
    let ring: serde_json::Value = serde_json::from_str(&run(cluster, &["ring", "--json"])).expect("JSON");
    let members = ring["members"].as_array().expect("a ring has members");
    members.iter().map(|member| member["node"].as_u64().expect("a number")).collect()
}

/// Waits until a client goes by a ring without these.
pub(crate) async fn until_left(client: &Client, numbers: &[u32]) {
    let left = async || {
        let known = client.known_ring().members;
        (!known.iter().any(|member| numbers.contains(&member.node.number()))).then_some(())
    };
    wait::until_async(&format!("the client goes by a ring without {numbers:?}"), wait::BOUND, left).await;
}

/// Stops nodes that have left, once the application does not ask them any more, and asserts that they have kept nothing.
async fn take_out(cluster: &mut Cluster, client: &Client, numbers: &[u32]) {
    until_left(client, numbers).await;
    for &number in numbers {
        let ended = cluster.node(number).stop();
        assert_eq!(ended.code, 0, "{}", ended.log);
        let node = cluster.take_out(number);
        assert_eq!(store::count_objects(&node.data()), 0, "objects that n{number} has kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_three_grows_to_five_and_nine_and_shrinks_to_three_while_it_is_written_to_and_nobody_notices() {
    // Beside a load that takes all of the machine there is a MiB a second for background work in each shard: a sweep that is quicker than
    // the usual one would take that from the partitions that move. So it is not made quick before the end.
    let mut cluster = ClusterOptions::new(3).cluster_line("partitions = 128").start().await;
    let client = cluster.client().await;
    let mut load = Load::start(&client, Patience::None);
    load.goes_on(100).await;
    join(&mut cluster, &[4, 5]);
    commit_and_wait(&cluster);
    assert_eq!(members(&cluster), [1, 2, 3, 4, 5]);
    let held = status(&client, 4).await.partitions;
    assert!((70..=84).contains(&held), "{held} of 384 replicas is no fifth");
    load.goes_on(100).await;

    join(&mut cluster, &[6, 7, 8, 9]);
    commit_and_wait(&cluster);
    assert_eq!(members(&cluster), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    load.goes_on(100).await;

    for leaving in [[2, 4, 6], [3, 5, 8]] {
        leave(&cluster, &leaving);
        commit_and_wait(&cluster);
        take_out(&mut cluster, &client, &leaving).await;
        load.goes_on(100).await;
    }
    assert_eq!(members(&cluster), [1, 7, 9]);
    let acknowledged = load.finish(&cluster).await;
    wait_converged(&cluster);

    // A start that finds another ring than the configuration's is one like any other.
    for number in [1, 7, 9] {
        cluster.node(number).stop();
        cluster.node(number).edit_config("shards = 2\n", &format!("shards = 2\n{SCRUBBING}"));
        cluster.node(number).start();
    }
    wait_converged(&cluster);
    assert!(cluster.node(1).log_of_run().contains("not by the configuration's list"));
    assert_eq!(assert_same_stores(&mut cluster).await, acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_up_is_replaced_in_order_and_nobody_notices() {
    let mut cluster = options(3).start().await;
    let client = cluster.client().await;
    let mut load = Load::start(&client, Patience::None);
    load.goes_on(100).await;
    let address = cluster.add(4).address().to_string();
    cluster.node(4).start();
    let replaced = cluster.quorate(["cluster", "replace", "2", "4", &address]).run();
    assert!(replaced.ends_with(0).stderr.is_empty(), "nothing to warn of: {replaced}");
    commit_and_wait(&cluster);
    assert_eq!(members(&cluster), [1, 3, 4]);
    take_out(&mut cluster, &client, &[2]).await;
    let acknowledged = load.finish(&cluster).await;
    wait_converged(&cluster);
    assert!(client.status(node(4)).await.expect("it is up").complete);
    assert_eq!(assert_same_stores(&mut cluster).await, acknowledged.len());
}
