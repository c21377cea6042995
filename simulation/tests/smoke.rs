//! A thousand seeds, each another cluster, load and mix of faults: nothing acknowledged is lost, and all else that the oracles check.

#![expect(clippy::disallowed_methods, reason = "how fast the simulator is, is measured from outside it")]

use std::time::Instant;

use quorate_simulation::run;
use quorate_simulation::sometimes::Tallies;

const SEEDS: u64 = 1_000;

#[test]
fn acknowledged_writes_are_readable_in_a_thousand_seeds() {
    let began = Instant::now();
    let (mut events, mut tallies) = (0, Tallies::default());
    for seed in 0..SEEDS {
        let outcome = run(seed);
        assert_eq!(outcome.violation, None, "seed {seed}; `quorate-sim run --seed {seed}` tells its story");
        events += outcome.events;
        tallies.add(&outcome.tallies);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{SEEDS} seeds, {events} events, {:.0} events/s; {tallies}", events as f64 / seconds);
    assert_eq!(tallies.never(), [], "a campaign that never met one of these has not tested it");
}

#[test]
fn a_seed_is_one_history() {
    let histories: Vec<u64> = (0..20).map(|seed| run(seed).history).collect();
    assert_eq!(histories, (0..20).map(|seed| run(seed).history).collect::<Vec<_>>());
    let mut distinct = histories.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), histories.len(), "different seeds are different histories");
}

#[test]
fn a_recording_replays_the_run_under_another_seed() {
    use quorate_simulation::choices::Choices;
    use quorate_simulation::{Plan, Trace, run_plan};
    for seed in 0..5 {
        let recorded = run(seed);
        let plan = Plan::swarm(&mut Choices::new(seed));
        let replayed = run_plan(plan, Choices::replay(seed + 1, recorded.recording), Trace::Off);
        assert_eq!(replayed.history, recorded.history);
    }
}
