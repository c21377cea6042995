//! Every small sequence of operations and faults, and every crash within an operation, ends as it has to.
//!
//! `QUORATE_SMALL_SCOPE=4,1` tries up to four operations and one fault, and so on for other numbers.

#![expect(
    clippy::disallowed_methods,
    reason = "a longer search is asked for in the environment, and timed from outside"
)]

use std::time::Instant;

use quorate_simulation::small_scope::crashes::crashes;
use quorate_simulation::small_scope::{Scope, explore};

/// What every test run tries: some 135,000 sequences.
const EVERY_TIME: [Scope; 3] =
    [Scope { operations: 4, faults: 0 }, Scope { operations: 3, faults: 1 }, Scope { operations: 2, faults: 2 }];

#[test]
fn every_small_sequence_of_operations_and_faults_ends_as_it_has_to() {
    let asked = std::env::var("QUORATE_SMALL_SCOPE").ok().map(|text| {
        let (operations, faults) = text.split_once(',').expect("two numbers, as in 4,1");
        let number = |text: &str| text.parse().expect("two numbers, as in 4,1");
        vec![Scope { operations: number(operations), faults: number(faults) }]
    });
    for scope in asked.unwrap_or(EVERY_TIME.to_vec()) {
        let began = Instant::now();
        let covered = explore(scope, &mut |_| {}).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{scope:?}: {covered:?} in {:.1} s", began.elapsed().as_secs_f64());
        assert!(0 < covered.runs);
    }
}

#[test]
fn a_crash_at_every_single_step_of_an_operation_ends_as_it_has_to() {
    let began = Instant::now();
    let covered = crashes().unwrap_or_else(|failure| panic!("{failure}"));
    println!("{covered:?} in {:.1} s", began.elapsed().as_secs_f64());
    assert!(1_000 < covered.runs, "there are many steps to die at: {covered:?}");
}
