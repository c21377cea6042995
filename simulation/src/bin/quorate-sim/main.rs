//! `quorate-sim`: runs seeds and plans of the simulator, and tells what they showed.
//!
//! Exit status: 0 if all that was promised held, 1 if it did not, 2 if what was asked for makes no sense.

#![expect(
    clippy::disallowed_methods,
    reason = "the border of the simulator: files, processes, and how long on the clock something took"
)]

mod audit;
mod campaign;
mod capacity;
mod exhaust;
mod input;
mod list;
mod minimise;
mod run;
mod scenario;
mod screen;
mod trial;
mod verbose;
mod what_if;
mod zoo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Quorate's production core under virtual time: every fault, one seed.
#[derive(Debug, Parser)]
#[command(
    name = "quorate-sim",
    version,
    arg_required_else_help = true,
    after_help = "Exit status: 0 if all that was promised held, 1 if it did not, 2 if what was asked for makes no sense."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the plan of one seed, and tell what happened
    Run(run::Run),
    /// Run many seeds, and say which failed and what they met
    Campaign(campaign::Campaign),
    /// Run a plan file, and tell what happened
    Replay(run::Replay),
    /// Make a plan that fails as small as it can be
    Minimise(minimise::Minimise),
    /// Show that seeds are the same run each time: twice here, and once in another process
    Audit(audit::Audit),
    /// Try every sequence of a few operations and faults, and every crash within an operation
    Exhaust(exhaust::Exhaust),
    /// Run named scenarios: published failures that must not happen here
    Scenario(scenario::Scenario),
    /// Say in a line each which faults, oracles, scenarios and *sometimes* there are
    List(list::List),
    /// Say how stale, divergent, available and fast a cluster would be
    WhatIf(what_if::WhatIf),
    /// Say how many nodes a load needs, or what a cluster carries and how fast it answers
    Capacity(capacity::Capacity),
    /// Plant bugs in a copy of the core, and say which of them seeds find
    Zoo(zoo::Zoo),
}

fn main() -> ExitCode {
    trial::note_panics();
    let ended = match CommandLine::parse().command {
        Command::Run(run) => run.run(),
        Command::Campaign(campaign) => campaign.run(),
        Command::Replay(replay) => replay.run(),
        Command::Minimise(minimise) => minimise.run(),
        Command::Audit(audit) => audit.run(),
        Command::Exhaust(exhaust) => exhaust.run(),
        Command::Scenario(scenario) => scenario.run(),
        Command::List(list) => list.run(),
        Command::WhatIf(what_if) => what_if.run(),
        Command::Capacity(capacity) => capacity.run(),
        Command::Zoo(zoo) => zoo.run(),
    };
    ended.unwrap_or_else(|wrong| {
        screen::complain(&wrong);
        ExitCode::from(2)
    })
}
