//! Changes of a cluster's members that are refused, and nodes that cannot join: what is said, and that nothing has changed.

use quorate_tests::{Cluster, ClusterOptions, Ended, wait};

use crate::elastic::{commit_and_wait, members, options, run};
use crate::support::{node, wait_converged};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_change_of_the_members_is_refused_and_told_what_would_be_right() {
    let mut cluster = options(3).start().await;
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
    let mut cluster = options(3).start().await;
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
    let data = cluster.node(4).data();
    wait::until("n4 has a store and begins to ask", wait::BOUND, || data.join("store").exists().then_some(()));
    cluster.node(1).start();
    cluster.node(2).start();
    assert!(alone.is_running(), "it could only end, and must not");
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

/// Asserts that n4 does not start, and says this.
#[track_caller]
fn assert_cannot_join(cluster: &mut Cluster, code: i32, phrases: &[&str]) {
    let Ended { code: ended, log } = cluster.node(4).try_start().expect_err("it cannot join");
    assert_eq!(ended, code, "{log}");
    for phrase in phrases {
        assert!(log.contains(phrase), "expected {phrase:?} in\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_or_with_its_certificates_cannot_join_and_says_why() {
    let mut cluster = options(3).start().await;
    cluster.add(4);
    cluster.node(4).edit_config("name = \"it\"", "name = \"other\"");
    assert_cannot_join(&mut cluster, 5, &["n4.pem", "n4.other.quorate"]);

    // Its certificates and its name are those of another cluster.
    let other = ClusterOptions::new(3).name("other").prepare();
    let path = |name: &str| other.file(name).to_str().expect("the test's own path").to_owned();
    let (ca, certificate, key) = (path("ca.pem"), path("n4.pem"), path("n4.key"));
    cluster.node(4).set_flags(&["--ca", &ca, "--certificate", &certificate, "--key", &key]);
    assert_cannot_join(&mut cluster, 2, &["cannot join the cluster by way of", "certificate"]);

    // It is one of the cluster's nodes, and trusts another authority.
    cluster.node(4).edit_config("name = \"other\"", "name = \"it\"");
    cluster.node(4).wipe();
    cluster.node(4).set_flags(&["--ca", &ca]);
    assert_cannot_join(&mut cluster, 5, &["n4.pem", "not signed by the CA in"]);

    cluster.node(4).set_flags(&[]);
    cluster.node(4).start();
    assert_eq!(members(&cluster), [1, 2, 3], "whoever asks is no member yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_nodes_cannot_leave_and_a_plan_that_is_over_is_not_committed() {
    let mut cluster = options(3).start().await;
    let refused = |arguments: &[&str], phrases: &[&str]| {
        cluster.quorate(arguments).run().ends_with(2).says(phrases);
    };
    for node in ["1", "2", "3"] {
        refused(&["cluster", "leave", node], &["2 nodes would be left"]);
        refused(&["cluster", "leave", node, "--force"], &["2 nodes would be left"]);
    }
    let address = cluster.add(4).address().to_string();
    cluster.node(4).start();
    run(&cluster, &["cluster", "join", "4", &address]);
    let plan: serde_json::Value = serde_json::from_str(&run(&cluster, &["cluster", "plan", "--json"])).expect("JSON");
    let plan = plan["plan"].as_str().expect("a plan has a name").to_owned();
    run(&cluster, &["cluster", "commit", "--plan", &plan]);
    // It is being carried out, or done: what was looked at is not what would be committed now.
    cluster.quorate(["cluster", "commit", "--plan", &plan]).run().ends_with(2).says(&["nothing is staged"]);
    run(&cluster, &["wait", "--stable", "--at-most", "100s"]);
    run(&cluster, &["cluster", "set", "1", "--capacity", "50"]);
    cluster
        .quorate(["cluster", "commit", "--plan", &plan])
        .run()
        .ends_with(2)
        .says(&["has changed since the plan was made"]);
    run(&cluster, &["cluster", "revert"]);
    cluster
        .quorate(["cluster", "join", "4", &address])
        .run()
        .ends_with(2)
        .says(&["n4 is a member of the cluster", "such as 5"]);

    // With a fourth one there one may leave, and then none any more.
    run(&cluster, &["cluster", "leave", "4"]);
    commit_and_wait(&cluster);
    assert_eq!(members(&cluster), [1, 2, 3]);
    cluster.quorate(["cluster", "leave", "1"]).run().ends_with(2).says(&["2 nodes would be left"]);
    let ended = cluster.node(4).stop();
    assert_eq!(ended.code, 0, "{}", ended.log);
    cluster.take_out(4);
    wait_converged(&cluster);
}
