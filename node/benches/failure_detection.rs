//! How soon SWIM finds a crash, how often it is wrong, and what it sends.
//!
//! `cargo bench -p quorate-node --no-default-features --bench failure_detection` prints a table. All of it is in virtual time, by the cluster
//! of the tests, so the figures are the same on every machine.

#[path = "../tests/failure_detection/cluster.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod cluster;

use std::time::Duration;

use cluster::Cluster;
use quorate_node::membership::{Pace, Standing};

/// How long a slow node may take over each datagram, at most: longer than a probe waits for a direct answer.
const SLOWNESS: Duration = Duration::from_millis(600);
/// One of how many nodes is slow.
const SLOW_SHARE: usize = 20;

struct Setting {
    name: &'static str,
    loss_percent: u32,
    slow: bool,
}

const SETTINGS: [Setting; 4] = [
    Setting { name: "no loss", loss_percent: 0, slow: false },
    Setting { name: "1 % loss", loss_percent: 1, slow: false },
    Setting { name: "5 % loss", loss_percent: 5, slow: false },
    Setting { name: "1 of 20 slow", loss_percent: 0, slow: true },
];

fn main() {
    println!(
        "| nodes | | first suspicion, periods: median | p99 | known to be down by all: median | p99 | wrongly down, per node-hour | wrongly suspected, per node-hour | bytes per node per period |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (size, crashes, minutes) in [(100, 100, 10), (1_000, 5, 1)] {
        for setting in SETTINGS {
            println!("{}", row(size, crashes, minutes, &setting));
        }
    }
}

fn row(size: usize, crashes: usize, minutes: u64, setting: &Setting) -> String {
    let mut cluster = Cluster::new(size, 1);
    cluster.loss_percent = setting.loss_percent;
    if setting.slow {
        (0..size).step_by(SLOW_SHARE).for_each(|node| cluster.slow_down(node, SLOWNESS));
    }
    cluster.run_for(Pace::default().probe_period() * 10);
    let quiet = quiet_time(&mut cluster, minutes);
    let (mut first, mut all): (Vec<f64>, Vec<f64>) = (0..crashes).map(|crash| crash_one(&mut cluster, crash)).unzip();
    first.sort_by(f64::total_cmp);
    all.sort_by(f64::total_cmp);
    let [first, all] =
        [&first, &all].map(|times| (times[times.len() / 2], times[(times.len() * 99).div_ceil(100) - 1]));
    format!("| {size} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {quiet} |", setting.name, first.0, first.1, all.0, all.1)
}

/// Nobody crashes: whatever is found is wrong. A mistake that all others hear of counts once, one that a tenth of them hear of a tenth.
fn quiet_time(cluster: &mut Cluster, minutes: u64) -> String {
    cluster.forget();
    let time = Duration::from_secs(60 * minutes);
    cluster.run_for(time);
    let node_hours = cluster.size() as f64 * time.as_secs_f64() / 3_600.0;
    let per_node_hour = |standing| cluster.count(standing) as f64 / (cluster.size() - 1) as f64 / node_hours;
    let periods = time.as_secs_f64() / Pace::default().probe_period().as_secs_f64();
    format!(
        "{:.2} | {:.2} | {:.0}",
        per_node_hour(Standing::Down),
        per_node_hour(Standing::Suspected),
        cluster.bytes as f64 / cluster.size() as f64 / periods
    )
}

/// One crashes and returns when all know. After how many periods the first suspected it, and all knew.
fn crash_one(cluster: &mut Cluster, crash: usize) -> (f64, f64) {
    let periods = |time: Duration| time.as_secs_f64() / Pace::default().probe_period().as_secs_f64();
    // Never one of the slow.
    let victim = 1 + crash * SLOW_SHARE % cluster.size();
    cluster.forget();
    let crashed_at = cluster.now;
    cluster.crash(victim);
    let all = cluster
        .run_until(Duration::from_secs(120), |cluster| cluster.all_think(victim, Standing::Down))
        .expect("it is found");
    let first = cluster.changes.iter().find(|change| change.node == victim && crashed_at <= change.at);
    let first = first.expect("somebody was the first").at.since(crashed_at);
    cluster.start(victim);
    cluster.announce(victim, (victim + 1) % cluster.size());
    cluster.run_for(Pace::default().probe_period() * 15);
    (periods(first), periods(all))
}
