//! `quorate-sim what-if`: what it says, and what it says to those who got it wrong.

#![expect(clippy::disallowed_methods, reason = "runs the program, and writes its files")]

use std::process::{Command, Output};

fn what_if(arguments: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-sim"));
    let Output { status, stdout, stderr } =
        command.arg("what-if").args(arguments.split_whitespace()).output().expect("it can be run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn says(arguments: &str) -> String {
    let (status, out, error) = what_if(arguments);
    assert_eq!((status, error.as_str()), (Some(0), ""), "{out}");
    out
}

fn refuses(arguments: &str, with: &str) {
    let (status, out, error) = what_if(arguments);
    assert_eq!((status, out.as_str()), (Some(2), ""), "{arguments}: {error}");
    assert!(error.contains(with), "`{arguments}` does not say {with:?}:\n{error}");
}

const BUSY: &str =
    "--seconds 3 --reads 0.6 --keys 5 --latency 2ms --faults partitions,slow-nodes --every 1s --for 500ms";

#[test]
fn one_replica_is_stale_and_quorums_are_not() {
    let (one, quorum) = (says(&format!("{BUSY} --r 1 --w 1")), says(&format!("{BUSY} --r 2 --w 2")));
    for part in
        ["staleness", "divergence", "availability", "latency", "among faults", "their age", "reads may miss writes"]
    {
        assert!(one.contains(part), "{part}:\n{one}");
    }
    for part in ["staleness     0 of", "every read sees every write", "that was promised held"] {
        assert!(quorum.contains(part), "{part}:\n{quorum}");
    }
}

#[test]
fn the_same_question_has_the_same_answer() {
    assert_eq!(says(BUSY), says(BUSY));
    assert_ne!(says(BUSY), says(&format!("{BUSY} --seed 2")));
}

#[test]
fn latencies_are_those_of_the_trace() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("trace.txt");
    std::fs::write(&path, "# all the same\n7ms\n7ms\n").expect("it can be written");
    let out = says(&format!("--seconds 1 --trace {}", path.display()));
    assert!(out.contains("messages take 7ms as a median"), "{out}");
    std::fs::write(&path, "7ms\nslow\n").expect("it can be written");
    refuses(&format!("--trace {}", path.display()), "line 2: \"slow\" is no delay");
}

#[test]
fn wrong_input_is_refused_with_what_is_expected() {
    refuses("--trace /nowhere/at/all", "cannot read the trace");
    refuses("--r 4", "r = 4 is not possible with n = 3");
    refuses("--nodes 2", "cluster.nodes");
    refuses("--faults quakes", "expected partitions, crashes, pauses, slow-nodes");
    refuses("--reads 1.5", "expected a share from 0 to 1");
    refuses("--seed seven", "a seed is a whole number");
    refuses("--think soon", "expected a length of time");
    refuses("--clients 0", "1..=10000");
    refuses("--keys many", "--keys");
}
