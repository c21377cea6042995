//! `zoo`: plants bugs in a copy of the core, and says which of them seeds find.

use std::process::ExitCode;

use clap::Args;
use quorate_simulation::zoo::{self, report::Report};

use crate::input::{self, WrongInput};
use crate::screen;

/// Plants bugs, one at a time, and looks for them.
#[derive(Debug, Args)]
pub(crate) struct Zoo {
    /// Which bugs; all of them if none is named
    #[arg(value_name = "BUG")]
    names: Vec<String>,
    /// After how many seeds a bug counts as not found
    #[arg(long, value_name = "N", value_parser = input::count, default_value_t = zoo::SEEDS_DEFAULT)]
    seeds: u64,
    /// Only look whether every bug can still be planted
    #[arg(long, conflicts_with_all = ["names", "seeds"])]
    check: bool,
}

impl Zoo {
    /// Plants and looks.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let wrong = |error: zoo::Error| WrongInput::Other(error.to_string());
        let options = zoo::Options { names: self.names, seeds: self.seeds, ..zoo::Options::new() };
        if self.check {
            let entries = zoo::check(&options.root).map_err(wrong)?;
            screen::line(format_args!("{} bugs apply", entries.len()));
            return Ok(ExitCode::SUCCESS);
        }
        screen::line(Report::HEAD);
        let shown = |row: &zoo::report::Row| {
            screen::line(row);
            let found = row.catch.as_ref().map(|catch| &catch.what);
            let what = found.or(row.refused.as_ref()).map_or("by no seed", |what| what);
            screen::aside(format_args!("{}: {what}; built in {:.1} s", row.name, row.built.as_secs_f64()));
        };
        let report = zoo::run(&options, shown).map_err(wrong)?;
        screen::line(&report);
        Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
