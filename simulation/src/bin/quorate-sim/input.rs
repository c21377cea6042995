//! What people give on the command line, checked: seeds, kinds of faults, plan files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use quorate_simulation::catalogue::FaultId;
use quorate_simulation::choices::Choices;
use quorate_simulation::plan::file::{self, PlanFileError};
use quorate_simulation::plan::span::Span;
use quorate_simulation::{Plan, latency};

/// What was asked for and makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrongInput {
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A plan file is wrong.
    #[error("{}: {source}", path.display())]
    Plan {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: PlanFileError,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The largest seed: plan files keep seeds as TOML has numbers, in 64 bits with a sign.
const SEED_MAX: u64 = i64::MAX as u64;

/// Reads a seed.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let seed = text.parse().ok().filter(|seed| *seed <= SEED_MAX);
    seed.ok_or_else(|| format!("a seed is a whole number from 0 to {SEED_MAX}"))
}

/// Reads how many of something there are to be.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| 0 < *count).ok_or_else(|| "expected a whole number from 1".to_owned())
}

/// Reads a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| 0.0 < *seconds && *seconds < 1e9);
    seconds.map(std::time::Duration::from_secs_f64).ok_or_else(|| "expected seconds, such as 45".to_owned())
}

/// Reads a length of time that is more than nothing.
pub(crate) fn time(text: &str) -> Result<Span, String> {
    let span = text.parse().ok().or_else(|| latency::measured(text).ok().map(|delay| delay.median));
    span.filter(|span| !span.is_zero() && *span <= LONGEST)
        .ok_or_else(|| "expected a length of time, such as 30ms, 0.2ms or 1s 500ms".to_owned())
}

/// The longest time that may be given: a day.
const LONGEST: Span = Span::from_millis(86_400_000);

/// Which kinds of faults may happen.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Kinds {
    /// Only these kinds of faults, such as N7,P2 (`quorate-sim list faults` shows all)
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    faults: Vec<FaultId>,
}

impl Kinds {
    /// The kinds. All, if none is named.
    pub(crate) fn enabled(&self) -> BTreeSet<FaultId> {
        if self.are_all() { FaultId::ALL.into_iter().collect() } else { self.faults.iter().copied().collect() }
    }

    /// Whether none is left out.
    pub(crate) const fn are_all(&self) -> bool {
        self.faults.is_empty()
    }

    /// The plan of a seed.
    pub(crate) fn plan(&self, seed: u64) -> Plan {
        Plan::swarm_of(&mut Choices::new(seed), &self.enabled())
    }

    /// The arguments that say the same.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let names: Vec<&str> = self.faults.iter().map(|id| id.number()).collect();
        if names.is_empty() { Vec::new() } else { vec!["--faults".to_owned(), names.join(",")] }
    }

    /// The command that runs a seed with them.
    pub(crate) fn repeat(&self, seed: u64) -> String {
        let mut words = vec![format!("quorate-sim run --seed {seed}")];
        words.extend(self.arguments());
        words.join(" ")
    }
}

/// Reads a plan file.
pub(crate) fn plan(path: &Path) -> Result<Plan, WrongInput> {
    let text = std::fs::read_to_string(path).map_err(|source| WrongInput::File {
        doing: "read the plan",
        path: path.to_owned(),
        source,
    })?;
    file::read(&text).map_err(|source| WrongInput::Plan { path: path.to_owned(), source })
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), WrongInput> {
    std::fs::write(path, text).map_err(|source| WrongInput::File { doing: "write", path: path.to_owned(), source })
}
