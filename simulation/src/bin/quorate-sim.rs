//! Runs seeds of the simulator: `quorate-sim 7` tells the story of one, `quorate-sim 0 100000` runs many and says what was wrong.

#![expect(clippy::disallowed_methods, reason = "how fast the simulator is, is measured from outside it")]

use std::process::ExitCode;
use std::time::Instant;

use quorate_simulation::catalogue::Fired;
use quorate_simulation::choices::Choices;
use quorate_simulation::sometimes::Tallies;
use quorate_simulation::{Plan, Trace, run, run_plan, zoo};

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|command| command == "zoo") {
        return hunt_the_zoo();
    }
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

fn hunt_the_zoo() -> ExitCode {
    let mut options = zoo::Options::new();
    let mut arguments = std::env::args().skip(2);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--check" => {
                return told(zoo::check(&options.root).map(|entries| println!("{} bugs apply", entries.len())));
            }
            "--seeds" => options.seeds = arguments.next().and_then(|seeds| seeds.parse().ok()).unwrap_or(options.seeds),
            _ => options.names.push(argument),
        }
    }
    println!("{}", zoo::report::Report::HEAD);
    let report = zoo::run(&options, |row| {
        println!("{row}");
        let what = row.catch.as_ref().map_or("not found", |catch| &catch.what);
        eprintln!("{}: {what}; built in {:.1} s", row.name, row.built.as_secs_f64());
    });
    let Ok(report) = report else { return told(report.map(|_| ())) };
    println!("{report}");
    if report.not_found().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(result: Result<(), zoo::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
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
