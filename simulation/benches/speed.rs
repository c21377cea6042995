//! How fast the simulator is, on one core: events a second with all faults and oracles on, a standard run's time and memory,
//! simulated seconds a second under a light load, and at 100 nodes.
//!
//! Times are of the processor, not of the clock, as machines are shared. Each figure is the median of several runs.

#![expect(clippy::disallowed_methods, reason = "a bench reads what the system knows of its process")]

mod process;

use std::time::Duration;

use quorate_simulation::choices::Choices;
use quorate_simulation::{Outcome, Plan, Trace, run_plan};

fn main() {
    let standard: Vec<(Outcome, Duration)> = (0..200).map(|seed| measured(Plan::standard(seed))).collect();
    let held = |outcome: &Outcome| assert_eq!(outcome.violation, None);
    standard.iter().for_each(|(outcome, _)| held(outcome));
    let events: u64 = standard.iter().map(|(outcome, _)| outcome.events).sum();
    let simulated: f64 = standard.iter().map(|(outcome, _)| outcome.lasted.as_secs_f64()).sum();
    let took: Duration = standard.iter().map(|(_, took)| took).sum();
    let count = standard.len();
    println!("standard run, 5 nodes, 1,000 operations, every kind of fault, all oracles ({count} seeds)");
    println!("  {:>9.2} ms a seed (median)", median(&standard) * 1_000.0);
    println!(
        "  {:>9.0} events a seed, {:.1} simulated seconds",
        events as f64 / count as f64,
        simulated / count as f64
    );
    println!("  {:>9.2} million events a second", events as f64 / took.as_secs_f64() / 1e6);
    println!("  {:>9.1} MiB resident at most", process::peak_memory_bytes() as f64 / f64::from(1 << 20));
    let swarm: Vec<(u64, Duration)> = (0..1_000)
        .map(|seed| {
            let mut choices = Choices::new(seed);
            let began = processor_time();
            let plan = Plan::swarm(&mut choices);
            let outcome = run_plan(plan, choices, Trace::Off);
            (outcome.events, processor_time().saturating_sub(began))
        })
        .collect();
    let events: u64 = swarm.iter().map(|(events, _)| events).sum();
    let took: Duration = swarm.iter().map(|(_, took)| took).sum();
    println!("campaign, 1,000 seeds of all shapes");
    println!(
        "  {:>9.2} million events a second, {:.2} ms a seed",
        events as f64 / took.as_secs_f64() / 1e6,
        took.as_secs_f64()
    );
    for (nodes, seconds) in [(5, 20_000), (100, 2_000)] {
        let (outcome, took) = measured(Plan::trickle(1, nodes, seconds));
        held(&outcome);
        println!(
            "a light load on {nodes} nodes: {:.0} simulated seconds a second",
            outcome.lasted.as_secs_f64() / took.as_secs_f64()
        );
    }
}

fn measured(plan: Plan) -> (Outcome, Duration) {
    let choices = Choices::new(plan.seed);
    let began = processor_time();
    let mut outcome = run_plan(plan, choices, Trace::Off);
    let took = processor_time().saturating_sub(began);
    outcome.recording.clear();
    (outcome, took)
}

fn median(runs: &[(Outcome, Duration)]) -> f64 {
    let mut times: Vec<Duration> = runs.iter().map(|(_, took)| *took).collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// Time this thread spent on a processor (Linux: `schedstat`).
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let nanos = text.split_whitespace().next().and_then(|text| text.parse().ok()).expect("the first field");
    Duration::from_nanos(nanos)
}
