//! `quorate bench`: what it measures is what was asked for, and what cannot be measured is said.

use quorate_tests::{Cluster, Quorate, wait};

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
        let each = |cost: &str| told[cost].as_f64().unwrap_or_else(|| panic!("{cost} is told: {told}"));
        let costs =
            ["cpu_micros_nodes", "cpu_micros_bench", "context_switches", "bytes_with_clients", "bytes_between_nodes"];
        assert!(costs.iter().all(|cost| 0.0 < each(cost)), "{told}");
        // What the kernel says of disks depends on the file system.
        assert!(["disk_bytes_written", "disk_bytes_read"].iter().all(|cost| 0.0 <= each(cost)), "{told}");
        assert_eq!(told["memory_bytes"].as_object().expect("by node").len(), 3, "{told}");
        assert!(told["latency_micros"]["p50"].as_u64() <= told["latency_micros"]["max"].as_u64(), "{told}");
    }
    // Of these workloads only two store further records.
    assert_eq!(keys_of(&cluster, "of-a").await, 300);
    assert!(300 < keys_of(&cluster, "of-d").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_bench_replaces_what_the_first_one_left() {
    let cluster = Cluster::start(3).await;
    let load = ["bench", "--shape", "load", "--records", "300", "--value-bytes", "20"];
    for _ in 0..2 {
        cluster.quorate(load).run().ends_with(0);
    }
    let (client, mut values) = (cluster.client().await, Vec::new());
    let mut scan = client.bucket("bench").expect("valid").scan();
    while let Some(page) = scan.next_page().await.expect("all nodes are up") {
        values.extend(page.entries.iter().map(|entry| entry.found().values().len()));
    }
    assert_eq!(values, [1; 300]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_succeed_end_a_bench_and_are_told() {
    let mut cluster = Cluster::start(3).await;
    let options = ["bench", "--records", "10", "--time", "300ms", "--warm-up", "50ms", "--clients", "1"];
    let with = |cluster: &Cluster, more: &[&str]| cluster.quorate([&options[..], more].concat()).run();
    with(&cluster, &["--r", "4"]).ends_with(2).says(&["r = 4 is not possible with n = 3"]);
    with(&cluster, &["--w", "4"]).ends_with(2).says(&["w = 4 is not possible with n = 3"]);
    with(&cluster, &["--loaded"]).ends_with(3).says(&["no request succeeded", "is not there"]);
    cluster.node(3).kill();
    // Each takes longer to fail than is measured.
    let late = with(&cluster, &["--r", "3", "--workload", "c", "--timeout", "2s"]);
    late.ends_with(3).says(&["no request succeeded", "n3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_that_is_interrupted_tells_what_it_has_seen() {
    let cluster = Cluster::start(3).await;
    let soak = ["bench", "--shape", "soak", "--records", "100", "--clients", "1", "--json"];
    let short = ["--interval", "100ms", "--warm-up", "50ms", "--time", "1h"];
    let running = cluster.quorate([&soak[..], &short].concat()).start();
    // One client has been at it for more than an interval then.
    wait::until_async("requests are answered", wait::BOUND, async || {
        (1_000 < cluster.status(1).await.gets).then_some(())
    })
    .await;
    running.interrupt();
    let run = running.finish();
    run.ends_with(130).says(&["interrupted"]);
    let told = json(&run.stdout);
    assert!(!steps(&told).is_empty() && told.get("p99_micros_drift").is_some(), "{told}");
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
    refused(&["--partitions", "64"], &["--start"]);
    refused(&["--start", "3", "--partitions", "63"], &["a power of two from 8 to 65536, not 63"]);
    refused(&["--seeds", ""], &["seeds"]);
    refused(&["--start", "3", "--seeds", "127.0.0.1:7401"], &["--start starts a cluster of its own", "--seeds"]);
    refused(&["--highest", "--rate", "10"], &["--rate has no meaning with --highest"]);
    refused(&["--highest", "--shape", "soak"], &["--highest", "--shape", "cannot be used with"]);
    refused(&["--p99", "5ms"], &["--p99 has no meaning with --shape steady"]);
    refused(&["--shape", "load", "--loaded"], &["--loaded has no meaning with --shape load"]);
    refused(&["--shape", "scale", "--rate", "10"], &["--rate has no meaning", "--shape scale takes --clients"]);
    refused(&["--shape", "spike"], &["needs the rate"]);
    refused(&["--shape", "spike", "--rate", "10", "--times", "1"], &["more than 1 and up to 100 times"]);
    refused(&["--shape", "soak", "--time", "1s", "--interval", "2s"], &["no two intervals"]);
    refused(&["--shape", "hill"], &["steady", "load", "scale", "spike", "soak", "stress"]);
    refused(&["--curve", "curve.png"], &["--curve draws SVG"]);
    let nowhere = Quorate::new(["bench", "--curve", "/missing/curve.svg"]).run();
    nowhere.ends_with(5).says(&["cannot write /missing/curve.svg"]);
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

#[test]
fn a_cluster_that_a_bench_starts_has_so_many_partitions() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let kept = directory.path().join("nodes");
    let options =
        ["--records", "200", "--time", "500ms", "--warm-up", "100ms", "--dir", kept.to_str().expect("a name")];
    Quorate::new([&["bench", "--start", "3", "--partitions", "64"], &options[..]].concat()).run().ends_with(0);
    let configuration = std::fs::read_to_string(kept.join("n1.toml")).expect("it is kept");
    assert!(configuration.contains("partitions = 64\n"), "{configuration}");
}

/// A bench of a few small records in a cluster, loaded or not, with what it told as JSON.
fn bench(cluster: &Cluster, options: &[&[&str]]) -> serde_json::Value {
    let small = ["bench", "--records", "100", "--value-bytes", "20", "--json"];
    let run = cluster.quorate([&small[..], &options.concat()[..]].concat()).run();
    json(&run.ends_with(0).stdout)
}

fn steps(told: &serde_json::Value) -> &Vec<serde_json::Value> {
    told["steps"].as_array().unwrap_or_else(|| panic!("steps: {told}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_is_run_and_told_step_by_step() {
    let cluster = Cluster::start(3).await;
    let loading = bench(&cluster, &[&["--shape", "load"]]);
    assert_eq!(
        (&loading["shape"], &loading["records"], &loading["bytes"]),
        (&"load".into(), &100.into(), &2_000.into())
    );
    let short = ["--loaded", "--time", "300ms", "--warm-up", "50ms"];

    let scale = bench(&cluster, &[&["--shape", "scale", "--clients", "3"], &short]);
    let clients: Vec<_> = steps(&scale).iter().map(|step| step["clients"].as_u64()).collect();
    assert_eq!(clients, [Some(1), Some(2), Some(3)], "{scale}");
    assert!(0.0 < scale["peak_rate"].as_f64().expect("a number"), "{scale}");

    let spike = bench(&cluster, &[&["--shape", "spike", "--rate", "100", "--times", "2"], &short]);
    let phases: Vec<_> =
        steps(&spike).iter().map(|step| (step["phase"].as_str(), step["rate_asked"].as_f64())).collect();
    let expected =
        [("before", 100.0), ("spike", 200.0), ("after", 100.0)].map(|(phase, rate)| (Some(phase), Some(rate)));
    assert_eq!(phases, expected, "{spike}");
    assert!(spike.get("recovered_after_millis").is_some(), "{spike}");

    let stress = bench(&cluster, &[&["--shape", "stress", "--rate", "3000"], &short]);
    let asked: Vec<_> = steps(&stress).iter().map(|step| step["rate_asked"].as_f64().expect("a number")).collect();
    let [climb @ .., last] = &asked[..] else { panic!("{stress}") };
    assert!(climb.is_sorted() && *last < climb[climb.len() - 1], "{stress}");
    assert!(0.0 < stress["overload_of_peak"].as_f64().expect("a number"), "{stress}");

    let soak = ["--shape", "soak", "--clients", "2", "--interval", "200ms", "--loaded", "--time", "800ms"];
    let soak = bench(&cluster, &[&soak, &["--warm-up", "50ms"]]);
    assert!(4 <= steps(&soak).len(), "{soak}");
    assert!(soak["p99_micros_drift"]["per_hour"].is_number(), "{soak}");
    assert_eq!(soak["memory_bytes_drift"].as_object().expect("by node").len(), 3, "{soak}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_rate_is_found_and_the_curve_drawn() {
    let cluster = Cluster::start(3).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("curve.svg");
    // A bound that only what is far too much misses, and steps so short that speed is not judged.
    let short = ["--p99", "400ms", "--time", "100ms", "--warm-up", "20ms"];
    let curve = bench(&cluster, &[&["--curve", file.to_str().expect("a name")], &short]);
    let highest = curve["highest_rate"].as_f64().expect("a number");
    let kept = steps(&curve).iter().filter(|step| step["kept"] == true);
    assert!(kept.filter_map(|step| step["rate_asked"].as_f64()).any(|rate| rate == highest), "{curve}");
    let last = steps(&curve).last().expect("there are some")["rate_asked"].as_f64().expect("a number");
    assert!((last / highest - 1.1).abs() < 1e-9, "{curve}");
    let svg = std::fs::read_to_string(&file).expect("it is drawn");
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("3 nodes"), "{svg}");

    let impossible =
        ["bench", "--records", "100", "--loaded", "--highest", "--p99", "1ms", "--time", "50ms", "--warm-up", "10ms"];
    // That no request is so slow cannot be known; that it ends, and says how, can.
    let slow = cluster.quorate([&impossible[..], &["--durability", "synced"]].concat()).run();
    assert!(slow.stdout.contains("asked a second") && (slow.code == 0 || slow.code == 3), "{slow:?}");
}
