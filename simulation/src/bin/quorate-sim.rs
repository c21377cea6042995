//! Runs seeds of the simulator: `quorate-sim 7` tells the story of one, `quorate-sim 0 100000` runs many and says what was wrong.

#![expect(clippy::disallowed_methods, reason = "how fast the simulator is, is measured from outside it")]

use std::process::ExitCode;
use std::time::Instant;

use quorate_simulation::catalogue::Fired;
use quorate_simulation::choices::Choices;
use quorate_simulation::sometimes::Tallies;
use quorate_simulation::{Plan, Trace, run, run_plan};

fn main() -> ExitCode {
    let arguments: Option<Vec<u64>> = std::env::args().skip(1).map(|text| text.parse().ok()).collect();
    match arguments.as_deref() {
        Some([seed]) => tell(*seed),
        Some([first, count]) => campaign(*first, *count),
        _ => {
            eprintln!("usage: quorate-sim <seed> | <first seed> <how many>");
            ExitCode::from(2)
        }
    }
}

fn tell(seed: u64) -> ExitCode {
    let mut choices = Choices::new(seed);
    let plan = Plan::swarm(&mut choices);
    println!("{}", quorate_simulation::plan::file::write(&plan, ""));
    let outcome = run_plan(plan, choices, Trace::On);
    if let Some(story) = &outcome.story {
        print!("{}", story.to_text());
    }
    println!("history {:016x}, {} events, {:?}; {}", outcome.history, outcome.events, outcome.lasted, outcome.tallies);
    match outcome.violation {
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn campaign(first: u64, count: u64) -> ExitCode {
    let began = Instant::now();
    let (mut events, mut tallies, mut failed) = (0, Tallies::default(), 0);
    let mut fired = Fired::default();
    for seed in first..first + count {
        // A panic of the core is a failed seed like any other.
        let Ok(outcome) = std::panic::catch_unwind(|| run(seed)) else {
            println!("seed {seed}: a panic");
            failed += 1;
            continue;
        };
        if let Some(violation) = outcome.violation {
            println!("seed {seed}: {violation}");
            failed += 1;
        }
        events += outcome.events;
        tallies.add(&outcome.tallies);
        fired.add(&outcome.fired);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{count} seeds, {failed} failed, {events} events in {seconds:.1} s: {:.0} a second",
        events as f64 / seconds
    );
    println!("{tallies}; never: {:?}", tallies.never());
    println!("{fired}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
