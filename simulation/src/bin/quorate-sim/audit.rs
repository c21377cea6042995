//! `audit`: a seed is one history. Each is run twice in this process and once in another; where two differ, the first event that does
//! is named, with those around it.

use std::process::{Command, ExitCode};

use clap::Args;
use quorate_simulation::Trace;
use quorate_simulation::engine::chain::first_difference;

use crate::input::{self, Kinds, WrongInput};
use crate::screen::{self, BAD, DIM, GOOD, Styled};
use crate::trial::{self, Trial};

/// Shows that seeds are the same run each time.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// One seed
    #[arg(long, value_name = "N", value_parser = input::seed, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// How many seeds
    #[arg(long, value_name = "N", value_parser = input::count, default_value = "100")]
    seeds: u64,
    /// The first of them
    #[arg(long, value_name = "N", value_parser = input::seed, default_value = "0")]
    first: u64,
    /// Only print each seed and the hash of its history, to be compared with those of another build or machine
    #[arg(long)]
    hashes: bool,
    /// Only print each event of a seed and the hash up to it
    #[arg(long, requires = "seed", conflicts_with_all = ["hashes", "seeds", "first"])]
    chain: bool,
    #[command(flatten)]
    kinds: Kinds,
}

/// How many events are shown before the first that differs.
const SHOWN_BEFORE: usize = 5;
/// How many are shown from it on.
const SHOWN_FROM: usize = 2;
/// How many seeds another process runs at a time.
const BATCH_SEEDS: u64 = 500;

impl Audit {
    /// Audits.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let (first, count) = self.seed.map_or((self.first, self.seeds), |seed| (seed, 1));
        let seeds = first..first.saturating_add(count);
        if self.chain {
            chain(&self.kinds, first).into_iter().for_each(screen::line);
            return Ok(ExitCode::SUCCESS);
        }
        if self.hashes {
            seeds.for_each(|seed| screen::line(hash(&self.kinds, seed)));
            return Ok(ExitCode::SUCCESS);
        }
        let mut differing = 0;
        for batch in (first..seeds.end).step_by(BATCH_SEEDS as usize) {
            let count = BATCH_SEEDS.min(seeds.end - batch);
            let elsewhere =
                self.elsewhere(&["--hashes", "--first", &batch.to_string(), "--seeds", &count.to_string()])?;
            for (index, seed) in (batch..batch + count).enumerate() {
                let here = [hash(&self.kinds, seed), hash(&self.kinds, seed)];
                if here[0] != here[1] || elsewhere.get(index) != Some(&here[0]) {
                    differing += 1;
                    self.tell_difference(seed)?;
                }
            }
        }
        if differing == 0 {
            let what = "twice in this process and once in another: each time the same history";
            screen::line(format_args!(
                "{} {} seeds from {first}, {what}",
                Styled(GOOD, "passed"),
                screen::number(count)
            ));
            return Ok(ExitCode::SUCCESS);
        }
        screen::line(format_args!("{} {differing} of {count} seeds are not one history", Styled(BAD, "FAILED")));
        Ok(ExitCode::FAILURE)
    }

    fn tell_difference(&self, seed: u64) -> Result<(), WrongInput> {
        let (one, again) = (chain(&self.kinds, seed), chain(&self.kinds, seed));
        let elsewhere = self.elsewhere(&["--chain", "--seed", &seed.to_string()])?;
        let differs = |other: &[String]| first_difference(&one, other);
        match (differs(&again), differs(&elsewhere)) {
            (Some(place), _) => show("the second run in this process", seed, &one, &again, place),
            (None, Some(place)) => show("the run in another process", seed, &one, &elsewhere, place),
            (None, None) => screen::line(format_args!("seed {seed}: differed, and did not when its events were told")),
        }
        Ok(())
    }

    /// What this program says in another process.
    fn elsewhere(&self, arguments: &[&str]) -> Result<Vec<String>, WrongInput> {
        let failed = |error: std::io::Error| WrongInput::Other(format!("cannot run another process: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("audit").args(arguments).args(self.kinds.arguments());
        let output = command.output().map_err(failed)?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
}

/// A seed and the hash of its history.
fn hash(kinds: &Kinds, seed: u64) -> String {
    match trial::run(kinds.plan(seed), Trace::Off) {
        Trial::Ran(outcome) => format!("{seed} {:016x}", outcome.history),
        Trial::Panicked(panic) => format!("{seed} panicked at {}", panic.place),
    }
}

/// Each event of a seed, and the hash up to it.
fn chain(kinds: &Kinds, seed: u64) -> Vec<String> {
    match trial::run(kinds.plan(seed), Trace::Chain) {
        Trial::Ran(outcome) => outcome.chain.iter().map(ToString::to_string).collect(),
        Trial::Panicked(panic) => vec![panic.to_string()],
    }
}

fn show(which: &str, seed: u64, one: &[String], other: &[String], place: usize) {
    screen::line(format_args!("seed {seed}: {which} differs from the first in event {}:", place + 1));
    for (index, event) in one.iter().enumerate().take(place).skip(place.saturating_sub(SHOWN_BEFORE)) {
        screen::line(format_args!("  {:>7}  {}", index + 1, Styled(DIM, event)));
    }
    for (name, chain) in [("first", one), ("other", other)] {
        for (index, event) in chain.iter().enumerate().skip(place).take(SHOWN_FROM) {
            screen::line(format_args!("  {:>7}  {} {event}", index + 1, Styled(BAD, name)));
        }
        if chain.len() == place {
            screen::line(format_args!("  {:>7}  {} ended", place + 1, Styled(BAD, name)));
        }
    }
}
