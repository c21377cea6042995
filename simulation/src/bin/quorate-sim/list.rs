//! `list`: what there is, in a line each.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use quorate_simulation::catalogue::FaultId;
use quorate_simulation::oracle::Oracle;
use quorate_simulation::scenario::{self, Body, Named};
use quorate_simulation::sometimes::Sometimes;

use crate::input::WrongInput;
use crate::screen::{self, DIM, HEADING, Styled};

/// Says what there is.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// What to list; everything if it is left out
    what: Option<What>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// What can go wrong
    Faults,
    /// What is checked
    Oracles,
    /// Published failures that must not happen here
    Scenarios,
    /// What a campaign has to have met
    Sometimes,
}

impl List {
    /// Lists it.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        for what in What::value_variants() {
            match self.what {
                Some(wanted) if wanted == *what => list(*what),
                Some(_) => {}
                None => {
                    let name = what.to_possible_value().expect("none is skipped");
                    screen::line(Styled(HEADING, name.get_name()));
                    list(*what);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(what: What) {
    match what {
        What::Faults => FaultId::ALL.into_iter().for_each(fault),
        What::Oracles => Oracle::ALL.into_iter().for_each(|oracle| {
            screen::line(format_args!("  {:<4}{}", format!("O{}", oracle.number()), oracle.promise()));
        }),
        What::Scenarios => scenario::all().for_each(|named| scenario(&named)),
        What::Sometimes => Sometimes::ALL.into_iter().for_each(|what| {
            screen::line(format_args!("  {:<19}{}", format!("{what:?}"), what.text()));
        }),
    }
}

fn scenario(named: &Named) {
    let awaits = match named.body {
        Body::Built { .. } => String::new(),
        Body::Awaits(feature) => format!(" (not run yet: awaits {feature})"),
    };
    screen::line(format_args!("  {:<46} {}{}", named.name, named.line, Styled(DIM, awaits)));
}

fn fault(id: FaultId) {
    screen::line(format_args!("  {:<4}{}", id.number(), id.text()));
}
