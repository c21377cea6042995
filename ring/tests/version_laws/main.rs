//! The laws of `quorate_ring::version`, by generated cases: the algebra of vectors, clocks and containers, and that the whole
//! of it agrees with a deliberately dumb model ([`history`]) under loss, delay, duplication and reordering.
//!
//! Each law runs 2,000 cases, or as many as the environment variable `PROPTEST_CASES` says.
#![expect(clippy::disallowed_methods, reason = "the number of cases comes from the environment")]

mod algebra;
mod history;

use std::cell::RefCell;

use history::{Happened, History, Rules, histories};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

/// 2,000 cases unless `PROPTEST_CASES` says otherwise. Nothing is written beside the sources: a failing case is printed whole.
pub(crate) fn config() -> ProptestConfig {
    const CASES: u32 = 2_000;
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// No false dominance, no false concurrency, convergence, and nothing left of the deleted.
#[test]
fn every_history_agrees_with_the_model_of_sets() {
    let total = RefCell::new(Happened::default());
    let mut runner = TestRunner::new(config());
    let result = runner.run(&histories(), |steps| {
        let happened = History::run(Rules::Sound, &steps).map_err(TestCaseError::fail)?;
        total.borrow_mut().add(&happened);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let total = total.into_inner();
    println!("{total:?}");
    total.assert_each_is_common(config().cases);
}

/// The test above tests something: each rule that carries weight, broken alone, makes visible siblings differ from the model.
#[test]
fn each_broken_rule_is_caught() {
    for rules in Rules::BROKEN {
        let config = ProptestConfig {
            cases: 20_000,
            max_shrink_iters: 0,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let cases = RefCell::new(0);
        let result = TestRunner::new(config).run(&histories(), |steps| {
            *cases.borrow_mut() += 1;
            History::run(rules, &steps).map(|_| ()).map_err(TestCaseError::fail)
        });
        let Err(TestError::Fail(reason, _)) = result else { panic!("{rules:?} was not caught: {result:?}") };
        println!("{rules:?} was caught by case {}: {reason}", cases.into_inner());
    }
}
