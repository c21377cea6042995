//! Every small sequence of operations and faults, and every crash within an operation, ends as it has to. `quorate-sim exhaust` tries
//! longer ones.

#![expect(clippy::disallowed_methods, reason = "timed from outside")]

use std::time::Instant;

use quorate_simulation::small_scope::crashes::crashes;
use quorate_simulation::small_scope::{Scope, explore};

/// Tries every sequence of a scope.
fn ends_as_it_has_to(scope: Scope) {
    let began = Instant::now();
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
