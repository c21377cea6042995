//! One run, whatever the core does in it: a panic is a failure like any other.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};

use quorate_simulation::choices::Choices;
use quorate_simulation::oracle::Oracle;
use quorate_simulation::{Outcome, Plan, Trace, run_plan};

thread_local! {
    /// The last panic's place and what it said.
    static LAST_PANIC: RefCell<(String, String)> = const { RefCell::new((String::new(), String::new())) };
    /// Whether a run is under way, whose panics are told by whoever runs it.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// How a run failed. Two runs fail alike if this is equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// A property did not hold.
    Oracle(Oracle),
    /// The core, or the simulator, panicked here.
    Panic(String),
}

/// What became of a run.
pub(crate) enum Trial {
    /// It came to its end.
    Ran(Box<Outcome>),
    /// It did not.
    Panicked(Panic),
}

/// A panic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a panic: {} ({place})", said.replace('\n', " "))]
pub(crate) struct Panic {
    /// What was said.
    pub(crate) said: String,
    /// Where.
    pub(crate) place: String,
}

/// From now on a panic's text is kept for whoever catches it, in place of being printed.
pub(crate) fn note_panics() {
    panic::set_hook(Box::new(|info| {
        let said = info.payload_as_str().unwrap_or("a panic that says nothing");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        LAST_PANIC.set((place.clone(), said.to_owned()));
        if !CATCHING.get() {
            eprintln!("panicked at {place}: {said}");
        }
    }));
}

/// Runs a plan.
pub(crate) fn run(plan: Plan, trace: Trace) -> Trial {
    let choices = Choices::new(plan.seed);
    match caught(|| run_plan(plan, choices, trace)) {
        Ok(outcome) => Trial::Ran(Box::new(outcome)),
        Err(panic) => Trial::Panicked(panic),
    }
}

/// Does what may panic.
pub(crate) fn caught<T>(what: impl FnOnce() -> T) -> Result<T, Panic> {
    CATCHING.set(true);
    // Nothing of a run outlives it, so nothing half done is seen.
    let done = panic::catch_unwind(AssertUnwindSafe(what));
    CATCHING.set(false);
    done.map_err(|_| {
        let (place, said) = LAST_PANIC.take();
        Panic { said, place }
    })
}

impl Trial {
    /// How it failed, if it did.
    pub(crate) fn failing(&self) -> Option<Failing> {
        match self {
            Self::Ran(outcome) => outcome.violation.as_ref().map(|violation| Failing::Oracle(violation.oracle)),
            Self::Panicked(panic) => Some(Failing::Panic(panic.place.clone())),
        }
    }

    /// How it failed, in a line.
    pub(crate) fn failure(&self) -> Option<String> {
        match self {
            Self::Ran(outcome) => outcome.violation.as_ref().map(ToString::to_string),
            Self::Panicked(panic) => Some(panic.to_string()),
        }
    }
}
