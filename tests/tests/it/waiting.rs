//! `quorate wait` for what does not come, and Ctrl-C: they end when they should, and say what is missing or was done.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use quorate_tests::{Cluster, ClusterOptions, Running, wait};

/// The bit of SIGINT in the masks of signals that the kernel tells.
const INTERRUPT_BIT: u64 = 1 << 1;
/// What a command may take that was told to take a second: more than any pause in it, and less than what a request may.
const SECOND_MAX: Duration = Duration::from_secs(3);

/// Presses Ctrl-C, once the command takes it.
fn interrupt(command: &Running) {
    let status = format!("/proc/{}/status", command.id());
    let takes = || {
        let status = fs::read_to_string(&status).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        (mask & INTERRUPT_BIT != 0).then_some(())
    };
    wait::until("the command takes Ctrl-C", wait::BOUND, takes);
    command.interrupt();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_what_cannot_come_ends_in_time_and_says_what_it_waits_for() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(3).pause();
    for what in ["--converged", "--hints"] {
        let begun = Instant::now();
        let run = cluster.quorate(["wait", what, "--at-most", "1s"]).run();
        let took = begun.elapsed();
        run.ends_with(3).says(&["n3 has not answered"]);
        assert!(took < SECOND_MAX, "{what} took {took:?}");
    }
    cluster.node(3).kill();
    let run = cluster.quorate(["wait", "--converged", "--at-most", "1s"]).run();
    run.ends_with(3).says(&["after 1.", "n3", "--at-most"]);
    let waiting = cluster.quorate(["wait", "--converged", "--at-most", "1h"]).start();
    interrupt(&waiting);
    waiting.finish().ends_with(130).says(&["interrupted after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waited_for_is_named_by_who_asks() {
    let cluster = Cluster::start(3).await;
    cluster.quorate(["wait"]).run().ends_with(2).says(&["--converged", "--hints"]);
    cluster.quorate(["wait", "--hints", "--converged"]).run().ends_with(2).says(&["cannot be used with"]);
    cluster.quorate(["wait", "--hints", "n9"]).run().ends_with(2).says(&["n9 is no member", "n1, n2, n3"]);
    cluster.quorate(["wait", "--hints", "--at-most", "-1s"]).run().ends_with(2).says(&["1ms to 3650d", "-1s"]);
    let delivered = cluster.quorate(["wait", "--hints", "n2"]).run();
    assert!(delivered.ends_with(0).stdout.starts_with("no hint for n2 from before is kept any more"), "{delivered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_interrupted_tells_what_it_has_stored() {
    let cluster = ClusterOptions::new(3).start().await;
    let bucket = cluster.client().await.bucket("b").expect("valid");
    let fifo = cluster.file("lines");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is there").success());
    let load = cluster.quorate(["load", "--bucket", "b", "--batch", "1"]).arg(&fifo).start();
    let mut lines = OpenOptions::new().write(true).open(&fifo).expect("the load reads it");
    lines.write_all(b"{\"key\":\"first\",\"value\":1}\n").expect("the load reads it");
    let stored = async || (!bucket.get("first").await.ok()?.values().is_empty()).then_some(());
    wait::until_async("the first record is stored", wait::BOUND, stored).await;
    interrupt(&load);
    let load = load.finish();
    load.ends_with(130).says(&["interrupted"]);
    assert!(load.stdout.starts_with("stored "), "{load}");
}
