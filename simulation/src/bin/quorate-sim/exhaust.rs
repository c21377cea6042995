//! `exhaust`: every sequence of a few operations and faults, and every crash within an operation.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use quorate_simulation::plan::file;
use quorate_simulation::small_scope::crashes::crashes;
use quorate_simulation::small_scope::{Covered, Failure, Scope, explore};

use crate::input::{self, WrongInput};
use crate::screen::{self, BAD, GOOD, Styled};

/// Tries every sequence.
#[derive(Debug, Args)]
pub(crate) struct Exhaust {
    /// Most operations of a sequence. One more takes some eight times as long, and one fault more some nine
    #[arg(long, value_name = "N", value_parser = input::count, default_value_t = 3)]
    operations: u64,
    /// Most faults of a sequence
    #[arg(long, value_name = "K", default_value_t = 1)]
    faults: u64,
    /// In place of that, a crash at every single step of each kind of operation
    #[arg(long, conflicts_with_all = ["operations", "faults"])]
    crashes: bool,
    /// Where the plan of a sequence that fails is written to
    #[arg(long, value_name = "FILE", default_value = "quorate-sim-exhaust.toml")]
    plan_out: PathBuf,
}

/// How often it is told how far the search is.
const TELL_EVERY: Duration = Duration::from_secs(5);

impl Exhaust {
    /// Tries them.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let began = Instant::now();
        let mut told = began;
        let mut progress = |covered: &Covered| {
            if TELL_EVERY <= told.elapsed() {
                told = Instant::now();
                screen::aside(summary(covered, began.elapsed()));
            }
        };
        let most = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let scope = Scope { operations: most(self.operations), faults: most(self.faults) };
        match if self.crashes { crashes() } else { explore(scope, &mut progress) } {
            Ok(covered) => {
                screen::line(summary(&covered, began.elapsed()));
                screen::line(format_args!("{} each ended as it has to", Styled(GOOD, "passed")));
                Ok(ExitCode::SUCCESS)
            }
            Err(Failure { moves, wrong, plan }) => {
                input::write(&self.plan_out, &file::write(&plan, &format!("{moves}\n{wrong}")))?;
                screen::line(format_args!("{} {moves}: {wrong}", Styled(BAD, "FAILED")));
                screen::line(format_args!("Repeat with  quorate-sim replay {}", self.plan_out.display()));
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

fn summary(covered: &Covered, took: Duration) -> String {
    let Covered { runs, known, events } = *covered;
    let [runs, known, events] = [runs, known, events].map(screen::number);
    format!("{runs} sequences in {:.1} s, {known} to states known before; {events} events", took.as_secs_f64())
}
