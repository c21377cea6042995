//! What the minimiser promises, whatever a plan is minimised for. The core has no bug to minimise for, so here a plan "fails" if it makes
//! something happen: siblings, a crash, an unknown outcome.

use proptest::prelude::*;
use quorate_simulation::choices::Choices;
use quorate_simulation::minimise::{Verdict, minimise, size};
use quorate_simulation::plan::file;
use quorate_simulation::sometimes::Sometimes;
use quorate_simulation::{Plan, Trace, run_plan};

/// Enough to become small, and few enough for a test.
const RUNS_MAX: u64 = 600;

fn happens(what: Sometimes, plan: &Plan) -> bool {
    0 < run_plan(plan.clone(), Choices::new(plan.seed), Trace::Off).tallies.count(what)
}

fn first_plan(seed: u64, what: Sometimes) -> Plan {
    let mut plans = (seed..).map(|seed| Plan::swarm(&mut Choices::new(seed)));
    plans.find(|plan| happens(what, plan)).expect("it happens sometimes")
}

fn until_enough_runs(what: Sometimes) -> impl FnMut(&Plan) -> Verdict {
    let mut runs = 0;
    move |plan| {
        runs += 1;
        match runs <= RUNS_MAX {
            false => Verdict::Stop,
            true if happens(what, plan) => Verdict::Fails,
            true => Verdict::Holds,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_minimised_plan_still_fails_is_valid_and_no_larger(
        seed in 0u64..100_000,
        what in prop::sample::select(vec![
            Sometimes::Siblings,
            Sometimes::Deleted,
            Sometimes::Repaired,
            Sometimes::OutcomeUnknown,
            Sometimes::WriteQuorumFailed,
            Sometimes::CrashedInTurn,
            Sometimes::PowerLost,
            Sometimes::ClientCutOff,
        ]),
    ) {
        let plan = first_plan(seed, what);
        let small = minimise(plan.clone(), until_enough_runs(what)).plan;
        prop_assert!(happens(what, &small));
        prop_assert_eq!(small.check(), Ok(()));
        prop_assert!(size(&small) <= size(&plan));
        let (nodes, keys) = (small.cluster.nodes, small.cluster.keys);
        prop_assert!(nodes <= plan.cluster.nodes && keys <= plan.cluster.keys && small.clients.len() <= plan.clients.len());
        prop_assert_eq!(file::read(&file::write(&small, "small")), Ok(small));
    }
}

#[test]
fn minimising_gives_the_same_plan_each_time() {
    let plan = first_plan(1, Sometimes::Siblings);
    let small = || minimise(plan.clone(), until_enough_runs(Sometimes::Siblings));
    assert_eq!(small(), small());
}

#[test]
fn siblings_take_two_writes() {
    let plan = first_plan(40, Sometimes::Siblings);
    let small = minimise(plan, until_enough_runs(Sometimes::Siblings)).plan;
    assert!(size(&small) <= 4, "{}", file::write(&small, ""));
}

#[test]
fn a_plan_that_fails_whatever_it_is_becomes_nothing() {
    let minimised = minimise(Plan::swarm(&mut Choices::new(7)), |_| Verdict::Fails);
    let cluster = &minimised.plan.cluster;
    assert_eq!((size(&minimised.plan), cluster.nodes, cluster.keys, cluster.n), (0, 1, 1, 1));
    assert!(minimised.is_minimal);
}

#[test]
fn a_search_that_is_stopped_gives_what_it_has() {
    let plan = Plan::swarm(&mut Choices::new(7));
    let minimised = minimise(plan.clone(), |_| Verdict::Stop);
    assert_eq!((minimised.plan, minimised.runs, minimised.is_minimal), (plan, 1, false));
}
