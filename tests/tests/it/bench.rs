//! `quorate bench`: what it measures is what was asked for, and what cannot be measured is said.

use quorate_tests::{Cluster, Quorate};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_workload_is_run_and_nothing_of_it_fails() {
    let cluster = Cluster::start(3).await;
    for workload in ["a", "b", "c", "d", "e", "f"] {
        let bucket = format!("of-{workload}");
        let options = ["--records", "300", "--value-bytes", "50", "--time", "700ms", "--warm-up", "100ms", "--json"];
        let named = ["bench", "--workload", workload, "--bucket", &bucket, "--clients", "4"];
        let run = cluster.quorate([&named[..], &options[..]].concat()).run();
        let told = json(&run.ends_with(0).stdout);
        assert_eq!((&told["workload"], &told["failed"]), (&workload.into(), &0.into()), "{told}");
        let operations = |kind: &serde_json::Value| kind["operations"].as_u64().expect("a number");
        let kinds = told["kinds"].as_object().expect("an object").values().map(operations);
        assert!(0 < operations(&told) && kinds.sum::<u64>() == operations(&told), "{told}");
        assert!(0.0 < told["cpu_micros_bench"].as_f64().expect("a number"), "{told}");
        assert!(told["latency_micros"]["p50"].as_u64() <= told["latency_micros"]["max"].as_u64(), "{told}");
    }
    // Of these workloads only two store further records.
    assert_eq!(keys_of(&cluster, "of-a").await, 300);
    assert!(300 < keys_of(&cluster, "of-d").await);
}

async fn keys_of(cluster: &Cluster, bucket: &str) -> usize {
    let (client, mut keys) = (cluster.client().await, 0);
    let mut scan = client.bucket(bucket).expect("valid").scan();
    while let Some(page) = scan.next_page().await.expect("all nodes are up") {
        keys += page.entries.len();
    }
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_rate_is_kept_and_one_that_cannot_be_reached_is_told() {
    let cluster = Cluster::start(3).await;
    let options = ["bench", "--records", "100", "--value-bytes", "20", "--warm-up", "200ms", "--json"];
    let at = |rate: &str, time: &str, more: &[&str]| {
        cluster.quorate([&options[..], &["--rate", rate, "--time", time], more].concat()).run()
    };
    let slow = at("50", "2s", &[]);
    let told = json(&slow.ends_with(0).stdout);
    let rate = told["rate"].as_f64().expect("a number");
    assert!(0.0 < rate && rate < 75.0 && told["rate_asked"] == 50.0, "{told}");
    let fast = at("5000000", "500ms", &["--loaded"]);
    fast.ends_with(0).says(&["of 5,000,000 requests a second", "the rate was not reached"]);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let refused = |arguments: &[&str], phrases: &[&str]| {
        Quorate::new([&["bench"], arguments].concat()).run().ends_with(2).says(phrases);
    };
    refused(&["--clients", "3", "--rate", "10"], &["--clients", "--rate", "cannot be used with"]);
    refused(&["--rate", "0"], &["a rate is a number of requests a second"]);
    refused(&["--value-bytes", "0"], &["a value has 1 to"]);
    refused(&["--start", "2"], &["3..=64"]);
    refused(&["--dir", "x"], &["--start"]);
    refused(&["--seeds", ""], &["seeds"]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("workload");
    std::fs::write(&file, "readproportion=1\n\nreadproportio=0\n").expect("it can be written");
    let file = file.to_str().expect("a name");
    refused(&["--workload", file], &["workload:3: \"readproportio\" is no setting"]);
    let missing = Quorate::new(["bench", "--workload", "g"]).run();
    missing.ends_with(5).says(&["cannot read g", "a, b, c, d, e or f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_is_told() {
    let mut cluster = Cluster::start(3).await;
    (1..=3).for_each(|number| cluster.node(number).kill());
    let run = cluster.quorate(["bench", "--timeout", "1s"]).run();
    run.ends_with(3);
}

#[test]
fn a_bench_starts_a_cluster_of_its_own_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let temporary = directory.path().to_str().expect("a name");
    let options = ["--records", "200", "--time", "500ms", "--warm-up", "100ms"];
    let run = Quorate::new([&["bench", "--start", "3"], &options[..]].concat()).env("TMPDIR", temporary).run();
    let told = &run.ends_with(0).stdout;
    assert!(told.contains("50 % read, 50 % update") && told.contains("CPU for each"), "{told}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 0, "nothing is left");
}
