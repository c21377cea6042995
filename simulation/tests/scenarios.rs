//! Every named scenario ends as it has to, and those that wait for a feature say which.

use std::collections::BTreeSet;
use std::panic::catch_unwind;

use quorate_simulation::plan::file;
use quorate_simulation::scenario::{Body, Named, all, find};

#[test]
fn every_scenario_ends_as_it_has_to() {
    let mut wrong = Vec::new();
    for named in all() {
        match catch_unwind(|| named.check()) {
            Ok(Ok(())) => {}
            Ok(Err(unexpected)) => wrong.push(format!("{}: {unexpected}", named.name)),
            Err(_) => wrong.push(format!("{}: a panic", named.name)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_plan_of_every_scenario_is_a_file_that_is_read_as_it_was_written() {
    for plan in all().flat_map(|named| named.plans()) {
        assert_eq!(plan.check(), Ok(()));
        assert_eq!(file::read(&file::write(&plan, "")), Ok(plan));
    }
}

#[test]
fn scenarios_are_found_by_their_names_and_wrong_names_are_answered_with_the_nearest() {
    let names: BTreeSet<&str> = all().map(|named| named.name).collect();
    assert_eq!(names.len(), all().count(), "each has a name of its own");
    assert!(matches!(find("bridge").map(|named| named.body), Ok(Body::Built { .. })));
    let wrong = find("bridges").expect_err("there is none").to_string();
    assert!(wrong.contains("the nearest are bridge"), "{wrong}");
}

#[test]
fn scenarios_that_wait_for_a_feature_have_no_plan_and_say_what_they_wait_for() {
    let awaits = |named: &Named| matches!(named.body, Body::Awaits(feature) if !feature.is_empty());
    let awaiting: Vec<Named> = all().filter(awaits).collect();
    assert!(awaiting.iter().all(|named| named.plans().is_empty()));
}
