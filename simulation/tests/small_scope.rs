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

/// Tries every sequence of a scope; of another scope, where the environment asks for one.
fn ends_as_it_has_to(scope: Scope) {
    let asked = std::env::var("QUORATE_SMALL_SCOPE").ok().map(|text| {
        let (operations, faults) = text.split_once(',').expect("two numbers, as in 4,1");
        let number = |text: &str| text.parse().expect("two numbers, as in 4,1");
        Scope { operations: number(operations), faults: number(faults) }
    });
    let (scope, began) = (asked.unwrap_or(scope), Instant::now());
    let covered = explore(scope, &mut |_| {}).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{scope:?}: {covered:?} in {:.1} s", began.elapsed().as_secs_f64());
    assert!(0 < covered.runs);
}

// Three tests of some 135,000 sequences together, so that two cores share them.

#[test]
fn every_sequence_of_four_operations_ends_as_it_has_to() {
    ends_as_it_has_to(Scope { operations: 4, faults: 0 });
}

#[test]
fn every_sequence_of_three_operations_and_a_fault_ends_as_it_has_to() {
    ends_as_it_has_to(Scope { operations: 3, faults: 1 });
}

#[test]
fn every_sequence_of_two_operations_and_two_faults_ends_as_it_has_to() {
    ends_as_it_has_to(Scope { operations: 2, faults: 2 });
}

#[test]
fn a_crash_at_every_single_step_of_an_operation_ends_as_it_has_to() {
    let began = Instant::now();
    let covered = crashes().unwrap_or_else(|failure| panic!("{failure}"));
    println!("{covered:?} in {:.1} s", began.elapsed().as_secs_f64());
    assert!(1_000 < covered.runs, "there are many steps to die at: {covered:?}");
}
