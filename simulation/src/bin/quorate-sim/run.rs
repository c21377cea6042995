//! `run` and `replay`: one run, told in a screenful.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use quorate_simulation::plan::file;
use quorate_simulation::sometimes::Sometimes;
use quorate_simulation::story::Story;
use quorate_simulation::{Outcome, Plan, Trace};

use crate::input::{self, Kinds, WrongInput};
use crate::screen::{self, BAD, COMMAND, DIM, GOOD, Styled};
use crate::trial::{self, Trial};
use crate::verbose;

/// Runs the plan of one seed.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The seed
    #[arg(long, value_name = "N", value_parser = input::seed)]
    seed: u64,
    #[command(flatten)]
    kinds: Kinds,
    /// Write the plan to this file; one that fails is always written
    #[arg(long, value_name = "FILE")]
    plan_out: Option<PathBuf>,
    #[command(flatten)]
    telling: Telling,
}

/// Runs a plan file.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The plan file
    plan: PathBuf,
    #[command(flatten)]
    telling: Telling,
}

/// How much is told.
#[derive(Debug, Default, Args)]
pub(crate) struct Telling {
    /// Draw the run in one HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Tell everything that happened, in order
    #[arg(long, short)]
    verbose: bool,
}

impl Run {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let plan = self.kinds.plan(self.seed);
        let repeat = self.kinds.repeat(self.seed);
        if let Some(path) = &self.plan_out {
            input::write(path, &file::write(&plan, &format!("As drawn by `{repeat}`.")))?;
            screen::line(format_args!("the plan is in {}", path.display()));
        }
        let trial = tell(&plan, &format!("seed {}", self.seed), &repeat, &self.telling)?;
        if let (Some(failure), None) = (trial.failure(), &self.plan_out) {
            let path = PathBuf::from(format!("quorate-sim-seed-{}.toml", self.seed));
            input::write(&path, &file::write(&plan, &format!("{failure}\nAs drawn by `{repeat}`.")))?;
            next(&path);
        }
        Ok(exit(&trial))
    }
}

impl Replay {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let plan = input::plan(&self.plan)?;
        let name = self.plan.display().to_string();
        let trial = tell(&plan, &name, &format!("quorate-sim replay {name}"), &self.telling)?;
        Ok(exit(&trial))
    }
}

fn exit(trial: &Trial) -> ExitCode {
    if trial.failing().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What can be done about a plan that fails.
fn next(path: &Path) {
    screen::line(format_args!(
        "Its plan is in {0}, to be edited; {1} runs it,",
        path.display(),
        command("replay", path)
    ));
    screen::line(format_args!("and {} makes it small.", command("minimise", path)));
}

fn command(name: &str, path: &Path) -> String {
    Styled(COMMAND, format_args!("quorate-sim {name} {}", path.display())).to_string()
}

pub(crate) fn tell(plan: &Plan, title: &str, repeat: &str, telling: &Telling) -> Result<Trial, WrongInput> {
    let began = Instant::now();
    let trial = trial::run(plan.clone(), Trace::On);
    let took = began.elapsed();
    match &trial {
        Trial::Ran(outcome) => {
            if let Some(story) = &outcome.story {
                let story = Story { title: title.to_owned(), repeat: repeat.to_owned(), ..story.clone() };
                tell_story(&story, telling)?;
            }
            figures(outcome, took.as_secs_f64());
        }
        Trial::Panicked(panic) => {
            screen::line(format_args!("{}  {title}: a panic", Styled(BAD, "FAILED")));
            screen::line(format_args!("  {}\n  at {}", panic.said, panic.place));
            screen::line(format_args!("Repeat with  {}", Styled(COMMAND, repeat)));
        }
    }
    Ok(trial)
}

fn tell_story(story: &Story, telling: &Telling) -> Result<(), WrongInput> {
    if telling.verbose {
        verbose::lines(story).iter().for_each(screen::line);
    }
    for (index, line) in story.to_text().lines().enumerate() {
        match (index, line.strip_prefix("FAILED"), line.strip_prefix("passed")) {
            (0, Some(rest), _) => screen::line(format_args!("{}{rest}", Styled(BAD, "FAILED"))),
            (0, _, Some(rest)) => screen::line(format_args!("{}{rest}", Styled(GOOD, "passed"))),
            _ => screen::line(line),
        }
    }
    if let Some(path) = &telling.html {
        input::write(path, &story.to_html())?;
        screen::line(format_args!("Drawn in     {}", path.display()));
    }
    Ok(())
}

/// The figures of a run.
fn figures(outcome: &Outcome, seconds: f64) {
    let fired: Vec<String> = fired(outcome).map(|(id, count)| format!("{id} {count}")).collect();
    let happened: Vec<String> = Sometimes::ALL
        .into_iter()
        .filter(|what| 0 < outcome.tallies.count(*what))
        .map(|what| format!("{what:?} {}", outcome.tallies.count(what)))
        .collect();
    screen::line(format_args!("History      {:016x}, in {:.1} ms", outcome.history, seconds * 1e3));
    screen::line(format_args!("Fired        {}", Styled(DIM, fired.join(", "))));
    screen::line(format_args!("Sometimes    {}", Styled(DIM, happened.join(", "))));
}

fn fired(outcome: &Outcome) -> impl Iterator<Item = (quorate_simulation::catalogue::FaultId, u64)> {
    let all = quorate_simulation::catalogue::FaultId::ALL.into_iter();
    all.map(|id| (id, outcome.fired.count(id))).filter(|(_, count)| 0 < *count)
}
