//! Named scenarios: the failures that were published of stores like this one, each as a run in exact order that has to end well here.
//!
//! Each names where it comes from and the rule that prevents it. Taking that rule out makes it fail: every one was seen to, with the
//! edit that its entry names (those in quotes are planted bugs of the zoo, by name). The language is in [`script`].
//!
//! One that waits for a feature would be in the list too, so that the feature does not arrive without it; none does now.

mod actors;
mod clients;
mod closing;
mod disks;
mod expiry;
mod gray;
mod hints;
mod links;
mod members;
pub mod script;
mod scrub;
mod siblings;
mod standings;

use self::script::{Scenario, Unexpected};
use crate::catalogue::nearest;
use crate::engine::Outcome;
use crate::plan::Plan;

/// A named scenario.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in a line.
    pub line: &'static str,
    /// The published bug it comes from, or the fault of the catalogue.
    pub source: &'static str,
    /// What it is, or what it waits for.
    pub body: Body,
}

/// What a scenario is.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// Runs, each with what its clients have to be told.
    Built {
        /// The rule, or rules where several guard the same, without which it fails; and what it said then.
        rule: &'static str,
        /// Makes the runs.
        runs: fn() -> Vec<Scenario>,
        /// What they have to show together.
        together: fn(&[Outcome]) -> Result<(), String>,
    },
    /// It needs this, which is not there yet.
    Awaits(&'static str),
}

impl Named {
    const fn built(
        name: &'static str,
        line: &'static str,
        source: &'static str,
        rule: &'static str,
        runs: fn() -> Vec<Scenario>,
    ) -> Self {
        Self { name, line, source, body: Body::Built { rule, runs, together: |_| Ok(()) } }
    }

    /// Its plans, to be written to files or looked at; none if it waits for a feature.
    pub fn plans(&self) -> Vec<Plan> {
        match self.body {
            Body::Built { runs, .. } => runs().into_iter().map(|run| run.plan).collect(),
            Body::Awaits(_) => Vec::new(),
        }
    }

    /// Runs and checks it. One that waits for a feature has nothing to fail.
    ///
    /// # Errors
    /// The first thing that is not as it has to be.
    pub fn check(&self) -> Result<(), Unexpected> {
        let Body::Built { runs, together, .. } = self.body else { return Ok(()) };
        let outcomes: Vec<Outcome> = runs().iter().map(Scenario::check).collect::<Result<_, _>>()?;
        together(&outcomes).map_err(Unexpected::Together)
    }
}

/// That no scenario has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scenario is called {found:?}; the nearest are {nearest}; `quorate-sim list` shows all")]
pub struct UnknownScenario {
    /// What was given.
    pub found: String,
    /// Those that look most like it.
    pub nearest: String,
}

/// All scenarios.
pub const ALL: [&[Named]; 12] = [
    actors::ALL,
    disks::ALL,
    links::ALL,
    clients::ALL,
    siblings::ALL,
    expiry::ALL,
    hints::ALL,
    gray::ALL,
    scrub::ALL,
    closing::ALL,
    members::ALL,
    standings::ALL,
];

/// All scenarios, one after the other.
pub fn all() -> impl Iterator<Item = Named> {
    ALL.into_iter().flatten().copied()
}

/// The scenario of this name.
///
/// # Errors
/// The names that are nearest, if there is none.
pub fn find(name: &str) -> Result<Named, UnknownScenario> {
    all().find(|named| named.name == name).ok_or_else(|| UnknownScenario {
        found: name.to_owned(),
        nearest: nearest(name, all().map(|named| named.name)).join(", "),
    })
}
