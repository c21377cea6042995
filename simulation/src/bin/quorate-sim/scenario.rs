//! `scenario`: the named scenarios, each a published failure that must not happen here.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use quorate_simulation::plan::file;
use quorate_simulation::scenario::{self, Body, Named};

use crate::input::{self, WrongInput};
use crate::run::{Telling, tell};
use crate::screen::{self, BAD, DIM, GOOD, HEADING, Styled};
use crate::trial;

/// Runs named scenarios.
#[derive(Debug, Args)]
pub(crate) struct Scenario {
    /// Which one is told; all are checked if none is named (`quorate-sim list scenarios` shows them)
    name: Option<String>,
    /// Write its plan to this file; of several runs each to a file of its own, numbered
    #[arg(long, value_name = "FILE", requires = "name")]
    plan_out: Option<PathBuf>,
    #[command(flatten)]
    telling: Telling,
}

impl Scenario {
    /// Runs it, or all.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let holds = match &self.name {
            Some(name) => {
                let named = scenario::find(name).map_err(|error| WrongInput::Other(error.to_string()))?;
                self.tell(&named)?;
                check(&named)
            }
            None => scenario::all().filter(|named| !check(named)).count() == 0,
        };
        Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn tell(&self, named: &Named) -> Result<(), WrongInput> {
        screen::line(Styled(HEADING, format!("{}: {}", named.name, named.line)));
        screen::line(format_args!("from {}", named.source));
        if let Body::Built { rule, .. } = named.body {
            screen::line(format_args!("prevented by {rule}"));
        }
        let plans = named.plans();
        for (index, plan) in plans.iter().enumerate() {
            if let Some(path) = &self.plan_out {
                let path = if index == 0 { path.clone() } else { numbered(path, index + 1) };
                input::write(&path, &file::write(plan, &format!("{}: {}", named.name, named.line)))?;
                screen::line(format_args!("the plan is in {}", path.display()));
            }
            screen::line("");
            tell(plan, named.name, &format!("quorate-sim scenario {}", named.name), &self.telling)?;
        }
        Ok(())
    }
}

/// `plan.toml`, numbered: `plan-2.toml`.
fn numbered(path: &std::path::Path, number: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let end = path.extension().map(|end| format!(".{}", end.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{number}{end}"))
}

/// Checks a scenario and says how it went.
fn check(named: &Named) -> bool {
    if let Body::Awaits(feature) = named.body {
        let awaits = format!("-       {} (awaits {feature})", named.name);
        screen::line(Styled(DIM, awaits));
        return true;
    }
    match trial::caught(|| named.check()) {
        Ok(Ok(())) => {
            screen::line(format_args!("{}  {}", Styled(GOOD, "passed"), named.name));
            true
        }
        Ok(Err(unexpected)) => failed(named, &unexpected.to_string()),
        Err(panic) => failed(named, &panic.to_string()),
    }
}

fn failed(named: &Named, what: &str) -> bool {
    screen::line(format_args!("{}  {}: {what}", Styled(BAD, "FAILED"), named.name));
    false
}
