//! Small scope, exhaustively: three nodes, one key, two clients, and every sequence of a few operations and faults.
//!
//! Most bugs of protocols need few steps; a search that misses none of these shows more than one that is lucky. What is covered:
//!
//! - [`explore`]: every sequence of up to so many operations and so many faults, each with its end as a step of its own or never, at the
//!   grain of whole steps: each runs until nothing moves, or only what a fault holds back. N = 3, R = W = 2. Not covered are what
//!   happens within a step, and three reductions: clients are interchangeable, so the first to act is client 0; so are nodes, so they are
//!   first named in order, each sequence with one order of preference; and a node has one fault at a time.
//! - [`crashes`]: within a step. For each kind of operation, each node dies at each single input that it takes, after each part of its
//!   outputs; and so with a power loss after it.
//!
//! Every sequence is a run from the start, checked by all oracles, healed and checked again, as any run is. Two sequences that lead to
//! the same state ([`crate::engine::watch::Watched::state`]) have the same future, and only one is gone on from.

pub mod crashes;
pub mod moves;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::moves::{Move, Position};
use crate::plan::Plan;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// Most operations of a sequence.
    pub operations: usize,
    /// Most faults of a sequence.
    pub faults: usize,
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Sequences that were run.
    pub runs: u64,
    /// Those of them that led to a state from which no less was tried before.
    pub known: u64,
    /// Events of all runs.
    pub events: u64,
}

/// A sequence that ended otherwise than it has to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{moves}: {wrong}")]
pub struct Failure {
    /// The sequence, in words.
    pub moves: String,
    /// What was wrong.
    pub wrong: String,
    /// Its plan, to be replayed.
    pub plan: Box<Plan>,
}

/// Searches all sequences of a scope. `progress` is told after each run.
///
/// # Errors
/// The first sequence, shorter ones before longer, that ended otherwise than it has to.
pub fn explore(scope: Scope, progress: &mut dyn FnMut(&Covered)) -> Result<Covered, Failure> {
    let mut search = Search { known: BTreeMap::new(), covered: Covered::default(), progress };
    search.go_on(&mut Position::start(), scope)?;
    Ok(search.covered)
}

struct Search<'progress> {
    /// From which states how much was tried already.
    known: BTreeMap<(u64, String), Vec<Scope>>,
    covered: Covered,
    progress: &'progress mut dyn FnMut(&Covered),
}

impl Search<'_> {
    /// Tries every move, and goes on from where each leads.
    fn go_on(&mut self, position: &mut Position, left: Scope) -> Result<(), Failure> {
        for next in position.moves(left) {
            position.push(next);
            let left = after(next, left);
            if self.is_new(position, left)? {
                self.go_on(position, left)?;
            }
            position.pop();
        }
        Ok(())
    }

    /// Runs a sequence; says whether it leads to a state from which less was tried so far.
    fn is_new(&mut self, position: &Position, left: Scope) -> Result<bool, Failure> {
        let state = run(&position.plan(), || position.to_string(), &mut self.covered)?;
        (self.progress)(&self.covered);
        let tried = self.known.entry((state, position.open())).or_default();
        let covers = |known: &Scope| left.operations <= known.operations && left.faults <= known.faults;
        if tried.iter().any(covers) {
            self.covered.known += 1;
            return Ok(false);
        }
        tried.push(left);
        Ok(true)
    }
}

fn after(next: Move, left: Scope) -> Scope {
    match next {
        Move::Ask { .. } => Scope { operations: left.operations - 1, ..left },
        Move::Begin { .. } => Scope { faults: left.faults - 1, ..left },
        Move::End { .. } => left,
    }
}

/// Runs a plan; gives the state that its load left.
fn run(plan: &Plan, words: impl Fn() -> String, covered: &mut Covered) -> Result<u64, Failure> {
    let failure = |wrong: String| Failure { moves: words(), wrong, plan: Box::new(plan.clone()) };
    let outcome = catch_unwind(AssertUnwindSafe(|| crate::run_watched(plan.clone())));
    let outcome = outcome.map_err(|_| failure("a panic".to_owned()))?;
    covered.runs += 1;
    covered.events += outcome.events;
    match outcome.violation {
        Some(violation) => Err(failure(violation.to_string())),
        None => Ok(outcome.watched.state),
    }
}
