//! `quorate load` and `dump`: everything that was loaded is dumped, whatever was killed meanwhile.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use quorate_tests::{Cluster, wait};

const RECORDS: usize = 20_000;
const RECORDS_FEW: usize = 5_000;

/// Lines of many shapes, in the form in which they are dumped.
fn lines(count: usize) -> Vec<String> {
    let line = |number: usize| match number % 5 {
        0 => format!(
            r#"{{"key":"item:{number:06}","value":{{"name":"thing {number}","price":{number}.50,"tags":["a","b"]}}}}"#
        ),
        1 => format!(r#"{{"key":"größe:{number:06}","value":"\u00e9 and é {number}"}}"#),
        2 => format!(r#"{{"key":"n:{number:06}","value":{number}}}"#),
        3 => format!(r#"{{"key":"text:{number:06}","value_text":"no JSON at all {number}\n"}}"#),
        _ => format!(r#"{{"key":"long:{number:06}","value":[{}null]}}"#, "true,".repeat(number % 100)),
    };
    (0..count).map(line).collect()
}

fn write(cluster: &Cluster, name: &str, lines: &[String]) -> PathBuf {
    let path = cluster.file(name);
    fs::write(&path, lines.join("\n") + "\n").expect("the temporary directory can be written");
    path
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Asserts that a dump gives exactly these lines, in any order.
#[track_caller]
fn assert_dumped(cluster: &Cluster, bucket: &str, lines: &[String]) {
    let dump = cluster.quorate(["dump", "--bucket", bucket]).run();
    assert_same(sorted(&dump.ends_with(0).stdout), lines);
}

/// The same where a key may have its value twice, as siblings: a write that a killed node had stored before it could tell anybody
/// was made again, and is beside it when the node returns.
#[track_caller]
fn assert_dumped_perhaps_twice(cluster: &Cluster, bucket: &str, lines: &[String]) {
    let dump = cluster.quorate(["dump", "--bucket", bucket]).run();
    let once: Vec<_> = dump.ends_with(0).stdout.lines().map(without_repeats).collect();
    assert_same(sorted(&once.join("\n")), lines);
}

#[track_caller]
fn assert_same(dumped: Vec<&str>, lines: &[String]) {
    let mut expected = lines.to_vec();
    expected.sort_unstable();
    assert_eq!(dumped.len(), expected.len(), "another number of lines");
    for (dumped, expected) in dumped.iter().zip(&expected) {
        assert_eq!(dumped, expected);
    }
}

/// A line whose siblings are all the same, with one of them.
fn without_repeats(line: &str) -> String {
    let Some((key, siblings)) = line.split_once(",\"siblings\":[{") else { return line.to_owned() };
    let mut values: Vec<_> = siblings.strip_suffix("}]}").unwrap_or(siblings).split("},{").collect();
    values.dedup();
    match values.as_slice() {
        [value] => format!("{key},{value}}}"),
        _ => line.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_loaded_is_dumped_byte_for_byte_again_and_again() {
    let cluster = Cluster::start(3).await;
    let lines = lines(RECORDS);
    let file = write(&cluster, "lines", &lines);
    for _ in 0..2 {
        let load = cluster.quorate(["load", "--w", "2", "--bucket", "b"]).arg(&file).run();
        assert!(load.ends_with(0).stdout.contains("20,000 records"), "{load}");
    }
    assert_dumped(&cluster, "b", &lines);
    assert_dumped(&cluster, "empty", &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_loaded_is_lost_when_a_node_is_killed_meanwhile_and_all_are_killed_afterwards() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let lines = lines(RECORDS);
    let file = write(&cluster, "lines", &lines);
    // Small requests one after the other, so that it is not done before it is disturbed.
    let load = cluster.quorate(["load", "--w", "2", "--bucket", "b", "--concurrency", "2", "--batch", "16"]);
    let mut load = load.arg(&file).start();
    let begun = async || {
        let statuses = client.statuses().await;
        let puts: u64 = statuses.iter().filter_map(|(_, status)| Some(status.as_ref().ok()?.puts)).sum();
        (2_000 <= puts).then_some(())
    };
    wait::until_async("the load has begun", wait::BOUND, begun).await;
    cluster.node(2).kill();
    assert!(load.is_running(), "the load was done before the node was killed, so this has shown nothing");
    load.finish().ends_with(0);
    assert_dumped_perhaps_twice(&cluster, "b", &lines);

    cluster.node(1).kill();
    cluster.node(3).kill();
    cluster.start_all();
    cluster.connected().await;
    assert_dumped_perhaps_twice(&cluster, "b", &lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_is_read_and_written() {
    let cluster = Cluster::start(3).await;
    let lines = lines(RECORDS_FEW);
    let plain = write(&cluster, "lines", &lines);
    let zipped = cluster.file("dump.gz");
    cluster.quorate(["load", "--bucket", "first"]).arg(plain).run().ends_with(0);
    cluster.quorate(["dump", "--bucket", "first"]).arg("--out").arg(&zipped).run().ends_with(0);
    let unzipped = Command::new("gzip").arg("-dc").arg(&zipped).output().expect("gzip is there");
    assert!(unzipped.status.success());
    let text = String::from_utf8(unzipped.stdout).expect("text");
    let mut expected = lines.clone();
    expected.sort_unstable();
    assert_eq!(sorted(&text), expected);
    cluster.quorate(["load", "--bucket", "second"]).arg(zipped).run().ends_with(0);
    assert_dumped(&cluster, "second", &lines);
    let again = cluster.quorate(["load", "--bucket", "third", "-"]).input(text.into_bytes()).run();
    again.ends_with(0);
    assert_dumped(&cluster, "third", &lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_are_dumped_and_loaded_as_siblings() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let bucket = client.bucket("from").expect("valid");
    for value in ["1", "2", "3"] {
        bucket.put("key", value).w(3).await.expect("all nodes are up");
    }
    let file = cluster.file("siblings");
    cluster.quorate(["dump", "--bucket", "from"]).arg("--out").arg(&file).run().ends_with(0);
    cluster.quorate(["load", "--bucket", "to"]).arg(&file).run().ends_with(0);
    let found = client.bucket("to").expect("valid").get("key").await.expect("all nodes are up");
    let mut values = found.values().to_vec();
    values.sort();
    assert_eq!(values, ["1", "2", "3"], "{}", fs::read_to_string(file).expect("dumped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_named_and_can_be_skipped() {
    let cluster = Cluster::start(3).await;
    let mut lines = lines(100);
    lines[41] = r#"{"key":"broken""#.to_owned();
    let file = write(&cluster, "lines", &lines);
    let refused = cluster.quorate(["load", "--bucket", "b"]).arg(&file).run();
    refused.ends_with(2).says(&["lines: line 42:", "--skip-bad"]);
    let skipped = cluster.quorate(["load", "--bucket", "b", "--skip-bad"]).arg(&file).run();
    assert!(skipped.ends_with(0).stdout.contains("bad lines skipped: 1"), "{skipped}");
    lines.remove(41);
    assert_dumped(&cluster, "b", &lines);
    let missing = cluster.quorate(["load", "no-such-file"]).run();
    missing.ends_with(5).says(&["cannot read no-such-file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_whose_reader_goes_away_ends_quietly() {
    let cluster = Cluster::start(3).await;
    let file = write(&cluster, "lines", &lines(RECORDS_FEW));
    cluster.quorate(["load"]).arg(&file).run().ends_with(0);
    let cut = cluster.quorate(["dump"]).run_into_head();
    assert_eq!(cut.ends_with(0).stdout.lines().count(), 1, "{cut}");
    assert!(!cut.stderr.contains("panicked") && !cut.stderr.contains("error"), "{cut}");
}
