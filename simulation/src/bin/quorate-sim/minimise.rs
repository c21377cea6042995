//! `minimise`: the smallest plan that still fails.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use quorate_simulation::minimise::{self, Verdict, size};
use quorate_simulation::plan::file;
use quorate_simulation::{Plan, Trace};

use crate::input::{self, Kinds, WrongInput};
use crate::run::{Telling, tell};
use crate::screen;
use crate::trial::{self, Failing};

/// Makes a plan that fails as small as it can be.
#[derive(Debug, Args)]
pub(crate) struct Minimise {
    /// The plan file
    #[arg(required_unless_present = "seed", conflicts_with_all = ["seed", "faults"])]
    plan: Option<PathBuf>,
    /// The plan of this seed
    #[arg(long, value_name = "N", value_parser = input::seed)]
    seed: Option<u64>,
    #[command(flatten)]
    kinds: Kinds,
    /// Write the small plan to this file
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// For how many seconds at most
    #[arg(long, value_name = "T", value_parser = input::seconds, default_value = "60")]
    seconds: Duration,
    #[command(flatten)]
    telling: Telling,
}

/// Time between two lines that say how far it is.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

impl Minimise {
    /// Minimises it.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let (plan, name) = self.given()?;
        let trial = trial::run(plan.clone(), Trace::Off);
        let (Some(failing), Some(failure)) = (trial.failing(), trial.failure()) else {
            return Err(WrongInput::Other(format!("{name} does not fail; there is nothing to make smaller")));
        };
        screen::line(format_args!("{name} fails with {} steps and faults: {failure}", size(&plan)));
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-small.toml", stem(&name))));
        let (began, before) = (Instant::now(), size(&plan));
        let small = minimise::minimise(plan, judge(&failing, began + self.seconds));
        let took = began.elapsed().as_secs_f64();
        let failure = trial::run(small.plan.clone(), Trace::Off).failure().unwrap_or_default();
        let command = format!("quorate-sim replay {}", out.display());
        input::write(
            &out,
            &file::write(&small.plan, &format!("{failure}\nMinimised from {name}. To run it: {command}")),
        )?;
        let how = if small.is_minimal { "nothing makes it smaller" } else { "there was no more time" };
        let runs = screen::number(small.runs);
        screen::line(format_args!(
            "{} steps and faults of {before} are left after {runs} runs in {took:.1} s: {how}",
            size(&small.plan)
        ));
        screen::line(format_args!("the small plan is in {}\n", out.display()));
        tell(&small.plan, &out.display().to_string(), &command, &self.telling)?;
        Ok(ExitCode::SUCCESS)
    }

    fn given(&self) -> Result<(Plan, String), WrongInput> {
        match (&self.plan, self.seed) {
            (Some(path), _) => Ok((input::plan(path)?, path.display().to_string())),
            (None, Some(seed)) => Ok((self.kinds.plan(seed), format!("seed {seed}"))),
            (None, None) => Err(WrongInput::Other("expected a plan file or --seed".to_owned())),
        }
    }
}

/// The name of the small plan's file, without its end: of `a/plan.toml` that is `a/plan`, of `seed 7` `quorate-sim-seed-7`.
fn stem(name: &str) -> String {
    match name.strip_prefix("seed ") {
        Some(seed) => format!("quorate-sim-seed-{seed}"),
        None => name.strip_suffix(".toml").unwrap_or(name).to_owned(),
    }
}

/// Judges plans by whether they fail alike, until it is time to stop; says meanwhile how far it is.
fn judge(failing: &Failing, until: Instant) -> impl FnMut(&Plan) -> Verdict {
    let (mut smallest, mut line_due) = (usize::MAX, Instant::now() + LINE_INTERVAL);
    move |plan| {
        if until <= Instant::now() {
            return Verdict::Stop;
        }
        let fails = trial::run(plan.clone(), Trace::Off).failing().as_ref() == Some(failing);
        smallest = if fails { smallest.min(size(plan)) } else { smallest };
        if line_due <= Instant::now() {
            line_due = Instant::now() + LINE_INTERVAL;
            let left = until.saturating_duration_since(Instant::now()).as_secs();
            screen::aside(format_args!("{smallest} steps and faults, {left} s left"));
        }
        if fails { Verdict::Fails } else { Verdict::Holds }
    }
}
