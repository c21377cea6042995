//! The demo and the client's examples, which newcomers try first, run to their end.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use quorate_tests::{Cluster, Quorate, Run, binary, wait};
use tempfile::TempDir;

#[test]
fn the_demo_runs_to_its_end_and_leaves_nothing_behind() {
    run_demo(&["demo", "--records", "500"]);
}

#[test]
fn the_demo_of_an_elastic_cluster_holds_all_it_promises_and_leaves_nothing_behind() {
    let demo = run_demo(&["demo", "--elastic", "--records", "500"]);
    let promises = [
        "two nodes join, and no request fails",
        "a node leaves, and no request fails",
        "a node is killed, and no request fails",
        "a dead node is replaced, and no request fails",
        "what was loaded before the changes is there, by its hash",
        "what was written during them is there, by its hash",
        "the replicas hold the same",
    ];
    for promise in promises {
        assert!(demo.stdout.contains(&format!("ok {promise}")), "{promise}\n{demo}");
    }
    assert!(demo.stdout.contains("9 of 9 held"), "{demo}");
}

#[test]
fn the_demo_of_an_elastic_cluster_stops_its_nodes_when_it_is_interrupted() {
    let temporary = TempDir::new().expect("a temporary directory");
    let place = temporary.path().join("kept");
    let demo = Quorate::new(["demo", "--elastic", "--records", "500", "--dir"]).arg(&place).start();
    // The fourth node is there, and joins.
    wait::until("n4 runs", wait::BOUND, || place.join("n4").exists().then_some(()));
    demo.interrupt();
    demo.finish().ends_with(5).says(&["interrupted; the nodes were stopped"]);
    let processes = processes_that_mention(&place.display().to_string());
    assert!(processes.is_empty(), "the demo left {processes:?}");
}

/// Runs a demo to its end, which must be a good one.
fn run_demo(arguments: &[&str]) -> Run {
    let temporary = TempDir::new().expect("a temporary directory");
    let place = temporary.path().display().to_string();
    let demo = Quorate::new(arguments).env("TMPDIR", &place).run();
    demo.ends_with(0);
    let left: Vec<_> = fs::read_dir(temporary.path()).expect("it is there").collect();
    assert!(left.is_empty(), "the demo left {left:?}");
    let processes = processes_that_mention(&place);
    assert!(processes.is_empty(), "the demo left {processes:?}");
    demo
}

fn processes_that_mention(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_examples_run() {
    let cluster = Cluster::start(3).await;
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../client/examples");
    let names: Vec<_> = fs::read_dir(source).expect("the client has examples").flatten().collect();
    let names = names.iter().filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned()));
    let mut count = 0;
    for name in names {
        let program = binary::built(&format!("examples/{name}"));
        let program = program
            .unwrap_or_else(|| panic!("{name} is not built: `cargo build --release --examples -p quorate-client`"));
        let mut command = Command::new(program);
        command.env("QUORATE_SEEDS", cluster.addresses().join(",")).env("QUORATE_CLUSTER", "it");
        for (variable, file) in [("CA", "ca.pem"), ("CERTIFICATE", "client.pem"), ("KEY", "client.key")] {
            command.env(format!("QUORATE_{variable}"), cluster.file(file));
        }
        let output = command.output().expect("an example can be started");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name}: {}\n{stdout}\n{stderr}", output.status);
        count += 1;
    }
    assert!(0 < count, "no examples were found");
}
