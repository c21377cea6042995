//! The story of real runs: telling it changes nothing, and what it tells is of the run.

use quorate_simulation::choices::Choices;
use quorate_simulation::story::{Fate, LaneKind, Story, TEXT_COLUMNS_MAX, TEXT_LINES_MAX, WriteKind};
use quorate_simulation::{Outcome, Plan, Trace, run_plan};

const SEEDS: std::ops::Range<u64> = 0..40;

fn run(seed: u64, trace: Trace) -> Outcome {
    let mut choices = Choices::new(seed);
    let plan = Plan::swarm(&mut choices);
    run_plan(plan, choices, trace)
}

fn stories() -> impl Iterator<Item = Story> {
    SEEDS.map(|seed| run(seed, Trace::On).story.expect("it was asked for"))
}

#[test]
fn a_run_that_is_told_is_the_same_run() {
    for seed in SEEDS {
        let (silent, told) = (run(seed, Trace::Off), run(seed, Trace::On));
        assert_eq!(silent.history, told.history, "seed {seed}");
        assert!(silent.story.is_none() && told.story.is_some());
    }
}

#[test]
fn a_story_is_the_same_each_time() {
    assert_eq!(run(3, Trace::On).story, run(3, Trace::On).story);
}

#[test]
fn everything_told_lies_within_the_run() {
    for story in stories() {
        let within =
            |from: u64, until: Option<u64>| from <= until.unwrap_or(from) && until.unwrap_or(from) <= story.lasted;
        for message in &story.messages {
            let until = message.arrived.or(message.lost.as_ref().map(|lost| lost.at));
            assert!(within(message.sent, until), "{message:?}");
            assert!(message.arrived.is_none() || message.lost.is_none(), "{message:?}");
        }
        assert!(story.operations.iter().all(|operation| within(operation.begun, operation.ended)));
        assert!(story.faults.iter().all(|fault| within(fault.from, fault.until)));
        assert!(story.lives.iter().all(|life| within(life.from, life.until)));
        assert!(story.stores.iter().all(|store| store.at <= story.lasted));
    }
}

#[test]
fn everything_told_names_lanes_keys_and_writes_that_there_are() {
    for story in stories() {
        let known = |keys: &[u32], writes: &[u32]| {
            keys.iter().all(|key| (*key as usize) < story.keys.len())
                && writes.iter().all(|write| (*write as usize) < story.writes.len())
        };
        for message in &story.messages {
            assert!(known(&message.about.keys, &message.about.writes), "{message:?}");
            assert!(message.from.0 < story.lanes.len() && message.to.0 < story.lanes.len(), "{message:?}");
        }
        for operation in &story.operations {
            assert!(known(&operation.about.keys, &operation.shown), "{operation:?}");
            assert_eq!(story.lanes[operation.client.0].kind, LaneKind::Client);
        }
        let older = |number: usize| story.writes[number].parents.iter().all(|parent| (*parent as usize) < number);
        assert!((0..story.writes.len()).all(older), "nobody has seen a later write");
    }
}

#[test]
fn what_was_acknowledged_had_been_flushed_somewhere() {
    for story in stories() {
        let flushed = |number: u32| story.stores.iter().any(|store| store.about.writes.contains(&number));
        let puts = (0..).zip(&story.writes).filter(|(_, write)| write.kind == WriteKind::Put);
        for (number, write) in puts.filter(|(_, write)| write.fate == Fate::Done) {
            assert!(flushed(number), "w{number} {write:?}");
        }
    }
}

#[test]
fn every_run_is_told_in_a_screenful() {
    for story in stories() {
        let text = story.to_text();
        assert!(text.lines().count() <= TEXT_LINES_MAX, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= TEXT_COLUMNS_MAX), "{text}");
        assert!(text.contains(&story.repeat), "{text}");
    }
}

#[test]
fn in_runs_without_failure_no_store_drops_what_nobody_had_seen() {
    for story in stories().filter(|story| story.failure.is_none()) {
        assert!(!story.notes.iter().any(|note| note.text.starts_with("drops")), "{}: {:?}", story.title, story.notes);
    }
}

#[test]
fn some_writers_had_seen_and_some_deletes_were_made() {
    let (mut seen, mut deletes) = (0, 0);
    for write in stories().flat_map(|story| story.writes) {
        seen += usize::from(!write.parents.is_empty());
        deletes += usize::from(write.kind == WriteKind::Delete && !write.parents.is_empty());
    }
    assert!(100 < seen && 20 < deletes, "{seen}, of which {deletes} deletes");
}
