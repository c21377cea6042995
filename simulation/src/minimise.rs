//! Makes a plan that fails small: what is left is what it takes to fail.
//!
//! Delta debugging (Zeller and Hildebrandt: "Simplifying and Isolating Failure-Inducing Input", 2002) over faults, clients and steps,
//! then fewer nodes and keys, simpler values and rounder times (`cluster`, `values`); large cuts come first, and
//! everything is tried again until nothing helps. A smaller plan draws other delays than the larger one did, so each is tried with a
//! few seeds: of its own history a plan keeps only what its file says.
//!
//! Who calls says of each plan whether it still fails in the same way, and when there was enough: there is no clock here.

mod cluster;
mod cuts;
mod values;

use std::ops::Range;

use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::run_plan;
use crate::{Trace, choices::Choices};

/// What is said of a plan that may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It still fails in the same way.
    Fails,
    /// It does not.
    Holds,
    /// There was no time to find out, and there will be none: what is found so far is the result.
    Stop,
}

/// The smallest plan that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimised {
    /// The plan. It fails as the first one did.
    pub plan: Plan,
    /// How many plans were run.
    pub runs: u64,
    /// Whether nothing that is known to be tried makes it smaller; otherwise it was stopped.
    pub is_minimal: bool,
}

/// What is tried until nothing helps, one stage after the other.
struct Stage {
    /// With how many seeds each smaller plan is tried.
    seeds: u64,
    /// Whether values are made simpler too: there are many of them, so first the plan is made short.
    values: bool,
}

/// From what takes most away to what is tried hardest.
const STAGES: [Stage; 4] = [
    Stage { seeds: 1, values: false },
    Stage { seeds: 8, values: false },
    Stage { seeds: 2, values: true },
    Stage { seeds: 24, values: true },
];

/// Makes a plan small that fails. What the judge calls a failure is up to it; [`by_oracle`] is one.
pub fn minimise(plan: Plan, judge: impl FnMut(&Plan) -> Verdict) -> Minimised {
    let mut search = Search { plan, judge, seeds: 1, runs: 0, stopped: false };
    for stage in STAGES {
        search.seeds = stage.seeds;
        while search.round(&stage) {}
    }
    Minimised { plan: search.plan, runs: search.runs, is_minimal: !search.stopped }
}

/// A judge who wants the same oracle to object.
pub fn by_oracle(oracle: Oracle) -> impl Fn(&Plan) -> Verdict {
    move |plan| {
        let outcome = run_plan(plan.clone(), Choices::new(plan.seed), Trace::Off);
        let same = outcome.violation.is_some_and(|violation| violation.oracle == oracle);
        if same { Verdict::Fails } else { Verdict::Holds }
    }
}

/// How large a plan is, to a person who reads it: its steps and faults.
pub fn size(plan: &Plan) -> usize {
    plan.faults.len() + plan.clients.iter().map(|client| client.steps.len()).sum::<usize>()
}

struct Search<J> {
    /// The smallest plan so far that fails.
    plan: Plan,
    judge: J,
    seeds: u64,
    runs: u64,
    stopped: bool,
}

impl<J: FnMut(&Plan) -> Verdict> Search<J> {
    /// Tries everything once. Says whether anything helped.
    fn round(&mut self, stage: &Stage) -> bool {
        let before = self.plan.clone();
        self.cut(|plan| plan.faults.len(), cuts::without_faults);
        self.cut(|plan| plan.clients.len(), cuts::without_clients);
        self.cut(cuts::steps, cuts::without_steps);
        self.cut(cuts::steps, cuts::without_steps_in_the_same_time);
        for candidates in
            [cluster::fewer_nodes, cluster::lower_n, cluster::fewer_keys, cluster::plainer, cuts::merged_clients]
        {
            self.first_of(candidates);
        }
        let changes = if stage.values { &values::CHANGES[..] } else { &[] };
        changes.iter().for_each(|change| self.change(change));
        !self.stopped && self.plan != before
    }

    /// Takes this plan if it fails with its seed or one of a few others.
    fn attempt(&mut self, mut candidate: Plan) -> bool {
        if self.stopped || candidate == self.plan || candidate.check().is_err() {
            return false;
        }
        let own = candidate.seed;
        for seed in std::iter::once(own).chain((0..self.seeds - 1).filter(|seed| *seed != own)) {
            candidate.seed = seed;
            self.runs += 1;
            match (self.judge)(&candidate) {
                Verdict::Fails => {
                    self.plan = candidate;
                    return true;
                }
                Verdict::Holds => {}
                Verdict::Stop => {
                    self.stopped = true;
                    return false;
                }
            }
        }
        false
    }

    /// Takes out ranges of something, from all of it down to one.
    fn cut(&mut self, count: impl Fn(&Plan) -> usize, without: impl Fn(&Plan, Range<usize>) -> Plan) {
        let mut length = count(&self.plan);
        while 0 < length && !self.stopped {
            let mut start = 0;
            while start < count(&self.plan) {
                let end = count(&self.plan).min(start + length);
                if !self.attempt(without(&self.plan, start..end)) {
                    start = end;
                }
            }
            length /= 2;
        }
    }

    /// Takes the first of several plans that fails, and asks for further ones, until none does.
    fn first_of(&mut self, candidates: impl Fn(&Plan) -> Vec<Plan>) {
        while candidates(&self.plan).into_iter().any(|candidate| self.attempt(candidate)) {}
    }

    /// Makes places of the plan simpler: all at once, then ranges of them, down to one.
    fn change(&mut self, change: &values::Change) {
        let mut length = (change.places)(&self.plan);
        while 0 < length && !self.stopped {
            let places = (change.places)(&self.plan);
            for start in (0..places).step_by(length) {
                let mut candidate = self.plan.clone();
                (start..places.min(start + length)).for_each(|place| (change.simplify)(&mut candidate, place));
                self.attempt(candidate);
            }
            length /= 2;
        }
    }
}
