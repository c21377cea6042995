//! What runs showed, added up.

use std::time::Duration;

use quorate_simulation::catalogue::Fired;
use quorate_simulation::sometimes::Tallies;

use crate::trial::Trial;

/// What some runs showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) seeds: u64,
    pub(super) failed: u64,
    pub(super) events: u64,
    /// In virtual time.
    pub(super) lasted: Duration,
    /// Runs in which something was lost, and that was excused.
    pub(super) excused: u64,
    pub(super) fired: Fired,
    pub(super) tallies: Tallies,
    /// In how many runs each happened.
    pub(super) runs_with: Tallies,
    /// The first that failed, and how.
    pub(super) failures: Vec<(u64, String)>,
}

/// How many failed seeds are remembered: more of them say no more.
const FAILURES_MAX: usize = 1_000;

impl Totals {
    /// Adds a run. Says whether it failed.
    pub(super) fn note(&mut self, seed: u64, trial: &Trial) -> bool {
        self.seeds += 1;
        if let Trial::Ran(outcome) = trial {
            self.events += outcome.events;
            self.lasted += outcome.lasted;
            self.excused += u64::from(outcome.is_excused());
            self.fired.add(&outcome.fired);
            self.tallies.add(&outcome.tallies);
            self.runs_with.add(&outcome.tallies.happened());
        }
        let failure = trial.failure();
        let failed = failure.is_some();
        self.failed += u64::from(failed);
        self.failures.extend(failure.map(|what| (seed, what)));
        failed
    }

    /// Adds those of other runs.
    pub(super) fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.failed += other.failed;
        self.events += other.events;
        self.lasted += other.lasted;
        self.excused += other.excused;
        self.fired.add(&other.fired);
        self.tallies.add(&other.tallies);
        self.runs_with.add(&other.runs_with);
        let room = FAILURES_MAX.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.into_iter().take(room));
    }
}
